//! Where it is said who is told, and which place wins.

#![expect(clippy::needless_for_each, reason = "read as one sentence, it says more")]

use co_testkit::fake_agent::{Action, FakeAgentScript, SCRIPT_VARIABLE};
use co_testkit::{HttpReceiver, Reply};
use serde_json::Value;

use super::{Collected, QUIET, collector, patient, program};
use crate::support::Project;

/// Writes the user's Codex settings.
fn codex_settings(project: &Project, toml: &str) {
    let home = project.root().parent().unwrap().join("home/.codex");
    std::fs::create_dir_all(&home).unwrap();
    std::fs::write(home.join("config.toml"), toml).unwrap();
}

#[track_caller]
fn explained(project: &Project, name: &str) -> (Option<String>, String) {
    let rows = project.run(&["config", "explain", "--json"]).expect(0).json();
    let row = rows.as_array().unwrap().iter().find(|row| row["name"] == name).unwrap().clone();
    (row["value"].as_str().map(str::to_owned), row["source"].as_str().unwrap().to_owned())
}

#[test]
fn nobody_is_told_unless_something_says_so() {
    let collector = collector();
    let mut project = patient(QUIET);
    project.set("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url());
    project.run(&["start", "main"]).expect(0);
    assert!(collector.rest().is_empty(), "the standard variables alone ask for nothing");
    assert_eq!(explained(&project, "otel"), (None, "default".to_owned()));
    assert_eq!(explained(&project, "notify"), (None, "default".to_owned()));
    assert!(!project.path(".runs/.telemetry").exists());
}

#[test]
fn the_collector_of_codex_is_used_and_weaker_than_a_variable() {
    let (of_codex, own) = (collector(), collector());
    let mut project = patient(QUIET);
    let headers = r#"headers = { authorization = "hunter2" }"#;
    let endpoint = format!("{}/v1/logs", of_codex.url());
    codex_settings(
        &project,
        &format!(
            "[otel]\nexporter = {{ otlp-http = {{ endpoint = \"{endpoint}\", protocol = \"binary\", {headers} }} }}\n"
        ),
    );
    project.run(&["start", "main"]).expect(0);
    let requests = of_codex.rest();
    assert!(requests.iter().all(|request| request.header("authorization") == Some("hunter2")));
    let mut collected = Collected::default();
    requests.iter().for_each(|request| collected.add(request));
    collected.span("run main");
    let (value, source) = explained(&project, "otel");
    assert_eq!(
        value,
        Some(
            ["traces", "logs", "metrics"].map(|signal| format!("{}/v1/{signal}", of_codex.url())).join(", ")
        )
    );
    assert!(source.contains("config.toml:2"), "{source}");

    project.set("CODEX_ORCHESTRATOR_OTEL_ENDPOINT", own.url());
    project.run(&["start", "main"]).expect(0);
    assert!(of_codex.rest().is_empty());
    Collected::take(&own).span("run main");
    project.run(&["start", "main", "--otel-endpoint", "none"]).expect(0);
    assert!(own.rest().is_empty());
}

#[test]
fn a_flag_is_stronger_than_the_variable_which_is_stronger_than_codex() {
    let (flagged, set) =
        (HttpReceiver::start(|_| Reply::status(200)), HttpReceiver::start(|_| Reply::status(200)));
    let mut project = patient(QUIET);
    let hook = program(&project, "hook", "touch \"$(dirname \"$0\")/told\"");
    codex_settings(&project, &format!("notify = [\"{hook}\", \"--quiet\"]\n"));
    assert_eq!(explained(&project, "notify").0, Some(hook));
    project.set("CODEX_ORCHESTRATOR_NOTIFY", format!("{}/hook?key=hunter2", set.url()));
    project.set("CODEX_ORCHESTRATOR_NOTIFY_SECRET", "hunter2");
    assert_eq!(
        explained(&project, "notify"),
        (Some(format!("{}/hook", set.url())), "CODEX_ORCHESTRATOR_NOTIFY".to_owned())
    );
    assert_eq!(explained(&project, "notify_secret").0.as_deref(), Some("****"));
    let from = |name: &str| (Some("30.0s".to_owned()), name.to_owned());
    assert_eq!(explained(&project, "otel_patience"), from("CODEX_ORCHESTRATOR_OTEL_PATIENCE"));
    assert_eq!(explained(&project, "notify_patience"), from("CODEX_ORCHESTRATOR_NOTIFY_PATIENCE"));
    project.run(&["start", "main", "--notify", &flagged.url()]).expect(0);
    assert_eq!((flagged.rest().len(), set.rest().len()), (1, 0));
    project.run(&["start", "main", "--notify", "none"]).expect(0);
    assert_eq!((flagged.rest().len(), set.rest().len()), (0, 0));
}

#[test]
fn codex_tells_its_program_of_its_own_turns_and_others_are_told_by_us() {
    let receiver = collector();
    let mut project =
        patient(r#"[{"id": "main", "stages": [{"kind": "agent", "id": "edit", "prompt": "Edit."}]}]"#);
    let script = project.repository().outside().join("script.json");
    let actions = vec![
        Action::Thread { id: "t-1".to_owned(), obey: true },
        Action::Turn { message: "Edited.".to_owned() },
    ];
    let acts = FakeAgentScript { actions, ..FakeAgentScript::default() };
    std::fs::write(&script, serde_json::to_vec(&acts).unwrap()).unwrap();
    project.set(SCRIPT_VARIABLE, script);
    project.set("CODEX_ORCHESTRATOR_CODEX", co_testkit::program("co-fake-agent"));
    let hook = program(&project, "hook", "touch \"$(dirname \"$0\")/told\"");
    codex_settings(&project, &format!("notify = [\"{hook}\", \"--quiet\"]\n"));
    project.run(&["start", "main"]).expect(0);
    assert!(!project.path("../told").exists(), "Codex has told it already");

    project.run(&["start", "main", "--notify", &format!("agent-turn-complete={}", receiver.url())]).expect(0);
    let told: Value = serde_json::from_slice(&receiver.next().body).unwrap();
    assert_eq!(
        (&told["type"], &told["thread-id"], &told["last-assistant-message"]),
        (&"agent-turn-complete".into(), &"t-1".into(), &"Edited.".into())
    );
}
