//! `mcp start` and `mcp poll`: long sessions that nobody has to wait for.

use serde_json::{Value, json};

use super::Station;
use crate::support::wait_for;

const ONE: &str = r#"[{ "id": "one", "command": "true" }]"#;

#[test]
fn a_session_of_commands_leaves_a_response_of_each() {
    let station = Station::with_stages(ONE);
    let begun = station
        .run(&[
            "mcp",
            "start",
            "--json",
            "--task",
            "0101",
            "--command",
            "echo building",
            "--command",
            "exit 3",
            "--command",
            "echo never",
        ])
        .expect(0)
        .json();
    let run = begun["run_id"].as_str().unwrap();
    assert_eq!(begun["task_id"], "0101");
    let polled = station.run(&["mcp", "poll", "--run", run, "--watch", "--json"]).expect(10).json();
    assert_eq!((&polled["run_id"], &polled["status"]), (&json!(run), &json!("failed")));
    let responses = polled["responses"].as_array().unwrap();
    let read = |path: &Value| station.json_file(path.as_str().unwrap());
    let told: Vec<(Value, Value, Value)> = responses
        .iter()
        .map(read)
        .map(|response| (response["id"].clone(), response["status"].clone(), response["exit_code"].clone()))
        .collect();
    assert_eq!(
        told,
        [
            (json!("echo-building"), json!("succeeded"), json!(0)),
            (json!("exit-3"), json!("failed"), json!(3)),
            (json!("echo-never"), json!("skipped"), Value::Null),
        ]
    );
    let first = read(&responses[0]);
    assert!(responses[0].as_str().unwrap().ends_with("/responses/01-echo-building.json"), "{responses:?}");
    assert_eq!(first["manifest_path"], begun["manifest"]);
    assert_eq!(first["command"], "echo building");
    let manifest = station.json_file(begun["manifest"].as_str().unwrap());
    assert_eq!(manifest["approval_policy"], "never");
    let text = station.run(&["mcp", "poll", "--run", run]).expect(0).stdout;
    assert!(text.contains("failed") && text.contains("response: "), "{text}");
}

#[test]
fn a_session_outlives_whoever_started_it_and_can_be_resumed() {
    let station = Station::with_stages(ONE);
    let command = "until test -e go; do sleep 0.02; done";
    let begun =
        station.run(&["mcp", "start", "--command", "echo once >> times", "--command", command]).expect(0);
    let run = begun.stdout.lines().next().unwrap().to_owned();
    wait_for("the first response is there", || {
        let polled = station.run(&["mcp", "poll", "--run", &run, "--json"]).expect(0).json();
        (polled["status"] == "in_progress" && polled["responses"].as_array().unwrap().len() == 1)
            .then_some(())
    });
    station.run(&["cancel", "--run", &run]).expect(0);
    station.run(&["mcp", "poll", "--run", &run, "--watch"]).expect(14);
    station.repository().write("go", "");
    station.run(&["resume", "--run", &run, "--quiet"]).expect(0);
    assert_eq!(std::fs::read_to_string(station.path("times")).unwrap(), "once\n");
    let polled = station.run(&["mcp", "poll", "--run", &run, "--json"]).expect(0).json();
    assert_eq!(polled["responses"].as_array().unwrap().len(), 2);
}

#[test]
fn a_session_of_a_pipeline_takes_a_key() {
    let station = Station::with_stages(ONE);
    let start =
        || station.run(&["mcp", "start", "main", "--idempotency-key", "k", "--json"]).expect(0).json();
    let (first, second) = (start(), start());
    assert_eq!((&first["repeated"], &second["repeated"]), (&json!(false), &json!(true)));
    assert_eq!(first["run_id"], second["run_id"]);
    station.run(&["mcp", "poll", "--watch"]).expect(0);
}

#[test]
fn what_cannot_be_started_is_refused_at_once() {
    let station = Station::with_stages(ONE);
    let unknown = station.run(&["mcp", "start", "mian"]).expect(2);
    assert!(unknown.stderr.contains("there is no pipeline `mian`"), "{}", unknown.stderr);
    station.run(&["mcp", "start", "main", "--command", "true"]).expect(2);
    station.run(&["mcp", "start", "--timeout", "0"]).expect(2);
    station.run(&["mcp", "poll"]).expect(4);
    let nothing = station.run(&["mcp", "own"]).expect(2);
    assert!(nothing.stdout.contains("the errand cannot be read"), "{}", nothing.stdout);
    assert!(!station.path(".runs/orchestrator.db").exists());
}

#[test]
fn a_command_that_takes_too_long_is_ended() {
    let station = Station::with_stages(ONE);
    station.run(&["mcp", "start", "--timeout", "1", "--command", "sleep 300"]).expect(0);
    station.run(&["mcp", "poll", "--watch"]).expect(12);
}
