//! Consents: what they cover, for whom, until when.

use co_model::{
    Actor, ChangeKind, FileChange, Grant, GrantId, GrantScope, PatchedFile, Revocation, RunId, TaskId,
    Timestamp, ToolUse,
};
use co_policy::{Context, GrantIndex, canonical, covers, key};

use crate::{call, command, script, words};

const NOW: Timestamp = Timestamp::from_millis(1_000_000);

fn run(id: &str) -> RunId {
    RunId::new(id).expect("a run id")
}

fn task(id: &str) -> TaskId {
    TaskId::new(id).expect("a task id")
}

fn grant(key: &str, scope: GrantScope) -> Grant {
    Grant {
        id: GrantId(format!("{key}/{}", scope.as_str())),
        key: key.to_owned(),
        shown: "ls".to_owned(),
        scope,
        task: task("task-1"),
        run: run("run-1"),
        session: Some("session-1".to_owned()),
        actor: Actor::new("somebody"),
        starter: None,
        given_at: Timestamp::from_millis(1),
        expires_at: None,
        uses_left: (scope == GrantScope::Once).then_some(1),
        revoked: None,
    }
}

const SCOPES: [GrantScope; 5] =
    [GrantScope::Once, GrantScope::Run, GrantScope::Session, GrantScope::Task, GrantScope::Always];

/// In scope here: this run, this task, this session.
fn check(expected: [bool; 5], run_id: &str, task_id: &str, session: Option<&str>) {
    let keys = key(&command(words(&["ls"])));
    let (run, task) = (run(run_id), task(task_id));
    let context = Context { now: NOW, run: &run, task: &task, session, starter: None };
    let got = SCOPES.map(|scope| covers(&grant(&keys.as_slice()[0], scope), &keys, &context));
    assert_eq!(got, expected, "{run_id} {task_id} {session:?}");
}

#[test]
fn scopes_reach_as_far_as_they_say() {
    check([true; 5], "run-1", "task-1", Some("session-1"));
    check([false, false, true, true, true], "run-2", "task-1", Some("session-1"));
    check([false, false, true, false, true], "run-2", "task-2", Some("session-1"));
    check([false, false, false, true, true], "run-2", "task-1", Some("session-2"));
    check([false, false, false, false, true], "run-2", "task-2", None);
    check([true, true, false, true, true], "run-1", "task-1", None);
}

#[test]
fn expired_used_up_and_revoked_consents_cover_nothing() {
    let keys = key(&command(words(&["ls"])));
    let (run, task) = (run("run-1"), task("task-1"));
    let context = Context { now: NOW, run: &run, task: &task, session: Some("session-1"), starter: None };
    for scope in SCOPES {
        let good = grant(&keys.as_slice()[0], scope);
        let check = |grant: Grant| covers(&grant, &keys, &context);
        assert!(check(good.clone()));
        assert!(check(Grant { expires_at: Some(NOW), ..good.clone() }));
        assert!(!check(Grant { expires_at: Some(Timestamp::from_millis(999_999)), ..good.clone() }));
        assert!(check(Grant { uses_left: Some(3), ..good.clone() }));
        assert!(!check(Grant { uses_left: Some(0), ..good.clone() }));
        assert_eq!(check(Grant { uses_left: None, ..good.clone() }), scope != GrantScope::Once);
        let revoked = Some(Revocation { actor: Actor::new("other"), at: NOW });
        assert!(!check(Grant { revoked, ..good.clone() }));
        assert!(!check(Grant { key: "0".repeat(64), ..good.clone() }));
        assert_eq!(check(Grant { session: None, ..good }), scope != GrantScope::Session);
    }
}

fn patch(files: &[(&str, &str)]) -> ToolUse {
    let files = files.iter().map(|(path, sha256)| PatchedFile {
        change: FileChange { path: (*path).to_owned(), kind: ChangeKind::Update },
        sha256: (*sha256).to_owned(),
    });
    ToolUse::Patch { files: files.collect() }
}

#[test]
fn a_patch_is_covered_when_every_file_is() {
    let (run, task) = (run("run-1"), task("task-1"));
    let context = Context { now: NOW, run: &run, task: &task, session: None, starter: None };
    let both = key(&call(patch(&[("a", "1"), ("b", "2")])));
    let mut index: GrantIndex = [grant(&both.as_slice()[0], GrantScope::Run)].into_iter().collect();
    assert!(index.find(&both, &context).is_none());
    index.put(grant(&both.as_slice()[1], GrantScope::Task));
    let found = index.find(&both, &context).expect("both are covered");
    assert_eq!(
        found.iter().map(|grant| grant.scope).collect::<Vec<_>>(),
        [GrantScope::Run, GrantScope::Task]
    );
    assert!(index.find(&key(&call(patch(&[("a", "1")]))), &context).is_some());
    assert!(index.find(&key(&call(patch(&[("a", "2")]))), &context).is_none());
    assert!(index.find(&key(&call(patch(&[]))), &context).is_none());
}

#[test]
fn the_narrowest_consent_is_used_first_and_replaced_by_id() {
    let (run, task) = (run("run-1"), task("task-1"));
    let context = Context { now: NOW, run: &run, task: &task, session: None, starter: None };
    let keys = key(&command(words(&["ls"])));
    let key = &keys.as_slice()[0];
    let mut index = GrantIndex::default();
    index.extend([grant(key, GrantScope::Always), grant(key, GrantScope::Once)]);
    let scope = |index: &GrantIndex| index.find(&keys, &context).map(|found| found[0].scope);
    assert_eq!(scope(&index), Some(GrantScope::Once));
    index.put(Grant { uses_left: Some(0), ..grant(key, GrantScope::Once) });
    assert_eq!(index.iter().count(), 2);
    assert_eq!(scope(&index), Some(GrantScope::Always));
}

/// A consent to what was shown covers the same script written otherwise, and nothing with another byte.
#[test]
fn one_changed_byte_asks_again() {
    let (run, task) = (run("run-1"), task("task-1"));
    let context = Context { now: NOW, run: &run, task: &task, session: None, starter: None };
    let shown = "cargo test -p co-policy && git push origin main";
    let index: GrantIndex =
        [grant(&key(&command(script(shown))).as_slice()[0], GrantScope::Run)].into_iter().collect();
    let is_covered = |text: &str| index.find(&key(&command(script(text))), &context).is_some();
    assert!(is_covered(shown));
    assert!(is_covered("cargo  test -p 'co-policy' &&\ngit push origin main"));
    for at in 0..shown.len() {
        for byte in [b'x', b'*', b' ', b'$', b';', b'"', b'\\'] {
            let mut changed = shown.as_bytes().to_vec();
            changed[at] = byte;
            let changed = String::from_utf8(changed).expect("ASCII");
            let same = canonical(&script(&changed)).to_string() == canonical(&script(shown)).to_string();
            assert_eq!(is_covered(&changed), same, "{changed}");
        }
    }
}

#[test]
fn ten_thousand_consents_are_looked_up_at_once() {
    let (run, task) = (run("run-1"), task("task-1"));
    let context = Context { now: NOW, run: &run, task: &task, session: None, starter: None };
    let keys: Vec<_> = (0..10_000).map(|n| key(&command(words(&["make", &n.to_string()])))).collect();
    let index: GrantIndex = keys.iter().map(|keys| grant(&keys.as_slice()[0], GrantScope::Run)).collect();
    let started = std::time::Instant::now();
    assert!(keys.iter().all(|keys| index.find(keys, &context).is_some()));
    // A look-up that went through all of them would take minutes here.
    assert!(started.elapsed().as_secs() < 10);
}

#[test]
fn beyond_its_run_a_consent_serves_the_runs_of_one_person() {
    let keys = key(&command(words(&["ls"])));
    let (ann, bob) = (Actor::new("ann"), Actor::new("bob"));
    let (run, task) = (run("run-1"), task("task-1"));
    let serves = |starter: Option<&Actor>, by: Option<&Actor>| {
        let context = Context { now: NOW, run: &run, task: &task, session: Some("session-1"), starter: by };
        SCOPES.map(|scope| {
            let grant = Grant { starter: starter.cloned(), ..grant(&keys.as_slice()[0], scope) };
            covers(&grant, &keys, &context)
        })
    };
    assert_eq!(serves(Some(&ann), Some(&ann)), [true; 5]);
    assert_eq!(serves(None, Some(&bob)), [true; 5], "of an old one nobody knows whose it is");
    for by in [Some(&bob), None] {
        assert_eq!(serves(Some(&ann), by), [true, true, false, false, false]);
    }
}
