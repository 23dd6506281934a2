//! The task manager's summary of a run, in the seeds' camelCase names.

use co_engine::{GuardrailStatus, RunState, StageRecord};
use co_model::{ExecutionMode, Judgement, Role, StageOutcome};
use schemars::JsonSchema;
use serde::Serialize;

use crate::attempt::output_files;
use crate::command::deciding_report;
use crate::json::Time;
use crate::layout::Layout;
use crate::sentence;
use crate::words::{ModeWord, ReportWord, RoleWord, RunStatusWord};

/// What a run set out to do and what came of it: `run-summary.json` beside the manifest and
/// `.runs/<task>/<run>/manifest.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(title = "Codex Orchestrator run summary", deny_unknown_fields)]
pub struct RunSummary {
    /// Version of this format: 1.
    #[schemars(extend("const" = 1))]
    pub version: u32,
    /// The task.
    pub task_id: String,
    /// The run.
    pub run_id: String,
    /// The pipeline.
    pub pipeline_id: String,
    /// Where the run stands.
    pub status: RunStatusWord,
    /// Machine-readable detail of the status.
    pub status_detail: Option<String>,
    /// One line for people.
    pub summary: String,
    /// Where it was executed; null until it is planned.
    pub mode: Option<ModeWord>,
    /// What was planned.
    pub plan: PlanSummary,
    /// The builder's result; null until it is judged.
    pub build: Option<BuildSummary>,
    /// The tester's result; null until it is judged.
    pub test: Option<TestSummary>,
    /// The reviewer's result; null until it is judged.
    pub review: Option<ReviewSummary>,
    /// The run's manifest.
    pub manifest: String,
    /// When the run ended, or when its last event was recorded.
    pub timestamp: Time,
}

/// What was planned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct PlanSummary {
    /// The planned stages, in order.
    pub items: Vec<PlanItem>,
    /// `<pipeline>:<stage>` when a target is set.
    pub target_id: Option<String>,
}

/// One planned stage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct PlanItem {
    /// `<pipeline>:<stage>`.
    pub id: String,
    /// The stage's title.
    pub description: String,
    /// The part it plays.
    pub role: RoleWord,
    /// Whether it is to be executed in the cloud.
    pub requires_cloud: bool,
    /// Whether a target may select it.
    pub runnable: bool,
}

/// The builder's result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct BuildSummary {
    /// The verdict.
    pub success: bool,
    /// What it rests on, in sentences.
    pub notes: Vec<String>,
    /// Declared outputs of the builder's stages.
    pub artifacts: Vec<BuildArtifact>,
}

/// A declared output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct BuildArtifact {
    /// Where it is.
    pub path: String,
    /// `<stage>.<name>`.
    pub description: String,
}

/// The tester's result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct TestSummary {
    /// The verdict.
    pub success: bool,
    /// What it rests on, in sentences.
    pub notes: Vec<String>,
    /// One entry per tester or guardrail stage, and one for the guardrails as a whole when they
    /// are required.
    pub reports: Vec<TestReport>,
}

/// One piece of the tester's evidence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct TestReport {
    /// The stage, or `guardrails`.
    pub name: String,
    /// Its result.
    pub status: ReportWord,
    /// One line for people.
    pub details: Option<String>,
}

/// The reviewer's result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct ReviewSummary {
    /// What it rests on, in one line.
    pub summary: String,
    /// The final decision.
    pub decision: ReviewDecision,
}

/// The final decision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct ReviewDecision {
    /// The verdict.
    pub approved: bool,
    /// Why not; null when approved.
    pub feedback: Option<String>,
}

/// Computes the summary of a run.
pub fn run_summary(state: &RunState, layout: &Layout) -> RunSummary {
    let task = &state.created.task;
    RunSummary {
        version: 1,
        task_id: task.to_string(),
        run_id: state.run().to_string(),
        pipeline_id: state.pipeline().id.to_string(),
        status: state.status().into(),
        status_detail: sentence::status_detail(state),
        summary: sentence::summary(state),
        mode: state.plan.as_ref().map(|plan| plan.mode.into()),
        plan: plan(state),
        build: state.judgement(Role::Builder).map(|judgement| build(state, layout, judgement)),
        test: state.judgement(Role::Tester).map(|judgement| test(state, judgement)),
        review: state.judgement(Role::Reviewer).map(review),
        manifest: layout.show(&layout.manifest_path(task, state.run())),
        timestamp: state.completed_at.unwrap_or(state.updated_at).into(),
    }
}

fn plan(state: &RunState) -> PlanSummary {
    let Some(plan) = &state.plan else { return PlanSummary { items: Vec::new(), target_id: None } };
    let items = plan.stages.iter().filter_map(|planned| {
        let definition = &state.stage(&planned.stage)?.definition;
        Some(PlanItem {
            id: format!("{}:{}", state.pipeline().id, planned.stage),
            description: definition.title.clone(),
            role: planned.role.into(),
            requires_cloud: planned.mode == ExecutionMode::Cloud,
            runnable: definition.runnable,
        })
    });
    PlanSummary { items: items.collect(), target_id: plan.target.clone() }
}

fn build(state: &RunState, layout: &Layout, judgement: &Judgement) -> BuildSummary {
    let artifacts = state
        .stages
        .iter()
        .filter(|record| record.definition.role <= Role::Builder && !record.removed)
        .flat_map(|record| {
            let files = deciding_report(record).map(|report| output_files(report, Some(layout)));
            files.unwrap_or_default().into_iter().map(|file| BuildArtifact {
                path: file.path,
                description: format!("{}.{}", record.id(), file.name),
            })
        });
    BuildSummary {
        success: judgement.success,
        notes: judgement.reasons.clone(),
        artifacts: artifacts.collect(),
    }
}

fn test(state: &RunState, judgement: &Judgement) -> TestSummary {
    let counts = |record: &StageRecord| record.definition.role == Role::Tester || record.definition.guardrail;
    let mut reports: Vec<TestReport> = state
        .stages
        .iter()
        .filter(|record| counts(record) && !record.removed)
        .map(|record| TestReport {
            name: record.id().to_string(),
            status: match record.outcome() {
                Some(StageOutcome::Succeeded) => ReportWord::Passed,
                Some(StageOutcome::Skipped { .. }) => ReportWord::Skipped,
                Some(StageOutcome::Failed { .. } | StageOutcome::Cancelled) | None => ReportWord::Failed,
            },
            details: sentence::stage_summary(state, record),
        })
        .collect();
    let guardrails = GuardrailStatus::of(state);
    if guardrails.required {
        let status = if guardrails.satisfied() { ReportWord::Passed } else { ReportWord::Failed };
        reports.push(TestReport {
            name: "guardrails".to_owned(),
            status,
            details: Some(guardrails.sentence()),
        });
    }
    TestSummary { success: judgement.success, notes: judgement.reasons.clone(), reports }
}

fn review(judgement: &Judgement) -> ReviewSummary {
    let summary = judgement.reasons.join(" ");
    let feedback = (!judgement.success).then(|| summary.clone());
    ReviewSummary { summary, decision: ReviewDecision { approved: judgement.success, feedback } }
}
