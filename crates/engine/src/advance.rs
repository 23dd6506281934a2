//! What follows by itself once the facts are in: begin what is ready, close what is due, end
//! the run when nothing is left.

use co_model::{
    Actor, CallId, Event, Grant, GrantId, Recorded, Role, RunOutcome, SkipReason, StageId, StageOutcome,
    StageWork, Timestamp, When,
};
use co_model::{EventSeq, FailureReason};

use crate::effect::{Decision, Effect};
use crate::judge;
use crate::stage::StageState;
use crate::state::{Phase, RunState};

/// A state that is being moved, with the events that move it.
pub(crate) struct Draft {
    pub(crate) state: RunState,
    pub(crate) now: Timestamp,
    decision: Decision,
}

impl Draft {
    pub(crate) fn new(state: &RunState, now: Timestamp) -> Self {
        Self { state: state.clone(), now, decision: Decision::default() }
    }

    /// Adds a fact and moves the state by it, so that what follows sees it.
    pub(crate) fn push(&mut self, event: Event) {
        let seq = EventSeq(self.state.last_seq.0 + 1);
        let recorded = Recorded { seq, at: self.now.max(self.state.updated_at), event };
        if self.state.evolve(&recorded).is_ok() {
            self.decision.events.push(recorded.event);
        }
    }

    pub(crate) fn effect(&mut self, effect: Effect) {
        self.decision.effects.push(effect);
    }

    pub(crate) fn give_grant(&mut self, grant: Grant) {
        self.decision.grants.push(grant);
    }

    pub(crate) fn use_grant(&mut self, grant: GrantId) {
        self.decision.used.push(grant);
    }

    pub(crate) fn finish(mut self) -> Decision {
        self.advance();
        self.decision
    }

    pub(crate) fn into_decision(self) -> Decision {
        self.decision
    }

    /// Ends a stage.
    pub(crate) fn finish_stage(&mut self, stage: &StageId, outcome: StageOutcome) {
        self.push(Event::StageFinished { stage: stage.clone(), outcome });
    }

    /// Ends a stage as failed.
    pub(crate) fn fail_stage(&mut self, stage: &StageId, reason: FailureReason) {
        let outcome = self.failed(stage, reason);
        self.finish_stage(stage, outcome);
    }

    /// The outcome of a failed stage; whether that is allowed is the pipeline's word.
    pub(crate) fn failed(&self, stage: &StageId, reason: FailureReason) -> StageOutcome {
        let allowed = self.state.stage(stage).is_some_and(|record| record.definition.allow_failure);
        StageOutcome::Failed { reason, allowed }
    }

    fn advance(&mut self) {
        self.close_expired_questions();
        match self.state.phase.clone() {
            Phase::Running => {
                self.schedule();
                self.judge();
            }
            Phase::Cancelling { actor, reason } => self.wind_down(&actor, reason.as_deref()),
            Phase::Created | Phase::Interrupted { .. } | Phase::Finished { .. } => {}
        }
    }

    fn close_expired_questions(&mut self) {
        if !matches!(self.state.phase, Phase::Running) {
            return;
        }
        let expired: Vec<StageId> = self
            .state
            .stages
            .iter()
            .filter(|record| matches!(record.state, StageState::Asking { expires_at, .. } if expires_at <= self.now))
            .map(|record| record.id().clone())
            .collect();
        for stage in expired {
            self.push(Event::QuestionExpired { stage: stage.clone(), call: None });
            self.fail_stage(&stage, FailureReason::Unanswered);
        }
        let late = self.state.open_questions().into_iter().filter(|asked| asked.expires_at <= self.now);
        let late: Vec<(StageId, CallId)> =
            late.filter_map(|asked| Some((asked.stage.clone(), asked.call?.call.clone()))).collect();
        for (stage, call) in late {
            self.expired(&stage, &call);
        }
    }

    /// Begins every stage that is ready, in plan order, as far as `max_parallel` allows.
    fn schedule(&mut self) {
        let schedule = self.state.schedule.clone();
        let limit = usize::from(self.state.pipeline().max_parallel.get());
        let busy =
            |state: &StageState| matches!(state, StageState::Attempting { .. } | StageState::Nested { .. });
        let mut running = self.state.stages.iter().filter(|record| busy(&record.state)).count();
        // The failed stage that each slot, or a slot it waits for, goes back to.
        let mut failure_before: Vec<Option<StageId>> = Vec::with_capacity(schedule.len());
        // Whether each slot is over with all it waits for: a stage that was left out, or kept by a
        // resume, may be over before those.
        let mut over: Vec<bool> = Vec::with_capacity(schedule.len());
        // Of all roles before the current one: is one still open, and did one fail?
        let (mut role, mut barrier, mut role_failure) = (Role::Planner, false, None::<StageId>);
        let (mut open_in_role, mut failure_in_role) = (false, None::<StageId>);
        for slot in schedule.iter() {
            if slot.role != role {
                barrier |= open_in_role;
                role_failure = role_failure.or(failure_in_role.take());
                (role, open_in_role) = (slot.role, false);
            }
            let inherited = slot
                .needs
                .iter()
                .find_map(|&need| failure_before[need].clone())
                .or_else(|| role_failure.clone());
            let needs_over = slot.needs.iter().all(|&need| over[need]);
            if !barrier && needs_over {
                self.begin(slot.stage, inherited.as_ref(), limit, &mut running);
            }
            let record = &self.state.stages[slot.stage];
            let own =
                record.outcome().filter(|outcome| outcome.blocks_success()).map(|_| record.id().clone());
            open_in_role |= record.outcome().is_none();
            over.push(needs_over && record.outcome().is_some());
            let failure = own.or(inherited);
            if failure_in_role.is_none() {
                failure_in_role.clone_from(&failure);
            }
            failure_before.push(failure);
        }
    }

    fn begin(&mut self, index: usize, failed: Option<&StageId>, limit: usize, running: &mut usize) {
        let record = self.state.stages[index].clone();
        let stage = record.id().clone();
        let due = match record.state {
            StageState::Pending | StageState::Interrupted => true,
            StageState::Backoff { due_at, .. } => due_at <= self.now,
            StageState::Consenting { .. } => record.may_begin(),
            _ => false,
        };
        if !due {
            return;
        }
        match (record.definition.when, failed) {
            (When::Success, Some(failed)) => {
                let reason = SkipReason::StageFailed(failed.clone());
                return self.finish_stage(&stage, StageOutcome::Skipped { reason });
            }
            (When::Failure, None) => {
                return self
                    .finish_stage(&stage, StageOutcome::Skipped { reason: SkipReason::NothingFailed });
            }
            (When::Success, None) | (When::Failure, Some(_)) | (When::Always, _) => {}
        }
        match &record.definition.work {
            StageWork::Gate(gate) => {
                let expires_at = self.now.plus(gate.expires_after);
                let message = gate.message.clone();
                self.push(Event::QuestionAsked { stage, message, expires_at, call: None });
                self.effect(Effect::WakeAt(expires_at));
            }
            _ if *running >= limit => {}
            StageWork::Agent(_) => {
                *running += 1;
                self.launch(&stage);
            }
            StageWork::Command(_) | StageWork::Mcp(_) => {
                if matches!(record.state, StageState::Pending | StageState::Interrupted) {
                    self.request_command(&stage, None);
                }
                let ready = self.state.stage(&stage).is_some_and(|record| {
                    record.may_begin() || matches!(record.state, StageState::Backoff { .. })
                });
                if ready {
                    *running += 1;
                    self.launch(&stage);
                }
            }
            StageWork::Pipeline(nested) => match record.child_id(self.state.run()) {
                Ok(run) => {
                    *running += 1;
                    let pipeline = nested.pipeline.clone();
                    self.push(Event::ChildRunStarting {
                        stage: stage.clone(),
                        run: run.clone(),
                        pipeline: pipeline.clone(),
                    });
                    self.effect(Effect::RunChild { stage, run, pipeline });
                }
                Err(error) => self.fail_stage(&stage, FailureReason::NotStarted(error.to_string())),
            },
        }
    }

    /// Begins the next attempt of a command or agent stage.
    pub(crate) fn launch(&mut self, stage: &StageId) {
        let Some(record) = self.state.stage(stage) else { return };
        let attempt = record.next_attempt();
        let (thread, steer) = match record.definition.work {
            StageWork::Agent(_) => (record.thread.clone(), record.turn.clone()),
            _ => (None, Vec::new()),
        };
        let sandbox = record.sandbox();
        self.push(Event::AttemptStarting { stage: stage.clone(), attempt });
        self.effect(Effect::Launch { stage: stage.clone(), attempt, thread, steer, sandbox });
    }

    fn judge(&mut self) {
        for role in [Role::Builder, Role::Tester, Role::Reviewer] {
            let open = self
                .state
                .schedule
                .iter()
                .any(|slot| slot.role <= role && self.state.stages[slot.stage].outcome().is_none());
            if open {
                return;
            }
            if self.state.judgement(role).is_none() {
                let judgement = judge::judge(&self.state, role);
                self.push(Event::Judged(judgement));
            }
        }
        let outcome = judge::outcome(&self.state);
        self.push(Event::RunFinished { outcome });
    }

    /// Closes what has not begun; once nothing is under way, ends the run.
    pub(crate) fn wind_down(&mut self, actor: &Actor, reason: Option<&str>) {
        let open: Vec<(StageId, bool)> = self
            .state
            .stages
            .iter()
            .filter(|record| record.outcome().is_none())
            .map(|record| {
                let busy = matches!(record.state, StageState::Attempting { .. } | StageState::Nested { .. });
                (record.id().clone(), busy)
            })
            .collect();
        for (stage, _) in open.iter().filter(|(_, busy)| !busy) {
            let begun = self.state.stage(stage).is_some_and(|record| record.started_at.is_some());
            let outcome = if begun {
                StageOutcome::Cancelled
            } else {
                StageOutcome::Skipped { reason: SkipReason::RunCancelled }
            };
            self.finish_stage(stage, outcome);
        }
        if open.iter().all(|(_, busy)| !busy) {
            let detail = match reason {
                Some(reason) => format!("cancelled by {actor}: {reason}"),
                None => format!("cancelled by {actor}"),
            };
            self.push(Event::RunFinished { outcome: RunOutcome::Cancelled { detail } });
        }
    }
}
