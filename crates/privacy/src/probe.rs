//! Looks at bytes that are still arriving. Owns nothing; reads one view of a redactor's buffer.
//!
//! Every matcher reads through [`Probe`]: as soon as its answer depends on a byte that has not arrived it gets
//! [`More`], so no answer can change with the places where a stream was cut.

/// How far a match may reach past its anchor before it is decided with what is there.
pub(crate) const WINDOW: usize = 8 * 1024;

/// How many bytes before a match are kept to judge whether a word begins there.
pub(crate) const LOOKBEHIND: usize = 64;

/// The answer depends on bytes that have not arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct More;

/// A set of bytes.
pub(crate) type Alphabet = fn(u8) -> bool;

/// The bytes that are there, and whether more may come.
#[derive(Debug, Clone, Copy)]
pub(crate) struct View<'a> {
    pub(crate) bytes: &'a [u8],
    /// Nothing follows the last byte.
    pub(crate) ended: bool,
    /// Where the last withheld secret ended: a word may begin there whatever the bytes before were.
    pub(crate) edge: Option<usize>,
}

impl<'a> View<'a> {
    /// The byte at `index`, `None` behind the end of the stream.
    pub(crate) fn at(&self, index: usize) -> Result<Option<u8>, More> {
        match self.bytes.get(index) {
            Some(&byte) => Ok(Some(byte)),
            None if self.ended => Ok(None),
            None => Err(More),
        }
    }

    /// The end of the run of `alphabet` that begins at `from`, at most `most` bytes on.
    pub(crate) fn run(&self, from: usize, most: usize, alphabet: Alphabet) -> Result<usize, More> {
        let here = self.bytes.get(from..).unwrap_or_default();
        let here = &here[..here.len().min(most)];
        match here.iter().position(|&byte| !alphabet(byte)) {
            Some(length) => Ok(from + length),
            None if here.len() == most || self.ended => Ok(from + here.len()),
            None => Err(More),
        }
    }

    /// Whether `text` stands at `from`; needs no byte beyond the first that differs.
    pub(crate) fn reads(&self, from: usize, text: &[u8]) -> Result<bool, More> {
        for (offset, &wanted) in text.iter().enumerate() {
            if self.at(from + offset)? != Some(wanted) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The bytes before `index` that a match may look at: none of a withheld secret, so that the same is found
    /// when its mark stands in its place.
    pub(crate) fn before(&self, index: usize) -> &'a [u8] {
        let first = index.saturating_sub(LOOKBEHIND);
        let first = self.edge.filter(|&edge| edge <= index).map_or(first, |edge| first.max(edge));
        &self.bytes[first..index]
    }

    /// Whether a word may begin at `index`.
    ///
    /// The letter before may belong to an escape (`\n`, `%3D`, a colour), as in JSON lines or coloured output.
    pub(crate) fn word_begins(&self, index: usize) -> bool {
        match self.before(index) {
            [] | [.., b'\\', b'n' | b'r' | b't' | b'b' | b'f'] => true,
            [.., b'%', high, low] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => true,
            before @ [.., b'm'] => ends_in_colour(before),
            [.., last] => !last.is_ascii_alphanumeric(),
        }
    }

    /// Skips colours and other terminal sequences, plain or escaped.
    pub(crate) fn skip_colours(&self, mut from: usize) -> Result<usize, More> {
        const MOST: usize = 8;
        for _ in 0..MOST {
            let introducer = match self.at(from)? {
                Some(0x1b) => 1,
                Some(b'\\') => match self.escaped_introducer(from)? {
                    Some(length) => length,
                    None => return Ok(from),
                },
                _ => return Ok(from),
            };
            if self.at(from + introducer)? != Some(b'[') {
                return Ok(from);
            }
            let end = self.run(from + introducer + 1, 24, |byte| matches!(byte, b' '..=b'?'))?;
            if !matches!(self.at(end)?, Some(b'@'..=b'~')) {
                return Ok(from);
            }
            from = end + 1;
        }
        Ok(from)
    }

    fn escaped_introducer(&self, from: usize) -> Result<Option<usize>, More> {
        for spelling in [br"\u001b".as_slice(), br"\u001B", br"\x1b", br"\x1B", br"\033", br"\e"] {
            if self.reads(from, spelling)? {
                return Ok(Some(spelling.len()));
            }
        }
        Ok(None)
    }
}

fn ends_in_colour(before: &[u8]) -> bool {
    let parameters = &before[..before.len() - 1];
    let open = parameters.iter().rposition(|byte| !matches!(byte, b'0'..=b'9' | b';'));
    let Some(introducer) = open.filter(|&index| parameters[index] == b'[') else { return false };
    [b"\x1b".as_slice(), b"1b", b"1B", b"33", b"\\e"]
        .iter()
        .any(|end| parameters[..introducer].ends_with(end))
}
