//! What agents are doing, read from the output they have left so far.
//!
//! The event log holds what a resume needs; how far a turn is, only its output tells.

use std::path::Path;

use co_agents::{AgentReport, driver_for};
use co_engine::{AttemptEnd, RunState, StageRecord, StageState};
use co_model::{AgentStage, StageId, StageWork, ThreadId, TokenUsage};
use co_process::{OutputLog, Stream};
use co_views::Layout;

use crate::attempt::stage_cwd;

/// How much of a turn's output is looked at, from its end: as long as the longest line of an agent
/// that is read at all.
const TAIL: u64 = 1 << 20;

/// What one agent is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentActivity {
    /// The stage it works for.
    pub stage: StageId,
    /// The conversation, once the agent has named it.
    pub thread: Option<ThreadId>,
    /// Tokens used by the conversation, as of its last turn that ended.
    pub usage: Option<TokenUsage>,
    /// The last thing it did or said, as one line for people: `running cargo test`.
    pub last: String,
    /// Commands it began in this turn, as far as [`whole`](Self::whole) goes.
    pub commands: u32,
    /// Files it changed in this turn, as far as [`whole`](Self::whole) goes.
    pub changed_files: u32,
    /// Whether the turn's whole output was looked at, and not only its end.
    pub whole: bool,
}

/// The agents that are at work in a run, in file order.
pub(crate) fn at_work(state: &RunState, layout: &Layout) -> Vec<AgentActivity> {
    let agents = state.stages.iter().filter_map(|record| match (&record.definition.work, &record.state) {
        (StageWork::Agent(work), StageState::Attempting { attempt }) => {
            Some(activity(state, layout, record, work, *attempt))
        }
        _ => None,
    });
    agents.collect()
}

fn activity(
    state: &RunState,
    layout: &Layout,
    record: &StageRecord,
    work: &AgentStage,
    attempt: u32,
) -> AgentActivity {
    let (task, run, stage) = (&state.created.task, state.run(), record.id());
    let log = layout.attempt_log(task, run, stage, attempt);
    let (output, whole) = end_of_stdout(&log, &layout.attempt_index(task, run, stage, attempt));
    let mut last = None;
    let mut report = AgentReport::default();
    if let Ok(driver) = driver_for(&work.agent) {
        let mut transcript = driver.transcript(&stage_cwd(state, &record.definition));
        transcript.push(&output, &mut |seen| last = seen.sentence().or(last.take()));
        report = transcript.finish(&mut |_| {});
    }
    let earlier = record.attempts.iter().rev().find_map(|attempt| match &attempt.end {
        AttemptEnd::Reported(report) => report.agent.as_ref()?.usage,
        AttemptEnd::Open | AttemptEnd::Lost => None,
    });
    let count = |listed: usize, omitted: u64| {
        u32::try_from((listed as u64).saturating_add(omitted)).unwrap_or(u32::MAX)
    };
    AgentActivity {
        stage: stage.clone(),
        thread: record.thread.clone(),
        usage: report.usage.or(earlier),
        last: last.unwrap_or_else(|| "starting".to_owned()),
        commands: count(report.commands.len(), report.commands_omitted),
        changed_files: count(report.file_changes.len(), report.file_changes_omitted),
        whole,
    }
}

/// The end of standard output, from the beginning of a line on, and whether that is all of it. An
/// agent that has written nothing yet has no log.
fn end_of_stdout(log: &Path, index: &Path) -> (Vec<u8>, bool) {
    let whole = std::fs::metadata(log).map_or(0, |log| log.len()) <= TAIL;
    let chunks = OutputLog::new(log, index).tail(TAIL).unwrap_or_default();
    let stdout = chunks.into_iter().filter(|chunk| chunk.stream == Stream::Stdout);
    let mut bytes: Vec<u8> = stdout.flat_map(|chunk| chunk.bytes).collect();
    if !whole {
        let line = bytes.iter().position(|&byte| byte == b'\n').map_or(bytes.len(), |end| end + 1);
        bytes.drain(..line);
    }
    (bytes, whole)
}
