//! Cuts a rule file into words, lines and blocks.
//!
//! The source of the rules is the lexer of the crate that Codex reads these files with, for the part of
//! Starlark that rule files need. All else, and whatever nests deeper than any real file, becomes a
//! [`Word::Wrong`], behind which nothing is read: the first mistake of a file is the one that is named.

use std::ops::Range;
use std::rc::Rc;

use super::literal::decode;
use super::{At, DEEPEST, Failure, UNSUPPORTED, too_deep};
use crate::problem::shown;

/// One word of a file, or what lines and blocks are made of.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Word<'t> {
    Name(&'t str),
    /// `None`, `True` or `False`.
    Constant,
    Number,
    Text(Rc<str>),
    Pass,
    For,
    In,
    /// `(`, `)`, `[`, `]`, `,`, `:`, `=`, `+` or `+=`.
    Sign(&'static str),
    /// The end of a line that is not broken and in no bracket.
    Line,
    /// The lines from here on stand further in.
    Indent,
    /// They stand as far in as those before the last `Indent` did.
    Dedent,
    /// The end of the file.
    End,
    /// The end of what can be read.
    Wrong(String),
}

const SIGNS: [&str; 9] = ["+=", "(", ")", "[", "]", ",", ":", "=", "+"];

/// What Starlark has further operators from.
const OPERATORS: &str = "+-*/%=!<>&|^~.;@";

/// Words that Starlark keeps for itself.
const RESERVED: [&str; 30] = [
    "and", "as", "assert", "async", "await", "break", "class", "continue", "def", "del", "elif", "else",
    "except", "finally", "from", "global", "if", "import", "is", "lambda", "load", "nonlocal", "not", "or",
    "raise", "return", "try", "while", "with", "yield",
];

/// Cuts a whole file. The last word is an end or a mistake.
pub(super) fn cut(text: &str) -> Vec<At<Word<'_>>> {
    let mut cutter = Cutter { text, at: 0, words: Vec::new(), brackets: Vec::new(), blocks: vec![0] };
    if let Err((place, message)) = cutter.lines() {
        cutter.words.push(At { place, part: Word::Wrong(message) });
    }
    cutter.words
}

struct Cutter<'t> {
    text: &'t str,
    at: usize,
    words: Vec<At<Word<'t>>>,
    /// Where the open brackets are.
    brackets: Vec<usize>,
    /// How far in the lines of each open block begin, the file being the first.
    blocks: Vec<usize>,
}

impl<'t> Cutter<'t> {
    fn rest(&self) -> &'t str {
        &self.text[self.at..]
    }

    /// Goes on by so many bytes.
    fn push(&mut self, length: usize, word: Word<'t>) {
        let start = self.at;
        self.at += length;
        self.words.push(At { place: start..self.at, part: word });
    }

    fn lines(&mut self) -> Result<(), Failure> {
        while let Some(indent) = self.indent()? {
            self.block(indent)?;
            while self.word()? {}
            if let Some(open) = self.brackets.pop() {
                return Err((open..open + 1, "this bracket is not closed".to_owned()));
            }
            self.push(0, Word::Line);
        }
        for _ in 1..self.blocks.len() {
            self.push(0, Word::Dedent);
        }
        self.push(0, Word::End);
        Ok(())
    }

    /// Goes to the next line that says something, and tells how far in it begins.
    fn indent(&mut self) -> Result<Option<usize>, Failure> {
        let (mut indent, mut tab) = (0, None);
        loop {
            match self.rest().as_bytes() {
                [] => return Ok(None),
                [b' ', ..] => indent += 1,
                // Starlark passes over these where it counts blanks.
                [b'\r', ..] => {}
                // Lines of nothing else, or only a comment, may have them.
                [b'\t', ..] => tab = tab.or(Some(self.at)),
                [b'\n', ..] => (indent, tab) = (0, None),
                // A comment in a line of its own may hold anything.
                [b'#', ..] => {
                    self.at += self.line_length();
                    continue;
                }
                // Only a line that has begun goes on in the next.
                [b'\\', ..] => return Err(self.stray()),
                _ => {
                    return match tab {
                        Some(tab) => {
                            Err((tab..tab + 1, "tabs are not allowed; indent with spaces".to_owned()))
                        }
                        None => Ok(Some(indent)),
                    };
                }
            }
            self.at += 1;
        }
    }

    /// Opens or closes blocks, so that a line fits that begins so far in.
    fn block(&mut self, indent: usize) -> Result<(), Failure> {
        let place = self.at..self.at + self.rest().chars().next().map_or(0, char::len_utf8);
        if self.blocks.last().is_some_and(|block| *block < indent) {
            if self.blocks.len() > DEEPEST {
                return Err(too_deep(place));
            }
            self.blocks.push(indent);
            self.push(0, Word::Indent);
            return Ok(());
        }
        while self.blocks.last().is_some_and(|block| *block > indent) {
            self.blocks.pop();
            self.push(0, Word::Dedent);
        }
        if self.blocks.last() == Some(&indent) { Ok(()) } else { Err(not_indented(place)) }
    }

    /// How far it is to the end of the line or the file.
    fn line_length(&self) -> usize {
        self.rest().find('\n').unwrap_or(self.rest().len())
    }

    /// Reads the next word of a line; there is none where the line ends.
    fn word(&mut self) -> Result<bool, Failure> {
        let rest = self.rest();
        let is_in_bracket = !self.brackets.is_empty();
        let Some(first) = rest.chars().next() else { return Ok(false) };
        match rest.as_bytes() {
            [b'\n', ..] | [b'\r', b'\n', ..] if !is_in_bracket => return Ok(false),
            [b' ' | b'\n', ..] => self.at += 1,
            [b'\r' | b'\\', b'\n', ..] => self.at += 2,
            [b'\\', b'\r', b'\n', ..] => self.at += 3,
            [b'\t', ..] => return Err((self.at..self.at + 1, "tabs are not allowed".to_owned())),
            [b'#', ..] => self.comment()?,
            [b'"' | b'\'', ..] | [b'r', b'"' | b'\'', ..] => {
                let (length, text) = decode(self.text, self.at)?;
                self.push(length, Word::Text(text.into()));
            }
            _ if first == '_' || first.is_alphanumeric() => self.name_or_number()?,
            _ => self.sign()?,
        }
        Ok(true)
    }

    /// Passes over a comment behind a word or in brackets, which has no carriage return.
    fn comment(&mut self) -> Result<(), Failure> {
        let length = self.line_length();
        let comment = &self.rest()[..length];
        let is_last = length == self.rest().len();
        let comment = if is_last { comment } else { comment.strip_suffix('\r').unwrap_or(comment) };
        if comment.contains('\r') {
            return Err((self.at..self.at + length, "this comment has a carriage return".to_owned()));
        }
        self.at += comment.len();
        Ok(())
    }

    fn name_or_number(&mut self) -> Result<(), Failure> {
        let rest = self.rest();
        let is_number = rest.starts_with(|first: char| first.is_ascii_digit());
        let goes_on = |c: char| c == '_' || c.is_alphanumeric() || is_number && c == '.';
        let length = rest.find(|c| !goes_on(c)).unwrap_or(rest.len());
        let (word, after) = rest.split_at(length);
        let known = match word {
            "pass" => Word::Pass,
            "for" => Word::For,
            "in" => Word::In,
            "None" | "True" | "False" => Word::Constant,
            _ if is_number && is_integer(word) => Word::Number,
            _ if is_number || RESERVED.contains(&word) || !word.is_ascii() => {
                return Err(self.unsupported(length));
            }
            // Only `r` stands before a string.
            _ if after.starts_with(['"', '\'']) => {
                let (string, _) = decode(self.text, self.at + length)?;
                return Err(self.unsupported(length + string));
            }
            name => Word::Name(name),
        };
        self.push(length, known);
        Ok(())
    }

    fn sign(&mut self) -> Result<(), Failure> {
        let rest = self.rest();
        let sign = SIGNS.into_iter().find(|sign| rest.starts_with(sign));
        let Some(sign) = sign.filter(|_| !rest.starts_with("==")) else {
            let operator = rest.find(|c| !OPERATORS.contains(c)).unwrap_or(rest.len());
            return Err(if operator > 0 { self.unsupported(operator) } else { self.stray() });
        };
        match sign {
            "(" | "[" if self.brackets.len() == DEEPEST => return Err(too_deep(self.at..self.at + 1)),
            "(" | "[" => self.brackets.push(self.at),
            ")" | "]" => self.close(sign)?,
            _ => {}
        }
        self.push(sign.len(), Word::Sign(sign));
        Ok(())
    }

    fn close(&mut self, sign: &str) -> Result<(), Failure> {
        let place = self.at..self.at + 1;
        let Some(open) = self.brackets.pop() else {
            return Err((place, "this bracket is not opened".to_owned()));
        };
        let opened = &self.text[open..=open];
        if (opened == "(") == (sign == ")") {
            return Ok(());
        }
        Err((place, format!("`{sign}` cannot close `{opened}`")))
    }

    fn stray(&self) -> Failure {
        let length = self.rest().chars().next().map_or(0, char::len_utf8);
        (self.at..self.at + length, format!("`{}` does not belong here", shown(&self.rest()[..length])))
    }

    fn unsupported(&self, length: usize) -> Failure {
        (self.at..self.at + length, format!("`{}` {UNSUPPORTED}", shown(&self.rest()[..length])))
    }
}

pub(super) fn not_indented(place: Range<usize>) -> Failure {
    (place, "this is not indented as its block is".to_owned())
}

fn is_integer(word: &str) -> bool {
    let (radix, digits) = match word.as_bytes() {
        [b'0', b'x' | b'X', ..] => (16, &word[2..]),
        [b'0', b'o' | b'O', ..] => (8, &word[2..]),
        [b'0', b'b' | b'B', ..] => (2, &word[2..]),
        [b'0', _, ..] => return false,
        _ => (10, word),
    };
    !digits.is_empty() && digits.chars().all(|digit| digit.is_digit(radix))
}
