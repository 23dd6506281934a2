//! Runs over MCP, from the first plan to the retry.

use serde_json::{Value, json};

use super::{Client, Person, Served, Station, TOKEN, with_sessions, without_sessions};
use crate::support::wait_for;

const TWO: &str =
    r#"[{ "id": "one", "command": "echo hello" }, { "id": "two", "command": "echo world >&2" }]"#;

/// Everything a client can do with a run, over whatever it is connected by.
fn whole_life(client: &Client) {
    let tools = client.wait(client.service().list_all_tools()).unwrap();
    assert_eq!(tools.len(), 21, "{tools:#?}");
    assert_eq!(client.tool("list_runs", json!({})), json!({ "runs": [], "next_before": null }));
    let pipelines = client.tool("list_pipelines", json!({}));
    assert_eq!(pipelines["pipelines"][0]["stages"], json!(["one", "two"]));
    let plan = client.tool("plan", json!({ "target": "one" }));
    assert_eq!(plan["targetId"], "main:one");
    let begun = client.tool("start_run", json!({ "description": "try it", "task": "0101" }));
    let run = begun["run_id"].as_str().unwrap();
    assert_eq!((&begun["repeated"], &begun["task_id"]), (&json!(false), &json!("0101")));
    let status = client.status_at_rest(run);
    assert_eq!((&status["status"], &status["task_id"]), (&json!("succeeded"), &json!("0101")));
    let page = client.tool("run_events", json!({ "run_id": run, "limit": 2 }));
    assert_eq!((&page["next_after"], &page["more"]), (&json!(2), &json!(true)));
    let rest = client.tool("run_events", json!({ "run_id": run, "after": 2, "limit": 1000 }));
    assert_eq!((&rest["more"], &rest["at_rest"]), (&json!(false), &json!(true)));
    assert_eq!(rest["events"][0]["seq"], 3);
    assert_eq!(rest["events"].as_array().unwrap().last().unwrap()["type"], "run_finished");
    let log = client.tool("run_logs", json!({ "run_id": run, "stage": "two" }));
    assert_eq!((&log["text"], &log["complete"]), (&json!("world\n"), &json!(true)));
    let fresh = client.tool("retry_run", json!({ "run_id": run }));
    let fresh = client.status_at_rest(fresh["run_id"].as_str().unwrap());
    assert_eq!(fresh["status"], "succeeded");
    let runs = client.tool("list_runs", json!({ "task": "0101", "limit": 1 }));
    assert_eq!(runs["runs"][0]["run_id"], fresh["run_id"]);
    let older = client.tool("list_runs", json!({ "before": runs["next_before"] }));
    assert_eq!(older["runs"][0]["run_id"], run);
    assert_eq!(client.tool("recover", json!({})), json!({ "runs": [] }));
}

#[test]
fn a_run_lives_its_whole_life_over_standard_input_with_sessions() {
    let station = Station::with_stages(TWO);
    whole_life(&Client::stdio(&station, with_sessions(), Person::default().into()));
}

#[test]
fn a_run_lives_its_whole_life_over_standard_input_without_sessions() {
    let station = Station::with_stages(TWO);
    whole_life(&Client::stdio(&station, without_sessions(), Person::default().into()));
}

#[test]
fn a_run_lives_its_whole_life_over_http_with_sessions() {
    let station = Station::with_stages(TWO);
    let server = Served::start(&station, &[]);
    whole_life(&Client::http(&server, with_sessions(), Person::default().into()));
    assert_eq!(server.terminate(), Some(0));
}

#[test]
fn a_run_lives_its_whole_life_over_http_without_sessions() {
    let station = Station::with_stages(TWO);
    let server = Served::start(&station, &[]);
    whole_life(&Client::http(&server, without_sessions(), Person::default().into()));
}

#[test]
fn a_run_goes_on_when_its_client_and_its_server_are_gone() {
    let station =
        Station::with_stages(r#"[{ "id": "wait", "command": "until test -e go; do sleep 0.02; done" }]"#);
    let client = Client::stdio(&station, with_sessions(), Person::default().into());
    let run = client.start();
    client.hang_up();
    let status = station.run(&["status", "--run", &run, "--json"]).expect(0).json();
    assert_eq!((&status["status"], &status["activity"]["stale"]), (&json!("in_progress"), &json!(false)));
    station.repository().write("go", "");
    assert_eq!(station.run(&["status", "--run", &run, "--watch"]).expect(0).code(), 0);
    assert_eq!(station.last_manifest(&run)["status"], "succeeded");
}

#[test]
fn a_run_over_mcp_can_be_cancelled_and_resumed_by_anybody() {
    let station = Station::with_stages(
        r#"[{ "id": "first", "command": "echo once >> times" },
            { "id": "wait", "command": "until test -e go; do sleep 0.02; done" }]"#,
    );
    let client = Client::stdio(&station, with_sessions(), Person::default().into());
    let run = client.start();
    wait_for("the first stage is over", || station.path("times").exists().then_some(()));
    client.tool("cancel_run", json!({ "run_id": run, "reason": "not now" }));
    let status = client.status_at_rest(&run);
    assert_eq!(status["status"], "cancelled");
    let detail = status["status_detail"].as_str().unwrap();
    assert!(detail.contains("(mcp test-client)"), "{detail}");
    let again = client.refused("cancel_run", json!({ "run_id": run }));
    assert!(again.contains("refuses `cancel`"), "{again}");
    station.repository().write("go", "");
    let resumed = client.tool("resume_run", json!({ "run_id": run, "reason": "now" }));
    assert_eq!(resumed["run_id"], run.as_str());
    assert_eq!(client.status_at_rest(&run)["status"], "succeeded");
    assert_eq!(
        std::fs::read_to_string(station.path("times")).unwrap(),
        "once\n",
        "a finished stage ran again"
    );
    wait_for("the manifest knows of the resume", || {
        (station.manifest(&run)["resume_events"][0]["reason"] == "now").then_some(())
    });
}

#[test]
fn a_repeated_key_starts_nothing_again() {
    let station = Station::with_stages(TWO);
    let client = Client::stdio(&station, with_sessions(), Person::default().into());
    let first = client.tool("start_run", json!({ "idempotency_key": "k" }));
    client.hang_up();
    // Another server: what a key has started does not depend on who remembers it.
    let client = Client::stdio(&station, without_sessions(), Person::default().into());
    let second = client.tool("start_run", json!({ "idempotency_key": "k" }));
    assert_eq!((&second["run_id"], &second["repeated"]), (&first["run_id"], &json!(true)));
    let other = client.refused("start_run", json!({ "idempotency_key": "k", "target": "one" }));
    assert!(other.contains("was used for another request"), "{other}");
    assert_eq!(client.tool("list_runs", json!({}))["runs"].as_array().unwrap().len(), 1);
}

#[test]
fn many_at_once_with_one_key_start_one_run() {
    let station = Station::with_stages(TWO);
    let client = Client::stdio(&station, with_sessions(), Person::default().into());
    let request = || {
        let params = rmcp::model::CallToolRequestParams::new("start_run");
        let key = json!({ "idempotency_key": "same" });
        client.service().call_tool(params.with_arguments(key.as_object().unwrap().clone()))
    };
    let answers = client.wait(async { tokio::join!(request(), request(), request(), request()) });
    let of = |result: Result<rmcp::model::CallToolResult, _>| result.unwrap().structured_content.unwrap();
    let answers: [Value; 4] = [of(answers.0), of(answers.1), of(answers.2), of(answers.3)];
    assert!(answers.iter().all(|answer| answer["run_id"] == answers[0]["run_id"]), "{answers:#?}");
    assert_eq!(answers.iter().filter(|answer| answer["repeated"] == false).count(), 1);
}

#[test]
fn the_servers_token_reaches_no_stage() {
    let station = Station::with_stages(r#"[{ "id": "env", "command": "env" }]"#);
    let server = Served::start(&station, &[]);
    let client = Client::http(&server, without_sessions(), Person::default().into());
    let run = client.start();
    client.status_at_rest(&run);
    let log = client.tool("run_logs", json!({ "run_id": run, "stage": "env" }));
    let text = log["text"].as_str().unwrap();
    assert!(text.contains("PATH=") && !text.contains(TOKEN), "{text}");
}

#[test]
fn escapes_in_output_are_left_out() {
    let station =
        Station::with_stages(r#"[{ "id": "red", "command": "printf '\\033[31mred\\033[0m \\342\\202'" }]"#);
    let client = Client::stdio(&station, with_sessions(), Person::default().into());
    let run = client.start();
    client.status_at_rest(&run);
    let log = client.tool("run_logs", json!({ "run_id": run, "stage": "red" }));
    assert_eq!((&log["text"], &log["size"]), (&json!("red \u{FFFD}"), &json!(15)));
}
