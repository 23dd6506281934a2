//! What an agent does and asks for, told to the owner of its run as calls, in bounded number.

use std::collections::{BTreeMap, HashSet};

use co_agents::{AgentObservation, ConsentRequest};
use co_engine::Input;
use co_model::{
    CallDecision, CallId, CallOrigin, CallRequest, DecisionSource, SandboxPolicy, ThreadId, ToolUse,
};

use super::voice::Voice;
use crate::attempt::Attempt;

/// How many calls that nobody was asked about are told one by one; all are counted in the turn's report.
const MOST_TOLD: usize = 1_000;
/// How many bytes of such calls are told.
const MOST_TOLD_BYTES: usize = 4 << 20;
/// How many consents one turn may ask for; what it asks beyond that is refused.
const MOST_ASKED: usize = 10_000;

/// Tells the calls of one turn.
pub(super) struct Calls<'a> {
    attempt: &'a Attempt,
    /// The sandbox that the agent was asked to keep its commands in.
    sandbox: SandboxPolicy,
    cwd: String,
    asked: usize,
    told: usize,
    told_bytes: usize,
    /// The calls that the owner knows and that are not over.
    open: HashSet<String>,
}

impl<'a> Calls<'a> {
    pub(super) fn new(attempt: &'a Attempt, sandbox: SandboxPolicy) -> Self {
        let cwd = attempt.cwd().to_string_lossy().into_owned();
        Self { attempt, sandbox, cwd, asked: 0, told: 0, told_bytes: 0, open: HashSet::new() }
    }

    /// Tells the owner what was observed; waits while the owner has much to take in. `sealed` says whether a
    /// secret was taken out of what consent is wanted for.
    pub(super) fn observe(&mut self, voice: &Voice, observation: AgentObservation, sealed: bool) {
        let stage = self.attempt.stage.id.clone();
        let attempt = self.attempt.number;
        let input = match observation {
            AgentObservation::ThreadKnown { thread_id } => {
                let thread = ThreadId(thread_id.as_str().to_owned());
                Input::AgentThreadKnown { stage, attempt, thread }
            }
            AgentObservation::ConsentWanted(request) => match self.wanted(*request, sealed) {
                Ok(request) => Input::CallWanted(Box::new(request)),
                Err(item) => return voice.answer(&item, &too_many()),
            },
            AgentObservation::ConsentClosed { item } => {
                self.open.remove(&item);
                Input::AgentCallWithdrawn { stage, attempt, item }
            }
            AgentObservation::CallStarted { item, tool, cwd } => {
                if !self.open.contains(&item) && !self.may_tell(&tool) {
                    return;
                }
                self.open.insert(item.clone());
                let cwd = cwd.unwrap_or_else(|| self.cwd.clone());
                Input::AgentCallStarted { stage, attempt, item, tool, cwd }
            }
            AgentObservation::CallFinished { item, outcome, .. } => {
                if !self.open.remove(&item) {
                    return;
                }
                Input::AgentCallFinished { stage, attempt, item, outcome }
            }
            AgentObservation::SteerTaken => Input::SteerTaken { stage, attempt, count: 1 },
            _ => return,
        };
        self.attempt.tell(input);
    }

    /// The call that consent is wanted for, or its item when too much was asked for already.
    fn wanted(&mut self, request: ConsentRequest, sealed: bool) -> Result<CallRequest, String> {
        self.asked += 1;
        if self.asked > MOST_ASKED {
            return Err(request.item);
        }
        self.open.insert(request.item.clone());
        Ok(CallRequest {
            // The owner numbers the calls of a stage.
            call: CallId(String::new()),
            stage: self.attempt.stage.id.clone(),
            attempt: self.attempt.number,
            origin: CallOrigin::Agent(request.item),
            tool: request.tool,
            cwd: request.cwd.unwrap_or_else(|| self.cwd.clone()),
            tty: false,
            sandbox: self.sandbox.clone(),
            // The owner knows what the stage sets.
            env: BTreeMap::new(),
            escalated: request.escalated,
            reason: request.reason,
            sealed,
        })
    }

    fn may_tell(&mut self, tool: &ToolUse) -> bool {
        let bytes = match tool {
            ToolUse::Command { argv } => argv.iter().map(String::len).sum(),
            ToolUse::Patch { files } => files.iter().map(|file| file.change.path.len() + 64).sum(),
            ToolUse::Mcp { server, name, arguments, .. } => server.len() + name.len() + arguments.len(),
            ToolUse::Other { name, input } => name.len() + input.len(),
        };
        let fits = self.told < MOST_TOLD && self.told_bytes + bytes <= MOST_TOLD_BYTES;
        if fits {
            self.told += 1;
            self.told_bytes += bytes;
        }
        fits
    }
}

fn too_many() -> CallDecision {
    CallDecision {
        approved: false,
        source: DecisionSource::Policy,
        grant: None,
        actor: None,
        reason: Some(format!("one turn may ask for consent {MOST_ASKED} times")),
    }
}
