//! Speaks with `claude -p` over JSON Lines.
//!
//! Tolerant by rule, like every reader here: what is not known is counted, and no line is an error. A question is never
//! left open: one that cannot be asked is refused, since Claude Code would wait for its answer for ever.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::PathBuf;

use co_model::{CallStatus, ToolUse};
use serde_json::{Value, json};

use super::wire::{as_done, call_outcome, failure, is_shown_whole, raw, result_text, text, tool_use, usage};
use crate::dialogue::{ConsentDecision, ConsentRequest, Dialogue, Steered, Transcript};
use crate::lines::LineCutter;
use crate::observation::AgentObservation;
use crate::recorder::{ITEM_LIMIT, Observe, Recorder};
use crate::report::{AgentReport, Terminal, microdollars};
use crate::text::shortened;

/// Bounds the consents that are open at once; Claude Code runs some ten calls side by side.
const MAX_OPEN_CONSENTS: usize = 64;
/// Bounds the id of a request, in bytes; Claude Code prints 36.
const MAX_REQUEST_ID: usize = 256;

/// Speaks with one process of Claude Code.
///
/// Commands that it asks for are *escalated*: nothing confines them, whatever sandbox the stage names, unless that is
/// full access anyway. So are tools that it performs in its own process. Changes of files are escalated if they leave
/// the working directory, which is all that its file tools could be held to.
#[derive(Debug)]
pub struct ClaudeDialogue {
    lines: LineCutter,
    conversation: Conversation,
}

#[derive(Debug, Default)]
struct Conversation {
    recorder: Recorder,
    roots: Vec<PathBuf>,
    outgoing: Vec<u8>,
    /// Whether nothing that a call does would be outside a sandbox, because there is to be none.
    full_access: bool,
    /// Whether somebody speaks to the process; a mere reader announces no questions.
    speaks: bool,
    turn: Turn,
    /// Whether a message was sent that Claude Code has not yet taken up; then another turn follows.
    steered: bool,
    /// What it was told within the turn and has not echoed, oldest first.
    unheard: VecDeque<String>,
    /// The consents that are open: the id of Claude Code's request, by the id of the call.
    consents: BTreeMap<String, String>,
    /// The calls that were consented to since the last line, which tells that they have begun.
    approved: Vec<String>,
    /// The calls that were refused, until their end is told.
    declined: BTreeSet<String>,
    /// The word beside the last failed request to the model.
    api_error: String,
    /// The number of the next request of ours.
    next_request: u64,
}

/// Says how far the turn is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Turn {
    #[default]
    Over,
    Running,
    /// We asked for its end.
    Interrupted,
}

impl ClaudeDialogue {
    /// Begins a dialogue with Claude Code that works in one of `roots`, which are spellings of the same directory.
    pub fn new(roots: Vec<PathBuf>) -> Self {
        let conversation =
            Conversation { recorder: Recorder::new(roots.clone()), roots, ..Conversation::default() };
        Self { lines: LineCutter::whole(), conversation }
    }

    /// Gives Claude Code its prompt; from then on somebody speaks to it.
    #[must_use]
    pub fn with_prompt(mut self, prompt: &str) -> Self {
        self.conversation.speaks = true;
        self.conversation.begin_turn(prompt);
        self
    }

    /// Says whether the stage is to have no sandbox, so that no consent is for leaving one.
    #[must_use]
    pub fn with_full_access(mut self, full_access: bool) -> Self {
        self.conversation.full_access = full_access;
        self
    }
}

impl Transcript for ClaudeDialogue {
    fn push(&mut self, bytes: &[u8], observe: &mut dyn FnMut(AgentObservation)) {
        self.lines.push_marked(bytes, |line, whole| self.conversation.line(line, whole, observe));
    }

    fn finish(mut self: Box<Self>, observe: &mut dyn FnMut(AgentObservation)) -> AgentReport {
        if let Some(rest) = self.lines.rest() {
            match message(rest) {
                Some((kind, message)) => self.conversation.message(&kind, &message, false, observe),
                None => self.conversation.recorder.report.truncated_last_line = true,
            }
        }
        self.conversation.recorder.report.overlong_lines = self.lines.overlong_lines();
        self.conversation.recorder.finish(observe)
    }
}

impl Dialogue for ClaudeDialogue {
    fn outgoing(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.conversation.outgoing)
    }

    fn input_open(&self) -> bool {
        self.conversation.turn != Turn::Over
    }

    fn answer(&mut self, item: &str, decision: &ConsentDecision) -> bool {
        let Some(request) = self.conversation.consents.remove(item) else { return false };
        if decision.approved {
            // Without an input of ours the call runs exactly as it was shown.
            self.conversation.respond(&request, &json!({"behavior": "allow"}));
            self.conversation.approved.push(item.to_owned());
        } else {
            self.conversation.decline(item, &request, decision.reason.as_deref());
        }
        true
    }

    fn steer(&mut self, message: &str) -> Steered {
        if self.conversation.turn != Turn::Running {
            return Steered::NotSupported;
        }
        self.conversation.steered = true;
        self.conversation.unheard.push_back(message.to_owned());
        self.conversation.say(message);
        Steered::Delivered
    }

    fn interrupt(&mut self) -> bool {
        if self.conversation.turn == Turn::Over {
            return false;
        }
        self.conversation.interrupt();
        true
    }

    fn continue_with(&mut self, prompt: &str) -> bool {
        if self.conversation.turn != Turn::Over || !self.conversation.speaks {
            return false;
        }
        self.conversation.begin_turn(prompt);
        true
    }
}

/// Parses a line; none if it is not an object that names its type.
fn message(line: &[u8]) -> Option<(String, Value)> {
    let message: Value = serde_json::from_slice(line).ok()?;
    let kind = message.get("type")?.as_str()?.to_owned();
    Some((kind, message))
}

impl Conversation {
    fn begin_turn(&mut self, prompt: &str) {
        self.turn = Turn::Running;
        self.say(prompt);
    }

    fn say(&mut self, text: &str) {
        self.send(&json!({
            "type": "user", "message": {"role": "user", "content": text},
            "parent_tool_use_id": null, "session_id": "",
        }));
    }

    fn send(&mut self, message: &Value) {
        // Nobody takes what a mere reader would say.
        if self.speaks {
            self.outgoing.extend_from_slice(message.to_string().as_bytes());
            self.outgoing.push(b'\n');
        }
    }

    fn respond(&mut self, request: &str, response: &Value) {
        let response = json!({"subtype": "success", "request_id": request, "response": response});
        self.send(&json!({"type": "control_response", "response": response}));
    }

    fn decline(&mut self, item: &str, request: &str, reason: Option<&str>) {
        self.recorder.call_declined(item);
        self.declined.insert(item.to_owned());
        let message = reason.unwrap_or("The user declined this call.");
        self.respond(request, &json!({"behavior": "deny", "message": message}));
    }

    fn interrupt(&mut self) {
        self.turn = Turn::Interrupted;
        let id = format!("interrupt-{}", self.next_request);
        self.next_request += 1;
        let request = json!({"subtype": "interrupt"});
        self.send(&json!({"type": "control_request", "request_id": id, "request": request}));
        // Claude Code takes its open questions back by itself; an answer could start what is to end.
        let open = std::mem::take(&mut self.consents);
        for item in open.into_keys() {
            self.recorder.call_declined(&item);
            self.declined.insert(item);
        }
    }

    fn line(&mut self, line: &[u8], whole: bool, observe: Observe<'_>) {
        match message(line) {
            Some((kind, message)) => self.message(&kind, &message, whole, observe),
            None => self.recorder.garbage(line),
        }
    }

    fn message(&mut self, kind: &str, message: &Value, whole: bool, observe: Observe<'_>) {
        for item in std::mem::take(&mut self.approved) {
            self.recorder.call_begun(&item, observe);
        }
        self.recorder.report.known_events += 1;
        match kind {
            "system" => self.system(message, observe),
            "assistant" => self.assistant(message, observe),
            "user" => self.user(message, observe),
            "stream_event" => piece(message, observe),
            "result" => self.result(message, observe),
            "control_request" => self.request(message, whole, observe),
            "control_cancel_request" => {
                let request = raw(message, "request_id");
                self.consents.retain(|_, open| open != request);
            }
            "tool_progress" => self.recorder.call_begun(raw(message, "tool_use_id"), observe),
            "control_response" | "keep_alive" | "rate_limit_event" => {}
            _ => self.unknown(kind),
        }
    }

    fn unknown(&mut self, kind: &str) {
        self.recorder.report.known_events -= 1;
        self.recorder.unknown(kind);
    }

    fn system(&mut self, message: &Value, observe: Observe<'_>) {
        match raw(message, "subtype") {
            "init" => {
                self.recorder.thread(raw(message, "session_id"), observe);
                self.recorder.turn_started(observe);
            }
            "api_retry" => {
                let number = |field: &str| message.get(field).and_then(Value::as_u64).unwrap_or(0);
                let what = match number("error_status") {
                    0 => text(message, "error"),
                    status => format!("HTTP {status}, {}", text(message, "error")),
                };
                let (attempt, of) = (number("attempt"), number("max_retries"));
                self.recorder.warn(
                    format!("the request to the model failed ({what}); retry {attempt} of {of}"),
                    observe,
                );
            }
            // What it shows on a screen of its own, or does for itself.
            "status" | "thinking_tokens" | "informational" | "compact_boundary" => {}
            subtype => self.unknown(&format!("system:{subtype}")),
        }
    }

    fn assistant(&mut self, message: &Value, observe: Observe<'_>) {
        // What a helper of the agent's says is said to the agent.
        let to_user = message.get("parent_tool_use_id").is_none_or(Value::is_null);
        let is_failure = message.get("is_api_error_message").and_then(Value::as_bool).unwrap_or(false);
        if is_failure {
            self.api_error = text(message, "error");
        }
        for block in content(message) {
            match raw(block, "type") {
                // The text of a failed request comes again as the reason of the turn's end.
                "text" if to_user && !is_failure => self.recorder.message(text(block, "text"), observe),
                "thinking" if to_user => {
                    observe(AgentObservation::Reasoning { text: text(block, "thinking") });
                }
                "tool_use" => {
                    let tool = tool_use(&self.recorder, raw(block, "name"), &block["input"]);
                    self.recorder.call_announced(raw(block, "id"), tool, None, true);
                }
                "text" | "thinking" | "redacted_thinking" => {}
                kind => self.recorder.unknown(&format!("block:{kind}")),
            }
        }
    }

    fn user(&mut self, message: &Value, observe: Observe<'_>) {
        if message.get("isReplay").and_then(Value::as_bool).unwrap_or(false) {
            self.steered = false;
            // The prompt is echoed too.
            if self.unheard.front().is_some_and(|unheard| *unheard == said(message)) {
                self.unheard.pop_front();
                observe(AgentObservation::SteerTaken);
            }
            return;
        }
        let done = &message["tool_use_result"];
        let metas = message.get("tool_result_meta").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        for block in content(message).iter().filter(|block| raw(block, "type") == "tool_result") {
            let item = shortened(raw(block, "tool_use_id"), ITEM_LIMIT);
            let meta = metas.iter().find(|meta| raw(meta, "id") == item).unwrap_or(&Value::Null);
            let declined = self.declined.remove(&item);
            let announced = self.recorder.open_call(&item).map(|call| call.tool.clone());
            let unknown = ToolUse::Other { name: "unknown".into(), input: String::new() };
            let tool = as_done(announced.unwrap_or(unknown), done);
            let (ended, output) = (call_outcome(block, meta, declined), result_text(block));
            if matches!(tool, ToolUse::Command { .. }) && ended.status != CallStatus::Declined {
                self.recorder.output(&item, &output, observe);
            }
            self.recorder.call_finished(&item, tool, None, ended, observe);
        }
    }

    fn request(&mut self, message: &Value, whole: bool, observe: Observe<'_>) {
        let (id, request) = (raw(message, "request_id"), &message["request"]);
        if id.is_empty() || id.len() > MAX_REQUEST_ID {
            return self.unknown("control_request");
        }
        if raw(request, "subtype") != "can_use_tool" {
            let error = "this client does not serve that";
            let response = json!({"subtype": "error", "request_id": id, "error": error});
            self.send(&json!({"type": "control_response", "response": response}));
            return self.unknown(&format!("control_request:{}", raw(request, "subtype")));
        }
        let (name, input, item) = (raw(request, "tool_name"), &request["input"], raw(request, "tool_use_id"));
        let is_whole = whole && is_shown_whole(name, input);
        let refusal = if !is_whole {
            Some(
                "This call is too long to be shown whole, so nobody can consent to it. Do it in smaller steps.",
            )
        } else if item.is_empty() || item.len() > ITEM_LIMIT || self.consents.contains_key(item) {
            Some("This call has no id of its own, so nobody can consent to it.")
        } else if self.consents.len() == MAX_OPEN_CONSENTS {
            Some("Too many calls wait for consent. Ask again later.")
        } else {
            None
        };
        let tool = tool_use(&self.recorder, name, input);
        self.recorder.call_announced(item, tool.clone(), None, is_whole);
        if let Some(refusal) = refusal {
            self.recorder.warn(format!("refused a call of `{}`: {refusal}", shortened(name, 64)), observe);
            return self.decline(&shortened(item, ITEM_LIMIT), id, Some(refusal));
        }
        if !self.speaks {
            return;
        }
        self.consents.insert(item.to_owned(), id.to_owned());
        let described = text(input, "description");
        let reason = if described.is_empty() { text(request, "decision_reason") } else { described };
        observe(AgentObservation::ConsentWanted(Box::new(ConsentRequest {
            item: item.to_owned(),
            escalated: !self.full_access && self.is_escalated(&tool, request),
            tool,
            cwd: self.roots.first().and_then(|root| root.to_str()).map(str::to_owned),
            reason: Some(reason).filter(|reason| !reason.is_empty()),
            // Its own rules would reach further than what was shown.
            offers_session: false,
        })));
    }

    fn is_escalated(&self, tool: &ToolUse, request: &Value) -> bool {
        match tool {
            ToolUse::Patch { files } => {
                // It follows links before it says this; the path alone may look harmless.
                raw(request, "decision_reason_type") == "workingDir"
                    || request.get("blocked_path").is_some()
                    || files.iter().any(|file| self.recorder.is_outside(&file.change.path))
            }
            ToolUse::Command { .. } | ToolUse::Other { .. } => true,
            // What a server does is confined, or not, by whoever started the server.
            ToolUse::Mcp { .. } => false,
        }
    }

    fn result(&mut self, result: &Value, observe: Observe<'_>) {
        if let Some((session, turn)) = usage(result) {
            self.recorder.usage(session, turn, observe);
        }
        let cost = result.get("total_cost_usd").and_then(Value::as_f64);
        self.recorder.report.cost_microdollars = cost.and_then(microdollars);
        let failed = result.get("is_error").and_then(Value::as_bool).unwrap_or(true);
        if !failed {
            if let Some(output) = result.get("structured_output").filter(|output| !output.is_null()) {
                self.recorder.message(shortened(&output.to_string(), crate::text::TEXT_LIMIT), observe);
            }
            self.recorder.turn_completed(observe);
        } else if self.turn == Turn::Interrupted {
            self.recorder.report.terminal = Terminal::Interrupted;
            observe(AgentObservation::TurnFailed { message: "the turn was interrupted".into() });
        } else {
            let (message, class) = failure(result, &std::mem::take(&mut self.api_error));
            self.recorder.turn_failed(message, class, observe);
        }
        let queued = result.get("queued_turn_count").and_then(Value::as_u64).unwrap_or(0);
        // A message that came too late for this turn makes one of its own.
        let goes_on = self.speaks && self.turn == Turn::Running && (queued > 0 || self.steered);
        self.turn = if goes_on { Turn::Running } else { Turn::Over };
    }
}

/// Returns what a user's message says.
fn said(message: &Value) -> String {
    match &message["message"]["content"] {
        Value::String(text) => text.clone(),
        _ => content(message).iter().map(|block| raw(block, "text")).collect(),
    }
}

/// Returns the content blocks of a message.
fn content(message: &Value) -> &[Value] {
    message["message"].get("content").and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// Reports a piece of a message that the agent is saying to the user.
fn piece(message: &Value, observe: Observe<'_>) {
    let delta = &message["event"]["delta"];
    if raw(delta, "type") == "text_delta" && message.get("parent_tool_use_id").is_none_or(Value::is_null) {
        observe(AgentObservation::MessageDelta { text: text(delta, "text") });
    }
}
