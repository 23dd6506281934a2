//! What pipelines can say, seen from outside.

use crate::commands::{Workshop, stage, stages};

#[test]
fn stages_may_ask_for_failure_or_run_always() {
    let project = Workshop::with_stages(
        r#"[
            { "id": "bad", "command": "false" },
            { "id": "on-failure", "when": "failure", "command": "echo failure >> ran" },
            { "id": "on-success", "command": "echo success >> ran" },
            { "id": "at-last", "when": "always", "command": "echo always >> ran" }
        ]"#,
    );
    let run = project.run(&["start", "--json"]).expect(10).run_id();
    assert_eq!(project.text("ran"), "failure\nalways\n");
    let manifest = project.manifest(&run);
    assert_eq!(
        stages(&manifest),
        [("bad", "failed"), ("on-failure", "succeeded"), ("on-success", "skipped"), ("at-last", "succeeded")]
    );
    assert_eq!(manifest["status_detail"], "stage:bad:failed");
}

#[test]
fn a_stage_that_may_fail_stops_nothing() {
    let project = Workshop::with_stages(
        r#"[{ "id": "a", "command": "exit 9", "allowFailure": true }, { "id": "b", "command": "true" }]"#,
    );
    let ended = project.run(&["start", "--json"]).expect(0);
    let manifest = project.manifest(&ended.run_id());
    assert_eq!(stages(&manifest), [("a", "failed"), ("b", "succeeded")]);
    assert_eq!(stage(&manifest, "a")["exit_code"], 9);
    assert!(ended.stderr.contains("(allowed)"), "{}", ended.stderr);
}

#[test]
fn an_attempt_is_repeated_with_growing_waits() {
    let project = Workshop::with_stages(
        r#"[{ "id": "a", "command": "echo x >> tries; test $(wc -l < tries) -ge 3 || exit 75",
              "retry": { "maxAttempts": 3, "backoff": "20ms", "on": { "exitCodes": [75] } } },
            { "id": "b", "command": "echo x >> others; exit 4",
              "retry": { "maxAttempts": 3, "backoff": "20ms", "on": { "exitCodes": [75] } } }]"#,
    );
    let run = project.run(&["start", "--json"]).expect(10).run_id();
    let manifest = project.manifest(&run);
    assert_eq!(stage(&manifest, "a")["attempts"].as_array().unwrap().len(), 3);
    assert_eq!(stage(&manifest, "b")["attempts"].as_array().unwrap().len(), 1, "exit code 4 is not listed");
    let events = project.run(&["logs", "--events", "--format", "jsonl"]).stdout;
    let waits: Vec<jiff::SignedDuration> = events
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .filter(|event| event["type"] == "retry_scheduled")
        .map(|event| {
            let time =
                |value: &serde_json::Value| value.as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
            time(&event["data"]["due_at"]).duration_since(time(&event["at"]))
        })
        .collect();
    assert_eq!(waits.iter().map(jiff::SignedDuration::as_millis).collect::<Vec<_>>(), [20, 40]);
}

#[test]
fn independent_stages_overlap_up_to_the_limit() {
    // Each waits for the other: one after the other they would never end.
    let project = Workshop::new(
        r#"[{ "id": "main", "maxParallel": 2, "stages": [
            { "id": "left", "needs": [], "timeout": "60s", "command": "touch left; while ! test -e right; do sleep 0.01; done" },
            { "id": "right", "needs": [], "timeout": "60s", "command": "touch right; while ! test -e left; do sleep 0.01; done" },
            { "id": "both", "needs": ["left", "right"], "command": "test -e left && test -e right" }
        ] }]"#,
    );
    let run = project.run(&["start", "--json"]).expect(0).run_id();
    assert!(stages(&project.manifest(&run)).iter().all(|(_, status)| *status == "succeeded"));
}

#[test]
fn outputs_are_promises_and_inputs_paths() {
    let project = Workshop::with_stages(
        r#"[
            { "id": "make", "command": "mkdir -p d && printf made > d/f", "outputs": { "result": "d/f" } },
            { "id": "use", "command": "cat \"$CODEX_ORCHESTRATOR_INPUT_THE_FILE\" > copy", "inputs": { "the-file": "make.result" } },
            { "id": "break", "command": "true", "outputs": { "nothing": "not-there" } }
        ]"#,
    );
    let ended = project.run(&["start", "--json"]).expect(10);
    assert_eq!(project.text("copy"), "made");
    let manifest = project.manifest(&ended.run_id());
    let output = &stage(&manifest, "make")["outputs"][0];
    assert_eq!((&output["name"], &output["bytes"]), (&"result".into(), &4.into()));
    assert_eq!(stage(&manifest, "break")["reason"], "missing-outputs");
    assert_eq!(stage(&manifest, "break")["missing_outputs"][0], "nothing");
    assert!(ended.stderr.contains("declared outputs are missing: nothing"), "{}", ended.stderr);
}

#[test]
fn a_planner_narrows_and_a_reviewer_objects() {
    let project = Workshop::with_stages(
        r#"[
            { "id": "choose", "role": "planner", "command": "echo '{\"stages\": [\"x\"]}'" },
            { "id": "x", "command": "echo x >> ran" },
            { "id": "y", "command": "echo y >> ran" },
            { "id": "review", "role": "reviewer", "command": "echo '{\"approved\": false, \"reason\": \"no tests\"}'" }
        ]"#,
    );
    let ended = project.run(&["start", "--json"]).expect(10);
    assert_eq!(project.text("ran"), "x\n");
    let manifest = project.manifest(&ended.run_id());
    assert_eq!(stage(&manifest, "y")["reason"], "not-planned");
    assert_eq!(manifest["status_detail"], "review:rejected");
    assert_eq!(manifest["roles"]["reviewer"]["success"], false);
    assert!(ended.json()["summary"].as_str().unwrap().contains("no tests"), "{}", ended.stdout);
}

#[test]
fn required_guardrails_decide() {
    let pipelines = |command: &str| {
        format!(
            r#"[{{ "id": "main", "guardrailsRequired": true, "stages": [
                {{ "id": "work", "command": "true" }}, {{ "id": "spec-guard", "command": "{command}", "allowFailure": true }}
            ] }}]"#
        )
    };
    let project = Workshop::new(&pipelines("true"));
    let run = project.run(&["start", "--json"]).expect(0).run_id();
    assert_eq!(project.manifest(&run)["guardrail_status"]["present"], true);
    project.write_pipelines(&pipelines("false"));
    let run = project.run(&["start", "--json"]).expect(10).run_id();
    let manifest = project.manifest(&run);
    assert_eq!(manifest["status_detail"], "guardrails:unsatisfied");
    assert!(manifest["guardrail_status"]["recommendation"].is_string());
    project.write_pipelines(
        r#"[{ "id": "main", "guardrailsRequired": true, "stages": [{ "id": "work", "command": "true" }] }]"#,
    );
    let ended = project.run(&["start"]).expect(10);
    assert!(ended.stdout.contains("Guardrails: required, but the pipeline has none."), "{}", ended.stdout);
}

#[test]
fn a_parent_run_must_exist() {
    let project = Workshop::with_stages(r#"[{ "id": "a", "command": "true" }]"#);
    let parent = project.run(&["start", "--json"]).run_id();
    let child =
        project.run(&["start", "--parent-run", &parent, "--approval-policy", "never", "--json"]).expect(0);
    let manifest = project.manifest(&child.run_id());
    assert_eq!(manifest["parent_run_id"], parent.as_str());
    assert_eq!(manifest["approval_policy"], "never");
    let unknown = project.run(&["start", "--parent-run", "nothing"]).expect(2);
    assert!(unknown.stderr.contains("parent run `nothing` does not exist"), "{}", unknown.stderr);
    assert_eq!(project.run(&["runs", "--json"]).json().as_array().unwrap().len(), 2);
    // A run that merely belongs with another is resumed by itself.
    project.write_stages(r#"[{ "id": "a", "command": "test -e repaired" }]"#);
    let failed = project.run(&["start", "--parent-run", &parent, "--json"]).expect(10).run_id();
    std::fs::write(project.path("repaired"), "").unwrap();
    project.run(&["resume", "--run", &failed]).expect(0);
}

#[test]
fn modes_follow_task_stage_and_flag() {
    let project = Workshop::with_stages(
        r#"[{ "id": "a", "command": "true" }, { "id": "b", "command": "true", "requires_cloud": true },
            { "id": "c", "command": "true", "execution_mode": "mcp" }]"#,
    );
    let modes = |arguments: &[&str]| {
        let mut whole = vec!["plan", "--json"];
        whole.extend(arguments);
        let plan = project.run(&whole).expect(0).json();
        let items = plan["plan"]["items"].as_array().unwrap().clone();
        items.iter().map(|item| item["execution_mode"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(modes(&[]), ["mcp", "cloud", "mcp"]);
    assert_eq!(modes(&["--execution-mode", "cloud"]), ["cloud", "cloud", "mcp"]);
    assert_eq!(modes(&["--parallel"]), ["cloud", "cloud", "mcp"]);
    assert!(!project.path(".runs").exists(), "a plan writes nothing");
}
