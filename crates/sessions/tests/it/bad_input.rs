//! What a hostile or broken program or client does.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};

use co_process::Shutdown;
use co_sessions::client::Refusal;
use co_sessions::{SessionExit, Wait};

use crate::host::{Host, LONG, id, output_with};

#[test]
fn what_does_not_exist_is_refused() {
    let host = Host::start();
    let mut connection = host.connect();
    let unknown = connection.write(&id("nobody"), b"x", Wait::default(), None).unwrap_err();
    assert_eq!(
        (unknown.refusal(), unknown.to_string().as_str()),
        (Some(Refusal::Unknown), "unknown session `nobody`")
    );
    assert_eq!(
        connection.run_in(&id("nobody"), b"", None, None).unwrap_err().refusal(),
        Some(Refusal::Unknown)
    );
    assert_eq!(
        connection.kill(&id("nobody"), Shutdown::Immediate, None).unwrap_err().refusal(),
        Some(Refusal::Unknown)
    );
    let failed = connection.start(&host.program("x", &["no-such-program"])).unwrap_err();
    assert_eq!(failed.refusal(), Some(Refusal::Start));
    assert!(failed.to_string().contains("`no-such-program` was not found"), "{failed}");
    assert!(connection.list().unwrap().is_empty() && host.events("x").is_empty());
    assert!(connection.attach(&id("nobody"), 0).is_err());
}

#[test]
fn lines_that_make_no_sense_are_answered_and_hurt_nobody() {
    let host = Host::start();
    let socket = host.endpoint.directory().join("host.sock");
    for line in [
        "nonsense\n".to_owned(),
        "{\"version\":9,\"request\":{\"method\":\"list\"}}\n".to_owned(),
        "{\"version\":1,\"request\":{\"method\":\"poll\",\"params\":{\"session\":\"../x\"}}}\n".to_owned(),
        "{\"version\":1,\"request\":{\"method\":\"feed\",\"params\":{\"session\":\"x\",\"bytes\":{\"hex\":\"0\"}}}}\n".to_owned(),
        "x".repeat((8 << 20) + 10),
    ] {
        let mut stream = UnixStream::connect(&socket).unwrap();
        // The host may hang up before it has read all of it.
        drop(stream.write_all(line.as_bytes()));
        let mut answer = String::new();
        drop(BufReader::new(&stream).read_line(&mut answer));
        assert!(answer.contains("malformed") || line.len() > 1000, "{answer}");
    }
    assert!(host.connect().list().unwrap().is_empty());
}

#[test]
fn half_a_code_point_is_waited_for() {
    let host = Host::start();
    let mut connection = host.connect();
    let mut start = host.shell("h", "printf 'a\\342\\202'; read -r go; printf '\\254'; exec cat");
    start.wait = Wait::for_output(LONG);
    assert_eq!(connection.start(&start).unwrap().output, "a");
    let reply = connection.write(&id("h"), b"go\n", Wait::for_output(LONG), None).unwrap();
    assert_eq!(reply.output, "€");
}

#[test]
fn garbage_is_text_in_replies_and_exact_in_the_log() {
    let host = Host::start();
    let mut connection = host.connect();
    let mut start = host.shell("g", "tee $F/copy < /dev/urandom | head -c 300000");
    start.wait = Wait::default();
    let reply = connection.start(&start).unwrap();
    assert!(reply.output.contains('\u{fffd}') && reply.exit.is_some());
    connection.kill(&id("g"), Shutdown::Immediate, None).unwrap();
    let (log, copy) = (std::fs::read(host.path("g.log")).unwrap(), std::fs::read(host.path("copy")).unwrap());
    assert!(log.len() == 300_000 && copy.starts_with(&log));
}

#[test]
fn programs_that_do_not_want_to_end_are_ended() {
    let host = Host::start();
    let mut connection = host.connect();
    let deaf = "trap '' TERM INT HUP QUIT; (trap '' TERM HUP; setsid sleep 300) & echo up; while :; do sleep 1; done";
    for terminal in [false, true] {
        let mut start = host.shell("deaf", deaf);
        start.limits.grace = Duration::from_millis(100);
        if terminal {
            start.terminal = co_sessions::StartSession::TERMINAL;
        }
        connection.start(&start).unwrap();
        let reply = connection.kill(&id("deaf"), Shutdown::Graceful, None).unwrap();
        assert_eq!(reply.exit, Some(SessionExit::Killed));
    }
    // One that forks away is over for its caller, and gone when its time has come.
    let mut start = host.shell("away", "(setsid sleep 300 &) ; echo left");
    start.wait = Wait::default();
    start.limits.linger = Duration::from_millis(200);
    let reply = connection.start(&start).unwrap();
    assert_eq!(reply.exit, Some(SessionExit::Code(0)));
    let deadline = Instant::now() + LONG;
    while !connection.prune().unwrap().contains(&id("away")) {
        assert!(Instant::now() < deadline, "what it left behind is still there");
        thread::park_timeout(Duration::from_millis(10));
    }
    assert_eq!(std::fs::read_to_string(host.path("away.log")).unwrap(), "left\n");
    let mut start = host.shell("late", "sleep 300");
    start.limits.timeout = Some(Duration::from_millis(100));
    start.wait = Wait::default();
    assert_eq!(connection.start(&start).unwrap().exit, Some(SessionExit::TimedOut));
}

#[test]
fn two_clients_that_write_at_once_do_not_mix() {
    let host = Host::start();
    let mut connection = host.connect();
    let mut start = host.program("c", &["cat"]);
    start.wait = Wait::for_output(Duration::ZERO);
    connection.start(&start).unwrap();
    thread::scope(|scope| {
        for letter in ["a", "b"] {
            let (host, line) = (&host, letter.repeat(100_000) + "\n");
            scope.spawn(move || {
                let mut connection = host.connect();
                for _ in 0..10 {
                    connection
                        .write(&id("c"), line.as_bytes(), Wait::for_output(Duration::ZERO), Some(1))
                        .unwrap();
                }
            });
        }
    });
    connection.close_input(&id("c")).unwrap();
    while connection.poll(&id("c"), Wait::of(LONG), Some(1)).unwrap().exit.is_none() {}
    connection.kill(&id("c"), Shutdown::Immediate, None).unwrap();
    let log = std::fs::read_to_string(host.path("c.log")).unwrap();
    assert_eq!(log.lines().count(), 20);
    assert!(log.lines().all(|line| line == "a".repeat(100_000) || line == "b".repeat(100_000)));
}

/// Polls session `w` for output as a client that says nothing more.
fn poll_and_say_no_more(host: &Host) -> UnixStream {
    let mut stream = UnixStream::connect(host.endpoint.directory().join("host.sock")).unwrap();
    let request = "{\"version\":1,\"request\":{\"method\":\"write\",\"params\":{\"session\":\"w\",\"bytes\":{\"text\":\"\"},\
                   \"wait\":{\"time\":{\"secs\":30,\"nanos\":0},\"until\":\"output\"},\"max_output_tokens\":null}}}\n";
    stream.write_all(request.as_bytes()).unwrap();
    stream
}

#[test]
fn a_client_that_dies_while_it_waits_takes_no_output_with_it() {
    let host = Host::start();
    let mut connection = host.connect();
    connection.start(&host.shell("w", "echo up; read -r line; echo got $line; exec cat")).unwrap();
    drop(poll_and_say_no_more(&host));
    connection.feed(&id("w"), b"it\n").unwrap();
    let output = output_with(&mut connection, "w", "", "got it\n");
    assert_eq!(output, "got it\n");
}

#[test]
fn a_client_that_dies_before_it_has_read_takes_no_output_with_it() {
    let host = Host::start();
    let mut connection = host.connect();
    connection.start(&host.shell("w", "echo up; exec cat")).unwrap();
    let mut client = poll_and_say_no_more(&host);
    connection.feed(&id("w"), b"it\n").unwrap();
    // The answer was given, and is not read to its end.
    client.read_exact(&mut [0]).unwrap();
    drop(client);
    assert_eq!(output_with(&mut connection, "w", "", "it\n"), "it\n");
}

#[test]
fn what_a_client_has_read_is_given_to_nobody_again() {
    let host = Host::start();
    let mut connection = host.connect();
    connection.start(&host.shell("w", "echo up; exec cat")).unwrap();
    for word in ["one\n", "two\n", "three\n"] {
        let mut client = host.connect();
        let reply = client.write(&id("w"), word.as_bytes(), Wait::for_output(LONG), None).unwrap();
        drop(client);
        assert_eq!(reply.output, word);
    }
}
