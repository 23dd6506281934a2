//! What an agent prints, in words: its protocol is for programs.

use std::path::Path;

use co_agents::{AgentObservation, ItemStatus, Transcript, driver_for};
use co_engine::RunState;
use co_model::{Stage, StageWork};

/// Begins to read an agent's output, when the stage has an agent.
pub(super) fn transcript(state: &RunState, stage: &Stage) -> Option<Box<dyn Transcript + Send>> {
    let StageWork::Agent(work) = &stage.work else { return None };
    Some(driver_for(&work.agent).ok()?.transcript(Path::new(&state.created.settings.workspace)))
}

/// What a person is told of an observation.
pub(super) fn words(observed: &AgentObservation) -> Option<String> {
    Some(match observed {
        AgentObservation::ThreadKnown { thread_id } => format!("thread {thread_id}"),
        AgentObservation::Message { text } => text.clone(),
        AgentObservation::Reasoning { text } => format!("· {text}"),
        AgentObservation::CommandStarted { command } => format!("$ {command}"),
        AgentObservation::CommandFinished { status: ItemStatus::Completed, .. }
        | AgentObservation::ToolCalled { status: ItemStatus::Completed, .. }
        | AgentObservation::TurnStarted
        | AgentObservation::TodoChanged { .. }
        | AgentObservation::Usage { .. }
        | AgentObservation::TurnCompleted => return None,
        AgentObservation::CommandFinished { command, exit_code: Some(code), .. } => {
            format!("✗ exit code {code}: {command}")
        }
        AgentObservation::CommandFinished { command, .. } => format!("✗ did not end by itself: {command}"),
        AgentObservation::FilesChanged { changes, status } => {
            let paths: Vec<&str> = changes.iter().map(|change| change.path.as_str()).collect();
            let done = if *status == ItemStatus::Completed { "changed" } else { "did not change" };
            format!("{done} {}", paths.join(", "))
        }
        AgentObservation::ToolCalled { tool, status: ItemStatus::InProgress } => format!("calls {tool}"),
        AgentObservation::ToolCalled { tool, .. } => format!("✗ {tool}"),
        AgentObservation::SearchMade { query } => format!("searches for {query}"),
        AgentObservation::Warning { message } => format!("! {message}"),
        AgentObservation::TurnFailed { message } => format!("✗ the turn failed: {message}"),
    })
}
