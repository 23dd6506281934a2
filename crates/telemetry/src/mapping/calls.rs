//! Tool calls as `execute_tool` spans by the GenAI conventions, and the decisions on them.

use co_model::{
    CallDecision, CallId, CallOrigin, CallOutcome, CallRequest, CallStatus, StageId, Timestamp, ToolUse,
};

use super::agent::OPERATION;
use super::attributes::{Attributes, executable_name};
use super::ids::Subject;
use super::spans::{SpanEvents, finished};
use super::{Mapped, RunFacts, RunTrace, words};
use crate::metrics::Instrument;

/// Calls of one run that may be open at the same time; further ones are counted but get no span.
const MOST_OPEN_CALLS: usize = 1_024;

/// Characters of a tool's name that become part of a span's name: the name is the agent's word.
const LONGEST_NAME: usize = 100;

/// What is known of a call that has not ended.
#[derive(Debug)]
pub(super) struct OpenCall {
    call: CallId,
    stage: StageId,
    attempt: u32,
    by_agent: bool,
    began_at: Timestamp,
    kind: &'static str,
    tool: String,
    attributes: Attributes,
    events: SpanEvents,
}

impl RunTrace {
    pub(super) fn call_requested(&mut self, at: Timestamp, request: &CallRequest) {
        if self.calls.len() >= MOST_OPEN_CALLS {
            return;
        }
        let attributes = attributes_of(request);
        self.calls.entry(request.call.0.clone()).or_insert_with(|| OpenCall {
            call: request.call.clone(),
            stage: request.stage.clone(),
            attempt: request.attempt,
            by_agent: matches!(request.origin, CallOrigin::Agent(_)),
            began_at: at,
            kind: request.tool.kind(),
            tool: tool_name(&request.tool).chars().take(LONGEST_NAME).collect(),
            attributes,
            events: SpanEvents::default(),
        });
    }

    pub(super) fn call_decided(
        &mut self,
        at: Timestamp,
        call: &CallId,
        decision: &CallDecision,
        mapped: &mut Mapped,
    ) {
        let source = decision.source.as_str();
        let attributes = Attributes::default()
            .with(words::DECISION_APPROVED, decision.approved)
            .with(words::DECISION_SOURCE, source);
        let open = self.calls.get_mut(&call.0);
        let kind = open.as_ref().map_or("unknown", |open| open.kind);
        let approved = if decision.approved { "true" } else { "false" };
        mapped.measure(
            Instrument::ToolDecisions,
            1.0,
            [
                (words::TOOL_KIND, kind),
                (words::DECISION_SOURCE, source),
                (words::DECISION_APPROVED, approved),
            ],
        );
        if let Some(open) = open {
            open.attributes = std::mem::take(&mut open.attributes).and(attributes.clone());
            open.events.push(at, "decided", attributes);
        }
    }

    pub(super) fn call_started(&mut self, at: Timestamp, call: &CallId, layers: &[String]) {
        if let Some(open) = self.calls.get_mut(&call.0) {
            let layers = Some(layers.join(",")).filter(|layers| !layers.is_empty());
            let attributes =
                Attributes::default().maybe("codex_orchestrator.sandbox.layers", layers.as_deref());
            open.events.push(at, "started", attributes);
        }
    }

    pub(super) fn call_finished(
        &mut self,
        facts: &RunFacts,
        at: Timestamp,
        call: &CallId,
        outcome: &CallOutcome,
        mapped: &mut Mapped,
    ) {
        let open = self.calls.remove(&call.0);
        let kind = open.as_ref().map_or("unknown", |open| open.kind);
        let status = status_word(outcome.status);
        mapped.measure(Instrument::ToolCalls, 1.0, [(words::TOOL_KIND, kind), (words::TOOL_STATUS, status)]);
        if let Some(open) = open {
            mapped.spans.push(open.end(facts, at, status, outcome.exit_code));
        }
    }

    /// Ends what nobody has seen the end of.
    pub(super) fn close_calls(&mut self, facts: &RunFacts, at: Timestamp, mapped: &mut Mapped) {
        let mut open: Vec<_> = self.calls.drain().map(|(_, call)| call).collect();
        open.sort_by(|a, b| a.call.cmp(&b.call));
        let lost = status_word(CallStatus::Lost);
        mapped.spans.extend(open.into_iter().map(|call| call.end(facts, at, lost, None)));
    }
}

impl OpenCall {
    fn end(
        self,
        facts: &RunFacts,
        at: Timestamp,
        status: &'static str,
        exit_code: Option<i32>,
    ) -> opentelemetry_proto::tonic::trace::v1::Span {
        let parent = if self.by_agent {
            Subject::Agent(&self.stage, self.attempt)
        } else {
            Subject::Stage(&self.stage)
        };
        let error = (status != status_word(CallStatus::Succeeded)).then_some(status);
        let attributes = words::of_run(facts)
            .and(self.attributes)
            .with(words::TOOL_STATUS, status)
            .maybe(words::EXIT_CODE, exit_code)
            .maybe(words::ERROR_TYPE, error);
        let mut span = finished(facts, Subject::Call(&self.call), parent, self.began_at, at);
        span.name = format!("execute_tool {}", self.tool);
        span.fill(attributes, self.events, error);
        span.done()
    }
}

/// What is exported of a request: no arguments, no paths, no reasons.
pub(super) fn attributes_of(request: &CallRequest) -> Attributes {
    let executable = match &request.tool {
        ToolUse::Command { argv } => argv.first().map(|program| executable_name(program)),
        _ => None,
    };
    let server = match &request.tool {
        ToolUse::Mcp { server, .. } => Some(server.as_str()),
        _ => None,
    };
    let origin = match request.origin {
        CallOrigin::Stage => "stage",
        CallOrigin::Agent(_) => "agent",
        CallOrigin::Session(_) => "session",
    };
    Attributes::default()
        .with(OPERATION, "execute_tool")
        .with("gen_ai.tool.name", tool_name(&request.tool))
        .with("gen_ai.tool.call.id", request.call.0.as_str())
        .with(words::STAGE, request.stage.as_str())
        .with(words::ATTEMPT, request.attempt)
        .with(words::TOOL_KIND, request.tool.kind())
        .with(words::TOOL_ORIGIN, origin)
        .with("codex_orchestrator.sandbox.mode", request.sandbox.mode.as_str())
        .with("codex_orchestrator.tool.escalated", request.escalated)
        .maybe("codex_orchestrator.mcp.server", server)
        .maybe(words::EXECUTABLE, executable)
}

fn tool_name(tool: &ToolUse) -> &str {
    match tool {
        ToolUse::Command { .. } | ToolUse::Patch { .. } => tool.kind(),
        ToolUse::Mcp { name, .. } | ToolUse::Other { name, .. } => name,
    }
}

pub(super) const fn status_word(status: CallStatus) -> &'static str {
    match status {
        CallStatus::Succeeded => "succeeded",
        CallStatus::Failed => "failed",
        CallStatus::SandboxDenied => "sandbox_denied",
        CallStatus::Declined => "declined",
        CallStatus::Lost => "lost",
    }
}
