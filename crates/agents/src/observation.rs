//! What a transcript says while it grows.

use serde::{Deserialize, Serialize};

use crate::report::{FileChange, ItemStatus, Usage};
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

/// Holds one entry of an agent's list of things to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TodoItem {
    /// What is to be done.
    pub text: String,
    /// Whether the agent ticked it off.
    pub completed: bool,
}
