//! Agents that misbehave, played by a program that does so on command.

use std::ffi::OsString;

use co_agents::{AgentExit, AgentRequest, AgentVerdict, FailureClass, ThreadId, judge};
use co_testkit::fake_agent::{Action, FakeAgentRecord, FakeAgentScript, SCRIPT_VARIABLE};
use co_testkit::program;
use serde_json::json;
use tempfile::TempDir;

use crate::play::{Played, play};

fn act(actions: Vec<Action>, thread: Option<&ThreadId>) -> (Played, FakeAgentRecord) {
    let directory = TempDir::new().unwrap();
    let record = directory.path().join("record.json");
    let script = FakeAgentScript { record: Some(record.clone()), ignores_termination: false, actions };
    let path = directory.path().join("script.json");
    std::fs::write(&path, serde_json::to_vec(&script).unwrap()).unwrap();
    let fake = program("co-fake-agent");
    let environment = |_: &str| None;
    let request = AgentRequest {
        program: Some(&fake),
        thread,
        ..AgentRequest::new("codex", "prompt", directory.path(), &environment)
    };
    let played = play(&request, &[(SCRIPT_VARIABLE.into(), OsString::from(path))]);
    (played, serde_json::from_slice(&std::fs::read(record).unwrap()).unwrap())
}

fn thread() -> Action {
    Action::Thread { id: "t-1".into(), obey: true }
}

fn turn() -> Action {
    Action::Turn { message: "done".into() }
}

#[track_caller]
fn class(played: &Played) -> FailureClass {
    match judge(&played.report, played.exit, &played.stderr, None) {
        AgentVerdict::Failed { class, .. } => class,
        AgentVerdict::Succeeded => panic!("accepted {played:?}"),
    }
}

#[test]
fn an_ordinary_turn_of_the_fake_is_a_success() {
    let (played, record) = act(vec![thread(), turn()], None);
    assert_eq!(judge(&played.report, played.exit, &played.stderr, None), AgentVerdict::Succeeded);
    assert_eq!(played.report.file_changes[0].path, "changed.txt");
    assert_eq!((record.stdin.as_str(), record.arguments.last().unwrap().as_str()), ("prompt", "-"));
    assert_eq!(record.environment_names, [SCRIPT_VARIABLE]);
}

#[test]
fn a_resume_that_is_not_honoured_is_not_accepted() {
    let asked: ThreadId = "t-7".parse().unwrap();
    let (played, record) = act(vec![thread(), turn()], Some(&asked));
    assert_eq!(judge(&played.report, played.exit, "", Some(&asked)), AgentVerdict::Succeeded);
    assert_eq!(record.arguments[record.arguments.len() - 3..], ["resume", "t-7", "-"]);
    let (played, _) = act(vec![Action::Thread { id: "t-1".into(), obey: false }, turn()], Some(&asked));
    let AgentVerdict::Failed { class, .. } = judge(&played.report, played.exit, "", Some(&asked)) else {
        panic!("accepted");
    };
    assert_eq!(class, FailureClass::ThreadMismatch);
}

#[test]
fn a_flood_and_a_line_of_ten_megabytes_are_read_through() {
    let (played, _) = act(
        vec![thread(), Action::Flood { bytes: 20_000_000 }, Action::LongLine { bytes: 10_000_000 }, turn()],
        None,
    );
    assert_eq!(judge(&played.report, played.exit, "", None), AgentVerdict::Succeeded);
    assert!(played.report.known_events > 20_000);
    assert_eq!((played.report.overlong_lines, played.report.garbage_lines), (0, 0));
}

#[test]
fn a_death_in_mid_line_is_a_truncation_or_a_kill() {
    let half = || Action::Text { text: r#"{"type":"turn.comp"#.into() };
    let (played, _) = act(vec![thread(), half(), Action::Exit { code: 0 }], None);
    assert_eq!(class(&played), FailureClass::Truncated);
    let (played, _) = act(vec![thread(), half(), Action::Kill { signal: 9 }], None);
    assert_eq!(
        (class(&played), played.exit),
        (FailureClass::Killed { signal: 9 }, AgentExit::Signal { signal: 9 })
    );
    assert!(played.report.truncated_last_line);
}

#[test]
fn another_program_in_the_agents_place_is_told_by_its_output() {
    let (played, _) = act(vec![Action::Garbage { bytes: 100_000 }], None);
    assert_eq!(class(&played), FailureClass::Garbage);
    let (played, _) = act(vec![Action::Stderr { text: "Error: no".into() }, Action::Exit { code: 2 }], None);
    assert_eq!(class(&played), FailureClass::InvalidConfiguration);
}

#[test]
fn a_completed_turn_with_a_failing_exit_is_a_failure() {
    let (played, _) = act(vec![thread(), turn(), Action::Exit { code: 3 }], None);
    assert_eq!(class(&played), FailureClass::TurnFailed);
    let event = json!({"type": "turn.failed", "error": {"message": "exceeded retry limit, last status: 429 Too Many Requests"}});
    let (played, _) = act(vec![thread(), Action::Event { event }, Action::Exit { code: 1 }], None);
    assert_eq!(class(&played), FailureClass::RateLimited);
}
