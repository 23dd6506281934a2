//! Integration tests of the agents' room.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "what is missing here fails the test that asked for it"
)]

mod fuzz;
mod instructions;
mod launch;
mod play;
mod real_codex;
mod transcript;
mod ugly;
