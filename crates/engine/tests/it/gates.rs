//! Questions to a person.

use crate::world::check;

#[test]
fn a_gate_goes_by_its_answer() {
    let text = "g gate=1000 | a";
    let steps = [("start", "wake@1000"), ("approve", "a#1"), ("a=0", "=> succeeded")];
    check(text, &steps, "g:ok a:ok");
    check(text, &[("start", "wake@1000"), ("deny g", "=> failed stage:g:denied")], "g:denied a:skip(g)");
    check("g gate=1000 allow | a", &[("start", "wake@1000"), ("deny", "a#1")], "g:denied(allowed) a:#1");
}

#[test]
fn a_question_closes_as_no_at_its_very_instant() {
    let text = "g gate=1000 | a";
    let steps = [("start", "wake@1000"), ("+999", ""), ("approve", "a#1")];
    check(text, &steps, "g:ok a:#1");
    let steps = [("start", "wake@1000"), ("+999", ""), ("+1", "=> failed stage:g:unanswered")];
    check(text, &steps, "g:unanswered a:skip(g)");
    let steps = [
        ("start", "wake@1000"),
        ("+1000", "=> failed stage:g:unanswered"),
        ("approve", "refused: the run is over (failed)"),
    ];
    check(text, &steps, "g:unanswered a:skip(g)");
}

#[test]
fn an_answer_at_the_instant_is_late_even_before_the_tick() {
    let mut world = check("g gate=1000", &[("start", "wake@1000")], "g:asking");
    world.now = world.now.plus(std::time::Duration::from_secs(1));
    let late = "refused: the question of stage `g` expired at 1970-01-01T00:00:01.000Z";
    assert_eq!(world.step("approve g"), late);
    assert_eq!(world.step("+0"), "=> failed stage:g:unanswered");
}

#[test]
fn answers_must_fit_one_question() {
    let text = "g needs= gate=1000 | h needs= gate=1000 | a needs=";
    let steps = [
        // Questions take no slot.
        ("start", "wake@1000 wake@1000 a#1"),
        ("approve", "refused: name the stage: `g`, `h` fit"),
        ("approve a", "refused: no question is open at stage `a`"),
        ("approve nobody", "refused: no question is open at stage `nobody`"),
        ("approve h", ""),
        ("approve h", "refused: no question is open at stage `h`"),
        ("approve", ""),
        ("approve", "refused: no question is open"),
        ("a=0", "=> succeeded"),
    ];
    check(text, &steps, "g:ok h:ok a:ok");
}

#[test]
fn an_open_question_outlives_a_crash_but_not_its_time() {
    let steps =
        [("start", "wake@1000"), ("crash", ""), ("+500", ""), ("resume", "wake@1000"), ("approve", "a#1")];
    check("g gate=1000 | a", &steps, "g:ok a:#1");
    let steps = [
        ("start", "wake@1000"),
        ("crash", ""),
        ("+1000", ""),
        ("approve", "refused: the question of stage `g` expired at 1970-01-01T00:00:01.000Z"),
        ("resume", "wake@1000 => failed stage:g:unanswered"),
    ];
    check("g gate=1000 | a", &steps, "g:unanswered a:skip(g)");
    // An answer that came while nobody owned the run counts when it goes on.
    let steps = [("start", "wake@1000"), ("crash", ""), ("approve", ""), ("resume", "a#1")];
    check("g gate=1000 | a", &steps, "g:ok a:#1");
}

#[test]
fn a_changed_question_is_asked_anew() {
    let steps = [
        ("start", "wake@1000"),
        ("crash", ""),
        ("+1", ""),
        ("edit g gate=500 | a", "wake@501"),
        ("deny", "=> failed stage:g:denied"),
        ("resume", "wake@501"),
    ];
    check("g gate=1000 | a", &steps, "g:asking a:pending");
}
