//! What an agent reported and what we made of it.

use serde::{Deserialize, Serialize};

use crate::ThreadId;

/// Tokens used by a conversation so far; agents report it cumulatively per thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct TokenUsage {
    /// All input tokens.
    pub input: u64,
    /// Input tokens served from the provider's cache.
    pub cached_input: u64,
    /// All output tokens.
    pub output: u64,
    /// Output tokens spent on reasoning.
    pub reasoning_output: u64,
}

/// How a file was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeKind {
    /// Created.
    Add,
    /// Removed.
    Delete,
    /// Edited.
    Update,
}

/// One file an agent says it changed.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FileChange {
    /// Relative to the stage's directory when inside it, else absolute.
    pub path: String,
    /// What happened to it.
    pub kind: ChangeKind,
}

/// Why an agent's turn did not succeed, as far as we could observe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentFailure {
    /// A stable class in kebab case: `not-authenticated`, `rate-limited`, `truncated` …
    pub class: String,
    /// What the agent or the process said.
    pub message: String,
    /// The next step for a person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// Everything recorded about an agent's turn.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct AgentOutcome {
    /// The conversation, to resume it.
    pub thread: Option<ThreadId>,
    /// Cumulative for the thread.
    pub usage: Option<TokenUsage>,
    /// Commands the agent ran, as far as it said so.
    pub commands_run: u32,
    /// Files the agent says it changed.
    #[serde(default)]
    pub reported_changes: Vec<FileChange>,
    /// Files git says have changed since the stage began.
    #[serde(default)]
    pub observed_changes: Vec<FileChange>,
    /// The agent's last message, bounded.
    #[serde(default)]
    pub last_message: Option<String>,
    /// Warnings, bounded in number and length.
    #[serde(default)]
    pub warnings: Vec<String>,
    /// Why the turn is not a success; `None` when it is.
    #[serde(default)]
    pub failure: Option<AgentFailure>,
}
