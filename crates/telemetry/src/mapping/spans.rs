//! Spans that have ended, and what happened in them.

use co_model::{RunId, Timestamp};
use opentelemetry_proto::tonic::trace::v1::{
    Span, Status,
    span::{Event, Link, SpanKind},
    status::StatusCode,
};

use super::RunFacts;
use super::attributes::{Attributes, nanos};
use super::ids::{Subject, span_id, trace_id};

/// Events kept per span, as OpenTelemetry's own limit; further ones are counted.
const MOST_EVENTS: usize = 128;

/// What happened within a span, bounded.
#[derive(Debug, Default)]
pub(super) struct SpanEvents {
    events: Vec<Event>,
    dropped: u32,
}

impl SpanEvents {
    pub(super) fn push(&mut self, at: Timestamp, name: &str, attributes: Attributes) {
        if self.events.len() >= MOST_EVENTS {
            self.dropped = self.dropped.saturating_add(1);
            return;
        }
        self.events.push(Event {
            time_unix_nano: nanos(at),
            name: name.to_owned(),
            attributes: attributes.done(),
            dropped_attributes_count: 0,
        });
    }
}

/// A span under construction, with its place in the trace.
#[derive(Debug)]
pub(super) struct FinishedSpan {
    pub(super) name: String,
    pub(super) kind: SpanKind,
    pub(super) parent_span_id: Vec<u8>,
    pub(super) links: Vec<Link>,
    span: Span,
}

/// A span of `subject` within `parent`; the parent of a run is set by its maker.
pub(super) fn finished(
    facts: &RunFacts,
    subject: Subject<'_>,
    parent: Subject<'_>,
    began_at: Timestamp,
    ended_at: Timestamp,
) -> FinishedSpan {
    FinishedSpan {
        name: String::new(),
        kind: SpanKind::Internal,
        parent_span_id: span_id(&facts.run, parent),
        links: Vec::new(),
        span: Span {
            trace_id: trace_id(&facts.run, facts.parent.as_ref()),
            span_id: span_id(&facts.run, subject),
            start_time_unix_nano: nanos(began_at.min(ended_at)),
            end_time_unix_nano: nanos(ended_at),
            ..Span::default()
        },
    }
}

impl FinishedSpan {
    /// Adds what the span carries; an error makes its status one, described by its class alone.
    pub(super) fn fill(&mut self, attributes: Attributes, events: SpanEvents, error: Option<&str>) {
        self.span.attributes = attributes.done();
        self.span.events = events.events;
        self.span.dropped_events_count = events.dropped;
        self.span.status =
            error.map(|class| Status { message: class.to_owned(), code: StatusCode::Error as i32 });
    }

    pub(super) fn done(self) -> Span {
        Span {
            name: self.name,
            kind: self.kind as i32,
            parent_span_id: self.parent_span_id,
            links: self.links,
            ..self.span
        }
    }
}

/// Points to the root span of another run that has a trace of its own.
pub(super) fn link_to_run(run: &RunId) -> Link {
    Link { trace_id: trace_id(run, None), span_id: span_id(run, Subject::Run), ..Link::default() }
}
