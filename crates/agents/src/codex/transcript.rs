//! Reads the event stream of `codex exec --json`.
//!
//! Tolerant by rule: unknown events and items are counted, a line that is no event is counted, and nothing that Codex
//! prints is an error here. A key that stands twice in one object (Codex does that with `id`) keeps its last value.

use std::collections::BTreeMap;
use std::path::PathBuf;

use co_model::{ChangeKind, FileChange};
use serde_json::Value;

use crate::driver::Transcript;
use crate::lines::LineCutter;
use crate::observation::{AgentObservation, TodoItem};
use crate::report::{AgentReport, CommandRecord, ItemStatus, Terminal, Usage};
use crate::text::{TEXT_LIMIT, shortened};
use crate::thread::ThreadId;

/// Bounds a command, a path, a warning or a name, in bytes.
const SHORT_LIMIT: usize = 4 * 1024;
/// Bounds the sample that is kept of the first garbage line, in bytes.
const SAMPLE_LIMIT: usize = 200;
/// Bounds the commands of a report; a turn rarely runs more than some hundred.
const MAX_COMMANDS: usize = 1000;
/// Bounds the files of a report.
const MAX_FILES: usize = 2000;
/// Bounds the warnings of a report.
const MAX_WARNINGS: usize = 50;
/// Bounds the names of unknown types that are told apart; further ones share one count.
const MAX_UNKNOWN_TYPES: usize = 32;
/// Bounds the commands that are remembered as begun and not ended; Codex itself allows 64.
const MAX_OPEN_COMMANDS: usize = 1024;
/// Bounds the entries of a list of things to do.
const MAX_TODO_ITEMS: usize = 200;
/// Begins the `error` events that announce another attempt.
const RETRY_NOTICE: &str = "Reconnecting";

/// Turns the bytes that `codex exec --json` prints into observations and a report.
#[derive(Debug)]
pub struct CodexTranscript {
    lines: LineCutter,
    reading: Reading,
}

impl CodexTranscript {
    /// Begins a transcript of an agent that works in one of `roots`, which are spellings of the same directory.
    ///
    /// Paths below a root are reported relative to it.
    pub fn new(roots: Vec<PathBuf>) -> Self {
        Self { lines: LineCutter::default(), reading: Reading { roots, ..Reading::default() } }
    }
}

impl Transcript for CodexTranscript {
    fn push(&mut self, bytes: &[u8], observe: &mut dyn FnMut(AgentObservation)) {
        self.lines.push(bytes, |line| self.reading.line(line, observe));
    }

    fn finish(mut self: Box<Self>, observe: &mut dyn FnMut(AgentObservation)) -> AgentReport {
        if let Some(rest) = self.lines.rest() {
            match event(rest) {
                Some((kind, event)) => self.reading.event(&kind, &event, observe),
                None => self.reading.report.truncated_last_line = true,
            }
        }
        self.reading.report.overlong_lines = self.lines.overlong_lines();
        self.reading.finish(observe)
    }
}

/// Parses a line; none if it is not an object that names its type.
fn event(line: &[u8]) -> Option<(String, Value)> {
    let event: Value = serde_json::from_slice(line).ok()?;
    let kind = event.get("type")?.as_str()?.to_owned();
    Some((kind, event))
}

#[derive(Debug, Default)]
struct Reading {
    roots: Vec<PathBuf>,
    report: AgentReport,
    files: BTreeMap<String, ChangeKind>,
    /// The commands that have begun, by item id, with their place in the report if they have one.
    open_commands: BTreeMap<String, Option<usize>>,
    /// An `error` event of which the next line tells whether it was fatal.
    held_error: Option<String>,
}

type Observe<'a> = &'a mut dyn FnMut(AgentObservation);

impl Reading {
    fn line(&mut self, line: &[u8], observe: Observe<'_>) {
        if let Some((kind, event)) = event(line) {
            self.event(&kind, &event, observe);
            return;
        }
        self.report.garbage_lines += 1;
        if self.report.garbage_sample.is_none() {
            let beginning = &line[..line.len().min(SAMPLE_LIMIT)];
            self.report.garbage_sample = Some(shortened(&String::from_utf8_lossy(beginning), SAMPLE_LIMIT));
        }
    }

    fn event(&mut self, kind: &str, event: &Value, observe: Observe<'_>) {
        self.report.known_events += 1;
        if kind != "turn.failed"
            && let Some(message) = self.held_error.take()
        {
            self.warn(message, observe);
        }
        match kind {
            "thread.started" => self.thread(&text(event, "thread_id"), observe),
            "turn.started" => {
                self.report.terminal = Terminal::Missing;
                observe(AgentObservation::TurnStarted);
            }
            "turn.completed" => {
                if let Some(usage) = event.get("usage").filter(|usage| usage.is_object()) {
                    let usage = read_usage(usage);
                    self.report.usage = Some(usage);
                    observe(AgentObservation::Usage { usage });
                }
                self.report.terminal = Terminal::Completed;
                observe(AgentObservation::TurnCompleted);
            }
            "turn.failed" => {
                let held = self.held_error.take();
                let said = event.get("error").map(|error| text(error, "message"));
                let message = said.filter(|said| !said.is_empty()).or(held).unwrap_or_default();
                self.report.terminal = Terminal::Failed { message: message.clone() };
                observe(AgentObservation::TurnFailed { message });
            }
            "error" => {
                let message = text(event, "message");
                if message.starts_with(RETRY_NOTICE) {
                    self.warn(message, observe);
                } else {
                    self.held_error = Some(message);
                }
            }
            "item.started" | "item.updated" | "item.completed" => {
                let item = event.get("item").unwrap_or(&Value::Null);
                self.item(kind == "item.completed", item, observe);
            }
            _ => self.unknown(kind),
        }
    }

    fn thread(&mut self, id: &str, observe: Observe<'_>) {
        let Ok(id) = id.parse::<ThreadId>() else {
            self.warn(
                format!("codex named a thread that cannot be resumed: `{}`", shortened(id, 64)),
                observe,
            );
            return;
        };
        match &self.report.thread_id {
            None => {
                self.report.thread_id = Some(id.clone());
                observe(AgentObservation::ThreadKnown { thread_id: id });
            }
            Some(known) if *known != id => self.report.conflicting_thread_id = Some(id),
            Some(_) => {}
        }
    }

    fn item(&mut self, done: bool, item: &Value, observe: Observe<'_>) {
        let kind = text(item, "type");
        match (kind.as_str(), done) {
            ("agent_message", true) => {
                let text = text(item, "text");
                self.report.last_message = Some(text.clone());
                observe(AgentObservation::Message { text });
            }
            ("reasoning", true) => observe(AgentObservation::Reasoning { text: text(item, "text") }),
            ("command_execution", false) => self.command_started(item, observe),
            ("command_execution", true) => self.command_finished(item, observe),
            ("file_change", true) => self.files_changed(item, observe),
            ("mcp_tool_call", _) => {
                let tool = format!("{}/{}", short(item, "server"), short(item, "tool"));
                observe(AgentObservation::ToolCalled { tool, status: status(item) });
            }
            ("collab_tool_call", _) => {
                observe(AgentObservation::ToolCalled { tool: short(item, "tool"), status: status(item) });
            }
            ("web_search", true) => observe(AgentObservation::SearchMade { query: short(item, "query") }),
            ("todo_list", _) => {
                let entries = item.get("items").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
                let items = entries.iter().take(MAX_TODO_ITEMS).map(|entry| TodoItem {
                    text: short(entry, "text"),
                    completed: entry.get("completed").and_then(Value::as_bool).unwrap_or(false),
                });
                observe(AgentObservation::TodoChanged { items: items.collect() });
            }
            ("error", true) => self.warn(text(item, "message"), observe),
            ("agent_message" | "reasoning" | "file_change" | "web_search" | "error", false) => {}
            (kind, _) => self.unknown(&format!("item:{kind}")),
        }
    }

    fn command_started(&mut self, item: &Value, observe: Observe<'_>) {
        let id = shortened(&text(item, "id"), 64);
        if self.open_commands.contains_key(&id) {
            return;
        }
        let command = short(item, "command");
        let place = self.record_command(CommandRecord {
            command: command.clone(),
            exit_code: None,
            status: ItemStatus::InProgress,
        });
        if self.open_commands.len() < MAX_OPEN_COMMANDS {
            self.open_commands.insert(id, place);
        }
        observe(AgentObservation::CommandStarted { command });
    }

    fn command_finished(&mut self, item: &Value, observe: Observe<'_>) {
        let record = CommandRecord {
            command: short(item, "command"),
            exit_code: item.get("exit_code").and_then(Value::as_i64),
            status: status(item),
        };
        match self.open_commands.remove(&shortened(&text(item, "id"), 64)) {
            Some(Some(place)) => self.report.commands[place] = record.clone(),
            Some(None) => {}
            None => {
                self.record_command(record.clone());
            }
        }
        let CommandRecord { command, exit_code, status } = record;
        observe(AgentObservation::CommandFinished { command, exit_code, status });
    }

    /// Adds a command to the report and returns its place, or counts it if the report is full.
    fn record_command(&mut self, record: CommandRecord) -> Option<usize> {
        let place = self.report.commands.len();
        if place == MAX_COMMANDS {
            self.report.commands_omitted += 1;
            return None;
        }
        self.report.commands.push(record);
        Some(place)
    }

    fn files_changed(&mut self, item: &Value, observe: Observe<'_>) {
        let status = status(item);
        let entries = item.get("changes").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let mut changes = Vec::new();
        for entry in entries {
            let kind = match entry.get("kind").and_then(Value::as_str) {
                Some("add") => ChangeKind::Add,
                Some("delete") => ChangeKind::Delete,
                _ => ChangeKind::Update,
            };
            let change = FileChange { path: self.relative(&short(entry, "path")), kind };
            if status == ItemStatus::Completed {
                self.record_change(&change);
            }
            if changes.len() < MAX_FILES {
                changes.push(change);
            }
        }
        observe(AgentObservation::FilesChanged { changes, status });
    }

    fn record_change(&mut self, FileChange { path, kind }: &FileChange) {
        use ChangeKind::{Add, Delete, Update};
        let full = self.files.len() == MAX_FILES;
        match (self.files.get(path), kind) {
            (None, _) if full => self.report.file_changes_omitted += 1,
            // Seen over the whole turn, what came and went was never there, and what was replaced was updated.
            (Some(Add), Delete) => {
                self.files.remove(path);
            }
            (Some(Add), _) => {}
            (Some(Delete), Add | Update) | (Some(Update), Add) => {
                self.files.insert(path.clone(), Update);
            }
            (None | Some(_), kind) => {
                self.files.insert(path.clone(), *kind);
            }
        }
    }

    fn relative(&self, path: &str) -> String {
        let inside = self.roots.iter().find_map(|root| std::path::Path::new(path).strip_prefix(root).ok());
        match inside.and_then(std::path::Path::to_str) {
            Some(inside) if !inside.is_empty() => inside.to_owned(),
            _ => path.to_owned(),
        }
    }

    fn warn(&mut self, message: String, observe: Observe<'_>) {
        let kept = shortened(&message, SHORT_LIMIT);
        // While the network is away Codex says the same thing every few seconds, for as long as it takes.
        if self.report.warnings.len() < MAX_WARNINGS && self.report.warnings.last() != Some(&kept) {
            self.report.warnings.push(kept);
        } else {
            self.report.warnings_omitted += 1;
        }
        observe(AgentObservation::Warning { message });
    }

    fn unknown(&mut self, kind: &str) {
        self.report.known_events -= 1;
        let kind = shortened(kind, 64);
        let types = &mut self.report.unknown_types;
        let name = if types.contains_key(&kind) || types.len() < MAX_UNKNOWN_TYPES - 1 {
            kind
        } else {
            "(other)".to_owned()
        };
        *types.entry(name).or_default() += 1;
    }

    fn finish(mut self, observe: Observe<'_>) -> AgentReport {
        if let Some(message) = self.held_error.take() {
            self.report.dangling_error = Some(message.clone());
            self.warn(message, observe);
        }
        self.report.file_changes =
            self.files.into_iter().map(|(path, kind)| FileChange { path, kind }).collect();
        self.report
    }
}

/// Returns a bounded text field; a missing one is empty.
fn text(value: &Value, field: &str) -> String {
    shortened(value.get(field).and_then(Value::as_str).unwrap_or_default(), TEXT_LIMIT)
}

/// Returns a text field with the smaller bound of commands, paths and names.
fn short(value: &Value, field: &str) -> String {
    shortened(value.get(field).and_then(Value::as_str).unwrap_or_default(), SHORT_LIMIT)
}

fn status(item: &Value) -> ItemStatus {
    match item.get("status").and_then(Value::as_str) {
        Some("in_progress") => ItemStatus::InProgress,
        Some("completed") => ItemStatus::Completed,
        Some("failed") => ItemStatus::Failed,
        Some("declined") => ItemStatus::Declined,
        _ => ItemStatus::Unknown,
    }
}

fn read_usage(usage: &Value) -> Usage {
    let count = |field: &str| usage.get(field).and_then(Value::as_u64).unwrap_or(0);
    Usage {
        input_tokens: count("input_tokens"),
        cached_input_tokens: count("cached_input_tokens"),
        cache_write_input_tokens: count("cache_write_input_tokens"),
        output_tokens: count("output_tokens"),
        reasoning_output_tokens: count("reasoning_output_tokens"),
    }
}
