//! A clock that a test moves, and runs to observe.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use co_model::{RunId, TaskId, Timestamp};
use co_telemetry::{Exporter, RunFacts, Surroundings, TelemetrySettings};

use crate::samples::{BEGAN_AT, whole_run};

pub(crate) const RUN: &str = "2026-11-18T11-06-40-000Z-00000001";

/// Waits as long as a broken test may take, never that long in a good one.
pub(crate) const LONG: Duration = Duration::from_secs(30);

/// A clock that stands still until it is moved, and dice that say when they were thrown.
#[derive(Clone)]
pub(crate) struct Clock {
    now: Arc<AtomicI64>,
    throws: Arc<(Mutex<usize>, Condvar)>,
}

impl Clock {
    pub(crate) fn new() -> Self {
        Self { now: Arc::new(AtomicI64::new(BEGAN_AT)), throws: Arc::default() }
    }

    pub(crate) fn advance(&self, seconds: i64) {
        self.now.fetch_add(seconds * 1_000, Ordering::SeqCst);
    }

    /// Waits until so many failures were noted in all: each throws the dice once, after it has looked at the clock.
    pub(crate) fn wait_for_failures(&self, count: usize) {
        let (throws, thrown) = &*self.throws;
        let waited =
            thrown.wait_timeout_while(throws.lock().unwrap(), LONG, |throws| *throws < count).unwrap();
        assert!(!waited.1.timed_out(), "{count} failures are noted");
    }

    pub(crate) fn surroundings(&self) -> Surroundings {
        let (now, throws) = (Arc::clone(&self.now), Arc::clone(&self.throws));
        Surroundings {
            now: Arc::new(move || Timestamp::from_millis(now.load(Ordering::SeqCst))),
            random: Arc::new(move || {
                *throws.0.lock().unwrap() += 1;
                throws.1.notify_all();
                500
            }),
        }
    }
}

pub(crate) fn facts(run: &str) -> RunFacts {
    RunFacts {
        run: RunId::new(run).unwrap(),
        task: TaskId::new("task-1").unwrap(),
        parent: None,
        workspace: "/home/person/work".to_owned(),
    }
}

/// Lets nothing leave before the end, however slow the machine is.
pub(crate) fn in_one_go(settings: TelemetrySettings) -> TelemetrySettings {
    TelemetrySettings { linger: LONG, first_linger: LONG, ..settings }
}

/// Starts an exporter and lets it see a whole run.
pub(crate) fn observed(settings: TelemetrySettings, clock: &Clock) -> Exporter {
    let exporter = Exporter::start(in_one_go(settings), clock.surroundings());
    for event in whole_run(RUN) {
        exporter.observe(&facts(RUN), &event);
    }
    exporter
}
