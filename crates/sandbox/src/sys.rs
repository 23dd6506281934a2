//! The few system calls that no safe interface offers. The only unsafe code of this room.

use std::io;
use std::os::fd::{FromRawFd as _, OwnedFd, RawFd};

/// What happens when a signal comes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Disposition {
    Default,
    Ignore,
}

/// Sets what happens when one of `signals` comes.
#[expect(unsafe_code, reason = "no safe interface ignores a signal across `exec`")]
pub(crate) fn set_disposition(signals: &[i32], disposition: Disposition) {
    let action = match disposition {
        Disposition::Default => libc::SIG_DFL,
        Disposition::Ignore => libc::SIG_IGN,
    };
    for &signal in signals {
        // SAFETY: neither action runs code of ours, and a number that is no signal is refused by the kernel.
        unsafe { libc::signal(signal, action) };
    }
}

/// Takes over a descriptor that an earlier stage opened for this one.
#[expect(unsafe_code, reason = "a number from the command line becomes a descriptor")]
pub(crate) fn adopt(descriptor: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: asking for the flags of a number that is no descriptor is an error, not undefined.
    if unsafe { libc::fcntl(descriptor, libc::F_SETFD, libc::FD_CLOEXEC) } < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: it is open, as was just seen, and the stage that opened it left it to us alone.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

/// Makes a system call with numbers only; for questions to the kernel and for attempts to break out.
#[expect(unsafe_code, reason = "calls without a safe interface, made because they should be refused")]
pub(crate) fn call(number: i64, arguments: [usize; 5]) -> io::Result<i64> {
    let [first, second, third, fourth, fifth] = arguments;
    // SAFETY: callers pass numbers, null or addresses that the kernel checks and does not write through.
    let answer = unsafe { libc::syscall(number, first, second, third, fourth, fifth) };
    if answer < 0 { Err(io::Error::last_os_error()) } else { Ok(answer) }
}

/// The version of Landlock's interface, if the kernel has it switched on.
pub(crate) fn landlock_version() -> Option<u32> {
    const ASK_FOR_VERSION: usize = 1;
    let version = call(libc::SYS_landlock_create_ruleset, [0, 0, ASK_FOR_VERSION, 0, 0]).ok()?;
    u32::try_from(version).ok()
}
