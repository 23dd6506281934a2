//! What waits to be sent: bounded in number and size, cut into batches.

use std::collections::VecDeque;

use opentelemetry_proto::tonic::collector::{
    logs::v1::ExportLogsServiceRequest, metrics::v1::ExportMetricsServiceRequest,
    trace::v1::ExportTraceServiceRequest,
};
use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::{Metric, ResourceMetrics, ScopeMetrics};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;

use crate::TelemetrySettings;
use crate::mapping::key_value;

/// Records of one request.
pub(crate) const BATCH_RECORDS: usize = 512;
/// Bytes of one request, before compression.
pub(crate) const BATCH_BYTES: usize = 1024 * 1024;
/// Records that wait while a collector is down; further ones are dropped and counted.
const MOST_RECORDS: usize = 8 * BATCH_RECORDS;
/// Bytes that wait while a collector is down.
const MOST_BYTES: usize = 4 * BATCH_BYTES;

/// One request, of whichever kind.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Batch {
    Traces(ExportTraceServiceRequest),
    Logs(ExportLogsServiceRequest),
    Metrics(ExportMetricsServiceRequest),
}

/// Records of one kind that wait, oldest first.
#[derive(Debug)]
pub(crate) struct Outbox<T> {
    waiting: VecDeque<(usize, T)>,
    bytes: usize,
}

impl<T> Default for Outbox<T> {
    fn default() -> Self {
        Self { waiting: VecDeque::new(), bytes: 0 }
    }
}

impl<T: Message + Clone> Outbox<T> {
    /// Adds a record; `false` says that there was no room.
    pub(crate) fn push(&mut self, record: T) -> bool {
        let size = record.encoded_len();
        if self.waiting.len() >= MOST_RECORDS || self.bytes + size > MOST_BYTES {
            return false;
        }
        self.bytes += size;
        self.waiting.push_back((size, record));
        true
    }

    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether there is enough for a whole batch.
    pub(crate) fn is_batch(&self) -> bool {
        self.waiting.len() >= BATCH_RECORDS || self.bytes >= BATCH_BYTES
    }

    /// The oldest records that fit into one request; they stay until [`Outbox::remove`].
    pub(crate) fn batch(&self) -> Vec<T> {
        let mut bytes = 0;
        self.waiting
            .iter()
            .take(BATCH_RECORDS)
            .enumerate()
            .take_while(|(index, (size, _))| {
                bytes += size;
                *index == 0 || bytes <= BATCH_BYTES
            })
            .map(|(_, (_, record))| record.clone())
            .collect()
    }

    /// Forgets the oldest `count` records.
    pub(crate) fn remove(&mut self, count: usize) {
        for (size, _) in self.waiting.drain(..count.min(self.waiting.len())) {
            self.bytes -= size;
        }
    }
}

/// What every request says about us.
#[derive(Debug, Clone)]
pub(crate) struct Sender {
    resource: Resource,
    scope: InstrumentationScope,
}

impl Sender {
    pub(crate) fn new(settings: &TelemetrySettings) -> Self {
        let mut attributes = vec![
            key_value("service.name", "codex-orchestrator"),
            key_value("service.version", settings.service_version.as_str()),
        ];
        if let Some(environment) = &settings.environment {
            attributes.push(key_value("deployment.environment.name", environment.as_str()));
        }
        attributes.extend(settings.resource.iter().map(|(key, value)| key_value(key, value.as_str())));
        Self {
            resource: Resource { attributes, ..Resource::default() },
            scope: InstrumentationScope {
                name: "codex-orchestrator".to_owned(),
                version: settings.service_version.clone(),
                ..InstrumentationScope::default()
            },
        }
    }

    pub(crate) fn traces(&self, spans: Vec<Span>) -> Batch {
        let scope = Some(self.scope.clone());
        Batch::Traces(ExportTraceServiceRequest {
            resource_spans: vec![ResourceSpans {
                resource: Some(self.resource.clone()),
                scope_spans: vec![ScopeSpans { scope, spans, ..ScopeSpans::default() }],
                ..ResourceSpans::default()
            }],
        })
    }

    pub(crate) fn logs(&self, log_records: Vec<LogRecord>) -> Batch {
        let scope = Some(self.scope.clone());
        Batch::Logs(ExportLogsServiceRequest {
            resource_logs: vec![ResourceLogs {
                resource: Some(self.resource.clone()),
                scope_logs: vec![ScopeLogs { scope, log_records, ..ScopeLogs::default() }],
                ..ResourceLogs::default()
            }],
        })
    }

    pub(crate) fn metrics(&self, metrics: Vec<Metric>) -> Batch {
        let scope = Some(self.scope.clone());
        Batch::Metrics(ExportMetricsServiceRequest {
            resource_metrics: vec![ResourceMetrics {
                resource: Some(self.resource.clone()),
                scope_metrics: vec![ScopeMetrics { scope, metrics, ..ScopeMetrics::default() }],
                ..ResourceMetrics::default()
            }],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(name_bytes: usize) -> Span {
        Span { name: "x".repeat(name_bytes), ..Span::default() }
    }

    #[test]
    fn a_batch_holds_at_most_512_records_and_one_mebibyte() {
        let mut outbox = Outbox::default();
        for _ in 0..600 {
            assert!(outbox.push(span(1)));
        }
        assert_eq!(outbox.batch().len(), BATCH_RECORDS);
        outbox.remove(BATCH_RECORDS);
        assert_eq!(outbox.batch().len(), 88);

        let mut outbox = Outbox::default();
        for _ in 0..5 {
            assert!(outbox.push(span(300 * 1024)));
        }
        assert!(outbox.is_batch());
        assert_eq!(outbox.batch().len(), 3);
    }

    #[test]
    fn a_record_larger_than_a_batch_travels_alone() {
        let mut outbox = Outbox::default();
        assert!(outbox.push(span(2 * BATCH_BYTES)) && outbox.push(span(1)));
        assert_eq!(outbox.batch().len(), 1);
    }

    #[test]
    fn what_waits_is_bounded_in_number_and_size() {
        let mut many = Outbox::default();
        assert_eq!((0..10_000).filter(|_| many.push(span(1))).count(), MOST_RECORDS);
        let mut large = Outbox::default();
        assert_eq!((0..100).filter(|_| large.push(span(BATCH_BYTES / 2))).count(), 7);
        large.remove(7);
        assert_eq!((large.len(), large.bytes), (0, 0));
    }
}
