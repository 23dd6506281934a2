//! The bearer token of the HTTP server.

use sha2::{Digest as _, Sha256};

/// The shortest token that is accepted, in bytes: nothing that could be guessed.
const SHORTEST: usize = 16;
/// The longest, in bytes.
const LONGEST: usize = 4096;

/// A secret that clients must present. Only its hash is kept.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Token {
    sha256: [u8; 32],
}

impl Token {
    /// Takes a token; blanks around it do not count.
    ///
    /// # Errors
    /// A sentence for people, which never quotes the token.
    pub fn new(text: &str) -> Result<Self, &'static str> {
        let text = text.trim();
        if !(SHORTEST..=LONGEST).contains(&text.len()) {
            return Err("the token must have 16 to 4096 characters");
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("the token may hold visible ASCII characters only");
        }
        Ok(Self { sha256: Sha256::digest(text.as_bytes()).into() })
    }

    /// Whether the value of an `Authorization` header presents this token. The time it takes says
    /// nothing about the token: hashes are compared, and all of them.
    pub(crate) fn is_presented_by(&self, header: &[u8]) -> bool {
        let (scheme, rest) = header.split_at(header.len().min("Bearer ".len()));
        let offered: [u8; 32] = Sha256::digest(rest.trim_ascii()).into();
        let difference = offered.iter().zip(self.sha256).fold(0, |sum, (a, b)| sum | (a ^ b));
        scheme.eq_ignore_ascii_case(b"Bearer ") && difference == 0
    }
}

impl std::fmt::Debug for Token {
    /// Never shows anything of the token.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(****)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_token_itself_opens() {
        let token = Token::new("0123456789abcdef\n").unwrap();
        assert!(token.is_presented_by(b"Bearer 0123456789abcdef"));
        assert!(token.is_presented_by(b"bearer  0123456789abcdef"), "schemes are not case-sensitive");
        for bad in [
            &b""[..],
            b"Bearer",
            b"Bearer ",
            b"Basic 0123456789abcdef",
            b"0123456789abcdef",
            b"Bearer 0123456789abcdeF",
        ] {
            assert!(!token.is_presented_by(bad));
        }
        assert_eq!(format!("{token:?}"), "Token(****)");
    }

    #[test]
    fn weak_tokens_are_refused() {
        for bad in ["", "short", "0123456789 abcdef", "0123456789abcdeé"] {
            assert!(Token::new(bad).is_err(), "{bad}");
        }
        assert!(Token::new(&"x".repeat(5_000)).is_err());
    }
}
