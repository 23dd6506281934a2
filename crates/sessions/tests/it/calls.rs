//! Starting, writing, polling, telling and ending.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use co_process::{OutputLog, Shutdown, Signal, Stream};
use co_sessions::client::Refusal;
use co_sessions::{EventKind, SessionExit, Wait};

use crate::host::{Host, LONG, id, output_with, to_the_end};

#[test]
fn a_start_returns_early_when_the_program_exits() {
    let host = Host::start();
    let mut connection = host.connect();
    let mut start = host.shell("a", "echo out; echo err >&2; exit 3");
    start.wait = Wait::of(LONG);
    let began = Instant::now();
    let reply = connection.start(&start).unwrap();
    assert!(began.elapsed() < LONG, "the whole yield time was waited for");
    assert_eq!(reply.exit, Some(SessionExit::Code(3)));
    let count = reply.output.len().div_ceil(4) as u64;
    assert_eq!((reply.omitted_bytes, reply.original_token_count), (0, count));
    // What a busy machine had not read by then comes with the end.
    let rest = connection.kill(&id("a"), Shutdown::Immediate, None).unwrap();
    let output = reply.output + &rest.output;
    let mut lines: Vec<_> = output.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["err", "out"]);
    // The output was given once.
    let reply = connection.poll(&id("a"), Wait::default(), None).unwrap();
    assert_eq!((reply.output.as_str(), reply.exit), ("", Some(SessionExit::Code(3))));
}

#[test]
fn a_terminal_session_is_talked_to() {
    let host = Host::start();
    let mut connection = host.connect();
    let reply = connection.start(&host.on_terminal("t", "stty size; exec cat")).unwrap();
    output_with(&mut connection, "t", &reply.output, "24 80\r\n");
    connection.resize(&id("t"), 50, 120).unwrap();
    let reply = connection.write(&id("t"), "grüße\n".as_bytes(), Wait::for_output(LONG), None).unwrap();
    output_with(&mut connection, "t", &reply.output, "grüße\r\ngrüße\r\n");
    // Ctrl-C reaches the program as it would from a keyboard.
    connection.write(&id("t"), b"\x03", Wait::for_output(LONG), None).unwrap();
    let (_, last) = to_the_end(&mut connection, "t");
    assert_eq!(last.exit, Some(SessionExit::Signal(2)));
    connection.kill(&id("t"), Shutdown::Immediate, None).unwrap();
    let events = host.events("t");
    assert!(matches!(events.first(), Some(EventKind::Begin { tty: true, .. })));
    assert!(events.contains(&EventKind::Resized { rows: 50, columns: 120 }));
    let typed =
        events.iter().position(|event| matches!(event, EventKind::Input { text } if text == "grüße\n"));
    let echoed =
        events.iter().position(|event| matches!(event, EventKind::Output { text } if text.contains("grü")));
    assert!(typed.unwrap() < echoed.unwrap());
    let ends = events.iter().filter(|event| matches!(event, EventKind::End { .. })).count();
    assert!(ends == 1 && matches!(events.last(), Some(EventKind::End { exit: SessionExit::Signal(2), .. })));
}

#[test]
fn the_output_is_complete_in_log_reply_and_events() {
    let host = Host::start();
    let mut connection = host.connect();
    let mut start =
        host.shell("p", "read -r line; i=0; while [ $i -lt 3000 ]; do echo \"$line $i €\"; i=$((i+1)); done");
    start.wait = Wait::for_output(Duration::ZERO);
    connection.start(&start).unwrap();
    connection.feed(&id("p"), b"go\n").unwrap();
    let wanted: String = (0..3000).map(|i| ["go ", &i.to_string(), " €\n"].concat()).collect();
    let mut output = String::new();
    loop {
        let reply = connection.poll(&id("p"), Wait::for_output(LONG), Some(1_000_000)).unwrap();
        output.push_str(&reply.output);
        if reply.exit.is_some() {
            break;
        }
    }
    output.push_str(&connection.kill(&id("p"), Shutdown::Immediate, Some(1_000_000)).unwrap().output);
    assert!(output == wanted, "{} bytes instead of {}", output.len(), wanted.len());
    let log = OutputLog::new(host.path("p.log"), host.path("p.index"));
    let mut logged = String::new();
    std::io::Read::read_to_string(&mut log.read(Stream::Stdout).unwrap(), &mut logged).unwrap();
    assert_eq!(logged, wanted);
    let told = host.events("p").into_iter().filter_map(|event| match event {
        EventKind::Output { text } => Some(text),
        _ => None,
    });
    assert_eq!(told.collect::<String>(), wanted);
    let EventKind::End { output_bytes, untold_bytes, undelivered_bytes, .. } =
        host.events("p").pop().unwrap()
    else {
        panic!("no end")
    };
    assert_eq!((output_bytes, untold_bytes, undelivered_bytes), (wanted.len() as u64, 0, 0));
}

#[test]
fn output_is_cut_to_the_tokens_and_counted() {
    let host = Host::start();
    let mut connection = host.connect();
    let mut start = host.shell("big", "read -r go; head -c 1288895 /dev/zero | tr '\\0' x");
    start.wait = Wait::for_output(Duration::ZERO);
    connection.start(&start).unwrap();
    connection.feed(&id("big"), b"go\n").unwrap();
    // Nobody reads before the end, so that one reply tells of everything.
    while connection.list().unwrap()[0].exit.is_none() {
        thread::park_timeout(Duration::from_millis(10));
    }
    let reply = connection.kill(&id("big"), Shutdown::Immediate, Some(100)).unwrap();
    assert_eq!(reply.omitted_bytes, 240_319);
    assert!(reply.output.starts_with("Warning: truncated output (original token count: "));
    assert!(reply.output.contains(" tokens truncated…"));
    // The marker of what was left out is part of the count.
    let text = (1 << 20) + "\n... 240319 bytes omitted ...\n".len() as u64;
    assert_eq!(reply.original_token_count, text.div_ceil(4));
    assert!(reply.output.len() < 600);
    assert_eq!(fs::metadata(host.path("big.log")).unwrap().len(), 1_288_895);
}

#[test]
fn input_can_be_ended_and_signals_sent() {
    let host = Host::start();
    let mut connection = host.connect();
    let mut start = host.program("wc", &["wc", "-c"]);
    start.wait = Wait::for_output(Duration::ZERO);
    connection.start(&start).unwrap();
    connection.feed(&id("wc"), &vec![b'x'; 3_000_000]).unwrap();
    connection.close_input(&id("wc")).unwrap();
    let refused = connection.write(&id("wc"), b"x", Wait::default(), None).unwrap_err();
    assert!(matches!(refused.refusal(), Some(Refusal::InputClosed | Refusal::Ended)), "{refused}");
    let (output, _) = to_the_end(&mut connection, "wc");
    assert_eq!(output.trim(), "3000000");

    connection
        .start(&host.shell("s", "trap 'echo caught; exit 9' USR1; echo ready; while :; do sleep 0.05; done"))
        .unwrap();
    assert_eq!(connection.resize(&id("s"), 1, 1).unwrap_err().refusal(), Some(Refusal::NoTerminal));
    connection.signal(&id("s"), Signal::User1).unwrap();
    let (output, reply) = to_the_end(&mut connection, "s");
    // The shell may have a word to say about what it was waiting for.
    assert!(
        output.lines().any(|line| line == "caught") && reply.exit == Some(SessionExit::Code(9)),
        "{output} {reply:?}"
    );
    connection.kill(&id("s"), Shutdown::Immediate, None).unwrap();
    assert_eq!(connection.signal(&id("s"), Signal::User1).unwrap_err().refusal(), Some(Refusal::Ended));
}

#[test]
fn ids_are_unique_while_they_run_and_lists_are_true() {
    let host = Host::start();
    let mut connection = host.connect();
    connection.start(&host.shell("one", "echo up; exec cat")).unwrap();
    let taken = connection.start(&host.shell("one", "true")).unwrap_err();
    assert_eq!(taken.refusal(), Some(Refusal::Taken));
    let mut unnamed = host.shell("two", "exit 1");
    unnamed.id = None;
    unnamed.wait = Wait::default();
    let name = connection.start(&unnamed).unwrap().session;
    let list = connection.list().unwrap();
    let found: Vec<_> = list.iter().map(|info| (info.session.as_str(), info.exit.clone())).collect();
    assert_eq!(found, [("one", None), (name.as_str(), Some(SessionExit::Code(1)))]);
    assert_eq!((list[0].argv[2].as_str(), list[0].output_bytes), ("echo up; exec cat", 3));
    assert_eq!(
        connection.kill(&id("one"), Shutdown::Graceful, None).unwrap().exit,
        Some(SessionExit::Killed)
    );
    // An ended session gives its name away.
    assert_eq!(connection.start(&host.shell("one", "echo again; exec cat")).unwrap().output, "again\n");
    connection.kill(&name, Shutdown::Immediate, None).unwrap();
    assert_eq!(connection.prune().unwrap(), std::slice::from_ref(&name));
    assert_eq!(connection.poll(&name, Wait::default(), None).unwrap_err().refusal(), Some(Refusal::Unknown));
}

#[test]
fn the_sixty_fifth_session_ends_the_least_recently_used() {
    let host = Host::start();
    let mut connection = host.connect();
    for n in 0..64 {
        let mut start = host.program(&format!("s{n}"), &["cat"]);
        start.wait = Wait::for_output(Duration::ZERO);
        let reply = connection.start(&start).unwrap();
        assert_eq!(reply.pruned, None);
        assert_eq!(reply.warning.is_some(), n >= 59, "{n}");
    }
    // The first is used again, and one in the middle has ended.
    connection.write(&id("s0"), b"x", Wait::for_output(LONG), None).unwrap();
    connection.kill(&id("s30"), Shutdown::Immediate, None).unwrap();
    let mut start = host.program("more", &["cat"]);
    start.wait = Wait::for_output(Duration::ZERO);
    // It is among the eight last used, so a running one goes.
    assert_eq!(connection.start(&start).unwrap().pruned, Some(id("s1")));
    start.id = Some(id("more2"));
    assert_eq!(connection.start(&start).unwrap().pruned, Some(id("s2")));
    assert_eq!(connection.list().unwrap().len(), 64);
}

#[test]
fn secrets_are_kept_nowhere() {
    let host = Host::start_with(LONG, Some("hunter2"));
    let mut connection = host.connect();
    let reply = connection.start(&host.shell("r", "echo my hunter2; exec sh")).unwrap();
    assert_eq!(reply.output, "my [removed]\n");
    let reply = connection.run_in(&id("r"), b"echo again hunter2", Some(LONG), None).unwrap();
    assert_eq!(reply.output, "again [removed]\n");
    connection.kill(&id("r"), Shutdown::Immediate, None).unwrap();
    assert_eq!(fs::read_to_string(host.path("r.log")).unwrap(), "my [removed]\n");
    let events = fs::read_to_string(host.endpoint.directory().join("events.jsonl")).unwrap();
    assert!(!events.contains("hunter2") && events.contains("again [removed]"));
    let list = format!("{:?}", connection.list().unwrap());
    assert!(!list.contains("hunter2") && list.contains("my [removed]; exec sh"), "{list}");
    let ledger = fs::read_to_string(host.endpoint.directory().join("ledger/r.session.json")).unwrap();
    assert!(!ledger.contains("hunter2"), "{ledger}");
}
