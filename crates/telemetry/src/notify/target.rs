//! Who is told what.

use std::fmt;
use std::time::Duration;

use super::message::NotificationKind;
use crate::Secret;
use crate::http::describe;

/// Longest time one POST may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// Further tries after the first.
const RETRIES: u32 = 3;
/// Wait before the second try; doubled for each further one.
const BACKOFF: Duration = Duration::from_millis(250);

/// Who is told, and how hard it is tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotifySettings {
    /// Who is told.
    pub targets: Vec<Target>,
    /// Longest time one POST may take.
    pub request_timeout: Duration,
    /// Further tries of a POST after the first, at most 3.
    pub retries: u32,
    /// Wait before the second try; doubled for each further one, with jitter.
    pub backoff: Duration,
}

impl Default for NotifySettings {
    fn default() -> Self {
        Self { targets: Vec::new(), request_timeout: REQUEST_TIMEOUT, retries: RETRIES, backoff: BACKOFF }
    }
}

impl NotifySettings {
    /// How long the end of a run waits for the last deliveries, unless told otherwise.
    pub const DEFAULT_PATIENCE: Duration = Duration::from_secs(5);

    /// Settings for these targets, each once.
    pub fn for_targets(targets: Vec<Target>) -> Self {
        Self { targets: super::without_repetitions(targets), ..Self::default() }
    }
}

/// Somebody who is told something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// How it is told.
    pub delivery: Delivery,
    /// What it is told.
    pub kinds: Vec<NotificationKind>,
}

/// How somebody is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delivery {
    /// A program and its arguments; the message is one argument more, as with Codex's `notify`.
    Program {
        /// Never empty.
        argv: Vec<String>,
    },
    /// A POST of the message.
    Post {
        /// `http://` or `https://`.
        url: String,
        /// Signs what is sent.
        secret: Option<Secret>,
    },
}

/// Says why a target cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// The text is neither an `http://` or `https://` address nor an absolute path.
    #[error(
        "`{target}` is not a notification target; write `http://…`, `https://…` or the absolute path of a program"
    )]
    Address {
        /// The refused text, without what may be secret in it.
        target: String,
    },
    /// There is no program to start.
    #[error("a notification command needs a program")]
    NoProgram,
}

impl Target {
    /// Tells a program, as Codex's `notify` setting does: a completed agent turn, nothing else.
    ///
    /// # Errors
    /// [`TargetError::NoProgram`] when `argv` names none.
    pub fn codex_notify(argv: Vec<String>) -> Result<Self, TargetError> {
        Self::program(argv, vec![NotificationKind::AgentTurnComplete])
    }

    /// Tells a program.
    ///
    /// # Errors
    /// [`TargetError::NoProgram`] when `argv` names none.
    pub fn program(argv: Vec<String>, kinds: Vec<NotificationKind>) -> Result<Self, TargetError> {
        match argv.first() {
            Some(program) if !program.trim().is_empty() => {
                Ok(Self { delivery: Delivery::Program { argv }, kinds })
            }
            _ => Err(TargetError::NoProgram),
        }
    }

    /// Tells a web address.
    ///
    /// # Errors
    /// [`TargetError::Address`] unless it is an HTTP address.
    pub fn post(
        url: &str,
        secret: Option<Secret>,
        kinds: Vec<NotificationKind>,
    ) -> Result<Self, TargetError> {
        let url = url.trim();
        let refuse = || TargetError::Address { target: describe(url) };
        let uri: ureq::http::Uri = url.parse().map_err(|_| refuse())?;
        let is_http = matches!(uri.scheme_str(), Some("http" | "https"));
        if !is_http || uri.host().is_none_or(str::is_empty) {
            return Err(refuse());
        }
        Ok(Self { delivery: Delivery::Post { url: url.to_owned(), secret }, kinds })
    }

    /// Reads what `--notify` and its variable hold: targets separated by commas, each once.
    ///
    /// A target is an HTTP address or the absolute path of a program. It is told the run's summary, or the kinds
    /// that stand before it: `approval-requested+run-finished=https://…`. Posts are signed with `secret`.
    ///
    /// # Errors
    /// [`TargetError::Address`] with the first that is neither.
    pub fn read_list<'a>(
        lists: impl IntoIterator<Item = &'a str>,
        secret: Option<&Secret>,
    ) -> Result<Vec<Self>, TargetError> {
        let texts = lists.into_iter().flat_map(|list| list.split(',')).map(str::trim);
        let targets = texts
            .filter(|text| !text.is_empty())
            .map(|text| {
                let (kinds, target) = with_kinds(text);
                if target.starts_with('/') {
                    Self::program(vec![target.to_owned()], kinds)
                } else {
                    Self::post(target, secret.cloned(), kinds)
                }
            })
            .collect::<Result<Vec<_>, _>>()?;
        Ok(super::without_repetitions(targets))
    }
}

/// Takes the kinds off the front of a target. What is no list of kinds belongs to the target: addresses have `=` too.
fn with_kinds(text: &str) -> (Vec<NotificationKind>, &str) {
    let named = text.split_once('=').and_then(|(kinds, target)| {
        Some((kinds.split('+').map(|kind| kind.parse().ok()).collect::<Option<Vec<_>>>()?, target))
    });
    named.unwrap_or_else(|| (vec![NotificationKind::RunSummary], text))
}

impl fmt::Display for Target {
    /// As it may be shown: an address without what may be secret in it, a program without its arguments.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.delivery {
            Delivery::Program { argv } => f.write_str(argv.first().map_or("", String::as_str)),
            Delivery::Post { url, .. } => f.write_str(&describe(url)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_addresses_are_joined_without_repetitions() {
        let targets = Target::read_list(["http://a/x, http://b", "http://a/x", " ,"], None).unwrap();
        let shown: Vec<_> = targets.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["http://a/x", "http://b"]);
    }

    #[test]
    fn a_target_may_say_what_it_is_told() {
        use NotificationKind::{ApprovalRequested, RunFinished, RunSummary};
        let read = |text| Target::read_list([text], None).unwrap().remove(0);
        assert_eq!(read("approval-requested+run-finished=/bin/beep").kinds, [ApprovalRequested, RunFinished]);
        let with_query = read("http://a/?run-finished=1");
        assert_eq!(
            (with_query.kinds, with_query.delivery),
            (vec![RunSummary], Delivery::Post { url: "http://a/?run-finished=1".to_owned(), secret: None },)
        );
        let delivery = Delivery::Program { argv: vec!["/bin/beep".to_owned()] };
        assert_eq!(read("/bin/beep"), Target { delivery, kinds: vec![RunSummary] });
        assert!(Target::read_list(["smoke=http://a"], None).is_err());
    }

    #[test]
    fn what_is_no_target_is_refused_without_showing_its_secrets() {
        let error = Target::read_list(["slack://me:hunter2@x"], None).unwrap_err();
        assert_eq!(error, TargetError::Address { target: "slack://x".to_owned() });
        assert_eq!(Target::codex_notify(vec![]), Err(TargetError::NoProgram));
        assert_eq!(Target::codex_notify(vec![" ".into()]), Err(TargetError::NoProgram));
    }
}
