//! Fewer than three attempts a minute while a collector fails, for all runs of a project together.
//!
//! The [`Ledger`] is pure: instants and randomness come in. A [`Throttle`] keeps it in a small file, locked for
//! microseconds, so that fifty runs in a minute do not each find out for themselves that a collector is down.
//! A file that cannot be read or written costs only that memory: the ledger of this process goes on.
//!
//! An attempt is written down *before* it is made unless the collector has answered lately, and counts as failed
//! until the answer is there: a process that is killed while it waits has still used up its attempt.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use co_model::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::settings::Signal;

/// Failed attempts that are allowed within [`WINDOW`].
const ALLOWED_FAILURES: usize = 2;
/// The minute of "fewer than three attempts a minute".
const WINDOW: Duration = Duration::from_mins(1);
/// Wait after the first failure; doubled for each further one.
const FIRST_BACKOFF: Duration = Duration::from_secs(5);
/// Longest wait that we choose ourselves.
const LONGEST_BACKOFF: Duration = Duration::from_mins(5);
/// Longest wait that a collector may ask for; also what protects against a clock that has jumped.
const LONGEST_WAIT: Duration = Duration::from_hours(1);
/// How long a signal that the collector does not know is not offered again.
const REFUSAL: Duration = Duration::from_hours(1);
/// After this an attempt that was written down and never finished counts as failed.
const RESERVATION: Duration = Duration::from_secs(30);
/// How often a living collector is written down at most.
const HEARTBEAT: Duration = Duration::from_secs(10);

/// Whether an attempt may be made now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Permission {
    /// It may; its outcome must be told.
    Granted,
    /// Others are finding out whether the collector answers; ask again in a moment.
    Busy,
    /// Not now, and not soon.
    Denied,
}

/// How an attempt failed, as far as it matters for the next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Failure {
    /// The collector asked for this much peace.
    pub(crate) retry_after: Option<Duration>,
    /// The collector does not know this signal.
    pub(crate) refused: Option<Signal>,
}

/// What is remembered of one collector.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Ledger {
    failed_at: Vec<Timestamp>,
    reserved_at: Vec<Timestamp>,
    consecutive_failures: u32,
    not_before: Option<Timestamp>,
    succeeded_at: Option<Timestamp>,
    refused_until: BTreeMap<String, Timestamp>,
}

impl Ledger {
    /// Asks for one attempt. `Granted` may have changed the ledger.
    pub(crate) fn ask(&mut self, now: Timestamp, signal: Signal) -> Permission {
        self.forget(now);
        let waits = self.not_before.is_some_and(|instant| now < instant);
        if waits
            || self.refused_until.contains_key(signal.as_str())
            || self.failed_at.len() >= ALLOWED_FAILURES
        {
            return Permission::Denied;
        }
        if self.is_healthy(now) {
            return Permission::Granted;
        }
        if self.failed_at.len() + self.reserved_at.len() >= ALLOWED_FAILURES {
            return Permission::Busy;
        }
        self.reserved_at.push(now);
        Permission::Granted
    }

    /// Notes that the collector took a batch.
    pub(crate) fn succeeded(&mut self, now: Timestamp) {
        self.reserved_at.pop();
        self.consecutive_failures = 0;
        self.not_before = None;
        self.succeeded_at = Some(now);
    }

    /// Notes a failed attempt; `random` spreads the next ones of many processes.
    pub(crate) fn failed(&mut self, now: Timestamp, failure: Failure, random: u64) {
        self.reserved_at.pop();
        self.forget(now);
        self.failed_at.push(now);
        if let Some(signal) = failure.refused {
            // The collector lives; it only does not know this kind.
            self.refused_until.insert(signal.as_str().to_owned(), now.plus(REFUSAL));
            self.succeeded_at = Some(now);
            return;
        }
        self.consecutive_failures = self.consecutive_failures.saturating_add(1);
        let backoff = backoff(self.consecutive_failures, random);
        let asked = failure.retry_after.unwrap_or_default().min(LONGEST_WAIT);
        self.not_before = Some(now.plus(backoff.max(asked)));
    }

    fn is_healthy(&self, now: Timestamp) -> bool {
        self.consecutive_failures == 0
            && self.succeeded_at.is_some_and(|instant| instant <= now && now.since(instant) < WINDOW)
    }

    /// Drops what is over, and what a clock that jumped has put out of reach.
    fn forget(&mut self, now: Timestamp) {
        let within =
            |instant: Timestamp, span: Duration| now < instant.plus(span) && instant <= now.plus(span);
        let (alive, lost) =
            self.reserved_at.drain(..).partition::<Vec<_>, _>(|&instant| within(instant, RESERVATION));
        self.reserved_at = alive;
        self.failed_at.extend(lost);
        self.failed_at.retain(|&instant| within(instant, WINDOW));
        self.not_before =
            self.not_before.filter(|&instant| now < instant && instant <= now.plus(LONGEST_WAIT));
        self.refused_until.retain(|_, until| now < *until && *until <= now.plus(REFUSAL));
    }
}

/// Doubles with each failure; between half and all of it, so that processes do not come back together.
fn backoff(failures: u32, random: u64) -> Duration {
    let doubled = FIRST_BACKOFF.saturating_mul(1_u32 << failures.saturating_sub(1).min(10));
    let longest = doubled.min(LONGEST_BACKOFF);
    let parts = u32::try_from(random % 1_000).unwrap_or(0);
    longest / 2 + longest / 2 * parts / 1_000
}

/// A ledger and the file that other runs of the project share it through.
#[derive(Debug)]
pub(crate) struct Throttle {
    ledger: Ledger,
    path: Option<PathBuf>,
}

impl Throttle {
    /// Remembers the collector at `origin`, in a file of `state_dir` when there is one.
    pub(crate) fn new(state_dir: Option<&Path>, origin: &str) -> Self {
        let path = state_dir.map(|folder| {
            let name = crate::hexadecimal(&Sha256::digest(origin)[..8]);
            folder.join(format!("collector-{name}.json"))
        });
        Self { ledger: Ledger::default(), path }
    }

    /// Asks for one attempt.
    pub(crate) fn ask(&mut self, now: Timestamp, signal: Signal) -> Permission {
        self.update(|ledger| ledger.ask(now, signal))
    }

    /// Notes that the collector took a batch; touches the file only when that is news.
    pub(crate) fn succeeded(&mut self, now: Timestamp) {
        let is_news = self.ledger.consecutive_failures > 0
            || !self.ledger.reserved_at.is_empty()
            || self.ledger.succeeded_at.is_none_or(|before| now.since(before) >= HEARTBEAT || now < before);
        if is_news {
            self.update(|ledger| ledger.succeeded(now));
        }
    }

    /// Notes a failed attempt.
    pub(crate) fn failed(&mut self, now: Timestamp, failure: Failure, random: u64) {
        self.update(|ledger| ledger.failed(now, failure, random));
    }

    fn update<T>(&mut self, change: impl Fn(&mut Ledger) -> T) -> T {
        if let Some(path) = &self.path
            && let Ok((ledger, result)) = update_file(path, &change)
        {
            self.ledger = ledger;
            return result;
        }
        change(&mut self.ledger)
    }
}

/// Reads, changes and writes the ledger of a file under its lock. Unreadable content counts as none.
fn update_file<T>(path: &Path, change: impl Fn(&mut Ledger) -> T) -> io::Result<(Ledger, T)> {
    let open = || File::options().read(true).write(true).create(true).truncate(false).open(path);
    let mut file = open().or_else(|error| {
        if error.kind() != io::ErrorKind::NotFound {
            return Err(error);
        }
        fs::create_dir_all(path.parent().unwrap_or(path))?;
        open()
    })?;
    file.lock()?;
    let mut text = String::new();
    // A ledger is far smaller; whatever else the file is, it is not read whole.
    Read::by_ref(&mut file).take(64 * 1024).read_to_string(&mut text).ok();
    let before: Ledger = serde_json::from_str(&text).unwrap_or_default();
    let mut after = before.clone();
    let result = change(&mut after);
    if after != before {
        let bytes = serde_json::to_vec(&after).map_err(io::Error::other)?;
        file.rewind()?;
        file.set_len(0)?;
        file.write_all(&bytes)?;
    }
    Ok((after, result))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOWN: Failure = Failure { retry_after: None, refused: None };

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(1_000_000_000 + seconds * 1_000)
    }

    /// Asks every second for an hour; returns when attempts were made.
    fn attempts_while_down(ledger: &mut Ledger, failure: Failure, random: u64) -> Vec<i64> {
        (0..3_600)
            .filter(|&second| {
                let granted = ledger.ask(at(second), Signal::Traces) == Permission::Granted;
                if granted {
                    ledger.failed(at(second), failure, random);
                }
                granted
            })
            .collect()
    }

    #[test]
    fn a_failing_collector_sees_fewer_than_three_attempts_in_any_minute() {
        for random in [0, 1, 499, 999, u64::MAX] {
            let attempts = attempts_while_down(&mut Ledger::default(), DOWN, random);
            for start in &attempts {
                let in_a_minute = attempts.iter().filter(|at| (*start..start + 60).contains(*at)).count();
                assert!(in_a_minute < 3, "{attempts:?}");
            }
            assert!((10..40).contains(&attempts.len()), "it neither hammers nor gives up: {attempts:?}");
        }
    }

    #[test]
    fn a_collector_that_asks_for_peace_gets_it() {
        let mut ledger = Ledger::default();
        assert_eq!(ledger.ask(at(0), Signal::Logs), Permission::Granted);
        ledger.failed(at(0), Failure { retry_after: Some(Duration::from_mins(15)), refused: None }, 0);
        assert_eq!(ledger.ask(at(899), Signal::Logs), Permission::Denied);
        assert_eq!(ledger.ask(at(900), Signal::Logs), Permission::Granted);
    }

    #[test]
    fn a_signal_the_collector_does_not_know_does_not_stop_the_others() {
        let mut ledger = Ledger::default();
        assert_eq!(ledger.ask(at(0), Signal::Metrics), Permission::Granted);
        ledger.failed(at(0), Failure { retry_after: None, refused: Some(Signal::Metrics) }, 0);
        assert_eq!(ledger.ask(at(1), Signal::Metrics), Permission::Denied);
        assert_eq!(ledger.ask(at(1), Signal::Traces), Permission::Granted);
        ledger.succeeded(at(1));
        assert_eq!(ledger.ask(at(3_599), Signal::Metrics), Permission::Denied);
        assert_eq!(ledger.ask(at(3_601), Signal::Metrics), Permission::Granted);
    }

    #[test]
    fn refusals_of_every_signal_count_as_failures() {
        let mut ledger = Ledger::default();
        let mut granted = 0;
        for signal in Signal::ALL {
            if ledger.ask(at(0), signal) == Permission::Granted {
                granted += 1;
                ledger.failed(at(0), Failure { retry_after: None, refused: Some(signal) }, 0);
            }
        }
        assert_eq!(granted, 2);
    }

    #[test]
    fn only_two_find_out_whether_a_collector_answers_and_then_all_may() {
        let mut ledger = Ledger::default();
        let answers: Vec<_> = (0..4).map(|_| ledger.ask(at(0), Signal::Traces)).collect();
        assert_eq!(answers, [Permission::Granted, Permission::Granted, Permission::Busy, Permission::Busy]);
        ledger.succeeded(at(1));
        assert!((0..50).all(|_| ledger.ask(at(1), Signal::Traces) == Permission::Granted));
    }

    #[test]
    fn an_attempt_whose_process_was_killed_counts_as_failed() {
        let mut ledger = Ledger::default();
        assert_eq!(ledger.ask(at(0), Signal::Traces), Permission::Granted);
        assert_eq!(ledger.ask(at(0), Signal::Traces), Permission::Granted);
        assert_eq!(ledger.ask(at(31), Signal::Traces), Permission::Denied);
        assert_eq!(ledger.ask(at(61), Signal::Traces), Permission::Granted);
    }

    #[test]
    fn a_clock_that_jumps_back_does_not_silence_telemetry() {
        let mut ledger = Ledger::default();
        ledger.failed(at(1_000_000), DOWN, 0);
        ledger.failed(at(1_000_001), DOWN, 0);
        assert_eq!(ledger.ask(at(0), Signal::Traces), Permission::Granted);
    }

    #[test]
    fn fifty_runs_of_a_project_share_one_memory_of_a_failing_collector() {
        let folder = tempfile::tempdir().unwrap();
        let state_dir = folder.path().join("telemetry");
        let granted = (0..50)
            .filter(|&run| {
                let mut throttle = Throttle::new(Some(&state_dir), "http://c:4318");
                let granted = throttle.ask(at(run), Signal::Traces) == Permission::Granted;
                if granted {
                    throttle.failed(at(run), DOWN, 0);
                }
                granted
            })
            .count();
        assert_eq!(granted, 2);
        let other = Throttle::new(Some(&state_dir), "http://d:4318").ask(at(50), Signal::Traces);
        assert_eq!(other, Permission::Granted, "another collector has a memory of its own");
    }

    #[test]
    fn a_memory_that_cannot_be_read_or_written_costs_only_the_memory() {
        let folder = tempfile::tempdir().unwrap();
        let mut throttle = Throttle::new(Some(folder.path()), "http://c");
        fs::write(throttle.path.as_ref().unwrap(), "\u{0}garbage").unwrap();
        assert_eq!(throttle.ask(at(0), Signal::Traces), Permission::Granted);

        let not_a_folder = folder.path().join("file");
        fs::write(&not_a_folder, "").unwrap();
        let mut throttle = Throttle::new(Some(&not_a_folder), "http://c");
        for second in 0..2 {
            throttle.failed(at(second), DOWN, 0);
        }
        assert_eq!(throttle.ask(at(20), Signal::Traces), Permission::Denied);
    }
}
