//! The marks that stand where a secret was: `[redacted:github-token]`. Owns the names of one guard's rules.

use std::collections::BTreeSet;

use crate::found::{HoldFrom, Verdict};
use crate::probe::{More, View};

pub(crate) const OPENING: &str = "[redacted:";
/// The longest name of a rule.
pub(crate) const LONGEST_NAME: usize = 64;

/// The marks of one guard; any other text in their form is text.
#[derive(Debug)]
pub(crate) struct Marks {
    names: BTreeSet<String>,
}

impl Marks {
    pub(crate) fn new(names: impl IntoIterator<Item = String>) -> Self {
        Self { names: names.into_iter().collect() }
    }

    /// The mark whose opening stands at `anchor`, if its name is one of ours.
    pub(crate) fn find(
        &self,
        view: &View<'_>,
        anchor: usize,
    ) -> Result<Option<Verdict<'static>>, (More, usize)> {
        let start = anchor + OPENING.len();
        if !view.bytes[anchor..].starts_with(OPENING.as_bytes()) {
            return Ok(None);
        }
        let end = view.run(start, LONGEST_NAME, is_name).hold_from(anchor)?;
        if view.at(end).hold_from(anchor)? != Some(b']') {
            return Ok(None);
        }
        let known = str::from_utf8(&view.bytes[start..end]).is_ok_and(|name| self.names.contains(name));
        Ok(known.then_some(Verdict::Mark { end: end + 1 }))
    }
}

/// The bytes that the name of a rule is made of.
pub(crate) fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.')
}

/// Writes the mark of `rule`.
pub(crate) fn write(rule: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(OPENING.as_bytes());
    out.extend_from_slice(rule.as_bytes());
    out.push(b']');
}
