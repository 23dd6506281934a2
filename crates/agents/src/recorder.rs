//! Keeps a report while a turn goes on, in bounded memory, whatever protocol the agent speaks.
//!
//! Readers of protocols understand lines; this is what they tell it to. It owns the report, and sees to it that every
//! call is announced before it ends, and ends.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Component, Path, PathBuf};

use co_model::{CallOutcome, CallStatus, ChangeKind, FileChange, PatchedFile, TokenUsage, ToolUse};
use sha2::{Digest, Sha256};

use crate::observation::AgentObservation;
use crate::report::{AgentReport, CommandRecord, Terminal};
use crate::text::{SHORT_LIMIT, hexadecimal, shortened};
use crate::thread::ThreadId;
use crate::verdict::FailureClass;

/// Bounds the sample that is kept of the first garbage line, in bytes.
const SAMPLE_LIMIT: usize = 200;
/// Bounds the commands of a report; a turn rarely runs more than some hundred.
const MAX_COMMANDS: usize = 1000;
/// Bounds the files of a report, and of one patch.
pub(crate) const MAX_FILES: usize = 2000;
/// Bounds the warnings of a report.
const MAX_WARNINGS: usize = 50;
/// Bounds the names of unknown types that are told apart; further ones share one count.
const MAX_UNKNOWN_TYPES: usize = 32;
/// Bounds the calls that are remembered as begun and not ended; Codex itself allows 64 commands.
const MAX_OPEN_CALLS: usize = 128;
/// Bounds an item's id, in bytes.
pub(crate) const ITEM_LIMIT: usize = 256;
/// Bounds the one line that says how a call ended, in bytes.
const DETAIL_LIMIT: usize = 200;

/// Bounds the output of one call that is told on while it runs, in bytes.
const OUTPUT_LIMIT: usize = 256 * 1024;

pub(crate) type Observe<'a> = &'a mut dyn FnMut(AgentObservation);

/// Collects what an agent says into a report and tells it on.
#[derive(Debug, Default)]
pub(crate) struct Recorder {
    /// The spellings of the working directory.
    roots: Vec<PathBuf>,
    pub(crate) report: AgentReport,
    files: BTreeMap<String, ChangeKind>,
    /// The calls that have begun and not ended, by item.
    open_calls: BTreeMap<String, OpenCall>,
}

/// Is a call that was announced and has not ended.
#[derive(Debug)]
pub(crate) struct OpenCall {
    pub(crate) tool: ToolUse,
    pub(crate) cwd: Option<String>,
    /// Whether all of it is in `tool`.
    pub(crate) whole: bool,
    /// Whether it was told on that the agent performs it.
    begun: bool,
    /// Whether consent to it was wanted and not given.
    declined: bool,
    /// Its place among the report's commands, if it has one.
    place: Option<usize>,
    /// How much of its output was told on, in bytes.
    output: usize,
}

impl Recorder {
    /// Begins for an agent that works in one of `roots`, which are spellings of the same directory.
    pub(crate) fn new(roots: Vec<PathBuf>) -> Self {
        Self { roots, ..Self::default() }
    }

    /// Returns the spellings of a directory: agents print real paths, and it may have been named through a link.
    pub(crate) fn spellings(cwd: &Path) -> Vec<PathBuf> {
        let mut roots = vec![cwd.to_owned()];
        if let Ok(real) = fs::canonicalize(cwd)
            && real != cwd
        {
            roots.push(real);
        }
        roots
    }

    /// Takes a file as one that a patch changes; `shown` is the change as the agent shows it.
    pub(crate) fn patched(&self, path: &str, kind: ChangeKind, shown: &str) -> PatchedFile {
        let path = self.relative(&shortened(path, SHORT_LIMIT));
        PatchedFile {
            change: FileChange { path, kind },
            sha256: hexadecimal(Sha256::new_with_prefix(shown.as_bytes())),
        }
    }

    /// Names a path below the working directory relative to it.
    pub(crate) fn relative(&self, path: &str) -> String {
        let inside = self.roots.iter().find_map(|root| Path::new(path).strip_prefix(root).ok());
        match inside.and_then(Path::to_str) {
            Some(inside) if !inside.is_empty() => inside.to_owned(),
            _ => path.to_owned(),
        }
    }

    /// Tells whether a path, as [`relative`](Self::relative) names it, points out of the working directory.
    ///
    /// Links are not followed: nothing is looked at here.
    pub(crate) fn is_outside(&self, path: &str) -> bool {
        let path = Path::new(path);
        let relative = self.roots.iter().find_map(|root| path.strip_prefix(root).ok()).unwrap_or(path);
        relative.is_absolute() || relative.components().any(|part| part == Component::ParentDir)
    }

    /// Counts a line that is no message of the protocol.
    pub(crate) fn garbage(&mut self, line: &[u8]) {
        self.report.garbage_lines += 1;
        if self.report.garbage_sample.is_none() {
            let beginning = &line[..line.len().min(SAMPLE_LIMIT)];
            self.report.garbage_sample = Some(shortened(&String::from_utf8_lossy(beginning), SAMPLE_LIMIT));
        }
    }

    /// Counts a message or an item of a type that is not known.
    pub(crate) fn unknown(&mut self, kind: &str) {
        let kind = shortened(kind, 64);
        let types = &mut self.report.unknown_types;
        let name = if types.contains_key(&kind) || types.len() < MAX_UNKNOWN_TYPES - 1 {
            kind
        } else {
            "(other)".to_owned()
        };
        *types.entry(name).or_default() += 1;
    }

    pub(crate) fn thread(&mut self, id: &str, observe: Observe<'_>) {
        let Ok(id) = id.parse::<ThreadId>() else {
            let id = shortened(id, 64);
            self.warn(format!("the agent named a thread that cannot be resumed: `{id}`"), observe);
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

    pub(crate) fn turn_started(&mut self, observe: Observe<'_>) {
        self.report.terminal = Terminal::Missing;
        observe(AgentObservation::TurnStarted);
    }

    pub(crate) fn turn_completed(&mut self, observe: Observe<'_>) {
        self.report.terminal = Terminal::Completed;
        observe(AgentObservation::TurnCompleted);
    }

    pub(crate) fn turn_failed(&mut self, message: String, class: Option<FailureClass>, observe: Observe<'_>) {
        self.report.terminal = Terminal::Failed { message: message.clone(), class };
        observe(AgentObservation::TurnFailed { message });
    }

    pub(crate) fn turn_interrupted(&mut self, observe: Observe<'_>) {
        self.report.terminal = Terminal::Interrupted;
        observe(AgentObservation::TurnFailed { message: "interrupted".to_owned() });
    }

    pub(crate) fn message(&mut self, text: String, observe: Observe<'_>) {
        self.report.last_message = Some(text.clone());
        observe(AgentObservation::Message { text });
    }

    /// Takes the tokens of the whole thread and, where the agent says them, of its last request.
    pub(crate) fn usage(&mut self, usage: TokenUsage, last: Option<TokenUsage>, observe: Observe<'_>) {
        self.report.usage = Some(usage);
        observe(AgentObservation::Usage { usage, last });
    }

    pub(crate) fn warn(&mut self, message: String, observe: Observe<'_>) {
        let kept = shortened(&message, SHORT_LIMIT);
        // While the network is away an agent says the same thing every few seconds, for as long as it takes.
        if self.report.warnings.len() < MAX_WARNINGS && self.report.warnings.last() != Some(&kept) {
            self.report.warnings.push(kept);
        } else {
            self.report.warnings_omitted += 1;
        }
        observe(AgentObservation::Warning { message });
    }

    /// Returns what was announced under `item` and has not ended.
    pub(crate) fn open_call(&self, item: &str) -> Option<&OpenCall> {
        self.open_calls.get(item)
    }

    /// Returns the item under which a tool of an MCP server is about to be called.
    pub(crate) fn open_mcp_call(&self, server: &str, tool: &str) -> Option<&str> {
        let is_meant = |call: &OpenCall| {
            !call.begun
                && matches!(&call.tool, ToolUse::Mcp { server: of, name, .. } if of == server && name == tool)
        };
        self.open_calls.iter().find(|(_, call)| is_meant(call)).map(|(item, _)| item.as_str())
    }

    /// Takes the word that a call is to be performed; it may still need consent.
    pub(crate) fn call_announced(&mut self, item: &str, tool: ToolUse, cwd: Option<String>, whole: bool) {
        let item = shortened(item, ITEM_LIMIT);
        let is_new = !self.open_calls.contains_key(&item);
        // What finds no place is told of when it ends.
        if is_new && self.open_calls.len() == MAX_OPEN_CALLS {
            return;
        }
        if is_new || self.open_calls.get(&item).is_some_and(|call| !call.begun) {
            let call = OpenCall { tool, cwd, whole, begun: false, declined: false, place: None, output: 0 };
            self.open_calls.insert(item, call);
        }
    }

    /// Takes the word that an announced call is being performed, once.
    pub(crate) fn call_begun(&mut self, item: &str, observe: Observe<'_>) {
        let Some(mut call) = self.open_calls.remove(item) else { return };
        if !call.begun {
            call.begun = true;
            call.place = self.record_command(&call.tool, None);
            let (tool, cwd) = (call.tool.clone(), call.cwd.clone());
            observe(AgentObservation::CallStarted { item: item.to_owned(), tool, cwd });
        }
        self.open_calls.insert(item.to_owned(), call);
    }

    /// Takes the word that nobody consented to an announced call.
    pub(crate) fn call_declined(&mut self, item: &str) {
        if let Some(call) = self.open_calls.get_mut(item) {
            call.declined = true;
        }
    }

    /// Takes the beginning of a call that is announced by being performed.
    pub(crate) fn call_started(
        &mut self,
        item: &str,
        tool: ToolUse,
        cwd: Option<String>,
        observe: Observe<'_>,
    ) {
        self.call_announced(item, tool, cwd, true);
        self.call_begun(&shortened(item, ITEM_LIMIT), observe);
    }

    /// Takes a piece of a call's output; a call is also seen to be performed by it.
    pub(crate) fn output(&mut self, item: &str, text: &str, observe: Observe<'_>) {
        self.call_begun(item, observe);
        let Some(call) = self.open_calls.get_mut(item) else { return };
        let text = shortened(text, OUTPUT_LIMIT.saturating_sub(call.output));
        // What does not even fit its mark of a cut comes at the end, when all has been said.
        if !text.is_empty() && call.output < OUTPUT_LIMIT {
            call.output += text.len();
            observe(AgentObservation::OutputDelta { item: item.to_owned(), text });
        }
    }

    /// Takes the end of a call. Unless it was declined, it has begun, even if that was never told.
    pub(crate) fn call_finished(
        &mut self,
        item: &str,
        tool: ToolUse,
        cwd: Option<String>,
        outcome: CallOutcome,
        observe: Observe<'_>,
    ) {
        let item = shortened(item, ITEM_LIMIT);
        let open = self.open_calls.remove(&item);
        match open.as_ref().filter(|call| call.begun).map(|call| call.place) {
            Some(Some(place)) => self.report.commands[place].outcome = Some(outcome.clone()),
            Some(None) => {}
            None => {
                self.record_command(&tool, Some(&outcome));
                if outcome.status != CallStatus::Declined {
                    let cwd = cwd.or(open.and_then(|call| call.cwd));
                    let (item, tool) = (item.clone(), tool.clone());
                    observe(AgentObservation::CallStarted { item, tool, cwd });
                }
            }
        }
        if let (ToolUse::Patch { files }, CallStatus::Succeeded) = (&tool, outcome.status) {
            for file in files {
                self.record_change(&file.change);
            }
        }
        observe(AgentObservation::CallFinished { item, tool, outcome });
    }

    /// Adds a command to the report and returns its place, or counts it if the report is full.
    fn record_command(&mut self, tool: &ToolUse, outcome: Option<&CallOutcome>) -> Option<usize> {
        let ToolUse::Command { argv } = tool else { return None };
        let place = self.report.commands.len();
        if place == MAX_COMMANDS {
            self.report.commands_omitted += 1;
            return None;
        }
        let command = shortened(&crate::observation::command_line(argv), SHORT_LIMIT);
        self.report.commands.push(CommandRecord { command, outcome: outcome.cloned() });
        Some(place)
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

    /// Sums up. Calls that are still open are lost.
    pub(crate) fn finish(mut self, observe: Observe<'_>) -> AgentReport {
        for (item, call) in std::mem::take(&mut self.open_calls) {
            let OpenCall { tool, cwd, begun, declined, .. } = call;
            if declined && !begun {
                self.call_finished(&item, tool, cwd, outcome(CallStatus::Declined), observe);
            } else if begun {
                observe(AgentObservation::CallFinished { item, tool, outcome: outcome(CallStatus::Lost) });
            } else {
                self.call_finished(&item, tool, cwd, outcome(CallStatus::Lost), observe);
            }
        }
        self.report.file_changes =
            self.files.into_iter().map(|(path, kind)| FileChange { path, kind }).collect();
        self.report
    }
}

/// Returns an outcome of which nothing but the status is known.
pub(crate) fn outcome(status: CallStatus) -> CallOutcome {
    CallOutcome { status, exit_code: None, duration: None, detail: None }
}

/// Returns the last line of a call's output as the one that says how it ended; none if there is no text.
pub(crate) fn detail(output: &str) -> Option<String> {
    let line = output.lines().rev().map(str::trim).find(|line| !line.is_empty())?;
    Some(shortened(line, DETAIL_LIMIT))
}

/// Splits a command that an agent prints as one line into the words that are executed.
///
/// A line that no shell could split stays one word, so that it never passes for another command.
pub(crate) fn words_of(command: &str) -> Vec<String> {
    shlex::split(command).filter(|words| !words.is_empty()).unwrap_or_else(|| vec![command.to_owned()])
}
