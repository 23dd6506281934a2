//! What a transcript says while it grows.

use co_model::FileChange;
use serde::{Deserialize, Serialize};

use crate::report::{ItemStatus, Usage};
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
    /// A command was started.
    CommandStarted {
        /// The command as the agent prints it, quoted for a shell.
        command: String,
    },
    /// A command ended.
    CommandFinished {
        /// The command as the agent prints it, quoted for a shell.
        command: String,
        /// The exit code, if the command ran and ended by itself.
        exit_code: Option<i64>,
        /// How it ended.
        status: ItemStatus,
    },
    /// A change of files ended.
    FilesChanged {
        /// The files.
        changes: Vec<FileChange>,
        /// How it ended; only a completed one changed anything.
        status: ItemStatus,
    },
    /// A tool that is neither the shell nor a patch was called, or a call of it ended.
    ToolCalled {
        /// The tool: `server/tool` for MCP, else the tool's own name.
        tool: String,
        /// How far the call is.
        status: ItemStatus,
    },
    /// The agent searched the web.
    SearchMade {
        /// What for.
        query: String,
    },
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
    /// The tokens used so far, in the whole thread.
    Usage {
        /// The counts.
        usage: Usage,
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
            Self::ThreadKnown { .. } | Self::Usage { .. } => return None,
            Self::TurnStarted => "working".to_owned(),
            Self::Message { text } | Self::Warning { message: text } => first_line(text)?.to_owned(),
            Self::Reasoning { text } => first_line(text)?.trim_matches('*').to_owned(),
            Self::CommandStarted { command } => format!("running {}", script_of(command)),
            Self::CommandFinished { command, exit_code: Some(0), .. } => {
                format!("ran {}", script_of(command))
            }
            Self::CommandFinished { command, exit_code, status } => {
                let how = match (exit_code, status) {
                    (Some(code), _) => format!("exit code {code}"),
                    (None, ItemStatus::Declined) => "declined".to_owned(),
                    (None, _) => "no exit code".to_owned(),
                };
                format!("ran {}: {how}", script_of(command))
            }
            Self::FilesChanged { changes, status: ItemStatus::Completed } => match changes.as_slice() {
                [] => return None,
                [one] => format!("changed {}", one.path),
                [first, rest @ ..] => format!("changed {} and {} more", first.path, rest.len()),
            },
            Self::FilesChanged { .. } => "a change of files did not work".to_owned(),
            Self::ToolCalled { tool, .. } => format!("called {tool}"),
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

/// Takes the shell around a command off: agents print `/bin/bash -lc 'cargo test'`.
fn script_of(command: &str) -> String {
    let script = [" -lc ", " -c "].iter().find_map(|option| {
        let (shell, script) = command.split_once(option)?;
        (shell.ends_with("sh") && !shell.contains(' ')).then_some(script)
    });
    let Some(script) = script else { return command.to_owned() };
    let quoted = |quote: char| script.strip_prefix(quote)?.strip_suffix(quote);
    match (quoted('\''), quoted('"')) {
        (Some(inner), _) => inner.replace(r"'\''", "'"),
        (None, Some(inner)) => inner.to_owned(),
        (None, None) => script.to_owned(),
    }
}

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
        let started = |command: &str| AgentObservation::CommandStarted { command: command.into() }.sentence();
        let table = [
            ("/bin/bash -lc 'cargo test'", "running cargo test"),
            (r"/bin/bash -lc 'echo '\''a'\'''", "running echo 'a'"),
            ("/bin/sh -c \"ls\n  -l\"", "running ls -l"),
            ("/bin/zsh -lc pwd", "running pwd"),
            ("git -c a=b push", "running git -c a=b push"),
        ];
        for (command, sentence) in table {
            assert_eq!(started(command).as_deref(), Some(sentence), "{command}");
        }
        assert!(started(&"x".repeat(1000)).unwrap().len() <= SENTENCE_LIMIT);
        let declined = AgentObservation::CommandFinished {
            command: "rm".into(),
            exit_code: None,
            status: ItemStatus::Declined,
        };
        assert_eq!(declined.sentence().as_deref(), Some("ran rm: declined"));
        let thought = AgentObservation::Reasoning { text: "**Looking around**\n\nmore".into() };
        assert_eq!(thought.sentence().as_deref(), Some("Looking around"));
        assert_eq!(AgentObservation::Message { text: " \n".into() }.sentence(), None);
    }
}
