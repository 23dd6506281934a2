//! Going on by stage identity.

use co_model::{Event, RunSettings, StageDrift};

use crate::world::{check, check_with, id};

#[test]
fn an_inserted_stage_is_run_and_a_success_is_kept() {
    // The first of the twenty checks: fail at b, insert x before b, resume.
    let steps = [
        ("start", "a#1"),
        ("a=0", "b#1"),
        ("b=1", "=> failed stage:b:failed"),
        ("edit a | x | b | c", "x#1"),
        ("x=0", "b#2"),
        ("b=0", "c#1"),
        ("c=0", "=> succeeded"),
    ];
    let world = check("a | b | c", &steps, "a:ok x:ok b:ok c:ok");
    let drift = &world.state.resumes[0].drift;
    assert_eq!(drift.stages, [StageDrift::Added { stage: id("x") }], "position is no difference");
}

#[test]
fn position_plays_no_part() {
    let steps = [
        ("start", "a#1"),
        ("a=0", "b#1"),
        ("b=1", "=> failed stage:b:failed"),
        ("edit c | b | a title=new", "c#1"),
        ("c=0", "b#2"),
        ("b=0", "=> succeeded"),
    ];
    check("a | b | c", &steps, "c:ok b:ok a:ok");
}

#[test]
fn a_verdict_is_given_again_on_work_that_is_done_again() {
    let steps = [
        ("start", "a#1"),
        ("a=1", "t#1"),
        ("t=0", "=> failed stage:a:failed"),
        ("resume", "a#2"),
        ("a=0", "t#2"),
        ("t=0", "=> succeeded"),
    ];
    check("a | t role=tester when=always", &steps, "a:ok t:ok");
}

#[test]
fn a_kept_success_lets_nothing_overtake_what_runs_again() {
    let steps = [
        ("start", "a#1"),
        ("a=1", "b#1"),
        ("b=0", "=> failed stage:a:failed"),
        ("resume", "a#2"),
        ("a=0", "c#1"),
    ];
    check("par=3: a | b when=always | c", &steps, "a:ok b:ok c:#1");
}

#[test]
fn a_removed_stage_stays_on_record_and_counts_for_nothing() {
    let steps = [
        ("start", "a#1"),
        ("a=1", "=> failed stage:a:failed"),
        ("edit b needs=a", "b#1"),
        ("b=0", "=> succeeded"),
    ];
    check("a | b needs=a", &steps, "b:ok a:1!");
    let steps = [("start", "a#1"), ("crash", ""), ("edit b", "b#1"), ("b=0", "=> succeeded")];
    let world = check("a | b", &steps, "b:ok a:skip(Removed)!");
    assert!(world.state.stage(&id("a")).unwrap().finished_at.is_some());
}

#[test]
fn a_stage_that_comes_back_is_a_new_one() {
    let steps = [
        ("start", "a#1"),
        ("a~t", ""),
        ("a=0", "b#1"),
        ("b=1", "=> failed stage:b:failed"),
        ("edit b", "b#2"),
        ("b=1", "=> failed stage:b:failed"),
        // Whether it is the same as back then is no question: the pipeline in force had none.
        ("edit a agent | b", "a#2"),
        ("a=0", "b#3"),
    ];
    check("a agent | b", &steps, "a:ok b:#3");
}

#[test]
fn a_changed_stage_runs_again_in_a_new_conversation() {
    let steps = [
        ("start", "a#1"),
        ("a~t", ""),
        ("a=0", "b#1"),
        ("b~u", ""),
        ("b=1", "=> failed stage:b:failed"),
        ("edit a agent v=2 | b agent", "a#2"),
        ("a=0", "b#2@u"),
        ("b=0", "=> succeeded"),
    ];
    check("a agent | b agent", &steps, "a:ok b:ok");
}

#[test]
fn an_agent_goes_on_in_its_conversation_after_a_crash() {
    let steps = [
        ("start", "a#1"),
        ("a~t", ""),
        ("crash", ""),
        ("a=0", ""),
        ("resume", "a#2@t"),
        ("a=agent:rate-limited", "wake@5"),
        ("+5", "a#3@t"),
        ("a=0", "=> succeeded"),
    ];
    check("a agent try=2 wait=5", &steps, "a:ok");
}

#[test]
fn open_attempts_are_lost_with_the_owner() {
    let steps = [("start", "a#1 b#1"), ("a=0", ""), ("crash", ""), ("crash", ""), ("+5", "")];
    let world = check("par=2: a needs= | b needs= | c", &steps, "a:ok b:interrupted c:pending");
    let ends: Vec<_> = world.state.stages.iter().flat_map(|record| &record.attempts).collect();
    assert!(matches!(ends[0].end, co_engine::AttemptEnd::Reported(_)));
    assert!(matches!(ends[1].end, co_engine::AttemptEnd::Lost) && ends[1].finished_at.is_some());
    assert_eq!(world.state.status().as_str(), "interrupted");
}

#[test]
fn a_planners_choice_holds_as_long_as_its_success() {
    let text = "p role=planner | a | b";
    let begun = [("start", "p#1"), ("p=pick:b", "b#1"), ("b=1", "=> failed stage:b:failed")];
    let kept = [("resume", "b#2"), ("b=0", "=> succeeded")];
    check(text, &[&begun[..], &kept[..]].concat(), "p:ok a:skip(NotPlanned) b:ok");
    let asked_again = [("edit p role=planner v=2 | a | b", "p#2"), ("p=pick:a,b", "a#1")];
    check(text, &[&begun[..], &asked_again[..]].concat(), "p:ok a:#1 b:pending");
    let removed = [("edit a | b", "a#1")];
    check(text, &[&begun[..], &removed[..]].concat(), "a:#1 b:pending p:ok!");
    let edited = [("edit p role=planner | a v=2 | b", "a#1")];
    check(text, &[&begun[..], &edited[..]].concat(), "p:ok a:#1 b:pending");
}

#[test]
fn a_planner_may_choose_again_what_has_succeeded() {
    let steps = [
        ("start", "p#1"),
        ("p=pick:a,b", "a#1"),
        ("a=0", "b#1"),
        ("b=1", "=> failed stage:b:failed"),
        ("edit p role=planner v=2 | a | b | c", "p#2"),
        ("p=pick:a,b", "b#2"),
        ("b=0", "=> succeeded"),
    ];
    check("p role=planner | a | b | c", &steps, "p:ok a:ok b:ok c:skip(NotPlanned)");
}

#[test]
fn a_resume_plans_again_with_the_stored_target() {
    let settings = || RunSettings { target: Some("b".into()), ..RunSettings::default() };
    let steps = [
        ("start", "a#1"),
        ("a=0", "b#1"),
        ("b=1", "=> failed stage:b:failed"),
        ("edit a | b needs=a | c | x needs=", "b#2"),
        ("crash", ""),
        ("edit a | b needs=x | c | x needs=", "x#1"),
        ("x=0", "b#3"),
        ("b=1", "=> failed stage:b:failed"),
        (
            "edit a | c",
            "refused: the pipeline as it is now cannot be planned: pipeline `p` has no stage `b`; it has `a`, `c`",
        ),
    ];
    check_with("a | b needs=a | c", settings(), &steps, "a:ok b:1 c:skip(NotTargeted) x:ok");
}

#[test]
fn a_resume_is_refused_when_there_is_nothing_to_go_on_with() {
    let steps = [
        ("start", "a#1"),
        ("resume", "refused: the run is still under way"),
        ("cancel", "stop:a#1"),
        ("resume", "refused: the run is still under way"),
        ("a=stopped", "=> cancelled cancelled by ann"),
        ("edit id=other: a", "refused: the run is of pipeline `p`, not `other`"),
        (
            "edit a needs=a",
            "refused: the pipeline as it is now cannot be planned: these stages wait for each other, or for a \
             later role: `a`",
        ),
        ("resume", "a#2"),
        ("a=0", "=> succeeded"),
        ("resume", "refused: the run has succeeded; there is nothing left to resume"),
    ];
    check("a", &steps, "a:ok");
}

#[test]
fn everything_but_a_success_is_decided_anew() {
    let steps = [
        ("start", "a#1"),
        ("a=1", "b#1"),
        ("b=1", "tidy#1"),
        ("tidy=0", "d#1"),
        ("d=1", "=> failed stage:b:failed"),
        ("resume", "a#2"),
        ("a=0", "b#2"),
        // `tidy` has done its work.
        ("b=0", "c#1"),
        ("c=0", "=> succeeded"),
    ];
    let text = "a allow | b | note when=failure off | tidy when=failure | c | d when=failure";
    check(text, &steps, "a:ok b:ok note:skip(NotTargeted) tidy:ok c:ok d:skip(NothingFailed)");
}

#[test]
fn a_refused_or_half_known_event_leaves_the_state_as_it_was() {
    use co_engine::{ReplayError, RunState};
    use co_model::{EventSeq, Recorded};
    let world = check("p role=planner | a", &[("start", "p#1")], "p:#1 a:pending");
    let next = |event| Recorded { seq: EventSeq(world.state.last_seq.0 + 1), at: world.now, event };
    let narrowed = Event::SelectionNarrowed { by: id("p"), left_out: vec![id("a"), id("ghost")] };
    let creation = world.log[0].event.clone();
    let mut gap = next(Event::RunStarted);
    gap.seq.0 += 1;
    for bad in
        [next(narrowed), next(Event::QuestionExpired { stage: id("a"), call: None }), next(creation), gap]
    {
        let mut state = world.state.clone();
        match state.evolve(&bad) {
            Ok(()) => assert!(matches!(bad.event, Event::QuestionExpired { .. }), "{bad:?}"),
            Err(_) => assert_eq!(state, world.state, "{bad:?}"),
        }
    }
    assert_eq!(RunState::replay(&[]), Err(ReplayError::Empty));
    let headless = RunState::replay(&world.log[1..]);
    assert_eq!(headless, Err(ReplayError::NotCreated { found: "run_planned" }));
}

#[test]
fn a_plan_made_by_other_rules_is_taken_as_it_is() {
    use co_engine::{Input, RunState, decide};
    use co_model::Recorded;
    let world = check("a | b", &[("start", "a#1")], "a:#1 b:pending");
    let mut log: Vec<Recorded> = world.log[..3].to_vec();
    let Event::RunPlanned(plan) = &mut log[1].event else { panic!("{log:?}") };
    plan.stages.reverse();
    let state = RunState::replay(&log).unwrap();
    let decision = decide(&state, world.now, Input::Tick).unwrap();
    assert_eq!(decision.events.last(), Some(&Event::AttemptStarting { stage: id("b"), attempt: 1 }));
    let Event::RunPlanned(plan) = &mut log[1].event else { panic!("{log:?}") };
    plan.stages[0].stage = id("ghost");
    assert!(RunState::replay(&log).is_err());
}

#[test]
fn a_stage_keeps_its_conversation_whatever_a_later_turn_names() {
    let steps = [
        ("start", "a#1"),
        ("a~t1", ""),
        ("a=1", "=> failed stage:a:failed"),
        ("resume", "a#2@t1"),
        ("a~t2", ""),
        ("a=1", "=> failed stage:a:failed"),
        ("resume", "a#3@t1"),
    ];
    check("a agent", &steps, "a:#3");
}
