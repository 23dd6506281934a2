//! The innermost stage: gives up every privilege for good and becomes, or watches over, the program.
//!
//! With `--init` it is process 1 of the program's own process namespace: it reaps what nobody waits for, reports how
//! the program ended, and stays while anything that the program started lives, so that a background process is not
//! cut off with its leader. Otherwise it executes the program in its own place.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::Command;

use rustix::process::{
    DumpableBehavior, Signal, WaitOptions, WaitStatus, set_dumpable_behavior,
    set_parent_process_death_signal, wait,
};
use rustix::thread::{
    CapabilitySet, CapabilitySets, clear_ambient_capability_set, remove_capability_from_bounding_set,
    set_capabilities, set_no_new_privs,
};

use super::launch::{Ending, FOR_THE_PROGRAM, REPORT_VARIABLE, STARTED};
use super::{SETUP_FAILED, SUCCESS, bridge, fail, landlock, syscalls};
use crate::plan::Reach;
use crate::sys::{Disposition, adopt, set_disposition};

const NOT_EXECUTABLE: u8 = 126;
const NOT_FOUND: u8 = 127;

/// What to give up, as the command line says it.
#[derive(Debug)]
pub(super) struct Confinement {
    pub(super) init: bool,
    pub(super) reach: Reach,
    pub(super) landlock: bool,
    pub(super) writable: Vec<PathBuf>,
    pub(super) egress: Option<PathBuf>,
}

/// Why the program could not be confined.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConfineError {
    #[error("the command line is not one of ours")]
    Arguments,
    #[error("the place to report to is missing")]
    Report,
    #[error("failed to {step}: {source}")]
    Step { step: &'static str, source: io::Error },
    #[error("landlock refused the rules: {0}")]
    Landlock(::landlock::RulesetError),
    #[error("landlock does not hold here")]
    LandlockAbsent,
    #[error("the filter of system calls was refused: {0}")]
    Seccomp(String),
}

impl ConfineError {
    pub(super) fn at(step: &'static str) -> impl FnOnce(rustix::io::Errno) -> Self {
        move |source| Self::Step { step, source: source.into() }
    }
}

pub(super) fn main(mut arguments: impl Iterator<Item = OsString>) -> u8 {
    match Confinement::parse(&mut arguments) {
        Some(confinement) if confinement.init => watch_over(&confinement, arguments),
        Some(confinement) => become_program(&confinement, arguments),
        None => fail(&ConfineError::Arguments.to_string(), SETUP_FAILED),
    }
}

impl Confinement {
    /// Reads up to the `--` before the program.
    fn parse(arguments: &mut impl Iterator<Item = OsString>) -> Option<Self> {
        let mut parsed =
            Self { init: false, reach: Reach::Nothing, landlock: false, writable: Vec::new(), egress: None };
        loop {
            match arguments.next()?.to_str()? {
                "--init" => parsed.init = true,
                "--landlock" => parsed.landlock = true,
                "--network" => parsed.reach = Reach::parse(&arguments.next()?)?,
                "--write" => parsed.writable.push(arguments.next()?.into()),
                "--egress" => parsed.egress = Some(arguments.next()?.into()),
                "--" => return Some(parsed),
                _ => return None,
            }
        }
    }

    /// Gives up, for this thread and everything it starts, what the program must not have.
    fn apply(&self) -> Result<(), ConfineError> {
        give_up_capabilities()?;
        set_no_new_privs(true).map_err(ConfineError::at("forbid new privileges"))?;
        if self.landlock {
            landlock::restrict(self)?;
        }
        syscalls::restrict(self.reach)
    }
}

fn give_up_capabilities() -> Result<(), ConfineError> {
    clear_ambient_capability_set().map_err(ConfineError::at("give up ambient capabilities"))?;
    for capability in CapabilitySet::all().iter() {
        // Without the privilege to change the bounding set there is none to be gained from it either.
        let _ = remove_capability_from_bounding_set(capability);
    }
    let nothing = CapabilitySet::empty();
    let sets = CapabilitySets { effective: nothing, permitted: nothing, inheritable: nothing };
    set_capabilities(None, sets).map_err(ConfineError::at("give up capabilities"))
}

fn become_program(confinement: &Confinement, arguments: impl Iterator<Item = OsString>) -> u8 {
    let argv: Vec<OsString> = arguments.collect();
    match confinement.apply() {
        Ok(()) => {
            report_start_failure(argv.first(), &program(&argv).exec(), || program_in_shell(&argv).exec())
        }
        Err(error) => fail(&error.to_string(), SETUP_FAILED),
    }
}

fn watch_over(confinement: &Confinement, arguments: impl Iterator<Item = OsString>) -> u8 {
    let argv: Vec<OsString> = arguments.collect();
    match prepare(confinement) {
        Ok(report) => start_and_reap(&argv, report),
        Err(error) => fail(&error.to_string(), SETUP_FAILED),
    }
}

fn prepare(confinement: &Confinement) -> Result<File, ConfineError> {
    // The program's signals reach it with their usual meaning; process 1 is immune to them all the same.
    set_disposition(&FOR_THE_PROGRAM, Disposition::Default);
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(ConfineError::at("die with the launcher"))?;
    // The program runs as the same user: without this it could reach into this process and its bridge.
    set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(ConfineError::at("close this process"))?;
    let descriptor = report_descriptor().ok_or(ConfineError::Report)?;
    let report =
        adopt(descriptor).map_err(|source| ConfineError::Step { step: "open the report", source })?;
    if let Some(socket) = &confinement.egress {
        bridge::start(socket).map_err(|source| ConfineError::Step { step: "start the bridge", source })?;
    }
    // Only this thread is confined; the bridge, started before, must still reach the proxy.
    confinement.apply()?;
    Ok(report.into())
}

#[expect(clippy::disallowed_methods, reason = "a message from the stage before, not a setting")]
fn report_descriptor() -> Option<i32> {
    std::env::var(REPORT_VARIABLE).ok()?.parse().ok().filter(|&descriptor| descriptor > 2)
}

fn start_and_reap(argv: &[OsString], mut report: File) -> u8 {
    // From the answer on, signals are for the program alone. A launcher that is gone takes us with it.
    drop(report.write_all(&STARTED).and_then(|()| report.read_exact(&mut [0; Ending::BYTES])));
    let spawned = match program(argv).spawn() {
        Err(error) if error.raw_os_error() == Some(libc::ENOEXEC) => program_in_shell(argv).spawn(),
        other => other,
    };
    let code = match spawned {
        Ok(child) => return reap(child.id(), report),
        Err(error) => start_failure(argv.first(), &error),
    };
    drop(report.write_all(&Ending::Code(code).encode()));
    code
}

/// Waits for the program, tells its end, and stays until nothing that it started is left.
fn reap(program: u32, report: File) -> u8 {
    let mut report = Some(report);
    loop {
        match wait(WaitOptions::empty()) {
            Ok(Some((pid, status))) if u32::try_from(pid.as_raw_pid()) == Ok(program) => {
                // From here on the launcher may end, and what lives on here is for the supervisor to end.
                let _ = set_parent_process_death_signal(None);
                if let Some(mut report) = report.take() {
                    drop(report.write_all(&ending(status).encode()));
                }
            }
            Err(rustix::io::Errno::CHILD) => return SUCCESS,
            Ok(_) | Err(_) => {}
        }
    }
}

fn ending(status: WaitStatus) -> Ending {
    let byte = |number: i32| u8::try_from(number).unwrap_or(u8::MAX);
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => Ending::Code(byte(code)),
        (None, signal) => Ending::Signal(byte(signal.unwrap_or_default())),
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the program itself, in the place that co-process gave to this stage"
)]
fn command(program: &OsStr) -> Command {
    let mut command = Command::new(program);
    command.env_remove(REPORT_VARIABLE);
    command
}

fn program(argv: &[OsString]) -> Command {
    let (name, arguments) = argv.split_first().map_or((OsStr::new(""), &[][..]), |(name, rest)| (name, rest));
    let mut command = command(name);
    command.args(arguments);
    command
}

/// A script without an interpreter line is the shell's, as everywhere.
fn program_in_shell(argv: &[OsString]) -> Command {
    let mut command = command(OsStr::new("/bin/sh"));
    command.args(argv);
    command
}

fn report_start_failure(
    name: Option<&OsString>,
    error: &io::Error,
    in_shell: impl FnOnce() -> io::Error,
) -> u8 {
    if error.raw_os_error() == Some(libc::ENOEXEC) {
        return start_failure(name, &in_shell());
    }
    start_failure(name, error)
}

/// Says why the program did not start; returns the exit code that shells use for it.
fn start_failure(name: Option<&OsString>, error: &io::Error) -> u8 {
    let name = name.map(|name| name.display().to_string()).unwrap_or_default();
    let (why, code) = match error.kind() {
        io::ErrorKind::NotFound => (format!("the program `{name}` was not found"), NOT_FOUND),
        io::ErrorKind::PermissionDenied => {
            (format!("the program `{name}` is not executable"), NOT_EXECUTABLE)
        }
        _ => (format!("the program `{name}` could not be executed: {error}"), NOT_EXECUTABLE),
    };
    let _ = fail(&why, code);
    code
}
