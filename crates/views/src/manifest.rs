//! The manifest: everything there is to know about one run, in one file.

use std::time::Duration;

use co_engine::{DecidedCall, GuardrailStatus, Phase, ResumeRecord, RunState, StageRecord, StageState};
use co_model::{DecisionSource, Drift, Role, StageDrift, StageOutcome, StageWork, Timestamp, Verdict};
use schemars::JsonSchema;
use serde::Serialize;

use crate::call::{CallCountsView, PolicyView, ToolDecisionView};
use crate::command::{CommandView, command_views};
use crate::json::{Time, count};
use crate::layout::Layout;
use crate::sentence;
use crate::words::{AnswerWord, DecisionSourceWord, DriftWord, ModeWord, ResumeWord, RunStatusWord};

/// The sign of life of a run's owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heartbeat {
    /// The last one.
    pub at: Option<Timestamp>,
    /// How often there is one.
    pub interval: Duration,
    /// How long after the last one the owner counts as gone.
    pub stale_after: Duration,
}

impl Heartbeat {
    /// What is shown: a run that is over needs no more signs of life, so its last one is its end.
    /// That keeps a rebuilt view equal to the written one.
    pub(crate) fn shown_at(&self, state: &RunState) -> Option<Timestamp> {
        if state.status().is_over() { state.completed_at } else { self.at }
    }
}

/// One recorded run: `.runs/<task>/cli/<run>/manifest.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(title = "Codex Orchestrator run manifest", deny_unknown_fields)]
pub struct Manifest {
    /// Version of this format: 1.
    #[schemars(extend("const" = 1))]
    pub version: u32,
    /// The task the run belongs to.
    pub task_id: String,
    /// The run.
    pub run_id: String,
    /// The pipeline it runs.
    pub pipeline_id: String,
    /// The pipeline's title.
    pub pipeline_title: String,
    /// Who writes this file.
    #[schemars(extend("const" = "codex-orchestrator"))]
    pub runner: &'static str,
    /// Where the run stands.
    pub status: RunStatusWord,
    /// Machine-readable detail of the status: `stage:<id>:failed` …
    pub status_detail: Option<String>,
    /// The run that owns this one, or that it belongs with.
    pub parent_run_id: Option<String>,
    /// The run this one repeats.
    pub retry_of: Option<String>,
    /// The approval policy asked for.
    pub approval_policy: Option<String>,
    /// What decides what is asked, allowed and confined.
    pub policy: PolicyView,
    /// Who started the run.
    pub actor: Option<String>,
    /// When the run was created.
    pub created_at: Time,
    /// When the run began.
    pub started_at: Option<Time>,
    /// When the run ended.
    pub completed_at: Option<Time>,
    /// When its last event was recorded.
    pub updated_at: Time,
    /// The owner's last sign of life; of a run that is over, its end.
    pub heartbeat_at: Option<Time>,
    /// How often there is a sign of life.
    #[schemars(range(min = 1))]
    pub heartbeat_interval_seconds: u64,
    /// How long after the last one the owner counts as gone.
    #[schemars(range(min = 1))]
    pub heartbeat_stale_after_seconds: u64,
    /// The run's folder.
    pub artifact_root: String,
    /// The run in the task manager's layout.
    pub compat_path: String,
    /// The folder of the output logs.
    pub log_path: String,
    /// One line about the run for people.
    pub summary: String,
    /// The run's summary; null until the run is over.
    pub run_summary_path: Option<String>,
    /// Whether the task's metrics count the run as over.
    pub metrics_recorded: bool,
    /// `<pipeline>:<stage>` when a target is set.
    pub plan_target_id: Option<String>,
    /// Where the run is executed; null until it is planned.
    pub mode: Option<ModeWord>,
    /// The directory the stages run in.
    pub workspace: String,
    /// Branch of the worktree made for the run.
    pub worktree_branch: Option<String>,
    /// Whether the run needs a succeeding guardrail to succeed.
    pub guardrails_required: bool,
    /// What the guardrail stages prove.
    pub guardrail_status: GuardrailView,
    /// SHA-256 over all instruction files.
    pub instructions_hash: Option<String>,
    /// Instruction files an agent is told.
    pub instructions_sources: Vec<InstructionSource>,
    /// SHA-256 of the resume token; the token itself is in no view.
    pub resume_token_sha256: Option<String>,
    /// Every request to go on, accepted or not.
    pub resume_events: Vec<ResumeEvent>,
    /// Every answer at a gate.
    pub approvals: Vec<Approval>,
    /// The first thousand decisions on tool calls that were not taken for granted; all are in the log.
    pub tool_decisions: Vec<ToolDecisionView>,
    /// How many tool calls there were, by what was decided.
    pub tool_calls: CallCountsView,
    /// The verdicts so far.
    pub roles: Roles,
    /// The runs of nested pipelines.
    pub child_runs: Vec<ChildRun>,
    /// The last event this manifest shows.
    pub events_seq: u64,
    /// The stages, in file order.
    pub commands: Vec<CommandView>,
}

/// What the guardrail stages of a run prove.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct GuardrailView {
    /// Whether at least one guardrail succeeded.
    pub present: bool,
    /// The next step, when the evidence is not enough.
    pub recommendation: Option<String>,
    /// One sentence for people.
    pub summary: String,
    /// As of when.
    pub computed_at: Time,
    /// How the guardrail stages ended.
    pub counts: GuardrailCountsView,
}

/// How the guardrail stages ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct GuardrailCountsView {
    /// All guardrail stages of the pipeline.
    pub total: u32,
    /// Those that succeeded.
    pub succeeded: u32,
    /// Those that failed.
    pub failed: u32,
    /// Those that were not run.
    pub skipped: u32,
    /// Those that are not over, or were cancelled.
    pub other: u32,
}

/// An instruction file with its fingerprint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct InstructionSource {
    /// The file.
    pub path: String,
    /// SHA-256 in lower-case hexadecimal.
    pub sha256: String,
}

/// A request to go on, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct ResumeEvent {
    /// When.
    pub timestamp: Time,
    /// Who asked.
    pub actor: String,
    /// Why they asked.
    pub reason: String,
    /// What became of it.
    pub outcome: ResumeWord,
    /// Why it was refused.
    pub detail: Option<String>,
    /// How the pipeline had changed since it ran last.
    pub drift: Vec<DriftEntry>,
}

/// One stage of an edited pipeline that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct DriftEntry {
    /// The stage.
    pub stage_id: String,
    /// How it differs.
    pub change: DriftWord,
}

/// An answer of a person: at a gate, or to a tool call, given for it or earlier.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Approval {
    /// The gate, or the stage of the call.
    pub stage_id: String,
    /// The tool call; null at a gate.
    pub call_id: Option<String>,
    /// `prompt` when somebody was asked, `cache` when an earlier consent was used.
    pub source: DecisionSourceWord,
    /// Who answered; `nobody` when the question expired.
    pub actor: String,
    /// When.
    pub timestamp: Time,
    /// What they said.
    pub verdict: AnswerWord,
    /// Why.
    pub reason: Option<String>,
}

/// The verdicts of a run; null until given, and again after a resume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Roles {
    /// Whether there is a plan and its planner stages succeeded.
    pub planner: Option<RoleVerdict>,
    /// Whether the work was done.
    pub builder: Option<RoleVerdict>,
    /// Whether the work holds, guardrails included.
    pub tester: Option<RoleVerdict>,
    /// The final decision.
    pub reviewer: Option<RoleVerdict>,
}

/// A verdict and what it rests on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct RoleVerdict {
    /// The verdict.
    pub success: bool,
    /// What it rests on, in sentences.
    pub reasons: Vec<String>,
    /// When it was given; null for the planner, whose verdict follows from its stages.
    pub decided_at: Option<Time>,
}

/// The run of a nested pipeline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct ChildRun {
    /// The child.
    pub run_id: String,
    /// Its pipeline.
    pub pipeline_id: String,
    /// The stage that owns it.
    pub stage_id: String,
    /// Where it stands, as far as this run knows.
    pub status: RunStatusWord,
    /// Its manifest.
    pub manifest: String,
}

/// Computes the manifest of a run.
pub fn manifest(state: &RunState, layout: &Layout, heartbeat: Heartbeat) -> Manifest {
    let (task, run) = (&state.created.task, state.run());
    let (settings, over) = (&state.created.settings, state.status().is_over());
    Manifest {
        version: 1,
        task_id: task.to_string(),
        run_id: run.to_string(),
        pipeline_id: state.pipeline().id.to_string(),
        pipeline_title: state.pipeline().title.clone(),
        runner: "codex-orchestrator",
        status: state.status().into(),
        status_detail: sentence::status_detail(state),
        parent_run_id: settings.parent.as_ref().map(ToString::to_string),
        retry_of: settings.retry_of.as_ref().map(ToString::to_string),
        approval_policy: settings.approval_policy.clone(),
        policy: PolicyView::from(state.policy()),
        actor: settings.actor.as_ref().map(ToString::to_string),
        created_at: state.created_at.into(),
        started_at: state.started_at.map(Time::from),
        completed_at: state.completed_at.map(Time::from),
        updated_at: state.updated_at.into(),
        heartbeat_at: heartbeat.shown_at(state).map(Time::from),
        heartbeat_interval_seconds: heartbeat.interval.as_secs().max(1),
        heartbeat_stale_after_seconds: heartbeat.stale_after.as_secs().max(1),
        artifact_root: layout.show(&layout.run_dir(task, run)),
        compat_path: layout.show(&layout.task_manifest_path(task, run)),
        log_path: layout.show(&layout.logs_dir(task, run)),
        summary: sentence::summary(state),
        run_summary_path: over.then(|| layout.show(&layout.run_summary_path(task, run))),
        metrics_recorded: over,
        plan_target_id: state.plan.as_ref().and_then(|plan| plan.target.clone()),
        mode: state.plan.as_ref().map(|plan| plan.mode.into()),
        workspace: layout.show(settings.workspace.as_ref()),
        worktree_branch: settings.worktree_branch.clone(),
        guardrails_required: state.pipeline().guardrails_required,
        guardrail_status: guardrails(state),
        instructions_hash: settings.instructions_sha256.clone(),
        instructions_sources: settings
            .instructions
            .iter()
            .map(|(path, sha256)| InstructionSource {
                path: layout.show(path.as_ref()),
                sha256: sha256.clone(),
            })
            .collect(),
        resume_token_sha256: settings.resume_token_sha256.clone(),
        resume_events: state.resumes.iter().map(resume_event).collect(),
        approvals: approvals(state),
        tool_decisions: state.decisions.iter().map(ToolDecisionView::from).collect(),
        tool_calls: state.call_counts.into(),
        roles: roles(state),
        child_runs: child_runs(state, layout),
        events_seq: state.last_seq.0,
        commands: command_views(state, layout),
    }
}

fn guardrails(state: &RunState) -> GuardrailView {
    let status = GuardrailStatus::of(state);
    let counts = status.counts;
    GuardrailView {
        present: status.present(),
        recommendation: status.recommendation(),
        summary: status.sentence(),
        computed_at: state.updated_at.into(),
        counts: GuardrailCountsView {
            total: counts.total,
            succeeded: counts.succeeded,
            failed: counts.failed,
            skipped: counts.skipped,
            other: counts.other,
        },
    }
}

fn resume_event(resume: &ResumeRecord) -> ResumeEvent {
    ResumeEvent {
        timestamp: resume.at.into(),
        actor: resume.actor.to_string(),
        reason: resume.reason.clone(),
        outcome: if resume.blocked.is_some() { ResumeWord::Blocked } else { ResumeWord::Accepted },
        detail: resume.blocked.clone(),
        drift: drift_entries(&resume.drift),
    }
}

/// Shows how an edited pipeline differs.
pub(crate) fn drift_entries(drift: &Drift) -> Vec<DriftEntry> {
    let entry = |drift: &StageDrift| {
        let (stage, change) = match drift {
            StageDrift::Added { stage } => (stage, DriftWord::Added),
            StageDrift::Removed { stage } => (stage, DriftWord::Removed),
            StageDrift::Changed { stage } => (stage, DriftWord::Changed),
        };
        DriftEntry { stage_id: stage.to_string(), change }
    };
    drift.stages.iter().map(entry).collect()
}

fn approvals(state: &RunState) -> Vec<Approval> {
    let answers = state.answers.iter().map(|answer| Approval {
        stage_id: answer.stage.to_string(),
        call_id: None,
        source: DecisionSource::Prompt.into(),
        actor: answer.actor.to_string(),
        timestamp: answer.at.into(),
        verdict: answer.verdict.into(),
        reason: answer.reason.clone(),
    });
    let persons = |decided: &&DecidedCall| {
        matches!(decided.decision.source, DecisionSource::Prompt | DecisionSource::Cache)
    };
    let calls = state.decisions.iter().filter(persons).map(|decided| {
        let decision = &decided.decision;
        let verdict = match (decision.approved, &decision.actor) {
            (true, _) => Some(Verdict::Approve),
            (false, Some(_)) => Some(Verdict::Deny),
            (false, None) => None,
        };
        Approval {
            stage_id: decided.request.stage.to_string(),
            call_id: Some(decided.request.call.to_string()),
            source: decision.source.into(),
            actor: decision.actor.as_ref().map_or_else(|| "nobody".to_owned(), ToString::to_string),
            timestamp: decided.at.into(),
            verdict: verdict.into(),
            reason: decision.reason.clone(),
        }
    });
    let mut all: Vec<Approval> = answers.chain(calls).collect();
    all.sort_by(|one, other| one.timestamp.cmp(&other.timestamp));
    all
}

fn roles(state: &RunState) -> Roles {
    let verdict = |role: Role| {
        let judged = state.judgements.iter().find(|judged| judged.judgement.role == role)?;
        Some(RoleVerdict {
            success: judged.judgement.success,
            reasons: judged.judgement.reasons.clone(),
            decided_at: Some(judged.at.into()),
        })
    };
    Roles {
        planner: planner(state),
        builder: verdict(Role::Builder),
        tester: verdict(Role::Tester),
        reviewer: verdict(Role::Reviewer),
    }
}

/// The planner's verdict: there is a plan, and the stages that may narrow it are over.
fn planner(state: &RunState) -> Option<RoleVerdict> {
    let plan = state.plan.as_ref()?;
    let stages: Vec<&StageRecord> = state
        .schedule
        .iter()
        .filter(|slot| slot.role == Role::Planner)
        .map(|slot| state.stages[slot.stage].as_ref())
        .collect();
    if stages.iter().any(|record| record.outcome().is_none()) {
        return None;
    }
    let planned = sentence::counted(count(plan.stages.len()), "stage");
    let mut reasons = vec![match &plan.target {
        Some(target) => format!("The plan has {planned}, for the target `{target}`."),
        None => format!("The plan has {planned}."),
    }];
    if !plan.skipped.is_empty() {
        reasons.push(format!("It leaves out {}.", sentence::counted(count(plan.skipped.len()), "stage")));
    }
    let failed = stages.iter().filter(|record| record.outcome().is_some_and(StageOutcome::blocks_success));
    reasons.extend(failed.clone().map(|record| format!("Stage `{}` did not succeed.", record.id())));
    Some(RoleVerdict { success: failed.count() == 0, reasons, decided_at: None })
}

/// Shows the child runs of nested pipelines.
pub(crate) fn child_runs(state: &RunState, layout: &Layout) -> Vec<ChildRun> {
    let child = |record: &StageRecord| {
        let (run, outcome) = record.child.as_ref()?;
        let StageWork::Pipeline(nested) = &record.definition.work else { return None };
        let under_way = matches!(record.state, StageState::Nested { .. })
            && matches!(state.phase, Phase::Running | Phase::Cancelling { .. });
        let status = match outcome {
            Some(outcome) => outcome.status().into(),
            None if under_way => RunStatusWord::InProgress,
            None => RunStatusWord::Interrupted,
        };
        Some(ChildRun {
            run_id: run.to_string(),
            pipeline_id: nested.pipeline.to_string(),
            stage_id: record.id().to_string(),
            status,
            manifest: layout.show(&layout.manifest_path(&state.created.task, run)),
        })
    };
    state.stages.iter().filter_map(|record| child(record)).collect()
}
