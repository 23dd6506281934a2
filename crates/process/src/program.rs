//! What to run, within which limits, and what came of it: the values around [`crate::run`].

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::excerpt::Excerpt;
use crate::identity::ProcessIdentity;
use crate::live::LiveInput;
use crate::output_log::Stream;

/// A program, with everything it may see of us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// The program and its arguments.
    ///
    /// A name without a slash is looked up in the PATH of `env`; a relative path is relative to `cwd`.
    pub argv: Vec<OsString>,
    /// Where it runs; a relative path is relative to our own directory.
    pub cwd: PathBuf,
    /// The whole environment: nothing of ours is added.
    pub env: Vec<(OsString, OsString)>,
    /// What it reads.
    pub stdin: Stdin,
    /// What its streams are connected to.
    pub terminal: Terminal,
}

/// What a program reads from its standard input.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Stdin {
    /// Nothing: `/dev/null`, on a terminal too, so that nobody waits for a key.
    #[default]
    Null,
    /// These bytes and then the end. On a terminal they are typed (and echoed), followed by Ctrl-D.
    Bytes(Vec<u8>),
    /// What is written to this input while the program runs, until it is closed.
    Live(LiveInput),
}

/// What a program's streams are connected to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Terminal {
    /// A pipe for each stream: fast, and the streams are told apart.
    #[default]
    Pipes,
    /// A pseudo-terminal, which the program controls; both streams become one, with CR LF line ends.
    Pty {
        /// Height in characters.
        rows: u16,
        /// Width in characters.
        columns: u16,
    },
}

/// Where the output goes; files that exist are appended to. See [`crate::OutputLog`] for the format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capture {
    /// The exact bytes of all streams in order of arrival.
    pub log: PathBuf,
    /// Which bytes belong to which stream, and when they arrived.
    pub index: PathBuf,
}

/// How long things may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The longest the whole group may run, from the request on; `None` is for ever.
    pub timeout: Option<Duration>,
    /// How long the group may take to end after SIGTERM before it is killed.
    pub grace: Duration,
    /// How long the rest of the group may outlive its leader before it is killed.
    pub linger: Duration,
}

impl Default for Limits {
    /// No time-out, 2 s of grace, 10 s of lingering.
    fn default() -> Self {
        Self { timeout: None, grace: Duration::from_secs(2), linger: Duration::from_secs(10) }
    }
}

/// Hears of a program's life as it happens.
///
/// Called on the thread of [`crate::run`]: while it works nothing is read, and the program feels back-pressure.
/// The start comes first; output may still come after the leader's exit.
pub trait Observer {
    /// The program runs: `exec` has succeeded.
    fn started(&mut self, identity: &ProcessIdentity) {
        let _ = identity;
    }
    /// Bytes have just arrived, as the program wrote them.
    ///
    /// For those who answer the program within a protocol; whatever is kept, shown or sent of them comes
    /// through [`Observer::redact`].
    fn raw(&mut self, stream: Stream, bytes: &[u8]) {
        let _ = (stream, bytes);
    }
    /// Says what may be kept of bytes that have just arrived; `None` is all of it.
    ///
    /// Comes before anything keeps them: the log, the excerpt and [`Observer::output`] get only what is
    /// returned. Bytes that the next ones decide about may be held back.
    fn redact(&mut self, stream: Stream, bytes: &[u8]) -> Option<Vec<u8>> {
        let _ = (stream, bytes);
        None
    }
    /// Gives what [`Observer::redact`] has held back: the stream has ended.
    fn redact_rest(&mut self, stream: Stream) -> Vec<u8> {
        let _ = stream;
        Vec::new()
    }
    /// Bytes arrived and are in the log.
    fn output(&mut self, stream: Stream, bytes: &[u8]) {
        let _ = (stream, bytes);
    }
    /// The leader has ended; others of its group may go on.
    fn leader_exited(&mut self, exit: LeaderExit) {
        let _ = exit;
    }
}

/// An observer that does not care.
impl Observer for () {}

/// How the first process of a group ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeaderExit {
    /// It exited with this code.
    Code(i32),
    /// This signal ended it.
    Signal(i32),
}

/// How a program ended, as we observed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// The leader exited with this code, and its group is gone.
    Code(i32),
    /// This signal, not sent by us, ended the leader.
    Signal(i32),
    /// The group ran past its time-out and was ended.
    TimedOut {
        /// The time-out.
        after: Duration,
    },
    /// A [`crate::StopSignal`] ended the group.
    Cancelled,
    /// The supervisor was killed from outside, so nobody saw the end. The group is ended all the same.
    Lost,
}

impl Exit {
    /// Whether the leader exited with code 0, by itself.
    pub fn is_success(self) -> bool {
        self == Self::Code(0)
    }
}

/// What one stream carried.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StreamStats {
    /// How many bytes were kept: all, unless [`Observer::redact`] took some away.
    pub bytes: u64,
    /// The first and the last of them.
    pub excerpt: Excerpt,
}

/// What came of a program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// How it ended.
    pub exit: Exit,
    /// How its leader ended, where that was seen; set after a time-out and a cancellation too.
    pub leader: Option<LeaderExit>,
    /// Which process it was; `None` only for [`Exit::Lost`] and for a stop before the start.
    pub identity: Option<ProcessIdentity>,
    /// From the request to the running program.
    pub started_after: Option<Duration>,
    /// From the request to the end of the group and of its output.
    pub elapsed: Duration,
    /// How many running processes, the leader not counted, had to be killed.
    pub survivors_killed: u32,
    /// What standard output carried; on a terminal, everything.
    pub stdout: StreamStats,
    /// What standard error carried; on a terminal, nothing.
    pub stderr: StreamStats,
    /// Whether every stream was read to its end.
    ///
    /// `false` if a process *outside* the group still held one open: all that the group wrote is in the log.
    pub drained: bool,
}

/// Why a program did not run, or could not be followed to its end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The request cannot be passed to any program: a NUL byte, an empty argument list, `=` in a name,
    /// a live input of another run.
    #[error("the program's {what} cannot be passed to a program")]
    Unusable {
        /// Which part is at fault.
        what: &'static str,
    },
    /// The output could not be written; the group has been killed.
    #[error("failed to write output to `{}`", path.display())]
    Capture {
        /// The log or the index.
        path: PathBuf,
        /// What the system said, for example that the disk is full.
        #[source]
        source: io::Error,
    },
    /// A pipe, a socket or a terminal could not be made or waited for; a started group has been killed.
    #[error("failed to {step}")]
    Channel {
        /// What was tried.
        step: &'static str,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The zygote is gone: this process can start no more programs.
    #[error("the spawner is gone")]
    SpawnerGone {
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The program did not start.
    #[error("the program did not start")]
    Start {
        /// Why.
        #[source]
        source: StartError,
    },
    /// Processes are left that even SIGKILL did not end in time; their supervisor goes on trying.
    #[error("processes of the group did not end within {patience:?} of being killed")]
    Survivors {
        /// How long was waited.
        patience: Duration,
    },
}

/// Why a program did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The working directory does not exist, or is no directory.
    #[error("the working directory `{}` does not exist", path.display())]
    CwdNotFound {
        /// The directory.
        path: PathBuf,
    },
    /// The working directory cannot be entered.
    #[error("the working directory `{}` cannot be entered", path.display())]
    Cwd {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// There is no such program: at this path, or in the PATH of its environment.
    #[error("the program `{}` was not found", program.display())]
    ProgramNotFound {
        /// The name as it was asked for.
        program: PathBuf,
    },
    /// The program is there, but the interpreter or loader that it names is not.
    #[error("the interpreter of `{}` was not found", program.display())]
    InterpreterNotFound {
        /// The program's path.
        program: PathBuf,
    },
    /// The program is there, but may not be executed.
    #[error("the program `{}` is not executable", program.display())]
    NotExecutable {
        /// The program's path.
        program: PathBuf,
    },
    /// The program could not be executed for another reason, for example arguments that are too long.
    #[error("the program `{}` could not be executed", program.display())]
    Exec {
        /// The program's path.
        program: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The system refused a process or a session.
    #[error("no process could be made")]
    Process {
        /// What the system said, for example that the limit of processes is reached.
        #[source]
        source: io::Error,
    },
}
