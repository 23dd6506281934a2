//! Text of strangers, written so that all of it is seen.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Writes text in one line that shows everything: line breaks as `\n`, tabs as `\t`, and whatever else shows
/// nothing, or turns the direction of what stands around it, by its number as in `\u{202e}`.
///
/// A backslash that could be read as the beginning of such a sign is doubled, so two texts that differ are never
/// shown alike. Text that shows itself is returned as it is.
pub fn visible(text: &str) -> Cow<'_, str> {
    let mut shown: Option<String> = None;
    let mut rest = text.char_indices().peekable();
    while let Some((at, c)) = rest.next() {
        let next = rest.peek().map(|(_, next)| *next);
        let reads_on =
            || next.is_some_and(|next| matches!(next, '\\' | 'n' | 'r' | 't' | 'u') || hides(next));
        let plain = if c == '\\' { !reads_on() } else { !hides(c) };
        match (&mut shown, plain) {
            (None, true) => {}
            (Some(shown), true) => shown.push(c),
            (shown, false) => push_sign(shown.get_or_insert_with(|| text[..at].to_owned()), c),
        }
    }
    shown.map_or(Cow::Borrowed(text), Cow::Owned)
}

fn push_sign(shown: &mut String, c: char) {
    match c {
        '\\' => shown.push_str("\\\\"),
        '\n' => shown.push_str("\\n"),
        '\r' => shown.push_str("\\r"),
        '\t' => shown.push_str("\\t"),
        // Writing to a string cannot fail.
        c => drop(write!(shown, "\\u{{{:x}}}", u32::from(c))),
    }
}

/// Whether a character shows nothing of itself, looks like a blank without being one, or moves what stands
/// around it.
fn hides(c: char) -> bool {
    // What Unicode makes invisible although it counts as letters or marks: joiners, fillers, selectors, the empty
    // braille pattern.
    let is_empty = matches!(c,
        '\u{34f}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}' | '\u{2800}'
        | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{ffa0}' | '\u{e0000}'..='\u{e0fff}');
    if is_empty || c.is_control() {
        return true;
    }
    if c.is_ascii() {
        return false;
    }
    // The standard library knows what cannot be printed: formats, separators, what is not assigned. A letter
    // before it keeps marks that belong to a letter out of it.
    String::from_iter(['a', c]).escape_debug().count() > 2
}

/// Quotes a word for a POSIX shell, where it needs quotes.
pub fn quoted(word: &str) -> Cow<'_, str> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "%+,-./:=@_".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        Cow::Borrowed(word)
    } else {
        Cow::Owned(format!("'{}'", word.replace('\'', r"'\''")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_shows_nothing_is_written_out() {
        for (text, shown) in [
            ("echo fine #\nrm -f precious", r"echo fine #\nrm -f precious"),
            ("a\rb\tc\0", r"a\rb\tc\u{0}"),
            ("\u{1b}[2K", r"\u{1b}[2K"),
            ("a\u{202e}b\u{2066}c", r"a\u{202e}b\u{2066}c"),
            ("a\u{200b}b\u{feff}c\u{ad}d\u{2028}e\u{a0}f", r"a\u{200b}b\u{feff}c\u{ad}d\u{2028}e\u{a0}f"),
            ("x\u{e0041}y\u{3164}z\u{fe0f}", r"x\u{e0041}y\u{3164}z\u{fe0f}"),
        ] {
            assert_eq!(visible(text), shown);
        }
    }

    #[test]
    fn what_shows_itself_stays_as_it_is() {
        for text in ["", "grep '\\.rs$' \"x\" 'y'", "naïve — 日本語 нет ไทย e\u{301}", "tail\\"]
        {
            assert!(matches!(visible(text), Cow::Borrowed(same) if same == text), "{text}");
        }
    }

    #[test]
    fn two_texts_are_never_shown_alike() {
        let parts = ["\\", "n", "\n", "u", "{a}", "\r", "r", "\\n", "x", "\u{202e}", "{202e}"];
        let mut seen = std::collections::HashMap::new();
        for (first, second, third) in parts
            .iter()
            .flat_map(|first| parts.iter().map(move |second| (first, second)))
            .flat_map(|(first, second)| parts.iter().map(move |third| (first, second, third)))
        {
            let text = [*first, *second, *third].concat();
            if let Some(other) = seen.insert(visible(&text).into_owned(), text.clone()) {
                assert_eq!(other, text);
            }
        }
    }

    #[test]
    fn a_word_is_quoted_where_a_shell_would_take_it_apart() {
        assert_eq!(["a", "", "a b", "it's"].map(quoted), ["a", "''", "'a b'", r"'it'\''s'"]);
    }
}
