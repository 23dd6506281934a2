//! One owner at a time: of a living run, of one that sleeps, and of one that two want.

use rustix::process::Signal;

use super::world::{Started, World, was_killed};
use crate::support::wait_for;

const WAITS: &str = r#"[{ "id": "p", "stages": [
    { "id": "b", "command": "sh ../stage.sh b 'until [ -e ../quick ]; do sleep 0.02; done'" }
] }]"#;

#[test]
fn a_living_run_is_not_resumed_and_the_attempt_is_recorded() {
    let world = World::new(WAITS);
    let mut started = Started::in_stage(&world, "b");
    let refused = world.project.run(&["resume", "--run", &started.run]).expect(11);
    assert!(refused.stderr.contains("is alive"), "{refused:#?}");
    world.touch("quick");
    assert_eq!(started.wait().code(), Some(0));
    let manifest = world.project.manifest(&started.run);
    let blocked = &manifest["resume_events"].as_array().unwrap()[0];
    assert_eq!(blocked["outcome"], "blocked", "{manifest:#}");
    assert_eq!(world.effects(), ["+b", "-b"]);
    world.all_agree();
}

#[test]
fn of_two_who_resume_at_once_one_wins() {
    let world = World::new(WAITS);
    for _ in 0..3 {
        let mut started = Started::in_stage(&world, "b");
        started.kill();
        let resume = || world.project.spawn(&["resume", "--run", &started.run]);
        let mut rivals = [resume(), resume()];
        let (loser, status) = wait_for("one gives way", || {
            rivals.iter_mut().enumerate().find_map(|(index, rival)| Some((index, rival.try_wait().unwrap()?)))
        });
        assert_eq!(status.code(), Some(11));
        world.touch("quick");
        assert_eq!(rivals[1 - loser].wait().unwrap().code(), Some(0));
        assert_eq!((world.count("+b"), world.count("-b"), world.count("overlap b")), (2, 1, 0));
        world.all_agree();
        world.remove("effects");
        world.remove("quick");
    }
}

#[test]
fn an_owner_that_slept_too_long_is_shut_out() {
    let world = World::new(WAITS);
    let config = world.outside("home/.config/codex-orchestrator");
    std::fs::create_dir_all(&config).unwrap();
    std::fs::write(config.join("config.toml"), "heartbeat_interval = \"200ms\"\nstale_after = \"2s\"\n")
        .unwrap();
    let mut sleeper = Started::in_stage(&world, "b");
    sleeper.signal(Signal::STOP);
    // Until it counts as gone, it counts as alive.
    let mut successor = wait_for("the run can be taken over", || {
        let mut resume = world.project.spawn(&["resume", "--run", &sleeper.run]);
        let taken_over = wait_for("the resume is refused or begins", || match resume.try_wait().unwrap() {
            Some(status) => {
                assert_eq!(status.code(), Some(11));
                Some(false)
            }
            None => (world.count("+b") == 2).then_some(true),
        });
        taken_over.then_some(resume)
    });
    // The last thing the successor records before its stage may end.
    let before = wait_for("the successor is in its stage", || {
        let events = world.events(&sleeper.run);
        let last = events.last().unwrap();
        (last["type"] == "attempt_started" && last["data"]["attempt"] == 2).then_some(events)
    });
    sleeper.signal(Signal::CONT);
    let woken = sleeper.wait();
    assert_eq!(woken.code(), Some(11), "it was taken over");
    assert_eq!(world.events(&sleeper.run), before, "it writes nothing");
    world.touch("quick");
    assert!(successor.wait().unwrap().success());
    assert_eq!((world.count("+b"), world.count("-b"), world.count("overlap b")), (2, 1, 0));
    world.wait_until_nothing_is_left();
    world.all_agree();
}

#[test]
fn a_day_that_is_set_back_stops_no_timer() {
    let world = World::new(
        r#"[{ "id": "p", "stages": [
            { "id": "b", "command": "sh ../stage.sh b '[ -e ../tried ] || { touch ../tried; exit 1; }'",
              "retry": { "max_attempts": 2, "backoff": "100ms" } },
            { "id": "g", "kind": "gate", "message": "?", "expires": "300ms", "allow_failure": true },
            { "id": "c", "command": "sh ../stage.sh c" }
        ] }]"#,
    );
    // An hour back every few looks: a timer by the time of day alone would never be due, and this
    // test would not end.
    let ended = world.probe(["start", "p"], "never", 0, "clock");
    assert!(!was_killed(&ended));
    assert_eq!(world.effects(), ["+b", "+b", "-b", "+c", "-c"]);
    let run = world.heads()[0].run.to_string();
    assert_eq!(world.status(&run), "succeeded");
    // `events` checks that no event is earlier than the one before it.
    assert!(!world.events(&run).is_empty());
    world.all_agree();
}
