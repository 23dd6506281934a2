//! Ids, values, states, events and commands: the words every other room uses.
//!
//! Nothing here reads a clock, a file or a random number. The serde derives on [`Event`] and
//! what it carries are the *stored* shape and nothing else: surfaces convert to wire types of
//! their own, and `co-log` freezes the shape with fixtures that must decode for ever.

mod agent;
mod attempt;
mod call;
mod command;
mod event;
mod id;
mod narrow;
mod pipeline;
mod policy;
mod status;
mod text;
mod time;

pub use agent::{AgentFailure, AgentOutcome, ChangeKind, FileChange, TokenUsage};
pub use attempt::{AttemptExit, AttemptReport, OutputStats, ProducedFile, StreamStats};
pub use call::{
    CallDecision, CallOrigin, CallOutcome, CallRequest, CallStatus, DecisionSource, Grant, GrantScope,
    PatchedFile, Revocation, ToolUse,
};
pub use command::{Command, Envelope, Verdict};
pub use event::{
    Drift, Event, EventSeq, Judgement, PlannedStage, Recorded, RunCreated, RunPlan, RunSettings,
    SkippedStage, StageDrift,
};
pub use id::{Actor, CallId, CommandKey, GrantId, IdError, PipelineId, RunId, StageId, TaskId, ThreadId};
pub use narrow::{narrowest_approval, narrowest_network, narrowest_sandbox};
pub use pipeline::{
    AgentStage, CommandLine, Confinement, ExecutionMode, GateStage, McpStage, Needs, NestedStage,
    OutputReference, Pipeline, PipelineSet, PipelineSource, Prompt, RetryOn, RetryPolicy, Role, Stage,
    StageSession, StageWork, When,
};
pub use policy::{
    ApprovalPolicy, EnvironmentPolicy, GranularApproval, HostRule, InheritedEnvironment, McpApproval,
    McpPolicy, McpServerPolicy, NetworkAccess, PolicySource, PrefixRule, RuleDecision, SandboxMode,
    SandboxPolicy, ToolPolicy,
};
pub use status::{FailureReason, RunOutcome, RunStatus, SkipReason, StageOutcome, StageStatus};
pub use text::{quoted, visible};
pub use time::{DurationText, DurationTextError, Timestamp};
