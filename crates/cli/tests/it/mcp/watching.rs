//! Resources: listing, reading, completing, and being told of changes.

use rmcp::model::{
    ReadResourceRequestParams, ServerNotification, SubscribeRequestParams, SubscriptionFilter,
};
use serde_json::{Value, json};

use super::{Client, Person, Station, with_sessions, without_sessions};
use crate::support::wait_for;

const WAITING: &str = r#"[{ "id": "wait", "command": "until test -e go; do sleep 0.02; done" }]"#;

fn text(client: &Client, uri: &str) -> String {
    let read = client.wait(client.service().read_resource(ReadResourceRequestParams::new(uri))).unwrap();
    let contents = serde_json::to_value(&read.contents[0]).unwrap();
    assert_eq!(contents["uri"], uri);
    contents["text"].as_str().unwrap().to_owned()
}

#[test]
fn the_resources_of_a_run_are_its_views() {
    for lifecycle in [with_sessions(), without_sessions()] {
        let station = Station::with_stages(r#"[{ "id": "one", "command": "true" }]"#);
        let client = Client::stdio(&station, lifecycle, Person::default().into());
        let listed = client.wait(client.service().list_all_resources()).unwrap();
        assert_eq!(listed.len(), 1, "before the first run, only the pipelines are there");
        let run = client.start();
        station.run(&["status", "--run", &run, "--watch"]).expect(0);
        let uri = |part: &str| format!("codex-orchestrator://runs/{run}/{part}");
        // The owner writes the files after the last event.
        for (part, name) in
            [("manifest", "manifest.json"), ("summary", "run-summary.json"), ("events", "events.jsonl")]
        {
            let path = station.path(&format!(".runs/local/cli/{run}/{name}"));
            let resource = text(&client, &uri(part));
            wait_for("the file says the same", || {
                std::fs::read_to_string(&path).is_ok_and(|file| file == resource).then_some(())
            });
        }
        let pipelines: Value =
            serde_json::from_str(&text(&client, "codex-orchestrator://pipelines")).unwrap();
        assert_eq!(pipelines["pipelines"][0]["id"], "main");
        let plan: Value =
            serde_json::from_str(&text(&client, "codex-orchestrator://pipelines/main")).unwrap();
        assert_eq!(plan["stages"][0]["id"], "one");
        let listed = client.wait(client.service().list_all_resources()).unwrap();
        assert_eq!(listed.len(), 4);
        let templates = client.wait(client.service().list_all_resource_templates()).unwrap();
        assert_eq!(templates.len(), 4);
        let complete = |template: &str, name: &str, begun: &str| {
            client.wait(client.service().complete_resource_simple(template, name, begun)).unwrap()
        };
        let template = &templates[0].uri_template;
        assert_eq!(complete(template, "run", &run[..10]), [run.as_str()]);
        assert!(complete(template, "run", "nothing").is_empty());
        assert_eq!(complete(&templates[3].uri_template, "pipeline", "m"), ["main"]);
    }
}

#[test]
fn many_runs_are_listed_page_by_page() {
    let station = Station::with_stages(r#"[{ "id": "one", "command": "true" }]"#);
    let start = || station.run(&["start", "--quiet"]).expect(0);
    std::thread::scope(|scope| {
        // Two at a time: the machine's processors are what limits this test.
        for count in [26, 25] {
            scope.spawn(move || (0..count).for_each(|_| drop(start())));
        }
    });
    let client = Client::stdio(&station, with_sessions(), Person::default().into());
    let first = client.wait(client.service().list_resources(None)).unwrap();
    assert!(first.resources.len() == 151 && first.next_cursor.is_some());
    assert_eq!(client.wait(client.service().list_all_resources()).unwrap().len(), 1 + 3 * 51);
}

#[test]
#[expect(deprecated, reason = "this is how clients before 2026-07-28 subscribe")]
fn a_subscriber_with_a_session_is_told_of_changes() {
    let station = Station::with_stages(WAITING);
    let client = Client::stdio(&station, with_sessions(), Person::default().into());
    let run = client.start();
    let uri = format!("codex-orchestrator://runs/{run}/manifest");
    client.wait(client.service().subscribe(SubscribeRequestParams::new(&uri))).unwrap();
    station.repository().write("go", "");
    wait_for("the change is told", || client.person.updated.lock().unwrap().contains(&uri).then_some(()));
    let bad = client
        .wait(client.service().subscribe(SubscribeRequestParams::new("codex-orchestrator://pipelines")));
    assert!(bad.unwrap_err().to_string().contains("cannot be watched"));
}

#[test]
fn a_subscriber_without_a_session_is_told_of_changes() {
    let station = Station::with_stages(WAITING);
    let client = Client::stdio(&station, without_sessions(), Person::default().into());
    let run = client.start();
    let uri = format!("codex-orchestrator://runs/{run}/events");
    let filter = SubscriptionFilter::builder().resource_subscription(uri.as_str()).build();
    let mut subscription = client.wait(client.service().listen(filter)).unwrap();
    let mut told = || {
        let news = client.wait(subscription.next()).unwrap().expect("a notification");
        let ServerNotification::ResourceUpdatedNotification(news) = news else { panic!("{news:?}") };
        assert_eq!(news.params.uri, uri);
    };
    // At the beginning, so that nothing is lost between the answer and the first look; then of changes.
    told();
    station.repository().write("go", "");
    told();
}

#[test]
fn a_long_wait_reports_progress() {
    let station = Station::with_stages(WAITING);
    let client = Client::stdio(&station, with_sessions(), Person::default().into());
    let run = client.start();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| client.status_at_rest(&run));
        wait_for("progress is told", || {
            client.person.progress.lock().unwrap().contains(&"in_progress".to_owned()).then_some(())
        });
        station.repository().write("go", "");
        assert_eq!(waiting.join().unwrap()["status"], json!("succeeded"));
    });
}
