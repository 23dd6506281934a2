//! What a rule file is made of: the part of Starlark that rule files need, and nothing else.
//!
//! Built from tree-sitter's tree once each word of it was looked at. Every node must have just the parts
//! named here, in this order; all others are refused, also where they would never be reached.

use std::collections::HashSet;
use std::ops::Range;
use std::rc::Rc;

use tree_sitter::{Node, Tree};

use super::literal::decode;
use super::{Failure, UNSUPPORTED};
use crate::problem::shown;

/// A part of a file and where it stands.
pub(super) struct At<T> {
    pub(super) place: Range<usize>,
    pub(super) part: T,
}

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
    Sum(Box<[At<Expression<'t>>; 2]>),
    Comprehension(Box<At<Expression<'t>>>, Vec<Clause<'t>>),
    Call(&'t str, Vec<Argument<'t>>),
}

pub(super) struct Argument<'t> {
    pub(super) name: Option<At<&'t str>>,
    pub(super) value: At<Expression<'t>>,
}

/// Reads a whole file. Its tree has been screened, so it is not deep.
pub(super) fn read<'t>(tree: &Tree, text: &'t str) -> Result<Vec<At<Statement<'t>>>, Failure> {
    Reader { text }.statements(tree.root_node())
}

struct Reader<'t> {
    text: &'t str,
}

impl<'t> Reader<'t> {
    fn text(&self, node: Node<'_>) -> &'t str {
        self.text.get(node.byte_range()).unwrap_or_default()
    }

    fn statements(&self, block: Node<'_>) -> Result<Vec<At<Statement<'t>>>, Failure> {
        parts(block).into_iter().map(|statement| self.statement(statement)).collect()
    }

    fn statement(&self, node: Node<'_>) -> Result<At<Statement<'t>>, Failure> {
        let part = match (node.kind(), parts(node).as_slice()) {
            ("pass_statement", _) => Statement::Pass,
            ("for_statement", [_, target, _, list, _, block]) => {
                let body = self.statements(*block)?;
                if body.is_empty() {
                    return Err((node.byte_range(), "this `for` has nothing to do".to_owned()));
                }
                Statement::For(self.clause(*target, *list)?, body)
            }
            ("expression_statement", [inner]) => match (inner.kind(), parts(*inner).as_slice()) {
                ("assignment", [target, sign, value]) if sign.kind() == "=" => {
                    Statement::Assign(self.target(*target)?, self.expression(*value)?)
                }
                // Types mean nothing to rules, but Codex reads a name that has one.
                ("assignment", [target, _, kind, _, value]) => {
                    let target = self.target(*target)?;
                    if !matches!((&target.part, parts(*kind).as_slice()), (Target::Name(_), [name]) if is_name(*name))
                    {
                        return Err(unsupported(*kind));
                    }
                    Statement::Assign(target, self.expression(*value)?)
                }
                ("augmented_assignment", [target, _, value]) => match self.target(*target)?.part {
                    Target::Name(name) => Statement::Extend(name, self.expression(*value)?),
                    Target::Tuple(_) => return Err(unsupported(*target)),
                },
                _ => Statement::Value(self.expression(*inner)?),
            },
            _ => return Err(unsupported(node)),
        };
        Ok(At { place: node.byte_range(), part })
    }

    fn clause(&self, target: Node<'_>, list: Node<'_>) -> Result<Clause<'t>, Failure> {
        Ok(Clause { target: self.target(target)?, list: self.expression(list)? })
    }

    fn target(&self, node: Node<'_>) -> Result<At<Target<'t>>, Failure> {
        let parts = parts(node);
        let part = match (node.kind(), parts.as_slice()) {
            ("identifier", _) => Target::Name(self.text(node)),
            ("tuple_pattern", [_, only, _]) => return self.target(*only),
            ("tuple_pattern" | "list_pattern", [_, targets @ .., _]) => self.targets(node, targets, true)?,
            ("pattern_list", targets) => self.targets(node, targets, false)?,
            _ => return Err(unsupported(node)),
        };
        Ok(At { place: node.byte_range(), part })
    }

    fn targets(&self, node: Node<'_>, list: &[Node<'_>], may_trail: bool) -> Result<Target<'t>, Failure> {
        let targets: Result<_, _> =
            listed(node, list, may_trail)?.into_iter().map(|target| self.target(target)).collect();
        Ok(Target::Tuple(targets?))
    }

    fn expression(&self, node: Node<'_>) -> Result<At<Expression<'t>>, Failure> {
        let place = node.byte_range();
        let part = match (node.kind(), parts(node).as_slice()) {
            ("string", _) => Expression::Text(decode(self.text, &place)?.into()),
            ("integer", _) => Expression::Number,
            ("none" | "true" | "false", _) => Expression::Constant,
            ("identifier", _) => Expression::Name(self.text(node)),
            ("parenthesized_expression", [_, inner, _]) => return self.expression(*inner),
            ("list", [_, items @ .., _]) => {
                let items: Result<_, _> =
                    listed(node, items, true)?.into_iter().map(|item| self.expression(item)).collect();
                Expression::List(items?)
            }
            ("list_comprehension", [_, item, clauses @ .., _]) => {
                let clauses: Result<_, _> = clauses.iter().map(|clause| self.comprehend(*clause)).collect();
                Expression::Comprehension(Box::new(self.expression(*item)?), clauses?)
            }
            ("binary_operator", [left, sign, right]) if sign.kind() == "+" => {
                Expression::Sum(Box::new([self.expression(*left)?, self.expression(*right)?]))
            }
            ("call", [function, arguments]) if function.kind() == "identifier" => {
                Expression::Call(self.text(*function), self.arguments(*arguments)?)
            }
            _ => return Err(unsupported(node)),
        };
        Ok(At { place, part })
    }

    fn comprehend(&self, node: Node<'_>) -> Result<Clause<'t>, Failure> {
        match (node.kind(), parts(node).as_slice()) {
            ("for_in_clause", [_, target, _, list]) => self.clause(*target, *list),
            _ => Err(unsupported(node)),
        }
    }

    fn arguments(&self, node: Node<'_>) -> Result<Vec<Argument<'t>>, Failure> {
        let mut arguments = Vec::new();
        let mut names = HashSet::new();
        let parts = parts(node);
        let [_, given @ .., _] = parts.as_slice() else { return Err(unsupported(node)) };
        for given in listed(node, given, true)? {
            let argument = match (given.kind(), self::parts(given).as_slice()) {
                ("keyword_argument", [name, _, value]) => {
                    let name = At { place: name.byte_range(), part: self.text(*name) };
                    Argument { name: Some(name), value: self.expression(*value)? }
                }
                _ => Argument { name: None, value: self.expression(given)? },
            };
            match &argument.name {
                Some(name) if !names.insert(name.part) => {
                    return Err((name.place.clone(), format!("`{}` is given twice", shown(name.part))));
                }
                None if !names.is_empty() => {
                    let message = "an argument without a name stands behind one with a name".to_owned();
                    return Err((argument.value.place, message));
                }
                _ => arguments.push(argument),
            }
        }
        Ok(arguments)
    }
}

/// The parts of a node, without the comments and broken lines that may stand anywhere.
fn parts(node: Node<'_>) -> Vec<Node<'_>> {
    let mut cursor = node.walk();
    node.children(&mut cursor).filter(|part| !part.is_extra()).collect()
}

/// What stands between commas, the last of which may have nothing behind it.
fn listed<'n>(node: Node<'n>, list: &[Node<'n>], may_trail: bool) -> Result<Vec<Node<'n>>, Failure> {
    let is_trailing = !list.is_empty() && list.len().is_multiple_of(2);
    let are_commas_right =
        list.iter().enumerate().all(|(index, part)| (part.kind() == ",") == (index % 2 == 1));
    if !are_commas_right || is_trailing && !may_trail {
        return Err((node.byte_range(), "there is a comma too many here".to_owned()));
    }
    Ok(list.iter().copied().step_by(2).collect())
}

fn is_name(node: Node<'_>) -> bool {
    matches!(node.kind(), "identifier" | "none")
}

/// Points to the operator or bracket that is not supported, if the node has one, else to all of it.
fn unsupported(node: Node<'_>) -> Failure {
    let parts = parts(node);
    match parts.iter().skip(1).find(|part| !part.is_named() && part.kind() != ",") {
        Some(sign) if node.is_named() && parts[0].is_named() => {
            (sign.byte_range(), format!("`{}` {UNSUPPORTED}", sign.kind()))
        }
        _ => (node.byte_range(), format!("this {UNSUPPORTED}")),
    }
}
