//! The only place that reads the time of day.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use co_model::Timestamp;

/// Tells the time.
pub trait Clock: fmt::Debug + Send + Sync {
    /// The present instant.
    fn now(&self) -> Timestamp;
}

/// The system's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the clock everybody else asks")]
    fn now(&self) -> Timestamp {
        let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let millis = since_epoch.map_or(0, |elapsed| i64::try_from(elapsed.as_millis()).unwrap_or(i64::MAX));
        Timestamp::from_millis(millis)
    }
}

/// A clock that never goes back and never stands still, whatever is done to the one below it.
///
/// Timers are instants of the day. If the day were set back by an hour, they would be an hour late.
#[derive(Debug)]
pub(crate) struct SteadyClock {
    below: Arc<dyn Clock>,
    last: Mutex<(Timestamp, Instant)>,
}

impl SteadyClock {
    pub(crate) fn new(below: Arc<dyn Clock>) -> Self {
        let last = Mutex::new((below.now(), Instant::now()));
        Self { below, last }
    }
}

impl Clock for SteadyClock {
    fn now(&self) -> Timestamp {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let (told, at) = *last;
        let instant = Instant::now();
        let least = told.plus(instant.duration_since(at));
        let now = self.below.now();
        // What is cut from a millisecond is kept for the next look, as long as we go by ourselves.
        *last = if now > least { (now, instant) } else { (told, at) };
        now.max(least)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Falling(Mutex<i64>);

    impl Clock for Falling {
        fn now(&self) -> Timestamp {
            let mut millis = self.0.lock().unwrap();
            *millis -= 1_000;
            Timestamp::from_millis(*millis)
        }
    }

    #[test]
    fn a_day_that_is_set_back_holds_nothing_up() {
        let clock = SteadyClock::new(Arc::new(Falling(Mutex::new(1_000_000))));
        let first = clock.now();
        assert!(first >= Timestamp::from_millis(999_000));
        let until = Instant::now() + std::time::Duration::from_millis(5);
        while Instant::now() < until {
            std::thread::yield_now();
        }
        assert!(clock.now().since(first) >= std::time::Duration::from_millis(4));
    }
}
