//! What a transcript says while it grows.

use co_model::{CallOutcome, CallStatus, TokenUsage, ToolUse};
use serde::{Deserialize, Serialize};

use crate::dialogue::ConsentRequest;
use crate::text::shortened;
use crate::thread::ThreadId;

/// Reports one thing that an agent said or did, as soon as it is known.
///
/// Observations are for watching; the truth of a turn is the [`AgentReport`](crate::AgentReport). Every text is
/// bounded and ends in `…` if it was cut.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum AgentObservation {
    /// The conversation's identity: record it at once, it is what a resume needs.
    ThreadKnown {
        /// The identity.
        thread_id: ThreadId,
    },
    /// The agent began to work on the prompt.
    TurnStarted,
    /// The agent said something to the user.
    Message {
        /// What it said.
        text: String,
    },
    /// The agent showed a summary of its reasoning.
    Reasoning {
        /// The summary.
        text: String,
    },
    /// A piece of a message that is still being said; the whole follows as [`Message`](Self::Message).
    MessageDelta {
        /// The piece.
        text: String,
    },
    /// The agent wants consent to something and waits for [`Dialogue::answer`](crate::Dialogue::answer).
    ConsentWanted(Box<ConsentRequest>),
    /// The agent no longer waits for an answer that it asked for and did not get.
    ConsentClosed {
        /// The consent's item.
        item: String,
    },
    /// The agent performs a command, a patch or a call of a tool; consent, where it was wanted, was given before.
    ///
    /// Consent that is wanted after that is for another try, for example outside the sandbox.
    CallStarted {
        /// The agent's own id for it, unique in the turn.
        item: String,
        /// What is done.
        tool: ToolUse,
        /// Where, if the agent says so.
        cwd: Option<String>,
    },
    /// A piece of the output of a call that is still running; bounded, so not always all of it.
    OutputDelta {
        /// The call.
        item: String,
        /// The piece.
        text: String,
    },
    /// A call ended. It started before, unless it was declined: a declined call need not have.
    CallFinished {
        /// The agent's own id for it.
        item: String,
        /// What was done, as it is known now.
        tool: ToolUse,
        /// How it ended; its detail is a line of the call's own output.
        outcome: CallOutcome,
    },
    /// The agent searched the web.
    SearchMade {
        /// What for.
        query: String,
    },
    /// The agent took up the oldest of the messages that it was told within its turn.
    SteerTaken,
    /// The agent's list of things to do changed.
    TodoChanged {
        /// The entries in order.
        items: Vec<TodoItem>,
    },
    /// Something went wrong that did not end the turn, for example a request that is being retried.
    Warning {
        /// What.
        message: String,
    },
    /// The tokens used so far.
    Usage {
        /// The counts of the whole thread.
        usage: TokenUsage,
        /// The counts of the last request to the model, if the agent tells them apart.
        last: Option<TokenUsage>,
    },
    /// The agent says that the turn is complete; what that is worth is for [`judge`](crate::judge).
    TurnCompleted,
    /// The agent says that the turn failed.
    TurnFailed {
        /// Why.
        message: String,
    },
}

/// Bounds a sentence, in bytes; it is one line of a screen.
const SENTENCE_LIMIT: usize = 200;

impl AgentObservation {
    /// Says what the agent does, as one line for people; none for what they need not hear.
    pub fn sentence(&self) -> Option<String> {
        let text = match self {
            Self::ThreadKnown { .. }
            | Self::Usage { .. }
            | Self::MessageDelta { .. }
            | Self::OutputDelta { .. }
            | Self::ConsentClosed { .. } => return None,
            Self::TurnStarted => "working".to_owned(),
            Self::Message { text } | Self::Warning { message: text } => first_line(text)?.to_owned(),
            Self::Reasoning { text } => first_line(text)?.trim_matches('*').to_owned(),
            Self::ConsentWanted(request) => {
                let (to_do, _) = verbs(&request.tool);
                format!("wants consent to {to_do} {}", subject(&request.tool))
            }
            Self::CallStarted { tool, .. } => format!("{} {}", verbs(tool).1, subject(tool)),
            Self::CallFinished { tool, outcome, .. } => finished(tool, outcome),
            Self::SteerTaken => "took up a message".to_owned(),
            Self::SearchMade { query } => format!("searched for {query}"),
            Self::TodoChanged { items } => {
                let done = items.iter().filter(|item| item.completed).count();
                format!("{done} of {} steps done", items.len())
            }
            Self::TurnCompleted => "turn completed".to_owned(),
            Self::TurnFailed { message } => format!("turn failed: {message}"),
        };
        let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
        Some(shortened(&line, SENTENCE_LIMIT))
    }
}

fn first_line(text: &str) -> Option<&str> {
    text.lines().map(str::trim).find(|line| !line.is_empty())
}

/// Names what a call is about, for people: the command, the files or the tool.
pub fn subject(tool: &ToolUse) -> String {
    match tool {
        ToolUse::Command { argv } => command_line(argv),
        ToolUse::Patch { files } => match files.as_slice() {
            [] => "nothing".to_owned(),
            [one] => one.change.path.clone(),
            [first, rest @ ..] => format!("{} and {} more", first.change.path, rest.len()),
        },
        ToolUse::Mcp { server, name, .. } => format!("{server}/{name}"),
        ToolUse::Other { name, .. } => name.clone(),
    }
}

/// Spells a command as people write it: without the shell that agents put around it, quoted where it needs to be.
pub fn command_line(argv: &[String]) -> String {
    match argv {
        [shell, option, script] if shell.ends_with("sh") && matches!(option.as_str(), "-lc" | "-c") => {
            script.clone()
        }
        [one] => one.clone(),
        // Words that cannot be quoted hold a NUL; nothing can execute them, but they can be shown.
        _ => shlex::try_join(argv.iter().map(String::as_str)).unwrap_or_else(|_| argv.join(" ")),
    }
}

/// Returns what is to be done with a call's subject, and what is being done with it.
fn verbs(tool: &ToolUse) -> (&'static str, &'static str) {
    match tool {
        ToolUse::Command { .. } => ("run", "running"),
        ToolUse::Patch { .. } => ("change", "changing"),
        ToolUse::Mcp { .. } | ToolUse::Other { .. } => ("call", "calling"),
    }
}

/// Says how a call ended.
fn finished(tool: &ToolUse, outcome: &CallOutcome) -> String {
    let done = match tool {
        ToolUse::Command { .. } => "ran",
        ToolUse::Patch { .. } => "changed",
        ToolUse::Mcp { .. } | ToolUse::Other { .. } => "called",
    };
    let how = match (outcome.status, outcome.exit_code) {
        (CallStatus::Succeeded, _) => return format!("{done} {}", subject(tool)),
        (CallStatus::Failed | CallStatus::SandboxDenied, Some(code)) => format!("exit code {code}"),
        (CallStatus::Failed, None) => "failed".to_owned(),
        (CallStatus::SandboxDenied, None) => "denied by the sandbox".to_owned(),
        (CallStatus::Declined, _) => "declined".to_owned(),
        (CallStatus::Lost, _) => "nobody saw its end".to_owned(),
    };
    format!("{done} {}: {how}", subject(tool))
}

/// Bounds the entries of an agent's plan that are told.
pub(crate) const MOST_PLAN_ENTRIES: usize = 200;

/// Holds one entry of an agent's list of things to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TodoItem {
    /// What is to be done.
    pub text: String,
    /// Whether the agent ticked it off.
    pub completed: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_is_one_short_line_without_the_shell_around_a_command() {
        let started = |command: &str| {
            let tool = ToolUse::Command { argv: crate::recorder::words_of(command) };
            AgentObservation::CallStarted { item: "item_1".into(), tool, cwd: None }.sentence()
        };
        let table = [
            ("/bin/bash -lc 'cargo test'", "running cargo test"),
            (r"/bin/bash -lc 'echo '\''a'\'''", "running echo 'a'"),
            ("/bin/sh -c \"ls\n  -l\"", "running ls -l"),
            ("/bin/zsh -lc pwd", "running pwd"),
            ("git -c a=b push", "running git -c 'a=b' push"),
            ("grep 'a b'", "running grep 'a b'"),
            ("it's open", "running it's open"),
        ];
        for (command, sentence) in table {
            assert_eq!(started(command).as_deref(), Some(sentence), "{command}");
        }
        assert!(started(&"x".repeat(1000)).unwrap().len() <= SENTENCE_LIMIT);
        let thought = AgentObservation::Reasoning { text: "**Looking around**\n\nmore".into() };
        assert_eq!(thought.sentence().as_deref(), Some("Looking around"));
        assert_eq!(AgentObservation::Message { text: " \n".into() }.sentence(), None);
    }

    #[test]
    fn a_call_is_told_with_its_end() {
        let command = ToolUse::Command { argv: vec!["rm".into()] };
        let tool = ToolUse::Mcp {
            server: "files".into(),
            name: "list".into(),
            arguments: "{}".into(),
            definition: None,
        };
        let table = [
            (&command, CallStatus::Succeeded, Some(0), "ran rm"),
            (&command, CallStatus::Failed, Some(3), "ran rm: exit code 3"),
            (&command, CallStatus::Declined, None, "ran rm: declined"),
            (&command, CallStatus::Lost, None, "ran rm: nobody saw its end"),
            (&tool, CallStatus::Succeeded, None, "called files/list"),
            (&tool, CallStatus::Failed, None, "called files/list: failed"),
        ];
        for (tool, status, exit_code, sentence) in table {
            let outcome = CallOutcome { exit_code, ..crate::recorder::outcome(status) };
            let observation =
                AgentObservation::CallFinished { item: "1".into(), tool: tool.clone(), outcome };
            assert_eq!(observation.sentence().as_deref(), Some(sentence));
        }
    }
}
