//! What people and surfaces ask of a run that already exists.

use serde::{Deserialize, Serialize};

use crate::{Actor, CallId, CommandKey, GrantScope, StageId, Timestamp};

/// A request to a run, sent through its inbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case")]
pub enum Command {
    /// Stops the run and everything it started.
    Cancel {
        /// Why, for the record.
        #[serde(default)]
        reason: Option<String>,
    },
    /// Answers an open question: of a gate, or about a tool call.
    Answer {
        /// The stage that asks; `None` when exactly one question is open.
        stage: Option<StageId>,
        /// The call it is about; `None` when exactly one question of the stage is open.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        call: Option<CallId>,
        /// How far a yes to a call reaches.
        #[serde(default, skip_serializing_if = "GrantScope::is_once")]
        scope: GrantScope,
        /// Yes or no.
        verdict: Verdict,
        /// Why, for the record.
        #[serde(default)]
        reason: Option<String>,
    },
    /// Gives a running agent a further message; it is delivered as the next turn of its thread.
    Steer {
        /// The agent stage; `None` when exactly one is running.
        stage: Option<StageId>,
        /// What to tell the agent.
        message: String,
    },
}

/// Yes or no.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Yes.
    Approve,
    /// No.
    Deny,
}

/// A command with who sent it, when, and its idempotency key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Envelope {
    /// A repeated key is answered with the first result.
    pub key: CommandKey,
    /// Who asked.
    pub actor: Actor,
    /// When it was sent.
    pub sent_at: Timestamp,
    /// What was asked.
    pub command: Command,
}
