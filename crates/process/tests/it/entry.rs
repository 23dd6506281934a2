//! Our own program at its entry: forked or executed, it cannot tell the difference, nor can we.

use co_process::Stream;
use serde_json::{Value, json};

use crate::probe::Scenario;

const PROGRAM: &str = env!("CARGO_BIN_EXE_co-process-probe");

/// What the program saw of its start, and how it ended.
fn looked(program: &str, end: &str) -> (Value, Value) {
    let scenario = Scenario::program(&[program, "look", end, "wörd with space"])
        .variable("EMPTY", "")
        .variable("EQUALS", "a=b");
    let report = scenario.report();
    let text = String::from_utf8(scenario.stream(Stream::Stdout)).unwrap();
    let folder = scenario.folder.path().to_str().unwrap();
    let seen = serde_json::from_str(&text.replace(folder, "FOLDER")).unwrap();
    (seen, json!([report["exit"], report["leader"], report["drained"], report["survivors_killed"]]))
}

#[test]
#[cfg(target_os = "linux")]
fn a_fork_of_us_is_as_good_as_a_fresh_start() {
    let elsewhere = tempfile::tempdir().unwrap();
    // The same file by another name is another program to us, and executed.
    let executed = elsewhere.path().join("co-process-probe");
    std::os::unix::fs::symlink(PROGRAM, &executed).unwrap();
    for (end, code) in [("0", "Code(0)"), ("7", "Code(7)"), ("kill", "Signal(15)")] {
        let (mut forked, how_forked) = looked(PROGRAM, end);
        let (mut fresh, how_fresh) = looked(executed.to_str().unwrap(), end);
        assert_eq!(
            (forked["name"].take(), fresh["name"].take()),
            (json!("co-entry"), json!("co-process-prob"))
        );
        assert_eq!(forked, fresh);
        assert_eq!(how_forked, how_fresh);
        assert_eq!(how_forked, json!([code, code, true, 0]));
        assert_eq!(forked["arguments"], json!([end, "wörd with space"]));
    }
}
