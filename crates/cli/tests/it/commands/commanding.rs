//! `cancel`, `answer`, `steer`, `recover` and `rebuild`: telling runs what to do.

use std::process::Child;

use crate::commands::{Workshop, stage, stages};
use crate::support::wait_for;

/// A run that waits at its gates.
fn asking(pipelines: &str, gates: &[&str]) -> (Workshop, Child, String) {
    let project = Workshop::new(pipelines);
    let owner = project.spawn(&["start"]);
    let run = wait_for("the gates ask", || {
        let status = project.run(&["status", "--json"]);
        let status: serde_json::Value = serde_json::from_str(&status.stdout).ok()?;
        let waiting = |gate: &&str| stage(&status, gate)["status"] == "waiting";
        gates.iter().all(waiting).then(|| status["run_id"].as_str().unwrap().to_owned())
    });
    (project, owner, run)
}

const GATE: &str = r#"[{ "id": "main", "stages": [
    { "id": "ask", "kind": "gate", "message": "Publish it?", "expires": "1h" },
    { "id": "after", "command": "touch published" }
] }]"#;

#[test]
fn a_yes_opens_the_gate_and_is_recorded() {
    let (project, mut owner, run) = asking(GATE, &["ask"]);
    let shown = project.run(&["status"]).expect(0).stdout;
    assert!(shown.contains("Publish it?"), "{shown}");
    assert!(shown.contains(&format!("answer --run {run} --stage ask yes|no")), "{shown}");
    project.run(&["answer", "--run", &run, "yes", "--actor", "ann", "--reason", "looks right"]).expect(0);
    assert_eq!(owner.wait().unwrap().code(), Some(0));
    assert!(project.path("published").exists());
    let approval = &project.manifest(&run)["approvals"][0];
    assert_eq!(
        (&approval["verdict"], &approval["actor"], &approval["reason"]),
        (&"approved".into(), &"ann".into(), &"looks right".into())
    );
    let late = project.run(&["answer", "--run", &run, "yes"]).expect(11);
    assert!(late.stderr.contains("is over"), "{}", late.stderr);
}

#[test]
fn a_no_is_a_refusal() {
    let (project, mut owner, run) = asking(GATE, &["ask"]);
    let result = project.run(&["answer", "--run", &run, "no", "--json"]).expect(0).json();
    assert_eq!(result["status"], "accepted");
    assert_eq!(owner.wait().unwrap().code(), Some(11));
    assert!(!project.path("published").exists());
    let manifest = project.manifest(&run);
    assert_eq!(stage(&manifest, "ask")["reason"], "denied");
    assert_eq!(manifest["status_detail"], "stage:ask:denied");
}

#[test]
fn a_gate_that_nobody_answers_closes() {
    let project = Workshop::new(
        r#"[{ "id": "main", "stages": [{ "id": "ask", "kind": "gate", "message": "Well?", "expires": "50ms" }] }]"#,
    );
    let run = project.run(&["start", "--json"]).expect(11).run_id();
    let manifest = project.manifest(&run);
    assert_eq!(stage(&manifest, "ask")["reason"], "unanswered");
    assert_eq!(manifest["approvals"][0]["verdict"], "unanswered");
}

#[test]
fn an_answer_that_fits_several_questions_must_name_one() {
    let (project, mut owner, run) = asking(
        r#"[{ "id": "main", "maxParallel": 2, "stages": [
            { "id": "one", "kind": "gate", "message": "1?", "needs": [] },
            { "id": "two", "kind": "gate", "message": "2?", "needs": [] }
        ] }]"#,
        &["one", "two"],
    );
    let ended = project.run(&["answer", "--run", &run, "yes"]).expect(11);
    assert!(ended.stderr.contains("`one`, `two`"), "{}", ended.stderr);
    let ended = project.run(&["answer", "--run", &run, "yes", "--stage", "three"]).expect(11);
    assert!(ended.stderr.contains("three"), "{}", ended.stderr);
    project.run(&["answer", "--run", &run, "yes", "--stage", "two"]).expect(0);
    project.run(&["answer", "--run", &run, "yes"]).expect(0);
    assert_eq!(owner.wait().unwrap().code(), Some(0));
}

#[test]
fn what_cannot_be_done_is_refused_and_recorded() {
    let (project, mut owner, run) = asking(GATE, &["ask"]);
    let steer = project.run(&["steer", "--run", &run, "go faster"]).expect(11);
    assert!(steer.stderr.contains("no agent is at work"), "{}", steer.stderr);
    project.run(&["steer", "--run", &run, "  "]).expect(2);
    project.run(&["cancel", "--run", &run, "--no-wait"]).expect(0);
    assert_eq!(owner.wait().unwrap().code(), Some(14));
    assert_eq!(stages(&project.manifest(&run)), [("ask", "cancelled"), ("after", "skipped")]);
    let again = project.run(&["cancel", "--run", &run]).expect(11);
    assert!(again.stderr.contains("is over (cancelled)"), "{}", again.stderr);
    for command in ["cancel", "steer", "answer"] {
        let mut arguments = vec![command, "--run", "nothing"];
        arguments.extend(match command {
            "steer" => vec!["text"],
            "answer" => vec!["yes"],
            _ => vec![],
        });
        let unknown = project.run(&arguments).expect(4);
        assert!(unknown.stderr.contains("there is no run `nothing`"), "{}", unknown.stderr);
    }
    let events = project.run(&["logs", "--events", "--format", "jsonl"]).stdout;
    assert_eq!(events.matches("command_refused").count(), 2, "{events}");
}

#[test]
fn an_answer_without_a_question_is_refused() {
    let project = Workshop::with_stages(
        r#"[{ "id": "a", "command": "touch begun; while ! test -e go; do sleep 0.01; done" }]"#,
    );
    let mut owner = project.spawn(&["start"]);
    wait_for("the stage begins", || project.path("begun").exists().then_some(()));
    let run = project.only_run();
    let ended = project.run(&["answer", "--run", &run, "yes"]).expect(11);
    assert!(ended.stderr.contains("no question"), "{}", ended.stderr);
    std::fs::write(project.path("go"), "").unwrap();
    assert_eq!(owner.wait().unwrap().code(), Some(0));
}

#[test]
fn with_nothing_to_recover_nothing_is_done() {
    let project = Workshop::with_stages(r#"[{ "id": "a", "command": "exit 1" }]"#);
    project.run(&["recover"]).expect(4);
    project.run(&["start"]).expect(10);
    for arguments in [vec!["recover"], vec!["recover", "--dry-run"]] {
        let ended = project.run(&arguments).expect(0);
        assert_eq!((ended.stdout.as_str(), ended.stderr.as_str()), ("", "nothing to recover\n"));
    }
    assert_eq!(project.run(&["recover", "--json"]).json(), serde_json::json!([]));
    project.run(&["recover", "--run", "nothing"]).expect(4);
}

#[test]
fn views_are_compared_and_written_anew_byte_for_byte() {
    let project = Workshop::with_stages(r#"[{ "id": "a", "command": "exit 1" }]"#);
    let run = project.run(&["start", "--json"]).run_id();
    project.run(&["rebuild", "--check"]).expect(0);
    let files = [
        format!(".runs/local/cli/{run}/manifest.json"),
        format!(".runs/local/cli/{run}/run-summary.json"),
        format!(".runs/local/cli/{run}/events.jsonl"),
        format!(".runs/local/cli/{run}/errors/a.json"),
        format!(".runs/local/{run}/manifest.json"),
        ".runs/local/metrics.json".to_owned(),
        "out/local/state.json".to_owned(),
    ];
    for file in &files {
        let before = project.text(file);
        assert!(!before.is_empty(), "{file}");
        std::fs::write(project.path(file), "{ torn").unwrap();
        let checked = project.run(&["rebuild", "--check"]).expect(10);
        assert!(checked.stdout.contains(&format!("differs  {file}")), "{file}: {}", checked.stdout);
        std::fs::remove_file(project.path(file)).unwrap();
        let checked = project.run(&["rebuild", "--check", "--run", &run]).expect(10);
        assert!(checked.stdout.contains(&format!("missing  {file}")), "{file}: {}", checked.stdout);
        project.run(&["rebuild"]).expect(0);
        assert_eq!(project.text(file), before, "{file}");
    }
    project.run(&["rebuild", "--run", "nothing"]).expect(4);
}
