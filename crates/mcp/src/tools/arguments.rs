//! What the tools take. The schemas that clients see are made from these types.

use schemars::JsonSchema;
use serde::Deserialize;

/// The longest wait that a tool accepts, in seconds.
pub(super) const LONGEST_WAIT: u32 = 600;

/// `list_pipelines`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ListPipelines {}

/// `plan`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Plan {
    /// The pipeline; the default one when none is named.
    pub(super) pipeline: Option<String>,
    /// Run only this stage and the stages it declares to need.
    pub(super) target: Option<String>,
    /// Where stages are to be executed that do not say so themselves: `mcp` or `cloud`.
    pub(super) execution_mode: Option<String>,
    /// The task asks for parallel execution.
    #[serde(default)]
    pub(super) parallel: bool,
}

/// `start_run`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct StartRun {
    /// The pipeline; the default one when none is named.
    pub(super) pipeline: Option<String>,
    /// The task that the run is filed under; the server's own when none is named.
    pub(super) task: Option<String>,
    /// Run only this stage and the stages it declares to need.
    pub(super) target: Option<String>,
    /// What the task is, for prompts.
    pub(super) description: Option<String>,
    /// The run this one belongs with; it must exist.
    pub(super) parent_run_id: Option<String>,
    /// Recorded with the run: `never`, `on-request`, `auto` or your own word.
    pub(super) approval_policy: Option<String>,
    /// Run in a git worktree of its own.
    #[serde(default)]
    pub(super) worktree: bool,
    /// Where stages are to be executed that do not say so themselves: `mcp` or `cloud`.
    pub(super) execution_mode: Option<String>,
    /// The task asks for parallel execution.
    #[serde(default)]
    pub(super) parallel: bool,
    /// Any text of your own: a second request with the same key starts nothing and is answered
    /// with the run of the first. Send one whenever you may have to repeat a request.
    pub(super) idempotency_key: Option<String>,
}

/// `run_status`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RunStatus {
    /// The run.
    pub(super) run_id: String,
    /// Wait up to so many seconds for the run to be over or interrupted. Longer than your client's
    /// own time-out is only useful when it asks for progress notifications.
    #[serde(default)]
    #[schemars(range(max = 600))]
    pub(super) wait_seconds: u32,
}

/// `list_runs`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ListRuns {
    /// Only runs of this task.
    pub(super) task: Option<String>,
    /// Only runs of this pipeline.
    pub(super) pipeline: Option<String>,
    /// Only children of this run.
    pub(super) parent_run_id: Option<String>,
    /// Only runs in one of these states: `queued`, `in_progress`, `interrupted`, `succeeded`,
    /// `failed`, `cancelled`.
    #[serde(default)]
    pub(super) status: Vec<String>,
    /// Only runs older than this one, for paging.
    pub(super) before: Option<String>,
    /// At most so many.
    #[serde(default = "twenty")]
    #[schemars(range(min = 1, max = 200))]
    pub(super) limit: u32,
}

fn twenty() -> u32 {
    20
}

/// `run_events`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RunEvents {
    /// The run.
    pub(super) run_id: String,
    /// Only events after this position; `next_after` of the last answer goes on where it ended.
    #[serde(default)]
    pub(super) after: u64,
    /// At most so many.
    #[serde(default = "hundred")]
    #[schemars(range(min = 1, max = 1000))]
    pub(super) limit: u32,
    /// When there is none yet, wait up to so many seconds for one. Longer than your client's own
    /// time-out is only useful when it asks for progress notifications.
    #[serde(default)]
    #[schemars(range(max = 600))]
    pub(super) wait_seconds: u32,
}

fn hundred() -> u32 {
    100
}

/// `run_logs`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RunLogs {
    /// The run.
    pub(super) run_id: String,
    /// The stage.
    pub(super) stage: String,
    /// The attempt; the last one when none is named.
    pub(super) attempt: Option<u32>,
    /// Where to begin, in bytes; negative counts from the end.
    #[serde(default)]
    pub(super) offset: i64,
    /// At most so many bytes.
    #[serde(default = "sixteen_kib")]
    #[schemars(range(min = 4, max = 262_144))]
    pub(super) limit: u32,
}

fn sixteen_kib() -> u32 {
    16 << 10
}

/// `cancel_run`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CancelRun {
    /// The run.
    pub(super) run_id: String,
    /// Why, for the record.
    pub(super) reason: Option<String>,
}

/// `resume_run`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ResumeRun {
    /// The run.
    pub(super) run_id: String,
    /// Why, for the record.
    pub(super) reason: Option<String>,
    /// The run's resume token, where one is required.
    pub(super) token: Option<String>,
    /// Go on with the pipeline as it was recorded, not as it is now.
    #[serde(default)]
    pub(super) recorded_pipeline: bool,
}

/// `retry_run`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RetryRun {
    /// The run to repeat.
    pub(super) run_id: String,
    /// A second request with the same key is answered with the run of the first.
    pub(super) idempotency_key: Option<String>,
}

/// `answer_question`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct AnswerQuestion {
    /// The run that asks.
    pub(super) run_id: String,
    /// The stage that asks; not needed while only one question is open.
    pub(super) stage: Option<String>,
    /// `true` is yes.
    pub(super) approve: bool,
    /// Why, for the record.
    pub(super) reason: Option<String>,
}

/// `steer_agent`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SteerAgent {
    /// The run.
    pub(super) run_id: String,
    /// The agent's stage; not needed while only one agent is at work.
    pub(super) stage: Option<String>,
    /// What to tell the agent; it is the next turn of its conversation.
    pub(super) message: String,
}

/// `recover`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Recover {
    /// Only this run; every one that needs it when none is named.
    pub(super) run_id: Option<String>,
    /// Only say what would be done.
    #[serde(default)]
    pub(super) dry_run: bool,
}
