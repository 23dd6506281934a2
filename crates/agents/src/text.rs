//! Bounds for texts that come from an agent, and the spelling of hashes.

use sha2::{Digest, Sha256};

/// Bounds one text of an observation or a report, in bytes of UTF-8.
pub(crate) const TEXT_LIMIT: usize = 32 * 1024;

/// Bounds a path, a warning or a name, in bytes of UTF-8.
pub(crate) const SHORT_LIMIT: usize = 4 * 1024;

/// Marks a text that was cut.
const CUT: &str = "…";

/// Returns `text`, cut at a character boundary to at most `limit` bytes with a final `…` if it was longer.
pub(crate) fn shortened(text: &str, limit: usize) -> String {
    if text.len() <= limit {
        return text.to_owned();
    }
    let mut end = limit.saturating_sub(CUT.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}{CUT}", &text[..end])
}

/// Spells a finished hash.
pub(crate) fn hexadecimal(hash: Sha256) -> String {
    hash.finalize().iter().fold(String::with_capacity(64), |mut text, byte| {
        text.extend([byte >> 4, byte & 15].map(|digit| char::from(b"0123456789abcdef"[usize::from(digit)])));
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_keeps_characters_whole_and_the_limit() {
        assert_eq!(shortened("abc", 3), "abc");
        assert_eq!(shortened("abcdef", 5), "ab…");
        assert_eq!(shortened("ääää", 6), "ä…");
        assert_eq!(shortened("ääää", 7), "ää…");
    }
}
