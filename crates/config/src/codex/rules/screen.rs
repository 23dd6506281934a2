//! Parses a rule file and looks at every word of it.
//!
//! The grammar is tree-sitter's, because it brings no other crates with it. It is made for editors: it
//! goes on after mistakes, and takes tabs, line breaks, letters and numbers that Starlark refuses. So
//! the tree is only believed where the bytes bear it out: each word is one that rule files have, each
//! gap between two words is blank, and lines begin where statements do, as far in as their block. What
//! nests is bounded here, so that those who read the tree may descend into it.

use std::ops::{ControlFlow, Range};

use tree_sitter::{Node, ParseOptions, Parser, Tree};

use super::{Failure, UNSUPPORTED};
use crate::problem::shown;

const DEEPEST: usize = 32;
const MOST_OPERATORS: usize = 200;

/// The parser reports progress about every hundred steps, which is every twenty bytes of the densest
/// files and every sixty of real ones. More often is hostile.
const BYTES_FOR_A_REPORT: usize = 8;

/// The parser reads pieces of this many bytes, and again those it goes back to.
const PIECE: usize = 1024;

/// It looks through all comments and broken lines ahead each time it takes one, so its time can grow with
/// the square of their number. These are as many pieces as the longest file has, 400 times.
const MOST_READS: usize = 400 * 256;

/// Words that Starlark keeps for itself, which the grammar takes as names in some places.
const RESERVED: [&str; 33] = [
    "and", "as", "assert", "async", "await", "break", "class", "continue", "def", "del", "elif", "else",
    "except", "finally", "for", "from", "global", "if", "import", "in", "is", "lambda", "load", "nonlocal",
    "not", "or", "pass", "raise", "return", "try", "while", "with", "yield",
];

/// The tree of a file in which every word and every gap is sound; strings are not looked into.
pub(super) fn parse(text: &str) -> Result<Tree, Failure> {
    let Some(tree) = tree(text) else {
        return Err((0..0, "the file is too tangled to be read".to_owned()));
    };
    let mut screen = Screen {
        text,
        end: 0,
        brackets: Vec::new(),
        operators: 0,
        blocks: vec![Block { end: usize::MAX, indent: Some(0) }],
        statement: None,
        broken: None,
    };
    screen.walk(&tree)?;
    Ok(tree)
}

fn tree(text: &str) -> Option<Tree> {
    let mut parser = Parser::new();
    parser.set_language(&tree_sitter_starlark::LANGUAGE.into()).ok()?;
    // The grammar takes NUL for the end of the file; Starlark takes it for one more character.
    let text = text.replace('\0', "\u{1}");
    let most_reports = 100 + text.len() / BYTES_FOR_A_REPORT;
    let (mut reports, mut reads) = (0, 0);
    let mut progress = |_: &tree_sitter::ParseState| {
        reports += 1;
        if reports > most_reports { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let mut read = |offset: usize, _| {
        reads += 1;
        let end = if reads > MOST_READS { offset } else { text.len().min(offset + PIECE) };
        text.as_bytes().get(offset..end).unwrap_or_default()
    };
    let options = ParseOptions::new().progress_callback(&mut progress);
    let tree = parser.parse_with_options(&mut read, None, Some(options));
    tree.filter(|_| reads <= MOST_READS)
}

struct Screen<'t> {
    text: &'t str,
    /// Where the word before ends.
    end: usize,
    /// The brackets that are open.
    brackets: Vec<Range<usize>>,
    /// How many operators this line has, with those it goes on in.
    operators: usize,
    /// The blocks that are open, the file being the first.
    blocks: Vec<Block>,
    /// Where the last statement begins.
    statement: Option<usize>,
    /// The first place the grammar has no rule for.
    broken: Option<Failure>,
}

struct Block {
    end: usize,
    /// How far in its lines begin, once the first is known; one that shares the line of its `for` has
    /// no other.
    indent: Option<usize>,
}

/// What stands between two words.
struct Gap {
    is_new_line: bool,
    indent: usize,
    tab: Option<usize>,
}

impl Screen<'_> {
    /// Visits all nodes in the order of the file, without recursion: nothing bounds a tree yet.
    fn walk(&mut self, tree: &Tree) -> Result<(), Failure> {
        let mut cursor = tree.walk();
        loop {
            if self.visit(cursor.node())? && cursor.goto_first_child() {
                continue;
            }
            while !cursor.goto_next_sibling() {
                if !cursor.goto_parent() {
                    return self.finish(tree.root_node());
                }
            }
        }
    }

    fn finish(&mut self, root: Node<'_>) -> Result<(), Failure> {
        self.gap(self.end..self.text.len())?;
        if let Some(open) = self.brackets.pop() {
            return Err((open, "this bracket is not closed".to_owned()));
        }
        match self.broken.take() {
            Some(failure) => Err(failure),
            None if root.has_error() => Err((0..0, "the file cannot be read".to_owned())),
            None => Ok(()),
        }
    }

    /// Looks at a node, and tells whether its children are to be visited.
    fn visit(&mut self, node: Node<'_>) -> Result<bool, Failure> {
        let place = node.byte_range();
        if node.is_missing() {
            let message = format!("`{}` is missing here", node.kind());
            self.broken.get_or_insert((place, message));
            return Ok(false);
        }
        if node.is_error() {
            let message = "this cannot be read from here on".to_owned();
            self.broken.get_or_insert((place.start..place.start, message));
        }
        match node.kind() {
            "block" => {
                self.blocks.push(Block { end: place.end, indent: None });
                if self.blocks.len() > DEEPEST + 1 {
                    return Err(too_deep(place.start..place.start));
                }
            }
            "expression_statement" | "pass_statement" | "for_statement" => self.statement = Some(place.start),
            // Part of a gap.
            "line_continuation" => return Ok(false),
            "string" => {
                self.word(node)?;
                return Ok(false);
            }
            _ if node.child_count() == 0 && !place.is_empty() => self.word(node)?,
            _ => {}
        }
        Ok(true)
    }

    fn word(&mut self, node: Node<'_>) -> Result<(), Failure> {
        let place = node.byte_range();
        self.blocks.retain(|block| block.end > place.start);
        let gap = self.gap(self.end..place.start)?;
        self.end = place.end;
        let is_in_line = !gap.is_new_line || !self.brackets.is_empty();
        if node.kind() == "comment" {
            return self.comment(place, is_in_line);
        }
        if let Some(tab) = gap.tab {
            return Err((tab..tab + 1, "tabs are not allowed; indent with spaces".to_owned()));
        }
        let is_outside = self.brackets.is_empty();
        if is_outside && gap.is_new_line {
            self.operators = 0;
        }
        self.known(node, place.clone())?;
        // Where the grammar is lost, so are lines and blocks; what it has no rule for says more.
        if !is_outside || self.broken.is_some() {
            Ok(())
        } else if self.statement == Some(place.start) {
            self.line(&gap, &place)
        } else if gap.is_new_line {
            Err((place, "no line can begin with this; does the one before end too early?".to_owned()))
        } else {
            Ok(())
        }
    }

    /// Checks the blanks before a word.
    fn gap(&self, gap: Range<usize>) -> Result<Gap, Failure> {
        let is_outside = self.brackets.is_empty();
        let mut found = Gap { is_new_line: gap.start == 0, indent: 0, tab: None };
        let mut at = gap.start;
        while at < gap.end {
            let rest = self.text.get(at..gap.end).unwrap_or_default();
            let is_line_start = is_outside && found.is_new_line;
            let length = match rest.as_bytes() {
                [b' ', ..] => {
                    found.indent += 1;
                    1
                }
                [b'\n', ..] | [b'\r', b'\n', ..] => {
                    found = Gap { is_new_line: true, indent: 0, tab: None };
                    rest.find('\n').map_or(1, |newline| newline + 1)
                }
                // Starlark passes over these where it counts blanks.
                [b'\r', ..] if is_line_start => 1,
                // Lines of nothing else, or only a comment, may have them.
                [b'\t', ..] if is_line_start => {
                    found.tab = found.tab.or(Some(at));
                    1
                }
                [b'\\', b'\n', ..] if !is_line_start => 2,
                [b'\\', b'\r', b'\n', ..] if !is_line_start => 3,
                [b'\t', ..] => return Err((at..at + 1, "tabs are not allowed".to_owned())),
                _ => return Err(stray(rest, at)),
            };
            at += length;
        }
        Ok(found)
    }

    /// One that stands in a line of its own may hold anything; others have no carriage returns.
    fn comment(&self, place: Range<usize>, is_in_line: bool) -> Result<(), Failure> {
        let after = self.text.get(place.end..).unwrap_or_default();
        let text = self.text.get(place.clone()).unwrap_or_default();
        let text = if after.is_empty() { text } else { text.strip_suffix('\r').unwrap_or(text) };
        if (after.is_empty() || after.starts_with('\n')) && !(is_in_line && text.contains('\r')) {
            return Ok(());
        }
        Err((place, "this comment has a carriage return".to_owned()))
    }

    /// Checks that a statement begins where its block has it.
    fn line(&mut self, gap: &Gap, place: &Range<usize>) -> Result<(), Failure> {
        let outer = self.blocks.iter().rev().find_map(|block| block.indent).unwrap_or_default();
        let fits = match self.blocks.last_mut() {
            Some(Block { indent: Some(indent), .. }) => gap.is_new_line && gap.indent == *indent,
            Some(block) => {
                block.indent = Some(if gap.is_new_line { gap.indent } else { usize::MAX });
                !gap.is_new_line || gap.indent > outer
            }
            None => false,
        };
        if fits { Ok(()) } else { Err((place.clone(), "this is not indented as its block is".to_owned())) }
    }

    /// Checks that a word is one that rule files have.
    fn known(&mut self, node: Node<'_>, place: Range<usize>) -> Result<(), Failure> {
        let text = self.text.get(place.clone()).unwrap_or_default();
        let is_known = match node.kind() {
            "string" | "," | ":" | "=" | "pass" | "none" | "true" | "false" => true,
            "identifier" => is_name(text),
            "integer" => is_integer(text),
            "(" | "[" => {
                self.brackets.push(place.clone());
                true
            }
            ")" | "]" => {
                if self.brackets.pop().is_none() {
                    return Err((place, "this bracket is not opened".to_owned()));
                }
                true
            }
            "+" | "+=" | "in" | "for" => {
                self.operators += 1;
                true
            }
            "string_start" => return Err((place, "this string does not end".to_owned())),
            _ => false,
        };
        let after = self.text.get(place.end..).and_then(|after| after.chars().next());
        if !is_known || after.is_some_and(|after| goes_on(text, after)) {
            return Err((place, format!("`{}` {UNSUPPORTED}", shown(text))));
        }
        if self.brackets.len() > DEEPEST || self.operators > MOST_OPERATORS {
            return Err(too_deep(place));
        }
        Ok(())
    }
}

/// Whether Starlark would read the character as part of the word.
fn goes_on(word: &str, after: char) -> bool {
    match word {
        "=" | "+" => after == '=',
        _ if word.starts_with(|first: char| first.is_ascii_digit()) => {
            after == '.' || after == '_' || after.is_alphanumeric()
        }
        _ if word.starts_with(|first: char| first == '_' || first.is_ascii_alphabetic()) => {
            !matches!(word.as_bytes(), [.., b'"' | b'\'']) && (after == '_' || after.is_alphanumeric())
        }
        _ => false,
    }
}

fn is_name(word: &str) -> bool {
    word.bytes().all(|byte| byte == b'_' || byte.is_ascii_alphanumeric()) && !RESERVED.contains(&word)
}

fn is_integer(word: &str) -> bool {
    let radix = match word.as_bytes() {
        [b'0', b'x' | b'X', ..] => 16,
        [b'0', b'o' | b'O', ..] => 8,
        [b'0', b'b' | b'B', ..] => 2,
        [b'0', _, ..] => return false,
        _ => 10,
    };
    let digits = if radix == 10 { word } else { &word[2..] };
    digits.chars().all(|digit| digit.is_digit(radix))
}

fn stray(rest: &str, at: usize) -> Failure {
    let length = rest.chars().next().map_or(0, char::len_utf8);
    (at..at + length, format!("`{}` does not belong here", shown(&rest[..length])))
}

fn too_deep(place: Range<usize>) -> Failure {
    (place, "the file nests deeper than rule files do".to_owned())
}
