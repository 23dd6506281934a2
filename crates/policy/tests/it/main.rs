//! What the room promises, checked from outside.
#![expect(clippy::expect_used, reason = "a test that cannot go on fails")]

mod commands;
mod consents;
mod failures;
mod keys;
mod narrowing;
mod requirements;
mod rules;

use std::collections::BTreeMap;

use co_model::{
    CallId, CallOrigin, CallRequest, PrefixRule, RuleDecision, SandboxMode, SandboxPolicy, StageId,
    ToolPolicy, ToolUse,
};

pub(crate) fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}

/// A command that a shell runs.
pub(crate) fn script(script: &str) -> Vec<String> {
    words(&["bash", "-lc", script])
}

pub(crate) fn call(tool: ToolUse) -> CallRequest {
    CallRequest {
        call: CallId("call-1".to_owned()),
        stage: StageId::new("build").expect("a stage id"),
        attempt: 1,
        origin: CallOrigin::Stage,
        tool,
        cwd: "/work".to_owned(),
        tty: false,
        sandbox: SandboxPolicy::of(SandboxMode::WorkspaceWrite),
        env: BTreeMap::new(),
        escalated: false,
        reason: None,
        sealed: false,
    }
}

pub(crate) fn command(argv: Vec<String>) -> CallRequest {
    call(ToolUse::Command { argv })
}

/// A rule over single words; `a|b` are alternatives.
pub(crate) fn rule(pattern: &str, decision: RuleDecision) -> PrefixRule {
    PrefixRule {
        pattern: pattern.split(' ').map(|word| word.split('|').map(str::to_owned).collect()).collect(),
        decision,
        justification: None,
    }
}

pub(crate) fn policy(rules: &[(&str, RuleDecision)]) -> ToolPolicy {
    ToolPolicy {
        sandbox: Some(SandboxPolicy::of(SandboxMode::WorkspaceWrite)),
        rules: rules.iter().map(|(pattern, decision)| rule(pattern, *decision)).collect(),
        ..ToolPolicy::default()
    }
}
