//! Who owns a run.

use std::cell::RefCell;

use super::Make;
use super::support::{Draft, assert_lost, assert_unknown, at, created, head, owner, run, whole};
use crate::{Lease, LeaseHolder, LogError};

/// A run that was given back is free for the next, at a higher generation.
pub fn acquire_takes_a_released_run(make: Make<'_>) {
    let log = make();
    let first = created(&*log, &run(1), "first");
    log.release(&first).unwrap();
    let freed = head(&*log, &run(1));
    assert_eq!((freed.holder, freed.generation), (None, first.generation));
    let never = |_: &LeaseHolder| panic!("there is no holder to ask about");
    let second = log.acquire(&run(1), &owner("second"), at(5), &never).unwrap();
    assert!(second.generation > first.generation);
    let taken = head(&*log, &run(1));
    let holder = LeaseHolder { owner: owner("second"), generation: second.generation, renewed_at: at(5) };
    assert_eq!((taken.holder, taken.generation), (Some(holder), second.generation));
    log.append(&second, &Draft::after(&run(1), 1).append()).unwrap();
}

/// A living holder keeps its run and is named.
pub fn acquire_refuses_a_living_holder(make: Make<'_>) {
    let log = make();
    let lease = created(&*log, &run(1), "me");
    let before = whole(&*log, &run(1));
    let expected = head(&*log, &run(1)).holder.unwrap();
    // Not even the same owner gets it twice.
    for name in ["other", "me"] {
        let asked = RefCell::new(Vec::new());
        let alive = |holder: &LeaseHolder| {
            asked.borrow_mut().push(holder.clone());
            false
        };
        match log.acquire(&run(1), &owner(name), at(5), &alive) {
            Err(LogError::Held { run: id, holder }) => assert_eq!((id, *holder), (run(1), expected.clone())),
            answer => panic!("the holder lives: {answer:?}"),
        }
        assert_eq!(asked.into_inner(), std::slice::from_ref(&expected));
    }
    assert_eq!(whole(&*log, &run(1)), before);
    log.append(&lease, &Draft::after(&run(1), 1).append()).unwrap();
}

/// A dead holder loses its run for good.
pub fn acquire_takes_over_from_a_dead_holder(make: Make<'_>) {
    let log = make();
    let dead = created(&*log, &run(1), "dead");
    let heir = log.acquire(&run(1), &owner("heir"), at(5), &|holder| holder.owner.id == "dead").unwrap();
    assert!(heir.generation > dead.generation);
    assert_eq!(head(&*log, &run(1)).holder.unwrap().owner, owner("heir"));
    assert_lost(log.append(&dead, &Draft::after(&run(1), 1).append()), &dead);
    assert_lost(log.renew(&dead, at(6)), &dead);
    log.append(&heir, &Draft::after(&run(1), 1).append()).unwrap();
}

/// There is nothing to own of a run that does not exist.
pub fn acquire_refuses_an_unknown_run(make: Make<'_>) {
    let log = make();
    assert_unknown(log.acquire(&run(1), &owner("me"), at(5), &|_| true), &run(1));
}

/// The question whether a holder is gone may be answered by looking into the store.
pub fn acquire_lets_the_question_use_the_store(make: Make<'_>) {
    let log = make();
    let _dead = created(&*log, &run(1), "dead");
    let gone = |holder: &LeaseHolder| head(&*log, &run(1)).holder.as_ref() == Some(holder);
    assert_eq!(log.acquire(&run(1), &owner("heir"), at(5), &gone).unwrap().owner, "heir");
}

/// "Gone" holds for the sign of life it was said about, not for a later one.
pub fn acquire_asks_again_after_a_sign_of_life(make: Make<'_>) {
    let log = make();
    let slow = created(&*log, &run(1), "slow");
    let asked = RefCell::new(Vec::new());
    let gone = |holder: &LeaseHolder| {
        asked.borrow_mut().push(holder.renewed_at);
        let first = asked.borrow().len() == 1;
        if first {
            log.renew(&slow, at(30_000)).unwrap();
        }
        first
    };
    let answer = log.acquire(&run(1), &owner("eager"), at(30_001), &gone);
    assert!(matches!(answer, Err(LogError::Held { .. })), "{answer:?}");
    assert_eq!(asked.into_inner(), [at(1_000), at(30_000)]);
    log.append(&slow, &Draft::after(&run(1), 1).append()).unwrap();
}

/// Renewing changes the sign of life and nothing else.
pub fn renew_moves_the_sign_of_life(make: Make<'_>) {
    let log = make();
    let lease = created(&*log, &run(1), "me");
    let mut expected = head(&*log, &run(1));
    log.renew(&lease, at(30_000)).unwrap();
    if let Some(holder) = &mut expected.holder {
        holder.renewed_at = at(30_000);
    }
    assert_eq!(head(&*log, &run(1)), expected);
}

/// A lease that was lost or given back is not renewed.
pub fn renew_refuses_a_lost_lease(make: Make<'_>) {
    let log = make();
    let old = created(&*log, &run(1), "old");
    let new = log.acquire(&run(1), &owner("new"), at(5), &|_| true).unwrap();
    assert_lost(log.renew(&old, at(6)), &old);
    log.release(&new).unwrap();
    assert_lost(log.renew(&new, at(7)), &new);
    assert_eq!(head(&*log, &run(1)).holder, None);
    let nobody = Lease { run: run(2), owner: "me".to_owned(), generation: 1 };
    assert_unknown(log.renew(&nobody, at(8)), &run(2));
}

/// Giving back twice is as good as once.
pub fn release_is_idempotent(make: Make<'_>) {
    let log = make();
    let lease = created(&*log, &run(1), "me");
    log.release(&lease).unwrap();
    let released = whole(&*log, &run(1));
    log.release(&lease).unwrap();
    assert_eq!(whole(&*log, &run(1)), released);
    log.release(&Lease { run: run(2), owner: "me".to_owned(), generation: 1 }).unwrap();
}

/// Giving back a lost lease does not free the run of its new owner.
pub fn release_leaves_a_later_owner_alone(make: Make<'_>) {
    let log = make();
    let old = created(&*log, &run(1), "same");
    let new = log.acquire(&run(1), &owner("same"), at(5), &|_| true).unwrap();
    let before = whole(&*log, &run(1));
    log.release(&old).unwrap();
    assert_eq!(whole(&*log, &run(1)), before);
    log.append(&new, &Draft::after(&run(1), 1).append()).unwrap();
}
