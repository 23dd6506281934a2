//! Output in bounded memory: the ends of what is unread, text in whole code points, and a reply's truncation.

use std::collections::VecDeque;

use crate::limits::{BUFFER_BYTES, DELTA_BYTES};

/// The first and the last bytes of what nobody has read yet.
#[derive(Debug, Default)]
pub(crate) struct Unread {
    head: Vec<u8>,
    tail: VecDeque<u8>,
    omitted: u64,
}

/// What was taken from an [`Unread`].
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Taken {
    head: Vec<u8>,
    tail: Vec<u8>,
    pub(crate) omitted: u64,
}

const HEAD_BYTES: usize = BUFFER_BYTES / 2;
const TAIL_BYTES: usize = BUFFER_BYTES - HEAD_BYTES;

impl Unread {
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        // Once bytes are in the tail, or were left out, the head stays as it is.
        let room = if self.tail.is_empty() && self.omitted == 0 { HEAD_BYTES - self.head.len() } else { 0 };
        let (first, rest) = bytes.split_at(room.min(bytes.len()));
        self.head.extend_from_slice(first);
        // Only the end of a large piece can survive: the rest is counted, not copied.
        let skipped = rest.len().saturating_sub(TAIL_BYTES);
        let surplus = (self.tail.len() + rest.len() - skipped).saturating_sub(TAIL_BYTES);
        self.tail.drain(..surplus);
        self.tail.extend(rest.get(skipped..).unwrap_or_default());
        self.omitted += (skipped + surplus) as u64;
    }

    /// Whether there is more than the beginning of one code point.
    pub(crate) fn has_text(&self) -> bool {
        !self.tail.is_empty() || self.head.len() > unfinished(&self.head)
    }

    /// Takes everything, except a code point at the end whose rest may still come.
    pub(crate) fn take(&mut self, more_may_come: bool) -> Taken {
        let mut taken = Taken {
            head: std::mem::take(&mut self.head),
            tail: std::mem::take(&mut self.tail).into(),
            omitted: std::mem::take(&mut self.omitted),
        };
        if more_may_come {
            let end = if taken.tail.is_empty() { &mut taken.head } else { &mut taken.tail };
            self.head = end.split_off(end.len() - unfinished(end));
        }
        taken
    }

    /// Puts back what could not be handed over, before what came in the meantime.
    pub(crate) fn put_back(&mut self, taken: Taken) {
        let later = std::mem::take(self);
        self.head = taken.head;
        self.tail = taken.tail.into();
        self.omitted = taken.omitted;
        self.push(&later.head);
        self.omitted += later.omitted;
        self.push(Vec::from(later.tail).as_slice());
    }
}

impl Taken {
    pub(crate) fn is_empty(&self) -> bool {
        self.head.is_empty()
    }

    /// The text, with a line for what was left out.
    pub(crate) fn text(&self) -> String {
        if self.omitted == 0 {
            return String::from_utf8_lossy(&[self.head.as_slice(), &self.tail].concat()).into_owned();
        }
        let head = self.head.get(..self.head.len() - unfinished(&self.head)).unwrap_or_default();
        let tail = without_split_start(&self.tail);
        let lost = (self.head.len() - head.len()) + (self.tail.len() - tail.len());
        let (head, tail) = (String::from_utf8_lossy(head), String::from_utf8_lossy(tail));
        format!("{head}\n... {} bytes omitted ...\n{tail}", self.omitted + lost as u64)
    }
}

/// How many bytes at the end begin a code point without finishing it.
fn unfinished(bytes: &[u8]) -> usize {
    let last = bytes.get(bytes.len().saturating_sub(3)..).unwrap_or_default();
    for (index, &byte) in last.iter().enumerate() {
        let wanted = match byte {
            0xC2..=0xDF => 2,
            0xE0..=0xEF => 3,
            0xF0..=0xF4 => 4,
            _ => continue,
        };
        let found = last.get(index..).unwrap_or_default();
        // A sequence that is wrong already will not be finished by anything.
        let waits = std::str::from_utf8(found).is_err_and(|error| error.error_len().is_none());
        if found.len() < wanted && waits {
            return found.len();
        }
    }
    0
}

fn without_split_start(bytes: &[u8]) -> &[u8] {
    let rest = bytes.iter().take(3).take_while(|&byte| byte & 0xC0 == 0x80).count();
    bytes.get(rest..).unwrap_or_default()
}

/// Turns pieces of a stream into texts of at most [`DELTA_BYTES`], never splitting a code point.
#[derive(Debug, Default)]
pub(crate) struct TextSplitter {
    pending: Vec<u8>,
}

impl TextSplitter {
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Vec<String> {
        self.pending.extend_from_slice(bytes);
        let whole = self.pending.len() - unfinished(&self.pending);
        let rest = self.pending.split_off(whole);
        let text = String::from_utf8_lossy(&self.pending);
        let mut texts = Vec::new();
        let mut left = text.as_ref();
        while !left.is_empty() {
            let (now, later) = left.split_at(left.floor_char_boundary(DELTA_BYTES));
            texts.push(now.to_owned());
            left = later;
        }
        self.pending = rest;
        texts
    }

    pub(crate) fn finish(&mut self) -> Option<String> {
        let rest = std::mem::take(&mut self.pending);
        (!rest.is_empty()).then(|| String::from_utf8_lossy(&rest).into_owned())
    }
}

/// How many tokens a text is taken for: one for every four bytes.
pub(crate) fn tokens(bytes: usize) -> u64 {
    bytes.div_ceil(4) as u64
}

/// Shortens a text to about `max_tokens` by leaving out its middle, in the words that Codex's models know.
///
/// A text that fits comes back as it is. Else the first line warns with the count of the whole, and both ends
/// stay, half of the budget each.
pub fn truncate(text: String, max_tokens: usize) -> String {
    let budget = max_tokens.saturating_mul(4);
    if text.len() <= budget {
        return text;
    }
    let left = text.floor_char_boundary(budget / 2);
    let right = text.ceil_char_boundary(text.len() - (budget - budget / 2));
    let removed = tokens(text.len() - budget);
    let (head, tail) = (text.get(..left).unwrap_or_default(), text.get(right..).unwrap_or_default());
    let (count, lines) = (tokens(text.len()), text.lines().count());
    format!(
        "Warning: truncated output (original token count: {count})\nTotal output lines: {lines}\n\n\
         {head}…{removed} tokens truncated…{tail}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exactly_one_mebibyte_is_kept_and_the_rest_is_counted() {
        for piece in [1, 1000, 8192, 700_000, 1_288_895] {
            let bytes: Vec<u8> = (0..1_288_895_u32).map(|n| b'a' + u8::try_from(n % 23).unwrap()).collect();
            let mut unread = Unread::default();
            bytes.chunks(piece).for_each(|piece| unread.push(piece));
            let taken = unread.take(true);
            assert_eq!(taken.omitted, 240_319);
            assert_eq!(taken.head, bytes[..HEAD_BYTES]);
            assert_eq!(taken.tail, bytes[bytes.len() - TAIL_BYTES..]);
            assert!(taken.text().contains("\n... 240319 bytes omitted ...\n"));
            assert!(!unread.has_text() && unread.take(false) == Taken::default());
        }
    }

    #[test]
    fn what_is_put_back_comes_before_what_came_later() {
        for (first, second) in [(10, 20), (BUFFER_BYTES, 10), (10, BUFFER_BYTES + 7), (900_000, 900_000)] {
            let bytes: Vec<u8> = (0..first + second).map(|n| b'a' + u8::try_from(n % 23).unwrap()).collect();
            let mut unread = Unread::default();
            unread.push(&bytes[..first]);
            let taken = unread.take(true);
            unread.push(&bytes[first..]);
            unread.put_back(taken);
            let again = unread.take(false);
            let kept = again.head.len() + again.tail.len();
            assert_eq!(kept as u64 + again.omitted, bytes.len() as u64, "{first} {second}");
            assert!(bytes.starts_with(&again.head) && bytes.ends_with(&again.tail), "{first} {second}");
        }
    }

    #[test]
    fn a_code_point_is_never_split() {
        let text = "a€😀é".repeat(5000);
        for piece in [1, 2, 3, 5, 8191] {
            let mut unread = Unread::default();
            let mut splitter = TextSplitter::default();
            let (mut read, mut told) = (String::new(), String::new());
            for piece in text.as_bytes().chunks(piece) {
                unread.push(piece);
                read += &unread.take(true).text();
                let texts = splitter.push(piece);
                assert!(texts.iter().all(|text| text.len() <= DELTA_BYTES));
                told += &texts.concat();
            }
            assert!(read == text && told == text);
            assert!(splitter.finish().is_none());
        }
    }

    #[test]
    fn garbage_becomes_replacement_characters_at_once() {
        let mut unread = Unread::default();
        unread.push(b"\xff\xfe\x80\xc3(\xf0\x28");
        assert_eq!(unread.take(true).text(), "\u{fffd}\u{fffd}\u{fffd}\u{fffd}(\u{fffd}(");
        unread.push(b"ok\xf0\x9f");
        assert_eq!(unread.take(true).text(), "ok");
        assert!(!unread.has_text());
        assert_eq!(unread.take(false).text(), "\u{fffd}");
    }

    #[test]
    fn truncation_speaks_as_codex_does() {
        assert_eq!(truncate("short".into(), 2), "short");
        let text = "0123456789\n".repeat(10);
        assert_eq!(
            truncate(text, 5),
            "Warning: truncated output (original token count: 28)\nTotal output lines: 10\n\n\
             0123456789…23 tokens truncated…123456789\n"
        );
        assert_eq!(
            truncate("€".repeat(9), 2),
            "Warning: truncated output (original token count: 7)\nTotal output lines: 1\n\n€…5 tokens truncated…€"
        );
        assert!(truncate("abc".into(), 0).ends_with("\n\n…1 tokens truncated…"));
    }
}
