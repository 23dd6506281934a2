//! Values that were named: found as they are and as programs commonly write them. Owns the values of one guard.

use std::collections::BTreeSet;
use std::fmt;

use aho_corasick::{AhoCorasick, Input, MatchKind};

use crate::found::{Candidate, Hit, Surety, Verdict};
use crate::probe::View;
use crate::settings::SecretValue;

/// A longer value is looked for in pieces of this length, each of which is withheld wherever it stands.
const PIECE: usize = 2 * 1024;
/// A form shorter than this would be found by chance.
pub(crate) const SHORTEST: usize = 6;

/// One spelling of a value.
struct Form {
    bytes: Vec<u8>,
    rule: String,
}

/// All spellings of all values.
pub(crate) struct Values {
    forms: Vec<Form>,
    automaton: AhoCorasick,
}

impl fmt::Debug for Values {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Values").field("forms", &self.forms.len()).finish_non_exhaustive()
    }
}

impl Values {
    pub(crate) fn new(values: &[SecretValue]) -> Result<Self, aho_corasick::BuildError> {
        let mut forms = Vec::new();
        for value in values {
            for bytes in spellings(value.text().as_bytes()) {
                forms.push(Form { bytes, rule: value.name().to_owned() });
            }
        }
        let automaton = AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostLongest)
            .build(forms.iter().map(|form| form.bytes.as_slice()))?;
        Ok(Self { forms, automaton })
    }

    /// The first value at or behind `from`, whole or cut off by the end of the view.
    pub(crate) fn next(&self, view: &View<'_>, from: usize) -> Option<Candidate<'_>> {
        let whole = self.automaton.find(Input::new(view.bytes).range(from.min(view.bytes.len())..));
        if let Some(begun) = self.cut_off(view, from)
            && whole.is_none_or(|whole| begun <= whole.start())
        {
            let verdict = Verdict::Waiting { hold: begun, hold_in_pause: begun };
            return Some(Candidate { anchor: begun, verdict });
        }
        whole.map(|found| {
            let rule = self.forms[found.pattern().as_usize()].rule.as_str();
            let (start, end) = (found.start(), found.end());
            let hit = Hit { rule, surety: Surety::Value, start, end, tail: None };
            Candidate { anchor: start, verdict: Verdict::Hit(hit) }
        })
    }

    /// Where the earliest form begins that the end of the view cuts off.
    fn cut_off(&self, view: &View<'_>, from: usize) -> Option<usize> {
        if view.ended {
            return None;
        }
        let length = view.bytes.len();
        let of_form = |form: &Form| {
            let first = (length + 1).saturating_sub(form.bytes.len()).max(from);
            let here = view.bytes.get(first..)?;
            let begins = |&offset: &usize| form.bytes.starts_with(&here[offset..]);
            memchr::memchr_iter(form.bytes[0], here).find(begins).map(|offset| first + offset)
        };
        self.forms.iter().filter_map(of_form).min()
    }
}

/// A value as it is, escaped for JSON, percent-encoded, and in base64, alone and within a longer text.
fn spellings(value: &[u8]) -> BTreeSet<Vec<u8>> {
    let mut spellings = BTreeSet::from([value.to_vec(), json(value)]);
    for hex in [b"0123456789ABCDEF", b"0123456789abcdef"] {
        spellings.extend([percent(value, hex, false), percent(value, hex, true)]);
    }
    for alphabet in [STANDARD, URL_SAFE] {
        spellings.insert(base64(value, alphabet, true));
        for skipped in 0..3 {
            // Which letters depend on the value alone when it stands behind `skipped` other bytes.
            let padded: Vec<u8> = std::iter::repeat_n(0, skipped).chain(value.iter().copied()).collect();
            let letters = base64(&padded, alphabet, false);
            let first = [0, 2, 3][skipped];
            let whole = padded.len() * 8 / 6;
            spellings.insert(letters[first..whole].to_vec());
        }
    }
    let pieces = |spelling: Vec<u8>| {
        let whole = spelling.len();
        // The last piece reaches back, so that it is not too short to be looked for.
        let starts = (0..whole).step_by(PIECE).map(move |start| start.min(whole.saturating_sub(PIECE)));
        starts.map(move |start| spelling[start..whole.min(start + PIECE)].to_vec()).collect::<Vec<_>>()
    };
    spellings.into_iter().filter(|spelling| spelling.len() >= SHORTEST).flat_map(pieces).collect()
}

fn json(value: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(value);
    let quoted = serde_json::Value::String(text.into_owned()).to_string();
    quoted.as_bytes()[1..quoted.len() - 1].to_vec()
}

fn percent(value: &[u8], hex: &[u8; 16], form: bool) -> Vec<u8> {
    let mut encoded = Vec::with_capacity(value.len());
    for &byte in value {
        match byte {
            b' ' if form => encoded.push(b'+'),
            b'-' | b'_' | b'.' | b'~' => encoded.push(byte),
            _ if byte.is_ascii_alphanumeric() => encoded.push(byte),
            _ => encoded.extend([b'%', hex[usize::from(byte >> 4)], hex[usize::from(byte & 15)]]),
        }
    }
    encoded
}

const STANDARD: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const URL_SAFE: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// RFC 4648.
fn base64(value: &[u8], alphabet: &[u8; 64], padding: bool) -> Vec<u8> {
    let mut encoded = Vec::with_capacity(value.len() * 4 / 3 + 4);
    for group in value.chunks(3) {
        let byte = |index: usize| group.get(index).copied().unwrap_or_default();
        let letters = [byte(0) >> 2, byte(0) << 4 | byte(1) >> 4, byte(1) << 2 | byte(2) >> 6, byte(2)]
            .map(|six| six & 63);
        encoded.extend(letters[..=group.len()].iter().map(|&six| alphabet[usize::from(six)]));
        if padding {
            encoded.extend(std::iter::repeat_n(b'=', 3 - group.len()));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_rfc_4648() {
        for (plain, encoded) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")]
        {
            assert_eq!(base64(plain.as_bytes(), STANDARD, true), encoded.as_bytes());
        }
        assert_eq!(base64(&[0xfb, 0xff], URL_SAFE, false), b"-_8");
    }

    #[test]
    fn a_value_within_a_longer_text_is_known_in_base64_at_every_alignment() {
        let forms = spellings(b"correct horse");
        for before in ["", "u", "us", "user:"] {
            let text = base64(format!("{before}correct horse and more").as_bytes(), STANDARD, true);
            let known = forms.iter().any(|form| memchr::memmem::find(&text, form).is_some());
            assert!(known, "behind `{before}`");
        }
    }

    #[test]
    fn a_long_value_is_covered_by_its_pieces() {
        let value: Vec<u8> =
            (0..5_000_u32).map(|index| b'a' + u8::try_from(index * index % 23).unwrap()).collect();
        let forms = spellings(&value);
        assert!(forms.contains(&value[..PIECE]) && forms.contains(&value[value.len() - PIECE..]));
        assert!(forms.iter().all(|form| form.len() <= PIECE));
    }
}
