//! Claude Code's stream, as it is and as it must not be, without the program.

use crate::fuzz::broken;
use co_agents::{
    AgentObservation, AgentReport, ClaudeDialogue, ConsentDecision, ConsentRequest, Dialogue, FailureClass,
    Steered, Terminal, Transcript,
};
use co_model::{CallStatus, ChangeKind, ToolUse};
use proptest::prelude::*;
use serde_json::{Value, json};

/// Is a dialogue of which everything is kept.
struct Session {
    dialogue: Box<ClaudeDialogue>,
    seen: Vec<AgentObservation>,
}

impl Session {
    fn new() -> Self {
        let mut dialogue = Box::new(ClaudeDialogue::new(vec!["/work".into()]).with_prompt("Do it."));
        assert!(String::from_utf8(dialogue.outgoing()).unwrap().contains("Do it."));
        Self { dialogue, seen: Vec::new() }
    }

    fn push(&mut self, bytes: &[u8]) {
        let seen = &mut self.seen;
        self.dialogue.push(bytes, &mut |observation| seen.push(observation));
    }

    fn line(&mut self, line: &Value) {
        self.push(format!("{line}\n").as_bytes());
    }

    /// Returns what is said next, parsed.
    fn said(&mut self) -> Vec<Value> {
        let bytes = self.dialogue.outgoing();
        let lines = bytes.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
        lines.map(|line| serde_json::from_slice(line).unwrap()).collect()
    }

    fn questions(&self) -> Vec<&ConsentRequest> {
        let mut questions = Vec::new();
        for seen in &self.seen {
            if let AgentObservation::ConsentWanted(request) = seen {
                questions.push(&**request);
            }
        }
        questions
    }

    fn end(mut self) -> (AgentReport, Vec<AgentObservation>) {
        let report = self.dialogue.finish(&mut |observation| self.seen.push(observation));
        (report, self.seen)
    }
}

fn init() -> Value {
    json!({"type": "system", "subtype": "init", "session_id": "s-1"})
}

fn call(id: &str, name: &str, input: &Value) -> Value {
    let block = json!({"type": "tool_use", "id": id, "name": name, "input": input});
    json!({"type": "assistant", "message": {"content": [block]}, "parent_tool_use_id": null})
}

fn wants(request: &str, id: &str, name: &str, input: &Value) -> Value {
    let asked = json!({"subtype": "can_use_tool", "tool_name": name, "input": input, "tool_use_id": id});
    json!({"type": "control_request", "request_id": request, "request": asked})
}

fn result_of(id: &str, text: &str, more: &Value) -> Value {
    let block = json!({"type": "tool_result", "tool_use_id": id, "content": text});
    json!({"type": "user", "message": {"content": [block]}, "tool_use_result": more})
}

fn success() -> Value {
    json!({"type": "result", "subtype": "success", "is_error": false, "result": "done", "total_cost_usd": 0.5,
           "usage": {"input_tokens": 1, "cache_read_input_tokens": 2, "cache_creation_input_tokens": 4, "output_tokens": 8},
           "modelUsage": {"a": {"inputTokens": 10, "outputTokens": 1, "cacheReadInputTokens": 5},
                          "b": {"inputTokens": 20, "outputTokens": 2, "thinkingTokens": 3}}})
}

#[test]
fn the_same_change_is_the_same_in_every_line_that_speaks_of_it() {
    let mut session = Session::new();
    session.line(&init());
    // Claude Code writes a path as the model did in one line, and whole in the other, in another order of fields.
    session.line(&call(
        "t1",
        "Edit",
        &json!({"replace_all": false, "file_path": "a.txt", "old_string": "x", "new_string": "y"}),
    ));
    session.line(&wants(
        "r1",
        "t1",
        "Edit",
        &json!({"file_path": "/work/a.txt", "old_string": "x", "new_string": "y", "replace_all": false}),
    ));
    session.line(&wants(
        "r2",
        "t2",
        "Edit",
        &json!({"file_path": "/work/a.txt", "old_string": "x", "new_string": "y", "replace_all": true}),
    ));
    session.line(&wants("r3", "t3", "Write", &json!({"file_path": "/work/../etc/passwd", "content": "y"})));
    session.line(&wants("r4", "t4", "mcp__files__delete__all", &json!({"path": "/"})));
    let questions = session.questions();
    let hash = |index: usize| match &questions[index].tool {
        ToolUse::Patch { files } => files[0].sha256.clone(),
        other => panic!("{other:?}"),
    };
    assert_ne!(hash(0), hash(1), "one word more");
    assert_eq!(
        questions.iter().map(|question| question.escalated).collect::<Vec<_>>(),
        [false, false, true, false]
    );
    let ToolUse::Mcp { server, name, .. } = &questions[3].tool else { panic!("{:?}", questions[3]) };
    assert_eq!((server.as_str(), name.as_str()), ("files", "delete__all"));
    let asked = questions[0].tool.clone();
    assert!(session.dialogue.answer("t1", &ConsentDecision::once()));
    session.line(&result_of("t1", "ok", &Value::Null));
    let started = session.seen.iter().find_map(|seen| match seen {
        AgentObservation::CallStarted { item, tool, .. } if item == "t1" => Some(tool.clone()),
        _ => None,
    });
    assert_eq!(started, Some(asked));
}

#[test]
fn answers_say_what_was_decided_and_change_nothing() {
    let mut session = Session::new();
    session.line(&wants("r1", "t1", "Bash", &json!({"command": "make"})));
    session.line(&wants("r2", "t2", "Bash", &json!({"command": "make"})));
    assert!(session.dialogue.answer("t1", &ConsentDecision::for_session()));
    assert!(session.dialogue.answer("t2", &ConsentDecision::declined(Some("no".into()))));
    assert!(!session.dialogue.answer("t3", &ConsentDecision::once()));
    let said: Vec<Value> = session.said().into_iter().map(|line| line["response"].clone()).collect();
    let expected = [
        json!({"subtype": "success", "request_id": "r1", "response": {"behavior": "allow"}}),
        json!({"subtype": "success", "request_id": "r2", "response": {"behavior": "deny", "message": "no"}}),
    ];
    assert_eq!(said, expected);
}

#[test]
fn no_request_is_left_without_an_answer() {
    let mut session = Session::new();
    let long = json!({"command": "x".repeat(40_000)});
    session.line(&wants("long", "t1", "Bash", &long));
    session.line(&wants("huge", "t2", "Write", &json!({"file_path": "a", "content": "x".repeat(5_000_000)})));
    session.line(&wants("first", "t3", "Bash", &json!({"command": "ls"})));
    session.line(&wants("again", "t3", "Bash", &json!({"command": "rm"})));
    session.line(&wants("nameless", "", "Bash", &json!({"command": "ls"})));
    session.line(
        &json!({"type": "control_request", "request_id": "hook", "request": {"subtype": "hook_callback"}}),
    );
    session.line(&json!({"type": "control_request", "request_id": "odd"}));
    let answers = |said: Vec<Value>| -> Vec<(String, String)> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let answer = |line: &Value| {
            (text(&line["response"]["request_id"]), text(&line["response"]["response"]["behavior"]))
        };
        said.iter().map(answer).collect()
    };
    let pair = |id: &str, behavior: &str| (id.to_owned(), behavior.to_owned());
    let expected = [
        pair("long", "deny"),
        pair("huge", "deny"),
        pair("again", "deny"),
        pair("nameless", "deny"),
        pair("hook", ""),
        pair("odd", ""),
    ];
    assert_eq!(answers(session.said()), expected);
    assert_eq!(session.questions().len(), 1, "only one of them was asked");
    // A file of megabytes is known by its hash, so it can be asked for.
    session.line(&wants(
        "large",
        "t4",
        "Write",
        &json!({"file_path": "a", "content": "x".repeat(1_000_000)}),
    ));
    assert_eq!(session.questions().len(), 2);
    session.line(&json!({"type": "control_cancel_request", "request_id": "first"}));
    assert!(!session.dialogue.answer("t3", &ConsentDecision::once()), "it was taken back");
}

#[test]
fn too_many_open_questions_are_refused() {
    let mut session = Session::new();
    for index in 0..100 {
        session.line(&wants(&format!("r{index}"), &format!("t{index}"), "Bash", &json!({"command": "ls"})));
    }
    assert_eq!((session.questions().len(), session.said().len()), (64, 36));
}

#[test]
fn a_turn_is_summed_up_with_its_tokens_cost_and_files() {
    let mut session = Session::new();
    session.line(&init());
    session.line(&call("t1", "Write", &json!({"file_path": "/work/new.txt", "content": "x"})));
    session.line(&result_of("t1", "ok", &json!({"type": "create"})));
    session.line(&call("t2", "Bash", &json!({"command": "false"})));
    let failed =
        json!({"type": "tool_result", "tool_use_id": "t2", "is_error": true, "content": "Exit code 1\nno"});
    session.line(&json!({"type": "user", "message": {"content": [failed]}}));
    let helper = json!({"type": "text", "text": "from a helper"});
    session.line(&json!({"type": "assistant", "message": {"content": [helper]}, "parent_tool_use_id": "t9"}));
    session.line(&json!({"type": "assistant", "message": {"content": [{"type": "text", "text": "mine"}]}}));
    session.line(&json!({"type": "strange"}));
    session.line(&json!({"type": "system", "subtype": "strange"}));
    assert!(session.dialogue.input_open());
    session.line(&success());
    assert!(!session.dialogue.input_open());
    assert_eq!(session.dialogue.steer("too late"), Steered::NotSupported);
    assert!(!session.dialogue.interrupt());
    let (report, _) = session.end();
    assert_eq!(report.terminal, Terminal::Completed);
    assert_eq!(report.last_message.as_deref(), Some("mine"));
    assert_eq!(report.cost_microdollars, Some(500_000));
    let usage = report.usage.unwrap();
    assert_eq!((usage.input, usage.cached_input, usage.output, usage.reasoning_output), (35, 5, 3, 3));
    assert_eq!((report.file_changes.len(), report.file_changes[0].kind), (1, ChangeKind::Add));
    let ended = report.commands[0].outcome.clone().unwrap();
    assert_eq!((ended.status, ended.exit_code), (CallStatus::Failed, Some(1)));
    assert_eq!(report.unknown_types.keys().collect::<Vec<_>>(), ["strange", "system:strange"]);
}

#[test]
fn a_message_that_came_too_late_for_a_turn_makes_one_of_its_own() {
    let mut session = Session::new();
    session.line(&init());
    assert_eq!(session.dialogue.steer("and that"), Steered::Delivered);
    session.line(&success());
    assert!(session.dialogue.input_open(), "the message was not taken up yet");
    session.line(&init());
    // The prompt is echoed too; only the message counts.
    session.line(&json!({"type": "user", "message": {"content": "Do it."}, "isReplay": true}));
    assert!(!session.seen.contains(&AgentObservation::SteerTaken));
    let echo = json!([{"type": "text", "text": "and that"}]);
    session.line(&json!({"type": "user", "message": {"content": echo}, "isReplay": true}));
    assert!(session.seen.contains(&AgentObservation::SteerTaken));
    session.line(&success());
    assert!(!session.dialogue.input_open());
    assert!(session.dialogue.continue_with("once more") && session.dialogue.input_open());
}

#[test]
fn failures_are_told_apart_by_what_is_said_beside_the_message() {
    let table = [
        (json!({"api_error_status": 401}), Some(FailureClass::NotAuthenticated)),
        (json!({"api_error_status": 429}), Some(FailureClass::RateLimited)),
        (
            json!({"api_error_status": 429, "result": "Claude usage limit reached"}),
            Some(FailureClass::UsageLimit),
        ),
        (
            json!({"api_error_status": 400, "result": "Your credit balance is too low"}),
            Some(FailureClass::UsageLimit),
        ),
        (json!({"api_error_status": 400}), Some(FailureClass::InvalidRequest)),
        (json!({"api_error_status": 529}), Some(FailureClass::ModelOverloaded)),
        (
            json!({"api_error_status": 400, "terminal_reason": "prompt_too_long"}),
            Some(FailureClass::ContextExceeded),
        ),
        (json!({"api_error": "connection_failed"}), Some(FailureClass::StreamDisconnected)),
        (json!({"subtype": "error_max_turns", "errors": ["Reached maximum number of turns (1)"]}), None),
        (json!({"errors": ["No conversation found with session ID: x"]}), Some(FailureClass::ThreadNotFound)),
    ];
    for (more, class) in table {
        let mut session = Session::new();
        let mut result = json!({"type": "result", "subtype": "success", "is_error": true, "result": "words"});
        result.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        session.line(&result);
        let (report, _) = session.end();
        let Terminal::Failed { class: found, message } = report.terminal else { panic!("{more}") };
        assert!(found == class && !message.is_empty(), "{more}: {found:?} {message}");
    }
}

#[test]
fn lines_of_megabytes_and_garbage_are_bounded_and_counted() {
    let mut session = Session::new();
    session.line(&call("t1", "Bash", &json!({"command": "cat"})));
    session.line(&result_of("t1", &"x".repeat(10 * 1024 * 1024), &Value::Null));
    session.push(&b"[".repeat(9 * 1024 * 1024));
    session.push(b"\nnot json\n\xff\xfe\n[]\n{\"no\":\"type\"}\n");
    session.push(b"{\"type\":\"resu");
    let (report, seen) = session.end();
    assert_eq!((report.overlong_lines, report.garbage_lines, report.truncated_last_line), (1, 4, true));
    let longest = seen.iter().map(|seen| serde_json::to_vec(seen).unwrap().len()).max().unwrap();
    assert!(longest < 64 * 1024, "{longest}");
}

/// Returns what Claude Code prints in a turn with everything in it.
fn conversation() -> String {
    let piece = json!({"type": "text_delta", "text": "äöü 😀"});
    [
        init(),
        json!({"type": "stream_event", "event": {"type": "content_block_delta", "delta": piece}}),
        call("t1", "Bash", &json!({"command": "ls"})),
        wants("r1", "t1", "Bash", &json!({"command": "ls"})),
        result_of("t1", "a\nb", &Value::Null),
        json!({"type": "assistant", "message": {"content": [{"type": "text", "text": "done"}]}}),
        success(),
    ]
    .map(|line| format!("{line}\n"))
    .concat()
}

fn play(pieces: &[&[u8]]) -> (AgentReport, Vec<AgentObservation>) {
    let mut session = Session::new();
    for piece in pieces {
        session.push(piece);
    }
    session.end()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn where_the_bytes_are_cut_changes_nothing(cuts in prop::collection::vec(0_usize..1500, 0..12)) {
        let text = conversation();
        let whole = play(&[text.as_bytes()]);
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(text.len())).collect();
        cuts.extend([0, text.len()]);
        cuts.sort_unstable();
        let pieces: Vec<&[u8]> = cuts.windows(2).map(|pair| &text.as_bytes()[pair[0]..pair[1]]).collect();
        prop_assert_eq!(play(&pieces), whole);
    }

    #[test]
    fn broken_bytes_never_panic_and_stay_bounded(
        changes in prop::collection::vec((0_usize..1500, any::<u8>()), 0..20),
        end in 0_usize..1500,
    ) {
        let bytes = broken(&conversation(), &changes, end);
        let (report, _) = play(&[&bytes]);
        prop_assert!(serde_json::to_vec(&report).unwrap().len() < 1024 * 1024);
    }
}
