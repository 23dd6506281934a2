//! Death in mid-stage: of the program, of everything at once, and by the signals of a person.

use rustix::process::{Pid, Signal, kill_process};

use super::world::{Started, World};
use crate::support::wait_for;

/// Stage `b` goes on until `../quick` is there.
const STOPS_AT_B: &str = r#"[{ "id": "p", "stages": [
    { "id": "a", "command": "sh ../stage.sh a" },
    { "id": "b", "command": "sh ../stage.sh b 'until [ -e ../quick ]; do sleep 0.02; done'" },
    { "id": "c", "command": "sh ../stage.sh c" }
] }]"#;

const NESTED: &str = r#"[
    { "id": "p", "stages": [
        { "id": "n", "kind": "pipeline", "pipeline": "child" },
        { "id": "c", "command": "sh ../stage.sh c" }
    ] },
    { "id": "child", "stages": [
        { "id": "b", "command": "sh ../stage.sh b 'until [ -e ../quick ]; do sleep 0.02; done'" }
    ] }
]"#;

/// What is left of `STOPS_AT_B` once it was interrupted in `b`.
#[track_caller]
fn resumes_well(world: &World, run: &str) {
    let mut resume = world.project.spawn(&["resume", "--run", run]);
    wait_for("the stage begins again", || (world.count("+b") == 2).then_some(()));
    // What an earlier owner has left may not live to see this.
    world.touch("quick");
    assert!(resume.wait().unwrap().success());
    assert_eq!(world.effects().last().unwrap(), "-c");
    for (effect, count) in [("+a", 1), ("+b", 2), ("-b", 1), ("+c", 1), ("overlap b", 0)] {
        assert_eq!(world.count(effect), count, "{effect}: {:?}", world.effects());
    }
    world.wait_until_nothing_is_left();
    world.all_agree();
}

#[test]
fn a_killed_program_leaves_word_and_nothing_else() {
    let world = World::new(STOPS_AT_B);
    let mut started = Started::in_stage(&world, "b");
    started.kill();
    // Nobody looks at the run: the program's helper, which outlives it, records the end.
    wait_for("the end is recorded", || (world.status(&started.run) == "interrupted").then_some(()));
    world.wait_until_nothing_is_left();
    let shown = world.project.run(&["status", "--run", &started.run, "--json"]).expect(0).json();
    assert_eq!(shown["status"], "interrupted", "{shown:#}");
    wait_for("the views are written", || {
        (world.project.manifest(&started.run)["status"] == "interrupted").then_some(())
    });
    resumes_well(&world, &started.run);
}

#[test]
fn what_was_on_its_way_to_start_is_not_started_after_death() {
    let world = World::new(STOPS_AT_B);
    let mut started = Started::in_stage(&world, "b");
    let zygote = Pid::from_raw(started.helpers("co-zygote")[0]).unwrap();
    kill_process(zygote, Signal::STOP).unwrap();
    world.touch("quick");
    wait_for("the next stage is asked for", || {
        let events = world.events(&started.run);
        let starting = events.iter().filter(|event| event["type"] == "attempt_starting");
        (starting.count() == 3).then_some(())
    });
    started.kill();
    kill_process(zygote, Signal::CONT).unwrap();
    wait_for("the end is recorded", || (world.status(&started.run) == "interrupted").then_some(()));
    world.wait_until_nothing_is_left();
    assert_eq!(world.count("+c"), 0);
    world.project.run(&["resume", "--run", &started.run]).expect(0);
    assert_eq!(world.effects(), ["+a", "-a", "+b", "-b", "+c", "-c"]);
    world.all_agree();
}

#[test]
fn when_everything_of_ours_is_killed_at_once_what_stages_left_is_found_and_ended() {
    let world = World::new(STOPS_AT_B);
    let mut started = Started::in_stage(&world, "b");
    // Without the one that watches over them, grandchildren live on.
    started.kill_whole_tree();
    assert_eq!(world.status(&started.run), "in_progress");
    resumes_well(&world, &started.run);
}

#[test]
fn a_dry_run_tells_what_is_to_be_done_and_does_nothing() {
    let world = World::new(STOPS_AT_B);
    let mut started = Started::in_stage(&world, "b");
    started.kill_whole_tree();
    let (events, files) = (world.events(&started.run), world.files());
    let reports = world.project.run(&["recover", "--dry-run", "--json"]).expect(0).json();
    let report = &reports[0];
    assert_eq!(report["run_id"], started.run.as_str(), "{reports:#}");
    assert_eq!(report["result"], "planned", "{reports:#}");
    let steps: Vec<&str> =
        report["steps"].as_array().unwrap().iter().map(|step| step.as_str().unwrap()).collect();
    assert!(steps.iter().any(|step| step.starts_with("mark as interrupted")), "{steps:?}");
    assert_eq!(steps.last(), Some(&"write the views from the log"));
    assert_eq!(report["on_resume"], serde_json::json!(["run stage b", "run stage c"]));
    assert_eq!(world.events(&started.run), events);
    assert_eq!(world.files(), files);
    assert_eq!(world.status(&started.run), "in_progress");
    resumes_well(&world, &started.run);
}

#[test]
fn children_are_interrupted_with_their_parent() {
    let world = World::new(NESTED);
    let mut started = Started::in_stage(&world, "b");
    started.kill_whole_tree();
    let child = format!("{}.n", started.run);
    assert_eq!(world.status(&child), "in_progress");
    // Only the parent is named.
    world.project.run(&["recover", "--run", &started.run]).expect(0);
    assert_eq!(world.status(&started.run), "interrupted");
    assert_eq!(world.status(&child), "interrupted");
    assert_eq!(world.marked(), Vec::<i32>::new());
    world.all_agree();
    world.touch("quick");
    world.project.run(&["resume", "--run", &started.run]).expect(0);
    assert_eq!(world.status(&child), "succeeded");
    world.all_agree();
}

#[test]
fn cancelling_a_run_without_an_owner_cancels_its_children() {
    let world = World::new(NESTED);
    let mut started = Started::in_stage(&world, "b");
    started.kill_whole_tree();
    world.project.run(&["cancel", "--run", &started.run]).expect(0);
    assert_eq!(world.status(&started.run), "cancelled");
    assert_eq!(world.status(&format!("{}.n", started.run)), "cancelled");
    assert_eq!(world.marked(), Vec::<i32>::new());
    world.all_agree();
}

#[test]
fn a_child_whose_stage_was_edited_away_is_cancelled_by_the_resume() {
    let world = World::new(NESTED);
    let mut started = Started::in_stage(&world, "b");
    started.kill_whole_tree();
    world
        .project
        .write_pipelines(r#"[{ "id": "p", "stages": [{ "id": "c", "command": "sh ../stage.sh c" }] }]"#);
    world.project.run(&["resume", "--run", &started.run]).expect(0);
    assert_eq!(world.status(&started.run), "succeeded");
    assert_eq!(world.status(&format!("{}.n", started.run)), "cancelled");
    assert_eq!(world.marked(), Vec::<i32>::new());
    world.all_agree();
}

#[test]
fn a_signal_cancels_the_run_and_is_told_by_the_exit_code() {
    let world = World::new(STOPS_AT_B);
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let mut started = Started::in_stage(&world, "b");
        started.signal(signal);
        assert_eq!(started.wait().code(), Some(code));
        assert_eq!(world.marked(), Vec::<i32>::new());
        let manifest = world.project.manifest(&started.run);
        assert_eq!(manifest["status"], "cancelled", "{manifest:#}");
        assert!(manifest["completed_at"].is_string(), "{manifest:#}");
        let metrics = world.project.json_file(".runs/local/metrics.json");
        let runs = metrics["runs"].as_array().unwrap();
        assert!(runs.iter().any(|run| run["run_id"] == started.run.as_str()), "{metrics:#}");
        world.remove("effects");
    }
    world.all_agree();
}

#[test]
fn a_second_signal_does_not_wait_for_a_stubborn_stage() {
    let world = World::new(
        r#"[{ "id": "p", "stages": [{ "id": "b",
            "command": "trap '' TERM; sh ../stage.sh b 'while :; do sleep 0.05; done'" }] }]"#,
    );
    let mut took = Vec::new();
    // A stage that is asked gently has two seconds to end by itself, always; a machine that is too busy to give and
    // obey the second signal within them is not so every time.
    while took.iter().all(|took| *took >= 2_000) {
        assert!(took.len() < 5, "{took:?} ms");
        let mut started = Started::in_stage(&world, "b");
        started.signal(Signal::INT);
        wait_for("the first is recorded", || {
            let events = world.events(&started.run);
            events.iter().any(|event| event["type"] == "cancel_requested").then_some(())
        });
        started.signal(Signal::INT);
        assert_eq!(started.wait().code(), Some(130));
        assert_eq!(world.marked(), Vec::<i32>::new());
        let events = world.events(&started.run);
        let at = |name: &str| {
            let event = events.iter().find(|event| event["type"] == name).unwrap();
            let text = event["at"].as_str().unwrap();
            millis_of_the_day(text)
        };
        took.push(at("attempt_finished") - at("cancel_requested"));
        world.remove("effects");
    }
    world.all_agree();
}

/// Milliseconds of the day in `2026-01-01T10:20:30.456Z`; near midnight the difference of two may
/// be negative, which is less than any bound.
fn millis_of_the_day(text: &str) -> i64 {
    let time = text.split('T').nth(1).unwrap().trim_end_matches('Z');
    let (clock, fraction) = time.split_once('.').unwrap();
    let seconds = clock.split(':').fold(0, |sum, part| sum * 60 + part.parse::<i64>().unwrap());
    seconds * 1_000 + fraction.parse::<i64>().unwrap()
}

#[test]
fn a_killed_helper_ends_its_stage_and_the_run_says_so() {
    let world = World::new(STOPS_AT_B);
    let mut started = Started::in_stage(&world, "b");
    // The supervisor alone: its stage dies with it, and nobody saw how that ended.
    let supervisor = wait_for("that of the stage before is gone", || {
        let supervisors = started.helpers("co-supervisor");
        (supervisors.len() == 1).then(|| supervisors[0])
    });
    kill_process(Pid::from_raw(supervisor).unwrap(), Signal::KILL).unwrap();
    assert_eq!(started.wait().code(), Some(10));
    world.wait_until_nothing_is_left();
    assert_eq!(world.status(&started.run), "failed");
    resumes_well(&world, &started.run);
}
