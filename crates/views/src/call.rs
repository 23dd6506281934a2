//! Tool calls as documents show them: what was wanted, what was decided, which sandbox held.

use std::collections::BTreeMap;

use co_engine::{CallCounts, DecidedCall, OpenQuestion, RunState, SandboxUse, shown};
use co_model::{
    CallDecision, CallOrigin, CallOutcome, CallRequest, CallStatus, Grant, NetworkAccess, SandboxMode,
    SandboxPolicy, ToolPolicy, ToolUse,
};
use schemars::JsonSchema;
use serde::Serialize;

use crate::agent::ChangedFile;
use crate::json::{Time, millis};
use crate::words::{CallStatusWord, DecisionSourceWord, GrantScopeWord};

/// A sandbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct SandboxView {
    /// `read-only`, `workspace-write` or `danger-full-access`.
    pub mode: String,
    /// `off`, `on` or `allowed`: only hosts that a rule allows.
    pub network: String,
    /// Folders that may be written besides the workspace.
    pub writable_roots: Vec<String>,
}

impl From<&SandboxPolicy> for SandboxView {
    fn from(policy: &SandboxPolicy) -> Self {
        let network = match policy.network {
            NetworkAccess::Off => "off",
            NetworkAccess::On => "on",
            NetworkAccess::Allowed(_) => "allowed",
        };
        Self {
            mode: policy.mode.as_str().to_owned(),
            network: network.to_owned(),
            writable_roots: policy.writable_roots.clone(),
        }
    }
}

/// The sandbox an attempt ran in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct SandboxUseView {
    /// `read-only` or `workspace-write`.
    pub mode: String,
    /// The layers that held, outermost first.
    pub layers: Vec<String>,
    /// What it lacked of what was asked for, when a weaker one was accepted.
    pub weaker: Option<String>,
}

/// Shows a sandbox; none when there was no confinement.
pub(crate) fn sandbox_use(used: &SandboxUse) -> Option<SandboxUseView> {
    (used.mode != SandboxMode::DangerFullAccess).then(|| SandboxUseView {
        mode: used.mode.as_str().to_owned(),
        layers: used.layers.clone(),
        weaker: used.weaker.clone(),
    })
}

/// What decides what is asked, allowed and confined in a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct PolicyView {
    /// `never`, `on-request`, `untrusted` or `granular`.
    pub approval: String,
    /// The sandbox of commands that name none; null when nobody said anything: none then.
    pub sandbox: Option<SandboxView>,
    /// Whether a weaker sandbox than asked for is accepted.
    pub accept_weaker_sandbox: bool,
    /// How many rules are in force.
    pub rules: u32,
    /// The MCP servers that are switched on.
    pub mcp_servers: Vec<McpServerView>,
    /// Where it was read, strongest last.
    pub sources: Vec<PolicySourceView>,
}

/// An MCP server that is switched on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct McpServerView {
    /// Its name in the person's Codex settings.
    pub name: String,
    /// SHA-256 of its definition there, without the values of variables and headers.
    pub definition_sha256: String,
}

/// Where a part of a policy was said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct PolicySourceView {
    /// The file, or the flag.
    pub name: String,
    /// SHA-256 of the file; null for a flag.
    pub sha256: Option<String>,
    /// Which keys it decided.
    pub keys: Vec<String>,
}

impl From<&ToolPolicy> for PolicyView {
    fn from(policy: &ToolPolicy) -> Self {
        let source = |source: &co_model::PolicySource| PolicySourceView {
            name: source.name.clone(),
            sha256: source.sha256.clone(),
            keys: source.keys.clone(),
        };
        let server = |(name, server): (&String, &co_model::McpServerPolicy)| McpServerView {
            name: name.clone(),
            definition_sha256: server.definition.clone(),
        };
        Self {
            approval: policy.approval.as_str().to_owned(),
            sandbox: policy.sandbox.as_ref().map(SandboxView::from),
            accept_weaker_sandbox: policy.accept_weaker_sandbox,
            rules: u32::try_from(policy.rules.len()).unwrap_or(u32::MAX),
            mcp_servers: policy.mcp.servers.iter().map(server).collect(),
            sources: policy.sources.iter().map(source).collect(),
        }
    }
}

/// What somebody wants done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct CallRequestView {
    /// `command`, `patch`, `mcp` or `other`.
    pub tool: String,
    /// What is wanted, in one line: breaks and other signs that hide stand written out. Untrusted text.
    pub shown: String,
    /// The program and its arguments, for a command.
    pub argv: Option<Vec<String>>,
    /// The files, for a patch.
    pub files: Vec<ChangedFile>,
    /// Who wants it: `stage`, `agent` or `session`.
    pub origin: String,
    /// The agent's own id for it, or the name of the session.
    pub origin_id: Option<String>,
    /// Where.
    pub cwd: String,
    /// Whether on a terminal.
    pub tty: bool,
    /// The names of the variables that it sets itself. What it inherits is not among them.
    pub env: Vec<String>,
    /// What it sets them to: for the person who decides, and in no document.
    #[serde(skip)]
    pub variables: BTreeMap<String, String>,
    /// In which sandbox.
    pub sandbox: SandboxView,
    /// Whether it asks to leave that sandbox.
    pub escalated: bool,
    /// Why, in the words of whoever wants it. Untrusted text.
    pub reason: Option<String>,
    /// Whether a secret was taken out of it: a consent to it reaches no further than this once.
    pub sealed: bool,
}

impl From<&CallRequest> for CallRequestView {
    fn from(request: &CallRequest) -> Self {
        let (origin, origin_id) = match &request.origin {
            CallOrigin::Stage => ("stage", None),
            CallOrigin::Agent(item) => ("agent", Some(item.clone())),
            CallOrigin::Session(id) => ("session", Some(id.clone())),
        };
        let (argv, files) = match &request.tool {
            ToolUse::Command { argv } => (Some(argv.clone()), Vec::new()),
            ToolUse::Patch { files } => {
                (None, files.iter().map(|file| ChangedFile::from(&file.change)).collect())
            }
            ToolUse::Mcp { .. } | ToolUse::Other { .. } => (None, Vec::new()),
        };
        Self {
            tool: request.tool.kind().to_owned(),
            shown: shown(&request.tool),
            argv,
            files,
            origin: origin.to_owned(),
            origin_id,
            cwd: request.cwd.clone(),
            tty: request.tty,
            env: request.env.keys().cloned().collect(),
            variables: request.env.clone(),
            sandbox: SandboxView::from(&request.sandbox),
            escalated: request.escalated,
            reason: request.reason.clone(),
            sealed: request.sealed,
        }
    }
}

/// Whether something may be done, and on whose word.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct CallDecisionView {
    /// Whether it may.
    pub approved: bool,
    /// On whose word.
    pub source: DecisionSourceWord,
    /// The consent it rests on.
    pub grant_id: Option<String>,
    /// The person who gave it.
    pub actor: Option<String>,
    /// Why.
    pub reason: Option<String>,
}

impl From<&CallDecision> for CallDecisionView {
    fn from(decision: &CallDecision) -> Self {
        Self {
            approved: decision.approved,
            source: decision.source.into(),
            grant_id: decision.grant.as_ref().map(ToString::to_string),
            actor: decision.actor.as_ref().map(ToString::to_string),
            reason: decision.reason.clone(),
        }
    }
}

/// How something ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct CallOutcomeView {
    /// What became of it.
    pub status: CallStatusWord,
    /// The exit code of a command.
    pub exit_code: Option<i32>,
    /// How long it took, in milliseconds, when that was seen.
    pub duration_ms: Option<u64>,
    /// One line for people.
    pub detail: Option<String>,
}

impl From<&CallOutcome> for CallOutcomeView {
    fn from(outcome: &CallOutcome) -> Self {
        Self {
            status: CallStatus::into(outcome.status),
            exit_code: outcome.exit_code,
            duration_ms: outcome.duration.map(millis),
            detail: outcome.detail.clone(),
        }
    }
}

/// A decision about a tool call that was not taken for granted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct ToolDecisionView {
    /// The call.
    pub call_id: String,
    /// The stage it belongs to.
    pub stage_id: String,
    /// When it was decided.
    pub timestamp: Time,
    /// What was wanted.
    pub request: CallRequestView,
    /// What was decided.
    pub decision: CallDecisionView,
}

impl From<&DecidedCall> for ToolDecisionView {
    fn from(decided: &DecidedCall) -> Self {
        Self {
            call_id: decided.request.call.to_string(),
            stage_id: decided.request.stage.to_string(),
            timestamp: decided.at.into(),
            request: CallRequestView::from(decided.request.as_ref()),
            decision: CallDecisionView::from(&decided.decision),
        }
    }
}

/// How many tool calls there were, by what was decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct CallCountsView {
    /// All that were requested.
    pub requested: u64,
    /// Approved by an earlier consent.
    pub approved_by_cache: u64,
    /// Approved by a person who was asked.
    pub approved_by_prompt: u64,
    /// Approved by a rule.
    pub approved_by_policy: u64,
    /// Approved because nobody needs to be asked.
    pub not_required: u64,
    /// Denied, by whomever.
    pub denied: u64,
}

impl From<CallCounts> for CallCountsView {
    fn from(counts: CallCounts) -> Self {
        Self {
            requested: counts.requested,
            approved_by_cache: counts.approved_by_cache,
            approved_by_prompt: counts.approved_by_prompt,
            approved_by_policy: counts.approved_by_policy,
            not_required: counts.not_required,
            denied: counts.denied,
        }
    }
}

/// A question that waits for a person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct OpenQuestionView {
    /// The stage that asks.
    pub stage_id: String,
    /// The call it is about; null for a gate.
    pub call_id: Option<String>,
    /// What is asked. Untrusted text.
    pub message: String,
    /// Unanswered by then means no.
    pub expires_at: Time,
    /// What is wanted, for a call.
    pub request: Option<CallRequestView>,
}

impl From<&OpenQuestion<'_>> for OpenQuestionView {
    fn from(question: &OpenQuestion<'_>) -> Self {
        Self {
            stage_id: question.stage.to_string(),
            call_id: question.call.map(|call| call.call.to_string()),
            message: question.message.to_owned(),
            expires_at: question.expires_at.into(),
            request: question.call.map(CallRequestView::from),
        }
    }
}

/// Shows the questions of a run that wait for a person.
pub fn open_questions(state: &RunState) -> Vec<OpenQuestionView> {
    state.open_questions().iter().map(OpenQuestionView::from).collect()
}

/// One consent of one person to exactly one thing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(title = "Codex Orchestrator consent", deny_unknown_fields)]
pub struct GrantView {
    /// The consent.
    pub grant_id: String,
    /// SHA-256 over everything that was shown.
    pub key: String,
    /// What was shown, in one line, shortened. Untrusted text.
    pub shown: String,
    /// What it is bound to, where one consent is shown alone and its run is known; else left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request: Option<CallRequestView>,
    /// How far it reaches.
    pub scope: GrantScopeWord,
    /// The task it was given in.
    pub task_id: String,
    /// The run it was given in.
    pub run_id: String,
    /// The session it is limited to.
    pub session: Option<String>,
    /// Who gave it.
    pub actor: String,
    /// Whose runs it serves beyond the one it was given in; null for everybody's.
    pub starter: Option<String>,
    /// When.
    pub given_at: Time,
    /// Not after this instant.
    pub expires_at: Option<Time>,
    /// How often it may still be used; null is without a limit.
    pub uses_left: Option<u32>,
    /// Who took it back.
    pub revoked_by: Option<String>,
    /// When it was taken back.
    pub revoked_at: Option<Time>,
}

impl From<&Grant> for GrantView {
    fn from(grant: &Grant) -> Self {
        Self {
            grant_id: grant.id.to_string(),
            key: grant.key.clone(),
            shown: grant.shown.clone(),
            request: None,
            scope: grant.scope.into(),
            task_id: grant.task.to_string(),
            run_id: grant.run.to_string(),
            session: grant.session.clone(),
            actor: grant.actor.to_string(),
            starter: grant.starter.as_ref().map(ToString::to_string),
            given_at: grant.given_at.into(),
            expires_at: grant.expires_at.map(Time::from),
            uses_left: grant.uses_left,
            revoked_by: grant.revoked.as_ref().map(|revoked| revoked.actor.to_string()),
            revoked_at: grant.revoked.as_ref().map(|revoked| revoked.at.into()),
        }
    }
}
