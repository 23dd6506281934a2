//! What builder, tester and reviewer make of what was observed.

use co_engine::GuardrailStatus;
use co_model::{Judgement, Role};

use crate::world::{World, check};

/// The verdicts in the order they were given.
fn verdicts(world: &World) -> String {
    let shown = world.state.judgements.iter().map(|judged| {
        let Judgement { role, success, .. } = &judged.judgement;
        format!("{}:{}", role.as_str(), if *success { "yes" } else { "no" })
    });
    shown.collect::<Vec<_>>().join(" ")
}

fn reasons(world: &World, role: Role) -> String {
    world.state.judgement(role).unwrap().reasons.join(" ")
}

#[test]
fn each_role_gives_its_verdict_once_its_stages_are_over() {
    let world = check("a", &[("start", "a#1"), ("a=0", "=> succeeded")], "a:ok");
    assert_eq!(verdicts(&world), "builder:yes tester:yes reviewer:yes");
    let steps = [("start", "b#1"), ("b=0", "t#1")];
    let world = check("b | t role=tester | r role=reviewer", &steps, "b:ok t:#1 r:pending");
    assert_eq!(verdicts(&world), "builder:yes");
    let steps = [("start", "b#1"), ("b=0", "t#1"), ("t=4", "=> failed stage:t:failed")];
    let world = check("b | t role=tester | r role=reviewer", &steps, "b:ok t:4 r:skip(t)");
    assert_eq!(verdicts(&world), "builder:yes tester:no reviewer:no");
    assert!(reasons(&world, Role::Tester).contains("Stage `t` failed: exit code 4."));
}

#[test]
fn an_objection_rejects_whatever_else_succeeded() {
    let text = "a | t role=tester | r role=reviewer";
    let steps = [
        ("start", "a#1"),
        ("a=0", "t#1"),
        ("t=object", "r#1"),
        ("r=0", "=> failed test:rejected"),
        // What objected is asked again, and so is who decided on its word.
        ("resume", "t#2"),
        ("t=0", "r#2"),
        ("r=0", "=> succeeded"),
    ];
    let world = check(text, &steps, "a:ok t:ok r:ok");
    assert_eq!(verdicts(&world), "builder:yes tester:yes reviewer:yes");
    let steps = [("start", "a#1"), ("a=0", "t#1"), ("t=0", "r#1"), ("r=object", "=> failed review:rejected")];
    let world = check(text, &steps, "a:ok t:ok r:ok");
    assert!(reasons(&world, Role::Reviewer).contains("Stage `r` objects: not good"));
}

#[test]
fn no_word_of_an_agent_turns_a_failure_into_a_success() {
    for (how, end) in
        [("a=claims:1", "failed"), ("a=claims:130", "failed"), ("a=agent:truncated", "agent-failed")]
    {
        let failed = format!("=> failed stage:a:{end}");
        let (mut world, _) =
            World::start(crate::world::pipeline("a agent"), co_model::RunSettings::default()).unwrap();
        assert_eq!(world.step(how), failed, "{how}");
        assert_eq!(verdicts(&world), "builder:no tester:no reviewer:no");
    }
    // A failing reviewer that says nothing against the run still fails it.
    let steps = [("start", "a#1"), ("a=0", "r#1"), ("r=claims:2", "=> failed stage:r:failed")];
    check("a | r role=reviewer agent", &steps, "a:ok r:2");
}

#[test]
fn guardrails_are_evidence() {
    let sentence = |world: &World| GuardrailStatus::of(&world.state).sentence();
    let world = check("a", &[("start", "a#1"), ("a=0", "=> succeeded")], "a:ok");
    assert_eq!(sentence(&world), "Guardrails: none declared.");
    let missing = [("start", "a#1"), ("a=0", "=> failed guardrails:unsatisfied")];
    let world = check("guards: a", &missing, "a:ok");
    assert_eq!(sentence(&world), "Guardrails: required, but the pipeline has none.");
    assert!(GuardrailStatus::of(&world.state).recommendation().is_some());
    let steps = [("start", "a#1"), ("a=0", "g#1"), ("g=0", "=> succeeded")];
    let world = check("guards: a | g guard", &steps, "a:ok g:ok");
    assert_eq!(sentence(&world), "Guardrails: 1 of 1 succeeded.");
    assert_eq!(GuardrailStatus::of(&world.state).recommendation(), None);
    // A guardrail that may fail does not stop the run, but it proves nothing.
    let steps = [("start", "g#1"), ("g=1", "a#1"), ("a=0", "=> failed guardrails:unsatisfied")];
    let world = check("g guard allow | a", &steps, "g:1(allowed) a:ok");
    assert_eq!(sentence(&world), "Guardrails: 1 of 1 failed.");
    let steps = [("start", "a#1"), ("a=0", "=> failed guardrails:unsatisfied")];
    let world = check("guards: a | g guard when=failure", &steps, "a:ok g:skip(NothingFailed)");
    assert_eq!(sentence(&world), "Guardrails: none of 1 has run.");
    let steps =
        [("start", "g#1"), ("g=1", "=> failed stage:g:failed"), ("edit a", "a#1"), ("a=0", "=> succeeded")];
    let world = check("g guard | a", &steps, "a:ok g:1!");
    assert_eq!(sentence(&world), "Guardrails: none declared.", "a removed stage proves nothing");
}

#[test]
fn the_outcome_names_the_first_stage_that_failed() {
    let cases = [
        ("a", "a=timeout", "stage:a:timed-out"),
        ("a", "a=lost", "stage:a:lost"),
        ("a", "a=sig9", "stage:a:failed"),
        ("a", "a=missing", "stage:a:missing-outputs"),
        ("n child=q", "n=child:failed", "subpipeline:n:failed"),
        ("g gate=1", "deny", "stage:g:denied"),
        ("g gate=1", "+1", "stage:g:unanswered"),
        ("a role=planner | b", "a=pick:zz", "stage:a:invalid-selection"),
    ];
    for (text, step, detail) in cases {
        let (mut world, _) =
            World::start(crate::world::pipeline(text), co_model::RunSettings::default()).unwrap();
        assert_eq!(world.step(step), format!("=> failed {detail}"), "{text}");
    }
}
