//! Resume tokens: random, kept in a file that only the user can read, known elsewhere by hash.

use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use sha2::{Digest as _, Sha256};

use crate::error::RuntimeError;

/// Random bytes as lower-case hexadecimal.
pub(crate) fn random_hex(bytes: usize) -> Result<String, RuntimeError> {
    let mut buffer = vec![0; bytes];
    getrandom::fill(&mut buffer).map_err(|error| RuntimeError::Random(error.to_string()))?;
    Ok(hex(&buffer))
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing into a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The hash under which a token is known.
pub(crate) fn sha256_hex(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// Compares a token with the recorded hash; the time it takes says nothing about the token,
/// since only hashes of it are compared.
pub(crate) fn fits(token: &str, sha256: &str) -> bool {
    let offered = sha256_hex(token.trim().as_bytes());
    let difference = offered.bytes().zip(sha256.bytes()).fold(0, |sum, (a, b)| sum | (a ^ b));
    offered.len() == sha256.len() && difference == 0
}

/// Writes the token to a new file that only its owner can read (mode 0600).
pub(crate) fn store(path: &Path, token: &str) -> io::Result<()> {
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(token.as_bytes())?;
    file.write_all(b"\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_token_itself_fits() {
        let hash = sha256_hex(b"secret");
        assert!(fits("secret", &hash));
        assert!(fits("secret\n", &hash), "a token read from its file ends in a newline");
        assert!(!fits("Secret", &hash));
        assert!(!fits("secret", &hash[1..]));
    }
}
