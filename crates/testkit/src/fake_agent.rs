//! The script of `co-fake-agent`: what a coding agent does when it does not behave.
//!
//! The program reads its script from the JSON file that `FAKE_AGENT_SCRIPT` names, and then acts line by line. Its
//! command line is that of `codex exec`, so that a driver can start it in Codex's place.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Names the variable that leads the program to its script.
pub const SCRIPT_VARIABLE: &str = "FAKE_AGENT_SCRIPT";

/// Lists what the fake agent does, in order; after the last action it exits with code 0.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FakeAgentScript {
    /// Where to write what the agent was started with, as a [`FakeAgentRecord`]; written after stdin was read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record: Option<PathBuf>,
    /// Whether SIGTERM and SIGINT do nothing.
    #[serde(default)]
    pub ignores_termination: bool,
    /// The actions.
    pub actions: Vec<Action>,
}

/// Describes one thing that the fake agent does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
pub enum Action {
    /// Prints `thread.started`: with `obey`, the id that the command line resumes, else `id`.
    Thread {
        /// The id of a fresh thread, and of one that does not honour the resume.
        id: String,
        /// Whether a resume is honoured.
        obey: bool,
    },
    /// Prints a whole ordinary turn: start, one command, one file change, a message, completion.
    Turn {
        /// The last message.
        message: String,
    },
    /// Prints one event as a line.
    Event {
        /// The event.
        event: Value,
    },
    /// Prints text as it stands; without a newline at the end this is how to die in mid-line.
    Text {
        /// The text.
        text: String,
    },
    /// Prints one event whose message is `bytes` long, in one line.
    LongLine {
        /// The length of the message.
        bytes: u64,
    },
    /// Prints ordinary events until `bytes` have been written.
    Flood {
        /// How much to write at least.
        bytes: u64,
    },
    /// Prints bytes that are neither JSON nor UTF-8, in lines.
    Garbage {
        /// How much to write.
        bytes: u64,
    },
    /// Writes text to stderr.
    Stderr {
        /// The text.
        text: String,
    },
    /// Starts a child that inherits stdout and stderr and lives until the file `until` exists.
    Child {
        /// The file that ends the child.
        until: PathBuf,
        /// Whether the child leaves for a session of its own.
        new_session: bool,
    },
    /// Writes a file, to tell the test how far the agent has come.
    Touch {
        /// The file.
        path: PathBuf,
    },
    /// Waits until a file exists; a file that never comes means never ending.
    WaitFor {
        /// The file.
        path: PathBuf,
    },
    /// Exits with a code.
    Exit {
        /// The code.
        code: i32,
    },
    /// Kills itself with a signal.
    Kill {
        /// The signal's number.
        signal: i32,
    },
}

/// Holds what the fake agent was started with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FakeAgentRecord {
    /// The arguments after the program's name.
    pub arguments: Vec<String>,
    /// All of stdin.
    pub stdin: String,
    /// The working directory.
    pub cwd: PathBuf,
    /// The names of the environment's variables, sorted; never their values.
    pub environment_names: Vec<String>,
    /// The process id.
    pub pid: u32,
}
