//! `start`: what is printed where, and which stages run.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::Stdio;

use crate::commands::{Workshop, documents, stage, stages};

const THREE: &str = r#"[
    { "id": "a", "command": "echo a >> ran" },
    { "id": "b", "command": "echo b >> ran; echo loud >&2" },
    { "id": "c", "command": "echo c >> ran" }
]"#;

#[test]
fn json_goes_to_stdout_alone_and_progress_to_stderr() {
    let project = Workshop::with_stages(THREE);
    let ended = project.run(&["start", "--format", "json"]).expect(0);
    documents::hold("start", &ended.json());
    assert_eq!(ended.json()["status"], "succeeded");
    assert!(ended.stderr.contains("✓ b"), "{}", ended.stderr);
    let manifest = project.json_file(ended.json()["manifest"].as_str().unwrap());
    assert_eq!(stages(&manifest), [("a", "succeeded"), ("b", "succeeded"), ("c", "succeeded")]);
    assert_eq!(manifest["run_id"].as_str(), Some(ended.run_id().as_str()));
    assert_eq!(project.text("ran"), "a\nb\nc\n");

    let quiet = project.run(&["start", "--json", "--quiet"]).expect(0);
    assert_eq!(quiet.stderr, "");
    quiet.run_id();
}

#[test]
fn a_failed_run_still_prints_its_json() {
    let project =
        Workshop::with_stages(r#"[{ "id": "a", "command": "exit 7" }, { "id": "b", "command": "true" }]"#);
    let ended = project.run(&["start", "--format", "json"]).expect(10);
    documents::hold("start", &ended.json());
    assert_eq!(ended.json()["status"], "failed");
    assert_eq!(ended.json()["status_detail"], "stage:a:failed");
    let manifest = project.manifest(&ended.run_id());
    assert_eq!(stages(&manifest), [("a", "failed"), ("b", "skipped")]);
    assert_eq!(stage(&manifest, "a")["exit_code"], 7);
    assert_eq!(stage(&manifest, "b")["reason"], "stage-failed");
    assert!(stage(&manifest, "b")["skip_reason"].as_str().unwrap().contains("`a`"));
    let error = project.json_file(stage(&manifest, "a")["error_file"].as_str().unwrap());
    assert_eq!(error["details"]["exit_code"], 7);
}

#[test]
fn jsonl_is_the_event_stream_as_it_happens() {
    let project = Workshop::with_stages(THREE);
    let ended = project.run(&["start", "--format", "jsonl"]).expect(0);
    let events: Vec<serde_json::Value> =
        ended.stdout.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    for (index, event) in events.iter().enumerate() {
        documents::hold("event", event);
        assert_eq!(event["seq"], index + 1);
    }
    assert_eq!(events[0]["type"], "run_created");
    assert_eq!(events.last().unwrap()["type"], "run_finished");
    let again = project.run(&["logs", "--events", "--format", "jsonl"]).expect(0);
    assert_eq!(again.stdout, ended.stdout);
}

#[test]
fn a_target_runs_with_its_declared_needs_and_nothing_else() {
    let project = Workshop::with_stages(
        r#"[
            { "id": "build", "command": "echo build >> ran", "needs": [] },
            { "id": "lint", "command": "echo lint >> ran", "needs": [] },
            { "id": "test", "command": "echo test >> ran", "needs": ["build"], "plan": { "aliases": ["check"] } },
            { "id": "docs", "command": "echo docs >> ran", "needs": ["test"] }
        ]"#,
    );
    for target in ["test", "main:test", "check", "TEST"] {
        drop(std::fs::remove_file(project.path("ran")));
        let ended = project.run(&["start", "--target", target, "--json"]).expect(0);
        assert_eq!(project.text("ran"), "build\ntest\n", "{target}");
        let manifest = project.manifest(&ended.run_id());
        let expected =
            [("build", "succeeded"), ("lint", "skipped"), ("test", "succeeded"), ("docs", "skipped")];
        assert_eq!(stages(&manifest), expected, "{target}");
        assert_eq!(manifest["plan_target_id"], "main:test");
        assert_eq!(stage(&manifest, "lint")["reason"], "not-targeted");
        assert!(!stage(&manifest, "lint")["skip_reason"].as_str().unwrap().is_empty());
    }
    let before = project.run(&["runs", "--all", "--json"]).json();
    let ended = project.run(&["start", "--target", "tset"]).expect(2);
    assert!(ended.stderr.contains("has no stage `tset`"), "{}", ended.stderr);
    assert_eq!(project.run(&["runs", "--all", "--json"]).json(), before, "a refused start leaves no run");
}

#[test]
fn a_reader_that_goes_away_does_not_stop_the_run() {
    let project = Workshop::with_stages(
        r#"[{ "id": "a", "command": "echo a" }, { "id": "wait", "command": "while ! test -e go; do sleep 0.01; done" },
            { "id": "c", "command": "touch done" }]"#,
    );
    let mut child = project
        .command(&["start", "--format", "jsonl"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut first = String::new();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    stdout.read_line(&mut first).unwrap();
    assert!(first.contains("run_created"), "{first}");
    drop(stdout);
    std::fs::write(project.path("go"), "").unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert!(project.path("done").exists());
    assert_eq!(project.manifest(&project.only_run())["status"], "succeeded");
}

#[test]
fn closed_standard_streams_do_not_stop_a_run() {
    let project = Workshop::with_stages(THREE);
    let program = env!("CARGO_BIN_EXE_codex-orchestrator");
    let mut shell = project.command(&[]);
    let line = format!("'{program}' start >&- 2>&- <&-");
    #[expect(clippy::disallowed_methods, reason = "only a shell closes streams before it starts a program")]
    let mut command = std::process::Command::new("/bin/sh");
    command.args(["-c", &line]).current_dir(project.root()).env_clear();
    command.envs(shell.env("_", "").get_envs().filter_map(|(name, value)| Some((name, value?))));
    assert_eq!(command.status().unwrap().code(), Some(0));
    let manifest = project.manifest(&project.only_run());
    assert_eq!(manifest["status"], "succeeded");
    // What the program opened must not have landed in the place of a standard stream.
    assert_eq!(project.run(&["logs", "--raw", "--stage", "b", "--stderr"]).stdout, "loud\n");
}

#[test]
fn progress_can_be_read_while_the_run_is_under_way() {
    let project = Workshop::with_stages(
        r#"[{ "id": "a", "command": "echo hello" }, { "id": "wait", "command": "while ! test -e go; do sleep 0.01; done" }]"#,
    );
    let mut child =
        project.command(&["start"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut seen = String::new();
    while !seen.contains("▸ wait") {
        assert_ne!(stderr.read_line(&mut seen).unwrap(), 0, "{seen}");
    }
    assert!(seen.contains("✓ a"), "{seen}");
    let run = project.only_run();
    let status = project.run(&["status", "--run", &run, "--json"]).expect(0).json();
    assert_eq!(status["status"], "in_progress");
    assert_eq!(project.manifest(&run)["status"], "in_progress");
    let live = project.run(&["rebuild", "--run", &run]).expect(11);
    assert!(live.stderr.contains("error:"), "{}", live.stderr);
    std::fs::write(project.path("go"), "").unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    stderr.read_to_string(&mut seen).unwrap();
}
