//! Deadlines for `poll`, and the wall clock that stamps the output index.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::event::Timespec;

/// Turns a wait into what `poll` takes; a longer one than it can hold becomes the longest.
pub(crate) fn timespec(wait: Duration) -> Timespec {
    const LONGEST: Timespec = Timespec { tv_sec: i64::MAX, tv_nsec: 0 };
    Timespec::try_from(wait).unwrap_or(LONGEST)
}

/// How long to wait for the earliest of `deadlines`; `None` is for ever.
pub(crate) fn until(deadlines: impl IntoIterator<Item = Option<Instant>>) -> Option<Timespec> {
    let earliest = deadlines.into_iter().flatten().min()?;
    Some(timespec(earliest.saturating_duration_since(Instant::now())))
}

/// Milliseconds since the Unix epoch; zero for a clock set before it.
#[expect(
    clippy::disallowed_methods,
    reason = "the index records when bytes were observed; nothing decides by it"
)]
pub(crate) fn epoch_milliseconds() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
