//! The state of a run, computed from its events and from nothing else.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use co_model::{
    Actor, CallDecision, CallId, DecisionSource, Drift, Event, EventSeq, Judgement, Pipeline, Recorded, Role,
    RunCreated, RunId, RunOutcome, RunPlan, RunStatus, SkipReason, Stage, StageDrift, StageId, StageOutcome,
    Timestamp, ToolPolicy, Verdict,
};

use crate::call::{CallCounts, DecidedCall};
use crate::plan::needs_of;
use crate::stage::{AttemptEnd, AttemptRecord, StageRecord, StageState, stage_event};

/// A run as its log tells it. Cheap to clone: what does not change is shared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunState {
    /// What the run was created with; the pipeline is the one in force.
    pub created: Arc<RunCreated>,
    /// The stages in file order; stages that an edit removed come last.
    pub stages: Vec<Arc<StageRecord>>,
    /// Where each stage is in `stages`.
    positions: Arc<HashMap<StageId, usize>>,
    /// What the planner decided last.
    pub plan: Option<Arc<RunPlan>>,
    /// The plan as positions: which stage each slot is and which slots it waits for.
    pub schedule: Arc<Vec<Slot>>,
    /// Where the run stands.
    pub phase: Phase,
    /// The verdicts since the last resume.
    pub judgements: Vec<Judged>,
    /// Every accepted and refused resume.
    pub resumes: Vec<ResumeRecord>,
    /// Every answer of a person.
    pub answers: Vec<Answered>,
    /// Decisions on tool calls that were not taken for granted: the first [`MOST_DECISIONS`] of them.
    pub decisions: Arc<Vec<DecidedCall>>,
    /// How many tool calls there were.
    pub call_counts: CallCounts,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it began.
    pub started_at: Option<Timestamp>,
    /// When it ended last.
    pub completed_at: Option<Timestamp>,
    /// The last event.
    pub last_seq: EventSeq,
    /// When the last event was recorded.
    pub updated_at: Timestamp,
}

/// How many decisions on tool calls a state keeps; all of them are in the log, and all are counted.
pub const MOST_DECISIONS: usize = 1_000;

/// One place in the order of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slot {
    /// Position in [`RunState::stages`].
    pub stage: usize,
    /// The stage's part.
    pub role: Role,
    /// Positions in [`RunState::schedule`] that must be over first; all are smaller than its own.
    pub needs: Vec<usize>,
}

/// Where a run stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Phase {
    /// Recorded, not begun.
    Created,
    /// Under way.
    Running,
    /// Asked to stop; attempts are still ending.
    Cancelling {
        /// Who asked.
        actor: Actor,
        /// Why.
        reason: Option<String>,
    },
    /// Its owner is gone.
    Interrupted {
        /// What was found.
        detail: String,
    },
    /// Over, unless resumed.
    Finished {
        /// How it ended.
        outcome: RunOutcome,
    },
}

/// A verdict with its time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judged {
    /// When it was given.
    pub at: Timestamp,
    /// The verdict.
    pub judgement: Judgement,
}

/// A request to go on, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResumeRecord {
    /// When.
    pub at: Timestamp,
    /// Who.
    pub actor: Actor,
    /// Why.
    pub reason: String,
    /// Why it was refused; `None` when it was accepted.
    pub blocked: Option<String>,
    /// How the pipeline had changed.
    pub drift: Drift,
}

/// A person's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answered {
    /// When.
    pub at: Timestamp,
    /// The gate.
    pub stage: StageId,
    /// Yes or no; `None` when nobody answered in time, which means no.
    pub verdict: Option<Verdict>,
    /// Who.
    pub actor: Actor,
    /// Why.
    pub reason: Option<String>,
}

/// Says why events do not make a run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReplayError {
    /// There is no event.
    #[error("the run has no events")]
    Empty,
    /// The first event is not a creation.
    #[error("the first event is `{found}`, not `run_created`")]
    NotCreated {
        /// What it is.
        found: &'static str,
    },
    /// An event names a stage that the run does not have.
    #[error("event {seq} (`{event}`) names the unknown stage `{stage}`")]
    UnknownStage {
        /// Its position.
        seq: u64,
        /// Its name.
        event: &'static str,
        /// The stage.
        stage: StageId,
    },
    /// An event does not follow the one before it.
    #[error("event {found} follows event {last}")]
    Gap {
        /// The last event.
        last: u64,
        /// The one that came.
        found: u64,
    },
    /// A run is created twice.
    #[error("event {seq} creates the run again")]
    CreatedTwice {
        /// Its position.
        seq: u64,
    },
}

impl RunState {
    /// Computes the state from all events of a run.
    ///
    /// # Errors
    /// [`ReplayError`] when the events are not a run's.
    pub fn replay(events: &[Recorded]) -> Result<Self, ReplayError> {
        let (first, rest) = events.split_first().ok_or(ReplayError::Empty)?;
        let mut state = Self::create(first)?;
        for event in rest {
            state.evolve(event)?;
        }
        Ok(state)
    }

    /// Begins with the first event of a run.
    ///
    /// # Errors
    /// [`ReplayError::NotCreated`] when it is another one.
    pub fn create(first: &Recorded) -> Result<Self, ReplayError> {
        let Event::RunCreated(created) = &first.event else {
            return Err(ReplayError::NotCreated { found: first.event.name() });
        };
        let definitions = created.pipeline.stages.iter().cloned();
        let stages: Vec<_> = definitions.map(StageRecord::new).map(Arc::new).collect();
        Ok(Self {
            created: Arc::new((**created).clone()),
            positions: Arc::new(positions(&stages)),
            stages,
            plan: None,
            schedule: Arc::default(),
            phase: Phase::Created,
            judgements: Vec::new(),
            resumes: Vec::new(),
            answers: Vec::new(),
            decisions: Arc::default(),
            call_counts: CallCounts::default(),
            created_at: first.at,
            started_at: None,
            completed_at: None,
            last_seq: first.seq,
            updated_at: first.at,
        })
    }

    /// The pipeline in force.
    pub fn pipeline(&self) -> &Pipeline {
        &self.created.pipeline
    }

    /// What decides what is asked, allowed and confined.
    pub fn policy(&self) -> &ToolPolicy {
        &self.created.settings.policy
    }

    /// The run's id.
    pub fn run(&self) -> &RunId {
        &self.created.run
    }

    /// Finds a stage by id.
    pub fn stage(&self, id: &StageId) -> Option<&StageRecord> {
        self.positions.get(id).and_then(|&position| self.stages.get(position)).map(Arc::as_ref)
    }

    /// Where the run stands, in the words of manifests.
    pub fn status(&self) -> RunStatus {
        match &self.phase {
            Phase::Created => RunStatus::Queued,
            Phase::Running | Phase::Cancelling { .. } => RunStatus::InProgress,
            Phase::Interrupted { .. } => RunStatus::Interrupted,
            Phase::Finished { outcome } => outcome.status(),
        }
    }

    /// The verdict of a role, once it was given.
    pub fn judgement(&self, role: Role) -> Option<&Judgement> {
        self.judgements.iter().map(|judged| &judged.judgement).find(|judgement| judgement.role == role)
    }

    /// Takes in the next event. Total: every event of every version fits every state or is refused.
    ///
    /// # Errors
    /// [`ReplayError`]; the state is unchanged then.
    pub fn evolve(&mut self, recorded: &Recorded) -> Result<(), ReplayError> {
        let Recorded { seq, at, event } = recorded;
        if seq.0 != self.last_seq.0 + 1 {
            return Err(ReplayError::Gap { last: self.last_seq.0, found: seq.0 });
        }
        match event {
            Event::RunCreated(_) => return Err(ReplayError::CreatedTwice { seq: seq.0 }),
            Event::RunPlanned(plan) => {
                self.check_stages(recorded, plan.stages.iter().map(|planned| &planned.stage))?;
                self.planned(plan, *at);
            }
            Event::RunStarted => {
                self.phase = Phase::Running;
                self.started_at.get_or_insert(*at);
            }
            Event::Judged(judgement) => {
                self.judgements.retain(|judged| judged.judgement.role != judgement.role);
                self.judgements.push(Judged { at: *at, judgement: judgement.clone() });
            }
            Event::SelectionNarrowed { by, left_out } => {
                self.check_stages(recorded, left_out)?;
                for stage in left_out {
                    self.edit(stage, recorded, |record| {
                        record.state = StageState::Finished {
                            outcome: StageOutcome::Skipped { reason: SkipReason::NotPlanned },
                        };
                        record.finished_at = Some(*at);
                        record.left_out_by = Some(by.clone());
                    })?;
                }
            }
            Event::CancelRequested { actor, reason } => {
                self.phase = Phase::Cancelling { actor: actor.clone(), reason: reason.clone() };
            }
            Event::RunInterrupted { detail } => self.interrupted(detail, *at),
            Event::ResumeAccepted { actor, reason, drift, pipeline, nested, policy } => {
                if let Some(policy) = policy {
                    Arc::make_mut(&mut self.created).settings.policy = (**policy).clone();
                }
                if let Some(nested) = nested {
                    Arc::make_mut(&mut self.created).nested.clone_from(nested);
                }
                self.resumed(drift, pipeline.as_deref(), *at);
                self.note_resume(*at, actor, reason, None, drift.clone());
            }
            Event::ResumeBlocked { actor, reason, detail } => {
                self.note_resume(*at, actor, reason, Some(detail.clone()), Drift::default());
            }
            Event::CommandRefused { .. } => {}
            Event::RunFinished { outcome } => {
                self.phase = Phase::Finished { outcome: outcome.clone() };
                self.completed_at = Some(*at);
            }
            Event::CallRequested(request) => {
                self.edit(&request.stage, recorded, |record| stage_event(record, event, *at))?;
                self.call_counts.requested += 1;
            }
            Event::CallDecided { stage, call, decision } => {
                self.note_decision(stage, call, decision, *at);
                self.edit(stage, recorded, |record| stage_event(record, event, *at))?;
            }
            Event::QuestionAnswered { call: Some(_), stage, .. }
            | Event::QuestionExpired { call: Some(_), stage } => {
                self.edit(stage, recorded, |record| stage_event(record, event, *at))?;
            }
            Event::QuestionAnswered { stage, verdict, actor, reason, .. } => self.answers.push(Answered {
                at: *at,
                stage: stage.clone(),
                verdict: Some(*verdict),
                actor: actor.clone(),
                reason: reason.clone(),
            }),
            Event::QuestionExpired { stage, .. } => self.answers.push(Answered {
                at: *at,
                stage: stage.clone(),
                verdict: None,
                actor: Actor::new("nobody"),
                reason: None,
            }),
            Event::CallStarted { stage, .. }
            | Event::CallFinished { stage, .. }
            | Event::AttemptStarting { stage, .. }
            | Event::AttemptStarted { stage, .. }
            | Event::AgentThreadKnown { stage, .. }
            | Event::AttemptFinished { stage, .. }
            | Event::RetryScheduled { stage, .. }
            | Event::QuestionAsked { stage, .. }
            | Event::SteerAccepted { stage, .. }
            | Event::SteerDelivered { stage, .. }
            | Event::ChildRunStarting { stage, .. }
            | Event::ChildRunFinished { stage, .. }
            | Event::StageFinished { stage, .. } => {
                self.edit(stage, recorded, |record| stage_event(record, event, *at))?;
            }
        }
        self.last_seq = *seq;
        self.updated_at = *at;
        Ok(())
    }

    fn note_decision(&mut self, stage: &StageId, call: &CallId, decision: &CallDecision, at: Timestamp) {
        let Some(open) = self.stage(stage).and_then(|record| record.call(call)) else { return };
        let request = Arc::clone(&open.request);
        self.call_counts.note(decision);
        let taken_for_granted = decision.source == DecisionSource::NotRequired;
        if !taken_for_granted && self.decisions.len() < MOST_DECISIONS {
            let decided = DecidedCall { at, request, decision: decision.clone() };
            Arc::make_mut(&mut self.decisions).push(decided);
        }
    }

    fn edit(
        &mut self,
        stage: &StageId,
        recorded: &Recorded,
        change: impl FnOnce(&mut StageRecord),
    ) -> Result<(), ReplayError> {
        let record = self.positions.get(stage).and_then(|&position| self.stages.get_mut(position));
        change(Arc::make_mut(record.ok_or_else(|| unknown_stage(recorded, stage))?));
        Ok(())
    }

    /// Refuses an event that names several stages before any of them is touched.
    fn check_stages<'a>(
        &self,
        recorded: &Recorded,
        stages: impl IntoIterator<Item = &'a StageId>,
    ) -> Result<(), ReplayError> {
        match stages.into_iter().find(|&stage| !self.positions.contains_key(stage)) {
            Some(stage) => Err(unknown_stage(recorded, stage)),
            None => Ok(()),
        }
    }

    fn planned(&mut self, plan: &RunPlan, at: Timestamp) {
        for skipped in &plan.skipped {
            if let Some(&position) = self.positions.get(&skipped.stage)
                && let Some(record) = self.stages.get_mut(position)
                && record.outcome().is_none()
            {
                let record = Arc::make_mut(record);
                record.state = StageState::Finished {
                    outcome: StageOutcome::Skipped { reason: skipped.reason.clone() },
                };
                record.finished_at = Some(at);
            }
        }
        self.plan = Some(Arc::new(plan.clone()));
        self.schedule = Arc::new(self.lay_out(plan));
    }

    fn lay_out(&self, plan: &RunPlan) -> Vec<Slot> {
        let planned: HashSet<&StageId> = plan.stages.iter().map(|planned| &planned.stage).collect();
        // Order of appearance is the file's, so needs are computed there and then carried over.
        let in_file: Vec<&Stage> = self
            .stages
            .iter()
            .map(|record| &record.definition)
            .filter(|definition| planned.contains(&definition.id))
            .collect();
        let needs = needs_of(&in_file);
        let file_position: HashMap<&StageId, usize> =
            in_file.iter().enumerate().map(|(i, stage)| (&stage.id, i)).collect();
        let slot_position: HashMap<&StageId, usize> =
            plan.stages.iter().enumerate().map(|(i, planned)| (&planned.stage, i)).collect();
        let slots = plan.stages.iter().enumerate().filter_map(|(position, planned)| {
            let own = *file_position.get(&planned.stage)?;
            let waits_for = needs[own].iter().filter_map(|&i| slot_position.get(&in_file[i].id).copied());
            // A plan is in order; one that an older version made by other rules is taken as it is.
            let needs = waits_for.filter(|&need| need < position).collect();
            Some(Slot { stage: *self.positions.get(&planned.stage)?, role: planned.role, needs })
        });
        slots.collect()
    }

    fn interrupted(&mut self, detail: &str, at: Timestamp) {
        self.phase = Phase::Interrupted { detail: detail.to_owned() };
        for record in &mut self.stages {
            let open = |attempt: &AttemptRecord| matches!(attempt.end, AttemptEnd::Open);
            if matches!(record.state, StageState::Attempting { .. }) || record.attempts.iter().any(open) {
                let record = Arc::make_mut(record);
                for attempt in record.attempts.iter_mut().filter(|attempt| open(attempt)) {
                    attempt.end = AttemptEnd::Lost;
                    attempt.finished_at = Some(at);
                }
                if matches!(record.state, StageState::Attempting { .. }) {
                    record.state = StageState::Interrupted;
                    // Whoever wanted them is gone; what was asked is asked again if it is wanted again.
                    record.calls.clear();
                }
            }
        }
    }

    /// Keeps what succeeded and is still defined the same; everything else is run again.
    fn resumed(&mut self, drift: &Drift, pipeline: Option<&Pipeline>, at: Timestamp) {
        if let Some(pipeline) = pipeline {
            self.adopt(pipeline, at);
            self.schedule = Arc::default();
        }
        // What was added may bear the id of a stage that was removed earlier; it is another one.
        let redefined = drift.stages.iter().filter_map(|drift| match drift {
            StageDrift::Added { stage } | StageDrift::Changed { stage } => Some(stage),
            StageDrift::Removed { .. } => None,
        });
        let redefined: HashSet<&StageId> = redefined.collect();
        let standing = self.stages.iter().filter(|record| !record.removed && record.stands());
        let standing: HashSet<StageId> = standing.map(|record| record.id().clone()).collect();
        let outdated = self.first_role_to_run_again(&standing, &redefined);
        let roles: HashMap<StageId, Role> =
            self.stages.iter().map(|record| (record.id().clone(), record.definition.role)).collect();
        // A verdict holds for the tree it was given on: work done after it asks for it again.
        let stands = |id: &StageId| {
            let late = roles.get(id).zip(outdated).is_some_and(|(role, first)| *role > first);
            standing.contains(id) && !redefined.contains(id) && !late
        };
        for record in self.stages.iter_mut().filter(|record| !record.removed) {
            let keep = match &record.state {
                // An open question goes on where it was; so does a child run, once its turn comes.
                StageState::Asking { .. } | StageState::Consenting { .. } => {
                    let late = outdated.is_some_and(|first| record.definition.role > first);
                    !redefined.contains(record.id()) && !late
                }
                // The choice of a planner holds as long as the planner's success does.
                StageState::Finished {
                    outcome: StageOutcome::Skipped { reason: SkipReason::NotPlanned },
                } => !redefined.contains(record.id()) && record.left_out_by.as_ref().is_some_and(stands),
                _ => stands(record.id()),
            };
            if !keep {
                let record = Arc::make_mut(record);
                record.reset();
                if redefined.contains(record.id()) {
                    record.forget();
                }
            }
        }
        self.judgements.clear();
        self.completed_at = None;
        self.phase = Phase::Running;
    }

    /// The first role from the builder on of which a stage will be run again by a resume.
    fn first_role_to_run_again(
        &self,
        standing: &HashSet<StageId>,
        redefined: &HashSet<&StageId>,
    ) -> Option<Role> {
        let again = self.stages.iter().filter(|record| {
            // Why another definition was left out says nothing about this one.
            let same = !redefined.contains(record.id());
            let stays_out = matches!(
                &record.state,
                StageState::Asking { .. }
                    | StageState::Consenting { .. }
                    | StageState::Finished {
                        outcome: StageOutcome::Skipped {
                            reason: SkipReason::NotTargeted
                                | SkipReason::NotPlanned
                                | SkipReason::NothingFailed
                        },
                    }
            );
            !record.removed && !(same && (stays_out || standing.contains(record.id())))
        });
        again.map(|record| record.definition.role).filter(|role| *role >= Role::Builder).min()
    }

    fn adopt(&mut self, pipeline: &Pipeline, at: Timestamp) {
        let mut old = std::mem::take(&mut self.stages);
        for definition in &pipeline.stages {
            let known = old.iter().position(|record| *record.id() == definition.id).map(|i| old.remove(i));
            let mut record = known.map_or_else(|| StageRecord::new(definition.clone()), Arc::unwrap_or_clone);
            record.definition = definition.clone();
            record.removed = false;
            self.stages.push(Arc::new(record));
        }
        for record in old {
            let mut record = Arc::unwrap_or_clone(record);
            record.removed = true;
            if record.outcome().is_none() {
                record.state =
                    StageState::Finished { outcome: StageOutcome::Skipped { reason: SkipReason::Removed } };
                record.finished_at = Some(at);
            }
            self.stages.push(Arc::new(record));
        }
        self.positions = Arc::new(positions(&self.stages));
        Arc::make_mut(&mut self.created).pipeline = pipeline.clone();
    }

    fn note_resume(
        &mut self,
        at: Timestamp,
        actor: &Actor,
        reason: &str,
        blocked: Option<String>,
        drift: Drift,
    ) {
        let record = ResumeRecord { at, actor: actor.clone(), reason: reason.to_owned(), blocked, drift };
        self.resumes.push(record);
    }
}

fn positions(stages: &[Arc<StageRecord>]) -> HashMap<StageId, usize> {
    stages.iter().enumerate().map(|(position, record)| (record.id().clone(), position)).collect()
}

fn unknown_stage(recorded: &Recorded, stage: &StageId) -> ReplayError {
    ReplayError::UnknownStage { seq: recorded.seq.0, event: recorded.event.name(), stage: stage.clone() }
}
