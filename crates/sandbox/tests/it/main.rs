//! Real programs in real sandboxes: what the room promises, watched from outside.
#![expect(clippy::disallowed_methods, reason = "the tests start confined programs, and measure from outside")]
#![expect(clippy::unwrap_used, reason = "a broken helper is a failed test")]
#![cfg(target_os = "linux")]

mod confined;
mod escapes;
mod proxy;
mod supervised;
mod weaker;
mod world;
mod wrapping;
