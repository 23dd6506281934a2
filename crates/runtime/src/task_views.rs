//! Views over all runs of a task. Several processes may finish runs at the same time, so reading
//! the log and writing the files happens under a lock that the kernel releases with its holder.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use co_log::RunFilter;
use co_model::TaskId;
use co_views::{Layout, MetricsRecord, Totals, to_json};

use crate::error::RuntimeError;
use crate::orchestrator::Shared;
use crate::views::{self, ViewDifference, write_atomically};

/// How many of the newest runs the views list one by one; totals cover all of them.
const RECENT_RUNS: usize = 200;

/// What a rebuild of a task's views found or did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskRebuildReport {
    /// The task.
    pub task: TaskId,
    /// Views that were missing or different.
    pub differences: Vec<ViewDifference>,
    /// Whether they were written.
    pub written: bool,
}

/// Writes `metrics.json` and `state.json` of a task from the log, under its lock.
pub(crate) fn write(shared: &Shared, task: &TaskId, _lock: &File) -> Result<(), RuntimeError> {
    write_documents(shared, task, &documents(shared, task)?)
}

fn write_documents(
    shared: &Shared,
    task: &TaskId,
    [(metrics, metrics_text), (_, state)]: &[(PathBuf, String); 2],
) -> Result<(), RuntimeError> {
    write_atomically(metrics, metrics_text.as_bytes())?;
    let (out_dir, name) = (&shared.options.layout.out_dir, Layout::STATE_FILE);
    views::write_below(out_dir, task.as_str(), name, state.as_bytes())
}

/// Compares them with the log, and writes them unless `check` is set.
pub(crate) fn rebuild(
    shared: &Shared,
    task: &TaskId,
    check: bool,
) -> Result<TaskRebuildReport, RuntimeError> {
    let _lock = match lock(shared, task) {
        // Where no lock can be written there are no writers either, and nothing is to be written.
        Err(RuntimeError::Files { .. }) if check => None,
        lock => Some(lock?),
    };
    let documents = documents(shared, task)?;
    let differences = views::differences(&documents);
    if !check {
        write_documents(shared, task, &documents)?;
    }
    Ok(TaskRebuildReport { task: task.clone(), written: !check && !differences.is_empty(), differences })
}

/// Keeps others from writing the views of a task, and of its runs that are not under way, until
/// the file is closed.
///
/// What is written under it must be read under it, else a slow writer would put older views over
/// newer ones.
pub(crate) fn lock(shared: &Shared, task: &TaskId) -> Result<File, RuntimeError> {
    let path = shared.options.layout.runs_dir.join(task.as_str()).join(".lock");
    let failed = |source| RuntimeError::Files { path: path.clone(), source };
    std::fs::create_dir_all(path.parent().unwrap_or(Path::new("."))).map_err(failed)?;
    let lock = File::options().create(true).append(true).open(&path).map_err(failed)?;
    lock.lock().map_err(failed)?;
    Ok(lock)
}

fn documents(shared: &Shared, task: &TaskId) -> Result<[(PathBuf, String); 2], RuntimeError> {
    let layout = &shared.options.layout;
    let heads = shared.log.heads(&RunFilter {
        task: Some(task.clone()),
        limit: RECENT_RUNS,
        ..RunFilter::default()
    })?;
    let totals = shared.log.totals(task)?;
    let totals = Totals {
        runs: totals.runs,
        succeeded: totals.succeeded,
        failed: totals.failed,
        cancelled: totals.cancelled,
        unfinished: totals.unfinished,
        duration: Duration::from_millis(totals.duration_ms),
        stages_passed: totals.stages_passed,
        stages_failed: totals.stages_failed,
    };
    // A record that no longer parses was written by another version; it stays in the totals.
    let recent: Vec<MetricsRecord> =
        heads.iter().filter_map(|head| serde_json::from_str(head.progress.metrics.as_ref()?).ok()).collect();
    let metrics = co_views::metrics(task, totals, &recent);
    let state = co_views::task_state(task, totals, &recent);
    Ok([(layout.metrics_path(task), to_json(&metrics)), (layout.state_path(task), to_json(&state))])
}
