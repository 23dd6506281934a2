//! One stage of a run, as manifests show it: an entry of `commands[]`.

use co_engine::{CallState, RunState, StageRecord, StageState};
use co_model::{AttemptReport, StageId, StageOutcome, StageStatus, StageWork};
use schemars::JsonSchema;
use serde::Serialize;

use crate::agent::{AgentView, agent_view};
use crate::attempt::{AttemptView, Exit, OutputBytes, OutputFile, attempt_view, output_files, report};
use crate::json::{Time, count, millis};
use crate::layout::Layout;
use crate::sentence;
use crate::words::{RoleWord, StageKind, StageStatusWord};

/// One stage of a run. What describes a result is null unless the stage has one now: a stage that
/// a resume runs again shows its earlier results in `attempts` only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct CommandView {
    /// Position in the pipeline, from 1; stages that an edit removed come last.
    #[schemars(range(min = 1))]
    pub index: u32,
    /// The stage's id, unique within the run.
    pub id: String,
    /// Shown to people.
    pub title: String,
    /// What the stage does.
    pub kind: StageKind,
    /// The part it plays.
    pub role: RoleWord,
    /// The command as a person would type it; null for other kinds.
    pub command: Option<String>,
    /// Where the stage stands.
    pub status: StageStatusWord,
    /// When its first attempt, question or child run began.
    pub started_at: Option<Time>,
    /// When it ended.
    pub completed_at: Option<Time>,
    /// Wall time of the attempt that decided, in milliseconds.
    pub duration_ms: Option<u64>,
    /// Exit code of the attempt that decided, as a shell would report it.
    pub exit_code: Option<i32>,
    /// Signal that ended the attempt that decided.
    pub signal: Option<i32>,
    /// Why it failed or was skipped, as one word in kebab case.
    pub reason: Option<String>,
    /// Why it was skipped, as a sentence.
    pub skip_reason: Option<String>,
    /// One line about it for people.
    pub summary: Option<String>,
    /// Output of the last attempt.
    pub log_path: Option<String>,
    /// Stream, time and offset index of that output.
    pub index_path: Option<String>,
    /// The structured record of its failure.
    pub error_file: Option<String>,
    /// Every attempt ever made, oldest first.
    pub attempts: Vec<AttemptView>,
    /// Whether the run may succeed when this stage fails.
    pub allow_failure: bool,
    /// Whether its result counts as guardrail evidence.
    pub guardrail: bool,
    /// Whether an edit of the pipeline removed it.
    pub removed: bool,
    /// Processes that had to be killed at the end of its attempts.
    pub survivors_killed: u32,
    /// Bytes written by the attempt that decided.
    pub output_bytes: Option<OutputBytes>,
    /// Declared outputs that were produced.
    pub outputs: Vec<OutputFile>,
    /// Declared outputs that were missing.
    pub missing_outputs: Vec<String>,
    /// Why a tester or reviewer stage rejects the work.
    pub objection: Option<String>,
    /// The child run of a nested pipeline.
    pub sub_run_id: Option<String>,
    /// The question of a gate, or about the stage's own command while it is open.
    pub question: Option<QuestionView>,
    /// An agent's part.
    pub agent: Option<AgentView>,
}

/// A question to a person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct QuestionView {
    /// What is asked.
    pub message: String,
    /// Unanswered by then means no; null unless the question is open.
    pub expires_at: Option<Time>,
}

/// The number of a stage in a run: the one its files carry.
pub fn stage_number(state: &RunState, stage: &StageId) -> Option<u32> {
    let index = state.stages.iter().position(|record| record.id() == stage)?;
    Some(count(index + 1))
}

/// Shows every stage of a run, in file order.
pub(crate) fn command_views(state: &RunState, layout: &Layout) -> Vec<CommandView> {
    let numbered = (1_u32..).zip(&state.stages);
    numbered.map(|(index, record)| command_view(state, layout, index, record)).collect()
}

fn command_view(state: &RunState, layout: &Layout, index: u32, record: &StageRecord) -> CommandView {
    let (task, run) = (&state.created.task, state.run());
    let definition = &record.definition;
    let status = record.status();
    let shown = !matches!(status, StageStatus::Pending | StageStatus::Skipped);
    let deciding = deciding_report(record);
    let exit = deciding.map(|report| Exit::from(&report.exit));
    let attempts: Vec<AttemptView> = record
        .attempts
        .iter()
        .map(|attempt| {
            let log = layout.attempt_log(task, run, record.id(), attempt.number);
            let index_file = layout.attempt_index(task, run, record.id(), attempt.number);
            attempt_view(attempt, (layout.show(&log), layout.show(&index_file)))
        })
        .collect();
    let last = attempts.last();
    let failed = matches!(record.outcome(), Some(StageOutcome::Failed { .. }));
    let (reason, skip_reason) = reasons(record);
    CommandView {
        index,
        id: record.id().to_string(),
        title: definition.title.clone(),
        kind: (&definition.work).into(),
        role: definition.role.into(),
        command: match &definition.work {
            StageWork::Command(line) => Some(sentence::command_text(line)),
            StageWork::Mcp(work) => Some(sentence::tool_text(work)),
            StageWork::Agent(_) | StageWork::Gate(_) | StageWork::Pipeline(_) => None,
        },
        status: status.into(),
        started_at: record.started_at.filter(|_| shown).map(Time::from),
        completed_at: record.finished_at.map(Time::from),
        duration_ms: deciding.map(|report| millis(report.duration)),
        exit_code: exit.as_ref().and_then(|exit| exit.code),
        signal: exit.as_ref().and_then(|exit| exit.signal),
        reason,
        skip_reason,
        summary: sentence::stage_summary(state, record),
        log_path: last.and_then(|attempt| attempt.log_path.clone()),
        index_path: last.and_then(|attempt| attempt.index_path.clone()),
        error_file: failed.then(|| layout.show(&layout.error_path(task, run, record.id()))),
        allow_failure: definition.allow_failure,
        guardrail: definition.guardrail,
        removed: record.removed,
        survivors_killed: attempts
            .iter()
            .fold(0, |sum, attempt| attempt.survivors_killed.saturating_add(sum)),
        output_bytes: deciding.map(|report| report.output.clone().into()),
        outputs: deciding.map(|report| output_files(report, Some(layout))).unwrap_or_default(),
        missing_outputs: deciding.map(|report| report.missing_outputs.clone()).unwrap_or_default(),
        objection: deciding.and_then(|report| report.objection.clone()),
        sub_run_id: record.child.as_ref().map(|(child, _)| child.to_string()),
        question: question(record),
        agent: match &definition.work {
            StageWork::Agent(agent) => Some(agent_view(agent, record)),
            StageWork::Command(_) | StageWork::Gate(_) | StageWork::Pipeline(_) | StageWork::Mcp(_) => None,
        },
        attempts,
    }
}

/// The report the stage's present result rests on: that of its last attempt, if it was made since
/// the stage was last reset and somebody saw its end.
pub(crate) fn deciding_report(record: &StageRecord) -> Option<&AttemptReport> {
    let decided = match &record.state {
        StageState::Backoff { .. } => true,
        StageState::Finished { outcome } => !matches!(outcome, StageOutcome::Skipped { .. }),
        StageState::Pending
        | StageState::Attempting { .. }
        | StageState::Asking { .. }
        | StageState::Consenting { .. }
        | StageState::Nested { .. }
        | StageState::Interrupted => false,
    };
    if decided && record.counted_attempts > 0 { report(record.attempts.last()?) } else { None }
}

fn reasons(record: &StageRecord) -> (Option<String>, Option<String>) {
    match record.outcome() {
        Some(StageOutcome::Failed { reason, .. }) => (Some(reason.word().to_owned()), None),
        Some(StageOutcome::Skipped { reason }) => {
            (Some(sentence::skip_word(reason).to_owned()), Some(sentence::skip(reason)))
        }
        Some(StageOutcome::Succeeded | StageOutcome::Cancelled) | None => (None, None),
    }
}

fn question(record: &StageRecord) -> Option<QuestionView> {
    if let StageState::Consenting { call } = &record.state {
        return match &record.call(call)?.state {
            CallState::Asking { message, expires_at } => {
                Some(QuestionView { message: message.clone(), expires_at: Some((*expires_at).into()) })
            }
            _ => None,
        };
    }
    let StageWork::Gate(gate) = &record.definition.work else { return None };
    Some(match &record.state {
        StageState::Asking { message, expires_at } => {
            QuestionView { message: message.clone(), expires_at: Some((*expires_at).into()) }
        }
        _ => QuestionView { message: gate.message.clone(), expires_at: None },
    })
}
