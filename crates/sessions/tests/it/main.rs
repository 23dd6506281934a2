//! Real hosts, real shells: what the room promises, seen by a client.
#![expect(clippy::disallowed_methods, reason = "the tests start hosts, as a surface would")]
#![expect(clippy::unwrap_used, reason = "a broken helper is a failed test")]
#![cfg(target_os = "linux")]

mod alone;
mod attach;
mod bad_input;
mod calls;
mod host;
mod lifetime;
mod scripts;
