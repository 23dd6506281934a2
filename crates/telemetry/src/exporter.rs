//! The exporter: a bounded queue, a thread, and a report of what became of it all.
//!
//! [`Exporter::observe`] only puts into the queue. The thread maps, batches and sends; it is never waited for longer
//! than the patience given to [`Exporter::finish`], and an attempt that is under way then is left behind with it.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use co_model::{Recorded, Timestamp};
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::trace::v1::Span;

use crate::http::{describe, origin};
use crate::mapping::{Mapped, Mapper};
use crate::metrics::Aggregator;
use crate::outbox::{Batch, Outbox, Sender};
use crate::settings::Signal;
use crate::throttle::{Failure, Permission, Throttle};
use crate::transport::{Accepted, Failed, Link, Links};
use crate::{RunFacts, Surroundings, TelemetrySettings};

/// How long the end of a run waits for the last batches at most, unless told otherwise.
pub const DEFAULT_PATIENCE: Duration = Duration::from_millis(200);

/// Events that may wait for the thread; a run has tens, a busy server some thousands a second.
const QUEUE: usize = 4_096;
/// Different failures that a report names.
const MOST_FAILURES: usize = 16;
/// How soon to ask again whether another process has found the collector alive.
const ASK_AGAIN: Duration = Duration::from_millis(10);

/// What became of everything that was observed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ExportReport {
    /// Spans, log records and metric points that collectors took.
    pub sent: u64,
    /// Events that found no room, and spans, records and points that no collector took.
    pub dropped: u64,
    /// Requests that were made, failed ones too.
    pub attempts: u64,
    /// What went wrong, one line per kind and destination, without secrets; at most 16.
    pub failures: Vec<String>,
}

/// Sends recorded events to OTLP collectors. Does nothing at all unless a destination is set.
#[derive(Debug)]
#[must_use = "what is still waiting is sent by `finish`"]
pub struct Exporter {
    worker: Option<Worker>,
}

#[derive(Debug)]
struct Worker {
    queue: SyncSender<Observed>,
    done: Receiver<()>,
    shared: Arc<Shared>,
    surroundings: Surroundings,
}

/// What the queue carries.
#[derive(Debug)]
enum Observed {
    Event(RunFacts, Box<Recorded>),
    /// An event of an earlier process: learned, not sent again.
    Earlier(RunFacts, Box<Recorded>),
}

/// What both sides of the queue look at.
#[derive(Debug, Default)]
struct Shared {
    /// Events that found no room.
    overflowed: AtomicU64,
    /// Events in the queue.
    queued: AtomicU64,
    produced: AtomicU64,
    sent: AtomicU64,
    attempts: AtomicU64,
    /// Nobody waits any more: make no further attempt.
    abandoned: AtomicBool,
    failures: Mutex<Vec<String>>,
    /// The throttle whose attempt is under way.
    under_way: Mutex<Option<Arc<Mutex<Throttle>>>>,
}

impl Exporter {
    /// Starts the exporter; without a destination there is no thread and nothing costs anything.
    pub fn start(settings: TelemetrySettings, surroundings: Surroundings) -> Self {
        if !settings.is_on() {
            return Self { worker: None };
        }
        let (queue, observed) = sync_channel(QUEUE);
        let (tell_done, done) = sync_channel(1);
        let shared = Arc::new(Shared::default());
        let desk = Desk::new(settings, surroundings.clone(), Arc::clone(&shared));
        let started = thread::Builder::new().name("telemetry".to_owned()).spawn(move || {
            desk.work(&observed);
            // Nobody waits when the patience was over first.
            tell_done.try_send(()).ok();
        });
        match started {
            Ok(_) => Self { worker: Some(Worker { queue, done, shared, surroundings }) },
            // Telemetry is never a reason to fail; `is_on` says what became of it.
            Err(_) => Self { worker: None },
        }
    }

    /// Whether anything is exported.
    pub const fn is_on(&self) -> bool {
        self.worker.is_some()
    }

    /// Takes an event that was just recorded. Never blocks: without room it is dropped and counted.
    pub fn observe(&self, run: &RunFacts, recorded: &Recorded) {
        self.put(|| Observed::Event(run.clone(), Box::new(recorded.clone())));
    }

    /// Takes an event that an earlier process has recorded and exported, so that what follows continues it: give a
    /// resumed run's events before its first new one. Never blocks.
    pub fn recall(&self, run: &RunFacts, recorded: &Recorded) {
        self.put(|| Observed::Earlier(run.clone(), Box::new(recorded.clone())));
    }

    fn put(&self, observed: impl FnOnce() -> Observed) {
        let Some(Worker { queue, shared, .. }) = &self.worker else { return };
        shared.queued.fetch_add(1, Ordering::Relaxed);
        if queue.try_send(observed()).is_err() {
            shared.queued.fetch_sub(1, Ordering::Relaxed);
            shared.overflowed.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Sends what is left and says what became of everything.
    ///
    /// Returns as soon as there is nothing left to try, at the latest after `patience`; a collector that fails is
    /// not tried again.
    pub fn finish(self, patience: Duration) -> ExportReport {
        let Some(Worker { queue, done, shared, surroundings }) = self.worker else {
            return ExportReport::default();
        };
        drop(queue);
        if matches!(done.recv_timeout(patience), Err(RecvTimeoutError::Timeout)) {
            shared.abandoned.store(true, Ordering::Relaxed);
            let under_way = lock(&shared.under_way).take();
            if let Some(throttle) = under_way {
                // Other runs must not wait for the same silence again.
                lock(&throttle).failed(surroundings.now(), Failure::default(), surroundings.random());
                shared.failed("a collector: no answer before the end of the run".to_owned());
            }
        }
        shared.report()
    }
}

impl Shared {
    fn report(&self) -> ExportReport {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let sent = count(&self.sent);
        let unsent = count(&self.produced).saturating_sub(sent);
        ExportReport {
            sent,
            dropped: count(&self.overflowed) + count(&self.queued) + unsent,
            attempts: count(&self.attempts),
            failures: lock(&self.failures).clone(),
        }
    }

    fn failed(&self, failure: String) {
        let mut failures = lock(&self.failures);
        if failures.len() < MOST_FAILURES && !failures.contains(&failure) {
            failures.push(failure);
        }
    }
}

/// A panic of another thread leaves counters as they are: they are still the best there is.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One signal's way out.
struct Route {
    to: String,
    throttle: Arc<Mutex<Throttle>>,
    way: Way,
}

/// The connection of a route: made when it is first needed.
enum Way {
    Unmade,
    Made(Link),
    Unusable,
}

/// What the thread works with.
struct Desk {
    settings: TelemetrySettings,
    surroundings: Surroundings,
    shared: Arc<Shared>,
    mapper: Mapper,
    sender: Sender,
    spans: Outbox<Span>,
    logs: Outbox<LogRecord>,
    metrics: Aggregator,
    links: Links,
    routes: BTreeMap<Signal, Route>,
    /// Since when something waits.
    waiting_since: Option<Instant>,
    /// Whether the last try left something behind: a full batch is no reason to try again at once.
    is_stuck: bool,
}

/// What an attempt to send a signal led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    /// There may be more.
    Moved,
    /// There is nothing left of the signal.
    Empty,
    /// Worth asking again in a moment.
    Busy,
    /// Not now.
    Stuck,
}

impl Desk {
    fn new(settings: TelemetrySettings, surroundings: Surroundings, shared: Arc<Shared>) -> Self {
        let mut throttles: BTreeMap<String, Arc<Mutex<Throttle>>> = BTreeMap::new();
        let mut routes = BTreeMap::new();
        for signal in Signal::ALL {
            if let Some(to) = settings.destination(signal) {
                let shown = describe(&to.endpoint);
                let origin = origin(&to.endpoint);
                let throttle = throttles.entry(origin.clone()).or_insert_with(|| {
                    Arc::new(Mutex::new(Throttle::new(settings.state_dir.as_deref(), &origin)))
                });
                routes.insert(signal, Route { to: shown, throttle: Arc::clone(throttle), way: Way::Unmade });
            }
        }
        Self {
            mapper: Mapper::new(settings.log_user_prompt),
            sender: Sender::new(&settings),
            settings,
            surroundings,
            shared,
            spans: Outbox::default(),
            logs: Outbox::default(),
            metrics: Aggregator::default(),
            links: Links::default(),
            routes,
            waiting_since: None,
            is_stuck: false,
        }
    }

    /// Takes events until the queue is closed, then sends what is left.
    fn work(mut self, observed: &Receiver<Observed>) {
        loop {
            let received = match self.waiting_since {
                None => observed.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(since) => observed.recv_timeout(self.linger().saturating_sub(since.elapsed())),
            };
            match received {
                Ok(one) => {
                    self.take(&one);
                    if !self.is_due() {
                        continue;
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            self.send_all(false);
            // Whatever could not go now waits for the next time, with what comes until then.
            self.is_stuck = self.has_waiting();
            self.waiting_since = self.is_stuck.then(Instant::now);
        }
        self.send_all(true);
    }

    fn take(&mut self, observed: &Observed) {
        let now = self.surroundings.now();
        let mapped = match observed {
            Observed::Event(run, recorded) => self.mapper.map(run, recorded),
            Observed::Earlier(run, recorded) => {
                self.mapper.map(run, recorded);
                Mapped::default()
            }
        };
        self.keep(now, mapped);
        self.shared.queued.fetch_sub(1, Ordering::Relaxed);
        if self.has_waiting() {
            self.waiting_since.get_or_insert_with(Instant::now);
        }
    }

    fn keep(&mut self, now: Timestamp, mapped: Mapped) {
        let mut produced = 0;
        if self.routes.contains_key(&Signal::Traces) {
            produced += mapped.spans.len();
            // Without room they stay counted as produced and never as sent.
            for span in mapped.spans {
                self.spans.push(span);
            }
        }
        if self.routes.contains_key(&Signal::Logs) {
            produced += mapped.logs.len();
            for record in mapped.logs {
                self.logs.push(record);
            }
        }
        if self.routes.contains_key(&Signal::Metrics) {
            let before = self.metrics.points();
            mapped.measurements.into_iter().for_each(|measured| self.metrics.add(now, measured));
            produced += self.metrics.points() - before;
        }
        self.shared.produced.fetch_add(produced as u64, Ordering::Relaxed);
    }

    /// How long what waits may wait for company.
    fn linger(&self) -> Duration {
        let is_first = self.shared.attempts.load(Ordering::Relaxed) == 0 && !self.is_stuck;
        if is_first { self.settings.first_linger } else { self.settings.linger }
    }

    fn is_due(&self) -> bool {
        let has_batch = self.spans.is_batch() || self.logs.is_batch();
        has_batch && !self.is_stuck
            || self.waiting_since.is_some_and(|since| since.elapsed() >= self.linger())
    }

    fn waiting(&self, signal: Signal) -> usize {
        match signal {
            Signal::Traces => self.spans.len(),
            Signal::Logs => self.logs.len(),
            Signal::Metrics => self.metrics.points(),
        }
    }

    fn has_waiting(&self) -> bool {
        Signal::ALL.iter().any(|signal| self.waiting(*signal) > 0)
    }

    /// Sends everything that may be sent now; at the end it also waits for others that are finding out whether the
    /// collector answers, for as long as somebody waits for us.
    fn send_all(&mut self, at_the_end: bool) {
        for signal in Signal::ALL {
            loop {
                if self.shared.abandoned.load(Ordering::Relaxed) {
                    return;
                }
                match self.send_one(signal) {
                    Progress::Moved => {}
                    Progress::Busy if at_the_end => thread::park_timeout(ASK_AGAIN),
                    Progress::Empty | Progress::Busy | Progress::Stuck => break,
                }
            }
        }
    }

    fn send_one(&mut self, signal: Signal) -> Progress {
        if self.waiting(signal) == 0 {
            return Progress::Empty;
        }
        let now = self.surroundings.now();
        if let Some(obstacle) = self.obstacle(signal, now) {
            return obstacle;
        }
        let (batch, count) = self.next_batch(signal, now);
        let Some(Route { to, throttle, way: Way::Made(link) }) = self.routes.get(&signal) else {
            return Progress::Empty;
        };
        self.shared.attempts.fetch_add(1, Ordering::Relaxed);
        *lock(&self.shared.under_way) = Some(Arc::clone(throttle));
        let answer = link.send(signal, &batch);
        if lock(&self.shared.under_way).take().is_none() {
            // The patience was over first: `finish` has reported this attempt as failed.
            return Progress::Stuck;
        }
        let now = self.surroundings.now();
        match answer {
            Ok(Accepted { rejected, message }) => {
                lock(throttle).succeeded(now);
                self.shared.sent.fetch_add((count as u64).saturating_sub(rejected), Ordering::Relaxed);
                if rejected > 0 {
                    let why = message.unwrap_or_else(|| "no reason given".to_owned());
                    self.shared.failed(format!("{to}: {rejected} refused: {why:.200}"));
                }
                self.forget(signal, count);
                Progress::Moved
            }
            Err(Failed { worth_retrying, failure, message }) => {
                lock(throttle).failed(now, failure, self.surroundings.random());
                self.shared.failed(format!("{to}: {message}"));
                if !worth_retrying {
                    self.forget(signal, count);
                }
                Progress::Stuck
            }
        }
    }

    /// What keeps a signal from being sent now; makes its connection when there is none yet.
    fn obstacle(&mut self, signal: Signal, now: Timestamp) -> Option<Progress> {
        let Some(route) = self.routes.get_mut(&signal) else { return Some(Progress::Empty) };
        if matches!(route.way, Way::Unmade)
            && let Some(to) = self.settings.destination(signal)
        {
            route.way = match self.links.link(to, self.settings.request_timeout) {
                Ok(link) => Way::Made(link),
                Err(error) => {
                    self.shared.failed(format!("{}: {}", route.to, chain(&error)));
                    Way::Unusable
                }
            };
        }
        if !matches!(route.way, Way::Made(_)) {
            self.forget(signal, usize::MAX);
            return Some(Progress::Empty);
        }
        match lock(&route.throttle).ask(now, signal) {
            Permission::Granted => None,
            Permission::Busy => Some(Progress::Busy),
            Permission::Denied => {
                self.shared.failed(format!("{}: left alone for a while after failures", route.to));
                Some(Progress::Stuck)
            }
        }
    }

    /// The next batch of a signal, and how many records or points it carries.
    fn next_batch(&self, signal: Signal, now: Timestamp) -> (Batch, usize) {
        match signal {
            Signal::Traces => {
                let spans = self.spans.batch();
                let count = spans.len();
                (self.sender.traces(spans), count)
            }
            Signal::Logs => {
                let records = self.logs.batch();
                let count = records.len();
                (self.sender.logs(records), count)
            }
            Signal::Metrics => (self.sender.metrics(self.metrics.export(now)), self.metrics.points()),
        }
    }

    fn forget(&mut self, signal: Signal, count: usize) {
        match signal {
            Signal::Traces => self.spans.remove(count),
            Signal::Logs => self.logs.remove(count),
            Signal::Metrics => self.metrics.clear(),
        }
    }
}

/// An error with its causes, in one line.
fn chain(error: &dyn Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        line.push_str(": ");
        line.push_str(&error.to_string());
        cause = error.source();
    }
    line
}
