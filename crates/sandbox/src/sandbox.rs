//! Turns a command line into a confined one, with what this machine gives.

use std::path::Path;

use co_model::SandboxMode;

use crate::layers::Layers;
#[cfg(target_os = "linux")]
use crate::linux as platform;
use crate::placeholder::Placeholders;
use crate::plan::Plan;
use crate::request::{Request, SandboxError, Wrapped};
#[cfg(not(target_os = "linux"))]
use crate::seatbelt as platform;

/// The layers of this machine, ready to confine programs. Cheap to clone and to share.
#[derive(Debug, Clone)]
pub struct Sandbox {
    layers: Layers,
}

impl Sandbox {
    /// Builds on layers that were measured before, or that a test wants to be missing.
    pub fn new(layers: Layers) -> Self {
        Self { layers }
    }

    /// Measures what this machine gives, by trying it: it confines `helper`, our own executable, and looks.
    ///
    /// `search_path` is where bubblewrap is looked for, the value of `PATH`. Takes some milliseconds and at most
    /// a few seconds; keep the answer for the life of the process.
    pub fn probe(search_path: &std::ffi::OsStr, helper: &Path) -> Self {
        Self::new(crate::inner::probe(search_path, helper))
    }

    /// What this machine gives.
    pub fn layers(&self) -> &Layers {
        &self.layers
    }

    /// Turns a command line into a confined one.
    ///
    /// With danger-full-access, nothing changes. Else the answer states which layers hold, and in plain words what
    /// does not although it was asked for. Empty folders may be made for the time that the answer lives.
    ///
    /// # Errors
    /// [`SandboxError::Unavailable`] if this machine cannot give what was asked for and nothing weaker was
    /// accepted; else see [`SandboxError`].
    pub fn wrap(&self, request: &Request<'_>) -> Result<Wrapped, SandboxError> {
        if request.policy.mode == SandboxMode::DangerFullAccess {
            return Ok(Wrapped {
                argv: request.argv.to_vec(),
                env: Vec::new(),
                layers: Vec::new(),
                weaker: None,
                placeholders: Placeholders::default(),
            });
        }
        platform::confine(&self.layers, Plan::resolve(request)?, request)
    }
}
