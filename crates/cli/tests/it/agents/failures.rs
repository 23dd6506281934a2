//! How a turn of the real Codex CLI fails: each way with its class, its advice and its exit code.

use co_testkit::{End, Step};
use serde_json::{Value, json};

use super::{Bench, ONE_AGENT, RETRIED_AGENT, stage, user_messages, wait_until_gone};
use crate::support::{Ended, Project, wait_for};

/// What a failed run says about its only agent stage: the class, the message and the hint.
#[track_caller]
fn failure(project: &Project, ended: &Ended) -> (String, String, String) {
    let run = ended.run_id();
    let manifest = project.manifest(&run);
    let edit = stage(&manifest, "edit");
    let failure = &edit["agent"]["failure"];
    let recorded = project.json_file(edit["error_file"].as_str().expect("an error file"));
    assert_eq!(recorded["details"]["agent"], *failure, "{recorded:#}");
    let text =
        |name: &str| failure[name].as_str().unwrap_or_else(|| panic!("no {name}: {edit:#}")).to_owned();
    let found = (text("class"), text("message"), text("hint"));
    assert!(ended.stderr.contains(&found.0) && ended.stderr.contains(&found.2), "{ended:#?}");
    found
}

#[test]
fn each_failure_of_the_model_has_its_class_and_its_advice() {
    let error = |text: &str| json!({ "error": { "message": text } });
    let table = [
        (Step::unauthorized(), "not-authenticated", "codex login"),
        (Step::http(429, error("slow down")), "rate-limited", "resume the run later"),
        (Step::usage_limit(), "usage-limit", "wait until the limit resets"),
        (Step::http(500, error("boom")), "model-overloaded", "resume the run later"),
        (Step::failed("context_length_exceeded", "long"), "context-exceeded", "a smaller task"),
        (Step::message("half").end(End::Cut), "stream-disconnected", "check the network"),
    ];
    let bench = Bench::new(ONE_AGENT, table.iter().map(|(step, ..)| step.clone()));
    for (step, class, advice) in table {
        let ended = bench.project.run(&["start", "main", "--format", "json"]).expect(10);
        assert_eq!(ended.json()["status_detail"], "stage:edit:agent-failed");
        let (found, message, hint) = failure(&bench.project, &ended);
        assert_eq!(found, class, "{step:?}");
        assert!(!message.is_empty() && hint.contains(advice), "{step:?} {message} {hint}");
    }
}

#[test]
fn without_codex_the_error_says_how_to_get_it() {
    let mut bench = Bench::new(ONE_AGENT, []);
    bench.project.set("CODEX_ORCHESTRATOR_CODEX", "");
    bench.project.set("PATH", "/nonexistent/bin");
    let ended = bench.project.run(&["start", "main", "--format", "json"]).expect(10);
    let (class, message, hint) = failure(&bench.project, &ended);
    assert_eq!(class, "not-installed");
    assert!(message.contains("/nonexistent/bin"), "{message}");
    assert!(hint.contains("npm install") && hint.contains("CODEX_ORCHESTRATOR_CODEX"), "{hint}");
}

#[test]
fn outside_a_git_repository_the_error_says_what_to_add() {
    let bench = Bench::new(ONE_AGENT, [Step::message("Done.")]);
    std::fs::remove_dir_all(bench.project.path(".git")).unwrap();
    let ended = bench.project.run(&["start", "main", "--format", "json"]).expect(10);
    let (class, _, hint) = failure(&bench.project, &ended);
    assert_eq!(class, "outside-repository");
    assert!(hint.contains("git init") && hint.contains("--skip-git-repo-check"), "{hint}");

    let allowed =
        ONE_AGENT.replace("\"id\": \"edit\"", "\"id\": \"edit\", \"arguments\": [\"--skip-git-repo-check\"]");
    bench.project.write_pipelines(&allowed);
    bench.project.run(&["start", "main"]).expect(0);
}

#[test]
fn a_rate_limit_that_passes_is_tried_again_in_the_same_thread() {
    let limited = Step::http(429, json!({"error": {"message": "slow down"}}));
    let bench = Bench::new(RETRIED_AGENT, [limited, Step::message("Now.")]);
    let run = bench.project.run(&["start", "main", "--format", "json"]).expect(0).run_id();
    let manifest = bench.project.manifest(&run);
    let edit = stage(&manifest, "edit");
    assert_eq!(edit["attempts"].as_array().unwrap().len(), 2);
    assert_eq!(edit["agent"]["failure"], Value::Null);
    let asked = bench.requests();
    let [first, second] = asked.as_slice() else { panic!("{asked:#?}") };
    assert_eq!(first.headers["thread-id"], second.headers["thread-id"]);
    let told = user_messages(second);
    assert_eq!(told.iter().filter(|text| text.contains("Change the greeting.")).count(), 1, "{told:#?}");
}

#[test]
fn what_does_not_pass_by_itself_is_not_tried_again() {
    let bench = Bench::new(RETRIED_AGENT, [Step::unauthorized()]);
    bench.project.run(&["start", "main"]).expect(10);
    assert_eq!(bench.requests().len(), 1);
}

#[test]
fn a_killed_codex_is_told_as_such_and_its_thread_goes_on() {
    let bench = Bench::new(ONE_AGENT, [Step::hang(), Step::message("Again.")]);
    let (mut child, run) = bench.start_until_asked(1);
    // It may have helpers, which inherit the mark.
    let codex = wait_for("one codex", || {
        let marked = co_process::find_marked(co_runtime::RUN_MARK, &run);
        let called = |pid: i32| std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        marked.iter().map(|process| process.pid).find(|pid| called(*pid).trim() == "codex")
    });
    let pid = rustix::process::Pid::from_raw(codex).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(10));
    let manifest = bench.project.manifest(&run);
    let agent = &stage(&manifest, "edit")["agent"];
    assert_eq!(agent["failure"]["class"], "killed");
    assert!(agent["failure"]["hint"].as_str().unwrap().contains("memory"), "{agent:#}");

    bench.project.run(&["resume", "--run", &run]).expect(0);
    let again = bench.project.manifest(&run);
    assert_eq!(stage(&again, "edit")["agent"]["thread_id"], agent["thread_id"]);
    let asked = bench.requests();
    assert!(user_messages(&asked[1]).last().unwrap().contains("interrupted"), "{asked:#?}");
}

#[test]
fn a_turn_that_takes_too_long_is_ended() {
    let timed = ONE_AGENT.replace("\"id\": \"edit\"", "\"id\": \"edit\", \"timeout\": \"1500ms\"");
    let bench = Bench::new(&timed, [Step::hang()]);
    let ended = bench.project.run(&["start", "main", "--format", "json"]).expect(12);
    let (class, _, hint) = failure(&bench.project, &ended);
    assert_eq!(class, "timed-out");
    assert!(hint.contains("`timeout`"), "{hint}");
    wait_until_gone(&ended.run_id());
}

#[test]
fn a_cancelled_agent_is_gone_at_once_and_its_thread_goes_on() {
    let bench = Bench::new(
        ONE_AGENT,
        [
            Step::shell("setsid sleep 600 >/dev/null 2>&1 & echo left one"),
            Step::hang(),
            Step::message("Done after all."),
        ],
    );
    let (mut child, run) = bench.start_until_asked(2);
    bench.project.run(&["cancel", "--run", &run]).expect(0);
    assert_eq!(child.wait().unwrap().code(), Some(14));
    assert!(co_process::find_marked(co_runtime::RUN_MARK, &run).is_empty());
    let cancelled = bench.project.manifest(&run);
    let edit = stage(&cancelled, "edit");
    assert_eq!(
        (&edit["status"], &edit["agent"]["failure"]["class"]),
        (&"cancelled".into(), &"cancelled".into())
    );

    bench.project.run(&["resume", "--run", &run]).expect(0);
    let asked = bench.requests();
    assert_eq!(asked[1].headers["thread-id"], asked[2].headers["thread-id"]);
}
