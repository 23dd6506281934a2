//! What the dialogue with `codex app-server` makes of a server that behaves, and of one that does not.

use std::path::Path;

use co_agents::{
    AgentExit, AgentObservation as Seen, AgentReport, AgentRequest, AgentVerdict, CodexServerDialogue,
    ConsentDecision, Dialogue, FailureClass, Steered, Terminal, ThreadId, Transcript, judge,
};
use co_model::{ApprovalPolicy, CallStatus, SandboxMode, ToolUse};
use proptest::prelude::*;
use serde_json::{Value, json};

/// Is what the real server 0.169 printed in a turn with a command, a declined patch and a message.
const TURN: &str = include_str!("../fixtures/app_server_turn.jsonl");
/// Is what it printed in a turn with a call of an MCP server's tool.
const MCP_TURN: &str = include_str!("../fixtures/app_server_mcp.jsonl");
/// Names the thread of the first fixture.
const THREAD: &str = "01a1fe44-c284-7952-99c2-4ad98c759772";

/// Reads `chunks` as all that a server printed.
fn read<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> (AgentReport, Vec<Seen>) {
    let mut transcript = Box::new(CodexServerDialogue::reading(vec!["/tree".into()]));
    let mut seen = Vec::new();
    for chunk in chunks {
        transcript.push(chunk, &mut |observation| seen.push(observation));
    }
    assert!(!transcript.input_open() && transcript.outgoing().is_empty(), "nobody is spoken to");
    let report = transcript.finish(&mut |observation| seen.push(observation));
    (report, seen)
}

/// Is a dialogue with a server that the test plays.
struct Table {
    dialogue: Box<CodexServerDialogue>,
    seen: Vec<Seen>,
    said: Vec<Value>,
}

impl Table {
    /// Begins a dialogue; nothing was answered yet.
    fn new(thread: Option<&ThreadId>) -> Self {
        let environment = |_: &str| None;
        let request = AgentRequest {
            thread,
            model: Some("m"),
            approval: Some(ApprovalPolicy::Untrusted),
            sandbox: Some(SandboxMode::WorkspaceWrite),
            ..AgentRequest::new("codex-app-server", "Do it.", Path::new("/tree"), &environment)
        };
        let dialogue = Box::new(CodexServerDialogue::new(&request));
        let mut table = Self { dialogue, seen: Vec::new(), said: Vec::new() };
        table.listen();
        table
    }

    /// Begins a dialogue and brings it into its first turn, with the id `u`, of the thread `t`.
    fn in_a_turn() -> Self {
        let mut table = Self::new(None);
        table.hear(&json!({"id": 1, "result": {"userAgent": "codex-orchestrator/0.169.0 (x)"}}));
        table.hear(&json!({"id": 2, "result": {"thread": {"id": "t"}, "approvalPolicy": "untrusted"}}));
        table.hear(&json!({"id": 3, "result": {"turn": {"id": "u"}}}));
        table.hear(&json!({"method": "turn/started", "params": {"threadId": "t", "turn": {"id": "u"}}}));
        table
    }

    fn hear(&mut self, message: &Value) {
        self.hear_text(&format!("{message}\n"));
    }

    fn hear_text(&mut self, text: &str) {
        self.dialogue.push(text.as_bytes(), &mut |observation| self.seen.push(observation));
        self.listen();
    }

    fn listen(&mut self) {
        let bytes = self.dialogue.outgoing();
        let lines = bytes.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
        self.said.extend(lines.map(|line| serde_json::from_slice::<Value>(line).unwrap()));
    }

    fn last(&self) -> &Value {
        self.said.last().unwrap()
    }

    fn wanted(&self) -> Vec<&str> {
        let wanted = self.seen.iter().filter_map(|seen| match seen {
            Seen::ConsentWanted(request) => Some(request.item.as_str()),
            _ => None,
        });
        wanted.collect()
    }

    fn ask_for_command(&mut self, id: u64, item: &str, command: &str) {
        let params =
            json!({"threadId": "t", "turnId": "u", "itemId": item, "command": command, "cwd": "/tree"});
        self.hear(&json!({"id": id, "method": "item/commandExecution/requestApproval", "params": params}));
    }

    fn end(self) -> (AgentReport, Vec<Seen>) {
        let mut seen = self.seen;
        let report = self.dialogue.finish(&mut |observation| seen.push(observation));
        (report, seen)
    }
}

fn methods(table: &Table) -> Vec<&str> {
    table.said.iter().filter_map(|message| message["method"].as_str()).collect()
}

#[track_caller]
fn class(report: &AgentReport, exit: AgentExit) -> FailureClass {
    match judge(report, exit, "", None) {
        AgentVerdict::Failed { class, .. } => class,
        AgentVerdict::Succeeded => panic!("accepted {report:?}"),
    }
}

const OK: AgentExit = AgentExit::Code { code: 0 };

#[test]
fn a_recorded_turn_is_read_without_anybody_who_speaks() {
    let (report, seen) = read([TURN.as_bytes()]);
    assert_eq!(report.thread_id.as_ref().unwrap().as_str(), THREAD);
    assert_eq!((&report.terminal, report.known_events), (&Terminal::Completed, TURN.lines().count() as u64));
    assert!(report.unknown_types.is_empty() && report.warnings.is_empty(), "{report:#?}");
    assert_eq!(report.last_message.as_deref(), Some("done"));
    assert_eq!(report.usage.unwrap().input, 300);
    let told: Vec<String> = seen
        .iter()
        .filter_map(|seen| match seen {
            Seen::ConsentWanted(request) => Some(format!("wanted {}", request.item)),
            Seen::CallStarted { item, .. } => Some(format!("started {item}")),
            Seen::CallFinished { item, outcome, .. } => Some(format!("{:?} {item}", outcome.status)),
            _ => None,
        })
        .collect();
    // How a consent was answered does not stand in what the server printed.
    let expected = [
        "wanted call_1",
        "started call_1",
        "Failed call_1",
        "wanted call_2",
        "started call_2",
        "Declined call_2",
    ];
    assert_eq!(told, expected);
    let (report, seen) = read([MCP_TURN.as_bytes()]);
    assert_eq!(report.terminal, Terminal::Completed);
    let mcp = seen.iter().any(
        |seen| matches!(seen, Seen::ConsentWanted(request) if matches!(request.tool, ToolUse::Mcp { .. })),
    );
    assert!(mcp, "{seen:#?}");
}

#[test]
fn a_cut_at_any_byte_changes_nothing_and_the_output_may_stop_there() {
    let expected = read([TURN.as_bytes()]);
    for at in (0..=TURN.len()).step_by(7) {
        let (left, right) = TURN.as_bytes().split_at(at);
        assert_eq!(read([left, right]), expected, "cut at byte {at}");
        let (report, _) = read([left]);
        assert!(at == TURN.len() || report.garbage_lines == 0, "{report:?}");
        if report.terminal != Terminal::Completed && report.known_events > 0 {
            assert_eq!(class(&report, OK), FailureClass::Truncated, "stopped at byte {at}");
        }
    }
    assert_eq!(read(TURN.as_bytes().chunks(1)), expected);
}

#[test]
fn the_end_of_a_recording_tells_what_it_can() {
    let (at, _) = TURN.match_indices('\n').nth(12).unwrap();
    let (report, seen) = read([&TURN.as_bytes()[at + 1..]]);
    assert_eq!(report.terminal, Terminal::Completed);
    assert!(report.usage.is_some() && seen.contains(&Seen::TurnCompleted));
}

#[test]
fn a_conversation_is_opened_with_what_the_request_says() {
    let table = Table::in_a_turn();
    assert_eq!(methods(&table), ["initialize", "initialized", "thread/start", "turn/start"]);
    assert_eq!(
        table.said[2]["params"],
        json!({"cwd": "/tree", "model": "m", "sandbox": "workspace-write", "approvalPolicy": "untrusted"})
    );
    assert_eq!(
        table.said[3]["params"],
        json!({"threadId": "t", "input": [{"type": "text", "text": "Do it."}]})
    );
    assert!(table.dialogue.input_open());
}

#[test]
fn another_thread_than_the_one_asked_for_is_not_spoken_to() {
    let asked: ThreadId = "t-7".parse().unwrap();
    let mut table = Table::new(Some(&asked));
    table.hear(&json!({"id": 1, "result": {"userAgent": "x/0.169.1"}}));
    assert_eq!(table.last()["params"]["threadId"], "t-7");
    table.hear(&json!({"id": 2, "result": {"thread": {"id": "t-8"}}}));
    assert!(!table.dialogue.input_open());
    assert_eq!(methods(&table), ["initialize", "initialized", "thread/resume"]);
    let (report, _) = table.end();
    let AgentVerdict::Failed { class, .. } = judge(&report, OK, "", Some(&asked)) else { panic!("accepted") };
    assert_eq!(class, FailureClass::ThreadMismatch);
}

#[test]
fn a_version_or_a_policy_that_differs_is_a_warning() {
    let mut table = Table::new(None);
    table.hear(&json!({"id": 1, "result": {"userAgent": "codex-orchestrator/0.1690.0 (x)"}}));
    let sandbox = json!({"type": "readOnly"});
    table.hear(
        &json!({"id": 2, "result": {"thread": {"id": "t"}, "approvalPolicy": "never", "sandbox": sandbox}}),
    );
    let (report, _) = table.end();
    let [version, approval, sandbox] = report.warnings.as_slice() else { panic!("{report:?}") };
    assert!(version.contains("0.1690.0"), "{version}");
    assert!(approval.contains("\"never\"") && approval.contains("\"untrusted\""), "{approval}");
    assert!(sandbox.contains("readOnly"), "{sandbox}");
}

#[test]
fn a_refusal_at_each_step_ends_the_conversation() {
    let error = |id: u64| json!({"id": id, "error": {"code": -32600, "message": "no"}});
    let steps = [
        json!({"id": 1, "result": {"userAgent": "x/0.169.1"}}),
        json!({"id": 2, "result": {"thread": {"id": "t"}}}),
    ];
    for refused in 1..=3 {
        let mut table = Table::new(None);
        for step in &steps[..refused - 1] {
            table.hear(step);
        }
        table.hear(&error(refused as u64));
        assert!(!table.dialogue.input_open());
        assert_eq!(table.dialogue.steer("x"), Steered::NotSupported);
        let (report, _) = table.end();
        assert!(
            matches!(&report.terminal, Terminal::Failed { message, .. } if message == "no"),
            "{report:?}"
        );
    }
}

#[test]
fn no_request_of_the_server_is_left_hanging() {
    let mut table = Table::in_a_turn();
    let said = table.said.len();
    let strange = [
        ("item/tool/call", json!({})),
        ("attestation/generate", json!(null)),
        ("applyPatchApproval", json!([])),
        ("something/new", json!({"deep": [1]})),
        ("item/tool/requestUserInput", json!({"questions": [{"id": "q", "question": "Which?"}]})),
        ("mcpServer/elicitation/request", json!({"serverName": "s", "mode": "url", "message": "Go there"})),
        (
            "mcpServer/elicitation/request",
            json!({"serverName": "s", "mode": "form", "message": "Who?", "requestedSchema": {"properties": {"name": {}}}}),
        ),
        ("item/fileChange/requestApproval", json!({"itemId": "never announced"})),
        ("item/commandExecution/requestApproval", json!({"itemId": "never announced"})),
    ];
    for (index, (method, params)) in strange.iter().enumerate() {
        table.hear(&json!({"id": format!("r{index}"), "method": method, "params": params}));
        assert_eq!(table.last()["id"], format!("r{index}"), "{method}");
    }
    assert_eq!(table.said.len() - said, strange.len());
    assert!(table.said[said..said + 4].iter().all(|answer| answer["error"]["code"] == -32601));
    assert_eq!(table.said[said + 4]["result"], json!({"answers": {}}));
    assert!(table.said[said + 5..said + 7].iter().all(|answer| answer["result"]["action"] == "decline"));
    assert!(table.said[said + 7..].iter().all(|answer| answer["result"]["decision"] == "decline"));
    assert!(table.wanted().is_empty());
    let (report, _) = table.end();
    assert_eq!(report.warnings.len(), strange.len(), "{:?}", report.warnings);
}

#[test]
fn permissions_are_given_as_asked_or_not_at_all() {
    let asked = json!({"network": {"enabled": true}, "fileSystem": null});
    let answers = [
        (ConsentDecision::once(), json!({"permissions": {"network": {"enabled": true}}, "scope": "turn"})),
        (
            ConsentDecision::for_session(),
            json!({"permissions": {"network": {"enabled": true}}, "scope": "session"}),
        ),
        (ConsentDecision::declined(None), json!({"permissions": {}, "scope": "turn"})),
    ];
    for (decision, expected) in answers {
        let mut table = Table::in_a_turn();
        let params = json!({"itemId": "i", "cwd": "/tree", "reason": "to fetch", "permissions": asked});
        table.hear(&json!({"id": 0, "method": "item/permissions/requestApproval", "params": params}));
        let Some(Seen::ConsentWanted(request)) = table.seen.last() else { panic!("{:?}", table.seen) };
        assert!(request.escalated && request.offers_session);
        let input = r#"{"network":{"enabled":true}}"#.to_owned();
        assert_eq!(request.tool, ToolUse::Other { name: "permissions".into(), input });
        assert!(table.dialogue.answer("i", &decision));
        table.listen();
        assert_eq!(*table.last(), json!({"id": 0, "result": expected}));
    }
}

#[test]
fn what_cannot_be_shown_whole_is_declined() {
    let mut table = Table::in_a_turn();
    table.ask_for_command(5, "long", &format!("echo {}", "x".repeat(40_000)));
    assert_eq!(*table.last(), json!({"id": 5, "result": {"decision": "decline"}}));
    let patch = |id: &str, bytes: usize| {
        let change = json!({"path": "/tree/a", "kind": {"type": "add"}, "diff": "x".repeat(bytes)});
        let item = json!({"type": "fileChange", "id": id, "changes": [change], "status": "inProgress"});
        json!({"method": "item/started", "params": {"threadId": "t", "item": item}})
    };
    let ask = |id: u64, item: &str| json!({"id": id, "method": "item/fileChange/requestApproval", "params": {"itemId": item}});
    table.hear(&patch("huge", 300_000));
    table.hear(&ask(6, "huge"));
    assert_eq!(*table.last(), json!({"id": 6, "result": {"decision": "decline"}}));
    assert!(table.wanted().is_empty());
    table.hear(&patch("large", 100_000));
    table.hear(&ask(7, "large"));
    assert_eq!(table.wanted(), ["large"], "a diff is hashed, and needs no room of its own");
}

#[test]
fn a_patch_is_consented_to_as_it_was_shown_last() {
    let mut table = Table::in_a_turn();
    let changes = |diff: &str| json!([{"path": "/tree/a", "kind": {"type": "add"}, "diff": diff}]);
    let item = json!({"type": "fileChange", "id": "p", "changes": changes("one"), "status": "inProgress"});
    table.hear(&json!({"method": "item/started", "params": {"threadId": "t", "item": item}}));
    let params = json!({"threadId": "t", "itemId": "p", "changes": changes("two")});
    table.hear(&json!({"method": "item/fileChange/patchUpdated", "params": params}));
    let ask = |id| json!({"id": id, "method": "item/fileChange/requestApproval", "params": {"itemId": "p", "grantRoot": "/"}});
    table.hear(&ask(9));
    let Some(Seen::ConsentWanted(request)) = table.seen.last() else { panic!("{:?}", table.seen) };
    let ToolUse::Patch { files } = &request.tool else { panic!("{request:?}") };
    // The SHA-256 of `two`.
    assert_eq!(files[0].sha256, "3fc4ccfe745870e2c0d99f71f30ff0656c8dedd41cc1d7d3d376b0dbe685e2f3");
    assert!(request.escalated && !request.offers_session, "a whole folder is asked for besides");
    assert!(request.reason.as_deref().unwrap().contains("every change under /"));
    assert!(table.dialogue.answer("p", &ConsentDecision::for_session()));
    table.listen();
    assert_eq!(table.last()["result"]["decision"], "accept", "what was not offered is consent for once");
}

#[test]
fn a_consent_that_the_server_settles_itself_is_closed() {
    let mut table = Table::in_a_turn();
    table.ask_for_command(0, "a", "ls");
    table.ask_for_command(1, "a", "ls -l");
    let [first, second] = table.wanted()[..] else { panic!("{:?}", table.wanted()) };
    assert_ne!(first, second);
    let (first, second) = (first.to_owned(), second.to_owned());
    table.hear(&json!({"method": "serverRequest/resolved", "params": {"threadId": "t", "requestId": 0}}));
    assert_eq!(table.seen.last(), Some(&Seen::ConsentClosed { item: first.clone() }));
    assert!(!table.dialogue.answer(&first, &ConsentDecision::once()));
    let turn = json!({"id": "u", "status": "failed", "error": {"message": "boom", "codexErrorInfo": "usageLimitExceeded"}});
    table.hear(&json!({"method": "turn/completed", "params": {"threadId": "t", "turn": turn}}));
    assert!(table.seen.contains(&Seen::ConsentClosed { item: second }));
    assert!(!table.dialogue.input_open() && !table.dialogue.interrupt());
    let (report, _) = table.end();
    assert_eq!(class(&report, OK), FailureClass::UsageLimit);
}

#[test]
fn what_is_said_before_the_turn_runs_waits_for_it() {
    let mut table = Table::new(None);
    assert_eq!(table.dialogue.steer("Also that."), Steered::Delivered);
    table.hear(&json!({"id": 1, "result": {"userAgent": "x/0.169.1"}}));
    table.hear(&json!({"id": 2, "result": {"thread": {"id": "t"}}}));
    assert!(table.dialogue.interrupt());
    table.listen();
    assert_eq!(methods(&table).last(), Some(&"turn/start"));
    table.hear(&json!({"id": 3, "result": {"turn": {"id": "u"}}}));
    assert_eq!(methods(&table)[4..], ["turn/steer", "turn/interrupt"]);
    assert_eq!(table.said[4]["params"]["expectedTurnId"], "u");
    table.hear(&json!({"id": 4, "error": {"message": "not now"}}));
    let (report, _) = table.end();
    assert_eq!(report.warnings, ["the agent did not take a message: not now"]);

    let mut early = Table::new(None);
    assert!(early.dialogue.interrupt() && !early.dialogue.input_open());
    early.hear(&json!({"id": 1, "result": {"userAgent": "x/0.169.1"}}));
    assert_eq!(methods(&early), ["initialize"]);
    assert_eq!(class(&early.end().0, OK), FailureClass::Cancelled);
}

#[test]
fn the_end_of_an_earlier_turn_does_not_end_the_next_one() {
    let mut table = Table::in_a_turn();
    let ended = |turn: &str| json!({"method": "turn/completed", "params": {"threadId": "t", "turn": {"id": turn, "status": "completed"}}});
    table.hear(&ended("earlier"));
    assert!(table.dialogue.input_open());
    table.hear(&ended("u"));
    assert!(!table.dialogue.input_open());
    assert!(table.dialogue.continue_with("More."));
    assert_eq!(table.dialogue.steer("And that."), Steered::Delivered);
    table.listen();
    table.hear(&json!({"id": 4, "result": {"turn": {"id": "v"}}}));
    assert_eq!(
        (table.last()["method"].as_str(), table.last()["params"]["expectedTurnId"].as_str()),
        (Some("turn/steer"), Some("v"))
    );
    assert!(!table.seen.contains(&Seen::SteerTaken), "it is not heard before the server says so");
    table.hear(&json!({"id": 5, "result": {"turnId": "v"}}));
    assert_eq!(table.seen.last(), Some(&Seen::SteerTaken));
    table.hear(&ended("u"));
    assert!(table.dialogue.input_open());
    table.hear(&ended("v"));
    assert!(!table.dialogue.input_open());
    assert_eq!(table.end().0.terminal, Terminal::Completed);
}

#[test]
fn what_other_threads_say_is_not_ours_and_what_they_do_counts() {
    let mut table = Table::in_a_turn();
    let message = json!({"type": "agentMessage", "id": "m", "text": "theirs"});
    table.hear(&json!({"method": "item/completed", "params": {"threadId": "other", "item": message}}));
    table.hear(&json!({"method": "turn/completed", "params": {"threadId": "other", "turn": {"status": "completed"}}}));
    let command = json!({"type": "commandExecution", "id": "c", "command": "ls", "processId": "1", "status": "inProgress"});
    table.hear(&json!({"method": "item/started", "params": {"threadId": "other", "item": command}}));
    assert!(table.dialogue.input_open());
    let (report, seen) = table.end();
    assert_eq!((report.last_message, report.terminal, report.commands.len()), (None, Terminal::Missing, 1));
    let lost = |seen: &Seen| matches!(seen, Seen::CallFinished { outcome, .. } if outcome.status == CallStatus::Lost);
    assert!(seen.last().is_some_and(lost));
}

#[test]
fn output_is_told_on_up_to_a_bound() {
    let mut table = Table::in_a_turn();
    let command = json!({"type": "commandExecution", "id": "c", "command": "yes", "processId": null, "status": "inProgress"});
    table.hear(&json!({"method": "item/started", "params": {"threadId": "t", "item": command}}));
    for _ in 0..100 {
        let params = json!({"threadId": "t", "itemId": "c", "delta": "y".repeat(8192)});
        table.hear(&json!({"method": "item/commandExecution/outputDelta", "params": params}));
    }
    let told: usize = table
        .seen
        .iter()
        .filter_map(|seen| match seen {
            Seen::OutputDelta { text, .. } => Some(text.len()),
            _ => None,
        })
        .sum();
    assert_eq!(told, 256 * 1024);
}

#[test]
fn lines_without_end_and_lines_of_nonsense_are_read_through() {
    let mut table = Table::in_a_turn();
    table.hear_text("Usage: something else\n{\"id\":{}}\n\n");
    table.hear_text(&format!("{}\n", "[".repeat(2_000_000)));
    let params =
        json!({"threadId": "t", "item": {"type": "agentMessage", "id": "m", "text": "z".repeat(10_000_000)}});
    table.hear(&json!({"method": "item/completed", "params": params}));
    table.hear(&json!({"method": "brand/new", "params": {}}));
    table.hear(&json!({"id": 99, "result": {}}));
    let (report, _) = table.end();
    assert_eq!((report.garbage_lines, report.overlong_lines), (2, 1));
    assert!(report.last_message.unwrap().len() <= 32 * 1024);
    let types: Vec<_> = report.unknown_types.keys().map(String::as_str).collect();
    assert_eq!(types, ["brand/new", "response"]);
    assert_eq!(
        class(&AgentReport { thread_id: None, ..read([b"no\nserver\n".as_slice()]).0 }, OK),
        FailureClass::Garbage
    );
}

#[test]
fn a_server_that_asks_without_end_is_bounded() {
    let mut table = Table::in_a_turn();
    for id in 0..1000 {
        table.ask_for_command(id, &format!("c{id}"), "ls");
    }
    assert_eq!(table.wanted().len(), 128);
    let declined = table.said.iter().filter(|said| said["result"]["decision"] == "decline").count();
    assert_eq!(declined, 1000 - 128);
}

/// Makes messages and pieces of messages, so that the reader is led deep before it stumbles.
fn piece() -> impl Strategy<Value = Vec<u8>> {
    let lines: Vec<&str> = TURN.lines().chain(MCP_TURN.lines()).collect();
    let strange = prop::sample::select(vec![
        "{\"id\":0,\"method\":\"item/commandExecution/requestApproval\",\"params\":{\"itemId\":\"call_1\",\"command\":",
        "{\"id\":\"x\",\"method\":\"item/fileChange/requestApproval\",\"params\":{\"itemId\":\"call_2\"}}\n",
        "{\"id\":7,\"method\":\"item/permissions/requestApproval\",\"params\":7}\n",
        "{\"id\":7,\"method\":\"mcpServer/elicitation/request\",\"params\":{\"mode\":\"form\",\"requestedSchema\":{\"properties\":{}}}}\n",
        "{\"method\":\"item/started\",\"params\":{\"item\":{\"type\":\"fileChange\",\"id\":\"",
        "{\"method\":\"serverRequest/resolved\",\"params\":{\"requestId\":0}}\n",
        "{\"method\":\"turn/completed\",\"params\":null}\n",
        "{\"method\":\"error\",\"params\":{\"error\":[]}}\n",
        "{\"id\":2,\"result\":{\"thread\":{\"id\":\"--last\"}}}\n",
        "{\"id\":1,\"error\":null}\n",
        "\"}}}\n",
        "null}}\n",
        "\"",
        "\\",
        "\n",
    ]);
    prop_oneof![
        4 => prop::sample::select(lines).prop_map(|line| format!("{line}\n").into_bytes()),
        3 => strange.prop_map(|text| text.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..20),
        1 => (any::<u8>(), 1_usize..250_000).prop_map(|(byte, length)| vec![byte; length]),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn any_cutting_of_any_lines_gives_the_same(
        pieces in prop::collection::vec(piece(), 0..30),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..30),
    ) {
        let bytes = pieces.concat();
        let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        places.extend([0, bytes.len()]);
        places.sort_unstable();
        prop_assert_eq!(read(places.windows(2).map(|pair| &bytes[pair[0]..pair[1]])), read([bytes.as_slice()]));
    }

    #[test]
    fn whatever_comes_and_whatever_is_said_nothing_panics_and_every_message_is_json(
        pieces in prop::collection::vec((piece(), 0_u8..6), 0..40),
    ) {
        let mut table = Table::in_a_turn();
        for (bytes, says) in pieces {
            table.dialogue.push(&bytes, &mut |seen| table.seen.push(seen));
            let item = table.wanted().last().map(|&item| item.to_owned()).unwrap_or_default();
            match says {
                0 => { table.dialogue.answer(&item, &ConsentDecision::once()); }
                1 => { table.dialogue.answer(&item, &ConsentDecision::declined(None)); }
                2 => { table.dialogue.interrupt(); }
                3 => { table.dialogue.continue_with("More."); }
                4 => { let _ = table.dialogue.steer("Hm."); }
                _ => {}
            }
            table.listen();
        }
        let (report, _) = table.end();
        prop_assert!(serde_json::to_vec(&report).unwrap().len() < 16 * 1024 * 1024);
    }
}
