//! From an input to events and effects.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::Duration;

use co_model::{
    Actor, ApprovalPolicy, AttemptExit, AttemptReport, CallId, CallOrigin, CallOutcome, CallRequest,
    CallStatus, Command, Envelope, Event, EventSeq, FailureReason, Recorded, Role, RunCreated, RunId,
    RunOutcome, SandboxMode, SandboxPolicy, SkipReason, StageId, StageOutcome, StageWork, Timestamp, ToolUse,
    Verdict,
};

use crate::advance::Draft;
use crate::call::{CallState, OpenCall, choose_question};
use crate::drift::compare;
use crate::effect::{Decision, Effect, Input};
use crate::plan::{PlanError, PlanRequest, plan};
use crate::retry::backoff;
use crate::stage::{AttemptEnd, AttemptRecord, StageRecord, StageState};
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
    /// Several calls of a stage wait for an answer.
    #[error("name the call: {} are open", .calls.iter().map(|c| format!("`{c}`")).collect::<Vec<_>>().join(", "))]
    AmbiguousCall {
        /// The calls.
        calls: Vec<CallId>,
    },
    /// No question about that call is open.
    #[error("no question is open about call `{call}`; it was answered, or never asked")]
    NoSuchQuestion {
        /// The call.
        call: CallId,
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
        Input::AttemptStarted { stage, attempt, process, layers, weaker } => {
            let known = state.stage(&stage).and_then(StageRecord::process) == Some(process.as_str());
            if is_current(state, &stage, attempt) && !known {
                let call = state.stage(&stage).and_then(StageRecord::own_call);
                if let Some(call) = call.map(|open| open.request.call.clone()) {
                    draft.push(Event::CallStarted { stage: stage.clone(), call, layers, weaker });
                }
                draft.push(Event::AttemptStarted { stage, attempt, process });
            }
            return Ok(draft.into_decision());
        }
        Input::CallWanted(request) => {
            if is_current(state, &request.stage, request.attempt) && state.phase == Phase::Running {
                draft.request_of_agent(*request);
            }
        }
        Input::Consulted { stage, call, grants } => {
            if state.phase == Phase::Running {
                draft.consulted(&stage, &call, &grants);
            }
        }
        Input::AgentCallStarted { stage, attempt, item, tool, cwd } => {
            if is_current(state, &stage, attempt) {
                agent_call_started(&mut draft, &stage, attempt, item, tool, cwd);
            }
            return Ok(draft.into_decision());
        }
        Input::AgentCallFinished { stage, attempt, item, outcome } => {
            if is_current(state, &stage, attempt) {
                for call in calls_of(state, &stage, &item, |_| true) {
                    draft.call_finished(&stage, call, outcome.clone());
                }
            }
            return Ok(draft.into_decision());
        }
        Input::AgentCallWithdrawn { stage, attempt, item } => {
            if is_current(state, &stage, attempt) {
                let waits = |open: &OpenCall| {
                    matches!(open.state, CallState::Weighing | CallState::Asking { .. })
                        && open.request.origin == CallOrigin::Agent(item.clone())
                };
                for call in calls_of(state, &stage, &item, waits) {
                    let (exit_code, duration, detail) = (None, None, None);
                    let outcome = CallOutcome { status: CallStatus::Declined, exit_code, duration, detail };
                    draft.call_finished(&stage, call, outcome);
                }
            }
            return Ok(draft.into_decision());
        }
        Input::SteerTaken { stage, attempt, count } => {
            let waiting = state.stage(&stage).map_or(0, |record| record.steer.len());
            let count = count.min(u32::try_from(waiting).unwrap_or(u32::MAX));
            if is_current(state, &stage, attempt) && count > 0 {
                draft.push(Event::SteerDelivered { stage, count, in_turn: true });
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
        Input::Resume { actor, reason, pipeline, nested, policy } => {
            resume(
                &mut draft,
                Event::ResumeAccepted {
                    actor,
                    reason,
                    drift: compare(state.pipeline(), &pipeline),
                    pipeline: (*state.pipeline() != *pipeline).then_some(pipeline),
                    nested: (state.created.nested != nested).then_some(nested),
                    policy: (*state.policy() != *policy).then_some(policy),
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
        Command::Answer { stage, call, scope, verdict, reason } => {
            let asked = choose_question(&draft.state, stage.as_ref(), call.as_ref())?;
            if asked.expires_at <= draft.now {
                return Err(Refusal::Expired { expired_at: asked.expires_at, stage: asked.stage });
            }
            let stage = asked.stage;
            if let Some(call) = asked.call {
                draft.answered((&stage, &call), (verdict, scope), &actor, reason);
                return Ok(());
            }
            let (call, scope) = (None, None);
            draft.push(Event::QuestionAnswered { stage: stage.clone(), verdict, actor, reason, call, scope });
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
            draft.push(Event::SteerAccepted { stage: stage.clone(), message: message.clone(), actor });
            if let Some(attempt) = draft.state.stage(&stage).and_then(|record| record.attempts.last()) {
                let attempt = attempt.number;
                draft.effect(Effect::Steer { stage, attempt, message });
            }
        }
    }
    Ok(())
}

/// The open calls that an agent knows by this id, as far as they fit.
///
/// There is more than one when it asked for consent to another try, or in the course of the call:
/// the id has a `#` and more after it then.
fn calls_of(state: &RunState, stage: &StageId, item: &str, fits: impl Fn(&OpenCall) -> bool) -> Vec<CallId> {
    let is_named =
        |own: &str| own.strip_prefix(item).is_some_and(|rest| rest.is_empty() || rest.starts_with('#'));
    let of_agent = |request: &CallRequest| matches!(&request.origin, CallOrigin::Agent(own) if is_named(own));
    let calls = state.stage(stage).into_iter().flat_map(|record| &record.calls);
    let found = calls.filter(|open| of_agent(&open.request) && fits(open));
    found.map(|open| open.request.call.clone()).collect()
}

/// Records what an agent does. What it had asked for is begun; what it did not ask for is told.
fn agent_call_started(
    draft: &mut Draft,
    stage: &StageId,
    attempt: u32,
    item: String,
    tool: ToolUse,
    cwd: String,
) {
    let Some(record) = draft.state.stage(stage) else { return };
    let approved = |open: &OpenCall| matches!(open.state, CallState::Approved(_));
    let mut begun = calls_of(&draft.state, stage, &item, approved);
    if begun.is_empty() && calls_of(&draft.state, stage, &item, |_| true).is_empty() {
        let call = record.next_call();
        begun.push(draft.told(CallRequest {
            call,
            stage: stage.clone(),
            attempt,
            origin: CallOrigin::Agent(item),
            tool,
            cwd,
            tty: false,
            sandbox: draft.state.policy().sandbox.clone().unwrap_or(SandboxPolicy::FULL_ACCESS),
            env: BTreeMap::new(),
            escalated: false,
            reason: None,
            sealed: false,
        }));
    }
    for call in begun {
        let stage = stage.clone();
        draft.push(Event::CallStarted { stage, call, layers: Vec::new(), weaker: None });
    }
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
    let (denied, transient) = (report.sandbox_denied, report.transient.is_some());
    let ended = outcome_of(&report);
    draft.push(Event::AttemptFinished { stage: stage.clone(), attempt, report });
    let own = record.own_call().map(|open| open.request.clone());
    let cancelling = matches!(draft.state.phase, Phase::Cancelling { .. });
    let wait = match &verdict {
        Err(Some(_)) if transient && !cancelling => transient_wait(draft, stage, attempt),
        Err(Some(reason)) if !cancelling && !denied => {
            backoff(&record.definition.retry, reason, record.counted_attempts)
        }
        _ => None,
    };
    // A call that is tried again is the same call; those of an agent are gone with it.
    if wait.is_none()
        && let Some(own) = &own
    {
        draft.call_finished(stage, own.call.clone(), ended);
    }
    if wait.is_none() || own.is_none() {
        draft.drop_calls(stage, CallStatus::Lost);
    }
    match verdict {
        Ok(()) if !cancelling && !record.steer.is_empty() => {
            let count = u32::try_from(record.steer.len()).unwrap_or(u32::MAX);
            draft.push(Event::SteerDelivered { stage: stage.clone(), count, in_turn: false });
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
        Err(Some(_)) if let Some(wait) = wait => {
            let due_at = draft.now.plus(wait);
            draft.push(Event::RetryScheduled { stage: stage.clone(), attempt: attempt + 1, due_at });
            draft.effect(Effect::WakeAt(due_at));
        }
        Err(Some(_)) if denied && may_escalate(draft, own.as_deref()) => {
            let reason = format!("the sandbox stopped attempt {attempt}");
            draft.request_command(stage, Some(reason));
        }
        Err(Some(reason)) => draft.fail_stage(stage, reason),
    }
}

/// Whether what the sandbox stopped may be asked for without it. `never` asks nobody.
fn may_escalate(draft: &Draft, own: Option<&CallRequest>) -> bool {
    let asks = match draft.state.policy().approval {
        ApprovalPolicy::Never => false,
        ApprovalPolicy::OnRequest | ApprovalPolicy::Untrusted => true,
        ApprovalPolicy::Granular(kinds) => kinds.sandbox_approval,
    };
    let confined = |request: &CallRequest| request.sandbox.mode != SandboxMode::DangerFullAccess;
    asks && own.is_some_and(|request| !request.escalated && confined(request))
}

/// The wait before a failure that passes by itself is tried again, or `None` when it was tried enough.
fn transient_wait(draft: &Draft, stage: &StageId, attempt: u32) -> Option<Duration> {
    let record = draft.state.stage(stage)?;
    let passing = |attempt: &&AttemptRecord| match &attempt.end {
        AttemptEnd::Reported(report) => report.transient.is_some(),
        AttemptEnd::Open | AttemptEnd::Lost => false,
    };
    let in_a_row = record.attempts.iter().rev().take_while(passing).count();
    // The jitter is drawn from what tells this wait from every other one, so that a replay draws the same.
    let mut hasher = DefaultHasher::new();
    (draft.state.run(), stage, attempt).hash(&mut hasher);
    co_policy::transient::delay(u32::try_from(in_a_row).unwrap_or(u32::MAX), hasher.finish())
}

/// How the stage's own call ended.
fn outcome_of(report: &AttemptReport) -> CallOutcome {
    let status = match &report.exit {
        AttemptExit::Code(0) => CallStatus::Succeeded,
        AttemptExit::Lost => CallStatus::Lost,
        _ if report.sandbox_denied => CallStatus::SandboxDenied,
        _ => CallStatus::Failed,
    };
    CallOutcome {
        status,
        exit_code: report.exit.code(),
        duration: Some(report.duration),
        detail: Some(report.summary.clone()),
    }
}

/// Reads success or failure off a report. `Err(None)` means we stopped it on request.
pub(crate) fn classify(report: &AttemptReport) -> Result<(), Option<FailureReason>> {
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
        for open in &record.calls {
            match &open.state {
                CallState::Asking { expires_at, .. } => draft.effect(Effect::WakeAt(*expires_at)),
                CallState::Weighing => draft.consult(&open.request),
                CallState::Approved(_) | CallState::Started(_) => {}
            }
        }
    }
    Ok(())
}
