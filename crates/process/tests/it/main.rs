//! Real programs, real signals: what the room promises, watched from outside.
#![expect(
    clippy::disallowed_methods,
    reason = "the tests start the probe, and victims that nothing of ours knows"
)]
#![expect(clippy::unwrap_used, reason = "a broken helper is a failed test")]
#![cfg(target_os = "linux")]

mod containment;
mod entry;
mod exits;
mod handover;
mod live;
mod output;
mod probe;
mod recovery;
mod terminal;
mod tool;
