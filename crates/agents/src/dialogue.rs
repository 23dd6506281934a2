//! Speaks with an agent while it works, without touching a pipe.
//!
//! Whoever runs the agent moves the bytes. After a dialogue has begun, and after every call of one of its methods, it
//! takes what [`Dialogue::outgoing`] holds and writes it to the agent's stdin; when that is drained and
//! [`Dialogue::input_open`] says no, it closes stdin. What the agent prints goes into [`Transcript::push`].

use std::fmt;

use co_model::ToolUse;
use serde::{Deserialize, Serialize};

use crate::observation::AgentObservation;
use crate::report::AgentReport;

/// Reads what an agent prints on stdout, piece by piece, in bounded memory.
pub trait Transcript: fmt::Debug {
    /// Adds bytes, cut anywhere, and reports what they complete.
    fn push(&mut self, bytes: &[u8], observe: &mut dyn FnMut(AgentObservation));

    /// Ends the transcript and sums it up. Stdout has ended, or nothing of it is read any more.
    ///
    /// A call whose end was not seen is reported as lost.
    fn finish(self: Box<Self>, observe: &mut dyn FnMut(AgentObservation)) -> AgentReport;
}

/// Reads what an agent prints, and says what it is told in return.
///
/// An agent that takes its prompt and nothing else is the plain case: its only outgoing bytes are the prompt, and its
/// input is never open.
pub trait Dialogue: Transcript {
    /// Takes the bytes that are to be written to the agent's stdin now.
    fn outgoing(&mut self) -> Vec<u8>;

    /// Tells whether more may have to be written later; if not, stdin is closed once everything is written.
    fn input_open(&self) -> bool;

    /// Answers the consent that was wanted for `item`; false if none is wanted (any more).
    fn answer(&mut self, item: &str, decision: &ConsentDecision) -> bool;

    /// Tells the agent something while its turn is running.
    ///
    /// That it heard is told by [`AgentObservation::SteerTaken`]; until then it may still miss it.
    fn steer(&mut self, message: &str) -> Steered;

    /// Asks the agent to end its turn now; false if it cannot be asked, so that only a signal is left.
    ///
    /// Every consent that is still wanted is refused with it.
    fn interrupt(&mut self) -> bool;

    /// Begins a further turn in the same process after the last one has ended; false if the agent does not do that.
    ///
    /// The input is open again afterwards. It has to be asked for before stdin is closed.
    fn continue_with(&mut self, prompt: &str) -> bool;
}

/// Asks for consent to something that the agent wants to do and does not do without.
///
/// Everything in it is the agent's own word, whole: what is too long to be shown whole is refused by the dialogue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConsentRequest {
    /// The agent's own id of the call, unique among the consents that are open.
    pub item: String,
    /// What is to be done.
    pub tool: ToolUse,
    /// Where, absolute; none if the agent did not say.
    pub cwd: Option<String>,
    /// Why the agent wants it. Untrusted text.
    pub reason: Option<String>,
    /// Whether it is to run outside the sandbox that it would otherwise run in.
    pub escalated: bool,
    /// Whether the agent itself can remember the consent for the rest of its session.
    pub offers_session: bool,
}

/// Answers a [`ConsentRequest`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConsentDecision {
    /// Whether it may be done.
    pub approved: bool,
    /// Whether the agent need not ask again for the same thing; without an offer of that it is consent for once.
    pub for_session: bool,
    /// Why; agents that take no reason are not told it.
    pub reason: Option<String>,
}

impl ConsentDecision {
    /// Returns consent to this one call.
    pub fn once() -> Self {
        Self { approved: true, ..Self::default() }
    }

    /// Returns consent to this call and to the same call later in the session.
    pub fn for_session() -> Self {
        Self { approved: true, for_session: true, reason: None }
    }

    /// Returns a refusal.
    pub fn declined(reason: Option<String>) -> Self {
        Self { reason, ..Self::default() }
    }
}

/// Says what became of a message to a running turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[must_use]
pub enum Steered {
    /// It is on its way to the agent.
    Delivered,
    /// The agent takes none, or no turn is running.
    NotSupported,
}
