//! The stages of a sandbox that are our own executable again, and the measuring of a machine.
//!
//! ```text
//! program sandbox-exec launch  -- bwrap … -- program sandbox-exec confine --init … -- argv…
//! program sandbox-exec confine … -- argv…                      (the weaker sandbox: no namespaces)
//! program sandbox-exec nothing                                 (what the probe runs inside)
//! program sandbox-exec escape …                                (the attempts of the escape suite)
//! ```

#[cfg(target_os = "linux")]
mod bridge;
#[cfg(target_os = "linux")]
mod confine;
#[cfg(target_os = "linux")]
mod landlock;
#[cfg(target_os = "linux")]
mod launch;
#[cfg(target_os = "linux")]
mod probe;
#[cfg(target_os = "linux")]
mod syscalls;

use std::ffi::OsString;
use std::process::ExitCode;

#[cfg(target_os = "linux")]
pub(crate) use probe::probe;

/// The hidden sub-command of our executable.
pub const ENTRY: &str = "sandbox-exec";
#[cfg(target_os = "linux")]
pub(crate) const LAUNCH: &str = "launch";
#[cfg(target_os = "linux")]
pub(crate) const CONFINE: &str = "confine";
#[cfg(target_os = "linux")]
pub(crate) const NOTHING: &str = "nothing";
#[cfg(target_os = "linux")]
pub(crate) const ESCAPE: &str = "escape";
#[cfg(target_os = "linux")]
pub(crate) const VICTIM: &str = "victim";
#[cfg(target_os = "linux")]
pub(crate) const SURVIVE: &str = "survive";

/// The port of the bridge to the egress proxy. It is in the program's own network namespace: nobody else has it.
#[cfg(target_os = "linux")]
pub(crate) const BRIDGE_PORT: u16 = 3128;

#[cfg(target_os = "linux")]
pub(crate) const SUCCESS: u8 = 0;
#[cfg(target_os = "linux")]
pub(crate) const FAILURE: u8 = 1;
/// The sandbox itself could not be built, as other launchers report it.
const SETUP_FAILED: u8 = 125;

/// Becomes a stage of a sandbox if the arguments say so; to be called first thing in `main`, before any thread.
///
/// `arguments` are all of the process, its own name first. `None` means that this is an ordinary start. The exit
/// code is the program's own; 125 if the sandbox could not be built, 126 if the program may not be executed, 127 if
/// there is none. A signal that ended the program ends this process too.
pub fn enter(arguments: impl IntoIterator<Item = OsString>) -> Option<ExitCode> {
    let mut arguments = arguments.into_iter().skip(1);
    (arguments.next()? == ENTRY).then(|| ExitCode::from(stage(arguments)))
}

/// Becomes a stage of a sandbox in a fork of our program that has not executed it again.
///
/// Does what [`enter`] does, with the arguments after [`ENTRY`], and returns the exit code.
pub fn enter_forked(arguments: &[OsString]) -> u8 {
    stage(arguments.iter().cloned())
}

#[cfg(target_os = "linux")]
fn stage(mut arguments: impl Iterator<Item = OsString>) -> u8 {
    let name = arguments.next().unwrap_or_default();
    match name.to_str() {
        Some(LAUNCH) => launch::main(arguments),
        Some(CONFINE) => confine::main(arguments),
        Some(NOTHING) => SUCCESS,
        Some(VICTIM) => wait_for_end(),
        Some(SURVIVE) => crate::escape::survive(arguments),
        Some(ESCAPE) => crate::escape::attempt_all(arguments),
        _ => fail("this is no stage of a sandbox", SETUP_FAILED),
    }
}

#[cfg(not(target_os = "linux"))]
fn stage(_arguments: impl Iterator<Item = OsString>) -> u8 {
    SETUP_FAILED
}

/// Lives until standard input ends: somebody for the attempts to aim at.
#[cfg(target_os = "linux")]
fn wait_for_end() -> u8 {
    use std::io::Write as _;
    let mut stdout = std::io::stdout();
    let ended = stdout
        .write_all(b"!")
        .and_then(|()| stdout.flush())
        .and_then(|()| std::io::copy(&mut std::io::stdin(), &mut std::io::sink()));
    if ended.is_ok() { SUCCESS } else { FAILURE }
}

/// Says why on standard error, where the program's own words would be.
#[cfg(target_os = "linux")]
fn fail(why: &str, code: u8) -> u8 {
    use std::io::Write as _;
    // Nobody is left to tell when standard error is closed.
    drop(writeln!(std::io::stderr(), "sandbox: {why}"));
    code
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn probe(search_path: &std::ffi::OsStr, _helper: &std::path::Path) -> crate::Layers {
    let mut layers = crate::Layers::none("this is not Linux");
    // The system's own one, never one that PATH names.
    let _ = search_path;
    let sandbox_exec = std::path::PathBuf::from("/usr/bin/sandbox-exec");
    layers.seatbelt = sandbox_exec.is_file().then_some(sandbox_exec);
    layers
}
