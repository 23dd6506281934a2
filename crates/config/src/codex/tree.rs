//! The layers of Codex's settings as one tree, in which every value knows its place.
//!
//! Tables are merged key by key, anything else is replaced by the stronger layer, as in Codex.

use std::ops::Range;
use std::path::PathBuf;

use indexmap::IndexMap;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::problem::Report;

/// A file that was read.
#[derive(Debug)]
pub(super) struct Layer {
    pub(super) path: PathBuf,
    pub(super) text: String,
    pub(super) sha256: String,
}

/// Where a value stands.
#[derive(Debug, Clone)]
pub(super) struct Place {
    /// Which layer, from the weakest.
    pub(super) layer: usize,
    pub(super) range: Range<usize>,
}

#[derive(Debug, Clone)]
pub(super) struct Value {
    pub(super) place: Place,
    pub(super) node: Node,
}

#[derive(Debug, Clone)]
pub(super) enum Node {
    Text(String),
    /// `None` when it does not fit.
    Integer(Option<i64>),
    Float(f64),
    Truth(bool),
    Datetime,
    List(Vec<Value>),
    Table(Table),
}

pub(super) type Table = IndexMap<String, Value>;

impl Node {
    pub(super) const fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) => "string",
            Self::Integer(_) => "integer",
            Self::Float(_) => "float",
            Self::Truth(_) => "boolean",
            Self::Datetime => "datetime",
            Self::List(_) => "array",
            Self::Table(_) => "table",
        }
    }
}

/// Reads a file's text; what is not TOML is reported.
pub(super) fn parse(layer: usize, report: &Report<'_>) -> Table {
    match DeTable::parse(report.text()) {
        Ok(table) => convert_table(layer, table.into_inner()),
        Err(error) => {
            report.add(error.span().unwrap_or(0..0), format!("not valid TOML: {}", error.message()));
            Table::new()
        }
    }
}

fn convert_table(layer: usize, table: DeTable<'_>) -> Table {
    table.into_iter().map(|(key, value)| (key.into_inner().into_owned(), convert(layer, value))).collect()
}

fn convert(layer: usize, value: Spanned<DeValue<'_>>) -> Value {
    let place = Place { layer, range: value.span() };
    let node = match value.into_inner() {
        DeValue::String(text) => Node::Text(text.into_owned()),
        DeValue::Integer(integer) => {
            Node::Integer(i64::from_str_radix(&integer.as_str().replace('_', ""), integer.radix()).ok())
        }
        DeValue::Float(float) => Node::Float(float.as_str().parse().unwrap_or(f64::NAN)),
        DeValue::Boolean(truth) => Node::Truth(truth),
        DeValue::Datetime(_) => Node::Datetime,
        DeValue::Array(list) => Node::List(list.into_iter().map(|value| convert(layer, value)).collect()),
        DeValue::Table(table) => Node::Table(convert_table(layer, table)),
    };
    Value { place, node }
}

/// Lays a stronger table over a weaker one.
pub(super) fn merge(weaker: &mut Table, stronger: Table) {
    for (key, value) in stronger {
        match (weaker.get_mut(&key), value) {
            (Some(Value { node: Node::Table(below), .. }), Value { node: Node::Table(above), .. }) => {
                merge(below, above);
            }
            (_, value) => {
                weaker.insert(key, value);
            }
        }
    }
}
