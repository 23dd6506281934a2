//! Managed requirements: what an administrator leaves to choose from.

use std::path::Path;

use co_model::{ApprovalPolicy, PolicySource, PrefixRule, RuleDecision, SandboxMode};

use super::layers::{read_file, sha256};
use super::reader::{Reader, Scope};
use super::tree::{self, Layer, Node, Value};
use super::{CodexError, CodexSettings, read};
use crate::problem::Report;

const LONGEST_FILE: u64 = 256 * 1024;
const APPROVALS: [&str; 4] = ["never", "on-request", "untrusted", "granular"];
const KNOWN: [&str; 3] = ["allowed_approval_policies", "allowed_sandbox_modes", "rules"];

/// Applies `requirements.toml`, if there is one: a value that is not allowed gives way to one that is.
///
/// Keys that do not concern us are named in a note, so that nobody takes them for applied.
pub(super) fn apply(
    path: &Path,
    settings: &mut CodexSettings,
    notes: &mut Vec<String>,
) -> Result<(), CodexError> {
    let Some(bytes) = read_file(path, LONGEST_FILE)? else { return Ok(()) };
    let report = Report::on_bytes(path, &bytes);
    let table = tree::parse(0, &report);
    let text = report.text().to_owned();
    report.finish().map_err(|(problems, omitted)| CodexError::Invalid { problems, omitted })?;
    let layers = [Layer { path: path.to_owned(), text, sha256: sha256(&bytes) }];
    let reader = Reader::new(&layers);
    let top = Scope::top(&reader, &table);

    let approvals = top.texts("allowed_approval_policies");
    let modes = top.texts("allowed_sandbox_modes");
    check(top, "allowed_approval_policies", approvals.as_deref(), APPROVALS);
    check(top, "allowed_sandbox_modes", modes.as_deref(), read::MODES.map(|(name, _)| name));
    let rules = rules(top);
    let explained =
        reader.finish().map_err(|(problems, omitted)| CodexError::Invalid { problems, omitted })?;

    if let Some(allowed) = approvals {
        allow_approvals(allowed, settings, notes);
    }
    if let Some(allowed) = modes {
        let allowed = allowed.iter().filter_map(|name| read::MODES.iter().find(|(known, _)| known == name));
        allow_modes(allowed.map(|(_, mode)| *mode).collect(), settings, notes);
    }
    for key in table.keys().filter(|key| !KNOWN.contains(&key.as_str())) {
        notes.push(format!("`{}` of `{}` is not applied", key.escape_debug(), path.display()));
    }
    settings.rules.extend(rules);
    settings.files.push(PolicySource {
        name: path.display().to_string(),
        sha256: Some(layers[0].sha256.clone()),
        keys: explained.iter().map(|row| row.key.clone()).collect(),
    });
    settings.explained.extend(explained);
    Ok(())
}

/// Refuses names that nobody knows: ignoring one could leave more than was meant.
fn check<const N: usize>(top: Scope<'_, '_>, key: &str, names: Option<&[String]>, known: [&str; N]) {
    let Some(value) = top.get(key) else { return };
    for name in names.unwrap_or_default() {
        if !known.contains(&name.as_str()) {
            top.unknown(key, value, name, known);
        }
    }
    if names.is_some_and(<[String]>::is_empty) {
        top.reader.problem(&value.place, format!("`{key}` allows nothing"), None);
    }
}

fn allow_approvals(allowed: Vec<String>, settings: &mut CodexSettings, notes: &mut Vec<String>) {
    let current = settings.approval.unwrap_or_default();
    if !allowed.iter().any(|name| name == current.as_str()) {
        let first = |name: &str| match name {
            "never" => Some(ApprovalPolicy::Never),
            "on-request" => Some(ApprovalPolicy::OnRequest),
            "untrusted" => Some(ApprovalPolicy::Untrusted),
            _ => None,
        };
        // Only `granular` has no value of its own; refusing all its questions allows the least.
        let policy = allowed.iter().find_map(|name| first(name)).unwrap_or(ApprovalPolicy::Never);
        notes.push(format!(
            "`{}` is required to be one of `{}`: it is `{}` instead of `{}`",
            "approval_policy",
            allowed.join("`, `"),
            policy.as_str(),
            current.as_str()
        ));
        settings.approval = Some(policy);
    }
    settings.allowed_approvals = Some(allowed);
}

fn allow_modes(allowed: Vec<SandboxMode>, settings: &mut CodexSettings, notes: &mut Vec<String>) {
    if let Some(sandbox) = &settings.sandbox
        && !allowed.contains(&sandbox.mode)
        && let Some(mode) = allowed.iter().min().copied()
    {
        notes.push(format!(
            "`sandbox_mode` is not allowed to be `{}`: it is `{}` instead",
            sandbox.mode.as_str(),
            mode.as_str()
        ));
        settings.sandbox = Some(read::sandbox(mode, &settings.workspace_write));
    }
    settings.allowed_modes = Some(allowed);
}

/// `[rules] prefix_rules`: they can only ask or forbid.
fn rules(top: Scope<'_, '_>) -> Vec<PrefixRule> {
    let Some((table, prefix)) = top.table("rules") else { return Vec::new() };
    let scope = top.within(table, &prefix);
    let Some(value) = scope.get("prefix_rules") else { return Vec::new() };
    let Node::List(list) = &value.node else {
        scope.wrong("prefix_rules", value, "a list of tables");
        return Vec::new();
    };
    scope.decided("prefix_rules", format!("{} rules", list.len()), &value.place);
    list.iter().filter_map(|item| rule(scope, item)).collect()
}

fn rule(scope: Scope<'_, '_>, item: &Value) -> Option<PrefixRule> {
    let Node::Table(table) = &item.node else {
        scope.wrong("prefix_rules", item, "a list of tables");
        return None;
    };
    let inner = scope.within(table, "rules.prefix_rules");
    let known = [("prompt", RuleDecision::Prompt), ("forbidden", RuleDecision::Forbidden)];
    let decision = inner.one_of("decision", &known);
    let pattern: Option<Vec<Vec<String>>> = match inner.get("pattern").map(|value| &value.node) {
        Some(Node::List(tokens)) if !tokens.is_empty() => {
            tokens.iter().map(|token| alternatives(inner, token)).collect()
        }
        _ => None,
    };
    let (Some(pattern), Some(decision)) = (pattern, decision) else {
        let message = "a managed rule needs a `pattern` of tokens and a `decision`, `prompt` or `forbidden`";
        scope.reader.problem(&item.place, message, None);
        return None;
    };
    Some(PrefixRule { pattern, decision, justification: inner.text("justification") })
}

/// `{ token = "word" }` or `{ any_of = ["word", "word"] }`.
fn alternatives(scope: Scope<'_, '_>, token: &Value) -> Option<Vec<String>> {
    let Node::Table(table) = &token.node else { return None };
    let inner = scope.within(table, "rules.prefix_rules.pattern");
    match (inner.text("token"), inner.texts("any_of")) {
        (Some(word), None) => Some(vec![word]),
        (None, Some(words)) if !words.is_empty() => Some(words),
        _ => None,
    }
}
