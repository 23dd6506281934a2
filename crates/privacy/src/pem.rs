//! Private-key blocks: from BEGIN to END, line by line. Owns the place inside one block.
//!
//! A block is too long to be held, so it is a state: once its first line of key material is seen, everything is
//! withheld until the END line. When END never comes, the block is over at the first line that is neither key
//! material nor a header, or after [`LONGEST`]; text that follows a cut-off key is shown again.

use crate::found::{Answer, Hit, HoldFrom, Surety, Tail};
use crate::probe::{More, View};

pub(crate) const ANCHOR: &str = "-----begin ";
const BEGIN: &[u8] = b"-----BEGIN ";
const END: &[u8] = b"-----END ";
/// The longest block that is withheld without an END.
pub(crate) const LONGEST: usize = 64 * 1024;
/// Fewer bytes of base64 in a line are key material only if the line holds nothing else.
const PLAINLY_BASE64: usize = 40;

/// A block begins with at least this much below its header, line break included.
const SHORTEST_FIRST_LINE: usize = 14;

/// How much of a block has passed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pem {
    passed: usize,
}

/// What a line of a block is.
enum Line {
    /// Belongs to the block and ends here.
    Inside(usize),
    /// Closes the block and ends here.
    Last(usize),
    Foreign,
}

pub(crate) fn find(view: &View<'_>, anchor: usize) -> Answer<'static> {
    if !view.bytes[anchor..].starts_with(BEGIN) {
        return Ok(None);
    }
    let label = anchor + BEGIN.len();
    let label_end = view.run(label, 48, is_label).hold_from(anchor)?;
    let name = &view.bytes[label..label_end];
    if !(name.ends_with(b"PRIVATE KEY") || name.ends_with(b"PRIVATE KEY BLOCK")) {
        return Ok(None);
    }
    if !view.reads(label_end, b"-----").hold_from(anchor)? {
        return Ok(None);
    }
    let header_end = label_end + 5;
    let end = match line(view, header_end).hold_from(anchor)? {
        // A single word below the header is prose about keys.
        Line::Inside(end) if end >= header_end + SHORTEST_FIRST_LINE => end,
        _ => return Ok(None),
    };
    let tail = Some(Tail::Pem(Pem { passed: end - anchor }));
    Ok(Some(Hit { rule: "private-key", surety: Surety::Format, start: anchor, end, tail }))
}

impl Pem {
    /// Advances over whole lines of the block: where they end, and whether the block is over.
    pub(crate) fn advance(&mut self, view: &View<'_>, mut from: usize) -> (usize, bool) {
        while self.passed < LONGEST {
            match line(view, from) {
                Ok(Line::Inside(end)) if end > from => {
                    self.passed += end - from;
                    from = end;
                }
                Ok(Line::Last(end)) => return (end, true),
                Ok(Line::Inside(_) | Line::Foreign) => return (from, true),
                Err(More) => return (from, false),
            }
        }
        (from, true)
    }
}

/// Reads one line with the line breaks before it; a break may be written as an escape, and a quote, a diff's sign
/// or a comment may stand at its start.
fn line(view: &View<'_>, from: usize) -> Result<Line, More> {
    let start = line_start(view, from)?;
    if view.reads(start, END)? {
        let label_end = view.run(start + END.len(), 48, is_label)?;
        return Ok(if view.reads(label_end, b"-----")? { Line::Last(label_end + 5) } else { Line::Foreign });
    }
    let run = view.run(start, 512, is_base64)?;
    if run - start >= PLAINLY_BASE64 {
        return Ok(Line::Inside(run));
    }
    match view.at(run)? {
        None | Some(b'\r' | b'\n' | b'\\') if run > start => Ok(Line::Inside(run)),
        Some(b'-') if run > start && view.reads(run, END)? => Ok(Line::Inside(run)),
        Some(b':' | b'-') if run > start => header(view, start),
        _ => Ok(Line::Foreign),
    }
}

/// `Proc-Type: 4,ENCRYPTED` and its like.
fn header(view: &View<'_>, start: usize) -> Result<Line, More> {
    const KNOWN: [&[u8]; 5] = [b"Proc-Type: ", b"DEK-Info: ", b"Version: ", b"Comment: ", b"Hash: "];
    for name in KNOWN {
        if view.reads(start, name)? {
            return Ok(Line::Inside(
                view.run(start + name.len(), 200, |byte| !matches!(byte, b'\r' | b'\n' | b'\\'))?,
            ));
        }
    }
    Ok(Line::Foreign)
}

fn line_start(view: &View<'_>, mut from: usize) -> Result<usize, More> {
    const MOST: usize = 32;
    for _ in 0..MOST {
        from = match view.at(from)? {
            Some(b' ' | b'\t' | b'\r' | b'\n' | b'"' | b'\'' | b'>' | b'|' | b'#' | b',') => from + 1,
            Some(b'+') if matches!(view.bytes[..from], [.., b'\n']) => from + 1,
            Some(b'\\') => match view.at(from + 1)? {
                Some(b'n' | b'r' | b't') => from + 2,
                Some(b'\\' | b'\n') => from + 1,
                _ => return Ok(from),
            },
            _ => return Ok(from),
        };
    }
    Ok(from)
}

fn is_label(byte: u8) -> bool {
    byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b' '
}

fn is_base64(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=')
}
