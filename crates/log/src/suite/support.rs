//! Values the behaviours are written with.

use co_model::{
    Actor, Command, CommandKey, Envelope, Event, EventSeq, Grant, GrantId, GrantScope, PipelineId, Recorded,
    RunId, RunStatus, StageId, TaskId, Timestamp,
};

use crate::{
    Append, Consents, Durability, EventLog, InboxSeq, Lease, LogError, Owner, Progress, RunFilter, RunHead,
    Settlement,
};

/// An instant, in milliseconds after a fixed one.
pub(super) fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(1_763_712_000_000 + millis)
}

/// The n-th run by age.
pub(super) fn run(number: u32) -> RunId {
    RunId::generate(at(i64::from(number)), number)
}

pub(super) fn task(name: &str) -> TaskId {
    TaskId::new(name).unwrap()
}

pub(super) fn owner(name: &str) -> Owner {
    Owner { id: name.to_owned(), host: "host".to_owned(), process: format!("process of {name}") }
}

pub(super) fn stage(name: &str) -> StageId {
    StageId::new(name).unwrap()
}

/// A small event that can be told from others.
pub(super) fn fact(number: u32) -> Event {
    Event::AttemptStarting { stage: stage("build"), attempt: number }
}

pub(super) fn facts(numbers: std::ops::Range<u32>) -> Vec<Event> {
    numbers.map(fact).collect()
}

pub(super) fn progress() -> Progress {
    Progress {
        task: task("task"),
        pipeline: PipelineId::new("pipeline").unwrap(),
        parent: None,
        status: RunStatus::InProgress,
        status_detail: None,
        created_at: at(0),
        completed_at: None,
        stages_passed: 0,
        stages_failed: 0,
        stages_planned: 3,
        summary: None,
        metrics: None,
    }
}

pub(super) fn cancel(key: &str) -> Envelope {
    Envelope {
        key: CommandKey(key.to_owned()),
        actor: Actor::new("someone"),
        sent_at: at(7),
        command: Command::Cancel { reason: Some(format!("because of {key}")) },
    }
}

/// A consent to what `key` stands for, good for `uses`.
pub(super) fn grant(name: &str, key: &str, uses: Option<u32>) -> Grant {
    Grant {
        id: GrantId(name.to_owned()),
        key: key.to_owned(),
        shown: format!("run {key}"),
        scope: GrantScope::Task,
        task: task("task"),
        run: run(1),
        session: None,
        actor: Actor::new("someone"),
        starter: None,
        given_at: at(5),
        expires_at: Some(at(9_000)),
        uses_left: uses,
        revoked: None,
    }
}

/// An append to be, with something sensible in every place.
#[derive(Debug, Clone)]
pub(super) struct Draft {
    pub(super) run: RunId,
    pub(super) after: u64,
    pub(super) at: Timestamp,
    pub(super) events: Vec<Event>,
    pub(super) progress: Progress,
    pub(super) settled: Vec<(InboxSeq, Settlement)>,
    pub(super) given: Vec<Grant>,
    pub(super) used: Vec<GrantId>,
    pub(super) durability: Durability,
}

impl Draft {
    /// One fact as the first event of a run.
    pub(super) fn first(run: &RunId) -> Self {
        Self::after(run, 0)
    }

    /// One fact after the event `after`.
    pub(super) fn after(run: &RunId, after: u64) -> Self {
        Self {
            run: run.clone(),
            after,
            at: at(1_000),
            events: vec![fact(1)],
            progress: progress(),
            settled: Vec::new(),
            given: Vec::new(),
            used: Vec::new(),
            durability: Durability::Buffered,
        }
    }

    pub(super) fn append(&self) -> Append<'_> {
        Append {
            run: &self.run,
            after: EventSeq(self.after),
            at: self.at,
            events: &self.events,
            progress: &self.progress,
            settled: &self.settled,
            consents: Consents { given: &self.given, used: &self.used },
            durability: self.durability,
        }
    }
}

/// Creates a run with one fact, owned by `owner`.
pub(super) fn created(log: &dyn EventLog, run: &RunId, name: &str) -> Lease {
    log.create(&owner(name), &Draft::first(run).append()).unwrap().0
}

/// Creates a run with one fact and this progress, owned by nobody.
pub(super) fn recorded(log: &dyn EventLog, run: &RunId, progress: &Progress) {
    let draft = Draft { progress: progress.clone(), ..Draft::first(run) };
    let (lease, _) = log.create(&owner("owner"), &draft.append()).unwrap();
    log.release(&lease).unwrap();
}

pub(super) fn head(log: &dyn EventLog, run: &RunId) -> RunHead {
    log.head(run).unwrap().unwrap()
}

pub(super) fn listed(log: &dyn EventLog, filter: &RunFilter) -> Vec<RunId> {
    log.heads(filter).unwrap().into_iter().map(|head| head.run).collect()
}

/// Everything the store knows about a run, to see that nothing was written.
pub(super) fn whole(log: &dyn EventLog, run: &RunId) -> (Option<RunHead>, Vec<Recorded>, usize) {
    let events = log.events(run, EventSeq(0), usize::MAX).unwrap();
    (log.head(run).unwrap(), events, log.inbox(run).unwrap().len())
}

/// Checks that a lease was refused, with the generation that was held.
#[track_caller]
pub(super) fn assert_lost<T: std::fmt::Debug>(answer: Result<T, LogError>, lease: &Lease) {
    match answer {
        Err(LogError::LeaseLost { run, ours, .. }) => {
            assert_eq!((run, ours), (lease.run.clone(), lease.generation));
        }
        other => panic!("the lease must be lost, not {other:?}"),
    }
}

#[track_caller]
pub(super) fn assert_unknown<T: std::fmt::Debug>(answer: Result<T, LogError>, expected: &RunId) {
    match answer {
        Err(LogError::UnknownRun(run)) => assert_eq!(run, *expected),
        other => panic!("the run must be unknown, not {other:?}"),
    }
}
