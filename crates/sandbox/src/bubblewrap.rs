//! The Linux command line: namespaces and mounts by bubblewrap, the rest by our own inner stage.

use std::ffi::OsString;
use std::path::Path;

use crate::inner::{CONFINE, ENTRY, LAUNCH};
use crate::plan::{Plan, Reach, View};
use crate::request::Request;

/// Where the inner stage finds the egress proxy: in the private `/dev`, so that nothing is made on the host.
const EGRESS_PATH: &str = "/dev/.egress";

/// What a fresh `/proc` still shares with the host, and what root could change there without any privilege.
///
/// bubblewrap covers some of it, but not `/proc/sys`: it asks for the folder's mode, not for what lies below.
const KERNEL_SETTINGS: [&str; 7] =
    ["/proc/sys", "/proc/sysrq-trigger", "/proc/irq", "/proc/bus", "/proc/fs", "/proc/acpi", "/proc/scsi"];

/// Renders the whole sandbox: our launcher, bubblewrap, our inner stage, the program.
pub(crate) fn command_line(
    bubblewrap: &Path,
    plan: &Plan,
    request: &Request<'_>,
    egress: Option<&Path>,
    landlock: bool,
) -> Vec<OsString> {
    let mut line = Line::of(request.helper);
    line.words([ENTRY, LAUNCH, "--"]).word(bubblewrap);
    // The program may have its own terminal and job control, so it stays in its session: what a new session would
    // protect from, typing into a terminal, is refused by the filter of system calls.
    line.words(["--unshare-user", "--unshare-pid", "--unshare-ipc", "--as-pid-1", "--die-with-parent"]);
    line.words(["--cap-drop", "ALL"]);
    if plan.reach != Reach::Everything {
        line.words(["--unshare-net"]);
    }
    line.words(["--ro-bind", "/", "/", "--dev", "/dev", "--tmpfs", "/dev/shm"]);
    if let Some(socket) = egress {
        line.words(["--ro-bind"]).word(socket).words([EGRESS_PATH]);
    }
    line.words(["--remount-ro", "/dev", "--proc", "/proc"]);
    for path in KERNEL_SETTINGS.map(Path::new).into_iter().filter(|path| path.exists()) {
        line.words(["--ro-bind"]).word(path).word(path);
    }
    for (path, view) in &plan.views {
        match view {
            // What is mounted on cannot be moved.
            View::Writable | View::Held => line.words(["--bind"]).word(path).word(path),
            View::ReadOnly => line.words(["--ro-bind"]).word(path).word(path),
            // Passable, so that a workspace inside stays reachable; nothing to list, nothing to write.
            View::HiddenFolder => line.words(["--perms", "0111", "--tmpfs"]).word(path),
            View::HiddenFile => line.words(["--ro-bind", "/dev/null"]).word(path),
        };
    }
    for path in plan.of_view(&[View::HiddenFolder]) {
        line.words(["--remount-ro"]).word(path);
    }
    line.words(["--chdir"]).word(request.cwd).words(["--"]).word(request.helper);
    line.words([ENTRY, CONFINE, "--init"]);
    if egress.is_some() {
        line.words(["--egress", EGRESS_PATH]);
    }
    line.confinement(plan, request, landlock);
    line.0
}

/// Renders the weaker sandbox: Landlock and seccomp alone, in the program's own process.
pub(crate) fn weaker_command_line(plan: &Plan, request: &Request<'_>) -> Vec<OsString> {
    let mut line = Line::of(request.helper);
    line.words([ENTRY, CONFINE]);
    line.confinement(plan, request, true);
    line.0
}

struct Line(Vec<OsString>);

impl Line {
    fn of(program: &Path) -> Self {
        Self(vec![program.into()])
    }

    fn word(&mut self, word: impl Into<OsString>) -> &mut Self {
        self.0.push(word.into());
        self
    }

    fn words<const COUNT: usize>(&mut self, words: [&str; COUNT]) -> &mut Self {
        self.0.extend(words.map(OsString::from));
        self
    }

    fn confinement(&mut self, plan: &Plan, request: &Request<'_>, landlock: bool) {
        self.words(["--network", plan.reach.as_str()]);
        if landlock {
            self.words(["--landlock"]);
        }
        for root in plan.of_view(&[View::Writable]) {
            self.words(["--write"]).word(root);
        }
        self.words(["--"]);
        self.0.extend(request.argv.iter().cloned());
    }
}
