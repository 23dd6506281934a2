//! Questions of runs, put before the person at the client.

use rmcp::model::ElicitationAction::{Accept, Cancel, Decline};
use rmcp::service::ClientLifecycleMode;
use serde_json::{Value, json};

use super::{Client, MOMENT, Person, Served, Station, with_sessions, without_sessions};
use crate::calls::question;
use crate::support::wait_for;

const GATE: &str = r#"[{ "id": "ask", "kind": "gate", "message": "Publish it?", "expires": "1h" },
                       { "id": "after", "command": "touch published" }]"#;

fn both() -> [ClientLifecycleMode; 2] {
    [with_sessions(), without_sessions()]
}

fn approval(station: &Station, run: &str) -> Value {
    station.last_manifest(run)["approvals"][0].clone()
}

#[test]
fn a_filled_in_form_answers_the_question() {
    for lifecycle in both() {
        let station = Station::with_stages(GATE);
        let person = Person::who_says([(Accept, json!({ "answer": "yes", "reason": "looks right" }))]);
        let client = Client::stdio(&station, lifecycle, person);
        let run = client.start();
        assert_eq!(client.status_at_rest(&run)["status"], "succeeded");
        let asked = client.person.asked.lock().unwrap().clone();
        assert!(asked.len() == 1 && asked[0].contains("Publish it?"), "{asked:?}");
        let approval = approval(&station, &run);
        assert_eq!((&approval["verdict"], &approval["reason"]), (&json!("approved"), &json!("looks right")));
        assert!(approval["actor"].as_str().unwrap().ends_with("(mcp test-client)"), "{approval}");
    }
}

#[test]
fn a_form_over_http_answers_too() {
    for lifecycle in both() {
        let station = Station::with_stages(GATE);
        let server = Served::start(&station, &[]);
        let person = Person::who_says([(Accept, json!({ "answer": "no" }))]);
        let client = Client::http(&server, lifecycle, person);
        let run = client.start();
        assert_eq!(client.status_at_rest(&run)["status"], "failed");
        assert_eq!(approval(&station, &run)["verdict"], "denied");
    }
}

#[test]
fn declining_is_a_no() {
    let station = Station::with_stages(GATE);
    let client = Client::stdio(&station, with_sessions(), Person::who_says([(Decline, Value::Null)]));
    let run = client.start();
    assert_eq!(client.status_at_rest(&run)["status"], "failed");
    assert_eq!(approval(&station, &run)["verdict"], "denied");
    assert!(!station.path("published").exists());
}

#[test]
fn a_closed_or_broken_form_is_no_answer() {
    for lifecycle in both() {
        for (action, content) in [(Cancel, Value::Null), (Accept, json!({ "answer": "maybe" }))] {
            let station = Station::with_stages(GATE);
            let client = Client::stdio(&station, lifecycle.clone(), Person::who_says([(action, content)]));
            let run = client.start();
            question(&station, &run);
            let status = client.tool("run_status", json!({ "run_id": run, "wait_seconds": 1 }));
            assert_eq!(status["status"], "in_progress", "{status:#}");
            assert_eq!(client.person.asked.lock().unwrap().len(), 1, "nobody is asked twice in one wait");
            // The question is still there for others.
            station.run(&["answer", "--run", &run, "yes"]).expect(0);
            assert_eq!(client.status_at_rest(&run)["status"], "succeeded");
        }
    }
}

#[test]
fn an_answer_from_elsewhere_takes_the_form_away() {
    let station = Station::with_stages(GATE);
    // The person leaves the form open.
    let client = Client::stdio(&station, with_sessions(), Person::who_says([]));
    let run = client.start();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| client.status_at_rest(&run));
        wait_for("the form is open", || (!client.person.asked.lock().unwrap().is_empty()).then_some(()));
        station.run(&["answer", "--run", &run, "yes", "--actor", "ann"]).expect(0);
        assert_eq!(waiting.join().unwrap()["status"], "succeeded");
    });
    assert_eq!(approval(&station, &run)["actor"], "ann");
}

#[test]
fn a_client_without_forms_reads_the_question_and_answers_by_tool() {
    for lifecycle in both() {
        let station = Station::with_stages(GATE);
        let client = Client::stdio(&station, lifecycle, Person::default().into());
        let run = client.start();
        let asked = wait_for("the question is open", || {
            let page = client.tool("run_events", json!({ "run_id": run }));
            page["open_questions"].get(0).cloned()
        });
        assert_eq!((&asked["stage_id"], &asked["message"]), (&json!("ask"), &json!("Publish it?")));
        let page = client.tool("run_events", json!({ "run_id": run, "limit": 1000 }));
        client.tool("answer_question", json!({ "run_id": run, "approve": true }));
        let news = client
            .tool("run_events", json!({ "run_id": run, "after": page["next_after"], "wait_seconds": 30 }));
        assert_ne!(news["events"], json!([]));
        assert_eq!(client.status_at_rest(&run)["status"], "succeeded");
        let late = client.refused("answer_question", json!({ "run_id": run, "approve": false }));
        assert!(late.contains("is over"), "{late}");
        assert!(client.person.asked.lock().unwrap().is_empty());
    }
}

#[test]
fn a_wait_that_ends_takes_its_form_along() {
    let station = Station::with_stages(GATE);
    let client = Client::stdio(&station, with_sessions(), Person::who_says([]));
    let run = client.start();
    let status = client.tool("run_status", json!({ "run_id": run, "wait_seconds": 1 }));
    assert_eq!(status["status"], "in_progress");
    std::thread::park_timeout(MOMENT);
    assert!(client.person.asked.lock().unwrap().len() <= 1);
    assert_eq!(
        client.tool("list_runs", json!({}))["runs"].as_array().unwrap().len(),
        1,
        "the server serves on"
    );
}
