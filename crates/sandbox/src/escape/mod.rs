//! Tries to break out of the sandbox, for real, and says what held.
//!
//! Everything is made for the occasion in a folder of its own: a workspace, files that must stay as they are, a
//! process that must stay alive, servers that nobody may reach. One confined run of our own executable makes all
//! attempts and tells what the system answered; what the host sees afterwards decides as well. Afterwards the folder
//! is gone.
//!
//! The attempts are harmless if one succeeds: they write only what the folder holds, open what belongs to the system
//! without writing to it, and ask the kernel for things that they give back.

#[cfg(target_os = "linux")]
mod arena;
#[cfg(target_os = "linux")]
mod attempts;
#[cfg(target_os = "linux")]
mod run;
#[cfg(target_os = "linux")]
mod survivor;
mod table;

use std::io;
use std::path::{Path, PathBuf};

use co_model::SandboxMode;
use serde::{Deserialize, Serialize};

use crate::layers::Layer;
use crate::request::SandboxError;

#[cfg(target_os = "linux")]
pub(crate) use attempts::attempt_all;
#[cfg(target_os = "linux")]
pub use run::run;
#[cfg(target_os = "linux")]
pub(crate) use survivor::survive;
pub use table::{Escape, suite};

/// The network that the attempts are made with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CourseNetwork {
    /// None.
    Off,
    /// Through the proxy, with no host allowed.
    Allowed,
    /// The host's own.
    On,
}

/// Under which circumstances the attempts are made.
#[derive(Debug, Clone, Copy)]
pub struct Course<'a> {
    /// The sandbox.
    ///
    /// With danger-full-access nothing is confined and the attempts succeed, mounts too: that shows what they are
    /// worth, and is for a mount namespace of one's own only.
    pub mode: SandboxMode,
    /// Its network.
    pub network: CourseNetwork,
    /// As which user and group, which takes privileges; `None` is as ourselves.
    pub user: Option<(u32, u32)>,
    /// Our own executable; `user` must be able to execute it.
    pub helper: &'a Path,
    /// An existing folder in which one is made for the time of the attempts; `user` must be able to reach it.
    pub scratch: &'a Path,
    /// Whether the weaker sandbox is tried when the whole one is not available.
    pub accept_weaker: bool,
}

/// What came of one attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempted {
    /// Which attempt, as [`suite`] names it.
    pub name: String,
    /// What should hold it.
    pub layer: String,
    /// Whether it was held.
    pub held: bool,
    /// What the system answered, or what the host saw.
    pub observed: String,
}

/// What came of all attempts under one [`Course`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempts {
    /// What held, by its own account.
    pub layers: Vec<Layer>,
    /// What does not hold; the attempts that this opens were not made.
    pub weaker: Option<String>,
    /// Every attempt, in the order of [`suite`].
    pub attempts: Vec<Attempted>,
}

impl Attempts {
    /// Whether every attempt was held.
    pub fn all_held(&self) -> bool {
        self.attempts.iter().all(|attempted| attempted.held)
    }
}

/// Why the attempts could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EscapeError {
    /// What is needed around the sandbox could not be made.
    #[error("failed to prepare `{}`", path.display())]
    Prepare {
        /// What.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// There is no such sandbox here.
    #[error("the attempts cannot be confined")]
    Sandbox(#[from] SandboxError),
    /// The proxy could not be started.
    #[error("the proxy could not be started")]
    Egress(#[from] crate::egress::EgressError),
    /// The confined run could not be started or followed.
    #[error("failed to run the attempts")]
    Run(#[source] io::Error),
    /// There is no sandbox whose escapes are known on this system.
    #[error("the attempts are made on Linux only")]
    Unsupported,
}

/// Makes the attempts.
///
/// # Errors
/// [`EscapeError::Unsupported`], always: the attempts know Linux only.
#[cfg(not(target_os = "linux"))]
pub fn run(_sandbox: &crate::Sandbox, _course: &Course<'_>) -> Result<Attempts, EscapeError> {
    Err(EscapeError::Unsupported)
}
