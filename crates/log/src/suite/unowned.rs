//! Facts that outsiders append.

use co_model::{Event, EventSeq, RunStatus};

use super::Make;
use super::support::{Draft, assert_lost, at, cancel, created, head, owner, progress, run, whole};
use crate::{LeaseHolder, Progress, Settlement, Submitted};

fn interruption(after: u64) -> Draft {
    Draft {
        events: vec![Event::RunInterrupted { detail: "its process is gone".to_owned() }],
        progress: Progress { status: RunStatus::Interrupted, ..progress() },
        ..Draft::after(&run(1), after)
    }
}

/// A fact reaches a run that nobody owns, with its progress and its settlements.
pub fn unowned_append_reaches_a_free_run(make: Make<'_>) {
    let log = make();
    let lease = created(&*log, &run(1), "me");
    log.release(&lease).unwrap();
    log.submit(&run(1), &cancel("key")).unwrap();
    let open = log.inbox(&run(1)).unwrap()[0].seq;
    let draft = Draft { settled: vec![(open, Settlement::Accepted)], at: at(-9), ..interruption(1) };
    let recorded = log.append_unowned(None, false, &draft.append()).unwrap().unwrap();
    assert_eq!((recorded[0].seq, recorded[0].at), (EventSeq(2), at(1_000)));
    assert_eq!(log.events(&run(1), EventSeq(1), 9).unwrap(), recorded);
    let after = head(&*log, &run(1));
    assert_eq!((after.progress, after.holder, after.generation), (draft.progress, None, lease.generation));
    let answer = log.settlement(&run(1), &cancel("key").key).unwrap();
    assert_eq!(answer, Some(Submitted::Settled(Settlement::Accepted)));
}

/// A fact reaches a run whose lease is as the outsider saw it.
pub fn unowned_append_reaches_a_run_of_the_seen_holder(make: Make<'_>) {
    let log = make();
    let lease = created(&*log, &run(1), "dead");
    let holder = head(&*log, &run(1)).holder.unwrap();
    // A renewal is no change of generation.
    log.renew(&lease, at(4_000)).unwrap();
    let recorded = log.append_unowned(Some(&holder), true, &interruption(1).append()).unwrap().unwrap();
    assert_eq!(log.events(&run(1), EventSeq(1), 9).unwrap(), recorded);
    assert_eq!(head(&*log, &run(1)).progress.status, RunStatus::Interrupted);
}

/// Without a fence the owner goes on, once it has read what was appended.
pub fn unowned_append_without_fence_leaves_the_owner(make: Make<'_>) {
    let log = make();
    let lease = created(&*log, &run(1), "me");
    let before = head(&*log, &run(1)).holder;
    let refused = Draft::after(&run(1), 1);
    assert!(log.append_unowned(before.as_ref(), false, &refused.append()).unwrap().is_some());
    assert_eq!(head(&*log, &run(1)).holder, before);
    assert!(log.append(&lease, &Draft::after(&run(1), 1).append()).is_err());
    log.append(&lease, &Draft::after(&run(1), 2).append()).unwrap();
}

/// With a fence the lease is free and its owner is shut out for good.
pub fn unowned_append_with_fence_shuts_the_owner_out(make: Make<'_>) {
    let log = make();
    let lease = created(&*log, &run(1), "slow");
    let holder = head(&*log, &run(1)).holder;
    assert!(log.append_unowned(holder.as_ref(), true, &interruption(1).append()).unwrap().is_some());
    let fenced = head(&*log, &run(1));
    assert_eq!(fenced.holder, None);
    assert!(fenced.generation > lease.generation);
    assert_lost(log.append(&lease, &Draft::after(&run(1), 2).append()), &lease);
    assert_lost(log.renew(&lease, at(9)), &lease);
    let next = log.acquire(&run(1), &owner("next"), at(10), &|_| false).unwrap();
    assert!(next.generation > fenced.generation);
}

/// Nothing is written when the run is not as the outsider saw it.
pub fn unowned_append_does_nothing_when_the_run_has_moved_on(make: Make<'_>) {
    let log = make();
    let _old = created(&*log, &run(1), "old");
    let seen = head(&*log, &run(1)).holder.unwrap();
    let check = |holder: Option<&LeaseHolder>, after: u64, why: &str| {
        let before = whole(&*log, &run(1));
        for fence in [false, true] {
            let answer = log.append_unowned(holder, fence, &interruption(after).append()).unwrap();
            assert_eq!(answer, None, "{why}");
        }
        assert_eq!(whole(&*log, &run(1)), before, "{why}");
    };
    check(None, 1, "somebody owns the run");
    check(Some(&seen), 0, "there is a later event");
    check(Some(&seen), 2, "there is no such event yet");
    let new = log.acquire(&run(1), &owner("new"), at(5), &|_| true).unwrap();
    check(Some(&seen), 1, "another owner has taken over");
    log.release(&new).unwrap();
    check(Some(&seen), 1, "another owner has come and gone");
    let unknown = Draft::first(&run(2));
    assert_eq!(log.append_unowned(None, true, &unknown.append()).unwrap(), None);
    assert_eq!(log.head(&run(2)).unwrap(), None);
}
