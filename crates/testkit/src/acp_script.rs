//! The script of `acp_agent`, an example of `co-agents`: an agent that speaks the Agent Client Protocol, and misbehaves on command.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Names the session that a scripted agent opens.
pub const ACP_NEW_SESSION: &str = "s-new";
/// Names the one session that a scripted agent knows from before.
pub const ACP_OLD_SESSION: &str = "s-old";

/// Describes what a scripted agent can, and what it does in each turn.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AcpScript {
    /// Answers `initialize` with this result as it stands, instead of the truth.
    pub initialize: Option<Value>,
    /// Whether it can load a session, telling its past again.
    pub load: bool,
    /// Whether it can resume a session in silence.
    pub resume: bool,
    /// Whether it wants a log-in before it opens a session.
    pub needs_login: bool,
    /// What it does in each turn; a further turn only ends.
    pub turns: Vec<Vec<AcpAction>>,
}

/// Describes one thing that a scripted agent does in a turn.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum AcpAction {
    /// Sends an update of the session, in the protocol's own words.
    Update {
        /// The update.
        update: Value,
    },
    /// Says something.
    Say {
        /// The text.
        text: String,
    },
    /// Asks for permission, then says which option was chosen and ends the call accordingly.
    Ask {
        /// The call, in the protocol's own words.
        call: Value,
        /// The kinds of the options it offers; each is also the option's id.
        options: Vec<String>,
    },
    /// Waits until the turn is cancelled, and ends it so.
    AwaitCancel,
    /// Ends the turn for this reason.
    Stop {
        /// The reason, in the protocol's own words.
        reason: String,
    },
    /// Refuses the prompt.
    Refuse {
        /// The number of the error.
        code: i32,
        /// The text.
        message: String,
    },
    /// Writes bytes to stdout as they stand.
    Raw {
        /// The bytes, as text.
        text: String,
    },
    /// Says one word again and again until so many bytes are written.
    Flood {
        /// The bytes.
        bytes: usize,
    },
    /// Never answers the prompt.
    Silence,
    /// Ends the process at once.
    Exit {
        /// The exit code.
        code: i32,
    },
}

impl AcpScript {
    /// Returns a script with these turns and no abilities.
    pub fn new(turns: impl IntoIterator<Item = Vec<AcpAction>>) -> Self {
        Self { turns: turns.into_iter().collect(), ..Self::default() }
    }

    /// Writes the script into a folder and returns the file, the one argument of `acp_agent`.
    ///
    /// # Panics
    /// If it cannot be written.
    pub fn write(&self, folder: &Path) -> PathBuf {
        let path = folder.join("acp-script.json");
        let text = serde_json::to_string(self).expect("a script is JSON");
        fs::write(&path, text).expect("the script can be written");
        path
    }
}
