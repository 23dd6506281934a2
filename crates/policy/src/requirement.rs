//! What a call needs before it is performed: nothing, a person's consent, or it is refused.

use std::path::{Component, Path, PathBuf};

use co_model::{
    ApprovalPolicy, CallRequest, DecisionSource, GranularApproval, McpApproval, PatchedFile, RuleDecision,
    SandboxMode, SandboxPolicy, ToolPolicy, ToolUse,
};

use crate::command::{Canonical, canonical, quoted};
use crate::danger::Danger;
use crate::rules::{RuleVerdict, weigh};

const NEVER: &str = "approval required by policy, but AskForApproval is set to Never";
const NOT_RULES: &str = "approval required by policy rule, but AskForApproval::Granular.rules is false";
const NOT_SANDBOX: &str =
    "approval required by policy, but AskForApproval::Granular.sandbox_approval is false";
const NOT_MCP: &str = "approval required by policy, but AskForApproval::Granular.mcp_elicitations is false";
const FORCED_REMOVAL: &str = "rm -f style commands are not permitted. Use a safer approach";

/// Folders of a workspace that stay closed although the workspace may be written.
const PROTECTED: [&str; 3] = [".git", ".codex", ".agents"];

/// On whose word a call is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Declared {
    /// A person's pipeline or command line, and it asks for consent.
    ConsentRequired,
    /// A person's pipeline or command line.
    Own,
    /// An agent.
    Agent,
    /// An agent, which itself asks for a person's word. Only a rule can stand for that.
    AgentAsks,
}

/// What a call needs.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Requirement {
    /// Nothing more.
    Skip {
        /// [`DecisionSource::Policy`] when rules allow it, else [`DecisionSource::NotRequired`].
        source: DecisionSource,
        /// Where it runs.
        sandbox: SandboxChoice,
    },
    /// A person's consent, or an earlier one to the same thing.
    NeedsConsent {
        /// Why, for people.
        reason: String,
    },
    /// It is not performed.
    Forbidden {
        /// Why, for people and agents.
        reason: String,
    },
}

/// Where a call that needs nothing more runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SandboxChoice {
    /// In the sandbox that the call names.
    AsNamed,
    /// Outside of any.
    Outside,
}

/// Says what a call needs.
///
/// Rules allow a command to leave the sandbox only if they allow every part of it, and only the
/// sandbox of the policy itself: a call whose sandbox is another one was given that one on purpose,
/// and stays in it. `never` asks nothing: what would need consent is refused with the reason, and
/// everything else runs.
pub fn requirement(policy: &ToolPolicy, call: &CallRequest, declared: Declared) -> Requirement {
    match &call.tool {
        ToolUse::Command { argv } => command(policy, call, declared, &canonical(argv)),
        ToolUse::Patch { files } => patch(policy, call, declared, files),
        ToolUse::Mcp { server, name, definition: Some(_), .. } => mcp(policy, declared, server, name),
        ToolUse::Mcp { server, name, definition: None, .. } => {
            let reason = format!("MCP tool `{name}` of server `{server}` requires approval");
            answer(policy, call, declared, Kind::Mcp, reason)
        }
        ToolUse::Other { name, .. } => {
            answer(policy, call, declared, Kind::Other, format!("`{name}` requires approval"))
        }
    }
}

/// What a question would be about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Rule,
    Sandbox,
    Mcp,
    Other,
}

fn command(policy: &ToolPolicy, call: &CallRequest, declared: Declared, command: &Canonical) -> Requirement {
    let verdict = weigh(policy, command);
    match verdict.decision() {
        Some(RuleDecision::Forbidden) => return forbidden_by_rule(command, &verdict),
        Some(RuleDecision::Prompt) => return ask(policy, Kind::Rule, prompted_by_rule(command, &verdict)),
        Some(RuleDecision::Allow) | None => {}
    }
    if declared == Declared::ConsentRequired {
        return ask(policy, Kind::Sandbox, format!("`{command}` is declared to require approval"));
    }
    let is_confined = call.sandbox.mode != SandboxMode::DangerFullAccess;
    let may_leave = policy.sandbox.as_ref() == Some(&call.sandbox);
    let wants_out = call.escalated && is_confined;
    if verdict.is_allowed && (may_leave || !wants_out) {
        let sandbox = if may_leave && is_confined { SandboxChoice::Outside } else { SandboxChoice::AsNamed };
        return Requirement::Skip { source: DecisionSource::Policy, sandbox };
    }
    if let Some(danger) = verdict.danger.filter(|_| declared != Declared::Own) {
        return dangerous(policy, command, danger);
    }
    if wants_out {
        return ask(policy, Kind::Sandbox, format!("`{command}` is to run outside the sandbox"));
    }
    let is_asked = match declared {
        Declared::Own | Declared::ConsentRequired => false,
        Declared::Agent => policy.approval == ApprovalPolicy::Untrusted && !verdict.is_allowed,
        Declared::AgentAsks => true,
    };
    if is_asked { ask(policy, Kind::Sandbox, format!("`{command}` requires approval")) } else { free() }
}

fn dangerous(policy: &ToolPolicy, command: &Canonical, danger: Danger) -> Requirement {
    if policy.approval == ApprovalPolicy::Never {
        let why = match danger {
            Danger::ForcedRemoval => FORCED_REMOVAL,
            Danger::Unreadable => "blocked by policy: it is too tangled to be looked through",
        };
        return Requirement::Forbidden { reason: format!("`{command}` rejected: {why}") };
    }
    let why = match danger {
        Danger::ForcedRemoval => "it removes files by force",
        Danger::Unreadable => "it is too tangled to be looked through",
    };
    ask(policy, Kind::Sandbox, format!("`{command}` requires approval: {why}"))
}

fn forbidden_by_rule(command: &Canonical, verdict: &RuleVerdict) -> Requirement {
    let found = verdict.most_specific(RuleDecision::Forbidden);
    let why = found.map_or_else(
        || "blocked by policy".to_owned(),
        |found| match &found.justification {
            Some(justification) => justification.clone(),
            None => format!("policy forbids commands starting with `{}`", quoted(&found.prefix)),
        },
    );
    Requirement::Forbidden { reason: format!("`{command}` rejected: {why}") }
}

fn prompted_by_rule(command: &Canonical, verdict: &RuleVerdict) -> String {
    let found = verdict.most_specific(RuleDecision::Prompt);
    match found.and_then(|found| found.justification.as_deref()) {
        Some(justification) => format!("`{command}` requires approval: {justification}"),
        None => format!("`{command}` requires approval by policy"),
    }
}

/// Patches inside what may be written need nothing; Codex asks about the others.
fn patch(policy: &ToolPolicy, call: &CallRequest, declared: Declared, files: &[PatchedFile]) -> Requirement {
    let outside = files.iter().find(|file| !may_write(call, &file.change.path));
    let is_asked = match declared {
        Declared::ConsentRequired | Declared::AgentAsks => true,
        Declared::Own => call.escalated && outside.is_some(),
        Declared::Agent => {
            outside.is_some()
                || files.is_empty()
                || call.escalated && call.sandbox.mode != SandboxMode::DangerFullAccess
                || policy.approval == ApprovalPolicy::Untrusted
        }
    };
    if !is_asked {
        return free();
    }
    let reason = match outside {
        Some(file) => {
            format!("a patch changes `{}`, which may not be written", file.change.path.escape_debug())
        }
        None => format!("a patch changes {} files", files.len()),
    };
    ask(policy, Kind::Sandbox, reason)
}

/// Whether a file may be written, judged by its path alone; links are the sandbox's matter.
fn may_write(call: &CallRequest, path: &str) -> bool {
    let SandboxPolicy { mode, writable_roots, .. } = &call.sandbox;
    let workspace = Path::new(&call.cwd);
    let path = lexical(&workspace.join(path));
    let mut roots = std::iter::once(workspace).chain(writable_roots.iter().map(Path::new));
    let is_protected = |part| PROTECTED.iter().any(|name| Component::Normal(name.as_ref()) == part);
    match mode {
        SandboxMode::DangerFullAccess => true,
        SandboxMode::ReadOnly => false,
        SandboxMode::WorkspaceWrite => roots.any(|root| {
            path.strip_prefix(root)
                .is_ok_and(|below| below.components().next().is_some_and(|first| !is_protected(first)))
        }),
    }
}

/// Resolves `.` and `..` without looking; above the root of the file system is the root again.
fn lexical(path: &Path) -> PathBuf {
    let mut resolved = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => {
                resolved.pop();
            }
            Component::CurDir => {}
            part => resolved.push(part),
        }
    }
    resolved
}

/// Tools that we call ourselves, on servers that the person has defined and switched on.
///
/// A server runs outside of the policy's sandbox, as with Codex: unless the person's settings let the tool pass, or
/// the server says that it only reads, a person is asked. `untrusted` believes no server.
fn mcp(policy: &ToolPolicy, declared: Declared, server: &str, tool: &str) -> Requirement {
    let Some(known) = policy.mcp.servers.get(server) else {
        let reason = format!("the MCP server `{}` is not switched on for this run", server.escape_debug());
        return Requirement::Forbidden { reason };
    };
    let reads =
        known.read_only.iter().any(|name| name == tool) && policy.approval != ApprovalPolicy::Untrusted;
    match known.approval_of(tool) {
        _ if declared == Declared::ConsentRequired => {}
        McpApproval::Approve => {
            return Requirement::Skip { source: DecisionSource::Policy, sandbox: SandboxChoice::AsNamed };
        }
        McpApproval::Auto | McpApproval::Writes if reads => return free(),
        McpApproval::Auto | McpApproval::Writes | McpApproval::Prompt => {}
    }
    ask(policy, Kind::Mcp, format!("MCP tool `{tool}` of server `{server}` requires approval"))
}

/// Tools that only an agent has: it performs them itself, where no sandbox of ours holds.
fn answer(
    policy: &ToolPolicy,
    call: &CallRequest,
    declared: Declared,
    kind: Kind,
    reason: String,
) -> Requirement {
    let is_unbounded =
        policy.approval == ApprovalPolicy::Never && call.sandbox.mode == SandboxMode::DangerFullAccess;
    match declared {
        Declared::Own if !call.escalated => free(),
        // Someone who neither asks nor confines has said yes to tools too, as in Codex.
        Declared::Agent if kind == Kind::Mcp && is_unbounded => free(),
        Declared::Own | Declared::ConsentRequired | Declared::Agent | Declared::AgentAsks => {
            ask(policy, kind, reason)
        }
    }
}

const fn free() -> Requirement {
    Requirement::Skip { source: DecisionSource::NotRequired, sandbox: SandboxChoice::AsNamed }
}

/// Asks, unless the policy turns this kind of question into a refusal.
fn ask(policy: &ToolPolicy, kind: Kind, reason: String) -> Requirement {
    let refusal = match policy.approval {
        ApprovalPolicy::Never => Some(NEVER),
        ApprovalPolicy::OnRequest | ApprovalPolicy::Untrusted => None,
        ApprovalPolicy::Granular(GranularApproval { sandbox_approval, rules, mcp_elicitations, .. }) => {
            match kind {
                Kind::Rule => (!rules).then_some(NOT_RULES),
                Kind::Mcp => (!mcp_elicitations).then_some(NOT_MCP),
                Kind::Sandbox | Kind::Other => (!sandbox_approval).then_some(NOT_SANDBOX),
            }
        }
    };
    match refusal {
        Some(refusal) => Requirement::Forbidden { reason: refusal.to_owned() },
        None => Requirement::NeedsConsent { reason },
    }
}
