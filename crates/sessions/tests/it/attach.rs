//! Raw connections to a session.

use std::time::Duration;

use co_process::{Shutdown, Signal};
use co_sessions::client::{Attached, AttachedOutput};
use co_sessions::{SessionExit, Wait};

use crate::host::{Host, id};

/// Reads until the output holds the text.
#[track_caller]
fn output_with(output: &mut AttachedOutput, text: &str) -> String {
    let mut seen = String::new();
    while !seen.contains(text) {
        match output.receive().unwrap() {
            Some(Attached::Output(bytes)) => seen.push_str(&String::from_utf8_lossy(&bytes)),
            other => panic!("{other:?} instead of {text:?} after {seen:?}"),
        }
    }
    seen
}

#[test]
fn bytes_go_both_ways_with_what_came_before() {
    let host = Host::start();
    host.connect().start(&host.on_terminal("t", "echo before; exec bash --norc --noprofile")).unwrap();
    let mut attachment = host.connect().attach(&id("t"), 1000).unwrap();
    output_with(&mut attachment.output, "before\r\n");
    attachment.input.resize(33, 99).unwrap();
    attachment.input.write(b"stty size; echo pi''ng\n").unwrap();
    assert!(output_with(&mut attachment.output, "ping").contains("33 99\r\n"));
    // Two may look at once; leaving ends nothing.
    let mut second = host.connect().attach(&id("t"), 0).unwrap();
    second.input.write(b"echo bo''th\n").unwrap();
    output_with(&mut second.output, "both");
    output_with(&mut attachment.output, "both");
    drop(second);
    attachment.input.write(b"exec sleep 300\n").unwrap();
    output_with(&mut attachment.output, "sleep 300");
    attachment.input.signal(Signal::Kill).unwrap();
    loop {
        match attachment.output.receive().unwrap() {
            Some(Attached::Output(_)) => {}
            other => {
                let ended = [SessionExit::Signal(9)].map(Attached::End).map(Some);
                assert!(ended.contains(&other), "{other:?}");
                break;
            }
        }
    }
    assert_eq!(attachment.output.receive().unwrap(), None);
}

#[test]
fn what_cannot_be_passed_on_is_said() {
    let host = Host::start();
    host.connect().start(&host.shell("p", "echo up; exec cat")).unwrap();
    let mut attachment = host.connect().attach(&id("p"), 0).unwrap();
    attachment.input.resize(1, 1).unwrap();
    assert!(
        matches!(attachment.output.receive().unwrap(), Some(Attached::Refused(reason)) if reason.contains("no terminal"))
    );
    attachment.input.write(b"\xff\x00raw").unwrap();
    assert_eq!(attachment.output.receive().unwrap(), Some(Attached::Output(b"\xff\x00raw".to_vec())));
    attachment.input.close_input().unwrap();
    assert_eq!(attachment.output.receive().unwrap(), Some(Attached::End(SessionExit::Code(0))));
}

#[test]
fn a_client_that_does_not_read_holds_up_nobody_and_learns_what_it_missed() {
    let host = Host::start();
    let mut connection = host.connect();
    let mut start = host.shell("f", "read -r go; head -c 20000000 /dev/zero | tr '\\0' x; exit 0");
    start.wait = Wait::for_output(Duration::ZERO);
    connection.start(&start).unwrap();
    let mut attachment = host.connect().attach(&id("f"), 0).unwrap();
    connection.feed(&id("f"), b"\n").unwrap();
    while connection.poll(&id("f"), Wait::of(Duration::from_secs(5)), Some(1)).unwrap().exit.is_none() {}
    connection.kill(&id("f"), Shutdown::Immediate, None).unwrap();
    let (mut read, mut missed) = (0, 0);
    loop {
        match attachment.output.receive().unwrap().unwrap() {
            Attached::Output(bytes) => read += bytes.len() as u64,
            Attached::Lagged(bytes) => missed += bytes,
            Attached::End(exit) => {
                assert_eq!(exit, SessionExit::Code(0));
                break;
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(read + missed, 20_000_000);
    assert!(missed > 0);
}
