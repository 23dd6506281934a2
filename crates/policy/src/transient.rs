//! Which failures to start are worth another try, and when.

use std::io;
use std::time::Duration;

/// How often a start is tried in all.
pub const MOST_ATTEMPTS: u32 = 3;

const FIRST_DELAY: Duration = Duration::from_millis(250);
const LONGEST_DELAY: Duration = Duration::from_secs(30);

/// A failure before a command ran. How a command ended is never one.
#[derive(Debug, Clone, Copy)]
pub enum StartFailure<'f> {
    /// The operating system refused to start the program.
    System(&'f io::Error),
    /// The sandbox's own program said this before it could run the command.
    Sandbox(&'f str),
}

/// Whether another try can help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Something is used up or busy just now.
    Transient,
    /// It would fail again.
    Hard,
}

/// Classes a failure to start.
///
/// Transient are a lack of processes, memory or file handles, namespaces used up by others, a program
/// that is being written, and an interruption.
pub fn class(failure: StartFailure<'_>) -> Class {
    let is_transient = match failure {
        StartFailure::System(error) => {
            matches!(
                error.kind(),
                io::ErrorKind::WouldBlock
                    | io::ErrorKind::Interrupted
                    | io::ErrorKind::OutOfMemory
                    | io::ErrorKind::ExecutableFileBusy
                    | io::ErrorKind::ResourceBusy
                    | io::ErrorKind::StorageFull
            ) || matches!(error.raw_os_error(), Some(ENFILE | EMFILE))
        }
        StartFailure::Sandbox(text) => {
            let text = text.to_ascii_lowercase();
            SIGNS.iter().any(|sign| text.contains(sign))
        }
    };
    if is_transient { Class::Transient } else { Class::Hard }
}

/// Too many open files, in the system and in the process; the same on Linux and macOS.
const ENFILE: i32 = 23;
const EMFILE: i32 = 24;

/// What bubblewrap prints when something is used up or busy; it names the error as libc does.
const SIGNS: [&str; 6] = [
    "namespaces exceeded",
    "no space left on device",
    "resource temporarily unavailable",
    "text file busy",
    "cannot allocate memory",
    "too many open files",
];

/// How long to wait after the failed try number `attempt`, from 1; `None` when that was the last.
///
/// Doubles from 250 ms to at most 30 s. `jitter`, any number from outside, takes up to half of it
/// away, so that many that failed together do not come back together.
pub fn delay(attempt: u32, jitter: u64) -> Option<Duration> {
    (attempt < MOST_ATTEMPTS).then(|| backoff(attempt, jitter))
}

fn backoff(attempt: u32, jitter: u64) -> Duration {
    let doubled =
        2_u32.checked_pow(attempt.saturating_sub(1)).and_then(|factor| FIRST_DELAY.checked_mul(factor));
    let whole = doubled.map_or(LONGEST_DELAY, |delay| delay.min(LONGEST_DELAY));
    let half = u64::try_from(whole.as_millis() / 2).unwrap_or(u64::MAX);
    whole.saturating_sub(Duration::from_millis(jitter % (half + 1)))
}
