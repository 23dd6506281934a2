//! Whether a failed attempt is tried again, and when.

use std::time::Duration;

use co_model::{FailureReason, RetryPolicy};

/// Longest wait between two attempts.
const LONGEST_BACKOFF: Duration = Duration::from_mins(5);

/// Classes of agent failures that pass by themselves.
const TRANSIENT_AGENT_FAILURES: [&str; 3] = ["rate-limited", "model-overloaded", "stream-disconnected"];

/// The wait before the next attempt, or `None` when there is none.
///
/// `made` counts the attempts made so far under this policy, from 1.
pub(crate) fn backoff(policy: &RetryPolicy, reason: &FailureReason, made: u32) -> Option<Duration> {
    let worth_it = match reason {
        FailureReason::ExitCode(code) => {
            policy.on.exit_codes.as_ref().is_none_or(|codes| codes.contains(code))
        }
        FailureReason::Signal(signal) => {
            policy.on.exit_codes.as_ref().is_none_or(|codes| codes.contains(&(128 + signal)))
        }
        FailureReason::TimedOut => policy.on.timed_out,
        FailureReason::Agent(class) => TRANSIENT_AGENT_FAILURES.contains(&class.as_str()),
        _ => false,
    };
    if !worth_it || made >= policy.max_attempts.get() {
        return None;
    }
    let doublings = made.saturating_sub(1).min(20);
    Some(policy.backoff.saturating_mul(1 << doublings).min(LONGEST_BACKOFF))
}
