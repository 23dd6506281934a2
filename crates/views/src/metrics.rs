//! Figures about the runs of a task: one record per run, and what follows from all of them.

use std::time::Duration;

use co_engine::{GuardrailStatus, RunState};
use co_model::{StageWork, TaskId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::agent::agent_view;
use crate::json::{Time, count};
use crate::layout::Layout;
use crate::sentence::{self, Tally};
use crate::words::{ModeWord, RunStatusWord};

/// Share of runs that should succeed.
const COMPLETION_THRESHOLD: f64 = 0.95;
/// Share of expected fields that may be missing.
const MISSING_THRESHOLD: f64 = 0.05;

/// One run in figures. Also what a store keeps with a finished run, so fields are only added, each
/// with a default.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct MetricsRecord {
    /// The run.
    pub run_id: String,
    /// The task.
    pub task_id: String,
    /// The pipeline.
    pub pipeline_id: String,
    /// The run that owns it, or that it belongs with.
    pub parent_run_id: Option<String>,
    /// Where the run stands.
    pub status: RunStatusWord,
    /// Machine-readable detail of the status.
    pub status_detail: Option<String>,
    /// Where it was executed.
    pub mode: Option<ModeWord>,
    /// When it was created.
    pub created_at: Time,
    /// When it began.
    pub started_at: Option<Time>,
    /// When it ended.
    pub completed_at: Option<Time>,
    /// From its creation to its end; spans the pauses of a resumed run.
    pub duration_seconds: Option<f64>,
    /// Stages that succeeded.
    pub commands_passed: u32,
    /// Stages that failed.
    pub commands_failed: u32,
    /// Stages that were not run.
    pub commands_skipped: u32,
    /// Attempts made in all.
    pub attempts: u32,
    /// How often it was resumed.
    pub resumes: u32,
    /// Whether at least one guardrail succeeded.
    pub guardrails_present: bool,
    /// Child runs of nested pipelines.
    pub child_runs: u32,
    /// Input and output tokens of its agents' conversations; null when none reported any.
    pub token_total: Option<u64>,
    /// The run's folder.
    pub artifact_path: String,
    /// One line for people.
    pub summary: String,
    /// When the last event counted here was recorded.
    pub recorded_at: Time,
}

/// Sums over all runs of a task, as a store knows them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Totals {
    /// All runs.
    pub runs: u64,
    /// Runs that succeeded.
    pub succeeded: u64,
    /// Runs that failed.
    pub failed: u64,
    /// Runs that were cancelled.
    pub cancelled: u64,
    /// Runs that are not over.
    pub unfinished: u64,
    /// From creation to end, added up over the runs that are over.
    pub duration: Duration,
    /// Stages that succeeded, over the runs that are over.
    pub stages_passed: u64,
    /// Stages that failed, over the runs that are over.
    pub stages_failed: u64,
}

/// The figures of a task: `.runs/<task>/metrics.json`.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(title = "Codex Orchestrator task metrics", deny_unknown_fields)]
pub struct Metrics {
    /// Version of this format: 1.
    #[schemars(extend("const" = 1))]
    pub schema_version: u32,
    /// The task.
    pub task_id: String,
    /// When the newest of `runs` was recorded.
    pub updated_at: Option<Time>,
    /// Over all runs of the task.
    pub totals: MetricsTotals,
    /// Over `runs` only.
    pub derived: Derived,
    /// The most recent runs that are over, newest first.
    pub runs: Vec<MetricsRecord>,
}

/// Sums over all runs of a task.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct MetricsTotals {
    /// All runs.
    pub runs: u64,
    /// Runs that succeeded.
    pub succeeded: u64,
    /// Runs that failed.
    pub failed: u64,
    /// Runs that were cancelled.
    pub cancelled: u64,
    /// Runs that are not over.
    pub unfinished: u64,
    /// Stages that succeeded, over the runs that are over.
    pub commands_passed: u64,
    /// Stages that failed, over the runs that are over.
    pub commands_failed: u64,
    /// Share of the runs that are over that succeeded; null when none is.
    pub success_rate: Option<f64>,
    /// From creation to end, on average over the runs that are over; null when none is.
    pub average_duration_seconds: Option<f64>,
}

/// What follows from the records.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Derived {
    /// Records these figures rest on.
    pub sample_size: u32,
    /// Runs that succeeded; should be at least 95 %.
    pub completion: Ratio,
    /// Runs with at least one succeeding guardrail; null when there are no records.
    pub guardrail_coverage: Option<f64>,
    /// Expected fields (start, end, duration) that are missing; should be below 5 %.
    pub missing_fields: Ratio,
    /// Tokens used, over the records that have any.
    pub token_total: u64,
}

/// A share and the bar it is held against.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Ratio {
    /// The share; null when there are no records.
    pub ratio: Option<f64>,
    /// The bar.
    pub threshold: f64,
    /// Whether the bar is met; null when there are no records.
    pub met: Option<bool>,
}

/// Computes a run's record.
pub fn metrics_record(state: &RunState, layout: &Layout) -> MetricsRecord {
    let tally = Tally::of(state);
    let accepted = state.resumes.iter().filter(|resume| resume.blocked.is_none());
    let tokens = state.stages.iter().filter_map(|record| match &record.definition.work {
        StageWork::Agent(agent) => Some(agent_view(agent, record).usage?.total()),
        StageWork::Command(_) | StageWork::Gate(_) | StageWork::Pipeline(_) | StageWork::Mcp(_) => None,
    });
    let duration = state.completed_at.map(|at| at.since(state.created_at));
    MetricsRecord {
        run_id: state.run().to_string(),
        task_id: state.created.task.to_string(),
        pipeline_id: state.pipeline().id.to_string(),
        parent_run_id: state.created.settings.parent.as_ref().map(ToString::to_string),
        status: state.status().into(),
        status_detail: sentence::status_detail(state),
        mode: state.plan.as_ref().map(|plan| plan.mode.into()),
        created_at: state.created_at.into(),
        started_at: state.started_at.map(Time::from),
        completed_at: state.completed_at.map(Time::from),
        duration_seconds: duration.map(|duration| duration.as_secs_f64()),
        commands_passed: tally.succeeded,
        commands_failed: tally.failed,
        commands_skipped: tally.skipped,
        attempts: state.stages.iter().fold(0, |sum, record| count(record.attempts.len()).saturating_add(sum)),
        resumes: count(accepted.count()),
        guardrails_present: GuardrailStatus::of(state).present(),
        child_runs: count(state.stages.iter().filter(|record| record.child.is_some()).count()),
        token_total: tokens.reduce(u64::saturating_add),
        artifact_path: layout.show(&layout.run_dir(&state.created.task, state.run())),
        summary: sentence::summary(state),
        recorded_at: state.completed_at.unwrap_or(state.updated_at).into(),
    }
}

/// Computes a task's figures from its sums and the records of its most recent runs, which may
/// come in any order.
pub fn metrics(task: &TaskId, totals: Totals, recent: &[MetricsRecord]) -> Metrics {
    let runs = newest_first(recent);
    Metrics {
        schema_version: 1,
        task_id: task.to_string(),
        updated_at: runs.first().map(|record| record.recorded_at.clone()),
        totals: totals.into(),
        derived: derived(&runs),
        runs,
    }
}

/// The records, newest first; runs that ended together are ordered by their id.
pub(crate) fn newest_first(records: &[MetricsRecord]) -> Vec<MetricsRecord> {
    let mut sorted = records.to_vec();
    sorted.sort_by(|a, b| (&b.recorded_at, &b.run_id).cmp(&(&a.recorded_at, &a.run_id)));
    sorted
}

impl From<Totals> for MetricsTotals {
    fn from(totals: Totals) -> Self {
        let over = totals.succeeded + totals.failed + totals.cancelled;
        Self {
            runs: totals.runs,
            succeeded: totals.succeeded,
            failed: totals.failed,
            cancelled: totals.cancelled,
            unfinished: totals.unfinished,
            commands_passed: totals.stages_passed,
            commands_failed: totals.stages_failed,
            success_rate: share(totals.succeeded, over),
            average_duration_seconds: mean_seconds(totals.duration, over),
        }
    }
}

fn derived(runs: &[MetricsRecord]) -> Derived {
    let size = count(runs.len());
    let of = |fits: &dyn Fn(&MetricsRecord) -> bool| runs.iter().filter(|run| fits(run)).count() as u64;
    let completion = share(of(&|run| run.status == RunStatusWord::Succeeded), size.into());
    let missing = of(&|run| run.started_at.is_none())
        + of(&|run| run.completed_at.is_none())
        + of(&|run| run.duration_seconds.is_none());
    let missing = share(missing, u64::from(size) * 3);
    Derived {
        sample_size: size,
        completion: Ratio {
            ratio: completion,
            threshold: COMPLETION_THRESHOLD,
            met: completion.map(|ratio| ratio >= COMPLETION_THRESHOLD),
        },
        guardrail_coverage: share(of(&|run| run.guardrails_present), size.into()),
        missing_fields: Ratio {
            ratio: missing,
            threshold: MISSING_THRESHOLD,
            met: missing.map(|ratio| ratio < MISSING_THRESHOLD),
        },
        token_total: runs.iter().filter_map(|run| run.token_total).fold(0, u64::saturating_add),
    }
}

/// A share, to four decimal places; `None` of nothing.
fn share(part: u64, whole: u64) -> Option<f64> {
    if whole == 0 {
        return None;
    }
    let in_ten_thousandths = u128::from(part) * 10_000 / u128::from(whole);
    Some(f64::from(u32::try_from(in_ten_thousandths).unwrap_or(u32::MAX)) / 10_000.0)
}

/// An average in seconds, to the millisecond; `None` of nothing.
fn mean_seconds(sum: Duration, number: u64) -> Option<f64> {
    let millis = sum.as_millis().checked_div(u128::from(number))?;
    Some(Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX)).as_secs_f64())
}
