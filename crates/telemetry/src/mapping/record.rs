//! Log records: one per event, tied to the span it belongs to.

use co_model::{
    CallId, CallOutcome, CallStatus, Event, Recorded, RunOutcome, StageOutcome, Timestamp, Verdict,
};
use opentelemetry_proto::tonic::common::v1::{AnyValue, any_value::Value};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, SeverityNumber};

use super::attributes::{Attributes, nanos};
use super::calls::{attributes_of, status_word};
use super::ids::{Subject, span_id, trace_id};
use super::{RunFacts, words};

/// Where texts go that are exported only when that was asked for.
const TEXT: &str = "codex_orchestrator.text";

/// What one record says besides which run it is about.
struct Said<'a> {
    severity: SeverityNumber,
    subject: Subject<'a>,
    attributes: Attributes,
    /// Written by a person, an agent or a program.
    text: Option<&'a str>,
}

impl<'a> Said<'a> {
    fn about(subject: Subject<'a>) -> Self {
        Self { severity: SeverityNumber::Info, subject, attributes: Attributes::default(), text: None }
    }

    fn with(mut self, key: &str, value: impl super::attributes::IntoValue) -> Self {
        self.attributes = self.attributes.with(key, value);
        self
    }

    fn failing(mut self, severity: SeverityNumber, error: Option<&str>) -> Self {
        if let Some(class) = error {
            self.severity = severity;
            self.attributes = self.attributes.with(words::ERROR_TYPE, class);
        }
        self
    }

    fn text(mut self, text: Option<&'a str>) -> Self {
        self.text = text;
        self
    }
}

/// The record of an event.
pub(super) fn of_event(facts: &RunFacts, recorded: &Recorded, with_texts: bool) -> LogRecord {
    let mut said = said_by(&recorded.event);
    said.attributes =
        std::mem::take(&mut said.attributes).with("codex_orchestrator.event.seq", recorded.seq.0);
    record(facts, recorded.at, recorded.event.name(), said, with_texts)
}

fn record(facts: &RunFacts, at: Timestamp, name: &str, said: Said<'_>, with_texts: bool) -> LogRecord {
    let event_name = format!("codex_orchestrator.{name}");
    let attributes = words::of_run(facts)
        .with("event.name", event_name.as_str())
        .and(said.attributes)
        .maybe(TEXT, said.text.filter(|_| with_texts));
    LogRecord {
        time_unix_nano: nanos(at),
        observed_time_unix_nano: nanos(at),
        severity_number: said.severity as i32,
        severity_text: severity_text(said.severity).to_owned(),
        body: Some(AnyValue { value: Some(Value::StringValue(event_name.clone())) }),
        attributes: attributes.done(),
        trace_id: trace_id(&facts.run, facts.parent.as_ref()),
        span_id: span_id(&facts.run, said.subject),
        event_name,
        ..LogRecord::default()
    }
}

const fn severity_text(severity: SeverityNumber) -> &'static str {
    match severity {
        SeverityNumber::Error => "ERROR",
        SeverityNumber::Warn => "WARN",
        _ => "INFO",
    }
}

fn call_said(call: &CallId) -> Said<'_> {
    Said::about(Subject::Call(call)).with("gen_ai.tool.call.id", call.0.as_str())
}

fn finished_call<'a>(call: &'a CallId, outcome: &'a CallOutcome) -> Said<'a> {
    let status = status_word(outcome.status);
    let failed = (outcome.status != CallStatus::Succeeded).then_some(status);
    let mut said = call_said(call)
        .with(words::TOOL_STATUS, status)
        .failing(SeverityNumber::Warn, failed)
        .text(outcome.detail.as_deref());
    said.attributes = said.attributes.maybe(words::EXIT_CODE, outcome.exit_code);
    said
}

fn said_by(event: &Event) -> Said<'_> {
    let stage_said = |stage| Said::about(Subject::Stage(stage)).with(words::STAGE, stage.as_str());
    let attempt_said = |stage, attempt| {
        Said::about(Subject::Attempt(stage, attempt))
            .with(words::STAGE, stage.as_str())
            .with(words::ATTEMPT, attempt)
    };
    match event {
        Event::RunCreated(created) => Said::about(Subject::Run)
            .with(words::PIPELINE, created.pipeline.id.as_str())
            .text(created.settings.description.as_deref()),
        Event::RunPlanned(plan) => Said::about(Subject::Run)
            .with("codex_orchestrator.plan.stages", plan.stages.len() as u64)
            .with("codex_orchestrator.plan.skipped", plan.skipped.len() as u64),
        Event::CallRequested(request) => {
            let mut said = Said::about(Subject::Call(&request.call)).text(request.reason.as_deref());
            said.attributes = attributes_of(request);
            said
        }
        Event::CallDecided { call, decision, .. } => call_said(call)
            .with(words::DECISION_APPROVED, decision.approved)
            .with(words::DECISION_SOURCE, decision.source.as_str())
            .failing(SeverityNumber::Warn, (!decision.approved).then_some("declined"))
            .text(decision.reason.as_deref()),
        Event::CallStarted { call, .. } => call_said(call),
        Event::CallFinished { call, outcome, .. } => finished_call(call, outcome),
        Event::AttemptStarting { stage, attempt } | Event::AttemptStarted { stage, attempt, .. } => {
            attempt_said(stage, *attempt)
        }
        Event::AgentThreadKnown { stage, attempt, thread } => {
            attempt_said(stage, *attempt).with("gen_ai.conversation.id", thread.0.as_str())
        }
        Event::AttemptFinished { stage, attempt, report } => {
            let message = report.agent.as_ref().and_then(|agent| agent.last_message.as_deref());
            let mut said = attempt_said(stage, *attempt)
                .failing(SeverityNumber::Warn, words::attempt_error(report))
                .text(message.or(Some(report.summary.as_str())));
            said.attributes = said.attributes.maybe(words::EXIT_CODE, report.exit.code());
            said
        }
        Event::RetryScheduled { stage, attempt, .. } => {
            stage_said(stage).with(words::ATTEMPT, *attempt).failing(SeverityNumber::Warn, Some("retry"))
        }
        Event::QuestionAsked { stage, message, .. } | Event::SteerAccepted { stage, message, .. } => {
            stage_said(stage).text(Some(message))
        }
        Event::QuestionAnswered { stage, verdict, reason, .. } => {
            let approved = *verdict == Verdict::Approve;
            stage_said(stage).with("codex_orchestrator.approved", approved).text(reason.as_deref())
        }
        Event::QuestionExpired { stage, .. } => {
            stage_said(stage).failing(SeverityNumber::Warn, Some("unanswered"))
        }
        Event::SteerDelivered { stage, count, .. } => {
            stage_said(stage).with("codex_orchestrator.steer.messages", *count)
        }
        Event::ChildRunStarting { stage, run, .. } => {
            stage_said(stage).with("codex_orchestrator.child_run.id", run.as_str())
        }
        Event::ChildRunFinished { stage, run, outcome } => stage_said(stage)
            .with("codex_orchestrator.child_run.id", run.as_str())
            .with(words::RUN_STATUS, outcome.status().as_str()),
        Event::StageFinished { stage, outcome } => {
            let severity = match outcome {
                StageOutcome::Failed { allowed: false, .. } => SeverityNumber::Error,
                _ => SeverityNumber::Warn,
            };
            stage_said(stage)
                .with(words::STAGE_STATUS, outcome.status().as_str())
                .failing(severity, words::stage_error(outcome))
        }
        Event::Judged(judgement) => Said::about(Subject::Run)
            .with("codex_orchestrator.role", judgement.role.as_str())
            .with("codex_orchestrator.approved", judgement.success),
        Event::CancelRequested { reason, .. } => Said::about(Subject::Run).text(reason.as_deref()),
        Event::RunInterrupted { detail } => {
            Said::about(Subject::Run).failing(SeverityNumber::Warn, Some("interrupted")).text(Some(detail))
        }
        Event::ResumeAccepted { reason, .. } => Said::about(Subject::Run).text(Some(reason)),
        Event::ResumeBlocked { detail, .. } | Event::CommandRefused { detail, .. } => {
            Said::about(Subject::Run).failing(SeverityNumber::Warn, Some("refused")).text(Some(detail))
        }
        Event::RunFinished { outcome } => {
            let severity = match outcome {
                RunOutcome::Failed { .. } => SeverityNumber::Error,
                _ => SeverityNumber::Warn,
            };
            Said::about(Subject::Run)
                .with(words::RUN_STATUS, outcome.status().as_str())
                .failing(severity, words::run_error(outcome))
                .text(outcome.detail())
        }
        // The name says it all.
        _ => Said::about(Subject::Run),
    }
}
