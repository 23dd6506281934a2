//! The HUD through its public door: what is on the screen, and what keys do.

mod keys;
mod screens;

use std::task::Waker;
use std::time::Duration;

use co_hud::{
    Action, AgentActivity, Frame, LogBuffer, LogStream, LogWindow, Source, StageKind, StageRow, View, draw,
};
use co_model::{RunStatus, StageStatus};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::layout::Size;

/// A source that stands still until the test moves it.
struct Still {
    frame: Frame,
    run_log: LogBuffer,
    stage_log: LogBuffer,
}

impl Still {
    fn new(frame: Frame) -> Self {
        Self { frame, run_log: LogBuffer::new(100), stage_log: LogBuffer::new(100) }
    }

    fn with_log(mut self, lines: &[&str]) -> Self {
        for line in lines {
            self.run_log.push(LogStream::Output, format!("{line}\n").as_bytes());
        }
        self
    }
}

impl Source for Still {
    fn frame(&mut self) -> Frame {
        self.frame.clone()
    }

    fn log(&mut self, stage: Option<&str>, end: Option<u64>, limit: usize) -> LogWindow {
        if stage.is_some() { self.stage_log.window(end, limit) } else { self.run_log.window(end, limit) }
    }

    fn act(&mut self, _: Action) {}

    fn subscribe(&mut self, _: Waker) {}
}

fn stage(id: &str, status: StageStatus, seconds: u64) -> StageRow {
    StageRow {
        id: id.to_owned(),
        title: id.to_owned(),
        kind: StageKind::Command,
        status,
        elapsed: (seconds > 0).then(|| Duration::from_secs(seconds)),
        attempt: u32::from(seconds > 0),
        summary: None,
        agent: None,
        depth: 0,
    }
}

fn running() -> Frame {
    Frame {
        run: "2026-11-21T08-00-09-528Z-5f8b6b44".to_owned(),
        task: "0101".to_owned(),
        pipeline: "Diagnostics".to_owned(),
        status: RunStatus::InProgress,
        status_detail: None,
        elapsed: Duration::from_secs(83),
        stages: vec![
            stage("build", StageStatus::Succeeded, 62),
            stage("lint", StageStatus::Skipped, 0),
            StageRow { attempt: 2, ..stage("test", StageStatus::Running, 21) },
            StageRow { kind: StageKind::Agent, ..stage("review", StageStatus::Pending, 0) },
        ],
        question: None,
        manifest: ".runs/0101/cli/r/manifest.json".to_owned(),
        log: ".runs/0101/cli/r/runner.ndjson".to_owned(),
    }
}

fn agent() -> AgentActivity {
    AgentActivity {
        thread: Some("0199a213-81c0".to_owned()),
        tokens: 1_234_567,
        last: "reads the plan\nruns `cargo test`".to_owned(),
    }
}

/// A view of the source as the loop would have it.
fn view(source: &mut Still, size: (u16, u16)) -> View {
    let mut view = View::new(source.frame(), Size::from(size), false);
    view.refresh(source);
    view
}

/// The screen of a view as text, one line per row, wide characters as they are.
fn screen(view: &View, (columns, rows): (u16, u16)) -> String {
    let mut terminal = Terminal::new(TestBackend::new(columns, rows)).unwrap();
    terminal.draw(|frame| draw(frame, view)).unwrap();
    // The backend cannot write out rows without columns.
    if columns == 0 { String::new() } else { terminal.backend().to_string() }
}
