//! Commands for runs.

use co_model::CommandKey;

use super::Make;
use super::support::{Draft, assert_unknown, cancel, created, run};
use crate::{EventLog, InboxEntry, LogError, Settlement, Submitted};

fn refused(detail: &str) -> Settlement {
    Settlement::Refused { detail: detail.to_owned() }
}

fn answer(log: &dyn EventLog, key: &str) -> Option<Submitted> {
    log.settlement(&run(1), &CommandKey(key.to_owned())).unwrap()
}

/// A repeated key is one command while it is open, and runs do not share keys.
pub fn submit_is_answered_once_per_key(make: Make<'_>) {
    let log = make();
    let _leases = [created(&*log, &run(1), "me"), created(&*log, &run(2), "me")];
    assert_eq!(answer(&*log, "key"), None);
    for _ in 0..3 {
        assert_eq!(log.submit(&run(1), &cancel("key")).unwrap(), Submitted::Open);
    }
    assert_eq!(answer(&*log, "key"), Some(Submitted::Open));
    let inbox = log.inbox(&run(1)).unwrap();
    assert_eq!(inbox, [InboxEntry { seq: inbox[0].seq, envelope: cancel("key") }]);
    assert_eq!(log.inbox(&run(2)).unwrap(), []);
    assert_eq!(log.settlement(&run(2), &cancel("key").key).unwrap(), None);
    assert_eq!(log.submit(&run(2), &cancel("key")).unwrap(), Submitted::Open);
    assert_eq!(log.inbox(&run(2)).unwrap().len(), 1);
}

/// A repeated key gets the first answer, whichever it was and whatever is asked now.
pub fn submit_remembers_every_settlement(make: Make<'_>) {
    let log = make();
    let lease = created(&*log, &run(1), "me");
    let answers =
        [("yes", Settlement::Accepted), ("no", refused("the run is \"over\"")), ("bare", refused(""))];
    let mut settled = Vec::new();
    for (key, settlement) in &answers {
        log.submit(&run(1), &cancel(key)).unwrap();
        let entry = log.inbox(&run(1)).unwrap().pop().unwrap();
        assert_eq!(entry.envelope, cancel(key));
        settled.push((entry.seq, settlement.clone()));
    }
    log.append(&lease, &Draft { settled, ..Draft::after(&run(1), 1) }.append()).unwrap();
    for (key, settlement) in answers {
        let expected = Submitted::Settled(settlement);
        let again = co_model::Envelope { actor: co_model::Actor::new("another"), ..cancel(key) };
        assert_eq!(log.submit(&run(1), &again).unwrap(), expected);
        assert_eq!(answer(&*log, key), Some(expected));
    }
    assert_eq!(log.inbox(&run(1)).unwrap(), []);
}

/// A run must exist before it is commanded.
pub fn submit_refuses_an_unknown_run(make: Make<'_>) {
    let log = make();
    assert_unknown(log.submit(&run(1), &cancel("key")), &run(1));
    assert_eq!(answer(&*log, "key"), None);
    assert_eq!(log.inbox(&run(1)).unwrap(), []);
}

/// A thousand commands may be open per run; one settled makes room for one more.
pub fn submit_refuses_beyond_a_thousand_open_commands(make: Make<'_>) {
    let log = make();
    let lease = created(&*log, &run(1), "me");
    let _other = created(&*log, &run(2), "me");
    for number in 0..1_000 {
        assert_eq!(log.submit(&run(1), &cancel(&number.to_string())).unwrap(), Submitted::Open);
    }
    match log.submit(&run(1), &cancel("late")) {
        Err(LogError::InboxFull(id)) => assert_eq!(id, run(1)),
        answer => panic!("the inbox is full: {answer:?}"),
    }
    assert_eq!(answer(&*log, "late"), None);
    assert_eq!(log.submit(&run(1), &cancel("999")).unwrap(), Submitted::Open, "it is in already");
    assert_eq!(log.submit(&run(2), &cancel("late")).unwrap(), Submitted::Open, "another run");
    let settled = vec![(log.inbox(&run(1)).unwrap()[0].seq, Settlement::Accepted)];
    log.append(&lease, &Draft { settled, ..Draft::after(&run(1), 1) }.append()).unwrap();
    assert_eq!(log.submit(&run(1), &cancel("late")).unwrap(), Submitted::Open);
}

/// Open commands are read in the order in which they came, a hundred at a time.
pub fn inbox_keeps_the_order_of_arrival(make: Make<'_>) {
    let log = make();
    let lease = created(&*log, &run(1), "me");
    // Keys that sort differently from their arrival.
    let keys: Vec<String> = (0..130_u32).map(|n| format!("{}", n.wrapping_mul(7_919) % 131)).collect();
    for key in &keys {
        log.submit(&run(1), &cancel(key)).unwrap();
    }
    let read = || log.inbox(&run(1)).unwrap();
    let names = |entries: &[InboxEntry]| -> Vec<String> {
        entries.iter().map(|entry| entry.envelope.key.0.clone()).collect()
    };
    let first = read();
    assert_eq!(names(&first), keys[..100]);
    assert!(first.is_sorted_by_key(|entry| entry.seq));
    let settled = first.into_iter().map(|entry| (entry.seq, Settlement::Accepted)).collect();
    log.append(&lease, &Draft { settled, ..Draft::after(&run(1), 1) }.append()).unwrap();
    assert_eq!(names(&read()), keys[100..]);
}

/// A refused append settles nothing; an accepted one settles without events too.
pub fn settling_is_part_of_the_append(make: Make<'_>) {
    let log = make();
    let lease = created(&*log, &run(1), "me");
    log.submit(&run(1), &cancel("key")).unwrap();
    let settled = vec![(log.inbox(&run(1)).unwrap()[0].seq, Settlement::Accepted)];
    let late = Draft { settled: settled.clone(), ..Draft::after(&run(1), 0) };
    assert!(log.append(&lease, &late.append()).is_err());
    assert_eq!(answer(&*log, "key"), Some(Submitted::Open));
    assert_eq!(log.inbox(&run(1)).unwrap().len(), 1);
    let empty = Draft { settled, events: Vec::new(), ..Draft::after(&run(1), 1) };
    log.append(&lease, &empty.append()).unwrap();
    assert_eq!(answer(&*log, "key"), Some(Submitted::Settled(Settlement::Accepted)));
    assert_eq!(log.inbox(&run(1)).unwrap(), []);
}

/// Settling again changes nothing.
pub fn settling_keeps_the_first_answer(make: Make<'_>) {
    let log = make();
    let lease = created(&*log, &run(1), "me");
    log.submit(&run(1), &cancel("key")).unwrap();
    let seq = log.inbox(&run(1)).unwrap()[0].seq;
    for (after, settlement) in [(1, refused("first")), (2, Settlement::Accepted)] {
        let draft = Draft { settled: vec![(seq, settlement)], ..Draft::after(&run(1), after) };
        log.append(&lease, &draft.append()).unwrap();
    }
    assert_eq!(answer(&*log, "key"), Some(Submitted::Settled(refused("first"))));
}

/// An append cannot settle the commands of another run.
pub fn settling_reaches_only_the_own_run(make: Make<'_>) {
    let log = make();
    let _lease = created(&*log, &run(1), "me");
    let other = created(&*log, &run(2), "me");
    log.submit(&run(1), &cancel("key")).unwrap();
    let settled = vec![(log.inbox(&run(1)).unwrap()[0].seq, Settlement::Accepted)];
    log.append(&other, &Draft { settled, ..Draft::after(&run(2), 1) }.append()).unwrap();
    assert_eq!(answer(&*log, "key"), Some(Submitted::Open));
}
