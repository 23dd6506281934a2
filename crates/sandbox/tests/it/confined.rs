//! What a confined program can and cannot do with files, and what is left behind.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use co_model::SandboxMode;
use co_sandbox::{Layers, SandboxError, sweep};
use rustix::process::{Pid, Signal, kill_process_group};

use crate::world::{Ran, World, sandbox, tree, words};

const READ_ONLY: &str = "Read-only file system";

#[test]
fn the_workspace_is_written_and_nothing_else() {
    let world = World::writable();
    world
        .shell("echo new > file && mkdir -p a/b && mv file a/b/ && ln a/b/file a/hard && rm a/hard")
        .succeeded();
    assert_eq!(fs::read_to_string(world.workspace.join("a/b/file")).unwrap(), "new\n");
    world.shell("echo x > ../outside").failed_with(READ_ONLY);
    world.shell("echo x > /tmp/outside").failed_with(READ_ONLY);
    world.shell("echo x > /dev/outside").failed_with(READ_ONLY);
    world.shell("echo x > /dev/null && echo x > /dev/shm/x && mktemp -p /dev/shm").succeeded();
    World::read_only().shell("echo x > file").failed_with(READ_ONLY);
    World::read_only().shell("cat /etc/passwd && ls / && echo x >/dev/null").succeeded();
}

#[test]
fn temporary_folders_and_declared_roots_are_open_unless_excluded() {
    let mut world = World::writable();
    let (temporary, declared) = (world.around("temporary"), world.around("declared"));
    fs::create_dir(&temporary).unwrap();
    fs::create_dir(&declared).unwrap();
    symlink(&declared, world.around("alias")).unwrap();
    world.env.push(("TMPDIR".into(), temporary.clone().into()));
    world.env.push(("D".into(), declared.clone().into()));
    world.policy.writable_roots =
        vec![world.around("alias").to_str().unwrap().into(), "/nowhere/at/all".into(), "relative".into()];
    world.shell("echo x > $TMPDIR/x").failed_with(READ_ONLY);
    world.shell("echo x > $D/x").succeeded();
    world.policy.exclude_tmpdir = false;
    world.shell("echo x > $TMPDIR/x && mv $TMPDIR/x $D/y").succeeded();
    world.policy.exclude_slash_tmp = false;
    let name = world.folder.path().file_name().unwrap().to_str().unwrap().to_owned();
    world.shell(&format!("echo x > /tmp/{name}.x && rm /tmp/{name}.x")).succeeded();
    assert!(!PathBuf::from("/tmp/.codex").exists(), "litter");
}

#[test]
fn protected_names_are_read_only_and_missing_ones_leave_nothing() {
    let world = World::writable();
    fs::create_dir(world.workspace.join(".git")).unwrap();
    fs::write(world.workspace.join(".git/config"), "old").unwrap();
    let before = tree(world.folder.path());
    for line in [
        "echo x > .git/config",
        "echo x > .git/new",
        "rm -r .git/config",
        "mv .git gone",
        "mkdir .codex/x",
        "echo x > .codex/config.toml",
        "rmdir .codex",
        "mv .agents gone",
        "ln -s /tmp .agents/x",
        "chmod 777 .codex",
    ] {
        let ran = world.shell(line);
        assert_ne!(ran.code, Some(0), "{line}: {ran:?}");
    }
    assert_eq!(tree(world.folder.path()), before);
    assert_eq!(fs::read_to_string(world.workspace.join(".git/config")).unwrap(), "old");
}

#[test]
fn a_worktree_protects_its_repository_too() {
    let mut world = World::writable();
    let repository = world.around("repository");
    let own = repository.join(".git/worktrees/one");
    fs::create_dir_all(&own).unwrap();
    fs::create_dir(repository.join(".git/hooks")).unwrap();
    fs::write(own.join("commondir"), "../..\n").unwrap();
    fs::write(world.workspace.join(".git"), format!("gitdir: {}\n", own.display())).unwrap();
    world.policy.writable_roots =
        vec![repository.to_str().unwrap().into(), repository.join(".git/worktrees").to_str().unwrap().into()];
    world.env.push(("R".into(), repository.clone().into()));
    world.shell("echo x > $R/file").succeeded();
    world.shell("echo 'gitdir: /tmp' > .git").failed_with(READ_ONLY);
    world.shell("echo x > $R/.git/hooks/pre-commit").failed_with(READ_ONLY);
    // Declared on purpose, but it holds what the worktree's `.git` leads to.
    world.shell("echo x > $R/.git/worktrees/other").succeeded();
    world.shell("echo x > $R/.git/worktrees/one/HEAD").failed_with(READ_ONLY);
    // A pointer to the workspace itself is not believed: it would close it.
    fs::write(world.workspace.join(".git"), "gitdir: .\n").unwrap();
    world.shell("echo x > file").succeeded();
}

#[test]
fn a_protected_link_is_refused_or_stated() {
    let mut world = World::writable();
    fs::create_dir(world.workspace.join("real")).unwrap();
    symlink("real", world.workspace.join(".agents")).unwrap();
    let refused = world.try_wrap(&words(&["true"])).unwrap_err();
    assert!(
        matches!(&refused, SandboxError::Unavailable { missing } if missing.contains(".agents` is a symbolic link")),
        "{refused}"
    );
    world.accept_weaker = true;
    let stated = world.wrap(&["true"]).weaker.unwrap();
    assert!(stated.contains(".agents` is a symbolic link and can be replaced"), "{stated}");
    world.shell("echo x > real/skill").failed_with(READ_ONLY);
}

#[test]
fn secrets_are_hidden_and_a_workspace_inside_stays() {
    let mut world = World::writable();
    let state = world.around("state");
    let inside = state.join("trees/one");
    fs::create_dir_all(&inside).unwrap();
    fs::write(state.join("log"), "secret").unwrap();
    fs::write(world.around("token"), "secret").unwrap();
    symlink(world.around("token"), world.around("alias")).unwrap();
    world.secrets = vec![state.clone(), world.around("alias"), world.around("not-there")];
    world.env.push(("S".into(), state.clone().into()));
    for line in ["cat $S/log", "ls $S", "cat ../token", "cat ../alias", "echo x > $S/new", "cp ../token copy"]
    {
        let ran = world.shell(line);
        assert!(ran.code != Some(0) && !ran.stdout.contains("secret"), "{line}: {ran:?}");
    }
    // The same with the workspace inside the hidden folder, writable or not.
    world.workspace = inside.clone();
    world.shell("echo x > file && cat file").succeeded();
    world.shell("cat ../../log").failed_with("No such file");
    world.policy.mode = SandboxMode::ReadOnly;
    world.shell("cat file").succeeded();
    world.shell("echo x > other").failed_with(READ_ONLY);
    assert_eq!(fs::read_to_string(state.join("log")).unwrap(), "secret");
}

/// A folder that holds what is protected could be moved away, and with it the protection.
#[test]
fn nothing_above_what_is_protected_can_be_moved_or_replaced() {
    let mut world = World::writable();
    let records = world.workspace.join("deep/er/records");
    for folder in ["deep/er/records/own", "deep/er/records/other", "out/task", "free"] {
        fs::create_dir_all(world.workspace.join(folder)).unwrap();
    }
    fs::write(records.join("own/log"), "mine").unwrap();
    fs::write(records.join("own/token"), "secret").unwrap();
    fs::write(records.join("other/token"), "secret").unwrap();
    world.secrets = vec![records.clone(), records.join("own/token")];
    world.readable = vec![records.join("own"), world.around("not-there")];
    world.held = vec![world.workspace.join("out"), world.around("not-there")];
    let before = tree(world.folder.path());
    for line in [
        "mv deep gone",
        "mv deep/er deep/gone",
        "mv deep/er/records deep/er/gone",
        "rm -rf deep",
        "mv out gone",
        "echo x > deep/er/records/journal",
        "echo x > deep/er/records/own/log",
        "mv deep/er/records/own deep/er/records/gone",
        "cat deep/er/records/own/token | grep .",
        "cat deep/er/records/other/token",
    ] {
        let ran = world.shell(line);
        assert!(ran.code != Some(0) && !ran.stdout.contains("secret"), "{line}: {ran:?}");
    }
    assert_eq!(tree(world.folder.path()), before);
    // All around it stays as free as it was, and the own folder can be read.
    let said = world.shell(
        "cat deep/er/records/own/log; mv free deep/; mv deep/free .; mv out/task out/t; mv out/t out/task",
    );
    assert_eq!(said.succeeded(), "mine");
}

/// A mount that holds a folder is a writable one: it is made only where the folder can be written anyway.
#[test]
fn what_is_held_does_not_become_writable() {
    let without_landlock = Layers { landlock: None, ..sandbox().layers().clone() };
    for mut world in [World::read_only(), World::writable()] {
        let inside = world.workspace.join("out");
        fs::create_dir(&inside).unwrap();
        fs::create_dir(world.around("out")).unwrap();
        world.held = vec![inside, world.around("out")];
        let world = world.layers(without_landlock.clone());
        world.shell("echo x > ../out/file").failed_with(READ_ONLY);
        let ran = world.shell("echo x > out/file");
        assert_eq!(ran.code == Some(0), world.policy.mode == SandboxMode::WorkspaceWrite, "{ran:?}");
    }
}

/// Who works below a writable folder can write all around the workspace.
#[test]
fn a_repository_around_the_workspace_is_protected() {
    let mut world = World::writable();
    let repository = world.around("a/repository");
    let workspace = repository.join("inner");
    fs::create_dir_all(repository.join(".git/hooks")).unwrap();
    fs::create_dir(&workspace).unwrap();
    world.policy.writable_roots = vec![world.folder.path().canonicalize().unwrap().to_str().unwrap().into()];
    world.workspace = workspace;
    let before = tree(world.folder.path());
    for line in [
        "echo x > ../.git/hooks/pre-commit",
        "mkdir ../.codex && echo x > ../.codex/config.toml",
        "mv ../../../a ../../../gone",
        "mv ../../repository ../../gone",
        "mv ../.git ../gone",
    ] {
        let ran = world.shell(line);
        assert_ne!(ran.code, Some(0), "{line}: {ran:?}");
    }
    assert_eq!(tree(world.folder.path()), before);
    world.shell("echo x > ../file && echo x > file").succeeded();
}

#[test]
fn a_folder_of_ours_is_open_in_every_sandbox_and_its_neighbours_are_not() {
    for mut world in [World::read_only(), World::writable(), World::read_only().weaker()] {
        let hidden = world.around("state");
        let scratch = hidden.join("scratch/one");
        fs::create_dir_all(&scratch).unwrap();
        fs::create_dir(hidden.join("scratch/two")).unwrap();
        world.secrets = vec![hidden.clone()];
        world.scratch = Some(scratch.clone());
        world.env.push(("S".into(), scratch.into()));
        let said = world.shell("mkfifo $S/pipe && { cat $S/pipe & } && echo through > $S/pipe && wait");
        assert_eq!(said.succeeded(), "through\n");
        let beside = world.shell("echo x > $S/../two/file; echo x > $S/../file");
        assert_ne!(beside.code, Some(0), "{beside:?}");
        assert!(!hidden.join("scratch/file").exists() && !hidden.join("scratch/two/file").exists());
    }
}

#[test]
fn the_systems_own_interfaces_are_no_roots() {
    let mut world = World::writable();
    for root in ["/", "/proc", "/proc/self", "/sys/kernel", "/dev"] {
        world.policy.writable_roots = vec![root.into()];
        let refused = world.try_wrap(&words(&["true"])).unwrap_err();
        assert!(matches!(refused, SandboxError::ForbiddenRoot { .. }), "{root}: {refused}");
    }
}

#[test]
fn places_are_shared_and_the_last_one_takes_them_away() {
    let world = World::writable();
    let settings = world.workspace.join(".codex");
    let first = world.wrap(&["true"]);
    let second = world.wrap(&["true"]);
    assert_eq!(fs::metadata(&settings).unwrap().mode() & 0o7777, 0o1555);
    drop(first);
    assert!(settings.is_dir(), "the second one still needs it");
    drop(second);
    assert!(!settings.exists());
    // What a killed process left is adopted by the next one, or swept.
    for adopt in [true, false] {
        fs::create_dir(&settings).unwrap();
        fs::set_permissions(&settings, fs::Permissions::from_mode(0o1555)).unwrap();
        if adopt {
            drop(world.wrap(&["true"]));
        } else {
            sweep(&world.workspace);
        }
        assert!(!settings.exists());
    }
    // What the user puts into one makes it the user's.
    let held = world.wrap(&["true"]);
    fs::set_permissions(&settings, fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(settings.join("config.toml"), "").unwrap();
    drop(held);
    assert_eq!(fs::metadata(&settings).unwrap().mode() & 0o7777, 0o755);
    fs::remove_dir_all(&settings).unwrap();
    // A folder of the user stays, empty or not.
    fs::create_dir(&settings).unwrap();
    drop(world.wrap(&["true"]));
    sweep(&world.workspace);
    assert!(settings.is_dir());
}

#[test]
fn many_at_once_leave_nothing() {
    let world = World::writable();
    std::thread::scope(|scope| {
        for number in 0..8 {
            let world = &world;
            scope.spawn(move || {
                for _ in 0..4 {
                    let ran = world.shell(&format!("echo {number} > {number}; ! mkdir .codex/x 2>/dev/null"));
                    ran.succeeded();
                }
            });
        }
    });
    assert_eq!(tree(&world.workspace).len(), 8);
}

#[test]
fn a_killed_launcher_takes_everything_with_it() {
    let world = World::writable();
    let wrapped = world.wrap(&["/bin/sh", "-c", "setsid sleep 300 & echo up; sleep 300"]);
    let mut child = world.command(&wrapped).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    stdout.read_line(&mut line).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    // The end of the stream is the end of the last process that could write to it.
    assert_eq!(stdout.read_line(&mut line).unwrap(), 0);
    assert_eq!(line, "up\n");
    drop(wrapped);
    assert_eq!(tree(&world.workspace), Vec::<PathBuf>::new());
}

/// What a terminal does on Ctrl-C, and a supervisor that wants an end: the program alone decides what it means.
#[test]
fn signals_to_the_group_are_the_programs() {
    let world = World::read_only();
    for signal in [Signal::INT, Signal::TERM, Signal::HUP, Signal::QUIT, Signal::USR1] {
        let line = "for s in INT TERM HUP QUIT USR1; do trap \"echo $s; exit 9\" $s; done; echo up; \
            while :; do read -t 0.05 x; done";
        let wrapped = world.wrap(&["/bin/bash", "-c", line]);
        let mut child = world.command(&wrapped).stdout(Stdio::piped()).process_group(0).spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut said = String::new();
        stdout.read_line(&mut said).unwrap();
        kill_process_group(Pid::from_child(&child), signal).unwrap();
        stdout.read_to_string(&mut said).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(9), "{signal:?} {said}");
    }
    // From inside, a signal for the whole group stays inside.
    let ran = world.run(&["/bin/bash", "-c", "trap 'exit 9' TERM; kill -TERM 0; exit 1"]);
    assert_eq!(ran.code, Some(9), "{ran:?}");
    assert_eq!(world.run(&["/bin/bash", "-c", "kill -KILL 0"]).signal, Some(9));
}

#[test]
fn it_works_inside_another_namespace() {
    let world = World::writable();
    let wrapped = world.wrap(&["/bin/sh", "-c", "echo x > file && ! echo x > ../y && cat /proc/self/status"]);
    let output = Command::new("unshare")
        .arg("-rn")
        .args(&wrapped.argv)
        .current_dir(&world.workspace)
        .output()
        .unwrap();
    assert!(Ran::from(output).succeeded().contains("NoNewPrivs:\t1"));
}

#[test]
fn hostile_paths_are_only_paths() {
    for name in ["with space", "qu'o\"te", "new\nline", "--bind", "$HOME;true", "ünïcode"] {
        let world = World::named(SandboxMode::WorkspaceWrite, OsStr::new(name));
        world.shell("echo x > file && ! mkdir .git/x").succeeded();
        assert!(world.workspace.join("file").is_file());
    }
    let no_text = OsStr::from_bytes(b"no\xfftext");
    let world = World::named(SandboxMode::WorkspaceWrite, no_text);
    world.shell("echo x > file").succeeded();
}

#[test]
fn sockets_stay_closed_but_pairs_work() {
    let python = "import socket, subprocess\n\
        a, b = socket.socketpair(); a.send(b'x'); assert b.recv(1) == b'x'; a.shutdown(socket.SHUT_WR)\n\
        subprocess.run(['true'], check=True)\n\
        try:\n    socket.socket()\nexcept PermissionError:\n    print('closed')";
    assert_eq!(World::read_only().run(&["python3", "-c", python]).succeeded(), "closed\n");
    let node =
        "const c = require('child_process'); c.exec('cat', (e, out) => console.log(e, out)).stdin.end('hi')";
    assert_eq!(World::read_only().run(&["node", "-e", node]).succeeded(), "null hi\n");
}
