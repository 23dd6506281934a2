//! Whether the user's policy lets something be done in a session.

use std::collections::BTreeMap;

use co_model::{
    ApprovalPolicy, CallId, CallOrigin, CallRequest, SandboxMode, SandboxPolicy, StageId, ToolPolicy, ToolUse,
};
use co_policy::{Declared, Requirement, SandboxChoice, requirement};

use crate::error::{CliError, Exit};

/// What is wanted of a session.
pub(crate) struct Wanted<'w> {
    /// The session.
    pub(crate) session: &'w str,
    /// The command it comes to.
    pub(crate) argv: Vec<String>,
    /// Where, absolute.
    pub(crate) cwd: String,
    /// Whether on a terminal.
    pub(crate) tty: bool,
    /// On whose word.
    pub(crate) declared: Declared,
}

/// What the policy says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Admitted {
    /// It may be done.
    Yes {
        /// In this sandbox, or in a narrower one.
        sandbox: SandboxPolicy,
    },
    /// It may be done once a person agrees.
    WithConsent {
        /// In this sandbox, or in a narrower one.
        sandbox: SandboxPolicy,
        /// What for, for people.
        reason: String,
    },
}

impl Admitted {
    /// The widest sandbox it may be done in.
    pub(crate) fn sandbox(&self) -> &SandboxPolicy {
        match self {
            Self::Yes { sandbox } | Self::WithConsent { sandbox, .. } => sandbox,
        }
    }
}

/// Weighs a call. The one place where what is done in a session is let through.
///
/// # Errors
/// A refusal with the reason when the policy forbids it.
pub(crate) fn admit(policy: &ToolPolicy, wanted: Wanted<'_>) -> Result<Admitted, CliError> {
    let stage = StageId::new("session").map_err(|error| CliError::of(Exit::Bug, &error))?;
    let request = CallRequest {
        call: CallId(format!("session:{}", wanted.session)),
        stage,
        attempt: 1,
        origin: CallOrigin::Session(wanted.session.to_owned()),
        tool: ToolUse::Command { argv: wanted.argv },
        cwd: wanted.cwd,
        tty: wanted.tty,
        sandbox: policy.sandbox.clone().unwrap_or(SandboxPolicy::FULL_ACCESS),
        env: BTreeMap::new(),
        escalated: false,
        reason: None,
        sealed: false,
    };
    let requirement = requirement(policy, &request, on_whose_word(policy, wanted.declared));
    let sandbox = request.sandbox;
    match requirement {
        Requirement::Skip { sandbox: SandboxChoice::AsNamed, .. } => Ok(Admitted::Yes { sandbox }),
        Requirement::Skip { sandbox: SandboxChoice::Outside, .. } => {
            Ok(Admitted::Yes { sandbox: SandboxPolicy::FULL_ACCESS })
        }
        Requirement::NeedsConsent { reason } => Ok(Admitted::WithConsent { sandbox, reason }),
        Requirement::Forbidden { reason } => Err(CliError::new(Exit::Refused, reason)),
    }
}

/// An agent that no sandbox confines needs a person's word, or a rule, for everything it does. The one exception is a
/// person who has said both that nothing is asked and that nothing is confined.
fn on_whose_word(policy: &ToolPolicy, declared: Declared) -> Declared {
    let is_confined =
        policy.sandbox.as_ref().is_some_and(|sandbox| sandbox.mode != SandboxMode::DangerFullAccess);
    let is_let_loose = policy.sandbox.is_some() && policy.approval == ApprovalPolicy::Never;
    match declared {
        Declared::Agent if !is_confined && !is_let_loose => Declared::AgentAsks,
        declared => declared,
    }
}

#[cfg(test)]
mod tests {
    use co_model::{PrefixRule, RuleDecision};

    use super::*;

    fn say(policy: &ToolPolicy, script: &str, declared: Declared) -> Result<Admitted, String> {
        let argv = ["/bin/sh", "-c", script].map(str::to_owned).to_vec();
        let wanted = Wanted { session: "s", argv, cwd: "/".to_owned(), tty: false, declared };
        admit(policy, wanted).map_err(|error| error.to_string())
    }

    const FREE: Admitted = Admitted::Yes { sandbox: SandboxPolicy::FULL_ACCESS };

    fn rule(word: &str, decision: RuleDecision) -> PrefixRule {
        PrefixRule { pattern: vec![vec![word.to_owned()]], decision, justification: None }
    }

    #[test]
    fn rules_hold_in_sessions_as_anywhere() {
        let rules = vec![rule("curl", RuleDecision::Forbidden), rule("git", RuleDecision::Prompt)];
        let policy = ToolPolicy { rules, ..ToolPolicy::default() };
        assert_eq!(say(&policy, "cd x && make", Declared::Own), Ok(FREE));
        assert!(matches!(say(&policy, "git push", Declared::Own), Ok(Admitted::WithConsent { .. })));
        assert!(say(&policy, "true && curl x", Declared::Own).unwrap_err().contains("rejected"));
        let never = ToolPolicy { approval: ApprovalPolicy::Never, ..policy };
        assert!(say(&never, "git push", Declared::Own).is_err());
    }

    #[test]
    fn an_agent_asks_where_a_person_need_not() {
        let policy = ToolPolicy { approval: ApprovalPolicy::Untrusted, ..ToolPolicy::default() };
        assert_eq!(say(&policy, "make", Declared::Own), Ok(FREE));
        assert!(matches!(say(&policy, "make", Declared::Agent), Ok(Admitted::WithConsent { .. })));
    }

    #[test]
    fn an_agent_that_nothing_confines_needs_a_word_for_everything() {
        let agent = |policy: &ToolPolicy| say(policy, "make", Declared::Agent);
        let open = ToolPolicy::default();
        assert!(matches!(agent(&open), Ok(Admitted::WithConsent { .. })));
        assert_eq!(say(&open, "make", Declared::Own), Ok(FREE));
        let named = ToolPolicy { sandbox: Some(SandboxPolicy::FULL_ACCESS), ..open.clone() };
        assert!(matches!(agent(&named), Ok(Admitted::WithConsent { .. })));
        // Nothing said of a sandbox is no word for going without one; both said is.
        assert!(agent(&ToolPolicy { approval: ApprovalPolicy::Never, ..open.clone() }).is_err());
        assert_eq!(agent(&ToolPolicy { approval: ApprovalPolicy::Never, ..named }), Ok(FREE));
        let ruled = ToolPolicy { rules: vec![rule("make", RuleDecision::Allow)], ..open.clone() };
        assert_eq!(agent(&ruled), Ok(FREE));
        let sandbox = SandboxPolicy::of(SandboxMode::WorkspaceWrite);
        let confined = ToolPolicy { sandbox: Some(sandbox.clone()), ..open };
        assert_eq!(agent(&confined), Ok(Admitted::Yes { sandbox }));
    }

    #[test]
    fn the_sandbox_is_that_of_the_settings_unless_a_rule_lets_it_out() {
        let sandbox = SandboxPolicy::of(SandboxMode::WorkspaceWrite);
        let rules = vec![rule("make", RuleDecision::Allow), rule("git", RuleDecision::Prompt)];
        let policy = ToolPolicy { sandbox: Some(sandbox.clone()), rules, ..ToolPolicy::default() };
        assert_eq!(say(&policy, "touch x", Declared::Own), Ok(Admitted::Yes { sandbox: sandbox.clone() }));
        assert_eq!(say(&policy, "make", Declared::Own), Ok(FREE));
        assert_eq!(say(&policy, "git push", Declared::Own).unwrap().sandbox(), &sandbox);
    }
}
