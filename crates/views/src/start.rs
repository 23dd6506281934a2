//! What `start --format json` prints when a run is over.

use co_engine::RunState;
use schemars::JsonSchema;
use serde::Serialize;

use crate::layout::Layout;
use crate::sentence;
use crate::words::RunStatusWord;

/// The outcome of a command that ran a run: `start`, `resume`, `retry`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(title = "Codex Orchestrator start result", deny_unknown_fields)]
pub struct StartResult {
    /// The run.
    pub run_id: String,
    /// The task.
    pub task_id: String,
    /// The pipeline.
    pub pipeline_id: String,
    /// Where the run stands.
    pub status: RunStatusWord,
    /// Machine-readable detail of the status.
    pub status_detail: Option<String>,
    /// The run's folder.
    pub artifact_root: String,
    /// The run's manifest.
    pub manifest: String,
    /// The folder of the output logs.
    pub log_path: String,
    /// One line for people.
    pub summary: String,
}

/// Computes what a command that ran a run prints.
pub fn start_result(state: &RunState, layout: &Layout) -> StartResult {
    let (task, run) = (&state.created.task, state.run());
    StartResult {
        run_id: run.to_string(),
        task_id: task.to_string(),
        pipeline_id: state.pipeline().id.to_string(),
        status: state.status().into(),
        status_detail: sentence::status_detail(state),
        artifact_root: layout.show(&layout.run_dir(task, run)),
        manifest: layout.show(&layout.manifest_path(task, run)),
        log_path: layout.show(&layout.logs_dir(task, run)),
        summary: sentence::summary(state),
    }
}
