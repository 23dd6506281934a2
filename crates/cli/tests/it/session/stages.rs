//! Stages that share a live session, and stages on a terminal.

use serde_json::Value;

use super::Desk;

fn pipeline(stages: &str) -> Desk {
    Desk::with_pipelines(&format!(r#"[{{ "id": "main", "stages": {stages} }}]"#))
}

/// Runs the default pipeline and returns its run id.
#[track_caller]
fn run(desk: &Desk, code: i32) -> String {
    desk.run(&["start", "main", "--json"]).expect(code).run_id()
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
        r#"[{ "id": "with", "command": "test -t 1 && stty size", "tty": true },
            { "id": "without", "command": "test ! -t 1" }]"#,
    );
    let run = run(&desk, 0);
    assert!(output(&desk, &run, "with").contains("24 80"));
    let manifest: Value = desk.manifest(&run);
    assert_eq!(manifest["status"], "succeeded");
}
