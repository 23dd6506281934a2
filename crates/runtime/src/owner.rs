//! The owner of one run: the only writer of its events while it holds the lease.
//!
//! Everything that can move the run arrives as a [`Wake`]; each is decided, appended, and only
//! then acted upon. Runs on a thread of its own.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use co_engine::{Decision, Effect, Input, Phase, RunState, decide};
use co_log::{Append, Consents, Durability, InboxSeq, Lease, LogError, Settlement};
use co_model::{
    Actor, AttemptExit, AttemptReport, CallId, CallOrigin, Command, CommandKey, DecisionSource, Envelope,
    Event, EventSeq, Recorded, RunId, RunOutcome, SandboxPolicy, StageId, StageWork, ThreadId, Timestamp,
};
use co_process::{Shutdown, StopSignal};

use crate::agent::Voice;
use crate::attempt::Attempt;
use crate::error::RuntimeError;
use crate::notice::Notice;
use crate::orchestrator::Shared;
use crate::views::{self, ViewWriter};
use crate::{launch, sealed, unowned};

/// How often the inbox is looked at: the longest a command from another terminal waits.
const INBOX_INTERVAL: Duration = Duration::from_millis(100);

/// Wakes that may wait for the owner. Attempts send three each and then end, so this is never
/// reached by a sane number of stages; a sender that does reach it waits, and loses nothing.
const WAKES: usize = 256;

/// Everything that can wake an owner, besides time and its inbox.
pub(crate) enum Wake {
    /// An observation or an in-process command.
    Input(Box<Input>),
    /// Ends everything under way at once, without waiting for it to end by itself.
    Hurry,
}

/// The owner's address.
#[derive(Debug, Clone)]
pub(crate) struct Address(pub(crate) SyncSender<Wake>);

impl Address {
    /// Makes an address and the place its wakes arrive at.
    pub(crate) fn new() -> (Self, Receiver<Wake>) {
        let (sender, receiver) = sync_channel(WAKES);
        (Self(sender), receiver)
    }

    /// Asks the run to stop. An owner that is gone has nothing left to stop.
    pub(crate) fn cancel(&self, shared: &Shared, actor: Actor, reason: Option<String>) {
        let envelope = Envelope {
            key: CommandKey(format!("local:{}", shared.clock.now().as_millis())),
            actor,
            sent_at: shared.clock.now(),
            command: Command::Cancel { reason },
        };
        drop(self.0.send(Wake::Input(Box::new(Input::Command(envelope)))));
    }

    /// Ends everything under way at once.
    pub(crate) fn hurry(&self) {
        drop(self.0.send(Wake::Hurry));
    }
}

pub(crate) struct RunOwner {
    shared: Arc<Shared>,
    state: RunState,
    lease: Lease,
    notice: Arc<Notice>,
    address: Address,
    wakes: Receiver<Wake>,
    attempts: HashMap<(StageId, u32), StopSignal>,
    /// The agents among them.
    voices: HashMap<(StageId, u32), Voice>,
    children: HashMap<RunId, Address>,
    timers: BTreeSet<Timestamp>,
    views: ViewWriter,
    heartbeat_due: Instant,
    inbox_due: Instant,
}

impl RunOwner {
    pub(crate) fn new(
        shared: Arc<Shared>,
        state: RunState,
        lease: Lease,
        notice: Arc<Notice>,
        (address, wakes): (Address, Receiver<Wake>),
    ) -> Result<Self, RuntimeError> {
        let views = ViewWriter::start(Arc::clone(&shared))?;
        let now = Instant::now();
        let heartbeat_due = now + shared.options.heartbeat_interval;
        notice.reached(state.last_seq);
        views.update(&state, shared.clock.now());
        Ok(Self {
            shared,
            state,
            lease,
            notice,
            address,
            wakes,
            attempts: HashMap::new(),
            voices: HashMap::new(),
            children: HashMap::new(),
            timers: BTreeSet::new(),
            views,
            heartbeat_due,
            inbox_due: now,
        })
    }

    /// Performs the first effects and follows the run to its end.
    ///
    /// # Errors
    /// When the log fails or the run is taken over. Everything that was started has been ended then.
    pub(crate) fn follow(mut self, effects: Vec<Effect>) -> Result<RunOutcome, RuntimeError> {
        let followed = self.perform(effects).and_then(|()| self.turn_until_finished());
        match followed {
            Ok(outcome) => {
                self.end_sessions();
                self.views.finish(&self.state);
                // The outcome is recorded; a lease that cannot be given back goes stale by itself.
                drop(self.shared.log.release(&self.lease));
                self.notice.done();
                Ok(outcome)
            }
            Err(error) => {
                self.abandon();
                self.end_sessions();
                self.notice.done();
                Err(error)
            }
        }
    }

    /// Ends the live sessions of the run; nothing runs in them any more.
    fn end_sessions(&self) {
        self.shared.sessions.end(&self.shared, &self.state.created.run);
    }

    fn turn_until_finished(&mut self) -> Result<RunOutcome, RuntimeError> {
        loop {
            if let Phase::Finished { outcome } = &self.state.phase {
                let outcome = outcome.clone();
                // Commands that came too late are refused now, not by the next owner. The outcome
                // is recorded: what cannot be answered changes nothing.
                self.inbox_due = Instant::now();
                drop(self.read_inbox());
                return Ok(outcome);
            }
            match self.wakes.recv_timeout(self.patience()) {
                Ok(wake) => {
                    self.take(wake)?;
                    while let Ok(wake) = self.wakes.try_recv() {
                        self.take(wake)?;
                    }
                }
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
            }
            self.fire_timers()?;
            self.read_inbox()?;
            self.beat()?;
        }
    }

    fn patience(&self) -> Duration {
        let now = Instant::now();
        let until_timer = self.timers.first().map(|due| due.since(self.shared.clock.now()));
        let until_beat = self.heartbeat_due.saturating_duration_since(now);
        let until_inbox = self.inbox_due.saturating_duration_since(now);
        until_timer.unwrap_or(until_beat).min(until_beat).min(until_inbox)
    }

    fn take(&mut self, wake: Wake) -> Result<(), RuntimeError> {
        match wake {
            Wake::Input(input) => {
                match input.as_ref() {
                    Input::AttemptFinished { stage, attempt, .. } => {
                        self.attempts.remove(&(stage.clone(), *attempt));
                        self.voices.remove(&(stage.clone(), *attempt));
                    }
                    Input::ChildRunFinished { run, .. } => drop(self.children.remove(run)),
                    _ => {}
                }
                self.apply(&input, None)
            }
            Wake::Hurry => {
                self.attempts.values().for_each(|stop| stop.request(Shutdown::Immediate));
                self.children.values().for_each(Address::hurry);
                Ok(())
            }
        }
    }

    fn fire_timers(&mut self) -> Result<(), RuntimeError> {
        let now = self.shared.clock.now();
        let due: Vec<Timestamp> = self.timers.range(..=now).copied().collect();
        if due.is_empty() {
            return Ok(());
        }
        for timer in due {
            self.timers.remove(&timer);
        }
        self.apply(&Input::Tick, None)
    }

    fn read_inbox(&mut self) -> Result<(), RuntimeError> {
        if Instant::now() < self.inbox_due {
            return Ok(());
        }
        self.inbox_due = Instant::now() + INBOX_INTERVAL;
        for entry in self.shared.log.inbox(self.state.run())? {
            self.apply(&Input::Command(entry.envelope), Some(entry.seq))?;
        }
        Ok(())
    }

    fn beat(&mut self) -> Result<(), RuntimeError> {
        if Instant::now() < self.heartbeat_due {
            return Ok(());
        }
        self.heartbeat_due = Instant::now() + self.shared.options.heartbeat_interval;
        let now = self.shared.clock.now();
        match self.shared.log.renew(&self.lease, now) {
            Ok(()) => self.views.update(&self.state, now),
            Err(error @ LogError::LeaseLost { .. }) => return Err(lost(error)),
            // A full disk delays the sign of life; the next append will tell whether it matters.
            Err(_) => {}
        }
        Ok(())
    }

    /// Decides, appends, evolves, acts.
    fn apply(&mut self, input: &Input, inbox: Option<InboxSeq>) -> Result<(), RuntimeError> {
        loop {
            let now = self.shared.clock.now();
            let (decision, settlement) = match decide(&self.state, now, input.clone()) {
                Ok(decision) => (decision, Settlement::Accepted),
                Err(refusal) => refused(input, refusal.to_string()),
            };
            let settled: Vec<_> = inbox.into_iter().map(|seq| (seq, settlement.clone())).collect();
            if decision.events.is_empty() && settled.is_empty() {
                return Ok(());
            }
            match append(&self.shared, &self.state, &self.lease, now, &decision, &settled) {
                Ok(recorded) => {
                    self.take_in(&recorded)?;
                    self.views.update(&self.state, now);
                    return self.perform(decision.effects);
                }
                // Somebody recorded a fact from outside, a refused resume say: take it in, decide again.
                Err(LogError::Conflict { .. }) => self.catch_up()?,
                // The consent was taken back or used up since it was looked up: look again.
                Err(LogError::GrantSpent(_)) if let Input::Consulted { stage, call, .. } = input => {
                    let (stage, call) = (stage.clone(), call.clone());
                    return self.consult(stage, call, None);
                }
                Err(error) => return Err(lost(error)),
            }
        }
    }

    /// Looks up the consents to a call. Without keys, those of the open call.
    fn consult(
        &mut self,
        stage: StageId,
        call: CallId,
        keys: Option<Vec<String>>,
    ) -> Result<(), RuntimeError> {
        let wanted = || {
            let open = self.state.stage(&stage)?.call(&call)?;
            Some(co_policy::key(&open.request).as_slice().to_vec())
        };
        let Some(keys) = keys.or_else(wanted) else { return Ok(()) };
        let grants = self.shared.log.grants_of(&keys)?;
        self.apply(&Input::Consulted { stage, call, grants }, None)
    }

    fn catch_up(&mut self) -> Result<(), RuntimeError> {
        let missed = self.shared.log.events(self.state.run(), self.state.last_seq, 1_000)?;
        self.take_in(&missed)
    }

    fn take_in(&mut self, recorded: &[Recorded]) -> Result<(), RuntimeError> {
        for event in recorded {
            self.state
                .evolve(event)
                .map_err(|source| RuntimeError::Replay { run: self.state.run().clone(), source })?;
        }
        self.notice.reached(self.state.last_seq);
        Ok(())
    }

    fn perform(&mut self, effects: Vec<Effect>) -> Result<(), RuntimeError> {
        for effect in effects {
            match effect {
                Effect::Launch { stage, attempt, thread, steer, sandbox } => {
                    self.launch(&stage, attempt, thread, steer, sandbox)?;
                }
                Effect::Consult { stage, call, keys } => self.consult(stage, call, Some(keys))?,
                Effect::Reply { stage, attempt, item, decision } => {
                    if let Some(voice) = self.voices.get(&(stage, attempt)) {
                        voice.answer(&item, &decision);
                    }
                }
                Effect::Steer { stage, attempt, message } => {
                    if let Some(voice) = self.voices.get(&(stage, attempt)) {
                        voice.steer(&message);
                    }
                }
                Effect::Stop { stage, attempt } => {
                    let attempt = (stage, attempt);
                    match (self.attempts.get(&attempt), self.voices.get(&attempt)) {
                        (Some(stop), Some(voice)) => voice.stop(stop),
                        (Some(stop), None) => stop.request(Shutdown::Graceful),
                        (None, _) => {}
                    }
                }
                Effect::RunChild { stage, run, pipeline } => {
                    let (address, wakes) = Address::new();
                    self.children.insert(run.clone(), address.clone());
                    let child = launch::Child {
                        parent: Arc::clone(&self.state.created),
                        stage,
                        run,
                        pipeline,
                        owner: self.address.clone(),
                    };
                    let shared = Arc::clone(&self.shared);
                    thread::Builder::new()
                        .name("child run".to_owned())
                        .spawn(move || child.follow(&shared, (address, wakes)))
                        .map_err(|source| RuntimeError::Thread { source })?;
                }
                Effect::CancelChild { run, actor, reason } => {
                    match self.children.get(&run) {
                        Some(child) => child.cancel(&self.shared, actor, reason),
                        // A former owner's child, whose stage has changed since.
                        None => self.shared.note(unowned::cancel_child(
                            &self.shared,
                            &self.state,
                            &run,
                            actor,
                            reason,
                        )),
                    }
                }
                Effect::WakeAt(due) => drop(self.timers.insert(due)),
            }
        }
        Ok(())
    }

    fn launch(
        &mut self,
        stage: &StageId,
        number: u32,
        thread: Option<ThreadId>,
        steer: Vec<String>,
        sandbox: SandboxPolicy,
    ) -> Result<(), RuntimeError> {
        let Some(definition) = self.state.stage(stage).map(|record| record.definition.clone()) else {
            return Ok(());
        };
        let voice = Voice::default();
        if matches!(definition.work, StageWork::Agent(_)) {
            self.voices.insert((stage.clone(), number), voice.clone());
        }
        let started = StopSignal::new().and_then(|stop| {
            let attempt = Attempt {
                shared: Arc::clone(&self.shared),
                state: self.state.clone(),
                stage: definition,
                number,
                thread,
                steer,
                sandbox,
                stop: stop.clone(),
                voice,
                owner: self.address.0.clone(),
            };
            thread::Builder::new().name(format!("stage {stage}")).spawn(move || attempt.make())?;
            Ok(stop)
        });
        match started {
            Ok(stop) => {
                self.attempts.insert((stage.clone(), number), stop);
                Ok(())
            }
            Err(error) => {
                let report = Box::new(no_thread(&error));
                self.apply(&Input::AttemptFinished { stage: stage.clone(), attempt: number, report }, None)
            }
        }
    }

    /// Ends everything that was started and waits until it has ended. The run is not ours any more,
    /// or its log cannot be written: nothing is recorded.
    fn abandon(&mut self) {
        self.attempts.values().for_each(|stop| stop.request(Shutdown::Immediate));
        for child in self.children.values() {
            child.cancel(
                &self.shared,
                Actor::new("codex-orchestrator"),
                Some("the parent run ended".to_owned()),
            );
            child.hurry();
        }
        while !self.attempts.is_empty() || !self.children.is_empty() {
            let Ok(wake) = self.wakes.recv() else { return };
            if let Wake::Input(input) = wake {
                match input.as_ref() {
                    Input::AttemptFinished { stage, attempt, .. } => {
                        self.attempts.remove(&(stage.clone(), *attempt));
                    }
                    Input::ChildRunFinished { run, .. } => drop(self.children.remove(run)),
                    _ => {}
                }
            }
        }
    }
}

/// A lease that was lost means that somebody has taken the run over.
fn lost(error: LogError) -> RuntimeError {
    match error {
        LogError::LeaseLost { run, .. } => RuntimeError::TakenOver { run },
        other => other.into(),
    }
}

/// A refused command is a fact too; refused observations were taken in before.
fn refused(input: &Input, detail: String) -> (Decision, Settlement) {
    let events = match input {
        Input::Command(envelope) => vec![Event::CommandRefused {
            key: envelope.key.clone(),
            actor: envelope.actor.clone(),
            detail: detail.clone(),
        }],
        _ => Vec::new(),
    };
    (Decision { events, ..Decision::default() }, Settlement::Refused { detail })
}

fn no_thread(error: &std::io::Error) -> AttemptReport {
    let reason = format!("no thread for the attempt: {error}");
    AttemptReport {
        summary: format!("Not started: {reason}"),
        ..AttemptReport::new(AttemptExit::NotStarted { reason })
    }
}

/// Appends a decision as the owner.
pub(crate) fn append(
    shared: &Shared,
    state: &RunState,
    lease: &Lease,
    now: Timestamp,
    decision: &Decision,
    settled: &[(InboxSeq, Settlement)],
) -> Result<Vec<Recorded>, LogError> {
    let clean = sealed::events(&shared.options.guard, &decision.events);
    let events: &[Event] = &clean;
    let progress = views::progress(&foresee(state, now, events), &shared.options.layout);
    let transition = events.iter().any(must_last) || !settled.is_empty();
    shared.log.append(
        lease,
        &Append {
            run: state.run(),
            after: state.last_seq,
            at: now,
            events,
            progress: &progress,
            settled,
            consents: Consents { given: &decision.grants, used: &decision.used },
            durability: if transition { Durability::Synced } else { Durability::Buffered },
        },
    )
}

/// Whether an event must be on disk before anything follows from it. What an agent does unasked, or only
/// asks, is safe with the next event that must; there may be thousands of those.
fn must_last(event: &Event) -> bool {
    match event {
        Event::CallRequested(request) => !matches!(request.origin, CallOrigin::Agent(_)),
        Event::CallDecided { decision, .. } => decision.source != DecisionSource::NotRequired,
        other => other.is_transition(),
    }
}

/// The state as it will be once the events are recorded.
pub(crate) fn foresee(state: &RunState, now: Timestamp, events: &[Event]) -> RunState {
    let mut ahead = state.clone();
    for event in events {
        let seq = EventSeq(ahead.last_seq.0 + 1);
        let recorded = Recorded { seq, at: now.max(ahead.updated_at), event: event.clone() };
        // An event the engine has just decided fits its own state.
        drop(ahead.evolve(&recorded));
    }
    ahead
}
