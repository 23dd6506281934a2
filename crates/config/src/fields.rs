//! Typed reading of one JSON object against its table of keys.
//!
//! Opening an object checks every key and every value and reports each problem at its place;
//! after that the getters are silent: a value that was reported reads as absent.

use std::collections::HashSet;
use std::path::{Component, Path};
use std::time::Duration;

use co_model::{CommandLine, DurationText, PipelineId, StageId, StageSession};
use indexmap::IndexMap;
use jsonc_parser::ast::{Object, ObjectProp, Value};
use jsonc_parser::common::{Range, Ranged as _};

use crate::keys::{ACP, AGENTS, Key, SESSION_KEYS, Shape, snake_case, spellings};
use crate::problem::{Report, did_you_mean, shown};

/// A value and where it stands.
#[derive(Debug, Clone)]
pub(crate) struct Spanned<T> {
    pub(crate) value: T,
    pub(crate) range: Range,
}

/// An object whose keys and values were checked.
pub(crate) struct Fields<'a, 'd> {
    object: &'d Object<'a>,
    keys: &'static [&'static [Key]],
}

impl<'a, 'd> Fields<'a, 'd> {
    /// Checks `object` against `keys`; `place` completes "unknown key … in".
    ///
    /// `stranger` words the problem of a key that is not in the table.
    pub(crate) fn open(
        object: &'d Object<'a>,
        keys: &'static [&'static [Key]],
        place: &str,
        report: &Report<'_>,
        stranger: impl Fn(&str) -> Option<(String, Option<String>)>,
    ) -> Self {
        let mut seen: HashSet<&'static str> = HashSet::new();
        for property in &object.properties {
            let written = property.name.as_str();
            let Some(key) = find(keys, written) else {
                let (message, suggestion) = stranger(written)
                    .unwrap_or_else(|| (format!("unknown key `{}` in {place}", shown(written)), None));
                report.add_with(name_range(property), message, || {
                    suggestion.or_else(|| suggest_key(keys, written))
                });
                continue;
            };
            if !seen.insert(key.name) {
                let message = if written == key.name {
                    format!("key `{written}` appears twice in {place}")
                } else {
                    format!("key `{written}` says the same as an earlier `{}` in {place}", key.name)
                };
                report.add(name_range(property), message);
                continue;
            }
            check(&key.shape, &property.value, &format!("`{written}` of {place}"), report);
        }
        Self { object, keys }
    }

    /// The value of a key, by its name in the table.
    pub(crate) fn value(&self, name: &str) -> Option<&'d Value<'a>> {
        let wanted = self.keys.iter().copied().flatten().find(|key| key.name == name)?;
        self.object
            .properties
            .iter()
            .find(|property| {
                find(self.keys, property.name.as_str()).is_some_and(|key| key.name == wanted.name)
            })
            .map(|property| &property.value)
    }

    pub(crate) fn range(&self, name: &str) -> Option<Range> {
        self.value(name).map(Value::range)
    }

    /// A text; blank ones were reported where the key must say something.
    pub(crate) fn text(&self, name: &str) -> Option<String> {
        text(self.value(name)?).map(str::to_owned)
    }

    pub(crate) fn boolean(&self, name: &str) -> Option<bool> {
        boolean(self.value(name)?)
    }

    pub(crate) fn count(&self, name: &str) -> Option<u64> {
        count(self.value(name)?)
    }

    pub(crate) fn duration(&self, name: &str) -> Option<Duration> {
        text(self.value(name)?)?.parse::<DurationText>().ok().map(|text| text.0)
    }

    pub(crate) fn texts(&self, name: &str) -> Option<Vec<String>> {
        let array = self.value(name)?.as_array()?;
        Some(array.elements.iter().filter_map(|value| text(value).map(str::to_owned)).collect())
    }

    pub(crate) fn pipeline_id(&self, name: &str) -> Option<Spanned<PipelineId>> {
        let value = self.value(name)?;
        Some(Spanned { value: PipelineId::new(text(value)?).ok()?, range: value.range() })
    }

    pub(crate) fn stage_id(&self, name: &str) -> Option<Spanned<StageId>> {
        stage_id(self.value(name)?)
    }

    pub(crate) fn stage_ids(&self, name: &str) -> Option<Vec<Spanned<StageId>>> {
        Some(self.value(name)?.as_array()?.elements.iter().filter_map(stage_id).collect())
    }

    pub(crate) fn command(&self, name: &str) -> Option<CommandLine> {
        match self.value(name)? {
            Value::Array(_) => self.texts(name).filter(|argv| !argv.is_empty()).map(CommandLine::Argv),
            value => text(value).map(|line| CommandLine::Shell(line.to_owned())),
        }
    }

    pub(crate) fn text_map(&self, name: &str) -> Option<IndexMap<String, Spanned<String>>> {
        let properties = &self.value(name)?.as_object()?.properties;
        Some(
            properties
                .iter()
                .filter_map(|property| {
                    let value = text(&property.value)?.to_owned();
                    let range = property.value.range();
                    Some((property.name.as_str().to_owned(), Spanned { value, range }))
                })
                .collect(),
        )
    }

    pub(crate) fn exit_codes(&self, name: &str) -> Option<Vec<i32>> {
        let elements = &self.value(name)?.as_array()?.elements;
        Some(elements.iter().filter_map(|value| i32::try_from(count(value)?).ok()).collect())
    }

    /// An object below a key, already checked with this one.
    /// A live session: a name alone, or an object. What is wrong with it was reported.
    pub(crate) fn session(&self, name: &str) -> Option<StageSession> {
        let value = self.value(name)?;
        let mut session = StageSession { id: "default".to_owned(), reuse: true, persist: false };
        if let Some(object) = value.as_object() {
            let fields = Fields { object, keys: &[SESSION_KEYS] };
            session.id = fields.text("id").unwrap_or(session.id);
            session.reuse = fields.boolean("reuse").unwrap_or(session.reuse);
            session.persist = fields.boolean("persist").unwrap_or(session.persist);
        } else {
            text(value)?.clone_into(&mut session.id);
        }
        Some(session)
    }

    pub(crate) fn object(&self, name: &str) -> Option<Fields<'a, 'd>> {
        let key = self.keys.iter().copied().flatten().find(|key| key.name == name)?;
        let Shape::Object(keys) = &key.shape else { return None };
        Some(Fields { object: self.value(name)?.as_object()?, keys: std::slice::from_ref(keys) })
    }
}

fn find(keys: &'static [&'static [Key]], written: &str) -> Option<&'static Key> {
    let name = snake_case(written);
    keys.iter().copied().flatten().find(|key| key.name == name || key.also.contains(&name.as_str()))
}

fn suggest_key(keys: &'static [&'static [Key]], written: &str) -> Option<String> {
    let names: Vec<String> = keys.iter().copied().flatten().flat_map(spellings).collect();
    match crate::problem::closest(written, names.iter().map(String::as_str)) {
        Some(name) => Some(format!("did you mean `{name}`?")),
        None => did_you_mean(written, keys.iter().copied().flatten().map(|key| key.name)),
    }
}

pub(crate) fn name_range(property: &ObjectProp<'_>) -> Range {
    match &property.name {
        jsonc_parser::ast::ObjectPropName::String(name) => name.range,
        jsonc_parser::ast::ObjectPropName::Word(name) => name.range,
    }
}

fn text<'d>(value: &'d Value<'_>) -> Option<&'d str> {
    value.as_string_lit().map(|literal| literal.value.as_ref())
}

fn boolean(value: &Value<'_>) -> Option<bool> {
    value.as_boolean_lit().map(|literal| literal.value)
}

/// A whole number that is not negative.
fn count(value: &Value<'_>) -> Option<u64> {
    value.as_number_lit()?.value.parse().ok()
}

fn stage_id(value: &Value<'_>) -> Option<Spanned<StageId>> {
    Some(Spanned { value: StageId::new(text(value)?).ok()?, range: value.range() })
}

/// Names a value's type as a message needs it.
pub(crate) fn type_name(value: &Value<'_>) -> &'static str {
    match value {
        Value::StringLit(_) => "a string",
        Value::NumberLit(_) => "a number",
        Value::BooleanLit(_) => "true or false",
        Value::Object(_) => "an object",
        Value::Array(_) => "an array",
        Value::NullKeyword(_) => "null",
    }
}

fn expected(what: &str, wanted: &str, value: &Value<'_>, report: &Report<'_>) {
    report.add_with(value.range(), format!("{what} must be {wanted}, not {}", type_name(value)), || {
        if value.as_null_keyword().is_some() {
            return Some("leave the key out".to_owned());
        }
        // A number or truth value where a string is wanted is nearly always a missing pair of quotes.
        let scalar = value.as_number_lit().map(|number| number.value.to_owned());
        let scalar = scalar.or_else(|| boolean(value).map(|truth| truth.to_string()))?;
        let unit = if wanted.starts_with("a duration") { "s" } else { "" };
        wanted.contains("string").then(|| format!("write \"{}{unit}\"", shown(&scalar)))
    });
}

/// Reads a text or reports; a NUL can be in no argument, path or variable.
fn expect_text<'d>(what: &str, wanted: &str, value: &'d Value<'_>, report: &Report<'_>) -> Option<&'d str> {
    let Some(read) = text(value) else {
        expected(what, wanted, value, report);
        return None;
    };
    if read.contains('\0') {
        report.add(value.range(), format!("{what} contains a NUL character"));
        return None;
    }
    Some(read)
}

fn expect_saying<'d>(what: &str, value: &'d Value<'_>, report: &Report<'_>) -> Option<&'d str> {
    let read = expect_text(what, "a string", value, report)?;
    if read.trim().is_empty() {
        report.add(value.range(), format!("{what} is empty"));
        return None;
    }
    Some(read)
}

fn expect_object<'a, 'd>(what: &str, value: &'d Value<'a>, report: &Report<'_>) -> Option<&'d Object<'a>> {
    let object = value.as_object();
    if object.is_none() {
        expected(what, "an object", value, report);
    }
    object
}

fn expect_array<'a, 'd>(
    what: &str,
    wanted: &str,
    value: &'d Value<'a>,
    report: &Report<'_>,
) -> &'d [Value<'a>] {
    if let Some(array) = value.as_array() {
        return &array.elements;
    }
    expected(what, wanted, value, report);
    &[]
}

/// Reports everything that is wrong with one value.
fn check(shape: &'static Shape, value: &Value<'_>, what: &str, report: &Report<'_>) {
    match *shape {
        Shape::FreeText => {
            expect_text(what, "a string", value, report);
        }
        Shape::Text => {
            expect_saying(what, value, report);
        }
        Shape::Boolean => {
            if boolean(value).is_none() {
                expected(what, "true or false", value, report);
            }
        }
        Shape::Count { least, most } => check_count(least, most, value, what, report),
        Shape::Duration { zero } => check_duration(zero, value, what, report),
        Shape::Choice(words) => check_choice(words, value, what, report),
        Shape::Agent => check_agent(value, what, report),
        Shape::Texts => {
            for element in expect_array(what, "an array of strings", value, report) {
                expect_saying(&format!("an entry of {what}"), element, report);
            }
        }
        Shape::PipelineId => check_id(value, what, report, |id| PipelineId::new(id).map(drop)),
        Shape::StageId => check_id(value, what, report, |id| StageId::new(id).map(drop)),
        Shape::StageIds => check_stage_ids(value, what, report),
        Shape::Command => check_command(value, what, report),
        Shape::Environment => check_environment(value, what, report),
        Shape::Outputs => check_outputs(value, what, report),
        Shape::Inputs => check_inputs(value, what, report),
        Shape::ExitCodes => check_exit_codes(value, what, report),
        Shape::InnerPath => {
            if let Some(path) = expect_saying(what, value, report) {
                check_inner_path(path, value, what, "the repository", report);
            }
        }
        Shape::SessionId => check_session_id(value, what, report),
        Shape::Session if value.as_string_lit().is_some() => check_session_id(value, what, report),
        Shape::Session => match value.as_object() {
            Some(object) => {
                Fields::open(object, &[SESSION_KEYS], what, report, |_| None);
            }
            None => expected(what, "a string or an object", value, report),
        },
        Shape::Object(ref keys) => {
            if let Some(object) = expect_object(what, value, report) {
                Fields::open(object, std::slice::from_ref(keys), what, report, |_| None);
            }
        }
        Shape::Arguments => {
            if expect_object(what, value, report).is_some() {
                check_json(value, what, report);
            }
        }
        // Their readers check the elements.
        Shape::Stages | Shape::Pipelines => {
            expect_array(what, "an array", value, report);
        }
    }
}

/// Anything that JSON can say, as long as it says it once.
fn check_json(value: &Value<'_>, what: &str, report: &Report<'_>) {
    match value {
        Value::Object(object) => {
            let mut seen = HashSet::new();
            for property in &object.properties {
                let name = property.name.as_str();
                if !seen.insert(name) {
                    report
                        .add(name_range(property), format!("key `{}` appears twice in {what}", shown(name)));
                }
                check_json(&property.value, what, report);
            }
        }
        Value::Array(array) => array.elements.iter().for_each(|value| check_json(value, what, report)),
        Value::NumberLit(number) if json(value).is_none() => {
            let message =
                format!("{what} holds `{}`, a number that no program could read", shown(number.value));
            report.add(value.range(), message);
        }
        Value::NumberLit(_) | Value::StringLit(_) | Value::BooleanLit(_) | Value::NullKeyword(_) => {}
    }
}

/// A value as programs exchange it; `None` for a number that does not fit.
pub(crate) fn json(value: &Value<'_>) -> Option<serde_json::Value> {
    Some(match value {
        Value::StringLit(text) => text.value.as_ref().into(),
        Value::NumberLit(number) => serde_json::Value::Number(number.value.parse().ok()?),
        Value::BooleanLit(truth) => truth.value.into(),
        Value::NullKeyword(_) => serde_json::Value::Null,
        Value::Array(array) => {
            serde_json::Value::Array(array.elements.iter().map(json).collect::<Option<Vec<_>>>()?)
        }
        Value::Object(object) => {
            let fields = object.properties.iter();
            let fields = fields.map(|field| Some((field.name.as_str().to_owned(), json(&field.value)?)));
            serde_json::Value::Object(fields.collect::<Option<_>>()?)
        }
    })
}

fn check_session_id(value: &Value<'_>, what: &str, report: &Report<'_>) {
    let Some(read) = expect_saying(what, value, report) else { return };
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    let is_name = read.len() <= 64 && read.bytes().all(letter) && read != "." && read != "..";
    if !is_name {
        let message = format!("{what} is no name of a session: `{}`", shown(read));
        report.add_with(value.range(), message, || {
            Some("take 1 to 64 of the letters A-Z a-z, digits, `.`, `_` and `-`".to_owned())
        });
    }
}

fn check_count(least: u64, most: u64, value: &Value<'_>, what: &str, report: &Report<'_>) {
    if value.as_number_lit().is_none() {
        return expected(what, "a number", value, report);
    }
    if !count(value).is_some_and(|number| (least..=most).contains(&number)) {
        report.add(value.range(), format!("{what} must be a whole number from {least} to {most}"));
    }
}

fn check_duration(zero: bool, value: &Value<'_>, what: &str, report: &Report<'_>) {
    let Some(read) = expect_text(what, "a duration string such as \"1.5s\"", value, report) else { return };
    match read.parse::<DurationText>() {
        Err(_) => {
            report.add_with(value.range(), format!("{what} is not a duration: `{}`", shown(read)), || {
                Some("write a number with a unit, as in \"500ms\", \"1.5s\", \"10m\" or \"2h\"".to_owned())
            });
        }
        Ok(DurationText(duration)) if duration.is_zero() && !zero => {
            report.add_with(value.range(), format!("{what} is zero"), || {
                Some("leave the key out for no bound".to_owned())
            });
        }
        Ok(_) => {}
    }
}

fn check_choice(words: &'static [&'static str], value: &Value<'_>, what: &str, report: &Report<'_>) {
    let Some(read) = expect_text(what, "a string", value, report) else { return };
    if !words.contains(&read) {
        report.add_with(value.range(), format!("{what} cannot be `{}`", shown(read)), || {
            did_you_mean(read, words.iter().copied())
        });
    }
}

fn check_agent(value: &Value<'_>, what: &str, report: &Report<'_>) {
    let Some(read) = expect_text(what, "a string", value, report) else { return };
    match read.strip_prefix(ACP) {
        Some(command) if shlex::split(command).is_none_or(|words| words.is_empty()) => {
            report.add_with(value.range(), format!("{what} names no command after `{ACP}`"), || {
                Some(format!("write the command that starts the agent, as in \"{ACP}gemini --acp\""))
            });
        }
        None if !AGENTS.contains(&read) => {
            report.add_with(value.range(), format!("{what} cannot be `{}`", shown(read)), || {
                Some(format!("known are `{}` and `{ACP}<command>`", AGENTS.join("`, `")))
            });
        }
        _ => {}
    }
}

fn check_id(
    value: &Value<'_>,
    what: &str,
    report: &Report<'_>,
    parse: impl Fn(&str) -> Result<(), co_model::IdError>,
) {
    let Some(read) = text(value) else { return expected(what, "a string", value, report) };
    if let Err(error) = parse(read) {
        report.add(value.range(), error.to_string());
    }
}

fn check_stage_ids(value: &Value<'_>, what: &str, report: &Report<'_>) {
    let mut seen = HashSet::new();
    for element in expect_array(what, "an array of stage ids", value, report) {
        check_id(element, &format!("an entry of {what}"), report, |id| StageId::new(id).map(drop));
        if let Some(id) = text(element).filter(|id| !seen.insert(*id)) {
            report.add(element.range(), format!("{what} names `{}` twice", shown(id)));
        }
    }
}

fn check_command(value: &Value<'_>, what: &str, report: &Report<'_>) {
    let wanted = "a string or an array of strings";
    let Some(array) = value.as_array() else {
        if value.as_string_lit().is_some() {
            expect_saying(what, value, report);
        } else {
            expected(what, wanted, value, report);
        }
        return;
    };
    match array.elements.split_first() {
        None => report.add(value.range(), format!("{what} is empty")),
        Some((program, arguments)) => {
            expect_saying(&format!("the program in {what}"), program, report);
            for argument in arguments {
                expect_text(&format!("an argument in {what}"), "a string", argument, report);
            }
        }
    }
}

/// Checks an object of texts, each name once; returns what can be looked at further.
fn check_text_map<'d, 'a>(
    value: &'d Value<'a>,
    what: &str,
    report: &Report<'_>,
) -> Vec<(&'d ObjectProp<'a>, &'d str, &'d str)> {
    let mut seen = HashSet::new();
    let mut entries = Vec::new();
    for property in expect_object(what, value, report).map_or(&[][..], |object| &object.properties) {
        let name = property.name.as_str();
        if !seen.insert(name) {
            report.add(name_range(property), format!("{what} names `{}` twice", shown(name)));
        }
        let entry = format!("`{}` in {what}", shown(name));
        if let Some(read) = expect_text(&entry, "a string", &property.value, report) {
            entries.push((property, name, read));
        }
    }
    entries
}

fn check_environment(value: &Value<'_>, what: &str, report: &Report<'_>) {
    for (property, name, _) in check_text_map(value, what, report) {
        if name.is_empty() || name.contains(['=', '\0']) {
            report.add(
                name_range(property),
                format!(
                    "`{}` in {what} is not a variable name: it is empty or contains `=` or NUL",
                    shown(name)
                ),
            );
        }
    }
}

/// Names of inputs and outputs become parts of variable names and of `stage.output`.
fn check_port_name(property: &ObjectProp<'_>, name: &str, what: &str, report: &Report<'_>) {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    if name.is_empty() || name.len() > 64 || !name.chars().all(plain) {
        report.add(
            name_range(property),
            format!("`{}` in {what} is not a name: use up to 64 letters, digits, `_` and `-`", shown(name)),
        );
    }
}

fn check_outputs(value: &Value<'_>, what: &str, report: &Report<'_>) {
    for (property, name, path) in check_text_map(value, what, report) {
        check_port_name(property, name, what, report);
        let entry = format!("`{}` in {what}", shown(name));
        check_inner_path(path, &property.value, &entry, "the working directory", report);
    }
}

fn check_inner_path(path: &str, value: &Value<'_>, what: &str, folder: &str, report: &Report<'_>) {
    let mut depth = 0_i32;
    let mut leaves = false;
    for component in Path::new(path).components() {
        match component {
            Component::Normal(_) => depth += 1,
            Component::CurDir => {}
            Component::ParentDir => depth -= 1,
            Component::RootDir | Component::Prefix(_) => leaves = true,
        }
        leaves |= depth < 0;
    }
    if leaves {
        report.add(value.range(), format!("{what} leaves {folder}: `{}`", shown(path)));
    } else if depth == 0 {
        report.add(value.range(), format!("{what} names no file: `{}`", shown(path)));
    }
}

fn check_inputs(value: &Value<'_>, what: &str, report: &Report<'_>) {
    let mut variables: HashSet<String> = HashSet::new();
    for (property, name, reference) in check_text_map(value, what, report) {
        check_port_name(property, name, what, report);
        if !variables.insert(name.to_ascii_uppercase().replace('-', "_")) {
            report.add(
                name_range(property),
                format!("`{}` in {what} gives the same variable as another name", shown(name)),
            );
        }
        if split_reference(reference).is_none() {
            report.add_with(
                property.value.range(),
                format!("`{}` in {what} is not an output: `{}`", shown(name), shown(reference)),
                || Some("write \"stage.output\"".to_owned()),
            );
        }
    }
}

/// Splits `stage.output`; output names have no dots, stage ids may.
pub(crate) fn split_reference(reference: &str) -> Option<(StageId, &str)> {
    let (stage, output) = reference.rsplit_once('.')?;
    if output.is_empty() {
        return None;
    }
    Some((StageId::new(stage).ok()?, output))
}

fn check_exit_codes(value: &Value<'_>, what: &str, report: &Report<'_>) {
    let elements = expect_array(what, "an array of exit codes", value, report);
    if value.as_array().is_some_and(|array| array.elements.is_empty()) {
        report.add(value.range(), format!("{what} is empty"));
    }
    for element in elements {
        check_count(1, 255, element, &format!("an entry of {what}"), report);
    }
}
