//! Sessions whose shells are inside a sandbox.

use serde_json::{Value, json};

use super::Desk;

const WRITE: &str = "sandbox_mode = \"workspace-write\"\n[sandbox_workspace_write]\nexclude_slash_tmp = true\nexclude_tmpdir_env_var = true\n";

#[test]
fn a_shell_stays_in_the_sandbox_it_was_started_in() {
    let desk = Desk::with_settings(WRITE, "");
    desk.shell("dev");
    let listed = desk.listed("dev");
    assert_eq!(listed["sandbox"], "workspace-write", "{listed}");
    assert_ne!(listed["sandbox_layers"], json!([]), "{listed}");
    // State stays as in any shell.
    assert_eq!(desk.script("dev", "export WORD=kept; echo x > inside"), (0, String::new()));
    assert_eq!(desk.script("dev", "echo $WORD; cat inside"), (0, "kept\nx\n".to_owned()));
    let (code, output) = desk.script("dev", "echo y > ../outside");
    assert!(code != 0 && output.contains("Read-only file system"), "{code} {output}");
    assert!(!desk.path("../outside").exists() && desk.path("inside").exists());
    assert_ne!(desk.script("dev", "echo y > .git/hook").0, 0);
    // What is typed is confined as well.
    desk.run(&["session", "write", "dev", "--text", "echo z > ../typed; echo z > typed", "--enter"])
        .expect(0);
    assert_eq!(desk.script("dev", "cat typed").1, "z\n");
    assert!(!desk.path("../typed").exists());
    desk.run(&["session", "kill", "dev"]).expect(0);
    // What held the place of protected names is gone with it.
    assert!(!desk.path(".codex").exists() && !desk.path(".agents").exists());
}

#[test]
fn a_terminal_and_a_time_out_work_in_a_sandbox_too() {
    let desk = Desk::with_settings("sandbox_mode = \"read-only\"", "");
    desk.run(&["session", "start", "--name", "t", "--tty", "--", "/bin/sh"]).expect(0);
    assert_eq!(desk.listed("t")["sandbox"], "read-only");
    let (code, output) = desk.script("t", "echo x > file");
    assert!(code != 0 && output.contains("Read-only file system"), "{code} {output}");
    let late =
        desk.run(&["session", "run", "t", "sleep 600", "--timeout", "300ms", "--json"]).expect(12).json();
    assert_eq!(late["ended"], "timed_out", "{late}");
    desk.run(&["session", "kill", "t"]).expect(0);
}

#[test]
fn no_sandbox_reaches_the_keeper_or_what_others_run() {
    let desk = Desk::with_settings(WRITE, "");
    desk.shell("dev");
    desk.run(&[
        "session",
        "start",
        "--name",
        "free",
        "--sandbox",
        "danger-full-access",
        "--widen",
        "--",
        "/bin/sh",
    ])
    .expect(0);
    let look = "cd .runs/.sessions/$(id -u) && for it in host.sock logs ledger scripts/free scripts/dev; do test -e $it && echo $it; done; cd ../../..";
    assert_eq!(desk.script("dev", look).1, "scripts/dev\n", "only its own folder is there");
    let program = env!("CARGO_BIN_EXE_codex-orchestrator");
    let (code, said) = desk.script("dev", &format!("{program} session run free 'echo out > ../out' 2>&1"));
    assert!(code != 0 && !desk.path("../out").exists(), "{code} {said}");
    // Whoever goes outside says so each time.
    let refused = desk.run(&["session", "run", "free", "true"]).expect(11);
    assert!(refused.stderr.contains("confine this to `workspace-write`"), "{refused:?}");
    desk.run(&["session", "run", "free", "echo out > ../out", "--sandbox", "danger-full-access", "--widen"])
        .expect(0);
    assert!(desk.path("../out").exists());
    // And nothing said later takes a shell out of its sandbox.
    let inside = ["session", "run", "dev", "echo x > ../other", "--sandbox", "danger-full-access", "--widen"];
    assert_ne!(desk.run(&inside).code(), 0);
    assert!(!desk.path("../other").exists());
}

#[test]
fn a_sandbox_that_cannot_be_had_is_no_reason_to_go_without() {
    let desk = Desk::with_settings(WRITE, "");
    let command = |arguments: &[&str]| {
        let tools = desk.path("../no-bubblewrap");
        std::fs::create_dir_all(&tools).unwrap();
        let mut command = desk.command(arguments);
        command.env("PATH", &tools);
        command.output().unwrap()
    };
    let start = ["session", "start", "--name", "dev", "--", "/bin/sh"];
    let refused = command(&start);
    assert_eq!(refused.status.code(), Some(11), "{refused:?}");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("bubblewrap"), "{refused:?}");
    let weaker = [
        "session",
        "start",
        "--accept-weaker-sandbox",
        "--widen",
        "--name",
        "dev",
        "--json",
        "--",
        "/bin/sh",
    ];
    let weaker = command(&weaker);
    assert_eq!(weaker.status.code(), Some(0), "{weaker:?}");
    let weaker: Value = serde_json::from_slice(&weaker.stdout).unwrap();
    assert!(weaker["warning"].as_str().unwrap().contains("bubblewrap"), "{weaker}");
    assert!(desk.listed("dev")["sandbox_weaker"].as_str().unwrap().contains("bubblewrap"));
    assert_eq!(desk.script("dev", "echo $((6 * 7))"), (0, "42\n".to_owned()));
    assert_ne!(desk.script("dev", "echo y > ../outside").0, 0);
}
