//! Holds one conversation with `codex app-server`.
//!
//! It owns what is open between the two: requests without an answer, consents without a decision, the running turn.
//! Tolerant by rule: what is not known is counted, and a request that is not known is refused, never left hanging.

mod events;

use std::collections::BTreeMap;
use std::path::PathBuf;

use co_model::{ApprovalPolicy, SandboxMode};
use serde_json::{Map, Value, json};

use super::consent::{Answer, Reply};
use crate::codex::TESTED_VERSIONS;
use crate::dialogue::{ConsentDecision, Dialogue, Steered, Transcript};
use crate::driver::AgentRequest;
use crate::lines::LineCutter;
use crate::observation::AgentObservation;
use crate::recorder::{Observe, Recorder};
use crate::report::{AgentReport, Terminal};
use crate::rpc::{self, Incoming, RpcError};
use crate::survey::is_tested;
use crate::text::{SHORT_LIMIT, shortened};
use crate::thread::ThreadId;
use crate::verdict::FailureClass;

/// Speaks with `codex app-server`: one conversation, one turn after the other.
#[derive(Debug)]
pub struct CodexServerDialogue {
    lines: LineCutter,
    talk: Talk,
}

/// Says what the conversation is begun with.
#[derive(Debug, Default)]
struct Opening {
    cwd: PathBuf,
    prompt: String,
    thread: Option<ThreadId>,
    model: Option<String>,
    sandbox: Option<SandboxMode>,
    approval: Option<ApprovalPolicy>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// No turn is running yet.
    #[default]
    Opening,
    Running,
    /// The last turn has ended; another one may begin.
    Ended,
    /// There is nothing more to be said.
    Over,
}

/// Says what a request of ours was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pending {
    Initialize,
    Thread,
    Turn,
    Steer,
    Interrupt,
}

/// Is a consent between the question and the server's word that the matter is settled.
#[derive(Debug)]
struct Consent {
    id: Value,
    answer: Answer,
    offers_session: bool,
    /// What the client said; none while nobody has.
    reply: Option<Reply>,
}

#[derive(Debug, Default)]
struct Talk {
    recorder: Recorder,
    opening: Opening,
    /// Whether nobody listens: the conversation took place earlier, and is only read.
    silent: bool,
    outgoing: Vec<u8>,
    phase: Phase,
    last_id: u64,
    pending: BTreeMap<u64, Pending>,
    consents: BTreeMap<String, Consent>,
    turn: Option<String>,
    /// What the agent is to be told once its turn runs.
    queued: Vec<String>,
    interrupting: bool,
    /// An error that is not repeated; the end of the turn follows it.
    held_error: Option<(String, Option<FailureClass>)>,
}

impl CodexServerDialogue {
    /// Begins a conversation, or goes on with the one that the request names.
    pub fn new(request: &AgentRequest<'_>) -> Self {
        let opening = Opening {
            cwd: request.cwd.to_owned(),
            prompt: request.prompt.to_owned(),
            thread: request.thread.cloned(),
            model: request.model.map(str::to_owned),
            sandbox: request.sandbox,
            approval: request.approval,
        };
        let recorder = Recorder::new(Recorder::spellings(request.cwd));
        Self::begin(Talk { recorder, opening, ..Talk::default() })
    }

    /// Begins to read a conversation that took place in one of `roots`, which are spellings of the same directory.
    pub fn reading(roots: Vec<PathBuf>) -> Self {
        Self::begin(Talk { recorder: Recorder::new(roots), silent: true, ..Talk::default() })
    }

    fn begin(mut talk: Talk) -> Self {
        let client = json!({ "name": "codex-orchestrator", "version": env!("CARGO_PKG_VERSION") });
        let granular = matches!(talk.opening.approval, Some(ApprovalPolicy::Granular(_)));
        let params = json!({ "clientInfo": client, "capabilities": { "experimentalApi": granular } });
        talk.ask(Pending::Initialize, "initialize", &params);
        Self { lines: LineCutter::default(), talk }
    }
}

impl Transcript for CodexServerDialogue {
    fn push(&mut self, bytes: &[u8], observe: &mut dyn FnMut(AgentObservation)) {
        self.lines.push_marked(bytes, |line, whole| self.talk.line(line, whole, observe));
    }

    fn finish(mut self: Box<Self>, observe: &mut dyn FnMut(AgentObservation)) -> AgentReport {
        if let Some(rest) = self.lines.rest() {
            match rpc::parse(rest) {
                // The line was not cut short, only its newline is missing; still, nothing of it is consented to.
                Some(message) => self.talk.message(message, false, observe),
                None => self.talk.recorder.report.truncated_last_line = true,
            }
        }
        self.talk.recorder.report.overlong_lines = self.lines.overlong_lines();
        self.talk.finish(observe)
    }
}

impl Dialogue for CodexServerDialogue {
    fn outgoing(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.talk.outgoing)
    }

    fn input_open(&self) -> bool {
        !self.talk.silent && matches!(self.talk.phase, Phase::Opening | Phase::Running)
    }

    fn answer(&mut self, item: &str, decision: &ConsentDecision) -> bool {
        let Some(consent) = self.talk.consents.get_mut(item) else { return false };
        if consent.reply.is_some() {
            return false;
        }
        let reply = Reply::to(decision, consent.offers_session);
        consent.reply = Some(reply);
        let bytes = rpc::response(&consent.id, &consent.answer.result(reply));
        self.talk.send(&bytes);
        true
    }

    fn steer(&mut self, message: &str) -> Steered {
        match self.talk.phase {
            Phase::Opening => self.talk.queued.push(message.to_owned()),
            Phase::Running => self.talk.steer(message),
            Phase::Ended | Phase::Over => return Steered::NotSupported,
        }
        Steered::Delivered
    }

    fn interrupt(&mut self) -> bool {
        self.talk.interrupt()
    }

    fn continue_with(&mut self, prompt: &str) -> bool {
        let thread = self.talk.recorder.report.thread_id.clone();
        let Some(thread) = thread.filter(|_| self.talk.phase == Phase::Ended) else { return false };
        self.talk.phase = Phase::Opening;
        self.talk.start_turn(&thread, prompt);
        true
    }
}

impl Talk {
    fn send(&mut self, bytes: &[u8]) {
        if !self.silent {
            self.outgoing.extend_from_slice(bytes);
        }
    }

    fn ask(&mut self, pending: Pending, method: &str, params: &Value) {
        self.last_id += 1;
        self.pending.insert(self.last_id, pending);
        let bytes = rpc::request(self.last_id, method, params);
        self.send(&bytes);
    }

    fn line(&mut self, line: &[u8], whole: bool, observe: Observe<'_>) {
        match rpc::parse(line) {
            Some(message) => self.message(message, whole, observe),
            None => self.recorder.garbage(line),
        }
    }

    fn message(&mut self, message: Incoming, whole: bool, observe: Observe<'_>) {
        self.recorder.report.known_events += 1;
        match message {
            Incoming::Response { id, result } => match self.pending.remove(&id) {
                Some(pending) => self.response(pending, result, observe),
                // In a recording, what was asked later than the opening is not known.
                None if self.silent => {}
                None => self.unknown("response"),
            },
            Incoming::Request { id, method, params } => self.request(&id, &method, &params, whole, observe),
            Incoming::Notification { method, params } => self.notification(&method, &params, whole, observe),
        }
    }

    fn unknown(&mut self, kind: &str) {
        self.recorder.report.known_events -= 1;
        self.recorder.unknown(kind);
    }

    fn response(&mut self, pending: Pending, result: Result<Value, RpcError>, observe: Observe<'_>) {
        match (pending, result) {
            (Pending::Initialize, Ok(result)) => {
                self.check_version(&result, observe);
                if self.phase == Phase::Opening {
                    self.send(&rpc::notification("initialized"));
                    self.open_thread();
                }
            }
            (Pending::Thread, Ok(result)) => self.thread_opened(&result, observe),
            (Pending::Turn, Ok(result)) => {
                let turn = result.get("turn").and_then(|turn| turn.get("id")).and_then(Value::as_str);
                self.runs(turn.unwrap_or_default());
            }
            (Pending::Steer, Ok(_)) => observe(AgentObservation::SteerTaken),
            (Pending::Interrupt, Ok(_)) => {}
            (Pending::Initialize, Err(RpcError { message })) => {
                self.refused(message, Some(FailureClass::InvalidConfiguration), observe);
            }
            (Pending::Thread, Err(RpcError { message })) => {
                let resumes = self.opening.thread.is_some() && !message.contains("load configuration");
                let class =
                    if resumes { FailureClass::ThreadNotFound } else { FailureClass::InvalidConfiguration };
                self.refused(message, Some(class), observe);
            }
            (Pending::Turn, Err(RpcError { message })) => self.refused(message, None, observe),
            (Pending::Steer, Err(RpcError { message })) => {
                self.recorder.warn(format!("the agent did not take a message: {message}"), observe);
            }
            (Pending::Interrupt, Err(RpcError { message })) => {
                if self.phase == Phase::Running {
                    self.recorder.warn(format!("the agent was not interrupted: {message}"), observe);
                }
            }
        }
    }

    fn check_version(&mut self, result: &Value, observe: Observe<'_>) {
        let agent = result.get("userAgent").and_then(Value::as_str).unwrap_or_default();
        let version = agent.split_once('/').map(|(_, rest)| rest.split(' ').next().unwrap_or_default());
        if !version.is_some_and(|version| is_tested(version, TESTED_VERSIONS)) {
            let agent = shortened(agent, 100);
            self.recorder.warn(format!("this version of codex was not tested with: `{agent}`"), observe);
        }
    }

    fn open_thread(&mut self) {
        let opening = &self.opening;
        let mut params = Map::new();
        params.insert("cwd".to_owned(), json!(opening.cwd.to_string_lossy()));
        if let Some(model) = &opening.model {
            params.insert("model".to_owned(), json!(model));
        }
        if let Some(sandbox) = opening.sandbox {
            params.insert("sandbox".to_owned(), json!(sandbox.as_str()));
        }
        if let Some(approval) = opening.approval {
            params.insert("approvalPolicy".to_owned(), json!(approval));
        }
        let method = match &opening.thread {
            None => "thread/start",
            Some(thread) => {
                params.insert("threadId".to_owned(), json!(thread.as_str()));
                // The history is the server's own business, and may be long.
                params.insert("excludeTurns".to_owned(), json!(true));
                "thread/resume"
            }
        };
        self.ask(Pending::Thread, method, &Value::Object(params));
    }

    fn thread_opened(&mut self, result: &Value, observe: Observe<'_>) {
        let id = result.get("thread").and_then(|thread| thread.get("id")).and_then(Value::as_str);
        self.recorder.thread(id.unwrap_or_default(), observe);
        let Some(thread) = self.recorder.report.thread_id.clone() else {
            return self.refused("codex named no thread".to_owned(), None, observe);
        };
        if self.opening.thread.as_ref().is_some_and(|expected| *expected != thread) {
            // Nothing is asked of another conversation; the verdict compares the two as well.
            let message = format!("codex went on with thread `{thread}` instead");
            return self.refused(message, Some(FailureClass::ThreadMismatch), observe);
        }
        self.compare_policies(result, observe);
        if self.phase == Phase::Opening {
            let prompt = std::mem::take(&mut self.opening.prompt);
            self.start_turn(&thread, &prompt);
        }
    }

    /// Warns when Codex works under other rules than asked for: an administrator may require so.
    fn compare_policies(&mut self, result: &Value, observe: Observe<'_>) {
        let approval = self.opening.approval.map(|approval| json!(approval));
        if let (Some(asked), Some(found)) = (approval, result.get("approvalPolicy"))
            && asked != *found
        {
            let message = format!("codex works under approval policy {found}, and was asked for {asked}");
            self.recorder.warn(shortened(&message, SHORT_LIMIT), observe);
        }
        let name = |mode| match mode {
            SandboxMode::ReadOnly => "readOnly",
            SandboxMode::WorkspaceWrite => "workspaceWrite",
            SandboxMode::DangerFullAccess => "dangerFullAccess",
        };
        let found = result.get("sandbox").and_then(|sandbox| sandbox.get("type")).and_then(Value::as_str);
        if let (Some(asked), Some(found)) = (self.opening.sandbox.map(name), found)
            && asked != found
        {
            let message = format!("codex works in sandbox `{found}`, and was asked for `{asked}`");
            self.recorder.warn(shortened(&message, SHORT_LIMIT), observe);
        }
    }

    fn start_turn(&mut self, thread: &ThreadId, prompt: &str) {
        let params = json!({ "threadId": thread.as_str(), "input": said(prompt) });
        self.ask(Pending::Turn, "turn/start", &params);
    }

    /// Takes the word that a turn runs, and says what has waited for that.
    fn runs(&mut self, turn: &str) {
        if self.phase != Phase::Opening {
            return;
        }
        self.phase = Phase::Running;
        self.turn = Some(shortened(turn, SHORT_LIMIT)).filter(|turn| !turn.is_empty());
        for message in std::mem::take(&mut self.queued) {
            self.steer(&message);
        }
        if std::mem::take(&mut self.interrupting) {
            self.interrupt();
        }
    }

    fn steer(&mut self, message: &str) {
        let thread = self.recorder.report.thread_id.as_ref().map(ThreadId::as_str);
        let params = json!({ "threadId": thread, "expectedTurnId": self.turn, "input": said(message) });
        self.ask(Pending::Steer, "turn/steer", &params);
    }

    fn interrupt(&mut self) -> bool {
        match self.phase {
            Phase::Ended | Phase::Over => false,
            Phase::Opening if self.pending.values().any(|pending| *pending == Pending::Turn) => {
                self.interrupting = true;
                true
            }
            Phase::Opening => {
                self.recorder.report.terminal = Terminal::Interrupted;
                self.phase = Phase::Over;
                true
            }
            Phase::Running => {
                let mut bytes = Vec::new();
                for consent in self.consents.values_mut().filter(|consent| consent.reply.is_none()) {
                    consent.reply = Some(Reply::Cancel);
                    bytes.extend(rpc::response(&consent.id, &consent.answer.result(Reply::Cancel)));
                }
                self.send(&bytes);
                let thread = self.recorder.report.thread_id.as_ref().map(ThreadId::as_str);
                let params = json!({ "threadId": thread, "turnId": self.turn });
                self.ask(Pending::Interrupt, "turn/interrupt", &params);
                true
            }
        }
    }

    fn refused(&mut self, message: String, class: Option<FailureClass>, observe: Observe<'_>) {
        self.phase = Phase::Over;
        self.recorder.turn_failed(message, class, observe);
    }

    fn finish(mut self, observe: Observe<'_>) -> AgentReport {
        self.close_consents(|_, _| true, observe);
        if let Some((message, _)) = self.held_error.take() {
            self.recorder.report.dangling_error = Some(message.clone());
            self.recorder.warn(message, observe);
        }
        self.recorder.finish(observe)
    }
}

/// Spells what a user says.
fn said(text: &str) -> Value {
    json!([{ "type": "text", "text": text }])
}
