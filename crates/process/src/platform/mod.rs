//! What differs between operating systems, behind one set of small functions.
//!
//! `linux.rs` finds and contains every descendant; `other.rs` knows the process group only. Both offer the same
//! names, and the rest of the room never asks which one it has.

use std::fmt;

#[cfg(target_os = "linux")]
mod linux;
#[cfg(not(target_os = "linux"))]
mod other;

#[cfg(target_os = "linux")]
pub(crate) use linux::*;
#[cfg(not(target_os = "linux"))]
pub(crate) use other::*;

/// Room asked for in an output pipe, and the most that any holds.
///
/// Measured: more than a few reads of room makes nothing faster, and Linux lets an ordinary user have 64 MiB of
/// enlarged pipes in all, which 200 programs have to share.
pub(crate) const PIPE_BYTES: usize = 256 << 10;

/// What this platform promises about the processes that a program leaves behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Containment {
    /// Every descendant is found and ended: `setsid`, double forks and cleared environments do not escape.
    ///
    /// Linux: each supervisor is a child subreaper, so orphans come back to it, and leaders die with it.
    Descendants,
    /// Only the leader's process group is ended; a process that makes its own session escapes.
    ProcessGroup,
}

impl fmt::Display for Containment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Descendants => "every descendant of a stage is found and ended",
            Self::ProcessGroup => {
                "a stage's process group is ended; a process that makes its own session escapes"
            }
        })
    }
}

/// Returns what this platform promises about the processes that a program leaves behind.
pub const fn containment() -> Containment {
    CONTAINMENT
}
