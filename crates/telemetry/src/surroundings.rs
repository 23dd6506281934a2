//! What this room needs from outside and never fetches itself: the time and randomness.

use std::fmt;
use std::sync::Arc;

use co_model::Timestamp;

/// The clock and the dice, injected so that limits and back-off are tested without waiting.
#[derive(Clone)]
pub struct Surroundings {
    /// The current instant.
    pub now: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    /// 64 random bits, for jitter only.
    pub random: Arc<dyn Fn() -> u64 + Send + Sync>,
}

impl Surroundings {
    pub(crate) fn now(&self) -> Timestamp {
        (self.now)()
    }

    pub(crate) fn random(&self) -> u64 {
        (self.random)()
    }
}

impl fmt::Debug for Surroundings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Surroundings")
    }
}
