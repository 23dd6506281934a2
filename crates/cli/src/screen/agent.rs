//! What an agent prints, in words: its protocol is for programs.

use std::path::Path;

use co_agents::observation::subject;
use co_agents::{AgentObservation, Transcript, driver_for};
use co_engine::RunState;
use co_model::{CallStatus, Stage, StageWork, ToolUse};

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
        AgentObservation::CallStarted { tool: tool @ ToolUse::Command { .. }, .. } => {
            format!("$ {}", subject(tool))
        }
        AgentObservation::CallStarted {
            tool: tool @ (ToolUse::Mcp { .. } | ToolUse::Other { .. }), ..
        } => {
            format!("calls {}", subject(tool))
        }
        AgentObservation::ConsentWanted(request) => format!("? wants consent: {}", subject(&request.tool)),
        AgentObservation::CallFinished { tool: tool @ ToolUse::Patch { .. }, outcome, .. } => {
            let done = outcome.status == CallStatus::Succeeded;
            format!("{} {}", if done { "changed" } else { "did not change" }, subject(tool))
        }
        AgentObservation::CallFinished { tool, outcome, .. } => {
            let how = match (outcome.status, outcome.exit_code) {
                (CallStatus::Succeeded, _) => return None,
                (CallStatus::Declined, _) => "declined".to_owned(),
                (_, Some(code)) => format!("exit code {code}"),
                (_, None) => "did not end by itself".to_owned(),
            };
            format!("✗ {how}: {}", subject(tool))
        }
        AgentObservation::CallStarted { .. }
        | AgentObservation::ConsentClosed { .. }
        | AgentObservation::MessageDelta { .. }
        | AgentObservation::OutputDelta { .. }
        | AgentObservation::TurnStarted
        | AgentObservation::SteerTaken
        | AgentObservation::TodoChanged { .. }
        | AgentObservation::Usage { .. }
        | AgentObservation::TurnCompleted => return None,
        AgentObservation::SearchMade { query } => format!("searches for {query}"),
        AgentObservation::Warning { message } => format!("! {message}"),
        AgentObservation::TurnFailed { message } => format!("✗ the turn failed: {message}"),
    })
}
