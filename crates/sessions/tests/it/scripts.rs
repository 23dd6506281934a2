//! Scripts inside a session's shell.

use std::thread;
use std::time::Duration;

use co_sessions::client::{Connection, Refusal};
use co_sessions::{EventKind, ScriptExit, SessionExit, StartSession, Wait};

use crate::host::{Host, LONG, id, output_with};

const SHELLS: [(&str, &[&str]); 4] = [
    ("dash", &["dash"]),
    ("bash", &["bash", "--norc"]),
    ("posix", &["bash", "--posix"]),
    ("interactive", &["bash", "--norc", "--noprofile", "-i"]),
];

fn in_every_shell(check: impl Fn(&mut Connection, &str)) {
    let host = Host::start();
    let mut connection = host.connect();
    for (name, argv) in SHELLS {
        for tty in [false, true] {
            let session = format!("{name}-{tty}");
            let mut start = host.program(&session, argv);
            start.wait = Wait::for_output(Duration::ZERO);
            if tty {
                start.terminal = StartSession::TERMINAL;
            }
            connection.start(&start).unwrap();
            check(&mut connection, &session);
        }
    }
}

#[track_caller]
fn run(connection: &mut Connection, session: &str, script: &str) -> (String, ScriptExit) {
    let reply = connection.run_in(&id(session), script.as_bytes(), Some(LONG), None);
    let reply = reply.unwrap_or_else(|error| panic!("{session}: `{script}`: {error}"));
    (reply.output, reply.exit)
}

#[test]
fn state_stays_and_output_is_exact() {
    in_every_shell(|connection, session| {
        let shell = &mut |script: &str| run(connection, session, script);
        let done = |output: &str, code| (output.to_owned(), ScriptExit::Code(code));
        assert_eq!(
            shell("cd / && X='a b' && export Y=2; greet() { echo \"hi $1\"; }"),
            done("", 0),
            "{session}"
        );
        assert_eq!(shell("pwd; echo \"$X\"; sh -c 'echo $Y'; greet you"), done("/\na b\n2\nhi you\n", 0));
        assert_eq!(shell("printf 'no end'; (exit 7)"), done("no end", 7));
        assert_eq!(shell(""), done("", 0));
        assert_eq!(shell("echo out; echo err >&2; false"), done("out\nerr\n", 1));
        assert_eq!(shell("cat; read -r line || echo nothing to read"), done("nothing to read\n", 0));
        assert_eq!(shell("printf '\\377\\000\\033[31m€'").0, "\u{fffd}\0\u{1b}[31m€");
        // Heredocs, several lines, quotes and comments are the shell's own business.
        assert_eq!(shell("cat <<'END'\n$X 'quoted\" \\\nEND\n# the end"), done("$X 'quoted\" \\\n", 0));
        let (output, exit) = shell("seq 1 200000 | tail -c 100000");
        assert!(output.contains("tokens truncated") && exit == ScriptExit::Code(0), "{session}");
    });
}

#[test]
fn a_script_that_is_wrong_or_ends_the_shell_says_so() {
    in_every_shell(|connection, session| {
        for wrong in ["if", "echo 'open", "x=`", "echo ${", ")", "for"] {
            let (output, exit) = run(connection, session, wrong);
            assert!(
                matches!(exit, ScriptExit::Code(1 | 2)) && !output.is_empty(),
                "{session} {wrong}: {exit:?}"
            );
        }
        assert_eq!(run(connection, session, "no_such_program_x").1, ScriptExit::Code(127));
        let (output, exit) = run(connection, session, "echo before; exit 42; echo after");
        assert_eq!((output.as_str(), exit.code()), ("before\n", Some(42)), "{session}");
        assert_eq!(exit, ScriptExit::Shell(SessionExit::Code(42)));
        let ended = connection.run_in(&id(session), b"true", Some(LONG), None).unwrap_err();
        assert_eq!(ended.refusal(), Some(Refusal::Ended), "{session}: {ended}");
    });
}

#[test]
fn a_shell_that_breaks_over_a_script_is_reported_as_ended() {
    // After an open `$(` in a file that it reads, bash 5.2 aborts, now or at one of the next lines.
    in_every_shell(|connection, session| {
        for _ in 0..4 {
            match connection.run_in(&id(session), b"x=$(", Some(LONG), None) {
                Ok(reply) if reply.exit == ScriptExit::Shell(SessionExit::Signal(6)) => return,
                Ok(reply) => assert!(matches!(reply.exit, ScriptExit::Code(1 | 2)), "{session}: {reply:?}"),
                Err(error) => {
                    // Its input is closed a moment before its end is known.
                    let ended = matches!(error.refusal(), Some(Refusal::Ended | Refusal::InputClosed));
                    assert!(ended, "{session}: {error}");
                    return;
                }
            }
        }
    });
}

#[test]
fn background_jobs_neither_hold_up_nor_mix() {
    let host = Host::start();
    let mut connection = host.connect();
    let mut start = host.program("b", &["sh"]);
    start.wait = Wait::for_output(Duration::ZERO);
    connection.start(&start).unwrap();
    let script = "(while [ ! -e $F/go ]; do sleep 0.02; done; echo late) & echo now";
    assert_eq!(run(&mut connection, "b", script), ("now\n".to_owned(), ScriptExit::Code(0)));
    assert_eq!(run(&mut connection, "b", "echo two; touch $F/go; wait").0, "two\n");
    let output = output_with(&mut connection, "b", "", "late\n");
    assert_eq!(output, "late\n");
    let events = host.events("b");
    assert!(events.contains(&EventKind::Script { text: script.to_owned() }));
    let ends =
        events.iter().filter(|event| matches!(event, EventKind::ScriptEnd { exit: ScriptExit::Code(0) }));
    assert_eq!(ends.count(), 2);
}

#[test]
fn a_script_that_takes_too_long_is_interrupted() {
    let host = Host::start();
    let mut connection = host.connect();
    for (name, tty, lives) in [("i", true, true), ("p", false, false)] {
        let mut start = host.program(name, if tty { &["bash", "--norc", "-i"] } else { &["dash"] });
        start.wait = Wait::for_output(Duration::ZERO);
        if tty {
            start.terminal = StartSession::TERMINAL;
        }
        connection.start(&start).unwrap();
        // A shell begins with a script when it can, and the time-out is the script's alone.
        let reply = connection.run_in(
            &id(name),
            b"echo begun; sleep 300; echo never",
            Some(Duration::from_secs(1)),
            None,
        );
        let reply = reply.unwrap();
        assert_eq!(reply.exit, ScriptExit::TimedOut { shell_lives: lives }, "{name}");
        assert_eq!(reply.output.replace("^C", "").trim(), "begun");
        if lives {
            assert_eq!(run(&mut connection, name, "echo back"), ("back\n".to_owned(), ScriptExit::Code(0)));
        }
    }
    // One that cannot be interrupted is ended.
    let mut start = host.program("deaf", &["sh", "-c", "trap '' INT TERM; exec sh"]);
    start.wait = Wait::for_output(Duration::ZERO);
    connection.start(&start).unwrap();
    let reply = connection.run_in(&id("deaf"), b"sleep 300", Some(Duration::from_millis(300)), None).unwrap();
    assert_eq!(reply.exit, ScriptExit::TimedOut { shell_lives: false });
}

#[test]
fn the_time_out_of_a_script_counts_from_its_beginning() {
    let host = Host::start();
    let mut connection = host.connect();
    let busy = "echo ready; while [ ! -e $F/go ]; do sleep 0.02; done; exec sh";
    connection.start(&host.shell("busy", busy)).unwrap();
    thread::scope(|scope| {
        let script = scope.spawn(|| {
            let timeout = Some(Duration::from_millis(200));
            host.connect().run_in(&id("busy"), b"sleep 300", timeout, None)
        });
        // Its shell is still busy when the time has passed once.
        connection.poll(&id("busy"), Wait::for_output(Duration::from_millis(400)), None).unwrap();
        assert!(!script.is_finished(), "it was given up before it began");
        std::fs::write(host.path("go"), "").unwrap();
        let reply = script.join().unwrap().unwrap();
        assert!(matches!(reply.exit, ScriptExit::TimedOut { .. }), "{reply:?}");
    });
}

#[test]
fn what_is_no_shell_refuses_in_time_and_runs_nothing_later() {
    let host = Host::start();
    let mut connection = host.connect();
    connection
        .start(&host.shell("cat", "echo ready; while [ ! -e $F/go ]; do sleep 0.02; done; exec sh"))
        .unwrap();
    // The time that a shell has to begin is its own, whatever the time-out of the script.
    let refused =
        connection.run_in(&id("cat"), b"touch $F/ran", Some(Duration::from_millis(1)), None).unwrap_err();
    assert_eq!(refused.refusal(), Some(Refusal::NotAShell), "{refused}");
    std::fs::write(host.path("go"), "").unwrap();
    assert_eq!(run(&mut connection, "cat", "echo free"), ("free\n".to_owned(), ScriptExit::Code(0)));
    assert!(!host.path("ran").exists());
}
