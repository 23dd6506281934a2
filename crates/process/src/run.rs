//! Runs one program from its request to the end of its group and of its output.
//!
//! One `poll` loop on the caller's thread owns everything of a running program: both output streams, the bytes
//! still to be fed, the supervisor's socket, the stop signal and every deadline. Nothing is buffered beyond one
//! read, so memory is bounded and a slow disk slows the program down instead of us growing.

use std::ffi::OsStr;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::Signal as SystemSignal;
use rustix::termios::Winsize;

use crate::capture::LogWriter;
use crate::channels::{Channels, Feed, Output};
use crate::identity::ProcessIdentity;
use crate::live::{Connection, Request, Signal};
use crate::output_log::Stream;
use crate::platform::PIPE_BYTES;
use crate::program::{
    Capture, Exit, LeaderExit, Limits, Observer, Program, Report, RunError, StartError, Stdin, Terminal,
};
use crate::spawner::{self, Spawner};
use crate::stop::{Shutdown, StopSignal};
use crate::wire::{FrameBuffer, Notice, Order, Received, Step, send_frame};
use crate::{clock, sys};

/// One read; large enough that a gigabyte costs few system calls, small enough to stay in the cache.
const READ_BYTES: usize = 64 << 10;
/// How long killed processes may take to be gone, before we say so and return.
const KILL_PATIENCE: Duration = Duration::from_secs(5);
/// How long a stream that outlives its group may be quiet before it is left alone.
const QUIET: Duration = Duration::from_millis(200);

/// Runs a program and returns when its group is empty and its output is drained.
///
/// Blocks the calling thread. The whole group counts, not the leader alone: a background process is waited for
/// (at most `limits.linger` after the leader), and a time-out or a stop ends every process of it.
///
/// # Errors
/// See [`RunError`]. Whatever is returned, nothing of the group is left running, except with
/// [`RunError::Survivors`].
pub fn run(
    spawner: &Spawner,
    program: &Program,
    capture: &Capture,
    limits: &Limits,
    stop: &StopSignal,
    observer: &mut dyn Observer,
) -> Result<Report, RunError> {
    let began = Instant::now();
    let terminal = matches!(program.terminal, Terminal::Pty { .. });
    // Before anything can fail: whoever writes is told of every way in which this ends.
    let live = match &program.stdin {
        Stdin::Live(input) => {
            let taken = RunError::Unusable { what: "live input, which another run has" };
            Some(input.connect(terminal).ok_or(taken)?)
        }
        Stdin::Null | Stdin::Bytes(_) => None,
    };
    let launch = spawner::launch(&program.argv, &program.env, &program.cwd, terminal)
        .map_err(|what| RunError::Unusable { what })?;
    let log = LogWriter::open(capture)?;
    let channels = Channels::open(&program.stdin, program.terminal)
        .map_err(|source| RunError::Channel { step: "connect the program's streams", source })?;
    let control =
        spawner.launch(&launch, channels.theirs).map_err(|source| RunError::SpawnerGone { source })?;
    Running {
        began,
        program,
        limits,
        stop,
        observer,
        log,
        control: Some(control),
        inbox: FrameBuffer::default(),
        outputs: channels.outputs,
        feed: channels.feed,
        live,
        signals: Vec::new(),
        buffer: vec![0; READ_BYTES],
        phase: Phase::Running,
        group: Group::Present,
        cause: None,
        failure: None,
        identity: None,
        started_after: None,
        leader: None,
        linger_at: None,
        survivors_killed: 0,
        silent: false,
        owed: 0,
    }
    .follow()
}

/// What we are doing to the group.
#[derive(Clone, Copy)]
enum Phase {
    Running,
    Stopping { kill_at: Instant },
    Killing { give_up_at: Instant },
}

/// What we know of the group.
#[derive(Clone, Copy)]
enum Group {
    Present,
    /// Nobody is left; its output is waited for until then at the latest.
    Gone {
        drain_until: Instant,
    },
    /// The supervisor is gone, so the zygote ends the group, which also ends the output.
    Lost {
        drain_until: Instant,
    },
}

struct Running<'run> {
    began: Instant,
    program: &'run Program,
    limits: &'run Limits,
    stop: &'run StopSignal,
    observer: &'run mut dyn Observer,
    log: LogWriter,
    control: Option<UnixStream>,
    inbox: FrameBuffer,
    outputs: Vec<Output>,
    feed: Option<Feed>,
    live: Option<Connection>,
    /// Signals that wait for the start.
    signals: Vec<Signal>,
    buffer: Vec<u8>,
    phase: Phase,
    group: Group,
    /// Why we ended the group, if we did.
    cause: Option<Exit>,
    /// Why the result is an error, once the group is gone.
    failure: Option<RunError>,
    identity: Option<ProcessIdentity>,
    started_after: Option<Duration>,
    leader: Option<LeaderExit>,
    linger_at: Option<Instant>,
    survivors_killed: u32,
    /// Whether no output was waiting when we last looked.
    silent: bool,
    /// How much of what the group wrote may still be in the pipes. A slow log or observer can take longer than any
    /// time that we wait, so the time alone never ends the reading.
    owed: usize,
}

impl Running<'_> {
    fn follow(mut self) -> Result<Report, RunError> {
        while !self.is_done() {
            let ready = self.wait_for_work()?;
            self.silent = !ready.outputs.contains(&true);
            if ready.control {
                self.hear_supervisor()?;
            }
            if ready.stop {
                self.obey_stop();
            }
            if ready.live {
                self.obey_requests();
            }
            self.feed_program(&ready);
            for (index, _) in ready.outputs.iter().enumerate().filter(|(_, ready)| **ready) {
                if let Err(failure) = self.take_output(index) {
                    self.fail(failure);
                }
            }
            self.keep_deadlines()?;
        }
        for index in 0..self.outputs.len() {
            if let Err(failure) = self.finish_output(index) {
                self.failure.get_or_insert(failure);
            }
        }
        if self.failure.is_none()
            && let Err(failure) = self.log.flush()
        {
            self.failure = Some(failure);
        }
        self.conclude()
    }

    fn is_done(&self) -> bool {
        let drain_until = match self.group {
            Group::Present => return false,
            Group::Gone { drain_until } | Group::Lost { drain_until } => drain_until,
        };
        let now = Instant::now();
        let open: Vec<&Output> = self.outputs.iter().filter(|output| output.source.is_some()).collect();
        let quiet = matches!(self.group, Group::Gone { .. })
            && open.iter().all(|output| now >= output.last_read + QUIET);
        let all_read = self.silent || self.owed == 0;
        open.is_empty() || self.silent && quiet || all_read && now >= drain_until
    }

    fn wait_for_work(&self) -> Result<Ready, RunError> {
        let timeout = clock::until(self.deadlines());
        let mut entries = Vec::with_capacity(6);
        // Once the graceful request is heard, only the hang-up that asks for haste is of interest.
        let stop_events = match self.phase {
            Phase::Running => PollFlags::IN,
            Phase::Stopping { .. } | Phase::Killing { .. } => PollFlags::empty(),
        };
        let may_stop = matches!(self.group, Group::Present) && !matches!(self.phase, Phase::Killing { .. });
        let stop = may_stop.then(|| {
            entries.push(PollFd::new(self.stop, stop_events));
            entries.len() - 1
        });
        let control = self.control.as_ref().map(|control| {
            entries.push(PollFd::new(control, PollFlags::IN));
            entries.len() - 1
        });
        let live = self.live.as_ref();
        let bell = live.map(|live| {
            entries.push(PollFd::new(live, PollFlags::IN));
            entries.len() - 1
        });
        let feed = self.feed.as_ref().and_then(|feed| {
            entries.push(PollFd::new(&feed.sink, feed.interest(live)?));
            Some(entries.len() - 1)
        });
        // Output waits until the start is reported, so that an observer hears of the program first.
        let may_read = self.identity.is_some() || !matches!(self.group, Group::Present);
        let outputs: Vec<Option<usize>> = self
            .outputs
            .iter()
            .map(|output| {
                output.source.as_ref().filter(|_| may_read).map(|source| {
                    entries.push(PollFd::new(source, PollFlags::IN));
                    entries.len() - 1
                })
            })
            .collect();
        match poll(&mut entries, timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => {
                return Err(RunError::Channel { step: "wait for the program", source: error.into() });
            }
        }
        let seen = |index: Option<usize>| {
            index.and_then(|index| entries.get(index)).map_or(PollFlags::empty(), PollFd::revents)
        };
        let is_ready = |index| !seen(index).is_empty();
        Ok(Ready {
            stop: is_ready(stop),
            control: is_ready(control),
            live: is_ready(bell),
            feed: seen(feed),
            outputs: outputs.into_iter().map(is_ready).collect(),
        })
    }

    fn deadlines(&self) -> [Option<Instant>; 3] {
        let flush = self.log.flush_at();
        match (self.group, self.phase) {
            (Group::Present, Phase::Running) => [self.timeout_at(), self.linger_at, flush],
            (Group::Present, Phase::Stopping { kill_at: at } | Phase::Killing { give_up_at: at }) => {
                [Some(at), None, flush]
            }
            (Group::Gone { drain_until }, _) => {
                let open = self.outputs.iter().filter(|output| output.source.is_some());
                [Some(drain_until), open.map(|output| output.last_read + QUIET).max(), flush]
            }
            (Group::Lost { drain_until }, _) => [Some(drain_until), None, flush],
        }
    }

    fn timeout_at(&self) -> Option<Instant> {
        self.limits.timeout.and_then(|timeout| self.began.checked_add(timeout))
    }

    fn hear_supervisor(&mut self) -> Result<(), RunError> {
        let Some(control) = &self.control else { return Ok(()) };
        let ended = !matches!(self.inbox.fill(control), Ok(Received::Bytes));
        loop {
            match self.inbox.next().map(|body| body.map(|body| Notice::decode(&body))) {
                Ok(Some(Ok(notice))) => self.take_notice(notice)?,
                Ok(None) => break,
                Ok(Some(Err(_))) | Err(_) => {
                    self.control = None;
                    break;
                }
            }
        }
        if ended {
            self.control = None;
        }
        if self.control.is_none() && matches!(self.group, Group::Present) {
            self.silent = false;
            self.group = Group::Lost { drain_until: Instant::now() + KILL_PATIENCE };
        }
        Ok(())
    }

    fn take_notice(&mut self, notice: Notice) -> Result<(), RunError> {
        match notice {
            Notice::Started { pid, start_time } => {
                self.started_after = Some(self.began.elapsed());
                let identity = ProcessIdentity::of_this_boot(pid, start_time);
                self.observer.started(&identity);
                self.identity = Some(identity);
                if matches!(self.phase, Phase::Stopping { .. }) {
                    self.order(Order::Signal(libc::SIGTERM));
                }
                for signal in std::mem::take(&mut self.signals) {
                    self.send(signal);
                }
            }
            Notice::Failed { step, errno, path } => {
                return Err(RunError::Start { source: self.start_error(step, errno, &path) });
            }
            Notice::LeaderExited { status } => {
                let exit = sys::leader_exit(status);
                self.leader = Some(exit);
                self.linger_at = Instant::now().checked_add(self.limits.linger);
                self.observer.leader_exited(exit);
            }
            Notice::GroupEmpty { killed } => {
                self.survivors_killed = killed;
                self.close_feed();
                let now = Instant::now();
                let drain_until = now.checked_add(self.limits.linger).unwrap_or(now + KILL_PATIENCE);
                self.group = Group::Gone { drain_until };
                // It ended after we looked.
                self.silent = false;
                self.owed = self.outputs.len() * PIPE_BYTES;
                for output in &mut self.outputs {
                    output.look_again();
                    output.last_read = now;
                }
            }
        }
        Ok(())
    }

    fn start_error(&self, step: Step, errno: i32, path: &[u8]) -> StartError {
        let source = io::Error::from_raw_os_error(errno);
        let path = PathBuf::from(OsStr::from_bytes(path));
        let missing = matches!(source.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory);
        match step {
            Step::Fork | Step::Session => StartError::Process { source },
            Step::Cwd if missing => StartError::CwdNotFound { path },
            Step::Cwd => StartError::Cwd { path, source },
            Step::Exec if missing => {
                // A path that a search found exists, and so does one that still answers: what is missing then is
                // the interpreter of its first line, or its loader.
                let beside_cwd = self.program.cwd.join(&path);
                let exists = path.as_os_str().as_bytes().contains(&b'/') && beside_cwd.exists();
                if exists {
                    StartError::InterpreterNotFound { program: path }
                } else {
                    StartError::ProgramNotFound { program: path }
                }
            }
            Step::Exec if source.kind() == io::ErrorKind::PermissionDenied => {
                StartError::NotExecutable { program: path }
            }
            Step::Exec => StartError::Exec { program: path, source },
        }
    }

    fn obey_stop(&mut self) {
        // A group that has just ended by itself was not stopped.
        if !matches!(self.group, Group::Present) {
            return;
        }
        match (self.stop.requested(), self.phase) {
            (Some(Shutdown::Graceful), Phase::Running) => self.end_group(Exit::Cancelled),
            (Some(Shutdown::Immediate), Phase::Running | Phase::Stopping { .. }) => {
                self.cause.get_or_insert(Exit::Cancelled);
                self.kill_group();
            }
            _ => {}
        }
    }

    /// Asks every process to end; those that do not are killed after the grace.
    fn end_group(&mut self, cause: Exit) {
        self.cause.get_or_insert(cause);
        match Instant::now().checked_add(self.limits.grace) {
            Some(kill_at) if !self.limits.grace.is_zero() => {
                // What has not begun ignores it, and hears of it once it has.
                if self.identity.is_some() {
                    self.order(Order::Signal(libc::SIGTERM));
                }
                self.phase = Phase::Stopping { kill_at };
            }
            _ => self.kill_group(),
        }
    }

    fn kill_group(&mut self) {
        self.order(Order::KillAll);
        self.phase = Phase::Killing { give_up_at: Instant::now() + KILL_PATIENCE };
    }

    fn obey_requests(&mut self) {
        let requests = self.live.as_ref().map(Connection::take_requests).unwrap_or_default();
        for request in requests {
            match request {
                Request::Signal(signal) if self.identity.is_none() => self.signals.push(signal),
                Request::Signal(signal) => self.send(signal),
                Request::Resize { rows, columns } => self.resize(rows, columns),
            }
        }
    }

    /// Our side of the program's terminal, while it is open.
    fn terminal(&self) -> Option<&OwnedFd> {
        let output = self.outputs.iter().find(|output| output.stream == Stream::Terminal)?;
        output.source.as_ref()
    }

    fn resize(&self, rows: u16, columns: u16) {
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        if let Some(terminal) = self.terminal() {
            // A terminal that its last user has just left has no size to tell anybody.
            let _ = rustix::termios::tcsetwinsize(terminal, size);
        }
    }

    /// Signals whoever the terminal would signal; without one, or when that is not allowed, the whole group.
    fn send(&self, signal: Signal) {
        if !matches!(self.group, Group::Present) {
            return;
        }
        let signal = signal.to_system();
        let foreground = self.terminal().and_then(|terminal| rustix::termios::tcgetpgrp(terminal).ok());
        match foreground {
            Some(group) if rustix::process::kill_process_group(group, signal).is_ok() => {
                // A stopped process acts on a signal only once it is woken.
                if matches!(signal, SystemSignal::TERM | SystemSignal::INT | SystemSignal::HUP) {
                    let _ = rustix::process::kill_process_group(group, SystemSignal::CONT);
                }
            }
            _ => self.order(Order::Signal(signal.as_raw())),
        }
    }

    fn feed_program(&mut self, ready: &Ready) {
        if !ready.live && ready.feed.is_empty() {
            return;
        }
        let live = self.live.as_ref();
        if self.feed.as_mut().is_some_and(|feed| !feed.write(live, ready.feed)) {
            self.close_feed();
        }
    }

    fn close_feed(&mut self) {
        self.feed = None;
        if let Some(live) = &self.live {
            live.close();
        }
    }

    fn order(&self, order: Order) {
        if let Some(control) = &self.control {
            // A supervisor that is gone is noticed by reading, where its last words still wait.
            drop(send_frame(control, &order.encode()));
        }
    }

    fn take_output(&mut self, index: usize) -> Result<(), RunError> {
        let Some(output) = self.outputs.get_mut(index) else { return Ok(()) };
        let count = output
            .read(&mut self.buffer)
            .map_err(|source| RunError::Channel { step: "read the program's output", source })?;
        let bytes = self.buffer.get(..count).unwrap_or_default();
        if !bytes.is_empty() {
            self.owed = self.owed.saturating_sub(count);
            output.last_read = Instant::now();
            self.observer.raw(output.stream, bytes);
            let kept = self.observer.redact(output.stream, bytes);
            keep(output, &mut self.log, self.observer, kept.as_deref().unwrap_or(bytes))?;
        }
        if output.source.is_some() {
            return Ok(());
        }
        if output.stream == Stream::Terminal {
            // Nobody is left at the other side who could read what is typed.
            self.close_feed();
        }
        self.finish_output(index)
    }

    /// Keeps what the observer has held back until the end of the stream.
    fn finish_output(&mut self, index: usize) -> Result<(), RunError> {
        let Some(output) = self.outputs.get_mut(index) else { return Ok(()) };
        if std::mem::replace(&mut output.finished, true) {
            return Ok(());
        }
        let rest = self.observer.redact_rest(output.stream);
        keep(output, &mut self.log, self.observer, &rest)
    }

    /// Output that cannot be kept is not worth making: the group ends now, and the failure is the result.
    fn fail(&mut self, failure: RunError) {
        self.failure.get_or_insert(failure);
        for output in &mut self.outputs {
            output.source = None;
        }
        self.close_feed();
        self.kill_group();
    }

    fn keep_deadlines(&mut self) -> Result<(), RunError> {
        let now = Instant::now();
        let due = |at: Option<Instant>| at.is_some_and(|at| now >= at);
        if due(self.log.flush_at())
            && let Err(failure) = self.log.flush()
        {
            self.fail(failure);
        }
        if !matches!(self.group, Group::Present) {
            return Ok(());
        }
        match self.phase {
            Phase::Running if due(self.timeout_at()) => {
                let after = self.limits.timeout.unwrap_or_default();
                self.end_group(Exit::TimedOut { after });
            }
            Phase::Running if due(self.linger_at) => self.kill_group(),
            Phase::Stopping { kill_at } if now >= kill_at => self.kill_group(),
            Phase::Killing { give_up_at } if now >= give_up_at => {
                return Err(self.failure.take().unwrap_or(RunError::Survivors { patience: KILL_PATIENCE }));
            }
            _ => {}
        }
        Ok(())
    }

    fn conclude(mut self) -> Result<Report, RunError> {
        if let Some(failure) = self.failure {
            return Err(failure);
        }
        let exit = match (self.group, self.cause, self.leader) {
            (Group::Lost { .. }, _, _) | (_, None, None) => Exit::Lost,
            (_, Some(cause), _) => cause,
            (_, None, Some(LeaderExit::Code(code))) => Exit::Code(code),
            (_, None, Some(LeaderExit::Signal(signal))) => Exit::Signal(signal),
        };
        let drained = self.outputs.iter().all(|output| output.source.is_none());
        let mut outputs = self.outputs.iter_mut().map(Output::stats);
        Ok(Report {
            exit,
            leader: self.leader,
            identity: self.identity,
            started_after: self.started_after,
            elapsed: self.began.elapsed(),
            survivors_killed: self.survivors_killed,
            stdout: outputs.next().unwrap_or_default(),
            stderr: outputs.next().unwrap_or_default(),
            drained,
        })
    }
}

/// Writes bytes to the log, and then tells the observer of them.
fn keep(
    output: &mut Output,
    log: &mut LogWriter,
    observer: &mut dyn Observer,
    bytes: &[u8],
) -> Result<(), RunError> {
    if bytes.is_empty() {
        return Ok(());
    }
    output.bytes += bytes.len() as u64;
    output.excerpt.extend(bytes);
    log.append(output.stream, bytes)?;
    observer.output(output.stream, bytes);
    Ok(())
}

struct Ready {
    stop: bool,
    control: bool,
    live: bool,
    feed: PollFlags,
    outputs: Vec<bool>,
}
