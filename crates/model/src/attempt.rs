//! One try at a stage and what we observed of it.

use std::collections::BTreeMap;
use std::time::Duration;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use crate::AgentOutcome;
use crate::time::millis;

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks with a reference")]
pub(crate) const fn is_false(value: &bool) -> bool {
    !*value
}

/// How an attempt ended, as observed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AttemptExit {
    /// The program ended by itself.
    Code(i32),
    /// A signal that we did not send ended it.
    Signal(i32),
    /// We ended it because its time was over.
    TimedOut {
        /// The limit in milliseconds.
        after_ms: u64,
    },
    /// We ended it because somebody asked for it.
    Cancelled,
    /// Nobody saw how it ended: we or its supervisor were killed.
    Lost,
    /// It never began: program or directory missing, template or input invalid.
    NotStarted {
        /// What was wrong, with the value.
        reason: String,
    },
    /// It was stopped because its output could no longer be recorded.
    NotRecorded {
        /// What was wrong, with the path.
        reason: String,
    },
}

impl AttemptExit {
    /// The exit code a shell would report: 128 + n for a signal, 124 for a time-out.
    pub fn code(&self) -> Option<i32> {
        match self {
            Self::Code(code) => Some(*code),
            Self::Signal(signal) => Some(128 + signal),
            Self::TimedOut { .. } => Some(124),
            Self::Cancelled | Self::Lost | Self::NotStarted { .. } | Self::NotRecorded { .. } => None,
        }
    }
}

/// How much one output stream carried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct StreamStats {
    /// Bytes recorded.
    pub bytes: u64,
}

/// Where the output of an attempt is and how much there is.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct OutputStats {
    /// Standard output, or the terminal's single stream.
    pub stdout: StreamStats,
    /// Standard error.
    pub stderr: StreamStats,
}

/// A declared output that was there when the attempt ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProducedFile {
    /// Absolute path.
    pub path: String,
    /// Size in bytes.
    pub bytes: u64,
    /// SHA-256 in lower-case hexadecimal.
    pub sha256: String,
}

/// Everything observed of a finished attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptReport {
    /// How it ended.
    pub exit: AttemptExit,
    /// Wall time from spawn to the last byte of output.
    #[serde(with = "millis")]
    pub duration: Duration,
    /// One line for people, at most 240 characters.
    pub summary: String,
    /// How much output there was.
    pub output: OutputStats,
    /// Processes that were still there and had to be killed.
    pub survivors_killed: u32,
    /// Whether the sandbox, as far as can be told, stopped it.
    #[serde(default, skip_serializing_if = "is_false")]
    pub sandbox_denied: bool,
    /// The class of a failure that passes by itself, such as a program that is just being written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transient: Option<String>,
    /// How often the privacy guard has taken something out of the output, by rule.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub redactions: BTreeMap<String, u64>,
    /// Declared outputs by name.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub produced: IndexMap<String, ProducedFile>,
    /// Declared outputs that were missing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing_outputs: Vec<String>,
    /// The agent's part, for an agent stage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<AgentOutcome>,
    /// A planner stage's choice of stages, from its last line of output.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selection: Option<Vec<String>>,
    /// A reviewer or tester stage's own verdict, which can only reject.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub objection: Option<String>,
}

impl AttemptReport {
    /// A report of an attempt that left nothing but the way it ended.
    pub fn new(exit: AttemptExit) -> Self {
        Self {
            exit,
            duration: Duration::ZERO,
            summary: String::new(),
            output: OutputStats::default(),
            survivors_killed: 0,
            sandbox_denied: false,
            transient: None,
            redactions: BTreeMap::new(),
            produced: IndexMap::new(),
            missing_outputs: Vec::new(),
            agent: None,
            selection: None,
            objection: None,
        }
    }
}
