//! Linux: subreapers, parent-death signals, pidfds and `/proc`.

use std::collections::HashSet;
use std::ffi::CStr;
use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::OFlags;
use rustix::net::SendFlags;
use rustix::process::{Pid, PidfdFlags, Signal, getpid};
use rustix::pty::OpenptFlags;

use super::Containment;
use crate::{clock, sys};

/// A peer that is gone is an error, not a signal.
pub(crate) const SEND_FLAGS: SendFlags = SendFlags::NOSIGNAL;

pub(crate) const CONTAINMENT: Containment = Containment::Descendants;

/// Every orphan is our child and rings when it ends: nothing has to be looked at in between.
pub(crate) const GROUP_LOOK: Option<Duration> = None;

/// The highest signal number of the kernel (`SIGRTMAX`).
pub(crate) const LAST_SIGNAL: i32 = 64;

/// A terminal that no later program inherits.
pub(crate) const PTY_FLAGS: OpenptFlags = OpenptFlags::CLOEXEC;

/// How many threads this process has, where that can be known.
pub(crate) fn thread_count() -> Option<usize> {
    fs::read_dir("/proc/self/task").ok().map(Iterator::count)
}

/// Makes orphaned descendants come back to this process instead of to init.
pub(crate) fn adopt_orphans() {
    // The call cannot fail on any kernel since 3.4; without it the group sweep still finds our own children.
    let _ = rustix::process::set_child_subreaper(Some(getpid()));
}

/// Ties the life of this process to its parent's, and says whether the parent is still `expected`.
pub(crate) fn die_with_parent(expected: Pid) -> bool {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).is_ok()
        && rustix::process::getppid() == Some(expected)
}

/// Names this process in `ps`, at most 15 bytes.
pub(crate) fn set_process_name(name: &CStr) {
    // A name is a courtesy to whoever looks at the process list.
    let _ = rustix::thread::set_name(name);
}

/// Closes every descriptor from `first` on, except `keep`.
pub(crate) fn close_descriptors(first: RawFd, keep: RawFd) {
    for fd in open_descriptors() {
        if fd >= first && fd != keep {
            sys::close(fd);
        }
    }
}

fn open_descriptors() -> Vec<RawFd> {
    fs::read_dir("/proc/self/fd")
        .map(|entries| {
            entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
        })
        .unwrap_or_default()
}

/// Asks for a large pipe, so that a fast writer and we take turns seldom.
pub(crate) fn enlarge_pipe(pipe: BorrowedFd<'_>) {
    // Refused when the user's pipe budget is used up: the pipe then keeps its size and only speed suffers.
    let _ = rustix::pipe::fcntl_setpipe_size(pipe, super::PIPE_BYTES);
}

/// Opens the other side of a pseudo-terminal, without making it our controlling terminal.
pub(crate) fn terminal_peer(controller: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    if let Ok(peer) = rustix::pty::ioctl_tiocgptpeer(controller, flags) {
        return Ok(peer);
    }
    let name = rustix::pty::ptsname(controller, Vec::new())?;
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    Ok(rustix::fs::open(name, flags, rustix::fs::Mode::empty())?)
}

/// Returns a descriptor that becomes readable when the child `pid` has exited.
pub(crate) fn exit_descriptor(pid: Pid) -> Option<OwnedFd> {
    rustix::process::pidfd_open(pid, PidfdFlags::empty()).ok()
}

/// The fields of `/proc/<pid>/stat` that we use.
struct Stat {
    state: u8,
    parent: i32,
    threads: i64,
    start_time: u64,
}

impl Stat {
    fn read(pid: i32) -> Option<Self> {
        let line = fs::read(format!("/proc/{pid}/stat")).ok()?;
        // The name in field 2 may hold spaces and parentheses: the fields start after the last one.
        let after_name = line.iter().rposition(|&byte| byte == b')')? + 1;
        let text = std::str::from_utf8(line.get(after_name..)?).ok()?;
        let fields: Vec<&str> = text.split_ascii_whitespace().collect();
        Some(Self {
            state: *fields.first()?.as_bytes().first()?,
            parent: fields.get(1)?.parse().ok()?,
            threads: fields.get(17)?.parse().ok()?,
            start_time: fields.get(19)?.parse().ok()?,
        })
    }

    /// A zombie whose other threads still run is running.
    fn is_running(&self) -> bool {
        !matches!(self.state, b'Z' | b'X' | b'x') || self.threads > 1
    }
}

/// When `pid` started, in clock ticks since boot (field 22 of `/proc/<pid>/stat`).
pub(crate) fn start_time(pid: i32) -> Option<u64> {
    Stat::read(pid).map(|stat| stat.start_time)
}

/// When `pid` started, if it has not ended yet.
pub(crate) fn running_since(pid: i32) -> Option<u64> {
    Stat::read(pid).filter(Stat::is_running).map(|stat| stat.start_time)
}

/// Names this boot of the machine.
pub(crate) fn boot_id() -> io::Result<String> {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").map(|text| text.trim().to_owned())
}

#[derive(Clone, Copy)]
struct Found {
    pid: i32,
    start_time: u64,
    running: bool,
}

/// The processes below one root, found again at each look.
pub(crate) struct Descendants {
    spared: HashSet<i32>,
    killed: HashSet<(i32, u64)>,
}

impl Descendants {
    /// Starts with nobody spared and nobody killed.
    pub(crate) fn new() -> Self {
        Self { spared: HashSet::new(), killed: HashSet::new() }
    }

    /// Leaves the child `pid`, and everything below it, alone.
    pub(crate) fn spare(&mut self, pid: Pid) {
        self.spared.insert(pid.as_raw_pid());
    }

    /// Forgets a spared child that has ended.
    pub(crate) fn forget(&mut self, pid: Pid) -> bool {
        self.spared.remove(&pid.as_raw_pid())
    }

    /// How many different running processes got the kill signal so far.
    pub(crate) fn killed(&self) -> u32 {
        u32::try_from(self.killed.len()).unwrap_or(u32::MAX)
    }

    /// Sends `signal` to every descendant of this process and says how many there were.
    ///
    /// The processes are found by parentage, not by group or session: orphans have come back to us.
    pub(crate) fn signal(&mut self, signal: Signal, leader: Option<Pid>) -> usize {
        let found = self.find();
        for process in &found {
            let Some(pid) = Pid::from_raw(process.pid) else { continue };
            let Ok(handle) = rustix::process::pidfd_open(pid, PidfdFlags::empty()) else { continue };
            // The handle now names one process for good; this makes sure that it is the one we found.
            if start_time(process.pid) != Some(process.start_time) {
                continue;
            }
            let sent = rustix::process::pidfd_send_signal(&handle, signal).is_ok();
            if sent && signal == Signal::KILL && process.running && Some(pid) != leader {
                self.killed.insert((process.pid, process.start_time));
            }
        }
        found.len()
    }

    fn find(&self) -> Vec<Found> {
        let own = getpid().as_raw_pid();
        let table = (!fs::exists("/proc/thread-self/children").unwrap_or(false)).then(parent_table);
        let mut found = Vec::new();
        let mut open = vec![own];
        while let Some(parent) = open.pop() {
            let children = match &table {
                Some(table) => table.iter().filter(|(_, of)| *of == parent).map(|&(pid, _)| pid).collect(),
                None => children(parent),
            };
            for pid in children {
                if parent == own && self.spared.contains(&pid) {
                    continue;
                }
                let Some(stat) = Stat::read(pid).filter(|stat| stat.parent == parent || stat.parent == own)
                else {
                    continue;
                };
                found.push(Found { pid, start_time: stat.start_time, running: stat.is_running() });
                open.push(pid);
            }
        }
        found
    }
}

/// The children of every thread of `pid`.
fn children(pid: i32) -> Vec<i32> {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    threads
        .flatten()
        .filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok())
        .flat_map(|list| list.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>())
        .collect()
}

/// Every process with its parent, for kernels built without the `children` files.
fn parent_table() -> Vec<(i32, i32)> {
    every_process().filter_map(|pid| Some((pid, Stat::read(pid)?.parent))).collect()
}

fn every_process() -> impl Iterator<Item = i32> {
    fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// Every running process whose environment holds `name=value`, as pid and start time; never init, never us.
pub(crate) fn marked(name: &str, value: &str) -> Vec<(i32, u64)> {
    let wanted = [name.as_bytes(), b"=", value.as_bytes()].concat();
    let own = getpid().as_raw_pid();
    every_process()
        .filter(|&pid| pid > 1 && pid != own)
        .filter_map(|pid| {
            // The start time is read on both sides of the environment: the pid may change hands in between.
            let before = running_since(pid)?;
            let environment = fs::read(format!("/proc/{pid}/environ")).ok()?;
            let carries = environment.split(|&byte| byte == 0).any(|entry| entry == wanted);
            (carries && running_since(pid) == Some(before)).then_some((pid, before))
        })
        .collect()
}

/// Kills the processes and waits for their ends, at most until `deadline`; returns how many took the signal.
pub(crate) fn kill_and_wait(processes: &[(i32, u64)], deadline: Instant) -> u32 {
    let mut signalled = 0;
    // A batch of handles at a time, so that a crowd cannot use up our descriptors.
    for batch in processes.chunks(64) {
        let mut handles = Vec::new();
        for &(raw, started) in batch {
            let Some(pid) = Pid::from_raw(raw) else { continue };
            let Ok(handle) = rustix::process::pidfd_open(pid, PidfdFlags::empty()) else { continue };
            if running_since(raw) == Some(started)
                && rustix::process::pidfd_send_signal(&handle, Signal::KILL).is_ok()
            {
                signalled += 1;
                handles.push(handle);
            }
        }
        wait_for_exits(handles, deadline);
    }
    signalled
}

fn wait_for_exits(mut handles: Vec<OwnedFd>, deadline: Instant) {
    while !handles.is_empty() {
        let left = deadline.saturating_duration_since(Instant::now());
        if left == Duration::ZERO {
            return;
        }
        let mut polled: Vec<PollFd<'_>> =
            handles.iter().map(|handle| PollFd::from_borrowed_fd(handle.as_fd(), PollFlags::IN)).collect();
        match poll(&mut polled, Some(&clock::timespec(left))) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(_) => return,
        }
        let mut ended =
            polled.iter().map(|entry| !entry.revents().is_empty()).collect::<Vec<_>>().into_iter();
        handles.retain(|_| !ended.next().unwrap_or(false));
    }
}

/// Whether the leader's group can live on when the supervisor has no child left: never, orphans are children.
pub(crate) fn group_outlives_children(_leader: Pid) -> bool {
    false
}

/// Whether a path names an existing file, for telling a missing program from a missing interpreter.
pub(crate) fn exists(path: &CStr) -> bool {
    fs::exists(std::ffi::OsStr::from_bytes(path.to_bytes())).unwrap_or(false)
}
