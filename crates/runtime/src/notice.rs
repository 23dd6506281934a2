//! Tells watchers that a run has moved, without ever waiting for them.
//!
//! Watchers read the events themselves, at their own pace: a slow terminal holds nobody up.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use co_model::EventSeq;

/// The watermark of one run.
#[derive(Debug, Default)]
pub(crate) struct Notice {
    reached: Mutex<Progressed>,
    changed: Condvar,
}

/// How far a run has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progressed {
    /// The last event, zero before the first.
    pub seq: u64,
    /// Whether the owner has finished with the run and its views are written.
    pub done: bool,
}

impl Notice {
    pub(crate) fn reached(&self, seq: EventSeq) {
        self.update(|progressed| progressed.seq = progressed.seq.max(seq.0));
    }

    pub(crate) fn done(&self) {
        self.update(|progressed| progressed.done = true);
    }

    fn update(&self, change: impl FnOnce(&mut Progressed)) {
        change(&mut self.reached.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.notify_all();
    }

    /// Waits until the run has moved beyond `seen`, is done, or `patience` is over.
    pub(crate) fn wait(&self, seen: EventSeq, patience: Duration) -> Progressed {
        let guard = self.reached.lock().unwrap_or_else(PoisonError::into_inner);
        let still = |progressed: &mut Progressed| progressed.seq <= seen.0 && !progressed.done;
        let (guard, _) =
            self.changed.wait_timeout_while(guard, patience, still).unwrap_or_else(PoisonError::into_inner);
        *guard
    }
}
