//! Drivers for coding agents, and the instructions they would read.
//!
//! A [`Driver`] turns an [`AgentRequest`] into a [`Launch`] (a command line and a few variables) and speaks with what
//! is started through a [`Dialogue`]: bytes in, bytes out. This room never starts a process, never reads a clock and
//! never reads the process's own environment: whoever runs the agent moves the bytes, and afterwards asks [`judge`]
//! what came of it. The only things it touches are programs on `PATH`, which it looks for, and instructions and
//! skills, which it reads.
//!
//! - [`driver`] — what to start, and the agents that are known by name; [`codex`] — Codex;
//!   [`claude`] — Claude Code; [`acp`] — whatever speaks the Agent Client Protocol.
//! - [`dialogue`] — what is read from an agent and said to it: consents, steering, an end.
//! - [`observation`] and [`report`] — what a dialogue says while it goes on, and what it came to.
//! - [`verdict`] — what to make of a report together with the way the process ended.
//! - [`instructions`] — which `AGENTS.md` files the agent reads, with hashes; [`skills`] — which skills it finds.
//! - [`survey`] — which agents a machine has, and how well they are known.

pub mod acp;
pub mod claude;
pub mod codex;
pub mod dialogue;
pub mod driver;
pub mod instructions;
mod lines;
pub mod observation;
mod program;
mod recorder;
pub mod report;
mod rpc;
pub mod skills;
pub mod survey;
mod text;
mod thread;
pub mod verdict;

pub use acp::{AcpAgent, AcpDialogue};
pub use claude::{ClaudeCode, ClaudeDialogue};
pub use codex::{CodexAppServer, CodexExec, CodexServerDialogue, CodexTranscript};
pub use dialogue::{ConsentDecision, ConsentRequest, Dialogue, Steered, Transcript};
pub use driver::{AgentRequest, Driver, Launch, McpServer, McpServers, PrepareError, driver_for};
pub use observation::AgentObservation;
pub use report::{AgentReport, CommandRecord, Terminal};
pub use thread::{InvalidThreadId, ThreadId};
pub use verdict::{AgentExit, AgentVerdict, FailureClass, judge};
