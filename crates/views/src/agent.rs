//! What is known of an agent's work, as manifests and events show it.

use co_engine::StageRecord;
use co_model::{AgentOutcome, AgentStage, FileChange, TokenUsage};
use schemars::JsonSchema;
use serde::Serialize;

use crate::attempt::report;
use crate::words::ChangeWord;

/// An agent's part in a stage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct AgentView {
    /// Which agent.
    pub agent: String,
    /// The conversation, in the agent's own words; known from the moment the agent names it.
    pub thread_id: Option<String>,
    /// Tokens used by the conversation so far.
    pub usage: Option<Usage>,
    /// Files the agent's turns changed.
    pub changed_files: ChangedFiles,
    /// Commands the agent says it ran in the conversation.
    pub commands_run: u32,
    /// The agent's last message, bounded.
    pub last_message: Option<String>,
    /// Why its last turn is not a success.
    pub failure: Option<AgentFailureView>,
    /// Warnings of its last turn.
    pub warnings: Vec<String>,
}

/// One turn of an agent.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct AgentTurnView {
    /// The conversation, in the agent's own words.
    pub thread_id: Option<String>,
    /// Tokens used by the conversation so far.
    pub usage: Option<Usage>,
    /// Files the turn changed.
    pub changed_files: ChangedFiles,
    /// Commands the agent says it ran in the turn.
    pub commands_run: u32,
    /// The agent's last message, bounded.
    pub last_message: Option<String>,
    /// Why the turn is not a success.
    pub failure: Option<AgentFailureView>,
    /// Warnings of the turn.
    pub warnings: Vec<String>,
}

/// Tokens used by a conversation so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Usage {
    /// All input tokens.
    pub input_tokens: u64,
    /// Input tokens served from the provider's cache.
    pub cached_input_tokens: u64,
    /// All output tokens.
    pub output_tokens: u64,
    /// Output tokens spent on reasoning.
    pub reasoning_output_tokens: u64,
}

/// Changed files, by who says so.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct ChangedFiles {
    /// What the agent says it changed.
    pub reported: Vec<ChangedFile>,
    /// What git shows has changed since the stage began.
    pub observed: Vec<ChangedFile>,
}

/// One changed file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct ChangedFile {
    /// Relative to the stage's directory when inside it, else absolute.
    pub path: String,
    /// What happened to it.
    pub change: ChangeWord,
}

/// Why an agent's turn is not a success.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct AgentFailureView {
    /// A stable class in kebab case: `not-authenticated`, `rate-limited`, `truncated` …
    pub class: String,
    /// What the agent or its process said.
    pub message: String,
    /// The next step for a person.
    pub hint: Option<String>,
}

impl From<TokenUsage> for Usage {
    fn from(usage: TokenUsage) -> Self {
        Self {
            input_tokens: usage.input,
            cached_input_tokens: usage.cached_input,
            output_tokens: usage.output,
            reasoning_output_tokens: usage.reasoning_output,
        }
    }
}

impl Usage {
    /// Input and output tokens together; the other two are parts of these.
    pub const fn total(self) -> u64 {
        self.input_tokens.saturating_add(self.output_tokens)
    }
}

impl From<&FileChange> for ChangedFile {
    fn from(change: &FileChange) -> Self {
        Self { path: change.path.clone(), change: change.kind.into() }
    }
}

/// Shows one turn of an agent.
pub(crate) fn turn_view(outcome: &AgentOutcome) -> AgentTurnView {
    let files = |changes: &[FileChange]| changes.iter().map(ChangedFile::from).collect();
    AgentTurnView {
        thread_id: outcome.thread.as_ref().map(ToString::to_string),
        usage: outcome.usage.map(Usage::from),
        changed_files: ChangedFiles {
            reported: files(&outcome.reported_changes),
            observed: files(&outcome.observed_changes),
        },
        commands_run: outcome.commands_run,
        last_message: outcome.last_message.clone(),
        failure: outcome.failure.as_ref().map(|failure| AgentFailureView {
            class: failure.class.clone(),
            message: failure.message.clone(),
            hint: failure.hint.clone(),
        }),
        warnings: outcome.warnings.clone(),
    }
}

/// Shows an agent's part in a stage: its last turn, with what the earlier turns of the same
/// conversation did.
pub(crate) fn agent_view(definition: &AgentStage, record: &StageRecord) -> AgentView {
    let turns: Vec<&AgentOutcome> =
        record.attempts.iter().filter_map(|attempt| report(attempt)?.agent.as_ref()).collect();
    let last = turns.last().map(|turn| turn_view(turn)).unwrap_or_default();
    let thread = record.thread.as_ref().or_else(|| turns.last()?.thread.as_ref());
    // Without a name for the conversation nothing says which turns belong together.
    let conversation: Vec<&AgentOutcome> = match thread {
        Some(thread) => turns.into_iter().filter(|turn| turn.thread.as_ref() == Some(thread)).collect(),
        None => turns.into_iter().next_back().into_iter().collect(),
    };
    AgentView {
        agent: definition.agent.clone(),
        thread_id: thread.map(ToString::to_string),
        usage: conversation.iter().rev().find_map(|turn| turn.usage).map(Usage::from),
        changed_files: ChangedFiles {
            reported: last_word(conversation.iter().flat_map(|turn| &turn.reported_changes)),
            observed: last.changed_files.observed,
        },
        commands_run: conversation.iter().fold(0, |sum, turn| turn.commands_run.saturating_add(sum)),
        last_message: last.last_message,
        failure: last.failure,
        warnings: last.warnings,
    }
}

/// One entry per path, in order of first appearance, with what happened to it last.
fn last_word<'a>(changes: impl Iterator<Item = &'a FileChange>) -> Vec<ChangedFile> {
    let mut files: Vec<ChangedFile> = Vec::new();
    for change in changes {
        match files.iter_mut().find(|file| file.path == change.path) {
            Some(known) => known.change = change.kind.into(),
            None => files.push(change.into()),
        }
    }
    files
}
