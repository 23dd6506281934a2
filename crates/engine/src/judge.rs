//! The verdicts of builder, tester and reviewer, and the outcome that follows from them.
//!
//! A verdict rests on what was observed: exit codes, terminal events, declared files,
//! guardrails. What an agent says can only turn a positive verdict into a negative one.

use co_model::{Judgement, Role, RunOutcome, StageOutcome, StageWork};

use crate::guardrail::GuardrailStatus;
use crate::state::RunState;

/// Gives the verdict of a role. All stages up to that role are over.
pub(crate) fn judge(state: &RunState, role: Role) -> Judgement {
    let mut reasons = Vec::new();
    let of_role = |wanted: &dyn Fn(Role) -> bool| {
        state
            .schedule
            .iter()
            .filter(|slot| wanted(slot.role))
            .map(|slot| state.stages[slot.stage].as_ref())
            .collect::<Vec<_>>()
    };
    let stages = match role {
        Role::Planner | Role::Builder => of_role(&|r| r <= Role::Builder),
        Role::Tester | Role::Reviewer => of_role(&|r| r == role),
    };
    let mut success = true;
    for stage in &stages {
        match stage.outcome() {
            Some(StageOutcome::Failed { reason, allowed }) => {
                success &= *allowed;
                let permitted = if *allowed { " (allowed to fail)" } else { "" };
                reasons.push(format!("Stage `{}` failed: {}{permitted}.", stage.id(), reason));
            }
            Some(StageOutcome::Cancelled) => {
                success = false;
                reasons.push(format!("Stage `{}` was cancelled.", stage.id()));
            }
            _ => {}
        }
        if let Some(objection) = stage.objection() {
            success = false;
            reasons.push(format!("Stage `{}` objects: {objection}", stage.id()));
        }
    }
    let passed = stages.iter().filter(|stage| stage.outcome() == Some(&StageOutcome::Succeeded)).count();
    if !stages.is_empty() {
        reasons.push(format!("{passed} of {} {} stages succeeded.", stages.len(), role.as_str()));
    }
    match role {
        Role::Tester => {
            success &= accept(state, Role::Builder, &mut reasons);
            let guardrails = GuardrailStatus::of(state);
            success &= guardrails.satisfied();
            reasons.push(guardrails.sentence());
        }
        Role::Reviewer => success &= accept(state, Role::Tester, &mut reasons),
        Role::Planner | Role::Builder => {}
    }
    Judgement { role, success, reasons }
}

/// Takes over the verdict of the role before.
fn accept(state: &RunState, before: Role, reasons: &mut Vec<String>) -> bool {
    let accepted = state.judgement(before).is_some_and(|judgement| judgement.success);
    let verdict = if accepted { "positive" } else { "negative" };
    reasons.push(format!("The {}'s verdict is {verdict}.", before.as_str()));
    accepted
}

/// The outcome that follows from the reviewer's verdict. All verdicts are given.
pub(crate) fn outcome(state: &RunState) -> RunOutcome {
    if state.judgement(Role::Reviewer).is_some_and(|judgement| judgement.success) {
        return RunOutcome::Succeeded;
    }
    let slots = state.schedule.iter().map(|slot| state.stages[slot.stage].as_ref());
    let blocking = slots.filter_map(|stage| match stage.outcome() {
        Some(StageOutcome::Failed { reason, allowed: false }) => Some((stage, reason.word())),
        Some(StageOutcome::Cancelled) => Some((stage, "cancelled")),
        _ => None,
    });
    let detail = match blocking.into_iter().next() {
        Some((stage, word)) => {
            let kind = match stage.definition.work {
                StageWork::Pipeline(_) => "subpipeline",
                _ => "stage",
            };
            format!("{kind}:{}:{word}", stage.id())
        }
        None if !GuardrailStatus::of(state).satisfied() => "guardrails:unsatisfied".to_owned(),
        None if state.judgement(Role::Tester).is_some_and(|judgement| judgement.success) => {
            "review:rejected".to_owned()
        }
        None => "test:rejected".to_owned(),
    };
    RunOutcome::Failed { detail }
}
