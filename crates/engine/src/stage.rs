//! One stage of a run, as its events tell it.

use std::sync::Arc;

use co_model::{
    AttemptReport, CallId, CallOrigin, Event, FailureReason, IdError, RunId, RunOutcome, SandboxMode,
    SandboxPolicy, Stage, StageId, StageOutcome, StageStatus, StageWork, ThreadId, Timestamp,
};

use crate::call::{CallState, OpenCall};
use crate::decide::classify;

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
    /// The tool calls that are not over.
    pub calls: Vec<OpenCall>,
    /// How many tool calls were ever requested.
    pub calls_requested: u32,
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
    /// Its command waits for consent, or for its turn once it has it.
    Consenting {
        /// The call.
        call: CallId,
    },
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
    /// The sandbox its command ran in; an agent is confined by its own.
    pub sandbox: SandboxUse,
    /// How it ended.
    pub end: AttemptEnd,
}

/// The sandbox an attempt ran in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SandboxUse {
    /// What was asked for.
    pub mode: SandboxMode,
    /// The layers that hold, outermost first; known once its process exists.
    pub layers: Vec<String>,
    /// What is missing of what was asked for, when a weaker sandbox was accepted.
    pub weaker: Option<String>,
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
            calls: Vec::new(),
            calls_requested: 0,
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
            StageState::Consenting { call } => match self.call(call).map(|open| &open.state) {
                Some(CallState::Asking { .. }) => StageStatus::Waiting,
                _ => StageStatus::Running,
            },
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
            (
                Some(StageOutcome::Succeeded),
                StageWork::Command(_) | StageWork::Agent(_) | StageWork::Mcp(_),
            ) => self.last_report()?.objection.as_deref(),
            _ => None,
        }
    }

    /// An open call.
    pub fn call(&self, id: &CallId) -> Option<&OpenCall> {
        self.calls.iter().find(|open| open.request.call == *id)
    }

    /// The call that is the stage's own command, once it is requested.
    pub fn own_call(&self) -> Option<&OpenCall> {
        self.calls.iter().rev().find(|open| !matches!(open.request.origin, CallOrigin::Agent(_)))
    }

    /// The sandbox of the attempt to come: that of the stage's own call.
    pub(crate) fn sandbox(&self) -> SandboxPolicy {
        match self.own_call() {
            Some(open) if !open.request.escalated => open.request.sandbox.clone(),
            _ => SandboxPolicy::FULL_ACCESS,
        }
    }

    /// Whether the stage's own command may be done.
    pub(crate) fn may_begin(&self) -> bool {
        let StageState::Consenting { call } = &self.state else { return false };
        self.call(call).is_some_and(|open| matches!(open.state, CallState::Approved(_)))
    }

    pub(crate) fn next_call(&self) -> CallId {
        CallId(format!("{}#{}", self.id(), self.calls_requested + 1))
    }

    /// Why the last attempt failed, when it did.
    pub(crate) fn last_failure(&self) -> Option<FailureReason> {
        classify(self.last_report()?).err().flatten()
    }

    /// The process of the last attempt, once it existed.
    pub(crate) fn process(&self) -> Option<&str> {
        self.attempts.last()?.process.as_deref()
    }

    fn set_call(&mut self, id: &CallId, change: impl FnOnce(CallState) -> CallState) {
        if let Some(open) = self.calls.iter_mut().find(|open| open.request.call == *id) {
            open.state = change(open.state.clone());
        }
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
        self.calls.clear();
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
        Event::CallRequested(request) => {
            record.calls_requested += 1;
            if !matches!(request.origin, CallOrigin::Agent(_)) {
                record.calls.clear();
                record.state = StageState::Consenting { call: request.call.clone() };
                record.started_at.get_or_insert(at);
            }
            let request = Arc::new((**request).clone());
            record.calls.push(OpenCall { request, requested_at: at, state: CallState::Weighing });
        }
        Event::CallDecided { call, decision, .. } if decision.approved => {
            record.set_call(call, |_| CallState::Approved(decision.clone()));
        }
        Event::CallDecided { call, .. } | Event::CallFinished { call, .. } => {
            record.calls.retain(|open| open.request.call != *call);
        }
        Event::CallStarted { call, layers, weaker, .. } => {
            record.set_call(call, |state| match state {
                CallState::Approved(decision) | CallState::Started(decision) => CallState::Started(decision),
                other => other,
            });
            let own = record.own_call().is_some_and(|open| open.request.call == *call);
            if let (true, Some(open)) = (own, record.attempts.last_mut()) {
                open.sandbox.layers.clone_from(layers);
                open.sandbox.weaker.clone_from(weaker);
            }
        }
        // A consent given while nobody owned the run is found when the run goes on.
        Event::QuestionAnswered { call: Some(call), .. } => record.set_call(call, |_| CallState::Weighing),
        Event::QuestionAsked { call: Some(call), message, expires_at, .. } => {
            record
                .set_call(call, |_| CallState::Asking { message: message.clone(), expires_at: *expires_at });
        }
        Event::AttemptStarting { attempt, .. } => {
            let mode = record.sandbox().mode;
            record.state = StageState::Attempting { attempt: *attempt };
            record.counted_attempts += 1;
            record.started_at.get_or_insert(at);
            record.attempts.push(AttemptRecord {
                number: *attempt,
                started_at: at,
                finished_at: None,
                process: None,
                sandbox: SandboxUse { mode, layers: Vec::new(), weaker: None },
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
        Event::SteerDelivered { count, in_turn, .. } => {
            let delivered = usize::try_from(*count).unwrap_or(usize::MAX).min(record.steer.len());
            let messages = record.steer.drain(..delivered);
            if *in_turn {
                // The turn under way is what it was; its conversation holds the message now.
                drop(messages);
                return;
            }
            record.turn = messages.collect();
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
            record.calls.clear();
        }
        _ => {}
    }
}
