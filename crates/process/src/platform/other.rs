//! Other Unixes: the leader's process group, looked at now and then.
//!
//! There is no subreaper, no parent-death signal and no `/proc`: a process that makes its own session escapes,
//! and [`super::containment`] says so.
#![expect(clippy::unnecessary_wraps, clippy::unused_self, reason = "the signatures are those of Linux")]

use std::collections::HashSet;
use std::ffi::CStr;
use std::fs;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt as _;
use std::time::{Duration, Instant};

use rustix::fs::OFlags;
use rustix::net::SendFlags;
use rustix::process::{Pid, Signal};
use rustix::pty::OpenptFlags;

use super::Containment;
use crate::sys;

/// SIGPIPE is ignored, by Rust's runtime and by the zygote: a peer that is gone is an error all the same.
pub(crate) const SEND_FLAGS: SendFlags = SendFlags::empty();

pub(crate) const CONTAINMENT: Containment = Containment::ProcessGroup;

/// Orphans do not come back to us, so the group has to be looked at now and then.
pub(crate) const GROUP_LOOK: Option<Duration> = Some(Duration::from_millis(50));

/// The highest signal number (`NSIG - 1`).
pub(crate) const LAST_SIGNAL: i32 = 31;

/// Not every system takes more here; the caller sets close-on-exec itself.
pub(crate) const PTY_FLAGS: OpenptFlags = OpenptFlags::empty();

/// Unknown: the caller of [`crate::Spawner::fork`] has to know.
pub(crate) fn thread_count() -> Option<usize> {
    None
}

pub(crate) fn adopt_orphans() {}

pub(crate) fn die_with_parent(expected: Pid) -> bool {
    rustix::process::getppid() == Some(expected)
}

pub(crate) fn set_process_name(_name: &CStr) {}

pub(crate) fn close_descriptors(first: RawFd, keep: RawFd) {
    for fd in open_descriptors() {
        if fd >= first && fd != keep {
            sys::close(fd);
        }
    }
}

fn open_descriptors() -> Vec<RawFd> {
    fs::read_dir("/dev/fd")
        .map(|entries| {
            entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
        })
        .unwrap_or_default()
}

pub(crate) fn enlarge_pipe(_pipe: BorrowedFd<'_>) {}

pub(crate) fn terminal_peer(controller: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let name = rustix::pty::ptsname(controller, Vec::new())?;
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    Ok(rustix::fs::open(name, flags, rustix::fs::Mode::empty())?)
}

pub(crate) fn exit_descriptor(_pid: Pid) -> Option<OwnedFd> {
    None
}

pub(crate) fn start_time(_pid: i32) -> Option<u64> {
    Some(0)
}

pub(crate) fn running_since(pid: i32) -> Option<u64> {
    let pid = Pid::from_raw(pid)?;
    // A process that we may not signal exists.
    match rustix::process::test_kill_process(pid) {
        Ok(()) | Err(rustix::io::Errno::PERM) => Some(0),
        Err(_) => None,
    }
}

pub(crate) fn boot_id() -> io::Result<String> {
    Ok(String::new())
}

/// The process group of one leader.
pub(crate) struct Descendants {
    killed: HashSet<Pid>,
}

impl Descendants {
    pub(crate) fn new() -> Self {
        Self { killed: HashSet::new() }
    }

    pub(crate) fn spare(&mut self, _pid: Pid) {}

    pub(crate) fn forget(&mut self, _pid: Pid) -> bool {
        false
    }

    /// At most one: the members of a group cannot be counted here.
    pub(crate) fn killed(&self) -> u32 {
        u32::try_from(self.killed.len()).unwrap_or(u32::MAX)
    }

    pub(crate) fn signal(&mut self, signal: Signal, leader: Option<Pid>) -> usize {
        let Some(leader) = leader else { return 0 };
        if rustix::process::kill_process_group(leader, signal).is_err() {
            return 0;
        }
        if signal == Signal::KILL && running_since(leader.as_raw_pid()).is_none() {
            self.killed.insert(leader);
        }
        1
    }
}

/// Whether the leader's group lives on although the supervisor has no child left.
pub(crate) fn group_outlives_children(leader: Pid) -> bool {
    rustix::process::test_kill_process_group(leader).is_ok()
}

pub(crate) fn marked(_name: &str, _value: &str) -> Vec<(i32, u64)> {
    Vec::new()
}

pub(crate) fn kill_and_wait(_processes: &[(i32, u64)], _deadline: Instant) -> u32 {
    0
}

pub(crate) fn exists(path: &CStr) -> bool {
    fs::exists(std::ffi::OsStr::from_bytes(path.to_bytes())).unwrap_or(false)
}
