//! Consent to what stages want to run: asked at most once per question, kept, used, refused.

use co_model::{
    ApprovalPolicy, CallId, Command, DecisionSource, Event, GrantScope, RunSettings, SandboxMode,
    SandboxPolicy, ToolPolicy, Verdict,
};

use crate::world::{World, check, check_with, id, pipeline};

fn under(approval: ApprovalPolicy) -> RunSettings {
    RunSettings { policy: ToolPolicy { approval, ..ToolPolicy::default() }, ..RunSettings::default() }
}

#[test]
fn what_needs_no_consent_runs_at_once() {
    let world = check("a", &[("start", "a#1"), ("a=0", "=> succeeded")], "a:ok");
    assert_eq!(world.state.call_counts.not_required, 1);
    assert!(world.state.decisions.is_empty(), "what is taken for granted is counted only");
}

#[test]
fn a_yes_runs_the_command_and_a_no_fails_the_stage() {
    check("a asks", &[("start", "wake@3600000"), ("approve a", "a#1"), ("a=0", "=> succeeded")], "a:ok");
    check(
        "a asks | b",
        &[("start", "wake@3600000"), ("deny", "=> failed stage:a:denied")],
        "a:denied b:skip(a)",
    );
}

#[test]
fn nobody_answers_in_time_means_no() {
    let world = check(
        "a asks",
        &[("start", "wake@3600000"), ("+3600000", "=> failed stage:a:unanswered")],
        "a:unanswered",
    );
    let denied = &world.state.decisions[0].decision;
    assert!(!denied.approved && denied.actor.is_none());
}

#[test]
fn an_answer_that_comes_too_late_or_twice_is_refused() {
    let mut world =
        check("par=2: a asks needs= | b needs=", &[("start", "wake@3600000 b#1")], "a:consent? b:#1");
    assert_eq!(world.step("approve a"), "a#1");
    assert_eq!(world.step("approve a"), "refused: no question is open at stage `a`");
}

#[test]
fn never_neither_asks_nor_waits() {
    let steps = [("start", "=> failed stage:a:refused")];
    let world = check_with("a asks", under(ApprovalPolicy::Never), &steps, "a:refused");
    let decision = &world.state.decisions[0].decision;
    assert_eq!((decision.approved, decision.source), (false, DecisionSource::Policy));
    check_with("a", under(ApprovalPolicy::Never), &[("start", "a#1"), ("a=0", "=> succeeded")], "a:ok");
}

#[test]
fn a_consent_for_the_run_is_asked_once() {
    let steps = [("start", "wake@3600000"), ("run a", "a#1"), ("a=0", "b#1"), ("b=0", "=> succeeded")];
    let world = check("a asks | b asks", &steps, "a:ok b:ok");
    assert_eq!(
        (world.state.call_counts.approved_by_prompt, world.state.call_counts.approved_by_cache),
        (1, 1)
    );
    let sources: Vec<_> = world.state.decisions.iter().map(|decided| decided.decision.source).collect();
    assert_eq!(sources, [DecisionSource::Prompt, DecisionSource::Cache]);
}

#[test]
fn one_consent_is_for_one_time() {
    let steps = [
        ("start", "wake@3600000"),
        ("approve a", "a#1"),
        ("a=0", "wake@3600000"),
        ("approve b", "b#1"),
        ("b=0", "=> succeeded"),
    ];
    check("a asks | b asks", &steps, "a:ok b:ok");
}

#[test]
fn a_retry_of_an_approved_command_asks_nobody() {
    let steps = [
        ("start", "wake@3600000"),
        ("approve", "a#1"),
        ("a=1", "wake@10"),
        ("+10", "a#2"),
        ("a=0", "=> succeeded"),
    ];
    let world = check("a asks try=2 wait=10", &steps, "a:ok");
    assert_eq!(world.state.call_counts.requested, 1, "it is one call, tried twice");
}

#[test]
fn an_answer_while_nobody_owns_the_run_is_kept_and_used_once() {
    let steps = [
        ("start", "wake@3600000"),
        ("crash", ""),
        ("approve a", ""),
        ("resume", "a#1"),
        ("crash", ""),
        ("resume", "wake@3600000"),
    ];
    let world = check("a asks", &steps, "a:consent?");
    let first = &world.state.decisions[0].decision;
    assert_eq!((first.approved, first.source), (true, DecisionSource::Prompt));
    assert_eq!(first.actor.as_ref().map(co_model::Actor::as_str), Some("ann"));
    assert!(world.grants.iter().all(|grant| grant.uses_left == Some(0)));
}

#[test]
fn a_question_stays_open_over_a_resume() {
    let steps = [("start", "wake@3600000"), ("crash", ""), ("resume", "wake@3600000"), ("approve", "a#1")];
    check("a asks", &steps, "a:#1");
}

#[test]
fn what_the_sandbox_stopped_may_be_asked_for_without_it() {
    let steps =
        [("start", "a#1(ww)"), ("a=confined:1", "wake@3600000"), ("approve", "a#2"), ("a=0", "=> succeeded")];
    let world = check("a sandbox=ww", &steps, "a:ok");
    assert!(world.state.decisions[0].request.escalated);
    let refused =
        [("start", "a#1(ww)"), ("a=confined:3", "wake@3600000"), ("deny", "=> failed stage:a:failed")];
    check("a sandbox=ww", &refused, "a:3");
    let never = [("start", "a#1(ro)"), ("a=confined:3", "=> failed stage:a:failed")];
    check_with("a sandbox=ro", under(ApprovalPolicy::Never), &never, "a:3");
    // Without a sandbox none can have stopped it, whatever the output looked like.
    check("a", &[("start", "a#1"), ("a=confined:3", "=> failed stage:a:failed")], "a:3");
}

#[test]
fn what_passes_by_itself_is_tried_three_times() {
    let (mut world, shown) = World::start(pipeline("a"), RunSettings::default()).unwrap();
    assert_eq!(shown, "a#1");
    let mut waits = Vec::new();
    for attempt in 2..=3 {
        let wake = world.step("a=passing");
        let due: i64 = wake.strip_prefix("wake@").expect("a retry").parse().unwrap();
        let wait = due - world.now.as_millis();
        waits.push(wait);
        assert_eq!(world.step(&format!("+{wait}")), format!("a#{attempt}"));
    }
    assert!((125..=250).contains(&waits[0]) && (250..=500).contains(&waits[1]), "{waits:?}");
    assert_eq!(world.step("a=passing"), "=> failed stage:a:not-started");
}

#[test]
fn the_policy_confines_what_does_not_confine_itself() {
    let policy =
        ToolPolicy { sandbox: Some(SandboxPolicy::of(SandboxMode::ReadOnly)), ..ToolPolicy::default() };
    let settings = RunSettings { policy, ..RunSettings::default() };
    let steps = [("start", "a#1(ro)"), ("a=0", "b#1(ww)"), ("b=0", "c#1"), ("c=0", "=> succeeded")];
    check_with("a | b sandbox=ww | c sandbox=full", settings, &steps, "a:ok b:ok c:ok");
}

#[test]
fn several_open_questions_need_a_name() {
    let mut world = check(
        "par=2: a asks needs= | b asks needs=",
        &[("start", "wake@3600000 wake@3600000")],
        "a:consent? b:consent?",
    );
    assert_eq!(world.step("approve"), "refused: name the stage: `a`, `b` fit");
    let call = CallId("a#9".to_owned());
    let wrong = Command::Answer {
        stage: Some(id("a")),
        call: Some(call),
        scope: GrantScope::Once,
        verdict: Verdict::Approve,
        reason: None,
    };
    assert!(world.command(wrong).unwrap_err().to_string().contains("about call `a#9`"));
    assert_eq!(world.step("approve b"), "b#1");
}

#[test]
fn a_cancelled_run_asks_nothing_more() {
    let steps = [("start", "wake@3600000"), ("cancel", "=> cancelled cancelled by ann")];
    check("a asks | b", &steps, "a:cancelled b:skip(RunCancelled)");
}

#[test]
fn every_call_is_requested_decided_and_finished() {
    let world = check(
        "a asks | b",
        &[("start", "wake@3600000"), ("approve", "a#1"), ("a=0", "b#1"), ("b=1", "=> failed stage:b:failed")],
        "a:ok b:1",
    );
    let count = |name: &str| world.log.iter().filter(|recorded| recorded.event.name() == name).count();
    assert_eq!((count("call_requested"), count("call_decided"), count("call_finished")), (2, 2, 2));
    let finished = world.log.iter().filter_map(|recorded| match &recorded.event {
        Event::CallFinished { outcome, .. } => outcome.exit_code,
        _ => None,
    });
    assert_eq!(finished.collect::<Vec<_>>(), [0, 1]);
}
