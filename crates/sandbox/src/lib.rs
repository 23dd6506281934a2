//! Confines programs: which files they may write, what they may reach and see.
//!
//! ```text
//!  Sandbox::wrap ──argv──► launch ──► bwrap ──► confine (pid 1) ──► the program
//!                          carries    namespaces,   capabilities, Landlock,
//!                          the exit   mounts        seccomp; reaps; bridge to the egress proxy
//! ```
//!
//! - [`Sandbox`] measures what this machine gives and turns a command line into a confined one.
//! - [`inner::enter`] is what our own program must call first thing in `main`: the stages `launch` and `confine`
//!   are our own executable again.
//! - [`EgressProxy`] lets a confined program reach the hosts that a rule allows, and no others.
//! - [`escape`] tries to break out, and says what held.
//!
//! **Owner of state.** Nothing is kept between calls. [`Wrapped`] owns what was put into the file system for the
//! time of one program: empty folders that hold the place of protected names, taken away when it is dropped.
//!
//! The room starts no program of the user: whoever called [`Sandbox::wrap`] does, with what it returned. It starts
//! its own stages only, to measure ([`Sandbox::probe`]) and to try ([`escape::run`]).

#[cfg(not(unix))]
compile_error!("co-sandbox needs a Unix");

#[cfg(target_os = "linux")]
mod bubblewrap;
mod egress;
pub mod escape;
pub mod inner;
mod layers;
#[cfg(target_os = "linux")]
mod linux;
mod placeholder;
mod plan;
mod request;
mod sandbox;
// Rendered on macOS only, and tested as text everywhere.
#[cfg(any(test, not(target_os = "linux")))]
mod seatbelt;
#[cfg(target_os = "linux")]
mod sys;

pub use egress::{Egress, EgressError, EgressProxy, EgressVerdict, Resolve, SystemResolver};
pub use layers::{Layer, Layers};
pub use placeholder::sweep;
pub use request::{Request, SandboxError, Wrapped};
pub use sandbox::Sandbox;
