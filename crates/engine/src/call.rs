//! Tool calls inside a run: who may do what, on whose word.
//!
//! Every command a stage declares and everything an agent asks consent for goes the same way: it is
//! requested, weighed against the policy, looked up among earlier consents, asked, decided. Only then
//! is it performed, by an attempt of ours or by the agent.

use std::collections::BTreeMap;
use std::sync::Arc;

use co_model::{
    Actor, CallDecision, CallId, CallOrigin, CallOutcome, CallRequest, CallStatus, CommandLine,
    DecisionSource, Event, FailureReason, Grant, GrantScope, McpStage, NetworkAccess, SandboxMode,
    SandboxPolicy, Stage, StageId, StageWork, Timestamp, ToolUse, Verdict, quoted, visible,
};
use co_policy::{Context, Declared, GrantIndex, Requirement, SandboxChoice, key, requirement};

use crate::advance::Draft;
use crate::decide::Refusal;
use crate::effect::Effect;
use crate::stage::{StageRecord, StageState};
use crate::state::{Phase, RunState};

/// Longest text that is shown of a call in questions and listings, in characters.
const LONGEST_SHOWN: usize = 2_000;

/// How long a session, task or standing consent holds when nobody says otherwise.
const SESSION_GRANT_DAYS: u64 = 1;

/// A call that is not over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenCall {
    /// What is wanted.
    pub request: Arc<CallRequest>,
    /// When it was requested.
    pub requested_at: Timestamp,
    /// Where it stands.
    pub state: CallState,
}

/// Where a call stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CallState {
    /// Earlier consents are being looked up.
    Weighing,
    /// A person is asked.
    Asking {
        /// What is asked.
        message: String,
        /// Unanswered by then means no.
        expires_at: Timestamp,
    },
    /// It may be done.
    Approved(CallDecision),
    /// It is being done.
    Started(CallDecision),
}

/// A decision about a call that somebody or something had to take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecidedCall {
    /// When.
    pub at: Timestamp,
    /// What was wanted.
    pub request: Arc<CallRequest>,
    /// What was decided.
    pub decision: CallDecision,
}

/// How many calls there were, by what was decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CallCounts {
    /// All that were requested.
    pub requested: u64,
    /// Approved by an earlier consent.
    pub approved_by_cache: u64,
    /// Approved by a person.
    pub approved_by_prompt: u64,
    /// Approved by a rule.
    pub approved_by_policy: u64,
    /// Approved because nobody needs to be asked.
    pub not_required: u64,
    /// Denied, by whomever.
    pub denied: u64,
}

impl CallCounts {
    pub(crate) fn note(&mut self, decision: &CallDecision) {
        let counter = match (decision.approved, decision.source) {
            (false, _) => &mut self.denied,
            (true, DecisionSource::Cache) => &mut self.approved_by_cache,
            (true, DecisionSource::Prompt) => &mut self.approved_by_prompt,
            (true, DecisionSource::Policy) => &mut self.approved_by_policy,
            (true, DecisionSource::NotRequired) => &mut self.not_required,
        };
        *counter += 1;
    }
}

/// A question that waits for a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenQuestion<'a> {
    /// The stage that asks.
    pub stage: &'a StageId,
    /// The call it is about; `None` for a gate.
    pub call: Option<&'a CallRequest>,
    /// What is asked.
    pub message: &'a str,
    /// Unanswered by then means no.
    pub expires_at: Timestamp,
}

impl RunState {
    /// The questions that wait for a person, in the order of the stages.
    pub fn open_questions(&self) -> Vec<OpenQuestion<'_>> {
        let mut open = Vec::new();
        for record in self.stages.iter().filter(|record| !record.removed) {
            if let StageState::Asking { message, expires_at } = &record.state {
                open.push(OpenQuestion { stage: record.id(), call: None, message, expires_at: *expires_at });
            }
            for call in &record.calls {
                if let CallState::Asking { message, expires_at } = &call.state {
                    let (call, expires_at) = (Some(call.request.as_ref()), *expires_at);
                    open.push(OpenQuestion { stage: record.id(), call, message, expires_at });
                }
            }
        }
        open
    }
}

/// The question that an answer is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) stage: StageId,
    pub(crate) call: Option<CallId>,
    pub(crate) expires_at: Timestamp,
}

/// The question that was named, or the only one that fits.
pub(crate) fn choose_question(
    state: &RunState,
    stage: Option<&StageId>,
    call: Option<&CallId>,
) -> Result<Asked, Refusal> {
    let fits = |asked: &Asked| {
        stage.is_none_or(|stage| *stage == asked.stage) && (call.is_none() || call == asked.call.as_ref())
    };
    let mut fitting: Vec<Asked> = state.open_questions().iter().map(Asked::of).filter(fits).collect();
    if fitting.len() > 1 {
        let mut stages: Vec<StageId> = fitting.iter().map(|asked| asked.stage.clone()).collect();
        stages.dedup();
        return Err(if stages.len() > 1 {
            Refusal::Ambiguous { stages }
        } else {
            let calls = fitting.into_iter().filter_map(|asked| asked.call).collect();
            Refusal::AmbiguousCall { calls }
        });
    }
    fitting.pop().ok_or_else(|| match call {
        Some(call) => Refusal::NoSuchQuestion { call: call.clone() },
        None => Refusal::NoQuestion { stage: stage.cloned() },
    })
}

impl Asked {
    fn of(question: &OpenQuestion<'_>) -> Self {
        Self {
            stage: question.stage.clone(),
            call: question.call.map(|call| call.call.clone()),
            expires_at: question.expires_at,
        }
    }
}

impl Draft {
    /// Requests the command, or the call of a tool, that a stage declares. With `escalated`, outside its
    /// sandbox, for that reason.
    pub(crate) fn request_command(&mut self, stage: &StageId, escalated: Option<String>) {
        let Some(record) = self.state.stage(stage) else { return };
        let tool = match &record.definition.work {
            StageWork::Command(line) => ToolUse::Command { argv: argv_of(line) },
            StageWork::Mcp(work) => tool_of(&self.state, work),
            StageWork::Agent(_) | StageWork::Gate(_) | StageWork::Pipeline(_) => return,
        };
        let sandbox = sandbox_of(&self.state, &record.definition);
        let mut request = CallRequest {
            call: record.next_call(),
            stage: stage.clone(),
            attempt: record.next_attempt(),
            origin: match &record.definition.session {
                Some(session) => CallOrigin::Session(session.id.clone()),
                None => CallOrigin::Stage,
            },
            tool,
            cwd: cwd_of(&self.state, &record.definition),
            tty: record.definition.tty,
            sandbox,
            env: own_variables(&record.definition),
            escalated: escalated.is_some(),
            reason: escalated,
            sealed: record.definition.sealed,
        };
        // A consent to run outside the sandbox is asked for as such; the first one was given already.
        let asks = record.definition.approval_required && !request.escalated;
        let declared = if asks { Declared::ConsentRequired } else { Declared::Own };
        let requirement = requirement(self.state.policy(), &request, declared);
        // A shell that others share stays where it is: a rule on one command does not take it out.
        let may_leave = record.definition.session.is_none() || request.escalated;
        if may_leave && matches!(requirement, Requirement::Skip { sandbox: SandboxChoice::Outside, .. }) {
            request.sandbox = SandboxPolicy::FULL_ACCESS;
        }
        self.request(request, requirement);
    }

    /// Takes in what an agent asks consent for.
    pub(crate) fn request_of_agent(&mut self, mut request: CallRequest) {
        let Some(record) = self.state.stage(&request.stage) else { return };
        request.call = record.next_call();
        // The agent runs what it does with the variables of its stage.
        request.env = own_variables(&record.definition);
        request.sealed |= record.definition.sealed && !request.env.is_empty();
        let requirement = requirement(self.state.policy(), &request, Declared::AgentAsks);
        self.request(request, requirement);
    }

    fn request(&mut self, request: CallRequest, requirement: Requirement) {
        let (stage, call) = (request.stage.clone(), request.call.clone());
        let wanted = Arc::new(request.clone());
        self.push(Event::CallRequested(Box::new(request)));
        match requirement {
            Requirement::Skip { source, .. } => self.decided(&stage, &call, word(true, source)),
            Requirement::Forbidden { reason } => {
                let decision = CallDecision { reason: Some(reason), ..word(false, DecisionSource::Policy) };
                self.decided(&stage, &call, decision);
            }
            Requirement::NeedsConsent { .. } => self.consult(&wanted),
        }
    }

    /// Asks for the consents that may cover a call.
    pub(crate) fn consult(&mut self, request: &CallRequest) {
        let (stage, call) = (request.stage.clone(), request.call.clone());
        self.effect(Effect::Consult { stage, call, keys: key(request).as_slice().to_vec() });
    }

    /// Records a call that an agent makes without asking: its own rules let it.
    pub(crate) fn told(&mut self, request: CallRequest) -> CallId {
        let (stage, call) = (request.stage.clone(), request.call.clone());
        self.push(Event::CallRequested(Box::new(request)));
        let decision = word(true, DecisionSource::NotRequired);
        self.push(Event::CallDecided { stage, call: call.clone(), decision });
        call
    }

    /// Goes on with a call once the earlier consents are known.
    pub(crate) fn consulted(&mut self, stage: &StageId, call: &CallId, grants: &[Grant]) {
        let Some(open) = self.open_call(stage, call) else { return };
        if open.state != CallState::Weighing {
            return;
        }
        let request = Arc::clone(&open.request);
        let context = Context {
            now: self.now,
            run: self.state.run(),
            task: &self.state.created.task,
            session: self.state.created.settings.session.as_deref(),
            starter: self.state.created.settings.actor.as_ref(),
        };
        let mut index = GrantIndex::default();
        // Where a secret was taken out, what looks the same need not be the same.
        let counts = |grant: &&Grant| !request.sealed || grant.scope == GrantScope::Once;
        grants.iter().filter(counts).cloned().for_each(|grant| index.put(grant));
        if let Some(found) = index.find(&key(&request), &context) {
            let first = found.first();
            // A consent to this one thing, given before the run was interrupted, is that person's word now.
            let once = first.is_some_and(|grant| grant.scope == GrantScope::Once);
            let source = if once { DecisionSource::Prompt } else { DecisionSource::Cache };
            let decision = CallDecision {
                grant: first.map(|grant| grant.id.clone()),
                actor: first.map(|grant| grant.actor.clone()),
                ..word(true, source)
            };
            for grant in found.iter().filter(|grant| grant.uses_left.is_some()) {
                self.use_grant(grant.id.clone());
            }
            return self.decided(stage, call, decision);
        }
        let expires_at = self.now.plus(self.state.policy().question_expires_after);
        let message = question(&request);
        let call = Some(call.clone());
        self.push(Event::QuestionAsked { stage: stage.clone(), message, expires_at, call });
        self.effect(Effect::WakeAt(expires_at));
    }

    /// Takes in a person's word on a call.
    pub(crate) fn answered(
        &mut self,
        (stage, call): (&StageId, &CallId),
        (verdict, scope): (Verdict, GrantScope),
        actor: &Actor,
        reason: Option<String>,
    ) {
        let Some(request) = self.open_call(stage, call).map(|open| Arc::clone(&open.request)) else { return };
        // What a person cannot see whole they cannot have agreed to for later.
        let scope = if request.sealed { GrantScope::Once } else { scope };
        self.push(Event::QuestionAnswered {
            stage: stage.clone(),
            verdict,
            actor: actor.clone(),
            reason: reason.clone(),
            call: Some(call.clone()),
            scope: (verdict == Verdict::Approve).then_some(scope),
        });
        let said = CallDecision { actor: Some(actor.clone()), reason, ..word(false, DecisionSource::Prompt) };
        if verdict == Verdict::Deny {
            return self.decided(stage, call, said);
        }
        let grants = self.grants(&request, scope, actor);
        let first = grants.first().map(|grant| grant.id.clone());
        // Nobody owns an interrupted run: its consent is kept, and used by whoever goes on with it.
        let owned = matches!(self.state.phase, Phase::Running);
        for mut grant in grants {
            if owned && grant.scope == GrantScope::Once {
                grant.uses_left = Some(0);
            }
            self.give_grant(grant);
        }
        if owned {
            self.decided(stage, call, CallDecision { approved: true, grant: first, ..said });
        }
    }

    /// Records the decision on a call and goes on with whoever waits for it.
    fn decided(&mut self, stage: &StageId, call: &CallId, decision: CallDecision) {
        let Some(request) = self.open_call(stage, call).map(|open| Arc::clone(&open.request)) else { return };
        self.push(Event::CallDecided {
            stage: stage.clone(),
            call: call.clone(),
            decision: decision.clone(),
        });
        if let CallOrigin::Agent(item) = &request.origin {
            let (stage, attempt, item) = (stage.clone(), request.attempt, item.clone());
            self.effect(Effect::Reply { stage, attempt, item, decision });
        } else if !decision.approved {
            // What the sandbox stopped, and may not run without it, failed as it had failed inside.
            let reason = match (&decision, self.state.stage(stage).and_then(StageRecord::last_failure)) {
                (_, Some(failure)) if request.escalated => failure,
                (CallDecision { source: DecisionSource::Prompt, actor: None, .. }, _) => {
                    FailureReason::Unanswered
                }
                (CallDecision { source: DecisionSource::Prompt, .. }, _) => FailureReason::Denied,
                (CallDecision { reason, .. }, _) => {
                    FailureReason::Refused(reason.clone().unwrap_or_default())
                }
            };
            self.fail_stage(stage, reason);
        }
    }

    /// Closes the question of a call that nobody answered in time.
    pub(crate) fn expired(&mut self, stage: &StageId, call: &CallId) {
        self.push(Event::QuestionExpired { stage: stage.clone(), call: Some(call.clone()) });
        let reason = Some("nobody answered in time".to_owned());
        self.decided(stage, call, CallDecision { reason, ..word(false, DecisionSource::Prompt) });
    }

    /// Ends a call of a stage's own, or of an agent, as observed.
    pub(crate) fn call_finished(&mut self, stage: &StageId, call: CallId, outcome: CallOutcome) {
        if self.open_call(stage, &call).is_some() {
            self.push(Event::CallFinished { stage: stage.clone(), call, outcome });
        }
    }

    /// Ends every open call of a stage: whoever wanted them is gone.
    pub(crate) fn drop_calls(&mut self, stage: &StageId, status: CallStatus) {
        let open: Vec<CallId> = self
            .state
            .stage(stage)
            .map(|record| record.calls.iter().map(|open| open.request.call.clone()).collect())
            .unwrap_or_default();
        for call in open {
            let outcome = CallOutcome { status, exit_code: None, duration: None, detail: None };
            self.push(Event::CallFinished { stage: stage.clone(), call, outcome });
        }
    }

    fn open_call(&self, stage: &StageId, call: &CallId) -> Option<&OpenCall> {
        self.state.stage(stage)?.call(call)
    }

    fn grants(&self, request: &CallRequest, scope: GrantScope, actor: &Actor) -> Vec<Grant> {
        let created = &self.state.created;
        let expires_at = match scope {
            GrantScope::Once | GrantScope::Run | GrantScope::Always => None,
            GrantScope::Session | GrantScope::Task => {
                Some(self.now.plus(std::time::Duration::from_hours(24 * SESSION_GRANT_DAYS)))
            }
        };
        let keys = key(request);
        let keys = keys.as_slice().iter().cloned().enumerate();
        keys.map(|(number, key)| Grant {
            id: Grant::id_of(&created.run, &request.call, number + 1),
            key,
            shown: format!("{}{}", with_variables(request), shown(&request.tool)),
            scope,
            task: created.task.clone(),
            run: created.run.clone(),
            session: created.settings.session.clone(),
            actor: actor.clone(),
            starter: created.settings.actor.clone(),
            given_at: self.now,
            expires_at,
            uses_left: (scope == GrantScope::Once).then_some(1),
            revoked: None,
        })
        .collect()
    }
}

fn word(approved: bool, source: DecisionSource) -> CallDecision {
    CallDecision { approved, source, grant: None, actor: None, reason: None }
}

/// The tool that a stage calls, with the definition of its server that the run was begun with. One that is
/// not switched on has none, which is no agent's tool either: it is refused by name.
fn tool_of(state: &RunState, work: &McpStage) -> ToolUse {
    let server = state.policy().mcp.servers.get(&work.server);
    ToolUse::Mcp {
        server: work.server.clone(),
        name: work.tool.clone(),
        arguments: work.arguments.clone(),
        definition: Some(server.map(|server| server.definition.clone()).unwrap_or_default()),
    }
}

/// The program and arguments of a command line.
pub fn argv_of(line: &CommandLine) -> Vec<String> {
    match line {
        CommandLine::Shell(text) => vec!["/bin/sh".to_owned(), "-c".to_owned(), text.clone()],
        CommandLine::Argv(words) => words.clone(),
    }
}

/// The directory a stage runs in.
fn cwd_of(state: &RunState, stage: &Stage) -> String {
    let workspace = state.created.settings.workspace.as_str();
    match stage.cwd.as_deref() {
        None => workspace.to_owned(),
        Some(cwd) if cwd.starts_with('/') => cwd.to_owned(),
        Some(cwd) => format!("{}/{cwd}", workspace.trim_end_matches('/')),
    }
}

/// The sandbox of a stage's command: its own word, else the run's policy, else none. A person's MCP server
/// is no command of the pipeline's: as with Codex, the policy's sandbox is not for it.
fn sandbox_of(state: &RunState, stage: &Stage) -> SandboxPolicy {
    let policy = state.policy();
    let Some(own) = &stage.confinement else {
        if matches!(stage.work, StageWork::Mcp(_)) {
            return SandboxPolicy::FULL_ACCESS;
        }
        return policy.sandbox.clone().unwrap_or(SandboxPolicy::FULL_ACCESS);
    };
    let standing = policy.sandbox.clone().filter(|sandbox| sandbox.mode == own.mode);
    let mut sandbox = standing.unwrap_or_else(|| SandboxPolicy::of(own.mode));
    if let (Some(network), true) = (&own.network, own.mode != SandboxMode::DangerFullAccess) {
        sandbox.network = NetworkAccess::clone(network);
    }
    let workspace = state.created.settings.workspace.trim_end_matches('/');
    for root in &own.writable_roots {
        let root = if root.starts_with('/') { root.clone() } else { format!("{workspace}/{root}") };
        if !sandbox.writable_roots.contains(&root) {
            sandbox.writable_roots.push(root);
        }
    }
    sandbox
}

/// What is wanted, in one line that hides nothing, bounded. What is cut off is counted at its end.
pub fn shown(tool: &ToolUse) -> String {
    let text = match tool {
        ToolUse::Command { argv } => match argv.as_slice() {
            [shell, flag, script] if flag == "-c" && shell.ends_with("sh") => script.clone(),
            words => words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" "),
        },
        ToolUse::Patch { files } => {
            let names: Vec<&str> = files.iter().map(|file| file.change.path.as_str()).collect();
            format!("change {}", names.join(", "))
        }
        ToolUse::Mcp { server, name, arguments, .. } => format!("{server}/{name} {arguments}"),
        ToolUse::Other { name, input } => format!("{name} {input}"),
    };
    bounded(&text)
}

/// Text in one line that hides nothing, cut where it is too long.
fn bounded(text: &str) -> String {
    let text = visible(text);
    match text.char_indices().nth(LONGEST_SHOWN) {
        Some((end, _)) => format!("{}… [{} more characters]", &text[..end], text[end..].chars().count()),
        None => text.into_owned(),
    }
}

fn question(request: &CallRequest) -> String {
    let what = match &request.tool {
        ToolUse::Command { .. } => "Run",
        ToolUse::Patch { .. } => "Let it",
        ToolUse::Mcp { .. } => "Call",
        ToolUse::Other { .. } => "Allow",
    };
    let place = if request.escalated { " outside the sandbox" } else { "" };
    let why = request.reason.as_deref().map(|reason| format!(" ({})", visible(reason))).unwrap_or_default();
    format!("{}{what}{place}: {}{why}", with_variables(request), shown(&request.tool))
}

/// The variables that a stage sets, as they are recorded.
fn own_variables(stage: &Stage) -> BTreeMap<String, String> {
    stage.env.iter().map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// Says with which variables something is done, if it sets any; bounded as the rest is. A question stands in
/// documents, where no value of a variable does.
fn with_variables(request: &CallRequest) -> String {
    if request.env.is_empty() {
        return String::new();
    }
    let set: Vec<_> = request.env.keys().map(|name| quoted(name)).collect();
    format!("[with {}] ", bounded(&set.join(" ")))
}
