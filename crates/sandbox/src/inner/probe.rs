//! Measures what a machine gives, by confining our own executable and looking at how it ends.

use std::ffi::{OsStr, OsString};
use std::io::{self, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use co_model::{SandboxMode, SandboxPolicy};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::{ENTRY, NOTHING};
use crate::bubblewrap::{command_line, weaker_command_line};
use crate::layers::Layers;
use crate::plan::Plan;
use crate::request::Request;
use crate::sys::landlock_version;

/// Far more than any machine needs; a hang must not hang us.
const PATIENCE: Duration = Duration::from_secs(5);
/// How much of an explanation is kept.
const MAX_REASON: u64 = 400;

/// Tries the whole sandbox, and without it the weaker one.
pub(crate) fn probe(search_path: &OsStr, helper: &Path) -> Layers {
    let argv = [helper.as_os_str().to_owned(), ENTRY.into(), NOTHING.into()];
    let policy = SandboxPolicy::of(SandboxMode::ReadOnly);
    let request = Request {
        argv: &argv,
        cwd: Path::new("/"),
        env: &[],
        workspace: Path::new("/"),
        policy: &policy,
        helper,
        secrets: &[],
        readable: &[],
        held: &[],
        scratch: None,
        egress: None,
        accept_weaker: false,
    };
    let plan = match Plan::resolve(&request) {
        Ok(plan) => plan,
        Err(error) => return Layers::none(error.to_string()),
    };
    let landlock = landlock_version();
    let bubblewrap = find(OsStr::new("bwrap"), search_path)
        .and_then(|path| path.canonicalize().ok())
        .ok_or_else(|| "`bwrap` is not on PATH".to_owned())
        .and_then(|path| run(&command_line(&path, &plan, &request, None, landlock.is_some())).map(|()| path));
    let has_weaker = || {
        let mut line = weaker_command_line(&plan, &request);
        line.retain(|word| landlock.is_some() || word != "--landlock");
        run(&line).is_ok()
    };
    // The whole sandbox has shown already that the filter is accepted.
    let seccomp = bubblewrap.is_ok() || has_weaker();
    Layers { bubblewrap, seccomp, landlock, seatbelt: None }
}

/// Finds a program as a shell would.
fn find(name: &OsStr, search_path: &OsStr) -> Option<PathBuf> {
    std::env::split_paths(search_path)
        .filter(|folder| folder.is_absolute())
        .map(|folder| folder.join(name))
        .find(|path| {
            path.metadata().is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
        })
}

#[expect(clippy::disallowed_methods, reason = "a stage of our own, which ends at once")]
fn run(argv: &[OsString]) -> Result<(), String> {
    let (program, arguments) = argv.split_first().ok_or("there is nothing to run")?;
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| error.to_string())?;
    match wait(&mut child) {
        Ok(Some(status)) if status.success() => Ok(()),
        Ok(Some(_)) => Err(reason(child)),
        Ok(None) => Err(format!("it did not end within {PATIENCE:?}")),
        Err(error) => Err(error.to_string()),
    }
}

/// Waits for the end, and kills what does not come to one.
fn wait(child: &mut Child) -> io::Result<Option<ExitStatus>> {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::InvalidInput)?;
    let handle = pidfd_open(pid, PidfdFlags::empty())?;
    let patience = Timespec::try_from(PATIENCE).map_err(io::Error::other)?;
    if poll(&mut [PollFd::new(&handle, PollFlags::IN)], Some(&patience))? == 0 {
        child.kill()?;
        child.wait()?;
        return Ok(None);
    }
    child.wait().map(Some)
}

fn reason(child: Child) -> String {
    let mut bytes = Vec::new();
    if let Some(stderr) = child.stderr {
        // What cannot be read is not part of the explanation.
        drop(stderr.take(MAX_REASON).read_to_end(&mut bytes));
    }
    let text = String::from_utf8_lossy(&bytes);
    let printable: String =
        text.lines().next().unwrap_or_default().chars().filter(|c| !c.is_control()).collect();
    if printable.is_empty() { "it failed without a word".into() } else { printable }
}
