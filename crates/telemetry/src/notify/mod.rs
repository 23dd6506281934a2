//! Tells programs and web addresses about the few events that people wait for.
//!
//! One thread and one bounded queue per target, so that a slow one holds up no other and none holds up a run. A
//! target that fails is tried again a few times, then named in the [`DeliveryReport`]; it never fails a run.
//! Programs are started by the function that was injected: this room starts none.

mod delivery;
mod message;
mod target;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use co_model::Recorded;

pub use delivery::{ProgramHook, StartProgram, signature};
pub use message::{NotificationKind, UnknownKind};
pub use target::{Delivery, NotifySettings, Target, TargetError};

use crate::{RunFacts, Surroundings};
use delivery::Courier;
use message::Message;

/// Messages that may wait for one target.
const QUEUE: usize = 256;
/// Failures that a report names per target.
const MOST_FAILURES: usize = 16;

/// What became of the notifications of a run.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DeliveryReport {
    /// Every target, as it may be shown.
    pub targets: Vec<String>,
    /// Targets that got everything that was meant for them, and at least one message.
    pub delivered: Vec<String>,
    /// What did not arrive.
    pub failures: Vec<DeliveryFailure>,
}

/// A message that did not arrive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryFailure {
    /// The target, as it may be shown.
    pub target: String,
    /// What kind of message, in its own spelling.
    pub kind: String,
    /// How often it was tried.
    pub attempts: u32,
    /// The last thing that went wrong, one line, without secrets.
    pub reason: String,
}

/// Delivers notifications. Does nothing at all without targets.
#[derive(Debug)]
#[must_use = "what is still waiting is delivered by `finish`"]
pub struct Notifier {
    lines: Vec<Line>,
}

/// One target with its thread.
#[derive(Debug)]
struct Line {
    target: Target,
    queue: SyncSender<Message>,
    done: Receiver<()>,
    ledger: Arc<Ledger>,
}

/// What both sides of a line look at.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    delivered: AtomicU64,
    waiting: AtomicU64,
    /// Nobody waits any more: try nothing further.
    pub(crate) abandoned: AtomicBool,
    failures: Mutex<Vec<DeliveryFailure>>,
}

impl Notifier {
    /// Starts one thread per target; without targets nothing is started.
    pub fn start(
        settings: &NotifySettings,
        start_program: &StartProgram,
        surroundings: &Surroundings,
    ) -> Self {
        let lines = settings.targets.iter().filter_map(|target| {
            let (queue, messages) = sync_channel::<Message>(QUEUE);
            let (tell_done, done) = sync_channel(1);
            let ledger = Arc::new(Ledger::default());
            let courier = Courier::new(settings, target, Arc::clone(start_program), surroundings.clone());
            let shared = Arc::clone(&ledger);
            let work = move || {
                for message in messages {
                    if shared.abandoned.load(Ordering::Relaxed) {
                        break;
                    }
                    shared.note(courier.deliver(&message, &shared), &courier, &message);
                }
                // Nobody waits when the patience was over first.
                tell_done.try_send(()).ok();
            };
            thread::Builder::new().name("notify".to_owned()).spawn(work).ok()?;
            Some(Line { target: target.clone(), queue, done, ledger })
        });
        Self { lines: lines.collect() }
    }

    /// Whether anybody is told anything.
    pub const fn is_on(&self) -> bool {
        !self.lines.is_empty()
    }

    /// Tells the targets that wait for this kind of event. Never blocks: without room the message is dropped and
    /// reported.
    pub fn observe(&self, run: &RunFacts, recorded: &Recorded) {
        if self.is_on()
            && let Some(message) = Message::about(run, recorded)
        {
            self.send(&message);
        }
    }

    /// Tells the targets of [`NotificationKind::RunSummary`] how the run ended, in the surface's own JSON.
    pub fn announce_summary(&self, run: &RunFacts, summary: &serde_json::Value) {
        if self.is_on() {
            self.send(&Message::summary(run, summary));
        }
    }

    fn send(&self, message: &Message) {
        for line in self.lines.iter().filter(|line| line.target.kinds.contains(&message.kind)) {
            line.ledger.waiting.fetch_add(1, Ordering::Relaxed);
            if line.queue.try_send(message.clone()).is_err() {
                line.ledger.waiting.fetch_sub(1, Ordering::Relaxed);
                line.ledger.failed(DeliveryFailure {
                    target: line.target.to_string(),
                    kind: message.kind.as_str().to_owned(),
                    attempts: 0,
                    reason: "too many messages were waiting".to_owned(),
                });
            }
        }
    }

    /// Waits until everything is delivered or given up, at most for `patience`, and says what became of it.
    pub fn finish(self, patience: Duration) -> DeliveryReport {
        let deadline = Instant::now() + patience;
        let mut report = DeliveryReport::default();
        // Closing every queue first lets the targets finish side by side.
        let closed: Vec<_> =
            self.lines.into_iter().map(|line| (line.target.to_string(), line.done, line.ledger)).collect();
        for (target, done, ledger) in closed {
            let left = deadline.saturating_duration_since(Instant::now());
            if matches!(done.recv_timeout(left), Err(RecvTimeoutError::Timeout)) {
                ledger.abandoned.store(true, Ordering::Relaxed);
                let waiting = ledger.waiting.load(Ordering::Relaxed);
                ledger.failed(DeliveryFailure {
                    target: target.clone(),
                    kind: "any".to_owned(),
                    attempts: 0,
                    reason: format!("{waiting} not delivered before the end of the run"),
                });
            }
            let failures = ledger.failures.lock().unwrap_or_else(PoisonError::into_inner).clone();
            if failures.is_empty() && ledger.delivered.load(Ordering::Relaxed) > 0 {
                report.delivered.push(target.clone());
            }
            report.targets.push(target);
            report.failures.extend(failures);
        }
        report
    }
}

impl Ledger {
    fn note(&self, outcome: Result<(), (u32, String)>, courier: &Courier, message: &Message) {
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        match outcome {
            Ok(()) => {
                self.delivered.fetch_add(1, Ordering::Relaxed);
            }
            Err((attempts, reason)) => self.failed(DeliveryFailure {
                target: courier.target().to_string(),
                kind: message.kind.as_str().to_owned(),
                attempts,
                reason,
            }),
        }
    }

    fn failed(&self, failure: DeliveryFailure) {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        if failures.len() < MOST_FAILURES {
            failures.push(failure);
        }
    }
}

/// Removes repetitions, keeping the first of each.
pub(crate) fn without_repetitions(targets: Vec<Target>) -> Vec<Target> {
    let mut kept: Vec<Target> = Vec::with_capacity(targets.len());
    for target in targets {
        if !kept.contains(&target) {
            kept.push(target);
        }
    }
    kept
}
