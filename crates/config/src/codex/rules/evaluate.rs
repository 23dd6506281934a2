//! Evaluates a rule file. Every step and every byte made is counted.

use std::collections::HashMap;
use std::ops::Range;
use std::rc::Rc;

use starlark_syntax::codemap::Span;
use starlark_syntax::syntax::ast::{
    Argument, AssignOp, AssignTarget, AstArgument, AstAssignTarget, AstExpr, AstLiteral, AstStmt, BinOp,
    Clause, Expr, ForClause, Stmt,
};

use super::builtins::{Arguments, Rules};

/// No real file comes near: a rule with examples takes some fifty steps.
const MOST_STEPS: usize = 1_000_000;

/// Bytes of texts and entries of lists that are put together.
const MOST_MADE: usize = 8 * 1024 * 1024;

/// Where something is wrong, and what.
pub(super) type Failure = (Range<usize>, String);

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

pub(super) fn range(span: Span) -> Range<usize> {
    span.begin().get() as usize..span.end().get() as usize
}

/// Runs a whole file.
pub(super) fn run(module: &AstStmt, rules: &mut Rules) -> Result<(), Failure> {
    let mut run = Run { rules, names: HashMap::new(), steps: 0, made: 0 };
    run.statement(module)
}

struct Run<'r> {
    rules: &'r mut Rules,
    names: HashMap<String, Value>,
    steps: usize,
    made: usize,
}

impl Run<'_> {
    fn step(&mut self, span: Span) -> Result<(), Failure> {
        self.steps += 1;
        if self.steps > MOST_STEPS {
            return Err((range(span), format!("the file takes more than {MOST_STEPS} steps")));
        }
        Ok(())
    }

    fn make(&mut self, span: Span, size: usize) -> Result<(), Failure> {
        self.made = self.made.saturating_add(size);
        if self.made > MOST_MADE {
            return Err((range(span), format!("the file makes more than {MOST_MADE} bytes of values")));
        }
        Ok(())
    }

    fn statement(&mut self, statement: &AstStmt) -> Result<(), Failure> {
        self.step(statement.span)?;
        match &statement.node {
            Stmt::Statements(statements) => statements.iter().try_for_each(|inner| self.statement(inner)),
            Stmt::Pass => Ok(()),
            Stmt::Expression(expression) => self.value(expression).map(drop),
            Stmt::Assign(assign) => {
                let value = self.value(&assign.rhs)?;
                self.assign(&assign.lhs, value)
            }
            Stmt::AssignModify(target, AssignOp::Add, expression) => {
                let AssignTarget::Identifier(name) = &target.node else { return unsupported(target.span) };
                let before = self.name(&name.node.ident, target.span)?;
                let after = self.value(expression)?;
                let sum = self.add(&before, &after, statement.span)?;
                self.assign(target, sum)
            }
            Stmt::For(repeat) => {
                for item in self.list(&repeat.over)?.iter() {
                    self.assign(&repeat.var, item.clone())?;
                    self.statement(&repeat.body)?;
                }
                Ok(())
            }
            _ => unsupported(statement.span),
        }
    }

    fn assign(&mut self, target: &AstAssignTarget, value: Value) -> Result<(), Failure> {
        match &target.node {
            AssignTarget::Identifier(name) => {
                self.names.insert(name.node.ident.clone(), value);
                Ok(())
            }
            AssignTarget::Tuple(targets) => match value {
                Value::List(values) if values.len() == targets.len() => targets
                    .iter()
                    .zip(values.iter())
                    .try_for_each(|(target, value)| self.assign(target, value.clone())),
                _ => Err((range(target.span), format!("there are not {} values here", targets.len()))),
            },
            AssignTarget::Index(_) | AssignTarget::Dot(..) => unsupported(target.span),
        }
    }

    fn name(&self, name: &str, span: Span) -> Result<Value, Failure> {
        match name {
            "None" | "True" | "False" => Ok(Value::Constant),
            _ => self.names.get(name).cloned().ok_or_else(|| {
                (range(span), format!("the name `{}` stands for nothing", crate::problem::shown(name)))
            }),
        }
    }

    fn value(&mut self, expression: &AstExpr) -> Result<Value, Failure> {
        self.step(expression.span)?;
        match &expression.node {
            Expr::Literal(AstLiteral::String(text)) => {
                self.make(expression.span, text.node.len())?;
                Ok(Value::Text(text.node.as_str().into()))
            }
            Expr::Literal(AstLiteral::Int(_)) => Ok(Value::Number),
            Expr::Identifier(name) => self.name(&name.node.ident, expression.span),
            Expr::List(items) => {
                self.make(expression.span, items.len())?;
                let values: Result<Vec<Value>, Failure> = items.iter().map(|item| self.value(item)).collect();
                Ok(Value::List(values?.into()))
            }
            Expr::Op(left, BinOp::Add, right) => {
                let (left, right) = (self.value(left)?, self.value(right)?);
                self.add(&left, &right, expression.span)
            }
            Expr::ListComprehension(item, first, clauses) => {
                let mut values = Vec::new();
                self.comprehend(item, first, clauses, &mut values)?;
                Ok(Value::List(values.into()))
            }
            Expr::Call(callee, arguments) => {
                let Expr::Identifier(name) = &callee.node else { return unsupported(callee.span) };
                let arguments = self.arguments(&arguments.args)?;
                self.rules.call(&name.node.ident, arguments, range(expression.span))?;
                Ok(Value::Constant)
            }
            _ => unsupported(expression.span),
        }
    }

    fn add(&mut self, left: &Value, right: &Value, span: Span) -> Result<Value, Failure> {
        match (left, right) {
            (Value::Text(left), Value::Text(right)) => {
                self.make(span, left.len() + right.len())?;
                Ok(Value::Text(format!("{left}{right}").into()))
            }
            (Value::List(left), Value::List(right)) => {
                self.make(span, left.len() + right.len())?;
                Ok(Value::List(left.iter().chain(right.iter()).cloned().collect()))
            }
            _ => Err((range(span), format!("a {} and a {} cannot be added", left.kind(), right.kind()))),
        }
    }

    fn list(&mut self, expression: &AstExpr) -> Result<Rc<[Value]>, Failure> {
        match self.value(expression)? {
            Value::List(values) => Ok(values),
            other => Err((range(expression.span), format!("a {} cannot be gone through", other.kind()))),
        }
    }

    fn comprehend(
        &mut self,
        item: &AstExpr,
        first: &ForClause,
        rest: &[Clause],
        values: &mut Vec<Value>,
    ) -> Result<(), Failure> {
        for value in self.list(&first.over)?.iter() {
            self.assign(&first.var, value.clone())?;
            match rest.split_first() {
                None => {
                    self.make(item.span, 1)?;
                    let value = self.value(item)?;
                    values.push(value);
                }
                Some((Clause::For(next), rest)) => self.comprehend(item, next, rest, values)?,
                Some((Clause::If(condition), _)) => return unsupported(condition.span),
            }
        }
        Ok(())
    }

    fn arguments(&mut self, given: &[AstArgument]) -> Result<Arguments, Failure> {
        let mut arguments = Arguments::default();
        for argument in given {
            match &argument.node {
                Argument::Positional(value) => {
                    let at = range(value.span);
                    arguments.positional.push((at, self.value(value)?));
                }
                Argument::Named(name, value) => {
                    let at = range(value.span);
                    arguments.named.push((name.node.clone(), range(name.span), (at, self.value(value)?)));
                }
                Argument::Args(value) | Argument::KwArgs(value) => return unsupported(value.span),
            }
        }
        Ok(arguments)
    }
}

fn unsupported<T>(span: Span) -> Result<T, Failure> {
    let message = "this is not supported in rule files; write strings, lists, names, `+` and `for`";
    Err((range(span), message.to_owned()))
}
