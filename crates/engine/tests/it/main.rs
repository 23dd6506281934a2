//! What the engine decides, driven by scripts and by chance.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

mod agents;
mod consent;
mod gates;
mod nested;
mod planning;
mod random;
mod recovery;
mod resume;
mod retry;
mod scheduling;
mod stopping;
mod verdicts;
mod world;
