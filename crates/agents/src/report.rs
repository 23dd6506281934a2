//! What a transcript came to.

use std::collections::BTreeMap;

use co_model::{CallOutcome, FileChange, TokenUsage};
use serde::{Deserialize, Serialize};

use crate::thread::ThreadId;
use crate::verdict::FailureClass;

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
    /// The tokens of the **whole thread** so far, earlier turns included.
    pub usage: Option<TokenUsage>,
    /// What the whole thread has cost so far, in millionths of a dollar, if the agent reckons that.
    pub cost_microdollars: Option<u64>,
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
        /// What kind of failure it is, if the agent names that apart from the message.
        class: Option<FailureClass>,
    },
    /// The agent said that the turn was interrupted.
    Interrupted,
    /// The agent said neither.
    #[default]
    Missing,
}

/// Holds one command that the agent ran.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandRecord {
    /// The command as people write it, without the shell around it.
    pub command: String,
    /// How it ended; none if it outlived the turn.
    pub outcome: Option<CallOutcome>,
}

/// Returns a sum of dollars in millionths; none if it is no sum that anything could cost.
pub(crate) fn microdollars(dollars: f64) -> Option<u64> {
    /// A billion dollars.
    const LIMIT: f64 = 1e15;
    let microdollars = (dollars * 1e6).round();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked to be in range")]
    (0.0..=LIMIT).contains(&microdollars).then_some(microdollars as u64)
}

#[cfg(test)]
mod tests {
    use co_model::ChangeKind;

    use super::*;

    #[test]
    fn a_cost_is_kept_in_millionths_and_nonsense_is_none() {
        assert_eq!(microdollars(0.002_481), Some(2481));
        assert_eq!(microdollars(0.0), Some(0));
        for nonsense in [-1.0, f64::NAN, f64::INFINITY, 1e300] {
            assert_eq!(microdollars(nonsense), None);
        }
    }

    #[test]
    fn a_report_survives_storage_and_old_ones_still_read() {
        let report = AgentReport {
            thread_id: Some("t-1".parse().unwrap()),
            terminal: Terminal::Failed { message: "no".into(), class: Some(FailureClass::UsageLimit) },
            usage: Some(TokenUsage { input: 1, ..TokenUsage::default() }),
            file_changes: vec![FileChange { path: "a".into(), kind: ChangeKind::Add }],
            ..AgentReport::default()
        };
        let text = serde_json::to_string(&report).unwrap();
        assert_eq!(serde_json::from_str::<AgentReport>(&text).unwrap(), report);
        assert_eq!(serde_json::from_str::<AgentReport>("{}").unwrap(), AgentReport::default());
    }
}
