//! Pure views of a run: everything that people, files and other programs see of it.
//!
//! A view is computed from a [`co_engine::RunState`], a [`Layout`] and, where it shows a sign of
//! life, a [`Heartbeat`]; from nothing else. Nothing here reads a clock or touches a file, so that
//! the same events always give the same bytes and every file on disk can be rebuilt from the log.
//!
//! The types are wire types: their serde shape is what `docs/formats.md` promises and
//! `schemas/` describes, and it changes independently of the stored shape of `co-model`.

mod agent;
mod attempt;
mod call;
mod command;
mod error;
mod event;
mod exec;
mod json;
mod layout;
mod manifest;
mod metrics;
mod run_summary;
mod schema;
mod sentence;
mod start;
mod status;
mod task_state;
mod words;

pub use agent::{AgentFailureView, AgentTurnView, AgentView, ChangedFile, ChangedFiles, Usage};
pub use attempt::{AttemptView, Exit, OutputBytes, OutputFile};
pub use call::{
    CallCountsView, CallDecisionView, CallOutcomeView, CallRequestView, GrantView, McpServerView,
    OpenQuestionView, PolicySourceView, PolicyView, SandboxUseView, SandboxView, ToolDecisionView,
    open_questions,
};
pub use command::{CommandView, QuestionView, stage_number};
pub use error::{ErrorArtifact, ErrorDetails, error_artifact};
pub use event::{
    ENVELOPE_VERSION, EventData, EventLine, PlannedStageView, ReportView, SkippedStageView, StageView,
    event_line,
};
pub use exec::{ExecResult, SchemaViolation, Told, exec_result};
pub use json::{Time, to_json};
pub use layout::{Layout, slug};
pub use manifest::{
    Approval, ChildRun, DriftEntry, GuardrailCountsView, GuardrailView, Heartbeat, InstructionSource,
    Manifest, ResumeEvent, RoleVerdict, Roles, manifest,
};
pub use metrics::{Derived, Metrics, MetricsRecord, MetricsTotals, Ratio, Totals, metrics, metrics_record};
pub use run_summary::{
    BuildArtifact, BuildSummary, PlanItem, PlanSummary, ReviewDecision, ReviewSummary, RunSummary,
    TestReport, TestSummary, run_summary,
};
pub use schema::{SCHEMA_NAMES, schema};
pub use sentence::{command_text, is_plain, stage_summary, status_detail, summary, tool_text};
pub use start::{StartResult, start_result};
pub use status::{Activity, AgentAtWork, OwnerSeen, StatusView, status};
pub use task_state::{TaskRun, TaskState, task_state};
pub use words::{
    AnswerWord, CallStatusWord, ChangeWord, DecisionSourceWord, DriftWord, ExitWord, GrantScopeWord,
    ModeWord, ReportWord, ResumeWord, RoleWord, RunStatusWord, SourceWord, StageKind, StageStatusWord,
};
