//! What the watcher and the HUD share: the newest states, the lines of the logs, and what the
//! person has asked for. Whoever holds the lock neither reads a file nor asks the runtime.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use co_engine::RunState;
use co_hud::{Action, Frame, LogBuffer, LogStream, LogWindow, Source};
use co_model::{EventSeq, RunId};
use co_runtime::Orchestrator;

use super::frame;

/// Lines of one log that are kept; the files have all of them.
pub(super) const LINES_KEPT: usize = 5_000;
/// Actions that may wait for the watcher.
const ACTIONS_KEPT: usize = 16;

/// The states of a run and of all runs below it.
#[derive(Clone)]
pub(super) struct Family {
    pub(super) root: RunId,
    pub(super) states: HashMap<RunId, RunState>,
    /// Why this process no longer follows the run, although it is not over.
    pub(super) lost: Option<String>,
}

pub(super) struct Board {
    pub(super) family: Family,
    /// What happened in the run, with the output of its stages.
    pub(super) run_log: LogBuffer,
    /// The output of one stage's newest attempt, with the row it belongs to.
    pub(super) stage_log: Option<(String, LogBuffer)>,
    /// The row whose log is on the screen.
    pub(super) wanted: Option<String>,
    pub(super) actions: Vec<Action>,
    pub(super) waker: Waker,
    pub(super) closed: bool,
}

impl Board {
    pub(super) fn new(root: &RunId) -> Self {
        Self {
            family: Family { root: root.clone(), states: HashMap::new(), lost: None },
            run_log: LogBuffer::new(LINES_KEPT),
            stage_log: None,
            wanted: None,
            actions: Vec::new(),
            waker: Waker::noop().clone(),
            closed: false,
        }
    }

    /// Adds a line of our own to the run's log.
    pub(super) fn note(&mut self, line: &str) {
        self.run_log.push(LogStream::Note, line.as_bytes());
        self.run_log.push(LogStream::Note, b"\n");
    }
}

/// Takes the lock; a panic elsewhere leaves nothing here that cannot be shown.
pub(super) fn lock(board: &Mutex<Board>) -> MutexGuard<'_, Board> {
    board.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Gives the HUD what is on the board.
pub(super) struct BoardSource<'a> {
    board: &'a Mutex<Board>,
    orchestrator: &'a Orchestrator,
    shown: EventSeq,
}

impl<'a> BoardSource<'a> {
    pub(super) fn new(board: &'a Mutex<Board>, orchestrator: &'a Orchestrator) -> Self {
        Self { board, orchestrator, shown: EventSeq(0) }
    }

    /// The last event of the newest frame.
    pub(super) fn shown(&self) -> EventSeq {
        self.shown
    }
}

impl Drop for BoardSource<'_> {
    fn drop(&mut self) {
        lock(self.board).closed = true;
    }
}

impl Source for BoardSource<'_> {
    fn frame(&mut self) -> Frame {
        let family = lock(self.board).family.clone();
        if let Some(root) = family.states.get(&family.root) {
            self.shown = root.last_seq;
        }
        frame::frame(&family, self.orchestrator.layout(), self.orchestrator.now())
    }

    fn log(&mut self, row: Option<&str>, end: Option<u64>, limit: usize) -> LogWindow {
        let mut board = lock(self.board);
        board.wanted = row.map(str::to_owned);
        match (row, &board.stage_log) {
            (None, _) => board.run_log.window(end, limit),
            (Some(row), Some((shown, lines))) if shown == row => lines.window(end, limit),
            // The watcher reads it at its next look, and wakes us then.
            (Some(_), _) => LogWindow::default(),
        }
    }

    fn act(&mut self, action: Action) {
        let mut board = lock(self.board);
        if board.actions.len() < ACTIONS_KEPT {
            board.actions.push(action);
        }
    }

    fn subscribe(&mut self, waker: Waker) {
        lock(self.board).waker = waker;
    }
}
