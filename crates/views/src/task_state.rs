//! The run history of a task for people: `out/<task>/state.json`.

use std::time::Duration;

use co_model::{DurationText, TaskId};
use schemars::JsonSchema;
use serde::Serialize;

use crate::json::Time;
use crate::metrics::{MetricsRecord, MetricsTotals, Totals, newest_first};
use crate::sentence::{counted, listed};
use crate::words::RunStatusWord;

/// The run history of a task.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(title = "Codex Orchestrator task state", deny_unknown_fields)]
pub struct TaskState {
    /// Version of this format: 1.
    #[schemars(extend("const" = 1))]
    pub schema_version: u32,
    /// The task.
    pub task_id: String,
    /// One sentence about the task for people.
    pub summary: String,
    /// When the newest of `runs` was recorded.
    pub last_run_at: Option<Time>,
    /// Over all runs of the task.
    pub totals: MetricsTotals,
    /// The most recent runs that are over, newest first.
    pub runs: Vec<TaskRun>,
}

/// One run of a task.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct TaskRun {
    /// The run.
    pub run_id: String,
    /// The pipeline.
    pub pipeline_id: String,
    /// Where it stands.
    pub status: RunStatusWord,
    /// When it ended; when it was last heard of, unless it is over.
    pub at: Time,
    /// What happened, in a few words.
    pub sentence: String,
    /// The run's folder.
    pub artifact_path: String,
}

/// Computes a task's history from its sums and the records of its most recent runs, which may
/// come in any order.
pub fn task_state(task: &TaskId, totals: Totals, recent: &[MetricsRecord]) -> TaskState {
    let records = newest_first(recent);
    TaskState {
        schema_version: 1,
        task_id: task.to_string(),
        summary: task_sentence(totals),
        last_run_at: records.first().map(|record| record.recorded_at.clone()),
        totals: totals.into(),
        runs: records.iter().map(task_run).collect(),
    }
}

fn task_sentence(totals: Totals) -> String {
    let Totals { runs, succeeded, failed, cancelled, unfinished, .. } = totals;
    let parts = listed(&[
        (succeeded, "succeeded"),
        (failed, "failed"),
        (cancelled, "cancelled"),
        (unfinished, "not over"),
    ]);
    let separator = if parts.is_empty() { "" } else { ": " };
    format!("{}{separator}{parts}.", counted(runs, "run"))
}

fn task_run(record: &MetricsRecord) -> TaskRun {
    let duration = record.duration_seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    let sentence = match duration {
        Some(duration) => format!("{} It took {}.", record.summary, DurationText(duration)),
        None => record.summary.clone(),
    };
    TaskRun {
        run_id: record.run_id.clone(),
        pipeline_id: record.pipeline_id.clone(),
        status: record.status,
        at: record.recorded_at.clone(),
        sentence,
        artifact_path: record.artifact_path.clone(),
    }
}
