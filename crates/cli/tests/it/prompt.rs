//! Questions on the terminal of whoever follows a run.

use serde_json::{Value, json};

use crate::support::{Project, wait_for};
use crate::terminal::{Left, Terminal};

/// So many stages that want the very same thing, each with consent.
fn same_thing_asked(times: usize) -> String {
    let stage =
        |number| json!({ "id": format!("s{number}"), "command": "echo x >> done", "approval": "required" });
    let stages: Vec<Value> = (1..=times).map(stage).collect();
    json!([{ "id": "p", "stages": stages }]).to_string()
}

fn project(pipelines: &str) -> Project {
    let mut project = Project::with_pipelines(pipelines);
    project.set("TERM", "xterm-256color");
    project
}

/// The sources of the decisions of the newest run, in their order.
fn sources(project: &Project) -> Vec<String> {
    let run = project.run(&["status", "--format", "json"]).expect(0).json()["run_id"].clone();
    let manifest = project.manifest(run.as_str().unwrap());
    let decisions = manifest["tool_decisions"].as_array().unwrap_or_else(|| panic!("{manifest:#}"));
    decisions.iter().map(|decided| decided["decision"]["source"].as_str().unwrap().to_owned()).collect()
}

fn lines(project: &Project, path: &str) -> usize {
    std::fs::read_to_string(project.path(path)).unwrap_or_default().lines().count()
}

#[track_caller]
fn succeeded(left: &Left) {
    assert_eq!(left.code, Some(0), "{left:#?}");
}

#[test]
fn the_same_thing_is_asked_once_and_both_calls_are_recorded() {
    let project = project(&same_thing_asked(2));
    let terminal = Terminal::start(&project, &["start", "p"]);
    let screen = terminal.shows(&["? s1", "Run: echo x >> done", "in       ", "[y]es, once", "›"]);
    assert!(screen.contains("sandbox  danger-full-access, network on"), "{screen}");
    terminal.keys("run\n");
    let left = terminal.end();
    succeeded(&left);
    assert_eq!(left.raw.matches("[y]es, once").count(), 1, "{left:#?}");
    assert_eq!(sources(&project), ["prompt", "cache"]);
    let run = project.run(&["status", "--format", "json"]).expect(0).json()["run_id"].clone();
    let approvals = project.manifest(run.as_str().unwrap())["approvals"].clone();
    let told: Vec<_> =
        approvals.as_array().unwrap().iter().map(|told| (&told["source"], &told["verdict"])).collect();
    let approved = json!("approved");
    assert_eq!(told, [(&json!("prompt"), &approved), (&json!("cache"), &approved)]);
    assert_eq!(lines(&project, "done"), 2);
}

#[test]
fn nine_of_ten_repeated_calls_of_a_session_reuse_its_consent() {
    let mut project = project(&same_thing_asked(10));
    project.set("CODEX_ORCHESTRATOR_SESSION", "monday");
    let terminal = Terminal::start(&project, &["start", "p"]);
    terminal.shows(&["in this [s]ession"]);
    terminal.keys("s\n");
    succeeded(&terminal.end());
    let first = sources(&project);
    succeeded(&Terminal::start(&project, &["start", "p"]).end());
    let all: Vec<String> = first.into_iter().chain(sources(&project)).collect();
    let reused = all.iter().filter(|source| *source == "cache").count();
    assert_eq!((all.len(), reused), (20, 19), "{all:?}");
}

#[test]
fn another_terminal_is_another_session() {
    let project = project(&same_thing_asked(1));
    let terminal = Terminal::start(&project, &["start", "p"]);
    terminal.shows(&["in this [s]ession"]);
    terminal.keys("s\n");
    succeeded(&terminal.end());
    let other = Terminal::start(&project, &["start", "p"]);
    other.shows(&["in this [s]ession"]);
    other.keys("n\n");
    assert_ne!(other.end().code, Some(0));
    assert_eq!(lines(&project, "done"), 1);
}

#[test]
#[cfg(target_os = "linux")]
fn in_a_container_without_a_session_leader_one_is_asked_and_answers() {
    let project = project(&same_thing_asked(1));
    let terminal = Terminal::in_container(&project, &["start", "p"]);
    let screen = terminal.shows(&["? s1", "[y]es, once", "›"]);
    assert!(!screen.contains("[s]ession"), "there is none to remember it for:\n{screen}");
    terminal.keys("y\n");
    succeeded(&terminal.end());
    assert_eq!(sources(&project), ["prompt"]);
    assert_eq!(lines(&project, "done"), 1);
}

#[test]
fn what_was_typed_before_the_question_does_not_answer_it() {
    let project = project(
        r#"[{ "id": "p", "stages": [
            { "id": "wait", "command": "while ! test -e go; do sleep 0.02; done" },
            { "id": "ask", "command": "touch wrong", "approval": "required" }
        ]}]"#,
    );
    let terminal = Terminal::start(&project, &["start", "p"]);
    terminal.shows(&["wait"]);
    terminal.keys("yes\n");
    terminal.shows(&["yes"]);
    project.repository().write("go", "");
    terminal.shows(&["? ask", "›"]);
    terminal.keys("n\n");
    let left = terminal.end();
    assert_eq!(left.code, Some(11), "{left:#?}");
    assert!(!project.path("wrong").exists());
    assert_eq!(sources(&project), ["prompt"]);
}

#[test]
fn whoever_is_first_answers_and_the_prompt_goes_away() {
    let project = project(&same_thing_asked(1));
    let terminal = Terminal::start(&project, &["start", "p"]);
    terminal.shows(&["›"]);
    let run = project.run(&["status", "--format", "json"]).expect(0).json()["run_id"].clone();
    project.run(&["answer", "--run", run.as_str().unwrap(), "yes", "--actor", "grace"]).expect(0);
    let left = terminal.end();
    succeeded(&left);
    assert!(left.text.contains("approved by grace"), "{left:#?}");
}

#[test]
fn a_gate_takes_yes_or_no_and_nothing_else() {
    let project =
        project(r#"[{ "id": "p", "stages": [{ "kind": "gate", "id": "gate", "message": "Go on?" }] }]"#);
    let terminal = Terminal::start(&project, &["start", "p"]);
    terminal.shows(&["Go on?", "[y]es  [n]o ›"]);
    terminal.keys("always\n");
    wait_for("the choices again", || {
        (terminal.display().raw_text().matches("[y]es").count() == 2).then_some(())
    });
    terminal.keys("y\n");
    succeeded(&terminal.end());
}

#[test]
fn a_command_that_would_paint_over_the_question_is_shown_as_it_is() {
    let hostile = json!([{ "id": "p", "stages": [{
        "id": "ask", "approval": "required",
        "command": ["echo", "\u{1b}[2J\u{1b}[Hharmless", "a\u{202e}b", "two words"]
    }]}]);
    let project = project(&hostile.to_string());
    let terminal = Terminal::start(&project, &["start", "p"]);
    let screen = terminal.shows(&["›"]);
    assert!(screen.contains(r"argument \u{1b}[2J\u{1b}[Hharmless"), "{screen}");
    assert!(screen.contains(r"argument a\u{202e}b") && screen.contains("argument two words"), "{screen}");
    terminal.keys("n\n");
    let left = terminal.end();
    assert!(!left.raw.contains("\u{1b}[2J") && !left.raw.contains('\u{202e}'), "{left:#?}");
}

#[test]
fn exec_asks_too_and_a_redirected_standard_input_answers_nothing() {
    let mut project = project("[]");
    let home = project.root().parent().unwrap().join("codex-home");
    std::fs::create_dir_all(home.join("rules")).unwrap();
    std::fs::write(
        home.join("rules/ours.rules"),
        "prefix_rule(pattern = [\"touch\"], decision = \"prompt\")\n",
    )
    .unwrap();
    project.set("CODEX_HOME", &home);
    let terminal = Terminal::start(&project, &["exec", "--", "touch", "made"]);
    terminal.shows(&["Run: touch made", "›"]);
    terminal.keys("y\n");
    succeeded(&terminal.end());
    assert!(project.path("made").exists());
}

#[test]
fn what_asks_to_leave_its_sandbox_says_so_under_the_question() {
    let project = project("[]");
    let terminal = Terminal::start(&project, &["exec", "--sandbox", "read-only", "--", "touch", "made"]);
    let screen = terminal.shows(&["Run outside the sandbox: touch made", "none, instead of read-only", "›"]);
    assert!(screen.find("? exec") < screen.find("none, instead of"), "{screen}");
    terminal.keys("y\n");
    succeeded(&terminal.end());
    assert!(project.path("made").exists());
}
