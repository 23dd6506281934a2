//! States and outcomes in the words of manifests.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{RunId, StageId};

/// Where a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunStatus {
    /// Recorded, not begun.
    Queued,
    /// Owned by a living process.
    InProgress,
    /// Its owner is gone; `resume` continues it.
    Interrupted,
    /// Every selected stage did its part and the reviewer agreed.
    Succeeded,
    /// A stage failed or a verdict was negative.
    Failed,
    /// Somebody stopped it.
    Cancelled,
}

impl RunStatus {
    /// The status as manifests spell it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::InProgress => "in_progress",
            Self::Interrupted => "interrupted",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether nothing will happen to the run by itself any more.
    pub const fn is_over(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled)
    }
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunOutcome {
    /// Every selected stage did its part and the reviewer agreed.
    Succeeded,
    /// A stage failed or a verdict was negative.
    Failed {
        /// Machine-readable: `stage:<id>:failed`, `review:rejected` …
        detail: String,
    },
    /// Somebody stopped it.
    Cancelled {
        /// Who and why.
        detail: String,
    },
}

impl RunOutcome {
    /// The status that belongs to the outcome.
    pub const fn status(&self) -> RunStatus {
        match self {
            Self::Succeeded => RunStatus::Succeeded,
            Self::Failed { .. } => RunStatus::Failed,
            Self::Cancelled { .. } => RunStatus::Cancelled,
        }
    }

    /// The detail, when there is one.
    pub fn detail(&self) -> Option<&str> {
        match self {
            Self::Succeeded => None,
            Self::Failed { detail } | Self::Cancelled { detail } => Some(detail),
        }
    }
}

/// Where a stage stands, in the words of manifests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StageStatus {
    /// Not begun.
    Pending,
    /// An attempt is under way, or the next one is due.
    Running,
    /// A question is open.
    Waiting,
    /// Done.
    Succeeded,
    /// Tried and failed.
    Failed,
    /// Not run, with a reason.
    Skipped,
    /// Stopped.
    Cancelled,
}

impl StageStatus {
    /// The status as manifests spell it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Waiting => "waiting",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
            Self::Cancelled => "cancelled",
        }
    }
}

/// How a stage ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StageOutcome {
    /// Done.
    Succeeded,
    /// Tried and failed.
    Failed {
        /// Why.
        reason: FailureReason,
        /// Whether the pipeline allows it.
        allowed: bool,
    },
    /// Not run.
    Skipped {
        /// Why.
        reason: SkipReason,
    },
    /// Stopped.
    Cancelled,
}

impl StageOutcome {
    /// The status that belongs to the outcome.
    pub const fn status(&self) -> StageStatus {
        match self {
            Self::Succeeded => StageStatus::Succeeded,
            Self::Failed { .. } => StageStatus::Failed,
            Self::Skipped { .. } => StageStatus::Skipped,
            Self::Cancelled => StageStatus::Cancelled,
        }
    }

    /// Whether stages that wait for success must not run after this.
    pub const fn blocks_success(&self) -> bool {
        matches!(self, Self::Failed { allowed: false, .. } | Self::Cancelled)
    }
}

/// Why a stage failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureReason {
    /// The program ended with a code other than zero.
    ExitCode(i32),
    /// A signal ended the program.
    Signal(i32),
    /// The time was over.
    TimedOut,
    /// Nobody saw how the attempt ended.
    Lost,
    /// The attempt never began.
    NotStarted(String),
    /// The output could not be recorded.
    NotRecorded(String),
    /// Declared outputs were missing.
    MissingOutputs(Vec<String>),
    /// The agent's turn did not succeed; the class of its failure.
    Agent(String),
    /// A rule or the policy forbids it, with the reason.
    Refused(String),
    /// A person said no.
    Denied,
    /// Nobody answered in time, which means no.
    Unanswered,
    /// The child run did not succeed.
    ChildRun(RunId),
    /// A planner stage chose what cannot be run.
    InvalidSelection(String),
}

impl FailureReason {
    /// One word in kebab case, the last part of `stage:<id>:<word>`.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::ExitCode(_) | Self::Signal(_) | Self::ChildRun(_) => "failed",
            Self::TimedOut => "timed-out",
            Self::Lost => "lost",
            Self::NotStarted(_) => "not-started",
            Self::NotRecorded(_) => "not-recorded",
            Self::MissingOutputs(_) => "missing-outputs",
            Self::Agent(_) => "agent-failed",
            Self::Refused(_) => "refused",
            Self::Denied => "denied",
            Self::Unanswered => "unanswered",
            Self::InvalidSelection(_) => "invalid-selection",
        }
    }
}

impl fmt::Display for FailureReason {
    /// For people, as the end of a sentence: `exit code 3`, `it was denied`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ExitCode(code) => write!(f, "exit code {code}"),
            Self::Signal(signal) => write!(f, "ended by signal {signal}"),
            Self::TimedOut => f.write_str("its time was over"),
            Self::Lost => f.write_str("nobody saw how it ended"),
            Self::NotStarted(why)
            | Self::NotRecorded(why)
            | Self::InvalidSelection(why)
            | Self::Refused(why) => f.write_str(why),
            Self::MissingOutputs(names) => write!(f, "declared outputs are missing: {}", names.join(", ")),
            Self::Agent(class) => write!(f, "the agent's turn failed ({class})"),
            Self::Denied => f.write_str("it was denied"),
            Self::Unanswered => f.write_str("nobody answered in time"),
            Self::ChildRun(run) => write!(f, "child run {run} did not succeed"),
        }
    }
}

/// Why a stage was not run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SkipReason {
    /// The target does not include it.
    NotTargeted,
    /// A planner stage left it out.
    NotPlanned,
    /// A stage before it failed.
    StageFailed(StageId),
    /// It runs only after a failure, and there was none.
    NothingFailed,
    /// The run was stopped before.
    RunCancelled,
    /// The edited pipeline no longer has it.
    Removed,
}
