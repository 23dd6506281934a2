//! Test tools of the workspace: nothing here is shipped.
//!
//! - [`ModelServer`] plays a scripted model on loopback, so that the real Codex CLI and the real Claude Code
//!   run end to end offline.
//! - [`CodexHome`] is the isolated configuration that points the real Codex CLI at such a server.
//! - [`ClaudeHome`] does the same for the real Claude Code.
//! - [`fake_agent`] is the script of `co-fake-agent`, a program that speaks Codex's JSONL and misbehaves on command.
//! - [`AcpScript`] is the script of `acp_agent`, an example of `co-agents` that speaks the Agent Client Protocol.
//! - [`HttpReceiver`] takes what is posted to it, and answers as a test tells it to.
//! - [`Repository`] is a temporary git repository that knows nothing of the person who runs the tests.
//!
//! Failures of a test tool are panics with a message that says what to do: a test has no one to report them to.
#![expect(
    clippy::expect_used,
    reason = "a test tool that cannot work must fail the test that uses it, at once and by name"
)]

mod acp_script;
mod claude_home;
mod codex_home;
pub mod fake_agent;
mod http_receiver;
mod model_dialect;
mod model_script;
mod model_server;
mod programs;
mod repository;

pub use acp_script::{ACP_NEW_SESSION, ACP_OLD_SESSION, AcpAction, AcpScript};
pub use claude_home::{CLAUDE_INSTALL_HINT, ClaudeHome, claude_program};
pub use codex_home::{CodexHome, INSTALL_HINT, codex_program};
pub use http_receiver::{HttpReceiver, Reply, Request, Stream, nobody};
pub use model_script::{End, Output, Script, Step, Usage};
pub use model_server::{ModelServer, RecordedRequest};
pub use programs::{example, program};
pub use repository::Repository;
