//! The names of sessions: chosen by a person or drawn at random, and always safe as a file name.

use std::fmt;
use std::io;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::SessionError;

const MAX_BYTES: usize = 64;
const RANDOM_BYTES: usize = 8;

/// The name of a session: 1 to 64 of `A-Z a-z 0-9 . _ -`, and neither `.` nor `..`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SessionId(String);

impl SessionId {
    /// Draws a short random name of lower-case letters and digits.
    ///
    /// # Errors
    /// [`SessionError::System`] when the system gives no random bytes.
    pub fn random() -> Result<Self, SessionError> {
        const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
        let mut bytes = [0; RANDOM_BYTES];
        getrandom::fill(&mut bytes).map_err(|error| SessionError::System {
            step: "draw a random name",
            source: io::Error::other(error.to_string()),
        })?;
        let letters = bytes.iter().filter_map(|byte| ALPHABET.get(usize::from(byte % 32)));
        Ok(Self(letters.map(|&letter| char::from(letter)).collect()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<SessionId> for String {
    fn from(id: SessionId) -> Self {
        id.0
    }
}

impl TryFrom<String> for SessionId {
    type Error = SessionError;

    fn try_from(text: String) -> Result<Self, SessionError> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        let fits = (1..=MAX_BYTES).contains(&text.len()) && text.bytes().all(allowed);
        if fits && text != "." && text != ".." {
            Ok(Self(text))
        } else {
            Err(SessionError::InvalidId { text })
        }
    }
}

impl FromStr for SessionId {
    type Err = SessionError;

    fn from_str(text: &str) -> Result<Self, SessionError> {
        Self::try_from(text.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_leave_their_folder_are_refused() {
        let long = "x".repeat(65);
        for text in ["", ".", "..", "a/b", "../x", "a b", "ä", "a\0", "a\n", long.as_str()] {
            assert!(text.parse::<SessionId>().is_err(), "{text:?}");
        }
        for text in ["a", "build-1.2_x", "...", &long[1..]] {
            assert_eq!(text.parse::<SessionId>().unwrap().as_str(), text);
        }
        let random = SessionId::random().unwrap();
        assert_eq!(random.as_str().parse::<SessionId>().unwrap(), random);
        assert_ne!(random, SessionId::random().unwrap());
    }
}
