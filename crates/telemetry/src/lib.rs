//! Sends what happened to OTLP collectors and to notification targets. Off by default.
//!
//! Two halves that know nothing of each other:
//! - [`Exporter`] turns recorded events into OpenTelemetry traces, logs and metrics and sends them to a collector;
//! - [`Notifier`] tells programs and web addresses about the few events that people wait for.
//!
//! Both take facts that are already recorded, on threads of their own, through bounded queues. Nothing here may
//! slow a run, fail it, or write to a terminal: what could not be sent is counted and handed back in a report.
//! This room reads no clock, no source of randomness and no setting from the environment: they come in as
//! [`Surroundings`] and as settings. The one exception is the HTTP client's: it honours the usual proxy variables,
//! though never for loopback.

mod exporter;
mod http;
mod mapping;
mod metrics;
mod notify;
mod outbox;
mod secret;
mod settings;
mod surroundings;
mod throttle;
mod transport;

pub use exporter::{DEFAULT_PATIENCE, ExportReport, Exporter};
pub use http::describe;
pub use mapping::RunFacts;
pub use notify::{
    Delivery, DeliveryFailure, DeliveryReport, NotificationKind, Notifier, NotifySettings, ProgramHook,
    StartProgram, Target, TargetError, UnknownKind, signature,
};
pub use secret::Secret;
pub use settings::{
    Destination, Encoding, ExporterTable, OtelTable, Protocol, SettingsError, TelemetrySettings, TlsFiles,
};
pub use surroundings::Surroundings;

/// Bytes in lower-case hexadecimal.
fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        for digit in [byte >> 4, byte & 15] {
            text.push(char::from_digit(digit.into(), 16).unwrap_or('0'));
        }
        text
    })
}
