//! Reads typed values out of the merged tree; problems and places are kept on the way.

use std::cell::RefCell;
use std::path::Path;
use std::time::Duration;

use indexmap::IndexMap;

use super::tree::{Layer, Node, Place, Table, Value};
use super::{ExplainedKey, SecretText};
use crate::problem::{FileText, MOST_PROBLEMS, Problem, did_you_mean, shown};
use crate::settings::Source;

/// What one reading collects.
pub(super) struct Reader<'r> {
    layers: &'r [Layer],
    problems: RefCell<Vec<Problem>>,
    omitted: RefCell<usize>,
    explained: RefCell<Vec<ExplainedKey>>,
}

impl<'r> Reader<'r> {
    pub(super) fn new(layers: &'r [Layer]) -> Self {
        Self {
            layers,
            problems: RefCell::default(),
            omitted: RefCell::default(),
            explained: RefCell::default(),
        }
    }

    pub(super) fn layer(&self, place: &Place) -> &'r Layer {
        &self.layers[place.layer]
    }

    pub(super) fn problem(&self, place: &Place, message: impl Into<String>, suggestion: Option<String>) {
        let mut problems = self.problems.borrow_mut();
        if problems.len() == MOST_PROBLEMS {
            *self.omitted.borrow_mut() += 1;
            return;
        }
        let Layer { path, text, .. } = self.layer(place);
        problems.push(FileText { file: path, text }.problem(place.range.clone(), message, suggestion));
    }

    fn explain(&self, key: &str, value: String, place: &Place) {
        let source = self.source(place);
        self.explained.borrow_mut().push(ExplainedKey { key: key.to_owned(), value, source });
    }

    pub(super) fn source(&self, place: &Place) -> Source {
        let Layer { path, text, .. } = self.layer(place);
        let end = text.floor_char_boundary(place.range.start);
        Source::UserFile { path: path.clone(), line: text[..end].matches('\n').count() + 1 }
    }

    pub(super) fn finish(self) -> Result<Vec<ExplainedKey>, (Vec<Problem>, usize)> {
        let problems = self.problems.into_inner();
        if problems.is_empty() {
            Ok(self.explained.into_inner())
        } else {
            Err((problems, self.omitted.into_inner()))
        }
    }
}

/// A table of the tree with the way to it.
#[derive(Clone, Copy)]
pub(super) struct Scope<'r, 't> {
    pub(super) reader: &'t Reader<'r>,
    pub(super) table: &'t Table,
    prefix: &'t str,
}

impl<'r, 't> Scope<'r, 't> {
    pub(super) fn top(reader: &'t Reader<'r>, table: &'t Table) -> Self {
        Self { reader, table, prefix: "" }
    }

    pub(super) fn within(self, table: &'t Table, prefix: &'t str) -> Self {
        Self { table, prefix, ..self }
    }

    pub(super) fn name(&self, key: &str) -> String {
        if self.prefix.is_empty() { key.to_owned() } else { format!("{}.{key}", self.prefix) }
    }

    pub(super) fn get(&self, key: &str) -> Option<&'t Value> {
        self.table.get(key)
    }

    pub(super) fn wrong(&self, key: &str, value: &Value, wanted: &str) {
        let message = format!("`{}` must be {wanted}, not of type {}", self.name(key), value.node.kind());
        self.reader.problem(&value.place, message, None);
    }

    /// Remembers where a key was decided; the value is shown to people.
    pub(super) fn decided(&self, key: &str, value: impl Into<String>, place: &Place) {
        self.reader.explain(&self.name(key), value.into(), place);
    }

    pub(super) fn text(&self, key: &str) -> Option<String> {
        let value = self.get(key)?;
        let Node::Text(text) = &value.node else {
            self.wrong(key, value, "a string");
            return None;
        };
        self.decided(key, format!("\"{}\"", shown(text)), &value.place);
        Some(text.clone())
    }

    pub(super) fn truth(&self, key: &str) -> Option<bool> {
        let value = self.get(key)?;
        let Node::Truth(truth) = value.node else {
            self.wrong(key, value, "true or false");
            return None;
        };
        self.decided(key, truth.to_string(), &value.place);
        Some(truth)
    }

    pub(super) fn count(&self, key: &str) -> Option<u64> {
        let value = self.get(key)?;
        match &value.node {
            Node::Integer(Some(number)) if *number >= 0 => {
                self.decided(key, number.to_string(), &value.place);
                u64::try_from(*number).ok()
            }
            _ => {
                self.wrong(key, value, "a whole number that is not negative");
                None
            }
        }
    }

    /// Seconds, with or without a fraction.
    pub(super) fn seconds(&self, key: &str) -> Option<Duration> {
        let value = self.get(key)?;
        let duration = match &value.node {
            Node::Integer(Some(number)) => u64::try_from(*number).ok().map(Duration::from_secs),
            Node::Float(number) => Duration::try_from_secs_f64(*number).ok(),
            _ => None,
        };
        match duration {
            Some(duration) => self.decided(key, format!("{}s", duration.as_secs_f64()), &value.place),
            None => self.wrong(key, value, "seconds"),
        }
        duration
    }

    pub(super) fn texts(&self, key: &str) -> Option<Vec<String>> {
        let value = self.get(key)?;
        let texts = self.list_of_texts(key, value)?;
        let count = if texts.len() == 1 { "1 entry".to_owned() } else { format!("{} entries", texts.len()) };
        self.decided(key, count, &value.place);
        Some(texts)
    }

    fn list_of_texts(&self, key: &str, value: &Value) -> Option<Vec<String>> {
        let Node::List(list) = &value.node else {
            self.wrong(key, value, "a list of strings");
            return None;
        };
        let text = |item: &Value| {
            let Node::Text(text) = &item.node else {
                self.wrong(key, item, "a list of strings");
                return None;
            };
            Some(text.clone())
        };
        list.iter().map(text).collect()
    }

    /// A table of strings whose values nobody needs to see.
    pub(super) fn secrets(&self, key: &str) -> IndexMap<String, SecretText> {
        let Some((table, prefix)) = self.table(key) else { return IndexMap::new() };
        let scope = self.within(table, &prefix);
        let mut texts = IndexMap::new();
        for (name, value) in table {
            match &value.node {
                Node::Text(text) => {
                    scope.decided(name, "****", &value.place);
                    texts.insert(name.clone(), SecretText::new(text.clone()));
                }
                _ => scope.wrong(name, value, "a string"),
            }
        }
        texts
    }

    /// A table below this one, and the way to it.
    pub(super) fn table(&self, key: &str) -> Option<(&'t Table, String)> {
        let value = self.get(key)?;
        let Node::Table(table) = &value.node else {
            self.wrong(key, value, "a table");
            return None;
        };
        Some((table, self.name(key)))
    }

    /// One of the known words.
    pub(super) fn one_of<T: Copy>(&self, key: &str, known: &[(&str, T)]) -> Option<T> {
        let value = self.get(key)?;
        let Node::Text(text) = &value.node else {
            self.wrong(key, value, "a string");
            return None;
        };
        let found = known.iter().find(|(word, _)| word == text);
        match found {
            Some((word, _)) => self.decided(key, *word, &value.place),
            None => self.unknown(key, value, text, known.iter().map(|(word, _)| *word)),
        }
        found.map(|(_, meaning)| *meaning)
    }

    pub(super) fn unknown<'k>(
        &self,
        key: &str,
        value: &Value,
        text: &str,
        known: impl IntoIterator<Item = &'k str> + Clone,
    ) {
        let message = format!("`{}` cannot be `{}`", self.name(key), shown(text));
        let allowed: Vec<&str> = known.clone().into_iter().collect();
        let allowed = format!("known are `{}`", allowed.join("`, `"));
        let suggestion = did_you_mean(text, known).filter(|suggestion| suggestion.starts_with("did"));
        let suggestion = suggestion.map_or_else(|| allowed.clone(), |slip| format!("{slip} {allowed}"));
        self.reader.problem(&value.place, message, Some(suggestion));
    }
}

/// Takes a path of a settings file: absolute, below the home folder, or beside the file.
pub(super) fn resolve_path(text: &str, home: Option<&Path>, beside: &Path) -> Option<String> {
    let path = match (text.strip_prefix("~/"), home) {
        (Some(rest), Some(home)) => home.join(rest),
        (Some(_), None) => return None,
        (None, _) if text == "~" => home?.to_owned(),
        (None, _) => beside.join(text),
    };
    path.is_absolute().then(|| path.to_str().map(str::to_owned)).flatten()
}
