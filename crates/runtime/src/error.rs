//! Why the runtime could not do what was asked.

use std::io;
use std::path::PathBuf;

use co_engine::{PlanError, Refusal, ReplayError};
use co_log::LogError;
use co_model::RunId;

/// A failure of the machinery under every operation.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// The event log could not do it.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The events of a run do not make a run.
    #[error("the log of run `{run}` cannot be replayed")]
    Replay {
        /// The run.
        run: RunId,
        /// Why.
        #[source]
        source: ReplayError,
    },
    /// There is no such run.
    #[error("there is no run `{0}`")]
    UnknownRun(RunId),
    /// A folder or file of the run could not be made.
    #[error("failed to write `{}`", .path.display())]
    Files {
        /// The path.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A thread could not be started.
    #[error("failed to start a thread")]
    Thread {
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// This process was made for looking only.
    #[error("this process cannot start programs")]
    NoSpawner,
    /// The system gave no random bytes.
    #[error("the system gave no random bytes: {0}")]
    Random(String),
    /// Processes of a former owner cannot be ended.
    #[error("processes of run `{run}` are still there: {processes}")]
    Survivors {
        /// The run.
        run: RunId,
        /// The processes.
        processes: String,
    },
    /// The run was taken over while we owned it; everything we had started was ended.
    #[error("run `{run}` was taken over by another owner; everything started here was ended")]
    TakenOver {
        /// The run.
        run: RunId,
    },
}

/// Why a run was not created.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// There is no plan.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The parent run does not exist.
    #[error("parent run `{0}` does not exist")]
    UnknownParent(RunId),
    /// A worktree could not be made.
    #[error("no worktree could be made: {detail}")]
    Worktree {
        /// Why.
        detail: String,
    },
    /// The machinery failed.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
}

impl From<LogError> for StartError {
    fn from(error: LogError) -> Self {
        Self::Runtime(error.into())
    }
}

/// Why a run does not go on.
#[derive(Debug, thiserror::Error)]
pub enum ResumeError {
    /// It is owned by a living process.
    #[error("run `{run}` is alive: it is owned by process {process} on {host}")]
    Live {
        /// The run.
        run: RunId,
        /// Its owner.
        process: String,
        /// The owner's machine.
        host: String,
    },
    /// The token does not fit.
    #[error("the resume token does not fit run `{0}`")]
    TokenMismatch(RunId),
    /// A token is required.
    #[error("run `{0}` is only resumed with its resume token")]
    TokenMissing(RunId),
    /// The engine refused.
    #[error("run `{run}` is not resumed: {source}")]
    Refused {
        /// The run.
        run: RunId,
        /// Why.
        source: Refusal,
    },
    /// The run belongs to another run, which is the one to resume.
    #[error("run `{run}` belongs to run `{parent}`; resume that one")]
    IsChild {
        /// The run.
        run: RunId,
        /// The run that owns it.
        parent: RunId,
    },
    /// The machinery failed.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
}

impl From<LogError> for ResumeError {
    fn from(error: LogError) -> Self {
        Self::Runtime(error.into())
    }
}

/// Why views were not rebuilt.
#[derive(Debug, thiserror::Error)]
pub enum RebuildError {
    /// The run is owned by a living process, which writes its views itself.
    #[error("run `{0}` is alive; its views are written by its owner")]
    Live(RunId),
    /// The machinery failed.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
}

impl From<LogError> for RebuildError {
    fn from(error: LogError) -> Self {
        Self::Runtime(error.into())
    }
}
