//! Does things with sessions: weighs them, then tells the host. The same for the command line and for MCP clients.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use co_mcp::{
    Listening, SessionAnswer, SessionDone, SessionEntry, SessionErrand, SessionList, SessionReply,
    SessionScript, SessionStart,
};
use co_model::{SandboxMode, SandboxPolicy};
use co_policy::{Declared, is_within};
use co_process::{Limits, Shutdown, Signal, Terminal};
use co_runtime::{SessionHost, session_confiner};
use co_sessions::client::{CallError, ConnectError, Connection, Refusal};
use co_sessions::{
    Confinement, Confiner, Reply, ScriptExit, ScriptReply, SessionExit, SessionId, SessionInfo, StartSession,
    Until, Wait, limits,
};

use super::admission::{Admitted, Wanted, admit};
use crate::context::Context;
use crate::error::{CliError, Exit};
use crate::policy::PolicyOptions;

/// On whose word something is done.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Word<'w> {
    /// What was said about the policy besides the settings.
    pub(crate) policy: &'w PolicyOptions,
    /// Whether an agent wants it, not a person.
    pub(crate) agent: bool,
    /// Whether a person has agreed to exactly this.
    pub(crate) consented: bool,
}

impl Word<'_> {
    fn declared(self) -> Declared {
        if self.agent { Declared::Agent } else { Declared::Own }
    }
}

/// Does one thing with sessions.
///
/// # Errors
/// Why it was not done.
pub(crate) fn perform(
    context: &Context,
    errand: &SessionErrand,
    word: Word<'_>,
) -> Result<SessionAnswer, CliError> {
    match errand {
        SessionErrand::Start(start) => begin(context, start, word),
        SessionErrand::Write { session, text, listen } => {
            // What a shell reads, it does: a script all the same. Empty input is a poll.
            let (mut connection, id) = if text.is_empty() {
                reach(context, session)?
            } else {
                match tell(context, session, text, word)? {
                    Told::To(connection, id) => (*connection, id),
                    Told::NeedsConsent { reason } => return Ok(SessionAnswer::NeedsConsent { reason }),
                }
            };
            let replied = connection.write(&id, text.as_bytes(), wait(*listen), listen.max_output_tokens);
            Ok(SessionAnswer::Reply(reply(&replied.map_err(|error| refused(&error))?)))
        }
        SessionErrand::Poll { session, listen } => {
            let (mut connection, id) = reach(context, session)?;
            let replied = connection.poll(&id, wait(*listen), listen.max_output_tokens);
            Ok(SessionAnswer::Reply(reply(&replied.map_err(|error| refused(&error))?)))
        }
        SessionErrand::Run { session, script, timeout_ms, max_output_tokens } => {
            let (mut connection, id) = match tell(context, session, script, word)? {
                Told::To(connection, id) => (*connection, id),
                Told::NeedsConsent { reason } => return Ok(SessionAnswer::NeedsConsent { reason }),
            };
            let timeout = timeout_ms.map(Duration::from_millis);
            let ran = connection.run_in(&id, script.as_bytes(), timeout, *max_output_tokens);
            Ok(SessionAnswer::Script(script_reply(&ran.map_err(|error| refused(&error))?)))
        }
        SessionErrand::Resize { session, rows, columns } => {
            let (mut connection, id) = reach(context, session)?;
            connection.resize(&id, *rows, *columns).map_err(|error| refused(&error))?;
            Ok(done(session, "resized"))
        }
        SessionErrand::Signal { session, signal } => {
            let signal = signal_named(signal)?;
            let (mut connection, id) = reach(context, session)?;
            connection.signal(&id, signal).map_err(|error| refused(&error))?;
            Ok(done(session, "signalled"))
        }
        SessionErrand::Kill { session, max_output_tokens } => {
            let (mut connection, id) = reach(context, session)?;
            let replied = connection.kill(&id, Shutdown::Graceful, *max_output_tokens);
            Ok(SessionAnswer::Reply(reply(&replied.map_err(|error| refused(&error))?)))
        }
        SessionErrand::List => {
            let sessions = list(context)?.iter().map(entry).collect();
            Ok(SessionAnswer::List(SessionList { sessions }))
        }
    }
}

/// Ends a session's input.
pub(crate) fn close_input(context: &Context, session: &str) -> Result<SessionAnswer, CliError> {
    let (mut connection, id) = reach(context, session)?;
    connection.close_input(&id).map_err(|error| refused(&error))?;
    Ok(done(session, "input_closed"))
}

/// Opens what was recorded of a session, also of one that has ended.
pub(crate) fn events(context: &Context, session: &str) -> Result<File, CliError> {
    let id = id_of(session)?;
    match File::open(host(context)?.events(&id)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(unknown(&id)),
        opened => opened.map_err(|error| CliError::of(Exit::Setup, &error)),
    }
}

/// Forgets the sessions that have ended, and removes their logs; returns their names.
pub(crate) fn prune(context: &Context) -> Result<Vec<String>, CliError> {
    let host = host(context)?;
    if !host.endpoint().directory().exists() {
        return Ok(Vec::new());
    }
    let mut connection = host.connect_or_start().map_err(|error| CliError::of(Exit::Setup, &error))?;
    let names = connection.prune().map_err(|error| refused(&error))?;
    for name in &names {
        let capture = host.capture(name);
        // What is left behind is found by nobody, and removed with its folder.
        drop(std::fs::remove_file(capture.log));
        drop(std::fs::remove_file(capture.index));
        drop(std::fs::remove_file(host.events(name)));
    }
    Ok(names.iter().map(ToString::to_string).collect())
}

/// Ends every session, and the host.
pub(crate) fn kill_all(context: &Context) -> Result<usize, CliError> {
    match host(context)?.connect() {
        Ok(mut connection) => {
            let running = connection
                .list()
                .map_err(|error| refused(&error))?
                .iter()
                .filter(|info| info.exit.is_none())
                .count();
            connection.shutdown().map_err(|error| refused(&error))?;
            Ok(running)
        }
        Err(ConnectError::NotRunning { .. }) => Ok(0),
        Err(error) => Err(CliError::of(Exit::Setup, &error)),
    }
}

/// What builds the sandboxes of sessions.
pub(crate) fn confiner(context: &Context) -> Result<Arc<dyn Confiner>, CliError> {
    let search_path = context.environment.variables().find(|(name, _)| *name == "PATH");
    let search_path = search_path.map(|(_, path)| path.to_owned());
    Ok(session_confiner(context.layout.clone(), this_program()?, search_path))
}

fn this_program() -> Result<PathBuf, CliError> {
    std::env::current_exe().map_err(|error| {
        CliError::new(Exit::Setup, format!("the path of this program cannot be found: {error}"))
    })
}

/// Where the sessions of this repository and user are kept.
pub(crate) fn host(context: &Context) -> Result<SessionHost, CliError> {
    let program = this_program()?;
    let layout = &context.layout;
    let mut arguments: Vec<OsString> = vec!["session".into(), "host".into(), "--quiet".into()];
    for (flag, path) in
        [("--root", &layout.root), ("--runs-dir", &layout.runs_dir), ("--out-dir", &layout.out_dir)]
    {
        arguments.extend([OsString::from(flag), path.into()]);
    }
    Ok(SessionHost::new(layout.clone(), program, arguments))
}

/// Connects to the host for a session that is said to be there.
pub(crate) fn reach(context: &Context, session: &str) -> Result<(Connection, SessionId), CliError> {
    let id = id_of(session)?;
    let host = host(context)?;
    match host.connect() {
        Ok(connection) => Ok((connection, id)),
        Err(ConnectError::NotRunning { .. }) => {
            let there = host.endpoint().directory().exists();
            let past = if there { host.endpoint().list_past().unwrap_or_default() } else { Vec::new() };
            if past.iter().any(|info| info.session == id) {
                let message = format!("the session `{id}` has ended, and so has its host");
                return Err(CliError::new(Exit::NotFound, message).hint("codex-orchestrator session list"));
            }
            Err(unknown(&id))
        }
        Err(error) => Err(CliError::of(Exit::Setup, &error)),
    }
}

fn unknown(id: &SessionId) -> CliError {
    CliError::new(Exit::NotFound, format!("unknown session `{id}`")).hint("codex-orchestrator session list")
}

fn id_of(session: &str) -> Result<SessionId, CliError> {
    session.parse().map_err(|error: co_sessions::SessionError| CliError::of(Exit::Usage, &error))
}

fn list(context: &Context) -> Result<Vec<SessionInfo>, CliError> {
    let host = host(context)?;
    match host.connect() {
        Ok(mut connection) => connection.list().map_err(|error| refused(&error)),
        Err(ConnectError::NotRunning { .. }) if !host.endpoint().directory().exists() => Ok(Vec::new()),
        Err(ConnectError::NotRunning { .. }) => {
            host.endpoint().list_past().map_err(|error| CliError::of(Exit::Setup, &error))
        }
        Err(error) => Err(CliError::of(Exit::Setup, &error)),
    }
}

fn begin(context: &Context, start: &SessionStart, word: Word<'_>) -> Result<SessionAnswer, CliError> {
    let id = match &start.name {
        Some(name) => id_of(name)?,
        None => SessionId::random().map_err(|error| CliError::of(Exit::Setup, &error))?,
    };
    if start.argv.is_empty() {
        return Err(CliError::new(Exit::Usage, "there is no program to start"));
    }
    let root = &context.layout.root;
    let cwd = start.cwd.as_ref().map_or_else(|| root.clone(), |cwd| root.join(cwd));
    let policy = context.tool_policy(word.policy)?;
    let wanted = Wanted {
        session: id.as_str(),
        argv: start.argv.clone(),
        cwd: cwd.to_string_lossy().into_owned(),
        tty: start.tty,
        declared: word.declared(),
    };
    let sandbox = match admit(&policy, wanted)? {
        Admitted::WithConsent { reason, .. } if !word.consented => {
            return Ok(SessionAnswer::NeedsConsent { reason });
        }
        Admitted::Yes { sandbox } | Admitted::WithConsent { sandbox, .. } => sandbox,
    };
    let confinement = (sandbox.mode != SandboxMode::DangerFullAccess).then(|| Confinement {
        policy: sandbox,
        workspace: context.layout.root.clone(),
        readable: Vec::new(),
        secrets: Vec::new(),
        accept_weaker: policy.accept_weaker_sandbox,
    });
    let base = context.environment.variables().map(|(name, value)| (name.to_owned(), value.to_owned()));
    let mut env = co_policy::environment::compose(&policy.environment, &base.collect::<Vec<_>>());
    if word.agent {
        env.extend(limits::ENVIRONMENT.map(|(name, value)| (name.into(), value.into())));
    }
    let host = host(context)?;
    let terminal = if start.tty {
        Terminal::Pty {
            rows: start.rows.unwrap_or(limits::ROWS),
            columns: start.columns.unwrap_or(limits::COLUMNS),
        }
    } else {
        Terminal::Pipes
    };
    let mut connection = host.connect_or_start().map_err(|error| CliError::of(Exit::Setup, &error))?;
    let started = connection.start(&StartSession {
        capture: host.capture(&id),
        id: Some(id),
        argv: start.argv.iter().map(OsString::from).collect(),
        cwd,
        env: env.into_iter().collect(),
        terminal,
        limits: Limits::default(),
        confinement,
        wait: wait(start.listen),
        max_output_tokens: start.listen.max_output_tokens,
    });
    Ok(SessionAnswer::Reply(reply(&started.map_err(|error| refused(&error))?)))
}

/// Weighs what a session's shell is told, and connects to tell it.
fn tell(context: &Context, session: &str, script: &str, word: Word<'_>) -> Result<Told, CliError> {
    let (connection, info) = look_up(context, session)?;
    let wanted = Wanted {
        session,
        argv: vec!["/bin/sh".to_owned(), "-c".to_owned(), script.trim_end().to_owned()],
        cwd: info.cwd.to_string_lossy().into_owned(),
        tty: info.tty,
        declared: word.declared(),
    };
    let admitted = admit(&context.tool_policy(word.policy)?, wanted)?;
    check_sandbox(&info, admitted.sandbox())?;
    Ok(match admitted {
        Admitted::WithConsent { reason, .. } if !word.consented => Told::NeedsConsent { reason },
        Admitted::WithConsent { .. } | Admitted::Yes { .. } => Told::To(Box::new(connection), info.session),
    })
}

/// Connects to a session that a person is to type into. What is typed is theirs and not weighed; where, is.
pub(crate) fn reach_to_type(
    context: &Context,
    session: &str,
    policy: &PolicyOptions,
) -> Result<(Connection, SessionInfo), CliError> {
    let (connection, info) = look_up(context, session)?;
    let sandbox = context.tool_policy(policy)?.sandbox;
    check_sandbox(&info, sandbox.as_ref().unwrap_or(&SandboxPolicy::FULL_ACCESS))?;
    Ok((connection, info))
}

fn look_up(context: &Context, session: &str) -> Result<(Connection, SessionInfo), CliError> {
    let (mut connection, id) = reach(context, session)?;
    let list = connection.list().map_err(|error| refused(&error))?;
    let info = list.into_iter().find(|info| info.session == id).ok_or_else(|| unknown(&id))?;
    Ok((connection, info))
}

/// A shell keeps the sandbox it was started in, and what may do less does not get into it.
fn check_sandbox(info: &SessionInfo, wanted: &SandboxPolicy) -> Result<(), CliError> {
    let own = info.policy();
    if is_within(&own, wanted) {
        return Ok(());
    }
    let (id, own, wanted) = (&info.session, own.mode.as_str(), wanted.mode.as_str());
    Err(CliError::new(
        Exit::Refused,
        format!("the session `{id}` runs in `{own}`, and your settings confine this to `{wanted}`"),
    )
    .hint("start another session: it gets the sandbox that your settings name"))
}

/// What came of weighing what a session is told.
enum Told {
    /// It may be told, this way.
    To(Box<Connection>, SessionId),
    /// A person must agree first.
    NeedsConsent { reason: String },
}

fn wait(listen: Listening) -> Wait {
    let until = if listen.until_output { Until::Output } else { Until::Exit };
    Wait { time: listen.yield_ms.map(Duration::from_millis), until }
}

fn signal_named(name: &str) -> Result<Signal, CliError> {
    let upper = name.to_ascii_uppercase();
    let known = [
        ("INT", Signal::Interrupt),
        ("QUIT", Signal::Quit),
        ("TERM", Signal::Terminate),
        ("KILL", Signal::Kill),
        ("HUP", Signal::Hangup),
        ("USR1", Signal::User1),
        ("USR2", Signal::User2),
        ("TSTP", Signal::Suspend),
        ("CONT", Signal::Continue),
        ("WINCH", Signal::WindowChanged),
    ];
    let bare = upper.strip_prefix("SIG").unwrap_or(&upper);
    known.iter().find(|(word, _)| *word == bare).map(|(_, signal)| *signal).ok_or_else(|| {
        let words: Vec<&str> = known.iter().map(|(word, _)| *word).collect();
        CliError::new(Exit::Usage, format!("unknown signal `{name}`; known: {}", words.join(", ")))
    })
}

/// A refusal of the host, as people meet it.
pub(crate) fn refused(error: &CallError) -> CliError {
    let exit = match error.refusal() {
        Some(Refusal::Unknown) => Exit::NotFound,
        Some(Refusal::InvalidId) => Exit::Usage,
        Some(
            Refusal::Confine
            | Refusal::Taken
            | Refusal::InputClosed
            | Refusal::Ended
            | Refusal::NoTerminal
            | Refusal::NotAShell
            | Refusal::Ending,
        ) => Exit::Refused,
        _ => Exit::Setup,
    };
    let refused = CliError::of(exit, error);
    if exit == Exit::NotFound { refused.hint("codex-orchestrator session list") } else { refused }
}

fn done(session: &str, what: &str) -> SessionAnswer {
    SessionAnswer::Done(SessionDone { session: session.to_owned(), done: what.to_owned() })
}

fn reply(reply: &Reply) -> SessionReply {
    let (ended, detail, exit_code) = ending(reply.exit.as_ref());
    SessionReply {
        session: reply.session.to_string(),
        output: reply.output.clone(),
        original_token_count: reply.original_token_count,
        omitted_bytes: reply.omitted_bytes,
        wall_time_ms: milliseconds(reply.wall_time),
        running: reply.exit.is_none(),
        ended,
        detail,
        exit_code,
        pruned: reply.pruned.as_ref().map(ToString::to_string),
        warning: reply.warning.clone(),
    }
}

fn script_reply(reply: &ScriptReply) -> SessionScript {
    let (ended, shell_lives) = match &reply.exit {
        ScriptExit::Code(_) => ("exited", true),
        ScriptExit::Shell(_) => ("shell_ended", false),
        ScriptExit::TimedOut { shell_lives } => ("timed_out", *shell_lives),
        ScriptExit::Stopped { shell_lives } => ("stopped", *shell_lives),
    };
    SessionScript {
        session: reply.session.to_string(),
        output: reply.output.clone(),
        original_token_count: reply.original_token_count,
        omitted_bytes: reply.omitted_bytes,
        wall_time_ms: milliseconds(reply.wall_time),
        ended: ended.to_owned(),
        exit_code: reply.exit.code(),
        shell_lives,
    }
}

fn entry(info: &SessionInfo) -> SessionEntry {
    let (ended, _, exit_code) = ending(info.exit.as_ref());
    let sandbox = info.sandbox.as_ref();
    SessionEntry {
        session: info.session.to_string(),
        argv: info.argv.clone(),
        cwd: info.cwd.to_string_lossy().into_owned(),
        tty: info.tty,
        sandbox: info.policy().mode.as_str().to_owned(),
        sandbox_layers: sandbox.map(|sandbox| sandbox.layers.clone()).unwrap_or_default(),
        sandbox_weaker: sandbox.and_then(|sandbox| sandbox.weaker.clone()),
        pid: info.pid,
        started_at_ms: info.started_at,
        output_bytes: info.output_bytes,
        log: info.log.to_string_lossy().into_owned(),
        running: info.exit.is_none(),
        ended,
        exit_code,
    }
}

/// How a program ended in one word, what belongs to it, and its exit code.
fn ending(exit: Option<&SessionExit>) -> (Option<String>, Option<String>, Option<i32>) {
    let (word, detail, code) = match exit {
        None => return (None, None, None),
        Some(SessionExit::Code(code)) => ("exited", Some(code.to_string()), Some(*code)),
        Some(SessionExit::Signal(signal)) => ("signalled", Some(signal.to_string()), None),
        Some(SessionExit::Killed) => ("killed", None, None),
        Some(SessionExit::TimedOut) => ("timed_out", None, None),
        Some(SessionExit::Lost) => ("lost", None, None),
        Some(SessionExit::Failed(reason)) => ("failed", Some(reason.clone()), None),
    };
    (Some(word.to_owned()), detail, code)
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
