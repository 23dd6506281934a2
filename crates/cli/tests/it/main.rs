//! The built program, driven from outside as its users drive it.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on must fail")]

mod agents;
mod calls;
mod commands;
mod exec;
mod faults;
mod mcp;
mod prompt;
mod screen;
mod sdk;
mod session;
mod support;
mod telemetry;
mod terminal;
