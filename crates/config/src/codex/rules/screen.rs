//! Looks at the words of a rule file before it is parsed.
//!
//! The parser descends by recursion. Brackets, blocks and chains of operators are bounded here, and
//! words that rule files have no use for are refused, so that its depth is bounded too.

use std::ops::Range;

use starlark_syntax::codemap::CodeMap;
use starlark_syntax::dialect::Dialect;
use starlark_syntax::lexer::{Lexer, Token};

use super::evaluate::Failure;

const DEEPEST: usize = 32;
const MOST_OPERATORS: usize = 200;

const UNSUPPORTED: &str = "is not supported in rule files; write strings, lists, names, `+` and `for`";

pub(super) fn screen(text: &str, dialect: &Dialect) -> Result<(), Failure> {
    let map = CodeMap::new(String::new(), text.to_owned());
    let (mut brackets, mut blocks, mut operators) = (0_usize, 0_usize, 0_usize);
    let mut before = Before::Nothing;
    for lexeme in Lexer::new(text, dialect, map) {
        let (start, token, end) = lexeme.map_err(|error| {
            let error = error.into_error();
            let range = error.span().map_or(0..0, |found| super::evaluate::range(found.span));
            (range, error.without_diagnostic().to_string())
        })?;
        let place = start..end;
        let refuse = || Err((place.clone(), format!("`{}` {UNSUPPORTED}", shown(text, &place))));
        let is_after_value = matches!(before, Before::Name | Before::Value | Before::Closing);
        before = match token {
            Token::Comment(_) | Token::Tabs => continue,
            Token::Newline | Token::Indent | Token::Dedent => {
                if brackets == 0 {
                    operators = 0;
                }
                match token {
                    Token::Indent => blocks += 1,
                    Token::Dedent => blocks = blocks.saturating_sub(1),
                    _ => {}
                }
                Before::Nothing
            }
            Token::Identifier(_) => Before::Name,
            Token::String(_) | Token::Int(_) => Before::Value,
            // Calls and indexes of what was just called or indexed nest without brackets.
            Token::OpeningRound if matches!(before, Before::Value | Before::Closing) => return refuse(),
            Token::OpeningSquare if is_after_value => return refuse(),
            Token::OpeningRound | Token::OpeningSquare => {
                brackets += 1;
                Before::Nothing
            }
            Token::ClosingRound | Token::ClosingSquare => {
                brackets = brackets.saturating_sub(1);
                Before::Closing
            }
            Token::Plus if !is_after_value => return refuse(),
            Token::Plus | Token::PlusEqual | Token::In | Token::For | Token::Equal => {
                operators += usize::from(!matches!(token, Token::Equal));
                Before::Nothing
            }
            Token::Comma | Token::Colon | Token::Pass => Before::Nothing,
            _ => return refuse(),
        };
        if brackets > DEEPEST || blocks > DEEPEST || operators > MOST_OPERATORS {
            return Err((place, "the file nests deeper than rule files do".to_owned()));
        }
    }
    Ok(())
}

/// What stands before a word, as far as it matters.
#[derive(Clone, Copy)]
enum Before {
    Nothing,
    Name,
    Value,
    Closing,
}

fn shown(text: &str, place: &Range<usize>) -> String {
    crate::problem::shown(text.get(place.clone()).unwrap_or_default())
}
