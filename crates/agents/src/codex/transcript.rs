//! Reads the event stream of `codex exec --json`.
//!
//! Tolerant by rule: unknown events and items are counted, a line that is no event is counted, and nothing that Codex
//! prints is an error here. A key that stands twice in one object (Codex does that with `id`) keeps its last value.

use std::path::PathBuf;

use co_model::{CallOutcome, CallStatus, ChangeKind, PatchedFile, TokenUsage, ToolUse};
use serde_json::Value;

use crate::dialogue::{ConsentDecision, Dialogue, Steered, Transcript};
use crate::lines::LineCutter;
use crate::observation::{AgentObservation, MOST_PLAN_ENTRIES, TodoItem};
use crate::recorder::{MAX_FILES, Observe, Recorder, detail, outcome, words_of};
use crate::report::AgentReport;
use crate::text::{SHORT_LIMIT, TEXT_LIMIT, shortened};

/// Begins the `error` events that announce another attempt.
const RETRY_NOTICE: &str = "Reconnecting";

/// Turns the bytes that `codex exec --json` prints into observations and a report.
#[derive(Debug)]
pub struct CodexTranscript {
    prompt: Vec<u8>,
    lines: LineCutter,
    reading: Reading,
}

impl CodexTranscript {
    /// Begins a transcript of an agent that works in one of `roots`, which are spellings of the same directory.
    ///
    /// Paths below a root are reported relative to it.
    pub fn new(roots: Vec<PathBuf>) -> Self {
        let reading = Reading { recorder: Recorder::new(roots), held_error: None };
        Self { prompt: Vec::new(), lines: LineCutter::default(), reading }
    }

    /// Gives the agent its prompt, the only thing that it is ever told.
    #[must_use]
    pub fn with_prompt(self, prompt: &str) -> Self {
        Self { prompt: prompt.as_bytes().to_vec(), ..self }
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
                None => self.reading.recorder.report.truncated_last_line = true,
            }
        }
        self.reading.recorder.report.overlong_lines = self.lines.overlong_lines();
        self.reading.finish(observe)
    }
}

impl Dialogue for CodexTranscript {
    fn outgoing(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.prompt)
    }

    fn input_open(&self) -> bool {
        false
    }

    fn answer(&mut self, _item: &str, _decision: &ConsentDecision) -> bool {
        false
    }

    fn steer(&mut self, _message: &str) -> Steered {
        Steered::NotSupported
    }

    fn interrupt(&mut self) -> bool {
        false
    }

    fn continue_with(&mut self, _prompt: &str) -> bool {
        false
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
    recorder: Recorder,
    /// An `error` event of which the next line tells whether it was fatal.
    held_error: Option<String>,
}

impl Reading {
    fn line(&mut self, line: &[u8], observe: Observe<'_>) {
        match event(line) {
            Some((kind, event)) => self.event(&kind, &event, observe),
            None => self.recorder.garbage(line),
        }
    }

    fn event(&mut self, kind: &str, event: &Value, observe: Observe<'_>) {
        self.recorder.report.known_events += 1;
        if kind != "turn.failed"
            && let Some(message) = self.held_error.take()
        {
            self.recorder.warn(message, observe);
        }
        match kind {
            "thread.started" => self.recorder.thread(&text(event, "thread_id"), observe),
            "turn.started" => self.recorder.turn_started(observe),
            "turn.completed" => {
                if let Some(usage) = event.get("usage").filter(|usage| usage.is_object()) {
                    self.recorder.usage(read_usage(usage), None, observe);
                }
                self.recorder.turn_completed(observe);
            }
            "turn.failed" => {
                let held = self.held_error.take();
                let said = event.get("error").map(|error| text(error, "message"));
                let message = said.filter(|said| !said.is_empty()).or(held).unwrap_or_default();
                self.recorder.turn_failed(message, None, observe);
            }
            "error" => {
                let message = text(event, "message");
                if message.starts_with(RETRY_NOTICE) {
                    self.recorder.warn(message, observe);
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

    fn item(&mut self, done: bool, item: &Value, observe: Observe<'_>) {
        let kind = text(item, "type");
        if let Some(tool) = self.tool(&kind, item) {
            let id = text(item, "id");
            // A call that is not over when it says so is one whose end this version cannot read.
            match call_outcome(item) {
                Some(outcome) if done => self.recorder.call_finished(&id, tool, None, outcome, observe),
                None if done => {
                    self.recorder.call_finished(&id, tool, None, outcome(CallStatus::Lost), observe);
                }
                _ => self.recorder.call_started(&id, tool, None, observe),
            }
            return;
        }
        match (kind.as_str(), done) {
            ("agent_message", true) => self.recorder.message(text(item, "text"), observe),
            ("reasoning", true) => observe(AgentObservation::Reasoning { text: text(item, "text") }),
            ("web_search", true) => observe(AgentObservation::SearchMade { query: short(item, "query") }),
            ("todo_list", _) => {
                let entries = item.get("items").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
                let items = entries.iter().take(MOST_PLAN_ENTRIES).map(|entry| TodoItem {
                    text: short(entry, "text"),
                    completed: entry.get("completed").and_then(Value::as_bool).unwrap_or(false),
                });
                observe(AgentObservation::TodoChanged { items: items.collect() });
            }
            ("error", true) => self.recorder.warn(text(item, "message"), observe),
            ("agent_message" | "reasoning" | "web_search" | "error", false) => {}
            (kind, _) => self.unknown(&format!("item:{kind}")),
        }
    }

    /// Returns what an item does; none if it is no call.
    fn tool(&self, kind: &str, item: &Value) -> Option<ToolUse> {
        Some(match kind {
            "command_execution" => ToolUse::Command { argv: words_of(&text(item, "command")) },
            "file_change" => {
                let entries = item.get("changes").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
                ToolUse::Patch {
                    files: entries.iter().take(MAX_FILES).map(|entry| self.file(entry)).collect(),
                }
            }
            "mcp_tool_call" => ToolUse::Mcp {
                server: short(item, "server"),
                name: short(item, "tool"),
                arguments: json(item.get("arguments")),
                definition: None,
            },
            "collab_tool_call" => ToolUse::Other { name: short(item, "tool"), input: text(item, "prompt") },
            _ => return None,
        })
    }

    /// Takes one entry of a change of files; Codex shows its kind and its path here, and no contents.
    fn file(&self, entry: &Value) -> PatchedFile {
        let (word, kind) = match entry.get("kind").and_then(Value::as_str) {
            Some("add") => ("add", ChangeKind::Add),
            Some("delete") => ("delete", ChangeKind::Delete),
            _ => ("update", ChangeKind::Update),
        };
        let path = text(entry, "path");
        self.recorder.patched(&path, kind, &format!("{word} {path}"))
    }

    fn unknown(&mut self, kind: &str) {
        self.recorder.report.known_events -= 1;
        self.recorder.unknown(kind);
    }

    fn finish(mut self, observe: Observe<'_>) -> AgentReport {
        if let Some(message) = self.held_error.take() {
            self.recorder.report.dangling_error = Some(message.clone());
            self.recorder.warn(message, observe);
        }
        self.recorder.finish(observe)
    }
}

/// Returns a bounded text field; a missing one is empty.
fn text(value: &Value, field: &str) -> String {
    shortened(value.get(field).and_then(Value::as_str).unwrap_or_default(), TEXT_LIMIT)
}

/// Returns a text field with the smaller bound of paths and names.
fn short(value: &Value, field: &str) -> String {
    shortened(value.get(field).and_then(Value::as_str).unwrap_or_default(), SHORT_LIMIT)
}

/// Spells a value as it was shown, bounded.
fn json(value: Option<&Value>) -> String {
    value.map_or_else(String::new, |value| shortened(&value.to_string(), TEXT_LIMIT))
}

/// Returns how a call ended; none if it goes on, or this version does not know the word.
fn call_outcome(item: &Value) -> Option<CallOutcome> {
    let status = match item.get("status").and_then(Value::as_str)? {
        "completed" => CallStatus::Succeeded,
        "failed" => CallStatus::Failed,
        "declined" => CallStatus::Declined,
        _ => return None,
    };
    let said = item.get("error").and_then(|error| error.get("message")).or(item.get("aggregated_output"));
    let said = said.and_then(Value::as_str).filter(|_| status != CallStatus::Succeeded);
    Some(CallOutcome {
        exit_code: item.get("exit_code").and_then(Value::as_i64).and_then(|code| i32::try_from(code).ok()),
        detail: said.and_then(detail),
        ..outcome(status)
    })
}

fn read_usage(usage: &Value) -> TokenUsage {
    let count = |field: &str| usage.get(field).and_then(Value::as_u64).unwrap_or(0);
    TokenUsage {
        input: count("input_tokens"),
        cached_input: count("cached_input_tokens"),
        output: count("output_tokens"),
        reasoning_output: count("reasoning_output_tokens"),
    }
}
