//! Integration tests of the agents' room.

mod fuzz;
mod instructions;
mod launch;
mod play;
mod real_codex;
mod transcript;
mod ugly;
