//! What is told of a session as it happens, and the hook that takes secrets out before anything is.
//!
//! Owns the sequence numbers. Numbering and telling happen under one lock, so a listener hears of everything
//! once and in order.

use std::sync::{Arc, Mutex, PoisonError};

use co_process::{InputError, Signal, Stream};
use serde::{Deserialize, Serialize};

use crate::limits::MAX_DELTAS;
use crate::output::TextSplitter;
use crate::{ScriptExit, SessionExit, SessionId};

/// Takes out of a stream what nobody may see; one for each stream, before its bytes are kept, logged or sent.
///
/// Any `FnMut(&[u8]) -> Vec<u8> + Send` is one.
pub trait Redactor: Send {
    /// Returns what may be seen of the next bytes; what only later bytes can decide about may be held back.
    fn redact(&mut self, bytes: &[u8]) -> Vec<u8>;
    /// Returns what was held back: the stream has ended.
    fn finish(&mut self) -> Vec<u8> {
        Vec::new()
    }
}

impl<F: FnMut(&[u8]) -> Vec<u8> + Send> Redactor for F {
    fn redact(&mut self, bytes: &[u8]) -> Vec<u8> {
        self(bytes)
    }
}

/// Makes the redactor of one stream of a session.
pub type MakeRedactor = Arc<dyn Fn(&SessionId) -> Box<dyn Redactor> + Send + Sync>;

/// Something that happened to a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionEvent {
    /// Which session.
    pub session: SessionId,
    /// Counts the events of the session from 1, without gaps.
    pub sequence: u64,
    /// What happened.
    pub kind: EventKind,
}

/// What happened to a session. The first is a begin, the last an end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
#[non_exhaustive]
pub enum EventKind {
    /// The program runs. A program that could not be started has no events.
    Begin {
        /// The process id of its first process.
        pid: i32,
        /// Whether it has a terminal.
        tty: bool,
    },
    /// The program wrote; at most [`crate::limits::DELTA_BYTES`], whole code points.
    Output {
        /// What it wrote; what is no UTF-8 became U+FFFD.
        text: String,
    },
    /// The program was written to. May hold what a person typed as a secret that no redactor knows.
    Input {
        /// What may be seen of what it was given, each event redacted alone; what is no UTF-8 became U+FFFD.
        text: String,
    },
    /// A script is about to run in the session's shell; what it writes is told as output.
    Script {
        /// What may be seen of the script; what is no UTF-8 became U+FFFD.
        text: String,
    },
    /// The script has ended. Missing if it ended the session: the end tells how.
    ScriptEnd {
        /// How.
        exit: ScriptExit,
    },
    /// The input was ended.
    InputClosed,
    /// The terminal got another size.
    Resized {
        /// Height in characters.
        rows: u16,
        /// Width in characters.
        columns: u16,
    },
    /// A signal was sent.
    Signalled {
        /// Its number.
        signal: i32,
    },
    /// The program, all that it started, and its output have ended.
    End {
        /// How.
        exit: SessionExit,
        /// How many bytes it wrote.
        output_bytes: u64,
        /// How many of these no output event told of, because there had been [`MAX_DELTAS`].
        untold_bytes: u64,
        /// How many bytes it was given and did not take.
        undelivered_bytes: u64,
    },
}

/// Hears of every event, once and in the order of its session.
///
/// Called on the threads that make things happen: while it works, the session stands still. It must not call back
/// into the session, which would wait for it.
pub trait Listener: Send + Sync {
    /// Takes an event.
    fn heard(&self, event: SessionEvent);
}

impl<F: Fn(SessionEvent) + Send + Sync> Listener for F {
    fn heard(&self, event: SessionEvent) {
        self(event);
    }
}

/// Numbers the events of one session and passes them on.
pub(crate) struct Journal {
    session: SessionId,
    listener: Arc<dyn Listener>,
    redactor: Option<MakeRedactor>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    sequence: u64,
    deltas: u64,
    output_bytes: u64,
    untold_bytes: u64,
    begun: bool,
    ended: bool,
    splitters: [TextSplitter; 3],
}

impl Journal {
    pub(crate) fn new(
        session: SessionId,
        listener: Arc<dyn Listener>,
        redactor: Option<MakeRedactor>,
    ) -> Self {
        Self { session, listener, redactor, state: Mutex::default() }
    }

    /// A redactor for one stream of the session, if there are any.
    pub(crate) fn redactor(&self) -> Option<Box<dyn Redactor>> {
        self.redactor.as_ref().map(|make| make(&self.session))
    }

    /// What may be told of bytes that a program was given.
    pub(crate) fn seen(&self, bytes: &[u8]) -> String {
        let seen = self.redactor().map(|mut redactor| {
            let mut seen = redactor.redact(bytes);
            seen.append(&mut redactor.finish());
            seen
        });
        String::from_utf8_lossy(seen.as_deref().unwrap_or(bytes)).into_owned()
    }

    pub(crate) fn begin(&self, pid: i32, tty: bool) {
        self.with(|state| {
            state.begun = true;
            self.tell(state, EventKind::Begin { pid, tty });
        });
    }

    pub(crate) fn output(&self, stream: Stream, bytes: &[u8]) {
        self.with(|state| {
            state.output_bytes += bytes.len() as u64;
            if state.deltas >= MAX_DELTAS {
                state.untold_bytes += bytes.len() as u64;
                return;
            }
            let [stdout, stderr, terminal] = &mut state.splitters;
            let splitter = match stream {
                Stream::Stdout => stdout,
                Stream::Stderr => stderr,
                Stream::Terminal => terminal,
            };
            let texts = splitter.push(bytes);
            self.tell_output(state, texts);
        });
    }

    /// Tells of something that has happened.
    pub(crate) fn note(&self, event: EventKind) {
        // Nothing is performed that could be refused.
        let _ = self.telling(event, || Ok(()));
    }

    /// Performs `act` and, if that succeeds, tells of it before anything that follows from it can be told.
    pub(crate) fn telling(
        &self,
        event: EventKind,
        act: impl FnOnce() -> Result<(), InputError>,
    ) -> Result<(), InputError> {
        self.with(|state| {
            act()?;
            if state.begun && !state.ended {
                self.tell(state, event);
            }
            Ok(())
        })
    }

    /// Tells of the end, if there was a beginning and this is the first end.
    pub(crate) fn end(&self, exit: &SessionExit, undelivered_bytes: u64) {
        self.with(|state| {
            if !state.begun || state.ended {
                return;
            }
            let rest: Vec<String> = state.splitters.iter_mut().filter_map(TextSplitter::finish).collect();
            self.tell_output(state, rest);
            state.ended = true;
            let (output_bytes, untold_bytes) = (state.output_bytes, state.untold_bytes);
            self.tell(
                state,
                EventKind::End { exit: exit.clone(), output_bytes, untold_bytes, undelivered_bytes },
            );
        });
    }

    fn tell_output(&self, state: &mut State, texts: Vec<String>) {
        for text in texts {
            if state.deltas < MAX_DELTAS {
                state.deltas += 1;
                self.tell(state, EventKind::Output { text });
            } else {
                state.untold_bytes += text.len() as u64;
            }
        }
    }

    fn tell(&self, state: &mut State, kind: EventKind) {
        state.sequence += 1;
        self.listener.heard(SessionEvent { session: self.session.clone(), sequence: state.sequence, kind });
    }

    fn with<R>(&self, act: impl FnOnce(&mut State) -> R) -> R {
        act(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The number of a signal on this system.
pub(crate) fn signal_event(signal: Signal) -> EventKind {
    EventKind::Signalled { signal: signal.number() }
}
