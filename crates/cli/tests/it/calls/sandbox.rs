//! What holds a stage's command, and what happens when it does.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use super::{answer, calls, question, started};
use crate::commands::{Workshop, stage};

/// A stage that writes within the workspace and then outside of it.
fn writing_outside(outside: &std::path::Path) -> String {
    let command = format!("echo in > inside; echo out > {}/out", outside.display());
    serde_json::json!([{ "id": "write", "command": command, "sandbox": "workspace-write" }]).to_string()
}

/// A folder outside of every workspace that sandboxed commands may write.
fn outside() -> tempfile::TempDir {
    tempfile::tempdir_in("/var/tmp").unwrap()
}

#[test]
fn what_the_sandbox_stops_is_asked_about_and_runs_outside_after_a_yes() {
    let outside = outside();
    let project = Workshop::with_stages(&writing_outside(outside.path()));
    let (mut child, run) = started(&project, &["start"]);
    let asked = question(&project, &run);
    assert_eq!(asked["request"]["escalated"], true, "{asked:#}");
    assert!(!outside.path().join("out").exists());
    assert_eq!(project.text("inside"), "in\n");
    answer(&project, &run, &["yes"]);
    assert!(child.wait().unwrap().success());
    assert!(outside.path().join("out").exists());
    let manifest = project.manifest(&run);
    let attempts = stage(&manifest, "write")["attempts"].as_array().unwrap();
    let layers: Vec<usize> =
        attempts.iter().map(|attempt| attempt["sandbox"]["layers"].as_array().map_or(0, Vec::len)).collect();
    assert!(layers.len() == 2 && layers[0] >= 2 && layers[1] == 0, "{attempts:#?}");
    assert_eq!(
        calls(&project, &run),
        [
            "requested by stage",
            "approved: not-required",
            "started",
            "sandbox_denied",
            "requested by stage",
            "approved: prompt",
            "started",
            "succeeded"
        ]
    );
}

/// A log that could be moved away could be replaced by one that says yes to anything; a rollback journal beside it
/// would be applied to it; and who has another run's token can drive that run.
#[test]
fn a_confined_command_can_neither_read_nor_replace_the_records() {
    let project = Workshop::with_stages("[]");
    project.run(&["exec", "-q", "--", "true"]).expect(0);
    let confined = |line: &str| {
        let shell = ["--", "sh", "-c", line];
        let sandbox = ["exec", "-q", "--sandbox", "workspace-write", "--approval-policy", "never"];
        project.run(&[&sandbox[..], &shell[..]].concat())
    };
    for line in [
        "mv .runs gone",
        "mv out gone",
        "rm -rf .runs",
        "echo x > .runs/orchestrator.db-journal",
        "cat .runs/orchestrator.db",
        "ls .runs",
        "cat .runs/*/cli/*/.resume-token",
        "cat $CODEX_ORCHESTRATOR_RUN_DIR/.resume-token",
        "echo x > $CODEX_ORCHESTRATOR_MANIFEST_PATH",
        "echo x > $CODEX_ORCHESTRATOR_RUN_DIR/new",
    ] {
        let ended = confined(&format!("({line}) || exit 1")).expect(1);
        assert_eq!(ended.stdout, "", "{line}: {ended:?}");
    }
    let own = confined("cat $CODEX_ORCHESTRATOR_MANIFEST_PATH").expect(0);
    assert!(own.stdout.contains("\"run_id\""), "{own:?}");
    let runs = project.run(&["runs", "--json"]).expect(0).json();
    assert_eq!(runs.as_array().map(Vec::len), Some(12), "{runs:#}");
    project.run(&["rebuild", "--check"]).expect(0);

    // A link in the place of another task's folder leads nowhere: what is written there stays unwritten.
    let elsewhere = outside();
    confined(&format!("ln -s {} out/other", elsewhere.path().display())).expect(0);
    let ended = project.run(&["exec", "-q", "--task", "other", "--", "true"]).expect(0);
    assert!(ended.stderr.contains("out/other/state.json"), "{ended:?}");
    assert_eq!(std::fs::read_dir(elsewhere.path()).unwrap().count(), 0);
    std::fs::remove_file(project.path("out/other")).unwrap();
    project.run(&["rebuild"]).expect(0);
    assert!(project.path("out/other/state.json").exists());
}

#[test]
fn a_no_and_a_never_leave_the_failure_as_it_was() {
    let outside = outside();
    let project = Workshop::with_stages(&writing_outside(outside.path()));
    let (mut child, run) = started(&project, &["start"]);
    question(&project, &run);
    answer(&project, &run, &["no"]);
    assert_eq!(child.wait().unwrap().code(), Some(10));
    assert_eq!(stage(&project.manifest(&run), "write")["reason"], "failed");
    let ended = project.run(&["start", "--approval-policy", "never", "--json"]).expect(10);
    assert_eq!(project.manifest(&ended.run_id())["approvals"].as_array().unwrap().len(), 0);
    assert!(!outside.path().join("out").exists());
}

#[test]
fn the_modes_keep_what_they_promise() {
    let project = Workshop::with_stages(
        r#"[
            { "id": "reads", "command": "cat codex.orchestrator.json > /dev/null", "sandbox": "read-only" },
            { "id": "writes", "command": "touch made", "sandbox": "read-only", "allow_failure": true },
            { "id": "protected", "command": "touch .git/made", "sandbox": "workspace-write", "allow_failure": true },
            { "id": "listens", "command": "touch free", "sandbox": "danger-full-access" },
            { "id": "log", "command": "cat \"$CODEX_ORCHESTRATOR_RUNS_DIR\"/*.sqlite", "sandbox": "workspace-write", "allow_failure": true }
        ]"#,
    );
    let ended = project.run(&["start", "--approval-policy", "never", "--json"]).expect(0);
    let manifest = project.manifest(&ended.run_id());
    let status = |id: &str| stage(&manifest, id)["status"].as_str().unwrap().to_owned();
    assert_eq!(
        ["reads", "writes", "protected", "listens", "log"].map(status),
        ["succeeded", "failed", "failed", "succeeded", "failed"]
    );
    assert!(!project.path("made").exists() && !project.path(".git/made").exists());
    assert!(project.path("free").exists());
}

#[test]
fn a_missing_layer_is_a_refusal_or_a_stated_weakness() {
    let mut project = Workshop::with_stages(
        r#"[{ "id": "s", "command": "/bin/touch made", "sandbox": "workspace-write" }]"#,
    );
    // Nobody finds bubblewrap on this path.
    project.set("PATH", "/nowhere");
    let ended = project.run(&["start", "--json"]).expect(10);
    let manifest = project.manifest(&ended.run_id());
    let told = stage(&manifest, "s")["summary"].as_str().unwrap().to_owned();
    assert!(told.contains("bwrap") || told.contains("bubblewrap"), "{told}");
    assert!(!project.path("made").exists());
    let ended = project.run(&["start", "--accept-weaker-sandbox", "--json"]);
    let manifest = project.manifest(&ended.run_id());
    let used = &stage(&manifest, "s")["attempts"][0]["sandbox"];
    assert!(used["weaker"].is_string(), "{used:#} {ended:?}");
}

#[test]
fn hostile_names_stay_names() {
    let project = Workshop::with_stages(
        r#"[{ "id": "s", "command": "ls | wc -l > counted", "sandbox": "workspace-write", "writable_roots": ["$(touch x)", "a b", "-rf"] }]"#,
    );
    for name in ["--bind", "$(touch gone)", "a\nb", "\u{1b}[2J", "ünï"] {
        std::fs::create_dir(project.path(name)).unwrap();
    }
    for root in ["$(touch x)", "a b", "-rf"] {
        std::fs::create_dir(project.path(root)).unwrap();
    }
    project.run(&["start"]).expect(0);
    assert!(!project.path("gone").exists() && !project.path("x").exists());
}

#[test]
fn a_start_that_fails_for_a_passing_reason_is_tried_again_with_growing_waits() {
    use std::os::unix::fs::PermissionsExt as _;
    let project = Workshop::with_stages(r#"[{ "id": "busy", "command": ["./busy"] }]"#);
    let program = project.path("busy");
    std::fs::copy("/bin/true", &program).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    // A program that is open for writing cannot be executed: text file busy.
    let written = std::fs::OpenOptions::new().append(true).open(&program).unwrap();
    let mut child = project.command(&["start", "--format", "jsonl"]).stdout(Stdio::piped()).spawn().unwrap();
    let told = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut waits = told
        .map(|line| serde_json::from_str::<serde_json::Value>(&line.unwrap()).unwrap())
        .filter(|event| event["type"] == "retry_scheduled")
        .map(|event| {
            let moment =
                |text: &serde_json::Value| text.as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
            moment(&event["data"]["due_at"]).duration_since(moment(&event["at"])).as_millis()
        });
    let (first, second) = (waits.next().unwrap(), waits.next().unwrap());
    drop(written);
    assert!(second > first, "{first} ms, then {second} ms");
    // Whoever is slow to let go of the file lets it wait once more.
    let more = waits.count();
    assert!(child.wait().unwrap().success());
    let attempts = stage(&project.manifest(&project.only_run()), "busy")["attempts"].clone();
    assert_eq!(attempts.as_array().unwrap().len(), 3 + more, "{attempts:#}");
}

#[test]
fn an_exit_code_is_never_tried_again_by_itself() {
    let project = Workshop::with_stages(r#"[{ "id": "s", "command": "echo x >> tried; exit 3" }]"#);
    project.run(&["start"]).expect(10);
    assert_eq!(project.text("tried"), "x\n");
}

#[test]
fn the_doctor_tries_to_break_out_and_says_what_held() {
    let project = Workshop::bare();
    let told = project.run(&["doctor", "sandbox", "--json"]).expect(0).json();
    let text = told.to_string();
    for attempted in ["workspace-write", "read-only", "trace-process", "mount", "tcp-v4-loopback"] {
        assert!(text.contains(attempted), "{attempted}: {told:#}");
    }
}
