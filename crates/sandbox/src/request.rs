//! What is to be confined, and what came of it: the values around [`crate::Sandbox::wrap`].

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use co_model::SandboxPolicy;

use crate::layers::Layer;
use crate::placeholder::Placeholders;

/// A command line that is to be confined.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The program and its arguments, as they would be executed without a sandbox.
    pub argv: &'a [OsString],
    /// Where it runs, absolute.
    pub cwd: &'a Path,
    /// Its whole environment; only `TMPDIR` is read.
    pub env: &'a [(OsString, OsString)],
    /// The folder that a workspace-write sandbox may write. Must exist.
    pub workspace: &'a Path,
    /// What it may touch.
    pub policy: &'a SandboxPolicy,
    /// Our own executable, absolute: it is entered again as the stages of the sandbox ([`crate::inner::enter`]).
    pub helper: &'a Path,
    /// Files and folders of ours that must not be read: tokens, the event log.
    ///
    /// Name the folder rather than the file where you can: a path that does not exist when the program starts is
    /// not hidden from it.
    pub secrets: &'a [PathBuf],
    /// Folders of ours that may be read, also inside a folder that is hidden; never written.
    pub readable: &'a [PathBuf],
    /// Folders that stay where they are: what is in them may be changed, but none is moved away, and nothing is put
    /// in its place. Those on the way to what is hidden or read-only are held without being named.
    pub held: &'a [PathBuf],
    /// A private folder of ours that the program may write whatever the policy says, also inside a folder that is
    /// hidden from it. Must exist; what lies in it is not to be trusted.
    pub scratch: Option<&'a Path>,
    /// The socket of the [`crate::EgressProxy`]; needed when the network is allow-listed, unused otherwise.
    pub egress: Option<&'a Path>,
    /// Whether a weaker sandbox will do when this machine cannot give the whole one.
    pub accept_weaker: bool,
}

/// A confined command line. Keep it until the program's group has ended.
#[derive(Debug)]
#[must_use = "dropping it takes away the folders that hold the place of protected names"]
pub struct Wrapped {
    /// What to execute instead.
    pub argv: Vec<OsString>,
    /// Variables to be set besides those of the request.
    pub env: Vec<(OsString, OsString)>,
    /// What holds.
    pub layers: Vec<Layer>,
    /// What does not hold although it was asked for, in plain words.
    pub weaker: Option<String>,
    #[expect(dead_code, reason = "held for what its end does")]
    pub(crate) placeholders: Placeholders,
}

/// Why a command line could not be confined.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SandboxError {
    /// This machine cannot give what was asked for, and nothing weaker was accepted.
    #[error("the sandbox is not available here: {missing}")]
    Unavailable {
        /// What is missing.
        missing: String,
    },
    /// The request cannot be passed to any program: a NUL byte, an empty argument list, a relative path.
    #[error("the program's {what} cannot be passed to a sandbox")]
    Unusable {
        /// Which part is at fault.
        what: &'static str,
    },
    /// A folder that is to be writable must not be: it would open the whole machine.
    #[error("`{}` cannot be a writable root: it is, or holds, the system's own interfaces", path.display())]
    ForbiddenRoot {
        /// The folder.
        path: PathBuf,
    },
    /// A path could not be resolved.
    #[error("failed to resolve `{}`", path.display())]
    Resolve {
        /// The path.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The place of a protected name could not be held.
    #[error("failed to hold the place of `{}`", path.display())]
    Placeholder {
        /// The protected path.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The network is allow-listed, and there is no proxy.
    #[error("an allow-listed network needs the socket of an egress proxy")]
    NoEgress,
}
