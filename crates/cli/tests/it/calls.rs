//! Tool calls as people meet them: what is asked, what is refused, what holds a command, what is told of it.

mod consent;
mod policy;
mod privacy;
mod sandbox;

use std::path::PathBuf;
use std::process::Child;

use serde_json::{Value, json};

use crate::commands::Workshop;
use crate::support::{Project, wait_for};

/// The open question of a run, once there is one.
pub(crate) fn question(project: &Project, run: &str) -> Value {
    wait_for("a question", || {
        let asked = project.run(&["approvals", "questions", "--run", run, "--json"]).expect(0).json();
        asked["questions"].as_array()?.first().cloned()
    })
}

pub(crate) fn answer(project: &Project, run: &str, words: &[&str]) {
    project.run(&[&["answer", "--run", run][..], words].concat()).expect(0);
}

/// What the log tells of calls, in order: what happened and on whose word.
pub(crate) fn calls(project: &Project, run: &str) -> Vec<String> {
    let told = events(project, run).into_iter().filter_map(|event| {
        let data = &event["data"];
        let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        match event["type"].as_str()? {
            "call_requested" => Some(format!("requested by {}", word(&data["request"]["origin"]))),
            "call_decided" => {
                let decision = &data["decision"];
                let verdict = if decision["approved"] == true { "approved" } else { "denied" };
                Some(format!("{verdict}: {}", word(&decision["source"])))
            }
            "call_started" => Some("started".to_owned()),
            "call_finished" => Some(word(&data["outcome"]["status"])),
            _ => None,
        }
    });
    told.collect()
}

/// The events of a run.
pub(crate) fn events(project: &Project, run: &str) -> Vec<Value> {
    let events = project.run(&["logs", "--run", run, "--events", "--format", "jsonl"]).expect(0);
    events.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Starts a run that others answer; it is there when this returns.
fn started(project: &Project, arguments: &[&str]) -> (Child, String) {
    let before = newest(project);
    let child = project.spawn(arguments);
    let run = wait_for("the run", || newest(project).filter(|run| Some(run) != before.as_ref()));
    (child, run)
}

fn newest(project: &Project) -> Option<String> {
    let runs: Value = serde_json::from_str(&project.run(&["runs", "--all", "--json"]).stdout).ok()?;
    Some(runs.as_array()?.first()?["run_id"].as_str()?.to_owned())
}

/// Stages that need a yes, by id and command.
fn asking(stages: &[(&str, &str)]) -> String {
    let stage =
        |(id, command): &(&str, &str)| json!({ "id": id, "command": command, "approval": "required" });
    stages.iter().map(stage).collect::<Value>().to_string()
}

/// Gives the program a Codex home; the path is where its files lie.
fn codex_home(workshop: &mut Workshop) -> PathBuf {
    let home = workshop.root().parent().unwrap().join("codex-home");
    std::fs::create_dir_all(home.join("rules")).unwrap();
    workshop.set("CODEX_HOME", &home);
    home
}
