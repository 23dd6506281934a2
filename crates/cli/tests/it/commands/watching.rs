//! `status`, `runs` and `logs`: looking at runs.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use serde_json::Value;

use crate::commands::{Workshop, documents};
use crate::support::wait_for;

/// A pipeline whose stage waits for a file, and one that fails.
const PIPELINES: &str = r#"[
    { "id": "fine", "stages": [{ "id": "a", "command": "echo out; echo err >&2" }] },
    { "id": "bad", "stages": [{ "id": "a", "command": "exit 3" }] },
    { "id": "long", "stages": [
        { "id": "a", "command": "echo first" },
        { "id": "wait", "command": "echo begun; touch begun; while ! test -e go; do sleep 0.01; done; echo over" }
    ] }
]"#;

#[test]
fn watching_ends_with_the_runs_own_exit_code() {
    let project = Workshop::new(PIPELINES);
    project.run(&["start", "fine"]).expect(0);
    let watched = project.run(&["status", "--watch"]).expect(0);
    assert!(watched.stdout.contains("✓ succeeded"), "{}", watched.stdout);
    project.run(&["start", "bad"]).expect(10);
    project.run(&["status", "--watch"]).expect(10);
    let json = project.run(&["status", "--watch", "--json"]).expect(10);
    documents::hold("status", &json.json());
    project.run(&["status"]).expect(0);
}

#[test]
fn a_watcher_sees_a_live_run_to_its_end() {
    let project = Workshop::new(PIPELINES);
    let mut owner = project.spawn(&["start", "long"]);
    wait_for("the stage begins", || project.path("begun").exists().then_some(()));
    let run = project.only_run();
    let mut watcher = project
        .command(&["status", "--run", &run, "--watch", "--interval", "50ms"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(watcher.stdout.take().unwrap()).lines();
    let mut seen = String::new();
    while !seen.contains("heartbeat") {
        seen.push_str(&lines.next().expect("the watcher goes on").unwrap());
    }
    std::fs::write(project.path("go"), "").unwrap();
    seen.extend(lines.map(Result::unwrap));
    assert!(seen.contains("✓ succeeded"), "{seen}");
    assert_eq!(watcher.wait().unwrap().code(), Some(0));
    assert_eq!(owner.wait().unwrap().code(), Some(0));
}

#[test]
fn a_watched_run_that_is_cancelled_or_interrupted_says_so() {
    let project = Workshop::new(PIPELINES);
    let mut owner = project.spawn(&["start", "long"]);
    wait_for("the stage begins", || project.path("begun").exists().then_some(()));
    let run = project.only_run();
    project.run(&["cancel", "--run", &run, "--reason", "enough", "--actor", "ann"]).expect(0);
    project.run(&["status", "--run", &run, "--watch"]).expect(14);
    assert_eq!(owner.wait().unwrap().code(), Some(14));
    let manifest = project.manifest(&run);
    assert_eq!(manifest["status"], "cancelled");
    assert_eq!(manifest["status_detail"], "cancelled by ann: enough");
    assert!(manifest["completed_at"].is_string());

    std::fs::remove_file(project.path("begun")).unwrap();
    let mut owner = project.spawn(&["start", "long"]);
    wait_for("the stage begins", || project.path("begun").exists().then_some(()));
    owner.kill().unwrap();
    owner.wait().unwrap();
    let watched = project.run(&["status", "--watch"]).expect(15);
    assert!(watched.stdout.contains("interrupted"), "{}", watched.stdout);
    std::fs::write(project.path("go"), "").unwrap();
    let newest = project.run(&["runs", "--json"]).json()[0]["run_id"].as_str().unwrap().to_owned();
    project.run(&["resume", "--run", &newest]).expect(0);
}

#[test]
fn status_is_of_the_newest_run_of_the_task() {
    let project = Workshop::new(PIPELINES);
    let none = project.run(&["status"]).expect(4);
    assert!(none.stderr.contains("nothing has been run here"), "{}", none.stderr);
    let first = project.run(&["start", "fine", "--task", "one", "--json"]).run_id();
    let second = project.run(&["start", "bad", "--task", "two", "--json"]).run_id();
    let newest = |arguments: &[&str]| project.run(arguments).expect(0).run_id();
    assert_eq!(newest(&["status", "--json"]), second);
    assert_eq!(newest(&["status", "--json", "--task", "one"]), first);
    assert_eq!(newest(&["status", "--json", "--run", &first]), first);
    project.run(&["status", "--task", "three"]).expect(4);
    project.run(&["status", "--run", "nothing"]).expect(4);
    project.run(&["logs", "--run", "nothing"]).expect(4);
}

fn ids(list: &Value) -> Vec<String> {
    let list = list.as_array().expect("a list");
    list.iter().map(|run| run["run_id"].as_str().expect("an id").to_owned()).collect()
}

#[test]
fn runs_are_filtered_and_paged() {
    let project = Workshop::new(PIPELINES);
    assert_eq!(project.run(&["runs", "--json"]).expect(0).json(), serde_json::json!([]));
    let start =
        |pipeline: &str, task: &str| project.run(&["start", pipeline, "--task", task, "--json"]).run_id();
    let all: Vec<String> =
        [("fine", "one"), ("bad", "one"), ("fine", "two"), ("bad", "two")].map(|(p, t)| start(p, t)).into();
    let newest_first: Vec<String> = all.iter().rev().cloned().collect();
    let list = |arguments: &[&str]| {
        let mut whole = vec!["runs", "--json"];
        whole.extend(arguments);
        ids(&project.run(&whole).expect(0).json())
    };
    assert_eq!(list(&["--all"]), newest_first);
    assert_eq!(list(&["--all", "-n", "2"]), newest_first[..2]);
    assert_eq!(list(&["--all", "-n", "2", "--before", &newest_first[1]]), newest_first[2..]);
    assert_eq!(list(&["--task", "one"]), newest_first[2..]);
    assert_eq!(list(&["--status", "failed"]), [all[3].clone(), all[1].clone()]);
    assert_eq!(list(&["--status", "failed", "--status", "succeeded"]).len(), 4);
    assert_eq!(list(&["--pipeline", "fine", "--task", "two"]), [all[2].clone()]);
    assert!(list(&["--pipeline", "none"]).is_empty());
    let lines = project.run(&["runs", "--all", "--format", "jsonl"]).expect(0).stdout;
    assert_eq!(lines.lines().count(), 4);
    let text = project.run(&["runs", "--all"]).expect(0).stdout;
    assert_eq!(text.lines().count(), 4, "{text}");
    assert!(text.lines().all(|line| line == line.trim_end()), "{text:?}");
}

#[test]
fn logs_show_one_stage_or_all_of_them() {
    let project = Workshop::with_stages(
        r#"[
            { "id": "a", "command": "echo a-out; echo a-err >&2" },
            { "id": "again", "command": "echo try $CODEX_ORCHESTRATOR_ATTEMPT; test $CODEX_ORCHESTRATOR_ATTEMPT = 2",
              "retry": { "max_attempts": 2, "backoff": "1ms" } },
            { "id": "silent", "command": "true" }
        ]"#,
    );
    project.run(&["start"]).expect(0);
    let logs = |arguments: &[&str]| {
        let mut whole = vec!["logs"];
        whole.extend(arguments);
        project.run(&whole).expect(0).stdout
    };
    let all = logs(&[]);
    for part in ["── a\n", "a-out\n", "a-err\n", "── again\ntry 1\n", "── again (attempt 2)\ntry 2\n"]
    {
        assert!(all.contains(part), "{part:?}: {all}");
    }
    assert_eq!(logs(&["--stage", "again"]), "try 2\n");
    assert_eq!(logs(&["--stage", "again", "--attempt", "1"]), "try 1\n");
    assert_eq!(logs(&["--stage", "a", "--stderr"]), "a-err\n");
    assert_eq!(logs(&["--raw", "--stage", "a"]), "a-out\n");
    assert_eq!(logs(&["--raw", "--stage", "a", "--stderr"]), "a-err\n");
    assert_eq!(logs(&["--raw"]), "a-out\ntry 1\ntry 2\n");
    let lines = logs(&["--format", "jsonl", "--stage", "a"]);
    let chunks: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(chunks.iter().any(|chunk| chunk["stream"] == "stderr" && chunk["text"] == "a-err\n"), "{lines}");
    assert!(logs(&["--events"]).contains("✓ again"));

    let silent = project.run(&["logs", "--stage", "silent"]).expect(0);
    assert_eq!(silent.stdout, "");
    assert!(silent.stderr.contains("no output"), "nothing is said aloud: {:?}", silent.stderr);
    let unknown = project.run(&["logs", "--stage", "none"]).expect(4);
    assert!(unknown.stderr.contains("its stages: a, again, silent"), "{}", unknown.stderr);
    let attempt = project.run(&["logs", "--stage", "a", "--attempt", "2"]).expect(4);
    assert!(attempt.stderr.contains("stage `a` has 1 attempt;"), "{}", attempt.stderr);
}

#[test]
fn followed_logs_go_on_to_the_end() {
    let project = Workshop::new(PIPELINES);
    let mut owner = project.spawn(&["start", "long"]);
    wait_for("the stage begins", || project.path("begun").exists().then_some(()));
    let follow = |arguments: &[&str]| {
        let mut whole = vec!["logs", "-f"];
        whole.extend(arguments);
        project.command(&whole).stdout(Stdio::piped()).spawn().unwrap()
    };
    let mut text = follow(&[]);
    let mut lines = BufReader::new(text.stdout.take().unwrap()).lines();
    let mut seen = Vec::new();
    while seen.last().is_none_or(|line| line != "begun") {
        seen.push(lines.next().expect("the log goes on").unwrap());
    }
    let raw = follow(&["--raw", "--stage", "wait"]);
    let events = follow(&["--events", "--format", "jsonl"]);
    std::fs::write(project.path("go"), "").unwrap();
    seen.extend(lines.map(Result::unwrap));
    assert_eq!(seen, ["── a", "first", "── wait", "begun", "over"]);
    assert_eq!(text.wait().unwrap().code(), Some(0));
    let raw = raw.wait_with_output().unwrap();
    assert_eq!((raw.status.code(), raw.stdout.as_slice()), (Some(0), b"begun\nover\n".as_slice()));
    let events = events.wait_with_output().unwrap();
    let events = String::from_utf8(events.stdout).unwrap();
    assert!(events.lines().last().unwrap().contains("run_finished"), "{events}");
    assert_eq!(owner.wait().unwrap().code(), Some(0));
}

#[test]
fn a_copy_that_may_only_be_read_can_be_looked_at() {
    let project = Workshop::with_stages(r#"[{ "id": "one", "command": "echo hello" }]"#);
    let run = project.run(&["start", "--json"]).expect(0).run_id();
    let look = |arguments: &[&str]| project.read_only(arguments).output().unwrap();
    let told = |output: &std::process::Output| String::from_utf8_lossy(&output.stderr).into_owned();
    for (arguments, expected) in [
        (&["runs", "--json"] as &[_], run.as_str()),
        (&["status"], run.as_str()),
        (&["logs"], "hello"),
        (&["logs", "--events"], "run"),
        (&["approvals", "list", "--json"], "grants"),
        (&["approvals", "export"], ""),
        (&["rebuild", "--check", "--quiet"], ""),
    ] {
        let output = look(arguments);
        let stdout = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && stdout.contains(expected), "{arguments:?}: {output:?}");
        assert_eq!(told(&output), "", "{arguments:?}");
    }
    // What writes says so, with the code for a folder that cannot be written.
    let refused = look(&["start"]);
    assert_eq!(refused.status.code(), Some(3), "{refused:?}");
    // What a program that was killed has left beside it is not passed over in silence.
    std::fs::write(project.path(".runs/orchestrator.db-wal"), "x").unwrap();
    let refused = look(&["runs"]);
    assert_eq!(refused.status.code(), Some(3), "{refused:?}");
    assert!(told(&refused).contains("look at a copy of it and of its `-wal` file"), "{refused:?}");
}

#[test]
fn a_folder_for_runs_that_cannot_be_written_is_a_matter_of_set_up() {
    let mut project = Workshop::with_stages(r#"[{ "id": "one", "command": "true" }]"#);
    std::fs::write(project.path(".runs"), "a file").unwrap();
    let ended = project.run(&["start"]).expect(3);
    assert!(ended.stderr.contains("--runs-dir"), "{ended:?}");
    project.set("CODEX_ORCHESTRATOR_RUNS_DIR", "/proc/x");
    project.run(&["start"]).expect(3);
    project.run(&["exec", "true"]).expect(3);
}
