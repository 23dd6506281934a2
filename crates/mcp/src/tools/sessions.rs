//! The tools of live sessions.

use rmcp::model::Tool;
use schemars::JsonSchema;
use serde::Deserialize;

use super::{Given, Kind, Outcome, answer, tool};
use crate::caller::Caller;
use crate::consent::{Consent, consent};
use crate::desk::Desk;
use crate::host::Refusal;
use crate::session::{
    Listening, SessionAnswer, SessionDone, SessionErrand, SessionList, SessionReply, SessionScript,
    SessionStart,
};

/// `session_start`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Start {
    /// The program and its arguments, for instance `["/bin/sh"]`.
    command: Vec<String>,
    /// Its name: letters, digits, `.`, `_` and `-`; one is drawn when none is given.
    name: Option<String>,
    /// Where it runs, absolute or relative to the repository; the repository by default.
    cwd: Option<String>,
    /// Give it a terminal.
    #[serde(default)]
    tty: bool,
    /// Height of the terminal in characters; 24 by default.
    rows: Option<u16>,
    /// Width of the terminal in characters; 80 by default.
    columns: Option<u16>,
    /// How long to wait for output, in milliseconds: 250 to 30000, 10000 by default.
    yield_ms: Option<u64>,
    /// The most tokens of output, at four bytes each; 10000 by default.
    max_output_tokens: Option<usize>,
}

/// `session_write`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Write {
    /// The session.
    session: String,
    /// What the program is given to read, as it is: end a line with a line end.
    text: String,
    /// How long to wait for output, in milliseconds: 250 to 30000, 250 by default.
    yield_ms: Option<u64>,
    /// The most tokens of output, at four bytes each; 10000 by default.
    max_output_tokens: Option<usize>,
}

/// `session_poll`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Poll {
    /// The session.
    session: String,
    /// How long to wait for output or the end, in milliseconds: 5000 to 300000, 5000 by default.
    yield_ms: Option<u64>,
    /// The most tokens of output, at four bytes each; 10000 by default.
    max_output_tokens: Option<usize>,
}

/// `session_run`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Run {
    /// The session; what it runs must be a POSIX shell.
    session: String,
    /// The script.
    script: String,
    /// The longest it may run, in milliseconds; then it is interrupted.
    timeout_ms: Option<u64>,
    /// The most tokens of output, at four bytes each; 10000 by default.
    max_output_tokens: Option<usize>,
}

/// `session_resize`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Resize {
    /// The session.
    session: String,
    /// Height in characters.
    rows: u16,
    /// Width in characters.
    columns: u16,
}

/// `session_signal`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Signal {
    /// The session.
    session: String,
    /// INT, QUIT, TERM, KILL, HUP, USR1, USR2, TSTP, CONT or WINCH.
    signal: String,
}

/// `session_kill`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Kill {
    /// The session.
    session: String,
}

/// `session_list`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct List {}

/// The tools, in the order they are listed.
pub(super) fn all() -> Vec<Tool> {
    vec![
        tool::<Start, SessionReply>(
            "session_start",
            "Start a session",
            Kind::Work,
            "Starts a shell or another program that stays, and returns what it wrote within the wait. It belongs to a process of its own: it goes on when this connection ends.",
        ),
        tool::<Run, SessionScript>(
            "session_run",
            "Run a script in a session",
            Kind::Work,
            "Runs a script inside the shell that a session is, and returns its output and exit code. What it sets (variables, directory) stays set for the next.",
        ),
        tool::<Write, SessionReply>(
            "session_write",
            "Write to a session",
            Kind::Work,
            "Gives a session's program something to read, and returns what it wrote within the wait.",
        ),
        tool::<Poll, SessionReply>(
            "session_poll",
            "Poll a session",
            Kind::Speak,
            "Waits for a session's output or its end, and returns what it wrote since the last reply.",
        ),
        tool::<Resize, SessionDone>(
            "session_resize",
            "Resize a session",
            Kind::Mend,
            "Gives a session's terminal another size.",
        ),
        tool::<Signal, SessionDone>(
            "session_signal",
            "Signal a session",
            Kind::Stop,
            "Sends a signal to what runs in a session.",
        ),
        tool::<List, SessionList>(
            "session_list",
            "List sessions",
            Kind::Look,
            "Lists the live sessions of this repository and user, also those that have ended.",
        ),
        tool::<Kill, SessionReply>(
            "session_kill",
            "End a session",
            Kind::Stop,
            "Ends a session and everything it started, and returns its last output.",
        ),
    ]
}

/// Carries out a tool call; `None` when it is none of these.
pub(super) async fn call(desk: &Desk, caller: &Caller, given: Given<'_>) -> Option<Result<Outcome, Refusal>> {
    let errand = match given.tool {
        "session_start" => given.read().map(|start: Start| {
            SessionErrand::Start(SessionStart {
                name: start.name,
                argv: start.command,
                cwd: start.cwd,
                tty: start.tty,
                rows: start.rows,
                columns: start.columns,
                listen: listening(start.yield_ms, start.max_output_tokens),
            })
        }),
        "session_write" => given.read().map(|write: Write| SessionErrand::Write {
            session: write.session,
            text: write.text,
            listen: listening(write.yield_ms, write.max_output_tokens),
        }),
        "session_poll" => given.read().map(|poll: Poll| SessionErrand::Poll {
            session: poll.session,
            listen: listening(poll.yield_ms, poll.max_output_tokens),
        }),
        "session_run" => given.read().map(|run: Run| SessionErrand::Run {
            session: run.session,
            script: run.script,
            timeout_ms: run.timeout_ms,
            max_output_tokens: run.max_output_tokens,
        }),
        "session_resize" => given.read().map(|resize: Resize| SessionErrand::Resize {
            session: resize.session,
            rows: resize.rows,
            columns: resize.columns,
        }),
        "session_signal" => given
            .read()
            .map(|signal: Signal| SessionErrand::Signal { session: signal.session, signal: signal.signal }),
        "session_kill" => given
            .read()
            .map(|kill: Kill| SessionErrand::Kill { session: kill.session, max_output_tokens: None }),
        "session_list" => given.read().map(|List {}| SessionErrand::List),
        _ => return None,
    };
    Some(match errand {
        Ok(errand) => perform(desk, caller, errand).await,
        Err(refusal) => Err(refusal),
    })
}

fn listening(yield_ms: Option<u64>, max_output_tokens: Option<usize>) -> Listening {
    Listening { yield_ms, until_output: false, max_output_tokens }
}

/// Does it; where the policy wants a person's word, the person at the client is asked first.
async fn perform(desk: &Desk, caller: &Caller, errand: SessionErrand) -> Result<Outcome, Refusal> {
    let tried = errand.clone();
    let reason = match desk.ask(move |host| host.session(&tried, false)).await? {
        SessionAnswer::NeedsConsent { reason } => reason,
        done => return outcome(done),
    };
    let what = serde_json::to_string(&errand).map_err(Refusal::usage)?;
    match consent(caller, &what, &reason).await? {
        Consent::Asked(question) => Ok(Outcome::Asks(question)),
        Consent::Refused => Err(Refusal::new(Refusal::REFUSED, format!("{reason}, and the person said no"))),
        Consent::Given => outcome(desk.ask(move |host| host.session(&errand, true)).await?),
    }
}

fn outcome(done: SessionAnswer) -> Result<Outcome, Refusal> {
    match done {
        SessionAnswer::Reply(reply) => answer(Ok(reply)),
        SessionAnswer::Script(script) => answer(Ok(script)),
        SessionAnswer::List(list) => answer(Ok(list)),
        SessionAnswer::Done(done) => answer(Ok(done)),
        SessionAnswer::NeedsConsent { reason } => Err(Refusal::new(Refusal::REFUSED, reason)),
    }
}
