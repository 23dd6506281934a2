//! What comes into a decision and what goes out of it.

use co_model::{
    Actor, AttemptReport, Envelope, Event, Pipeline, PipelineId, RunId, RunOutcome, StageId, ThreadId,
    Timestamp,
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
