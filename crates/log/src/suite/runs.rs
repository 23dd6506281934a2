//! Creating runs, appending events and reading them.

use co_model::{Event, EventSeq, PipelineId, Recorded, RunStatus};

use super::Make;
use super::support::{
    Draft, assert_lost, assert_unknown, at, cancel, created, fact, facts, head, owner, progress, run, stage,
    task, whole,
};
use crate::{Durability, Lease, LeaseHolder, LogError, Progress, RunHead, Settlement};

/// A new run has its events, its progress and its creator as the owner.
pub fn create_makes_the_creator_the_owner(make: Make<'_>) {
    let log = make();
    let draft =
        Draft { events: facts(1..3), durability: Durability::Synced, at: at(50), ..Draft::first(&run(1)) };
    let (lease, recorded) = log.create(&owner("me"), &draft.append()).unwrap();
    assert_eq!((&lease.run, lease.owner.as_str()), (&run(1), "me"));
    let expected: Vec<Recorded> =
        (1..3).map(|n| Recorded { seq: EventSeq(n.into()), at: at(50), event: fact(n) }).collect();
    assert_eq!(recorded, expected);
    assert_eq!(log.events(&run(1), EventSeq(0), 10).unwrap(), expected);
    let generation = lease.generation;
    let holder = LeaseHolder { owner: owner("me"), generation, renewed_at: at(50) };
    assert_eq!(
        log.head(&run(1)).unwrap(),
        Some(RunHead {
            run: run(1),
            progress: progress(),
            last_seq: EventSeq(2),
            updated_at: at(50),
            views_seq: EventSeq(0),
            holder: Some(holder),
            generation,
        })
    );
    assert_eq!(log.head(&run(2)).unwrap(), None);
}

/// A second run of the same id is refused and changes nothing.
pub fn create_refuses_a_taken_id(make: Make<'_>) {
    let log = make();
    let _lease = created(&*log, &run(1), "me");
    let before = whole(&*log, &run(1));
    let other = Draft { events: facts(7..9), ..Draft::first(&run(1)) };
    match log.create(&owner("other"), &other.append()) {
        Err(LogError::RunExists(id)) => assert_eq!(id, run(1)),
        answer => panic!("the id is taken: {answer:?}"),
    }
    assert_eq!(whole(&*log, &run(1)), before);
}

/// A new run has no event that its creator could have seen.
pub fn create_refuses_to_begin_in_the_middle(make: Make<'_>) {
    let log = make();
    let answer = log.create(&owner("me"), &Draft::after(&run(1), 3).append());
    assert!(matches!(answer, Err(LogError::Conflict { last: 0, seen: 3, .. })), "{answer:?}");
    assert_eq!(log.head(&run(1)).unwrap(), None);
}

/// Events are numbered from 1 without gaps, each run on its own, whatever the durability.
pub fn append_numbers_events_without_gaps(make: Make<'_>) {
    let log = make();
    let leases = [created(&*log, &run(1), "me"), created(&*log, &run(2), "me")];
    for step in 0..10_u32 {
        for lease in &leases {
            let after = head(&*log, &lease.run).last_seq.0;
            let durability = if step % 2 == 0 { Durability::Synced } else { Durability::Buffered };
            let events = facts(0..step % 4);
            let draft = Draft { events, durability, ..Draft::after(&lease.run, after) };
            let recorded = log.append(lease, &draft.append()).unwrap();
            let numbers: Vec<u64> = recorded.iter().map(|recorded| recorded.seq.0).collect();
            assert_eq!(numbers, (after + 1..=after + u64::from(step % 4)).collect::<Vec<_>>());
        }
    }
    for lease in &leases {
        let events = log.events(&lease.run, EventSeq(0), usize::MAX).unwrap();
        let numbers: Vec<u64> = events.iter().map(|recorded| recorded.seq.0).collect();
        assert_eq!(numbers, (1..=head(&*log, &lease.run).last_seq.0).collect::<Vec<_>>());
        assert_eq!(numbers.len(), 14, "one by the creation and 13 by the appends");
    }
}

/// An append must name the last event; nothing is written otherwise.
pub fn append_refuses_a_writer_that_is_behind(make: Make<'_>) {
    let log = make();
    let lease = created(&*log, &run(1), "me");
    log.submit(&run(1), &cancel("key")).unwrap();
    let open = log.inbox(&run(1)).unwrap()[0].seq;
    let before = whole(&*log, &run(1));
    for seen in [0, 2, u64::MAX] {
        let draft = Draft {
            settled: vec![(open, Settlement::Accepted)],
            progress: Progress { status: RunStatus::Failed, ..progress() },
            ..Draft::after(&run(1), seen)
        };
        match log.append(&lease, &draft.append()) {
            Err(LogError::Conflict { run: id, last: 1, seen: named }) => {
                assert_eq!((id, named), (run(1), seen));
            }
            answer => panic!("the writer has not seen the last event: {answer:?}"),
        }
        assert_eq!(whole(&*log, &run(1)), before);
    }
}

/// After a takeover the earlier owner writes nothing, even when it knows the last event.
pub fn append_refuses_a_lease_that_was_taken_over(make: Make<'_>) {
    let log = make();
    let old = created(&*log, &run(1), "old");
    let new = log.acquire(&run(1), &owner("new"), at(5), &|_| true).unwrap();
    let before = whole(&*log, &run(1));
    for after in [1, 9] {
        match log.append(&old, &Draft::after(&run(1), after).append()) {
            Err(LogError::LeaseLost { run: id, ours, current }) => {
                assert_eq!((id, ours, current), (run(1), old.generation, new.generation));
            }
            answer => panic!("the lease is lost: {answer:?}"),
        }
    }
    assert_eq!(whole(&*log, &run(1)), before);
    log.append(&new, &Draft::after(&run(1), 1).append()).unwrap();
    // The generation alone is no proof, nor is the name of the owner.
    assert_lost(
        log.append(&Lease { owner: "old".to_owned(), ..new.clone() }, &Draft::after(&run(1), 2).append()),
        &new,
    );
}

/// An owner that gave the run back no longer writes.
pub fn append_refuses_a_lease_that_was_given_back(make: Make<'_>) {
    let log = make();
    let lease = created(&*log, &run(1), "me");
    log.release(&lease).unwrap();
    let before = whole(&*log, &run(1));
    assert_lost(log.append(&lease, &Draft::after(&run(1), 1).append()), &lease);
    assert_eq!(whole(&*log, &run(1)), before);
}

/// The lease of one run opens no other.
pub fn append_refuses_the_lease_of_another_run(make: Make<'_>) {
    let log = make();
    let first = created(&*log, &run(1), "me");
    let _second = created(&*log, &run(2), "me");
    let before = whole(&*log, &run(2));
    assert_lost(log.append(&first, &Draft::after(&run(2), 1).append()), &first);
    assert_eq!(whole(&*log, &run(2)), before);
}

/// A run must exist before it is appended to.
pub fn append_refuses_an_unknown_run(make: Make<'_>) {
    let log = make();
    let lease = Lease { run: run(1), owner: "me".to_owned(), generation: 1 };
    assert_unknown(log.append(&lease, &Draft::first(&run(1)).append()), &run(1));
    assert_eq!(whole(&*log, &run(1)), (None, Vec::new(), 0));
}

/// Without events the progress still changes, and the last event does not.
pub fn append_without_events_changes_the_progress_only(make: Make<'_>) {
    let log = make();
    let lease = created(&*log, &run(1), "me");
    let before = head(&*log, &run(1));
    let changed = Progress { summary: Some("half done".to_owned()), stages_passed: 1, ..progress() };
    let draft =
        Draft { events: Vec::new(), progress: changed.clone(), at: at(9_000), ..Draft::after(&run(1), 1) };
    assert_eq!(log.append(&lease, &draft.append()).unwrap(), Vec::new());
    assert_eq!(head(&*log, &run(1)), RunHead { progress: changed, ..before });
}

/// An event is never earlier than the one before it, even if the clock jumped back.
pub fn time_never_goes_back(make: Make<'_>) {
    let log = make();
    let draft = Draft { at: at(500), ..Draft::first(&run(1)) };
    let (lease, _) = log.create(&owner("me"), &draft.append()).unwrap();
    let mut seen = vec![at(500)];
    for (after, (clock, expected)) in (1..).zip([(100, 500), (-90_000, 500), (501, 501), (400, 501)]) {
        let draft = Draft { at: at(clock), ..Draft::after(&run(1), after) };
        let recorded = log.append(&lease, &draft.append()).unwrap();
        assert_eq!(recorded[0].at, at(expected), "the clock said {clock}");
        assert_eq!(head(&*log, &run(1)).updated_at, at(expected));
        seen.push(at(expected));
    }
    let stored = log.events(&run(1), EventSeq(0), 10).unwrap();
    assert_eq!(stored.into_iter().map(|recorded| recorded.at).collect::<Vec<_>>(), seen);
}

/// Events are read from any place, in order, as many as asked for.
pub fn events_are_read_in_pages(make: Make<'_>) {
    let log = make();
    let draft = Draft { events: facts(1..26), ..Draft::first(&run(1)) };
    let (_lease, all) = log.create(&owner("me"), &draft.append()).unwrap();
    let _other = created(&*log, &run(2), "me");
    let mut paged = Vec::new();
    loop {
        let after = paged.last().map_or(EventSeq(0), |last: &Recorded| last.seq);
        let page = log.events(&run(1), after, 7).unwrap();
        assert!(page.len() <= 7);
        if page.is_empty() {
            break;
        }
        paged.extend(page);
    }
    assert_eq!(paged, all);
    assert_eq!(log.events(&run(1), EventSeq(24), usize::MAX).unwrap(), all[24..]);
    assert_eq!(log.events(&run(1), EventSeq(0), 0).unwrap(), Vec::new());
    assert_eq!(log.events(&run(1), EventSeq(u64::MAX), 5).unwrap(), Vec::new());
    assert_eq!(log.events(&run(3), EventSeq(0), 5).unwrap(), Vec::new());
}

/// What is in an event comes back to the byte, whatever text it carries.
pub fn events_come_back_as_they_were(make: Make<'_>) {
    let log = make();
    let many = "x".repeat(200_000);
    let texts =
        ["", "\0\u{1}\u{7f}", "\"\\/{}'; DROP TABLE events; --", "tâche 日本語 🦀 \u{202e}", "\r\n\t", &many];
    let mut events: Vec<Event> = texts
        .into_iter()
        .map(|text| Event::SteerAccepted {
            stage: stage("build"),
            message: text.to_owned(),
            actor: co_model::Actor::new("someone"),
        })
        .collect();
    events.push(Event::RunStarted);
    let draft = Draft { events: events.clone(), ..Draft::first(&run(1)) };
    let (_lease, _) = log.create(&owner("me"), &draft.append()).unwrap();
    let stored = log.events(&run(1), EventSeq(0), 100).unwrap();
    assert_eq!(stored.into_iter().map(|recorded| recorded.event).collect::<Vec<_>>(), events);
}

/// Every field of the progress is kept, set or not, and each can change.
pub fn progress_is_kept_whole(make: Make<'_>) {
    let log = make();
    let lease = created(&*log, &run(3), "me");
    let full = Progress {
        task: task("tâche 7"),
        pipeline: PipelineId::new("another").unwrap(),
        parent: Some(run(1)),
        status: RunStatus::Failed,
        status_detail: Some("stage:build:failed".to_owned()),
        created_at: at(-5),
        completed_at: Some(at(77)),
        stages_passed: u32::MAX,
        stages_failed: 2,
        stages_planned: 9,
        summary: Some("a \"line\"\0".to_owned()),
        metrics: Some(r#"{"run":1}"#.to_owned()),
    };
    for (after, expected) in (1..).zip([&full, &progress(), &full]) {
        let draft = Draft { progress: expected.clone(), ..Draft::after(&run(3), after) };
        log.append(&lease, &draft.append()).unwrap();
        assert_eq!(head(&*log, &run(3)).progress, *expected);
    }
    let statuses = [
        RunStatus::Queued,
        RunStatus::InProgress,
        RunStatus::Interrupted,
        RunStatus::Succeeded,
        RunStatus::Failed,
        RunStatus::Cancelled,
    ];
    for (after, status) in (4..).zip(statuses) {
        let draft = Draft { progress: Progress { status, ..progress() }, ..Draft::after(&run(3), after) };
        log.append(&lease, &draft.append()).unwrap();
        assert_eq!(head(&*log, &run(3)).progress.status, status);
    }
}
