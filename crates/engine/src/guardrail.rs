//! What the guardrail stages of a run prove.

use co_model::StageOutcome;

use crate::state::RunState;

/// How the guardrail stages ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct GuardrailCounts {
    /// All guardrail stages of the pipeline.
    pub total: u32,
    /// Those that succeeded.
    pub succeeded: u32,
    /// Those that failed.
    pub failed: u32,
    /// Those that were not run.
    pub skipped: u32,
    /// Those that are not over, or were cancelled.
    pub other: u32,
}

/// The guardrail evidence of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuardrailStatus {
    /// Whether the pipeline demands a guardrail.
    pub required: bool,
    /// How the stages ended.
    pub counts: GuardrailCounts,
}

impl GuardrailStatus {
    /// Reads the evidence off a run.
    pub fn of(state: &RunState) -> Self {
        let mut counts = GuardrailCounts::default();
        for stage in state.stages.iter().filter(|record| record.definition.guardrail && !record.removed) {
            counts.total += 1;
            match stage.outcome() {
                Some(StageOutcome::Succeeded) => counts.succeeded += 1,
                Some(StageOutcome::Failed { .. }) => counts.failed += 1,
                Some(StageOutcome::Skipped { .. }) => counts.skipped += 1,
                Some(StageOutcome::Cancelled) | None => counts.other += 1,
            }
        }
        Self { required: state.pipeline().guardrails_required, counts }
    }

    /// Whether at least one guardrail succeeded.
    pub fn present(&self) -> bool {
        self.counts.succeeded > 0
    }

    /// Whether the evidence allows a positive verdict.
    pub fn satisfied(&self) -> bool {
        self.counts.failed == 0 && (!self.required || self.present())
    }

    /// One sentence for people.
    pub fn sentence(&self) -> String {
        let GuardrailCounts { total, succeeded, failed, .. } = self.counts;
        match (total, self.required) {
            (0, false) => "Guardrails: none declared.".to_owned(),
            (0, true) => "Guardrails: required, but the pipeline has none.".to_owned(),
            _ if failed > 0 => format!("Guardrails: {failed} of {total} failed."),
            _ if succeeded == 0 => format!("Guardrails: none of {total} has run."),
            _ => format!("Guardrails: {succeeded} of {total} succeeded."),
        }
    }

    /// The next step, when the evidence is not enough.
    pub fn recommendation(&self) -> Option<String> {
        if self.satisfied() {
            return None;
        }
        Some(if self.counts.failed > 0 {
            "Fix what the failed guardrail reports, then resume the run.".to_owned()
        } else {
            "Run the guardrail stages before the review.".to_owned()
        })
    }
}
