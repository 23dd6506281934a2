//! The Model Context Protocol, from both sides: runs, their questions and their records for any client, and the
//! tools of the person's own servers for runs.
//!
//! Built on the official SDK, `rmcp`. Both revisions in use are served: 2025-11-25 with its
//! sessions, and 2026-07-28 without. Asynchronous inside, on a runtime of its own; [`serve_stdio`]
//! and [`serve_http`] block until the server ends.
//!
//! The server owns nothing. A run that a client starts belongs to a process of its own
//! ([`Host::send`]), so neither a client that hangs up nor the end of the server stops it. This
//! room never touches the store or a process; it reads the outputs of stages and asks
//! `co-runtime` and its [`Host`] for everything else.
//!
//! The client ([`list_tools`], [`call_tool`], [`bridge`]) starts one server, asks it one thing and ends it, with
//! everything it started. Within a run it is a program of ours under the run's own supervisor
//! (`codex-orchestrator mcp call`), so that it is confined, timed and recorded like any other.

mod caller;
mod client;
mod consent;
mod desk;
mod host;
mod http;
mod lines;
mod resources;
mod server;
mod session;
mod stdio;
mod subscriptions;
mod token;
mod tools;
mod waiting;

pub use client::{Caller as McpCaller, ClientError, ToolInfo, ToolResult, bridge, call_tool, list_tools};
pub use host::{Errand, Host, PlanRequest, Receipt, Refusal, StartErrand};
pub use http::{Access, HttpOptions, serve_http};
pub use session::{
    Listening, SessionAnswer, SessionDone, SessionEntry, SessionErrand, SessionList, SessionReply,
    SessionScript, SessionStart,
};
pub use stdio::serve_stdio;
pub use token::Token;

use std::io;
use std::net::SocketAddr;

/// Why the server did not serve.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The asynchronous runtime could not be set up.
    #[error("failed to set the server up")]
    Runtime {
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The address cannot be listened at.
    #[error("failed to listen at {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The address is not of this machine alone, and nobody said that this is wanted.
    #[error("{address} can be reached from other machines, which must be allowed expressly")]
    NotLoopback {
        /// The address.
        address: SocketAddr,
    },
    /// The client did not open the connection as the protocol wants it.
    #[error("the client did not begin as the protocol wants: {detail}")]
    Handshake {
        /// What it did.
        detail: String,
    },
}

/// A runtime with one thread for the protocol, and some for what blocks.
fn runtime() -> Result<tokio::runtime::Runtime, ServeError> {
    tokio::runtime::Builder::new_current_thread()
        // Reading standard input takes one more.
        .max_blocking_threads(desk::AT_ONCE + 2)
        .thread_name("mcp")
        .enable_all()
        .build()
        .map_err(|source| ServeError::Runtime { source })
}
