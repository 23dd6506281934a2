//! How a batch reaches a collector, and what its answer means for the next one.
//!
//! The rules are those of the OTLP specification: which answers are worth another attempt, what `Retry-After` and
//! `RetryInfo` ask for, and that a collector may take only a part. Used on the exporter's own thread only.

mod grpc;
mod otlp_http;

use std::sync::Arc;
use std::time::Duration;

use ureq::Agent;

use crate::Protocol;
use crate::http::{self, ClientError};
use crate::outbox::Batch;
use crate::settings::{Destination, Signal};
use crate::throttle::Failure;

pub(crate) use grpc::GrpcError;
use grpc::{Connection, GrpcLink};
use otlp_http::HttpLink;

/// What a collector took.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Accepted {
    /// Records it refused of the batch.
    pub(crate) rejected: u64,
    /// Why, in its words.
    pub(crate) message: Option<String>,
}

/// A batch that did not arrive, or was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failed {
    /// Whether the same batch may be offered again.
    pub(crate) worth_retrying: bool,
    pub(crate) failure: Failure,
    /// One line, without secrets.
    pub(crate) message: String,
}

/// Why a destination cannot be used at all.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LinkError {
    /// The HTTP client.
    #[error("the connection cannot be prepared")]
    Http(#[from] ClientError),
    /// The gRPC client.
    #[error("the connection cannot be prepared")]
    Grpc(#[from] GrpcError),
}

/// The way to one destination.
#[derive(Debug)]
pub(crate) enum Link {
    Http(HttpLink),
    Grpc(GrpcLink),
}

impl Link {
    /// Sends one batch and waits for the answer, at most for the time-out the link was made with.
    pub(crate) fn send(&self, signal: Signal, batch: &Batch) -> Result<Accepted, Failed> {
        match self {
            Self::Http(link) => link.send(signal, batch),
            Self::Grpc(link) => link.send(signal, batch),
        }
    }
}

/// Makes links, and lets destinations of one collector share its connections.
#[derive(Debug, Default)]
pub(crate) struct Links {
    agents: Vec<(Destination, Agent)>,
    connections: Vec<(Destination, Arc<Connection>)>,
}

impl Links {
    pub(crate) fn link(&mut self, to: &Destination, timeout: Duration) -> Result<Link, LinkError> {
        match to.protocol {
            Protocol::Http(encoding) => {
                let agent = shared(&mut self.agents, to, || http::client(&to.endpoint, &to.tls, timeout))?;
                Ok(Link::Http(HttpLink::new(agent, to, encoding)))
            }
            Protocol::Grpc => {
                let connection =
                    shared(&mut self.connections, to, || Connection::new(to, timeout).map(Arc::new))?;
                Ok(Link::Grpc(GrpcLink::new(connection, to)?))
            }
        }
    }
}

/// What was made for the same host with the same certificates, or something new.
fn shared<T: Clone, E>(
    made: &mut Vec<(Destination, T)>,
    to: &Destination,
    make: impl FnOnce() -> Result<T, E>,
) -> Result<T, E> {
    let same = |other: &Destination| {
        http::origin(&other.endpoint) == http::origin(&to.endpoint) && other.tls == to.tls
    };
    if let Some((_, found)) = made.iter().find(|(other, _)| same(other)) {
        return Ok(found.clone());
    }
    let new = make()?;
    made.push((to.clone(), new.clone()));
    Ok(new)
}
