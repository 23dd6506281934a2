//! The few system calls for which no safe wrapper exists.
//!
//! What forks and executes is used by the zygote, the supervisors and the leaders between `fork` and `exec`. All
//! of them have one thread, so ordinary Rust, allocation included, is sound in the children.
#![expect(unsafe_code, reason = "fork, exec and signal dispositions have no safe form")]

use std::ffi::{CString, OsStr};
use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd, RawFd};
use std::os::unix::ffi::OsStrExt as _;
use std::ptr;

use rustix::process::Pid;

use crate::platform;

/// The caller's session; 0 when its leader is outside the pid namespace, as for the first process of a
/// container. Safe wrappers take that number for a pid, which is never 0.
pub(crate) fn session() -> i32 {
    // SAFETY: takes a number; 0 means the caller, for whom it cannot fail.
    unsafe { libc::getsid(0) }
}

/// The caller's process group, 0 when its leader is outside the pid namespace.
pub(crate) fn process_group() -> i32 {
    // SAFETY: takes nothing and cannot fail.
    unsafe { libc::getpgrp() }
}

/// The process group that may read from `terminal`, 0 when its leader is outside the pid namespace.
pub(crate) fn foreground_group(terminal: BorrowedFd<'_>) -> io::Result<i32> {
    // SAFETY: the descriptor is open for as long as it is borrowed.
    match unsafe { libc::tcgetpgrp(terminal.as_raw_fd()) } {
        -1 => Err(io::Error::last_os_error()),
        group => Ok(group),
    }
}

/// Which side of a `fork` we are on.
pub(crate) enum Fork {
    /// The caller goes on, with the pid of its child.
    Parent(Pid),
    /// The new process.
    Child,
}

/// Forks the calling process, which must have a single thread.
///
/// [`crate::Spawner::fork`] checks that for the program; the zygote and the supervisors never start a thread.
pub(crate) fn fork() -> io::Result<Fork> {
    // SAFETY: the process has one thread, so no lock can be held by a thread that the child lacks.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(Fork::Child),
        raw => Pid::from_raw(raw).map(Fork::Parent).ok_or_else(|| io::Error::other("fork returned no pid")),
    }
}

/// Ends the process at once: no destructors, no exit handlers, no flushing of the parent's buffers.
pub(crate) fn exit_now(code: i32) -> ! {
    // SAFETY: `_exit` takes any value and never returns.
    unsafe { libc::_exit(code) }
}

/// Replaces the process with `program`; returns only on failure.
pub(crate) fn execve(program: &CString, argv: &[CString], env: &[CString]) -> io::Error {
    let argv = pointers(argv);
    let env = pointers(env);
    // SAFETY: both arrays end in a null pointer and point to NUL-terminated strings that outlive the call.
    unsafe { libc::execve(program.as_ptr(), argv.as_ptr(), env.as_ptr()) };
    io::Error::last_os_error()
}

fn pointers(strings: &[CString]) -> Vec<*const libc::c_char> {
    strings.iter().map(|string| string.as_ptr()).chain([ptr::null()]).collect()
}

/// Makes the process deaf to `signals`.
pub(crate) fn ignore_signals(signals: &[i32]) {
    for &signal in signals {
        // SAFETY: `SIG_IGN` installs no handler; an unknown number is refused by the kernel.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
}

/// Gives `signals` their default actions.
pub(crate) fn restore_signals(signals: &[i32]) {
    for &signal in signals {
        // SAFETY: `SIG_DFL` installs no handler; an unknown or fixed number is refused.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
}

/// Gives every signal its default action and unblocks all of them, as a freshly started program expects.
pub(crate) fn default_signals() {
    restore_signals(&(1..=platform::LAST_SIGNAL).collect::<Vec<_>>());
    // SAFETY: `sigemptyset` initialises the set before it is used, and the old mask is not asked for.
    unsafe {
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, ptr::null_mut());
    }
}

/// Gives the process exactly these variables, each `name=value`.
pub(crate) fn set_environment(variables: &[CString]) {
    for (name, _) in std::env::vars_os() {
        // SAFETY: the process has one thread, so nobody reads the environment meanwhile.
        unsafe { std::env::remove_var(name) };
    }
    for variable in variables {
        let bytes = variable.as_bytes();
        let Some(at) = bytes.iter().position(|&byte| byte == b'=') else { continue };
        let (name, value) = (OsStr::from_bytes(&bytes[..at]), OsStr::from_bytes(&bytes[at + 1..]));
        // SAFETY: as above.
        unsafe { std::env::set_var(name, value) };
    }
}

/// Closes one descriptor by number.
pub(crate) fn close(fd: RawFd) {
    // SAFETY: only forks call this, for descriptors inherited from their parent, whose owners are never dropped in
    // the fork.
    unsafe { libc::close(fd) };
}

/// Reads the exit of a process from the raw status of `wait`.
pub(crate) fn leader_exit(raw: i32) -> crate::LeaderExit {
    if libc::WIFSIGNALED(raw) {
        crate::LeaderExit::Signal(libc::WTERMSIG(raw))
    } else {
        crate::LeaderExit::Code(libc::WEXITSTATUS(raw))
    }
}
