//! Rules over the first words of commands: what they say of one.

use co_model::{PrefixRule, RuleDecision, ToolPolicy};

use crate::command::{Canonical, is_of_the_system, program_name};
use crate::danger::{self, Danger};

/// A rule that speaks of a part of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleMatch {
    /// Which part, from 0.
    pub part: usize,
    /// The words that matched.
    pub prefix: Vec<String>,
    /// What the rule decides.
    pub decision: RuleDecision,
    /// Why, for people.
    pub justification: Option<String>,
}

/// What all rules together say of a command.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RuleVerdict {
    /// Every rule that speaks of it, in the order of parts, then of rules.
    pub matches: Vec<RuleMatch>,
    /// The parts that no rule speaks of.
    pub unmatched: Vec<usize>,
    /// Whether every part is allowed and none is more than allowed: only then it leaves the sandbox.
    pub is_allowed: bool,
    /// Why a part that no rule speaks of is dangerous.
    pub danger: Option<Danger>,
}

impl RuleVerdict {
    /// The strictest decision; `None` when no rule speaks of any part.
    pub fn decision(&self) -> Option<RuleDecision> {
        self.matches.iter().map(|found| found.decision).max()
    }

    /// The most specific of the matches with this decision.
    pub fn most_specific(&self, decision: RuleDecision) -> Option<&RuleMatch> {
        self.matches.iter().filter(|found| found.decision == decision).max_by_key(|found| found.prefix.len())
    }
}

/// Weighs a command by the rules; the strictest match of all parts counts.
///
/// A rule over a bare name also speaks of `/path/to/name`, unless [`ToolPolicy::host_executables`]
/// lists other paths for it. It allows such a path only if that is listed or one of the system's own
/// folders: a file of that name can lie anywhere. Commands that can be seen inside an opaque unit
/// (substitutions, loops, wrappers) make the decision stricter, never milder.
pub fn weigh(policy: &ToolPolicy, command: &Canonical) -> RuleVerdict {
    let mut verdict = RuleVerdict { is_allowed: command.is_certain(), ..RuleVerdict::default() };
    for (part, words) in command.parts().iter().enumerate() {
        let found = matches(policy, part, words);
        let seen = danger::look_through(words);
        let inner: Vec<RuleMatch> = seen.commands[1..]
            .iter()
            .flat_map(|words| matches(policy, part, words))
            .filter(|found| found.decision > RuleDecision::Allow)
            .collect();
        if found.is_empty() {
            verdict.unmatched.push(part);
            verdict.danger = verdict.danger.or(seen.danger());
        }
        verdict.is_allowed &= !found.is_empty();
        verdict.matches.extend(found.into_iter().chain(inner));
    }
    verdict.is_allowed &= verdict.decision() == Some(RuleDecision::Allow);
    verdict
}

fn matches(policy: &ToolPolicy, part: usize, words: &[String]) -> Vec<RuleMatch> {
    let exact: Vec<RuleMatch> =
        policy.rules.iter().filter_map(|rule| matched(rule, part, words, words.first()?)).collect();
    let Some(program) = words.first().filter(|program| exact.is_empty() && program.contains('/')) else {
        return exact;
    };
    let name = program_name(program);
    let listed = policy.host_executables.get(name);
    if listed.is_some_and(|paths| !paths.contains(program)) {
        return exact;
    }
    let may_allow = listed.is_some() || is_of_the_system(program);
    policy
        .rules
        .iter()
        .filter_map(|rule| matched(rule, part, words, name))
        .filter(|found| may_allow || found.decision > RuleDecision::Allow)
        .collect()
}

fn matched(rule: &PrefixRule, part: usize, words: &[String], program: &str) -> Option<RuleMatch> {
    let following = words.iter().take(rule.pattern.len()).skip(1).cloned();
    rule.matches(words, program).then(|| RuleMatch {
        part,
        prefix: std::iter::once(program.to_owned()).chain(following).collect(),
        decision: rule.decision,
        justification: rule.justification.clone(),
    })
}
