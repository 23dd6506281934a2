//! The outermost stage: starts bubblewrap and ends exactly as the program ended.
//!
//! bubblewrap reports a signal as an exit code and dies of the first signal that is meant for the program. This
//! stage ignores such signals, and so does bubblewrap then: the program decides what they do. The inner stage
//! reports the program's start and end through a socket; until the start, a signal ends the sandbox as it would have
//! ended the program.

use std::ffi::OsString;
use std::io::{self, Read as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::io::{FdFlags, fcntl_setfd};
use rustix::process::{Pid, Resource, Rlimit, Signal, getpid, kill_process, setrlimit};
use signal_hook::flag::register_conditional_default;

use super::{SETUP_FAILED, fail};
use crate::sys::{Disposition, set_disposition};

/// The variable that tells the inner stage where to report. It takes it away again.
pub(super) const REPORT_VARIABLE: &str = "CO_SANDBOX_REPORT";

/// The signals that people and supervisors send to a group, and that would end this stage.
pub(super) const FOR_THE_PROGRAM: [i32; 7] =
    [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGTERM, libc::SIGUSR1, libc::SIGUSR2, libc::SIGALRM];

/// How the program ended, as it goes through the socket: a kind and a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    Code(u8),
    Signal(u8),
}

/// What goes through the socket when the program is about to start. The inner stage waits for the same in return.
pub(super) const STARTED: [u8; Ending::BYTES] = [b'r', 0];

impl Ending {
    pub(super) const BYTES: usize = 2;

    pub(super) const fn encode(self) -> [u8; Self::BYTES] {
        match self {
            Self::Code(code) => [b'c', code],
            Self::Signal(signal) => [b's', signal],
        }
    }

    const fn decode(bytes: [u8; Self::BYTES]) -> Option<Self> {
        match bytes {
            [b'c', code] => Some(Self::Code(code)),
            [b's', signal] => Some(Self::Signal(signal)),
            _ => None,
        }
    }
}

pub(super) fn main(mut arguments: impl Iterator<Item = OsString>) -> u8 {
    if arguments.next().is_none_or(|separator| separator != "--") {
        return fail("the launcher was called without a command", SETUP_FAILED);
    }
    set_disposition(&FOR_THE_PROGRAM, Disposition::Ignore);
    match start(arguments) {
        Ok((child, report)) => follow(child, report),
        Err(error) => fail(&format!("bubblewrap could not be started: {error}"), SETUP_FAILED),
    }
}

#[expect(clippy::disallowed_methods, reason = "this stage is started by co-process and starts the next one")]
fn start(mut arguments: impl Iterator<Item = OsString>) -> io::Result<(Child, UnixStream)> {
    let (report, their_end) = UnixStream::pair()?;
    fcntl_setfd(&their_end, FdFlags::empty())?;
    let child = Command::new(arguments.next().unwrap_or_default())
        .args(arguments)
        .env(REPORT_VARIABLE, their_end.as_raw_fd().to_string())
        .spawn()?;
    Ok((child, report))
}

fn follow(mut child: Child, mut report: UnixStream) -> u8 {
    let is_starting = Arc::new(AtomicBool::new(true));
    for signal in FOR_THE_PROGRAM {
        // Without it the signal stays ignored, and whoever sent it has to insist.
        drop(register_conditional_default(signal, Arc::clone(&is_starting)));
    }
    let next = |report: &mut UnixStream| {
        let mut bytes = [0; Ending::BYTES];
        report.read_exact(&mut bytes).ok().map(|()| bytes)
    };
    let mut message = next(&mut report);
    if message == Some(STARTED) {
        is_starting.store(false, Ordering::SeqCst);
        // If it is gone, there is no message to come either.
        drop(report.write_all(&STARTED));
        message = next(&mut report);
    }
    match message.and_then(Ending::decode) {
        // What is left in the sandbox lives on, or ends, without us: as it would without a sandbox.
        Some(Ending::Code(code)) => code,
        Some(Ending::Signal(signal)) => die_of(signal.into()),
        // The program never ran, or everything was killed from outside.
        None => match child.wait().map(|status| (status.code(), status.signal())) {
            Ok((_, Some(signal))) => die_of(signal),
            Ok((Some(code), None)) if code >= SETUP_FAILED.into() => {
                u8::try_from(code).unwrap_or(SETUP_FAILED)
            }
            _ => fail("bubblewrap could not build the sandbox", SETUP_FAILED),
        },
    }
}

/// Ends as the program did, without a second core file.
fn die_of(signal: i32) -> u8 {
    // Without the limit there would be a core file of this stage, no more.
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
    set_disposition(&[signal], Disposition::Default);
    let own: Pid = getpid();
    if let Some(named) = Signal::from_named_raw(signal) {
        let _ = kill_process(own, named);
    }
    // A signal without a default that ends: the shell's way to say it.
    u8::try_from(128 + signal).unwrap_or(SETUP_FAILED)
}
