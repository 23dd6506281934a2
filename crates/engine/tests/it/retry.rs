//! Which failures are tried again, when, and how often.

use crate::world::check;

#[test]
fn only_failures_worth_it_are_tried_again() {
    let again = "wake@100";
    let cases = [
        ("a try=2 wait=100", "a=1", again),
        ("a try=2 wait=100", "a=timeout", again),
        ("a try=2 wait=100", "a=sig9", again),
        ("a try=2 wait=100 codes=7,137", "a=7", again),
        ("a try=2 wait=100 codes=7,137", "a=sig9", again),
        ("a try=2 wait=100 codes=7,137", "a=1", "=> failed stage:a:failed"),
        ("a try=2 wait=100 codes=7,137", "a=sig15", "=> failed stage:a:failed"),
        ("a try=2 wait=100 codes=7", "a=timeout", "=> failed stage:a:timed-out"),
        ("a try=2 wait=100", "a=unstarted", "=> failed stage:a:not-started"),
        ("a try=2 wait=100", "a=unrecorded", "=> failed stage:a:not-recorded"),
        ("a try=2 wait=100", "a=lost", "=> failed stage:a:lost"),
        ("a try=2 wait=100", "a=missing", "=> failed stage:a:missing-outputs"),
        ("a try=2 wait=100", "a=stopped", "=> failed stage:a:cancelled"),
        ("a agent try=2 wait=100", "a=agent:rate-limited", again),
        ("a agent try=2 wait=100", "a=agent:model-overloaded", again),
        ("a agent try=2 wait=100", "a=agent:stream-disconnected", again),
        ("a agent try=2 wait=100", "a=agent:not-authenticated", "=> failed stage:a:agent-failed"),
        ("a", "a=1", "=> failed stage:a:failed"),
    ];
    for (text, step, expected) in cases {
        let (mut world, _) =
            crate::world::World::start(crate::world::pipeline(text), co_model::RunSettings::default())
                .unwrap();
        assert_eq!(world.step(step), expected, "{text}: {step}");
    }
}

#[test]
fn the_wait_doubles_and_the_attempts_end() {
    let steps = [
        ("start", "a#1"),
        ("a=1", "wake@100"),
        ("+99", ""),
        ("+1", "a#2"),
        ("a=1", "wake@300"),
        ("+200", "a#3"),
        ("a=1", "wake@700"),
        ("+400", "a#4"),
        ("a=1", "=> failed stage:a:failed"),
    ];
    check("a try=4 wait=100", &steps, "a:1");
}

#[test]
fn the_wait_is_never_longer_than_five_minutes() {
    let steps = [
        ("start", "a#1"),
        ("a=1", "wake@200000"),
        ("+200000", "a#2"),
        ("a=1", "wake@500000"),
        ("+300000", "a#3"),
        ("a=1", "wake@800000"),
    ];
    check("a try=9 wait=200000", &steps, "a:backoff");
}

#[test]
fn a_retry_gives_its_slot_away_and_waits_for_the_next_one() {
    let text = "a needs= try=2 wait=100 | b needs= | c needs=";
    let steps = [
        ("start", "a#1"),
        ("a=1", "wake@100 b#1"),
        ("+100", ""),
        // Due without a free slot: it starts as soon as one is free, before later stages.
        ("b=0", "a#2"),
        ("a=0", "c#1"),
        ("c=0", "=> succeeded"),
    ];
    check(text, &steps, "a:ok b:ok c:ok");
}

#[test]
fn a_retry_without_a_wait_starts_at_once() {
    check("a try=2", &[("start", "a#1"), ("a=1", "wake@0 a#2"), ("a=0", "=> succeeded")], "a:ok");
}

#[test]
fn a_resume_counts_attempts_anew_but_numbers_them_on() {
    let steps = [
        ("start", "a#1"),
        ("a=1", "wake@10"),
        ("+10", "a#2"),
        ("a=1", "=> failed stage:a:failed"),
        ("resume", "a#3"),
        ("a=1", "wake@20"),
        ("crash", ""),
        // What was waiting for its next attempt does not wait any longer.
        ("resume", "a#4"),
        ("a=0", "=> succeeded"),
    ];
    check("a try=2 wait=10", &steps, "a:ok");
}
