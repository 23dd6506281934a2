//! Speaks the Agent Client Protocol as a client, without touching a pipe.
//!
//! Owns the state of one session: what was asked of the agent and not answered, and what it asked of us. Tolerant by
//! rule in what it reads; every request of the agent's is answered, with a refusal if there is nothing better.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use agent_client_protocol_schema::ProtocolVersion;
use agent_client_protocol_schema::v1::{
    AuthMethod, CancelNotification, ClientCapabilities, ContentBlock, EnvVariable, ErrorCode, Implementation,
    InitializeRequest, InitializeResponse, LoadSessionRequest, McpServer, McpServerStdio, NewSessionRequest,
    NewSessionResponse, PermissionOption, PermissionOptionKind, PlanEntryStatus, PromptRequest,
    PromptResponse, RequestPermissionOutcome, RequestPermissionRequest, RequestPermissionResponse,
    ResumeSessionRequest, SelectedPermissionOutcome, SessionNotification, SessionUpdate, StopReason,
    ToolCallStatus,
};
use co_model::{CallOutcome, CallStatus, ToolUse};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::calls::Calls;
use crate::dialogue::{ConsentDecision, ConsentRequest, Dialogue, Steered, Transcript};
use crate::driver::McpServers;
use crate::lines::LineCutter;
use crate::observation::{AgentObservation, TodoItem};
use crate::recorder::{ITEM_LIMIT, Observe, Recorder, detail, outcome};
use crate::report::{AgentReport, Terminal};
use crate::text::{SHORT_LIMIT, TEXT_LIMIT, shortened};
use crate::thread::ThreadId;
use crate::verdict::FailureClass;

/// Bounds the consents that are open at once.
const MAX_OPEN_CONSENTS: usize = 64;
/// Bounds the id of a request of the agent's, in bytes of JSON.
const MAX_REQUEST_ID: usize = 256;
/// Bounds the options of a question.
const MAX_OPTIONS: usize = 32;
/// Bounds the entries of a plan.
const MAX_PLAN: usize = 200;
/// JSON-RPC's number for a method that is not there.
const METHOD_NOT_FOUND: i64 = -32601;

/// Speaks with one process of an agent, in one session.
///
/// Commands that the agent asks for, and tools of its own, are *escalated* unless the stage has full access: nothing
/// that the protocol knows confines them. Changes of files are escalated if they leave the working directory.
#[derive(Debug)]
pub struct AcpDialogue {
    lines: LineCutter,
    session: Session,
}

#[derive(Debug, Default)]
struct Session {
    recorder: Recorder,
    roots: Vec<PathBuf>,
    outgoing: Vec<u8>,
    full_access: bool,
    mcp: Vec<McpServer>,
    speaks: bool,
    prompt: String,
    /// The session to resume.
    wanted: Option<ThreadId>,
    /// The session as the agent names it.
    id: Option<String>,
    asked: Option<(u64, Asked)>,
    next_request: u64,
    auth_methods: Vec<String>,
    interrupted: bool,
    calls: Calls,
    consents: BTreeMap<String, Question>,
    /// The calls that were consented to since the last line, which tells that they have begun.
    approved: Vec<String>,
    declined: BTreeSet<String>,
    /// The message, or the thought, that is being said.
    said: Said,
}

/// Names what the agent is to answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    Initialize,
    NewSession,
    /// What it says meanwhile is the past, told again.
    OldSession,
    Prompt,
}

/// Holds a question of the agent's that is open.
#[derive(Debug)]
struct Question {
    request: Value,
    options: Vec<PermissionOption>,
}

#[derive(Debug, Default)]
struct Said {
    text: String,
    is_thought: bool,
}

impl AcpDialogue {
    /// Begins a dialogue with an agent that works in one of `roots`, which are spellings of the same directory.
    pub fn new(roots: Vec<PathBuf>) -> Self {
        let session = Session { recorder: Recorder::new(roots.clone()), roots, ..Session::default() };
        Self { lines: LineCutter::whole(), session }
    }

    /// Gives the agent MCP servers.
    #[must_use]
    pub fn with_mcp_servers(mut self, servers: Option<&McpServers>) -> Self {
        let of = |server: &crate::driver::McpServer| {
            let environment = server.environment.iter();
            let environment = environment.map(|(name, value)| EnvVariable::new(name.clone(), value.clone()));
            McpServer::Stdio(
                McpServerStdio::new(server.name.clone(), server.command.clone())
                    .args(server.arguments.clone())
                    .env(environment.collect::<Vec<_>>()),
            )
        };
        self.session.mcp = servers.into_iter().flat_map(|servers| &servers.given).map(of).collect();
        self
    }

    /// Gives the agent its prompt, in a new session or in `thread`.
    #[must_use]
    pub fn with_prompt(mut self, prompt: &str, thread: Option<&ThreadId>) -> Self {
        prompt.clone_into(&mut self.session.prompt);
        self.session.wanted = thread.cloned();
        self.session.speaks = true;
        self.session.initialize();
        self
    }

    /// Says whether the stage is to have no sandbox, so that no consent is for leaving one.
    #[must_use]
    pub fn with_full_access(mut self, full_access: bool) -> Self {
        self.session.full_access = full_access;
        self
    }
}

impl Transcript for AcpDialogue {
    fn push(&mut self, bytes: &[u8], observe: &mut dyn FnMut(AgentObservation)) {
        self.lines.push_marked(bytes, |line, whole| self.session.line(line, whole, observe));
    }

    fn finish(mut self: Box<Self>, observe: &mut dyn FnMut(AgentObservation)) -> AgentReport {
        if let Some(rest) = self.lines.rest() {
            match message(rest) {
                Some(message) => self.session.message(&message, false, observe),
                None => self.session.recorder.report.truncated_last_line = true,
            }
        }
        self.session.flush(observe);
        self.session.recorder.report.overlong_lines = self.lines.overlong_lines();
        self.session.recorder.finish(observe)
    }
}

impl Dialogue for AcpDialogue {
    fn outgoing(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.session.outgoing)
    }

    fn input_open(&self) -> bool {
        self.session.asked.is_some()
    }

    fn answer(&mut self, item: &str, decision: &ConsentDecision) -> bool {
        let Some(question) = self.session.consents.remove(item) else { return false };
        self.session.decide(item, &question, decision);
        true
    }

    fn steer(&mut self, _message: &str) -> Steered {
        Steered::NotSupported
    }

    fn interrupt(&mut self) -> bool {
        let Some((_, asked)) = self.session.asked else { return false };
        self.session.interrupted = true;
        for (item, question) in std::mem::take(&mut self.session.consents) {
            self.session.recorder.call_declined(&item);
            self.session.declined.insert(item);
            self.session.outcome(&question.request, RequestPermissionOutcome::Cancelled);
        }
        if let (Some(id), Asked::Prompt) = (&self.session.id, asked) {
            let params = CancelNotification::new(id.clone());
            self.session.notify("session/cancel", &params);
        } else {
            // Nothing has begun: there is nothing to wait for.
            self.session.asked = None;
            self.session.recorder.report.terminal = Terminal::Interrupted;
        }
        true
    }

    fn continue_with(&mut self, prompt: &str) -> bool {
        if self.session.asked.is_some() || self.session.id.is_none() || !self.session.speaks {
            return false;
        }
        prompt.clone_into(&mut self.session.prompt);
        self.session.prompt();
        true
    }
}

/// Parses a line; none if it is no message of JSON-RPC.
fn message(line: &[u8]) -> Option<Value> {
    let message: Value = serde_json::from_slice(line).ok()?;
    (message.get("method").is_some_and(Value::is_string) || message.get("id").is_some()).then_some(message)
}

fn parse<T: DeserializeOwned>(value: &Value) -> Option<T> {
    T::deserialize(value).ok()
}

impl Session {
    fn send(&mut self, message: &Value) {
        if self.speaks {
            self.outgoing.extend_from_slice(message.to_string().as_bytes());
            self.outgoing.push(b'\n');
        }
    }

    fn ask(&mut self, asked: Asked, method: &str, params: &impl Serialize) {
        let id = self.next_request;
        self.next_request += 1;
        self.asked = Some((id, asked));
        self.send(&json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}));
    }

    fn notify(&mut self, method: &str, params: &impl Serialize) {
        self.send(&json!({"jsonrpc": "2.0", "method": method, "params": params}));
    }

    fn outcome(&mut self, request: &Value, outcome: RequestPermissionOutcome) {
        let result = RequestPermissionResponse::new(outcome);
        self.send(&json!({"jsonrpc": "2.0", "id": request, "result": result}));
    }

    fn initialize(&mut self) {
        // No files and no terminals: an agent that has its own uses them, and asks.
        let params = InitializeRequest::new(ProtocolVersion::V1)
            .client_capabilities(ClientCapabilities::new())
            .client_info(Implementation::new("codex-orchestrator", env!("CARGO_PKG_VERSION")));
        self.ask(Asked::Initialize, "initialize", &params);
    }

    fn prompt(&mut self) {
        let Some(id) = self.id.clone() else { return };
        let prompt = std::mem::take(&mut self.prompt);
        let params = PromptRequest::new(id, vec![ContentBlock::from(prompt)]);
        self.interrupted = false;
        self.ask(Asked::Prompt, "session/prompt", &params);
    }

    fn line(&mut self, line: &[u8], whole: bool, observe: Observe<'_>) {
        match message(line) {
            Some(message) => self.message(&message, whole, observe),
            None => self.recorder.garbage(line),
        }
    }

    fn message(&mut self, message: &Value, whole: bool, observe: Observe<'_>) {
        for item in std::mem::take(&mut self.approved) {
            self.recorder.call_begun(&item, observe);
        }
        self.recorder.report.known_events += 1;
        let params = &message["params"];
        match (message.get("method").and_then(Value::as_str), message.get("id")) {
            (Some("session/request_permission"), Some(id)) => self.question(id, params, whole, observe),
            (Some("session/update"), None) => self.update(params, observe),
            (Some(method), Some(id)) => {
                let error = json!({"code": METHOD_NOT_FOUND, "message": "this client does not serve that"});
                if id.to_string().len() <= MAX_REQUEST_ID {
                    self.send(&json!({"jsonrpc": "2.0", "id": id, "error": error}));
                }
                self.unknown(method);
            }
            (Some(method), None) => self.unknown(method),
            (None, Some(id)) => self.response(id, message, observe),
            (None, None) => self.unknown("message"),
        }
    }

    fn unknown(&mut self, kind: &str) {
        self.recorder.report.known_events -= 1;
        self.recorder.unknown(kind);
    }

    fn response(&mut self, id: &Value, message: &Value, observe: Observe<'_>) {
        let Some((_, asked)) = self.asked.filter(|(asked, _)| id.as_u64() == Some(*asked)) else {
            // A reader of a part of the output knows no requests, but it knows a session when it sees one.
            return self.overheard(message, observe);
        };
        self.asked = None;
        if let Some(error) = message.get("error") {
            return self.refused(asked, error, observe);
        }
        let result = &message["result"];
        match asked {
            Asked::Initialize => self.initialized(result, observe),
            Asked::NewSession => match parse::<NewSessionResponse>(result) {
                Some(opened) => self.opened(opened.session_id.0.to_string(), observe),
                None => self.senseless("session/new", observe),
            },
            Asked::OldSession => {
                let wanted = self.wanted.as_ref().map(ThreadId::to_string).unwrap_or_default();
                self.opened(wanted, observe);
            }
            Asked::Prompt => self.prompted(result, observe),
        }
    }

    fn overheard(&mut self, message: &Value, observe: Observe<'_>) {
        let session = message["result"].get("sessionId").and_then(Value::as_str);
        match session {
            Some(session) if !self.speaks => self.recorder.thread(session, observe),
            None if !self.speaks => match parse::<PromptResponse>(&message["result"]) {
                Some(_) => self.prompted(&message["result"], observe),
                None => self.unknown("response"),
            },
            _ => self.unknown("response"),
        }
    }

    fn initialized(&mut self, result: &Value, observe: Observe<'_>) {
        // Read apart from the rest: what another version looks like is not ours to know.
        let version = result.get("protocolVersion").unwrap_or(&Value::Null);
        if *version != json!(ProtocolVersion::V1) {
            let message = format!(
                "the agent speaks version {} of the Agent Client Protocol, and this client version 1",
                shortened(&version.to_string(), 64)
            );
            return self.fail(message, Some(FailureClass::UnsupportedProtocol), observe);
        }
        let Some(agent) = parse::<InitializeResponse>(result) else {
            return self.senseless("initialize", observe);
        };
        let method = |method: &AuthMethod| shortened(method.name(), 64);
        self.auth_methods = agent.auth_methods.iter().take(MAX_OPTIONS).map(method).collect();
        let Some(cwd) = self.roots.first().cloned() else { return };
        let can = agent.agent_capabilities;
        let mcp = self.mcp.clone();
        match self.wanted.clone() {
            None => self.ask(Asked::NewSession, "session/new", &NewSessionRequest::new(cwd).mcp_servers(mcp)),
            Some(thread) if can.session_capabilities.resume.is_some() => {
                let params = ResumeSessionRequest::new(thread.to_string(), cwd).mcp_servers(mcp);
                self.ask(Asked::OldSession, "session/resume", &params);
            }
            Some(thread) if can.load_session => {
                let params = LoadSessionRequest::new(thread.to_string(), cwd).mcp_servers(mcp);
                self.ask(Asked::OldSession, "session/load", &params);
            }
            Some(thread) => {
                let message = format!("the agent cannot resume a session, and `{thread}` was to be resumed");
                self.fail(message, Some(FailureClass::ThreadNotFound), observe);
            }
        }
    }

    fn opened(&mut self, id: String, observe: Observe<'_>) {
        self.recorder.thread(&id, observe);
        self.id = Some(id);
        self.recorder.turn_started(observe);
        self.prompt();
    }

    fn prompted(&mut self, result: &Value, observe: Observe<'_>) {
        self.flush(observe);
        self.end_calls(observe);
        let Some(response) = parse::<PromptResponse>(result) else {
            return self.senseless("session/prompt", observe);
        };
        let failed = match response.stop_reason {
            StopReason::EndTurn => return self.recorder.turn_completed(observe),
            StopReason::Cancelled => {
                self.recorder.report.terminal = Terminal::Interrupted;
                return observe(AgentObservation::TurnFailed { message: "the turn was cancelled".into() });
            }
            StopReason::MaxTokens => "the model reached the limit of its answer",
            StopReason::MaxTurnRequests => "the agent reached its limit of requests to the model in one turn",
            StopReason::Refusal => "the agent refused to go on",
            _ => "the agent stopped for a reason that this version does not know",
        };
        self.recorder.turn_failed(failed.into(), Some(FailureClass::TurnFailed), observe);
    }

    /// Takes the agent's refusal of a request of ours.
    fn refused(&mut self, asked: Asked, error: &Value, observe: Observe<'_>) {
        let code = error.get("code").and_then(Value::as_i64).and_then(|code| i32::try_from(code).ok());
        let said = error.get("message").and_then(Value::as_str).unwrap_or("it gave no reason");
        let mut message = shortened(said, TEXT_LIMIT);
        if let Some(more) = error.get("data").filter(|more| !more.is_null()) {
            message =
                shortened(&format!("{message} ({})", shortened(&more.to_string(), SHORT_LIMIT)), TEXT_LIMIT);
        }
        let class = match (code.map(ErrorCode::from), asked) {
            (Some(ErrorCode::AuthRequired), _) => {
                if !self.auth_methods.is_empty() {
                    message = format!("{message}; the agent knows: {}", self.auth_methods.join(", "));
                }
                Some(FailureClass::NotAuthenticated)
            }
            (Some(ErrorCode::RequestCancelled), _) if self.interrupted => {
                self.recorder.report.terminal = Terminal::Interrupted;
                return observe(AgentObservation::TurnFailed { message });
            }
            (Some(ErrorCode::MethodNotFound), Asked::Initialize) => Some(FailureClass::UnsupportedProtocol),
            (Some(_), Asked::OldSession) => Some(FailureClass::ThreadNotFound),
            _ => None,
        };
        self.fail(message, class, observe);
    }

    fn senseless(&mut self, method: &str, observe: Observe<'_>) {
        let message = format!("the agent's answer to `{method}` is not what the protocol says");
        self.fail(message, Some(FailureClass::UnsupportedProtocol), observe);
    }

    fn fail(&mut self, message: String, class: Option<FailureClass>, observe: Observe<'_>) {
        self.flush(observe);
        self.end_calls(observe);
        self.recorder.turn_failed(message, class, observe);
    }

    fn update(&mut self, params: &Value, observe: Observe<'_>) {
        if self.asked.is_some_and(|(_, asked)| asked == Asked::OldSession) {
            return;
        }
        let Some(notification) = parse::<SessionNotification>(params) else {
            let kind =
                params["update"].get("sessionUpdate").and_then(Value::as_str).unwrap_or("session/update");
            return self.unknown(&format!("update:{kind}"));
        };
        match notification.update {
            SessionUpdate::AgentMessageChunk(chunk) => self.chunk(chunk.content, false, observe),
            SessionUpdate::AgentThoughtChunk(chunk) => self.chunk(chunk.content, true, observe),
            SessionUpdate::ToolCall(call) => {
                self.flush(observe);
                let id = call.tool_call_id.0.to_string();
                let known = self.calls.announce(&self.recorder, call).is_some();
                self.call(&id, known, observe);
            }
            SessionUpdate::ToolCallUpdate(update) => {
                let id = update.tool_call_id.0.to_string();
                let known = self.calls.update(&self.recorder, &id, update.fields).is_some();
                self.call(&id, known, observe);
            }
            SessionUpdate::Plan(plan) => {
                let items = plan.entries.iter().take(MAX_PLAN).map(|entry| TodoItem {
                    text: shortened(&entry.content, SHORT_LIMIT),
                    completed: entry.status == PlanEntryStatus::Completed,
                });
                observe(AgentObservation::TodoChanged { items: items.collect() });
            }
            SessionUpdate::UsageUpdate(usage) => {
                let cost = usage.cost.filter(|cost| cost.currency == "USD");
                if let Some(cost) = cost.and_then(|cost| crate::report::microdollars(cost.amount)) {
                    self.recorder.report.cost_microdollars = Some(cost);
                }
            }
            SessionUpdate::Notice(notice) => {
                self.recorder.warn(shortened(&notice.title, SHORT_LIMIT), observe);
            }
            // What it offers to people who sit before it, and our own words.
            _ => {}
        }
    }

    fn chunk(&mut self, content: ContentBlock, is_thought: bool, observe: Observe<'_>) {
        let ContentBlock::Text(text) = content else { return };
        if self.said.is_thought != is_thought {
            self.flush(observe);
        }
        self.said.is_thought = is_thought;
        let room = (TEXT_LIMIT + 4).saturating_sub(self.said.text.len());
        self.said.text.push_str(&shortened(&text.text, room));
        if !is_thought {
            observe(AgentObservation::MessageDelta { text: shortened(&text.text, TEXT_LIMIT) });
        }
    }

    /// Ends the message, or the thought, that was being said.
    fn flush(&mut self, observe: Observe<'_>) {
        let Said { text, is_thought } = std::mem::take(&mut self.said);
        let text = shortened(&text, TEXT_LIMIT);
        match (text.is_empty(), is_thought) {
            (true, _) => {}
            (false, true) => observe(AgentObservation::Reasoning { text }),
            (false, false) => self.recorder.message(text, observe),
        }
    }

    /// Tells what has become of a call.
    fn call(&mut self, id: &str, known: bool, observe: Observe<'_>) {
        let item = shortened(id, ITEM_LIMIT);
        let Some(call) = known.then(|| self.calls.get(id)).flatten() else {
            return self.unknown("call:too-many");
        };
        let (tool, cwd) = (call.tool(&self.recorder), call.cwd().map(str::to_owned));
        let status = match call.status {
            ToolCallStatus::Completed => CallStatus::Succeeded,
            ToolCallStatus::Failed if self.declined.contains(&item) => CallStatus::Declined,
            ToolCallStatus::Failed => CallStatus::Failed,
            // Only that word says that no consent is waited for.
            ToolCallStatus::InProgress if !self.consents.contains_key(&item) => {
                return self.recorder.call_started(&item, tool, cwd, observe);
            }
            _ => return self.recorder.call_announced(&item, tool, cwd, true),
        };
        let text = call.text.clone();
        let ended = CallOutcome {
            exit_code: call.exit_code(),
            detail: detail(&text).filter(|_| status != CallStatus::Succeeded),
            ..outcome(status)
        };
        if matches!(tool, ToolUse::Command { .. }) && status != CallStatus::Declined {
            self.recorder.output(&item, &text, observe);
        }
        self.declined.remove(&item);
        self.calls.remove(id);
        self.recorder.call_finished(&item, tool, cwd, ended, observe);
    }

    /// Ends the calls that were refused and that the agent said no more of.
    fn end_calls(&mut self, observe: Observe<'_>) {
        for item in std::mem::take(&mut self.declined) {
            if let Some(tool) = self.recorder.open_call(&item).map(|call| call.tool.clone()) {
                self.recorder.call_finished(&item, tool, None, outcome(CallStatus::Declined), observe);
            }
        }
        self.consents.clear();
        self.calls.clear();
    }

    fn question(&mut self, id: &Value, params: &Value, whole: bool, observe: Observe<'_>) {
        if id.to_string().len() > MAX_REQUEST_ID {
            return self.unknown("session/request_permission");
        }
        let Some(request) = parse::<RequestPermissionRequest>(params) else {
            self.outcome(id, RequestPermissionOutcome::Cancelled);
            return self.unknown("session/request_permission");
        };
        self.flush(observe);
        let call_id = request.tool_call.tool_call_id.0.to_string();
        let item = shortened(&call_id, ITEM_LIMIT);
        let question = Question { request: id.clone(), options: request.options };
        self.calls.update(&self.recorder, &call_id, request.tool_call.fields);
        let call = self.calls.get(&call_id);
        let refusal = match call {
            None => Some("too many calls are open"),
            Some(call) if !whole || !call.is_whole() => Some("it is too long to be shown whole"),
            Some(_) if item.is_empty() || item != call_id || self.consents.contains_key(&item) => {
                Some("it has no id of its own")
            }
            Some(_) if self.consents.len() == MAX_OPEN_CONSENTS => Some("too many calls wait for consent"),
            Some(_) if question.options.len() > MAX_OPTIONS => Some("it offers too many answers"),
            Some(_) if self.interrupted => Some("the turn is to end"),
            Some(_) => None,
        };
        let Some(call) = call.filter(|_| refusal.is_none()) else {
            let why = refusal.unwrap_or_default();
            self.recorder.warn(format!("refused a call of the agent: {why}"), observe);
            return self.decide(&item, &question, &ConsentDecision::declined(None));
        };
        let tool = call.tool(&self.recorder);
        let cwd = call.cwd().map(str::to_owned);
        let title = call.title().to_owned();
        self.recorder.call_announced(&item, tool.clone(), cwd.clone(), true);
        if !self.speaks {
            return;
        }
        let offers_session =
            question.options.iter().any(|option| option.kind == PermissionOptionKind::AllowAlways);
        self.consents.insert(item.clone(), question);
        observe(AgentObservation::ConsentWanted(Box::new(ConsentRequest {
            item,
            escalated: !self.full_access && self.is_escalated(&tool),
            tool,
            cwd: cwd.or_else(|| self.roots.first().and_then(|root| root.to_str()).map(str::to_owned)),
            reason: Some(title).filter(|title| !title.is_empty()),
            offers_session,
        })));
    }

    fn is_escalated(&self, tool: &ToolUse) -> bool {
        match tool {
            ToolUse::Patch { files } => files.iter().any(|file| self.recorder.is_outside(&file.change.path)),
            ToolUse::Command { .. } | ToolUse::Other { .. } | ToolUse::Mcp { .. } => true,
        }
    }

    /// Answers a question by the option that says neither more nor less than the decision.
    fn decide(&mut self, item: &str, question: &Question, decision: &ConsentDecision) {
        use PermissionOptionKind::{AllowAlways, AllowOnce, RejectAlways, RejectOnce};
        let wanted: &[PermissionOptionKind] = match (decision.approved, decision.for_session) {
            (true, true) => &[AllowAlways, AllowOnce],
            (true, false) => &[AllowOnce],
            (false, _) => &[RejectOnce, RejectAlways],
        };
        let option_of = |kinds: &[PermissionOptionKind]| {
            kinds.iter().find_map(|kind| question.options.iter().find(|option| option.kind == *kind))
        };
        // Consent for once is not consent for ever, even if an agent offers nothing else.
        let fallback = [RejectOnce, RejectAlways];
        let chosen = option_of(wanted);
        if decision.approved && chosen.is_some() {
            self.approved.push(item.to_owned());
        } else {
            self.recorder.call_declined(item);
            self.declined.insert(item.to_owned());
        }
        let outcome = match chosen.or_else(|| option_of(&fallback)) {
            Some(option) => {
                RequestPermissionOutcome::Selected(SelectedPermissionOutcome::new(option.option_id.clone()))
            }
            None => RequestPermissionOutcome::Cancelled,
        };
        self.outcome(&question.request, outcome);
    }
}
