//! Drivers for coding agents, and the instructions they would read.
//!
//! A [`Driver`] turns an [`AgentRequest`] into a [`Launch`] (a command line, a stdin, a few variables) and reads what
//! the agent prints through a [`Transcript`]. This room never starts a process, never reads a clock and never reads
//! the process's own environment: whoever runs the agent hands in bytes, and afterwards asks [`judge`] what came of
//! it. The only things it touches are programs on `PATH`, which it looks for, and instruction files, which it reads.
//!
//! - [`driver`] — the traits and the agents that are known by name; [`codex`] — Codex, through `codex exec --json`.
//! - [`observation`] and [`report`] — what a transcript says while it grows, and what it came to.
//! - [`verdict`] — what to make of a report together with the way the process ended.
//! - [`instructions`] — which `AGENTS.md` files the agent reads, with hashes.

pub mod codex;
pub mod driver;
pub mod instructions;
mod lines;
pub mod observation;
mod program;
pub mod report;
mod text;
mod thread;
pub mod verdict;

pub use codex::{CodexExec, CodexTranscript};
pub use driver::{AgentRequest, Driver, Launch, PrepareError, SandboxMode, Transcript, driver_for};
pub use observation::AgentObservation;
pub use report::{AgentReport, CommandRecord, ItemStatus, Terminal, Usage};
pub use thread::{InvalidThreadId, ThreadId};
pub use verdict::{AgentExit, AgentVerdict, FailureClass, judge};
