//! Small helper programs, run to their end with everything bounded: `git`, version probes.
//!
//! For tools that we trust and that answer quickly. They are started by the standard library, not by the
//! zygote; stages and agents go through [`crate::run`].

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process_group};

use crate::program::LeaderExit;
use crate::{clock, platform};

const DEFAULT_TIMEOUT: Duration = Duration::from_mins(1);
const DEFAULT_MAX_OUTPUT: usize = 16 << 20;
const READ_BYTES: usize = 64 << 10;

/// A helper program to be run once. Standard input is empty unless [`Tool::stdin`] gives bytes.
#[derive(Debug)]
pub struct Tool {
    program: OsString,
    command: Command,
    stdin: Vec<u8>,
    timeout: Duration,
    max_output: usize,
}

/// What a helper program said and how it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolOutput {
    /// How it ended.
    pub exit: LeaderExit,
    /// Everything it wrote to standard output.
    pub stdout: Vec<u8>,
    /// Everything it wrote to standard error.
    pub stderr: Vec<u8>,
}

impl ToolOutput {
    /// Whether it exited with code 0.
    pub fn is_success(&self) -> bool {
        self.exit == LeaderExit::Code(0)
    }

    /// Standard output as text, without the line end; what is no UTF-8 becomes U+FFFD.
    pub fn stdout_text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).trim_end_matches(['\n', '\r']).to_owned()
    }

    /// Standard error as plain text, without the line end.
    pub fn stderr_text(&self) -> String {
        crate::plain_text(&self.stderr).trim_end().to_owned()
    }
}

/// Why a helper program gave no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ToolError {
    /// There is no such program.
    #[error("the program `{}` was not found", program.display())]
    NotFound {
        /// Its name.
        program: PathBuf,
    },
    /// It could not be started.
    #[error("failed to start `{}`", program.display())]
    Start {
        /// Its name.
        program: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// It could not be talked to; it has been killed.
    #[error("failed to read from `{}`", program.display())]
    Channel {
        /// Its name.
        program: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// It took too long and has been killed, with its process group.
    #[error("`{}` did not end within {after:?}", program.display())]
    TimedOut {
        /// Its name.
        program: PathBuf,
        /// How long it had.
        after: Duration,
    },
    /// It wrote too much and has been killed, with its process group.
    #[error("`{}` wrote more than {limit} bytes", program.display())]
    TooMuchOutput {
        /// Its name.
        program: PathBuf,
        /// How much both streams together may hold.
        limit: usize,
    },
}

impl Tool {
    /// Names the program; it has one minute and 16 MiB of output unless told otherwise.
    #[expect(clippy::disallowed_methods, reason = "this is the one place that starts small trusted tools")]
    pub fn new(program: impl Into<OsString>) -> Self {
        let program = program.into();
        let mut command = Command::new(&program);
        command.process_group(0);
        Self { program, command, stdin: Vec::new(), timeout: DEFAULT_TIMEOUT, max_output: DEFAULT_MAX_OUTPUT }
    }

    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.command.arg(argument);
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args(mut self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        self.command.args(arguments);
        self
    }

    /// Sets the working directory.
    #[must_use]
    pub fn cwd(mut self, directory: impl AsRef<Path>) -> Self {
        self.command.current_dir(directory);
        self
    }

    /// Sets a variable.
    #[must_use]
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Takes a variable away.
    #[must_use]
    pub fn env_remove(mut self, name: impl AsRef<OsStr>) -> Self {
        self.command.env_remove(name);
        self
    }

    /// Takes away every inherited variable whose name begins with `prefix`, for example `GIT_`.
    #[must_use]
    pub fn env_remove_prefix(mut self, prefix: &str) -> Self {
        use std::os::unix::ffi::OsStrExt as _;
        for (name, _) in
            std::env::vars_os().filter(|(name, _)| name.as_bytes().starts_with(prefix.as_bytes()))
        {
            self.command.env_remove(name);
        }
        self
    }

    /// Starts from an empty environment.
    #[must_use]
    pub fn env_clear(mut self) -> Self {
        self.command.env_clear();
        self
    }

    /// Gives the program bytes to read.
    #[must_use]
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = bytes.into();
        self
    }

    /// Sets how long the program may run.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sets how many bytes both streams together may hold.
    #[must_use]
    pub fn max_output(mut self, bytes: usize) -> Self {
        self.max_output = bytes;
        self
    }

    /// Runs the program to its end. Any exit code is an answer, not an error.
    ///
    /// Blocks the calling thread. A background process that keeps the streams open is not waited for.
    ///
    /// # Errors
    /// See [`ToolError`]; the program is gone in every case.
    pub fn run(mut self) -> Result<ToolOutput, ToolError> {
        let stdin = if self.stdin.is_empty() { Stdio::null() } else { Stdio::piped() };
        self.command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped());
        let program = PathBuf::from(&self.program);
        let mut child = match self.command.spawn() {
            Ok(child) => child,
            Err(source) if source.kind() == io::ErrorKind::NotFound && !self.misses_directory() => {
                return Err(ToolError::NotFound { program });
            }
            Err(source) => return Err(ToolError::Start { program, source }),
        };
        let outcome = self.converse(&mut child);
        if !matches!(outcome, Ok(Ended::Exited(..))) {
            end_group(&mut child);
        }
        match outcome {
            Ok(Ended::Exited(status, stdout, stderr)) => {
                Ok(ToolOutput { exit: exit_of(status), stdout, stderr })
            }
            Ok(Ended::Late) => Err(ToolError::TimedOut { program, after: self.timeout }),
            Ok(Ended::Verbose) => Err(ToolError::TooMuchOutput { program, limit: self.max_output }),
            Err(source) => Err(ToolError::Channel { program, source }),
        }
    }

    fn misses_directory(&self) -> bool {
        self.command.get_current_dir().is_some_and(|directory| !directory.is_dir())
    }

    fn converse(&self, child: &mut Child) -> io::Result<Ended> {
        let deadline = Instant::now().checked_add(self.timeout);
        let mut feed = child.stdin.take().map(OwnedFd::from);
        let mut written = 0;
        let mut sources = [child.stdout.take().map(OwnedFd::from), child.stderr.take().map(OwnedFd::from)];
        let mut collected = [Vec::new(), Vec::new()];
        for fd in sources.iter().chain([&feed]).flatten() {
            rustix::fs::fcntl_setfl(fd, rustix::fs::fcntl_getfl(fd)? | rustix::fs::OFlags::NONBLOCK)?;
        }
        let ended = pid_of(child).and_then(platform::exit_descriptor);
        let mut buffer = vec![0; READ_BYTES];
        loop {
            // The exit is asked for before the streams are read: what the program wrote is there by then.
            let status = child.try_wait()?;
            for (source, bytes) in sources.iter_mut().zip(&mut collected) {
                drain(source, bytes, &mut buffer, self.max_output)?;
            }
            let [stdout, stderr] = &collected;
            if stdout.len() + stderr.len() > self.max_output {
                return Ok(Ended::Verbose);
            }
            if let Some(status) = status {
                let [stdout, stderr] = collected;
                return Ok(Ended::Exited(status, stdout, stderr));
            }
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                return Ok(Ended::Late);
            }
            if let Some(sink) = &feed
                && write_some(sink, &self.stdin, &mut written)
            {
                feed = None;
            }
            wait_for_any(&sources, feed.as_ref(), ended.as_ref(), deadline)?;
        }
    }
}

enum Ended {
    Exited(ExitStatus, Vec<u8>, Vec<u8>),
    Late,
    Verbose,
}

/// Reads what is there; stops early beyond `limit`, which the caller then sees.
fn drain(
    source: &mut Option<OwnedFd>,
    bytes: &mut Vec<u8>,
    buffer: &mut [u8],
    limit: usize,
) -> io::Result<()> {
    while let Some(open) = source {
        match rustix::io::read(&*open, &mut *buffer) {
            Ok(0) => *source = None,
            Ok(count) => bytes.extend_from_slice(buffer.get(..count).unwrap_or_default()),
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        if bytes.len() > limit {
            return Ok(());
        }
    }
    Ok(())
}

/// Writes what fits; says whether there is nothing more to write.
fn write_some(sink: &OwnedFd, bytes: &[u8], written: &mut usize) -> bool {
    while let Some(left) = bytes.get(*written..).filter(|left| !left.is_empty()) {
        match rustix::io::write(sink, left) {
            Ok(count) => *written += count,
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => return false,
            Err(_) => return true,
        }
    }
    true
}

fn wait_for_any(
    sources: &[Option<OwnedFd>],
    feed: Option<&OwnedFd>,
    ended: Option<&OwnedFd>,
    deadline: Option<Instant>,
) -> io::Result<()> {
    let mut entries: Vec<PollFd<'_>> = sources
        .iter()
        .flatten()
        .chain(ended)
        .map(|fd| PollFd::from_borrowed_fd(fd.as_fd(), PollFlags::IN))
        .collect();
    entries.extend(feed.map(|feed| PollFd::new(feed, PollFlags::OUT)));
    // Without a descriptor for the exit, it has to be asked for now and then.
    let look_again = ended.is_none().then(|| Instant::now() + Duration::from_millis(10));
    match poll(&mut entries, clock::until([deadline, look_again]).as_ref()) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn pid_of(child: &Child) -> Option<Pid> {
    i32::try_from(child.id()).ok().and_then(Pid::from_raw)
}

/// Kills the program's group and reaps the program, whose pid therefore still is its own.
fn end_group(child: &mut Child) {
    if let Some(pid) = pid_of(child).filter(|pid| pid.as_raw_pid() > 1) {
        let _ = kill_process_group(pid, Signal::KILL);
    }
    // The kill may have come too late or may be refused; either way the child is asked for once more.
    drop(child.kill());
    drop(child.wait());
}

fn exit_of(status: ExitStatus) -> LeaderExit {
    match (status.code(), status.signal()) {
        (Some(code), _) => LeaderExit::Code(code),
        (None, signal) => LeaderExit::Signal(signal.unwrap_or_default()),
    }
}
