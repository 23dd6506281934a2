//! What the surface needs of the program it is part of.
//!
//! The command line implements [`Host`], so that a client of this surface is told what a person at
//! the terminal is told, and a run that is started here is owned as one that is started there.

use std::fmt;

use co_config::Loaded;
use co_model::RunId;
use co_runtime::{Orchestrator, RunSnapshot, RuntimeError};
use co_views::StatusView;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::session::{SessionAnswer, SessionErrand};

/// What the program gives this surface. Every method may block.
pub trait Host: Send + Sync + 'static {
    /// Opens the runtime to look, command and mend.
    ///
    /// # Errors
    /// [`Refusal`] when nothing was run here yet, or the event log is unusable.
    fn orchestrator(&self) -> Result<Orchestrator, Refusal>;

    /// Whether anything was run here.
    fn has_runs(&self) -> bool;

    /// Loads the repository's pipelines as they are now.
    ///
    /// # Errors
    /// [`Refusal`] with what is wrong with them.
    fn pipelines(&self) -> Result<Loaded, Refusal>;

    /// Describes what a run would do, as `plan --format json` does.
    ///
    /// # Errors
    /// [`Refusal`] when there is no such pipeline or target.
    fn plan(&self, request: &PlanRequest) -> Result<Value, Refusal>;

    /// Shows where a run stands, as `status --format json` does.
    fn status(&self, orchestrator: &Orchestrator, snapshot: &RunSnapshot) -> StatusView;

    /// Says a failure of the runtime as the command line does.
    fn explain(&self, error: RuntimeError) -> Refusal;

    /// Makes a program's output harmless to show.
    fn harmless(&self, output: &[u8]) -> String;

    /// Who is using the program, as the command line would record it.
    fn actor(&self) -> String;

    /// Hands an errand to a process of its own, which owns the run and outlives us.
    ///
    /// # Errors
    /// [`Refusal`] with what the command line would have said.
    fn send(&self, errand: &Errand, actor: &str) -> Result<Receipt, Refusal>;

    /// Does something with live sessions, which a process of its own keeps. An agent wants it: what the
    /// user's policy wants a person's consent to is only done when `consented`.
    ///
    /// # Errors
    /// [`Refusal`] with what the command line would have said.
    fn session(&self, errand: &SessionErrand, consented: bool) -> Result<SessionAnswer, Refusal>;
}

/// Why something was not done, as the command line says it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// What failed, on which value.
    pub message: String,
    /// What to do next, one command or sentence each.
    #[serde(default)]
    pub hints: Vec<String>,
    /// The exit code that the command line would end with.
    pub exit_code: u8,
}

impl Refusal {
    /// The exit code of bad usage.
    pub const USAGE: u8 = 2;
    /// The exit code of something that does not exist.
    pub const NOT_FOUND: u8 = 4;
    /// The exit code of a request that was refused.
    pub const REFUSED: u8 = 11;

    /// Makes a refusal without advice.
    pub fn new(exit_code: u8, message: impl Into<String>) -> Self {
        Self { message: message.into(), hints: Vec::new(), exit_code }
    }

    /// Refuses an argument.
    pub fn usage(message: impl fmt::Display) -> Self {
        Self::new(Self::USAGE, message.to_string())
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        self.hints.iter().try_for_each(|hint| write!(f, "\nhint: {hint}"))
    }
}

impl std::error::Error for Refusal {}

/// Asks what a run would do.
#[derive(Debug, Clone, Default)]
pub struct PlanRequest {
    /// The pipeline; the default one when none is named.
    pub pipeline: Option<String>,
    /// The stage to run with what it needs.
    pub target: Option<String>,
    /// Where stages are executed that do not say so: `mcp` or `cloud`.
    pub execution_mode: Option<String>,
    /// Whether the task asks for parallel execution.
    pub parallel: bool,
}

/// What a process of its own is to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verb", rename_all = "snake_case", deny_unknown_fields)]
pub enum Errand {
    /// Start a run.
    Start(StartErrand),
    /// Let a run go on.
    Resume {
        /// The run.
        run: RunId,
        /// Why, for the record.
        reason: String,
        /// The proof that the asker may.
        token: Option<String>,
        /// Go on with the pipeline as it was recorded.
        recorded_pipeline: bool,
    },
    /// Start a fresh run like an earlier one.
    Retry {
        /// The run to repeat.
        run: RunId,
        /// A repeated key is answered with the first run.
        #[serde(default)]
        idempotency_key: Option<String>,
    },
}

impl Errand {
    /// The key under which a repetition is recognised.
    pub fn idempotency_key(&self) -> Option<&str> {
        match self {
            Self::Start(start) => start.idempotency_key.as_deref(),
            Self::Retry { idempotency_key, .. } => idempotency_key.as_deref(),
            Self::Resume { .. } => None,
        }
    }
}

/// A run to start.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StartErrand {
    /// The pipeline; the default one when none is named.
    pub pipeline: Option<String>,
    /// Shell commands to run one after the other instead of a pipeline.
    pub commands: Vec<String>,
    /// The longest time each of `commands` may take, in seconds.
    pub timeout_seconds: Option<u64>,
    /// Whether a response file is written per stage.
    pub responses: bool,
    /// The task to file the run under.
    pub task: Option<String>,
    /// The stage to run with what it needs.
    pub target: Option<String>,
    /// Where stages are executed that do not say so: `mcp` or `cloud`.
    pub execution_mode: Option<String>,
    /// Whether the task asks for parallel execution.
    pub parallel: bool,
    /// What the task is, for prompts.
    pub description: Option<String>,
    /// The run this one belongs with.
    pub parent_run: Option<String>,
    /// Recorded with the run.
    pub approval_policy: Option<String>,
    /// Whether the run gets a worktree of its own.
    pub worktree: bool,
    /// A repeated key is answered with the first run.
    pub idempotency_key: Option<String>,
}

/// What became of an errand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// The run.
    pub run_id: String,
    /// The task it is filed under.
    pub task_id: String,
    /// Its manifest.
    pub manifest: String,
    /// Whether an earlier request of the same key had started it.
    pub repeated: bool,
}
