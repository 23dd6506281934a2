//! The identity of a conversation with an agent.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Bounds a thread id; Codex prints 36 bytes.
const MAX_LENGTH: usize = 128;

/// Names a conversation that an agent can resume.
///
/// It is printed by one process and becomes an argument of another, so it is held to ASCII letters, digits, `-`, `_`,
/// `.` and `:`, at most 128 of them, and never begins with `-`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ThreadId(String);

/// Says why a text is no thread id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no thread id")]
pub struct InvalidThreadId {
    /// The text, shortened.
    pub text: String,
}

impl ThreadId {
    /// Returns the id as the agent printed it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ThreadId {
    type Err = InvalidThreadId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte);
        if text.is_empty() || text.len() > MAX_LENGTH || text.starts_with('-') || !text.bytes().all(allowed) {
            return Err(InvalidThreadId { text: crate::text::shortened(text, MAX_LENGTH) });
        }
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for ThreadId {
    type Error = InvalidThreadId;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<ThreadId> for String {
    fn from(id: ThreadId) -> Self {
        id.0
    }
}

impl fmt::Display for ThreadId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_be_an_option_or_a_path_is_refused() {
        for good in ["01a1fd89-a1f7-74a0-a296-344be8b47ac2", "T-1:a.b_c"] {
            assert_eq!(good.parse::<ThreadId>().unwrap().to_string(), good);
        }
        let long = "a".repeat(129);
        for bad in ["", "--last", "-", "a/b", "a b", "a\n", "ä", &long] {
            assert!(bad.parse::<ThreadId>().is_err(), "{bad}");
        }
        assert!(serde_json::from_str::<ThreadId>(r#""--last""#).is_err());
    }
}
