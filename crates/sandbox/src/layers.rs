//! What a machine gives for confining programs. Values only; [`crate::Sandbox::probe`] measures them.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// One means of confinement that holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Layer {
    /// Namespaces and mounts, made by bubblewrap.
    Bubblewrap,
    /// A filter of system calls.
    Seccomp,
    /// Landlock, with the version of the kernel's interface.
    Landlock(u32),
    /// The sandbox of macOS.
    Seatbelt,
}

impl fmt::Display for Layer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bubblewrap => formatter.write_str("bubblewrap"),
            Self::Seccomp => formatter.write_str("seccomp"),
            Self::Landlock(version) => write!(formatter, "landlock-{version}"),
            Self::Seatbelt => formatter.write_str("seatbelt"),
        }
    }
}

impl From<Layer> for String {
    fn from(layer: Layer) -> Self {
        layer.to_string()
    }
}

/// The name of no layer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{name}` is no layer of a sandbox")]
pub struct UnknownLayer {
    name: String,
}

impl TryFrom<String> for Layer {
    type Error = UnknownLayer;

    fn try_from(name: String) -> Result<Self, UnknownLayer> {
        match name.as_str() {
            "bubblewrap" => Ok(Self::Bubblewrap),
            "seccomp" => Ok(Self::Seccomp),
            "seatbelt" => Ok(Self::Seatbelt),
            other => match other.strip_prefix("landlock-").map(str::parse) {
                Some(Ok(version)) => Ok(Self::Landlock(version)),
                _ => Err(UnknownLayer { name }),
            },
        }
    }
}

/// What this machine gives, as it was measured by trying. May be kept for the life of a process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layers {
    /// Where bubblewrap is, if it really makes namespaces here; else why not, in plain words.
    pub bubblewrap: Result<PathBuf, String>,
    /// Whether filters of system calls are accepted.
    pub seccomp: bool,
    /// The version of Landlock's interface.
    pub landlock: Option<u32>,
    /// Where macOS's `sandbox-exec` is.
    pub seatbelt: Option<PathBuf>,
}

impl Layers {
    /// What a machine gives that has nothing.
    pub fn none(why: impl Into<String>) -> Self {
        Self { bubblewrap: Err(why.into()), seccomp: false, landlock: None, seatbelt: None }
    }

    /// The layers that are here, strongest first.
    pub fn available(&self) -> Vec<Layer> {
        let bubblewrap = self.bubblewrap.is_ok().then_some(Layer::Bubblewrap);
        let seccomp = self.seccomp.then_some(Layer::Seccomp);
        let landlock = self.landlock.map(Layer::Landlock);
        let seatbelt = self.seatbelt.as_ref().map(|_| Layer::Seatbelt);
        [bubblewrap, seccomp, landlock, seatbelt].into_iter().flatten().collect()
    }

    /// The names of the layers that are here, as manifests spell them: `["bubblewrap", "seccomp", "landlock-7"]`.
    pub fn names(&self) -> Vec<String> {
        self.available().iter().map(Layer::to_string).collect()
    }
}
