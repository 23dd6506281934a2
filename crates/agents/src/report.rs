//! What a transcript came to.

use std::collections::BTreeMap;

use co_model::FileChange;
use serde::{Deserialize, Serialize};

use crate::thread::ThreadId;

/// Sums up everything that one agent process printed.
///
/// It holds what the agent said about itself, in bounded memory; it decides nothing. Lists keep their first entries
/// and count the rest.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AgentReport {
    /// The conversation, if the agent named it.
    pub thread_id: Option<ThreadId>,
    /// A second, different conversation, if the agent named one; such a report is never a success.
    pub conflicting_thread_id: Option<ThreadId>,
    /// How the turn ended, according to the agent.
    pub terminal: Terminal,
    /// The tokens of the **whole thread** so far, earlier turns included; see [`Usage::since`].
    pub usage: Option<Usage>,
    /// The commands that the agent ran, in the order in which they started.
    ///
    /// Codex does not print calls that its sandbox or its rules refuse early, so this is not a full audit record.
    pub commands: Vec<CommandRecord>,
    /// How many further commands there were.
    pub commands_omitted: u64,
    /// The files that the agent changed through its patch tool, each once, sorted by path.
    ///
    /// Changes made by commands are not among them: what really changed is for version control to say.
    pub file_changes: Vec<FileChange>,
    /// How many further files there were, counted once per mention.
    pub file_changes_omitted: u64,
    /// The last thing the agent said.
    pub last_message: Option<String>,
    /// What went wrong without ending the turn.
    pub warnings: Vec<String>,
    /// How many further warnings there were, repetitions included.
    pub warnings_omitted: u64,
    /// An error that was the last word of the stream, if neither a completion nor a failure followed it.
    pub dangling_error: Option<String>,
    /// How many events were understood.
    pub known_events: u64,
    /// How many events and items of unknown types there were, by type; they are ignored.
    pub unknown_types: BTreeMap<String, u64>,
    /// How many lines were no event at all.
    pub garbage_lines: u64,
    /// The beginning of the first such line.
    pub garbage_sample: Option<String>,
    /// How many lines were dropped unread because they were too long.
    pub overlong_lines: u64,
    /// Whether the stream ended in the middle of a line.
    pub truncated_last_line: bool,
}

/// Says how a turn ended, according to the agent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Terminal {
    /// The agent said that the turn is complete.
    Completed,
    /// The agent said that the turn failed.
    Failed {
        /// Why.
        message: String,
    },
    /// The agent said neither.
    #[default]
    Missing,
}

/// Counts tokens, as Codex reports them: for the thread as a whole, not for one turn.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Usage {
    /// All input tokens, cached ones included.
    pub input_tokens: u64,
    /// Input tokens that were read from a cache.
    pub cached_input_tokens: u64,
    /// Input tokens that were written to a cache.
    pub cache_write_input_tokens: u64,
    /// All output tokens, reasoning included.
    pub output_tokens: u64,
    /// Output tokens that were spent on reasoning.
    pub reasoning_output_tokens: u64,
}

impl Usage {
    /// Returns what was used after `previous`, the count that the same thread reported before.
    ///
    /// Without a previous count, or if any count went back (the thread was begun anew), that is all of it.
    #[must_use]
    pub fn since(&self, previous: Option<&Self>) -> Self {
        let difference = previous.and_then(|previous| {
            Some(Self {
                input_tokens: self.input_tokens.checked_sub(previous.input_tokens)?,
                cached_input_tokens: self.cached_input_tokens.checked_sub(previous.cached_input_tokens)?,
                cache_write_input_tokens: self
                    .cache_write_input_tokens
                    .checked_sub(previous.cache_write_input_tokens)?,
                output_tokens: self.output_tokens.checked_sub(previous.output_tokens)?,
                reasoning_output_tokens: self
                    .reasoning_output_tokens
                    .checked_sub(previous.reasoning_output_tokens)?,
            })
        });
        difference.unwrap_or(*self)
    }
}

/// Holds one command that the agent ran.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandRecord {
    /// The command as the agent prints it, quoted for a shell.
    pub command: String,
    /// The exit code, if the command ran and ended by itself.
    pub exit_code: Option<i64>,
    /// How it ended; still in progress if it outlived the turn.
    pub status: ItemStatus,
}

/// Says how far something is that the agent does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ItemStatus {
    /// Begun, and nothing said about its end.
    InProgress,
    /// Done; for a command, with exit code 0.
    Completed,
    /// Done without success; for a command, with another exit code.
    Failed,
    /// Not done, because a rule or a reviewer refused it.
    Declined,
    /// A status that this version does not know.
    Unknown,
}

#[cfg(test)]
mod tests {
    use co_model::ChangeKind;

    use super::*;

    fn usage(input_tokens: u64, output_tokens: u64) -> Usage {
        Usage { input_tokens, output_tokens, ..Usage::default() }
    }

    #[test]
    fn usage_since_is_the_difference_within_one_thread() {
        assert_eq!(usage(400, 80).since(None), usage(400, 80));
        assert_eq!(usage(400, 80).since(Some(&usage(300, 60))), usage(100, 20));
        assert_eq!(usage(100, 80).since(Some(&usage(300, 60))), usage(100, 80), "the count began anew");
    }

    #[test]
    fn a_report_survives_storage_and_old_ones_still_read() {
        let report = AgentReport {
            thread_id: Some("t-1".parse().unwrap()),
            terminal: Terminal::Failed { message: "no".into() },
            usage: Some(usage(1, 2)),
            file_changes: vec![FileChange { path: "a".into(), kind: ChangeKind::Add }],
            ..AgentReport::default()
        };
        let text = serde_json::to_string(&report).unwrap();
        assert_eq!(serde_json::from_str::<AgentReport>(&text).unwrap(), report);
        assert_eq!(serde_json::from_str::<AgentReport>("{}").unwrap(), AgentReport::default());
    }
}
