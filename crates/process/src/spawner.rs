//! The program's handle on the zygote.
//!
//! Owns the request socket. A request is one byte with descriptors; the launch itself goes straight to the new
//! supervisor over its control socket, so requests of many threads never wait for one another.

use std::ffi::{CString, OsString};
use std::io::{self, IoSlice, Read as _};
use std::mem::MaybeUninit;
use std::net::Shutdown;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, sendmsg};
use rustix::process::{Pid, WaitOptions, waitpid};

use crate::entry::{Entry, OwnProgram};
use crate::wire::{Launch, send_frame};
use crate::{clock, platform, sys, zygote};

/// How long a clean end waits for stubborn supervisors before it leaves them to finish alone.
const FAREWELL: Duration = Duration::from_secs(5);

/// How long a request may take to reach a supervisor that does not read.
const REQUEST_PATIENCE: Duration = Duration::from_secs(10);

/// Why the zygote could not be forked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ForkError {
    /// The program has threads already; the zygote must be forked first thing in `main`.
    #[error("the spawner must be forked before any thread is started, and there are {count} threads")]
    Threads {
        /// The number of threads found.
        count: usize,
    },
    /// The system refused a socket or a process.
    #[error("failed to fork the spawner")]
    System {
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// Why an epilogue could not be registered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EpilogueError {
    /// An argument, a variable or the directory holds a NUL byte, or there is no argument at all.
    #[error("the epilogue's {what} cannot be passed to a program")]
    Unusable {
        /// Which part is at fault.
        what: &'static str,
    },
    /// The zygote is gone or did not confirm.
    #[error("failed to register the epilogue")]
    Unreachable {
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// Why a clean end was not clean.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ShutdownError {
    /// Processes that cannot be killed are left; their supervisors go on trying.
    #[error("processes started by the spawner did not end within {patience:?}")]
    Survivors {
        /// How long was waited.
        patience: Duration,
    },
    /// The zygote could not be reached or waited for.
    #[error("failed to end the spawner")]
    System {
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// A program to run when ours ended without saying goodbye.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Epilogue {
    /// The program and its arguments; a name without a slash is looked up in the PATH of `env`.
    pub argv: Vec<OsString>,
    /// The whole environment.
    pub env: Vec<(OsString, OsString)>,
    /// Where it runs.
    pub cwd: PathBuf,
}

/// Starts programs, and ends all of them when our program ends, however it ends.
///
/// Shared by reference between threads. Dropping it is a clean end, the same as [`Spawner::shutdown`].
#[derive(Debug)]
pub struct Spawner {
    socket: UnixStream,
    zygote: Pid,
    ended: bool,
}

impl Spawner {
    /// Forks the zygote; to be called first thing in `main`.
    ///
    /// Programs inherit the limits, the user and the umask that hold now, not what the caller changes later: it
    /// may raise its own limit of open files for many runs at once (each takes about eight) without passing it
    /// on.
    ///
    /// # Errors
    /// [`ForkError::Threads`] if the program has started a thread (checked on Linux only), else
    /// [`ForkError::System`].
    pub fn fork() -> Result<Self, ForkError> {
        Self::fork_own(None)
    }

    /// Like [`Spawner::fork`]; programs that are the caller's own executable at `entry` are forks of it, which
    /// saves the time that executing it takes.
    ///
    /// # Errors
    /// As [`Spawner::fork`].
    pub fn fork_with(entry: Entry) -> Result<Self, ForkError> {
        Self::fork_own(OwnProgram::with(entry))
    }

    fn fork_own(own: Option<OwnProgram>) -> Result<Self, ForkError> {
        if let Some(count) = platform::thread_count().filter(|&count| count != 1) {
            return Err(ForkError::Threads { count });
        }
        let system = |source| ForkError::System { source };
        let (ours, theirs) = UnixStream::pair().map_err(system)?;
        match sys::fork().map_err(system)? {
            sys::Fork::Child => {
                drop(ours);
                zygote::main(theirs, own)
            }
            sys::Fork::Parent(zygote) => Ok(Self { socket: ours, zygote, ended: false }),
        }
    }

    /// Registers what runs after an unclean end, once everything we started is gone; replaces an earlier one.
    ///
    /// It runs with `/dev/null` as its standard streams, in the zygote's place. Unclean is every end without
    /// [`Spawner::shutdown`] or a drop: a kill, an abort, and `std::process::exit` too.
    ///
    /// # Errors
    /// [`EpilogueError::Unusable`] for text that no program can receive, [`EpilogueError::Unreachable`] if the
    /// zygote is gone. An earlier epilogue then still stands.
    pub fn set_epilogue(&self, epilogue: &Epilogue) -> Result<(), EpilogueError> {
        let launch = launch(&epilogue.argv, &epilogue.env, &epilogue.cwd, false)
            .map_err(|what| EpilogueError::Unusable { what })?;
        self.register(&launch.encode()).map_err(|source| EpilogueError::Unreachable { source })
    }

    fn register(&self, body: &[u8]) -> io::Result<()> {
        use std::io::Write as _;
        let (mut ours, theirs) = UnixStream::pair()?;
        self.request(zygote::REQUEST_EPILOGUE, &[theirs.as_fd()])?;
        drop(theirs);
        ours.set_write_timeout(Some(REQUEST_PATIENCE))?;
        ours.set_read_timeout(Some(REQUEST_PATIENCE))?;
        ours.write_all(body)?;
        ours.shutdown(Shutdown::Write)?;
        ours.read_exact(&mut [0])
    }

    /// Ends the zygote and everything it started; a registered epilogue does not run.
    ///
    /// Blocks until all is gone, at most five seconds.
    ///
    /// # Errors
    /// [`ShutdownError::Survivors`] if something cannot be killed, [`ShutdownError::System`] if the zygote is
    /// gone already.
    pub fn shutdown(mut self) -> Result<(), ShutdownError> {
        self.end()
    }

    fn end(&mut self) -> Result<(), ShutdownError> {
        if std::mem::replace(&mut self.ended, true) {
            return Ok(());
        }
        let said =
            self.request(zygote::REQUEST_END, &[]).and_then(|()| self.socket.shutdown(Shutdown::Write));
        let gone = self.wait_for_close().map_err(|source| ShutdownError::System { source })?;
        if !gone {
            return Err(ShutdownError::Survivors { patience: FAREWELL });
        }
        // Somebody who reaps every child may have been faster: the process is gone either way.
        let _ = waitpid(Some(self.zygote), WaitOptions::empty());
        said.map_err(|source| ShutdownError::System { source })
    }

    /// Waits until the zygote's end of the socket closes, which it does by ending.
    fn wait_for_close(&self) -> io::Result<bool> {
        let deadline = std::time::Instant::now() + FAREWELL;
        loop {
            let mut entries = [PollFd::new(&self.socket, PollFlags::IN)];
            match poll(&mut entries, clock::until([Some(deadline)]).as_ref()) {
                Ok(0) => return Ok(false),
                Ok(_) => return Ok(true),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Hands a launch and the program's standard streams to a new supervisor; returns its control socket.
    pub(crate) fn launch(&self, launch: &Launch, streams: [OwnedFd; 3]) -> io::Result<UnixStream> {
        let (ours, theirs) = UnixStream::pair()?;
        let [stdin, stdout, stderr] = &streams;
        self.request(
            zygote::REQUEST_SPAWN,
            &[theirs.as_fd(), stdin.as_fd(), stdout.as_fd(), stderr.as_fd()],
        )?;
        drop((theirs, streams));
        ours.set_write_timeout(Some(REQUEST_PATIENCE))?;
        // If the supervisor is gone already, the socket says so to whoever reads from it next.
        match send_frame(&ours, &launch.encode()) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error),
            Ok(()) | Err(_) => Ok(ours),
        }
    }

    fn request(&self, byte: u8, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        if !descriptors.is_empty() {
            ancillary.push(SendAncillaryMessage::ScmRights(descriptors));
        }
        loop {
            match sendmsg(&self.socket, &[IoSlice::new(&[byte])], &mut ancillary, platform::SEND_FLAGS) {
                Err(rustix::io::Errno::INTR) => {}
                other => return other.map(drop).map_err(Into::into),
            }
        }
    }
}

impl Drop for Spawner {
    fn drop(&mut self) {
        // A drop has nobody to report to; `shutdown` is the form that answers.
        drop(self.end());
    }
}

/// Turns what a caller asked for into what `exec` takes; the error names the part that cannot be passed.
pub(crate) fn launch(
    argv: &[OsString],
    env: &[(OsString, OsString)],
    cwd: &Path,
    terminal: bool,
) -> Result<Launch, &'static str> {
    if argv.is_empty() {
        return Err("argument list");
    }
    let argv = argv
        .iter()
        .map(|argument| CString::new(argument.as_bytes()))
        .collect::<Result<_, _>>()
        .map_err(|_| "argument list")?;
    let env = env
        .iter()
        .map(|(name, value)| {
            let mut entry = name.clone().into_vec();
            if entry.is_empty() || entry.contains(&b'=') {
                return None;
            }
            entry.push(b'=');
            entry.extend_from_slice(value.as_bytes());
            CString::new(entry).ok()
        })
        .collect::<Option<_>>()
        .ok_or("environment")?;
    // The zygote stands in the root directory: what is relative for us would be something else there.
    let cwd = std::path::absolute(cwd)
        .ok()
        .and_then(|cwd| CString::new(cwd.into_os_string().into_vec()).ok())
        .ok_or("working directory")?;
    Ok(Launch { argv, env, cwd, terminal })
}
