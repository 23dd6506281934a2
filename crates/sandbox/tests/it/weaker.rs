//! Machines without bubblewrap: refusal, and the weaker sandbox for those who accept it.

use std::fs;

use co_model::NetworkAccess;
use co_sandbox::{Layer, SandboxError};

use crate::world::{World, without_bubblewrap, words};

#[test]
fn without_bubblewrap_nothing_runs_unless_less_is_accepted() {
    let layers = without_bubblewrap().layers().clone();
    assert_eq!(layers.bubblewrap, Err("`bwrap` is not on PATH".into()));
    assert!(layers.seccomp && layers.landlock.is_some());
    let mut world = World::read_only().weaker();
    world.accept_weaker = false;
    let refused = world.try_wrap(&words(&["true"])).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "the sandbox is not available here: bubblewrap with user namespaces (`bwrap` is not on PATH)"
    );
}

#[test]
fn a_bubblewrap_that_fails_is_none() {
    let folder = tempfile::tempdir().unwrap();
    let fake = folder.path().join("bwrap");
    fs::write(&fake, "#!/bin/sh\necho 'bwrap: Creating new namespace failed' >&2\nexit 1\n").unwrap();
    fs::set_permissions(&fake, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let layers =
        co_sandbox::Sandbox::probe(folder.path().as_os_str(), crate::world::helper()).layers().clone();
    assert_eq!(layers.bubblewrap, Err("bwrap: Creating new namespace failed".into()));
}

#[test]
fn the_weaker_sandbox_states_what_it_lacks() {
    let mut world = World::writable().weaker();
    fs::write(world.around("token"), "x").unwrap();
    world.secrets = vec![world.around("token")];
    let wrapped = world.wrap(&["true"]);
    assert!(matches!(wrapped.layers[..], [Layer::Seccomp, Layer::Landlock(_)]));
    let weaker = wrapped.weaker.unwrap();
    for part in
        ["bubblewrap with user namespaces", "other processes stay visible", ".git", "token` can be read"]
    {
        assert!(weaker.contains(part), "{weaker}");
    }
    assert!(!world.workspace.join(".codex").exists());
}

#[test]
fn the_weaker_sandbox_holds_files_and_network() {
    let world = World::writable().weaker();
    world
        .shell("echo x > file && mkdir a && mv file a/ && echo x > /dev/null && echo x > /dev/stderr")
        .succeeded();
    world.shell("echo x > ../outside").failed_with("Permission denied");
    World::read_only().weaker().shell("echo x > file").failed_with("Permission denied");
    let connect = "import socket\ntry:\n    socket.socket()\nexcept PermissionError:\n    print('closed')";
    assert_eq!(world.run(&["python3", "-c", connect]).succeeded(), "closed\n");
    // It is the program's own process: codes and signals need nobody to carry them.
    assert_eq!(world.shell("exit 7").code, Some(7));
    assert_eq!(world.shell("kill -9 $$").signal, Some(9));
    assert_eq!(world.run(&["no-such-program"]).code, Some(127));
}

#[test]
fn an_allow_listed_network_cannot_be_weaker() {
    let world = World::read_only().weaker().network(NetworkAccess::Allowed(Vec::new()));
    let refused = world.try_wrap(&words(&["true"])).unwrap_err();
    assert!(
        matches!(&refused, SandboxError::Unavailable { missing } if missing.contains("allow-listed")),
        "{refused}"
    );
}
