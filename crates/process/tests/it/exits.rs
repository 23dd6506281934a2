//! How programs start, end, and are ended.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::json;

use crate::probe::{Scenario, Watched};

#[test]
fn exit_codes_and_signals_are_told_apart() {
    for (line, exit) in [
        ("exit 0", "Code(0)"),
        ("exit 7", "Code(7)"),
        ("kill -9 $$", "Signal(9)"),
        ("kill -SEGV $$", "Signal(11)"),
        ("exit 137", "Code(137)"),
    ] {
        let report = Scenario::shell(line).report();
        assert_eq!(report["exit"], exit, "{line}");
        assert_eq!(report["leader"], exit, "{line}");
        assert_eq!(report["drained"], true, "{line}");
        assert_eq!(report["survivors_killed"], 0, "{line}");
    }
}

#[test]
fn a_program_that_cannot_start_says_why() {
    let error = Scenario::program(&["no-such-program"]).error();
    assert_eq!(error.1, "the program did not start: the program `no-such-program` was not found");

    let error = Scenario::program(&["/nowhere/tool"]).error();
    assert_eq!(error.1, "the program did not start: the program `/nowhere/tool` was not found");

    let error = Scenario::shell("true").with("cwd", "/nowhere").error();
    assert_eq!(error.1, "the program did not start: the working directory `/nowhere` does not exist");

    let error = Scenario::shell("true").with("cwd", "/dev/null").error();
    assert_eq!(error.1, "the program did not start: the working directory `/dev/null` does not exist");

    let scenario = Scenario::program(&["./tool"]);
    fs::write(scenario.path("tool"), "#!/bin/sh\n").unwrap();
    assert_eq!(scenario.error().1, "the program did not start: the program `./tool` is not executable");

    let scenario = Scenario::program(&["./tool"]);
    fs::write(scenario.path("tool"), "#!/nowhere/interpreter\n").unwrap();
    fs::set_permissions(scenario.path("tool"), fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(scenario.error().1, "the program did not start: the interpreter of `./tool` was not found");

    let long = "x".repeat(200_000);
    let error = Scenario::program(&["/bin/true", &long]).error();
    assert!(error.1.contains("`/bin/true` could not be executed: Argument list too long"), "{}", error.1);
}

#[test]
fn what_no_program_can_receive_is_refused() {
    assert!(Scenario::program(&[]).error().0.contains("Unusable"));
    assert!(Scenario::program(&["echo", "a\0b"]).error().0.contains("Unusable"));
    assert!(Scenario::shell("true").variable("A=B", "c").error().0.contains("Unusable"));
}

#[test]
fn a_script_without_an_interpreter_line_runs_in_the_shell() {
    let scenario = Scenario::program(&["tool", "4"]);
    fs::write(scenario.path("tool"), "exit $1\n").unwrap();
    fs::set_permissions(scenario.path("tool"), fs::Permissions::from_mode(0o755)).unwrap();
    let folder = scenario.folder.path().to_owned();
    let report = scenario.with("env", json!([["PATH", folder]])).report();
    assert_eq!(report["exit"], "Code(4)");
}

#[test]
fn the_program_sees_exactly_what_it_was_given() {
    let scenario = Scenario::shell(
        "pwd; env; cat; ls /proc/self/fd | wc -l; trap; grep -E 'Sig(Blk|Ign)' /proc/self/status",
    )
    .with("env", json!([["ONLY", "this one"], ["PATH", "/usr/bin:/bin"]]));
    let folder = scenario.folder.path().canonicalize().unwrap();
    let report = scenario.report();
    let text = report["stdout"]["text"].as_str().unwrap();
    let mut lines: Vec<&str> = text.lines().collect();
    // The shell itself sets PWD and nothing else; `ls` holds its three streams and the folder it lists.
    // Bits 31 and 32 are signals that the C library keeps to itself and that nobody can reset.
    let ignored = lines.pop().unwrap().strip_prefix("SigIgn:\t").unwrap();
    assert_eq!(u64::from_str_radix(ignored, 16).unwrap() & !0x1_8000_0000, 0);
    lines.sort_unstable();
    let pwd = format!("PWD={}", folder.display());
    let mut wanted = vec![
        folder.to_str().unwrap(),
        "ONLY=this one",
        "PATH=/usr/bin:/bin",
        &pwd,
        "4",
        "SigBlk:\t0000000000000000",
    ];
    wanted.sort_unstable();
    assert_eq!(lines, wanted);
}

#[test]
fn a_time_out_ends_the_group_in_time() {
    let scenario =
        Scenario::shell("sleep 300 & echo $! > $F/pid; echo up; sleep 300").with("timeout_ms", 5000);
    let mut probe = scenario.start();
    probe.next("first_output");
    let background = Watched::in_file(&scenario.path("pid"));
    let report = probe.next("report");
    assert_eq!(report["exit"], "TimedOut { after: 5s }");
    assert_eq!(report["leader"], "Signal(15)");
    assert!(background.is_gone());
    probe.finish();
}

#[test]
fn a_stopped_program_is_woken_to_end() {
    let report = Scenario::shell("kill -STOP $$").with("timeout_ms", 300).with("grace_ms", 60_000).report();
    assert_eq!(report["exit"], "TimedOut { after: 300ms }");
    assert_eq!(report["leader"], "Signal(15)");
}

#[test]
fn a_graceful_stop_lets_the_program_finish_in_its_own_way() {
    let scenario = Scenario::shell("trap 'echo bye; exit 5' TERM; echo up; while :; do sleep 0.05; done");
    let mut probe = scenario.start();
    probe.next("first_output");
    probe.tell("graceful");
    probe.tell("graceful");
    let report = probe.next("report");
    assert_eq!(report["exit"], "Cancelled");
    assert_eq!(report["leader"], "Code(5)");
    assert_eq!(report["stdout"]["text"], "up\nbye\n");
    probe.finish();
}

#[test]
fn an_immediate_stop_overtakes_the_grace() {
    let scenario = Scenario::shell("trap 'echo no' TERM; echo up; while :; do sleep 0.05; done")
        .with("grace_ms", 600_000);
    let mut probe = scenario.start();
    probe.next("first_output");
    probe.tell("graceful");
    probe.tell("immediate");
    let report = probe.next("report");
    assert_eq!(report["exit"], "Cancelled");
    assert_eq!(report["leader"], "Signal(9)");
    probe.finish();
}

#[test]
fn a_stop_given_earlier_counts() {
    let scenario = Scenario::shell("echo up; sleep 300").with("repeat", 2);
    let mut probe = scenario.start();
    probe.next("first_output");
    probe.tell("immediate");
    assert_eq!(probe.next("report")["exit"], "Cancelled");
    assert_eq!(probe.next("report")["exit"], "Cancelled");
    probe.finish();
}

#[test]
fn twenty_programs_run_at_once() {
    let scenario = Scenario::shell("head -c 1000000 /dev/zero; exit 3").with("copies", 20);
    let mut probe = scenario.start();
    for _ in 0..20 {
        let report = probe.next("report");
        assert_eq!(report["exit"], "Code(3)");
        assert_eq!(report["stdout"]["bytes"], 1_000_000);
    }
    probe.finish();
    for copy in 0..20 {
        assert_eq!(fs::metadata(scenario.path(&format!("log.{copy}"))).unwrap().len(), 1_000_000);
    }
}
