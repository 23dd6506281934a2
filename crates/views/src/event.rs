//! The event stream: one JSON object per line, in a versioned envelope.
//!
//! These are wire types of their own. The stored shape of an event is `co-log`'s and may change;
//! this one changes only with [`ENVELOPE_VERSION`]. Values of environment variables and the
//! resume token's hash are left out on purpose.

use co_model::{
    AttemptReport, Event, Pipeline, Recorded, RunCreated, RunId, RunOutcome, RunPlan, Stage, StageId,
    StageOutcome, StageWork, TaskId,
};
use schemars::JsonSchema;
use serde::Serialize;

use crate::agent::{AgentTurnView, turn_view};
use crate::attempt::{Exit, OutputBytes, OutputFile, output_files};
use crate::call::{CallDecisionView, CallOutcomeView, CallRequestView, PolicyView};
use crate::json::{Time, millis, to_line};
use crate::manifest::{DriftEntry, drift_entries};
use crate::sentence;
use crate::words::{
    AnswerWord, GrantScopeWord, ModeWord, RoleWord, RunStatusWord, SourceWord, StageKind, StageStatusWord,
};

/// The version of the envelope and of what is in it.
pub const ENVELOPE_VERSION: u32 = 1;

/// One line of the event stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(title = "Codex Orchestrator run event", deny_unknown_fields)]
pub struct EventLine {
    /// Version of the envelope: 1.
    #[schemars(extend("const" = 1))]
    pub v: u32,
    /// Position of the event in its run, from 1, without gaps.
    #[schemars(range(min = 1))]
    pub seq: u64,
    /// When it was recorded; never earlier than the event before it.
    pub at: Time,
    /// The task.
    pub task_id: String,
    /// The run.
    pub run_id: String,
    /// What happened.
    #[serde(flatten)]
    pub event: EventData,
}

/// What happened, by type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(tag = "type", content = "data", rename_all = "snake_case")]
#[schemars(deny_unknown_fields)]
pub enum EventData {
    /// The run exists. Always the first event.
    RunCreated {
        /// The pipeline.
        pipeline_id: String,
        /// Its title.
        pipeline_title: String,
        /// Where it was defined.
        source: SourceWord,
        /// Whether the run needs a succeeding guardrail.
        guardrails_required: bool,
        /// How many stages may run at the same time.
        max_parallel: u16,
        /// Its stages, in file order.
        stages: Vec<StageView>,
        /// The pipelines its nested stages lead to, all the way down.
        nested_pipeline_ids: Vec<String>,
        /// Who started it.
        actor: Option<String>,
        /// The run that owns it, or that it belongs with.
        parent_run_id: Option<String>,
        /// The run it repeats.
        retry_of: Option<String>,
        /// The stage asked for, as it was written.
        target: Option<String>,
        /// The approval policy asked for.
        approval_policy: Option<String>,
        /// What decides what is asked, allowed and confined.
        policy: PolicyView,
        /// What the task is.
        description: Option<String>,
        /// Absolute path of the directory the stages run in.
        workspace: String,
        /// Branch of the worktree made for the run.
        worktree_branch: Option<String>,
        /// SHA-256 over all instruction files.
        instructions_hash: Option<String>,
    },
    /// The planner has decided what is run.
    RunPlanned {
        /// `<pipeline>:<stage>` when a target is set.
        plan_target_id: Option<String>,
        /// Where the run is executed.
        mode: ModeWord,
        /// Stages to run, in order.
        stages: Vec<PlannedStageView>,
        /// Stages left out.
        skipped: Vec<SkippedStageView>,
    },
    /// The run has begun, or goes on.
    RunStarted {},
    /// An attempt is about to be made.
    AttemptStarting {
        /// The stage.
        stage_id: String,
        /// From 1.
        attempt: u32,
    },
    /// The attempt's process exists.
    AttemptStarted {
        /// The stage.
        stage_id: String,
        /// From 1.
        attempt: u32,
        /// The process, with what tells it from a later one of the same number.
        process: String,
    },
    /// The agent has named its conversation.
    AgentThreadKnown {
        /// The stage.
        stage_id: String,
        /// From 1.
        attempt: u32,
        /// The conversation.
        thread_id: String,
    },
    /// An attempt is over and everything it started is gone.
    AttemptFinished {
        /// The stage.
        stage_id: String,
        /// From 1.
        attempt: u32,
        /// What was observed.
        report: ReportView,
    },
    /// Another attempt will be made.
    RetryScheduled {
        /// The stage.
        stage_id: String,
        /// The attempt to come.
        attempt: u32,
        /// Not before this instant.
        due_at: Time,
    },
    /// Somebody wants something done.
    CallRequested {
        /// The stage it belongs to.
        stage_id: String,
        /// The call, unique within the run.
        call_id: String,
        /// The attempt it was made in, from 1.
        attempt: u32,
        /// What is wanted.
        request: CallRequestView,
    },
    /// It may be done, or not.
    CallDecided {
        /// The stage it belongs to.
        stage_id: String,
        /// The call.
        call_id: String,
        /// Whether, and on whose word.
        decision: CallDecisionView,
    },
    /// It is being done.
    CallStarted {
        /// The stage it belongs to.
        stage_id: String,
        /// The call.
        call_id: String,
        /// The layers of our sandbox that hold, outermost first.
        layers: Vec<String>,
        /// What it lacks of what was asked for, when a weaker sandbox was accepted.
        weaker: Option<String>,
    },
    /// It is over.
    CallFinished {
        /// The stage it belongs to.
        stage_id: String,
        /// The call.
        call_id: String,
        /// How it ended.
        outcome: CallOutcomeView,
    },
    /// A question to a person is open.
    QuestionAsked {
        /// The gate, or the stage of the call.
        stage_id: String,
        /// The call it is about; null for a gate.
        call_id: Option<String>,
        /// What is asked.
        message: String,
        /// Unanswered by then means no.
        expires_at: Time,
    },
    /// The question was answered.
    QuestionAnswered {
        /// The gate, or the stage of the call.
        stage_id: String,
        /// The call it is about; null for a gate.
        call_id: Option<String>,
        /// How far a consent to a call reaches; null for a gate and for a no.
        scope: Option<GrantScopeWord>,
        /// What they said.
        verdict: AnswerWord,
        /// Who answered.
        actor: String,
        /// Why.
        reason: Option<String>,
    },
    /// Nobody answered in time, which means no.
    QuestionExpired {
        /// The gate, or the stage of the call.
        stage_id: String,
        /// The call it is about; null for a gate.
        call_id: Option<String>,
    },
    /// A message for a running agent was accepted.
    SteerAccepted {
        /// The agent stage.
        stage_id: String,
        /// What it is told.
        message: String,
        /// Who said it.
        actor: String,
    },
    /// The first messages of those that wait were handed to the agent.
    SteerDelivered {
        /// The agent stage.
        stage_id: String,
        /// How many messages.
        count: u32,
        /// Whether the agent took them up within the turn that was running; else they make up the next one.
        in_turn: bool,
    },
    /// A nested pipeline is about to run, or to go on, as a child run.
    ChildRunStarting {
        /// The stage.
        stage_id: String,
        /// The child.
        child_run_id: String,
        /// Its pipeline.
        pipeline_id: String,
    },
    /// The child run is over.
    ChildRunFinished {
        /// The stage.
        stage_id: String,
        /// The child.
        child_run_id: String,
        /// How it ended.
        status: RunStatusWord,
        /// Machine-readable detail.
        status_detail: Option<String>,
    },
    /// A stage is over.
    StageFinished {
        /// The stage.
        stage_id: String,
        /// How it ended.
        status: StageStatusWord,
        /// Why it failed or was skipped, as one word in kebab case.
        reason: Option<String>,
        /// The same in words.
        detail: Option<String>,
        /// Whether the run may succeed although the stage failed.
        allowed_failure: bool,
    },
    /// A planner stage narrowed the selection.
    SelectionNarrowed {
        /// The planner stage.
        stage_id: String,
        /// Stages left out.
        left_out: Vec<String>,
    },
    /// A role has given its verdict.
    Judged {
        /// The role.
        role: RoleWord,
        /// The verdict.
        success: bool,
        /// What it rests on, in sentences.
        reasons: Vec<String>,
    },
    /// Somebody asked to stop the run.
    CancelRequested {
        /// Who.
        actor: String,
        /// Why.
        reason: Option<String>,
    },
    /// The owner of the run is gone without ending it.
    RunInterrupted {
        /// What was found.
        detail: String,
    },
    /// The run goes on.
    ResumeAccepted {
        /// Who asked.
        actor: String,
        /// Why.
        reason: String,
        /// How the pipeline differs from the one that ran before.
        drift: Vec<DriftEntry>,
        /// The stages from here on; null when the pipeline is unchanged.
        stages: Option<Vec<StageView>>,
        /// The policy from here on; null when unchanged.
        policy: Option<PolicyView>,
    },
    /// A request to go on was refused.
    ResumeBlocked {
        /// Who asked.
        actor: String,
        /// Why they asked.
        reason: String,
        /// Why it was refused.
        detail: String,
    },
    /// A command was refused.
    CommandRefused {
        /// The command's idempotency key.
        key: String,
        /// Who asked.
        actor: String,
        /// Why it was refused.
        detail: String,
    },
    /// The run is over. Only a resume may follow.
    RunFinished {
        /// How it ended.
        status: RunStatusWord,
        /// Machine-readable detail.
        status_detail: Option<String>,
    },
}

/// A stage as it is defined.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct StageView {
    /// Unique within the run.
    pub id: String,
    /// Shown to people.
    pub title: String,
    /// What it does.
    pub kind: StageKind,
    /// The part it plays.
    pub role: RoleWord,
    /// The command as a person would type it.
    pub command: Option<String>,
    /// The agent.
    pub agent: Option<String>,
    /// The nested pipeline.
    pub pipeline_id: Option<String>,
}

/// A stage to run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct PlannedStageView {
    /// The stage.
    pub stage_id: String,
    /// Its part.
    pub role: RoleWord,
    /// Where it is executed.
    pub mode: ModeWord,
}

/// A stage left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct SkippedStageView {
    /// The stage.
    pub stage_id: String,
    /// Why, as one word in kebab case.
    pub reason: String,
}

/// What was observed of an attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct ReportView {
    /// How it ended.
    pub exit: Exit,
    /// Wall time from spawn to the last byte of output, in milliseconds.
    pub duration_ms: u64,
    /// One line for people.
    pub summary: String,
    /// How many bytes it wrote.
    pub output_bytes: OutputBytes,
    /// Processes that had to be killed at its end.
    pub survivors_killed: u32,
    /// Declared outputs that were produced, with absolute paths.
    pub outputs: Vec<OutputFile>,
    /// Declared outputs that were missing.
    pub missing_outputs: Vec<String>,
    /// Whether the sandbox, as far as can be told, stopped it.
    pub sandbox_denied: bool,
    /// The class of a failure that passes by itself.
    pub transient: Option<String>,
    /// The agent's turn.
    pub agent: Option<AgentTurnView>,
    /// The stages a planner stage chose.
    pub selection: Option<Vec<String>>,
    /// Why a tester or reviewer stage rejects the work.
    pub objection: Option<String>,
}

/// Shows an event as one line of the stream, without its line break.
pub fn event_line(recorded: &Recorded, task: &TaskId, run: &RunId) -> String {
    to_line(&EventLine {
        v: ENVELOPE_VERSION,
        seq: recorded.seq.0,
        at: recorded.at.into(),
        task_id: task.to_string(),
        run_id: run.to_string(),
        event: EventData::from(&recorded.event),
    })
}

impl From<&Event> for EventData {
    #[expect(clippy::too_many_lines, reason = "one arm for each event")]
    fn from(event: &Event) -> Self {
        let text = |stage: &StageId| stage.to_string();
        match event {
            Event::RunCreated(created) => run_created(created),
            Event::RunPlanned(plan) => run_planned(plan),
            Event::RunStarted => Self::RunStarted {},
            Event::AttemptStarting { stage, attempt } => {
                Self::AttemptStarting { stage_id: text(stage), attempt: *attempt }
            }
            Event::AttemptStarted { stage, attempt, process } => {
                Self::AttemptStarted { stage_id: text(stage), attempt: *attempt, process: process.clone() }
            }
            Event::AgentThreadKnown { stage, attempt, thread } => Self::AgentThreadKnown {
                stage_id: text(stage),
                attempt: *attempt,
                thread_id: thread.to_string(),
            },
            Event::AttemptFinished { stage, attempt, report } => Self::AttemptFinished {
                stage_id: text(stage),
                attempt: *attempt,
                report: ReportView::from(report.as_ref()),
            },
            Event::RetryScheduled { stage, attempt, due_at } => {
                Self::RetryScheduled { stage_id: text(stage), attempt: *attempt, due_at: (*due_at).into() }
            }
            Event::CallRequested(request) => Self::CallRequested {
                stage_id: text(&request.stage),
                call_id: request.call.to_string(),
                attempt: request.attempt,
                request: CallRequestView::from(request.as_ref()),
            },
            Event::CallDecided { stage, call, decision } => Self::CallDecided {
                stage_id: text(stage),
                call_id: call.to_string(),
                decision: CallDecisionView::from(decision),
            },
            Event::CallStarted { stage, call, layers, weaker } => Self::CallStarted {
                stage_id: text(stage),
                call_id: call.to_string(),
                layers: layers.clone(),
                weaker: weaker.clone(),
            },
            Event::CallFinished { stage, call, outcome } => Self::CallFinished {
                stage_id: text(stage),
                call_id: call.to_string(),
                outcome: CallOutcomeView::from(outcome),
            },
            Event::QuestionAsked { stage, message, expires_at, call } => Self::QuestionAsked {
                stage_id: text(stage),
                call_id: call.as_ref().map(ToString::to_string),
                message: message.clone(),
                expires_at: (*expires_at).into(),
            },
            Event::QuestionAnswered { stage, verdict, actor, reason, call, scope } => {
                Self::QuestionAnswered {
                    stage_id: text(stage),
                    call_id: call.as_ref().map(ToString::to_string),
                    scope: scope.map(GrantScopeWord::from),
                    verdict: Some(*verdict).into(),
                    actor: actor.to_string(),
                    reason: reason.clone(),
                }
            }
            Event::QuestionExpired { stage, call } => Self::QuestionExpired {
                stage_id: text(stage),
                call_id: call.as_ref().map(ToString::to_string),
            },
            Event::SteerAccepted { stage, message, actor } => Self::SteerAccepted {
                stage_id: text(stage),
                message: message.clone(),
                actor: actor.to_string(),
            },
            Event::SteerDelivered { stage, count, in_turn } => {
                Self::SteerDelivered { stage_id: text(stage), count: *count, in_turn: *in_turn }
            }
            Event::ChildRunStarting { stage, run, pipeline } => Self::ChildRunStarting {
                stage_id: text(stage),
                child_run_id: run.to_string(),
                pipeline_id: pipeline.to_string(),
            },
            Event::ChildRunFinished { stage, run, outcome } => Self::ChildRunFinished {
                stage_id: text(stage),
                child_run_id: run.to_string(),
                status: outcome.status().into(),
                status_detail: detail(outcome),
            },
            Event::StageFinished { stage, outcome } => stage_finished(stage, outcome),
            Event::SelectionNarrowed { by, left_out } => {
                Self::SelectionNarrowed { stage_id: text(by), left_out: left_out.iter().map(text).collect() }
            }
            Event::Judged(judgement) => Self::Judged {
                role: judgement.role.into(),
                success: judgement.success,
                reasons: judgement.reasons.clone(),
            },
            Event::CancelRequested { actor, reason } => {
                Self::CancelRequested { actor: actor.to_string(), reason: reason.clone() }
            }
            Event::RunInterrupted { detail } => Self::RunInterrupted { detail: detail.clone() },
            Event::ResumeAccepted { actor, reason, drift, pipeline, nested: _, policy } => {
                Self::ResumeAccepted {
                    actor: actor.to_string(),
                    reason: reason.clone(),
                    drift: drift_entries(drift),
                    stages: pipeline.as_deref().map(stage_views),
                    policy: policy.as_deref().map(PolicyView::from),
                }
            }
            Event::ResumeBlocked { actor, reason, detail } => Self::ResumeBlocked {
                actor: actor.to_string(),
                reason: reason.clone(),
                detail: detail.clone(),
            },
            Event::CommandRefused { key, actor, detail } => Self::CommandRefused {
                key: key.to_string(),
                actor: actor.to_string(),
                detail: detail.clone(),
            },
            Event::RunFinished { outcome } => {
                Self::RunFinished { status: outcome.status().into(), status_detail: detail(outcome) }
            }
        }
    }
}

fn run_created(created: &RunCreated) -> EventData {
    let RunCreated { pipeline, settings, nested, .. } = created;
    EventData::RunCreated {
        pipeline_id: pipeline.id.to_string(),
        pipeline_title: pipeline.title.clone(),
        source: pipeline.source.clone().into(),
        guardrails_required: pipeline.guardrails_required,
        max_parallel: pipeline.max_parallel.get(),
        stages: stage_views(pipeline),
        nested_pipeline_ids: nested.keys().map(ToString::to_string).collect(),
        actor: settings.actor.as_ref().map(ToString::to_string),
        parent_run_id: settings.parent.as_ref().map(ToString::to_string),
        retry_of: settings.retry_of.as_ref().map(ToString::to_string),
        target: settings.target.clone(),
        approval_policy: settings.approval_policy.clone(),
        policy: PolicyView::from(&settings.policy),
        description: settings.description.clone(),
        workspace: settings.workspace.clone(),
        worktree_branch: settings.worktree_branch.clone(),
        instructions_hash: settings.instructions_sha256.clone(),
    }
}

fn run_planned(plan: &RunPlan) -> EventData {
    let stages = plan.stages.iter().map(|planned| PlannedStageView {
        stage_id: planned.stage.to_string(),
        role: planned.role.into(),
        mode: planned.mode.into(),
    });
    let skipped = plan.skipped.iter().map(|skipped| SkippedStageView {
        stage_id: skipped.stage.to_string(),
        reason: sentence::skip_word(&skipped.reason).to_owned(),
    });
    EventData::RunPlanned {
        plan_target_id: plan.target.clone(),
        mode: plan.mode.into(),
        stages: stages.collect(),
        skipped: skipped.collect(),
    }
}

fn stage_finished(stage: &StageId, outcome: &StageOutcome) -> EventData {
    let (reason, detail, allowed_failure) = match outcome {
        StageOutcome::Succeeded | StageOutcome::Cancelled => (None, None, false),
        StageOutcome::Failed { reason, allowed } => {
            (Some(reason.word().to_owned()), Some(reason.to_string()), *allowed)
        }
        StageOutcome::Skipped { reason } => {
            (Some(sentence::skip_word(reason).to_owned()), Some(sentence::skip(reason)), false)
        }
    };
    EventData::StageFinished {
        stage_id: stage.to_string(),
        status: outcome.status().into(),
        reason,
        detail,
        allowed_failure,
    }
}

fn detail(outcome: &RunOutcome) -> Option<String> {
    outcome.detail().map(str::to_owned)
}

fn stage_views(pipeline: &Pipeline) -> Vec<StageView> {
    pipeline.stages.iter().map(stage_view).collect()
}

fn stage_view(stage: &Stage) -> StageView {
    let (command, agent, pipeline_id) = match &stage.work {
        StageWork::Command(line) => (Some(sentence::command_text(line)), None, None),
        StageWork::Agent(agent) => (None, Some(agent.agent.clone()), None),
        StageWork::Mcp(work) => (Some(sentence::tool_text(work)), None, None),
        StageWork::Gate(_) => (None, None, None),
        StageWork::Pipeline(nested) => (None, None, Some(nested.pipeline.to_string())),
    };
    StageView {
        id: stage.id.to_string(),
        title: stage.title.clone(),
        kind: (&stage.work).into(),
        role: stage.role.into(),
        command,
        agent,
        pipeline_id,
    }
}

impl From<&AttemptReport> for ReportView {
    fn from(report: &AttemptReport) -> Self {
        Self {
            exit: Exit::from(&report.exit),
            duration_ms: millis(report.duration),
            summary: report.summary.clone(),
            output_bytes: report.output.clone().into(),
            survivors_killed: report.survivors_killed,
            outputs: output_files(report, None),
            missing_outputs: report.missing_outputs.clone(),
            sandbox_denied: report.sandbox_denied,
            transient: report.transient.clone(),
            agent: report.agent.as_ref().map(turn_view),
            selection: report.selection.clone(),
            objection: report.objection.clone(),
        }
    }
}
