//! One session: a program on a thread of its own, what it wrote that nobody has read, and who wants to hear of it.
//!
//! Owns the unread output, the taps and the exit. The thread runs [`co_process::run`]; everybody else waits on the
//! session's condition or goes through its [`LiveInput`].

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, PipeReader, PipeWriter};
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use co_model::SandboxPolicy;
use co_process::{
    Capture, Exit, InputError, LeaderExit, Limits, LiveInput, Observer, ProcessIdentity, Program, Report,
    RunError, Shutdown, Signal, Spawner, Stdin, StopSignal, Stream, Terminal,
};

use crate::event::{EventKind, Journal, Redactor, signal_event};
use crate::limits::{self, DRAIN, Until, Wait};
use crate::output::{Taken, Unread, tokens, truncate};
use crate::sessions::Keeper;
use crate::tap::Tap;
use crate::{
    Confined, Confinement, Reply, SessionError, SessionExit, SessionId, SessionInfo, SessionSandbox,
};

/// How many bytes of one write are handed over at a time.
const PIECE_BYTES: usize = 64 << 10;
/// How long a killed session may take to be gone.
pub(crate) const KILL_PATIENCE: Duration = Duration::from_secs(10);

/// A program to be started as a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StartSession {
    /// Its name; `None` draws one.
    pub id: Option<SessionId>,
    /// The program and its arguments, as they are executed.
    pub argv: Vec<OsString>,
    /// Where it runs.
    pub cwd: PathBuf,
    /// The whole environment: nothing is added. See [`limits::ENVIRONMENT`].
    pub env: Vec<(OsString, OsString)>,
    /// What its streams are connected to; input can be written either way.
    pub terminal: Terminal,
    /// Where the exact output goes.
    pub capture: Capture,
    /// How long it may run, and its background processes after it.
    pub limits: Limits,
    /// How it is to be confined; `None` runs it as it is.
    pub confinement: Option<Confinement>,
    /// How long to wait for output.
    pub wait: Wait,
    /// How much of it to return; [`limits::MAX_OUTPUT_TOKENS`] unless told otherwise.
    pub max_output_tokens: Option<usize>,
}

impl StartSession {
    /// The terminal of [`limits::ROWS`] and [`limits::COLUMNS`].
    pub const TERMINAL: Terminal = Terminal::Pty { rows: limits::ROWS, columns: limits::COLUMNS };
}

/// A started session.
pub(crate) struct Session {
    pub(crate) id: SessionId,
    pub(crate) start: StartSession,
    pub(crate) started_at: u64,
    pub(crate) journal: Journal,
    keeper: Arc<dyn Keeper>,
    /// What may be seen of the program and its arguments.
    argv: Vec<String>,
    /// Known once it is confined.
    sandbox: OnceLock<SessionSandbox>,
    /// How long the log was before.
    log_start: u64,
    pub(crate) input: LiveInput,
    /// Held by whoever writes, so that the bytes of one write stay together.
    writer: Mutex<()>,
    /// Held by whoever runs a script.
    pub(crate) script: Mutex<()>,
    stop: StopSignal,
    state: Mutex<State>,
    changed: Condvar,
    /// Hung up once the first process has exited.
    pub(crate) exited: PipeReader,
}

struct State {
    unread: Unread,
    taps: Vec<Arc<Tap>>,
    pid: Option<i32>,
    /// In the log.
    output_bytes: u64,
    /// Of scripts, which is not.
    script_bytes: u64,
    exit: Option<SessionExit>,
    exited_at: Option<Instant>,
    /// Dropped at the exit.
    exit_bell: Option<PipeWriter>,
    /// The group is gone and the output drained.
    over: bool,
    start_error: Option<RunError>,
}

impl Session {
    pub(crate) fn new(
        id: SessionId,
        start: StartSession,
        started_at: u64,
        journal: Journal,
        keeper: Arc<dyn Keeper>,
    ) -> io::Result<Self> {
        let (exited, bell) = io::pipe()?;
        let argv = start.argv.iter().map(|argument| journal.seen(argument.as_bytes())).collect();
        let log_start = fs::metadata(&start.capture.log).map_or(0, |facts| facts.len());
        Ok(Self {
            id,
            start,
            started_at,
            journal,
            keeper,
            argv,
            sandbox: OnceLock::new(),
            log_start,
            input: LiveInput::new()?,
            writer: Mutex::default(),
            script: Mutex::default(),
            stop: StopSignal::new()?,
            state: Mutex::new(State {
                unread: Unread::default(),
                taps: Vec::new(),
                pid: None,
                output_bytes: 0,
                script_bytes: 0,
                exit: None,
                exited_at: None,
                exit_bell: Some(bell),
                over: false,
                start_error: None,
            }),
            changed: Condvar::new(),
            exited,
        })
    }

    /// Says in which sandbox it will run.
    pub(crate) fn confined(&self, policy: SandboxPolicy, confined: &Confined) {
        let (layers, weaker) = (confined.layers.clone(), confined.weaker.clone());
        // It is confined once, before it is started.
        drop(self.sandbox.set(SessionSandbox { policy, layers, weaker }));
    }

    /// Runs the program to its end, on the calling thread, and lets go of what its sandbox needed.
    pub(crate) fn follow(&self, spawner: &Spawner, confined: Option<Confined>) {
        let (mut argv, mut env, mut held) = (self.start.argv.clone(), self.start.env.clone(), None);
        if let Some(confined) = confined {
            argv = confined.argv;
            env.retain(|(name, _)| !confined.env.iter().any(|(added, _)| added == name));
            env.extend(confined.env);
            held = Some(confined.held);
        }
        let program = Program {
            argv,
            cwd: self.start.cwd.clone(),
            env,
            stdin: Stdin::Live(self.input.clone()),
            terminal: self.start.terminal,
        };
        let mut ending = Ending { session: self, outcome: None };
        let mut watcher = Watcher {
            session: self,
            began: Instant::now(),
            redactors: std::array::from_fn(|_| self.journal.redactor()),
        };
        ending.outcome = Some(co_process::run(
            spawner,
            &program,
            &self.start.capture,
            &self.start.limits,
            &self.stop,
            &mut watcher,
        ));
        drop(held);
    }

    /// Waits until the program runs; gives the error if it does not.
    pub(crate) fn wait_for_start(&self) -> Result<(), RunError> {
        let mut state = self.lock();
        while state.pid.is_none() && !state.over {
            state = self.wait(state, None);
        }
        state.start_error.take().map_or(Ok(()), Err)
    }

    /// Waits as told and takes what there is to read.
    pub(crate) fn collect(&self, time: Duration, until: Until, max_output_tokens: usize) -> Collected {
        let began = Instant::now();
        let deadline = began + time;
        let mut state = self.lock();
        loop {
            let drained_at = state.exited_at.map(|at| at + DRAIN);
            let now = Instant::now();
            // Once the program has exited, its last words belong to the reply that tells of the exit.
            let heard = until == Until::Output && state.unread.has_text() && state.exit.is_none();
            if state.over || heard || now >= deadline || drained_at.is_some_and(|at| now >= at) {
                break;
            }
            let wake_at = drained_at.map_or(deadline, |at| at.min(deadline));
            state = self.wait(state, Some(wake_at));
        }
        let more_may_come = state.exit.is_none();
        let taken = state.unread.take(more_may_come);
        let text = taken.text();
        let reply = Reply {
            session: self.id.clone(),
            omitted_bytes: taken.omitted,
            original_token_count: tokens(text.len()),
            output: truncate(text, max_output_tokens),
            wall_time: began.elapsed(),
            exit: state.exit.clone(),
            pruned: None,
            warning: None,
        };
        Collected { reply, taken }
    }

    /// Puts back what was collected for somebody who has gone.
    pub(crate) fn put_back(&self, taken: Taken) {
        if !taken.is_empty() {
            self.lock().unread.put_back(taken);
            self.changed.notify_all();
        }
    }

    /// Gives the program bytes to read; those of one call stay together.
    pub(crate) fn write(&self, bytes: &[u8]) -> Result<(), SessionError> {
        let _turn = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        bytes
            .chunks(PIECE_BYTES)
            .try_for_each(|piece| {
                self.input.wait_for_room()?;
                let event = EventKind::Input { text: self.journal.seen(piece) };
                self.journal.telling(event, || self.input.offer(piece))
            })
            .map_err(|source| self.refused(source))
    }

    pub(crate) fn close_input(&self) -> Result<(), SessionError> {
        let close = || {
            if !self.input.is_open() {
                return Err(InputError::Closed);
            }
            self.input.close();
            Ok(())
        };
        self.journal.telling(EventKind::InputClosed, close).map_err(|source| self.refused(source))
    }

    pub(crate) fn resize(&self, rows: u16, columns: u16) -> Result<(), SessionError> {
        self.journal
            .telling(EventKind::Resized { rows, columns }, || self.input.resize(rows, columns))
            .map_err(|source| self.refused(source))
    }

    pub(crate) fn signal(&self, signal: Signal) -> Result<(), SessionError> {
        self.journal
            .telling(signal_event(signal), || self.input.signal(signal))
            .map_err(|source| self.refused(source))
    }

    pub(crate) fn refused(&self, source: InputError) -> SessionError {
        // A program that has exited has closed its input by that.
        let source = match source {
            InputError::Closed if self.exit().is_some() => InputError::Ended,
            other => other,
        };
        SessionError::Input { id: self.id.clone(), source }
    }

    pub(crate) fn stop(&self, how: Shutdown) {
        self.stop.request(how);
    }

    /// Waits until the group is gone and the output drained; says whether it is.
    pub(crate) fn wait_until_over(&self, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        let mut state = self.lock();
        while !state.over && Instant::now() < deadline {
            state = self.wait(state, Some(deadline));
        }
        state.over
    }

    pub(crate) fn is_over(&self) -> bool {
        self.lock().over
    }

    pub(crate) fn exit(&self) -> Option<SessionExit> {
        self.lock().exit.clone()
    }

    /// Adds a tap; returns how many bytes of the log came before it.
    pub(crate) fn tap(&self, tap: Arc<Tap>) -> u64 {
        let mut state = self.lock();
        if let (true, Some(exit)) = (state.over, &state.exit) {
            tap.end(exit.clone());
        }
        state.taps.push(tap);
        state.output_bytes
    }

    /// The last bytes of the log before `end`, at most `wanted`; what cannot be read is not replayed.
    pub(crate) fn replay(&self, end: u64, wanted: u64) -> Vec<u8> {
        use std::os::unix::fs::FileExt as _;
        let Ok(log) = File::open(&self.start.capture.log) else { return Vec::new() };
        let wanted = wanted.min(end);
        let mut bytes = vec![0; usize::try_from(wanted).unwrap_or(0)];
        let read = log.read_exact_at(&mut bytes, self.log_start + end - wanted);
        if read.is_ok() { bytes } else { Vec::new() }
    }

    pub(crate) fn info(&self) -> SessionInfo {
        let state = self.lock();
        SessionInfo {
            session: self.id.clone(),
            argv: self.argv.clone(),
            cwd: self.start.cwd.clone(),
            tty: self.has_terminal(),
            sandbox: self.sandbox.get().cloned(),
            pid: state.pid,
            started_at: self.started_at,
            output_bytes: state.output_bytes + state.script_bytes,
            log: self.start.capture.log.clone(),
            index: self.start.capture.index.clone(),
            exit: state.exit.clone(),
        }
    }

    fn has_terminal(&self) -> bool {
        matches!(self.start.terminal, Terminal::Pty { .. })
    }

    /// Takes output that is in the log.
    fn take_output(&self, stream: Stream, bytes: &[u8]) {
        self.journal.output(stream, bytes);
        let mut state = self.lock();
        state.output_bytes += bytes.len() as u64;
        state.unread.push(bytes);
        state.tap(bytes);
        drop(state);
        self.changed.notify_all();
    }

    /// Takes output of a script, which goes to the script's caller; what comes after its end goes to the next
    /// reply. It is not in the log, whose bytes are those of the session's own streams.
    pub(crate) fn take_script_output(&self, bytes: &[u8], unread: bool) {
        self.journal.output(Stream::Stdout, bytes);
        let mut state = self.lock();
        state.script_bytes += bytes.len() as u64;
        if unread {
            state.unread.push(bytes);
        }
        state.tap(bytes);
        drop(state);
        self.changed.notify_all();
    }

    fn finish(&self, outcome: Option<Result<Report, RunError>>) {
        let mut state = self.lock();
        let outcome_exit = match outcome {
            Some(Ok(report)) => match (report.exit, &state.exit) {
                (Exit::TimedOut { .. }, _) => SessionExit::TimedOut,
                (Exit::Lost, _) => SessionExit::Lost,
                (_, Some(seen)) => seen.clone(),
                (Exit::Code(code), None) => SessionExit::Code(code),
                (Exit::Signal(signal), None) => SessionExit::Signal(signal),
                (Exit::Cancelled, None) => SessionExit::Killed,
            },
            Some(Err(error)) if state.pid.is_none() => {
                let text = chain(&error);
                state.start_error = Some(error);
                SessionExit::Failed(text)
            }
            Some(Err(error)) => SessionExit::Failed(chain(&error)),
            None => SessionExit::Failed("the session's thread has panicked".to_owned()),
        };
        drop(state);
        // Told before anybody who waits can learn of the end and look for what was told.
        self.journal.end(&outcome_exit, self.input.undelivered());
        self.keeper.ended(&SessionInfo { exit: Some(outcome_exit.clone()), ..self.info() });
        let mut state = self.lock();
        state.exit = Some(outcome_exit.clone());
        state.exited_at.get_or_insert_with(Instant::now);
        state.exit_bell = None;
        state.over = true;
        for tap in state.taps.drain(..) {
            tap.end(outcome_exit.clone());
        }
        drop(state);
        self.changed.notify_all();
        self.keeper.over();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'state>(
        &'state self,
        state: MutexGuard<'state, State>,
        until: Option<Instant>,
    ) -> MutexGuard<'state, State> {
        match until {
            None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            Some(until) => {
                let left = until.saturating_duration_since(Instant::now());
                self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0
            }
        }
    }
}

impl State {
    fn tap(&mut self, bytes: &[u8]) {
        self.taps.retain(|tap| !tap.is_closed());
        for tap in &self.taps {
            tap.push(bytes);
        }
    }
}

/// A reply, and what it was made of in case nobody can take it.
pub(crate) struct Collected {
    pub(crate) reply: Reply,
    pub(crate) taken: Taken,
}

/// Ends a session however its thread ends.
struct Ending<'session> {
    session: &'session Session,
    outcome: Option<Result<Report, RunError>>,
}

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.session.finish(self.outcome.take());
    }
}

struct Watcher<'session> {
    session: &'session Session,
    began: Instant,
    /// Of standard output, standard error and the terminal; none lets everything through.
    redactors: [Option<Box<dyn Redactor>>; 3],
}

impl Watcher<'_> {
    fn redactor(&mut self, stream: Stream) -> Option<&mut Box<dyn Redactor>> {
        let [stdout, stderr, terminal] = &mut self.redactors;
        match stream {
            Stream::Stdout => stdout,
            Stream::Stderr => stderr,
            Stream::Terminal => terminal,
        }
        .as_mut()
    }
}

impl Observer for Watcher<'_> {
    fn started(&mut self, identity: &ProcessIdentity) {
        self.session.journal.begin(identity.pid, self.session.has_terminal());
        self.session.lock().pid = Some(identity.pid);
        self.session.changed.notify_all();
    }

    fn redact(&mut self, stream: Stream, bytes: &[u8]) -> Option<Vec<u8>> {
        self.redactor(stream).map(|redactor| redactor.redact(bytes))
    }

    fn redact_rest(&mut self, stream: Stream) -> Vec<u8> {
        self.redactor(stream).map(|redactor| redactor.finish()).unwrap_or_default()
    }

    fn output(&mut self, stream: Stream, bytes: &[u8]) {
        self.session.take_output(stream, bytes);
    }

    fn leader_exited(&mut self, exit: LeaderExit) {
        // Past its time the program is being ended, and how that is called is known when it is over.
        let timeout = self.session.start.limits.timeout;
        if timeout.is_some_and(|timeout| self.began.elapsed() >= timeout) {
            return;
        }
        let mut state = self.session.lock();
        state.exit = Some(match exit {
            _ if self.session.stop.requested().is_some() => SessionExit::Killed,
            LeaderExit::Code(code) => SessionExit::Code(code),
            LeaderExit::Signal(signal) => SessionExit::Signal(signal),
        });
        state.exited_at = Some(Instant::now());
        state.exit_bell = None;
        drop(state);
        self.session.changed.notify_all();
    }
}

/// An error with its causes, in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
