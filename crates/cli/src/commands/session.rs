//! `session`: shells and programs that stay between commands.
//!
//! They belong to a process of its own (`session host`), one for each repository and user, which is started with
//! the first session and ends some time after the last. What is done in a session is weighed by the user's policy
//! before, and what a session writes passes the privacy guard.

mod admission;
mod arguments;
mod attach;
mod desk;

use std::io::{IsTerminal as _, Read as _, Write as _};
use std::sync::Arc;
use std::time::Duration;

use co_mcp::{
    Listening, SessionAnswer, SessionEntry, SessionErrand, SessionReply, SessionScript, SessionStart,
};
use co_process::Spawner;
use co_runtime::{HOST_BEGINS, SystemClock, session_journal, session_redactor};
use co_sessions::HostError;
use co_sessions::host::{HostSettings, serve};
use rustix::termios::{QueueSelector, tcflush};
use serde_json::{Value, json};

use crate::args::{Format, Global};
use crate::context::Context;
use crate::error::{CliError, Exit};
use crate::output::{Data, Notes, harmless, harmless_output, warn};
use crate::policy::PolicyOptions;
use crate::privacy;

pub(crate) use arguments::SessionCommand;
pub(crate) use desk::{Word, host as host_of, perform};

/// How long a host stays without a running session and without a client.
const IDLE: Duration = Duration::from_mins(15);
/// How long a command waits for output unless told otherwise: it returns with the first.
const SHORT_WAIT: u64 = 250;
/// The same, for who asked for output and nothing else.
const LONG_WAIT: u64 = 5_000;
/// The most input that is taken from standard input, in bytes.
const LARGEST_INPUT: u64 = 16 << 20;

/// Carries out a command; returns the exit code, which for scripts is theirs.
pub(crate) fn session(
    global: &Global,
    command: SessionCommand,
    spawner: Option<Spawner>,
    notes: Notes,
) -> Result<u8, CliError> {
    let context = Context::resolve(global, None, notes)?;
    let answer = match command {
        SessionCommand::Host => return host(&context, spawner).map(|()| Exit::Done as u8),
        SessionCommand::Attach(arguments) => {
            return attach::attach(&context, &arguments).map(|()| Exit::Done as u8);
        }
        SessionCommand::Events(arguments) => {
            return events(&context, &arguments.name).map(|()| Exit::Done as u8);
        }
        SessionCommand::Prune => {
            let names = desk::prune(&context)?;
            let lines: Vec<String> = names.iter().map(|name| format!("forgot {name}")).collect();
            show(&context, &json!({ "pruned": names }), &lines);
            return Ok(Exit::Done as u8);
        }
        SessionCommand::Kill(arguments) if arguments.all => {
            let ended = desk::kill_all(&context)?;
            show(
                &context,
                &json!({ "ended": ended }),
                &[format!("ended {ended} {}", if ended == 1 { "session" } else { "sessions" })],
            );
            return Ok(Exit::Done as u8);
        }
        SessionCommand::Close(arguments) => desk::close_input(&context, &arguments.name)?,
        command => {
            let policy = policy_of(&command);
            with_consent(&context, &errand(&context, command)?, &policy)?
        }
    };
    show_answer(&context, answer)
}

/// What a command says about the policy.
fn policy_of(command: &SessionCommand) -> PolicyOptions {
    match command {
        SessionCommand::Start(arguments) => arguments.policy.clone(),
        SessionCommand::Write(arguments) => arguments.policy.clone(),
        SessionCommand::Run(arguments) => arguments.policy.clone(),
        _ => PolicyOptions::default(),
    }
}

/// What a command comes to.
fn errand(context: &Context, command: SessionCommand) -> Result<SessionErrand, CliError> {
    let listening = |listen: arguments::ListenArguments, default: u64| Listening {
        yield_ms: listen.yield_ms.or(Some(default)),
        until_output: listen.yield_ms.is_none(),
        max_output_tokens: listen.max_output_tokens,
    };
    Ok(match command {
        SessionCommand::Start(arguments) => {
            let here = context.environment.current_directory().unwrap_or(&context.layout.root);
            let cwd = arguments.cwd.map_or_else(|| here.to_owned(), |cwd| here.join(cwd));
            let cwd = cwd.to_str().ok_or_else(|| {
                CliError::new(Exit::Usage, format!("the path `{}` is no UTF-8", cwd.display()))
            })?;
            SessionErrand::Start(SessionStart {
                name: arguments.name,
                argv: arguments.command,
                cwd: Some(cwd.to_owned()),
                tty: arguments.tty,
                rows: arguments.rows,
                columns: arguments.columns,
                listen: listening(arguments.listen, SHORT_WAIT),
            })
        }
        SessionCommand::Write(arguments) => {
            let mut text = arguments.text.map_or_else(read_input, Ok)?;
            if arguments.enter {
                text.push('\n');
            }
            let listen = listening(arguments.listen, SHORT_WAIT);
            // Something was to be written: waiting for output only is what a poll does.
            if text.is_empty() {
                return Err(CliError::new(Exit::Usage, "there is nothing to write")
                    .hint("codex-orchestrator session poll"));
            }
            SessionErrand::Write { session: arguments.name, text, listen }
        }
        SessionCommand::Poll(arguments) => {
            SessionErrand::Poll { session: arguments.name, listen: listening(arguments.listen, LONG_WAIT) }
        }
        SessionCommand::Run(arguments) => SessionErrand::Run {
            session: arguments.name,
            script: if arguments.script == "-" { read_input()? } else { arguments.script },
            timeout_ms: arguments.timeout.map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX)),
            max_output_tokens: arguments.max_output_tokens,
        },
        SessionCommand::Resize(arguments) => SessionErrand::Resize {
            session: arguments.name,
            rows: arguments.rows,
            columns: arguments.columns,
        },
        SessionCommand::Signal(arguments) => {
            SessionErrand::Signal { session: arguments.name, signal: arguments.signal }
        }
        SessionCommand::Kill(arguments) => {
            let session = arguments
                .name
                .ok_or_else(|| CliError::new(Exit::Usage, "a session is to be named, or --all"))?;
            SessionErrand::Kill { session, max_output_tokens: None }
        }
        SessionCommand::List => SessionErrand::List,
        SessionCommand::Attach(_)
        | SessionCommand::Close(_)
        | SessionCommand::Events(_)
        | SessionCommand::Prune
        | SessionCommand::Host => return Err(CliError::new(Exit::Bug, "the command was taken before")),
    })
}

/// Does it; where the policy wants a person's word, the person at this terminal is asked.
fn with_consent(
    context: &Context,
    errand: &SessionErrand,
    policy: &PolicyOptions,
) -> Result<SessionAnswer, CliError> {
    let answer = perform(context, errand, Word { policy, agent: false, consented: false })?;
    let SessionAnswer::NeedsConsent { reason } = answer else { return Ok(answer) };
    if !(std::io::stdin().is_terminal() && std::io::stderr().is_terminal()) {
        return Err(CliError::new(Exit::Refused, format!("{reason}, and there is nobody to ask"))
            .hint("run it at a terminal, or allow the command by a rule"));
    }
    if !agrees(&reason) {
        return Err(CliError::new(Exit::Refused, format!("{reason}, and you said no")));
    }
    perform(context, errand, Word { policy, agent: false, consented: true })
}

/// Asks the person at the terminal. Anything but a yes is a no.
fn agrees(reason: &str) -> bool {
    let mut stderr = std::io::stderr();
    // What was typed before the question was there is no answer to it.
    let _ = tcflush(std::io::stdin(), QueueSelector::IFlush);
    // A terminal that cannot be written to will hardly answer.
    drop(write!(stderr, "{} [y/N] ", harmless(reason)));
    drop(stderr.flush());
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).is_ok()
        && matches!(line.trim().to_ascii_lowercase().as_str(), "y" | "yes")
}

fn read_input() -> Result<String, CliError> {
    let usage = |reason: String| CliError::new(Exit::Usage, reason);
    let mut bytes = Vec::new();
    std::io::stdin()
        .take(LARGEST_INPUT + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| usage(format!("standard input cannot be read: {error}")))?;
    if bytes.len() as u64 > LARGEST_INPUT {
        return Err(usage(format!("standard input has more than {LARGEST_INPUT} bytes")));
    }
    String::from_utf8(bytes).map_err(|_| usage("standard input is no UTF-8".to_owned()))
}

/// Shows an answer; returns the exit code.
fn show_answer(context: &Context, answer: SessionAnswer) -> Result<u8, CliError> {
    match answer {
        SessionAnswer::Reply(reply) => {
            if context.format == Format::Text {
                show_output(&reply.output);
                note_reply(context, &reply);
            } else {
                show(context, &json!(reply), &[]);
            }
            Ok(Exit::Done as u8)
        }
        SessionAnswer::Script(script) => {
            if context.format == Format::Text {
                show_output(&script.output);
                note_script(&script);
            } else {
                show(context, &json!(script), &[]);
            }
            Ok(script_exit(&script))
        }
        SessionAnswer::List(list) => {
            let lines: Vec<String> = list.sessions.iter().map(line).collect();
            show(context, &json!(list), &lines);
            Ok(Exit::Done as u8)
        }
        SessionAnswer::Done(done) => {
            show(context, &json!(done), &[]);
            Ok(Exit::Done as u8)
        }
        SessionAnswer::NeedsConsent { reason } => Err(CliError::new(Exit::Refused, reason)),
    }
}

/// Prints what was recorded of a session, as it is: one JSON object a line.
fn events(context: &Context, session: &str) -> Result<(), CliError> {
    let mut file = desk::events(context, session)?;
    let mut data = Data::exact();
    let mut buffer = vec![0; 64 << 10];
    loop {
        let count = file.read(&mut buffer).map_err(|error| CliError::of(Exit::Setup, &error))?;
        let Some(bytes) = buffer.get(..count).filter(|bytes| !bytes.is_empty()) else { break };
        data.bytes(bytes);
    }
    data.flush();
    Ok(())
}

/// The exit code of a script, as a shell would pass it on.
fn script_exit(script: &SessionScript) -> u8 {
    match (script.ended.as_str(), script.exit_code) {
        (_, Some(code)) => u8::try_from(code & 0xff).unwrap_or(u8::MAX),
        ("timed_out", None) => Exit::TimedOut as u8,
        _ => Exit::RunFailed as u8,
    }
}

fn show(context: &Context, document: &Value, lines: &[String]) {
    let mut data = Data::exact();
    match context.format {
        Format::Text => lines.iter().for_each(|line| data.line(&harmless(line))),
        Format::Json => data.line(&format!("{document:#}")),
        Format::Jsonl => data.line(&document.to_string()),
    }
    data.flush();
}

/// Shows output: to a terminal without what could move its cursor, to anything else as it is.
fn show_output(output: &str) {
    let mut data = Data::exact();
    if std::io::stdout().is_terminal() {
        data.bytes(harmless_output(output.as_bytes()).as_bytes());
    } else {
        data.bytes(output.as_bytes());
    }
    data.flush();
}

fn note_reply(context: &Context, reply: &SessionReply) {
    note_missing(reply.original_token_count, &reply.output, reply.omitted_bytes);
    if let Some(warning) = &reply.warning {
        warn(warning);
    }
    if let Some(pruned) = &reply.pruned {
        warn(&format!("the session `{pruned}` was ended to make room"));
    }
    let session = &reply.session;
    context.notes.progress(&match (&reply.ended, &reply.detail) {
        (None, _) => format!("session `{session}` runs"),
        (Some(ended), Some(detail)) => format!("session `{session}`: {ended} ({detail})"),
        (Some(ended), None) => format!("session `{session}`: {ended}"),
    });
}

fn note_script(script: &SessionScript) {
    note_missing(script.original_token_count, &script.output, script.omitted_bytes);
    let session = &script.session;
    let shell = if script.shell_lives { "its shell goes on" } else { "its shell has ended" };
    match script.ended.as_str() {
        "exited" => {}
        "shell_ended" => warn(&format!("the shell of `{session}` has ended, and the script with it")),
        "timed_out" => warn(&format!("the script in `{session}` has timed out: {shell}")),
        _ => warn(&format!("the script in `{session}` was stopped: {shell}")),
    }
}

fn note_missing(tokens: u64, output: &str, omitted_bytes: u64) {
    if tokens > output.len().div_ceil(4) as u64 || omitted_bytes > 0 {
        warn(&format!(
            "the output was cut: it had {tokens} tokens, and {omitted_bytes} bytes more were left out"
        ));
    }
}

fn line(entry: &SessionEntry) -> String {
    let state = match (&entry.ended, entry.exit_code) {
        (None, _) => "running".to_owned(),
        (Some(_), Some(code)) => format!("exited {code}"),
        (Some(ended), None) => ended.replace('_', " "),
    };
    let kind = if entry.tty { "tty" } else { "pipe" };
    format!(
        "{:<20} {state:<10} {kind:<4} {:>10} bytes  {}",
        entry.session,
        entry.output_bytes,
        entry.argv.join(" ")
    )
}

/// Serves the sessions of this repository and user until there is nothing left to do.
fn host(context: &Context, spawner: Option<Spawner>) -> Result<(), CliError> {
    let mut data = Data::exact();
    let mut say = |line: &[u8]| {
        data.bytes(line);
        data.bytes(b"\n");
        data.flush();
    };
    let prepared = privacy::guard(context).and_then(|guard| Ok((guard, desk::host(context)?))).and_then(
        |(guard, host)| match spawner {
            Some(spawner) => Ok((guard, host, spawner)),
            None => Err(CliError::new(Exit::Bug, "this process cannot start programs")),
        },
    );
    let (guard, host, spawner) = match prepared {
        Ok(prepared) => prepared,
        Err(error) => {
            say(error.to_string().as_bytes());
            return Err(error);
        }
    };
    say(HOST_BEGINS);
    let settings = HostSettings {
        idle_timeout: IDLE,
        listener: session_journal(Arc::new(SystemClock), host.logs(), ""),
        redactor: Some(session_redactor(&guard)),
        confiner: Some(desk::confiner(context)?),
    };
    match serve(Arc::new(spawner), &host.endpoint(), settings) {
        // Two were started at once: one is enough.
        Ok(()) | Err(HostError::AlreadyRunning { .. }) => Ok(()),
        Err(error) => Err(CliError::of(Exit::Setup, &error)),
    }
}
