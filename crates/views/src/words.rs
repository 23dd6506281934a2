//! The words of documents: closed sets of spellings, each converted from the model's own.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Declares a set of spellings and how the model's values convert to it.
macro_rules! words {
    (
        $(#[$doc:meta])* $name:ident from $model:ty { $($(#[$word_doc:meta])* $word:ident,)+ }
    ) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
        #[serde(rename_all = "snake_case")]
        pub enum $name { $($(#[$word_doc])* $word,)+ }

        impl From<$model> for $name {
            fn from(value: $model) -> Self {
                match value { $(<$model>::$word => Self::$word,)+ }
            }
        }
    };
}

words!(
    /// Where a run stands.
    RunStatusWord from co_model::RunStatus {
        /// Recorded, not begun.
        Queued,
        /// Under way.
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
);

words!(
    /// Where a stage stands.
    StageStatusWord from co_model::StageStatus {
        /// Not begun.
        Pending,
        /// An attempt is under way, or the next one is due.
        Running,
        /// A question to a person is open.
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
);

words!(
    /// On whose word a tool call is done or not.
    DecisionSourceWord from co_model::DecisionSource {
        /// An earlier consent to the very same thing.
        Cache,
        /// A person, asked.
        Prompt,
        /// A rule or the policy.
        Policy,
        /// Nobody needs to be asked.
        #[serde(rename = "not-required")]
        NotRequired,
    }
);

words!(
    /// What became of a tool call.
    CallStatusWord from co_model::CallStatus {
        /// Done.
        Succeeded,
        /// Done, without success.
        Failed,
        /// The sandbox stopped it.
        SandboxDenied,
        /// Not performed.
        Declined,
        /// Nobody saw its end.
        Lost,
    }
);

words!(
    /// How far a consent reaches.
    GrantScopeWord from co_model::GrantScope {
        /// One call.
        Once,
        /// The same thing in the run.
        Run,
        /// The same thing in the runs one program serves until it ends.
        Session,
        /// The same thing in every run of the task.
        Task,
        /// The same thing in this repository, until revoked.
        Always,
    }
);

words!(
    /// The part a stage plays.
    RoleWord from co_model::Role {
        /// Decides what is run.
        Planner,
        /// Does the work.
        Builder,
        /// Judges the work.
        Tester,
        /// Takes the final decision.
        Reviewer,
    }
);

words!(
    /// What an agent says, or git shows, has happened to a file.
    ChangeWord from co_model::ChangeKind {
        /// Created.
        Add,
        /// Removed.
        Delete,
        /// Edited.
        Update,
    }
);

words!(
    /// Where a pipeline was defined.
    SourceWord from co_model::PipelineSource {
        /// In the repository's own file.
        Repository,
        /// Built from what the repository contains.
        BuiltIn,
    }
);

/// Where a run or a stage is executed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ModeWord {
    /// On this machine.
    Mcp,
    /// On a cloud executor.
    Cloud,
}

impl From<co_model::ExecutionMode> for ModeWord {
    fn from(mode: co_model::ExecutionMode) -> Self {
        match mode {
            co_model::ExecutionMode::Unset | co_model::ExecutionMode::Mcp => Self::Mcp,
            co_model::ExecutionMode::Cloud => Self::Cloud,
        }
    }
}

/// What a stage does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StageKind {
    /// Runs a program.
    Command,
    /// Gives a coding agent a task.
    Agent,
    /// Waits for a person's yes or no.
    Gate,
    /// Runs another pipeline as a child run.
    Pipeline,
    /// Calls a tool of an MCP server.
    Mcp,
}

impl From<&co_model::StageWork> for StageKind {
    fn from(work: &co_model::StageWork) -> Self {
        match work {
            co_model::StageWork::Command(_) => Self::Command,
            co_model::StageWork::Agent(_) => Self::Agent,
            co_model::StageWork::Gate(_) => Self::Gate,
            co_model::StageWork::Pipeline(_) => Self::Pipeline,
            co_model::StageWork::Mcp(_) => Self::Mcp,
        }
    }
}

/// A person's answer at a gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AnswerWord {
    /// Yes.
    Approved,
    /// No.
    Denied,
    /// Nobody answered in time, which means no.
    Unanswered,
}

impl From<Option<co_model::Verdict>> for AnswerWord {
    fn from(verdict: Option<co_model::Verdict>) -> Self {
        match verdict {
            Some(co_model::Verdict::Approve) => Self::Approved,
            Some(co_model::Verdict::Deny) => Self::Denied,
            None => Self::Unanswered,
        }
    }
}

/// What became of a request to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ResumeWord {
    /// The run went on.
    Accepted,
    /// It was refused; `detail` says why.
    Blocked,
}

/// How a stage of an edited pipeline differs from the one that ran before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DriftWord {
    /// New; it has never run.
    Added,
    /// Gone; its record stays.
    Removed,
    /// Defined differently; an earlier success no longer counts.
    Changed,
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ExitWord {
    /// The program ended by itself, with `code`.
    Code,
    /// A signal that we did not send ended it.
    Signal,
    /// Its time was over.
    TimedOut,
    /// Somebody asked for it to be stopped.
    Cancelled,
    /// Nobody saw how it ended.
    Lost,
    /// It never began.
    NotStarted,
    /// It was stopped because its output could no longer be recorded.
    NotRecorded,
}

/// The result of one judged stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ReportWord {
    /// It succeeded.
    Passed,
    /// It did not succeed.
    Failed,
    /// It was not run.
    Skipped,
    /// It is not over.
    Pending,
}
