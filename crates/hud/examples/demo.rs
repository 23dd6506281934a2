//! Animates a run that never happened: `cargo run -p co-hud --example demo -- [seconds] [stages]`.
#![expect(clippy::unwrap_used, reason = "a lock is poisoned only when the demo has failed already")]

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::task::Waker;
use std::time::{Duration, Instant};

use co_hud::{
    Action, AgentActivity, Frame, LogBuffer, LogStream, LogWindow, Question, Settings, Source, StageKind,
    StageRow, final_text, run,
};
use co_model::{RunStatus, StageStatus};

/// The run's whole state, shared by the thread that plays it and the HUD.
struct Shared {
    frame: Frame,
    log: LogBuffer,
    begun: Instant,
}

struct Play {
    shared: Arc<Mutex<Shared>>,
    actions: Sender<Action>,
    begin: Option<Box<dyn FnOnce(Waker) + Send>>,
}

impl Source for Play {
    fn frame(&mut self) -> Frame {
        let shared = self.shared.lock().unwrap();
        let mut frame = shared.frame.clone();
        if !frame.is_at_rest() {
            frame.elapsed = shared.begun.elapsed();
        }
        frame
    }

    fn log(&mut self, _stage: Option<&str>, end: Option<u64>, limit: usize) -> LogWindow {
        self.shared.lock().unwrap().log.window(end, limit)
    }

    fn act(&mut self, action: Action) {
        self.actions.send(action).ok();
    }

    fn subscribe(&mut self, waker: Waker) {
        if let Some(begin) = self.begin.take() {
            std::thread::spawn(move || begin(waker));
        }
    }
}

fn stage(number: usize) -> StageRow {
    let kind = [StageKind::Command, StageKind::Agent, StageKind::Gate, StageKind::Pipeline][number % 4];
    StageRow {
        id: format!("stage-{number}"),
        title: ["Build 建設", "Write the change", "Approve the plan", "Diagnostics"][number % 4].to_owned(),
        kind,
        status: StageStatus::Pending,
        elapsed: None,
        attempt: 0,
        summary: None,
        agent: None,
        depth: u16::from(number > 4 && number % 4 != 3),
    }
}

fn play(shared: &Mutex<Shared>, actions: &Receiver<Action>, waker: &Waker, seconds: f64) {
    let stages = shared.lock().unwrap().frame.stages.len();
    let pause = Duration::from_secs_f64(seconds / 20.0);
    let mut end = (RunStatus::Succeeded, None);
    'run: for number in 0..stages {
        let begun = Instant::now();
        for step in 0..20 {
            {
                let mut shared = shared.lock().unwrap();
                let row = &mut shared.frame.stages[number];
                row.status = StageStatus::Running;
                row.attempt = 1 + u32::from(step > 9 && number == 0);
                row.elapsed = Some(begun.elapsed());
                if row.kind == StageKind::Agent {
                    row.agent = Some(AgentActivity {
                        thread: Some("0199a213-81c0-7800-8aa1-bbab2a035a53".to_owned()),
                        tokens: 1234 * step,
                        last: format!("edits crates/hud/src/draw.rs, change {step}"),
                    });
                }
                if row.kind == StageKind::Gate {
                    row.status = StageStatus::Waiting;
                    let text = format!("May the agent run this command ({step})?\n  git push origin hud");
                    shared.frame.question = Some(Question { id: number.to_string(), text });
                }
                let line =
                    format!("\u{1b}[32mline {step}\u{1b}[0m of stage {number} 星星 {}\n", "·".repeat(150));
                shared
                    .log
                    .push(if step % 7 == 3 { LogStream::Error } else { LogStream::Output }, line.as_bytes());
            }
            waker.wake_by_ref();
            match actions.recv_timeout(pause) {
                Ok(Action::Cancel | Action::CancelNow) => {
                    shared.lock().unwrap().frame.stages[number].status = StageStatus::Cancelled;
                    end = (RunStatus::Cancelled, Some("by the person at the HUD".to_owned()));
                    break 'run;
                }
                Ok(Action::Answer { .. }) => break,
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
            }
        }
        let mut shared = shared.lock().unwrap();
        shared.frame.question = None;
        shared.frame.stages[number].status = StageStatus::Succeeded;
        shared.frame.stages[number].summary = Some("exit code 0".to_owned());
    }
    let mut shared = shared.lock().unwrap();
    shared.frame.question = None;
    shared.frame.elapsed = shared.begun.elapsed();
    (shared.frame.status, shared.frame.status_detail) = end;
    drop(shared);
    waker.wake_by_ref();
}

#[expect(clippy::print_stdout, reason = "the last state stays in the scrollback")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let seconds: f64 = arguments.next().map_or(Ok(5.0), |text| text.parse())?;
    let stages: usize = arguments.next().map_or(Ok(8), |text| text.parse())?;
    let frame = Frame {
        run: "2026-11-21T08-00-09-528Z-5f8b6b44".to_owned(),
        task: "0101".to_owned(),
        pipeline: "Diagnostics with Guardrails".to_owned(),
        status: RunStatus::InProgress,
        status_detail: None,
        elapsed: Duration::ZERO,
        stages: (0..stages).map(stage).collect(),
        question: None,
        manifest: ".runs/0101/cli/2026-11-21T08-00-09-528Z-5f8b6b44/manifest.json".to_owned(),
        log: ".runs/0101/cli/2026-11-21T08-00-09-528Z-5f8b6b44/runner.ndjson".to_owned(),
    };
    let shared = Arc::new(Mutex::new(Shared { frame, log: LogBuffer::new(2000), begun: Instant::now() }));
    let (sender, actions) = channel();
    let player = Arc::clone(&shared);
    let begin = Box::new(move |waker: Waker| play(&player, &actions, &waker, seconds));
    let last = run(&mut Play { shared, actions: sender, begin: Some(begin) }, Settings { colour: true })?;
    print!("{}", final_text(&last));
    Ok(())
}
