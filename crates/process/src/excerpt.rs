//! The first and last bytes of a stream, for summaries.

use std::fmt::Write as _;

/// How many bytes are kept from the beginning.
pub const HEAD_BYTES: usize = 4 << 10;
/// How many bytes are kept from the end.
pub const TAIL_BYTES: usize = 8 << 10;

/// The first [`HEAD_BYTES`] and the last [`TAIL_BYTES`] of a stream; they never overlap.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Excerpt {
    /// The beginning.
    pub head: Vec<u8>,
    /// How many bytes lie between the two.
    pub omitted: u64,
    /// The end; empty while everything fits the head.
    pub tail: Vec<u8>,
}

impl Excerpt {
    /// Takes the next bytes of the stream.
    pub fn extend(&mut self, bytes: &[u8]) {
        let room = HEAD_BYTES.saturating_sub(self.head.len()).min(bytes.len());
        let (first, rest) = bytes.split_at(room);
        self.head.extend_from_slice(first);
        // Only the end of a large piece can survive: the rest is counted, not copied.
        let skipped = rest.len().saturating_sub(TAIL_BYTES);
        let dropped = if skipped > 0 { self.tail.len() } else { 0 };
        self.tail.drain(..dropped);
        self.tail.extend_from_slice(rest.get(skipped..).unwrap_or_default());
        let surplus = self.tail.len().saturating_sub(TAIL_BYTES);
        self.tail.drain(..surplus);
        self.omitted += (skipped + dropped + surplus) as u64;
    }

    /// Renders the excerpt for people: terminal escapes removed, a line for what is left out.
    ///
    /// Code points that the cut splits are left out rather than turned into U+FFFD, which only stands for bytes
    /// that were no UTF-8 in the first place.
    pub fn text(&self) -> String {
        if self.omitted == 0 {
            return plain_text(&[self.head.as_slice(), &self.tail].concat());
        }
        let head = without_split_end(&self.head);
        let tail = without_split_start(&self.tail);
        let lost = (self.head.len() - head.len()) + (self.tail.len() - tail.len());
        let mut text = plain_text(head);
        if !text.ends_with('\n') {
            text.push('\n');
        }
        // Writing to a string cannot fail.
        let _ = writeln!(text, "… {} bytes omitted …", self.omitted + lost as u64);
        text.push_str(&plain_text(tail));
        text
    }
}

/// Removes terminal escapes and replaces what is not UTF-8 by U+FFFD.
pub fn plain_text(bytes: &[u8]) -> String {
    // Text first: the stripper leaves out bytes that are no UTF-8, which should show.
    anstream::adapter::strip_str(&String::from_utf8_lossy(bytes)).to_string()
}

/// Leaves out a code point that begins at the end of `bytes` and is cut there.
fn without_split_end(bytes: &[u8]) -> &[u8] {
    let start = bytes.len().saturating_sub(4);
    let last = bytes.get(start..).unwrap_or_default();
    // The last byte that is not a continuation begins the last code point.
    let Some(lead) = last.iter().rposition(|byte| byte & 0xC0 != 0x80) else { return bytes };
    let wanted = match last.get(lead) {
        Some(0xC2..=0xDF) => 2,
        Some(0xE0..=0xEF) => 3,
        Some(0xF0..=0xF4) => 4,
        _ => 1,
    };
    if last.len() - lead < wanted { bytes.get(..start + lead).unwrap_or_default() } else { bytes }
}

/// Leaves out the rest of a code point that began before `bytes`.
fn without_split_start(bytes: &[u8]) -> &[u8] {
    let rest = bytes.iter().take(3).take_while(|&byte| byte & 0xC0 == 0x80).count();
    bytes.get(rest..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn excerpt(bytes: &[u8], piece: usize) -> Excerpt {
        let mut excerpt = Excerpt::default();
        bytes.chunks(piece).for_each(|piece| excerpt.extend(piece));
        excerpt
    }

    #[test]
    fn head_and_tail_are_exact_for_any_pieces() {
        let bytes: Vec<u8> = (0..40_000_u32).map(|n| (n % 251) as u8).collect();
        for length in [0, 1, HEAD_BYTES, HEAD_BYTES + 1, HEAD_BYTES + TAIL_BYTES, 12_289, 40_000] {
            let stream = &bytes[..length];
            for piece in [1, 7, 4_096, 8_191, 40_000] {
                let found = excerpt(stream, piece);
                let head = length.min(HEAD_BYTES);
                let tail = (length - head).min(TAIL_BYTES);
                assert_eq!(found.head, &stream[..head], "length {length} piece {piece}");
                assert_eq!(found.tail, &stream[length - tail..], "length {length} piece {piece}");
                assert_eq!(found.omitted, (length - head - tail) as u64, "length {length} piece {piece}");
            }
        }
    }

    #[test]
    fn code_points_split_by_the_cut_are_left_out() {
        // Three bytes a code point: neither 4 KiB nor 8 KiB is a multiple of three.
        let text = excerpt("€".repeat(20_000).as_bytes(), 1_000).text();
        assert!(!text.contains('\u{FFFD}'), "{text}");
        assert!(text.contains(" bytes omitted "));
        assert!(text.starts_with('€') && text.ends_with('€'));
    }

    #[test]
    fn a_code_point_across_head_and_tail_stays_whole() {
        let bytes = [vec![b'x'; HEAD_BYTES - 1], "é!".into()].concat();
        assert!(excerpt(&bytes, 10).text().ends_with("xé!"));
    }

    #[test]
    fn escapes_go_and_invalid_bytes_show() {
        assert_eq!(excerpt(b"\x1b[1;31mred\x1b[0m \xff\r\n", 3).text(), "red \u{FFFD}\r\n");
    }
}
