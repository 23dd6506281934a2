//! The environment a stage sees.

use std::ffi::OsString;

use co_engine::RunState;
use co_model::{Stage, StageId};
use co_views::Layout;

/// Marks every process that belongs to a run: the variable holds the run's id. Recovery finds
/// survivors by it.
pub const RUN_MARK: &str = "CODEX_ORCHESTRATOR_RUN_ID";

/// Composes the whole environment of one attempt: ours, then the run's, then the stage's.
pub(crate) fn compose(
    base: &[(OsString, OsString)],
    state: &RunState,
    layout: &Layout,
    stage: &Stage,
    attempt: u32,
) -> Vec<(OsString, OsString)> {
    let mut variables = co_policy::environment::compose(&state.policy().environment, base);
    variables.extend(of_the_run(state, layout, stage, attempt));
    variables.extend(stage.env.iter().map(|(name, value)| (name.into(), value.into())));
    for (name, input) in &stage.inputs {
        if let Some(path) = produced(state, &input.stage, &input.output) {
            variables.insert(format!("CODEX_ORCHESTRATOR_INPUT_{}", shouting(name)).into(), path.into());
        }
    }
    variables.into_iter().collect()
}

/// What the run says of itself to the programs of one attempt.
pub(crate) fn of_the_run(
    state: &RunState,
    layout: &Layout,
    stage: &Stage,
    attempt: u32,
) -> Vec<(OsString, OsString)> {
    let created = &state.created;
    let run_dir = layout.run_dir(&created.task, &created.run);
    let ours: [(&str, OsString); 12] = [
        ("CODEX_ORCHESTRATOR_TASK_ID", created.task.as_str().into()),
        ("MCP_RUNNER_TASK_ID", created.task.as_str().into()),
        (RUN_MARK, created.run.as_str().into()),
        ("CODEX_ORCHESTRATOR_PIPELINE_ID", created.pipeline.id.as_str().into()),
        ("CODEX_ORCHESTRATOR_STAGE_ID", stage.id.as_str().into()),
        ("CODEX_ORCHESTRATOR_ATTEMPT", attempt.to_string().into()),
        ("CODEX_ORCHESTRATOR_MANIFEST_PATH", layout.manifest_path(&created.task, &created.run).into()),
        ("CODEX_ORCHESTRATOR_RUN_DIR", run_dir.into()),
        ("CODEX_ORCHESTRATOR_RUNS_DIR", layout.runs_dir.clone().into()),
        ("CODEX_ORCHESTRATOR_OUT_DIR", layout.out_dir.clone().into()),
        ("CODEX_ORCHESTRATOR_ROOT", created.settings.workspace.clone().into()),
        ("CODEX_ORCHESTRATOR_REPOSITORY", layout.root.clone().into()),
    ];
    ours.into_iter().map(|(name, value)| (name.into(), value)).collect()
}

/// Where an earlier stage left a declared output.
pub(crate) fn produced(state: &RunState, stage: &StageId, output: &str) -> Option<String> {
    let report = state.stage(stage)?.last_report()?;
    Some(report.produced.get(output)?.path.clone())
}

fn shouting(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' }).collect()
}
