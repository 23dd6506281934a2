//! Runs that nobody owns: taking their commands, and ending what a dead owner has left.
//!
//! An owner performs its effects itself. Where there is none, only one kind of effect is left to
//! be carried out: a child run that is to be cancelled, whose owner died with its parent's.

use co_engine::{Decision, Effect, Input, RunState};
use co_log::{InboxEntry, Lease, LeaseHolder, LogError, Owner, Settlement};
use co_model::{Actor, Command, CommandKey, Envelope, Event, RunId};

use crate::error::RuntimeError;
use crate::orchestrator::Shared;
use crate::{launch, owner, views};

/// Begins the id of an owner that only passes by.
const PASSING: &str = "passing-";

/// Whether an owner has the run for a moment only, to take its commands.
pub(crate) fn is_passing(holder: &LeaseHolder) -> bool {
    holder.owner.id.starts_with(PASSING)
}

/// Takes the inbox of a run that has no living owner; a living one takes it itself.
pub(crate) fn take_commands(shared: &Shared, run: &RunId) -> Result<(), RuntimeError> {
    let gone = |holder: &LeaseHolder| shared.is_gone(holder, false);
    let passing = Owner { id: format!("{PASSING}{}", shared.owner.id), ..shared.owner.clone() };
    let lease = match shared.log.acquire(run, &passing, shared.clock.now(), &gone) {
        Ok(lease) => lease,
        Err(LogError::Held { .. }) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    let taken = loop {
        match take_inbox(shared, run, &lease) {
            // A refused resume was recorded in between: read the run again.
            Err(RuntimeError::Log(LogError::Conflict { .. })) => {}
            taken => break taken,
        }
    };
    drop(shared.log.release(&lease));
    views::refresh(shared, run);
    taken
}

fn take_inbox(shared: &Shared, run: &RunId, lease: &Lease) -> Result<(), RuntimeError> {
    let mut state = take_over(shared, run, lease)?;
    for entry in shared.log.inbox(run)? {
        settle(shared, &mut state, lease, &entry)?;
    }
    Ok(())
}

/// Ends what is left of a former owner, as the new one, and records that it is gone.
pub(crate) fn take_over(shared: &Shared, run: &RunId, lease: &Lease) -> Result<RunState, RuntimeError> {
    launch::end_survivors(run)?;
    let mut state = launch::load(shared, run)?;
    let now = shared.clock.now();
    let detail = "the process that owned the run is gone".to_owned();
    // Only commands and resumes can be refused.
    let decision = co_engine::decide(&state, now, Input::OwnerGone { detail }).unwrap_or_default();
    if !decision.events.is_empty() {
        let recorded = owner::append(shared, &state, lease, now, &decision, &[])?;
        launch::evolve(&mut state, &recorded)?;
        carry_out(shared, &state, decision.effects);
    }
    Ok(state)
}

/// Settles the open wishes to stop a run that is about to go on: they are older than the wish to
/// go on, and would stop it again.
pub(crate) fn settle_cancels(
    shared: &Shared,
    state: &mut RunState,
    lease: &Lease,
) -> Result<(), RuntimeError> {
    for entry in shared.log.inbox(state.run())? {
        if matches!(entry.envelope.command, Command::Cancel { .. }) {
            settle(shared, state, lease, &entry)?;
        }
    }
    Ok(())
}

fn settle(
    shared: &Shared,
    state: &mut RunState,
    lease: &Lease,
    entry: &InboxEntry,
) -> Result<(), RuntimeError> {
    let (now, envelope) = (shared.clock.now(), &entry.envelope);
    let (decision, settlement) = match co_engine::decide(state, now, Input::Command(envelope.clone())) {
        Ok(decision) => (decision, Settlement::Accepted),
        Err(refusal) => {
            let detail = refusal.to_string();
            let event = Event::CommandRefused {
                key: envelope.key.clone(),
                actor: envelope.actor.clone(),
                detail: detail.clone(),
            };
            (Decision { events: vec![event], ..Decision::default() }, Settlement::Refused { detail })
        }
    };
    let recorded = owner::append(shared, state, lease, now, &decision, &[(entry.seq, settlement)])?;
    launch::evolve(state, &recorded)?;
    carry_out(shared, state, decision.effects);
    Ok(())
}

/// Carries out the effects of a decision about a run without an owner. A child that cannot be
/// reached keeps nobody from going on: it is a run of its own, and recovery finds it.
pub(crate) fn carry_out(shared: &Shared, state: &RunState, effects: Vec<Effect>) {
    for effect in effects {
        if let Effect::CancelChild { run, actor, reason } = effect {
            shared.note(cancel_child(shared, state, &run, actor, reason));
        }
    }
}

/// Cancels a child run that this process does not follow.
pub(crate) fn cancel_child(
    shared: &Shared,
    parent: &RunState,
    run: &RunId,
    actor: Actor,
    reason: Option<String>,
) -> Result<(), RuntimeError> {
    // The child may not have come into being before its parent's owner died.
    let Some(head) = shared.log.head(run)? else { return Ok(()) };
    if head.progress.status.is_over() {
        return Ok(());
    }
    let envelope = Envelope {
        // Once for each state of the parent that asks for it.
        key: CommandKey(format!("parent:{}:{}", parent.run(), parent.last_seq.0)),
        actor,
        sent_at: shared.clock.now(),
        command: Command::Cancel { reason },
    };
    shared.log.submit(run, &envelope)?;
    take_commands(shared, run)
}
