//! Evaluates a rule file. Every step and every byte made is counted.

use std::collections::HashMap;
use std::ops::Range;
use std::rc::Rc;

use super::builtins::{Arguments, Rules};
use super::syntax::{Argument, Clause, Expression, Statement, Target};
use super::{At, Failure};

/// No real file comes near: a rule with examples takes some fifty steps.
const MOST_STEPS: usize = 1_000_000;

/// Bytes of texts and entries of lists that are put together.
const MOST_MADE: usize = 8 * 1024 * 1024;

/// The values rule files know.
#[derive(Debug, Clone)]
pub(super) enum Value {
    Text(Rc<str>),
    List(Rc<[Value]>),
    Number,
    /// `None`, `True` and `False`: names without a use here.
    Constant,
}

impl Value {
    pub(super) const fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) => "string",
            Self::List(_) => "list",
            Self::Number => "int",
            Self::Constant => "constant",
        }
    }
}

/// Runs a whole file.
pub(super) fn run(file: &[At<Statement<'_>>], rules: &mut Rules) -> Result<(), Failure> {
    Run { rules, names: HashMap::new(), steps: 0, made: 0 }.statements(file)
}

struct Run<'r, 't> {
    rules: &'r mut Rules,
    names: HashMap<&'t str, Value>,
    steps: usize,
    made: usize,
}

impl<'t> Run<'_, 't> {
    fn step(&mut self, place: &Range<usize>) -> Result<(), Failure> {
        self.steps += 1;
        if self.steps > MOST_STEPS {
            return Err((place.clone(), format!("the file takes more than {MOST_STEPS} steps")));
        }
        Ok(())
    }

    fn make(&mut self, place: &Range<usize>, size: usize) -> Result<(), Failure> {
        self.made = self.made.saturating_add(size);
        if self.made > MOST_MADE {
            return Err((place.clone(), format!("the file makes more than {MOST_MADE} bytes of values")));
        }
        Ok(())
    }

    fn statements(&mut self, statements: &[At<Statement<'t>>]) -> Result<(), Failure> {
        statements.iter().try_for_each(|statement| self.statement(statement))
    }

    fn statement(&mut self, statement: &At<Statement<'t>>) -> Result<(), Failure> {
        self.step(&statement.place)?;
        match &statement.part {
            Statement::Pass => Ok(()),
            Statement::Value(expression) => self.value(expression).map(drop),
            Statement::Assign(target, expression) => {
                let value = self.value(expression)?;
                self.assign(target, value)
            }
            Statement::Extend(name, expression) => {
                let before = self.name(name, &statement.place)?;
                let after = self.value(expression)?;
                let sum = self.add(&before, &after, &statement.place)?;
                self.names.insert(name, sum);
                Ok(())
            }
            Statement::For(clause, body) => {
                for item in self.list(&clause.list)?.iter() {
                    self.assign(&clause.target, item.clone())?;
                    self.statements(body)?;
                }
                Ok(())
            }
        }
    }

    fn assign(&mut self, target: &At<Target<'t>>, value: Value) -> Result<(), Failure> {
        match &target.part {
            Target::Name(name) => {
                self.names.insert(name, value);
                Ok(())
            }
            Target::Tuple(targets) => match value {
                Value::List(values) if values.len() == targets.len() => targets
                    .iter()
                    .zip(values.iter())
                    .try_for_each(|(target, value)| self.assign(target, value.clone())),
                _ => Err((target.place.clone(), format!("there are not {} values here", targets.len()))),
            },
        }
    }

    fn name(&self, name: &str, place: &Range<usize>) -> Result<Value, Failure> {
        self.names.get(name).cloned().ok_or_else(|| {
            (place.clone(), format!("the name `{}` stands for nothing", crate::problem::shown(name)))
        })
    }

    fn value(&mut self, expression: &At<Expression<'t>>) -> Result<Value, Failure> {
        let place = &expression.place;
        self.step(place)?;
        match &expression.part {
            Expression::Text(text) => {
                self.make(place, text.len())?;
                Ok(Value::Text(Rc::clone(text)))
            }
            Expression::Number => Ok(Value::Number),
            Expression::Constant => Ok(Value::Constant),
            Expression::Name(name) => self.name(name, place),
            Expression::List(items) => {
                self.make(place, items.len())?;
                let values: Result<Vec<Value>, Failure> = items.iter().map(|item| self.value(item)).collect();
                Ok(Value::List(values?.into()))
            }
            Expression::Sum(terms) => {
                let mut sum = None;
                for term in terms {
                    let value = self.value(term)?;
                    sum = Some(match sum {
                        None => value,
                        Some(before) => self.add(&before, &value, &(place.start..term.place.end))?,
                    });
                }
                Ok(sum.unwrap_or(Value::Constant))
            }
            Expression::Comprehension(item, clauses) => {
                let mut values = Vec::new();
                self.comprehend(item, clauses, &mut values)?;
                Ok(Value::List(values.into()))
            }
            Expression::Call(function, arguments) => {
                let arguments = self.arguments(arguments)?;
                self.rules.call(function, arguments, place.clone())?;
                Ok(Value::Constant)
            }
        }
    }

    fn add(&mut self, left: &Value, right: &Value, place: &Range<usize>) -> Result<Value, Failure> {
        match (left, right) {
            (Value::Text(left), Value::Text(right)) => {
                self.make(place, left.len() + right.len())?;
                Ok(Value::Text(format!("{left}{right}").into()))
            }
            (Value::List(left), Value::List(right)) => {
                self.make(place, left.len() + right.len())?;
                Ok(Value::List(left.iter().chain(right.iter()).cloned().collect()))
            }
            _ => Err((place.clone(), format!("a {} and a {} cannot be added", left.kind(), right.kind()))),
        }
    }

    fn list(&mut self, expression: &At<Expression<'t>>) -> Result<Rc<[Value]>, Failure> {
        match self.value(expression)? {
            Value::List(values) => Ok(values),
            other => Err((expression.place.clone(), format!("a {} cannot be gone through", other.kind()))),
        }
    }

    fn comprehend(
        &mut self,
        item: &At<Expression<'t>>,
        clauses: &[Clause<'t>],
        values: &mut Vec<Value>,
    ) -> Result<(), Failure> {
        let Some((first, rest)) = clauses.split_first() else {
            self.make(&item.place, 1)?;
            values.push(self.value(item)?);
            return Ok(());
        };
        for value in self.list(&first.list)?.iter() {
            self.assign(&first.target, value.clone())?;
            self.comprehend(item, rest, values)?;
        }
        Ok(())
    }

    fn arguments(&mut self, given: &[Argument<'t>]) -> Result<Arguments, Failure> {
        let mut arguments = Arguments::default();
        for Argument { name, value } in given {
            let placed = (value.place.clone(), self.value(value)?);
            match name {
                None => arguments.positional.push(placed),
                Some(name) => arguments.named.push((name.part.to_owned(), name.place.clone(), placed)),
            }
        }
        Ok(arguments)
    }
}
