//! Live sessions: shells and programs that stay, by id, until they end or are ended.
//!
//! ```text
//!  surface ── Connection ──socket──► host ──► Sessions ──► Session ── thread: co_process::run ──► program
//!                                     │          │            └ unread output, taps, events
//!                                     └ ledger   └ at most 64, least recently used first out
//! ```
//!
//! - [`Sessions`] starts programs and keeps them by id; a call returns what they wrote within its yield time.
//! - [`host`] serves one [`Sessions`] on a private socket, so that sessions outlive the command that started them.
//! - [`client`] speaks to a host, starts one when there is none, and attaches to a session.
//! - [`limits`] holds every default and bound, which are those of Codex's unified exec.
//!
//! The room decides nothing about consent, sandboxes or environments: it runs exactly what it is given, in the
//! sandbox that its keeper's [`Confiner`] builds.

#[cfg(not(unix))]
compile_error!("co-sessions needs a Unix: terminals and sockets with owners");

pub mod client;
pub mod host;
pub mod limits;

mod confinement;
mod endpoint;
mod error;
mod event;
mod id;
mod ledger;
mod output;
mod protocol;
mod reply;
mod session;
mod sessions;
mod shell;
mod stream;
mod tap;

pub use confinement::{Confined, Confinement, Confiner, SessionSandbox};
pub use endpoint::Endpoint;
pub use error::{HostError, SessionError};
pub use event::{EventKind, Listener, MakeRedactor, Redactor, SessionEvent};
pub use id::SessionId;
pub use limits::{Until, Wait};
pub use output::truncate;
pub use reply::{Reply, ScriptExit, ScriptReply, SessionExit, SessionInfo};
pub use session::StartSession;
pub use sessions::{Sessions, Settings};
pub use shell::{Script, Sink};
