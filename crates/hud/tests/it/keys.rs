//! What each key does to the view and asks of the run.

use co_hud::{Question, key};
use crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::*;

const SIZE: (u16, u16) = (70, 18);

fn press(view: &mut View, code: KeyCode) -> Option<Action> {
    key(view, KeyEvent::from(code))
}

fn type_keys(view: &mut View, text: &str) -> Vec<Action> {
    text.chars().filter_map(|typed| press(view, KeyCode::Char(typed))).collect()
}

fn asking(text: &str) -> Frame {
    Frame { question: Some(Question { id: "q7".to_owned(), text: text.to_owned() }), ..running() }
}

fn footer(view: &View) -> String {
    screen(view, SIZE).lines().last().unwrap_or_default().to_owned()
}

#[test]
fn cancelling_asks_once_and_a_second_cancel_ends_at_once() {
    let mut source = Still::new(running());
    let mut view = view(&mut source, SIZE);
    assert_eq!(type_keys(&mut view, "c"), []);
    assert!(footer(&view).contains("c confirms"));
    assert_eq!(type_keys(&mut view, "jc"), [], "another key takes the question back");
    assert_eq!(type_keys(&mut view, "c"), [Action::Cancel]);
    assert!(footer(&view).contains("ends it at once"));
    assert_eq!(type_keys(&mut view, "jc"), [Action::CancelNow]);
    assert_eq!(type_keys(&mut view, "cc"), [], "there is no more to do");
}

#[test]
fn control_c_is_a_cancel_too() {
    let mut view = view(&mut Still::new(running()), SIZE);
    let control_c = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
    assert_eq!(key(&mut view, control_c), None);
    assert_eq!(key(&mut view, control_c), Some(Action::Cancel));
    assert_eq!(key(&mut view, control_c), Some(Action::CancelNow));
}

#[test]
fn a_run_that_is_over_is_not_cancelled() {
    let mut view = view(&mut Still::new(Frame { status: RunStatus::Failed, ..running() }), SIZE);
    assert_eq!(type_keys(&mut view, "ccc"), []);
    assert!(footer(&view).contains("the run is over"));
}

#[test]
fn an_answer_names_the_question_that_was_shown() {
    let mut view = view(&mut Still::new(asking("Push?")), SIZE);
    let answer = |yes| Action::Answer { question: "q7".to_owned(), yes };
    assert_eq!(type_keys(&mut view, "yn"), [answer(true), answer(false)]);
}

#[test]
fn a_yes_needs_the_whole_question_on_the_screen() {
    let long = "word ".repeat(400);
    for frame in [asking(&long), asking(&"x".repeat(1_000_000))] {
        let mut view = view(&mut Still::new(frame), SIZE);
        assert_eq!(type_keys(&mut view, "y"), []);
        assert!(footer(&view).contains("the whole question must be on the screen"));
        assert_eq!(type_keys(&mut view, "n").len(), 1, "a no needs no reading");
    }
    let mut view = view(&mut Still::new(asking("Push?")), SIZE);
    assert_eq!(type_keys(&mut view, "?y"), [], "the help hides the question");
    assert_eq!(type_keys(&mut view, "?y").len(), 1);
}

#[test]
fn without_a_question_there_is_nothing_to_answer() {
    let mut view = view(&mut Still::new(running()), SIZE);
    assert_eq!(type_keys(&mut view, "yn"), []);
    assert!(footer(&view).contains("no question is open"));
}

#[test]
fn only_presses_count() {
    let mut view = view(&mut Still::new(asking("Push?")), SIZE);
    for kind in [KeyEventKind::Release, KeyEventKind::Repeat] {
        let event = KeyEvent::new_with_kind(KeyCode::Char('y'), KeyModifiers::NONE, kind);
        assert_eq!(key(&mut view, event), None);
    }
    let control = KeyEvent::new(KeyCode::Char('y'), KeyModifiers::CONTROL);
    let alt = KeyEvent::new(KeyCode::Char('y'), KeyModifiers::ALT);
    assert_eq!((key(&mut view, control), key(&mut view, alt)), (None, None));
}

#[test]
fn selecting_a_stage_shows_its_log() {
    let mut source = Still::new(running()).with_log(&["of the run"]);
    source.stage_log.push(LogStream::Error, b"of the stage\n");
    let mut view = view(&mut source, SIZE);
    assert!(screen(&view, SIZE).contains("of the run"));
    press(&mut view, KeyCode::Char('j'));
    view.refresh(&mut source);
    let shown = screen(&view, SIZE);
    assert!(shown.contains("›▸ test"), "the selection begins at the stage at work:\n{shown}");
    assert!(shown.contains("log of test · following") && shown.contains("of the stage"), "{shown}");
    press(&mut view, KeyCode::BackTab);
    assert!(screen(&view, SIZE).contains("›– lint"));
    press(&mut view, KeyCode::Esc);
    view.refresh(&mut source);
    assert!(screen(&view, SIZE).contains("of the run"));
}

#[test]
fn a_held_log_stands_still_until_it_is_followed_again() {
    let lines: Vec<String> = (1..=40).map(|number| format!("line {number}.")).collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let mut source = Still::new(running()).with_log(&lines);
    let mut view = view(&mut source, SIZE);
    let mut after = |view: &mut View, code| {
        press(view, code);
        source.run_log.push(LogStream::Output, b"newer.\n");
        view.refresh(&mut source);
        screen(view, SIZE)
    };
    let held = after(&mut view, KeyCode::Up);
    assert!(held.contains("line 39.") && !held.contains("line 40."), "{held}");
    let still = after(&mut view, KeyCode::F(5));
    assert!(still.contains("line 39.") && !still.contains("newer."), "{still}");
    let oldest = after(&mut view, KeyCode::Home);
    assert!(oldest.contains("line 1.") && oldest.contains("lines 1–"), "{oldest}");
    let page = after(&mut view, KeyCode::PageDown);
    assert!(!page.contains("line 1.") && page.contains("line 9."), "{page}");
    let newest = after(&mut view, KeyCode::Char('f'));
    assert!(newest.contains("newer.") && newest.contains("following"), "{newest}");
}

#[test]
fn scrolling_down_to_the_end_follows_again() {
    let mut source = Still::new(running()).with_log(&["line"; 40]);
    let mut view = view(&mut source, SIZE);
    press(&mut view, KeyCode::PageUp);
    press(&mut view, KeyCode::PageDown);
    assert!(screen(&view, SIZE).contains("following"));
}
