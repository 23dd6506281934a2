//! Codex, one turn per process, through `codex exec --json`.
//!
//! Facts this room is built on, seen with Codex 0.169: the event stream is JSON Lines without a version; usage counts
//! the whole thread; an `error` event may be a retry notice; a `resume` of an unknown *name* begins a fresh thread and
//! succeeds, so a resumed thread id is always compared; `exec` never asks for an approval.

mod exec;
mod transcript;

pub use exec::CodexExec;
pub use transcript::CodexTranscript;
