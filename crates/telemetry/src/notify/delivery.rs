//! Bringing one message to one target: tries, waits, signature.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use ureq::Agent;

use super::message::Message;
use super::{Delivery, Ledger, NotifySettings, Target};
use crate::{Secret, Surroundings, TlsFiles, http};

/// More tries than this help nobody.
const MOST_RETRIES: u32 = 3;
/// Longest wait between two tries, whatever the other side asks for.
const LONGEST_BACKOFF: Duration = Duration::from_secs(5);

/// A program to be told: started in `cwd`, with the message as its last argument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProgramHook {
    /// The program, its arguments, the message.
    pub argv: Vec<String>,
    /// The run's directory.
    pub cwd: String,
}

/// Starts a program and waits for its end, within a time of the starter's choice; what went wrong in one line.
pub type StartProgram = Arc<dyn Fn(&ProgramHook) -> Result<(), String> + Send + Sync>;

/// What brings messages to one target.
pub(super) struct Courier {
    target: Target,
    agent: Result<Option<Agent>, String>,
    start_program: StartProgram,
    surroundings: Surroundings,
    retries: u32,
    backoff: Duration,
}

/// Why one try did not succeed.
enum Refusal {
    /// Another try may help, not before this.
    Passing(String, Option<Duration>),
    Final(String),
}

impl Courier {
    pub(super) fn new(
        settings: &NotifySettings,
        target: &Target,
        start_program: StartProgram,
        surroundings: Surroundings,
    ) -> Self {
        let agent = match &target.delivery {
            Delivery::Program { .. } => Ok(None),
            Delivery::Post { url, .. } => http::client(url, &TlsFiles::default(), settings.request_timeout)
                .map(Some)
                .map_err(|error| error.to_string()),
        };
        Self {
            target: target.clone(),
            agent,
            start_program,
            surroundings,
            retries: settings.retries.min(MOST_RETRIES),
            backoff: settings.backoff,
        }
    }

    pub(super) const fn target(&self) -> &Target {
        &self.target
    }

    /// Tries until the message is taken; on failure, how often and why not.
    pub(super) fn deliver(&self, message: &Message, ledger: &Ledger) -> Result<(), (u32, String)> {
        let mut attempt = 1;
        loop {
            let (reason, asked) = match self.try_once(message) {
                Ok(()) => return Ok(()),
                Err(Refusal::Final(reason)) => return Err((attempt, reason)),
                Err(Refusal::Passing(reason, asked)) => (reason, asked),
            };
            if attempt > self.retries || ledger.abandoned.load(Ordering::Relaxed) {
                return Err((attempt, reason));
            }
            let own = backoff(self.backoff, attempt, self.surroundings.random());
            thread::park_timeout(own.max(asked.unwrap_or_default()).min(LONGEST_BACKOFF));
            attempt += 1;
        }
    }

    fn try_once(&self, message: &Message) -> Result<(), Refusal> {
        match &self.target.delivery {
            Delivery::Program { argv } => {
                let mut argv = argv.clone();
                argv.push(message.body.to_string());
                let hook = ProgramHook { argv, cwd: message.workspace.clone() };
                // A program that has run has had its effect: it is not run again.
                (self.start_program)(&hook).map_err(Refusal::Final)
            }
            Delivery::Post { url, secret } => {
                let agent = match &self.agent {
                    Ok(Some(agent)) => agent,
                    Ok(None) => return Err(Refusal::Final("no client".to_owned())),
                    Err(reason) => return Err(Refusal::Final(reason.clone())),
                };
                self.post(agent, url, secret.as_ref(), message)
            }
        }
    }

    fn post(
        &self,
        agent: &Agent,
        url: &str,
        secret: Option<&Secret>,
        message: &Message,
    ) -> Result<(), Refusal> {
        let body = message.body.to_string();
        let timestamp = (self.surroundings.now().as_millis() / 1_000).to_string();
        let signed = secret.map(|secret| signature(secret, &timestamp, body.as_bytes()));
        let headers = [
            ("content-type", "application/json"),
            ("idempotency-key", message.id.as_str()),
            ("x-codex-orchestrator-event", message.kind.as_str()),
            ("x-codex-orchestrator-timestamp", timestamp.as_str()),
        ]
        .into_iter()
        .chain(signed.as_deref().map(|value| ("x-codex-orchestrator-signature-256", value)));
        let answer = http::post(agent, url, headers, body.as_bytes())
            .map_err(|reason| Refusal::Passing(reason, None))?;
        let reason = || format!("answered {}", answer.status);
        match answer.status {
            200..=299 => Ok(()),
            408 | 425 | 429 | 500..=599 => Err(Refusal::Passing(reason(), answer.retry_after)),
            _ => Err(Refusal::Final(reason())),
        }
    }
}

impl fmt::Debug for Courier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Courier({})", self.target)
    }
}

/// Doubles with each try; between half and all of it.
fn backoff(first: Duration, attempt: u32, random: u64) -> Duration {
    let doubled = first.saturating_mul(1 << attempt.saturating_sub(1).min(MOST_RETRIES));
    doubled / 2 + doubled / 2 * u32::try_from(random % 1_000).unwrap_or(0) / 1_000
}

/// The value of `X-Codex-Orchestrator-Signature-256`: HMAC-SHA-256 over the timestamp header, a dot and the body.
///
/// Receivers compute it from what they got, compare in constant time, and refuse old timestamps.
pub fn signature(secret: &Secret, timestamp: &str, body: &[u8]) -> String {
    // HMAC takes keys of every length; the empty result can only mean that this has changed.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.reveal().as_bytes()) else {
        return String::new();
    };
    mac.update(timestamp.as_bytes());
    mac.update(b".");
    mac.update(body);
    format!("sha256={}", crate::hexadecimal(&mac.finalize().into_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_covers_the_timestamp_and_the_body() {
        let secret = Secret::new("key");
        // Computed with `openssl dgst -sha256 -hmac key` over `1700000000.{"a":1}`.
        assert_eq!(
            signature(&secret, "1700000000", br#"{"a":1}"#),
            "sha256=a438e398bfafc57e4396bb7fc2304422f0f768e965d073ca313cb52e22e6ad03"
        );
        assert_ne!(signature(&secret, "1700000001", b"x"), signature(&secret, "1700000000", b"x"));
    }

    #[test]
    fn the_wait_doubles_with_each_try() {
        let first = Duration::from_millis(200);
        assert_eq!(backoff(first, 1, 0), Duration::from_millis(100));
        assert_eq!(backoff(first, 3, 0), Duration::from_millis(400));
        assert!((1..=3).all(|attempt| backoff(first, attempt, u64::MAX) <= first * (1 << (attempt - 1))));
    }
}
