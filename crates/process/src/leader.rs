//! The last steps of a leader, between `fork` and `exec`.
//!
//! Runs in a process with one thread and never returns: the program replaces it, or it reports the step that
//! failed through a pipe that a successful `exec` closes. Where the program is our own at its [`crate::Entry`],
//! it goes on as that instead.

use std::ffi::CString;
use std::io::{self, Write as _};
use std::os::fd::AsFd as _;

use rustix::process::Pid;

use crate::entry::OwnProgram;
use crate::supervisor::Handover;
use crate::wire::{Launch, Step};
use crate::{platform, sys, zygote};

/// What a shell uses when the environment names no PATH.
const DEFAULT_PATH: &[u8] = b"/usr/local/bin:/usr/bin:/bin";

/// Why a start failed: at which step, on which path.
pub(crate) struct StartFailure {
    pub(crate) step: Step,
    pub(crate) source: io::Error,
    pub(crate) path: CString,
}

/// Becomes the program, or writes the failure to `failures` and ends.
pub(crate) fn main(
    launch: &Launch,
    own: Option<&OwnProgram>,
    handover: &Handover,
    supervisor: Pid,
    mut failures: io::PipeWriter,
) -> ! {
    let failure = match prepare(launch, handover, supervisor) {
        Ok(()) => match own.filter(|own| own.is_meant_by(launch)) {
            Some(own) => own.become_it(launch),
            None => execute(launch),
        },
        Err(failure) => failure,
    };
    let mut message = vec![failure.step.to_byte()];
    message.extend_from_slice(&failure.source.raw_os_error().unwrap_or_default().to_le_bytes());
    message.extend_from_slice(failure.path.to_bytes());
    // A supervisor that is gone needs no answer: our death has been sent already.
    drop(failures.write_all(&message));
    sys::exit_now(127)
}

fn prepare(launch: &Launch, handover: &Handover, supervisor: Pid) -> Result<(), StartFailure> {
    let session = |source: rustix::io::Errno| StartFailure {
        step: Step::Session,
        source: source.into(),
        path: CString::default(),
    };
    rustix::process::setsid().map_err(session)?;
    if !platform::die_with_parent(supervisor) {
        // The supervisor died before it could be followed.
        sys::exit_now(127);
    }
    rustix::stdio::dup2_stdin(&handover.stdin).map_err(session)?;
    rustix::stdio::dup2_stdout(&handover.stdout).map_err(session)?;
    rustix::stdio::dup2_stderr(&handover.stderr).map_err(session)?;
    if launch.terminal {
        rustix::process::ioctl_tiocsctty(io::stdout().as_fd()).map_err(session)?;
    }
    rustix::process::chdir(&launch.cwd).map_err(|source| StartFailure {
        step: Step::Cwd,
        source: source.into(),
        path: launch.cwd.clone(),
    })?;
    // The zygote has given every other signal its default action, and handlers do not outlive `exec`. Nor do
    // descriptors: the zygote started with none, and all that we open are closed by `exec`.
    sys::restore_signals(&zygote::DEAF_TO);
    Ok(())
}

/// Replaces this process with the program of `launch`; returns why that was not possible.
///
/// A name without a slash is looked up in the PATH of the *launch's* environment. As in `execvp`, a script
/// without an interpreter line is given to `/bin/sh`, and a candidate that may not be executed is remembered
/// while the search goes on.
pub(crate) fn execute(launch: &Launch) -> StartFailure {
    let Some(program) = launch.argv.first() else {
        return StartFailure {
            step: Step::Exec,
            source: rustix::io::Errno::INVAL.into(),
            path: CString::default(),
        };
    };
    let failure = |source, path: &CString| StartFailure { step: Step::Exec, source, path: path.clone() };
    if program.to_bytes().contains(&b'/') {
        return failure(attempt(program, launch), program);
    }
    let path = launch.env.iter().find_map(|entry| entry.to_bytes().strip_prefix(b"PATH="));
    let mut refused = None;
    for directory in path.unwrap_or(DEFAULT_PATH).split(|&byte| byte == b':') {
        // An empty entry of PATH is the current directory.
        let directory = if directory.is_empty() { b"." } else { directory };
        let Ok(candidate) = CString::new([directory, b"/", program.to_bytes()].concat()) else { continue };
        let source = attempt(&candidate, launch);
        match source.kind() {
            io::ErrorKind::NotFound if !platform::exists(&candidate) => {}
            io::ErrorKind::NotADirectory => {}
            io::ErrorKind::PermissionDenied => {
                refused.get_or_insert_with(|| failure(source, &candidate));
            }
            _ => return failure(source, &candidate),
        }
    }
    refused.unwrap_or_else(|| failure(rustix::io::Errno::NOENT.into(), program))
}

fn attempt(program: &CString, launch: &Launch) -> io::Error {
    let error = sys::execve(program, &launch.argv, &launch.env);
    if error.raw_os_error() != Some(libc::ENOEXEC) {
        return error;
    }
    let mut argv = vec![CString::from(c"/bin/sh"), program.clone()];
    argv.extend(launch.argv.iter().skip(1).cloned());
    sys::execve(&argv[0].clone(), &argv, &launch.env)
}
