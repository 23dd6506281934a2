//! What can go wrong with a session, and with a host of sessions.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use co_process::{InputError, RunError};

use crate::SessionId;

/// Why something could not be done with a session.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SessionError {
    /// The name is no name of a session.
    #[error("`{text}` is not a session id (1 to 64 of A-Z a-z 0-9 . _ -)")]
    InvalidId {
        /// The name.
        text: String,
    },
    /// There is no such session; it may have been pruned.
    #[error("unknown session `{id}`")]
    Unknown {
        /// Its name.
        id: SessionId,
    },
    /// The name is taken by a session that still runs.
    #[error("the session `{id}` exists already")]
    Taken {
        /// Its name.
        id: SessionId,
    },
    /// The program could not be put into its sandbox, and was not started.
    #[error("the session `{id}` cannot be confined: {reason}")]
    Confine {
        /// Its name.
        id: SessionId,
        /// What is missing.
        reason: String,
    },
    /// The program could not be started.
    #[error("the session `{id}` did not start")]
    Start {
        /// Its name.
        id: SessionId,
        /// Why.
        #[source]
        source: RunError,
    },
    /// The program cannot be told that: its input is closed, it has no terminal, or it has ended.
    #[error("the session `{id}` cannot be told that")]
    Input {
        /// Its name.
        id: SessionId,
        /// Why.
        #[source]
        source: InputError,
    },
    /// What runs in the session did not take a script: it is no shell, or it is busy.
    #[error("the session `{id}` did not take the script within {patience:?}: it is busy, or no shell")]
    NotAShell {
        /// Its name.
        id: SessionId,
        /// How long it had.
        patience: Duration,
    },
    /// The session was told to end, and did not within the patience; it is still being killed.
    #[error("the session `{id}` did not end within {patience:?} of being killed")]
    Survivors {
        /// Its name.
        id: SessionId,
        /// How long was waited.
        patience: Duration,
    },
    /// The host is ending and starts nothing more.
    #[error("no more sessions are started: the host is ending")]
    Ending,
    /// The system refused something.
    #[error("failed to {step}")]
    System {
        /// What was tried.
        step: &'static str,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// Why a host could not serve.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HostError {
    /// Another host serves there already: nothing is wrong, this one is not needed.
    #[error("a host serves `{}` already", directory.display())]
    AlreadyRunning {
        /// The directory of its socket.
        directory: PathBuf,
    },
    /// The directory is not ours alone, so whoever else may enter it could pose as the host.
    #[error("`{}` is not a directory of this user alone", directory.display())]
    NotPrivate {
        /// The directory.
        directory: PathBuf,
    },
    /// A file of the host could not be made, read or written.
    #[error("failed to {step} `{}`", path.display())]
    File {
        /// What was tried.
        step: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The socket could not be waited for.
    #[error("failed to wait for clients")]
    Wait {
        /// What the system said.
        #[source]
        source: io::Error,
    },
}
