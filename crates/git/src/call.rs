//! One call of the `git` program: its environment, its limits, its failures.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::time::Duration;

use co_process::{Tool, ToolError, ToolOutput};

/// Reading a very large repository's status may take this long.
const READ_TIMEOUT: Duration = Duration::from_mins(2);
/// Checking out a worktree copies every file and may run the user's hooks.
const WRITE_TIMEOUT: Duration = Duration::from_mins(10);
/// About a million changed files; beyond that a list of them helps nobody.
const MAX_OUTPUT: usize = 64 << 20;

/// Variables that point git at another repository or change what its arguments mean.
///
/// The first group is `git rev-parse --local-env-vars` without `GIT_CONFIG_COUNT`, which holds
/// configuration of the user and not the address of a repository.
const SCRUBBED: &[&str] = &[
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_COMMON_DIR",
    "GIT_CONFIG",
    "GIT_CONFIG_PARAMETERS",
    "GIT_DIR",
    "GIT_GRAFT_FILE",
    "GIT_IMPLICIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_INTERNAL_SUPER_PREFIX",
    "GIT_NO_REPLACE_OBJECTS",
    "GIT_OBJECT_DIRECTORY",
    "GIT_PREFIX",
    "GIT_REPLACE_REF_BASE",
    "GIT_SHALLOW_FILE",
    "GIT_WORK_TREE",
    //
    "GIT_EXTERNAL_DIFF",
    "GIT_DIFF_OPTS",
    "GIT_GLOB_PATHSPECS",
    "GIT_ICASE_PATHSPECS",
    "GIT_NOGLOB_PATHSPECS",
    "GIT_NAMESPACE",
    "GIT_QUARANTINE_PATH",
];

/// Why git gave no usable answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GitError {
    /// The program gave no answer: not installed, too slow, too verbose.
    #[error("failed to run `git {command}`")]
    Tool {
        /// The subcommand.
        command: String,
        /// What happened.
        #[source]
        source: ToolError,
    },
    /// Git refused or failed.
    #[error("`git {command}` failed in `{}`: {message}", .directory.display())]
    Failed {
        /// The subcommand.
        command: String,
        /// Where it ran.
        directory: PathBuf,
        /// What it said.
        message: String,
    },
    /// Git answered in a form that we do not know.
    #[error("`git {command}` answered unexpectedly: `{answer}`")]
    Unexpected {
        /// The subcommand.
        command: String,
        /// The part that was not understood.
        answer: String,
    },
    /// A path does not exist or cannot be resolved.
    #[error("failed to resolve `{}`", .path.display())]
    Resolve {
        /// The path.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
}

impl GitError {
    /// Whether the reason is that git is not installed.
    pub fn is_missing_program(&self) -> bool {
        matches!(self, Self::Tool { source: ToolError::NotFound { .. }, .. })
    }

    pub(crate) fn unexpected(command: &str, answer: &[u8]) -> Self {
        let answer = String::from_utf8_lossy(answer).chars().take(200).collect();
        Self::Unexpected { command: command.to_owned(), answer }
    }
}

/// What variables of ours begin with. Hooks and filters that the repository names are strangers, and some of these
/// variables are keys.
const OURS: &[&str] = &["CODEX_ORCHESTRATOR_", "OTEL_EXPORTER_OTLP_"];

/// The user's git, with variables of our own on top of the inherited environment.
#[derive(Debug, Clone, Default)]
pub struct Git {
    variables: Vec<(OsString, OsString)>,
}

impl Git {
    /// Sets an environment variable for every call.
    #[must_use]
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.variables.push((name.into(), value.into()));
        self
    }

    /// Prepares a call that changes nothing, not even the index's cached file times.
    pub(crate) fn read(&self, directory: &Path, command: &'static str) -> Call {
        let mut call = self.write(directory, command);
        call.tool = call.tool.env("GIT_OPTIONAL_LOCKS", "0").timeout(READ_TIMEOUT);
        call
    }

    /// Prepares a call that may change the repository.
    pub(crate) fn write(&self, directory: &Path, command: &'static str) -> Call {
        let mut tool = Tool::new("git").cwd(directory).timeout(WRITE_TIMEOUT).max_output(MAX_OUTPUT);
        tool = SCRUBBED.iter().fold(tool, Tool::env_remove);
        tool = OURS.iter().fold(tool, |tool, prefix| tool.env_remove_prefix(prefix));
        tool = tool.env("GIT_TERMINAL_PROMPT", "0").env("GIT_LITERAL_PATHSPECS", "1").env("LC_ALL", "C");
        tool = self.variables.iter().fold(tool, |tool, (name, value)| tool.env(name, value));
        let tool = tool
            .args(["--no-pager", "-c", "core.quotePath=false"])
            // A monitor would be started as a daemon, and may be any program the repository names.
            .args(["-c", "core.fsmonitor=false"])
            .arg(command);
        Call { tool, command, directory: directory.to_path_buf() }
    }
}

/// One call, ready to be made.
#[must_use = "a call does nothing until it is made"]
pub(crate) struct Call {
    tool: Tool,
    command: &'static str,
    directory: PathBuf,
}

impl Call {
    pub(crate) fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.tool = self.tool.arg(argument);
        self
    }

    pub(crate) fn args(mut self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        self.tool = self.tool.args(arguments);
        self
    }

    /// Makes the call; any exit code is an answer.
    pub(crate) fn answer(self) -> Result<ToolOutput, GitError> {
        let command = self.command.to_owned();
        self.tool.run().map_err(|source| GitError::Tool { command, source })
    }

    /// Makes the call and returns its output; any failure is an error.
    pub(crate) fn output(self) -> Result<Vec<u8>, GitError> {
        let (command, directory) = (self.command.to_owned(), self.directory.clone());
        let output = self.answer()?;
        if output.is_success() {
            Ok(output.stdout)
        } else {
            Err(GitError::Failed { command, directory, message: output.stderr_text() })
        }
    }

    /// Makes the call and returns one line of output; `None` when git exits with code 1.
    ///
    /// That is how git says *no such thing* when it is asked quietly.
    pub(crate) fn line(self) -> Result<Option<Vec<u8>>, GitError> {
        let (command, directory) = (self.command.to_owned(), self.directory.clone());
        let output = self.answer()?;
        match output.exit {
            co_process::LeaderExit::Code(0) => {
                let line = output.stdout.strip_suffix(b"\n").unwrap_or(&output.stdout);
                Ok(Some(line.to_vec()))
            }
            co_process::LeaderExit::Code(1) => Ok(None),
            _ => Err(GitError::Failed { command, directory, message: output.stderr_text() }),
        }
    }
}
