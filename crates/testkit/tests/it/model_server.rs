//! The scripted model, asked over plain TCP.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::Duration;

use co_testkit::{CodexHome, End, ModelServer, Output, Script, Step, Usage, program};
use serde_json::{Value, json};

/// Sends one request and reads until the server closes.
fn post(base_url: &str, path: &str, body: &Value) -> String {
    let mut stream = send(base_url, path, body);
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn send(base_url: &str, path: &str, body: &Value) -> TcpStream {
    let (host, prefix) = base_url.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let mut stream = TcpStream::connect(host).unwrap();
    stream.set_read_timeout(Some(Duration::from_mins(1))).unwrap();
    let body = body.to_string();
    let length = body.len();
    write!(stream, "POST /{prefix}{path} HTTP/1.1\r\nHost: {host}\r\nX-Test: Yes\r\nContent-Length: {length}\r\n\r\n{body}")
        .unwrap();
    stream
}

fn ask(server: &ModelServer, texts: &[&str]) -> String {
    let input: Vec<Value> = texts.iter().map(|text| json!({"content": [{"text": text}]})).collect();
    post(&server.base_url(), "/responses", &json!({ "input": input }))
}

/// Returns the events of a stream.
fn events(answer: &str) -> Vec<Value> {
    answer
        .lines()
        .filter_map(|line| line.strip_prefix("data: "))
        .map(|data| serde_json::from_str(data).unwrap())
        .collect()
}

#[test]
fn steps_answer_in_order_and_an_empty_script_says_so() {
    let server = ModelServer::start(Script::new([
        Step::reasoning("hm").then(Output::Shell { command: "ls".into() }),
        Step::apply_patch("p").end(End::Completed { usage: Usage { input: 7, ..Usage::default() } }),
        Step::message("done").then(Output::Item { item: json!({"type": "web_search_call"}) }),
    ]));
    let first = ask(&server, &["go"]);
    assert!(first.starts_with("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"), "{first}");
    let first = events(&first);
    assert_eq!(first[0]["item"]["summary"][0]["text"], "hm");
    assert_eq!(first[1]["item"]["arguments"], r#"{"cmd":"ls"}"#);
    assert_eq!((&first[2]["type"], first.len()), (&json!("response.completed"), 3));
    let second = events(&ask(&server, &["go"]));
    assert_eq!(second[0]["item"]["name"], "apply_patch");
    assert_ne!(second[0]["item"]["call_id"], first[1]["item"]["call_id"]);
    assert_eq!(second[1]["response"]["usage"]["input_tokens"], 7);
    let third = events(&ask(&server, &["go"]));
    assert_eq!(third[0]["item"]["content"][0]["text"], "done");
    assert_eq!(third[1]["item"]["type"], "web_search_call");
    let fourth = ask(&server, &["go"]);
    assert!(fourth.starts_with("HTTP/1.1 400 ") && fourth.contains("no step left"), "{fourth}");
}

#[test]
fn conditions_choose_steps_and_a_repeated_step_stays() {
    let server = ModelServer::start(Script::new([
        Step::message("else").repeated(),
        Step::message("task a").when("task \"a\""),
        Step::message("after").when("task \"b\"").when_last("output"),
    ]));
    let answer = |texts: &[&str]| events(&ask(&server, texts))[0]["item"]["content"][0]["text"].clone();
    assert_eq!(answer(&["task \"b\""]), "else");
    assert_eq!(answer(&["output", "task \"b\""]), "else");
    assert_eq!(answer(&["task \"b\"", "output"]), "after");
    assert_eq!(answer(&["task \"a\"", "more"]), "task a");
    assert_eq!(answer(&["task \"a\"", "more"]), "else");
    let steps: Vec<_> = server.requests().iter().map(|request| request.step).collect();
    assert_eq!(steps, [Some(0), Some(0), Some(2), Some(1), Some(0)]);
}

#[test]
fn failures_look_like_the_real_ones() {
    let server = ModelServer::start(Script::new([
        Step::unauthorized(),
        Step::usage_limit(),
        Step::failed("server_is_overloaded", "busy"),
        Step::default().end(End::Incomplete { reason: "length".into() }),
        Step::message("half").end(End::Cut),
    ]));
    assert!(ask(&server, &[]).starts_with("HTTP/1.1 401 Unauthorized\r\n"));
    let limit = ask(&server, &[]);
    assert!(limit.starts_with("HTTP/1.1 429 ") && limit.contains("usage_limit_reached"), "{limit}");
    assert_eq!(events(&ask(&server, &[]))[0]["response"]["error"]["code"], "server_is_overloaded");
    assert_eq!(events(&ask(&server, &[]))[0]["response"]["incomplete_details"]["reason"], "length");
    let cut = events(&ask(&server, &[]));
    assert_eq!((cut.len(), &cut[0]["item"]["type"]), (1, &json!("message")));
}

#[test]
fn a_hanging_answer_ends_when_it_is_released_or_the_server_goes() {
    let server = ModelServer::start(Script::new([Step::message("first").end(End::Hang), Step::hang()]));
    let mut stream = BufReader::new(send(&server.base_url(), "/responses", &json!({})));
    let mut line = String::new();
    while !line.starts_with("data: ") {
        line.clear();
        assert_ne!(stream.read_line(&mut line).unwrap(), 0, "the outputs come before the silence");
    }
    server.release();
    let mut rest = String::new();
    stream.read_to_string(&mut rest).unwrap();
    let mut second = send(&server.base_url(), "/responses", &json!({}));
    server.wait_for_requests(2, Duration::from_mins(1));
    drop(server);
    second.read_to_string(&mut rest).unwrap();
    assert!(!rest.contains("response.completed"), "{rest}");
}

#[test]
fn requests_are_recorded_and_other_paths_use_no_step() {
    let server = ModelServer::start(Script::new([Step::message("one")]));
    assert!(post(&server.base_url(), "/analytics", &json!({"a": 1})).starts_with("HTTP/1.1 404 "));
    ask(&server, &["find me"]);
    let requests = server.wait_for_requests(2, Duration::from_mins(1));
    assert_eq!((requests[0].path.as_str(), requests[0].step), ("/v1/analytics", None));
    assert_eq!((requests[1].path.as_str(), requests[1].step), ("/v1/responses", Some(0)));
    assert_eq!(requests[1].headers["x-test"], "Yes");
    assert!(requests[1].input_contains("find me") && !requests[1].input_contains("content"));
}

#[test]
fn scripts_have_a_json_form_that_refuses_what_it_does_not_know() {
    let text = r#"{"steps": [
        {"when": "a", "output": [{"kind": "shell", "command": "ls"}, {"kind": "message", "text": "m"}]},
        {"repeat": true, "end": {"kind": "http", "status": 503, "body": {}}},
        {"end": {"kind": "completed", "usage": {"input": 3}}}
    ]}"#;
    let expected = Script::new([
        Step::shell("ls").then(Output::Message { text: "m".into() }).when("a"),
        Step::http(503, json!({})).repeated(),
        Step::default().end(End::Completed { usage: Usage { input: 3, ..Usage::default() } }),
    ]);
    assert_eq!(Script::from_json(text).unwrap(), expected);
    assert_eq!(Script::from_json(&serde_json::to_string(&expected).unwrap()).unwrap(), expected);
    for wrong in [r#"{"steps":[{"outputs":[]}]}"#, r#"{"steps":[{"output":[{"kind":"shel"}]}]}"#, "{}"] {
        assert!(Script::from_json(wrong).is_err(), "{wrong}");
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the program under test is started and killed")]
fn the_program_prints_its_address_and_records() {
    let directory = tempfile::tempdir().unwrap();
    let (script, record) = (directory.path().join("script.json"), directory.path().join("record.jsonl"));
    std::fs::write(&script, r#"{"steps":[{"output":[{"kind":"message","text":"hello"}]}]}"#).unwrap();
    let mut server = Command::new(program("co-model-server"))
        .args(["--script".as_ref(), script.as_os_str(), "--record".as_ref(), record.as_os_str()])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut url = String::new();
    BufReader::new(server.stdout.take().unwrap()).read_line(&mut url).unwrap();
    let answer = post(url.trim(), "/responses", &json!({"input": "x"}));
    server.kill().unwrap();
    server.wait().unwrap();
    assert_eq!(events(&answer)[0]["item"]["content"][0]["text"], "hello");
    let line: Value = serde_json::from_str(&std::fs::read_to_string(record).unwrap()).unwrap();
    assert_eq!((&line["body"]["input"], &line["step"]), (&json!("x"), &json!(0)));

    let refused = Command::new(program("co-model-server")).arg("--scrip").output().unwrap();
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("usage:"));
}

#[test]
fn a_codex_home_is_whole_and_goes_away() {
    let home = CodexHome::with_retries("http://127.0.0.1:1/v1", 2);
    let config = std::fs::read_to_string(home.codex_home().join("config.toml")).unwrap();
    assert!(
        config.contains("base_url = \"http://127.0.0.1:1/v1\"") && config.contains("stream_max_retries = 2")
    );
    let environment = home.environment("/bin");
    let value = |name: &str| environment.iter().find(|(key, _)| key == name).unwrap().1.clone();
    assert!(!std::path::Path::new(&value("CODEX_HOME")).starts_with(value("TMPDIR")));
    assert_eq!(value("PATH"), "/bin");
    let codex_home = home.codex_home();
    drop(home);
    assert!(!codex_home.exists());
}

#[test]
fn the_same_script_answers_in_the_messages_dialect() {
    let server = ModelServer::start(Script::new([
        Step::tool("Write", &json!({"file_path": "a"})).when("first"),
        Step::reasoning("hm").then(Output::Message { text: "äö".into() }),
        Step::failed("overloaded_error", "busy"),
    ]));
    let ask = |text: &str| {
        let body = json!({"model": "m", "messages": [{"role": "user", "content": text}]});
        post(&format!("{}/v1", server.root_url()), "/messages?beta=true", &body)
    };
    let kinds = |answer: &str| -> Vec<String> {
        events(answer).iter().map(|event| event["type"].as_str().unwrap().to_owned()).collect()
    };
    let said = ask("second");
    let seen = events(&said);
    assert_eq!(seen[0]["message"]["model"], "m");
    let parts = ["start", "delta", "delta", "stop"].map(|part| format!("content_block_{part}"));
    assert_eq!(kinds(&said)[1..9], [parts.as_slice(), parts.as_slice()].concat());
    assert_eq!((&seen[6]["delta"]["text"], &seen[7]["delta"]["text"]), (&json!("ä"), &json!("ö")));
    assert_eq!(seen[9]["delta"]["stop_reason"], "end_turn");

    let called = events(&ask("first"));
    assert_eq!(called[1]["content_block"]["name"], "Write");
    assert_eq!(called[2]["delta"]["partial_json"], r#"{"file_path":"a"}"#);
    assert_eq!(called[4]["delta"]["stop_reason"], "tool_use");

    assert_eq!(kinds(&ask("third")), ["message_start", "error"]);
    assert!(ask("fourth").starts_with("HTTP/1.1 400 "), "the script is used up");
    let requests = server.requests();
    assert_eq!(
        requests.iter().map(|request| request.step).collect::<Vec<_>>(),
        [Some(1), Some(0), Some(2), None]
    );
    assert!(requests[1].input_contains("first"));
}
