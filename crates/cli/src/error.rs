//! Failures as people meet them: what failed, on which value, the next step, and an exit code.

use std::error::Error;
use std::fmt;

use co_config::{LoadError, SelectError, SettingsError};
use co_engine::PlanError;
use co_log::LogError;
use co_model::{RunId, RunOutcome};
use co_runtime::{RebuildError, ResumeError, RuntimeError, StartError};

/// The exit codes, documented in `--help` and `docs/automation.md`. Never reused for another meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    Done = 0,
    Bug = 1,
    Usage = 2,
    Setup = 3,
    NotFound = 4,
    RunFailed = 10,
    Refused = 11,
    TimedOut = 12,
    Log = 13,
    Cancelled = 14,
    Interrupted = 15,
    SignalInterrupt = 130,
    SignalTerminate = 143,
}

impl Exit {
    /// The exit code that another process of ours names.
    pub(crate) fn of_code(code: u8) -> Self {
        let all = [
            Self::Done,
            Self::Usage,
            Self::Setup,
            Self::NotFound,
            Self::RunFailed,
            Self::Refused,
            Self::TimedOut,
            Self::Log,
            Self::Cancelled,
            Self::Interrupted,
            Self::SignalInterrupt,
            Self::SignalTerminate,
        ];
        all.into_iter().find(|exit| *exit as u8 == code).unwrap_or(Self::Bug)
    }

    /// The code that belongs to the end of a run.
    pub(crate) fn of_outcome(outcome: &RunOutcome) -> Self {
        match outcome {
            RunOutcome::Succeeded => Self::Done,
            RunOutcome::Cancelled { .. } => Self::Cancelled,
            RunOutcome::Failed { detail } if detail.ends_with(":timed-out") => Self::TimedOut,
            RunOutcome::Failed { detail }
                if [":denied", ":unanswered", ":refused"].iter().any(|end| detail.ends_with(end)) =>
            {
                Self::Refused
            }
            RunOutcome::Failed { .. } => Self::RunFailed,
        }
    }
}

/// A failure with its exit code and advice.
#[derive(Debug)]
pub(crate) struct CliError {
    pub(crate) exit: Exit,
    message: String,
    hints: Vec<String>,
}

impl CliError {
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into(), hints: Vec::new() }
    }

    pub(crate) fn of(exit: Exit, error: &dyn Error) -> Self {
        let mut message = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            let text = cause.to_string();
            if !message.contains(&text) {
                message = format!("{message}: {text}");
            }
            source = cause.source();
        }
        Self::new(exit, message)
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    pub(crate) fn unknown_run(run: &RunId) -> Self {
        Self::new(Exit::NotFound, format!("there is no run `{run}`")).hint("codex-orchestrator runs --all")
    }

    pub(crate) fn hints(&self) -> &[String] {
        &self.hints
    }
}

impl fmt::Display for CliError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<RuntimeError> for CliError {
    fn from(error: RuntimeError) -> Self {
        match &error {
            RuntimeError::UnknownRun(run) | RuntimeError::Log(LogError::UnknownRun(run)) => {
                Self::unknown_run(run)
            }
            // The log itself is sound, as far as anybody knows: it is the place that is not.
            RuntimeError::Log(log @ LogError::Unusable { .. }) => {
                Self::of(Exit::Setup, &error).with_log_hint(log)
            }
            RuntimeError::Log(log) => Self::of(Exit::Log, &error).with_log_hint(log),
            RuntimeError::Replay { .. } => Self::of(Exit::Log, &error)
                .hint("was the event log changed by hand? restore it from a backup"),
            RuntimeError::Files { .. } => {
                Self::of(Exit::Setup, &error).hint("is the folder writable, and is there space left?")
            }
            RuntimeError::TakenOver { .. } => Self::of(Exit::Refused, &error),
            RuntimeError::Survivors { .. } => {
                Self::of(Exit::Refused, &error).hint("end these processes, then try again")
            }
            RuntimeError::Thread { .. } | RuntimeError::NoSpawner | RuntimeError::Random(_) => {
                Self::of(Exit::Bug, &error)
            }
        }
    }
}

impl CliError {
    fn with_log_hint(self, error: &LogError) -> Self {
        match error {
            LogError::TooNew { .. } => self.hint("use the newer codex-orchestrator that wrote it"),
            LogError::Damaged { location, .. } => self.hint(format!(
                "move `{location}` aside (with its -wal and -shm files) to begin a new log; `sqlite3 {location} .recover` may read the rest"
            )),
            LogError::Full { .. } => self.hint("free some space; nothing that was recorded is lost"),
            LogError::Unusable { .. } => {
                self.hint("set CODEX_ORCHESTRATOR_RUNS_DIR or --runs-dir to a folder that can be written")
            }
            _ => self,
        }
    }
}

impl From<LogError> for CliError {
    fn from(error: LogError) -> Self {
        RuntimeError::from(error).into()
    }
}

impl From<StartError> for CliError {
    fn from(error: StartError) -> Self {
        match error {
            StartError::Runtime(error) => error.into(),
            StartError::Plan(error) => error.into(),
            StartError::UnknownParent(run) => {
                Self::new(Exit::Usage, format!("parent run `{run}` does not exist"))
                    .hint("codex-orchestrator runs --all")
            }
            StartError::Worktree { .. } => Self::of(Exit::Setup, &error),
        }
    }
}

impl From<PlanError> for CliError {
    fn from(error: PlanError) -> Self {
        let exit = match error {
            PlanError::UnknownTarget { .. }
            | PlanError::AmbiguousTarget { .. }
            | PlanError::NotRunnable { .. } => Exit::Usage,
            PlanError::Deadlock { .. } | PlanError::Nothing { .. } => Exit::Setup,
        };
        Self::of(exit, &error)
    }
}

impl From<ResumeError> for CliError {
    fn from(error: ResumeError) -> Self {
        let text = Self::of(Exit::Refused, &error);
        match error {
            ResumeError::Runtime(error) => error.into(),
            ResumeError::Live { run, .. } => text
                .hint(format!("codex-orchestrator status --run {run} --watch"))
                .hint(format!("codex-orchestrator cancel --run {run}")),
            ResumeError::TokenMismatch(_) => text.hint("the token is in the run's folder, in `.resume-token`"),
            ResumeError::TokenMissing(_) => {
                text.hint("pass it by --token - or CODEX_ORCHESTRATOR_RESUME_TOKEN; it is in the run's folder, in `.resume-token`")
            }
            ResumeError::Refused { run, .. } => {
                text.hint(format!("codex-orchestrator retry --run {run} starts a fresh one like it"))
            }
            ResumeError::IsChild { parent, .. } => text.hint(format!("codex-orchestrator resume --run {parent}")),
        }
    }
}

impl From<RebuildError> for CliError {
    fn from(error: RebuildError) -> Self {
        match error {
            RebuildError::Runtime(error) => error.into(),
            RebuildError::Live(_) => Self::of(Exit::Refused, &error),
        }
    }
}

impl From<LoadError> for CliError {
    fn from(error: LoadError) -> Self {
        Self::of(Exit::Setup, &error)
    }
}

impl From<SelectError> for CliError {
    fn from(error: SelectError) -> Self {
        let exit = match error {
            SelectError::Unknown { .. } => Exit::Usage,
            SelectError::NoDefault { .. } | SelectError::NothingDetected(_) => Exit::Setup,
        };
        Self::of(exit, &error)
    }
}

impl From<SettingsError> for CliError {
    fn from(error: SettingsError) -> Self {
        let is_unreadable = matches!(error, SettingsError::ReadUserFile { .. });
        Self::of(if is_unreadable { Exit::Setup } else { Exit::Usage }, &error)
    }
}
