//! Decides what came of a turn, from what was observed.
//!
//! Pure: a report, the way the process ended and the tail of its stderr come in, a verdict goes out. Success needs
//! three things at once: the agent said that the turn is complete, the process ended with code 0, and a resumed
//! conversation is the one that was asked for. The texts that tell failures apart are those of Codex 0.169, matched
//! loosely; what is not recognised is still a failure, only of a general class.

use serde::{Deserialize, Serialize};

use crate::report::{AgentReport, Terminal};
use crate::text::shortened;
use crate::thread::ThreadId;

/// Bounds the message of a verdict, in bytes.
const MESSAGE_LIMIT: usize = 2000;

/// Says how an agent's process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum AgentExit {
    /// By itself, with an exit code.
    Code {
        /// The code.
        code: i32,
    },
    /// By a signal that we did not send.
    Signal {
        /// The signal's number.
        signal: i32,
    },
    /// By us, because its time was up.
    TimedOut,
    /// By us, because somebody asked for it.
    Cancelled,
    /// Nobody knows: we were not there to see it.
    Lost,
}

/// Says what came of a turn.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[must_use]
pub enum AgentVerdict {
    /// The turn is complete, as far as the agent's own part goes.
    Succeeded,
    /// The turn is not complete.
    Failed {
        /// What kind of failure it is.
        class: FailureClass,
        /// What happened, mostly in the agent's own words.
        message: String,
        /// What a person can do about it.
        hint: Option<String>,
    },
}

/// Tells failures of a turn apart by what can be done about them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum FailureClass {
    /// The agent has no valid credentials.
    NotAuthenticated,
    /// Too many requests; later they will be taken again.
    RateLimited,
    /// The plan's or the account's limit is used up.
    UsageLimit,
    /// The model's servers are overloaded or failing.
    ModelOverloaded,
    /// The conversation no longer fits the model.
    ContextExceeded,
    /// The connection to the model broke or the answer was not complete.
    StreamDisconnected,
    /// The model's server refused the request as such.
    InvalidRequest,
    /// The agent refused to start: options, configuration or directory.
    InvalidConfiguration,
    /// The agent speaks another version of its protocol, or something else.
    UnsupportedProtocol,
    /// The agent does not work in a directory that is no git repository.
    OutsideRepository,
    /// The conversation that was to be resumed is not there.
    ThreadNotFound,
    /// A resume came back with another conversation; nothing of it is accepted.
    ThreadMismatch,
    /// The process was killed by a signal that we did not send.
    Killed {
        /// The signal's number.
        signal: i32,
    },
    /// Its time was up.
    TimedOut,
    /// Somebody asked for the end.
    Cancelled,
    /// Nobody saw how it ended.
    Lost,
    /// What the program printed is not what the agent prints.
    Garbage,
    /// The output ended without saying how the turn ended.
    Truncated,
    /// The agent said that the turn failed, for a reason of its own.
    TurnFailed,
}

impl FailureClass {
    /// Returns the class as records and retry rules spell it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotAuthenticated => "not-authenticated",
            Self::RateLimited => "rate-limited",
            Self::UsageLimit => "usage-limit",
            Self::ModelOverloaded => "model-overloaded",
            Self::ContextExceeded => "context-exceeded",
            Self::StreamDisconnected => "stream-disconnected",
            Self::InvalidRequest => "invalid-request",
            Self::InvalidConfiguration => "invalid-configuration",
            Self::UnsupportedProtocol => "unsupported-protocol",
            Self::OutsideRepository => "outside-repository",
            Self::ThreadNotFound => "thread-not-found",
            Self::ThreadMismatch => "thread-mismatch",
            Self::Killed { .. } => "killed",
            Self::TimedOut => "timed-out",
            Self::Cancelled => "cancelled",
            Self::Lost => "lost",
            Self::Garbage => "garbage",
            Self::Truncated => "truncated",
            Self::TurnFailed => "turn-failed",
        }
    }

    /// Tells whether the same request may well succeed if it is simply made again later.
    pub fn is_transient(self) -> bool {
        matches!(self, Self::RateLimited | Self::ModelOverloaded | Self::StreamDisconnected)
    }
}

/// Decides what came of a turn.
///
/// `stderr_tail` is the end of the agent's stderr; `expected_thread` is the conversation that was to be resumed.
pub fn judge(
    report: &AgentReport,
    exit: AgentExit,
    stderr_tail: &str,
    expected_thread: Option<&ThreadId>,
) -> AgentVerdict {
    // Before everything else: whatever another conversation did, it is not what was asked for.
    if let Some(found) = mismatch(report, expected_thread) {
        return failed(FailureClass::ThreadMismatch, &found);
    }
    let code = match exit {
        AgentExit::Code { code } => code,
        AgentExit::Signal { signal } => return killed(signal),
        AgentExit::TimedOut => return timed_out(report),
        AgentExit::Cancelled => return failed(FailureClass::Cancelled, "the agent was cancelled"),
        AgentExit::Lost => return failed(FailureClass::Lost, "nobody saw how the agent ended"),
    };
    match &report.terminal {
        Terminal::Completed if code == 0 => AgentVerdict::Succeeded,
        Terminal::Completed => failed(
            FailureClass::TurnFailed,
            &format!("the agent said that the turn is complete, and then exited with code {code}"),
        ),
        Terminal::Failed { message, class } => {
            let message = if message.is_empty() { "the agent gave no reason" } else { message };
            failed(class.or_else(|| classify(message)).unwrap_or(FailureClass::TurnFailed), message)
        }
        Terminal::Interrupted => failed(FailureClass::Cancelled, "the turn was interrupted"),
        Terminal::Missing => judge_unfinished(report, code, stderr_tail),
    }
}

/// Returns what is wrong with the conversation's identity, if anything is.
fn mismatch(report: &AgentReport, expected: Option<&ThreadId>) -> Option<String> {
    if let (Some(first), Some(second)) = (&report.thread_id, &report.conflicting_thread_id) {
        return Some(format!("the agent named two threads, `{first}` and `{second}`"));
    }
    let expected = expected?;
    match &report.thread_id {
        Some(found) if found == expected => None,
        Some(found) => {
            Some(format!("thread `{expected}` was to be resumed, and the agent went on with `{found}`"))
        }
        None if report.terminal == Terminal::Completed => {
            Some(format!("thread `{expected}` was to be resumed, and the agent named none"))
        }
        None => None,
    }
}

/// Judges a process that ended by itself without saying how the turn ended.
fn judge_unfinished(report: &AgentReport, code: i32, stderr_tail: &str) -> AgentVerdict {
    // A shell or a launcher in between reports a signal this way.
    if let signal @ 1..=31 = code - 128 {
        return killed(signal);
    }
    if let Some(message) = &report.dangling_error {
        return failed(classify(message).unwrap_or(FailureClass::TurnFailed), message);
    }
    let printed_nothing = report.known_events == 0
        && report.unknown_types.is_empty()
        && report.garbage_lines == 0
        && report.overlong_lines == 0
        && !report.truncated_last_line;
    if printed_nothing && code != 0 {
        let message = first_reason(stderr_tail)
            .unwrap_or_else(|| format!("the agent exited with code {code} and printed nothing"));
        let class = classify_refusal(stderr_tail).unwrap_or(FailureClass::InvalidConfiguration);
        return failed(class, &message);
    }
    if report.known_events == 0 && (report.garbage_lines > 0 || report.overlong_lines > 0) {
        let sample = report.garbage_sample.as_deref().unwrap_or("a line of more than a megabyte");
        return failed(
            FailureClass::Garbage,
            &format!("the program does not speak as this agent does; it printed `{sample}`"),
        );
    }
    let place = if report.truncated_last_line { "in the middle of a line" } else { "before the turn did" };
    let reason = first_reason(stderr_tail).map(|reason| format!(": {reason}")).unwrap_or_default();
    failed(FailureClass::Truncated, &format!("the agent's output ended {place}, exit code {code}{reason}"))
}

/// Finds the line of stderr that says why the agent did not start.
fn first_reason(stderr: &str) -> Option<String> {
    // Seen on stderr of every piped start, and not a reason for anything.
    let noise = |line: &str| {
        line.is_empty()
            || line.starts_with("WARNING:")
            || line.starts_with("Reading ")
            || line.starts_with("Stack backtrace")
            || line.starts_with("note: run with")
    };
    let mut lines = stderr.lines().map(str::trim).filter(|line| !noise(line));
    let reason = lines.next()?;
    // `Error loading config.toml:` continues on the next line.
    let more = if reason.ends_with(':') { lines.next() } else { None };
    Some(more.map_or_else(|| reason.to_owned(), |more| format!("{reason} {more}")))
}

fn classify_refusal(stderr: &str) -> Option<FailureClass> {
    let text = stderr.to_lowercase();
    let thread = ["thread/resume failed", "no rollout found", "no saved session found"];
    if thread.iter().any(|needle| text.contains(needle)) {
        return Some(FailureClass::ThreadNotFound);
    }
    if text.contains("--skip-git-repo-check was not specified") {
        return Some(FailureClass::OutsideRepository);
    }
    // The start-up texts name options and files, where a bare number or word means little: only credentials count.
    matches_any(&text, NOT_AUTHENTICATED).then_some(FailureClass::NotAuthenticated)
}

const NOT_AUTHENTICATED: &[&str] = &[
    "401 unauthorized",
    "403 forbidden",
    "missing environment variable",
    "not logged in",
    "codex login",
    "log in again",
    "log out and sign in",
    "access token could not be refreshed",
    "invalid_api_key",
];

/// Lists the classes with the texts that tell them; the first match counts, so the special stand before the general.
const TEXTS: &[(FailureClass, &[&str])] = &[
    (FailureClass::NotAuthenticated, NOT_AUTHENTICATED),
    (
        FailureClass::UsageLimit,
        &[
            "usage limit",
            "quota exceeded",
            "insufficient_quota",
            "usage_limit_reached",
            "codex with your chatgpt plan",
        ],
    ),
    (
        FailureClass::RateLimited,
        &["429 too many requests", "rate limit", "rate_limit_exceeded", "too many requests"],
    ),
    (FailureClass::ContextExceeded, &["ran out of room", "context window", "context_length_exceeded"]),
    (
        FailureClass::ModelOverloaded,
        &["high demand", "at capacity", "overloaded", "unexpected status 5", "internal server error"],
    ),
    (
        FailureClass::StreamDisconnected,
        &[
            "stream disconnected",
            "stream closed",
            "incomplete response returned",
            "connection failed",
            "connection refused",
            "connection reset",
            "error sending request",
            "request timed out",
        ],
    ),
    (
        FailureClass::InvalidRequest,
        &[
            "invalid_request_error",
            "unexpected status 4",
            "400 bad request",
            r#"{"error":"#,
            "model is not supported",
        ],
    ),
];

fn classify(message: &str) -> Option<FailureClass> {
    let text = message.to_lowercase();
    TEXTS.iter().find(|(_, needles)| matches_any(&text, needles)).map(|(class, _)| *class)
}

fn matches_any(text: &str, needles: &[&str]) -> bool {
    needles.iter().any(|needle| text.contains(needle))
}

/// Says what the agent was waiting for, if it said so: without a network Codex waits for ever.
fn timed_out(report: &AgentReport) -> AgentVerdict {
    let retry = report.warnings.last().filter(|_| report.terminal == Terminal::Missing);
    let said = retry.map(|warning| format!("; its last warning: {warning}")).unwrap_or_default();
    failed(FailureClass::TimedOut, &format!("the agent's time was up{said}"))
}

fn killed(signal: i32) -> AgentVerdict {
    failed(FailureClass::Killed { signal }, &format!("the agent was killed by signal {signal}"))
}

fn failed(class: FailureClass, message: &str) -> AgentVerdict {
    AgentVerdict::Failed {
        class,
        message: shortened(message, MESSAGE_LIMIT),
        hint: hint(class).map(str::to_owned),
    }
}

fn hint(class: FailureClass) -> Option<&'static str> {
    match class {
        FailureClass::UnsupportedProtocol => {
            Some("`codex-orchestrator agents check` says which versions are known; install one of them")
        }
        FailureClass::NotAuthenticated => Some(
            "log in with the agent's own program (`codex login`, `claude auth login`), or set the API key it reads",
        ),
        FailureClass::RateLimited | FailureClass::ModelOverloaded => {
            Some("resume the run later; the thread continues where it stopped")
        }
        FailureClass::UsageLimit => Some("wait until the limit resets or raise it, then resume the run"),
        FailureClass::ContextExceeded => {
            Some("give the stage a smaller task, and begin anew with `codex-orchestrator retry`")
        }
        FailureClass::StreamDisconnected => Some("check the network, then resume the run"),
        FailureClass::InvalidRequest => Some("check the stage's `model` and the model provider"),
        FailureClass::InvalidConfiguration => {
            Some("run the same command by hand to see the agent's own message in full")
        }
        FailureClass::OutsideRepository => Some(
            "run `git init`, or add `\"arguments\": [\"--skip-git-repo-check\"]` to the stage to let it work without",
        ),
        FailureClass::ThreadNotFound => Some(
            "the thread lives in the agent's home (CODEX_HOME, HOME) that it was begun in; resume with that, or begin anew with `codex-orchestrator retry`",
        ),
        FailureClass::ThreadMismatch => Some("nothing of that turn was accepted; look at what it changed"),
        FailureClass::Killed { signal: 9 } => {
            Some("if nobody sent it, the machine may have run out of memory")
        }
        FailureClass::TimedOut => Some("raise the stage's `timeout`, or give the stage a smaller task"),
        FailureClass::Lost => Some("resume the run; the thread continues where it stopped"),
        FailureClass::Garbage => {
            Some("check that the agent's program on PATH, or CODEX_ORCHESTRATOR_CODEX, is what its name says")
        }
        FailureClass::Killed { .. }
        | FailureClass::Cancelled
        | FailureClass::Truncated
        | FailureClass::TurnFailed => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use FailureClass as Class;

    fn thread(id: &str) -> ThreadId {
        id.parse().unwrap()
    }

    fn completed() -> AgentReport {
        AgentReport {
            thread_id: Some(thread("t-1")),
            terminal: Terminal::Completed,
            known_events: 3,
            ..AgentReport::default()
        }
    }

    fn begun() -> AgentReport {
        AgentReport { terminal: Terminal::Missing, ..completed() }
    }

    fn turn_failed(message: &str) -> AgentReport {
        AgentReport { terminal: Terminal::Failed { message: message.into(), class: None }, ..completed() }
    }

    const OK: AgentExit = AgentExit::Code { code: 0 };
    const ONE: AgentExit = AgentExit::Code { code: 1 };

    #[track_caller]
    fn check(report: &AgentReport, exit: AgentExit, stderr: &str, expected: Class, words: &str) {
        match judge(report, exit, stderr, None) {
            AgentVerdict::Failed { class, message, .. } => {
                assert_eq!(class, expected, "{message}");
                assert!(message.contains(words), "{message}");
            }
            AgentVerdict::Succeeded => panic!("accepted {report:?}"),
        }
    }

    #[test]
    fn success_needs_a_completed_turn_and_code_zero_and_the_right_thread() {
        assert_eq!(judge(&completed(), OK, "ERROR anything", None), AgentVerdict::Succeeded);
        assert_eq!(judge(&completed(), OK, "", Some(&thread("t-1"))), AgentVerdict::Succeeded);
        check(&completed(), ONE, "", Class::TurnFailed, "code 1");
        check(&begun(), OK, "", Class::Truncated, "before the turn did");
    }

    #[test]
    fn another_thread_is_never_accepted_however_it_ended() {
        let unnamed = AgentReport { thread_id: None, ..completed() };
        let two = AgentReport { conflicting_thread_id: Some(thread("t-2")), ..completed() };
        let expected = thread("t-9");
        let exits = [
            OK,
            ONE,
            AgentExit::TimedOut,
            AgentExit::Cancelled,
            AgentExit::Lost,
            AgentExit::Signal { signal: 9 },
        ];
        for exit in exits {
            for report in [&completed(), &begun(), &turn_failed("429 Too Many Requests"), &unnamed] {
                let verdict = judge(report, exit, "", Some(&expected));
                let AgentVerdict::Failed { class, .. } = verdict else { panic!("accepted") };
                assert_eq!(class, Class::ThreadMismatch, "{exit:?} {report:?}");
            }
            check(&two, exit, "", Class::ThreadMismatch, "two threads");
        }
    }

    #[test]
    fn how_the_process_ended_counts_before_what_the_agent_said() {
        for report in [completed(), begun(), turn_failed("x"), AgentReport::default()] {
            check(&report, AgentExit::TimedOut, "", Class::TimedOut, "time");
            check(&report, AgentExit::Cancelled, "", Class::Cancelled, "cancelled");
            check(&report, AgentExit::Lost, "", Class::Lost, "nobody");
            check(&report, AgentExit::Signal { signal: 15 }, "", Class::Killed { signal: 15 }, "15");
        }
        let waiting = AgentReport { warnings: vec!["Reconnecting... waiting for network".into()], ..begun() };
        check(&waiting, AgentExit::TimedOut, "", Class::TimedOut, "waiting for network");
        check(&begun(), AgentExit::Code { code: 137 }, "", Class::Killed { signal: 9 }, "9");
        check(&begun(), AgentExit::Code { code: 101 }, "", Class::Truncated, "101");
    }

    /// The texts are those that Codex 0.169 printed for each condition.
    #[test]
    fn each_failure_of_the_model_has_its_class() {
        let table = [
            (
                "unexpected status 401 Unauthorized: Incorrect API key, url: http://h/v1/responses",
                Class::NotAuthenticated,
            ),
            ("Missing environment variable: `OPENAI_API_KEY`.", Class::NotAuthenticated),
            (
                "You’ve hit your usage limit. Upgrade to Pro (https://chatgpt.com/explore/pro), or try again later.",
                Class::UsageLimit,
            ),
            ("Quota exceeded. Check your plan and billing details.", Class::UsageLimit),
            (
                "To use Codex with your ChatGPT plan, upgrade to Plus: https://chatgpt.com/explore/plus.",
                Class::UsageLimit,
            ),
            ("exceeded retry limit, last status: 429 Too Many Requests", Class::RateLimited),
            ("rate limit exceeded: slow down", Class::RateLimited),
            (
                "We’re currently experiencing high demand, which may cause temporary errors.",
                Class::ModelOverloaded,
            ),
            ("unexpected status 503 Service Unavailable: boom, url: http://h", Class::ModelOverloaded),
            ("Selected model is at capacity. Please try a different model.", Class::ModelOverloaded),
            (
                "Codex ran out of room in the model's context window. Start a new thread",
                Class::ContextExceeded,
            ),
            (
                "stream disconnected before completion: stream closed before response.completed",
                Class::StreamDisconnected,
            ),
            ("Incomplete response returned, reason: max_output_tokens", Class::StreamDisconnected),
            (r#"{"error":{"message":"bad","type":"invalid_request_error"}}"#, Class::InvalidRequest),
            ("unexpected status 404 Not Found: nope, url: http://h", Class::InvalidRequest),
            ("the model said something new", Class::TurnFailed),
        ];
        for (message, class) in table {
            check(&turn_failed(message), ONE, "", class, message);
            let dangling = AgentReport { dangling_error: Some(message.into()), ..begun() };
            check(&dangling, ONE, "", class, message);
        }
        check(&turn_failed(""), ONE, "", Class::TurnFailed, "no reason");
    }

    #[test]
    fn a_refusal_to_start_is_told_in_the_agents_own_words() {
        let table = [
            ("Error: No such file or directory (os error 2)\n", Class::InvalidConfiguration, "No such file"),
            (
                "Error loading config.toml:\n/h/config.toml:6:5: extra `=`, expected nothing\n  |\n",
                Class::InvalidConfiguration,
                "Error loading config.toml: /h/config.toml:6:5",
            ),
            (
                "WARNING: proceeding, even though we could not create PATH aliases\nNot inside a trusted directory and --skip-git-repo-check was not specified.\n",
                Class::OutsideRepository,
                "Not inside a trusted directory",
            ),
            (
                "error: invalid value 'foo' for '--sandbox <SANDBOX_MODE>'\n  [possible values: read-only]\n",
                Class::InvalidConfiguration,
                "invalid value 'foo'",
            ),
            (
                "Reading additional input from stdin...\nError: thread/resume: thread/resume failed: no rollout found for thread id 0 (code -32600)\n",
                Class::ThreadNotFound,
                "no rollout found",
            ),
            ("Not logged in. Run codex login.\n", Class::NotAuthenticated, "Not logged in"),
            ("", Class::InvalidConfiguration, "printed nothing"),
        ];
        for (stderr, class, words) in table {
            check(&AgentReport::default(), ONE, stderr, class, words);
            check(&AgentReport::default(), AgentExit::Code { code: 2 }, stderr, class, words);
        }
        check(&AgentReport::default(), OK, "", Class::Truncated, "exit code 0");
    }

    #[test]
    fn output_that_is_not_codex_or_not_whole_is_told_apart() {
        let garbage = AgentReport {
            garbage_lines: 2,
            garbage_sample: Some("Usage: other".into()),
            truncated_last_line: true,
            ..AgentReport::default()
        };
        check(&garbage, OK, "", Class::Garbage, "Usage: other");
        let overlong = AgentReport { overlong_lines: 1, ..AgentReport::default() };
        check(&overlong, ONE, "", Class::Garbage, "megabyte");
        let cut = AgentReport { truncated_last_line: true, ..begun() };
        check(
            &cut,
            ONE,
            "thread main panicked\n",
            Class::Truncated,
            "middle of a line, exit code 1: thread main",
        );
        let cut = AgentReport { truncated_last_line: true, ..AgentReport::default() };
        check(&cut, OK, "", Class::Truncated, "middle of a line");
    }

    #[test]
    fn what_a_person_can_do_is_said_and_what_may_be_retried_is_known() {
        let AgentVerdict::Failed { hint, .. } = judge(&turn_failed("401 Unauthorized"), ONE, "", None) else {
            panic!("accepted");
        };
        assert!(hint.unwrap().contains("codex login"));
        assert!(Class::RateLimited.is_transient() && !Class::UsageLimit.is_transient());
    }
}
