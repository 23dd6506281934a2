//! How hosts come and go, and what becomes of their sessions.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use co_process::Shutdown;
use co_sessions::client::{ConnectError, Connection};
use co_sessions::{Endpoint, HostError, SessionExit, Wait};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags};

use crate::host::{Host, LONG, id, spawn};

fn wait_gone(pid: i32) {
    let Ok(handle) = rustix::process::pidfd_open(Pid::from_raw(pid).unwrap(), PidfdFlags::empty()) else {
        return;
    };
    let mut entries = [PollFd::new(&handle, PollFlags::IN)];
    let timeout = Timespec { tv_sec: 30, tv_nsec: 0 };
    assert_eq!(poll(&mut entries, Some(&timeout)).unwrap(), 1, "process {pid} is still there");
}

#[test]
fn sessions_outlive_their_clients() {
    let host = Host::start();
    let mut first = host.connect();
    first.start(&host.shell("s", "echo one; exec cat")).unwrap();
    drop(first);
    let reply = host.connect().write(&id("s"), b"two\n", Wait::for_output(LONG), None).unwrap();
    assert_eq!((reply.output.as_str(), reply.exit), ("two\n", None));
}

#[test]
fn a_killed_host_takes_its_sessions_with_it_and_a_later_list_says_so() {
    let mut host = Host::start();
    let mut connection = host.connect();
    connection.start(&host.shell("done", "exit 4")).unwrap();
    connection.kill(&id("done"), Shutdown::Immediate, None).unwrap();
    connection
        .start(&host.shell("live", "setsid sleep 300 & echo $!; trap '' HUP TERM; exec sleep 300"))
        .unwrap();
    let info = connection.list().unwrap().pop().unwrap();
    host.process.kill().unwrap();
    host.process.wait().unwrap();
    wait_gone(info.pid.unwrap());
    let left: i32 = fs::read_to_string(host.path("live.log")).unwrap().trim().parse().unwrap();
    wait_gone(left);

    let exits = |list: Vec<co_sessions::SessionInfo>| {
        list.into_iter().map(|info| (info.session.to_string(), info.exit)).collect::<Vec<_>>()
    };
    let wanted =
        [("done".to_owned(), Some(SessionExit::Code(4))), ("live".to_owned(), Some(SessionExit::Lost))];
    assert_eq!(exits(host.endpoint.list_past().unwrap()), wanted);
    assert!(matches!(Connection::connect(&host.endpoint), Err(ConnectError::NotRunning { .. })));

    // The socket that is left behind is replaced, and the names are free.
    let endpoint = host.endpoint.clone();
    let mut connection = Connection::connect_or_start(&endpoint, LONG, || {
        host.process = spawn(&endpoint, LONG, None);
        Ok(())
    })
    .unwrap();
    assert_eq!(exits(connection.list().unwrap()), wanted);
    assert_eq!(connection.start(&host.shell("live", "echo again; exec cat")).unwrap().output, "again\n");
    let list = exits(connection.list().unwrap());
    assert_eq!(list, [wanted[0].clone(), ("live".to_owned(), None)]);
    assert_eq!(connection.prune().unwrap(), [id("done")]);
}

#[test]
fn of_many_started_at_once_one_serves() {
    let folder = tempfile::tempdir().unwrap();
    let endpoint = Endpoint::new(folder.path().join("host"));
    fs::DirBuilder::new().create(endpoint.directory()).unwrap();
    fs::set_permissions(endpoint.directory(), PermissionsExt::from_mode(0o700)).unwrap();
    let started = Mutex::new(Vec::new());
    let pids: Vec<u32> = thread::scope(|scope| {
        let connect = || {
            let start = || {
                started.lock().unwrap().push(spawn(&endpoint, LONG, None));
                Ok(())
            };
            Connection::connect_or_start(&endpoint, LONG, start).unwrap().host_pid()
        };
        let threads: Vec<_> = (0..6).map(|_| scope.spawn(connect)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(pids.iter().all(|pid| *pid == pids[0]), "{pids:?}");
    let (winner, others): (Vec<_>, Vec<_>) =
        started.into_inner().unwrap().into_iter().partition(|process| process.id() == pids[0]);
    for mut process in others {
        assert_eq!(process.wait().unwrap().code(), Some(3));
    }
    Connection::connect(&endpoint).unwrap().shutdown().unwrap();
    for mut process in winner {
        assert!(process.wait().unwrap().success());
    }
}

#[test]
fn a_host_ends_when_nothing_is_left() {
    let (mut host, mut connection) = Host::start_connected(Duration::from_secs(1), None);
    connection.start(&host.shell("s", "echo up; exec cat")).unwrap();
    drop(connection);
    // A running session keeps it.
    let mut connection = host.connect();
    connection.close_input(&id("s")).unwrap();
    while connection.list().unwrap()[0].exit.is_none() {
        connection.poll(&id("s"), Wait::of(LONG), None).unwrap();
    }
    drop(connection);
    assert!(host.process.wait().unwrap().success());
    assert_eq!(host.endpoint.list_past().unwrap()[0].exit, Some(SessionExit::Code(0)));
}

#[test]
fn a_host_that_is_told_to_end_ends_its_sessions_first() {
    let mut host = Host::start();
    let mut connection = host.connect();
    connection.start(&host.shell("s", "trap '' TERM HUP INT; echo up; while :; do sleep 1; done")).unwrap();
    let pid = connection.list().unwrap()[0].pid.unwrap();
    connection.shutdown().unwrap();
    wait_gone(pid);
    assert!(host.process.wait().unwrap().success());
    assert_eq!(host.endpoint.list_past().unwrap()[0].exit, Some(SessionExit::Killed));
}

#[test]
fn the_place_is_private_and_may_be_deep() {
    let host = Host::start();
    let mode =
        |name: &str| fs::metadata(host.endpoint.directory().join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(""), mode("host.sock"), mode("host.lock")), (0o700, 0o600, 0o600));

    fs::set_permissions(host.endpoint.directory(), PermissionsExt::from_mode(0o755)).unwrap();
    let refused = Connection::connect(&host.endpoint).unwrap_err();
    assert!(
        matches!(refused, ConnectError::Endpoint { source: HostError::NotPrivate { .. } }),
        "{refused:?}"
    );

    let deep = host.path(&"d".repeat(120)).join("e".repeat(120));
    fs::create_dir_all(deep.parent().unwrap()).unwrap();
    let endpoint = Endpoint::new(&deep);
    let mut process = None;
    let connection = Connection::connect_or_start(&endpoint, LONG, || {
        process = Some(spawn(&endpoint, LONG, None));
        Ok(())
    });
    connection.unwrap().shutdown().unwrap();
    assert!(process.unwrap().wait().unwrap().success());
}

#[test]
fn a_host_that_cannot_be_started_is_reported() {
    let folder = tempfile::tempdir().unwrap();
    let endpoint = Endpoint::new(folder.path().join("host"));
    let refused =
        Connection::connect_or_start(&endpoint, LONG, || Err(std::io::Error::other("no"))).unwrap_err();
    assert!(matches!(refused, ConnectError::Start { .. }));
    let late = Connection::connect_or_start(&endpoint, Duration::from_millis(50), || Ok(())).unwrap_err();
    assert!(matches!(late, ConnectError::TooLate { .. }));
}
