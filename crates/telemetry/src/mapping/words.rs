//! Names of our attributes and the few values that `error.type` takes.

use co_model::{AttemptExit, AttemptReport, FailureReason, RunOutcome, StageOutcome};

use super::RunFacts;
use super::attributes::Attributes;

pub(super) const RUN: &str = "codex_orchestrator.run.id";
pub(super) const RUN_STATUS: &str = "codex_orchestrator.run.status";
pub(super) const TASK: &str = "codex_orchestrator.task.id";
pub(super) const PIPELINE: &str = "codex_orchestrator.pipeline.id";
pub(super) const STAGE: &str = "codex_orchestrator.stage.id";
pub(super) const STAGE_KIND: &str = "codex_orchestrator.stage.kind";
pub(super) const STAGE_STATUS: &str = "codex_orchestrator.stage.status";
pub(super) const ATTEMPT: &str = "codex_orchestrator.attempt";
pub(super) const TOOL_KIND: &str = "codex_orchestrator.tool.kind";
pub(super) const TOOL_ORIGIN: &str = "codex_orchestrator.tool.origin";
pub(super) const TOOL_STATUS: &str = "codex_orchestrator.tool.status";
pub(super) const DECISION_APPROVED: &str = "codex_orchestrator.tool.decision.approved";
pub(super) const DECISION_SOURCE: &str = "codex_orchestrator.tool.decision.source";
pub(super) const ERROR_TYPE: &str = "error.type";
pub(super) const EXIT_CODE: &str = "process.exit.code";
pub(super) const EXECUTABLE: &str = "process.executable.name";

/// What every span and record of a run carries.
pub(super) fn of_run(facts: &RunFacts) -> Attributes {
    Attributes::default().with(RUN, facts.run.as_str()).with(TASK, facts.task.as_str())
}

/// The class of a run's failure.
pub(super) const fn run_error(outcome: &RunOutcome) -> Option<&'static str> {
    match outcome {
        RunOutcome::Succeeded => None,
        RunOutcome::Failed { .. } => Some("failed"),
        RunOutcome::Cancelled { .. } => Some("cancelled"),
    }
}

/// The class of a stage's failure.
pub(super) fn stage_error(outcome: &StageOutcome) -> Option<&str> {
    match outcome {
        StageOutcome::Succeeded | StageOutcome::Skipped { .. } => None,
        StageOutcome::Cancelled => Some("cancelled"),
        StageOutcome::Failed { reason, .. } => Some(match reason {
            FailureReason::ExitCode(_) => "exit_code",
            FailureReason::Signal(_) => "signal",
            FailureReason::TimedOut => "timeout",
            FailureReason::Agent(class) => class,
            FailureReason::ChildRun(_) => "child_run",
            // Already one word of a fixed set.
            other => other.word(),
        }),
    }
}

/// The class of an attempt's failure; `None` for an attempt that did its work.
pub(super) fn attempt_error(report: &AttemptReport) -> Option<&str> {
    let failure = report.agent.as_ref().and_then(|agent| agent.failure.as_ref());
    match &report.exit {
        AttemptExit::TimedOut { .. } => Some("timeout"),
        AttemptExit::Cancelled => Some("cancelled"),
        AttemptExit::Lost => Some("lost"),
        AttemptExit::NotStarted { .. } => Some("not_started"),
        AttemptExit::NotRecorded { .. } => Some("not_recorded"),
        AttemptExit::Code(_) | AttemptExit::Signal(_) if failure.is_some() => {
            failure.map(|failure| failure.class.as_str())
        }
        AttemptExit::Signal(_) => Some("signal"),
        AttemptExit::Code(0) if report.missing_outputs.is_empty() => None,
        AttemptExit::Code(0) => Some("missing_outputs"),
        AttemptExit::Code(_) => Some("exit_code"),
    }
}
