//! What is to be done about a run whose owner may be gone: a plan that can be printed first.

use std::fmt;

use co_model::{SkipReason, StageId, StageOutcome, ThreadId};

use crate::state::{Phase, RunState, StageRecord, StageState};

/// What was seen of a run from outside.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Seen {
    /// Its owner is alive and has given a sign of life in time.
    pub owner_alive: bool,
    /// What is known of the owner, for people.
    pub owner: String,
    /// Processes that carry the run's mark, without the owner.
    pub survivors: Vec<String>,
    /// The views on disk show less than the log.
    pub views_lag: bool,
}

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RecoveryStep {
    /// Ends processes that outlived the owner.
    KillSurvivors {
        /// The processes.
        processes: Vec<String>,
    },
    /// Records that the owner is gone.
    MarkInterrupted {
        /// What was found.
        detail: String,
    },
    /// Ends the run, because stopping it had been asked for.
    FinishCancelled,
    /// Writes the views from the log.
    RewriteViews,
}

/// The plan for one run. Empty when there is nothing to do.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RecoveryPlan {
    /// In this order.
    pub steps: Vec<RecoveryStep>,
    /// What a resume would do afterwards, per stage.
    pub on_resume: Vec<OnResume>,
}

/// What a resume would do with a stage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OnResume {
    /// Run it from the beginning.
    Run(StageId),
    /// Go on with the agent's conversation.
    Continue(StageId, ThreadId),
    /// Wait for the answer to its question.
    Wait(StageId),
    /// Resume its child run.
    Child(StageId),
}

/// Plans the recovery of a run.
pub fn plan_recovery(state: &RunState, seen: &Seen) -> RecoveryPlan {
    if seen.owner_alive {
        return RecoveryPlan::default();
    }
    let mut steps = Vec::new();
    if !seen.survivors.is_empty() {
        steps.push(RecoveryStep::KillSurvivors { processes: seen.survivors.clone() });
    }
    let changes = match &state.phase {
        Phase::Created | Phase::Running => {
            steps.push(RecoveryStep::MarkInterrupted { detail: seen.owner.clone() });
            true
        }
        Phase::Cancelling { .. } => {
            steps.push(RecoveryStep::FinishCancelled);
            true
        }
        Phase::Interrupted { .. } | Phase::Finished { .. } => false,
    };
    if changes || seen.views_lag {
        steps.push(RecoveryStep::RewriteViews);
    }
    let on_resume = match &state.phase {
        Phase::Finished { .. } | Phase::Cancelling { .. } => Vec::new(),
        Phase::Created | Phase::Running | Phase::Interrupted { .. } => {
            state.stages.iter().filter_map(|record| on_resume(record)).collect()
        }
    };
    RecoveryPlan { steps, on_resume }
}

fn on_resume(record: &StageRecord) -> Option<OnResume> {
    let stage = record.id().clone();
    match (&record.state, &record.thread) {
        (StageState::Finished { outcome }, _) if !is_run_again(record, outcome) => None,
        (StageState::Asking { .. }, _) => Some(OnResume::Wait(stage)),
        _ if record.open_child().is_some() => Some(OnResume::Child(stage)),
        (_, Some(thread)) => Some(OnResume::Continue(stage, thread.clone())),
        (_, None) => Some(OnResume::Run(stage)),
    }
}

fn is_run_again(record: &StageRecord, outcome: &StageOutcome) -> bool {
    match outcome {
        _ if record.removed => false,
        StageOutcome::Failed { .. } | StageOutcome::Cancelled => true,
        StageOutcome::Skipped { reason } => matches!(reason, SkipReason::StageFailed(_)),
        StageOutcome::Succeeded => record.objection().is_some(),
    }
}

impl fmt::Display for RecoveryStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::KillSurvivors { processes } => write!(f, "kill {}", processes.join(", ")),
            Self::MarkInterrupted { detail } => write!(f, "mark as interrupted: {detail}"),
            Self::FinishCancelled => f.write_str("end as cancelled, as had been asked for"),
            Self::RewriteViews => f.write_str("write the views from the log"),
        }
    }
}

impl fmt::Display for OnResume {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Run(stage) => write!(f, "run stage {stage}"),
            Self::Continue(stage, thread) => write!(f, "continue stage {stage} in agent thread {thread}"),
            Self::Wait(stage) => write!(f, "wait for the answer to stage {stage}"),
            Self::Child(stage) => write!(f, "resume the child run of stage {stage}"),
        }
    }
}
