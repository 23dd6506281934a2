//! Tool calls: everything that somebody wants done to the world, and the consent to it.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::time::optional_millis;
use crate::{Actor, CallId, FileChange, GrantId, RunId, SandboxPolicy, StageId, TaskId, Timestamp};

/// Something that somebody wants done, with all that a consent to it is bound to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallRequest {
    /// Unique within the run.
    pub call: CallId,
    /// The stage it belongs to.
    pub stage: StageId,
    /// The attempt it was made in, from 1.
    pub attempt: u32,
    /// Who wants it.
    pub origin: CallOrigin,
    /// What is to be done.
    pub tool: ToolUse,
    /// Where, absolute.
    pub cwd: String,
    /// Whether it runs on a terminal.
    #[serde(default)]
    pub tty: bool,
    /// The sandbox it would run in.
    pub sandbox: SandboxPolicy,
    /// The variables that it sets itself, as far as they may be recorded; what it inherits is not among them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// Whether it asks to run outside the sandbox that it would otherwise get.
    #[serde(default)]
    pub escalated: bool,
    /// Why it is wanted, in the words of whoever wants it. Untrusted text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Whether a secret was taken out of what is to be done before it was recorded: two different calls may
    /// look the same, so a consent reaches no further than this one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub sealed: bool,
}

/// Who wants something done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CallOrigin {
    /// The pipeline declares it.
    Stage,
    /// An agent asks for it and performs it itself once it may; with the agent's own id for it.
    Agent(String),
    /// A live session was told to.
    Session(String),
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "tool", rename_all = "snake_case")]
pub enum ToolUse {
    /// Runs a program.
    Command {
        /// The program and its arguments, as they would be executed.
        argv: Vec<String>,
    },
    /// Changes files.
    Patch {
        /// Each file with the SHA-256 of the change to it. Never empty.
        files: Vec<PatchedFile>,
    },
    /// Calls a tool of an MCP server.
    Mcp {
        /// The server.
        server: String,
        /// The tool.
        name: String,
        /// The arguments, JSON.
        arguments: String,
        /// SHA-256 of the server's definition, when it is we who start it; of an agent's server only the
        /// agent knows.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        definition: Option<String>,
    },
    /// Anything else that an agent asks consent for.
    Other {
        /// The agent's name for it.
        name: String,
        /// What was shown, whole.
        input: String,
    },
}

impl ToolUse {
    /// The kind in one word, as events and telemetry spell it.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Command { .. } => "command",
            Self::Patch { .. } => "patch",
            Self::Mcp { .. } => "mcp",
            Self::Other { .. } => "other",
        }
    }
}

/// A file that a patch changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PatchedFile {
    /// What happens to which file.
    #[serde(flatten)]
    pub change: FileChange,
    /// SHA-256 of the change as it was shown, in lower-case hexadecimal.
    pub sha256: String,
}

/// Whether a call may be performed, and on whose word.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallDecision {
    /// Whether it may.
    pub approved: bool,
    /// On whose word.
    pub source: DecisionSource,
    /// The grant it rests on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grant: Option<GrantId>,
    /// Who gave that word, when a person did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor: Option<Actor>,
    /// Why, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// On whose word a call is performed or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DecisionSource {
    /// An earlier consent to the very same thing.
    Cache,
    /// A person, asked now.
    Prompt,
    /// A rule or the policy.
    Policy,
    /// Nobody needs to be asked.
    NotRequired,
}

impl DecisionSource {
    /// The source as events and manifests spell it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cache => "cache",
            Self::Prompt => "prompt",
            Self::Policy => "policy",
            Self::NotRequired => "not-required",
        }
    }
}

/// How a call ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallOutcome {
    /// What became of it.
    pub status: CallStatus,
    /// The exit code of a command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// How long it took, when that was seen.
    #[serde(default, with = "optional_millis", skip_serializing_if = "Option::is_none")]
    pub duration: Option<Duration>,
    /// One line for people, bounded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// What became of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CallStatus {
    /// Done.
    Succeeded,
    /// Done, without success.
    Failed,
    /// The sandbox stopped it.
    SandboxDenied,
    /// Not performed.
    Declined,
    /// Nobody saw its end.
    Lost,
}

/// How far a consent reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GrantScope {
    /// This one call.
    #[default]
    Once,
    /// The same thing in this run and its resumes.
    Run,
    /// The same thing in this session: the runs one program serves until it ends.
    Session,
    /// The same thing in every run of the task.
    Task,
    /// The same thing in this repository, until revoked.
    Always,
}

impl GrantScope {
    /// Whether it is for one time only.
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks with a reference")]
    pub(crate) const fn is_once(&self) -> bool {
        matches!(self, Self::Once)
    }

    /// The scope as commands and listings spell it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Once => "once",
            Self::Run => "run",
            Self::Session => "session",
            Self::Task => "task",
            Self::Always => "always",
        }
    }
}

/// One consent of one person to exactly one thing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// The grant.
    pub id: GrantId,
    /// SHA-256 over everything that was shown: tool, content, place, terminal, variables, permissions.
    pub key: String,
    /// What was shown, for listings; bounded.
    pub shown: String,
    /// How far it reaches.
    pub scope: GrantScope,
    /// The task, run and call it was given in.
    pub task: TaskId,
    /// The run it was given in.
    pub run: RunId,
    /// The session it is limited to, for [`GrantScope::Session`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// Who gave it.
    pub actor: Actor,
    /// Whose run it was given in: beyond that run it serves runs of the same person only. Of a consent from before
    /// this was kept nobody knows, and it serves everybody's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub starter: Option<Actor>,
    /// When.
    pub given_at: Timestamp,
    /// Not after this instant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// How often it may still be used; `None` is without a limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uses_left: Option<u32>,
    /// When it was taken back, and by whom.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked: Option<Revocation>,
}

impl Grant {
    /// Names a consent after the call it is given to; a call of several keys has several, numbered from 1.
    pub fn id_of(run: &RunId, call: &CallId, number: usize) -> GrantId {
        GrantId(format!("{run}/{call}/{number}"))
    }

    /// Whether it was given to this call of its run.
    pub fn is_for(&self, call: &CallId) -> bool {
        let named = self.id.0.rsplit_once('/').map(|(named, _)| named);
        named.and_then(|named| named.strip_prefix(self.run.as_str())?.strip_prefix('/')) == Some(&call.0)
    }
}

/// Says that a consent was taken back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revocation {
    /// Who.
    pub actor: Actor,
    /// When.
    pub at: Timestamp,
}
