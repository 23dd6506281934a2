//! The client of a host: one connection, one request at a time.
//!
//! Every call blocks for as long as the host takes, which is up to its yield time. Calls at the same time need a
//! connection each.

use std::io::{self, BufReader};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use co_process::{Shutdown, Signal};

use crate::endpoint::Endpoint;
use crate::protocol::{
    Bytes, Line, Outcome, Request, RequestLine, Response, ResponseLine, StartParams, VERSION, read_line,
    write_line,
};
use crate::stream::Upstream;
use crate::{HostError, Reply, ScriptReply, SessionId, SessionInfo, StartSession, Wait};

pub use crate::protocol::Refusal;
pub use crate::stream::Attached;

/// How many bytes one request carries; a longer write is several.
const PIECE_BYTES: usize = 1 << 20;
/// How long a started host may take to show its socket before it is started once more.
const START_AGAIN: Duration = Duration::from_secs(3);

/// Why no connection came about.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// No host serves there.
    #[error("no host serves `{}`", directory.display())]
    NotRunning {
        /// The directory of its socket.
        directory: PathBuf,
    },
    /// A host was started and did not serve in time.
    #[error("the host of `{}` did not serve within {patience:?}", directory.display())]
    TooLate {
        /// The directory of its socket.
        directory: PathBuf,
        /// How long it had.
        patience: Duration,
    },
    /// The host could not be started.
    #[error("failed to start a host for `{}`", directory.display())]
    Start {
        /// The directory of its socket.
        directory: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The directory or the socket is not usable.
    #[error("failed to reach the host")]
    Endpoint {
        /// Why.
        #[source]
        source: HostError,
    },
    /// Whoever answered is no host that we can speak with.
    #[error("the host did not say hello")]
    Hello {
        /// Why.
        #[source]
        source: CallError,
    },
}

/// Why a call gave nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// The host refused it.
    #[error("{message}")]
    Refused {
        /// What kind of refusal.
        kind: Refusal,
        /// The reason, for people.
        message: String,
    },
    /// The host is gone; its sessions are ended.
    #[error("the host is gone")]
    Gone,
    /// The host could not be spoken with.
    #[error("failed to speak with the host")]
    Channel {
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The host said something that is no answer.
    #[error("the host's answer makes no sense: {reason}")]
    Nonsense {
        /// Why.
        reason: String,
    },
}

impl CallError {
    /// What kind of refusal it is, if it is one.
    pub fn refusal(&self) -> Option<Refusal> {
        match self {
            Self::Refused { kind, .. } => Some(*kind),
            Self::Gone | Self::Channel { .. } | Self::Nonsense { .. } => None,
        }
    }
}

/// A connection to a host.
#[derive(Debug)]
pub struct Connection {
    stream: BufReader<UnixStream>,
    pid: u32,
}

impl Connection {
    /// Connects to the host that serves there.
    ///
    /// # Errors
    /// [`ConnectError::NotRunning`] if none does, else [`ConnectError::Endpoint`] or [`ConnectError::Hello`].
    pub fn connect(endpoint: &Endpoint) -> Result<Self, ConnectError> {
        let directory = endpoint.open().map_err(|source| ConnectError::Endpoint { source })?;
        Self::connect_in(endpoint, &directory)
    }

    fn connect_in(endpoint: &Endpoint, directory: &OwnedFd) -> Result<Self, ConnectError> {
        let not_running = || ConnectError::NotRunning { directory: endpoint.directory().to_owned() };
        let stream = endpoint.connect(directory).map_err(|source| ConnectError::Endpoint { source })?;
        let stream = BufReader::new(stream.ok_or_else(not_running)?);
        let mut connection = Self { stream, pid: 0 };
        match connection.call(Request::Hello) {
            Ok(Response::Hello { pid }) => {
                connection.pid = pid;
                Ok(connection)
            }
            // It was just ending.
            Err(CallError::Gone) => Err(not_running()),
            Ok(other) => Err(ConnectError::Hello { source: nonsense(&other) }),
            Err(source) => Err(ConnectError::Hello { source }),
        }
    }

    /// Connects to the host that serves there, and has one started if none does.
    ///
    /// `start` starts a process that calls [`crate::host::serve`] and outlives this one; it is called again if no
    /// host appears for a while, because the first may have met one that was just ending. Of several that are
    /// started at once, one serves. Waits at most for `patience`.
    ///
    /// # Errors
    /// [`ConnectError`].
    pub fn connect_or_start(
        endpoint: &Endpoint,
        patience: Duration,
        mut start: impl FnMut() -> io::Result<()>,
    ) -> Result<Self, ConnectError> {
        let directory = endpoint.open().map_err(|source| ConnectError::Endpoint { source })?;
        let deadline = Instant::now() + patience;
        let watch = Watch::of(endpoint);
        let mut start_at = Instant::now();
        loop {
            match Self::connect_in(endpoint, &directory) {
                Err(ConnectError::NotRunning { .. }) => {}
                other => return other,
            }
            let now = Instant::now();
            if now >= deadline {
                return Err(ConnectError::TooLate { directory: endpoint.directory().to_owned(), patience });
            }
            if now >= start_at {
                start().map_err(|source| ConnectError::Start {
                    directory: endpoint.directory().to_owned(),
                    source,
                })?;
                start_at = now + START_AGAIN;
            }
            watch.wait(deadline.min(start_at).saturating_duration_since(now));
        }
    }

    /// The process id of the host.
    pub fn host_pid(&self) -> u32 {
        self.pid
    }

    /// As [`crate::Sessions::start`].
    ///
    /// # Errors
    /// [`CallError`].
    pub fn start(&mut self, start: &StartSession) -> Result<Reply, CallError> {
        self.reply(Request::Start(Box::new(StartParams::from(start))))
    }

    /// As [`crate::Sessions::write`]; more than 1 MiB goes in pieces, between which others may write.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn write(
        &mut self,
        session: &SessionId,
        bytes: &[u8],
        wait: Wait,
        max_output_tokens: Option<usize>,
    ) -> Result<Reply, CallError> {
        let mut left = bytes;
        while left.len() > PIECE_BYTES {
            let (now, later) = left.split_at(PIECE_BYTES);
            self.feed_piece(session, now)?;
            left = later;
        }
        self.reply(Request::Write { session: session.clone(), bytes: left.into(), wait, max_output_tokens })
    }

    /// As [`crate::Sessions::feed`]; more than 1 MiB goes in pieces, between which others may write.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn feed(&mut self, session: &SessionId, bytes: &[u8]) -> Result<(), CallError> {
        bytes.chunks(PIECE_BYTES).try_for_each(|piece| self.feed_piece(session, piece))
    }

    fn feed_piece(&mut self, session: &SessionId, piece: &[u8]) -> Result<(), CallError> {
        self.nothing(Request::Feed { session: session.clone(), bytes: piece.into() })
    }

    /// As [`crate::Sessions::poll`].
    ///
    /// # Errors
    /// [`CallError`].
    pub fn poll(
        &mut self,
        session: &SessionId,
        wait: Wait,
        max_output_tokens: Option<usize>,
    ) -> Result<Reply, CallError> {
        self.write(session, &[], wait, max_output_tokens)
    }

    /// As [`crate::Sessions::close_input`].
    ///
    /// # Errors
    /// [`CallError`].
    pub fn close_input(&mut self, session: &SessionId) -> Result<(), CallError> {
        self.nothing(Request::CloseInput { session: session.clone() })
    }

    /// As [`crate::Sessions::resize`].
    ///
    /// # Errors
    /// [`CallError`].
    pub fn resize(&mut self, session: &SessionId, rows: u16, columns: u16) -> Result<(), CallError> {
        self.nothing(Request::Resize { session: session.clone(), rows, columns })
    }

    /// As [`crate::Sessions::signal`].
    ///
    /// # Errors
    /// [`CallError`].
    pub fn signal(&mut self, session: &SessionId, signal: Signal) -> Result<(), CallError> {
        self.nothing(Request::Signal { session: session.clone(), signal: signal.number() })
    }

    /// As [`crate::Sessions::kill`].
    ///
    /// # Errors
    /// [`CallError`].
    pub fn kill(
        &mut self,
        session: &SessionId,
        how: Shutdown,
        max_output_tokens: Option<usize>,
    ) -> Result<Reply, CallError> {
        let graceful = how == Shutdown::Graceful;
        self.reply(Request::Kill { session: session.clone(), graceful, max_output_tokens })
    }

    /// As [`crate::Sessions::run_in`]; a script may be about 1 MiB long.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn run_in(
        &mut self,
        session: &SessionId,
        script: &[u8],
        timeout: Option<Duration>,
        max_output_tokens: Option<usize>,
    ) -> Result<ScriptReply, CallError> {
        let script = Bytes::from(script);
        match self.call(Request::RunIn { session: session.clone(), script, timeout, max_output_tokens })? {
            Response::Script(reply) => Ok(reply),
            other => Err(nonsense(&other)),
        }
    }

    /// Lists the sessions of this host and of those before it, the oldest first.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn list(&mut self) -> Result<Vec<SessionInfo>, CallError> {
        match self.call(Request::List)? {
            Response::Sessions(list) => Ok(list),
            other => Err(nonsense(&other)),
        }
    }

    /// As [`crate::Sessions::prune`], and forgets the sessions of earlier hosts.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn prune(&mut self) -> Result<Vec<SessionId>, CallError> {
        match self.call(Request::Prune)? {
            Response::Pruned(names) => Ok(names),
            other => Err(nonsense(&other)),
        }
    }

    /// Ends every session and then the host.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn shutdown(mut self) -> Result<(), CallError> {
        self.nothing(Request::Shutdown)
    }

    /// Turns the connection into a raw one to a session, beginning with the last `replay_bytes` of its log (at most
    /// 1 MiB).
    ///
    /// # Errors
    /// [`CallError`].
    pub fn attach(mut self, session: &SessionId, replay_bytes: u64) -> Result<Attachment, CallError> {
        match self.call(Request::Attach { session: session.clone(), replay_bytes })? {
            Response::Attached => {}
            other => return Err(nonsense(&other)),
        }
        let stream = self.stream.get_ref().try_clone().map_err(|source| CallError::Channel { source })?;
        Ok(Attachment { output: AttachedOutput { stream: self.stream }, input: AttachedInput { stream } })
    }

    fn reply(&mut self, request: Request) -> Result<Reply, CallError> {
        match self.call(request)? {
            Response::Reply(reply) => {
                // A host that is gone by now has nothing left to keep.
                drop(self.send(Request::Received));
                Ok(reply)
            }
            other => Err(nonsense(&other)),
        }
    }

    fn nothing(&mut self, request: Request) -> Result<(), CallError> {
        match self.call(request)? {
            Response::Nothing => Ok(()),
            other => Err(nonsense(&other)),
        }
    }

    fn call(&mut self, request: Request) -> Result<Response, CallError> {
        self.send(request).map_err(failed)?;
        match read_line::<ResponseLine>(&mut self.stream).map_err(failed)? {
            Line::Message(ResponseLine { outcome: Outcome::Done(response), .. }) => Ok(response),
            Line::Message(ResponseLine { outcome: Outcome::Refused { kind, message }, .. }) => {
                Err(CallError::Refused { kind, message })
            }
            Line::Malformed(reason) => Err(CallError::Nonsense { reason }),
            Line::End => Err(CallError::Gone),
        }
    }

    fn send(&mut self, request: Request) -> io::Result<()> {
        write_line(self.stream.get_mut(), &RequestLine { version: VERSION, request })
    }
}

fn failed(source: io::Error) -> CallError {
    match source.kind() {
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => CallError::Gone,
        _ => CallError::Channel { source },
    }
}

fn nonsense(response: &Response) -> CallError {
    CallError::Nonsense { reason: format!("{response:?} was not asked for") }
}

/// A raw connection to one session: its two halves, for a thread each.
#[derive(Debug)]
pub struct Attachment {
    /// What the session writes.
    pub output: AttachedOutput,
    /// What the session is told.
    pub input: AttachedInput,
}

/// What an attached session writes.
#[derive(Debug)]
pub struct AttachedOutput {
    stream: BufReader<UnixStream>,
}

impl AttachedOutput {
    /// Waits for the next; `None` once the host is gone.
    ///
    /// # Errors
    /// When the host cannot be read from or says nonsense.
    pub fn receive(&mut self) -> io::Result<Option<Attached>> {
        Attached::read_from(&mut self.stream)
    }
}

/// What an attached session is told. Dropping both halves detaches; the session goes on.
#[derive(Debug)]
pub struct AttachedInput {
    stream: UnixStream,
}

impl AttachedInput {
    /// Gives the program bytes to read; blocks while it reads none and much waits for it.
    ///
    /// # Errors
    /// When the host is gone.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        bytes
            .chunks(PIECE_BYTES)
            .try_for_each(|piece| Upstream::Input(piece.to_vec()).write_to(&mut self.stream))
    }

    /// Gives the terminal another size.
    ///
    /// # Errors
    /// When the host is gone.
    pub fn resize(&mut self, rows: u16, columns: u16) -> io::Result<()> {
        Upstream::Resize { rows, columns }.write_to(&mut self.stream)
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// When the host is gone.
    pub fn signal(&mut self, signal: Signal) -> io::Result<()> {
        Upstream::Signal(signal.number()).write_to(&mut self.stream)
    }

    /// Ends the program's input.
    ///
    /// # Errors
    /// When the host is gone.
    pub fn close_input(&mut self) -> io::Result<()> {
        Upstream::CloseInput.write_to(&mut self.stream)
    }
}

impl Drop for AttachedInput {
    fn drop(&mut self) {
        // The host sees the end at once, even while the other half still waits for output.
        drop(self.stream.shutdown(std::net::Shutdown::Write));
    }
}

impl AsFd for AttachedInput {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

/// Wakes when something appears in a directory.
struct Watch {
    #[cfg(target_os = "linux")]
    events: Option<OwnedFd>,
}

impl Watch {
    #[cfg(target_os = "linux")]
    fn of(endpoint: &Endpoint) -> Self {
        use rustix::fs::inotify;
        let flags = inotify::CreateFlags::NONBLOCK | inotify::CreateFlags::CLOEXEC;
        let events = inotify::init(flags).ok().filter(|events| {
            inotify::add_watch(events, endpoint.directory(), inotify::WatchFlags::MOVED_TO).is_ok()
        });
        Self { events }
    }

    #[cfg(not(target_os = "linux"))]
    fn of(_endpoint: &Endpoint) -> Self {
        Self {}
    }

    /// Waits for a change, at most for `time`; where changes are not told, only a moment.
    fn wait(&self, time: Duration) {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        const MOMENT: Duration = Duration::from_millis(5);
        #[cfg(target_os = "linux")]
        let events = self.events.as_ref();
        #[cfg(not(target_os = "linux"))]
        let events = None::<&OwnedFd>;
        let time = if events.is_some() { time } else { time.min(MOMENT) };
        let mut entries: Vec<_> = events.iter().map(|events| PollFd::new(*events, PollFlags::IN)).collect();
        // However the wait ends, the caller looks for itself.
        let _ = poll(&mut entries, Timespec::try_from(time).ok().as_ref());
        if let Some(events) = events {
            let _ = rustix::io::read(events, &mut [0; 4096]);
        }
    }
}
