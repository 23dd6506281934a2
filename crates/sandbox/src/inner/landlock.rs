//! Landlock: what namespaces and mounts leave open, and in the weaker sandbox all that holds the file system.
//!
//! Besides mounts it closes named pipes, which a read-only mount leaves writable, and abstract sockets and signals,
//! which no mount knows. Reading is not restricted.

use std::io;
use std::os::fd::AsFd as _;

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible as _, PathBeneath, PathFd,
    Ruleset, RulesetAttr as _, RulesetCreatedAttr as _, RulesetStatus, Scope,
};
use rustix::fs::{FileType, fstat};

use super::confine::{ConfineError, Confinement};
use crate::plan::Reach;

/// The newest version whose rights are known here; an older kernel holds what it knows, and says so in the probe.
const VERSION: ABI = ABI::V6;

/// Devices that programs expect to write, where `/dev` is the host's own.
const HARMLESS_DEVICES: [&str; 7] =
    ["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty", "/dev/ptmx"];

/// Restricts this thread and everything it starts from now on.
pub(super) fn restrict(confinement: &Confinement) -> Result<(), ConfineError> {
    let status = build(confinement).map_err(ConfineError::Landlock)?;
    if status == RulesetStatus::NotEnforced { Err(ConfineError::LandlockAbsent) } else { Ok(()) }
}

fn build(confinement: &Confinement) -> Result<RulesetStatus, landlock::RulesetError> {
    let mut rules = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_write(VERSION))?
        .scope(Scope::from_all(VERSION))?;
    // Inside a network namespace of its own the program may do what it likes.
    if !confinement.init && confinement.reach != Reach::Everything {
        rules = rules.handle_access(AccessNet::from_all(VERSION))?;
    }
    let mut created = rules.create()?;
    let root = AccessFs::from_write(VERSION) & !(AccessFs::MakeChar | AccessFs::MakeBlock);
    let device: BitFlags<AccessFs> = AccessFs::WriteFile | AccessFs::Truncate | AccessFs::IoctlDev;
    for path in &confinement.writable {
        created = allow(created, path, root)?;
    }
    if confinement.init {
        created = allow(created, "/dev", root)?;
    } else {
        for path in HARMLESS_DEVICES {
            created = allow(created, path, device)?;
        }
        created = allow(created, "/dev/pts", device)?;
    }
    // What was given to the program may be opened again by name: `echo >/dev/stderr`. Pipes need no rule.
    let (stdin, stdout, stderr) = (io::stdin(), io::stdout(), io::stderr());
    for stream in [stdin.as_fd(), stdout.as_fd(), stderr.as_fd()] {
        let is_named = fstat(stream).is_ok_and(|stat| {
            matches!(FileType::from_raw_mode(stat.st_mode), FileType::CharacterDevice | FileType::RegularFile)
        });
        if is_named {
            created = created.add_rule(PathBeneath::new(stream, device))?;
        }
    }
    Ok(created.restrict_self()?.ruleset)
}

/// Adds a rule for a path; one that does not exist cannot be written anyway.
fn allow(
    created: landlock::RulesetCreated,
    path: impl AsRef<std::path::Path>,
    access: impl Into<BitFlags<AccessFs>>,
) -> Result<landlock::RulesetCreated, landlock::RulesetError> {
    match PathFd::new(path) {
        Ok(folder) => created.add_rule(PathBeneath::new(folder, access.into())),
        Err(_) => Ok(created),
    }
}
