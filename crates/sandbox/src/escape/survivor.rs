//! A program that leaves its group, its session and its parent, and wants to live on.

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::process::{Command, Stdio};

use rustix::event::{Timespec, poll};
use rustix::process::setsid;

use crate::inner::{ENTRY, FAILURE, SUCCESS, SURVIVE};

/// How long it would live. Long enough to be seen, short enough to be no litter where nothing holds it.
const LIFE: Timespec = Timespec { tv_sec: 4, tv_nsec: 0 };

/// Becomes the leader of the group, the process between, or the survivor.
pub(crate) fn survive(mut arguments: impl Iterator<Item = OsString>) -> u8 {
    let done = match arguments.next().as_deref().and_then(|role| role.to_str()) {
        Some("between") => setsid().map_err(io::Error::from).and_then(|_| start("survivor")),
        Some("survivor") => writeln!(io::stdout(), "up").map(|()| live()),
        _ => start("between").map(|()| live()),
    };
    if done.is_ok() { SUCCESS } else { FAILURE }
}

fn live() {
    // An interruption ends it earlier, which is as good.
    let _ = poll(&mut [], Some(&LIFE));
}

/// Starts the next role and does not wait for it.
#[expect(clippy::disallowed_methods, reason = "a stage of our own, which leaves its group on purpose")]
fn start(role: &str) -> io::Result<()> {
    Command::new(std::env::current_exe()?).args([ENTRY, SURVIVE, role]).stdin(Stdio::null()).spawn().map(drop)
}
