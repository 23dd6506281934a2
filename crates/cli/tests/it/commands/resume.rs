//! `resume`: stages are known by their ids, owners and tokens are honoured.

use std::os::unix::fs::PermissionsExt as _;

use serde_json::Value;

use crate::commands::{Workshop, stage, stages};
use crate::support::Ended;

/// A pipeline a, b, c that has failed at b, and the run's id.
fn failed_at_b() -> (Workshop, String) {
    let project = Workshop::with_stages(
        r#"[
            { "id": "a", "command": "echo a >> ran" },
            { "id": "b", "command": "echo b >> ran; test -e repaired" },
            { "id": "c", "command": "echo c >> ran" }
        ]"#,
    );
    let run = project.run(&["start", "--json"]).expect(10).run_id();
    assert_eq!(project.text("ran"), "a\nb\n");
    std::fs::write(project.path("repaired"), "").unwrap();
    (project, run)
}

fn resume(project: &Workshop, run: &str) -> Ended {
    project.run(&["resume", "--run", run, "--json"])
}

fn changes(manifest: &Value) -> Vec<(String, String)> {
    let events = manifest["resume_events"].as_array().unwrap();
    let drift = events.last().unwrap()["drift"].as_array().unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    drift.iter().map(|drift| (text(&drift["stage_id"]), text(&drift["change"]))).collect()
}

#[test]
fn an_unchanged_pipeline_goes_on_where_it_failed() {
    let (project, run) = failed_at_b();
    assert_eq!(resume(&project, &run).expect(0).run_id(), run);
    assert_eq!(project.text("ran"), "a\nb\nb\nc\n");
    let manifest = project.manifest(&run);
    assert_eq!(stages(&manifest), [("a", "succeeded"), ("b", "succeeded"), ("c", "succeeded")]);
    assert_eq!(stage(&manifest, "b")["attempts"].as_array().unwrap().len(), 2);
    assert_eq!(manifest["resume_events"][0]["outcome"], "accepted");
    let metrics = project.json_file(".runs/local/metrics.json");
    assert_eq!(metrics["runs"].as_array().unwrap().len(), 1, "a resumed run stays one record");
}

#[test]
fn an_inserted_stage_runs_and_no_other_takes_its_place() {
    let (project, run) = failed_at_b();
    project.write_stages(
        r#"[
            { "id": "a", "command": "echo a >> ran" },
            { "id": "x", "command": "echo x >> ran" },
            { "id": "b", "command": "echo b >> ran; test -e repaired" },
            { "id": "c", "command": "echo c >> ran" }
        ]"#,
    );
    let ended = resume(&project, &run).expect(0);
    assert!(ended.stderr.contains("new stage: x"), "{}", ended.stderr);
    assert_eq!(project.text("ran"), "a\nb\nx\nb\nc\n");
    let manifest = project.manifest(&run);
    assert_eq!(changes(&manifest), [("x".to_owned(), "added".to_owned())]);
    assert!(stages(&manifest).iter().all(|(_, status)| *status == "succeeded"), "{manifest:#}");
}

#[test]
fn a_removed_stage_keeps_its_record_and_a_changed_one_runs_again() {
    let (project, run) = failed_at_b();
    project.write_stages(
        r#"[
            { "id": "a", "command": "echo new a >> ran" },
            { "id": "c", "command": "echo c >> ran" }
        ]"#,
    );
    resume(&project, &run).expect(0);
    assert_eq!(project.text("ran"), "a\nb\nnew a\nc\n");
    let manifest = project.manifest(&run);
    let drift = changes(&manifest);
    assert!(drift.contains(&("a".to_owned(), "changed".to_owned())), "{drift:?}");
    assert!(drift.contains(&("b".to_owned(), "removed".to_owned())), "{drift:?}");
    assert_eq!(stage(&manifest, "b")["removed"], true);
    assert_ne!(stage(&manifest, "b")["status"], "succeeded");
}

#[test]
fn reordered_stages_are_still_themselves() {
    let (project, run) = failed_at_b();
    project.write_stages(
        r#"[
            { "id": "c", "command": "echo c >> ran" },
            { "id": "b", "command": "echo b >> ran; test -e repaired" },
            { "id": "a", "command": "echo a >> ran" }
        ]"#,
    );
    resume(&project, &run).expect(0);
    let ran = project.text("ran");
    let count = |what: &str| ran.lines().filter(|line| *line == what).count();
    assert_eq!((count("b"), count("c")), (2, 1), "{ran}");
    assert!(stages(&project.manifest(&run)).iter().all(|(_, status)| *status == "succeeded"));
}

#[test]
fn the_recorded_pipeline_can_be_gone_on_with() {
    let (project, run) = failed_at_b();
    project.write_pipelines(r#"[{ "id": "other", "stages": [{ "id": "z", "command": "true" }] }]"#);
    let ended = resume(&project, &run).expect(3);
    assert!(ended.stderr.contains("--recorded-pipeline"), "{}", ended.stderr);
    assert_eq!(project.manifest(&run)["status"], "failed");
    project.run(&["resume", "--run", &run, "--recorded-pipeline"]).expect(0);
    assert_eq!(project.text("ran"), "a\nb\nb\nc\n");
}

#[test]
fn a_wrong_token_is_refused_and_recorded() {
    let (mut project, run) = failed_at_b();
    let file = project.path(&format!(".runs/local/cli/{run}/.resume-token"));
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let token = std::fs::read_to_string(&file).unwrap().trim().to_owned();
    assert_eq!(token.len(), 64);

    let ended = project.run(&["resume", "--run", &run, "--token", "wrong"]).expect(11);
    assert!(ended.stderr.contains(".resume-token"), "{}", ended.stderr);
    let manifest = project.manifest(&run);
    assert_eq!(manifest["resume_events"][0]["outcome"], "blocked");
    assert_eq!(manifest["status"], "failed");
    assert_eq!(project.text("ran"), "a\nb\n");

    project.set("CODEX_ORCHESTRATOR_REQUIRE_RESUME_TOKEN", "true");
    resume(&project, &run).expect(11);
    assert_eq!(project.manifest(&run)["resume_events"][1]["outcome"], "blocked");
    let mut child = project.command(&["resume", "--run", &run, "--token", "-", "--json"]);
    child.stdin(std::fs::File::open(&file).unwrap());
    let output = child.output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let manifest = project.manifest(&run);
    assert_eq!(manifest["resume_events"][2]["outcome"], "accepted");
    let everything = format!("{manifest}{}", project.run(&["logs", "--events", "--format", "jsonl"]).stdout);
    assert!(!everything.contains(&token), "the token is in no view");
}

#[test]
fn no_stage_sees_the_token() {
    let mut project = Workshop::with_stages(r#"[{ "id": "env", "command": "env; exit 3" }]"#);
    project.set("CODEX_ORCHESTRATOR_RESUME_TOKEN", "spoken-secret");
    project.run(&["start"]).expect(10);
    let env = project.run(&["logs", "--raw"]).stdout;
    assert!(env.contains("CODEX_ORCHESTRATOR_STAGE_ID=env"), "{env}");
    assert!(!env.contains("spoken-secret"), "{env}");
}

#[test]
fn a_live_run_cannot_be_resumed() {
    let project = Workshop::with_stages(
        r#"[{ "id": "a", "command": "echo a >> ran; touch started; while ! test -e go; do sleep 0.01; done" },
            { "id": "b", "command": "echo b >> ran" }]"#,
    );
    let mut owner = project.spawn(&["start"]);
    crate::support::wait_for("the stage begins", || project.path("started").exists().then_some(()));
    let run = project.only_run();
    let ended = resume(&project, &run).expect(11);
    assert!(ended.stderr.contains("--watch"), "a next step: {}", ended.stderr);
    std::fs::write(project.path("go"), "").unwrap();
    assert_eq!(owner.wait().unwrap().code(), Some(0));
    assert_eq!(project.text("ran"), "a\nb\n");
    let manifest = project.manifest(&run);
    assert_eq!(manifest["resume_events"][0]["outcome"], "blocked", "{manifest:#}");
}

#[test]
fn a_run_that_succeeded_has_nothing_to_resume() {
    let (project, run) = failed_at_b();
    resume(&project, &run).expect(0);
    let ended = resume(&project, &run).expect(11);
    assert!(ended.stderr.contains("error:"), "{}", ended.stderr);
    assert_eq!(project.text("ran"), "a\nb\nb\nc\n");
    resume(&project, "2026-01-01T00-00-00-000Z-00000000").expect(4);
}

#[test]
fn a_retry_is_a_fresh_run_that_names_the_first() {
    let (project, run) = failed_at_b();
    let again = project.run(&["retry", "--run", &run, "--json"]).expect(0).run_id();
    assert_ne!(again, run);
    assert_eq!(project.manifest(&again)["retry_of"], run.as_str());
    assert_eq!(project.manifest(&run)["status"], "failed");
    assert_eq!(project.text("ran"), "a\nb\na\nb\nc\n");
    project.run(&["retry", "--run", "nothing"]).expect(4);
}
