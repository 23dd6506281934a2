//! Questions, and what an answer is worth later.

use std::process::Stdio;

use super::{answer, asking, calls, codex_home, question, started};
use crate::commands::{Workshop, stage};

#[test]
fn under_never_what_needs_consent_is_refused_at_once_and_the_rest_runs() {
    let project = Workshop::with_stages(
        r#"[
            { "id": "free", "command": "touch free" },
            { "id": "bound", "command": "touch bound", "approval": "required", "allow_failure": true },
            { "id": "after", "command": "touch after" }
        ]"#,
    );
    let ended = project.run(&["start", "--approval-policy", "never", "--json"]).expect(0);
    let manifest = project.manifest(&ended.run_id());
    assert!(project.path("free").exists() && project.path("after").exists());
    assert!(!project.path("bound").exists());
    let bound = stage(&manifest, "bound");
    assert_eq!((&bound["status"], &bound["reason"]), (&"failed".into(), &"refused".into()), "{bound:#}");
    assert!(bound["summary"].as_str().unwrap().contains("Never"), "{bound:#}");
    let told = calls(&project, &ended.run_id());
    assert!(told.contains(&"denied: policy".to_owned()), "refused calls are told too: {told:?}");
    assert_eq!(manifest["approvals"].as_array().unwrap().len(), 0, "nobody was asked");
}

#[test]
fn nobody_answers_in_time_and_that_is_a_no() {
    let project = Workshop::with_stages(&asking(&[("bound", "touch bound")]));
    let ended = project.run(&["start", "--question-expires", "50ms", "--json"]).expect(11);
    let manifest = project.manifest(&ended.run_id());
    assert_eq!(stage(&manifest, "bound")["reason"], "unanswered");
    let late = project.run(&["answer", "--run", &ended.run_id(), "yes"]).expect(11);
    assert!(late.stderr.contains("is over"), "{late:?}");
    assert!(!project.path("bound").exists());
}

#[test]
fn the_first_answer_counts_and_a_later_one_is_refused_and_recorded() {
    let project = Workshop::with_stages(
        r#"[
            { "id": "bound", "command": "touch bound", "approval": "required" },
            { "id": "wait", "command": "while ! test -e go; do sleep 0.02; done" }
        ]"#,
    );
    let (mut child, run) = started(&project, &["start"]);
    let asked = question(&project, &run);
    let call = asked["call_id"].as_str().unwrap();
    answer(&project, &run, &["--call", call, "no", "--actor", "ann"]);
    let late = project.run(&["answer", "--run", &run, "--call", call, "yes", "--actor", "bob"]).expect(11);
    assert!(!late.stderr.is_empty());
    assert_eq!(child.wait().unwrap().code(), Some(11));
    assert!(!project.path("bound").exists());
    assert_eq!(project.manifest(&run)["approvals"][0]["actor"], "ann");
}

#[test]
fn one_changed_byte_asks_again() {
    let stages =
        asking(&[("one", "echo a >> said"), ("two", "echo a >> said"), ("three", "echo  a >> said")]);
    let project = Workshop::with_stages(&stages);
    let (mut child, run) = started(&project, &["start"]);
    assert_eq!(question(&project, &run)["stage_id"], "one");
    answer(&project, &run, &["--stage", "one", "yes", "--scope", "run"]);
    let asked = crate::support::wait_for("the third question", || {
        let open = project.run(&["approvals", "questions", "--run", &run, "--json"]).expect(0).json();
        open["questions"].as_array()?.iter().find(|asked| asked["stage_id"] == "three").cloned()
    });
    assert!(asked["request"]["shown"].as_str().unwrap().contains("echo  a"), "{asked:#}");
    answer(&project, &run, &["--stage", "three", "no"]);
    assert_eq!(child.wait().unwrap().code(), Some(11));
    assert_eq!(project.text("said").lines().count(), 2);
    let approved: Vec<_> = calls(&project, &run).into_iter().filter(|told| told.contains(": ")).collect();
    assert_eq!(approved, ["approved: prompt", "approved: cache", "denied: prompt"]);
}

#[test]
fn a_consent_for_the_task_outlives_its_run_until_it_is_taken_back() {
    let project = Workshop::with_stages(&asking(&[("ship", "echo x >> shipped")]));
    let (mut child, run) = started(&project, &["start"]);
    question(&project, &run);
    answer(&project, &run, &["yes", "--scope", "task", "--actor", "ann"]);
    assert!(child.wait().unwrap().success());
    project.run(&["start"]).expect(0);
    assert_eq!(project.text("shipped").lines().count(), 2);

    let listed = project.run(&["approvals", "list", "--all", "--json"]).expect(0).json();
    let grant = &listed["grants"][0];
    assert_eq!((&grant["scope"], &grant["actor"]), (&"task".into(), &"ann".into()), "{grant:#}");
    assert!(grant["expires_at"].is_string(), "a consent for a task does not last for ever: {grant:#}");
    let id = grant["grant_id"].as_str().unwrap();
    assert!(project.run(&["approvals", "show", id]).expect(0).stdout.contains("echo x >> shipped"));
    project.run(&["approvals", "revoke", id, "--actor", "bob"]).expect(0);
    let exported = project.run(&["approvals", "export"]).expect(0).stdout;
    let exported: serde_json::Value = serde_json::from_str(exported.lines().next().unwrap()).unwrap();
    assert_eq!(exported["revoked_by"], "bob");
    project.run(&["approvals", "revoke", "no-such-consent"]).expect(4);

    let (mut child, run) = started(&project, &["start"]);
    question(&project, &run);
    answer(&project, &run, &["no"]);
    assert_eq!(child.wait().unwrap().code(), Some(11));
    assert_eq!(project.text("shipped").lines().count(), 2);
}

#[test]
fn another_task_asks_for_itself() {
    let project = Workshop::with_stages(&asking(&[("ship", "echo x >> shipped")]));
    let (mut child, run) = started(&project, &["start"]);
    question(&project, &run);
    answer(&project, &run, &["yes", "--scope", "task"]);
    assert!(child.wait().unwrap().success());
    let ended = project.run(&["start", "--task", "other", "--question-expires", "50ms"]).expect(11);
    assert!(ended.stderr.contains("echo x >> shipped"), "{ended:?}");
}

#[test]
fn what_is_agreed_to_is_shown_whole_wherever_it_is_asked_and_listed() {
    let command = "echo fine #\nrm -f precious \u{202e}\u{200b}";
    let project = Workshop::bare();
    let stages = serde_json::json!([
        { "id": "ship", "command": command, "approval": "required", "sandbox": "danger-full-access", "tty": true }
    ]);
    project.write_stages(&stages.to_string());
    let child = project.command(&["start"]).stderr(Stdio::piped()).spawn().unwrap();
    let run = crate::support::wait_for("the run", || super::newest(&project));
    let asked = question(&project, &run);
    let shown = r"echo fine #\nrm -f precious \u{202e}\u{200b}";
    assert_eq!(asked["message"], format!("Run: {shown}"), "{asked:#}");
    assert_eq!(asked["request"]["argv"][2], command, "{asked:#}");
    let questions = project.run(&["approvals", "questions", "--run", &run]).expect(0).stdout;
    let folder = project.root().canonicalize().unwrap();
    let place = format!("  in       {}\n", folder.display());
    let sandbox = "  sandbox  danger-full-access, network on\n  terminal yes\n";
    let bound = format!("{place}{sandbox}  argument /bin/sh\n  argument -c\n  argument {shown}\n");
    assert!(questions.starts_with(&format!("ship  Run: {shown}\n{bound}")), "{questions}");
    answer(&project, &run, &["yes", "--scope", "always"]);
    let told = child.wait_with_output().unwrap();
    let told = String::from_utf8_lossy(&told.stderr);
    assert!(told.contains(shown) && told.contains("approvals questions --run"), "{told}");

    let listed = project.run(&["approvals", "list", "--all"]).expect(0).stdout;
    assert!(listed.contains(shown), "{listed}");
    let id = listed.split_whitespace().next().unwrap();
    let one = project.run(&["approvals", "show", id]).expect(0).stdout;
    assert!(one.contains(&bound) && one.contains("  task     local\n"), "{one}");
    let one = project.run(&["approvals", "show", id, "--json"]).expect(0).json();
    assert_eq!(one["request"]["argv"][2], command, "{one:#}");
}

#[test]
fn a_long_command_is_cut_visibly_and_shown_whole_below() {
    let long = format!("true {} && rm -f precious", "x".repeat(3_000));
    let project = Workshop::with_stages(&asking(&[("ship", &long)]));
    let (mut child, run) = started(&project, &["start"]);
    question(&project, &run);
    let questions = project.run(&["approvals", "questions", "--run", &run]).expect(0).stdout;
    let (line, rest) = questions.split_once('\n').unwrap();
    assert!(line.ends_with("x… [1023 more characters]"), "{line}");
    assert!(rest.contains(&format!("  argument {long}\n")), "{rest}");
    answer(&project, &run, &["no"]);
    assert_eq!(child.wait().unwrap().code(), Some(11));
}

#[test]
fn a_consent_is_bound_to_the_variables_that_a_stage_sets() {
    let project = Workshop::bare();
    let with = |path: &str| {
        let stage = serde_json::json!({ "id": "ship", "command": "echo x >> shipped", "approval": "required", "env": { "KIND": path } });
        project.write_stages(&serde_json::json!([stage]).to_string());
    };
    with("good");
    let (mut child, run) = started(&project, &["start"]);
    let asked = question(&project, &run);
    assert_eq!(asked["message"], "[with KIND] Run: echo x >> shipped", "{asked:#}");
    assert_eq!(asked["request"]["env"], serde_json::json!(["KIND"]), "{asked:#}");
    let questions = project.run(&["approvals", "questions", "--run", &run]).expect(0).stdout;
    assert!(questions.contains("  variable KIND=good\n"), "{questions}");
    answer(&project, &run, &["yes", "--scope", "always"]);
    assert!(child.wait().unwrap().success());
    project.run(&["start"]).expect(0);
    let listed = project.run(&["approvals", "list", "--all"]).expect(0).stdout;
    let one = project.run(&["approvals", "show", listed.split_whitespace().next().unwrap()]).expect(0);
    assert!(one.stdout.contains("  variable KIND=good\n"), "{one:?}");

    with("evil");
    let ended = project.run(&["start", "--question-expires", "50ms"]).expect(11);
    assert!(ended.stderr.contains("[with KIND] Run: echo x >> shipped"), "{ended:?}");
    assert_eq!(project.text("shipped").lines().count(), 2);
}

#[test]
fn a_consent_serves_the_runs_of_whoever_started_the_one_it_was_given_in() {
    let project = Workshop::with_stages(&asking(&[("ship", "echo x >> shipped")]));
    let (mut child, run) = started(&project, &["start", "--actor", "ann"]);
    question(&project, &run);
    answer(&project, &run, &["yes", "--scope", "always", "--actor", "carl"]);
    assert!(child.wait().unwrap().success());
    project.run(&["start", "--actor", "ann"]).expect(0);
    project.run(&["start", "--actor", "bob", "--question-expires", "50ms"]).expect(11);
    assert_eq!(project.text("shipped").lines().count(), 2);
}

#[test]
fn a_login_shell_is_another_call() {
    let project = Workshop::bare();
    let stages: Vec<_> = [("plain", "-c"), ("login", "-lc")]
        .map(|(id, flag)| serde_json::json!({ "id": id, "command": ["bash", flag, "echo hi"], "approval": "required" }))
        .into();
    project.write_stages(&serde_json::json!(stages).to_string());
    let (mut child, run) = started(&project, &["start"]);
    question(&project, &run);
    answer(&project, &run, &["--stage", "plain", "yes", "--scope", "always"]);
    let asked = crate::support::wait_for("the second question", || {
        Some(question(&project, &run)).filter(|asked| asked["stage_id"] == "login")
    });
    assert_eq!(asked["message"], "Run: bash -lc 'echo hi'");
    answer(&project, &run, &["--stage", "login", "no"]);
    assert_eq!(child.wait().unwrap().code(), Some(11));
}

#[test]
fn what_was_killed_while_it_waited_goes_on_as_advised_once_it_is_answered() {
    let mut project = Workshop::with_stages(r#"[{ "id": "one", "command": "true" }]"#);
    let home = codex_home(&mut project);
    std::fs::write(home.join("rules/default.rules"), r#"prefix_rule(pattern=["tee"], decision="prompt")"#)
        .unwrap();
    let (mut child, run) = started(&project, &["exec", "--", "tee", "made"]);
    question(&project, &run);
    child.kill().unwrap();
    child.wait().unwrap();
    answer(&project, &run, &["yes"]);
    project.run(&["resume", "--run", &run]).expect(0);
    assert!(project.path("made").exists());
    assert_eq!(project.manifest(&run)["status"], "succeeded");
}
