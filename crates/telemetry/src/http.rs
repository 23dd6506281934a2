//! The HTTP client of this room: blocking, without redirects, every step limited in time.
//!
//! Used by OTLP over HTTP and by notifications; both call it on threads of their own only.

use std::fs;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ureq::Agent;
use ureq::http::{HeaderMap, Uri};
use ureq::tls::{Certificate, ClientCert, PrivateKey, RootCerts, TlsConfig};

use crate::{Secret, TlsFiles};

/// How much of an answer is read; what follows is of no interest.
const LONGEST_ANSWER: u64 = 64 * 1024;
/// A collector that does not accept a connection within this is down.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// Why a client could not be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    /// A certificate or key cannot be read.
    #[error("failed to read `{path}`")]
    Read {
        path: String,
        #[source]
        source: std::io::Error,
    },
    /// A file holds no such thing.
    #[error("`{path}` is not PEM")]
    Pem { path: String },
}

/// What came back.
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// How long the other side asks to be left alone.
    pub(crate) retry_after: Option<Duration>,
    /// Bounded.
    pub(crate) body: Vec<u8>,
}

/// Makes a client for one address; certificates are read only for `https`.
pub(crate) fn client(url: &str, tls: &TlsFiles, timeout: Duration) -> Result<Agent, ClientError> {
    let uri = url.parse::<Uri>().unwrap_or_default();
    let mut config = Agent::config_builder()
        .http_status_as_error(false)
        // A redirect would carry headers and records to somewhere nobody named.
        .max_redirects(0)
        .max_redirects_will_error(false)
        .user_agent(concat!("codex-orchestrator/", env!("CARGO_PKG_VERSION")))
        .timeout_connect(Some(CONNECT_TIMEOUT.min(timeout)))
        .timeout_global(Some(timeout));
    if uri.host().is_some_and(is_loopback) {
        // A proxy's loopback is not ours.
        config = config.proxy(None);
    }
    if uri.scheme_str() == Some("https") {
        config = config.tls_config(tls_config(tls)?);
    }
    Ok(config.build().new_agent())
}

fn is_loopback(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

fn tls_config(files: &TlsFiles) -> Result<TlsConfig, ClientError> {
    let read = |path: &std::path::Path| {
        fs::read(path).map_err(|source| ClientError::Read { path: path.display().to_string(), source })
    };
    let roots: Vec<Certificate<'static>> = match &files.ca_certificate {
        Some(path) => {
            let pem = read(path)?;
            let found: Vec<_> = ureq::tls::parse_pem(&pem)
                .filter_map(Result::ok)
                .filter_map(|item| match item {
                    ureq::tls::PemItem::Certificate(certificate) => Some(certificate),
                    _ => None,
                })
                .collect();
            if found.is_empty() {
                return Err(ClientError::Pem { path: path.display().to_string() });
            }
            found
        }
        None => rustls_native_certs::load_native_certs()
            .certs
            .iter()
            .map(|certificate| Certificate::from_der(certificate.as_ref()).to_owned())
            .collect(),
    };
    let client_cert = match (&files.client_certificate, &files.client_private_key) {
        (Some(certificate), Some(key)) => {
            let not_pem = |path: &std::path::Path| ClientError::Pem { path: path.display().to_string() };
            let chain =
                Certificate::from_pem(&read(certificate)?).map_err(|_| not_pem(certificate))?.to_owned();
            let private = PrivateKey::from_pem(&read(key)?).map_err(|_| not_pem(key))?;
            Some(ClientCert::new_with_certs(&[chain], private))
        }
        _ => None,
    };
    Ok(TlsConfig::builder()
        .root_certs(RootCerts::Specific(Arc::new(roots)))
        .client_cert(client_cert)
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .build())
}

/// Sends one POST and reads the bounded answer.
pub(crate) fn post<'a>(
    agent: &Agent,
    url: &str,
    headers: impl Iterator<Item = (&'a str, &'a str)>,
    body: &[u8],
) -> Result<Answer, String> {
    let mut request = agent.post(url);
    for (name, value) in headers {
        request = request.header(name, value);
    }
    let mut response = request.send(body).map_err(|error| what_failed(&error))?;
    let status = response.status().as_u16();
    let retry_after = retry_after(response.headers());
    // The status has decided already; a body that breaks off changes nothing.
    let body = response.body_mut().with_config().limit(LONGEST_ANSWER).read_to_vec().unwrap_or_default();
    Ok(Answer { status, retry_after, body })
}

/// Headers with their secrets uncovered, for the request alone.
pub(crate) fn revealed(headers: &[(String, Secret)]) -> impl Iterator<Item = (&str, &str)> {
    headers.iter().map(|(name, value)| (name.as_str(), value.reveal()))
}

/// `Retry-After` in seconds. A date is taken as "later": clocks differ too much to compute with.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    const LATER: Duration = Duration::from_mins(1);
    let value = headers.get("retry-after")?.to_str().ok()?.trim();
    Some(value.parse().map_or(LATER, Duration::from_secs))
}

/// One line about a failure, without the address: it may hold a secret.
fn what_failed(error: &ureq::Error) -> String {
    match error {
        ureq::Error::Io(error) => error.kind().to_string(),
        ureq::Error::Timeout(_) => "no answer in time".to_owned(),
        ureq::Error::HostNotFound => "host not found".to_owned(),
        ureq::Error::ConnectionFailed => "no connection".to_owned(),
        ureq::Error::Tls(_) | ureq::Error::Rustls(_) => "TLS failed".to_owned(),
        ureq::Error::Http(_) | ureq::Error::BadUri(_) => "the request cannot be written".to_owned(),
        _ => "not an HTTP answer".to_owned(),
    }
}

/// An address as it may be shown: scheme, host, port and path, without user, password, query and fragment.
pub fn describe(address: &str) -> String {
    let Some((scheme, rest)) = address.split_once("://") else {
        return "an address without a scheme".to_owned();
    };
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    let (authority, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
    let host = authority.rsplit('@').next().unwrap_or_default();
    format!("{scheme}://{host}{path}")
}

/// Scheme, host and port of an address.
pub(crate) fn origin(address: &str) -> String {
    describe(address).split('/').take(3).collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_shown_without_what_may_be_secret() {
        assert_eq!(describe("https://me:hunter2@h:1/p/q?token=hunter2#x"), "https://h:1/p/q");
        assert_eq!(describe("http://h"), "http://h");
        assert_eq!(describe("hunter2"), "an address without a scheme");
        assert_eq!(origin("https://me:hunter2@h:1/p/q?x"), "https://h:1");
    }

    #[test]
    fn loopback_is_recognised_in_every_spelling() {
        for host in ["localhost", "127.0.0.1", "127.8.8.8", "[::1]", "::1"] {
            assert!(is_loopback(host), "{host}");
        }
        assert!(!is_loopback("example.com") && !is_loopback("10.0.0.1"));
    }

    #[test]
    fn retry_after_is_read_in_seconds_and_a_date_means_later() {
        let headers = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("retry-after", value.parse().unwrap());
            headers
        };
        assert_eq!(retry_after(&headers("7")), Some(Duration::from_secs(7)));
        assert_eq!(retry_after(&headers("Wed, 21 Oct 2026 07:28:00 GMT")), Some(Duration::from_mins(1)));
        assert_eq!(retry_after(&HeaderMap::new()), None);
    }
}
