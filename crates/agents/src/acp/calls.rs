//! What the calls of an agent do, as far as it says so.
//!
//! The protocol tells a call piece by piece: an announcement, then updates that replace single fields. Only what is
//! needed to say what the call does is kept of it, in bounded memory.

use std::collections::BTreeMap;

use agent_client_protocol_schema::v1::{
    ContentBlock, ToolCall, ToolCallContent, ToolCallLocation, ToolCallStatus, ToolCallUpdateFields, ToolKind,
};
use co_model::{ChangeKind, PatchedFile, ToolUse};
use serde_json::{Value, json};

use crate::recorder::{MAX_FILES, Recorder};
use crate::text::{SHORT_LIMIT, TEXT_LIMIT, shortened};

/// Bounds the calls that are remembered at once; an agent that announces more has its later ones known by little.
const MAX_CALLS: usize = 128;
/// Bounds the locations of a call that are looked at.
const MAX_LOCATIONS: usize = 64;

/// Remembers the calls of a turn.
#[derive(Debug, Default)]
pub(super) struct Calls {
    open: BTreeMap<String, Call>,
}

/// Holds what is known of one call.
#[derive(Debug, Default)]
pub(super) struct Call {
    title: String,
    kind: ToolKind,
    pub(super) status: ToolCallStatus,
    input: Value,
    /// Whether the input, or a text, was too long to be kept.
    cut: bool,
    files: Vec<PatchedFile>,
    locations: Vec<String>,
    /// What the call shows; its output once it runs.
    pub(super) text: String,
    output: Value,
}

impl Calls {
    /// Takes the announcement of a call.
    pub(super) fn announce(&mut self, recorder: &Recorder, call: ToolCall) -> Option<&Call> {
        let fields = ToolCallUpdateFields::new()
            .title(call.title)
            .kind(call.kind)
            .status(call.status)
            .content(call.content)
            .locations(call.locations)
            .raw_input(call.raw_input)
            .raw_output(call.raw_output);
        self.update(recorder, &call.tool_call_id.0, fields)
    }

    /// Takes what is new about a call; none if there is no room for it.
    pub(super) fn update(
        &mut self,
        recorder: &Recorder,
        id: &str,
        fields: ToolCallUpdateFields,
    ) -> Option<&Call> {
        if !self.open.contains_key(id) && self.open.len() == MAX_CALLS {
            return None;
        }
        let call = self.open.entry(id.to_owned()).or_default();
        call.take(recorder, fields);
        Some(call)
    }

    pub(super) fn get(&self, id: &str) -> Option<&Call> {
        self.open.get(id)
    }

    /// Forgets a call that has ended.
    pub(super) fn remove(&mut self, id: &str) {
        self.open.remove(id);
    }

    pub(super) fn clear(&mut self) {
        self.open.clear();
    }
}

impl Call {
    fn take(&mut self, recorder: &Recorder, fields: ToolCallUpdateFields) {
        if let Some(title) = fields.title {
            self.cut |= title.len() > SHORT_LIMIT;
            self.title = shortened(&title, SHORT_LIMIT);
        }
        if let Some(kind) = fields.kind {
            self.kind = kind;
        }
        if let Some(status) = fields.status {
            self.status = status;
        }
        if let Some(input) = fields.raw_input {
            (self.input, self.cut) = bounded(input, self.cut);
        }
        if let Some(output) = fields.raw_output {
            self.output = bounded(output, false).0;
        }
        if let Some(locations) = fields.locations {
            self.cut |= locations.len() > MAX_LOCATIONS;
            let path = |location: ToolCallLocation| location.path.to_string_lossy().into_owned();
            self.locations = locations.into_iter().take(MAX_LOCATIONS).map(path).collect();
        }
        if let Some(content) = fields.content {
            self.show(recorder, content);
        }
    }

    /// Takes what the call shows: changes of files, and text.
    fn show(&mut self, recorder: &Recorder, content: Vec<ToolCallContent>) {
        let mut files = Vec::new();
        self.text.clear();
        for part in content {
            match part {
                ToolCallContent::Diff(diff) if files.len() < MAX_FILES => {
                    let kind = if diff.old_text.is_some() { ChangeKind::Update } else { ChangeKind::Add };
                    let shown = json!([diff.old_text, diff.new_text]).to_string();
                    let path = diff.path.to_string_lossy();
                    self.cut |= path.len() > SHORT_LIMIT;
                    files.push(recorder.patched(&path, kind, &shown));
                }
                ToolCallContent::Diff(_) => self.cut = true,
                ToolCallContent::Content(shown) => {
                    if let ContentBlock::Text(text) = shown.content
                        && self.text.len() < TEXT_LIMIT
                    {
                        self.text.push_str(&text.text);
                    }
                }
                _ => {}
            }
        }
        self.text = shortened(&self.text, TEXT_LIMIT);
        // An update shows the output instead of the change; what is to be done stays what it was.
        if !files.is_empty() {
            self.files = files;
        }
    }

    /// Tells whether [`tool`](Self::tool) says all that the agent said about what is to be done.
    pub(super) fn is_whole(&self) -> bool {
        !self.cut && self.described().len() <= TEXT_LIMIT
    }

    /// Returns what the call does, by the strictest reading.
    pub(super) fn tool(&self, recorder: &Recorder) -> ToolUse {
        if !self.files.is_empty() {
            return ToolUse::Patch { files: self.files.clone() };
        }
        if self.kind == ToolKind::Delete && !self.locations.is_empty() {
            let deleted =
                |path: &String| recorder.patched(path, ChangeKind::Delete, &format!("delete {path}"));
            return ToolUse::Patch { files: self.locations.iter().map(deleted).collect() };
        }
        match self.argv() {
            Some(argv) => ToolUse::Command { argv },
            None => ToolUse::Other { name: self.name(), input: shortened(&self.described(), TEXT_LIMIT) },
        }
    }

    pub(super) fn title(&self) -> &str {
        &self.title
    }

    /// Names the call for people.
    fn name(&self) -> String {
        if self.title.is_empty() { "a tool".to_owned() } else { self.title.clone() }
    }

    /// Returns the command that a call executes, if its input says it in a form that cannot be misread.
    ///
    /// A title is for people and proves nothing.
    fn argv(&self) -> Option<Vec<String>> {
        if self.kind != ToolKind::Execute {
            return None;
        }
        match (self.input.get("command")?, self.input.get("args")) {
            (Value::String(script), None) => Some(vec!["sh".into(), "-c".into(), script.clone()]),
            (Value::String(program), Some(Value::Array(arguments))) => {
                let words = arguments.iter().map(|word| word.as_str().map(str::to_owned));
                std::iter::once(Some(program.clone())).chain(words).collect()
            }
            (Value::Array(words), None) if !words.is_empty() => {
                words.iter().map(|word| word.as_str().map(str::to_owned)).collect()
            }
            _ => None,
        }
    }

    /// Returns the directory that a command's input names.
    pub(super) fn cwd(&self) -> Option<&str> {
        let named = self.input.get("cwd").or_else(|| self.input.get("workdir"));
        named?.as_str().filter(|cwd| cwd.starts_with('/') && cwd.len() <= SHORT_LIMIT)
    }

    /// Spells everything that was said about the call, the same every time.
    fn described(&self) -> String {
        json!({
            "title": self.title, "input": self.input, "locations": self.locations, "text": self.text,
        })
        .to_string()
    }

    /// Returns the exit code that an output names.
    pub(super) fn exit_code(&self) -> Option<i32> {
        let named = ["exitCode", "exit_code"].iter().find_map(|field| self.output.get(field)?.as_i64());
        named.and_then(|code| i32::try_from(code).ok())
    }
}

/// Drops a value that is too long to be kept, and says so.
fn bounded(value: Value, cut: bool) -> (Value, bool) {
    if value.to_string().len() <= TEXT_LIMIT { (value, cut) } else { (Value::Null, true) }
}
