//! The environment a stage sees.

#![expect(clippy::nonminimal_bool, reason = "read as one sentence, these say more")]

use std::ffi::{OsStr, OsString};

use co_engine::RunState;
use co_model::{Stage, StageId};
use co_views::Layout;

/// Marks every process that belongs to a run: the variable holds the run's id. Recovery finds
/// survivors by it.
pub const RUN_MARK: &str = "CODEX_ORCHESTRATOR_RUN_ID";

/// Variables of ours that no stage may see: tokens, keys, and addresses that may hold one.
const CONTROL_PLANE: [&str; 5] = [
    "CODEX_ORCHESTRATOR_RESUME_TOKEN",
    "CODEX_ORCHESTRATOR_MCP_TOKEN",
    "CODEX_ORCHESTRATOR_NOTIFY",
    "CODEX_ORCHESTRATOR_NOTIFY_SECRET",
    "CODEX_ORCHESTRATOR_OTEL_ENDPOINT",
];

/// Makes the standard `OTEL_…` variables ours.
const OTEL: &str = "CODEX_ORCHESTRATOR_OTEL";

/// What authenticates us at a collector, once those variables are ours.
const OTEL_HEADERS: [&str; 4] = [
    "OTEL_EXPORTER_OTLP_HEADERS",
    "OTEL_EXPORTER_OTLP_TRACES_HEADERS",
    "OTEL_EXPORTER_OTLP_LOGS_HEADERS",
    "OTEL_EXPORTER_OTLP_METRICS_HEADERS",
];

/// Our environment without what is only ours to know.
pub(crate) fn without_secrets(base: &[(OsString, OsString)]) -> impl Iterator<Item = &(OsString, OsString)> {
    let has_otel = base.iter().any(|(name, _)| name == OTEL);
    base.iter().filter(move |(name, _)| {
        let is = |known: &&str| name == OsStr::new(known);
        !CONTROL_PLANE.iter().any(&is) && !(has_otel && OTEL_HEADERS.iter().any(is))
    })
}

/// Composes the whole environment of one attempt: ours, then the run's, then the stage's.
pub(crate) fn compose(
    base: &[(OsString, OsString)],
    state: &RunState,
    layout: &Layout,
    stage: &Stage,
    attempt: u32,
) -> Vec<(OsString, OsString)> {
    let mut variables =
        co_policy::environment::compose(&state.policy().environment, without_secrets(base).cloned());
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
