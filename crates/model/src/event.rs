//! Facts of a run, in the order they were recorded. Never changed, only added.

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use crate::{
    Actor, AttemptReport, CallDecision, CallId, CallOutcome, CallRequest, CommandKey, ExecutionMode,
    GrantScope, Pipeline, PipelineId, Role, RunId, RunOutcome, SkipReason, StageId, StageOutcome, TaskId,
    ThreadId, Timestamp, ToolPolicy, Verdict,
};

/// The position of an event in its run's log, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EventSeq(pub u64);

/// An event with its place and time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// Its position in the run's log.
    pub seq: EventSeq,
    /// When it was recorded. Never earlier than the event before it.
    pub at: Timestamp,
    /// The fact.
    pub event: Event,
}

/// A fact of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", content = "data", rename_all = "snake_case")]
pub enum Event {
    /// The run exists. Always the first event.
    RunCreated(Box<RunCreated>),
    /// The planner has decided what is run.
    RunPlanned(RunPlan),
    /// The run has begun.
    RunStarted,
    /// Somebody wants something done.
    CallRequested(Box<CallRequest>),
    /// It may be done, or not. A stage's own command is tried from here on by attempts.
    CallDecided {
        /// The stage it belongs to.
        stage: StageId,
        /// The call.
        call: CallId,
        /// Whether, and on whose word.
        decision: CallDecision,
    },
    /// It is being done.
    CallStarted {
        /// The stage it belongs to.
        stage: StageId,
        /// The call.
        call: CallId,
        /// The layers of the sandbox that hold, outermost first; empty without a sandbox, or when an
        /// agent confines the call itself.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        layers: Vec<String>,
        /// What the sandbox lacks of what was asked for, when a weaker one was accepted.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        weaker: Option<String>,
    },
    /// It is over.
    CallFinished {
        /// The stage it belongs to.
        stage: StageId,
        /// The call.
        call: CallId,
        /// How it ended.
        outcome: CallOutcome,
    },
    /// An attempt is about to be made; whatever it starts carries its mark.
    AttemptStarting {
        /// The stage.
        stage: StageId,
        /// From 1.
        attempt: u32,
    },
    /// The attempt's process exists.
    AttemptStarted {
        /// The stage.
        stage: StageId,
        /// From 1.
        attempt: u32,
        /// The process, with what tells it from a later one of the same number.
        process: String,
    },
    /// The agent has named its conversation.
    AgentThreadKnown {
        /// The stage.
        stage: StageId,
        /// From 1.
        attempt: u32,
        /// The conversation.
        thread: ThreadId,
    },
    /// An attempt is over and its whole group is gone.
    AttemptFinished {
        /// The stage.
        stage: StageId,
        /// From 1.
        attempt: u32,
        /// What was observed.
        report: Box<AttemptReport>,
    },
    /// Another attempt will be made.
    RetryScheduled {
        /// The stage.
        stage: StageId,
        /// The attempt to come.
        attempt: u32,
        /// Not before this instant.
        due_at: Timestamp,
    },
    /// A question to a person is open.
    QuestionAsked {
        /// The gate.
        stage: StageId,
        /// What was asked.
        message: String,
        /// Unanswered by then means no.
        expires_at: Timestamp,
        /// The tool call that consent is asked for; `None` for the question of a gate.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        call: Option<CallId>,
    },
    /// The question was answered.
    QuestionAnswered {
        /// The gate.
        stage: StageId,
        /// Yes or no.
        verdict: Verdict,
        /// Who answered.
        actor: Actor,
        /// Why.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
        /// The tool call that consent was asked for; `None` for the question of a gate.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        call: Option<CallId>,
        /// How far the consent reaches.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        scope: Option<GrantScope>,
    },
    /// Nobody answered in time.
    QuestionExpired {
        /// The gate, or the stage of the call.
        stage: StageId,
        /// The tool call that consent was asked for; `None` for the question of a gate.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        call: Option<CallId>,
    },
    /// A message for a running agent was accepted.
    SteerAccepted {
        /// The agent stage.
        stage: StageId,
        /// What it is told.
        message: String,
        /// Who said it.
        actor: Actor,
    },
    /// The first messages of those that wait were handed to the agent.
    SteerDelivered {
        /// The agent stage.
        stage: StageId,
        /// How many messages.
        count: u32,
        /// Whether the agent took them up within the turn that was running; else they make up the next one.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        in_turn: bool,
    },
    /// A nested pipeline is about to run, or to go on, as this run.
    ChildRunStarting {
        /// The stage.
        stage: StageId,
        /// The child.
        run: RunId,
        /// Its pipeline.
        pipeline: PipelineId,
    },
    /// The child run is over.
    ChildRunFinished {
        /// The stage.
        stage: StageId,
        /// The child.
        run: RunId,
        /// How it ended.
        outcome: RunOutcome,
    },
    /// A stage is over.
    StageFinished {
        /// The stage.
        stage: StageId,
        /// How it ended.
        outcome: StageOutcome,
    },
    /// A planner stage narrowed the selection.
    SelectionNarrowed {
        /// The planner stage.
        by: StageId,
        /// Stages left out.
        left_out: Vec<StageId>,
    },
    /// A role has given its verdict.
    Judged(Judgement),
    /// Somebody asked to stop the run.
    CancelRequested {
        /// Who.
        actor: Actor,
        /// Why.
        #[serde(default, skip_serializing_if = "Option::is_none")]
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
        actor: Actor,
        /// Why.
        reason: String,
        /// How the pipeline differs from the one that ran before.
        drift: Drift,
        /// The pipeline from here on; `None` when unchanged.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pipeline: Option<Box<Pipeline>>,
        /// The pipelines its nested stages lead to from here on; `None` when unchanged.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        nested: Option<IndexMap<PipelineId, Pipeline>>,
        /// The policy from here on; `None` when unchanged.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        policy: Option<Box<ToolPolicy>>,
    },
    /// A request to go on was refused.
    ResumeBlocked {
        /// Who asked.
        actor: Actor,
        /// Why they asked.
        reason: String,
        /// Why it was refused.
        detail: String,
    },
    /// A command was refused; its key is answered with this from now on.
    CommandRefused {
        /// The command's key.
        key: CommandKey,
        /// Who asked.
        actor: Actor,
        /// Why it was refused.
        detail: String,
    },
    /// The run is over. Only a resume may follow.
    RunFinished {
        /// How it ended.
        outcome: RunOutcome,
    },
}

impl Event {
    /// The event's name as it is stored and streamed.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::RunCreated(_) => "run_created",
            Self::RunPlanned(_) => "run_planned",
            Self::RunStarted => "run_started",
            Self::CallRequested(_) => "call_requested",
            Self::CallDecided { .. } => "call_decided",
            Self::CallStarted { .. } => "call_started",
            Self::CallFinished { .. } => "call_finished",
            Self::AttemptStarting { .. } => "attempt_starting",
            Self::AttemptStarted { .. } => "attempt_started",
            Self::AgentThreadKnown { .. } => "agent_thread_known",
            Self::AttemptFinished { .. } => "attempt_finished",
            Self::RetryScheduled { .. } => "retry_scheduled",
            Self::QuestionAsked { .. } => "question_asked",
            Self::QuestionAnswered { .. } => "question_answered",
            Self::QuestionExpired { .. } => "question_expired",
            Self::SteerAccepted { .. } => "steer_accepted",
            Self::SteerDelivered { .. } => "steer_delivered",
            Self::ChildRunStarting { .. } => "child_run_starting",
            Self::ChildRunFinished { .. } => "child_run_finished",
            Self::StageFinished { .. } => "stage_finished",
            Self::SelectionNarrowed { .. } => "selection_narrowed",
            Self::Judged(_) => "judged",
            Self::CancelRequested { .. } => "cancel_requested",
            Self::RunInterrupted { .. } => "run_interrupted",
            Self::ResumeAccepted { .. } => "resume_accepted",
            Self::ResumeBlocked { .. } => "resume_blocked",
            Self::CommandRefused { .. } => "command_refused",
            Self::RunFinished { .. } => "run_finished",
        }
    }

    /// Whether losing the event in a power cut would change what is done next.
    ///
    /// The exceptions are a process's number, for after a power cut the process is gone with it, and
    /// what an agent does inside its turn, for that turn is made again.
    pub const fn is_transition(&self) -> bool {
        !matches!(self, Self::AttemptStarted { .. } | Self::CallStarted { .. } | Self::CallFinished { .. })
    }
}

/// What a run was created with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunCreated {
    /// The task.
    pub task: TaskId,
    /// The run.
    pub run: RunId,
    /// The pipeline as it was when the run was created.
    pub pipeline: Pipeline,
    /// The pipelines its nested stages lead to, all the way down.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub nested: IndexMap<PipelineId, Pipeline>,
    /// Everything else that was asked for.
    pub settings: RunSettings,
}

/// The options of a run.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RunSettings {
    /// Who started it.
    pub actor: Option<Actor>,
    /// The run that owns this one, or that it belongs with.
    pub parent: Option<RunId>,
    /// The run this one repeats.
    pub retry_of: Option<RunId>,
    /// The stage asked for, as it was written.
    pub target: Option<String>,
    /// The approval policy that was asked for, as it was written.
    pub approval_policy: Option<String>,
    /// What decides what is asked, allowed and confined.
    #[serde(default, skip_serializing_if = "ToolPolicy::is_default")]
    pub policy: ToolPolicy,
    /// What the task is, for prompts.
    pub description: Option<String>,
    /// Whether the task asks for parallel execution in the cloud.
    pub parallel: bool,
    /// Mode asked for by the task.
    pub mode: Option<ExecutionMode>,
    /// The session the run belongs to: runs that one program serves until it ends share consents.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// Absolute path of the directory the stages run in.
    pub workspace: String,
    /// Branch of the worktree made for this run, when one was made.
    pub worktree_branch: Option<String>,
    /// SHA-256 of the resume token, in lower-case hexadecimal.
    pub resume_token_sha256: Option<String>,
    /// Instruction files the agents were told when the run began, with their SHA-256.
    #[serde(default)]
    pub instructions: Vec<(String, String)>,
    /// SHA-256 over the SHA-256 of each, followed by a newline.
    #[serde(default)]
    pub instructions_sha256: Option<String>,
    /// How often its owner gives a sign of life, in milliseconds.
    #[serde(default)]
    pub heartbeat_interval_ms: u64,
    /// After which silence its owner counts as gone, in milliseconds.
    #[serde(default)]
    pub stale_after_ms: u64,
}

/// What the planner decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunPlan {
    /// `<pipeline>:<stage>` when a target was asked for.
    pub target: Option<String>,
    /// Where the run is executed.
    pub mode: ExecutionMode,
    /// Stages to run, in order.
    pub stages: Vec<PlannedStage>,
    /// Stages left out, each with its reason.
    pub skipped: Vec<SkippedStage>,
}

/// A stage to run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedStage {
    /// The stage.
    pub stage: StageId,
    /// Its part.
    pub role: Role,
    /// Where it is executed.
    pub mode: ExecutionMode,
}

/// A stage left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SkippedStage {
    /// The stage.
    pub stage: StageId,
    /// Why.
    pub reason: SkipReason,
}

/// The verdict of a role.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Judgement {
    /// Builder, tester or reviewer.
    pub role: Role,
    /// The verdict.
    pub success: bool,
    /// What it rests on, in sentences.
    pub reasons: Vec<String>,
}

/// How an edited pipeline differs from the one that ran before, by stage id.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Drift {
    /// One entry per stage that differs.
    pub stages: Vec<StageDrift>,
}

/// How one stage differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "change", rename_all = "snake_case")]
pub enum StageDrift {
    /// New in the pipeline; it has never run.
    Added {
        /// The stage.
        stage: StageId,
    },
    /// No longer in the pipeline; its record stays.
    Removed {
        /// The stage.
        stage: StageId,
    },
    /// Defined differently; an earlier success no longer counts.
    Changed {
        /// The stage.
        stage: StageId,
    },
}
