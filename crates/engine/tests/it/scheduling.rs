//! When a stage begins, and why it does not.

use crate::world::check;

#[test]
fn without_needs_stages_run_one_by_one() {
    let steps = [("start", "a#1"), ("a=0", "b#1"), ("b=0", "c#1"), ("c=0", "=> succeeded")];
    check("a | b | c", &steps, "a:ok b:ok c:ok");
    // Free slots change nothing about that.
    check("par=4: a | b | c", &steps, "a:ok b:ok c:ok");
}

#[test]
fn the_first_failure_stops_what_waits_for_success() {
    let steps = [("start", "a#1"), ("a=3", "=> failed stage:a:failed")];
    check("a | b | c", &steps, "a:3 b:skip(a) c:skip(a)");
}

#[test]
fn independent_stages_run_together_up_to_the_limit() {
    let text = "par=2: a needs= | b needs= | c needs= | d needs=";
    let steps = [("start", "a#1 b#1"), ("b=0", "c#1"), ("a=0", "d#1"), ("c=0", ""), ("d=0", "=> succeeded")];
    check(text, &steps, "a:ok b:ok c:ok d:ok");
}

#[test]
fn a_diamond_waits_for_both_sides() {
    let text = "par=3: a | b needs=a | c needs=a | d needs=b,c";
    let steps = [("start", "a#1"), ("a=0", "b#1 c#1"), ("c=0", ""), ("b=0", "d#1"), ("d=0", "=> succeeded")];
    check(text, &steps, "a:ok b:ok c:ok d:ok");
    let steps = [("start", "a#1"), ("a=0", "b#1 c#1"), ("c=1", ""), ("b=0", "=> failed stage:c:failed")];
    check(text, &steps, "a:ok b:ok c:1 d:skip(c)");
}

#[test]
fn conditions_look_at_everything_before() {
    let text = "a | b | fix when=failure | tidy when=always | c | d needs=a";
    let ok = [("start", "a#1"), ("a=0", "b#1"), ("b=0", "tidy#1"), ("tidy=0", "c#1"), ("c=0", "d#1")];
    check(text, &ok, "a:ok b:ok fix:skip(NothingFailed) tidy:ok c:ok d:#1");
    let failed = [("start", "a#1"), ("a=0", "b#1"), ("b=1", "fix#1"), ("fix=0", "tidy#1"), ("tidy=0", "d#1")];
    // `c` inherits the failure through `tidy`; `d` never waited for it.
    check(text, &failed, "a:ok b:1 fix:ok tidy:ok c:skip(b) d:#1");
}

#[test]
fn an_allowed_failure_stops_nothing() {
    let steps = [("start", "a#1"), ("a=1", "b#1"), ("b=0", "=> succeeded")];
    check("a allow | b | c when=failure", &steps, "a:1(allowed) b:ok c:skip(NothingFailed)");
}

#[test]
fn a_role_waits_for_all_of_the_roles_before_it() {
    let text = "par=4: t role=tester needs= | a needs= | b needs= | r role=reviewer needs=";
    let steps = [("start", "a#1 b#1"), ("a=0", ""), ("b=0", "t#1"), ("t=0", "r#1"), ("r=0", "=> succeeded")];
    check(text, &steps, "t:ok a:ok b:ok r:ok");
    let steps = [("start", "a#1 b#1"), ("b=1", ""), ("a=0", "=> failed stage:b:failed")];
    check(text, &steps, "t:skip(b) a:ok b:1 r:skip(b)");
}

#[test]
fn a_failure_two_roles_back_still_counts() {
    let text = "p role=planner allow needs= | a when=failure needs= | q role=planner needs= | \
                t role=tester when=always | r role=reviewer when=failure";
    let steps = [("start", "p#1"), ("p=1", "q#1"), ("q=1", "a#1"), ("a=0", "t#1"), ("t=0", "r#1")];
    check(text, &steps, "p:1(allowed) a:ok q:1 t:ok r:#1");
}

#[test]
fn a_stage_left_out_does_not_let_later_ones_overtake() {
    let text = "par=3: p role=planner | a | b | c";
    let steps = [("start", "p#1"), ("p=pick:a,c", "a#1"), ("a=0", "c#1"), ("c=0", "=> succeeded")];
    check(text, &steps, "p:ok a:ok b:skip(NotPlanned) c:ok");
    let steps = [("start", "p#1"), ("p=pick:a,c", "a#1"), ("a=1", "=> failed stage:a:failed")];
    check(text, &steps, "p:ok a:1 b:skip(NotPlanned) c:skip(a)");
}

#[test]
fn a_planner_narrows_to_what_is_planned() {
    let text = "p role=planner | q role=planner | a | b | t role=tester";
    let steps =
        [("start", "p#1"), ("p=pick:b", "q#1"), ("q=0", "b#1"), ("b=0", "t#1"), ("t=0", "=> succeeded")];
    check(text, &steps, "p:ok q:ok a:skip(NotPlanned) b:ok t:ok");
    let failed = "=> failed stage:p:invalid-selection";
    for pick in ["p=pick:x", "p=pick:t", "p=pick:p", "p=pick:a,x"] {
        let end = "p:invalid-selection q:skip(p) a:skip(p) b:skip(p) t:skip(p)";
        check(text, &[("start", "p#1"), (pick, failed)], end);
    }
    // What one planner left out, the next one cannot bring back.
    let steps = [("start", "p#1"), ("p=pick:b", "q#1"), ("q=pick:a", "=> failed stage:q:invalid-selection")];
    check(text, &steps, "p:ok q:invalid-selection a:skip(NotPlanned) b:skip(q) t:skip(q)");
    // Only planner stages choose.
    check("a | b", &[("start", "a#1"), ("a=pick:a", "b#1")], "a:ok b:#1");
}

#[test]
fn observations_that_do_not_fit_decide_nothing() {
    let mut world = check("par=2: a needs= | b needs=", &[("start", "a#1 b#1"), ("a=0", "")], "a:ok b:#1");
    let before = world.log.len();
    for step in ["a=0", "a=1"] {
        assert_eq!(world.step(step), "");
    }
    for _ in 0..2 {
        let process = "77:1".to_owned();
        let started = crate::world::started("b", 1, &process);
        world.feed(started).unwrap();
    }
    assert_eq!(world.log.len(), before + 2, "a process is recorded once, a second report never");
}
