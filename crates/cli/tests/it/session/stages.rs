//! Stages that share a live session, and stages on a terminal.

use serde_json::{Value, json};

use super::Desk;
use crate::support::wait_for;

fn pipeline(stages: &str) -> Desk {
    Desk::with_pipelines(&format!(r#"[{{ "id": "main", "stages": {stages} }}]"#))
}

/// Runs the default pipeline and returns its run id.
#[track_caller]
fn run(desk: &Desk, code: i32) -> String {
    desk.run(&["start", "main", "--json"]).expect(code).run_id()
}

/// The run that was started last.
#[track_caller]
fn newest(desk: &Desk) -> String {
    let runs = desk.run(&["runs", "--json"]).expect(0).json();
    runs[0]["run_id"].as_str().expect("a run").to_owned()
}

fn output(desk: &Desk, run: &str, stage: &str) -> String {
    desk.run(&["logs", "--run", run, "--stage", stage, "--raw"]).expect(0).stdout
}

#[test]
fn three_stages_share_one_shell() {
    let desk = pipeline(
        r#"[{ "id": "go", "command": "mkdir -p inner && cd inner", "session": "dev" },
            { "id": "set", "command": ["export", "WORD=it's kept"], "session": { "id": "dev" } },
            { "id": "use", "command": "pwd; echo $WORD", "session": { "id": "dev", "reuse": true } }]"#,
    );
    let run = run(&desk, 0);
    let inner = std::fs::canonicalize(desk.path("inner")).unwrap();
    assert_eq!(output(&desk, &run, "use"), format!("{}\nit's kept\n", inner.display()));
    // It ended with its run, and none of it is left.
    assert!(desk.listed("dev").is_null());
}

#[test]
fn the_exit_code_is_the_scripts_and_a_time_out_is_one() {
    let desk = pipeline(r#"[{ "id": "fail", "command": "echo before; (exit 9)", "session": "s" }]"#);
    let failed = run(&desk, 10);
    assert_eq!(output(&desk, &failed, "fail"), "before\n");
    desk.write_pipelines(
        r#"[{ "id": "main", "stages": [{ "id": "slow", "command": "sleep 600", "timeout": "300ms", "session": "s" }] }]"#,
    );
    run(&desk, 12);
}

#[test]
fn a_session_that_is_there_is_not_taken_without_reuse() {
    let desk = pipeline(
        r#"[{ "id": "first", "command": "true", "session": "dev" },
            { "id": "second", "command": "true", "session": { "id": "dev", "reuse": false } }]"#,
    );
    let run = run(&desk, 10);
    let summary = desk.manifest(&run)["commands"].to_string();
    assert!(summary.contains("does not reuse it"), "{summary}");
}

#[test]
fn a_session_that_persists_outlives_its_run() {
    let desk = pipeline(
        r#"[{ "id": "set", "command": "export LEFT=over; echo said", "session": { "id": "long", "persist": true } }]"#,
    );
    let run = run(&desk, 0);
    assert_eq!(output(&desk, &run, "set"), "said\n");
    assert_eq!(desk.script("long", "echo $LEFT"), (0, "over\n".to_owned()));
}

#[test]
fn a_secret_in_a_session_stage_is_in_no_log() {
    const SECRET: &str = "ghp_0123456789abcdefghijABCDEFGHIJ012345";
    let desk = pipeline(&format!(
        r#"[{{ "id": "tell", "command": "printf 'ghp_%s\\n' {}", "session": "s" }}]"#,
        &SECRET[4..]
    ));
    let run = run(&desk, 0);
    let log = output(&desk, &run, "tell");
    assert!(log.contains("[redacted:") && !log.contains(SECRET), "{log}");
}

#[test]
fn a_stage_on_a_terminal_sees_one() {
    let desk = pipeline(
        r#"[{ "id": "with", "command": "test -t 1 && stty size <&1", "tty": true },
            { "id": "without", "command": "test ! -t 1" }]"#,
    );
    let run = run(&desk, 0);
    assert!(output(&desk, &run, "with").contains("24 80"));
    let manifest: Value = desk.manifest(&run);
    assert_eq!(manifest["status"], "succeeded");
}

const WRITE: &str = "sandbox_mode = \"workspace-write\"\n[sandbox_workspace_write]\nexclude_slash_tmp = true\nexclude_tmpdir_env_var = true\n";

const SHARED: &str = r#"[{ "id": "set", "command": "export WORD=kept; echo x > inside", "session": "dev" },
    { "id": "use", "command": "cat inside; echo $WORD", "session": "dev" },
    { "id": "out", "command": "echo $WORD > ../outside", "session": "dev", "allow_failure": true },
    { "id": "after", "command": "echo $WORD", "session": "dev" }]"#;

#[test]
fn a_shared_shell_is_in_the_sandbox_of_the_settings_and_the_record_says_so() {
    let desk = pipeline(SHARED).settled(WRITE, "");
    let run = desk.run(&["start", "main", "--json", "--approval-policy", "never"]).expect(0).run_id();
    assert_eq!(output(&desk, &run, "use"), "x\nkept\n");
    assert!(output(&desk, &run, "out").contains("Read-only file system"));
    assert!(!desk.path("../outside").exists());
    for stage in desk.manifest(&run)["commands"].as_array().unwrap() {
        let sandbox = &stage["attempts"][0]["sandbox"];
        assert_eq!(sandbox["mode"], "workspace-write", "{stage:#}");
        assert_ne!(sandbox["layers"], json!([]), "{stage:#}");
    }
    let record =
        std::fs::read_to_string(desk.path(&format!(".runs/local/cli/{run}/logs/session-dev.events.jsonl")));
    let record = record.unwrap();
    let last: Value = serde_json::from_str(record.lines().last().unwrap()).unwrap();
    assert_eq!(
        (&last["kind"]["event"], &last["kind"]["exit"]),
        (&json!("end"), &json!("killed")),
        "{record}"
    );
}

#[test]
fn what_may_leave_the_sandbox_runs_in_another_shell() {
    let desk = pipeline(SHARED).settled(WRITE, "");
    let mut start = desk.spawn(&["start", "main"]);
    wait_for("the question is open", || {
        let runs = desk.run(&["runs", "--json"]);
        let run = serde_json::from_str::<Value>(&runs.stdout).ok()?[0]["run_id"].as_str()?.to_owned();
        (desk.run(&["answer", "--run", &run, "--stage", "out", "yes"]).code() == 0).then_some(())
    });
    assert_eq!(start.wait().unwrap().code(), Some(0));
    // Nothing of the first shell is there, and the first goes on as it was.
    assert_eq!(std::fs::read_to_string(desk.path("../outside")).unwrap(), "\n");
    let run = newest(&desk);
    assert_eq!(output(&desk, &run, "after"), "kept\n");
}

#[test]
fn a_stage_does_not_use_a_session_that_may_do_more() {
    let desk = pipeline(
        r#"[{ "id": "free", "command": "true", "session": "dev", "sandbox": "danger-full-access" },
            { "id": "held", "command": "true", "session": "dev", "sandbox": "read-only" }]"#,
    );
    let run = run(&desk, 10);
    let commands = desk.manifest(&run)["commands"].to_string();
    assert!(commands.contains("runs in another sandbox (danger-full-access)"), "{commands}");
}

#[test]
fn a_rule_holds_for_a_stage_in_a_session() {
    let desk = pipeline(r#"[{ "id": "ask", "command": "touch asked", "session": "dev" }]"#)
        .settled("approval_policy = \"never\"", "prefix_rule(pattern=[\"touch\"], decision=\"prompt\")");
    let run = run(&desk, 11);
    assert!(!desk.path("asked").exists());
    let commands = desk.manifest(&run)["commands"].to_string();
    assert!(commands.contains("AskForApproval is set to Never"), "{commands}");
}

#[test]
fn no_shell_outlives_a_killed_run() {
    let desk =
        pipeline(r#"[{ "id": "slow", "command": "echo $$ > pid; exec sleep 600", "session": "dev" }]"#);
    let mut start = desk.spawn(&["start", "main"]);
    let pid = wait_for("the shell runs", || {
        std::fs::read_to_string(desk.path("pid")).ok()?.trim().parse::<i32>().ok()
    });
    start.kill().unwrap();
    start.wait().unwrap();
    wait_for("the shell is gone", || gone(pid).then_some(()));
}

#[test]
fn a_cancel_ends_what_runs_in_a_session() {
    let desk = pipeline(r#"[{ "id": "slow", "command": "echo $$ > pid; sleep 600", "session": "dev" }]"#);
    let mut start = desk.spawn(&["start", "main"]);
    let pid = wait_for("the shell runs", || {
        std::fs::read_to_string(desk.path("pid")).ok()?.trim().parse::<i32>().ok()
    });
    desk.run(&["cancel", "--run", &newest(&desk)]).expect(0);
    assert_eq!(start.wait().unwrap().code(), Some(14));
    assert!(gone(pid));
}

#[test]
fn a_persistent_session_is_stopped_with_its_stage_and_shared_between_runs() {
    let stages = |command: &str| {
        format!(
            r#"[{{ "id": "main", "stages": [{{ "id": "one", "command": "{command}", "session": {{ "id": "long", "persist": true }} }}] }}]"#
        )
    };
    let desk = Desk::with_pipelines(&stages("export COUNT=$((COUNT + 1)); echo $COUNT"));
    for count in ["1\n", "2\n"] {
        let run = run(&desk, 0);
        assert_eq!(output(&desk, &run, "one"), count);
    }
    // The mark by which leftovers of a run are found is in no shell that may stay.
    assert_eq!(desk.script("long", "echo ${CODEX_ORCHESTRATOR_RUN_ID-none}"), (0, "none\n".to_owned()));
    desk.write_pipelines(&stages("touch begun; sleep 600"));
    let mut start = desk.spawn(&["start", "main"]);
    wait_for("the script runs", || desk.path("begun").exists().then_some(()));
    desk.run(&["cancel", "--run", &newest(&desk)]).expect(0);
    assert_eq!(start.wait().unwrap().code(), Some(14));
}

fn gone(pid: i32) -> bool {
    rustix::process::test_kill_process(rustix::process::Pid::from_raw(pid).unwrap()).is_err()
}
