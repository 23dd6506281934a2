//! What each event of Codex becomes, however its bytes are cut.

use std::path::PathBuf;

use co_agents::observation::TodoItem;
use co_agents::{
    AgentObservation as Seen, AgentReport, CodexTranscript, CommandRecord, Terminal, Transcript,
};
use co_model::{CallOutcome, CallStatus, ChangeKind, FileChange, PatchedFile, TokenUsage, ToolUse};
use proptest::prelude::*;

/// Reads `chunks` as an agent's whole output; the agent works in `/tree` (really `/real/tree`).
pub(crate) fn read<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> (AgentReport, Vec<Seen>) {
    let roots = vec![PathBuf::from("/tree"), PathBuf::from("/real/tree")];
    let mut transcript = Box::new(CodexTranscript::new(roots));
    let mut seen = Vec::new();
    for chunk in chunks {
        transcript.push(chunk, &mut |observation| seen.push(observation));
    }
    let report = transcript.finish(&mut |observation| seen.push(observation));
    (report, seen)
}

fn read_text(text: &str) -> (AgentReport, Vec<Seen>) {
    read([text.as_bytes()])
}

fn usage() -> TokenUsage {
    TokenUsage { input: 300, cached_input: 30, output: 60, reasoning_output: 15 }
}

fn command(argv: &[&str]) -> ToolUse {
    ToolUse::Command { argv: argv.iter().map(|&word| word.to_owned()).collect() }
}

/// Is a file as `codex exec` tells of it: the hash is that of `<kind> <path>`, for no contents are shown.
fn patched(path: &str, kind: ChangeKind, sha256: &str) -> PatchedFile {
    PatchedFile { change: FileChange { path: path.into(), kind }, sha256: sha256.into() }
}

fn ended(status: CallStatus) -> CallOutcome {
    CallOutcome { status, exit_code: None, duration: None, detail: None }
}

fn started(item: &str, tool: &ToolUse) -> Seen {
    Seen::CallStarted { item: item.into(), tool: tool.clone(), cwd: None }
}

fn finished(item: &str, tool: &ToolUse, outcome: CallOutcome) -> Seen {
    Seen::CallFinished { item: item.into(), tool: tool.clone(), outcome }
}

/// Is a whole turn with every kind of item that Codex 0.169 prints, some lines as it printed them.
const WHOLE_TURN: &str = r#"{"type":"thread.started","thread_id":"01a1fd89-a1f7-74a0-a296-344be8b47ac2"}
{"type":"item.completed","item":{"id":"item_0","type":"error","message":"Model metadata for `x` not found."}}
{"type":"turn.started"}
{"type":"item.completed","item":{"id":"item_1","type":"reasoning","text":"**Thinking** – ä"}}
{"type":"item.started","item":{"id":"item_2","type":"command_execution","command":"/bin/bash -lc 'cat a'","aggregated_output":"","exit_code":null,"status":"in_progress"}}
{"type":"item.completed","item":{"id":"item_2","type":"command_execution","command":"/bin/bash -lc 'cat a'","aggregated_output":"😀\n","exit_code":0,"status":"completed"}}
{"type":"item.started","item":{"id":"item_3","type":"file_change","changes":[{"path":"/tree/new.txt","kind":"add"},{"path":"/elsewhere/out.txt","kind":"update"}],"status":"in_progress"}}
{"type":"item.completed","item":{"id":"item_3","type":"file_change","changes":[{"path":"/tree/new.txt","kind":"add"},{"path":"/elsewhere/out.txt","kind":"update"}],"status":"completed"}}
{"type":"item.started","item":{"id":"item_4","type":"mcp_tool_call","server":"files","tool":"list","arguments":{},"result":null,"error":null,"status":"in_progress"}}
{"type":"item.completed","item":{"id":"item_4","type":"mcp_tool_call","server":"files","tool":"list","arguments":{},"result":{"content":[],"structured_content":null},"error":null,"status":"completed"}}
{"type":"item.started","item":{"id":"item_5","type":"web_search","id":"ws_1","query":"rust","action":{"type":"search","query":"rust"}}}
{"type":"item.completed","item":{"id":"item_5","type":"web_search","id":"ws_1","query":"rust","action":{"type":"search","query":"rust"}}}
{"type":"item.started","item":{"id":"item_6","type":"todo_list","items":[{"text":"one","completed":false}]}}
{"type":"item.updated","item":{"id":"item_6","type":"todo_list","items":[{"text":"one","completed":true}]}}
{"type":"item.started","item":{"id":"item_7","type":"command_execution","command":"sleep 9","aggregated_output":"","exit_code":null,"status":"in_progress"}}
{"type":"item.completed","item":{"id":"item_8","type":"collab_tool_call","tool":"spawn_agent","sender_thread_id":"a","receiver_thread_ids":[],"status":"completed"}}
{"type":"error","message":"Reconnecting... 1/2 (stream disconnected before completion)"}
{"type":"item.completed","item":{"id":"item_9","type":"agent_message","text":"All done."}}
{"type":"turn.completed","usage":{"input_tokens":300,"cached_input_tokens":30,"cache_write_input_tokens":1,"output_tokens":60,"reasoning_output_tokens":15}}
"#;

fn whole_turn() -> (AgentReport, Vec<Seen>) {
    let thread_id = "01a1fd89-a1f7-74a0-a296-344be8b47ac2".parse::<co_agents::ThreadId>().unwrap();
    let warnings = [
        "Model metadata for `x` not found.".to_owned(),
        "Reconnecting... 1/2 (stream disconnected before completion)".to_owned(),
    ];
    let cat = command(&["/bin/bash", "-lc", "cat a"]);
    let done = CallOutcome { exit_code: Some(0), ..ended(CallStatus::Succeeded) };
    let files = [
        patched(
            "new.txt",
            ChangeKind::Add,
            "8c54ebf70ba8db82d81314064788115037ca79e59d824dbb880b910f34e30c70",
        ),
        patched(
            "/elsewhere/out.txt",
            ChangeKind::Update,
            "5cbf3f9a7618b24e25af1c5fb16383b02db0bbeab45a8788cd24308de21562fb",
        ),
    ];
    let patch = ToolUse::Patch { files: files.to_vec() };
    let list = ToolUse::Mcp {
        server: "files".into(),
        name: "list".into(),
        arguments: "{}".into(),
        definition: None,
    };
    let sleep = command(&["sleep", "9"]);
    let spawn = ToolUse::Other { name: "spawn_agent".into(), input: String::new() };
    let todo = |completed| Seen::TodoChanged { items: vec![TodoItem { text: "one".into(), completed }] };
    let seen = vec![
        Seen::ThreadKnown { thread_id: thread_id.clone() },
        Seen::Warning { message: warnings[0].clone() },
        Seen::TurnStarted,
        Seen::Reasoning { text: "**Thinking** – ä".into() },
        started("item_2", &cat),
        finished("item_2", &cat, done.clone()),
        started("item_3", &patch),
        finished("item_3", &patch, ended(CallStatus::Succeeded)),
        started("item_4", &list),
        finished("item_4", &list, ended(CallStatus::Succeeded)),
        Seen::SearchMade { query: "rust".into() },
        todo(false),
        todo(true),
        started("item_7", &sleep),
        started("item_8", &spawn),
        finished("item_8", &spawn, ended(CallStatus::Succeeded)),
        Seen::Warning { message: warnings[1].clone() },
        Seen::Message { text: "All done.".into() },
        Seen::Usage { usage: usage(), last: None },
        Seen::TurnCompleted,
        finished("item_7", &sleep, ended(CallStatus::Lost)),
    ];
    let report = AgentReport {
        thread_id: Some(thread_id),
        terminal: Terminal::Completed,
        usage: Some(usage()),
        commands: vec![
            CommandRecord { command: "cat a".into(), outcome: Some(done) },
            CommandRecord { command: "sleep 9".into(), outcome: None },
        ],
        file_changes: files.into_iter().rev().map(|file| file.change).collect(),
        last_message: Some("All done.".into()),
        warnings: warnings.to_vec(),
        known_events: 19,
        ..AgentReport::default()
    };
    (report, seen)
}

#[test]
fn every_event_becomes_what_it_says() {
    assert_eq!(read_text(WHOLE_TURN), whole_turn());
}

#[test]
fn a_cut_at_any_byte_changes_nothing() {
    let expected = whole_turn();
    for at in 0..=WHOLE_TURN.len() {
        let (left, right) = WHOLE_TURN.as_bytes().split_at(at);
        assert_eq!(read([left, right]), expected, "cut at byte {at}");
    }
    assert_eq!(read(WHOLE_TURN.as_bytes().chunks(1)), expected);
}

proptest! {
    #[test]
    fn any_cutting_of_any_events_gives_the_same(
        order in prop::collection::vec(0..WHOLE_TURN.lines().count() + 3, 0..40),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..30),
    ) {
        let strange = ["not json", r#"{"type":"new.event"}"#, ""];
        let lines: Vec<&str> = WHOLE_TURN.lines().chain(strange).collect();
        let text = order.iter().map(|&line| lines[line]).collect::<Vec<_>>().join("\n");
        let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(text.len() + 1)).collect();
        places.extend([0, text.len()]);
        places.sort_unstable();
        let chunks = places.windows(2).map(|pair| &text.as_bytes()[pair[0]..pair[1]]);
        prop_assert_eq!(read(chunks), read_text(&text));
    }
}

#[test]
fn the_output_may_stop_at_any_byte() {
    for at in 0..WHOLE_TURN.len() {
        let (report, _) = read([&WHOLE_TURN.as_bytes()[..at]]);
        let whole_lines = WHOLE_TURN.as_bytes()[..at].split(|&byte| byte == b'\n').count() as u64 - 1;
        let cut = at > 0 && WHOLE_TURN.as_bytes()[at - 1] != b'\n' && WHOLE_TURN.as_bytes()[at] != b'\n';
        assert_eq!(report.truncated_last_line, cut, "stopped at byte {at}");
        assert_eq!(report.garbage_lines, 0);
        let completed_without_newline = u64::from(WHOLE_TURN.as_bytes()[at] == b'\n');
        assert_eq!(report.known_events, whole_lines + completed_without_newline);
        assert_eq!(report.terminal == Terminal::Completed, report.known_events == 19);
    }
}

#[test]
fn a_failed_turn_is_told_once() {
    let text = r#"{"type":"error","message":"boom"}
{"type":"turn.failed","error":{"message":"boom"}}
"#;
    let (report, seen) = read_text(text);
    assert_eq!(seen, [Seen::TurnFailed { message: "boom".into() }]);
    assert_eq!(report.terminal, Terminal::Failed { message: "boom".into(), class: None });
    assert!(report.warnings.is_empty() && report.dangling_error.is_none());
    let (report, _) = read_text("{\"type\":\"error\",\"message\":\"boom\"}\n{\"type\":\"turn.failed\"}\n");
    assert_eq!(report.terminal, Terminal::Failed { message: "boom".into(), class: None });
}

#[test]
fn an_error_that_nothing_follows_is_kept_apart() {
    let (report, seen) = read_text("{\"type\":\"error\",\"message\":\"boom\"}\n");
    assert_eq!(seen, [Seen::Warning { message: "boom".into() }]);
    assert_eq!(report.dangling_error.as_deref(), Some("boom"));
    let (report, seen) =
        read_text("{\"type\":\"error\",\"message\":\"boom\"}\n{\"type\":\"turn.started\"}\n");
    assert_eq!(seen, [Seen::Warning { message: "boom".into() }, Seen::TurnStarted]);
    assert_eq!((report.dangling_error, report.warnings), (None, vec!["boom".into()]));
}

#[test]
fn a_warning_that_is_repeated_is_kept_once_and_counted() {
    let line = "{\"type\":\"error\",\"message\":\"Reconnecting... waiting for network\"}\n";
    let (report, seen) = read_text(&line.repeat(90));
    assert_eq!((report.warnings.len(), report.warnings_omitted, seen.len()), (1, 89, 90));
}

#[test]
fn what_is_not_known_is_counted_and_what_is_no_event_is_sampled() {
    let text = concat!(
        "Usage: something else\n[1,2]\n{\"no\":\"type\"}\n{\"type\":7}\n",
        "{\"type\":\"item.plan.delta\"}\n{\"type\":\"item.plan.delta\"}\n",
        "{\"type\":\"item.completed\",\"item\":{\"type\":\"hologram\"}}\n",
        "{\"type\":\"item.completed\"}\n",
    );
    let (report, seen) = read_text(text);
    assert_eq!((report.garbage_lines, report.known_events, seen.len()), (4, 0, 0));
    assert_eq!(report.garbage_sample.as_deref(), Some("Usage: something else"));
    let types: Vec<_> = report.unknown_types.iter().map(|(name, count)| (name.as_str(), *count)).collect();
    assert_eq!(types, [("item.plan.delta", 2), ("item:", 1), ("item:hologram", 1)]);
}

#[test]
fn files_are_reported_once_as_they_are_at_the_end() {
    let change = |changes: &str, status: &str| {
        format!(
            r#"{{"type":"item.completed","item":{{"type":"file_change","changes":[{changes}],"status":"{status}"}}}}"#
        ) + "\n"
    };
    let file = |path: &str, kind: &str| format!(r#"{{"path":"{path}","kind":"{kind}"}}"#);
    let text = [
        change(&file("/tree/a", "add"), "completed"),
        change(&file("/real/tree/a", "update"), "completed"),
        change(&[file("/tree/b", "add"), file("/tree/c", "update")].join(","), "completed"),
        change(&[file("/tree/b", "delete"), file("/tree/c", "delete")].join(","), "completed"),
        change(&[file("/tree/d", "delete"), file("/tree/d", "add")].join(","), "completed"),
        change(&file("/tree/e", "add"), "failed"),
        change(&file("/treeshop/f", "add"), "completed"),
    ];
    let (report, seen) = read_text(&text.concat());
    let expected = [
        ("/treeshop/f", ChangeKind::Add),
        ("a", ChangeKind::Add),
        ("c", ChangeKind::Delete),
        ("d", ChangeKind::Update),
    ];
    assert_eq!(report.file_changes, expected.map(|(path, kind)| FileChange { path: path.into(), kind }));
    let failed = seen.iter().filter_map(|seen| match seen {
        Seen::CallFinished { tool: ToolUse::Patch { files }, outcome, .. } => {
            (outcome.status == CallStatus::Failed).then(|| files[0].change.path.as_str())
        }
        _ => None,
    });
    assert_eq!(failed.collect::<Vec<_>>(), ["e"]);
}

#[test]
fn two_threads_in_one_stream_are_a_conflict_and_a_bad_id_is_a_warning() {
    let started = |id: &str| format!("{{\"type\":\"thread.started\",\"thread_id\":\"{id}\"}}\n");
    let (report, seen) = read_text(&[started("one"), started("one"), started("two")].concat());
    assert_eq!(report.thread_id.unwrap().as_str(), "one");
    assert_eq!(report.conflicting_thread_id.unwrap().as_str(), "two");
    assert_eq!(seen.len(), 1);
    let (report, _) = read_text(&started("--last"));
    assert_eq!((report.thread_id, report.warnings.len()), (None, 1));
}

#[test]
fn a_turn_that_begins_again_is_open_again() {
    let (report, _) = read_text(&(WHOLE_TURN.to_owned() + "{\"type\":\"turn.started\"}\n"));
    assert_eq!(report.terminal, Terminal::Missing);
}

#[test]
fn a_failed_command_that_was_never_announced_is_recorded() {
    let text = r#"{"type":"item.completed","item":{"id":"item_0","type":"command_execution","command":"x","exit_code":null,"status":"declined"}}"#;
    let (report, seen) = read_text(text);
    let declined = ended(CallStatus::Declined);
    let expected = CommandRecord { command: "x".into(), outcome: Some(declined.clone()) };
    assert_eq!(report.commands, [expected]);
    let tool = command(&["x"]);
    assert_eq!(seen, [finished("item_0", &tool, declined)], "what was declined has not begun");
}

#[test]
fn a_failed_call_says_its_last_line_and_a_command_keeps_its_words() {
    let text = r#"{"type":"item.completed","item":{"id":"item_0","type":"command_execution","command":"/bin/bash -lc 'echo '\\''a b'\\'''","aggregated_output":"first\n no \n\n","exit_code":3,"status":"failed"}}
{"type":"item.completed","item":{"id":"item_1","type":"mcp_tool_call","server":"s","tool":"t","arguments":{"a":1},"error":{"message":"not today"},"status":"failed"}}
{"type":"item.completed","item":{"id":"item_2","type":"command_execution","command":"it's","exit_code":null,"status":"hovering"}}
"#;
    let (_, seen) = read_text(text);
    let failed = |exit_code, detail: &str| CallOutcome {
        exit_code,
        detail: Some(detail.into()),
        ..ended(CallStatus::Failed)
    };
    let echo = command(&["/bin/bash", "-lc", "echo 'a b'"]);
    let tool = ToolUse::Mcp {
        server: "s".into(),
        name: "t".into(),
        arguments: r#"{"a":1}"#.into(),
        definition: None,
    };
    assert_eq!(seen[1], finished("item_0", &echo, failed(Some(3), "no")));
    assert_eq!(seen[3], finished("item_1", &tool, failed(None, "not today")));
    assert_eq!(seen[5], finished("item_2", &command(&["it's"]), ended(CallStatus::Lost)));
}
