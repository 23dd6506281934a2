//! Stages whose command runs inside a live session: what one exports is there for the next.
//!
//! Owns the sessions of the runs of this process, each named within its run and ended with it. A session that is to
//! outlive its run belongs to the host of the repository and user instead ([`SessionHost`]).

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use co_engine::{Input, StageRecord};
use co_model::{
    AttemptExit, AttemptReport, CommandLine, OutputStats, RunId, SandboxMode, SandboxPolicy, StageSession,
    StreamStats, TaskId,
};
use co_process::{
    Capture, Excerpt, Limits, LogWriter, ProcessIdentity, RunError, Shutdown, StopSignal, Stream, Terminal,
};
use co_sessions::client::{CallError, Connection, Refusal};
use co_sessions::{
    Confinement, Script, ScriptExit, SessionError, SessionExit, SessionId, SessionInfo, Sessions, Settings,
    StartSession, Wait,
};

use crate::attempt::{Attempt, Ran, chain};
use crate::confine::{OwnFolder, sessions_folder};
use crate::environment::RUN_MARK;
use crate::evidence;
use crate::orchestrator::Shared;
use crate::session_host::{self, SessionHost, session_journal, session_redactor};

/// The shell that a session is.
const SHELL: &str = "/bin/sh";
/// What follows the name of a session whose commands may leave the sandbox of the one without it.
const OUTSIDE: &str = ".outside";
/// How often a script in a host is looked after, to stop it.
const LOOK: Duration = Duration::from_millis(50);
/// How long a script in a host may take to end after an interrupt, before its shell is killed.
const INTERRUPT_PATIENCE: Duration = Duration::from_secs(2);
/// How much output of one script a host hands over, in tokens of four bytes: all that it keeps.
const HOST_TOKENS: usize = co_sessions::limits::BUFFER_BYTES / 4;

/// The sessions of the runs that this process owns.
#[derive(Default)]
pub(crate) struct RunSessions {
    of_runs: Mutex<HashMap<RunId, Arc<Sessions>>>,
}

impl RunSessions {
    /// The sessions of a run; there are none before the first stage that wants one.
    fn of(&self, shared: &Shared, task: &TaskId, run: &RunId) -> Option<Arc<Sessions>> {
        let spawner = shared.spawner.as_ref()?;
        let mut of_runs = self.of_runs.lock().unwrap_or_else(PoisonError::into_inner);
        let sessions = of_runs.entry(run.clone()).or_insert_with(|| {
            let settings = Settings {
                listener: session_journal(
                    Arc::clone(&shared.clock),
                    shared.options.layout.logs_dir(task, run),
                    "session-",
                ),
                redactor: Some(session_redactor(&shared.options.guard)),
                confiner: Some(Arc::clone(&shared.walls) as _),
                scratch: scratch(shared, run),
            };
            // As open as its neighbours, while what lies in it is not; what fails is told by the start.
            drop(std::fs::create_dir_all(sessions_folder(&shared.options.layout)));
            Arc::new(Sessions::new(Arc::clone(spawner), settings))
        });
        Some(Arc::clone(sessions))
    }

    /// Ends the sessions of a run and everything they started.
    pub(crate) fn end(&self, shared: &Shared, run: &RunId) {
        let ended = self.of_runs.lock().unwrap_or_else(PoisonError::into_inner).remove(run);
        if let Some(sessions) = ended {
            sessions.end_all();
            // What is left behind are empty folders of the run.
            drop(std::fs::remove_dir_all(scratch(shared, run)));
        }
    }
}

/// Out of sight of every sandbox: a command in one could have another shell run anything otherwise.
fn scratch(shared: &Shared, run: &RunId) -> PathBuf {
    session_host::private_folder(&shared.options.layout).join("runs").join(run.as_str())
}

/// Runs the stage's command inside the session it names.
pub(crate) fn command(attempt: &Attempt, line: &CommandLine, wanted: &StageSession) -> AttemptReport {
    let open = match begin(attempt, wanted) {
        Ok(open) => open,
        Err(reason) => return attempt.not_started(reason),
    };
    let confined = open.confined;
    let ran = open.run(attempt, &script(attempt, line, wanted));
    let verdict = evidence::verdict(attempt.stage.role, &ran.stdout);
    let denied = ran.was_denied(confined);
    let mut report = attempt.report(ran);
    report.sandbox_denied = denied;
    report.selection = verdict.selection;
    report.objection = verdict.objection;
    report
}

/// A session that a script can be run in.
struct Open {
    id: SessionId,
    place: Place,
    /// Whether it runs in a sandbox.
    confined: bool,
}

/// Who keeps a session.
enum Place {
    /// This process, as long as the run lasts.
    Here(Arc<Sessions>),
    /// A process of its own, longer than that.
    Host(Box<SessionHost>, Connection),
}

/// Finds the session, or starts its shell.
///
/// # Errors
/// A sentence that says why the command cannot run.
fn begin(attempt: &Attempt, wanted: &StageSession) -> Result<Open, String> {
    let id = id_of(attempt, wanted)?;
    let mut place = if wanted.persist { hosted(attempt)? } else { here(attempt)? };
    let mut shell = place.find(&id)?;
    if shell.is_some() && !wanted.reuse {
        return Err(format!("there is a session `{id}` already, and the stage does not reuse it"));
    }
    if shell.is_none() {
        place.start(attempt, &id, wanted)?;
        shell = place.find(&id)?;
    }
    let Some(shell) = shell else { return Err(format!("the shell of the session `{id}` has ended at once")) };
    let process = shell.pid.and_then(ProcessIdentity::of_running).map(|process| process.to_string());
    let (confined, layers, weaker) = holds(&id, shell, &attempt.sandbox)?;
    attempt.tell(Input::AttemptStarted {
        stage: attempt.stage.id.clone(),
        attempt: attempt.number,
        process: process.unwrap_or_default(),
        layers,
        weaker,
    });
    Ok(Open { id, place, confined })
}

/// The name of the session. A shell keeps its sandbox, so a command that may leave it runs in another one, with
/// nothing of what the first had set.
fn id_of(attempt: &Attempt, wanted: &StageSession) -> Result<SessionId, String> {
    let record = attempt.state.stage(&attempt.stage.id);
    let is_escalated = record.and_then(StageRecord::own_call).is_some_and(|call| call.request.escalated);
    let name = if is_escalated { format!("{}{OUTSIDE}", wanted.id) } else { wanted.id.clone() };
    name.parse().map_err(|error: SessionError| chain(&error))
}

/// What holds a session: whether it is confined, by which layers, and what is missing.
///
/// # Errors
/// When it may do more than the command.
fn holds(
    id: &SessionId,
    shell: SessionInfo,
    wanted: &SandboxPolicy,
) -> Result<(bool, Vec<String>, Option<String>), String> {
    let own = shell.policy();
    if !co_policy::is_within(&own, wanted) {
        return Err(format!(
            "the session `{id}` runs in another sandbox ({}) than the stage's command may ({}): name another session",
            own.mode.as_str(),
            wanted.mode.as_str()
        ));
    }
    let sandbox = shell.sandbox.map(|sandbox| (true, sandbox.layers, sandbox.weaker));
    Ok(sandbox.unwrap_or_default())
}

/// The sandbox that a new shell is put into: that of the command that it is started for.
fn confinement(attempt: &Attempt) -> Option<Confinement> {
    let created = &attempt.state.created;
    let own = OwnFolder::of(&attempt.shared.options.layout, &created.task, &created.run);
    (attempt.sandbox.mode != SandboxMode::DangerFullAccess).then(|| Confinement {
        policy: attempt.sandbox.clone(),
        workspace: PathBuf::from(&created.settings.workspace),
        readable: own.readable,
        secrets: own.secrets,
        accept_weaker: attempt.state.policy().accept_weaker_sandbox,
    })
}

fn here(attempt: &Attempt) -> Result<Place, String> {
    let created = &attempt.state.created;
    let sessions = attempt.shared.sessions.of(&attempt.shared, &created.task, &created.run);
    sessions.map(Place::Here).ok_or_else(|| "this process cannot start programs".to_owned())
}

fn hosted(attempt: &Attempt) -> Result<Place, String> {
    let host = attempt.shared.options.session_host.clone();
    let host = host.ok_or_else(|| "sessions that outlive their run are not kept here".to_owned())?;
    let connection = host.connect_or_start().map_err(|error| chain(&error))?;
    Ok(Place::Host(Box::new(host), connection))
}

impl Place {
    /// The session, if it runs.
    fn find(&mut self, id: &SessionId) -> Result<Option<SessionInfo>, String> {
        let list = match self {
            Self::Here(sessions) => sessions.list(),
            Self::Host(_, connection) => connection.list().map_err(|error| chain(&error))?,
        };
        Ok(list.into_iter().find(|info| info.session == *id && info.exit.is_none()))
    }

    fn start(&mut self, attempt: &Attempt, id: &SessionId, wanted: &StageSession) -> Result<(), String> {
        let created = &attempt.state.created;
        let layout = &attempt.shared.options.layout;
        let logs = layout.logs_dir(&created.task, &created.run);
        // A folder that somebody has removed is made again; what fails is told by the start.
        drop(std::fs::create_dir_all(&logs));
        let (capture, env) = match self {
            Self::Here(_) => (
                Capture {
                    log: logs.join(format!("session-{id}.log")),
                    index: logs.join(format!("session-{id}.index.jsonl")),
                },
                attempt.environment(),
            ),
            // It does not belong to the run: nothing of the run's own is in its environment.
            Self::Host(host, _) => (host.capture(id), attempt.inherited()),
        };
        let start = StartSession {
            id: Some(id.clone()),
            argv: vec![SHELL.into()],
            cwd: attempt.cwd(),
            env,
            terminal: if attempt.stage.tty { StartSession::TERMINAL } else { Terminal::Pipes },
            capture,
            limits: Limits::default(),
            confinement: confinement(attempt),
            wait: Wait::for_output(Duration::ZERO),
            max_output_tokens: None,
        };
        // Of two stages that start it at once, one does; the other uses it, if it may.
        match self {
            Self::Here(sessions) => match sessions.start(start) {
                Ok(_) => Ok(()),
                Err(SessionError::Taken { .. }) if wanted.reuse => Ok(()),
                Err(error) => Err(chain(&error)),
            },
            Self::Host(_, connection) => match connection.start(&start) {
                Ok(_) => Ok(()),
                Err(error) if error.refusal() == Some(Refusal::Taken) && wanted.reuse => Ok(()),
                Err(error) => Err(chain(&error)),
            },
        }
    }
}

impl Open {
    /// Runs a script to its end, with its output going to the attempt's log.
    fn run(self, attempt: &Attempt, script: &[u8]) -> Ran {
        let began = Instant::now();
        let mut recorder = match Recorder::open(attempt) {
            Ok(recorder) => recorder,
            Err(error) => return Ran::without(AttemptExit::NotRecorded { reason: chain(&error) }),
        };
        let timeout = attempt.stage.timeout;
        let exit = match self.place {
            Place::Here(sessions) => {
                let mut take = |bytes: &[u8]| recorder.take(bytes);
                let script = Script {
                    timeout,
                    stop: Some(&attempt.stop),
                    output: Some(&mut take),
                    ..Script::new(script)
                };
                let ran = sessions.follow_script(&self.id, script);
                ran.map(|reply| reply.exit).map_err(|error| chain(&error))
            }
            Place::Host(host, connection) => {
                let ran = run_in_host(&host, connection, &self.id, script, timeout, &attempt.stop);
                ran.map(|(exit, output)| {
                    recorder.take(output.as_bytes());
                    exit
                })
            }
        };
        recorder.finish(
            exit.map_or_else(
                |reason| AttemptExit::NotStarted { reason },
                |exit| exit_of(&exit, timeout, &attempt.stop),
            ),
            began.elapsed(),
        )
    }
}

/// Runs a script in a session of the host. Stopping goes by a connection of its own: this one waits for the script.
fn run_in_host(
    host: &SessionHost,
    mut connection: Connection,
    id: &SessionId,
    script: &[u8],
    timeout: Option<Duration>,
    stop: &StopSignal,
) -> Result<(ScriptExit, String), String> {
    let (say, hear) = mpsc::sync_channel(1);
    let (session, text) = (id.clone(), script.to_vec());
    let run = move || drop(say.send(connection.run_in(&session, &text, timeout, Some(HOST_TOKENS))));
    thread::Builder::new().name("hosted script".to_owned()).spawn(run).map_err(|error| error.to_string())?;
    let mut interrupted_at: Option<Instant> = None;
    loop {
        match hear.recv_timeout(LOOK) {
            Ok(ran) => {
                let reply = ran.map_err(|error: CallError| chain(&error))?;
                let stopped = interrupted_at.is_some();
                let shell_lives = matches!(reply.exit, ScriptExit::Code(_));
                let exit = if stopped { ScriptExit::Stopped { shell_lives } } else { reply.exit };
                return Ok((exit, reply.output));
            }
            Err(mpsc::RecvTimeoutError::Disconnected) => {
                return Err("the script's thread has ended".to_owned());
            }
            Err(mpsc::RecvTimeoutError::Timeout) => {}
        }
        let Some(how) = stop.requested() else { continue };
        let late = interrupted_at.is_some_and(|at| at.elapsed() >= INTERRUPT_PATIENCE);
        if interrupted_at.is_none() || late || how == Shutdown::Immediate {
            let mut other = host.connect().map_err(|error| chain(&error))?;
            // What cannot be told to stop has just ended; its answer comes.
            if interrupted_at.is_none() && how == Shutdown::Graceful {
                drop(other.signal(id, co_process::Signal::Interrupt));
            } else {
                drop(other.kill(id, Shutdown::Immediate, None));
            }
            interrupted_at.get_or_insert_with(Instant::now);
        }
    }
}

/// Writes a script's output to the attempt's log.
struct Recorder {
    log: LogWriter,
    excerpt: Excerpt,
    bytes: u64,
    failed: Option<RunError>,
}

impl Recorder {
    fn open(attempt: &Attempt) -> Result<Self, RunError> {
        let log = LogWriter::open(&attempt.capture())?;
        Ok(Self { log, excerpt: Excerpt::default(), bytes: 0, failed: None })
    }

    fn take(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        self.bytes += bytes.len() as u64;
        self.excerpt.extend(bytes);
        if self.failed.is_none() {
            self.failed = self.log.append(Stream::Stdout, bytes).err();
        }
    }

    fn finish(mut self, exit: AttemptExit, elapsed: Duration) -> Ran {
        let failed = self.failed.or_else(|| self.log.flush().err());
        let exit = failed.map_or(exit, |error| AttemptExit::NotRecorded { reason: chain(&error) });
        let output = OutputStats { stdout: StreamStats { bytes: self.bytes }, ..OutputStats::default() };
        Ran { elapsed, output, stdout: self.excerpt.text(), ..Ran::without(exit) }
    }
}

fn exit_of(exit: &ScriptExit, timeout: Option<Duration>, stop: &StopSignal) -> AttemptExit {
    match exit {
        ScriptExit::Stopped { .. } => AttemptExit::Cancelled,
        ScriptExit::Shell(_) if stop.requested().is_some() => AttemptExit::Cancelled,
        ScriptExit::Code(code) | ScriptExit::Shell(SessionExit::Code(code)) => AttemptExit::Code(*code),
        ScriptExit::Shell(SessionExit::Signal(signal)) => AttemptExit::Signal(*signal),
        ScriptExit::Shell(_) => AttemptExit::Lost,
        ScriptExit::TimedOut { .. } => AttemptExit::TimedOut {
            after_ms: timeout.map_or(0, |after| u64::try_from(after.as_millis()).unwrap_or(u64::MAX)),
        },
    }
}

/// The stage's command as the shell reads it: the stage's variables and directory first.
fn script(attempt: &Attempt, line: &CommandLine, wanted: &StageSession) -> Vec<u8> {
    let mut script = Vec::new();
    for (name, value) in attempt.environment() {
        let inherited =
            attempt.shared.options.environment.iter().any(|known| *known == (name.clone(), value.clone()));
        // A session that outlives the run is not one of its processes.
        let marks = wanted.persist && name == RUN_MARK;
        if !inherited && !marks && is_name(&name) {
            script.extend_from_slice(b"export ");
            script.extend_from_slice(name.as_bytes());
            script.push(b'=');
            script.extend(quoted(value.as_bytes()));
            script.push(b'\n');
        }
    }
    if attempt.stage.cwd.is_some() {
        script.extend_from_slice(b"cd -- ");
        script.extend(quoted(attempt.cwd().as_os_str().as_bytes()));
        script.extend_from_slice(b" || return 1\n");
    }
    match line {
        CommandLine::Shell(text) => script.extend_from_slice(text.as_bytes()),
        CommandLine::Argv(words) => {
            let words: Vec<Vec<u8>> = words.iter().map(|word| quoted(word.as_bytes())).collect();
            script.extend(words.join(&b' '));
        }
    }
    script.push(b'\n');
    script
}

/// Whether a shell takes it for the name of a variable.
fn is_name(name: &OsStr) -> bool {
    let bytes = name.as_bytes();
    let letter = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_';
    bytes.first().is_some_and(|&first| letter(first))
        && bytes.iter().all(|&byte| letter(byte) || byte.is_ascii_digit())
}

/// Quotes a word for a POSIX shell.
fn quoted(word: &[u8]) -> Vec<u8> {
    let mut quoted = vec![b'\''];
    for &byte in word {
        match byte {
            b'\'' => quoted.extend_from_slice(b"'\\''"),
            byte => quoted.push(byte),
        }
    }
    quoted.push(b'\'');
    quoted
}

impl Attempt {
    /// What the attempt's environment has that was there before the run.
    fn inherited(&self) -> Vec<(OsString, OsString)> {
        let known = &self.shared.options.environment;
        self.environment().into_iter().filter(|variable| known.contains(variable)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_stay_words_and_names_are_names() {
        assert_eq!(quoted(b"it's $x\n"), b"'it'\\''s $x\n'");
        for name in ["A", "_b9"] {
            assert!(is_name(OsStr::new(name)), "{name}");
        }
        for name in ["", "9a", "a-b", "BASH_FUNC_x%%"] {
            assert!(!is_name(OsStr::new(name)), "{name}");
        }
    }

    #[test]
    fn the_end_of_a_script_is_the_end_of_the_attempt() {
        let stop = StopSignal::new().unwrap();
        let timeout = Some(Duration::from_secs(3));
        let of = |exit: ScriptExit| exit_of(&exit, timeout, &stop);
        assert_eq!(of(ScriptExit::Code(3)), AttemptExit::Code(3));
        assert_eq!(of(ScriptExit::Shell(SessionExit::Code(0))), AttemptExit::Code(0));
        assert_eq!(of(ScriptExit::Shell(SessionExit::Signal(9))), AttemptExit::Signal(9));
        assert_eq!(of(ScriptExit::TimedOut { shell_lives: true }), AttemptExit::TimedOut { after_ms: 3_000 });
        stop.request(Shutdown::Graceful);
        assert_eq!(of(ScriptExit::Shell(SessionExit::Killed)), AttemptExit::Cancelled);
    }
}
