//! What a call gives back.

use std::path::PathBuf;
use std::time::Duration;

use co_model::SandboxPolicy;
use serde::{Deserialize, Serialize};

use crate::{SessionId, SessionSandbox};

/// How a session's program ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SessionExit {
    /// It exited with this code.
    Code(i32),
    /// This signal, not sent to end the session, ended it.
    Signal(i32),
    /// It was ended: killed, pruned, or with its host when that was told to end.
    Killed,
    /// It ran past its time-out and was ended.
    TimedOut,
    /// Nobody saw its end: its host or its supervisor was killed. It is gone all the same.
    Lost,
    /// It could not be followed to its end, for this reason, and was ended.
    Failed(String),
}

/// What a session wrote within a call's time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reply {
    /// Which session.
    pub session: SessionId,
    /// What it wrote since the last reply, cut to the call's tokens; what is no UTF-8 became U+FFFD.
    pub output: String,
    /// How many bytes were left out of the middle because more than [`crate::limits::BUFFER_BYTES`] were unread.
    pub omitted_bytes: u64,
    /// How many tokens the output had before it was cut, at four bytes each.
    pub original_token_count: u64,
    /// How long the call took.
    pub wall_time: Duration,
    /// How the program ended, if it has.
    pub exit: Option<SessionExit>,
    /// Set on a start that had to end another session to make room.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pruned: Option<SessionId>,
    /// Set on a start when [`crate::limits::WARN_SESSIONS`] run or more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warning: Option<String>,
}

/// How a script that ran in a session's shell ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScriptExit {
    /// With this code; the shell goes on.
    Code(i32),
    /// It ended the shell, which ended in this way.
    Shell(SessionExit),
    /// It ran past its time-out and was interrupted.
    TimedOut {
        /// Whether the shell goes on; one that did not answer after the interrupt was killed.
        shell_lives: bool,
    },
    /// Its caller stopped it.
    Stopped {
        /// As for a time-out.
        shell_lives: bool,
    },
}

impl ScriptExit {
    /// The code that the script gave, whether the shell goes on or not.
    pub fn code(&self) -> Option<i32> {
        match self {
            Self::Code(code) | Self::Shell(SessionExit::Code(code)) => Some(*code),
            Self::Shell(_) | Self::TimedOut { .. } | Self::Stopped { .. } => None,
        }
    }
}

/// What a script wrote and how it ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScriptReply {
    /// In which session it ran.
    pub session: SessionId,
    /// Both its streams, in order, and nothing else; cut as in [`Reply`].
    pub output: String,
    /// As in [`Reply`].
    pub omitted_bytes: u64,
    /// As in [`Reply`].
    pub original_token_count: u64,
    /// How long it took.
    pub wall_time: Duration,
    /// How it ended.
    pub exit: ScriptExit,
}

/// One line of a list of sessions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionInfo {
    /// Its name.
    pub session: SessionId,
    /// What may be seen of the program and its arguments; what is no UTF-8 became U+FFFD.
    pub argv: Vec<String>,
    /// Where it was started.
    pub cwd: PathBuf,
    /// Whether it has a terminal.
    pub tty: bool,
    /// The sandbox it runs in; `None` when there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sandbox: Option<SessionSandbox>,
    /// The process id of its first process.
    pub pid: Option<i32>,
    /// When it was started, in milliseconds since the Unix epoch.
    pub started_at: u64,
    /// How many bytes it has written, scripts included.
    pub output_bytes: u64,
    /// The exact output but that of scripts, for [`co_process::OutputLog`].
    pub log: PathBuf,
    /// The index of the log.
    pub index: PathBuf,
    /// How it ended, if it has.
    pub exit: Option<SessionExit>,
}

impl SessionInfo {
    /// What its program may touch: all that its user may, unless it is confined.
    pub fn policy(&self) -> SandboxPolicy {
        self.sandbox.as_ref().map_or(SandboxPolicy::FULL_ACCESS, |sandbox| sandbox.policy.clone())
    }
}
