//! The transformation itself: what is refused, what stays as it is, what is stated.

use std::ffi::OsString;

use co_model::{NetworkAccess, SandboxMode, SandboxPolicy};
use co_sandbox::{Layer, Layers, SandboxError};

use crate::world::{World, sandbox, words};

#[test]
fn this_machine_gives_everything() {
    let layers = sandbox().layers().clone();
    assert!(layers.bubblewrap.is_ok(), "{layers:?}");
    assert!(
        matches!(layers.available()[..], [Layer::Bubblewrap, Layer::Seccomp, Layer::Landlock(_)]),
        "{layers:?}"
    );
    let names = layers.names();
    assert_eq!(names[..2], ["bubblewrap", "seccomp"]);
    let text = serde_json::to_string(&layers.available()).unwrap();
    assert_eq!(text, serde_json::to_string(&names).unwrap());
    assert_eq!(serde_json::from_str::<Vec<Layer>>(&text).unwrap(), layers.available());
    let kept = serde_json::to_string(&layers).unwrap();
    assert_eq!(serde_json::from_str::<Layers>(&kept).unwrap(), layers);
}

#[test]
fn full_access_changes_nothing() {
    let mut world = World::writable();
    world.policy = SandboxPolicy::FULL_ACCESS;
    let wrapped = world.wrap(&["a", "b\nc"]);
    assert_eq!((wrapped.argv, wrapped.env), (words(&["a", "b\nc"]), Vec::new()));
    assert_eq!((wrapped.layers, wrapped.weaker), (Vec::new(), None));
}

#[test]
fn what_no_program_can_receive_is_refused() {
    let world = World::read_only();
    for argv in [&[][..], &["a", "b\0c"], &["\0"]] {
        let refused = world.try_wrap(&words(argv)).unwrap_err();
        assert!(matches!(refused, SandboxError::Unusable { what: "argument list" }), "{refused}");
    }
    let mut gone = World::read_only();
    gone.workspace = gone.around("gone");
    assert!(matches!(gone.try_wrap(&words(&["a"])), Err(SandboxError::Resolve { .. })));
}

#[test]
fn arguments_arrive_byte_for_byte() {
    let world = World::read_only();
    let long = "x".repeat(100_000);
    let hostile = ["", "--", "--write", "-c", "a b", "new\nline", "'\"$(x)`", long.as_str()];
    let mut argv = words(&["/usr/bin/printf", "%s\\0"]);
    argv.extend(hostile.iter().map(OsString::from));
    let ran = world.run_words(&argv, b"");
    assert_eq!(ran.succeeded().split_terminator('\0').collect::<Vec<_>>(), hostile);
}

#[test]
fn the_environment_is_the_programs_own() {
    let ran = World::read_only().run(&["/usr/bin/env"]);
    let mut names: Vec<&str> = ran.succeeded().lines().filter_map(|line| line.split('=').next()).collect();
    names.sort_unstable();
    // bubblewrap sets PWD when it enters the working directory, as a shell would.
    assert_eq!(names, ["PATH", "PWD"]);
}

#[test]
fn an_allow_listed_network_needs_its_proxy() {
    let world = World::read_only().network(NetworkAccess::Allowed(Vec::new()));
    assert!(matches!(world.try_wrap(&words(&["a"])), Err(SandboxError::NoEgress)));
}

#[test]
fn a_bubblewrap_that_can_be_replaced_is_none() {
    let mut world = World::writable();
    let real = world.sandbox.layers().bubblewrap.clone().unwrap();
    std::fs::copy(real, world.workspace.join("bwrap")).unwrap();
    world.sandbox = co_sandbox::Sandbox::probe(world.workspace.as_os_str(), crate::world::helper());
    let refused = world.try_wrap(&words(&["true"])).unwrap_err();
    assert!(refused.to_string().contains("a bubblewrap that the program cannot replace"), "{refused}");
    world.policy.mode = SandboxMode::ReadOnly;
    world.run(&["/bin/true"]).succeeded();
}

#[test]
fn a_machine_without_a_filter_refuses() {
    let mut layers = sandbox().layers().clone();
    layers.seccomp = false;
    let mut world = World::new(SandboxMode::ReadOnly).layers(layers);
    world.accept_weaker = true;
    let refused = world.try_wrap(&words(&["a"])).unwrap_err();
    assert!(refused.to_string().contains("seccomp"), "{refused}");
}

#[test]
fn a_machine_without_landlock_says_so() {
    let mut layers = sandbox().layers().clone();
    layers.landlock = None;
    let world = World::read_only().layers(layers);
    let wrapped = world.wrap(&["/bin/true"]);
    assert!(wrapped.weaker.as_deref().unwrap().starts_with("landlock is missing"));
    assert_eq!(wrapped.layers, [Layer::Bubblewrap, Layer::Seccomp]);
    world.run(&["/bin/true"]).succeeded();
}
