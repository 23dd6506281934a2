//! Integration tests of the test tools.
#![expect(clippy::unwrap_used, reason = "what is missing here fails the test that asked for it")]

mod fake_agent;
mod model_server;
mod repository;
