//! An agent on the official crate of the Agent Client Protocol, spoken with through real pipes.

use std::ffi::OsString;
use std::path::Path;

use co_agents::{
    AcpDialogue, AgentExit, AgentObservation, AgentReport, AgentRequest, AgentVerdict, ConsentDecision,
    Dialogue, FailureClass, McpServer, McpServers, PrepareError, Steered, Terminal, ThreadId, Transcript,
    driver_for,
};
use co_model::{CallStatus, ChangeKind, SandboxMode, ToolUse};
use co_testkit::{ACP_NEW_SESSION, ACP_OLD_SESSION, AcpAction, AcpScript, example};
use proptest::prelude::*;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::fuzz::broken;
use crate::talk::{Talk, Told};

/// Holds a scripted agent and the folder it works in.
struct Stage {
    folder: TempDir,
    agent: String,
}

impl Stage {
    fn new(script: &AcpScript) -> Self {
        let folder = TempDir::new().unwrap();
        let script = script.write(folder.path());
        let words = [example("acp_agent"), script].map(|path| path.to_str().unwrap().to_owned());
        let agent = format!("acp:{}", shlex_join(&words));
        Self { folder, agent }
    }

    fn start_as(&self, thread: Option<&ThreadId>, sandbox: Option<SandboxMode>) -> Talk {
        let environment = |_: &str| None;
        let request = AgentRequest {
            thread,
            sandbox,
            ..AgentRequest::new(&self.agent, "Do it.", self.folder.path(), &environment)
        };
        Talk::start(&request, &[])
    }

    fn start(&self) -> Talk {
        self.start_as(None, None)
    }

    fn play(&self) -> Told {
        self.start().wait()
    }
}

fn shlex_join(words: &[String]) -> String {
    words.iter().map(|word| format!("'{word}'")).collect::<Vec<_>>().join(" ")
}

fn say(text: &str) -> AcpAction {
    AcpAction::Say { text: text.into() }
}

fn ask(call: Value, options: &[&str]) -> AcpAction {
    AcpAction::Ask { call, options: options.iter().map(|&kind| kind.to_owned()).collect() }
}

fn command(id: &str, command: &str) -> Value {
    json!({"toolCallId": id, "title": "`a title proves nothing`", "kind": "execute", "rawInput": {"command": command}})
}

const ONCE: &[&str] = &["allow_once", "allow_always", "reject_once", "reject_always"];

#[test]
fn a_turn_speaks_thinks_plans_and_calls() {
    let diff = json!({"type": "diff", "path": "/else/where.txt", "oldText": null, "newText": "new\n"});
    let call = json!({
        "sessionUpdate": "tool_call", "toolCallId": "c1", "title": "Write", "kind": "edit", "status": "pending",
        "content": [diff],
    });
    let begun = json!({"sessionUpdate": "tool_call_update", "toolCallId": "c1", "status": "in_progress"});
    let done = json!({
        "sessionUpdate": "tool_call_update", "toolCallId": "c1", "status": "completed",
        "content": [{"type": "content", "content": {"type": "text", "text": "written"}}],
    });
    let entry = |text: &str, status: &str| json!({"content": text, "priority": "high", "status": status});
    let plan = json!({"sessionUpdate": "plan", "entries": [entry("a", "completed"), entry("b", "pending")]});
    let thought = json!({"sessionUpdate": "agent_thought_chunk", "content": {"type": "text", "text": "hm"}});
    let usage = json!({"sessionUpdate": "usage_update", "used": 1, "size": 2, "cost": {"amount": 0.25, "currency": "USD"}});
    let odd = json!({"jsonrpc": "2.0", "method": "session/update", "params": {"sessionId": "s", "update": {"sessionUpdate": "dance"}}});
    let updates = [thought, plan, call, begun, done, usage].map(|update| AcpAction::Update { update });
    let mut turn = vec![say("Let me "), say("see.")];
    turn.extend(updates);
    turn.extend([AcpAction::Raw { text: format!("{odd}\n") }, say("Done.")]);
    let told = Stage::new(&AcpScript::new([turn])).play();

    assert_eq!(told.verdict(None), AgentVerdict::Succeeded, "{told:#?}");
    let report = &told.report;
    assert_eq!(report.thread_id.as_ref().unwrap().as_str(), ACP_NEW_SESSION);
    assert_eq!(report.last_message.as_deref(), Some("Done."));
    assert_eq!(report.cost_microdollars, Some(250_000));
    assert_eq!(report.file_changes[0].path, "/else/where.txt");
    assert_eq!((report.file_changes[0].kind, report.file_changes.len()), (ChangeKind::Add, 1));
    assert_eq!(report.unknown_types.keys().collect::<Vec<_>>(), ["update:dance"]);
    let messages: Vec<_> = told
        .seen
        .iter()
        .filter_map(|seen| match seen {
            AgentObservation::Message { text } | AgentObservation::Reasoning { text } => Some(text.as_str()),
            _ => None,
        })
        .collect();
    assert_eq!(messages, ["Let me see.", "hm", "Done."]);
    assert_eq!(told.ended(), [("c1".to_owned(), CallStatus::Succeeded)]);
    assert!(
        told.seen
            .iter()
            .any(|seen| matches!(seen, AgentObservation::TodoChanged { items } if items.len() == 2))
    );
}

#[test]
fn each_decision_chooses_the_option_that_says_neither_more_nor_less() {
    let always = &["allow_always", "reject_always"];
    let table: &[(&[&str], ConsentDecision, &str)] = &[
        (ONCE, ConsentDecision::once(), "allow_once"),
        (ONCE, ConsentDecision::for_session(), "allow_always"),
        (ONCE, ConsentDecision::declined(None), "reject_once"),
        (&["allow_once"], ConsentDecision::for_session(), "allow_once"),
        (&["allow_once"], ConsentDecision::declined(None), "cancelled"),
        (always, ConsentDecision::once(), "reject_always"),
        (&["allow_always"], ConsentDecision::once(), "cancelled"),
    ];
    let turn = table
        .iter()
        .enumerate()
        .map(|(index, (options, ..))| ask(command(&format!("c{index}"), "make install"), options));
    let stage = Stage::new(&AcpScript::new([turn.collect()]));
    let mut talk = stage.start();
    for (options, decision, _) in table {
        let question = talk.question();
        let argv = ["sh", "-c", "make install"].map(str::to_owned).to_vec();
        assert_eq!((&question.tool, question.escalated), (&ToolUse::Command { argv }, true));
        assert_eq!(question.offers_session, options.contains(&"allow_always"));
        talk.answer(&question.item, decision);
        assert!(!talk.dialogue.answer(&question.item, decision), "the first answer counts");
    }
    let told = talk.wait();
    assert_eq!(told.verdict(None), AgentVerdict::Succeeded, "{told:#?}");
    let chosen =
        table.iter().map(|(_, _, chosen)| format!("chosen: {chosen}. ")).collect::<Vec<_>>().concat();
    let said: String = told.seen.iter().filter_map(delta).collect();
    assert_eq!(said, chosen);
    let expected = table.iter().enumerate().map(|(index, (_, _, chosen))| {
        let status = if chosen.starts_with("allow") { CallStatus::Succeeded } else { CallStatus::Declined };
        (format!("c{index}"), status)
    });
    assert_eq!(told.ended(), expected.collect::<Vec<_>>());
}

fn delta(observation: &AgentObservation) -> Option<&str> {
    match observation {
        AgentObservation::MessageDelta { text } => Some(text),
        _ => None,
    }
}

#[test]
fn an_interrupt_takes_questions_back_and_cancels_the_turn() {
    let turn = vec![ask(command("c1", "ls"), ONCE), AcpAction::AwaitCancel];
    let stage = Stage::new(&AcpScript::new([turn]));
    let mut talk = stage.start();
    let question = talk.question();
    assert_eq!(talk.dialogue.steer("Hurry."), Steered::NotSupported);
    assert!(talk.dialogue.interrupt());
    assert!(!talk.dialogue.answer(&question.item, &ConsentDecision::once()), "that came too late");
    talk.write();
    let told = talk.wait();
    assert_eq!(told.report.terminal, Terminal::Interrupted, "{told:#?}");
    assert_eq!(told.class(None), FailureClass::Cancelled);
    assert_eq!(told.ended(), [("c1".to_owned(), CallStatus::Declined)]);
}

#[test]
fn a_session_is_resumed_or_refused_and_never_replaced() {
    let old: ThreadId = ACP_OLD_SESSION.parse().unwrap();
    let gone: ThreadId = "s-gone".parse().unwrap();
    let turns = [vec![say("the present")]];
    for (load, resume) in [(true, false), (false, true), (true, true)] {
        let stage = Stage::new(&AcpScript { load, resume, ..AcpScript::new(turns.clone()) });
        let told = stage.start_as(Some(&old), None).wait();
        assert_eq!(told.verdict(Some(&old)), AgentVerdict::Succeeded, "{told:#?}");
        assert_eq!(told.seen.iter().filter_map(delta).collect::<Vec<_>>(), ["the present"]);
        let told = stage.start_as(Some(&gone), None).wait();
        assert_eq!(told.class(Some(&gone)), FailureClass::ThreadNotFound, "{told:#?}");
    }
    let told = Stage::new(&AcpScript::new(turns)).start_as(Some(&old), None).wait();
    assert_eq!(told.class(Some(&old)), FailureClass::ThreadNotFound, "{told:#?}");
    assert!(told.seen.iter().all(|seen| delta(seen).is_none()), "nothing was done");
}

#[test]
fn a_second_turn_runs_in_the_same_session() {
    let stage = Stage::new(&AcpScript::new([vec![say("one")], vec![say("two")]]));
    let mut talk = stage.start();
    assert!(talk.next_turn_end());
    assert!(talk.dialogue.continue_with("And again."));
    talk.write();
    let told = talk.wait();
    assert_eq!(told.verdict(None), AgentVerdict::Succeeded, "{told:#?}");
    assert_eq!(told.report.last_message.as_deref(), Some("two"));
}

#[test]
fn every_way_to_fail_has_its_class() {
    let version = |version: Value| AcpScript {
        initialize: Some(json!({ "protocolVersion": version })),
        ..AcpScript::default()
    };
    let turn = |action: AcpAction| AcpScript::new([vec![action]]);
    let stop = |reason: &str| turn(AcpAction::Stop { reason: reason.into() });
    let refuse = |code, message: &str| turn(AcpAction::Refuse { code, message: message.into() });
    let table = [
        (version(json!(2)), FailureClass::UnsupportedProtocol),
        (version(json!("1.0")), FailureClass::UnsupportedProtocol),
        (version(Value::Null), FailureClass::UnsupportedProtocol),
        (AcpScript { needs_login: true, ..AcpScript::default() }, FailureClass::NotAuthenticated),
        (stop("max_tokens"), FailureClass::TurnFailed),
        (stop("refusal"), FailureClass::TurnFailed),
        (refuse(-32603, "429 Too Many Requests"), FailureClass::RateLimited),
        (refuse(-32603, "whatever"), FailureClass::TurnFailed),
        (turn(AcpAction::Exit { code: 0 }), FailureClass::Truncated),
        (turn(AcpAction::Exit { code: 7 }), FailureClass::Truncated),
    ];
    for (script, class) in table {
        let told = Stage::new(&script).play();
        assert_eq!(told.class(None), class, "{script:?} {told:#?}");
    }
}

#[test]
fn an_agent_that_dies_in_mid_line_or_never_answers_is_told_as_such() {
    let turn = vec![
        AcpAction::Raw { text: r#"{"jsonrpc":"2.0","method":"sess"#.into() },
        AcpAction::Exit { code: 1 },
    ];
    let told = Stage::new(&AcpScript::new([turn])).play();
    assert!(told.report.truncated_last_line);
    assert_eq!((told.class(None), told.exit), (FailureClass::Truncated, AgentExit::Code { code: 1 }));

    let stage = Stage::new(&AcpScript::new([vec![say("wait"), AcpAction::Silence]]));
    let mut talk = stage.start();
    talk.until(|seen| delta(seen).map(str::to_owned));
    assert!(talk.dialogue.input_open(), "its answer is waited for");
    talk.child.kill().unwrap();
    assert_eq!(talk.wait().class(None), FailureClass::Killed { signal: 9 });
}

#[test]
fn garbage_and_floods_are_counted_and_bounded() {
    let garbage = "\u{1b}[31mnot json\n[1,2]\n{\"jsonrpc\":\"2.0\"}\n42\n";
    let ten_megabytes = format!("{{\"method\":\"x\",\"params\":[\"{}\"]}}\n", "y".repeat(10 * 1024 * 1024));
    let structure = format!("{}\n", "[".repeat(9 * 1024 * 1024));
    let raw = |text: String| AcpAction::Raw { text };
    let turn = vec![
        raw(garbage.into()),
        raw(ten_megabytes),
        raw(structure),
        AcpAction::Flood { bytes: 20_000_000 },
        say("!"),
    ];
    let told = Stage::new(&AcpScript::new([turn])).play();
    assert_eq!(told.verdict(None), AgentVerdict::Succeeded);
    let report = &told.report;
    assert_eq!((report.garbage_lines, report.overlong_lines), (4, 1));
    assert_eq!(report.unknown_types["x"], 1);
    assert!(report.last_message.as_ref().unwrap().len() <= 32 * 1024);
}

#[test]
fn what_cannot_be_shown_whole_is_refused_without_asking_anybody() {
    let long = "x".repeat(40_000);
    let turn = vec![ask(command("c1", &long), ONCE), ask(command("c2", "ls"), ONCE)];
    let stage = Stage::new(&AcpScript::new([turn]));
    let mut talk = stage.start_as(None, Some(SandboxMode::DangerFullAccess));
    let question = talk.question();
    assert_eq!((question.item.as_str(), question.escalated), ("c2", false), "the first was never asked");
    talk.answer(&question.item, &ConsentDecision::once());
    let told = talk.wait();
    let declined = ("c1".to_owned(), CallStatus::Declined);
    assert_eq!(told.ended(), [declined, ("c2".to_owned(), CallStatus::Succeeded)]);
    assert!(told.report.warnings[0].contains("too long"), "{:?}", told.report.warnings);
}

#[test]
fn a_title_is_never_taken_for_a_command_and_a_change_is_known_by_its_hash() {
    let titled = json!({"toolCallId": "c1", "title": "rm -rf /", "kind": "execute"});
    let edit = |path: &str| {
        json!({"toolCallId": path, "title": "Edit", "kind": "edit", "content": [
            {"type": "diff", "path": path, "oldText": "a", "newText": "b"},
        ]})
    };
    let stage = Stage::new(&AcpScript::new([Vec::new()]));
    let inside = stage.folder.path().join("in.txt");
    let inside = inside.to_str().unwrap();
    let turn = vec![ask(titled, ONCE), ask(edit(inside), ONCE), ask(edit("/etc/passwd"), ONCE)];
    AcpScript::new([turn]).write(stage.folder.path());
    let mut talk = stage.start();
    let titled = talk.question();
    let ToolUse::Other { name, input } = &titled.tool else { panic!("{titled:?}") };
    assert!(name == "rm -rf /" && input.contains("rm -rf /"), "{titled:?}");
    talk.answer(&titled.item, &ConsentDecision::declined(None));
    let mut hashes = Vec::new();
    for (path, escalated) in [("in.txt", false), ("/etc/passwd", true)] {
        let question = talk.question();
        let ToolUse::Patch { files } = &question.tool else { panic!("{question:?}") };
        assert_eq!((files[0].change.path.as_str(), question.escalated), (path, escalated));
        hashes.push(files[0].sha256.clone());
        talk.answer(&question.item, &ConsentDecision::declined(None));
    }
    assert_eq!(hashes[0], hashes[1], "the same change");
    assert_eq!(talk.wait().report.file_changes, []);
}

#[test]
fn what_cannot_be_started_is_refused_by_name() {
    let environment = |name: &str| (name == "PATH").then(|| OsString::from("/nowhere"));
    let request = |agent| AgentRequest::new(agent, "Do it.", Path::new("/work"), &environment);
    let prepare =
        |agent, request: &AgentRequest<'_>| driver_for(agent).and_then(|driver| driver.prepare(request));
    for agent in ["acp:", "acp:'", "acp"] {
        let error = prepare(agent, &request(agent)).unwrap_err();
        assert!(matches!(error, PrepareError::Command { .. }) && error.hint().is_some(), "{error}");
    }
    let error = prepare("acp:gemini --acp", &request("acp:gemini --acp")).unwrap_err();
    assert!(error.to_string().starts_with("agent program `gemini` was not found"), "{error}");
    assert!(error.hint().unwrap().contains("Agent Client Protocol"));
    let with_model = AgentRequest { model: Some("m"), ..request("acp:gemini") };
    assert_eq!(
        prepare("acp:gemini", &with_model).unwrap_err().to_string(),
        "agent `acp` does not take a model"
    );
    let error = prepare("claude", &request("claude")).unwrap_err();
    assert!(error.hint().unwrap().contains("@anthropic-ai/claude-code"), "{error}");
    let with_profile = AgentRequest { profile: Some("p"), ..request("claude") };
    assert!(matches!(prepare("claude", &with_profile), Err(PrepareError::Unsupported { .. })));
}

/// Reads pieces of output, answering every question with yes.
fn read(pieces: &[&[u8]]) -> (AgentReport, Vec<AgentObservation>) {
    let mut dialogue = Box::new(AcpDialogue::new(vec!["/work".into()]).with_prompt("Do it.", None));
    let mut seen = Vec::new();
    for piece in pieces {
        let before = seen.len();
        dialogue.push(piece, &mut |observation| seen.push(observation));
        for observation in &seen[before..] {
            if let AgentObservation::ConsentWanted(request) = observation {
                dialogue.answer(&request.item, &ConsentDecision::once());
            }
        }
        assert!(dialogue.outgoing().len() < 4 * 1024 * 1024);
    }
    let report = dialogue.finish(&mut |observation| seen.push(observation));
    (report, seen)
}

/// Returns what an agent prints in a turn with everything in it.
fn conversation() -> String {
    let update = |update: Value| json!({"jsonrpc": "2.0", "method": "session/update", "params": {"sessionId": "s-1", "update": update}});
    let text = |kind: &str, text: &str| {
        update(json!({"sessionUpdate": kind, "content": {"type": "text", "text": text}}))
    };
    let question = json!({"sessionId": "s-1", "toolCall": command("c1", "ls"), "options": [
        {"optionId": "y", "name": "yes", "kind": "allow_once"},
    ]});
    [
        json!({"jsonrpc": "2.0", "id": 0, "result": {"protocolVersion": 1}}),
        json!({"jsonrpc": "2.0", "id": 1, "result": {"sessionId": "s-1"}}),
        text("agent_thought_chunk", "hm"),
        text("agent_message_chunk", "äöü 😀"),
        json!({"jsonrpc": "2.0", "id": "q", "method": "session/request_permission", "params": question}),
        update(json!({"sessionUpdate": "tool_call_update", "toolCallId": "c1", "status": "completed"})),
        json!({"jsonrpc": "2.0", "id": 2, "method": "fs/read_text_file", "params": {}}),
        json!({"jsonrpc": "2.0", "id": 2, "result": {"stopReason": "end_turn"}}),
    ]
    .map(|message| format!("{message}\n"))
    .concat()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn where_the_bytes_are_cut_changes_nothing(cuts in prop::collection::vec(0_usize..1500, 0..12)) {
        let text = conversation();
        let (whole, seen_whole) = read(&text.split_inclusive('\n').map(str::as_bytes).collect::<Vec<_>>());
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(text.len())).collect();
        cuts.extend([0, text.len()]);
        cuts.sort_unstable();
        let pieces: Vec<&[u8]> = cuts.windows(2).map(|pair| &text.as_bytes()[pair[0]..pair[1]]).collect();
        let (report, seen) = read(&pieces);
        prop_assert_eq!(&report, &whole);
        let order_free = |seen: &[AgentObservation]| {
            let mut all: Vec<String> = seen.iter().map(|seen| serde_json::to_string(seen).unwrap()).collect();
            all.sort();
            all
        };
        prop_assert_eq!(order_free(&seen), order_free(&seen_whole));
        prop_assert_eq!(&report.terminal, &Terminal::Completed);
    }

    #[test]
    fn broken_bytes_never_panic_and_stay_bounded(
        changes in prop::collection::vec((0_usize..1500, any::<u8>()), 0..20),
        end in 0_usize..1500,
    ) {
        let bytes = broken(&conversation(), &changes, end);
        let (report, _) = read(&[&bytes]);
        prop_assert!(serde_json::to_vec(&report).unwrap().len() < 1024 * 1024);
    }
}

#[test]
fn a_session_is_given_the_servers_of_the_run() {
    let server = McpServer {
        name: "files".to_owned(),
        command: "/ours".into(),
        arguments: vec!["mcp".to_owned(), "bridge".to_owned()],
        environment: vec![("HOME".to_owned(), "/home/ann".to_owned())],
    };
    let servers = McpServers { given: vec![server], others: vec!["web".to_owned()] };
    let given = json!([{
        "name": "files", "command": "/ours", "args": ["mcp", "bridge"],
        "env": [{"name": "HOME", "value": "/home/ann"}],
    }]);
    for (thread, capabilities, method) in [
        (None, json!({}), "session/new"),
        (Some("old"), json!({"loadSession": true}), "session/load"),
        (Some("old"), json!({"sessionCapabilities": {"resume": {}}}), "session/resume"),
    ] {
        let thread = thread.map(|thread| thread.parse::<ThreadId>().unwrap());
        let mut dialogue = AcpDialogue::new(vec!["/work".into()])
            .with_mcp_servers(Some(&servers))
            .with_prompt("Do it.", thread.as_ref());
        let asked: Value = serde_json::from_slice(&dialogue.outgoing()).unwrap();
        let answer = json!({"jsonrpc": "2.0", "id": asked["id"], "result": {
            "protocolVersion": 1, "agentCapabilities": capabilities,
        }});
        dialogue.push(format!("{answer}\n").as_bytes(), &mut |_| {});
        let asked: Value = serde_json::from_slice(&dialogue.outgoing()).unwrap();
        assert_eq!(asked["method"], method);
        assert_eq!(asked["params"]["mcpServers"], given);
    }
}
