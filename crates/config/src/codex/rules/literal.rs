//! Decodes the strings of rule files, as Starlark's own lexer does.
//!
//! The source of the rules is the lexer of the crate that Codex reads these files with. Where it parts
//! from Starlark's specification (unknown escapes stay as they are, carriage returns are left out, `\400`
//! is a character), so does this.

use std::ops::Range;
use std::str::Chars;

use super::Failure;
use crate::problem::shown;

/// Reads the string that begins at a place, with an `r` before it or without; returns how long it is there,
/// and what it says.
pub(super) fn decode(text: &str, start: usize) -> Result<(usize, String), Failure> {
    let literal = &text[start..];
    let (is_raw, quoted) = match literal.strip_prefix('r') {
        Some(quoted) => (true, quoted),
        None => (false, literal),
    };
    let quote = match quoted.as_bytes() {
        [b'"', b'"', b'"', ..] => "\"\"\"",
        [b'\'', b'\'', b'\'', ..] => "'''",
        [b'"', ..] => "\"",
        _ => "'",
    };
    let is_long = quote.len() == 3;
    let mut decoded = String::new();
    let mut chars = quoted[quote.len()..].chars();
    let place = |chars: &Chars<'_>| start..text.len() - chars.as_str().len();
    loop {
        if let Some(rest) = chars.as_str().strip_prefix(quote) {
            return Ok((literal.len() - rest.len(), decoded));
        }
        let before = chars.as_str().len();
        match chars.next() {
            None => return Err(unfinished(place(&chars))),
            Some('\n') if !is_long => return Err(unfinished(start..text.len() - before)),
            Some('\r') => {}
            Some('\\') if is_raw => match chars.next() {
                None => return Err(unfinished(place(&chars))),
                Some(c) => {
                    if !matches!(c, '"' | '\'') {
                        decoded.push('\\');
                    }
                    decoded.push(c);
                }
            },
            Some('\\') => {
                if escape(&mut chars, &mut decoded).is_none() {
                    let wrong = text.len() - before..text.len() - chars.as_str().len();
                    let message = format!("`{}` is not an escape", shown(&text[wrong.clone()]));
                    return Err((wrong, message));
                }
            }
            Some(c) => decoded.push(c),
        }
    }
}

fn unfinished(place: Range<usize>) -> Failure {
    (place, "this string does not end".to_owned())
}

/// Reads what stands behind a backslash.
fn escape(chars: &mut Chars<'_>, decoded: &mut String) -> Option<()> {
    let before = chars.clone();
    let c = match chars.next()? {
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'a' => '\x07',
        'b' => '\x08',
        'f' => '\x0C',
        'v' => '\x0B',
        // The line goes on in the next.
        '\n' => return Some(()),
        '\r' => return chars.next().filter(|next| *next == '\n').map(drop),
        'x' => number(chars, 2..=2, 16)?,
        'u' => number(chars, 4..=4, 16)?,
        'U' => number(chars, 8..=8, 16)?,
        '0'..='7' => {
            *chars = before;
            number(chars, 1..=3, 8)?
        }
        c @ ('"' | '\'' | '\\') => c,
        c => {
            decoded.push('\\');
            c
        }
    };
    decoded.push(c);
    Some(())
}

/// Reads a character by its number.
fn number(chars: &mut Chars<'_>, digits: std::ops::RangeInclusive<usize>, radix: u32) -> Option<char> {
    let mut value = 0;
    for count in 0..*digits.end() {
        let Some(digit) = chars.clone().next().and_then(|c| c.to_digit(radix)) else {
            if count < *digits.start() {
                return None;
            }
            break;
        };
        chars.next();
        value = value * radix + digit;
    }
    char::from_u32(value)
}
