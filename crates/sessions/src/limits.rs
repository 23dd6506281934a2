//! Every default and bound of live sessions: those of Codex's unified exec, so that a model finds what it knows.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How long a start waits for output unless told otherwise.
pub const START_YIELD: Duration = Duration::from_secs(10);
/// How long a write waits for output unless told otherwise.
pub const WRITE_YIELD: Duration = Duration::from_millis(250);
/// The shortest wait after a start or a write.
pub const MIN_YIELD: Duration = Duration::from_millis(250);
/// The longest wait after a start or a write.
pub const MAX_YIELD: Duration = Duration::from_secs(30);
/// The shortest wait of a poll, which is its default too.
pub const MIN_POLL_YIELD: Duration = Duration::from_secs(5);
/// The longest wait of a poll.
pub const MAX_POLL_YIELD: Duration = Duration::from_mins(5);
/// How many tokens of output a reply holds unless told otherwise; a token is taken for four bytes.
pub const MAX_OUTPUT_TOKENS: usize = 10_000;
/// How much unread output a session keeps: half from its beginning, half from its end.
pub const BUFFER_BYTES: usize = 1 << 20;
/// How many sessions are kept, ended ones included.
pub const MAX_SESSIONS: usize = 64;
/// From how many sessions on a start warns.
pub const WARN_SESSIONS: usize = 60;
/// How many of the most recently used sessions are never pruned.
pub const PROTECTED_SESSIONS: usize = 8;
/// Height of a terminal in characters unless told otherwise.
pub const ROWS: u16 = 24;
/// Width of a terminal in characters unless told otherwise.
pub const COLUMNS: u16 = 80;
/// The most bytes of one output event.
pub const DELTA_BYTES: usize = 8192;
/// The most output events of one session; what follows is counted, kept and logged all the same.
pub const MAX_DELTAS: u64 = 10_000;
/// How long output may still come after the exit before a reply or an end is given.
pub const DRAIN: Duration = Duration::from_millis(100);
/// How many bytes may wait for a slow attached client.
pub const TAP_BYTES: usize = 1 << 20;

/// What Codex adds to the environment of such programs, so that they write for a reader without a screen.
pub const ENVIRONMENT: [(&str, &str); 10] = [
    ("NO_COLOR", "1"),
    ("TERM", "dumb"),
    ("LANG", "C.UTF-8"),
    ("LC_CTYPE", "C.UTF-8"),
    ("LC_ALL", "C.UTF-8"),
    ("COLORTERM", ""),
    ("PAGER", "cat"),
    ("GIT_PAGER", "cat"),
    ("GH_PAGER", "cat"),
    ("CODEX_CI", "1"),
];

/// How long a call waits for output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Wait {
    /// The yield time; clamped to what the kind of call allows. `None` is the kind's default.
    pub time: Option<Duration>,
    /// What ends the wait before its time.
    pub until: Until,
}

/// What ends a wait before its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Until {
    /// The program's exit alone, as Codex does it: a reply holds all that came in the time.
    #[default]
    Exit,
    /// The first output too; the shortest wait does not apply then.
    Output,
}

impl Wait {
    /// Waits for this time, or until the program exits.
    pub fn of(time: Duration) -> Self {
        Self { time: Some(time), until: Until::Exit }
    }

    /// Waits for output, or the exit, at most for this time.
    pub fn for_output(time: Duration) -> Self {
        Self { time: Some(time), until: Until::Output }
    }

    /// The wait of a start: 10 s unless told otherwise, 250 ms to 30 s.
    pub fn after_start(self) -> Duration {
        self.clamp(START_YIELD, MIN_YIELD, MAX_YIELD)
    }

    /// The wait of a write: 250 ms unless told otherwise, 250 ms to 30 s.
    pub fn after_write(self) -> Duration {
        self.clamp(WRITE_YIELD, MIN_YIELD, MAX_YIELD)
    }

    /// The wait of a poll: 5 s to 300 s.
    pub fn of_poll(self) -> Duration {
        self.clamp(MIN_POLL_YIELD, MIN_POLL_YIELD, MAX_POLL_YIELD)
    }

    fn clamp(self, default: Duration, min: Duration, max: Duration) -> Duration {
        let min = match self.until {
            Until::Exit => min,
            Until::Output => Duration::ZERO,
        };
        self.time.unwrap_or(default).clamp(min, max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_clamped_as_codex_does() {
        let ms = Duration::from_millis;
        assert_eq!(Wait::default().after_start(), ms(10_000));
        assert_eq!(Wait::of(ms(1)).after_start(), ms(250));
        assert_eq!(Wait::of(ms(90_000)).after_start(), ms(30_000));
        assert_eq!(Wait::default().after_write(), ms(250));
        assert_eq!(Wait::of(ms(90_000)).after_write(), ms(30_000));
        assert_eq!(Wait::default().of_poll(), ms(5_000));
        assert_eq!(Wait::of(ms(250)).of_poll(), ms(5_000));
        assert_eq!(Wait::of(ms(900_000)).of_poll(), ms(300_000));
        assert_eq!(Wait::for_output(ms(1)).of_poll(), ms(1));
        assert_eq!(Wait::for_output(ms(900_000)).of_poll(), ms(300_000));
    }
}
