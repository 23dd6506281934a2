//! A confined program under the supervisor that the product uses: ends, time-outs, terminals, survivors.

use std::process::Command;

use co_testkit::example;
use serde_json::{Value, json};

use crate::world::World;

/// Runs a shell line, confined and supervised; returns the report.
fn report(world: &World, line: &str, changes: &Value) -> Value {
    report_of(world, &["/bin/sh", "-c", line], changes)
}

fn report_of(world: &World, argv: &[&str], changes: &Value) -> Value {
    let wrapped = world.wrap(argv);
    let text = |word: &std::ffi::OsString| word.to_str().unwrap().to_owned();
    let env: Vec<(String, String)> =
        world.env.iter().chain(&wrapped.env).map(|(name, value)| (text(name), text(value))).collect();
    let folder = tempfile::tempdir().unwrap();
    let mut scenario = json!({
        "argv": wrapped.argv.iter().map(text).collect::<Vec<_>>(),
        "env": env,
        "cwd": world.workspace,
        "folder": folder.path(),
        "stdin": null,
        "is_terminal": false,
        "timeout_ms": 60_000,
        "linger_ms": 10_000,
        "stop_at": null,
    });
    for (name, value) in changes.as_object().unwrap() {
        scenario[name] = value.clone();
    }
    let output = Command::new(example("supervised")).arg(scenario.to_string()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn codes_and_signals_come_through() {
    let world = World::read_only();
    for (line, exit) in [
        ("exit 0", "Code(0)"),
        ("exit 7", "Code(7)"),
        ("exit 137", "Code(137)"),
        ("kill -9 $$", "Signal(9)"),
        ("kill -TERM $$", "Signal(15)"),
        ("kill -SEGV $$", "Signal(11)"),
        ("kill -ABRT $$", "Signal(6)"),
        ("kill -34 $$", "Code(162)"),
    ] {
        let report = report(&world, line, &json!({}));
        assert_eq!(report["exit"], exit, "{line}: {report}");
        assert_eq!(report["drained"], true);
        assert_eq!(report["survivors_killed"], 0);
    }
}

#[test]
fn what_does_not_start_says_so() {
    let world = World::read_only();
    let missing = report_of(&world, &["no-such-program"], &json!({}));
    assert_eq!(missing["exit"], "Code(127)");
    assert_eq!(missing["log"], "sandbox: the program `no-such-program` was not found\n");
    let data = report_of(&world, &["/etc/passwd"], &json!({}));
    assert_eq!(data["exit"], "Code(126)");
}

#[test]
fn input_goes_in_and_output_comes_out() {
    let text = "line\n".repeat(15_000);
    let report = report(&World::read_only(), "cat; echo err >&2", &json!({"stdin": text}));
    assert_eq!(report["exit"], "Code(0)");
    assert_eq!(report["log"].as_str().unwrap().len(), text.len() + 4);
}

#[test]
fn a_time_out_ends_everything() {
    let line = "trap '' TERM; setsid sleep 300 & sleep 300 & echo up; while :; do sleep 0.1; done";
    // Long enough for a busy machine to set the trap, without which the first signal would do.
    let report = report(&World::read_only(), line, &json!({"timeout_ms": 3_000}));
    assert_eq!(report["exit"], "TimedOut { after: 3s }");
    assert_eq!(report["leader"], "Some(Signal(9))");
    assert_eq!(report["drained"], true);
}

#[test]
fn a_program_that_is_stopped_ends_in_its_own_way() {
    let line = "trap 'echo bye; exit 5' TERM; echo up; while :; do sleep 0.05; done";
    let report = report(&World::read_only(), line, &json!({"stop_at": "up\n"}));
    assert_eq!(report["exit"], "Cancelled");
    assert_eq!(report["leader"], "Some(Code(5))");
    // The shell also says that its `sleep` was terminated, before or after.
    let log = report["log"].as_str().unwrap();
    assert!(log.starts_with("up\n") && log.contains("bye\n"), "{report}");
}

#[test]
fn a_background_process_may_outlive_its_leader_for_a_while() {
    let world = World::read_only();
    let late = report(&world, "(sleep 0.3; echo late) & exit 3", &json!({}));
    assert_eq!((&late["exit"], &late["log"]), (&json!("Code(3)"), &json!("late\n")));
    let long = report(&world, "sleep 300 & exit 3", &json!({"linger_ms": 200}));
    assert_eq!(long["exit"], "Code(3)");
    assert!(long["survivors_killed"].as_u64().unwrap() >= 1, "{long}");
}

#[test]
fn a_terminal_works_with_job_control() {
    let world = World::read_only();
    let line = "test -t 1 && echo terminal; stty size </dev/tty; echo loud >/dev/tty; echo err >/dev/stderr";
    let shell = report(&world, line, &json!({"is_terminal": true}));
    assert_eq!(shell["log"], "terminal\r\n24 80\r\nloud\r\nerr\r\n");
    let jobs = report_of(
        &world,
        &["/bin/bash", "-ic", "sleep 300 & kill %1; wait %1; echo $?"],
        &json!({"is_terminal": true}),
    );
    assert!(jobs["log"].as_str().unwrap().contains("143"), "{jobs}");
    assert!(!jobs["log"].as_str().unwrap().contains("no job control"), "{jobs}");
}
