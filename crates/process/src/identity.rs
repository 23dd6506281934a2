//! Which process is which: identities that survive the reuse of pids, and the hunt for what was left behind.

use std::fmt;
use std::io;
use std::os::fd::AsFd;
use std::str::FromStr;
use std::time::{Duration, Instant};

use rustix::process::getpid;

use crate::{platform, sys};

/// One process, for good: a pid is reused, a pid with its start time and boot is not.
///
/// Its text form is `<pid>:<start time>:<boot id>`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ProcessIdentity {
    /// The process id.
    pub pid: i32,
    /// When it started, in clock ticks since boot (field 22 of `/proc/<pid>/stat`); 0 where that is unknown.
    pub start_time: u64,
    /// The boot of the machine (`/proc/sys/kernel/random/boot_id`); empty where that is unknown.
    pub boot_id: String,
}

impl ProcessIdentity {
    /// The identity of a process that runs now on this machine.
    pub(crate) fn of_this_boot(pid: i32, start_time: u64) -> Self {
        Self { pid, start_time, boot_id: platform::boot_id().unwrap_or_default() }
    }

    /// The identity of the process that has this id now; `None` when none runs.
    pub fn of_running(pid: i32) -> Option<Self> {
        let start_time = platform::running_since(pid).filter(|_| pid > 0)?;
        Some(Self::of_this_boot(pid, start_time))
    }

    /// Whether this very process still runs; a zombie does not.
    pub fn is_alive(&self) -> bool {
        self.pid > 0
            && platform::boot_id().unwrap_or_default() == self.boot_id
            && platform::running_since(self.pid) == Some(self.start_time)
    }
}

impl fmt::Display for ProcessIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.pid, self.start_time, self.boot_id)
    }
}

/// Text that is no process identity.
#[derive(Debug, thiserror::Error)]
#[error("`{text}` is not a process identity (`<pid>:<start time>:<boot id>`)")]
pub struct ParseIdentityError {
    /// The text.
    pub text: String,
}

impl FromStr for ProcessIdentity {
    type Err = ParseIdentityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parse = || {
            let mut parts = text.splitn(3, ':');
            let pid = parts.next()?.parse().ok().filter(|&pid| pid > 0)?;
            let start_time = parts.next()?.parse().ok()?;
            Some(Self { pid, start_time, boot_id: parts.next()?.to_owned() })
        };
        parse().ok_or_else(|| ParseIdentityError { text: text.to_owned() })
    }
}

/// The identity of the calling process.
///
/// # Errors
/// When the system does not tell the start time or the boot.
pub fn current_process() -> io::Result<ProcessIdentity> {
    let pid = getpid().as_raw_pid();
    let start_time = platform::start_time(pid)
        .ok_or_else(|| io::Error::other("the start time of this process is unknown"))?;
    Ok(ProcessIdentity { pid, start_time, boot_id: platform::boot_id()? })
}

/// The process that leads the caller's session: of a terminal, the login or the shell in it; none when it
/// is gone, because another session may get its number, or when it is outside the pid namespace.
pub fn session_leader() -> Option<ProcessIdentity> {
    let pid = Some(sys::session()).filter(|&pid| pid > 0)?;
    let start_time = platform::running_since(pid)?;
    Some(ProcessIdentity { pid, start_time, boot_id: platform::boot_id().ok()? })
}

/// Whether the caller may read from `terminal` now: a process in the background would be stopped.
///
/// # Errors
/// When it is not the caller's controlling terminal.
pub fn is_in_foreground(terminal: impl AsFd) -> io::Result<bool> {
    Ok(sys::foreground_group(terminal.as_fd())? == sys::process_group())
}

/// Finds the running processes whose environment holds exactly `name=value`; never init, never the caller.
///
/// Sees what the system lets us see: on Linux the processes of our own user, elsewhere none.
pub fn find_marked(name: &str, value: &str) -> Vec<ProcessIdentity> {
    let boot_id = platform::boot_id().unwrap_or_default();
    platform::marked(name, value)
        .into_iter()
        .map(|(pid, start_time)| ProcessIdentity { pid, start_time, boot_id: boot_id.clone() })
        .collect()
}

/// Kills exactly these processes and waits until they are gone, for at most `patience`; returns how many took
/// the signal. Those of another boot, or whose pid is another process by now, are gone already.
pub fn kill_all(processes: &[ProcessIdentity], patience: Duration) -> u32 {
    let boot_id = platform::boot_id().unwrap_or_default();
    let found: Vec<(i32, u64)> = processes
        .iter()
        .filter(|process| process.boot_id == boot_id)
        .map(|process| (process.pid, process.start_time))
        .collect();
    platform::kill_and_wait(&found, Instant::now() + patience)
}

/// Marked processes that did not end in time.
#[derive(Debug, thiserror::Error)]
#[error("{} processes with `{name}` in their environment did not end", survivors.len())]
pub struct SurvivorsError {
    /// The marking variable.
    pub name: String,
    /// Who is left.
    pub survivors: Vec<ProcessIdentity>,
}

/// Kills every process that [`find_marked`] finds, until it finds none; returns how many there were.
///
/// For recovery, when even the supervisors were killed. Blocks for at most `patience`.
///
/// # Errors
/// [`SurvivorsError`] if some are left after `patience`.
pub fn kill_all_marked(name: &str, value: &str, patience: Duration) -> Result<u32, SurvivorsError> {
    let deadline = Instant::now() + patience;
    let mut killed = 0;
    loop {
        let found = platform::marked(name, value);
        if found.is_empty() {
            return Ok(killed);
        }
        let signalled = platform::kill_and_wait(&found, deadline);
        killed += signalled;
        // If nobody took the signal and the same are still there, another round would change nothing.
        let stuck = signalled == 0 && platform::marked(name, value) == found;
        if stuck || Instant::now() >= deadline {
            let survivors = find_marked(name, value);
            return if survivors.is_empty() {
                Ok(killed)
            } else {
                Err(SurvivorsError { name: name.to_owned(), survivors })
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn we_are_alive_and_our_text_form_parses() {
        let me = current_process().unwrap();
        assert!(me.is_alive());
        assert_eq!(me.to_string().parse::<ProcessIdentity>().unwrap(), me);
    }

    #[test]
    fn another_start_time_or_boot_is_another_process() {
        let me = current_process().unwrap();
        assert!(!ProcessIdentity { start_time: me.start_time + 1, ..me.clone() }.is_alive());
        assert!(!ProcessIdentity { boot_id: "another".into(), ..me }.is_alive());
    }

    #[test]
    fn other_text_is_refused() {
        for text in ["", "1", "1:2", "x:2:b", "0:2:b", "-4:2:b"] {
            assert!(text.parse::<ProcessIdentity>().is_err(), "{text}");
        }
    }
}
