//! Consents: given, used and taken back together with the facts they belong to.

use co_model::{Actor, GrantId, Revocation};

use super::Make;
use super::support::{Draft, at, created, grant, run, task};
use crate::{GrantFilter, LogError};

/// A consent is kept whole, found by what it is bound to, and listed.
pub fn grants_are_found_by_key(make: Make<'_>) {
    let log = make();
    let lease = created(&*log, &run(1), "me");
    let given = vec![grant("a", "key-1", None), grant("b", "key-2", Some(2)), grant("c", "key-1", None)];
    log.append(&lease, &Draft { given: given.clone(), ..Draft::after(&run(1), 1) }.append()).unwrap();
    assert_eq!(log.grants_of(&["key-1".to_owned()]).unwrap(), [given[0].clone(), given[2].clone()]);
    assert_eq!(log.grants_of(&["key-2".to_owned(), "key-9".to_owned()]).unwrap(), [given[1].clone()]);
    assert_eq!(log.grants_of(&[]).unwrap(), []);
}

/// What is given twice stays as it was given first.
pub fn a_grant_given_again_stays_as_it_was(make: Make<'_>) {
    let log = make();
    let lease = created(&*log, &run(1), "me");
    log.append(&lease, &Draft { given: vec![grant("a", "k", Some(1))], ..Draft::after(&run(1), 1) }.append())
        .unwrap();
    let again = Draft { given: vec![grant("a", "k", Some(9))], ..Draft::after(&run(1), 2) };
    log.append(&lease, &again.append()).unwrap();
    assert_eq!(log.grants_of(&["k".to_owned()]).unwrap(), [grant("a", "k", Some(1))]);
}

/// A use is part of the append: without one left nothing is written.
pub fn a_grant_is_used_with_the_append_or_not_at_all(make: Make<'_>) {
    let log = make();
    let lease = created(&*log, &run(1), "me");
    let id = GrantId("a".to_owned());
    let given = Draft { given: vec![grant("a", "k", Some(2))], ..Draft::after(&run(1), 1) };
    log.append(&lease, &given.append()).unwrap();
    for after in [2, 3] {
        let used = Draft { used: vec![id.clone()], ..Draft::after(&run(1), after) };
        log.append(&lease, &used.append()).unwrap();
    }
    assert_eq!(log.grants_of(&["k".to_owned()]).unwrap()[0].uses_left, Some(0));
    for unusable in ["a", "nobody's"] {
        let spent = Draft { used: vec![GrantId(unusable.to_owned())], ..Draft::after(&run(1), 4) };
        let refused = log.append(&lease, &spent.append()).unwrap_err();
        assert!(matches!(&refused, LogError::GrantSpent(grant) if grant.0 == unusable), "{refused:?}");
    }
    assert_eq!(log.head(&run(1)).unwrap().unwrap().last_seq.0, 4, "a refused append writes nothing");
    let at_once = Draft {
        given: vec![grant("once", "k2", Some(1))],
        used: vec![GrantId("once".to_owned())],
        ..Draft::after(&run(1), 4)
    };
    log.append(&lease, &at_once.append()).unwrap();
    assert_eq!(log.grants_of(&["k2".to_owned()]).unwrap()[0].uses_left, Some(0));
}

/// A consent without a limit is used as often as one likes.
pub fn a_grant_without_a_limit_is_never_used_up(make: Make<'_>) {
    let log = make();
    let lease = created(&*log, &run(1), "me");
    let given = Draft { given: vec![grant("a", "k", None)], ..Draft::after(&run(1), 1) };
    log.append(&lease, &given.append()).unwrap();
    for after in 2..6 {
        let used = Draft { used: vec![GrantId("a".to_owned())], ..Draft::after(&run(1), after) };
        log.append(&lease, &used.append()).unwrap();
    }
    assert_eq!(log.grants_of(&["k".to_owned()]).unwrap()[0].uses_left, None);
}

/// The first revocation stands, and what is revoked cannot be used.
pub fn a_revoked_grant_is_kept_and_cannot_be_used(make: Make<'_>) {
    let log = make();
    let lease = created(&*log, &run(1), "me");
    let given = Draft { given: vec![grant("a", "k", None)], ..Draft::after(&run(1), 1) };
    log.append(&lease, &given.append()).unwrap();
    let by = |name: &str, millis| Revocation { actor: Actor::new(name), at: at(millis) };
    let id = GrantId("a".to_owned());
    let revoked = log.revoke(&id, &by("first", 10)).unwrap().unwrap();
    assert_eq!(revoked.revoked, Some(by("first", 10)));
    assert_eq!(log.revoke(&id, &by("second", 20)).unwrap(), Some(revoked.clone()));
    assert_eq!(log.grants_of(&["k".to_owned()]).unwrap(), [revoked]);
    let used = Draft { used: vec![id], ..Draft::after(&run(1), 2) };
    assert!(matches!(log.append(&lease, &used.append()), Err(LogError::GrantSpent(_))));
    assert_eq!(log.revoke(&GrantId("nobody's".to_owned()), &by("x", 1)).unwrap(), None);
}

/// Listings are newest first and match everything that is asked for.
pub fn grants_match_every_filter(make: Make<'_>) {
    let log = make();
    let lease = created(&*log, &run(1), "me");
    let mut given = vec![grant("a", "k", None), grant("b", "k", None), grant("c", "k", None)];
    given[0].given_at = at(30);
    given[1].task = task("other");
    given[1].given_at = at(20);
    given[2].run = run(2);
    given[2].given_at = at(10);
    log.append(&lease, &Draft { given, ..Draft::after(&run(1), 1) }.append()).unwrap();
    let names = |filter: GrantFilter| {
        let found = log.grants(&filter).unwrap();
        found.into_iter().map(|grant| grant.id.0).collect::<Vec<_>>()
    };
    assert_eq!(names(GrantFilter::default()), ["a", "b", "c"]);
    assert_eq!(names(GrantFilter { limit: 2, ..GrantFilter::default() }), ["a", "b"]);
    assert_eq!(names(GrantFilter { task: Some(task("other")), ..GrantFilter::default() }), ["b"]);
    assert_eq!(names(GrantFilter { run: Some(run(2)), ..GrantFilter::default() }), ["c"]);
    let one = GrantFilter { grant: Some(GrantId("b".to_owned())), ..GrantFilter::default() };
    assert_eq!(names(one), ["b"]);
}
