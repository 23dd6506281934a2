//! Telemetry and notifications over real connections on loopback.
#![expect(clippy::unwrap_used, reason = "a broken helper is a failed test")]

mod decoder;
mod export;
mod grpc_collector;
mod notify;
mod outage;
mod receiver;
mod samples;
mod support;
mod tls;
