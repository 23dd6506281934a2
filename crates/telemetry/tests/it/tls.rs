use std::fs;
use std::path::Path;
use std::sync::Arc;

use co_telemetry::{Encoding, ExportReport, Protocol, TelemetrySettings, TlsFiles};
use rcgen::{CertificateParams, CertifiedIssuer, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};

use crate::grpc_collector::GrpcCollector;
use crate::receiver::{Reply, start_tls};
use crate::support::{Clock, LONG, observed};

/// An authority that is no system's, a server that shows its certificate and asks for the client's, and the files
/// of a client that has one.
fn authority(folder: &Path, protocol: &[u8]) -> (Arc<ServerConfig>, TlsFiles) {
    let mut root = CertificateParams::new(Vec::new()).unwrap();
    root.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let issuer = CertifiedIssuer::self_signed(root, KeyPair::generate().unwrap()).unwrap();
    let certificate = |name: &str| {
        let key = KeyPair::generate().unwrap();
        let signed = CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
        (signed, key)
    };
    let (server, server_key) = certificate("127.0.0.1");
    let (client, client_key) = certificate("client.example");
    let file = |name: &str, text: String| {
        let path = folder.join(name);
        fs::write(&path, text).unwrap();
        Some(path)
    };
    let files = TlsFiles {
        ca_certificate: file("authority.pem", issuer.pem()),
        client_certificate: file("client.pem", client.pem()),
        client_private_key: file("client.key", client_key.serialize_pem()),
    };

    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(issuer.der().to_vec())).unwrap();
    let clients =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build().unwrap();
    let key = PrivateKeyDer::try_from(server_key.serialize_der()).unwrap();
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(clients)
        .with_single_cert(vec![server.der().clone()], key)
        .unwrap();
    config.alpn_protocols = vec![protocol.to_vec()];
    (Arc::new(config), files)
}

fn export(url: &str, protocol: Protocol, tls: &TlsFiles) -> ExportReport {
    let mut settings = TelemetrySettings::from_endpoint(url).unwrap();
    for destination in [&mut settings.traces, &mut settings.logs, &mut settings.metrics] {
        let destination = destination.as_mut().unwrap();
        (destination.protocol, destination.tls) = (protocol, tls.clone());
        if protocol == Protocol::Grpc {
            url.clone_into(&mut destination.endpoint);
        }
    }
    observed(settings, &Clock::new()).finish(LONG)
}

fn check(url: &str, protocol: Protocol, files: &TlsFiles) {
    let trusted = export(url, protocol, files);
    assert_eq!((trusted.dropped, trusted.attempts, &trusted.failures[..]), (0, 3, &[][..]), "{trusted:?}");

    let unknown_authority = export(url, protocol, &TlsFiles { ca_certificate: None, ..files.clone() });
    assert_eq!((unknown_authority.sent, unknown_authority.attempts), (0, 1), "{unknown_authority:?}");

    let nobody = TlsFiles { client_certificate: None, client_private_key: None, ..files.clone() };
    let without_certificate = export(url, protocol, &nobody);
    assert_eq!((without_certificate.sent, without_certificate.attempts), (0, 1), "{without_certificate:?}");
}

#[test]
fn over_https_only_those_who_trust_each_other_speak() {
    let folder = tempfile::tempdir().unwrap();
    let (server, files) = authority(folder.path(), b"http/1.1");
    let collector = start_tls(server, |_| Reply::status(200));
    check(&collector.url(), Protocol::Http(Encoding::Binary), &files);
    assert_eq!(collector.rest().len(), 3);
}

#[test]
fn over_grpc_with_tls_only_those_who_trust_each_other_speak() {
    let folder = tempfile::tempdir().unwrap();
    let (server, files) = authority(folder.path(), b"h2");
    let collector = GrpcCollector::start_tls(server);
    check(&collector.url, Protocol::Grpc, &files);
    assert_eq!(collector.calls.try_iter().count(), 3);
}
