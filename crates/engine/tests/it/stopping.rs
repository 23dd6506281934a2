//! Stopping a run, and speaking to an agent while it works.

use co_model::Event;

use crate::world::check;

#[test]
fn a_cancel_ends_what_runs_and_closes_the_rest() {
    let text = "par=2: a needs= | b needs= agent | c needs=a | tidy when=always";
    let steps = [
        ("start", "a#1 b#1"),
        ("cancel", "stop:a#1 stop:b#1"),
        // A second request joins the first.
        ("cancel", ""),
        ("a=stopped", ""),
        ("b=stopped", "=> cancelled cancelled by ann"),
        ("cancel", "refused: the run is over (cancelled)"),
    ];
    check(text, &steps, "a:cancelled b:cancelled c:skip(RunCancelled) tidy:skip(RunCancelled)");
}

#[test]
fn what_ends_by_itself_during_a_cancel_is_told_as_it_was() {
    let text = "par=3: a needs= | b needs= try=3 | c needs=";
    let steps = [
        ("start", "a#1 b#1 c#1"),
        ("cancel", "stop:a#1 stop:b#1 stop:c#1"),
        ("a=0", ""),
        ("b=1", ""),
        ("c=sig9", "=> cancelled cancelled by ann"),
    ];
    check(text, &steps, "a:ok b:cancelled c:cancelled");
}

#[test]
fn a_cancel_ends_at_once_what_only_waits() {
    let steps = [("start", "wake@1000 a#1"), ("a=1", "wake@50"), ("cancel", "=> cancelled cancelled by ann")];
    let text = "g needs= gate=1000 | a needs= try=2 wait=50 | b";
    check(text, &steps, "g:cancelled a:cancelled b:skip(RunCancelled)");
}

#[test]
fn a_cancel_reaches_the_children() {
    let steps = [
        ("start", "n:r.n:q"),
        ("cancel", "cancel:r.n"),
        ("n=child:cancelled", "=> cancelled cancelled by ann"),
    ];
    check("n child=q | a", &steps, "n:cancelled a:skip(RunCancelled)");
    let steps = [
        ("start", "n:r.n:q"),
        ("cancel", "cancel:r.n"),
        ("n=child:succeeded", "=> cancelled cancelled by ann"),
    ];
    check("n child=q", &steps, "n:ok");
}

#[test]
fn an_interrupted_run_is_cancelled_without_waiting_for_anybody() {
    let text = "par=3: a needs= | n needs= child=q | g needs= gate=1000 | b";
    let steps = [
        ("start", "a#1 n:r.n:q wake@1000"),
        ("crash", ""),
        ("cancel", "cancel:r.n => cancelled cancelled by ann"),
    ];
    check(text, &steps, "a:cancelled n:cancelled g:cancelled b:skip(RunCancelled)");
}

#[test]
fn an_owner_lost_while_stopping_leaves_a_cancelled_run() {
    let text = "par=3: a needs= | n needs= child=q | b";
    let steps = [
        ("start", "a#1 n:r.n:q"),
        ("cancel", "stop:a#1 cancel:r.n"),
        // The child may not have been told.
        ("crash", "cancel:r.n => cancelled cancelled by ann"),
        ("crash", ""),
        ("n=child:cancelled", ""),
        ("resume", "a#2 n:r.n:q"),
    ];
    check(text, &steps, "a:#2 n:nested b:pending");
}

#[test]
fn the_reason_of_a_cancel_is_kept_whoever_finishes_it() {
    use co_model::Command;
    for lost in [false, true] {
        let mut world = check("a", &[("start", "a#1")], "a:#1");
        world.command(Command::Cancel { reason: Some("wrong branch".into()) }).unwrap();
        let end = if lost { "crash" } else { "a=stopped" };
        assert_eq!(world.step(end), "=> cancelled cancelled by ann: wrong branch");
    }
}

#[test]
fn a_child_waiting_for_its_turn_after_a_resume_is_cancelled_too() {
    let steps = [
        ("start", "n:r.n:q"),
        ("crash", ""),
        ("edit x | n child=q", "x#1"),
        ("cancel", "stop:x#1 cancel:r.n"),
        ("x=stopped", "=> cancelled cancelled by ann"),
    ];
    check("n child=q", &steps, "x:cancelled n:cancelled");
}

#[test]
fn a_message_becomes_the_next_turn_of_the_same_conversation() {
    let steps = [
        ("start", "a#1"),
        ("a~t", ""),
        ("steer a one", "tell:a#1:one"),
        ("steer a two", "tell:a#1:two"),
        ("a=0", "a#2@t[one,two]"),
        ("steer a three", "tell:a#2:three"),
        ("a=0", "a#3@t[three]"),
        ("a=0", "=> succeeded"),
        ("steer a", "refused: the run is over (succeeded)"),
    ];
    check("a agent", &steps, "a:ok");
}

#[test]
fn a_message_that_is_taken_up_within_the_turn_is_no_turn_of_its_own() {
    let steps = [
        ("start", "a#1"),
        ("a~t", ""),
        ("steer a one", "tell:a#1:one"),
        ("steer a two", "tell:a#1:two"),
        ("taken a", ""),
        // What was not taken up becomes the next turn.
        ("a=0", "a#2@t[two]"),
        ("taken a", ""),
        ("steer a three", "tell:a#2:three"),
        ("taken a", ""),
        ("a=agent:rate-limited", "wake@10"),
        ("+10", "a#3@t[two]"),
        ("a=0", "=> succeeded"),
    ];
    let world = check("a agent try=2 wait=10", &steps, "a:ok");
    let delivered = world.log.iter().filter_map(|recorded| match &recorded.event {
        Event::SteerDelivered { count, in_turn, .. } => Some((*count, *in_turn)),
        _ => None,
    });
    assert_eq!(delivered.collect::<Vec<_>>(), [(1, true), (1, false), (1, true)]);
}

#[test]
fn a_turn_that_a_person_added_is_not_a_retry() {
    let steps = [
        ("start", "a#1"),
        ("steer a one", "tell:a#1:one"),
        ("a=0", "a#2[one]"),
        ("a=agent:rate-limited", "wake@10"),
        // The message goes into the next try as well: it was not heard.
        ("+10", "a#3[one]"),
        ("a=agent:rate-limited", "=> failed stage:a:agent-failed"),
    ];
    check("a agent try=2 wait=10", &steps, "a:agent-failed");
}

#[test]
fn a_message_is_not_lost_with_the_owner() {
    let steps = [
        ("start", "a#1"),
        ("a~t", ""),
        ("steer a one", "tell:a#1:one"),
        ("a=0", "a#2@t[one]"),
        ("steer a two", "tell:a#2:two"),
        ("crash", ""),
        ("resume", "a#3@t[one]"),
        ("a=0", "a#4@t[two]"),
        ("a=0", "=> succeeded"),
    ];
    check("a agent", &steps, "a:ok");
}

#[test]
fn a_message_waits_until_the_prompt_has_been_heard() {
    let steps = [
        ("start", "a#1"),
        ("steer a one", "tell:a#1:one"),
        ("a=agent:rate-limited", "wake@10"),
        ("steer a two", "refused: no agent is at work at stage `a`"),
        ("+10", "a#2"),
        ("a=0", "a#3[one]"),
    ];
    check("a agent try=2 wait=10", &steps, "a:#3");
}

#[test]
fn nobody_is_spoken_to_but_an_agent_at_work() {
    let text = "par=3: a needs= agent | b needs= agent | c needs= | d agent";
    let steps = [
        ("start", "a#1 b#1 c#1"),
        ("steer", "refused: name the stage: `a`, `b` fit"),
        ("steer c", "refused: no agent is at work at stage `c`"),
        ("steer d", "refused: no agent is at work at stage `d`"),
        ("b=0", ""),
        ("steer", "tell:a#1:hey"),
        ("cancel", "stop:a#1 stop:c#1"),
        // An agent that is being stopped has no further turn.
        ("steer", "refused: no agent is at work"),
        ("a=0", ""),
        ("c=0", "=> cancelled cancelled by ann"),
    ];
    check(text, &steps, "a:ok b:ok c:ok d:skip(RunCancelled)");
    check("a", &[("start", "a#1"), ("steer", "refused: no agent is at work")], "a:#1");
}
