//! What a running program can be told: bytes to read, a new terminal size, signals.
//!
//! Owns the queue between whoever holds a [`LiveInput`] and the `poll` loop of [`crate::run`]. The loop is woken
//! through a pipe and never waits for a writer; a writer waits for room, except on the loop's own thread, where
//! waiting would be for ever. Nothing that was accepted is dropped silently: [`LiveInput::undelivered`] counts
//! what the program did not take.

use std::collections::VecDeque;
use std::io::{self, PipeReader, PipeWriter, Read as _, Write as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};

use rustix::io::Errno;

/// How many bytes [`LiveInput::write`] lets wait for the program.
pub const QUEUE_BYTES: usize = 1 << 20;
/// How many bytes [`LiveInput::offer`] lets wait for the program.
pub const OFFER_BYTES: usize = 16 << 20;
/// How many signals and sizes may wait for the loop, which takes them at once.
const MAX_REQUESTS: usize = 1024;
/// How many bytes go to the program at a time.
const PIECE_BYTES: usize = 64 << 10;
/// What a terminal takes for the end of typed input.
pub(crate) const END_OF_TRANSMISSION: u8 = 4;
/// What a terminal takes for an interrupt.
const END_OF_TEXT: u8 = 3;

/// What can be sent to a running program's group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Signal {
    /// SIGINT, as Ctrl-C sends it.
    Interrupt,
    /// SIGQUIT, as Ctrl-\ sends it.
    Quit,
    /// SIGTERM.
    Terminate,
    /// SIGKILL.
    Kill,
    /// SIGHUP.
    Hangup,
    /// SIGUSR1.
    User1,
    /// SIGUSR2.
    User2,
    /// SIGTSTP, as Ctrl-Z sends it.
    Suspend,
    /// SIGCONT.
    Continue,
    /// SIGWINCH.
    WindowChanged,
}

impl Signal {
    /// The signal of this number, if it can be sent.
    pub fn from_number(number: i32) -> Option<Self> {
        [
            Self::Interrupt,
            Self::Quit,
            Self::Terminate,
            Self::Kill,
            Self::Hangup,
            Self::User1,
            Self::User2,
            Self::Suspend,
            Self::Continue,
            Self::WindowChanged,
        ]
        .into_iter()
        .find(|signal| signal.number() == number)
    }

    /// Its number on this system.
    pub const fn number(self) -> i32 {
        self.to_system().as_raw()
    }

    pub(crate) const fn to_system(self) -> rustix::process::Signal {
        use rustix::process::Signal as S;
        match self {
            Self::Interrupt => S::INT,
            Self::Quit => S::QUIT,
            Self::Terminate => S::TERM,
            Self::Kill => S::KILL,
            Self::Hangup => S::HUP,
            Self::User1 => S::USR1,
            Self::User2 => S::USR2,
            Self::Suspend => S::TSTP,
            Self::Continue => S::CONT,
            Self::WindowChanged => S::WINCH,
        }
    }
}

/// Why a running program could not be told something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InputError {
    /// The input was closed, by us or by the program.
    #[error("the program's input is closed")]
    Closed,
    /// The program is gone, or it could not be started.
    #[error("the program has ended")]
    Ended,
    /// Too much waits already; nothing of this was accepted.
    #[error("more than {limit} bytes would wait for the program")]
    Full {
        /// How much may wait.
        limit: usize,
    },
    /// There is no terminal to resize: the program has pipes, or has none of its streams yet.
    #[error("the program has no terminal")]
    NoTerminal,
}

/// The input of one running program; clones are the same input.
///
/// Made before [`crate::run`], which connects it through [`crate::Stdin::Live`]. It belongs to one run: a later
/// one is refused.
#[derive(Debug, Clone)]
pub struct LiveInput {
    shared: Arc<Shared>,
}

impl PartialEq for LiveInput {
    /// Whether both are the same input.
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }
}

impl Eq for LiveInput {}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// Rung when there may be room, when a writer has finished, and when the input is closed.
    changed: Condvar,
    bell: PipeReader,
    ringer: PipeWriter,
}

#[derive(Debug)]
struct State {
    queue: VecDeque<u8>,
    /// What was offered while a write was only half in the queue.
    offered: VecDeque<u8>,
    requests: Vec<Request>,
    sink: Sink,
    run: RunState,
    /// Whether a writer is between two pieces of its bytes.
    writing: bool,
    /// Whether the bell holds a byte.
    rung: bool,
    /// The last byte that went to the program.
    last: Option<u8>,
    undelivered: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sink {
    Open,
    /// What waits still goes out, and then the end.
    Ending,
    Closed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RunState {
    Awaited,
    Connected { terminal: bool, thread: ThreadId },
    Over,
}

/// What the loop is asked for besides bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Request {
    Resize { rows: u16, columns: u16 },
    Signal(Signal),
}

/// What the loop has to do about the sink after writing to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Written {
    /// Everything is written; there may be more later.
    Idle,
    /// The rest has to wait until the sink is writable.
    Blocked,
    /// There will be no more: the sink is to be closed.
    Ended,
}

impl LiveInput {
    /// Makes an input that is open and empty.
    ///
    /// # Errors
    /// When no pipe can be made.
    pub fn new() -> io::Result<Self> {
        let (bell, ringer) = io::pipe()?;
        let state = State {
            queue: VecDeque::new(),
            offered: VecDeque::new(),
            requests: Vec::new(),
            sink: Sink::Open,
            run: RunState::Awaited,
            writing: false,
            rung: false,
            last: None,
            undelivered: 0,
        };
        Ok(Self {
            shared: Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new(), bell, ringer }),
        })
    }

    /// Gives the program bytes to read; waits while [`QUEUE_BYTES`] wait for it already.
    ///
    /// Bytes of one call stay together. Returns when all are accepted, which is before the program has read
    /// them. On the thread of [`crate::run`] itself, that is from within an observer, it never waits.
    ///
    /// A terminal in its line mode keeps at most 4095 bytes of one unfinished line and drops the rest of that
    /// line: a limit of the system.
    ///
    /// # Errors
    /// [`InputError::Closed`] and [`InputError::Ended`], also while it waits: the rest was not accepted.
    /// [`InputError::Full`] only where it may not wait.
    pub fn write(&self, bytes: &[u8]) -> Result<(), InputError> {
        let mut state = self.lock();
        if state.is_own_thread() {
            return self.accept(state, bytes, QUEUE_BYTES);
        }
        while state.writing {
            state.open()?;
            state = self.wait(state);
        }
        state.writing = true;
        let outcome;
        (state, outcome) = self.write_pieces(state, bytes);
        state.writing = false;
        let mut offered = std::mem::take(&mut state.offered);
        if state.sink == Sink::Closed {
            state.undelivered += offered.len() as u64;
        } else {
            state.queue.append(&mut offered);
        }
        self.ring(&mut state);
        drop(state);
        self.shared.changed.notify_all();
        outcome
    }

    fn write_pieces<'state>(
        &'state self,
        mut state: MutexGuard<'state, State>,
        mut bytes: &[u8],
    ) -> (MutexGuard<'state, State>, Result<(), InputError>) {
        loop {
            if let Err(error) = state.open() {
                return (state, Err(error));
            }
            let room = QUEUE_BYTES.saturating_sub(state.queue.len());
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            state.queue.extend(now);
            bytes = later;
            if !now.is_empty() {
                self.ring(&mut state);
            }
            if bytes.is_empty() {
                return (state, Ok(()));
            }
            state = self.wait(state);
        }
    }

    /// Waits until less than [`QUEUE_BYTES`] wait for the program; an offer may then go ahead.
    ///
    /// # Errors
    /// [`InputError::Closed`] and [`InputError::Ended`]; [`InputError::Full`] where it may not wait, as with
    /// [`LiveInput::write`].
    pub fn wait_for_room(&self) -> Result<(), InputError> {
        let mut state = self.lock();
        loop {
            state.open()?;
            if state.queue.len() + state.offered.len() < QUEUE_BYTES {
                return Ok(());
            }
            if state.is_own_thread() {
                return Err(InputError::Full { limit: QUEUE_BYTES });
            }
            state = self.wait(state);
        }
    }

    /// Gives the program bytes to read, all of them now or none; never waits.
    ///
    /// For answers within a protocol, whose size the protocol bounds: up to [`OFFER_BYTES`] may wait. They never
    /// split the bytes of a [`LiveInput::write`] that is still waiting for room.
    ///
    /// # Errors
    /// [`InputError::Full`], [`InputError::Closed`] and [`InputError::Ended`]; nothing was accepted then.
    pub fn offer(&self, bytes: &[u8]) -> Result<(), InputError> {
        self.accept(self.lock(), bytes, OFFER_BYTES)
    }

    fn accept(&self, mut state: MutexGuard<'_, State>, bytes: &[u8], limit: usize) -> Result<(), InputError> {
        state.open()?;
        if state.queue.len() + state.offered.len() + bytes.len() > limit {
            return Err(InputError::Full { limit });
        }
        let queue = if state.writing { &mut state.offered } else { &mut state.queue };
        queue.extend(bytes);
        self.ring(&mut state);
        Ok(())
    }

    /// Ends the input once what waits has gone out: the end of file of a pipe, Ctrl-D on a terminal.
    ///
    /// A [`LiveInput::write`] that waits for room fails. Closing again changes nothing.
    pub fn close(&self) {
        let mut state = self.lock();
        if state.sink == Sink::Open {
            state.sink = Sink::Ending;
            self.ring(&mut state);
            drop(state);
            self.shared.changed.notify_all();
        }
    }

    /// Gives the program's terminal another size, which its foreground group is told with SIGWINCH.
    ///
    /// # Errors
    /// [`InputError::NoTerminal`] with pipes and before [`crate::run`] has connected the terminal, which has the
    /// size of [`crate::Terminal::Pty`] until then; [`InputError::Ended`]; [`InputError::Full`] in theory.
    pub fn resize(&self, rows: u16, columns: u16) -> Result<(), InputError> {
        let mut state = self.lock();
        match state.run {
            RunState::Connected { terminal: true, .. } => {}
            RunState::Connected { .. } | RunState::Awaited => return Err(InputError::NoTerminal),
            RunState::Over => return Err(InputError::Ended),
        }
        // Only the last size matters.
        state.requests.retain(|request| !matches!(request, Request::Resize { .. }));
        self.request(state, Request::Resize { rows, columns })
    }

    /// Sends a signal to the foreground group of the program's terminal, where that is known, else to everything
    /// that the program has started; as soon as it has started.
    ///
    /// Returns when the signal is accepted, which is before it is delivered.
    ///
    /// # Errors
    /// [`InputError::Ended`]; [`InputError::Full`] if the loop has not run for a thousand signals.
    pub fn signal(&self, signal: Signal) -> Result<(), InputError> {
        let state = self.lock();
        if state.run == RunState::Over {
            return Err(InputError::Ended);
        }
        self.request(state, Request::Signal(signal))
    }

    fn request(&self, mut state: MutexGuard<'_, State>, request: Request) -> Result<(), InputError> {
        if state.requests.len() >= MAX_REQUESTS {
            return Err(InputError::Full { limit: MAX_REQUESTS });
        }
        state.requests.push(request);
        self.ring(&mut state);
        Ok(())
    }

    /// How many bytes were accepted that the program did not take before it closed its input or ended.
    pub fn undelivered(&self) -> u64 {
        self.lock().undelivered
    }

    /// Whether bytes would still be accepted.
    pub fn is_open(&self) -> bool {
        self.lock().open().is_ok()
    }

    /// Takes the input for the loop on this thread; it is over when the connection is dropped. `None` if another
    /// run has it, or had it.
    pub(crate) fn connect(&self, terminal: bool) -> Option<Connection> {
        let mut state = self.lock();
        if state.run != RunState::Awaited {
            return None;
        }
        state.run = RunState::Connected { terminal, thread: thread::current().id() };
        drop(state);
        Some(Connection { input: self.clone() })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'state>(&'state self, state: MutexGuard<'state, State>) -> MutexGuard<'state, State> {
        self.shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
    }

    fn ring(&self, state: &mut State) {
        if !std::mem::replace(&mut state.rung, true) {
            // The pipe is empty and we hold its other end: the byte fits.
            drop((&self.shared.ringer).write_all(&[0]));
        }
    }
}

impl State {
    fn open(&self) -> Result<(), InputError> {
        match (self.run, self.sink) {
            (RunState::Over, _) => Err(InputError::Ended),
            (_, Sink::Ending | Sink::Closed) => Err(InputError::Closed),
            (RunState::Awaited | RunState::Connected { .. }, Sink::Open) => Ok(()),
        }
    }

    fn is_own_thread(&self) -> bool {
        matches!(self.run, RunState::Connected { thread, .. } if thread == thread::current().id())
    }

    fn close(&mut self) {
        self.sink = Sink::Closed;
        self.undelivered += (self.queue.len() + self.offered.len()) as u64;
        self.queue = VecDeque::new();
        self.offered = VecDeque::new();
    }
}

/// The loop's end of a [`LiveInput`]; dropping it, however the run ends, tells every writer.
pub(crate) struct Connection {
    input: LiveInput,
}

impl Connection {
    /// Silences the bell and takes what was asked for.
    pub(crate) fn take_requests(&self) -> Vec<Request> {
        let mut state = self.input.lock();
        if std::mem::take(&mut state.rung) {
            // The byte is there, so the read returns at once.
            drop((&self.input.shared.bell).read_exact(&mut [0]));
        }
        std::mem::take(&mut state.requests)
    }

    /// Whether bytes, or the end, wait to be written.
    pub(crate) fn has_work(&self) -> bool {
        let state = self.input.lock();
        !state.queue.is_empty() || state.sink == Sink::Ending
    }

    /// Writes what fits now.
    pub(crate) fn write_to(&self, sink: BorrowedFd<'_>, terminal: bool) -> Written {
        let mut guard = self.input.lock();
        let state = &mut *guard;
        let outcome = loop {
            if state.queue.is_empty() {
                if state.sink == Sink::Open || state.writing {
                    break Written::Idle;
                }
                if !terminal || std::mem::replace(&mut state.sink, Sink::Closed) == Sink::Closed {
                    break Written::Ended;
                }
                // Ctrl-D ends the input at the start of a line; within one it first hands over the line.
                let line_start = [b'\n', b'\r', END_OF_TRANSMISSION, END_OF_TEXT];
                let in_line = state.last.is_some_and(|last| !line_start.contains(&last));
                state.queue.extend(std::iter::repeat_n(END_OF_TRANSMISSION, if in_line { 2 } else { 1 }));
            }
            let (front, _) = state.queue.as_slices();
            let piece = front.get(..PIECE_BYTES).unwrap_or(front);
            match rustix::io::write(sink, piece) {
                Ok(count) => {
                    state.last = piece.get(..count).and_then(<[u8]>::last).copied().or(state.last);
                    state.queue.drain(..count);
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break Written::Blocked,
                // The program has closed its input: it wants no more, and that is its right.
                Err(_) => break Written::Ended,
            }
        };
        if outcome == Written::Ended {
            state.close();
        } else if state.queue.is_empty() && state.queue.capacity() > QUEUE_BYTES {
            state.queue = VecDeque::new();
        }
        drop(guard);
        self.input.shared.changed.notify_all();
        outcome
    }

    /// Tells writers that the program reads no more.
    pub(crate) fn close(&self) {
        self.input.lock().close();
        self.input.shared.changed.notify_all();
    }
}

impl AsFd for Connection {
    /// Readable once something was asked for or given.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.input.shared.bell.as_fd()
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let mut state = self.input.lock();
        state.run = RunState::Over;
        state.close();
        state.requests.clear();
        drop(state);
        self.input.shared.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sink() -> (PipeReader, std::os::fd::OwnedFd) {
        let (reader, writer) = io::pipe().unwrap();
        (reader, writer.into())
    }

    #[test]
    fn the_end_of_the_run_wakes_a_waiting_writer_and_counts_what_is_left() {
        let input = LiveInput::new().unwrap();
        let connection = input.connect(false).unwrap();
        input.offer(&vec![0; QUEUE_BYTES]).unwrap();
        let writer = input.clone();
        let waiting = thread::spawn(move || writer.write(b"more"));
        while !input.lock().writing {
            thread::yield_now();
        }
        assert!(input.connect(false).is_none());
        drop(connection);
        assert!(input.connect(false).is_none());
        assert_eq!(waiting.join().unwrap(), Err(InputError::Ended));
        assert_eq!(input.undelivered(), QUEUE_BYTES as u64);
        assert_eq!(input.write(b"x"), Err(InputError::Ended));
        assert_eq!(input.signal(Signal::Kill), Err(InputError::Ended));
        assert_eq!(input.resize(1, 1), Err(InputError::Ended));
    }

    #[test]
    fn an_offer_never_splits_a_write() {
        let input = LiveInput::new().unwrap();
        let connection = thread::scope(|scope| scope.spawn(|| input.connect(false)).join().unwrap()).unwrap();
        let (mut reader, sink) = sink();
        input.offer(&vec![b'a'; QUEUE_BYTES - 1]).unwrap();
        let writer = input.clone();
        let waiting = thread::spawn(move || writer.write(b"wwww"));
        while !input.lock().writing {
            thread::yield_now();
        }
        input.offer(b"oo").unwrap();
        let reading = thread::spawn(move || {
            let mut bytes = Vec::new();
            reader.read_to_end(&mut bytes).unwrap();
            bytes
        });
        assert_eq!(waiting_while(&connection, &sink, waiting), Ok(()));
        input.close();
        while connection.write_to(sink.as_fd(), false) != Written::Ended {}
        drop(sink);
        assert!(reading.join().unwrap().ends_with(b"aawwwwoo"));
        assert_eq!(input.undelivered(), 0);
    }

    fn waiting_while(
        connection: &Connection,
        sink: &std::os::fd::OwnedFd,
        waiting: thread::JoinHandle<Result<(), InputError>>,
    ) -> Result<(), InputError> {
        while !waiting.is_finished() {
            connection.write_to(sink.as_fd(), false);
        }
        waiting.join().unwrap()
    }

    #[test]
    fn a_closed_input_takes_nothing_more_and_ends_after_what_waits() {
        let input = LiveInput::new().unwrap();
        let connection = input.connect(false).unwrap();
        let (mut reader, sink) = sink();
        input.write(b"last words").unwrap();
        input.close();
        assert_eq!(input.write(b"x"), Err(InputError::Closed));
        assert_eq!(input.resize(1, 1), Err(InputError::NoTerminal));
        assert_eq!(connection.write_to(sink.as_fd(), false), Written::Ended);
        drop(sink);
        let mut read = String::new();
        reader.read_to_string(&mut read).unwrap();
        assert_eq!((read.as_str(), input.undelivered()), ("last words", 0));
    }
}
