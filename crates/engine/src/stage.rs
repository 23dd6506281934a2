//! One stage of a run, as its events tell it.

use std::sync::Arc;

use co_model::{
    AttemptReport, Event, IdError, RunId, RunOutcome, Stage, StageId, StageOutcome, StageStatus, StageWork,
    ThreadId, Timestamp,
};

/// Everything known about one stage of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StageRecord {
    /// How the stage is defined now.
    pub definition: Stage,
    /// Where it stands.
    pub state: StageState,
    /// Every attempt ever made, oldest first.
    pub attempts: Vec<AttemptRecord>,
    /// Attempts made since the last resume, which the retry policy counts.
    pub counted_attempts: u32,
    /// The agent's conversation.
    pub thread: Option<ThreadId>,
    /// Messages for the agent that were not handed over yet.
    pub steer: Vec<String>,
    /// Messages handed over as the turn under way; empty when the turn is the stage's prompt.
    pub turn: Vec<String>,
    /// The child run of a nested pipeline.
    pub child: Option<(RunId, Option<RunOutcome>)>,
    /// How many child runs an edit of the stage has made obsolete.
    pub obsolete_children: u32,
    /// The planner stage that left it out.
    pub left_out_by: Option<StageId>,
    /// When its first attempt, question or child began.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// Whether an edit of the pipeline removed it.
    pub removed: bool,
}

/// Where a stage stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StageState {
    /// Not begun.
    Pending,
    /// An attempt is being made.
    Attempting {
        /// From 1.
        attempt: u32,
    },
    /// The next attempt is due later.
    Backoff {
        /// The attempt to come.
        attempt: u32,
        /// Not before this instant.
        due_at: Timestamp,
    },
    /// A question to a person is open.
    Asking {
        /// What was asked.
        message: String,
        /// Unanswered by then means no.
        expires_at: Timestamp,
    },
    /// A child run is under way.
    Nested {
        /// The child.
        run: RunId,
    },
    /// An attempt was under way when the owner was lost.
    Interrupted,
    /// Over.
    Finished {
        /// How it ended.
        outcome: StageOutcome,
    },
}

/// One try at a stage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttemptRecord {
    /// From 1.
    pub number: u32,
    /// When it was about to begin.
    pub started_at: Timestamp,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// Its process, once it existed.
    pub process: Option<String>,
    /// How it ended.
    pub end: AttemptEnd,
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AttemptEnd {
    /// It has not.
    Open,
    /// Nobody saw it.
    Lost,
    /// As reported.
    Reported(Arc<AttemptReport>),
}

impl StageRecord {
    pub(crate) fn new(definition: Stage) -> Self {
        Self {
            definition,
            state: StageState::Pending,
            attempts: Vec::new(),
            counted_attempts: 0,
            thread: None,
            steer: Vec::new(),
            turn: Vec::new(),
            child: None,
            obsolete_children: 0,
            left_out_by: None,
            started_at: None,
            finished_at: None,
            removed: false,
        }
    }

    /// The stage's id.
    pub fn id(&self) -> &StageId {
        &self.definition.id
    }

    /// How the stage ended, once it has.
    pub fn outcome(&self) -> Option<&StageOutcome> {
        match &self.state {
            StageState::Finished { outcome } => Some(outcome),
            _ => None,
        }
    }

    /// Where the stage stands, in the words of manifests.
    pub fn status(&self) -> StageStatus {
        match &self.state {
            StageState::Pending | StageState::Interrupted => StageStatus::Pending,
            StageState::Attempting { .. } | StageState::Backoff { .. } | StageState::Nested { .. } => {
                StageStatus::Running
            }
            StageState::Asking { .. } => StageStatus::Waiting,
            StageState::Finished { outcome } => outcome.status(),
        }
    }

    /// The report of the last attempt that has one.
    pub fn last_report(&self) -> Option<&AttemptReport> {
        self.attempts.iter().rev().find_map(|attempt| match &attempt.end {
            AttemptEnd::Reported(report) => Some(report.as_ref()),
            AttemptEnd::Open | AttemptEnd::Lost => None,
        })
    }

    /// What the stage itself holds against the run, although it succeeded.
    pub fn objection(&self) -> Option<&str> {
        match (self.outcome(), &self.definition.work) {
            (Some(StageOutcome::Succeeded), StageWork::Command(_) | StageWork::Agent(_)) => {
                self.last_report()?.objection.as_deref()
            }
            _ => None,
        }
    }

    /// The process of the last attempt, once it existed.
    pub(crate) fn process(&self) -> Option<&str> {
        self.attempts.last()?.process.as_deref()
    }

    fn attempt_mut(&mut self, number: u32) -> Option<&mut AttemptRecord> {
        self.attempts.iter_mut().rev().find(|attempt| attempt.number == number)
    }

    /// The number of the attempt to come.
    pub(crate) fn next_attempt(&self) -> u32 {
        self.attempts.last().map_or(1, |last| last.number + 1)
    }

    /// The child run that was begun and is not known to be over.
    pub(crate) fn open_child(&self) -> Option<&RunId> {
        match &self.child {
            Some((run, None)) => Some(run),
            _ => None,
        }
    }

    /// The child run to begin, or to go on with. A child of another definition is never taken up.
    pub(crate) fn child_id(&self, parent: &RunId) -> Result<RunId, IdError> {
        match self.obsolete_children {
            0 => parent.child(self.id()),
            obsolete => parent.child(&StageId::new(format!("{}~{obsolete}", self.id()))?),
        }
    }

    /// Whether a resume has nothing to do again here. What objected is asked again, since a
    /// resume could not change the verdict otherwise.
    pub(crate) fn stands(&self) -> bool {
        self.outcome() == Some(&StageOutcome::Succeeded) && self.objection().is_none()
    }

    /// Forgets the result, not the record, so that the stage is run again.
    pub(crate) fn reset(&mut self) {
        self.state = StageState::Pending;
        self.counted_attempts = 0;
        self.finished_at = None;
        self.left_out_by = None;
    }

    /// Forgets what was begun under another definition.
    pub(crate) fn forget(&mut self) {
        self.thread = None;
        self.turn.clear();
        if self.child.take().is_some() {
            self.obsolete_children += 1;
        }
    }
}

/// The part of `evolve` that concerns one stage.
pub(crate) fn stage_event(record: &mut StageRecord, event: &Event, at: Timestamp) {
    match event {
        Event::AttemptStarting { attempt, .. } => {
            record.state = StageState::Attempting { attempt: *attempt };
            record.counted_attempts += 1;
            record.started_at.get_or_insert(at);
            record.attempts.push(AttemptRecord {
                number: *attempt,
                started_at: at,
                finished_at: None,
                process: None,
                end: AttemptEnd::Open,
            });
        }
        Event::AttemptStarted { attempt, process, .. } => {
            if let Some(open) = record.attempt_mut(*attempt) {
                open.process = Some(process.clone());
            }
        }
        Event::AgentThreadKnown { thread, .. } => record.thread = Some(thread.clone()),
        Event::AttemptFinished { attempt, report, .. } => {
            if let Some(open) = record.attempt_mut(*attempt) {
                open.finished_at = Some(at);
                open.end = AttemptEnd::Reported(Arc::new((**report).clone()));
            }
        }
        Event::RetryScheduled { attempt, due_at, .. } => {
            record.state = StageState::Backoff { attempt: *attempt, due_at: *due_at };
        }
        Event::QuestionAsked { message, expires_at, .. } => {
            record.state = StageState::Asking { message: message.clone(), expires_at: *expires_at };
            record.started_at.get_or_insert(at);
        }
        Event::SteerAccepted { message, .. } => record.steer.push(message.clone()),
        Event::SteerDelivered { count, .. } => {
            let delivered = usize::try_from(*count).unwrap_or(usize::MAX).min(record.steer.len());
            record.turn = record.steer.drain(..delivered).collect();
            // A turn that a person added is not a retry.
            record.counted_attempts = record.counted_attempts.saturating_sub(1);
        }
        Event::ChildRunStarting { run, .. } => {
            record.state = StageState::Nested { run: run.clone() };
            record.child = Some((run.clone(), None));
            record.started_at.get_or_insert(at);
        }
        Event::ChildRunFinished { run, outcome, .. } => {
            record.child = Some((run.clone(), Some(outcome.clone())));
        }
        Event::StageFinished { outcome, .. } => {
            if *outcome == StageOutcome::Succeeded {
                record.turn.clear();
            }
            record.state = StageState::Finished { outcome: outcome.clone() };
            record.finished_at = Some(at);
        }
        _ => {}
    }
}
