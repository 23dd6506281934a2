//! The structured record of a failed stage: `errors/NN-<slug>.json`.

use co_engine::RunState;
use co_model::{FailureReason, StageId, StageOutcome, StageWork};
use schemars::JsonSchema;
use serde::Serialize;

use crate::agent::{AgentFailureView, turn_view};
use crate::attempt::Exit;
use crate::command::{deciding_report, stage_number};
use crate::json::{Time, count};
use crate::layout::Layout;
use crate::sentence;
use crate::words::ExitWord;

/// Why a stage failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(title = "Codex Orchestrator stage error", deny_unknown_fields)]
pub struct ErrorArtifact {
    /// The run.
    pub run_id: String,
    /// The task.
    pub task_id: String,
    /// The stage's place in the manifest's `commands`, from 1.
    #[schemars(range(min = 1))]
    pub command_index: u32,
    /// The stage.
    pub command_id: String,
    /// The command as a person would type it; null for other kinds of stages.
    pub command: Option<String>,
    /// One word in kebab case: `failed`, `timed-out`, `not-started` …
    pub reason: String,
    /// What is known about the failure.
    pub details: ErrorDetails,
    /// When the stage failed.
    pub created_at: Time,
}

/// What is known about a failure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct ErrorDetails {
    /// The failure as a sentence's end.
    pub message: String,
    /// Whether the pipeline allows this stage to fail.
    pub allowed: bool,
    /// How the last attempt ended; null when there was none or nobody saw its end.
    pub exit: Option<Exit>,
    /// The exit code a shell would report.
    pub exit_code: Option<i32>,
    /// One line from the attempt's output.
    pub summary: Option<String>,
    /// How many attempts were made in all.
    pub attempts: u32,
    /// Output of the last attempt; null when it never began.
    pub log_path: Option<String>,
    /// Declared outputs that were missing.
    pub missing_outputs: Vec<String>,
    /// Why the agent's turn is not a success.
    pub agent: Option<AgentFailureView>,
    /// The child run that did not succeed.
    pub child_run_id: Option<String>,
}

/// Computes the record of a failed stage; `None` unless the stage has failed.
pub fn error_artifact(state: &RunState, layout: &Layout, stage: &StageId) -> Option<ErrorArtifact> {
    let record = state.stage(stage)?;
    let Some(StageOutcome::Failed { reason, allowed }) = record.outcome() else { return None };
    let (task, run) = (&state.created.task, state.run());
    let index = stage_number(state, stage)?;
    let report = deciding_report(record);
    let exit = report.map(|report| Exit::from(&report.exit));
    let last = record.attempts.last();
    let agent = report.and_then(|report| turn_view(report.agent.as_ref()?).failure);
    Some(ErrorArtifact {
        run_id: run.to_string(),
        task_id: task.to_string(),
        command_index: index,
        command_id: stage.to_string(),
        command: match &record.definition.work {
            StageWork::Command(line) => Some(sentence::command_text(line)),
            StageWork::Mcp(work) => Some(sentence::tool_text(work)),
            StageWork::Agent(_) | StageWork::Gate(_) | StageWork::Pipeline(_) => None,
        },
        reason: reason.word().to_owned(),
        details: ErrorDetails {
            message: reason.to_string(),
            allowed: *allowed,
            exit_code: exit.as_ref().and_then(|exit| exit.code),
            summary: report.map(|report| report.summary.clone()),
            attempts: count(record.attempts.len()),
            log_path: last
                .filter(|_| exit.as_ref().is_none_or(|exit| exit.kind != ExitWord::NotStarted))
                .map(|attempt| layout.show(&layout.attempt_log(task, run, stage, attempt.number))),
            exit,
            missing_outputs: report.map(|report| report.missing_outputs.clone()).unwrap_or_default(),
            agent,
            child_run_id: match reason {
                FailureReason::ChildRun(child) => Some(child.to_string()),
                _ => None,
            },
        },
        created_at: record.finished_at.unwrap_or(state.updated_at).into(),
    })
}
