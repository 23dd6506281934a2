//! What a session is told about its sandbox, and the hook that builds one.
//!
//! This room runs what it is given. Who keeps sessions knows how a command line is confined, and what has to be held
//! while the confined program lives.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use co_model::SandboxPolicy;
use serde::{Deserialize, Serialize};

use crate::StartSession;

/// How a program is to be confined.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confinement {
    /// What it may touch.
    pub policy: SandboxPolicy,
    /// The folder that a workspace-write sandbox may write.
    pub workspace: PathBuf,
    /// Folders of ours that it may read, though they lie in what is hidden from it.
    #[serde(default)]
    pub readable: Vec<PathBuf>,
    /// Files and folders that it must not read.
    pub secrets: Vec<PathBuf>,
    /// Whether a weaker sandbox will do when this machine cannot give the whole one.
    pub accept_weaker: bool,
}

/// The sandbox that a session runs in. It is the same as long as the session lives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionSandbox {
    /// What it was asked to be.
    pub policy: SandboxPolicy,
    /// The layers that hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub layers: Vec<String>,
    /// What does not hold although it was asked for, in plain words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weaker: Option<String>,
}

/// Puts the programs of sessions into their sandboxes.
pub trait Confiner: Send + Sync {
    /// Turns the command line of a start into a confined one. `scratch` is the session's own folder, which the
    /// program must be able to write whatever it may touch besides: the scripts it runs report through it.
    ///
    /// # Errors
    /// A sentence that says what is missing; the program is not started then.
    fn confine(&self, start: &StartSession, how: &Confinement, scratch: &Path) -> Result<Confined, String>;
}

/// A confined command line.
pub struct Confined {
    /// What to execute instead.
    pub argv: Vec<OsString>,
    /// Variables to be set besides those of the start.
    pub env: Vec<(OsString, OsString)>,
    /// The layers that hold.
    pub layers: Vec<String>,
    /// What does not hold although it was asked for, in plain words.
    pub weaker: Option<String>,
    /// Dropped once the session and all that it started are gone.
    pub held: Box<dyn Send>,
}
