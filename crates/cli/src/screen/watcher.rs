//! The thread that keeps the board: it reads the run's events and output, and passes on what the
//! person asks for. Reads only what has changed since its last look.

use std::collections::HashMap;
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use co_engine::{RunState, StageState};
use co_hud::{Action, LogBuffer, LogStream};
use co_model::{
    Command, CommandKey, Envelope, Event, EventSeq, GrantScope, Recorded, RunId, StageId, Verdict,
};
use co_runtime::{Orchestrator, RunHandle, RuntimeError};

use super::board::{Board, Family, LINES_KEPT, lock};
use super::frame;
use super::output::Tail;
use crate::context::Context;
use crate::error::CliError;
use crate::progress::Progress;
use crate::signals::StopRequests;

/// The longest until output, child runs, keys and signals are looked at.
const LOOK: Duration = Duration::from_millis(50);
/// The shortest time between two looks.
const PACE: Duration = Duration::from_millis(40);
/// How many events are read at a time.
const PAGE: usize = 500;
/// Bytes of an attempt's output that may go into the run's log at one look.
const RUN_LOG_REACH: u64 = 256 << 10;
/// Bytes of an attempt's output that are read for the attempt's own log.
const STAGE_LOG_REACH: u64 = 8 << 20;

/// A child run that may still move.
struct Child {
    run: RunId,
    depth: usize,
    /// Whether its parent knows its end: everything it will ever record is there to be read.
    ended: bool,
}

/// An attempt under way, whose output goes into the run's log.
struct Printing {
    run: RunId,
    stage: StageId,
    attempt: u32,
    margin: String,
    tail: Tail,
    lines: LogBuffer,
}

/// The attempt whose output is the log on the screen.
struct Selected {
    row: String,
    attempt: u32,
    tail: Tail,
}

pub(super) struct Watcher<'a> {
    context: &'a Context,
    orchestrator: &'a Orchestrator,
    handle: &'a RunHandle,
    board: &'a Mutex<Board>,
    family: Family,
    words: HashMap<RunId, Progress>,
    children: Vec<Child>,
    printing: Vec<Printing>,
    selected: Option<Selected>,
}

impl<'a> Watcher<'a> {
    pub(super) fn new(
        context: &'a Context,
        orchestrator: &'a Orchestrator,
        handle: &'a RunHandle,
        board: &'a Mutex<Board>,
    ) -> Self {
        Self {
            context,
            orchestrator,
            handle,
            board,
            family: lock(board).family.clone(),
            words: HashMap::new(),
            children: Vec::new(),
            printing: Vec::new(),
            selected: None,
        }
    }

    /// Keeps the board until the HUD is closed. A log that cannot be read ends the HUD; whoever
    /// follows the run next meets the same failure and reports it.
    pub(super) fn watch(mut self, stop: &StopRequests) {
        while !lock(self.board).closed {
            let progressed = self.handle.wait(self.seen(self.handle.run()), LOOK);
            stop.heed(self.handle);
            let looked = self.look();
            let root = self.family.states.get(self.handle.run());
            let over = root.is_some_and(|state| state.status().is_over());
            let lost = match looked {
                Err(error) => Some(error.to_string()),
                Ok(()) if progressed.done && !over => {
                    Some("this process no longer follows the run".to_owned())
                }
                Ok(()) => None,
            };
            if lost.is_some() {
                self.family.lost = lost;
                self.publish();
                return;
            }
            if progressed.done {
                // The person reads on; a handle of a finished run waits no more.
                thread::park_timeout(LOOK);
            } else {
                // A run of many short stages is not looked at more often than it can be drawn.
                self.handle.wait(EventSeq(u64::MAX), PACE);
            }
        }
    }

    /// Takes in everything that is new.
    pub(super) fn look(&mut self) -> Result<(), CliError> {
        let mut changed = self.perform();
        changed |= self.take_in(&self.handle.run().clone(), 0)?;
        // Reading a child may reveal children of its own.
        let mut next = 0;
        while let Some(Child { run, depth, .. }) = self.children.get(next) {
            let (run, depth) = (run.clone(), *depth);
            changed |= self.take_in(&run, depth)?;
            next += 1;
        }
        self.children.retain(|child| !child.ended);
        for printing in &mut self.printing {
            changed |= printing.read(false, self.board);
        }
        changed |= self.read_selected();
        if changed {
            self.publish();
        }
        Ok(())
    }

    /// Puts the states of all runs on the board at once, so that no frame shows a parent without
    /// what its children did before.
    fn publish(&self) {
        let mut board = lock(self.board);
        board.family = self.family.clone();
        board.waker.wake_by_ref();
    }

    fn seen(&self, run: &RunId) -> EventSeq {
        self.family.states.get(run).map_or(EventSeq(0), |state| state.last_seq)
    }

    fn take_in(&mut self, run: &RunId, depth: usize) -> Result<bool, CliError> {
        let mut any = false;
        loop {
            let events = self.orchestrator.events(run, self.seen(run), PAGE)?;
            if events.is_empty() {
                return Ok(any);
            }
            any = true;
            for recorded in &events {
                self.evolve(run, recorded)
                    .map_err(|source| RuntimeError::Replay { run: run.clone(), source })?;
                self.follow_event(run, depth, &recorded.event);
                let words = self.words.entry(run.clone()).or_default().lines(recorded);
                let mut board = lock(self.board);
                for line in words {
                    board.note(&format!("{}{line}", "  ".repeat(depth)));
                }
            }
        }
    }

    fn evolve(&mut self, run: &RunId, recorded: &Recorded) -> Result<(), co_engine::ReplayError> {
        if let Some(state) = self.family.states.get_mut(run) {
            return state.evolve(recorded);
        }
        self.family.states.insert(run.clone(), RunState::create(recorded)?);
        Ok(())
    }

    /// Begins and ends to read what an event begins and ends.
    fn follow_event(&mut self, run: &RunId, depth: usize, event: &Event) {
        match event {
            Event::ChildRunStarting { run: child, .. } => {
                match self.children.iter_mut().find(|known| known.run == *child) {
                    Some(known) => known.ended = false,
                    None => self.children.push(Child { run: child.clone(), depth: depth + 1, ended: false }),
                }
            }
            Event::ChildRunFinished { run: child, .. } => {
                self.children.iter_mut().filter(|known| known.run == *child).for_each(|it| it.ended = true);
            }
            Event::AttemptStarting { stage, attempt } => {
                let Some(state) = self.family.states.get(run) else { return };
                let Some(record) = state.stage(stage) else { return };
                let layout = &self.context.layout;
                self.printing.push(Printing {
                    run: run.clone(),
                    stage: stage.clone(),
                    attempt: *attempt,
                    margin: format!("{}{stage} │ ", "  ".repeat(depth + 1)),
                    tail: Tail::new(layout, state, &record.definition, *attempt, RUN_LOG_REACH),
                    lines: LogBuffer::new(LINES_KEPT),
                });
            }
            Event::AttemptFinished { stage, attempt, .. } => {
                self.end_printing(|it| it.run == *run && it.stage == *stage && it.attempt == *attempt);
            }
            Event::RunInterrupted { .. } => self.end_printing(|it| it.run == *run),
            _ => {}
        }
    }

    fn end_printing(&mut self, ends: impl Fn(&Printing) -> bool) {
        for printing in self.printing.iter_mut().filter(|printing| ends(printing)) {
            printing.read(true, self.board);
        }
        self.printing.retain(|printing| !ends(printing));
    }

    /// Reads on in the log on the screen; says whether it has changed.
    fn read_selected(&mut self) -> bool {
        let wanted = lock(self.board).wanted.clone();
        let Some(row) = wanted else { return false };
        let Some((state, record)) = frame::of_row(&self.family, &row) else { return false };
        let attempt = record.attempts.last().map_or(0, |attempt| attempt.number);
        let mut changed = false;
        let selected = match &mut self.selected {
            Some(selected) if selected.row == row && selected.attempt == attempt => selected,
            other => {
                let mut lines = LogBuffer::new(LINES_KEPT);
                if attempt == 0 {
                    let words = frame::words_without_output(record);
                    lines.push(LogStream::Note, format!("{words}\n").as_bytes());
                }
                lock(self.board).stage_log = Some((row.clone(), lines));
                changed = true;
                let layout = &self.context.layout;
                let tail = Tail::new(layout, state, &record.definition, attempt, STAGE_LOG_REACH);
                other.insert(Selected { row, attempt, tail })
            }
        };
        if attempt > 0 {
            let is_over = record.state != StageState::Attempting { attempt };
            let board = self.board;
            changed |= selected.tail.read(is_over, |stream, bytes| {
                if let Some((_, lines)) = &mut lock(board).stage_log {
                    lines.push(stream, bytes);
                }
            });
            if is_over && let Some((_, lines)) = &mut lock(board).stage_log {
                finish(lines);
            }
        }
        changed
    }

    /// Does what the person asked for; says whether there is anything to show for it.
    fn perform(&mut self) -> bool {
        let actions = std::mem::take(&mut lock(self.board).actions);
        let mut refused = false;
        for action in actions {
            match action {
                Action::Cancel => self.handle.cancel(self.context.settings.actor.value.clone(), None),
                Action::CancelNow => self.handle.hurry(),
                Action::Answer { question, yes } => {
                    if let Err(why) = self.answer(&question, yes) {
                        lock(self.board).note(&format!("! the answer was not taken: {why}"));
                        refused = true;
                    }
                }
            }
        }
        refused
    }

    fn answer(&self, question: &str, yes: bool) -> Result<(), String> {
        let asked = frame::questions(&self.family).into_iter().find(|asked| asked.id == question);
        let asked = asked.ok_or("the question is no longer open")?;
        let envelope = Envelope {
            // A second press of the key is the same command.
            key: CommandKey(format!("hud:{question}")),
            actor: self.context.settings.actor.value.clone(),
            sent_at: self.orchestrator.now(),
            command: Command::Answer {
                stage: Some(asked.stage),
                call: asked.call,
                scope: GrantScope::Once,
                verdict: if yes { Verdict::Approve } else { Verdict::Deny },
                reason: None,
            },
        };
        // The owner settles it; a refusal is an event of the run, and shown as such.
        self.orchestrator.submit(&asked.run, &envelope).map_err(|error| error.to_string())?;
        Ok(())
    }
}

impl Printing {
    /// Copies the lines that are new into the run's log.
    fn read(&mut self, is_over: bool, board: &Mutex<Board>) -> bool {
        let Self { tail, lines, margin, .. } = self;
        let before = lines.window(None, 0).total;
        tail.read(is_over, |stream, bytes| lines.push(stream, bytes));
        if is_over {
            finish(lines);
        }
        let fresh = lines.window(None, 0).total - before;
        if fresh == 0 {
            return false;
        }
        let mut board = lock(board);
        for line in lines.window(None, usize::try_from(fresh).unwrap_or(usize::MAX)).lines {
            board.run_log.push(line.stream, format!("{margin}{}\n", line.text).as_bytes());
        }
        true
    }
}

fn finish(lines: &mut LogBuffer) {
    lines.finish(LogStream::Output);
    lines.finish(LogStream::Error);
}
