//! Takes secrets out of what an agent says before it is recorded, shown or sent. The dialogue itself hears
//! everything as it was said: a protocol with holes in it is none.

use co_agents::{AgentObservation, AgentReport};
use co_model::ToolUse;
use co_privacy::Guard;
use serde_json::Value;

/// Cleans what is told of a turn while it goes on; says whether that took something out of what is to be done.
pub(super) fn observation(guard: &Guard, mut observation: AgentObservation) -> (AgentObservation, bool) {
    let mut sealed = false;
    match &mut observation {
        AgentObservation::ConsentWanted(request) => {
            let before = request.tool.clone();
            tool(guard, &mut request.tool);
            sealed = request.tool != before;
            request.reason.iter_mut().for_each(|reason| text(guard, reason));
        }
        AgentObservation::CallStarted { tool: started, .. } => tool(guard, started),
        AgentObservation::CallFinished { tool: finished, outcome, .. } => {
            tool(guard, finished);
            outcome.detail.iter_mut().for_each(|detail| text(guard, detail));
        }
        _ => {}
    }
    (observation, sealed)
}

/// Cleans what is told of a turn that is over.
pub(super) fn report(guard: &Guard, report: &mut AgentReport) {
    report.last_message.iter_mut().for_each(|message| text(guard, message));
    report.warnings.iter_mut().for_each(|warning| text(guard, warning));
}

/// Cleans a text.
pub(super) fn text(guard: &Guard, text: &mut String) {
    *text = guard.redact_text(text).into_owned();
}

fn tool(guard: &Guard, tool: &mut ToolUse) {
    match tool {
        ToolUse::Command { argv } => *argv = guard.redact_argv(argv),
        ToolUse::Patch { .. } => {}
        ToolUse::Mcp { arguments: said, .. } | ToolUse::Other { input: said, .. } => {
            match serde_json::from_str(said) {
                Ok(value) => {
                    let mut clean: Value = value;
                    let before = clean.clone();
                    guard.redact_json(&mut clean);
                    // What holds no secret stays as it was said, to the letter.
                    if clean != before {
                        *said = clean.to_string();
                    }
                }
                Err(_) => text(guard, said),
            }
        }
    }
}
