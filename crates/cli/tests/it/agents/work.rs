//! What a working agent leaves behind.

use co_testkit::Step;
use serde_json::json;

use super::{Bench, ONE_AGENT, stage, touch, update, user_messages, wait_until_gone};
use crate::support::wait_for;

const EDIT_AND_TEST: &str = r#"[{"id": "main", "stages": [
    {"id": "facts", "command": "echo the greeting is cold"},
    {"kind": "agent", "id": "edit", "title": "Warm it up",
     "prompt": "{{ task.description }} for {{ task.id }} in {{ run.pipeline }}/{{ run.id }}: {{ stages.facts.output }}"},
    {"id": "check", "command": "test \"$(cat greeting.txt)\" = goodbye && echo it is warm"}
]}]"#;

#[test]
fn an_agent_edits_and_a_command_tests_what_it_did() {
    let bench = Bench::new(
        EDIT_AND_TEST,
        [
            Step::shell("cat greeting.txt; touch by-command.txt"),
            update("*** Update File: greeting.txt\n@@\n-hello\n+goodbye\n*** Add File: docs/new.txt\n+new\n"),
            Step::message("The greeting is warm.\n\nNothing else was touched."),
        ],
    );
    let ended = bench
        .project
        .run(&["start", "main", "--format", "json", "--description", "Warm the greeting"])
        .expect(0);
    let run = ended.run_id();
    let manifest = bench.project.manifest(&run);
    assert_eq!(manifest["status"], "succeeded", "{manifest:#}");
    assert_eq!(stage(&manifest, "check")["summary"], "it is warm");

    let edit = stage(&manifest, "edit");
    assert_eq!(edit["summary"], "The greeting is warm.");
    let agent = &edit["agent"];
    let requests = bench.requests();
    assert_eq!(agent["thread_id"], requests[0].headers["thread-id"].as_str());
    assert_eq!(
        agent["usage"],
        json!({"input_tokens": 300, "cached_input_tokens": 30, "output_tokens": 60, "reasoning_output_tokens": 15})
    );
    assert_eq!(agent["commands_run"], 1);
    assert_eq!(agent["last_message"], "The greeting is warm.\n\nNothing else was touched.");
    assert_eq!(agent["failure"], json!(null));
    let file = |path: &str, change: &str| json!({"path": path, "change": change});
    assert_eq!(
        agent["changed_files"]["reported"],
        json!([file("docs/new.txt", "add"), file("greeting.txt", "update")])
    );
    assert_eq!(
        agent["changed_files"]["observed"],
        json!([file("by-command.txt", "add"), file("docs/new.txt", "add"), file("greeting.txt", "update")])
    );

    let prompt = format!("Warm the greeting for local in main/{run}: the greeting is cold");
    assert!(requests[0].input_contains(&prompt), "{:#}", requests[0].body["input"]);
    let state = bench.project.json_file("out/local/state.json");
    assert_eq!(
        (&state["runs"][0]["run_id"], &state["runs"][0]["status"]),
        (&json!(run), &json!("succeeded"))
    );
    let metrics = bench.project.json_file(".runs/local/metrics.json");
    assert_eq!(
        (&metrics["runs"][0]["token_total"], &metrics["runs"][0]["attempts"]),
        (&json!(360), &json!(3))
    );
}

#[test]
fn a_killed_orchestrator_leaves_nobody_behind_and_a_resume_goes_on_in_the_same_thread() {
    let bench = Bench::new(
        ONE_AGENT,
        [
            Step::shell("setsid sleep 600 >/dev/null 2>&1 & echo left one"),
            Step::hang(),
            update("*** Update File: greeting.txt\n@@\n-hello\n+goodbye\n"),
            Step::message("Now it is changed."),
        ],
    );
    let (mut child, run) = bench.start_until_asked(2);
    let alive = co_process::find_marked(co_runtime::RUN_MARK, &run);
    assert!(alive.len() >= 2, "codex and the command that left its group: {alive:?}");
    child.kill().unwrap();
    child.wait().unwrap();
    wait_until_gone(&run);
    let status = bench.project.run(&["status", "--run", &run, "--format", "json"]).expect(0).json();
    assert_eq!(status["status"], "interrupted", "{status:#}");
    let thread = stage(&status, "edit")["agent"]["thread_id"].clone();
    let asked = bench.requests();
    assert_eq!(thread, asked[0].headers["thread-id"].as_str(), "known before the kill");

    bench.project.run(&["resume", "--run", &run]).expect(0);
    let manifest = bench.project.manifest(&run);
    let edit = stage(&manifest, "edit");
    assert_eq!((&edit["status"], &edit["agent"]["thread_id"]), (&"succeeded".into(), &thread), "{edit:#}");
    let exits: Vec<_> = edit["attempts"].as_array().unwrap().iter().map(|one| &one["exit"]["kind"]).collect();
    assert_eq!(exits, ["lost", "code"]);
    let asked = bench.requests();
    assert_eq!(asked.len(), 4);
    assert_eq!(thread, asked[2].headers["thread-id"].as_str());
    let told = user_messages(&asked[2]);
    let originals = told.iter().filter(|text| text.contains("Change the greeting.")).count();
    assert_eq!(originals, 1, "from the thread's history only: {told:#?}");
    assert!(told.last().unwrap().starts_with("Your previous turn was interrupted"), "{told:#?}");
}

#[test]
fn a_message_to_an_agent_becomes_the_next_turn_of_its_thread() {
    let bench = Bench::new(
        ONE_AGENT,
        [
            Step::shell("until [ -e go ]; do sleep 0.02; done"),
            Step::message("Changed."),
            Step::message("In French now."),
        ],
    );
    let (mut child, run) = bench.start_until_asked(1);
    let at_work = wait_for("the command in the status", || {
        let status = bench.project.run(&["status", "--run", &run, "--format", "json"]).expect(0).json();
        let at_work = status["agents_at_work"][0].clone();
        at_work["last"].as_str()?.starts_with("running").then_some(at_work)
    });
    assert_eq!(at_work["last"], "running until [ -e go ]; do sleep 0.02; done");
    assert_eq!((&at_work["commands_run"], &at_work["whole_turn"]), (&1.into(), &true.into()), "{at_work:#}");
    let status = bench.project.run(&["status", "--run", &run]).expect(0);
    assert!(status.stdout.contains("running until [ -e go ]"), "{status:?}");

    bench.project.run(&["steer", "--run", &run, "Do it in French."]).expect(0);
    touch(&bench.project.path("go"));
    assert!(child.wait().unwrap().success());

    let asked = bench.requests();
    let [first, .., last] = asked.as_slice() else { panic!("{asked:#?}") };
    assert_eq!(first.headers["thread-id"], last.headers["thread-id"]);
    assert_eq!(user_messages(last).last().map(String::as_str), Some("Do it in French."));
    let manifest = bench.project.manifest(&run);
    let edit = stage(&manifest, "edit");
    assert_eq!(edit["attempts"].as_array().unwrap().len(), 2, "{edit:#}");
    assert_eq!(edit["agent"]["last_message"], "In French now.");
    let late = bench.project.run(&["steer", "--run", &run, "Too late."]).expect(11);
    assert!(late.stderr.contains("the run is over"), "{late:?}");
}

#[test]
fn agents_beside_each_other_share_one_codex_home() {
    let both = r#"[{"id": "main", "max_parallel": 2, "stages": [
        {"kind": "agent", "id": "left", "needs": [], "prompt": "the left one"},
        {"kind": "agent", "id": "right", "needs": [], "prompt": "the right one"}
    ]}]"#;
    // Each waits for the other, so neither can be done before both are at work.
    let wait = |mine: &str, other: &str| format!("touch {mine}; until [ -e {other} ]; do sleep 0.02; done");
    let bench = Bench::new(
        both,
        [
            Step::shell(wait("l", "r")).when_last("the left one"),
            Step::shell(wait("r", "l")).when_last("the right one"),
            Step::message("left done").when("the left one"),
            Step::message("right done").when("the right one"),
        ],
    );
    let run = bench.project.run(&["start", "main", "--format", "json"]).expect(0).run_id();
    let manifest = bench.project.manifest(&run);
    let (left, right) = (&stage(&manifest, "left")["agent"], &stage(&manifest, "right")["agent"]);
    assert_ne!(left["thread_id"], right["thread_id"]);
    assert_eq!((&left["last_message"], &right["last_message"]), (&"left done".into(), &"right done".into()));
}

#[test]
fn a_reviewer_rejects_the_run_and_is_asked_again_by_a_resume() {
    let reviewed = r#"[{"id": "main", "stages": [
        {"id": "work", "command": "true"},
        {"kind": "agent", "id": "review", "role": "reviewer", "prompt": "Review it."}
    ]}]"#;
    let bench = Bench::new(
        reviewed,
        [
            Step::message("I looked.\n{\"approved\": false, \"reason\": \"no tests\"}"),
            Step::message("Better.\n{\"approved\": true}"),
        ],
    );
    let ended = bench.project.run(&["start", "main", "--format", "json"]).expect(10);
    assert_eq!(ended.json()["status_detail"], "review:rejected");
    let run = ended.run_id();
    let manifest = bench.project.manifest(&run);
    assert_eq!(stage(&manifest, "review")["objection"], "no tests", "{manifest:#}");

    bench.project.run(&["resume", "--run", &run]).expect(0);
    let asked = bench.requests();
    assert_eq!(asked[0].headers["thread-id"], asked[1].headers["thread-id"]);
    // The first turn was complete: nothing was interrupted, so the question is asked again.
    assert_eq!(user_messages(&asked[1]).last().map(String::as_str), Some("Review it."));
}

#[test]
fn a_planner_leaves_out_what_it_does_not_choose() {
    let planned = r#"[{"id": "main", "stages": [
        {"kind": "agent", "id": "plan", "role": "planner", "prompt": "Choose."},
        {"id": "one", "command": "true"}, {"id": "two", "needs": [], "command": "false"}
    ]}]"#;
    let bench = Bench::new(planned, [Step::message("Only the first.\n{\"stages\": [\"one\"]}")]);
    let run = bench.project.run(&["start", "main", "--format", "json"]).expect(0).run_id();
    let manifest = bench.project.manifest(&run);
    assert_eq!(stage(&manifest, "one")["status"], "succeeded");
    assert_eq!(stage(&manifest, "two")["reason"], "not-planned", "{manifest:#}");

    let bench = Bench::new(planned, [Step::message("{\"stages\": [\"three\"]}")]);
    let run = bench.project.run(&["start", "main", "--format", "json"]).expect(10).run_id();
    let manifest = bench.project.manifest(&run);
    assert!(manifest.to_string().contains("chose `three`, which is no builder stage"), "{manifest:#}");
}

#[test]
fn a_run_records_exactly_the_instructions_its_agents_were_told() {
    let below = ONE_AGENT.replace("\"id\": \"edit\"", "\"id\": \"edit\", \"cwd\": \"below\"");
    let bench = Bench::new(&below, [Step::message("Yes."), Step::message("Yes.")]);
    let repository = bench.project.repository();
    std::fs::write(bench.home.codex_home().join("AGENTS.md"), "everywhere: be brief\n").unwrap();
    // Codex reads none of the last two: the one is beside its way, the other is hidden.
    let files = [
        ("AGENTS.md", "here: be kind\n"),
        ("below/AGENTS.override.md", "below: be quick\n"),
        ("below/AGENTS.md", "hidden: be loud\n"),
        ("docs/AGENTS.md", "aside: be long\n"),
    ];
    for (path, text) in files {
        repository.write(path, text);
    }
    repository.commit("instructions");
    // What is not committed is not in a worktree.
    repository.write("AGENTS.md", "here: be very kind\n");

    for (index, flag) in [None, Some("--worktree")].into_iter().enumerate() {
        let mut arguments = vec!["start", "main", "--format", "json"];
        arguments.extend(flag);
        let run = bench.project.run(&arguments).expect(0).run_id();
        let told = user_messages(&bench.requests()[index]).join("\n");
        let manifest = bench.project.manifest(&run);
        let recorded = manifest["instructions_sources"].as_array().unwrap();
        let here = if flag.is_some() { "here: be kind" } else { "here: be very kind" };
        let expected = ["everywhere: be brief", here, "below: be quick"];
        for (source, text) in recorded.iter().zip(expected) {
            assert!(told.contains(text), "{text}: {told}");
            let sha256 = sha256(&bench, &format!("{text}\n"));
            assert_eq!(source["sha256"], sha256.as_str(), "{text}: {recorded:#?}");
        }
        assert_eq!(recorded.len(), expected.len(), "{recorded:#?}");
        assert!(!told.contains("be loud") && !told.contains("be long"), "{told}");
        assert!(manifest["instructions_hash"].is_string());
    }
}

/// What the system's own tool makes of a text.
#[expect(clippy::disallowed_methods, reason = "a test waits for one short command")]
fn sha256(bench: &Bench, text: &str) -> String {
    let file = bench.project.repository().outside().join("text");
    std::fs::write(&file, text).unwrap();
    let output = std::process::Command::new("sha256sum").arg(file).output().unwrap();
    String::from_utf8(output.stdout).unwrap()[..64].to_owned()
}
