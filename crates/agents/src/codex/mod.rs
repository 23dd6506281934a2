//! Codex: one turn per process through `codex exec --json`, or a conversation through `codex app-server`.
//!
//! Facts the first is built on, seen with Codex 0.169: the event stream is JSON Lines without a version; usage counts
//! the whole thread; an `error` event may be a retry notice; a `resume` of an unknown *name* begins a fresh thread and
//! succeeds, so a resumed thread id is always compared; `exec` never asks for an approval. For the second see
//! [`server`].

mod exec;
pub mod server;
mod transcript;

pub use exec::CodexExec;
pub use server::{CodexAppServer, CodexServerDialogue};
pub use transcript::CodexTranscript;

/// Lists the versions, up to the second number, that this room was tested with.
pub const TESTED_VERSIONS: &[&str] = &["0.169"];
