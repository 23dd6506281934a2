//! The real `@openai/codex-sdk`, unmodified: our program takes the place of Codex's own.

use std::path::Path;
use std::process::{Command, Stdio};

use co_testkit::Step;
use serde_json::{Value, json};

use super::{lines, runs};
use crate::agents::Bench;

/// Runs one story of the script beside this file and returns what it printed.
#[expect(clippy::disallowed_methods, reason = "the SDK runs in node, as its users run it")]
#[track_caller]
fn story(bench: &Bench, name: &str) -> Value {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/exec/codex_sdk.mjs");
    let output = Command::new("node")
        .arg(script)
        .args([name, env!("CARGO_BIN_EXE_codex-orchestrator")])
        .current_dir(bench.project.root())
        .env_clear()
        .envs(bench.project.variables().iter().cloned())
        .stdin(Stdio::null())
        .output()
        .expect("node starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    lines(&String::from_utf8_lossy(&output.stdout)).pop().expect("a line")
}

#[test]
fn two_turns_are_one_thread_and_two_runs() {
    let bench = Bench::new(
        "[]",
        [Step::shell("echo from the shell"), Step::message("Hello."), Step::message("Still here.")],
    );
    let told = story(&bench, "turns");
    assert_eq!((&told["first"], &told["second"]), (&json!("Hello."), &json!("Still here.")), "{told:#}");
    assert_eq!(told["kinds"], json!(["command_execution", "agent_message"]));
    assert_eq!(told["usage"]["input_tokens"], 300, "the whole conversation's: {told:#}");
    let runs = runs(&bench.project);
    assert_eq!(runs.len(), 2, "{runs:#?}");
    for run in &runs {
        let manifest = bench.project.manifest(run["run_id"].as_str().unwrap());
        assert_eq!(manifest["status"], "succeeded");
        assert_eq!(manifest["commands"][0]["agent"]["thread_id"], told["thread"], "{manifest:#}");
        assert_eq!(manifest["approval_policy"], "never");
    }
    for request in bench.requests() {
        assert_eq!(told["thread"], request.headers["thread-id"].as_str());
    }
    assert_eq!(bench.requests()[0].body["model"], "scripted");
}

#[test]
fn a_schema_reaches_the_model() {
    let bench = Bench::new("[]", [Step::message(r#"{"answer": 42}"#)]);
    assert_eq!(story(&bench, "schema"), json!({"answer": 42}));
    let format = &bench.requests()[0].body["text"]["format"];
    assert_eq!((&format["type"], &format["schema"]["required"]), (&json!("json_schema"), &json!(["answer"])));
}

#[test]
fn an_abort_ends_the_run_and_everything_in_it() {
    let bench =
        Bench::new("[]", [Step::shell("setsid sleep 600 >/dev/null 2>&1 & echo left one"), Step::hang()]);
    assert_eq!(story(&bench, "abort"), json!("AbortError"));
    let run = runs(&bench.project)[0]["run_id"].as_str().unwrap().to_owned();
    crate::agents::wait_until_gone(&run);
    let status = crate::support::wait_for("the end of the run", || {
        let status = bench.project.run(&["status", "--run", &run, "--json"]).json()["status"].clone();
        (status != "in_progress").then_some(status)
    });
    assert_eq!(status, "cancelled");
}

#[test]
fn a_failure_is_the_turns_own() {
    let bench = Bench::new("[]", [Step::usage_limit()]);
    let told = story(&bench, "failure");
    assert!(told.as_str().is_some_and(|told| told.to_lowercase().contains("limit")), "{told}");
    let ended =
        bench.project.run(&["exec", "--experimental-json", "resume", "no-such-thread", "hello"]).expect(1);
    assert!(!ended.stderr.is_empty(), "{ended:?}");
}
