//! Many threads at once.

use std::collections::BTreeSet;
use std::sync::Barrier;
use std::thread;

use co_model::{Event, EventSeq};

use super::Make;
use super::support::{Draft, at, cancel, created, fact, head, owner, run};
use crate::{LogError, Submitted};

const THREADS: u32 = 8;

/// Runs `work` in many threads that begin together, and returns their answers.
fn together<T: Send>(work: impl Fn(u32) -> T + Sync) -> Vec<T> {
    let barrier = Barrier::new(THREADS as usize);
    let start = |number| {
        barrier.wait();
        work(number)
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|number| scope.spawn(move || start(number))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

/// Of many that take over from a dead owner, exactly one wins; the others learn who.
pub fn one_of_many_acquirers_wins(make: Make<'_>) {
    let log = make();
    let mut generations = BTreeSet::new();
    for round in 0..10 {
        let dead = created(&*log, &run(round), "dead");
        let answers = together(|number| {
            let me = owner(&format!("thread {number}"));
            log.acquire(&run(round), &me, at(5), &|holder| holder.owner.id == "dead")
        });
        let winner = head(&*log, &run(round)).holder.unwrap();
        generations.insert(winner.generation - dead.generation);
        let (won, held): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
        assert_eq!(won.len(), 1);
        assert_eq!(won[0].as_ref().unwrap().owner, winner.owner.id);
        for answer in held {
            match answer {
                Err(LogError::Held { holder, .. }) => assert_eq!(*holder, winner),
                other => panic!("somebody else has won: {other:?}"),
            }
        }
    }
    assert_eq!(generations.len(), 1, "each takeover raises the generation by as much");
}

/// Of many that create the same run, exactly one does.
pub fn one_of_many_creators_wins(make: Make<'_>) {
    let log = make();
    let answers = together(|number| {
        let draft = Draft { events: vec![fact(number)], ..Draft::first(&run(1)) };
        log.create(&owner(&format!("thread {number}")), &draft.append())
    });
    let (won, lost): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
    assert!(lost.iter().all(|answer| matches!(answer, Err(LogError::RunExists(_)))), "{lost:?}");
    assert_eq!(won.len(), 1);
    let (lease, recorded) = won.into_iter().next().unwrap().unwrap();
    assert_eq!(head(&*log, &run(1)).holder.unwrap().owner.id, lease.owner);
    assert_eq!(log.events(&run(1), EventSeq(0), 10).unwrap(), recorded);
}

/// Of many appends at once, each is in the log exactly once and without a gap.
pub fn many_appenders_lose_and_double_nothing(make: Make<'_>) {
    const EACH: u32 = 25;
    let log = make();
    let lease = created(&*log, &run(1), "me");
    together(|number| {
        for step in 0..EACH {
            let mine = fact(100 + number * EACH + step);
            loop {
                let after = head(&*log, &run(1)).last_seq.0;
                let draft = Draft { events: vec![mine.clone()], ..Draft::after(&run(1), after) };
                match log.append(&lease, &draft.append()) {
                    Ok(recorded) => {
                        assert_eq!(recorded[0].seq.0, after + 1);
                        break;
                    }
                    Err(LogError::Conflict { .. }) => {}
                    Err(error) => panic!("{error}"),
                }
            }
        }
    });
    let events = log.events(&run(1), EventSeq(1), usize::MAX).unwrap();
    let numbers: Vec<u64> = events.iter().map(|recorded| recorded.seq.0).collect();
    assert_eq!(numbers, (2..=u64::from(THREADS * EACH) + 1).collect::<Vec<_>>());
    let stored: BTreeSet<u32> = events
        .iter()
        .map(|recorded| match recorded.event {
            Event::AttemptStarting { attempt, .. } => attempt,
            ref other => panic!("nobody has written {other:?}"),
        })
        .collect();
    assert_eq!(stored, (100..100 + THREADS * EACH).collect());
}

/// Many submissions of one key are one command.
pub fn many_submitters_of_one_key_make_one_command(make: Make<'_>) {
    let log = make();
    let _lease = created(&*log, &run(1), "me");
    let answers = together(|_| log.submit(&run(1), &cancel("key")).unwrap());
    assert!(answers.iter().all(|answer| *answer == Submitted::Open));
    assert_eq!(log.inbox(&run(1)).unwrap().len(), 1);
}
