//! Finds runs whose owner is gone and does what the engine's recovery plan says.

use std::time::Instant;

use co_engine::{Input, Phase, RecoveryPlan, RecoveryStep, RunState, Seen, decide, plan_recovery};
use co_log::{Append, Consents, Durability, LeaseHolder, RunFilter, RunHead};
use co_model::{RunId, RunStatus, TaskId};
use co_process::find_marked;

use crate::environment::RUN_MARK;
use crate::error::RuntimeError;
use crate::launch::KILL_PATIENCE;
use crate::orchestrator::Shared;
use crate::{launch, owner, unowned, views};

/// What recovery found at one run.
#[derive(Debug, Clone)]
pub struct RecoveryReport {
    /// The run.
    pub run: RunId,
    /// Its task.
    pub task: TaskId,
    /// Where it stood.
    pub status: RunStatus,
    /// What is, or was, to be done.
    pub plan: RecoveryPlan,
    /// What became of the plan.
    pub recovered: Recovered,
}

/// What became of a recovery plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recovered {
    /// It was only made.
    Planned,
    /// It was carried out.
    Done,
    /// Somebody else took the run in the meantime.
    Overtaken,
    /// It could not be carried out.
    Failed(String),
}

/// The runs that may need recovery: unfinished ones, and ones whose views lag.
pub(crate) fn candidates(shared: &Shared, run: Option<&RunId>) -> Result<Vec<RunHead>, RuntimeError> {
    if let Some(run) = run {
        let head = shared.log.head(run)?.ok_or_else(|| RuntimeError::UnknownRun(run.clone()))?;
        return Ok(vec![head]);
    }
    let open = RunFilter {
        statuses: vec![RunStatus::Queued, RunStatus::InProgress],
        limit: 10_000,
        ..RunFilter::default()
    };
    let lagging = RunFilter { stale_views: true, limit: 10_000, ..RunFilter::default() };
    let mut heads = shared.log.heads(&open)?;
    for head in shared.log.heads(&lagging)? {
        if !heads.iter().any(|known| known.run == head.run) {
            heads.push(head);
        }
    }
    Ok(heads)
}

/// A run that needs recovery.
pub(crate) struct Found {
    /// How it stood when its owner was known to be gone.
    pub(crate) head: RunHead,
    pub(crate) state: RunState,
    pub(crate) plan: RecoveryPlan,
}

/// Plans the recovery of one run; `None` when its owner is alive or nothing is to be done.
pub(crate) fn plan(shared: &Shared, head: &RunHead, strict: bool) -> Result<Option<Found>, RuntimeError> {
    let is_alive =
        |head: &RunHead| head.holder.as_ref().is_some_and(|holder| !shared.is_gone(holder, strict));
    if is_alive(head) {
        return Ok(None);
    }
    // It may have ended well between the look at the run and the look for its owner: only what is read of a run
    // whose owner is known to be gone stays true.
    let Some(head) = shared.log.head(&head.run)? else { return Ok(None) };
    let over = head.progress.status.is_over() || head.progress.status == RunStatus::Interrupted;
    let lag = views::lag(head.views_seq, head.last_seq);
    if is_alive(&head) || (over && !lag) {
        return Ok(None);
    }
    let state = launch::load(shared, &head.run)?;
    let survivors = if over {
        Vec::new()
    } else {
        find_marked(RUN_MARK, head.run.as_str()).iter().map(ToString::to_string).collect()
    };
    let seen = Seen { owner_alive: false, owner: describe(head.holder.as_ref()), survivors, views_lag: lag };
    let plan = plan_recovery(&state, &seen);
    Ok((!plan.steps.is_empty()).then_some(Found { head, state, plan }))
}

fn describe(holder: Option<&LeaseHolder>) -> String {
    match holder {
        Some(holder) => {
            format!("its owner, process {} on {}, is gone", holder.owner.process, holder.owner.host)
        }
        None => "nobody owns it".to_owned(),
    }
}

/// Carries a plan out.
pub(crate) fn execute(shared: &Shared, found: &Found) -> Result<Recovered, RuntimeError> {
    let Found { head, state, plan } = found;
    let mut state = state.clone();
    for step in &plan.steps {
        match step {
            RecoveryStep::KillSurvivors { .. } => {
                if !end_survivors(shared, head)? {
                    return Ok(Recovered::Overtaken);
                }
            }
            RecoveryStep::MarkInterrupted { detail } => {
                if !mark(shared, head, &mut state, detail)? {
                    return Ok(Recovered::Overtaken);
                }
            }
            RecoveryStep::FinishCancelled => {
                if !mark(shared, head, &mut state, "its owner is gone")? {
                    return Ok(Recovered::Overtaken);
                }
            }
            RecoveryStep::RewriteViews => views::refresh(shared, &head.run),
        }
    }
    recover_children(shared, &head.run)?;
    Ok(Recovered::Done)
}

/// Ends what the former owner has left, but nothing of a new one: processes count as the former
/// owner's only if the run has not changed hands after they were found. `false` if it has.
fn end_survivors(shared: &Shared, head: &RunHead) -> Result<bool, RuntimeError> {
    let until = Instant::now() + KILL_PATIENCE;
    loop {
        let found = find_marked(RUN_MARK, head.run.as_str());
        let now = shared.log.head(&head.run)?;
        if now.is_none_or(|now| now.generation != head.generation) {
            return Ok(false);
        }
        if found.is_empty() {
            return Ok(true);
        }
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            let processes = found.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            return Err(RuntimeError::Survivors { run: head.run.clone(), processes });
        }
        co_process::kill_all(&found, left);
    }
}

/// Children were owned by the same process.
fn recover_children(shared: &Shared, parent: &RunId) -> Result<(), RuntimeError> {
    let open = RunFilter {
        parent: Some(parent.clone()),
        statuses: vec![RunStatus::Queued, RunStatus::InProgress],
        limit: 10_000,
        ..RunFilter::default()
    };
    for head in shared.log.heads(&open)?.iter().filter(|head| head.run.is_child_of(parent)) {
        if let Some(found) = plan(shared, head, true)? {
            execute(shared, &found)?;
        }
    }
    Ok(())
}

/// Records that the owner is gone, unless the run has moved on. Fences the owner out, in case it
/// only slept.
fn mark(shared: &Shared, head: &RunHead, state: &mut RunState, detail: &str) -> Result<bool, RuntimeError> {
    if matches!(state.phase, Phase::Interrupted { .. } | Phase::Finished { .. }) {
        return Ok(true);
    }
    let now = shared.clock.now();
    let Ok(decision) = decide(state, now, Input::OwnerGone { detail: detail.to_owned() }) else {
        return Ok(false);
    };
    let progress = views::progress(&owner::foresee(state, now, &decision.events), &shared.options.layout);
    let appended = shared.log.append_unowned(
        head.holder.as_ref(),
        true,
        &Append {
            run: &head.run,
            after: state.last_seq,
            at: now,
            events: &decision.events,
            progress: &progress,
            settled: &[],
            consents: Consents::default(),
            durability: Durability::Synced,
        },
    );
    match appended {
        Ok(Some(recorded)) => {
            launch::evolve(state, &recorded)?;
            unowned::carry_out(shared, state, decision.effects);
            Ok(true)
        }
        Ok(None) | Err(co_log::LogError::Conflict { .. }) => Ok(false),
        Err(error) => Err(error.into()),
    }
}
