//! The guard: rules compiled once and shared by all streams. Owns them and the counts over everything.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;

use crate::assigned;
use crate::known::Known;
use crate::mark::{self, Marks};
use crate::names::{self, Strength};
use crate::patterns::{Allowed, Patterns};
use crate::redactor::Redactor;
use crate::scanner::Rules;
use crate::settings::{GuardError, GuardSettings, Kind, Mode};
use crate::values::Values;

/// How deep a JSON value is looked into; what lies deeper is withheld whole.
const DEEPEST: usize = 128;
/// The rule that withholds what lies too deep.
const TOO_DEEP: &str = "too-deep";

/// Finds secrets and takes them out; cheap to clone, shared between threads.
///
/// Redacting what was redacted by the same guard changes nothing. Only what a guard recognises is found: a secret
/// in no known format, named by nobody and assigned to no telling name, passes.
#[derive(Debug, Clone)]
pub struct Guard {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    mode: Mode,
    rules: Rules,
    counts: Mutex<BTreeMap<String, u64>>,
}

impl Guard {
    /// Compiles a guard.
    ///
    /// # Errors
    /// [`GuardError`] names the pattern or value that cannot be used; it never quotes a value.
    pub fn new(settings: &GuardSettings) -> Result<Self, GuardError> {
        let named = settings.checked_values()?;
        let user = settings.patterns.iter().map(|pattern| pattern.name.clone());
        let built_in = Known::rules().chain([TOO_DEEP]).map(str::to_owned);
        let marks = Marks::new(user.chain(named.iter().map(|value| value.name().to_owned())).chain(built_in));
        let known = Known::new(marks);
        let values = if named.is_empty() {
            None
        } else {
            Some(Values::new(&named).map_err(|source| GuardError::Values { source: Box::new(source) })?)
        };
        let patterns = Patterns::new(&settings.patterns)?;
        let allowed = Allowed::new(&settings.allowed)?;
        let rules = Rules { known, patterns, values, allowed };
        Ok(Self { inner: Arc::new(Inner { mode: settings.mode, rules, counts: Mutex::default() }) })
    }

    /// Begins to redact a stream.
    pub fn stream(&self, kind: Kind) -> Redactor {
        Redactor::new(self.clone(), kind)
    }

    /// Whether secrets are looked for, and what happens to them.
    pub fn mode(&self) -> Mode {
        self.inner.mode
    }

    /// How many secrets were found in all streams, texts and values so far, by the name of the rule.
    pub fn counts(&self) -> BTreeMap<String, u64> {
        self.inner.counts.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Redacts a whole text; borrows it if nothing is to be taken out.
    pub fn redact_text<'t>(&self, text: &'t str) -> Cow<'t, str> {
        if self.mode() == Mode::Off {
            return Cow::Borrowed(text);
        }
        let mut redactor = self.stream(Kind::Output);
        let (mut out, mut end) = (Vec::new(), Vec::new());
        let unchanged = redactor.pass(text.as_bytes(), &mut out);
        redactor.finish(&mut end);
        if redactor.counts().is_empty() || self.mode() == Mode::Shadow {
            return Cow::Borrowed(text);
        }
        out.extend_from_slice(unchanged);
        out.append(&mut end);
        // A pattern over single bytes may have cut a letter in two.
        Cow::Owned(
            String::from_utf8(out)
                .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()),
        )
    }

    /// Redacts all texts within a JSON value, object keys included.
    ///
    /// The text under a key such as `password` is withheld whatever it looks like. What lies deeper than 128 levels
    /// is withheld whole.
    pub fn redact_json(&self, value: &mut Value) {
        if self.mode() != Mode::Off {
            self.redact_value(value, None, DEEPEST);
        }
    }

    /// Redacts a command line for display; `--password` hides the argument that follows.
    pub fn redact_argv<S: AsRef<str>>(&self, argv: &[S]) -> Vec<String> {
        let mut named: Option<Strength> = None;
        let redact = |argument: &S| {
            let argument = argument.as_ref();
            let name = named.take();
            let flag = argument.starts_with('-');
            if flag && !argument.contains('=') {
                named = names::strength_of(argument.trim_start_matches('-'));
            }
            let name = name.filter(|_| !flag);
            self.redact_named(argument, name).into_owned()
        };
        argv.iter().map(redact).collect()
    }

    fn redact_value(&self, value: &mut Value, name: Option<Strength>, depth: usize) {
        let Some(depth) = depth.checked_sub(1) else {
            if value.is_array() || value.is_object() || value.is_string() {
                self.count(TOO_DEEP);
                if self.mode() == Mode::Enforce {
                    *value = Value::String(marked(TOO_DEEP));
                }
            }
            return;
        };
        match value {
            Value::String(text) => {
                if let Cow::Owned(redacted) = self.redact_named(text, name) {
                    *text = redacted;
                }
            }
            Value::Array(values) => values.iter_mut().for_each(|value| self.redact_value(value, name, depth)),
            Value::Object(members) => {
                for (key, value) in members.iter_mut() {
                    self.redact_value(value, names::strength_of(key), depth);
                }
                let clear = |key: &String| matches!(self.redact_text(key), Cow::Borrowed(_));
                if !members.keys().all(clear) {
                    let renamed = std::mem::take(members);
                    members.extend(
                        renamed.into_iter().map(|(key, value)| (self.redact_text(&key).into_owned(), value)),
                    );
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    /// Redacts the value of a variable: under a name such as `API_TOKEN` it is withheld whatever it looks like.
    pub fn redact_variable<'t>(&self, name: &str, value: &'t str) -> Cow<'t, str> {
        self.redact_named(value, names::strength_of(name))
    }

    /// Redacts a text that stands under a name.
    fn redact_named<'t>(&self, text: &'t str, name: Option<Strength>) -> Cow<'t, str> {
        let bytes = text.as_bytes();
        let secret = match name {
            Some(Strength::Plain) => !bytes.is_empty(),
            Some(Strength::Vague) => assigned::is_random(bytes),
            None => false,
        };
        let plain = assigned::is_reference(bytes)
            || assigned::is_masked(bytes)
            || self.inner.rules.allowed.passes(bytes);
        if self.mode() == Mode::Off || !secret || plain {
            return self.redact_text(text);
        }
        self.count(assigned::RULE);
        if self.mode() == Mode::Enforce { Cow::Owned(marked(assigned::RULE)) } else { Cow::Borrowed(text) }
    }

    pub(crate) fn rules(&self) -> &Rules {
        &self.inner.rules
    }

    pub(crate) fn count(&self, rule: &str) {
        let mut counts = self.inner.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(rule) {
            *count += 1;
        } else {
            counts.insert(rule.to_owned(), 1);
        }
    }
}

fn marked(rule: &str) -> String {
    let mut mark = Vec::new();
    mark::write(rule, &mut mark);
    String::from_utf8_lossy(&mark).into_owned()
}
