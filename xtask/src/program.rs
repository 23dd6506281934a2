//! Starting other programs. The only place in this package that does, or that reads the environment.

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

use crate::console::say;

/// Why a program did not do its work.
#[derive(Debug, thiserror::Error)]
pub enum ProgramError {
    /// It is not installed, or its directory is missing.
    #[error("failed to start `{line}`")]
    Start {
        /// The command line.
        line: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// It ended with anything but success.
    #[error("`{line}` ended with {status}{}", said(.stderr))]
    Failed {
        /// The command line.
        line: String,
        /// How it ended.
        status: ExitStatus,
        /// What it wrote to stderr, if that was captured.
        stderr: String,
    },
}

fn said(stderr: &str) -> String {
    if stderr.trim().is_empty() { String::new() } else { format!(": {}", stderr.trim()) }
}

/// A program with its arguments, ready to be started.
#[must_use = "a program does nothing until it is started"]
pub struct Program {
    command: Command,
    line: String,
}

impl Program {
    /// Names a program, found on `PATH` unless it is a path.
    #[expect(clippy::disallowed_methods, reason = "developer tooling runs outside the product's rooms")]
    pub fn new(program: impl AsRef<OsStr>) -> Self {
        let program = program.as_ref();
        let line = program.to_string_lossy().into_owned();
        Self { command: Command::new(program), line }
    }

    /// Names the cargo that runs this task.
    pub fn cargo() -> Self {
        let mut program = Self::new(variable("CARGO").unwrap_or_else(|| OsString::from("cargo")));
        "cargo".clone_into(&mut program.line);
        program
    }

    /// Adds an argument.
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        let argument = argument.as_ref();
        self.line.push(' ');
        self.line.push_str(&argument.to_string_lossy());
        self.command.arg(argument);
        self
    }

    /// Adds arguments.
    pub fn args<I>(self, arguments: I) -> Self
    where
        I: IntoIterator,
        I::Item: AsRef<OsStr>,
    {
        arguments.into_iter().fold(self, Self::arg)
    }

    /// Sets the working directory.
    pub fn directory(mut self, directory: &Path) -> Self {
        self.command.current_dir(directory);
        self
    }

    /// Sets an environment variable.
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Starts from an empty environment but for `PATH`, so that output depends on nothing else.
    pub fn bare_environment(mut self) -> Self {
        self.command.env_clear();
        if let Some(path) = variable("PATH") {
            self.command.env("PATH", path);
        }
        self
    }

    /// Says the command line, runs it on the terminal and waits for success.
    ///
    /// # Errors
    /// [`ProgramError`] when it cannot start or does not succeed.
    pub fn run(mut self) -> Result<(), ProgramError> {
        say(&format!("$ {}", self.line));
        let status = self
            .command
            .status()
            .map_err(|source| ProgramError::Start { line: self.line.clone(), source })?;
        if status.success() {
            Ok(())
        } else {
            Err(ProgramError::Failed { line: self.line, status, stderr: String::new() })
        }
    }

    /// Runs it quietly and returns what it wrote to stdout.
    ///
    /// # Errors
    /// [`ProgramError`] when it cannot start or does not succeed.
    pub fn output(mut self) -> Result<Vec<u8>, ProgramError> {
        let output = self
            .command
            .stdin(Stdio::null())
            .output()
            .map_err(|source| ProgramError::Start { line: self.line.clone(), source })?;
        if output.status.success() {
            Ok(output.stdout)
        } else {
            let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
            Err(ProgramError::Failed { line: self.line, status: output.status, stderr })
        }
    }

    /// Runs it quietly and says whether it succeeded.
    #[must_use]
    pub fn succeeds(self) -> bool {
        self.output().is_ok()
    }

    /// Hands out the underlying command, for callers that watch the program while it runs.
    #[must_use]
    pub fn into_command(self) -> Command {
        self.command
    }
}

/// Finds a program on `PATH`.
#[must_use]
pub fn find(program: &str) -> Option<PathBuf> {
    let path = variable("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|candidate| candidate.is_file())
}

#[expect(clippy::disallowed_methods, reason = "developer tooling runs outside the product's rooms")]
fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name)
}
