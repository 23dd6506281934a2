//! Values assigned to names that say they are secret: `DB_PASSWORD=…`, `"token": "…"`, `--api-key …`. Owns nothing.
//!
//! The name stays. A guess, so it errs on both sides; what is plainly a reference, a type or a number of
//! something is left alone, because output that lost its meaning helps nobody.

use crate::found::{Answer, Hit, HoldFrom, Surety, Tail};
use crate::names::{self, Strength};
use crate::probe::{Alphabet, More, View, WINDOW};

pub(crate) const RULE: &str = "assigned-secret";
const SHORTEST: usize = 6;
const LONGEST_NAME: usize = 48;

/// Where a value begins, and how it is written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Value {
    pub(crate) start: usize,
    quote: Quote,
    /// `name=value` in one word, as shells and environments write it.
    tight: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Quote {
    None,
    Plain(u8),
    /// Within a JSON string: `\"`.
    Escaped(u8),
}

/// The value assigned to the name whose `word` stands at `anchor`.
pub(crate) fn find(view: &View<'_>, anchor: usize, word: &str, strength: Strength) -> Answer<'static> {
    let word_end = anchor + word.len();
    let name_end = view.run(word_end, LONGEST_NAME, names::is_name).hold_nothing()?;
    let here = &view.bytes[anchor..word_end];
    if name_end - word_end == LONGEST_NAME || !names::continues(here, &view.bytes[word_end..name_end]) {
        return Ok(None);
    }
    let before = view.before(anchor);
    let before_length = before.iter().rev().take_while(|&&byte| names::is_name(byte)).count();
    let name = &view.bytes[anchor - before_length..name_end];
    // The user in `https://x-access-token:…@host` is no name: its password is found as that of a URL.
    let user = before[..before.len() - before_length].ends_with(b"//");
    if user || names::is_working_directory(name) {
        return Ok(None);
    }
    let Some(value) = value_start(view, name_end, name.starts_with(b"--")).hold_nothing()? else {
        return Ok(None);
    };
    let start = value.start;
    let (end, tail) = value_end(view, &value).hold_from(start)?;
    let taken = &view.bytes[start..end];
    let secret = match strength {
        Strength::Plain => is_plain_secret(taken, &value, name),
        Strength::Vague => taken.len() >= SHORTEST && !is_reference(taken) && is_random(taken),
    };
    if !secret || is_masked(taken) {
        return Ok(None);
    }
    Ok(Some(Hit { rule: RULE, surety: Surety::Guess, start, end, tail }))
}

/// Reads quotes, spaces, colours and the sign between a name and its value.
pub(crate) fn value_start(view: &View<'_>, name_end: usize, flag: bool) -> Result<Option<Value>, More> {
    let mut at = view.skip_colours(name_end)?;
    if let Some((_, length)) = quote(view, at)? {
        at += length;
    }
    if view.at(at)? == Some(b']') {
        at += 1;
    }
    let sign = gap(view, at)?;
    let after = match view.at(sign)? {
        Some(b':') => match view.at(sign + 1)? {
            Some(b':') => return Ok(None),
            Some(b'=') => sign + 2,
            _ => sign + 1,
        },
        Some(b'=') => match view.at(sign + 1)? {
            Some(b'=' | b'~') => return Ok(None),
            Some(b'>') => sign + 2,
            _ => sign + 1,
        },
        Some(b'%') if view.reads(sign, b"%3D")? || view.reads(sign, b"%3A")? => sign + 3,
        Some(_) if flag && sign > at => sign,
        _ => return Ok(None),
    };
    let opening = gap(view, after)?;
    let tight = sign == at && opening == after && view.bytes[sign] != b':';
    let tight = tight || (flag && after == sign);
    let (start, quote) = match quote(view, opening)? {
        Some((quote, length)) => (view.skip_colours(opening + length)?, quote),
        None => (opening, Quote::None),
    };
    Ok(Some(Value { start, quote, tight }))
}

fn gap(view: &View<'_>, from: usize) -> Result<usize, More> {
    let mut at = from;
    for _ in 0..3 {
        let next = view.skip_colours(view.run(at, 16, |byte| matches!(byte, b' ' | b'\t'))?)?;
        if next == at {
            break;
        }
        at = next;
    }
    Ok(at)
}

fn quote(view: &View<'_>, at: usize) -> Result<Option<(Quote, usize)>, More> {
    Ok(match view.at(at)? {
        Some(mark @ (b'"' | b'\'' | b'`')) => Some((Quote::Plain(mark), 1)),
        Some(b'\\') => match view.at(at + 1)? {
            Some(mark @ (b'"' | b'\'')) => Some((Quote::Escaped(mark), 2)),
            _ => None,
        },
        _ => None,
    })
}

fn value_end(view: &View<'_>, value: &Value) -> Result<(usize, Option<Tail>), More> {
    let start = value.start;
    let alphabet: Alphabet = match value.quote {
        Quote::None => is_bare,
        Quote::Plain(b'"') => |byte| !matches!(byte, b'"' | b'\n' | b'\r'),
        Quote::Plain(b'\'') => |byte| !matches!(byte, b'\'' | b'\n' | b'\r'),
        Quote::Plain(_) => |byte| !matches!(byte, b'`' | b'\n' | b'\r'),
        Quote::Escaped(_) => |byte| !matches!(byte, b'\\' | b'\n' | b'\r'),
    };
    let mut end = start;
    loop {
        end = view.run(end, start + WINDOW - end, alphabet)?;
        if end - start == WINDOW {
            return Ok((end, Some(Tail::Run(alphabet))));
        }
        // A quote that is escaped within plain quotes belongs to the value.
        let escaped = matches!(value.quote, Quote::Plain(mark) if view.bytes.get(end) == Some(&mark))
            && view.bytes[start..end].iter().rev().take_while(|&&byte| byte == b'\\').count() % 2 == 1;
        if !escaped || end + 1 - start == WINDOW {
            break;
        }
        end += 1;
    }
    if value.quote == Quote::None {
        let kept = view.bytes[start..end].iter().rposition(|byte| !matches!(byte, b')' | b'}' | b']' | b'.'));
        end = kept.map_or(start, |last| start + last + 1);
    }
    Ok((end, None))
}

fn is_bare(byte: u8) -> bool {
    byte > b' '
        && !matches!(byte, b'"' | b'\'' | b'`' | b',' | b';' | b'&' | b'|' | b'<' | b'>' | b'\\' | 0x7f)
}

/// The value of a name that plainly holds a secret.
fn is_plain_secret(taken: &[u8], value: &Value, name: &[u8]) -> bool {
    if taken.len() < SHORTEST || is_reference(taken) || taken.eq_ignore_ascii_case(name) {
        return false;
    }
    if value.quote != Quote::None {
        return true;
    }
    // Unquoted, it may be code or prose: a call, a path to a field, a word after a colon.
    let word = taken
        .iter()
        .all(|byte| byte.is_ascii_alphabetic() || matches!(byte, b'_' | b'-' | b'.' | b'/' | b':'));
    let code = taken.contains(&b'(') || (word && (taken.contains(&b'.') || taken.contains(&b':')));
    let path = matches!(taken, [b'/' | b'~', ..]) && !is_random(taken);
    if value.tight { !code && !path && taken[0] != b'-' } else { !word && !code && !path }
}

/// Whether a value only says where the secret is, or that there is none.
pub(crate) fn is_reference(value: &[u8]) -> bool {
    const EMPTY: [&str; 20] = [
        "null",
        "none",
        "nil",
        "true",
        "false",
        "undefined",
        "string",
        "number",
        "boolean",
        "integer",
        "optional",
        "required",
        "unknown",
        "default",
        "disabled",
        "enabled",
        "missing",
        "invalid",
        "incorrect",
        "expired",
    ];
    const BEGINNINGS: [&str; 17] = [
        "$",
        "{",
        "%(",
        "%s",
        "<",
        "@",
        "&",
        "process.env",
        "os.environ",
        "os.getenv",
        "env.",
        "env(",
        "env!",
        "ENV[",
        "secrets.",
        "std::env",
        "your",
    ];
    if matches!(value, [b'%', inner @ .., b'%'] if inner.iter().all(|&byte| names::is_name(byte))) {
        return true;
    }
    EMPTY.iter().any(|word| value.eq_ignore_ascii_case(word.as_bytes()))
        || BEGINNINGS.iter().any(|beginning| {
            value.get(..beginning.len()).is_some_and(|start| start.eq_ignore_ascii_case(beginning.as_bytes()))
        })
}

/// Whether a value was taken out before, by this guard or by another's asterisks.
pub(crate) fn is_masked(value: &[u8]) -> bool {
    let marked = memchr::memmem::find(value, crate::mark::OPENING.as_bytes()).is_some();
    marked
        || value.len() >= 3
            && value.iter().all(|byte| matches!(byte, b'*' | b'x' | b'X' | b'.' | b'-' | b'_' | b'#'))
}

/// Whether a value looks generated: letters and digits mixed as no word mixes them.
pub(crate) fn is_random(value: &[u8]) -> bool {
    let count = |class: fn(&u8) -> bool| value.iter().filter(|byte| class(byte)).count();
    if value.iter().any(|byte| matches!(byte, b' ' | b'(' | b'\t'))
        || memchr::memmem::find(value, b"://").is_some()
    {
        return false;
    }
    let (upper, lower, digits) =
        (count(u8::is_ascii_uppercase), count(u8::is_ascii_lowercase), count(u8::is_ascii_digit));
    let bits = entropy(value);
    if digits >= 2 && upper + lower >= 3 {
        return bits >= 2.3;
    }
    // Without digits only long values tell: a name in camel case has a capital every six letters or so.
    value.len() >= 16 && upper * 4 >= value.len() && lower * 5 >= value.len() && bits >= 3.5
}

/// Shannon's entropy in bits per byte.
#[expect(clippy::cast_precision_loss, reason = "counts stay below the window")]
fn entropy(value: &[u8]) -> f64 {
    let mut counts = [0_u32; 256];
    for &byte in value {
        counts[usize::from(byte)] += 1;
    }
    let whole = value.len() as f64;
    counts
        .iter()
        .filter(|&&count| count > 0)
        .map(|&count| f64::from(count) / whole)
        .map(|part| -part * part.log2())
        .sum()
}
