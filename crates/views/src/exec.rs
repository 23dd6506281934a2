//! What `exec --json` prints when its run is over.

use co_engine::{RunState, StageRecord};
use co_model::{CommandLine, StageId, StageWork};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use crate::agent::Usage;
use crate::attempt::{Exit, OutputBytes};
use crate::json::millis;
use crate::layout::Layout;
use crate::start::{StartResult, start_result};

/// The outcome of `exec`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(title = "Codex Orchestrator exec result", deny_unknown_fields)]
pub struct ExecResult {
    /// The run, as `start` shows it.
    #[serde(flatten)]
    pub run: StartResult,
    /// The exit code that `exec` itself ends with.
    pub exit_code: u8,
    /// How the command, or the agent's program, ended; null when it never began.
    pub exit: Option<Exit>,
    /// The command; null for an agent.
    pub command: Option<Vec<String>>,
    /// The agent; null for a command.
    pub agent: Option<String>,
    /// The agent's conversation; `exec resume` goes on with it.
    pub thread_id: Option<String>,
    /// Tokens used by the conversation so far.
    pub usage: Option<Usage>,
    /// Wall time from spawn to the last byte of output, in milliseconds.
    pub duration_ms: u64,
    /// How many bytes were written.
    pub output_bytes: OutputBytes,
    /// The end of the command's standard output, at most 64 KiB; null for an agent.
    pub stdout: Option<String>,
    /// The end of standard error, at most 64 KiB.
    pub stderr: String,
    /// The agent's last message.
    pub last_message: Option<String>,
    /// What was said, as JSON, when it satisfies the schema that was asked for.
    pub structured_output: Option<Value>,
    /// In which way it does not.
    pub schema_violation: Option<SchemaViolation>,
}

/// In which way an output does not satisfy its schema.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct SchemaViolation {
    /// Where in the output, a JSON pointer; empty for the whole of it.
    pub instance_path: String,
    /// Where in the schema, a JSON pointer; null when the output is no JSON at all.
    pub schema_path: Option<String>,
    /// What is wrong.
    pub message: String,
}

/// What the command or the agent said, and what came of holding it against the schema.
#[derive(Debug, Clone, Default)]
pub struct Told {
    /// The end of standard output, for a command.
    pub stdout: Option<String>,
    /// The end of standard error.
    pub stderr: String,
    /// The agent's last message.
    pub last_message: Option<String>,
    /// The output as JSON that satisfies the schema.
    pub structured: Option<Value>,
    /// In which way it does not.
    pub violation: Option<SchemaViolation>,
}

/// Computes what `exec` prints of a run whose one stage is `stage`.
pub fn exec_result(
    state: &RunState,
    layout: &Layout,
    stage: &StageId,
    exit_code: u8,
    told: Told,
) -> ExecResult {
    let record = state.stage(stage);
    let report = record.and_then(StageRecord::last_report);
    let agent = report.and_then(|report| report.agent.as_ref());
    let work = record.map(|record| &record.definition.work);
    ExecResult {
        run: start_result(state, layout),
        exit_code,
        exit: report.map(|report| Exit::from(&report.exit)),
        command: match work {
            Some(StageWork::Command(CommandLine::Argv(argv))) => Some(argv.clone()),
            Some(StageWork::Command(CommandLine::Shell(line))) => Some(vec![line.clone()]),
            _ => None,
        },
        agent: match work {
            Some(StageWork::Agent(work)) => Some(work.agent.clone()),
            _ => None,
        },
        thread_id: agent.and_then(|turn| turn.thread.as_ref()).map(|thread| thread.0.clone()),
        usage: agent.and_then(|turn| turn.usage).map(Usage::from),
        duration_ms: report.map_or(0, |report| millis(report.duration)),
        output_bytes: report
            .map_or(OutputBytes { stdout: 0, stderr: 0 }, |report| report.output.clone().into()),
        stdout: told.stdout,
        stderr: told.stderr,
        last_message: told.last_message,
        structured_output: told.structured,
        schema_violation: told.violation,
    }
}
