//! Live sessions, as clients of the Model Context Protocol use them.

use std::ops::Deref;
use std::sync::Arc;

use rmcp::model::ElicitationAction::{Accept, Cancel, Decline};
use serde_json::{Value, json};

use super::{Client, Person, Station, with_sessions, without_sessions};
use crate::support::wait_for;

/// A repository whose sessions end with the test.
struct Desk(Station);

impl Desk {
    fn with_settings(settings: &str, rules: &str) -> Self {
        let mut station = Station::with_stages(r#"[{ "id": "one", "command": "true" }]"#);
        let home = station.path("../codex-home");
        std::fs::create_dir_all(home.join("rules")).unwrap();
        std::fs::write(home.join("config.toml"), settings).unwrap();
        std::fs::write(home.join("rules/default.rules"), rules).unwrap();
        station.project.set("CODEX_HOME", home);
        Self(station)
    }
}

impl Deref for Desk {
    type Target = Station;

    fn deref(&self) -> &Station {
        &self.0
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        self.run(&["session", "kill", "--all"]);
    }
}

const ASKS: &str = "prefix_rule(pattern=[\"touch\"], decision=\"prompt\")";

/// What a person says who lets agents do as they like.
const LOOSE: &str = "sandbox_mode = \"danger-full-access\"\napproval_policy = \"never\"";
const CONFINED: &str = "sandbox_mode = \"workspace-write\"";

fn nobody() -> Arc<Person> {
    Person::default().into()
}

#[test]
fn a_session_lives_its_whole_life() {
    for lifecycle in [with_sessions(), without_sessions()] {
        let desk = Desk::with_settings(LOOSE, "");
        let client = Client::stdio(&desk, lifecycle, nobody());
        let begun = client.tool(
            "session_start",
            json!({ "command": ["/bin/sh", "-c", "echo up; exec /bin/sh"], "name": "dev", "tty": true, "yield_ms": 250 }),
        );
        assert_eq!((&begun["session"], &begun["running"]), (&json!("dev"), &json!(true)), "{begun}");
        client.tool("session_run", json!({ "session": "dev", "script": "export WORD=kept; cd /" }));
        let ran =
            client.tool("session_run", json!({ "session": "dev", "script": "echo $WORD; pwd; (exit 7)" }));
        assert_eq!((&ran["output"], &ran["exit_code"]), (&json!("kept\n/\n"), &json!(7)));
        assert_eq!(
            client.tool("session_resize", json!({ "session": "dev", "rows": 40, "columns": 100 })),
            json!({ "session": "dev", "done": "resized" })
        );
        let write = |text: &str| client.tool("session_write", json!({ "session": "dev", "text": text }));
        let mut seen = write("stty size; cat\n")["output"].as_str().unwrap().to_owned();
        // The terminal echoes it, and the program that is to be interrupted says it once more.
        seen += write("ping\n")["output"].as_str().unwrap();
        wait_for("the program answers", || {
            if seen.matches("ping").count() < 2 {
                let more = client.tool("session_poll", json!({ "session": "dev", "yield_ms": 5000 }));
                seen += more["output"].as_str().unwrap();
            }
            (seen.contains("40 100") && seen.matches("ping").count() >= 2).then_some(())
        });
        client.tool("session_signal", json!({ "session": "dev", "signal": "INT" }));
        // Until the program is gone it may still take what is meant for the shell, which then prompts.
        wait_for("the shell prompts", || {
            let prompt = client.tool("session_poll", json!({ "session": "dev", "yield_ms": 5000 }));
            (prompt["output"] != "").then_some(())
        });
        let back = client.tool("session_run", json!({ "session": "dev", "script": "echo back" }));
        assert_eq!(back["output"], "back\n");
        // It belongs to no connection.
        client.hang_up();
        let client = Client::stdio(&desk, with_sessions(), nobody());
        let listed = client.tool("session_list", json!({}));
        assert_eq!(
            (&listed["sessions"][0]["session"], &listed["sessions"][0]["sandbox"]),
            (&json!("dev"), &json!("danger-full-access")),
            "{listed}"
        );
        let again = client.tool("session_run", json!({ "session": "dev", "script": "echo $WORD" }));
        assert_eq!(again["output"], "kept\n");
        let killed = client.tool("session_kill", json!({ "session": "dev" }));
        assert_eq!((&killed["running"], &killed["ended"]), (&json!(false), &json!("killed")));
    }
}

#[test]
fn what_needs_consent_is_asked_before_it_is_done() {
    for lifecycle in [with_sessions(), without_sessions()] {
        let desk = Desk::with_settings(CONFINED, ASKS);
        let yes = (Accept, json!({ "answer": "yes" }));
        let no = (Accept, json!({ "answer": "no" }));
        let person = Person::who_says([yes, no, (Decline, Value::Null), (Cancel, Value::Null)]);
        let client = Client::stdio(&desk, lifecycle, person);
        client.tool("session_start", json!({ "command": ["/bin/sh"], "name": "dev", "yield_ms": 250 }));
        let ran = client.tool("session_run", json!({ "session": "dev", "script": "touch agreed" }));
        assert_eq!(ran["exit_code"], 0, "{ran}");
        for refused in ["touch one", "touch two", "touch three"] {
            let said = client.refused("session_run", json!({ "session": "dev", "script": refused }));
            assert!(said.contains("the person said no"), "{said}");
        }
        assert_eq!(client.person.asked.lock().unwrap().len(), 4);
        let found = ["agreed", "one", "two", "three"].map(|name| desk.path(name).exists());
        assert_eq!(found, [true, false, false, false]);
    }
}

#[test]
fn nobody_to_ask_and_never_are_refusals() {
    let desk = Desk::with_settings(CONFINED, ASKS);
    let client = Client::stdio(&desk, with_sessions(), nobody());
    client.tool("session_start", json!({ "command": ["/bin/sh"], "name": "dev", "yield_ms": 250 }));
    let said = client.refused("session_write", json!({ "session": "dev", "text": "touch x\n" }));
    assert!(said.contains("can ask nobody"), "{said}");
    drop(client);
    let desk = Desk::with_settings("approval_policy = \"never\"", ASKS);
    let client = Client::stdio(&desk, with_sessions(), Person::who_says([]));
    let said = client.refused("session_start", json!({ "command": ["touch", "x"] }));
    assert!(said.contains("AskForApproval is set to Never"), "{said}");
    assert!(client.person.asked.lock().unwrap().is_empty() && !desk.path("x").exists());
}

#[test]
fn an_agent_that_nothing_confines_is_asked_about_everything() {
    let desk = Desk::with_settings("", "prefix_rule(pattern=[\"echo\"], decision=\"allow\")");
    let client = Client::stdio(&desk, with_sessions(), nobody());
    let touch = json!({ "command": ["sh", "-c", "touch X"], "yield_ms": 250 });
    let said = client.refused("session_start", touch.clone());
    assert!(said.contains("requires approval, and this client can ask nobody"), "{said}");
    assert!(!desk.path("X").exists());
    let ruled = client.tool("session_start", json!({ "command": ["echo", "allowed"], "yield_ms": 5000 }));
    assert_eq!(ruled["output"], "allowed\n", "{ruled}");
    client.hang_up();
    let person = Person::who_says([(Accept, json!({ "answer": "yes" }))]);
    let client = Client::stdio(&desk, with_sessions(), person);
    client.tool("session_start", touch);
    wait_for("what was agreed to is done", || desk.path("X").exists().then_some(()));
    assert_eq!(client.person.asked.lock().unwrap().len(), 1);
}

#[test]
fn an_agents_shell_is_in_the_sandbox_of_the_settings() {
    let desk = Desk::with_settings("sandbox_mode = \"read-only\"", "");
    let client = Client::stdio(&desk, with_sessions(), nobody());
    client.tool("session_start", json!({ "command": ["/bin/sh"], "name": "dev", "yield_ms": 250 }));
    let ran = client.tool("session_run", json!({ "session": "dev", "script": "echo x > file" }));
    assert!(ran["output"].as_str().unwrap().contains("Read-only file system"), "{ran}");
    assert_eq!(client.tool("session_list", json!({}))["sessions"][0]["sandbox"], "read-only");
}

#[test]
fn what_makes_no_sense_is_refused_in_words() {
    let desk = Desk::with_settings(LOOSE, "");
    let client = Client::stdio(&desk, with_sessions(), nobody());
    client.tool("session_start", json!({ "command": ["/bin/sh"], "name": "dev", "yield_ms": 250 }));
    for (tool, arguments, expected) in [
        ("session_poll", json!({ "session": "nobody" }), "unknown session `nobody`"),
        ("session_poll", json!({ "session": "../x" }), "is not a session id"),
        ("session_poll", json!({ "session": "x".repeat(65) }), "is not a session id"),
        ("session_start", json!({ "command": [] }), "there is no program to start"),
        ("session_start", json!({ "command": ["true"], "name": "a b" }), "is not a session id"),
        ("session_start", json!({ "command": ["/bin/sh"], "name": "dev" }), "exists already"),
        ("session_start", json!({ "command": "true" }), "invalid type"),
        ("session_start", json!({ "command": ["no-such-program"] }), "`no-such-program` was not found"),
        ("session_write", json!({ "session": "dev" }), "missing field `text`"),
        ("session_write", json!({ "session": "dev", "text": "x", "extra": 1 }), "unknown field `extra`"),
        ("session_resize", json!({ "session": "dev", "rows": 1, "columns": 1 }), "no terminal"),
        ("session_resize", json!({ "session": "dev", "rows": 70_000, "columns": 1 }), "invalid value"),
        ("session_signal", json!({ "session": "dev", "signal": "NOPE" }), "unknown signal `NOPE`"),
    ] {
        let said = client.refused(tool, arguments.clone());
        assert!(said.contains(expected), "{tool} {arguments}: {said}");
    }
    client.tool("session_kill", json!({ "session": "dev" }));
    let ended = client.refused("session_run", json!({ "session": "dev", "script": "true" }));
    assert!(ended.contains("has ended"), "{ended}");
}
