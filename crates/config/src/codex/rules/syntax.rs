//! What a rule file is made of: the part of Starlark that rule files need, and nothing else.
//!
//! All else is refused, also where it would never be reached. Brackets and blocks are bounded by the
//! [`words`], so those who read a file may descend into it.

use std::collections::HashSet;
use std::rc::Rc;

use super::words::{self, Word, not_indented};
use super::{At, DEEPEST, Failure, UNSUPPORTED, too_deep};
use crate::problem::shown;

pub(super) enum Statement<'t> {
    Pass,
    Value(At<Expression<'t>>),
    Assign(At<Target<'t>>, At<Expression<'t>>),
    /// `name += value`
    Extend(&'t str, At<Expression<'t>>),
    For(Clause<'t>, Vec<At<Statement<'t>>>),
}

/// What is assigned to.
pub(super) enum Target<'t> {
    Name(&'t str),
    Tuple(Vec<At<Target<'t>>>),
}

/// `for target in list`
pub(super) struct Clause<'t> {
    pub(super) target: At<Target<'t>>,
    pub(super) list: At<Expression<'t>>,
}

pub(super) enum Expression<'t> {
    Text(Rc<str>),
    Number,
    /// `None`, `True` or `False`.
    Constant,
    Name(&'t str),
    List(Vec<At<Expression<'t>>>),
    /// Two terms or more.
    Sum(Vec<At<Expression<'t>>>),
    Comprehension(Box<At<Expression<'t>>>, Vec<Clause<'t>>),
    Call(&'t str, Vec<Argument<'t>>),
}

pub(super) struct Argument<'t> {
    pub(super) name: Option<At<&'t str>>,
    pub(super) value: At<Expression<'t>>,
}

/// Reads a whole file.
pub(super) fn read(text: &str) -> Result<Vec<At<Statement<'_>>>, Failure> {
    let mut reader = Reader { text, words: words::cut(text), next: 0 };
    let mut statements = Vec::new();
    while !reader.is_next(&Word::End) {
        statements.push(reader.statement()?);
    }
    Ok(statements)
}

struct Reader<'t> {
    text: &'t str,
    /// Never empty, and the last is never taken.
    words: Vec<At<Word<'t>>>,
    next: usize,
}

impl<'t> Reader<'t> {
    fn peek(&self) -> &At<Word<'t>> {
        &self.words[self.next]
    }

    fn is_next(&self, word: &Word<'_>) -> bool {
        self.peek().part == *word
    }

    fn is_sign(&self, sign: &'static str) -> bool {
        self.is_next(&Word::Sign(sign))
    }

    /// Takes the next word if it is this one.
    fn takes(&mut self, word: &Word<'_>) -> bool {
        let is_next = self.is_next(word);
        self.next += usize::from(is_next);
        is_next
    }

    fn takes_sign(&mut self, sign: &'static str) -> bool {
        self.takes(&Word::Sign(sign))
    }

    fn expect(&mut self, word: &Word<'_>) -> Result<(), Failure> {
        if self.takes(word) { Ok(()) } else { Err(self.unexpected()) }
    }

    fn expect_sign(&mut self, sign: &'static str) -> Result<(), Failure> {
        self.expect(&Word::Sign(sign))
    }

    /// Where the next word begins.
    fn start(&self) -> usize {
        self.peek().place.start
    }

    /// A part that began at `start` and ends with the last word that was taken.
    fn since<T>(&self, start: usize, part: T) -> At<T> {
        let end = self.words[..self.next].last().map_or(start, |word| word.place.end);
        At { place: start..end, part }
    }

    /// Says why the next word cannot stand where it does.
    fn unexpected(&self) -> Failure {
        let At { place, part } = self.peek();
        let text = shown(&self.text[place.clone()]);
        let message = match part {
            Word::Wrong(message) => message.clone(),
            Word::Indent => return self.misplaced(),
            Word::Line | Word::Dedent | Word::End => "something is missing here".to_owned(),
            Word::Sign("(" | "[") => format!("`{text}` {UNSUPPORTED}"),
            _ => format!("`{text}` does not belong here"),
        };
        (place.clone(), message)
    }

    /// What could not be read comes before what follows from it.
    fn wrong_or(&self, failure: Failure) -> Failure {
        if matches!(self.peek().part, Word::Wrong(_)) { self.unexpected() } else { failure }
    }

    /// The line that begins next does not fit its block.
    fn misplaced(&self) -> Failure {
        let place =
            self.words.get(self.next + 1).map_or(self.peek().place.clone(), |word| word.place.clone());
        not_indented(place)
    }

    fn statement(&mut self) -> Result<At<Statement<'t>>, Failure> {
        let start = self.start();
        if !self.takes(&Word::For) {
            let statement = self.simple()?;
            self.expect(&Word::Line)?;
            return Ok(statement);
        }
        let clause = self.clause()?;
        self.expect_sign(":")?;
        let mut body = Vec::new();
        if !self.takes(&Word::Line) {
            body.push(self.simple()?);
            self.expect(&Word::Line)?;
        } else if self.takes(&Word::Indent) {
            while !self.takes(&Word::Dedent) {
                body.push(self.statement()?);
            }
        } else {
            let failure = (self.since(start, ()).place, "this `for` has nothing to do".to_owned());
            return Err(self.wrong_or(failure));
        }
        Ok(self.since(start, Statement::For(clause, body)))
    }

    fn simple(&mut self) -> Result<At<Statement<'t>>, Failure> {
        let start = self.start();
        let statement = if self.takes(&Word::Pass) {
            Statement::Pass
        } else if self.is_assignment() {
            self.assignment()?
        } else {
            Statement::Value(self.expression()?)
        };
        Ok(self.since(start, statement))
    }

    /// Whether the line has a sign of assignment outside of brackets.
    fn is_assignment(&self) -> bool {
        let mut depth = 0_usize;
        for word in &self.words[self.next..] {
            match word.part {
                Word::Sign("(" | "[") => depth += 1,
                Word::Sign(")" | "]") => depth = depth.saturating_sub(1),
                Word::Sign("=" | "+=" | ":") if depth == 0 => return true,
                Word::Line | Word::End | Word::Wrong(_) => return false,
                _ => {}
            }
        }
        false
    }

    fn assignment(&mut self) -> Result<Statement<'t>, Failure> {
        let target = self.targets()?;
        let name = match &target.part {
            Target::Name(name) => Some(*name),
            Target::Tuple(_) => None,
        };
        if let Some(name) = name
            && self.takes_sign("+=")
        {
            return Ok(Statement::Extend(name, self.expression()?));
        }
        // Types mean nothing to rules, but Codex reads a name that has one.
        if name.is_some() && self.takes_sign(":") {
            match self.peek().part {
                Word::Name(_) | Word::Constant => self.next += 1,
                _ => return Err(self.unexpected()),
            }
        }
        self.expect_sign("=")?;
        Ok(Statement::Assign(target, self.expression()?))
    }

    /// `target in list`
    fn clause(&mut self) -> Result<Clause<'t>, Failure> {
        let target = self.targets()?;
        self.expect(&Word::In)?;
        Ok(Clause { target, list: self.expression()? })
    }

    /// One target, or several with commas between them.
    fn targets(&mut self) -> Result<At<Target<'t>>, Failure> {
        let start = self.start();
        let first = self.target()?;
        if !self.is_sign(",") {
            return Ok(first);
        }
        let mut targets = vec![first];
        while self.takes_sign(",") {
            if !self.begins_target() {
                return Err(self.wrong_or(self.comma_too_many()));
            }
            targets.push(self.target()?);
        }
        Ok(self.since(start, Target::Tuple(targets)))
    }

    fn begins_target(&self) -> bool {
        matches!(self.peek().part, Word::Name(_) | Word::Sign("(" | "["))
    }

    fn target(&mut self) -> Result<At<Target<'t>>, Failure> {
        let start = self.start();
        if let Word::Name(name) = self.peek().part {
            self.next += 1;
            return Ok(self.since(start, Target::Name(name)));
        }
        let close = match self.peek().part {
            Word::Sign("(") => ")",
            Word::Sign("[") => "]",
            _ => return Err(self.unexpected()),
        };
        self.next += 1;
        let (mut targets, has_comma) = self.listed(close, Self::target)?;
        let target = match targets.pop() {
            Some(only) if close == ")" && targets.is_empty() && !has_comma => only.part,
            last => {
                targets.extend(last);
                Target::Tuple(targets)
            }
        };
        Ok(self.since(start, target))
    }

    /// What stands between commas, the last of which may have nothing behind it, up to a bracket; and
    /// whether there was a comma.
    fn listed<T>(
        &mut self,
        close: &'static str,
        item: impl Fn(&mut Self) -> Result<T, Failure>,
    ) -> Result<(Vec<T>, bool), Failure> {
        let (mut items, mut has_comma) = (Vec::new(), false);
        while !self.takes_sign(close) {
            if self.takes_sign(",") {
                return Err(self.comma_too_many());
            }
            items.push(item(self)?);
            if self.takes_sign(",") {
                has_comma = true;
            } else if !self.is_sign(close) {
                return Err(self.unexpected());
            }
        }
        Ok((items, has_comma))
    }

    /// The comma is the word that was taken last.
    fn comma_too_many(&self) -> Failure {
        let comma = self.words[..self.next].last().map_or(0..0, |word| word.place.clone());
        (comma, "there is a comma too many here".to_owned())
    }

    fn expression(&mut self) -> Result<At<Expression<'t>>, Failure> {
        let start = self.start();
        let first = self.term()?;
        if !self.is_sign("+") {
            return Ok(first);
        }
        let mut terms = vec![first];
        while self.takes_sign("+") {
            terms.push(self.term()?);
        }
        Ok(self.since(start, Expression::Sum(terms)))
    }

    fn term(&mut self) -> Result<At<Expression<'t>>, Failure> {
        let start = self.start();
        let term = match &self.peek().part {
            Word::Text(text) => Expression::Text(Rc::clone(text)),
            Word::Number => Expression::Number,
            Word::Constant => Expression::Constant,
            Word::Name(name) => Expression::Name(name),
            Word::Sign("(") => {
                self.next += 1;
                return self.parenthesized(start);
            }
            Word::Sign("[") => {
                self.next += 1;
                let list = self.list()?;
                return Ok(self.since(start, list));
            }
            _ => return Err(self.unexpected()),
        };
        self.next += 1;
        match term {
            Expression::Name(function) if self.takes_sign("(") => {
                let arguments = self.arguments()?;
                Ok(self.since(start, Expression::Call(function, arguments)))
            }
            term => Ok(self.since(start, term)),
        }
    }

    fn parenthesized(&mut self, start: usize) -> Result<At<Expression<'t>>, Failure> {
        if !self.is_sign(")") {
            let inner = self.expression()?;
            if self.takes_sign(")") {
                return Ok(inner);
            }
            if !self.is_sign(",") {
                return Err(self.unexpected());
            }
        }
        Err((start..self.peek().place.end, format!("this {UNSUPPORTED}")))
    }

    /// What stands behind `[` where a value is.
    fn list(&mut self) -> Result<Expression<'t>, Failure> {
        if self.takes_sign("]") {
            return Ok(Expression::List(Vec::new()));
        }
        if self.takes_sign(",") {
            return Err(self.comma_too_many());
        }
        let first = self.expression()?;
        let mut clauses = Vec::new();
        while self.takes(&Word::For) {
            clauses.push(self.clause()?);
            if clauses.len() > DEEPEST {
                return Err(too_deep(self.peek().place.clone()));
            }
        }
        if !clauses.is_empty() {
            self.expect_sign("]")?;
            return Ok(Expression::Comprehension(Box::new(first), clauses));
        }
        let mut items = vec![first];
        if self.takes_sign(",") {
            items.extend(self.listed("]", Self::expression)?.0);
        } else {
            self.expect_sign("]")?;
        }
        Ok(Expression::List(items))
    }

    fn arguments(&mut self) -> Result<Vec<Argument<'t>>, Failure> {
        let (arguments, _) = self.listed(")", Self::argument)?;
        let mut names = HashSet::new();
        for argument in &arguments {
            match &argument.name {
                Some(name) if !names.insert(name.part) => {
                    return Err((name.place.clone(), format!("`{}` is given twice", shown(name.part))));
                }
                None if !names.is_empty() => {
                    let message = "an argument without a name stands behind one with a name".to_owned();
                    return Err((argument.value.place.clone(), message));
                }
                _ => {}
            }
        }
        Ok(arguments)
    }

    fn argument(&mut self) -> Result<Argument<'t>, Failure> {
        let At { place, part } = self.peek();
        let name = match part {
            Word::Name(name)
                if self.words.get(self.next + 1).is_some_and(|next| next.part == Word::Sign("=")) =>
            {
                Some(At { place: place.clone(), part: *name })
            }
            _ => None,
        };
        if name.is_some() {
            self.next += 2;
        }
        Ok(Argument { name, value: self.expression()? })
    }
}
