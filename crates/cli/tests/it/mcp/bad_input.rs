//! Clients that ask for what there is not, or speak no language of ours.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::Stdio;

use rmcp::model::ReadResourceRequestParams;
use serde_json::{Value, json};

use super::{Client, Person, Station, with_sessions, without_sessions};

const ONE: &str = r#"[{ "id": "one", "command": "true" }]"#;

#[test]
fn refusals_say_what_the_command_line_says() {
    let station = Station::with_stages(ONE);
    let client = Client::stdio(&station, with_sessions(), Person::default().into());
    let nothing = client.refused("run_status", json!({ "run_id": "r1" }));
    assert!(nothing.contains("nothing has been run here"), "{nothing}");
    let run = client.start();
    client.status_at_rest(&run);
    for (tool, arguments, expected) in [
        ("run_status", json!({ "run_id": "r1" }), "there is no run `r1`"),
        ("run_status", json!({ "run_id": "../x" }), "is not allowed"),
        ("run_status", json!({ "run_id": "x".repeat(5_000) }), "at most 120 are allowed"),
        ("run_status", json!({ "run_id": "x".repeat(200_000) }), "longer than 100000 bytes"),
        ("run_status", json!({ "run_id": 3 }), "expected a string"),
        ("run_status", json!({}), "missing field `run_id`"),
        ("run_status", json!({ "run_id": run, "wait_seconds": 100_000 }), "at most 600"),
        ("run_status", json!({ "run_id": run, "wait_seconds": -1 }), "invalid value"),
        ("run_status", json!({ "run_id": run, "extra": 1 }), "unknown field `extra`"),
        ("run_events", json!({ "run_id": run, "limit": 0 }), "1 to 1000"),
        ("run_events", json!({ "run_id": "r1", "wait_seconds": 60 }), "there is no run `r1`"),
        ("run_logs", json!({ "run_id": run, "stage": "none" }), "has no stage `none`"),
        ("run_logs", json!({ "run_id": run, "stage": "one", "attempt": 2 }), "there is no attempt 2"),
        ("run_logs", json!({ "run_id": run, "stage": "one", "limit": 1_000_000 }), "4 to 262144"),
        ("list_runs", json!({ "status": ["well"] }), "known states: queued"),
        ("list_runs", json!({ "task": "a/b" }), "is not allowed"),
        ("plan", json!({ "pipeline": "mian" }), "there is no pipeline `mian`"),
        ("plan", json!({ "execution_mode": "moon" }), "known modes: mcp, cloud"),
        ("start_run", json!({ "pipeline": "mian" }), "there is no pipeline `mian`"),
        ("start_run", json!({ "target": "none" }), "none"),
        ("start_run", json!({ "task": "../up" }), "is not allowed"),
        ("start_run", json!({ "parent_run_id": "r1" }), "parent run `r1` does not exist"),
        ("start_run", json!({ "idempotency_key": "" }), "the idempotency key is empty"),
        ("resume_run", json!({ "run_id": run }), "is not resumed"),
        ("resume_run", json!({ "run_id": "r1" }), "there is no run `r1`"),
        ("retry_run", json!({ "run_id": "r1" }), "there is no run `r1`"),
        ("cancel_run", json!({ "run_id": "r1" }), "there is no run `r1`"),
        ("answer_question", json!({ "run_id": run, "approve": "yes" }), "expected a boolean"),
        ("steer_agent", json!({ "run_id": run, "message": " " }), "the message is empty"),
        ("recover", json!({ "run_id": "a\nb" }), "is not allowed"),
    ] {
        let said = client.refused(tool, arguments.clone());
        assert!(
            said.contains(expected),
            "{tool} {}: {said}",
            arguments.to_string().chars().take(80).collect::<String>()
        );
    }
    let runs = client.tool("list_runs", json!({}));
    assert_eq!(runs["runs"].as_array().unwrap().len(), 1, "nothing that was refused has started a run");
}

#[test]
fn unknown_names_are_errors_of_the_protocol() {
    for lifecycle in [with_sessions(), without_sessions()] {
        let station = Station::with_stages(ONE);
        let client = Client::stdio(&station, lifecycle, Person::default().into());
        let error = client.call("no_such_tool", json!({})).unwrap_err().to_string();
        assert!(error.contains("there is no tool `no_such_tool`"), "{error}");
        for uri in [
            "file:///etc/passwd",
            "codex-orchestrator://runs/%2e%2e/manifest",
            "codex-orchestrator://runs/r1/manifest",
        ] {
            let error = client.wait(client.service().read_resource(ReadResourceRequestParams::new(uri)));
            let error = error.unwrap_err().to_string();
            assert!(!error.contains("panic"), "{uri}: {error}");
        }
        client.tool("list_pipelines", json!({}));
    }
}

#[test]
fn a_broken_pipeline_file_is_told_and_survived() {
    let station = Station::with_stages(ONE);
    let client = Client::stdio(&station, with_sessions(), Person::default().into());
    station.repository().write("codex.orchestrator.json", "{ nonsense");
    for tool in ["list_pipelines", "plan", "start_run"] {
        let said = client.refused(tool, json!({}));
        assert!(said.contains("codex.orchestrator.json"), "{tool}: {said}");
    }
    station.write_pipelines(r#"[{ "id": "main", "stages": [{ "id": "one", "command": "true" }] }]"#);
    client.tool("plan", json!({}));
}

/// A server at the other end of two pipes, spoken to byte by byte.
struct Raw {
    child: std::process::Child,
    answers: BufReader<std::process::ChildStdout>,
}

impl Raw {
    fn start(station: &Station) -> Self {
        let mut command = station.command(&["mcp", "serve"]);
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let answers = BufReader::new(child.stdout.take().unwrap());
        let mut raw = Self { child, answers };
        raw.say(br#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"raw","version":"1"}}}"#);
        assert_eq!(raw.answer()["result"]["protocolVersion"], "2025-11-25");
        raw.say(br#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#);
        raw
    }

    fn say(&mut self, line: &[u8]) {
        let stdin = self.child.stdin.as_mut().unwrap();
        stdin.write_all(line).and_then(|()| stdin.write_all(b"\n")).and_then(|()| stdin.flush()).unwrap();
    }

    fn answer(&mut self) -> Value {
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"))
    }

    /// Asks something harmless: the server is still there, and in step.
    fn check(&mut self, id: u32) {
        self.say(format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"ping"}}"#).as_bytes());
        assert_eq!(self.answer(), json!({ "jsonrpc": "2.0", "id": id, "result": {} }));
    }
}

#[test]
fn garbage_on_standard_input_is_survived() {
    let station = Station::with_stages(ONE);
    let mut raw = Raw::start(&station);
    for (id, garbage) in
        (100..).zip([&b"not json"[..], b"{", b"\xff\xfe\x00", b"[[[[[[[[[[[[[[[[[[[[[[[[", b"\x1b[31m"])
    {
        raw.say(garbage);
        raw.check(id);
    }
    raw.say(br#"{"jsonrpc":"2.0","id":7,"method":"no/such"}"#);
    let unknown = raw.answer();
    assert_eq!((&unknown["id"], &unknown["error"]["code"]), (&json!(7), &json!(-32601)));
    raw.say(br#"{"jsonrpc":"2.0","id":8,"method":"tools/call","params":{"name":3}}"#);
    assert!(raw.answer()["error"].is_object());
    raw.check(200);
}

#[test]
fn a_line_that_never_seems_to_end_is_refused() {
    let station = Station::with_stages(ONE);
    let mut raw = Raw::start(&station);
    let mut long = br#"{"jsonrpc":"2.0","id":9,"method":"tools/call","params":{"name":""#.to_vec();
    long.resize(12 << 20, b'x');
    raw.say(&long);
    let refused = raw.answer();
    assert_eq!((&refused["id"], &refused["error"]["code"]), (&Value::Null, &json!(-32600)));
    raw.check(10);
}

#[test]
fn a_client_that_hangs_up_ends_the_server_at_once() {
    let station = Station::with_stages(ONE);
    let ended = station.run(&["mcp", "serve"]);
    assert_eq!((ended.code(), ended.stdout.as_str()), (0, ""), "nobody was there at all");
    let mut raw = Raw::start(&station);
    raw.say(
        br#"{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"start_run","arguments":{}}}"#,
    );
    let run = raw.answer()["result"]["structuredContent"]["run_id"].as_str().unwrap().to_owned();
    let wait = json!({ "jsonrpc": "2.0", "id": 3, "method": "tools/call",
        "params": { "name": "run_events", "arguments": { "run_id": run, "after": 10_000, "wait_seconds": 600 } } });
    raw.say(wait.to_string().as_bytes());
    drop(raw.child.stdin.take());
    assert_eq!(raw.child.wait().unwrap().code(), Some(0));
}
