//! The user's own `config.toml`.

use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::environment::Environment;
use crate::files::{Content, read_bounded};
use crate::problem::{Report, closest, did_you_mean, shown};
use crate::settings::SettingsError;

const LONGEST_FILE: u64 = 256 * 1024;

/// Keys of the file. What belongs to one invocation (root, task, target) is not among them.
const KEYS: [&str; 10] = [
    "runs_dir",
    "out_dir",
    "heartbeat_interval",
    "stale_after",
    "require_resume_token",
    "codex",
    "actor",
    "mcp_servers",
    "privacy_guard",
    "secret_variables",
];

/// Tables of the file: texts by names that the person chooses.
const TABLES: [&str; 2] = ["secret_patterns", "allowed_patterns"];
/// The table of what holds in one task alone, by the task's id.
const TASKS: &str = "tasks";
/// Keys of a task.
const TASK_KEYS: [&str; 4] = ["approval_policy", "sandbox", "network", "writable_roots"];
/// The most entries of one table.
const MOST_ENTRIES: usize = 200;

/// A value of the file and the line it stands on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UserValue {
    pub(crate) text: String,
    pub(crate) line: usize,
}

/// The values of the file, as texts: every layer gives texts, and one parser reads them.
#[derive(Debug, Default)]
pub(crate) struct UserFile {
    pub(crate) path: PathBuf,
    values: Values,
}

/// What a file says, in its order.
#[derive(Debug, Default)]
struct Values {
    single: Vec<(&'static str, UserValue)>,
    named: Vec<(&'static str, String, UserValue)>,
    of_tasks: Vec<(String, TaskWord)>,
}

/// What the person's file says for one task: a key, and what stands there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskWord {
    /// `approval_policy`, `sandbox`, `network` or `writable_roots`.
    pub key: &'static str,
    /// The text; several of `writable_roots`.
    pub values: Vec<String>,
    /// The line in the file, from 1.
    pub line: usize,
}

impl UserFile {
    /// The entries of a table: names and values, in the order of the file.
    pub(crate) fn table(&self, table: &str) -> Vec<(String, String)> {
        let entries = self.values.named.iter().filter(|(name, ..)| *name == table);
        entries.map(|(_, name, value)| (name.clone(), value.text.clone())).collect()
    }

    pub(crate) fn get(&self, key: &str) -> Option<&UserValue> {
        self.values.single.iter().find(|(name, _)| *name == key).map(|(_, value)| value)
    }

    /// What the file says for a task.
    pub(crate) fn of_task(&self, task: &str) -> Vec<TaskWord> {
        let words = self.values.of_tasks.iter().filter(|(of, _)| of == task);
        words.map(|(_, word)| word.clone()).collect()
    }

    /// Reads the file where the XDG base directory specification puts it; a missing one is empty.
    pub(crate) fn load(environment: &Environment) -> Result<Self, SettingsError> {
        let Some(path) = path(environment) else { return Ok(Self::default()) };
        let content = read_bounded(&path, LONGEST_FILE)
            .map_err(|source| SettingsError::ReadUserFile { path: path.clone(), source })?;
        let bytes = match content {
            Content::Missing => return Ok(Self::default()),
            Content::TooLarge => return Err(SettingsError::LongUserFile { path, bytes: LONGEST_FILE }),
            Content::Bytes(bytes) => bytes,
        };
        let values = read(&path, &bytes)?;
        Ok(Self { path, values })
    }
}

/// The specification tells to ignore a relative `XDG_CONFIG_HOME`.
fn path(environment: &Environment) -> Option<PathBuf> {
    let declared = environment.get("XDG_CONFIG_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let folder = declared.or_else(|| environment.get("HOME").map(|home| Path::new(home).join(".config")))?;
    Some(folder.join("codex-orchestrator/config.toml"))
}

fn read(path: &Path, bytes: &[u8]) -> Result<Values, SettingsError> {
    let report = Report::on_bytes(path, bytes);
    let mut values = Values::default();
    match DeTable::parse(report.text()) {
        Err(error) => {
            report.add(error.span().unwrap_or(0..0), format!("not valid TOML: {}", error.message()));
        }
        Ok(table) => {
            for (key, value) in table.get_ref() {
                read_value(key.get_ref(), key.span(), value, &report, &mut values);
            }
        }
    }
    report.finish().map_err(|(problems, omitted)| SettingsError::InvalidUserFile { problems, omitted })?;
    Ok(values)
}

fn read_value(
    key: &str,
    key_span: Range<usize>,
    value: &Spanned<DeValue<'_>>,
    report: &Report<'_>,
    values: &mut Values,
) {
    if let Some(table) = TABLES.into_iter().find(|table| *table == key) {
        return read_table(table, value, report, values);
    }
    if key == TASKS {
        return read_tasks(value, report, values);
    }
    let Some(name) = KEYS.into_iter().find(|name| *name == key) else {
        report.add_with(key_span, format!("unknown key `{}`", shown(key)), || match key {
            "root" | "task" | "target" => {
                Some("it belongs to one invocation: use the flag or the environment variable".to_owned())
            }
            _ => {
                let known = || KEYS.into_iter().chain(TABLES).chain([TASKS]);
                closest(key, known())
                    .map(|name| format!("did you mean `{name}`?"))
                    .or_else(|| did_you_mean(key, known()))
            }
        });
        return;
    };
    let is_truth = name == "require_resume_token";
    let text = match value.get_ref() {
        DeValue::String(text) if !is_truth => text.to_string(),
        DeValue::Boolean(truth) if is_truth => truth.to_string(),
        other => {
            let wanted = if is_truth { "true or false" } else { "a string" };
            report.add(value.span(), format!("`{name}` must be {wanted}, not of type {}", other.type_str()));
            return;
        }
    };
    if text.trim().is_empty() || text.contains('\0') {
        report.add(value.span(), format!("`{name}` is empty or contains a NUL character"));
        return;
    }
    values.single.push((name, UserValue { text, line: report.line(value.span().start) }));
}

fn read_table(table: &'static str, value: &Spanned<DeValue<'_>>, report: &Report<'_>, values: &mut Values) {
    let DeValue::Table(entries) = value.get_ref() else {
        let found = value.get_ref().type_str();
        return report
            .add(value.span(), format!("`{table}` must be a table of strings, not of type {found}"));
    };
    if entries.len() > MOST_ENTRIES {
        return report.add(value.span(), format!("`{table}` has more than {MOST_ENTRIES} entries"));
    }
    for (name, value) in entries {
        let DeValue::String(text) = value.get_ref() else {
            let (name, found) = (shown(name.get_ref()), value.get_ref().type_str());
            report.add(value.span(), format!("`{table}.{name}` must be a string, not of type {found}"));
            continue;
        };
        let value = UserValue { text: text.to_string(), line: report.line(value.span().start) };
        values.named.push((table, name.get_ref().to_string(), value));
    }
}

fn read_tasks(value: &Spanned<DeValue<'_>>, report: &Report<'_>, values: &mut Values) {
    let DeValue::Table(tasks) = value.get_ref() else {
        return report.add(value.span(), format!("`{TASKS}` must be a table of tasks"));
    };
    for (task, entries) in tasks {
        let DeValue::Table(keys) = entries.get_ref() else {
            let task = shown(task.get_ref());
            report.add(entries.span(), format!("`{TASKS}.{task}` must be a table"));
            continue;
        };
        for (key, value) in keys {
            let Some(name) = TASK_KEYS.into_iter().find(|name| *name == key.get_ref().as_ref()) else {
                let text = format!("unknown key `{}` of a task", shown(key.get_ref()));
                report.add_with(key.span(), text, || did_you_mean(key.get_ref(), TASK_KEYS));
                continue;
            };
            let texts = match value.get_ref() {
                DeValue::String(text) if name != "writable_roots" => Some(vec![text.to_string()]),
                DeValue::Array(items) if name == "writable_roots" => items
                    .iter()
                    .map(|item| item.get_ref().as_str().map(str::to_owned))
                    .collect::<Option<Vec<String>>>(),
                _ => None,
            };
            let Some(texts) = texts.filter(|texts| texts.len() <= MOST_ENTRIES) else {
                let wanted = if name == "writable_roots" { "a list of strings" } else { "a string" };
                report.add(value.span(), format!("`{name}` of a task must be {wanted}"));
                continue;
            };
            let line = report.line(value.span().start);
            values.of_tasks.push((task.get_ref().to_string(), TaskWord { key: name, values: texts, line }));
        }
    }
}
