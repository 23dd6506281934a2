//! What a working agent can be told: answers, messages, the wish that it end.
//!
//! Owns the dialogue with one agent's process, shared by the attempt, which hears the agent, and the
//! run's owner, which answers it. Nothing here waits while the dialogue is held, and nobody may send
//! to the owner meanwhile: the owner may be waiting for the dialogue.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use co_agents::{AgentObservation, AgentReport, ConsentDecision, Dialogue, Steered};
use co_model::CallDecision;
use co_process::{InputError, LiveInput, Shutdown, Stdin, StopSignal};

/// How long an agent that was asked to end its turn may take before it is stopped like any program.
const INTERRUPT_PATIENCE: Duration = Duration::from_secs(2);

/// The way to speak with the agent of an attempt; clones speak with the same one. Mute until the agent
/// begins and after it ended.
#[derive(Clone, Default)]
pub(crate) struct Voice {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    talk: Mutex<Option<Talk>>,
    /// Rung when the agent has ended.
    over: Condvar,
}

struct Talk {
    dialogue: Box<dyn Dialogue + Send>,
    /// None for an agent that takes its prompt and nothing else.
    input: Option<LiveInput>,
    /// Whether a message could not be told: later ones wait with it, so that none overtakes another.
    deaf: bool,
}

impl Voice {
    /// Takes the dialogue over and returns what its process reads.
    ///
    /// # Errors
    /// When no live input can be made.
    pub(super) fn begin(&self, mut dialogue: Box<dyn Dialogue + Send>) -> io::Result<Stdin> {
        let (stdin, input) = if dialogue.input_open() {
            let input = LiveInput::new()?;
            (Stdin::Live(input.clone()), Some(input))
        } else {
            (Stdin::Bytes(dialogue.outgoing()), None)
        };
        let mut talk = Talk { dialogue, input, deaf: false };
        talk.flush();
        *self.lock() = Some(talk);
        Ok(stdin)
    }

    /// Hears what the agent printed, and says what follows from it within the protocol.
    pub(super) fn hear(&self, bytes: &[u8]) -> Vec<AgentObservation> {
        let mut heard = Vec::new();
        if let Some(talk) = self.lock().as_mut() {
            talk.dialogue.push(bytes, &mut |observation| heard.extend(of_interest(observation)));
            talk.flush();
        }
        heard
    }

    /// Ends the dialogue; the process is gone.
    pub(super) fn finish(&self) -> (AgentReport, Vec<AgentObservation>) {
        let mut heard = Vec::new();
        let talk = self.lock().take();
        self.shared.over.notify_all();
        let report =
            talk.map(|talk| talk.dialogue.finish(&mut |observation| heard.extend(of_interest(observation))));
        (report.unwrap_or_default(), heard)
    }

    /// Tells the agent what was decided about a call that it asked consent for.
    ///
    /// Consent is given for the one call: what is remembered for longer is remembered by us, bound to all
    /// that was shown, and can be taken back.
    pub(crate) fn answer(&self, item: &str, decision: &CallDecision) {
        let decision = if decision.approved {
            ConsentDecision::once()
        } else {
            ConsentDecision::declined(decision.reason.clone())
        };
        if let Some(talk) = self.lock().as_mut() {
            // What nobody waits for any more was closed by the agent, which tells so itself.
            talk.dialogue.answer(item, &decision);
            talk.flush();
        }
    }

    /// Tells the agent something within its turn, if it can be told; that it heard is an observation.
    pub(crate) fn steer(&self, message: &str) {
        if let Some(talk) = self.lock().as_mut()
            && !talk.deaf
        {
            talk.deaf = talk.dialogue.steer(message) == Steered::NotSupported;
            talk.flush();
        }
    }

    /// Asks the agent to end its turn, and stops its process when it does not do so, or cannot be asked.
    pub(crate) fn stop(&self, stop: &StopSignal) {
        let asked = self.lock().as_mut().is_some_and(|talk| {
            let asked = talk.input.is_some() && talk.dialogue.interrupt();
            talk.flush();
            asked
        });
        let waiting = (self.clone(), stop.clone());
        let waits = asked
            && thread::Builder::new()
                .name("interrupted agent".to_owned())
                .spawn(move || {
                    let (voice, stop) = waiting;
                    let talk = voice.lock();
                    let ended = |talk: &mut Option<Talk>| talk.is_some();
                    drop(voice.shared.over.wait_timeout_while(talk, INTERRUPT_PATIENCE, ended));
                    stop.request(Shutdown::Graceful);
                })
                .is_ok();
        if !waits {
            stop.request(Shutdown::Graceful);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Talk>> {
        self.shared.talk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Talk {
    /// Hands what is to be said to the process, and closes its input once nothing may follow.
    fn flush(&mut self) {
        let Some(input) = &self.input else { return };
        let bytes = self.dialogue.outgoing();
        let offered = if bytes.is_empty() { Ok(()) } else { input.offer(&bytes) };
        // An agent that reads nothing of what it asked for hears no more; its turn ends unfinished.
        if !self.dialogue.input_open() || matches!(offered, Err(InputError::Full { .. })) {
            input.close();
        }
    }
}

/// Leaves out what only people at a screen want to know; a flood of it is not kept.
fn of_interest(observation: AgentObservation) -> Option<AgentObservation> {
    match observation {
        AgentObservation::ThreadKnown { .. }
        | AgentObservation::ConsentWanted(_)
        | AgentObservation::ConsentClosed { .. }
        | AgentObservation::CallStarted { .. }
        | AgentObservation::CallFinished { .. }
        | AgentObservation::SteerTaken => Some(observation),
        _ => None,
    }
}
