//! What `status --format json` prints.

use co_engine::RunState;
use co_model::{RunStatus, Timestamp};
use schemars::JsonSchema;
use serde::Serialize;

use crate::agent::Usage;
use crate::call::{OpenQuestionView, open_questions};
use crate::command::{CommandView, command_views};
use crate::json::Time;
use crate::layout::Layout;
use crate::manifest::{ChildRun, Heartbeat, child_runs};
use crate::sentence;
use crate::words::RunStatusWord;

/// What was seen of a run's owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OwnerSeen {
    /// Its process is there.
    Alive,
    /// Its process is not there any more.
    Gone,
    /// It is on another machine, so only its heartbeat tells.
    Unknown,
}

/// A run at a glance.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(title = "Codex Orchestrator run status", deny_unknown_fields)]
pub struct StatusView {
    /// The run.
    pub run_id: String,
    /// The task.
    pub task_id: String,
    /// The pipeline.
    pub pipeline_id: String,
    /// Where the run stands, as recorded; see `activity` for whether anybody is at work.
    pub status: RunStatusWord,
    /// Machine-readable detail of the status.
    pub status_detail: Option<String>,
    /// One line for people.
    pub summary: String,
    /// The run that owns this one, or that it belongs with.
    pub parent_run_id: Option<String>,
    /// When the run was created.
    pub created_at: Time,
    /// When the run began.
    pub started_at: Option<Time>,
    /// When the run ended.
    pub completed_at: Option<Time>,
    /// When its last event was recorded.
    pub updated_at: Time,
    /// From its creation to its end, to its interruption, or to now.
    pub elapsed_seconds: f64,
    /// The run's manifest.
    pub manifest: String,
    /// The run's folder.
    pub artifact_root: String,
    /// The folder of the output logs.
    pub log_path: String,
    /// The owner's last sign of life; of a run that is over, its end.
    pub heartbeat_at: Option<Time>,
    /// Whether anybody is at work on the run.
    pub activity: Activity,
    /// The runs of nested pipelines.
    pub child_runs: Vec<ChildRun>,
    /// The last event this view shows.
    pub events_seq: u64,
    /// The stages, in file order.
    pub commands: Vec<CommandView>,
    /// The questions that wait for a person.
    pub questions: Vec<OpenQuestionView>,
    /// The agents at work, as their output tells.
    pub agents_at_work: Vec<AgentAtWork>,
}

/// What an agent is doing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct AgentAtWork {
    /// The stage it works for.
    pub stage_id: String,
    /// The conversation, once the agent has named it.
    pub thread_id: Option<String>,
    /// The last thing it did or said, as one line.
    pub last: String,
    /// Commands it began in this turn.
    pub commands_run: u32,
    /// Files it changed in this turn.
    pub files_changed: u32,
    /// Whether the counts are of the whole turn, and not only of its last part.
    pub whole_turn: bool,
    /// Tokens used by the conversation, as of its last turn that ended.
    pub usage: Option<Usage>,
}

/// Whether anybody is at work on a run.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Activity {
    /// Whether the run should be under way but its owner is gone; `resume` continues it.
    pub stale: bool,
    /// How long after the last sign of life an owner that cannot be seen counts as gone.
    pub stale_threshold_seconds: f64,
    /// Time since the last sign of life; null when the run is not under way or there was none.
    pub age_seconds: Option<f64>,
}

/// Computes a run's status as of `now`, without [`agents_at_work`](StatusView::agents_at_work), which the caller has seen.
pub fn status(
    state: &RunState,
    layout: &Layout,
    heartbeat: Heartbeat,
    owner: OwnerSeen,
    now: Timestamp,
) -> StatusView {
    let (task, run) = (&state.created.task, state.run());
    let until = match state.status() {
        RunStatus::Queued | RunStatus::InProgress => now,
        RunStatus::Interrupted => state.updated_at,
        RunStatus::Succeeded | RunStatus::Failed | RunStatus::Cancelled => {
            state.completed_at.unwrap_or(state.updated_at)
        }
    };
    StatusView {
        run_id: run.to_string(),
        task_id: task.to_string(),
        pipeline_id: state.pipeline().id.to_string(),
        status: state.status().into(),
        status_detail: sentence::status_detail(state),
        summary: sentence::summary(state),
        parent_run_id: state.created.settings.parent.as_ref().map(ToString::to_string),
        created_at: state.created_at.into(),
        started_at: state.started_at.map(Time::from),
        completed_at: state.completed_at.map(Time::from),
        updated_at: state.updated_at.into(),
        elapsed_seconds: until.since(state.created_at).as_secs_f64(),
        manifest: layout.show(&layout.manifest_path(task, run)),
        artifact_root: layout.show(&layout.run_dir(task, run)),
        log_path: layout.show(&layout.logs_dir(task, run)),
        heartbeat_at: heartbeat.shown_at(state).map(Time::from),
        activity: activity(state, heartbeat, owner, now),
        child_runs: child_runs(state, layout),
        events_seq: state.last_seq.0,
        commands: command_views(state, layout),
        questions: open_questions(state),
        agents_at_work: Vec::new(),
    }
}

fn activity(state: &RunState, heartbeat: Heartbeat, owner: OwnerSeen, now: Timestamp) -> Activity {
    let under_way = matches!(state.status(), RunStatus::Queued | RunStatus::InProgress);
    let age = heartbeat.at.filter(|_| under_way).map(|at| now.since(at));
    // An owner that never gave a sign of life has had since the last event to do so.
    let silence = age.unwrap_or_else(|| now.since(state.updated_at));
    let gone = match owner {
        OwnerSeen::Alive => false,
        OwnerSeen::Gone => true,
        OwnerSeen::Unknown => silence > heartbeat.stale_after,
    };
    Activity {
        stale: under_way && gone,
        stale_threshold_seconds: heartbeat.stale_after.as_secs_f64(),
        age_seconds: age.map(|age| age.as_secs_f64()),
    }
}
