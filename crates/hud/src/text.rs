//! Text that is safe to show: no byte of a run's output may move the cursor, change a colour or
//! make one text look like another. Widths are terminal columns, as ratatui counts them.

use std::time::Duration;

use ratatui::style::Style;
use ratatui::text::Span;
use unicode_width::UnicodeWidthChar;

/// Characters of one line that are looked at; far beyond any terminal, and a bound on the work.
const LONGEST_LINE: usize = 8192;

/// Marks that may pile up on one character before they are spelled out.
const MOST_MARKS: usize = 8;

/// Makes a line of a program's output harmless, as a terminal would have shown it: escape
/// sequences disappear, a carriage return overwrites, everything else that is not a visible
/// character is spelled out.
pub(crate) fn output(line: &str) -> String {
    let line = line.trim_end_matches(['\r', '\n']);
    let line = line.rsplit('\r').next().unwrap_or(line);
    let mut kept = String::new();
    let mut rest = line;
    while let Some(escape) = rest.find(['\u{1b}', '\u{90}', '\u{98}', '\u{9b}', '\u{9d}', '\u{9e}', '\u{9f}'])
    {
        kept.push_str(&rest[..escape]);
        rest = &rest[escape..];
        // An unfinished sequence stays, spelled out: it must not hide the text behind it.
        let length = escape_length(rest).unwrap_or_else(|| {
            let first = rest.chars().next().map_or(0, char::len_utf8);
            kept.push_str(&rest[..first]);
            first
        });
        rest = &rest[length..];
        if kept.len() > 4 * LONGEST_LINE {
            break;
        }
    }
    kept.push_str(rest);
    spelled(&kept)
}

/// Returns the bytes of the escape sequence that `text` begins with (ECMA-48 §5.4, §5.6), when it
/// is complete.
fn escape_length(text: &str) -> Option<usize> {
    let mut chars = text.char_indices();
    let (_, first) = chars.next()?;
    let introducer =
        if first == '\u{1b}' { chars.next()?.1 } else { char::from_u32(u32::from(first) - 0x40)? };
    match introducer {
        '[' => chars
            .find(|&(_, c)| !matches!(c, '\u{20}'..='\u{3f}'))
            .filter(|&(_, c)| matches!(c, '\u{40}'..='\u{7e}'))
            .map(|(at, c)| at + c.len_utf8()),
        ']' | 'P' | 'X' | '^' | '_' => {
            let (at, end) = chars.find(|&(_, c)| matches!(c, '\u{7}' | '\u{9c}' | '\u{1b}'))?;
            match end {
                '\u{1b}' => text[at..].starts_with("\u{1b}\\").then_some(at + 2),
                _ => Some(at + end.len_utf8()),
            }
        }
        '\u{20}'..='\u{2f}' => chars
            .find(|&(_, c)| !matches!(c, '\u{20}'..='\u{2f}'))
            .filter(|&(_, c)| matches!(c, '\u{30}'..='\u{7e}'))
            .map(|(at, c)| at + c.len_utf8()),
        '\u{30}'..='\u{7e}' => Some(1 + introducer.len_utf8()),
        _ => None,
    }
}

/// Spells out every character that is invisible, moves the cursor or reorders text.
pub(crate) fn spelled(text: &str) -> String {
    let mut out = String::with_capacity(text.len().min(4 * LONGEST_LINE));
    let mut marks = 0;
    for c in text.chars().take(LONGEST_LINE) {
        marks = if c.width() == Some(0) { marks + 1 } else { 0 };
        match c {
            '\t' => out.push_str("    "),
            // Unicode's control pictures: ␀ … ␟, ␡.
            '\0'..='\u{1f}' => out.extend(char::from_u32(0x2400 + u32::from(c))),
            '\u{7f}' => out.push('␡'),
            _ if is_deceptive(c) || marks > MOST_MARKS => out.extend(c.escape_unicode()),
            _ => out.push(c),
        }
    }
    out
}

/// C1 controls, bidirectional controls, separators, tags and other characters without a shape.
/// Joiners and variation selectors stay: scripts and emoji need them.
fn is_deceptive(c: char) -> bool {
    matches!(c,
        '\u{80}'..='\u{9f}' | '\u{ad}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{180e}' | '\u{200b}'
        | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}'
        | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

/// The columns a text takes.
pub(crate) fn width(text: &str) -> usize {
    Span::raw(text).width()
}

/// The grapheme clusters of a text that is already harmless, with their widths.
fn graphemes(text: &str, mut each: impl FnMut(&str, usize) -> bool) {
    let span = Span::raw(text);
    for grapheme in span.styled_graphemes(Style::new()) {
        if !each(grapheme.symbol, width(grapheme.symbol)) {
            return;
        }
    }
}

/// Shortens a text to `columns`, with `…` in place of what is left out.
pub(crate) fn fit(text: &str, columns: usize) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    let mut out = String::new();
    let Some(room) = columns.checked_sub(1) else { return out };
    let mut used = 0;
    graphemes(text, |grapheme, wide| {
        used += wide;
        let fits = used <= room;
        if fits {
            out.push_str(grapheme);
        }
        fits
    });
    out.push('…');
    out
}

/// Shortens a text to `columns` and fills it up with blanks.
pub(crate) fn column(text: &str, columns: usize) -> String {
    let mut out = fit(text, columns);
    let missing = columns.saturating_sub(width(&out));
    out.extend(std::iter::repeat_n(' ', missing));
    out
}

/// Leaves out the first `columns` of a text, with `…` in their place.
pub(crate) fn skip(text: &str, columns: usize) -> String {
    if columns == 0 {
        return text.to_owned();
    }
    let mut out = String::new();
    let mut at = 0;
    graphemes(text, |grapheme, wide| {
        if at > columns {
            out.push_str(grapheme);
        } else if at + wide > columns {
            out.push('…');
        }
        at += wide;
        true
    });
    out
}

/// Breaks a text of several lines into at most `most` lines of `columns`; says whether all of it
/// is there.
pub(crate) fn wrap(text: &str, columns: usize, most: usize) -> (Vec<String>, bool) {
    let mut lines = Vec::new();
    if columns == 0 {
        return (lines, text.is_empty());
    }
    for paragraph in text.lines() {
        // What `spelled` would cut off would be missing without a trace.
        if paragraph.chars().nth(LONGEST_LINE).is_some() {
            return (lines, false);
        }
        let mut line = String::new();
        let mut used = 0;
        let mut complete = true;
        graphemes(&spelled(paragraph), |grapheme, wide| {
            if used + wide > columns {
                lines.push(std::mem::take(&mut line));
                used = 0;
            }
            line.push_str(grapheme);
            used += wide;
            complete = lines.len() < most && used <= columns;
            complete
        });
        if !complete || lines.len() == most {
            lines.truncate(most);
            return (lines, false);
        }
        lines.push(line);
    }
    (lines, true)
}

/// Writes a time span in its two largest units.
pub(crate) fn span(time: Duration) -> String {
    let seconds = time.as_secs();
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600, seconds / 60);
    if days > 0 {
        format!("{days}d {:02}h", hours % 24)
    } else if hours > 0 {
        format!("{hours}h {:02}m", minutes % 60)
    } else if minutes > 0 {
        format!("{minutes}m {:02}s", seconds % 60)
    } else if seconds > 0 {
        format!("{seconds}s")
    } else {
        format!("{}ms", time.subsec_millis())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn output_loses_its_escape_sequences_and_nothing_else() {
        for (raw, shown) in [
            ("plain", "plain"),
            ("\u{1b}[1;31mred\u{1b}[0m text", "red text"),
            ("\u{1b}]0;title\u{7}after", "after"),
            ("\u{1b}]8;;http://x\u{1b}\\link\u{1b}]8;;\u{1b}\\", "link"),
            ("\u{1b}(Bascii", "ascii"),
            ("\u{1b}7saved\u{1b}8", "saved"),
            ("\u{9b}2Jclear", "clear"),
            ("\u{9d}0;x\u{9c}title", "title"),
            ("\u{1b}]0;never ends", "␛]0;never ends"),
            ("\u{1b}[12", "␛[12"),
            ("\u{1b}[1\u{1b}[2Jx", "␛[1x"),
            ("\u{1b}", "␛"),
            ("10%\r50%\r100%\r\n", "100%"),
            ("a\tb\u{8}\0", "a    b␈␀"),
            ("a\u{202e}b", "a\\u{202e}b"),
            ("e\u{301}", "e\u{301}"),
            ("👩‍🚀 星", "👩‍🚀 星"),
        ] {
            assert_eq!(output(raw), shown, "{raw:?}");
        }
        let piled = output(&format!("e{}", "\u{301}".repeat(100)));
        assert_eq!(piled.matches("\\u{301}").count(), 92);
    }

    #[test]
    fn spelled_keeps_escape_sequences_visible() {
        assert_eq!(spelled("rm\u{1b}[8m -rf\r\n"), "rm␛[8m -rf␍␊");
    }

    #[test]
    fn fits_wide_characters_into_columns() {
        assert_eq!(fit("星星星", 6), "星星星");
        assert_eq!(fit("星星星", 5), "星星…");
        assert_eq!(fit("星星星", 4), "星…");
        assert_eq!(fit("星", 1), "…");
        assert_eq!(fit("abc", 0), "");
        assert_eq!(column("星星星", 4), "星… ");
        assert_eq!(skip("abcdef", 2), "…def");
        assert_eq!(skip("星星星", 1), "…星星");
        assert_eq!(skip("abc", 9), "");
    }

    #[test]
    fn wrap_says_whether_everything_is_shown() {
        assert_eq!(wrap("abcd\nef", 2, 3), (vec!["ab".into(), "cd".into(), "ef".into()], true));
        assert_eq!(wrap("abcd\nef", 2, 2), (vec!["ab".into(), "cd".into()], false));
        assert_eq!(wrap("abcde", 2, 2), (vec!["ab".into(), "cd".into()], false));
        assert!(!wrap("星", 1, 9).1, "a wide character does not fit one column");
        assert!(!wrap("x", 0, 9).1);
        assert!(!wrap(&"x".repeat(LONGEST_LINE + 1), 100, 1000).1);
    }

    #[test]
    fn spans_have_two_units() {
        let spans =
            [0, 999, 1000, 59_999, 61_000, 3_661_000, 90_061_000].map(|ms| span(Duration::from_millis(ms)));
        assert_eq!(spans, ["0ms", "999ms", "1s", "59s", "1m 01s", "1h 01m", "1d 01h"]);
    }

    proptest! {
        #[test]
        fn nothing_harmful_is_left(chars in proptest::collection::vec(any::<char>(), 0..80), columns in 0_usize..40) {
            let text: String = chars.into_iter().collect();
            for harmless in [output(&text), spelled(&text)] {
                prop_assert!(!harmless.chars().any(|c| c.is_control() || is_deceptive(c)));
                prop_assert!(width(&fit(&harmless, columns)) <= columns);
                prop_assert_eq!(width(&column(&harmless, columns)), columns);
            }
            let (lines, _) = wrap(&text, columns, 5);
            prop_assert!(lines.len() <= 5);
        }
    }
}
