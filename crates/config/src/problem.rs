//! Problems in a file a person wrote: where, what, and what was probably meant.
//!
//! Owns the form every such message takes. Knows nothing of pipelines or settings.

use std::cell::RefCell;
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// How many problems of one file are kept; a file with more is wrong in one way, many times.
pub(crate) const MOST_PROBLEMS: usize = 20;

/// Characters of a line that a snippet shows. Generated files can have one endless line.
const SNIPPET_WIDTH: usize = 120;

/// One thing that is wrong in a file, at its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// What is wrong: a lowercase fragment with the value in backticks.
    pub message: String,
    /// The file as it was opened.
    pub file: PathBuf,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// The line of the file and a line of carets below it.
    pub snippet: String,
    /// What to write instead, or what to do next.
    pub suggestion: Option<String>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { message, file, line, column, snippet, suggestion } = self;
        write!(f, "{}:{line}:{column}: {message}\n{snippet}", file.display())?;
        match suggestion {
            Some(suggestion) => write!(f, "\n  hint: {suggestion}"),
            None => Ok(()),
        }
    }
}

/// Shows all problems of one file, `what` being its part in our words.
pub(crate) fn describe(what: &str, problems: &[Problem], omitted: usize) -> String {
    let count = problems.len() + omitted;
    let noun = if count == 1 { "problem" } else { "problems" };
    let file = problems.first().map(|first| first.file.display().to_string()).unwrap_or_default();
    let mut text = format!("{count} {noun} in {what} `{file}`");
    for problem in problems {
        text = format!("{text}\n\n{problem}");
    }
    if omitted > 0 { format!("{text}\n\nand {omitted} more") } else { text }
}

/// A file's text with what is needed to point into it.
pub(crate) struct FileText<'t> {
    pub(crate) file: &'t Path,
    pub(crate) text: &'t str,
}

impl FileText<'_> {
    /// Line and column of a byte offset, both from 1; the column counts characters.
    fn position(&self, offset: usize) -> (usize, usize) {
        let before = &self.text[..self.floor(offset)];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
    }

    /// The nearest character boundary at or before `offset`.
    fn floor(&self, offset: usize) -> usize {
        self.text.floor_char_boundary(offset.min(self.text.len()))
    }

    pub(crate) fn problem(
        &self,
        range: Range<usize>,
        message: impl Into<String>,
        suggestion: Option<String>,
    ) -> Problem {
        let start = self.floor(range.start);
        let end = self.floor(range.end.max(start));
        let (line, column) = self.position(start);
        Problem {
            message: message.into(),
            file: self.file.to_owned(),
            line,
            column,
            snippet: self.snippet(start, end, line, column),
            suggestion,
        }
    }

    /// Shows at most [`SNIPPET_WIDTH`] characters of the line around the place.
    fn snippet(&self, start: usize, end: usize, line: usize, column: usize) -> String {
        let line_start = self.text[..start].rfind('\n').map_or(0, |newline| newline + 1);
        let line_end = self.text[start..].find('\n').map_or(self.text.len(), |newline| start + newline);
        let is_long = self.text[line_start..line_end].chars().nth(SNIPPET_WIDTH).is_some();
        let skipped = if is_long { (column - 1).saturating_sub(SNIPPET_WIDTH / 2) } else { 0 };
        let shown: String = self.text[line_start..line_end]
            .chars()
            .skip(skipped)
            .take(SNIPPET_WIDTH)
            .map(|c| if is_unsafe_to_show(c) { ' ' } else { c })
            .collect();
        let before_caret = column - 1 - skipped;
        let marked = self.text[start..end.min(line_end).max(start)].chars().count();
        let carets = marked.clamp(1, (SNIPPET_WIDTH - before_caret).max(1));
        format!(
            "{line:>5} | {}\n      | {}{}",
            shown.trim_end(),
            " ".repeat(before_caret),
            "^".repeat(carets)
        )
    }
}

/// Control, bidirectional and zero-width characters would move the carets or the reader's eye.
fn is_unsafe_to_show(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{2069}' | '\u{FEFF}')
}

/// Shortens and escapes a text of the file for use in a message.
pub(crate) fn shown(text: &str) -> String {
    const LONGEST: usize = 60;
    let mut short = String::new();
    for c in text.chars().take(LONGEST) {
        if matches!(c, '"' | '\'') {
            short.push(c);
        } else {
            short.extend(c.escape_debug());
        }
    }
    if text.chars().nth(LONGEST).is_some() {
        short.push('…');
    }
    short
}

/// Collects the problems of one file while it is read.
///
/// Reading goes on after a problem, so that one look shows them all. Interior mutability keeps
/// the readers' signatures to what they read.
pub(crate) struct Report<'t> {
    source: FileText<'t>,
    problems: RefCell<Vec<(usize, Problem)>>,
    omitted: RefCell<usize>,
    warnings: RefCell<Vec<Problem>>,
}

impl<'t> Report<'t> {
    fn new(source: FileText<'t>) -> Self {
        Self {
            source,
            problems: RefCell::default(),
            omitted: RefCell::default(),
            warnings: RefCell::default(),
        }
    }

    /// Starts a report on a file's bytes; from the first that is not UTF-8 on, they are left out
    /// and reported.
    pub(crate) fn on_bytes(file: &'t Path, bytes: &'t [u8]) -> Self {
        let valid = std::str::from_utf8(bytes).map_or_else(|error| error.valid_up_to(), str::len);
        let text = std::str::from_utf8(&bytes[..valid]).unwrap_or_default();
        // Editors on Windows put a byte-order mark in front.
        let text = text.strip_prefix('\u{FEFF}').unwrap_or(text);
        let report = Self::new(FileText { file, text });
        if valid < bytes.len() {
            report.add(text.len()..text.len(), "the file is not UTF-8 from here on");
        }
        report
    }

    /// Whether nothing was reported yet.
    pub(crate) fn is_clean(&self) -> bool {
        self.problems.borrow().is_empty()
    }

    pub(crate) fn text(&self) -> &'t str {
        self.source.text
    }

    /// The line, from 1, that holds a byte offset.
    pub(crate) fn line(&self, offset: usize) -> usize {
        self.source.position(offset).0
    }

    pub(crate) fn add(&self, range: impl Into<Place>, message: impl Into<String>) {
        self.add_with(range, message, || None);
    }

    /// Adds a problem; the suggestion is only worked out when the problem will be shown.
    pub(crate) fn add_with(
        &self,
        range: impl Into<Place>,
        message: impl Into<String>,
        suggestion: impl FnOnce() -> Option<String>,
    ) {
        let mut problems = self.problems.borrow_mut();
        if problems.len() == MOST_PROBLEMS {
            *self.omitted.borrow_mut() += 1;
            return;
        }
        let Place(range) = range.into();
        problems.push((range.start, self.source.problem(range, message, suggestion())));
    }

    pub(crate) fn warn(&self, range: impl Into<Place>, message: impl Into<String>) {
        let mut warnings = self.warnings.borrow_mut();
        if warnings.len() < MOST_PROBLEMS {
            warnings.push(self.source.problem(range.into().0, message, None));
        }
    }

    /// The warnings, or the problems in the order of the file and how many more there were.
    pub(crate) fn finish(self) -> Result<Vec<Problem>, (Vec<Problem>, usize)> {
        let mut problems = self.problems.into_inner();
        if problems.is_empty() {
            return Ok(self.warnings.into_inner());
        }
        problems.sort_by_key(|(start, _)| *start);
        Err((problems.into_iter().map(|(_, problem)| problem).collect(), self.omitted.into_inner()))
    }
}

/// A byte range, from whichever parser.
pub(crate) struct Place(Range<usize>);

impl From<jsonc_parser::common::Range> for Place {
    fn from(range: jsonc_parser::common::Range) -> Self {
        Self(range.start..range.end)
    }
}

impl From<Range<usize>> for Place {
    fn from(range: Range<usize>) -> Self {
        Self(range)
    }
}

/// Names the candidate closest to `wrong`, when one is close enough to be a slip.
pub(crate) fn closest<'c>(wrong: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    // The length filter keeps the work small when a file names thousands of things.
    const CANDIDATES: usize = 1_000;
    let length = wrong.chars().count();
    let allowed = (length / 3).clamp(1, 4);
    let lower = wrong.to_lowercase();
    candidates
        .into_iter()
        .take(CANDIDATES)
        .filter(|candidate| candidate.chars().count().abs_diff(length) <= allowed)
        .map(|candidate| (strsim::osa_distance(&lower, &candidate.to_lowercase()), candidate))
        .filter(|(distance, _)| *distance <= allowed && *distance < length)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// `did you mean …`, or the whole list when nothing is close and the list is short.
pub(crate) fn did_you_mean<'c>(
    wrong: &str,
    candidates: impl IntoIterator<Item = &'c str> + Clone,
) -> Option<String> {
    const LISTED: usize = 24;
    if let Some(candidate) = closest(wrong, candidates.clone()) {
        return Some(format!("did you mean `{candidate}`?"));
    }
    let mut listed: Vec<&str> = candidates.into_iter().take(LISTED + 1).collect();
    let more = listed.len() > LISTED;
    listed.truncate(LISTED);
    match listed.as_slice() {
        [] => None,
        [only] => Some(format!("known is only `{only}`")),
        _ => Some(format!("known are `{}`{}", listed.join("`, `"), if more { ", …" } else { "" })),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_count_characters_and_carets_sit_below_them() {
        let source = FileText { file: Path::new("f"), text: "{\n\t\"tïtle\": \u{202e}tru\n}" };
        let start = source.text.find("tru").unwrap();
        let problem = source.problem(start..start + 3, "unexpected word", None);
        assert_eq!((problem.line, problem.column), (2, 12));
        assert_eq!(
            problem.to_string(),
            "f:2:12: unexpected word\n    2 |  \"tïtle\":  tru\n      |            ^^^"
        );
    }

    #[test]
    fn an_endless_line_is_shown_in_part() {
        let text = format!("{}BAD{}", "x".repeat(100_000), "y".repeat(100_000));
        let problem = FileText { file: Path::new("f"), text: &text }.problem(100_000..200_003, "bad", None);
        assert_eq!(problem.column, 100_001);
        assert!(problem.snippet.chars().count() < 300, "{}", problem.snippet);
        let lines: Vec<&str> = problem.snippet.lines().collect();
        assert_eq!(lines[0].find("BAD"), lines[1].find('^'));
    }

    #[test]
    fn slips_are_recognised_and_strangers_are_not() {
        let known = ["command", "title", "timeout"];
        assert_eq!(closest("comand", known), Some("command"));
        assert_eq!(closest("Title", known), Some("title"));
        assert_eq!(closest("banana", known), None);
        assert_eq!(did_you_mean("zz", ["a"]).as_deref(), Some("known is only `a`"));
        assert_eq!(did_you_mean("banana", known).as_deref(), Some("known are `command`, `title`, `timeout`"));
    }
}
