//! Cuts a stream of JSON Lines into lines, in bounded memory.
//!
//! A line may hold megabytes of a command's output in one string while all that matters about it (which command, how
//! it ended) stands around that string. So a long string is shortened while it streams in, at the boundary of a
//! character or an escape, and the line stays valid JSON. A line that is too long even so is dropped and counted.

use crate::text::TEXT_LIMIT;

/// Bounds a line after its strings were shortened.
pub(crate) const LINE_LIMIT: usize = 1024 * 1024;

/// Bounds a line of an agent that waits for answers: below this nothing of it is shortened.
///
/// What an agent wants consent to is judged by its whole, for example by the hash of a file's new content.
const WHOLE_LIMIT: usize = 4 * 1024 * 1024;

/// Bounds one string inside a line, in raw bytes.
///
/// One decoded byte takes at most six raw ones (`\u0000`), so a string that was shortened here still decodes to more
/// than [`TEXT_LIMIT`], and whoever shows it sees that it was cut.
const STRING_LIMIT: usize = 6 * (TEXT_LIMIT + 1);

/// Collects bytes into lines.
#[derive(Debug, Default)]
pub(crate) struct LineCutter {
    line: Vec<u8>,
    /// Whether anything but white space has arrived since the last newline; also true for a dropped line.
    begun: bool,
    overlong: bool,
    /// Whether a string of the line was shortened.
    shortened: bool,
    overlong_lines: u64,
    place: Place,
    /// Strings are left alone until the line is this long.
    whole_limit: usize,
}

/// Says where in the JSON text of the line the next byte falls.
#[derive(Debug, Clone, Copy, Default)]
enum Place {
    #[default]
    Structure,
    String {
        length: usize,
        cut: bool,
        /// Whether the last thing in the string was the first half of a `\u` pair, which must not stand alone.
        half_pair: bool,
    },
    /// Within an escape: how many raw bytes of it have been seen, and its first four hexadecimal digits.
    Escape { length: usize, cut: bool, seen: u8, digits: u32 },
}

impl LineCutter {
    /// Returns a cutter that shortens nothing in a line of less than [`WHOLE_LIMIT`].
    pub(crate) fn whole() -> Self {
        Self { whole_limit: WHOLE_LIMIT, ..Self::default() }
    }

    /// Adds bytes and hands over each line that they complete, without its newline; blank lines are left out.
    pub(crate) fn push(&mut self, bytes: &[u8], mut line: impl FnMut(&[u8])) {
        self.push_marked(bytes, |text, _| line(text));
    }

    /// Adds bytes like [`push`](Self::push), and tells of each line whether it is whole: no string was shortened.
    pub(crate) fn push_marked(&mut self, bytes: &[u8], mut line: impl FnMut(&[u8], bool)) {
        for &byte in bytes {
            if byte == b'\n' {
                if self.overlong {
                    self.overlong_lines += 1;
                } else if self.begun {
                    line(&self.line, !self.shortened);
                }
                self.shortened = false;
                self.line.clear();
                self.begun = false;
                self.overlong = false;
                self.place = Place::Structure;
            } else {
                self.begun |= !byte.is_ascii_whitespace();
                let kept = self.keeps(byte);
                self.shortened |= !kept;
                if kept && !self.overlong {
                    if self.line.len() == LINE_LIMIT + self.whole_limit {
                        self.overlong = true;
                        self.line = Vec::new();
                    } else {
                        self.line.push(byte);
                    }
                }
            }
        }
    }

    /// Returns what stands after the last newline, if it is more than white space.
    pub(crate) fn rest(&self) -> Option<&[u8]> {
        self.begun.then_some(self.line.as_slice())
    }

    /// Returns how many lines were dropped because they were too long.
    pub(crate) fn overlong_lines(&self) -> u64 {
        self.overlong_lines
    }

    /// Moves on by one byte and tells whether it belongs to the shortened line.
    fn keeps(&mut self, byte: u8) -> bool {
        match self.place {
            Place::Structure => {
                if byte == b'"' {
                    self.place = Place::String { length: 0, cut: false, half_pair: false };
                }
                true
            }
            Place::String { .. } if byte == b'"' => {
                self.place = Place::Structure;
                true
            }
            Place::String { length, cut, half_pair } => {
                let continues_character = (0x80..0xC0).contains(&byte);
                let too_long = length >= STRING_LIMIT && self.line.len() >= self.whole_limit;
                let cut = cut || (too_long && !continues_character && !half_pair);
                let length = length.saturating_add(1);
                self.place = if byte == b'\\' {
                    Place::Escape { length, cut, seen: 1, digits: 0 }
                } else {
                    Place::String { length, cut, half_pair: false }
                };
                !cut
            }
            Place::Escape { length, cut, seen, digits } => {
                let length = length.saturating_add(1);
                let hexadecimal = char::from(byte).to_digit(16);
                self.place = match (seen, byte, hexadecimal) {
                    (1, b'u', _) => Place::Escape { length, cut, seen: 2, digits: 0 },
                    (2..=4, _, Some(digit)) => {
                        Place::Escape { length, cut, seen: seen + 1, digits: digits << 4 | digit }
                    }
                    (5, _, Some(digit)) => {
                        let unit = digits << 4 | digit;
                        Place::String { length, cut, half_pair: (0xD800..0xDC00).contains(&unit) }
                    }
                    _ => Place::String { length, cut, half_pair: false },
                };
                !cut
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;

    fn lines(bytes: &[u8]) -> (Vec<Vec<u8>>, Option<Vec<u8>>, u64) {
        let mut cutter = LineCutter::default();
        let mut lines = Vec::new();
        cutter.push(bytes, |line| lines.push(line.to_vec()));
        (lines, cutter.rest().map(<[u8]>::to_vec), cutter.overlong_lines())
    }

    #[test]
    fn lines_end_at_newlines_and_blank_ones_are_left_out() {
        assert_eq!(lines(b"a\n\r\n \nb"), (vec![b"a".to_vec()], Some(b"b".to_vec()), 0));
        assert_eq!(lines(b"a\n \r"), (vec![b"a".to_vec()], None, 0));
    }

    #[test]
    fn a_long_string_is_shortened_and_what_stands_around_it_is_kept() {
        for unit in ["x", "ä", "😀", r"\n", r"\u0000", r"\ud83d\ude00", r#"\""#, r"\\", r"a\u00e4"] {
            for shift in 0..unit.len() {
                let long = "y".repeat(shift) + &unit.repeat(STRING_LIMIT / unit.len() + 1000);
                let line = format!("{{\"output\":\"{long}\",\"exit_code\":7}}\n");
                let (lines, rest, overlong) = lines(line.as_bytes());
                assert_eq!((rest, overlong), (None, 0));
                assert!(lines[0].len() < STRING_LIMIT + 64, "{unit}");
                let value: Value =
                    serde_json::from_slice(&lines[0]).unwrap_or_else(|e| panic!("{unit}: {e}"));
                assert_eq!(value["exit_code"], 7);
                let whole: Value = serde_json::from_str(&line).unwrap();
                let output = value["output"].as_str().unwrap();
                assert!(whole["output"].as_str().unwrap().starts_with(output), "{unit}");
                assert!(output.len() > TEXT_LIMIT, "{unit}: a reader must see that it was cut");
            }
        }
    }

    #[test]
    fn a_line_that_is_too_long_is_dropped_and_counted_and_the_next_one_is_read() {
        let mut bytes = b"[".repeat(LINE_LIMIT + 1);
        bytes.extend_from_slice(b"\n{}\n");
        assert_eq!(lines(&bytes), (vec![b"{}".to_vec()], None, 1));
        let whole = b"[".repeat(LINE_LIMIT);
        let mut bytes = whole.clone();
        bytes.push(b'\n');
        assert_eq!(lines(&bytes), (vec![whole], None, 0));
        assert_eq!(lines(&b"[".repeat(3 * LINE_LIMIT)), (vec![], Some(vec![]), 0));
    }

    #[test]
    fn a_cutter_for_whole_lines_shortens_only_what_is_longer_than_any_question() {
        let whole = |length: usize| {
            let line = format!("{{\"content\":\"{}\",\"id\":7}}\n", "x".repeat(length));
            let (mut cutter, mut found) = (LineCutter::whole(), Vec::new());
            cutter.push_marked(line.as_bytes(), |line, whole| {
                assert_eq!(whole, length < WHOLE_LIMIT);
                found.push(serde_json::from_slice::<Value>(line).unwrap());
            });
            assert_eq!((found.len(), cutter.overlong_lines()), (1, 0));
            assert_eq!(found[0]["id"], 7);
            found[0]["content"].as_str().unwrap().len()
        };
        assert_eq!(whole(2 * 1024 * 1024), 2 * 1024 * 1024);
        assert!((WHOLE_LIMIT - 64..=WHOLE_LIMIT).contains(&whole(10 * 1024 * 1024)));
    }

    proptest! {
        #[test]
        fn short_lines_pass_unchanged(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let expected: Vec<Vec<u8>> = bytes
                .split(|&byte| byte == b'\n')
                .filter(|line| !line.iter().all(u8::is_ascii_whitespace))
                .map(<[u8]>::to_vec)
                .collect();
            let (mut found, rest, _) = lines(&bytes);
            found.extend(rest);
            prop_assert_eq!(found, expected);
        }
    }
}
