//! Programs on a pseudo-terminal.

use co_process::Stream;
use serde_json::json;

use crate::probe::Scenario;

fn on_terminal(line: &str) -> Scenario {
    Scenario::shell(line).with("pty", json!([30, 100]))
}

#[test]
fn the_streams_are_a_terminal_of_the_given_size() {
    let scenario = on_terminal(
        "test -t 1 && test -t 2 && ! test -t 0 && stty size <&1 && ps -o tty= -p $$ && echo err >&2",
    );
    let report = scenario.report();
    assert_eq!(report["exit"], "Code(0)");
    let text = report["stdout"]["text"].as_str().unwrap();
    let lines: Vec<&str> = text.split("\r\n").collect();
    assert!(matches!(lines.as_slice(), ["30 100", tty, "err", ""] if tty.starts_with("pts/")), "{text:?}");
    assert_eq!(report["drained"], true);
    assert_eq!(scenario.stream(Stream::Terminal), text.as_bytes());
    assert!(scenario.stream(Stream::Stdout).is_empty());
}

#[test]
fn the_terminal_controls_the_session() {
    let report = on_terminal("echo direct > /dev/tty").report();
    assert_eq!(report["stdout"]["text"], "direct\r\n");
}

#[test]
fn typed_input_ends_with_the_end_of_input() {
    for typed in ["one\ntwo\n", "one\ntwo"] {
        let report = on_terminal("test -t 0 && stty -echo && wc -w").stdin(typed.as_bytes()).report();
        assert_eq!(report["exit"], "Code(0)", "{typed:?}");
        let text = report["stdout"]["text"].as_str().unwrap();
        assert!(text.trim_end().ends_with('2'), "{text:?}");
    }
}

#[test]
fn much_terminal_output_arrives_whole() {
    let scenario = on_terminal("seq 1 200000");
    let report = scenario.report();
    let wanted: String = (1..=200_000).map(|n| n.to_string() + "\r\n").collect();
    assert_eq!(report["stdout"]["bytes"], wanted.len());
    assert!(scenario.stream(Stream::Terminal) == wanted.as_bytes());
}

#[test]
fn a_background_process_that_keeps_the_terminal_does_not_hold_a_time_out() {
    let report = on_terminal("trap '' HUP TERM; sleep 300 & sleep 300")
        .with("timeout_ms", 400)
        .with("grace_ms", 100)
        .report();
    assert_eq!(report["exit"], "TimedOut { after: 400ms }");
    assert_eq!(report["drained"], true);
}
