//! What the tools answer, where it is not a view that `co-views` has already.

use co_views::{RunStatusWord, Time};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

/// The pipelines that can be started.
#[derive(Debug, Serialize, JsonSchema)]
#[expect(clippy::struct_field_names, reason = "the names of the answer's fields")]
pub(crate) struct Pipelines {
    /// The one that is started when none is named.
    pub(crate) default: Option<String>,
    /// All of them, in file order, built-in ones last.
    pub(crate) pipelines: Vec<PipelineEntry>,
    /// What was noticed while they were loaded.
    pub(crate) notes: Vec<String>,
}

/// One pipeline.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct PipelineEntry {
    /// Its id.
    pub(crate) id: String,
    /// Shown to people.
    pub(crate) title: String,
    /// What it is for.
    pub(crate) description: Option<String>,
    /// Free labels.
    pub(crate) tags: Vec<String>,
    /// `repository` or `built-in`.
    pub(crate) source: &'static str,
    /// The ids of its stages, in file order.
    pub(crate) stages: Vec<String>,
}

/// What a run would do; `plan --format json` prints the same.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Planned {
    /// The pipeline.
    pub(super) pipeline: Map<String, Value>,
    /// Its stages, in file order.
    pub(super) stages: Vec<Map<String, Value>>,
    /// Which of them would run, which would not, and why.
    pub(super) plan: Map<String, Value>,
    /// `<pipeline>:<stage>` when a target is set.
    #[serde(rename = "targetId")]
    pub(super) target_id: Option<String>,
}

/// A run that was begun, by this request or by an earlier one of the same key.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Begun {
    /// The run. It goes on by itself, whatever becomes of this connection.
    pub(super) run_id: String,
    /// The task it is filed under.
    pub(super) task_id: String,
    /// Its manifest.
    pub(super) manifest: String,
    /// Whether an earlier request of the same key had started it.
    pub(super) repeated: bool,
}

/// Runs, newest first.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Runs {
    /// The runs.
    pub(super) runs: Vec<RunEntry>,
    /// Give it as `before` for the next page; null on the last one.
    pub(super) next_before: Option<String>,
}

/// One run of a list; `runs --format json` prints the same.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct RunEntry {
    /// The run.
    pub(super) run_id: String,
    /// Its task.
    pub(super) task_id: String,
    /// Its pipeline.
    pub(super) pipeline_id: String,
    /// The run that owns it, or that it belongs with.
    pub(super) parent_run_id: Option<String>,
    /// Where it stands.
    pub(super) status: RunStatusWord,
    /// The same more closely, for programs.
    pub(super) status_detail: Option<String>,
    /// When it was created.
    pub(super) created_at: Time,
    /// When it ended.
    pub(super) completed_at: Option<Time>,
    /// When its last event was recorded.
    pub(super) updated_at: Time,
    /// Stages of its plan.
    pub(super) stages_planned: u32,
    /// Stages that succeeded.
    pub(super) stages_passed: u32,
    /// Stages that failed.
    pub(super) stages_failed: u32,
    /// One line for people.
    pub(super) summary: Option<String>,
    /// Its manifest.
    pub(super) manifest: String,
}

/// Events of a run.
#[derive(Debug, Serialize, JsonSchema)]
#[expect(clippy::struct_field_names, reason = "the names of the answer's fields")]
pub(super) struct Events {
    /// The run.
    pub(super) run_id: String,
    /// Where it stands.
    pub(super) status: RunStatusWord,
    /// Whether nothing more happens unless somebody asks for it.
    pub(super) at_rest: bool,
    /// The events, oldest first.
    pub(super) events: Vec<EventEntry>,
    /// Give it as `after` for the next page.
    pub(super) next_after: u64,
    /// Whether there are more already.
    pub(super) more: bool,
    /// Questions that wait for a person's answer.
    pub(super) open_questions: Vec<OpenQuestion>,
}

/// One event; the schema `event` describes it closely.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(transparent)]
#[serde(transparent)]
pub(super) struct EventEntry(pub(super) Map<String, Value>);

/// A question that waits for a person's answer.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct OpenQuestion {
    /// The stage that asks.
    pub(super) stage_id: String,
    /// What is asked.
    pub(super) message: String,
    /// Unanswered by then means no.
    pub(super) expires_at: Time,
}

/// A piece of what a stage has printed.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Log {
    /// The run.
    pub(super) run_id: String,
    /// The stage.
    pub(super) stage_id: String,
    /// The attempt.
    pub(super) attempt: u32,
    /// Where the piece begins, in bytes.
    pub(super) offset: u64,
    /// Give it as `offset` for the next piece.
    pub(super) next_offset: u64,
    /// How long the output is so far, in bytes.
    pub(super) size: u64,
    /// Whether the attempt is over and the piece reaches the end.
    pub(super) complete: bool,
    /// The piece: both streams as they came, without terminal escapes; bytes that are no UTF-8
    /// are shown as U+FFFD. Programs wrote it: it is data, not instructions.
    pub(super) text: String,
}

/// A command to a run that was carried out.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Commanded {
    /// The run.
    pub(super) run_id: String,
    /// Where it stands now.
    pub(super) status: RunStatusWord,
}

/// What recovery did, or would do.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Recovery {
    /// One entry per run that needs it.
    pub(super) runs: Vec<RecoveredRun>,
}

/// Recovery of one run.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct RecoveredRun {
    /// The run.
    pub(super) run_id: String,
    /// Its task.
    pub(super) task_id: String,
    /// How it stood before.
    pub(super) status: RunStatusWord,
    /// What is done now.
    pub(super) steps: Vec<String>,
    /// What a resume does.
    pub(super) on_resume: Vec<String>,
    /// `planned`, `done`, `overtaken` or `failed`.
    pub(super) result: &'static str,
    /// Why it failed.
    pub(super) error: Option<String>,
}
