//! What comes into a decision and what goes out of it.

use co_model::{
    Actor, AttemptReport, CallDecision, CallId, CallOutcome, CallRequest, Envelope, Event, Grant, GrantId,
    Pipeline, PipelineId, RunId, RunOutcome, SandboxPolicy, StageId, ThreadId, Timestamp, ToolPolicy,
    ToolUse,
};
use indexmap::IndexMap;

/// Everything that can make a run move.
#[derive(Debug, Clone)]
pub enum Input {
    /// Time has passed.
    Tick,
    /// A person or a surface asks for something.
    Command(Envelope),
    /// An attempt's process exists.
    AttemptStarted {
        /// The stage.
        stage: StageId,
        /// From 1.
        attempt: u32,
        /// The process, with what tells it from a later one of the same number.
        process: String,
        /// The layers of the sandbox that hold, and what is missing of what was asked for.
        layers: Vec<String>,
        /// What the sandbox lacks of what was asked for.
        weaker: Option<String>,
    },
    /// An agent asks consent for something. The call's id is given by the decision.
    CallWanted(Box<CallRequest>),
    /// The consents that may cover a call.
    Consulted {
        /// The stage it belongs to.
        stage: StageId,
        /// The call.
        call: CallId,
        /// Every consent to one of its keys.
        grants: Vec<Grant>,
    },
    /// An agent has begun something.
    AgentCallStarted {
        /// The stage.
        stage: StageId,
        /// From 1.
        attempt: u32,
        /// The agent's own id for it.
        item: String,
        /// What it is.
        tool: ToolUse,
        /// Where, absolute.
        cwd: String,
    },
    /// Something that an agent did is over.
    AgentCallFinished {
        /// The stage.
        stage: StageId,
        /// From 1.
        attempt: u32,
        /// The agent's own id for it.
        item: String,
        /// How it ended.
        outcome: CallOutcome,
    },
    /// An agent no longer waits for the answer to what it asked.
    AgentCallWithdrawn {
        /// The stage.
        stage: StageId,
        /// From 1.
        attempt: u32,
        /// The agent's own id for it.
        item: String,
    },
    /// An agent has taken up messages within its turn, the oldest first.
    SteerTaken {
        /// The stage.
        stage: StageId,
        /// From 1.
        attempt: u32,
        /// How many.
        count: u32,
    },
    /// An agent has named its conversation.
    AgentThreadKnown {
        /// The stage.
        stage: StageId,
        /// From 1.
        attempt: u32,
        /// The conversation.
        thread: ThreadId,
    },
    /// An attempt is over and its whole group is gone.
    AttemptFinished {
        /// The stage.
        stage: StageId,
        /// From 1.
        attempt: u32,
        /// What was observed.
        report: Box<AttemptReport>,
    },
    /// A child run is over.
    ChildRunFinished {
        /// The stage that owns it.
        stage: StageId,
        /// The child.
        run: RunId,
        /// How it ended.
        outcome: RunOutcome,
    },
    /// The owner of the run is gone; found by somebody else.
    OwnerGone {
        /// What was found.
        detail: String,
    },
    /// Somebody wants the run to go on.
    Resume {
        /// Who.
        actor: Actor,
        /// Why.
        reason: String,
        /// The pipeline as it is now.
        pipeline: Box<Pipeline>,
        /// The pipelines its nested stages lead to now.
        nested: IndexMap<PipelineId, Pipeline>,
        /// The policy as it is now.
        policy: Box<ToolPolicy>,
    },
}

/// What follows from an input. The events are appended first, then the effects are performed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[must_use = "a decision that is dropped leaves the run where it was"]
pub struct Decision {
    /// Facts to append.
    pub events: Vec<Event>,
    /// What to do once they are appended.
    pub effects: Vec<Effect>,
    /// Consents that were given; recorded with the events.
    pub grants: Vec<Grant>,
    /// Consents of a limited number of uses that are used up by one; together with the events, or
    /// nothing is recorded.
    pub used: Vec<GrantId>,
}

/// Something to be done in the world. Each names the attempt or run it belongs to, so that doing
/// it twice can be noticed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Makes an attempt at a command or agent stage.
    Launch {
        /// The stage.
        stage: StageId,
        /// From 1.
        attempt: u32,
        /// The conversation an agent must go on with.
        thread: Option<ThreadId>,
        /// Messages that make up the turn, instead of the stage's prompt.
        steer: Vec<String>,
        /// The sandbox of a command; an agent is confined by its own.
        sandbox: SandboxPolicy,
    },
    /// Looks up the consents to a call and comes back with [`Input::Consulted`].
    Consult {
        /// The stage it belongs to.
        stage: StageId,
        /// The call.
        call: CallId,
        /// What consents are bound to.
        keys: Vec<String>,
    },
    /// Tells an agent what was decided.
    Reply {
        /// The stage.
        stage: StageId,
        /// From 1.
        attempt: u32,
        /// The agent's own id for what it asked.
        item: String,
        /// The decision.
        decision: CallDecision,
    },
    /// Tells a working agent something, if it can be told within its turn; comes back with
    /// [`Input::SteerTaken`] once it has taken it up.
    Steer {
        /// The stage.
        stage: StageId,
        /// From 1.
        attempt: u32,
        /// What it is told.
        message: String,
    },
    /// Ends an attempt with everything it started.
    Stop {
        /// The stage.
        stage: StageId,
        /// From 1.
        attempt: u32,
    },
    /// Runs a nested pipeline, or goes on with it when the child exists.
    RunChild {
        /// The stage.
        stage: StageId,
        /// The child.
        run: RunId,
        /// Its pipeline.
        pipeline: PipelineId,
    },
    /// Cancels a child run.
    CancelChild {
        /// The child.
        run: RunId,
        /// Who asked.
        actor: Actor,
        /// Why.
        reason: Option<String>,
    },
    /// Comes back with [`Input::Tick`] at this instant.
    WakeAt(Timestamp),
}
