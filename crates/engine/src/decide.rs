//! From an input to events and effects.

use co_model::{
    Actor, AttemptExit, AttemptReport, Command, Envelope, Event, EventSeq, FailureReason, Recorded, Role,
    RunCreated, RunId, RunOutcome, SkipReason, StageId, StageOutcome, StageWork, Timestamp, Verdict,
};

use crate::advance::Draft;
use crate::drift::compare;
use crate::effect::{Decision, Effect, Input};
use crate::plan::{PlanError, PlanRequest, plan};
use crate::retry::backoff;
use crate::stage::{StageRecord, StageState};
use crate::state::{Phase, RunState};

/// Says why a command takes no effect.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The run is over.
    #[error("the run is over ({status})")]
    Over {
        /// How it ended.
        status: &'static str,
    },
    /// The run succeeded, so there is nothing to go on with.
    #[error("the run has succeeded; there is nothing left to resume")]
    NothingToResume,
    /// The run is under way.
    #[error("the run is still under way")]
    UnderWay,
    /// No question is open there.
    #[error("no question is open{}", .stage.as_ref().map(|s| format!(" at stage `{s}`")).unwrap_or_default())]
    NoQuestion {
        /// The stage that was named.
        stage: Option<StageId>,
    },
    /// Several stages fit.
    #[error("name the stage: {} fit", .stages.iter().map(|s| format!("`{s}`")).collect::<Vec<_>>().join(", "))]
    Ambiguous {
        /// The stages.
        stages: Vec<StageId>,
    },
    /// The answer came too late.
    #[error("the question of stage `{stage}` expired at {expired_at}")]
    Expired {
        /// The gate.
        stage: StageId,
        /// Its expiry.
        expired_at: Timestamp,
    },
    /// No agent is at work there.
    #[error("no agent is at work{}", .stage.as_ref().map(|s| format!(" at stage `{s}`")).unwrap_or_default())]
    NoAgent {
        /// The stage that was named.
        stage: Option<StageId>,
    },
    /// The edited pipeline cannot be planned.
    #[error("the pipeline as it is now cannot be planned: {0}")]
    Plan(#[from] PlanError),
    /// The pipeline is another one.
    #[error("the run is of pipeline `{was}`, not `{now}`")]
    OtherPipeline {
        /// What ran.
        was: String,
        /// What was offered.
        now: String,
    },
}

/// Creates a run: plans it and begins what is ready.
///
/// # Errors
/// [`PlanError`] when there is no plan; no run comes into being then.
pub fn start(now: Timestamp, created: RunCreated) -> Result<Decision, PlanError> {
    let planned = plan_of(&created)?;
    let first = Recorded { seq: EventSeq(1), at: now, event: Event::RunCreated(Box::new(created)) };
    // `create` accepts exactly the event made above.
    let Ok(state) = RunState::create(&first) else { return Ok(Decision::default()) };
    let mut draft = Draft::new(&state, now);
    draft.push(Event::RunPlanned(planned));
    draft.push(Event::RunStarted);
    let mut decision = draft.finish();
    decision.events.insert(0, first.event);
    Ok(decision)
}

fn plan_of(created: &RunCreated) -> Result<co_model::RunPlan, PlanError> {
    let settings = &created.settings;
    let target = settings.target.as_deref();
    plan(&created.pipeline, &PlanRequest { target, mode: settings.mode, parallel: settings.parallel })
}

/// Decides what follows from an input.
///
/// An observation that does not fit the state (a second report of an attempt, say) decides
/// nothing: it was taken in before.
///
/// # Errors
/// [`Refusal`] for commands and resumes only.
pub fn decide(state: &RunState, now: Timestamp, input: Input) -> Result<Decision, Refusal> {
    let mut draft = Draft::new(state, now);
    match input {
        Input::Tick => {}
        Input::Command(envelope) => command(&mut draft, envelope)?,
        Input::AttemptStarted { stage, attempt, process } => {
            let known = state.stage(&stage).and_then(StageRecord::process) == Some(process.as_str());
            if is_current(state, &stage, attempt) && !known {
                draft.push(Event::AttemptStarted { stage, attempt, process });
            }
            return Ok(draft.into_decision());
        }
        Input::AgentThreadKnown { stage, attempt, thread } => {
            // The first name stands: a turn that goes on elsewhere does not move the stage with it.
            let known = state.stage(&stage).is_some_and(|record| record.thread.is_some());
            if is_current(state, &stage, attempt) && !known {
                draft.push(Event::AgentThreadKnown { stage, attempt, thread });
            }
            return Ok(draft.into_decision());
        }
        Input::AttemptFinished { stage, attempt, report } => {
            if !is_current(state, &stage, attempt) {
                return Ok(Decision::default());
            }
            attempt_finished(&mut draft, &stage, attempt, report);
        }
        Input::ChildRunFinished { stage, run, outcome } => child_finished(&mut draft, &stage, run, outcome),
        Input::OwnerGone { detail } => {
            owner_gone(&mut draft, detail);
            return Ok(draft.into_decision());
        }
        Input::Resume { actor, reason, pipeline, nested } => {
            resume(
                &mut draft,
                Event::ResumeAccepted {
                    actor,
                    reason,
                    drift: compare(state.pipeline(), &pipeline),
                    pipeline: (*state.pipeline() != *pipeline).then_some(pipeline),
                    nested: (state.created.nested != nested).then_some(nested),
                },
            )?;
        }
    }
    Ok(draft.finish())
}

fn is_current(state: &RunState, stage: &StageId, attempt: u32) -> bool {
    state.stage(stage).is_some_and(|record| record.state == StageState::Attempting { attempt })
}

fn command(draft: &mut Draft, envelope: Envelope) -> Result<(), Refusal> {
    if let Phase::Finished { outcome } = &draft.state.phase {
        return Err(Refusal::Over { status: outcome.status().as_str() });
    }
    let actor = envelope.actor;
    match envelope.command {
        Command::Cancel { reason } => {
            // A second request joins the first.
            if !matches!(draft.state.phase, Phase::Cancelling { .. }) {
                cancel(draft, &actor, reason.as_deref());
            }
        }
        Command::Answer { stage, verdict, reason } => {
            let asking = |record: &StageRecord| matches!(record.state, StageState::Asking { .. });
            let stage = choose(&draft.state, stage, asking, |stage| Refusal::NoQuestion { stage })?;
            if let Some(StageState::Asking { expires_at, .. }) = draft.state.stage(&stage).map(|r| &r.state)
                && *expires_at <= draft.now
            {
                return Err(Refusal::Expired { expired_at: *expires_at, stage });
            }
            draft.push(Event::QuestionAnswered { stage: stage.clone(), verdict, actor, reason });
            match verdict {
                Verdict::Approve => draft.finish_stage(&stage, StageOutcome::Succeeded),
                Verdict::Deny => draft.fail_stage(&stage, FailureReason::Denied),
            }
        }
        Command::Steer { stage, message } => {
            // An agent that is being stopped has no further turn.
            let running = draft.state.phase == Phase::Running;
            let at_work = |record: &StageRecord| {
                running
                    && matches!(record.definition.work, StageWork::Agent(_))
                    && matches!(record.state, StageState::Attempting { .. })
            };
            let stage = choose(&draft.state, stage, at_work, |stage| Refusal::NoAgent { stage })?;
            draft.push(Event::SteerAccepted { stage, message, actor });
        }
    }
    Ok(())
}

/// The stage that was named, or the only one that fits.
fn choose(
    state: &RunState,
    named: Option<StageId>,
    fits: impl Fn(&StageRecord) -> bool,
    none: impl Fn(Option<StageId>) -> Refusal,
) -> Result<StageId, Refusal> {
    let mut fitting: Vec<StageId> =
        state.stages.iter().filter(|record| fits(record)).map(|record| record.id().clone()).collect();
    match named {
        Some(stage) if fitting.contains(&stage) => Ok(stage),
        Some(stage) => Err(none(Some(stage))),
        None if fitting.len() > 1 => Err(Refusal::Ambiguous { stages: fitting }),
        None => fitting.pop().ok_or_else(|| none(None)),
    }
}

fn cancel(draft: &mut Draft, actor: &Actor, reason: Option<&str>) {
    let owned = draft.state.phase == Phase::Running;
    draft.push(Event::CancelRequested { actor: actor.clone(), reason: reason.map(str::to_owned) });
    let stages = draft.state.stages.clone();
    for record in &stages {
        if let StageState::Attempting { attempt } = record.state {
            draft.effect(Effect::Stop { stage: record.id().clone(), attempt });
        }
    }
    cancel_children(draft, actor, reason);
    if !owned {
        close_nested(draft);
    }
}

/// Passes the wish to stop on to every child run that may be under way.
fn cancel_children(draft: &mut Draft, actor: &Actor, reason: Option<&str>) {
    let open = draft.state.stages.iter().filter(|record| record.outcome().is_none());
    let children: Vec<RunId> = open.filter_map(|record| record.open_child().cloned()).collect();
    for run in children {
        let (actor, reason) = (actor.clone(), reason.map(str::to_owned));
        draft.effect(Effect::CancelChild { run, actor, reason });
    }
}

/// Ends the nested stages of a run without an owner: nobody will report on their children.
fn close_nested(draft: &mut Draft) {
    let stages = draft.state.stages.clone();
    for record in stages.iter().filter(|record| matches!(record.state, StageState::Nested { .. })) {
        draft.finish_stage(record.id(), StageOutcome::Cancelled);
    }
}

fn attempt_finished(draft: &mut Draft, stage: &StageId, attempt: u32, report: Box<AttemptReport>) {
    let Some(record) = draft.state.stage(stage).cloned() else { return };
    let verdict = classify(&report);
    let selection = report.selection.clone();
    draft.push(Event::AttemptFinished { stage: stage.clone(), attempt, report });
    let cancelling = matches!(draft.state.phase, Phase::Cancelling { .. });
    match verdict {
        Ok(()) if !cancelling && !record.steer.is_empty() => {
            let count = u32::try_from(record.steer.len()).unwrap_or(u32::MAX);
            draft.push(Event::SteerDelivered { stage: stage.clone(), count });
            draft.launch(stage);
        }
        Ok(()) => {
            if record.definition.role == Role::Planner
                && let Some(names) = selection
                && let Err(reason) = narrow(draft, stage, &names)
            {
                return draft.fail_stage(stage, reason);
            }
            draft.finish_stage(stage, StageOutcome::Succeeded);
        }
        Err(None) => draft.finish_stage(stage, StageOutcome::Cancelled),
        Err(Some(_)) if cancelling => draft.finish_stage(stage, StageOutcome::Cancelled),
        Err(Some(reason)) => match backoff(&record.definition.retry, &reason, record.counted_attempts) {
            Some(wait) => {
                let due_at = draft.now.plus(wait);
                draft.push(Event::RetryScheduled { stage: stage.clone(), attempt: attempt + 1, due_at });
                draft.effect(Effect::WakeAt(due_at));
            }
            None => draft.fail_stage(stage, reason),
        },
    }
}

/// Reads success or failure off a report. `Err(None)` means we stopped it on request.
fn classify(report: &AttemptReport) -> Result<(), Option<FailureReason>> {
    let agent = report.agent.as_ref().and_then(|agent| agent.failure.as_ref());
    match (&report.exit, agent) {
        (AttemptExit::Cancelled, _) => Err(None),
        (AttemptExit::TimedOut { .. }, _) => Err(Some(FailureReason::TimedOut)),
        (AttemptExit::Lost, _) => Err(Some(FailureReason::Lost)),
        (AttemptExit::NotStarted { reason }, _) => Err(Some(FailureReason::NotStarted(reason.clone()))),
        (AttemptExit::NotRecorded { reason }, _) => Err(Some(FailureReason::NotRecorded(reason.clone()))),
        (_, Some(failure)) => Err(Some(FailureReason::Agent(failure.class.clone()))),
        (AttemptExit::Signal(signal), None) => Err(Some(FailureReason::Signal(*signal))),
        (AttemptExit::Code(0), None) if report.missing_outputs.is_empty() => Ok(()),
        (AttemptExit::Code(0), None) => {
            Err(Some(FailureReason::MissingOutputs(report.missing_outputs.clone())))
        }
        (AttemptExit::Code(code), None) => Err(Some(FailureReason::ExitCode(*code))),
    }
}

/// Leaves out the builder stages that a planner stage did not choose.
fn narrow(draft: &mut Draft, by: &StageId, names: &[String]) -> Result<(), FailureReason> {
    let planned = draft.state.schedule.iter().filter(|slot| slot.role == Role::Builder);
    let left_out = StageOutcome::Skipped { reason: SkipReason::NotPlanned };
    let builders: Vec<&StageRecord> = planned
        .map(|slot| draft.state.stages[slot.stage].as_ref())
        .filter(|record| record.outcome() != Some(&left_out))
        .collect();
    let chosen = |record: &StageRecord| names.iter().any(|name| name == record.id().as_str());
    let is_builder = |name: &str| builders.iter().any(|record| record.id().as_str() == name);
    if let Some(unknown) = names.iter().find(|name| !is_builder(name)) {
        return Err(FailureReason::InvalidSelection(format!(
            "the planner chose `{unknown}`, which is no builder stage of the plan"
        )));
    }
    let left_out: Vec<StageId> = builders
        .iter()
        .filter(|record| record.outcome().is_none() && !chosen(record))
        .map(|record| record.id().clone())
        .collect();
    if !left_out.is_empty() {
        draft.push(Event::SelectionNarrowed { by: by.clone(), left_out });
    }
    Ok(())
}

fn child_finished(draft: &mut Draft, stage: &StageId, run: RunId, outcome: RunOutcome) {
    let expected = StageState::Nested { run: run.clone() };
    if draft.state.stage(stage).is_none_or(|record| record.state != expected) {
        return;
    }
    let ended = match &outcome {
        RunOutcome::Succeeded => StageOutcome::Succeeded,
        _ if matches!(draft.state.phase, Phase::Cancelling { .. }) => StageOutcome::Cancelled,
        RunOutcome::Failed { .. } | RunOutcome::Cancelled { .. } => {
            draft.failed(stage, FailureReason::ChildRun(run.clone()))
        }
    };
    draft.push(Event::ChildRunFinished { stage: stage.clone(), run, outcome });
    draft.finish_stage(stage, ended);
}

/// Records that the owner is gone; a run that was being cancelled is over then.
fn owner_gone(draft: &mut Draft, detail: String) {
    match draft.state.phase.clone() {
        Phase::Created | Phase::Running => draft.push(Event::RunInterrupted { detail }),
        Phase::Cancelling { actor, reason } => {
            draft.push(Event::RunInterrupted { detail });
            // The owner may have been lost before it could tell the children.
            cancel_children(draft, &actor, reason.as_deref());
            close_nested(draft);
            draft.wind_down(&actor, reason.as_deref());
        }
        Phase::Interrupted { .. } | Phase::Finished { .. } => {}
    }
}

fn resume(draft: &mut Draft, accepted: Event) -> Result<(), Refusal> {
    match &draft.state.phase {
        Phase::Finished { outcome: RunOutcome::Succeeded } => return Err(Refusal::NothingToResume),
        Phase::Running | Phase::Cancelling { .. } => return Err(Refusal::UnderWay),
        Phase::Created | Phase::Interrupted { .. } | Phase::Finished { .. } => {}
    }
    if let Event::ResumeAccepted { pipeline: Some(pipeline), .. } = &accepted
        && pipeline.id != draft.state.pipeline().id
    {
        return Err(Refusal::OtherPipeline {
            was: draft.state.pipeline().id.to_string(),
            now: pipeline.id.to_string(),
        });
    }
    let Event::ResumeAccepted { actor, .. } = &accepted else { return Ok(()) };
    let (actor, before) = (actor.clone(), draft.state.stages.clone());
    draft.push(accepted);
    let planned = plan_of(&draft.state.created)?;
    draft.push(Event::RunPlanned(planned));
    draft.push(Event::RunStarted);
    // A child whose stage is gone, or is now defined differently, has nobody to go on with it.
    for old in &before {
        let Some(run) = old.open_child() else { continue };
        let stage = draft.state.stage(old.id());
        if stage.is_none_or(|now| now.outcome().is_some() || now.open_child() != Some(run)) {
            let reason = Some(format!("stage `{}` was edited", old.id()));
            draft.effect(Effect::CancelChild { run: run.clone(), actor: actor.clone(), reason });
        }
    }
    let stages = draft.state.stages.clone();
    for record in &stages {
        if let StageState::Asking { expires_at, .. } = record.state {
            draft.effect(Effect::WakeAt(expires_at));
        }
    }
    Ok(())
}
