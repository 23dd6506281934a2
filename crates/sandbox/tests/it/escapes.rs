//! Every attempt to break out, in every mode, as ourselves and as a user without privileges.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use co_model::SandboxMode;
use co_sandbox::Sandbox;
use co_sandbox::escape::{Attempts, Course, CourseNetwork, run, suite};

use crate::world::{helper, is_root, sandbox, tree, without_bubblewrap};

const MODES: [SandboxMode; 2] = [SandboxMode::ReadOnly, SandboxMode::WorkspaceWrite];
const NETWORKS: [CourseNetwork; 3] = [CourseNetwork::Off, CourseNetwork::Allowed, CourseNetwork::On];
const NOBODY: (u32, u32) = (65534, 65534);

/// Ourselves, and nobody where we may become nobody.
fn users() -> Vec<Option<(u32, u32)>> {
    if is_root() { vec![None, Some(NOBODY)] } else { vec![None] }
}

fn attempt(
    sandbox: &Sandbox,
    mode: SandboxMode,
    network: CourseNetwork,
    user: Option<(u32, u32)>,
) -> Attempts {
    let scratch = tempfile::tempdir().unwrap();
    fs::set_permissions(scratch.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let course =
        Course { mode, network, user, helper: helper(), scratch: scratch.path(), accept_weaker: true };
    let attempts = run(sandbox, &course).unwrap();
    assert_eq!(tree(scratch.path()), Vec::<std::path::PathBuf>::new(), "litter");
    attempts
}

#[track_caller]
fn assert_held(attempts: &Attempts, circumstances: &str) {
    let escaped: Vec<_> = attempts.attempts.iter().filter(|attempted| !attempted.held).collect();
    assert!(escaped.is_empty(), "{circumstances}: {escaped:#?}");
}

#[test]
fn nothing_escapes_the_whole_sandbox() {
    let sandbox = sandbox();
    for user in users() {
        for mode in MODES {
            for network in NETWORKS {
                let attempts = attempt(&sandbox, mode, network, user);
                assert_held(&attempts, &format!("{mode:?} {network:?} {user:?}"));
                assert_eq!(attempts.weaker, None);
                assert_eq!(attempts.layers, sandbox.layers().available());
                assert!(attempts.attempts.len() >= 36, "{}", attempts.attempts.len());
            }
        }
    }
}

#[test]
fn what_the_weaker_sandbox_claims_to_hold_is_held() {
    let sandbox = without_bubblewrap();
    for user in users() {
        for mode in MODES {
            for network in [CourseNetwork::Off, CourseNetwork::On] {
                let attempts = attempt(&sandbox, mode, network, user);
                assert_held(&attempts, &format!("{mode:?} {network:?} {user:?}"));
                assert!(attempts.weaker.is_some());
            }
        }
    }
}

/// An attempt that would fail by itself proves nothing: without a sandbox they all succeed.
///
/// They mount things then, so this runs in a mount namespace of its own.
#[test]
fn outside_the_sandbox_the_attempts_succeed() {
    // Without privileges nothing can be mounted either, so no namespace is needed.
    let around = if is_root() { &["unshare", "--mount", "--propagation", "private"][..] } else { &["env"] };
    let output = Command::new(around[0])
        .args(&around[1..])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "escapes::unconfined", "--ignored", "--nocapture"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
#[ignore = "run by `outside_the_sandbox_the_attempts_succeed`, in a mount namespace of its own"]
fn unconfined() {
    // What this machine may refuse to everybody, and what is there in a sandbox only.
    let needs_more = [
        "write-kernel-trigger",
        "write-system-tree",
        "write-device",
        "open-init-memory",
        "tcp-outside",
        "vsock",
        "proxy-unnamed-host",
    ];
    let needs_privileges = [
        "write-kernel-settings",
        "make-device",
        "trace-parent",
        "trace-process",
        "mount",
        "remount",
        "enter-namespace",
        "change-root",
        "kernel-program",
        "packet",
        "terminal-injection",
        "terminal-injection-high",
        "user-namespace",
    ];
    let may_fail =
        |name: &str| needs_more.contains(&name) || (!is_root() && needs_privileges.contains(&name));
    let scratch = tempfile::tempdir().unwrap();
    let course = Course {
        mode: SandboxMode::DangerFullAccess,
        network: CourseNetwork::Off,
        user: None,
        helper: helper(),
        scratch: scratch.path(),
        accept_weaker: false,
    };
    let attempts = run(&sandbox(), &course).unwrap().attempts;
    let held: Vec<_> = attempts.iter().filter(|one| one.held && !may_fail(&one.name)).collect();
    assert!(held.is_empty(), "{held:#?}");
    assert!(attempts.len() >= 40);
}

#[test]
fn names_are_unique_and_every_course_expects_something() {
    let mut names: Vec<&str> = suite().iter().map(|escape| escape.name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), suite().len());
}
