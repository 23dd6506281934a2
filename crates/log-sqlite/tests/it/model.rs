//! Random operations on SQLite and on the most naive store there can be; both must agree.

#![expect(clippy::unwrap_used, reason = "a step that cannot be told ends the test here")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Mutex;

use co_log::{
    Append, Consents, Durability, EventLog, GrantFilter, InboxEntry, InboxSeq, Lease, LeaseHolder, LogError,
    Owner, Progress, RunFilter, RunHead, Settlement, Submitted, TaskTotals,
};
use co_model::{
    Actor, Command, CommandKey, Envelope, Event, EventSeq, Grant, GrantId, GrantScope, PipelineId, Recorded,
    Revocation, RunId, RunStatus, TaskId, Timestamp,
};
use proptest::prelude::*;

use crate::support::{fact, new_log, owner, progress, run};

/// What a store is, without any thought for disks or speed.
#[derive(Debug, Default)]
struct Naive(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    runs: BTreeMap<RunId, (RunHead, Vec<Recorded>)>,
    inbox: Vec<(RunId, Envelope, Option<Settlement>)>,
    grants: Vec<Grant>,
}

impl Naive {
    fn with<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        work(&mut self.0.lock().unwrap())
    }
}

impl State {
    fn run(&mut self, run: &RunId) -> Result<&mut (RunHead, Vec<Recorded>), LogError> {
        self.runs.get_mut(run).ok_or_else(|| LogError::UnknownRun(run.clone()))
    }

    fn holds(head: &RunHead, lease: &Lease) -> Result<(), LogError> {
        match &head.holder {
            Some(holder)
                if head.run == lease.run
                    && holder.owner.id == lease.owner
                    && holder.generation == lease.generation =>
            {
                Ok(())
            }
            _ => Err(LogError::LeaseLost {
                run: lease.run.clone(),
                ours: lease.generation,
                current: head.generation,
            }),
        }
    }

    /// The consents as they will be, or why one cannot be used.
    fn consented(&self, consents: Consents<'_>) -> Result<Vec<Grant>, LogError> {
        let mut grants = self.grants.clone();
        for given in consents.given {
            if grants.iter().all(|known| known.id != given.id) {
                grants.push(given.clone());
            }
        }
        for used in consents.used {
            let grant = grants.iter_mut().find(|grant| grant.id == *used);
            let grant = grant.filter(|grant| grant.revoked.is_none() && grant.uses_left != Some(0));
            let grant = grant.ok_or_else(|| LogError::GrantSpent(used.clone()))?;
            grant.uses_left = grant.uses_left.map(|left| left - 1);
        }
        Ok(grants)
    }

    fn record(&mut self, append: &Append<'_>) -> Result<Vec<Recorded>, LogError> {
        let last_seq = self.run(append.run)?.0.last_seq;
        if append.after != last_seq {
            let (last, seen) = (last_seq.0, append.after.0);
            return Err(LogError::Conflict { run: append.run.clone(), last, seen });
        }
        self.grants = self.consented(append.consents)?;
        let (head, events) = self.run(append.run)?;
        let mut recorded = Vec::new();
        for event in append.events {
            head.last_seq.0 += 1;
            head.updated_at = head.updated_at.max(append.at);
            recorded.push(Recorded { seq: head.last_seq, at: head.updated_at, event: event.clone() });
        }
        events.extend(recorded.clone());
        head.progress = append.progress.clone();
        for (seq, settlement) in append.settled {
            let place = usize::try_from(seq.0).unwrap().wrapping_sub(1);
            if let Some((run, _, open @ None)) = self.inbox.get_mut(place)
                && run == append.run
            {
                *open = Some(settlement.clone());
            }
        }
        Ok(recorded)
    }
}

impl EventLog for Naive {
    fn create(&self, owner: &Owner, append: &Append<'_>) -> Result<(Lease, Vec<Recorded>), LogError> {
        self.with(|state| {
            if state.runs.contains_key(append.run) {
                return Err(LogError::RunExists(append.run.clone()));
            }
            let holder = LeaseHolder { owner: owner.clone(), generation: 1, renewed_at: append.at };
            let head = RunHead {
                run: append.run.clone(),
                progress: append.progress.clone(),
                last_seq: EventSeq(0),
                updated_at: append.at,
                views_seq: EventSeq(0),
                holder: Some(holder),
                generation: 1,
            };
            state.runs.insert(append.run.clone(), (head, Vec::new()));
            match state.record(append) {
                Ok(recorded) => {
                    Ok((Lease { run: append.run.clone(), owner: owner.id.clone(), generation: 1 }, recorded))
                }
                Err(error) => {
                    state.runs.remove(append.run);
                    Err(error)
                }
            }
        })
    }

    fn append(&self, lease: &Lease, append: &Append<'_>) -> Result<Vec<Recorded>, LogError> {
        self.with(|state| {
            State::holds(&state.run(append.run)?.0, lease)?;
            state.record(append)
        })
    }

    fn append_unowned(
        &self,
        holder: Option<&LeaseHolder>,
        fence: bool,
        append: &Append<'_>,
    ) -> Result<Option<Vec<Recorded>>, LogError> {
        self.with(|state| {
            let Ok((head, _)) = state.run(append.run) else { return Ok(None) };
            let as_seen = match holder {
                None => head.holder.is_none(),
                Some(holder) => head.generation == holder.generation,
            };
            if !as_seen {
                return Ok(None);
            }
            let recorded = match state.record(append) {
                Ok(recorded) => recorded,
                Err(spent @ LogError::GrantSpent(_)) => return Err(spent),
                Err(_) => return Ok(None),
            };
            if fence {
                let (head, _) = state.run(append.run)?;
                head.generation += 1;
                head.holder = None;
            }
            Ok(Some(recorded))
        })
    }

    fn events(&self, run: &RunId, after: EventSeq, limit: usize) -> Result<Vec<Recorded>, LogError> {
        self.with(|state| {
            let Ok((_, events)) = state.run(run) else { return Ok(Vec::new()) };
            Ok(events.iter().filter(|recorded| recorded.seq > after).take(limit).cloned().collect())
        })
    }

    fn acquire(
        &self,
        run: &RunId,
        owner: &Owner,
        now: Timestamp,
        gone: &dyn Fn(&LeaseHolder) -> bool,
    ) -> Result<Lease, LogError> {
        loop {
            let seen = self.with(|state| Ok(state.run(run)?.0.clone()))?;
            if let Some(holder) = &seen.holder
                && !gone(holder)
            {
                return Err(LogError::Held { run: run.clone(), holder: Box::new(holder.clone()) });
            }
            let taken = self.with(|state| {
                let (head, _) = state.run(run)?;
                if (&head.holder, head.generation) != (&seen.holder, seen.generation) {
                    return Ok(None);
                }
                head.generation += 1;
                let generation = head.generation;
                head.holder = Some(LeaseHolder { owner: owner.clone(), generation, renewed_at: now });
                Ok(Some(Lease { run: run.clone(), owner: owner.id.clone(), generation }))
            })?;
            if let Some(lease) = taken {
                return Ok(lease);
            }
        }
    }

    fn renew(&self, lease: &Lease, now: Timestamp) -> Result<(), LogError> {
        self.with(|state| {
            let (head, _) = state.run(&lease.run)?;
            State::holds(head, lease)?;
            if let Some(holder) = &mut head.holder {
                holder.renewed_at = now;
            }
            Ok(())
        })
    }

    fn release(&self, lease: &Lease) -> Result<(), LogError> {
        self.with(|state| {
            if let Ok((head, _)) = state.run(&lease.run)
                && State::holds(head, lease).is_ok()
            {
                head.holder = None;
            }
            Ok(())
        })
    }

    fn submit(&self, run: &RunId, envelope: &Envelope) -> Result<Submitted, LogError> {
        if let Some(earlier) = self.settlement(run, &envelope.key)? {
            return Ok(earlier);
        }
        self.with(|state| {
            state.run(run)?;
            let open = state.inbox.iter().filter(|(of, _, answer)| of == run && answer.is_none());
            if open.count() >= 1_000 {
                return Err(LogError::InboxFull(run.clone()));
            }
            if !state.inbox.iter().any(|(of, entry, _)| of == run && entry.key == envelope.key) {
                state.inbox.push((run.clone(), envelope.clone(), None));
            }
            Ok(Submitted::Open)
        })
    }

    fn settlement(&self, run: &RunId, key: &CommandKey) -> Result<Option<Submitted>, LogError> {
        self.with(|state| {
            let found = state.inbox.iter().find(|(of, entry, _)| of == run && entry.key == *key);
            Ok(found.map(|(_, _, answer)| match answer {
                None => Submitted::Open,
                Some(settlement) => Submitted::Settled(settlement.clone()),
            }))
        })
    }

    fn inbox(&self, run: &RunId) -> Result<Vec<InboxEntry>, LogError> {
        self.with(|state| {
            let open = (1..).zip(&state.inbox).filter(|(_, (of, _, answer))| of == run && answer.is_none());
            let entries = open
                .map(|(seq, (_, envelope, _))| InboxEntry { seq: InboxSeq(seq), envelope: envelope.clone() });
            Ok(entries.take(100).collect())
        })
    }

    fn head(&self, run: &RunId) -> Result<Option<RunHead>, LogError> {
        self.with(|state| Ok(state.run(run).ok().map(|(head, _)| head.clone())))
    }

    fn heads(&self, filter: &RunFilter) -> Result<Vec<RunHead>, LogError> {
        let matches = |head: &&RunHead| {
            let progress = &head.progress;
            filter.task.as_ref().is_none_or(|task| *task == progress.task)
                && filter.pipeline.as_ref().is_none_or(|pipeline| *pipeline == progress.pipeline)
                && (filter.parent.is_none() || filter.parent == progress.parent)
                && (filter.statuses.is_empty() || filter.statuses.contains(&progress.status))
                && (!filter.stale_views || head.views_seq < head.last_seq)
                && filter.before.as_ref().is_none_or(|before| head.run < *before)
        };
        let limit = if filter.limit == 0 { 100 } else { filter.limit };
        self.with(|state| {
            let newest = state.runs.values().rev().map(|(head, _)| head);
            Ok(newest.filter(matches).take(limit).cloned().collect())
        })
    }

    fn totals(&self, task: &TaskId) -> Result<TaskTotals, LogError> {
        self.with(|state| {
            let mut totals = TaskTotals::default();
            let progress = state.runs.values().map(|(head, _)| &head.progress);
            for progress in progress.filter(|progress| progress.task == *task) {
                totals.runs += 1;
                match progress.status {
                    RunStatus::Succeeded => totals.succeeded += 1,
                    RunStatus::Failed => totals.failed += 1,
                    RunStatus::Cancelled => totals.cancelled += 1,
                    RunStatus::Queued | RunStatus::InProgress | RunStatus::Interrupted => {
                        totals.unfinished += 1;
                        continue;
                    }
                }
                let ended = progress.completed_at.unwrap_or(progress.created_at);
                let took = ended.since(progress.created_at).as_millis();
                totals.duration_ms += u64::try_from(took).unwrap();
                totals.stages_passed += u64::from(progress.stages_passed);
                totals.stages_failed += u64::from(progress.stages_failed);
            }
            Ok(totals)
        })
    }

    fn views_written(&self, run: &RunId, seq: EventSeq) -> Result<(), LogError> {
        self.with(|state| {
            if let Ok((head, _)) = state.run(run) {
                head.views_seq = head.views_seq.max(seq);
            }
            Ok(())
        })
    }

    fn grants_of(&self, keys: &[String]) -> Result<Vec<Grant>, LogError> {
        let of = |state: &State, key: &String| {
            state.grants.iter().filter(|grant| grant.key == *key).cloned().collect::<Vec<_>>()
        };
        self.with(|state| Ok(keys.iter().flat_map(|key| of(state, key)).collect()))
    }

    fn grants(&self, filter: &GrantFilter) -> Result<Vec<Grant>, LogError> {
        let matches = |grant: &&Grant| {
            filter.grant.as_ref().is_none_or(|id| *id == grant.id)
                && filter.task.as_ref().is_none_or(|task| *task == grant.task)
                && filter.run.as_ref().is_none_or(|run| *run == grant.run)
        };
        let limit = if filter.limit == 0 { 100 } else { filter.limit };
        self.with(|state| {
            let mut found: Vec<Grant> = state.grants.iter().rev().filter(matches).cloned().collect();
            found.sort_by_key(|grant| std::cmp::Reverse(grant.given_at));
            found.truncate(limit);
            Ok(found)
        })
    }

    fn revoke(&self, grant: &GrantId, revocation: &Revocation) -> Result<Option<Grant>, LogError> {
        self.with(|state| {
            let Some(found) = state.grants.iter_mut().find(|known| known.id == *grant) else {
                return Ok(None);
            };
            found.revoked.get_or_insert_with(|| revocation.clone());
            Ok(Some(found.clone()))
        })
    }
}

mod naive {
    co_log::event_log_suite!(|| -> Box<dyn co_log::EventLog> { Box::<super::Naive>::default() });
}

/// One thing to do to both stores. Small numbers, so that they meet each other often.
#[derive(Debug, Clone)]
enum Step {
    Create(Write),
    Append { lease: usize, write: Write },
    Unowned { seen: Option<u32>, fence: bool, write: Write },
    Acquire { run: u32, owner: u32, now: i64, gone: bool },
    Renew { lease: usize, now: i64 },
    Release { lease: usize },
    Submit { run: u32, key: u32 },
    ViewsWritten { run: u32, seq: u64 },
    List(RunFilter),
    Revoke(u32),
}

/// An append to be. `behind` is how far the writer is from the last event.
#[derive(Debug, Clone)]
struct Write {
    run: u32,
    behind: u64,
    at: i64,
    events: Vec<Event>,
    progress: Progress,
    settled: Vec<(InboxSeq, Settlement)>,
    given: Vec<Grant>,
    used: Vec<GrantId>,
    durability: Durability,
}

fn grant_id(number: u32) -> GrantId {
    GrantId(number.to_string())
}

fn any_grant() -> impl Strategy<Value = Grant> {
    (0..6_u32, 0..3_u32, any_task(), 0..4_u32, 0..50_i64, prop::option::of(0..3_u32)).prop_map(
        |(id, key, task, given_in, given_at, uses_left)| Grant {
            id: grant_id(id),
            key: key.to_string(),
            shown: "rm it".to_owned(),
            scope: GrantScope::Task,
            task,
            run: run(given_in),
            session: None,
            actor: Actor::new("ann"),
            starter: None,
            given_at: instant(given_at),
            expires_at: None,
            uses_left,
            revoked: None,
        },
    )
}

fn instant(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis)
}

fn any_status() -> impl Strategy<Value = RunStatus> {
    use RunStatus::{Cancelled, Failed, InProgress, Interrupted, Queued, Succeeded};
    prop::sample::select(vec![Queued, InProgress, Interrupted, Succeeded, Failed, Cancelled])
}

fn any_task() -> impl Strategy<Value = TaskId> {
    prop::sample::select(vec!["a", "b"]).prop_map(|name| TaskId::new(name).unwrap())
}

fn any_pipeline() -> impl Strategy<Value = PipelineId> {
    prop::sample::select(vec!["x", "y"]).prop_map(|name| PipelineId::new(name).unwrap())
}

fn any_progress() -> impl Strategy<Value = Progress> {
    let searched = (any_task(), any_pipeline(), prop::option::of(0..4_u32), any_status());
    let shown = (0..9_i64, prop::option::of(0..99_i64), 0..5_u32, 0..5_u32, prop::option::of(".{0,9}"));
    (searched, shown).prop_map(|((task, pipeline, parent, status), shown)| {
        let (created_at, completed_at, stages_passed, stages_failed, text) = shown;
        Progress {
            task,
            pipeline,
            parent: parent.map(run),
            status,
            status_detail: text.clone(),
            created_at: instant(created_at),
            completed_at: completed_at.map(instant),
            stages_passed,
            stages_failed,
            summary: text.clone(),
            metrics: text,
            ..progress()
        }
    })
}

fn any_write() -> impl Strategy<Value = Write> {
    let settlement = prop::option::of(".{0,5}").prop_map(|refusal| match refusal {
        None => Settlement::Accepted,
        Some(detail) => Settlement::Refused { detail },
    });
    let settled = prop::collection::vec((1..12_u64, settlement), 0..3);
    let events = prop::collection::vec((0..1_000_u32).prop_map(fact), 0..4);
    let behind = prop_oneof![9 => Just(0_u64), 1 => 1..3_u64];
    let durability = prop::sample::select(vec![Durability::Synced, Durability::Buffered]);
    let consents = (
        prop::collection::vec(any_grant(), 0..3),
        prop::collection::vec((0..6_u32).prop_map(grant_id), 0..2),
    );
    (0..4_u32, behind, 0..100_i64, events, any_progress(), settled, consents, durability).prop_map(
        |(run, behind, at, events, progress, settled, (given, used), durability)| Write {
            given,
            used,
            run,
            behind,
            at,
            events,
            progress,
            settled: settled.into_iter().map(|(seq, settlement)| (InboxSeq(seq), settlement)).collect(),
            durability,
        },
    )
}

fn any_filter() -> impl Strategy<Value = RunFilter> {
    let statuses = prop::collection::vec(any_status(), 0..3);
    let ids = (prop::option::of(0..4_u32), prop::option::of(0..5_u32));
    (prop::option::of(any_task()), prop::option::of(any_pipeline()), ids, statuses, any::<bool>(), 0..4_usize)
        .prop_map(|(task, pipeline, (parent, before), statuses, stale_views, limit)| RunFilter {
            task,
            pipeline,
            parent: parent.map(run),
            statuses,
            stale_views,
            before: before.map(run),
            limit,
        })
}

fn any_step() -> impl Strategy<Value = Step> {
    let lease = 0..6_usize;
    prop_oneof![
        3 => any_write().prop_map(|write| Step::Create(Write { behind: write.behind / 2, ..write })),
        8 => (lease.clone(), any_write()).prop_map(|(lease, write)| Step::Append { lease, write }),
        3 => (prop::option::of(1..5_u32), any::<bool>(), any_write())
            .prop_map(|(seen, fence, write)| Step::Unowned { seen, fence, write }),
        4 => (0..5_u32, 0..3_u32, 0..100_i64, any::<bool>())
            .prop_map(|(run, owner, now, gone)| Step::Acquire { run, owner, now, gone }),
        1 => (lease.clone(), 0..100_i64).prop_map(|(lease, now)| Step::Renew { lease, now }),
        1 => lease.prop_map(|lease| Step::Release { lease }),
        4 => (0..5_u32, 0..6_u32).prop_map(|(run, key)| Step::Submit { run, key }),
        2 => (0..5_u32, 0..20_u64).prop_map(|(run, seq)| Step::ViewsWritten { run, seq }),
        2 => any_filter().prop_map(Step::List),
        1 => (0..7_u32).prop_map(Step::Revoke),
    ]
}

/// Does one step and tells its whole result. `leases` grows by every lease that is given.
fn perform(log: &dyn EventLog, step: &Step, leases: &mut Vec<Lease>) -> String {
    let with = |write: &Write, id: &RunId, work: &mut dyn FnMut(&Append<'_>) -> String| {
        let last = log.head(id).unwrap().map_or(0, |head| head.last_seq.0);
        work(&Append {
            run: id,
            after: EventSeq(last.wrapping_sub(write.behind).min(1_000)),
            at: instant(write.at),
            events: &write.events,
            progress: &write.progress,
            settled: &write.settled,
            consents: Consents { given: &write.given, used: &write.used },
            durability: write.durability,
        })
    };
    let lease = |index: usize| leases.get(leases.len().wrapping_sub(1 + index)).cloned();
    let mut given = None;
    let told = match step {
        Step::Create(write) => with(write, &run(write.run), &mut |append| {
            let answer = log.create(&owner("0"), append);
            given = answer.as_ref().ok().map(|(lease, _)| lease.clone());
            format!("{answer:?}")
        }),
        Step::Append { lease: index, write } => match lease(*index) {
            // Mostly the run of the lease, seldom whichever other.
            Some(lease) => {
                let id = if write.at == 0 { run(write.run) } else { lease.run.clone() };
                with(write, &id, &mut |append| format!("{:?}", log.append(&lease, append)))
            }
            None => String::new(),
        },
        Step::Unowned { seen, fence, write } => with(write, &run(write.run), &mut |append| {
            let holder = seen.map(|generation| LeaseHolder {
                owner: owner("0"),
                generation: generation.into(),
                renewed_at: instant(0),
            });
            format!("{:?}", log.append_unowned(holder.as_ref(), *fence, append))
        }),
        Step::Acquire { run: id, owner: name, now, gone } => {
            let answer = log.acquire(&run(*id), &owner(&name.to_string()), instant(*now), &|_| *gone);
            given = answer.as_ref().ok().cloned();
            format!("{answer:?}")
        }
        Step::Renew { lease: index, now } => {
            format!("{:?}", lease(*index).map(|lease| log.renew(&lease, instant(*now))))
        }
        Step::Release { lease: index } => {
            format!("{:?}", lease(*index).map(|lease| log.release(&lease)))
        }
        Step::Submit { run: id, key } => {
            let envelope = Envelope {
                key: CommandKey(key.to_string()),
                actor: Actor::new("someone"),
                sent_at: instant(3),
                command: Command::Cancel { reason: None },
            };
            format!("{:?}", log.submit(&run(*id), &envelope))
        }
        Step::ViewsWritten { run: id, seq } => format!("{:?}", log.views_written(&run(*id), EventSeq(*seq))),
        Step::List(filter) => format!("{:?}", log.heads(filter)),
        Step::Revoke(number) => {
            let revocation = Revocation { actor: Actor::new("ann"), at: instant(7) };
            format!("{:?}", log.revoke(&grant_id(*number), &revocation))
        }
    };
    leases.extend(given);
    told
}

/// Everything a store can tell about what the steps have touched.
fn everything(log: &dyn EventLog) -> String {
    let mut told = format!("{:#?}", log.heads(&RunFilter::default()));
    writeln!(told, "{:#?}", log.grants(&GrantFilter::default())).unwrap();
    writeln!(told, "{:#?}", log.grants_of(&["1".to_owned(), "2".to_owned()])).unwrap();
    for number in 0..5 {
        let id = run(number);
        write!(told, "{:#?}", (log.head(&id), log.events(&id, EventSeq(0), 1_000), log.inbox(&id))).unwrap();
        let keys = (0..6_u32).map(|key| CommandKey(key.to_string()));
        write!(told, "{:?}", keys.map(|key| log.settlement(&id, &key)).collect::<Vec<_>>()).unwrap();
    }
    for name in ["a", "b"] {
        write!(told, "{:?}", log.totals(&TaskId::new(name).unwrap())).unwrap();
    }
    told
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn sqlite_and_the_naive_store_agree(steps in prop::collection::vec(any_step(), 1..60)) {
        let (sqlite, naive) = (new_log(), Naive::default());
        let (mut leases, mut expected_leases) = (Vec::new(), Vec::new());
        for step in &steps {
            let expected = perform(&naive, step, &mut expected_leases);
            prop_assert_eq!(perform(&*sqlite, step, &mut leases), expected, "{:?}", step);
            prop_assert_eq!(&leases, &expected_leases);
        }
        prop_assert_eq!(everything(&*sqlite), everything(&naive));
    }
}
