//! OTLP over gRPC: one unary call per batch, on a runtime that lives only while a call is made.
//!
//! The runtime has no thread of its own: it runs on the exporter's thread, inside [`GrpcLink::send`].

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use opentelemetry_proto::tonic::collector::{
    logs::v1::logs_service_client::LogsServiceClient,
    metrics::v1::metrics_service_client::MetricsServiceClient,
    trace::v1::trace_service_client::TraceServiceClient,
};
use prost::Message;
use tokio::runtime::Runtime;
use tonic::codec::CompressionEncoding;
use tonic::metadata::{MetadataKey, MetadataMap};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Code, Request, Status};

use super::{Accepted, Failed};
use crate::TlsFiles;
use crate::outbox::Batch;
use crate::settings::{Destination, Signal};
use crate::throttle::Failure;

/// A collector that does not accept a connection within this is down.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// Why a gRPC connection cannot be prepared.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GrpcError {
    /// The runtime did not start.
    #[error("failed to start a runtime")]
    Runtime(#[source] std::io::Error),
    /// The address or a certificate is not usable.
    #[error("the address or a certificate is not usable")]
    Transport(#[from] tonic::transport::Error),
    /// A certificate or key cannot be read.
    #[error("failed to read `{path}`")]
    Read {
        path: String,
        #[source]
        source: std::io::Error,
    },
    /// A header cannot be sent.
    #[error("header `{name}` cannot be sent")]
    Header { name: String },
}

/// A connection that all signals of one collector share.
#[derive(Debug)]
pub(crate) struct Connection {
    runtime: Runtime,
    channel: Channel,
    timeout: Duration,
}

impl Connection {
    pub(super) fn new(to: &Destination, timeout: Duration) -> Result<Self, GrpcError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build()
            .map_err(GrpcError::Runtime)?;
        let mut endpoint = Endpoint::from_shared(to.endpoint.clone())?
            .connect_timeout(CONNECT_TIMEOUT.min(timeout))
            .user_agent(concat!("codex-orchestrator/", env!("CARGO_PKG_VERSION")))?;
        if to.endpoint.starts_with("https://") {
            endpoint = endpoint.tls_config(tls_config(&to.tls)?)?;
        }
        // A lazy channel asks for a runtime to be entered, though it connects only when it is used.
        let channel = {
            let _entered = runtime.enter();
            endpoint.connect_lazy()
        };
        Ok(Self { runtime, channel, timeout })
    }
}

fn tls_config(files: &TlsFiles) -> Result<ClientTlsConfig, GrpcError> {
    let read = |path: &Path| {
        fs::read(path).map_err(|source| GrpcError::Read { path: path.display().to_string(), source })
    };
    let mut config = ClientTlsConfig::new();
    config = match &files.ca_certificate {
        Some(path) => config.ca_certificate(Certificate::from_pem(read(path)?)),
        None => config.trust_anchors(system_anchors()),
    };
    if let (Some(certificate), Some(key)) = (&files.client_certificate, &files.client_private_key) {
        config = config.identity(Identity::from_pem(read(certificate)?, read(key)?));
    }
    Ok(config)
}

/// Certificates of the system that can be used; broken ones among them are no reason to trust none.
fn system_anchors() -> Vec<rustls::pki_types::TrustAnchor<'static>> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    roots.roots
}

/// The way to one collector, with the headers of one destination.
#[derive(Debug)]
pub(crate) struct GrpcLink {
    connection: Arc<Connection>,
    headers: MetadataMap,
    gzip: bool,
}

impl GrpcLink {
    pub(super) fn new(connection: Arc<Connection>, to: &Destination) -> Result<Self, GrpcError> {
        let mut headers = MetadataMap::new();
        for (name, value) in crate::http::revealed(&to.headers) {
            let refuse = || GrpcError::Header { name: name.to_owned() };
            let key: MetadataKey<_> = name.to_ascii_lowercase().parse().map_err(|_| refuse())?;
            headers.insert(key, value.parse().map_err(|_| refuse())?);
        }
        Ok(Self { connection, headers, gzip: to.gzip })
    }

    pub(super) fn send(&self, signal: Signal, batch: &Batch) -> Result<Accepted, Failed> {
        let Connection { runtime, timeout, .. } = &*self.connection;
        let answer = runtime.block_on(async { tokio::time::timeout(*timeout, self.call(batch)).await });
        match answer {
            Ok(Ok(accepted)) => Ok(accepted),
            Ok(Err(status)) => Err(judge(&status, signal)),
            Err(_) => Err(Failed {
                worth_retrying: true,
                failure: Failure::default(),
                message: "no answer in time".to_owned(),
            }),
        }
    }

    async fn call(&self, batch: &Batch) -> Result<Accepted, Status> {
        macro_rules! export {
            ($client:ident, $request:ident, $rejected:ident) => {{
                let mut client = $client::new(self.connection.channel.clone());
                if self.gzip {
                    client = client.send_compressed(CompressionEncoding::Gzip);
                }
                let answer = client.export(self.request($request.clone())).await?.into_inner();
                let partial = answer.partial_success;
                partial.map(|partial| partly(partial.$rejected, partial.error_message)).unwrap_or_default()
            }};
        }
        Ok(match batch {
            Batch::Traces(request) => export!(TraceServiceClient, request, rejected_spans),
            Batch::Logs(request) => export!(LogsServiceClient, request, rejected_log_records),
            Batch::Metrics(request) => export!(MetricsServiceClient, request, rejected_data_points),
        })
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        *request.metadata_mut() = self.headers.clone();
        request
    }
}

/// What "partial success" says; an empty one means that all was taken.
pub(super) fn partly(rejected: i64, message: String) -> Accepted {
    Accepted {
        rejected: u64::try_from(rejected).unwrap_or(0),
        message: Some(message).filter(|text| !text.is_empty()),
    }
}

fn judge(status: &Status, signal: Signal) -> Failed {
    let retry_after = retry_delay(status.details());
    let worth_retrying = match status.code() {
        Code::InvalidArgument
        | Code::NotFound
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::Unauthenticated
        | Code::FailedPrecondition
        | Code::Unimplemented => false,
        Code::ResourceExhausted => retry_after.is_some(),
        _ => true,
    };
    let refused = (status.code() == Code::Unimplemented).then_some(signal);
    Failed {
        worth_retrying,
        failure: Failure { retry_after, refused },
        message: format!("answered {:?}", status.code()),
    }
}

/// `google.rpc.Status` in `grpc-status-details-bin`.
#[derive(Clone, PartialEq, Message)]
struct RichStatus {
    #[prost(message, repeated, tag = "3")]
    details: Vec<Any>,
}

/// `google.protobuf.Any`.
#[derive(Clone, PartialEq, Message)]
struct Any {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

/// `google.rpc.RetryInfo`.
#[derive(Clone, PartialEq, Message)]
struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    retry_delay: Option<Delay>,
}

/// `google.protobuf.Duration`.
#[derive(Clone, PartialEq, Message)]
struct Delay {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

/// gRPC's `Retry-After`.
fn retry_delay(details: &[u8]) -> Option<Duration> {
    let status = RichStatus::decode(details).ok()?;
    let info = status.details.iter().find(|any| any.type_url.ends_with("google.rpc.RetryInfo"))?;
    let delay = RetryInfo::decode(info.value.as_slice()).ok()?.retry_delay?;
    Some(Duration::new(u64::try_from(delay.seconds).ok()?, u32::try_from(delay.nanos).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_mean_what_the_specification_says() {
        let judged = |code| judge(&Status::new(code, ""), Signal::Traces);
        assert!(judged(Code::Unavailable).worth_retrying);
        assert!(!judged(Code::InvalidArgument).worth_retrying);
        assert!(!judged(Code::ResourceExhausted).worth_retrying);
        assert_eq!(judged(Code::Unimplemented).failure.refused, Some(Signal::Traces));
    }

    #[test]
    fn a_collector_that_asks_for_peace_is_understood() {
        let info = RetryInfo { retry_delay: Some(Delay { seconds: 7, nanos: 500_000_000 }) };
        let any = Any {
            type_url: "type.googleapis.com/google.rpc.RetryInfo".to_owned(),
            value: info.encode_to_vec(),
        };
        let details = RichStatus { details: vec![any] }.encode_to_vec();
        let status = Status::with_details(Code::ResourceExhausted, "", details.into());
        let failed = judge(&status, Signal::Logs);
        assert!(failed.worth_retrying);
        assert_eq!(failed.failure.retry_after, Some(Duration::from_millis(7_500)));
    }
}
