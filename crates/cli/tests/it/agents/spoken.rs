//! Agents that ask, and are answered from another terminal: the real `codex app-server` and the real
//! Claude Code against scripted models, and an agent on the official crate of the Agent Client Protocol.

use std::process::Child;

use co_testkit::{AcpAction, AcpScript, ModelServer, Script, Step, example};
use serde_json::{Value, json};

use super::{Bench, peak_memory, stage, the_run, touch, user_messages, wait_until_gone, with_claude};
use crate::calls::{answer, calls, question};
use crate::support::{PATIENCE, Project, wait_for};

/// A pipeline with one stage of the agent.
fn one(agent: &str) -> String {
    let stage = json!({"kind": "agent", "id": "edit", "agent": agent, "prompt": "Change the greeting."});
    json!([{"id": "main", "stages": [stage]}]).to_string()
}

/// A bench whose agent is `codex app-server`.
fn server(steps: impl IntoIterator<Item = Step>) -> Bench {
    Bench::new(&one("codex-app-server"), steps)
}

/// Everything that the model does needs consent.
const ASKING: &[&str] = &["start", "main", "--approval-policy", "untrusted", "--widen"];

fn start(project: &Project) -> (Child, String) {
    let child = project.spawn(ASKING);
    // The log is made first, the run a little later.
    wait_for("the event log", || project.run(&["runs", "--json"]).json().as_array()?.first().cloned());
    (child, the_run(project))
}

const ASKED_AND_DONE: [&str; 4] = ["requested by agent", "approved: prompt", "started", "succeeded"];

#[test]
fn what_an_agent_asks_in_one_terminal_is_answered_in_another() {
    let bench =
        server([Step::shell("echo once >> ran"), Step::shell("echo once >> ran"), Step::message("Done.")]);
    let (mut child, run) = start(&bench.project);
    let asked = question(&bench.project, &run);
    assert!(asked["message"].as_str().unwrap().contains("echo once >> ran"), "{asked:#}");
    assert!(!bench.project.path("ran").exists(), "nothing happens before the answer");
    answer(&bench.project, &run, &["yes", "--scope", "run"]);
    assert!(child.wait().unwrap().success());
    assert_eq!(std::fs::read_to_string(bench.project.path("ran")).unwrap(), "once\nonce\n");
    let again = ["requested by agent", "approved: cache", "started", "succeeded"];
    assert_eq!(calls(&bench.project, &run), [ASKED_AND_DONE, again].concat());
    let manifest = bench.project.manifest(&run);
    assert_eq!(stage(&manifest, "edit")["agent"]["last_message"], "Done.");
}

#[test]
fn what_is_denied_or_not_answered_is_not_done_and_the_turn_goes_on() {
    let bench = server([Step::shell("touch never"), Step::message("I see.")]);
    let (mut child, run) = start(&bench.project);
    question(&bench.project, &run);
    answer(&bench.project, &run, &["no", "--reason", "not today"]);
    assert!(child.wait().unwrap().success());
    assert!(!bench.project.path("never").exists());
    assert_eq!(calls(&bench.project, &run), ["requested by agent", "denied: prompt"]);

    let bench = server([Step::shell("touch never"), Step::message("Nobody is there.")]);
    let quick = ["start", "main", "--approval-policy", "untrusted", "--widen", "--question-expires", "300ms"];
    let run = bench.project.run(&[&quick[..], &["--format", "json"]].concat()).expect(0).run_id();
    assert!(!bench.project.path("never").exists());
    assert_eq!(calls(&bench.project, &run), ["requested by agent", "denied: prompt"]);
}

#[test]
fn one_yes_for_the_session_serves_nineteen_of_twenty_calls_in_two_conversations() {
    let turn = |word: &str| {
        let calls = std::iter::repeat_with(|| Step::shell("echo x >> said")).take(10);
        calls.chain([Step::message(word)]).collect::<Vec<_>>()
    };
    let mut bench = server(turn("Said.").into_iter().chain(turn("Said again.")));
    bench.project.set("CODEX_ORCHESTRATOR_SESSION", "monday");
    let (mut child, first) = start(&bench.project);
    question(&bench.project, &first);
    answer(&bench.project, &first, &["yes", "--scope", "session"]);
    assert!(child.wait().unwrap().success());
    let second = bench.project.run(&[ASKING, &["--json"]].concat()).expect(0).run_id();
    assert_eq!(std::fs::read_to_string(bench.project.path("said")).unwrap().lines().count(), 20);
    let count = |run: &str, name: &str| bench.project.manifest(run)["tool_calls"][name].as_u64().unwrap();
    let both = |name: &str| count(&first, name) + count(&second, name);
    assert_eq!((both("requested"), both("approved_by_prompt"), both("denied")), (20, 1, 0));
}

#[test]
fn a_message_is_heard_within_the_turn() {
    let bench = server([
        Step::shell("until [ -e go ]; do sleep 0.02; done"),
        Step::message("In French now.").when("Do it in French."),
        Step::shell("true").repeated(),
    ]);
    let mut child = bench.project.spawn(&["start", "main"]);
    bench.server.wait_for_requests(1, PATIENCE);
    let run = bench.the_run();
    wait_for("the command", || calls(&bench.project, &run).contains(&"started".to_owned()).then_some(()));
    bench.project.run(&["steer", "--run", &run, "Do it in French."]).expect(0);
    wait_for("the message to be taken up", || {
        let events = bench.project.run(&["logs", "--run", &run, "--events", "--format", "jsonl"]).expect(0);
        events.stdout.lines().find(|line| line.contains("steer_delivered")).map(|line| {
            let event: Value = serde_json::from_str(line).unwrap();
            assert_eq!((&event["data"]["count"], &event["data"]["in_turn"]), (&json!(1), &json!(true)));
        })
    });
    touch(&bench.project.path("go"));
    assert!(child.wait().unwrap().success());
    let manifest = bench.project.manifest(&run);
    let edit = stage(&manifest, "edit");
    assert_eq!(edit["attempts"].as_array().unwrap().len(), 1, "it was no turn of its own: {edit:#}");
    assert_eq!(edit["agent"]["last_message"], "In French now.");
    let told = calls(&bench.project, &run);
    assert_eq!(told[..4], ["requested by agent", "approved: not-required", "started", "succeeded"]);
}

#[test]
fn a_cancelled_turn_is_interrupted_and_its_question_closed() {
    let bench = server([Step::shell("touch never"), Step::message("unreachable")]);
    let (mut child, run) = start(&bench.project);
    question(&bench.project, &run);
    bench.project.run(&["cancel", "--run", &run]).expect(0);
    assert_eq!(child.wait().unwrap().code(), Some(14));
    wait_until_gone(&run);
    assert!(!bench.project.path("never").exists());
    assert_eq!(bench.requests().len(), 1);
}

#[test]
fn a_killed_turn_goes_on_in_the_same_thread_and_asks_again() {
    let bench = server([Step::shell("touch made"), Step::shell("touch made"), Step::message("Done.")]);
    let (mut child, run) = start(&bench.project);
    question(&bench.project, &run);
    child.kill().unwrap();
    child.wait().unwrap();
    wait_until_gone(&run);
    let mut child = bench.project.spawn(&["resume", "--run", &run]);
    bench.server.wait_for_requests(2, PATIENCE);
    question(&bench.project, &run);
    answer(&bench.project, &run, &["yes"]);
    assert!(child.wait().unwrap().success());
    assert!(bench.project.path("made").exists());
    let asked = bench.requests();
    assert_eq!(asked[0].headers["thread-id"], asked[1].headers["thread-id"]);
    let told = user_messages(&asked[1]);
    assert!(told.last().unwrap().starts_with("Your previous turn was interrupted"), "{told:#?}");
}

/// A project whose agent speaks the Agent Client Protocol and asks for this command.
fn acp(command: &str) -> Project {
    acp_after(command, Vec::new())
}

/// The same after it has done something else.
fn acp_after(command: &str, mut actions: Vec<AcpAction>) -> Project {
    let project = Project::empty();
    let call = json!({
        "toolCallId": "c1", "title": "`a title proves nothing`", "kind": "execute",
        "rawInput": {"command": command},
    });
    let options = ["allow_once", "reject_once"].map(str::to_owned).to_vec();
    actions.push(AcpAction::Ask { call, options });
    let script = AcpScript::new([actions]);
    let script = script.write(project.repository().outside());
    let program = example("acp_agent");
    project.write_pipelines(&one(&format!("acp:'{}' '{}'", program.display(), script.display())));
    project.repository().commit("pipelines");
    project
}

#[test]
fn an_agent_of_the_open_protocol_is_answered_too() {
    for (word, decided) in [("yes", "approved: prompt"), ("no", "denied: prompt")] {
        let project = acp("make install");
        let (mut child, run) = start(&project);
        let asked = question(&project, &run);
        assert!(asked["message"].as_str().unwrap().contains("make install"), "{asked:#}");
        answer(&project, &run, &[word]);
        assert!(child.wait().unwrap().success());
        assert_eq!(calls(&project, &run)[..2], ["requested by agent", decided]);
        let manifest = project.manifest(&run);
        let message = stage(&manifest, "edit")["agent"]["last_message"].as_str().unwrap().to_owned();
        let chosen = if word == "yes" { "allow_once" } else { "reject_once" };
        assert!(message.contains(chosen), "{message}");
    }
}

#[test]
fn a_flood_of_an_agent_that_is_spoken_with_is_recorded_in_bounded_memory() {
    const FLOOD: usize = 40 << 20;
    let project = acp_after("make install", vec![AcpAction::Flood { bytes: FLOOD }]);
    let (mut child, run) = start(&project);
    // It asks after the flood, so what was needed for it is known now.
    question(&project, &run);
    let kilobytes = peak_memory(child.id());
    answer(&project, &run, &["no"]);
    assert!(child.wait().unwrap().success());
    assert!(kilobytes < 75 << 10, "{kilobytes} kB for a flood of {FLOOD} bytes");
    let manifest = project.manifest(&run);
    assert!(stage(&manifest, "edit")["output_bytes"]["stdout"].as_u64().unwrap() > FLOOD as u64);
}

#[test]
fn under_never_nobody_is_asked() {
    let project = acp("make install");
    let never = ["start", "main", "--approval-policy", "never", "--widen", "--format", "json"];
    let run = project.run(&never).expect(0).run_id();
    assert_eq!(calls(&project, &run), ["requested by agent", "denied: policy"]);
}

#[test]
fn claude_code_is_answered_too() {
    for (word, made) in [("yes", true), ("no", false)] {
        let server = ModelServer::start(Script::new([Step::shell("touch made"), Step::message("Done.")]));
        let (project, _home) = with_claude(&server);
        project.write_pipelines(&one("claude"));
        project.repository().commit("pipelines");
        let (mut child, run) = start(&project);
        question(&project, &run);
        answer(&project, &run, &[word]);
        assert!(child.wait().unwrap().success());
        assert_eq!(project.path("made").exists(), made);
        let decided = if made { "approved: prompt" } else { "denied: prompt" };
        assert_eq!(calls(&project, &run)[..2], ["requested by agent", decided]);
    }
}

#[test]
fn an_answer_is_not_lost_with_the_terminal_that_asked_and_the_command_runs_once() {
    let pipelines = r#"[{"id": "main", "stages": [
        {"id": "ship", "command": "echo once >> ran", "approval": "required"}
    ]}]"#;
    let project = Project::with_pipelines(pipelines);
    let (mut child, run) = start(&project);
    question(&project, &run);
    child.kill().unwrap();
    child.wait().unwrap();
    wait_until_gone(&run);
    answer(&project, &run, &["yes"]);
    assert!(!project.path("ran").exists(), "nobody is there to run it");
    project.run(&["resume", "--run", &run]).expect(0);
    assert_eq!(std::fs::read_to_string(project.path("ran")).unwrap(), "once\n");
    assert_eq!(calls(&project, &run), ["requested by stage", "approved: prompt", "started", "succeeded"]);
}
