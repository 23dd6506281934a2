//! From recorded events to spans, log records and measurements. Pure: no clock, no network, no randomness.
//!
//! A run is the root span, a stage its child, an attempt the stage's; an agent's turn and its tool calls follow the
//! GenAI conventions of OpenTelemetry. Ids are derived ([`ids`]), so mapping an event again gives the same span.
//!
//! The [`Mapper`] keeps what a span needs until it ends: when it began and what happened meanwhile. Texts written by
//! people, agents or programs leave this module only when [`Mapper::new`] was told so; arguments, environments and
//! paths never do.

mod agent;
mod attributes;
mod calls;
mod ids;
mod record;
mod spans;
mod words;

use std::collections::HashMap;

use co_model::{
    CommandLine, Event, Pipeline, Recorded, RunCreated, RunId, RunOutcome, StageId, StageOutcome, StageWork,
    TaskId, ThreadId, Timestamp, TokenUsage, Verdict,
};
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::trace::v1::Span;

pub(crate) use attributes::{key_value, nanos};

use crate::metrics::{Instrument, Measurement};
use attributes::{Attributes, executable_name, seconds};
use calls::OpenCall;
use ids::Subject;
use spans::{SpanEvents, finished, link_to_run};

/// What must be known of a run besides its events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunFacts {
    /// The run.
    pub run: RunId,
    /// Its task.
    pub task: TaskId,
    /// The run that owns this one, or that it belongs with.
    pub parent: Option<RunId>,
    /// Absolute path of the directory the stages run in; told to notified programs, never exported.
    pub workspace: String,
}

/// What an event gives to export.
#[derive(Debug, Default)]
pub(crate) struct Mapped {
    pub(crate) spans: Vec<Span>,
    pub(crate) logs: Vec<LogRecord>,
    pub(crate) measurements: Vec<Measurement>,
}

impl Mapped {
    fn measure<const N: usize>(
        &mut self,
        instrument: Instrument,
        value: f64,
        attributes: [(&'static str, &str); N],
    ) {
        let attributes = attributes.map(|(key, value)| (key, value.to_owned())).to_vec();
        self.measurements.push(Measurement { instrument, value, attributes });
    }
}

/// Remembers open spans and turns events into what is exported.
#[derive(Debug, Default)]
pub(crate) struct Mapper {
    runs: HashMap<RunId, RunTrace>,
    with_texts: bool,
}

/// What is known of a run that has not succeeded yet.
#[derive(Debug, Default)]
struct RunTrace {
    began_at: Option<Timestamp>,
    pipeline: Option<String>,
    retry_of: Option<RunId>,
    /// What each stage of the pipeline does.
    works: HashMap<StageId, Work>,
    stages: HashMap<StageId, StageTrace>,
    calls: HashMap<String, OpenCall>,
    /// Tokens each conversation had used when its last turn ended.
    usage: HashMap<ThreadId, TokenUsage>,
    events: SpanEvents,
}

/// What a stage does, as far as it is exported.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Work {
    Command { executable: String },
    Agent { name: String, model: Option<String> },
    Gate,
    Pipeline,
    Mcp,
}

impl Work {
    fn of(work: &StageWork) -> Self {
        match work {
            StageWork::Command(CommandLine::Shell(_)) => Self::Command { executable: "sh".to_owned() },
            StageWork::Command(CommandLine::Argv(argv)) => {
                let program = argv.first().map_or("", String::as_str);
                Self::Command { executable: executable_name(program).to_owned() }
            }
            StageWork::Agent(agent) => Self::Agent { name: agent.agent.clone(), model: agent.model.clone() },
            StageWork::Gate(_) => Self::Gate,
            StageWork::Pipeline(_) => Self::Pipeline,
            StageWork::Mcp(_) => Self::Mcp,
        }
    }

    const fn as_str(&self) -> &'static str {
        match self {
            Self::Command { .. } => "command",
            Self::Agent { .. } => "agent",
            Self::Gate => "gate",
            Self::Pipeline => "pipeline",
            Self::Mcp => "mcp",
        }
    }
}

/// What is known of a stage that has not ended.
#[derive(Debug, Default)]
struct StageTrace {
    began_at: Option<Timestamp>,
    events: SpanEvents,
    attempt: AttemptTrace,
}

/// What is known of the attempt under way.
#[derive(Debug, Default)]
struct AttemptTrace {
    began_at: Option<Timestamp>,
    events: SpanEvents,
    thread: Option<ThreadId>,
    /// Turns beyond the first.
    further_turns: u32,
}

impl Mapper {
    /// Makes a mapper; `with_texts` lets prompts, questions, reasons and messages out.
    pub(crate) fn new(with_texts: bool) -> Self {
        Self { runs: HashMap::new(), with_texts }
    }

    /// Maps one event. The events of a run must come in their order.
    pub(crate) fn map(&mut self, facts: &RunFacts, recorded: &Recorded) -> Mapped {
        let mut mapped = Mapped::default();
        mapped.logs.push(record::of_event(facts, recorded, self.with_texts));
        let trace = self.runs.entry(facts.run.clone()).or_default();
        trace.apply(facts, recorded.at, &recorded.event, &mut mapped);
        if let Event::RunFinished { outcome } = &recorded.event {
            // What has succeeded is over for good; everything else may be resumed, and goes on in its span.
            if *outcome == RunOutcome::Succeeded {
                self.runs.remove(&facts.run);
            } else {
                trace.stages.clear();
            }
        }
        mapped
    }
}

impl RunTrace {
    fn apply(&mut self, facts: &RunFacts, at: Timestamp, event: &Event, mapped: &mut Mapped) {
        match event {
            Event::RunCreated(created) => self.created(at, created),
            Event::CallRequested(request) => self.call_requested(at, request),
            Event::CallDecided { call, decision, .. } => self.call_decided(at, call, decision, mapped),
            Event::CallStarted { call, layers, .. } => self.call_started(at, call, layers),
            Event::CallFinished { call, outcome, .. } => {
                self.call_finished(facts, at, call, outcome, mapped);
            }
            Event::AttemptStarting { stage, .. } => {
                let stage = self.stage(stage, at);
                stage.attempt = AttemptTrace { began_at: Some(at), ..AttemptTrace::default() };
            }
            Event::AgentThreadKnown { stage, thread, .. } => {
                self.stage(stage, at).attempt.thread = Some(thread.clone());
            }
            Event::AttemptFinished { stage, attempt, report } => {
                self.attempt_finished(facts, at, (stage, *attempt), report, mapped);
            }
            Event::RetryScheduled { stage, attempt, due_at } => {
                let delay = i64::try_from(due_at.since(at).as_millis()).unwrap_or(i64::MAX);
                let attributes = Attributes::default()
                    .with(words::ATTEMPT, *attempt)
                    .with("codex_orchestrator.retry.delay_ms", delay);
                self.stage(stage, at).events.push(at, "retry_scheduled", attributes);
                let kind = self.kind(stage);
                mapped.measure(Instrument::StageRetries, 1.0, [(words::STAGE_KIND, kind)]);
            }
            Event::QuestionAsked { stage, .. } => {
                self.stage(stage, at).events.push(at, "question_asked", Attributes::default());
            }
            Event::QuestionAnswered { stage, verdict, .. } => {
                let verdict = match verdict {
                    Verdict::Approve => "approve",
                    Verdict::Deny => "deny",
                };
                let attributes = Attributes::default().with("codex_orchestrator.verdict", verdict);
                self.stage(stage, at).events.push(at, "question_answered", attributes);
            }
            Event::QuestionExpired { stage, .. } => {
                self.stage(stage, at).events.push(at, "question_expired", Attributes::default());
            }
            Event::SteerDelivered { stage, count, in_turn } => {
                let attempt = &mut self.stage(stage, at).attempt;
                attempt.further_turns = attempt.further_turns.saturating_add(u32::from(!in_turn));
                let attributes = Attributes::default().with("codex_orchestrator.steer.messages", *count);
                attempt.events.push(at, "steer_delivered", attributes);
            }
            Event::ChildRunStarting { stage, run, .. } => {
                let attributes = Attributes::default().with("codex_orchestrator.child_run.id", run.as_str());
                self.stage(stage, at).events.push(at, "child_run_starting", attributes);
            }
            Event::StageFinished { stage, outcome } => self.stage_finished(facts, at, stage, outcome, mapped),
            Event::CancelRequested { .. } | Event::RunInterrupted { .. } | Event::ResumeBlocked { .. } => {
                self.events.push(at, event.name(), Attributes::default());
            }
            Event::ResumeAccepted { pipeline, .. } => {
                self.events.push(at, event.name(), Attributes::default());
                if let Some(pipeline) = pipeline {
                    self.learn_pipeline(pipeline);
                }
            }
            Event::RunFinished { outcome } => self.run_finished(facts, at, outcome, mapped),
            // No span begins or ends with any other event; its log record says it all.
            _ => {}
        }
    }

    fn created(&mut self, at: Timestamp, created: &RunCreated) {
        self.began_at = Some(at);
        self.retry_of.clone_from(&created.settings.retry_of);
        self.learn_pipeline(&created.pipeline);
    }

    fn learn_pipeline(&mut self, pipeline: &Pipeline) {
        self.pipeline = Some(pipeline.id.to_string());
        self.works = pipeline.stages.iter().map(|stage| (stage.id.clone(), Work::of(&stage.work))).collect();
    }

    /// The open stage; begins it when this is the first that is heard of it.
    fn stage(&mut self, stage: &StageId, at: Timestamp) -> &mut StageTrace {
        let trace = self.stages.entry(stage.clone()).or_default();
        trace.began_at.get_or_insert(at);
        trace
    }

    fn kind(&self, stage: &StageId) -> &'static str {
        self.works.get(stage).map_or("unknown", Work::as_str)
    }

    fn pipeline(&self) -> &str {
        self.pipeline.as_deref().unwrap_or("unknown")
    }

    fn stage_finished(
        &mut self,
        facts: &RunFacts,
        at: Timestamp,
        stage: &StageId,
        outcome: &StageOutcome,
        mapped: &mut Mapped,
    ) {
        let status = outcome.status().as_str();
        // A stage that was skipped has no span: it took no time.
        let Some(StageTrace { began_at: Some(began_at), events, .. }) = self.stages.remove(stage) else {
            return;
        };
        let error = words::stage_error(outcome);
        let attributes = words::of_run(facts)
            .with(words::STAGE, stage.as_str())
            .with(words::STAGE_KIND, self.kind(stage))
            .with(words::STAGE_STATUS, status)
            .maybe(words::ERROR_TYPE, error);
        let mut span = finished(facts, Subject::Stage(stage), Subject::Run, began_at, at);
        span.name = format!("stage {stage}");
        span.fill(attributes, events, error);
        mapped.spans.push(span.done());
        mapped.measure(
            Instrument::StageDuration,
            seconds(at.since(began_at)),
            [(words::STAGE_KIND, self.kind(stage)), (words::STAGE_STATUS, status)],
        );
    }

    fn run_finished(&mut self, facts: &RunFacts, at: Timestamp, outcome: &RunOutcome, mapped: &mut Mapped) {
        self.close_calls(facts, at, mapped);
        let began_at = self.began_at.unwrap_or(at);
        let status = outcome.status().as_str();
        let error = words::run_error(outcome);
        let attributes = words::of_run(facts)
            .with(words::PIPELINE, self.pipeline())
            .with(words::RUN_STATUS, status)
            .maybe(words::ERROR_TYPE, error);
        let mut span = finished(facts, Subject::Run, Subject::Run, began_at, at);
        span.name = format!("run {}", self.pipeline());
        let nested_in = facts.parent.as_ref().filter(|parent| facts.run.is_child_of(parent));
        span.parent_span_id = nested_in
            .and_then(|parent| {
                let stage = ids::nesting_stage(&facts.run, parent)?;
                Some(ids::span_id(parent, Subject::Stage(&stage)))
            })
            .unwrap_or_default();
        // A run that belongs with another, or repeats it, is a trace of its own that points there.
        let belongs_with = facts.parent.as_ref().filter(|_| nested_in.is_none());
        span.links = belongs_with.into_iter().chain(self.retry_of.as_ref()).map(link_to_run).collect();
        span.fill(attributes, std::mem::take(&mut self.events), error);
        mapped.spans.push(span.done());
        let by = [(words::RUN_STATUS, status), (words::PIPELINE, self.pipeline())];
        mapped.measure(Instrument::Runs, 1.0, by);
        mapped.measure(Instrument::RunDuration, seconds(at.since(began_at)), by);
    }
}

#[cfg(test)]
mod tests;
