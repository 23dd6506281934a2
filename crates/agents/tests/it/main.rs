//! Integration tests of the agents' room.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "what is missing here fails the test that asked for it"
)]

mod acp;
mod claude;
mod fuzz;
mod instructions;
mod launch;
mod play;
mod real_claude;
mod real_codex;
mod real_server;
mod server;
mod survey;
mod talk;
mod transcript;
mod ugly;
