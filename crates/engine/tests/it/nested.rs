//! Stages that are runs of their own.

use crate::world::check;

#[test]
fn a_child_is_named_after_its_stage_and_decides_it() {
    let text = "n child=q | a";
    let steps = [("start", "n:r.n:q"), ("n=child:succeeded", "a#1")];
    check(text, &steps, "n:ok a:#1");
    let failed = "=> failed subpipeline:n:failed";
    for end in ["n=child:failed", "n=child:cancelled"] {
        check(text, &[("start", "n:r.n:q"), (end, failed)], "n:failed a:skip(n)");
    }
    let steps = [("start", "n:r.n:q"), ("n=child:failed", "a#1"), ("n=child:succeeded", "")];
    check("n child=q allow | a", &steps, "n:failed(allowed) a:#1");
}

#[test]
fn children_take_slots() {
    let text = "par=2: n needs= child=q | m needs= child=q | a needs=";
    let steps = [("start", "n:r.n:q m:r.m:q"), ("m=child:succeeded", "a#1")];
    check(text, &steps, "n:nested m:ok a:#1");
}

#[test]
fn a_resume_goes_on_with_the_same_child() {
    let steps =
        [("start", "n:r.n:q"), ("crash", ""), ("resume", "n:r.n:q"), ("n=child:succeeded", "=> succeeded")];
    check("n child=q", &steps, "n:ok");
    let steps = [
        ("start", "n:r.n:q"),
        ("n=child:failed", "=> failed subpipeline:n:failed"),
        ("resume", "n:r.n:q"),
        ("n=child:succeeded", "=> succeeded"),
        ("resume", "refused: the run has succeeded; there is nothing left to resume"),
    ];
    check("n child=q", &steps, "n:ok");
}

#[test]
fn children_that_go_on_respect_a_lower_limit() {
    let steps = [
        ("start", "n:r.n:q m:r.m:q"),
        ("crash", ""),
        ("edit n needs= child=q | m needs= child=q", "n:r.n:q"),
        ("n=child:succeeded", "m:r.m:q"),
    ];
    check("par=2: n needs= child=q | m needs= child=q", &steps, "n:ok m:nested");
}

#[test]
fn an_edited_stage_gets_another_child() {
    let steps = [
        ("start", "n:r.n:q"),
        ("crash", ""),
        ("edit n child=z", "cancel:r.n n:r.n~1:z"),
        ("n=child:failed", "=> failed subpipeline:n:failed"),
        // The old child is over, the new one goes on, a newer one begins.
        ("resume", "n:r.n~1:z"),
        ("n=child:failed", "=> failed subpipeline:n:failed"),
        ("edit n child=q", "n:r.n~2:q"),
    ];
    check("n child=q", &steps, "n:nested");
}

#[test]
fn the_child_of_a_removed_stage_is_stopped() {
    let steps = [("start", "n:r.n:q"), ("crash", ""), ("edit a", "cancel:r.n a#1"), ("a=0", "=> succeeded")];
    check("n child=q | a", &steps, "a:ok n:skip(Removed)!");
}

#[test]
fn pipelines_nested_too_deeply_fail_the_stage() {
    let long = format!("{} child=q | a", "n".repeat(119));
    let end = format!("{}:not-started a:skip({0})", "n".repeat(119));
    let (mut world, shown) =
        crate::world::World::start(crate::world::pipeline(&long), co_model::RunSettings::default()).unwrap();
    assert_eq!(shown, format!("=> failed subpipeline:{}:not-started", "n".repeat(119)));
    assert_eq!(world.stages(), end);
    assert_eq!(world.step("+1"), "");
}
