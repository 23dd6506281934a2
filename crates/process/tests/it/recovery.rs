//! What is found and ended after everything of ours was killed.

use std::os::unix::process::ExitStatusExt as _;
use std::process::Command;
use std::time::Duration;

use co_process::{ProcessIdentity, current_process, find_marked, kill_all_marked};

use crate::probe::{Scenario, Watched};

/// A value that no other test and no other run of this one uses.
fn unique(test: &str) -> String {
    format!("{test}-{}", current_process().unwrap())
}

#[test]
fn marked_processes_are_found_and_killed() {
    let value = unique("marked");
    let mut marked = Command::new("sleep").arg("300").env("CO_TEST_MARK", &value).spawn().unwrap();
    let mut other =
        Command::new("sleep").arg("300").env("CO_TEST_MARK", value.clone() + "x").spawn().unwrap();

    let found = find_marked("CO_TEST_MARK", &value);
    let pids: Vec<i32> = found.iter().map(|identity| identity.pid).collect();
    assert_eq!(pids, [i32::try_from(marked.id()).unwrap()]);
    assert!(found[0].is_alive());

    assert_eq!(kill_all_marked("CO_TEST_MARK", &value, Duration::from_secs(30)).unwrap(), 1);
    assert!(!found[0].is_alive(), "a zombie is not alive");
    assert_eq!(marked.wait().unwrap().signal(), Some(9));
    assert!(other.try_wait().unwrap().is_none());
    assert_eq!(kill_all_marked("CO_TEST_MARK", &value, Duration::from_secs(30)).unwrap(), 0);
    other.kill().unwrap();
    other.wait().unwrap();
}

#[test]
fn what_survives_the_death_of_all_of_us_is_found_by_its_mark() {
    let value = unique("survivor");
    let line = "setsid sh -c 'echo $$ > $F/new; mv $F/new $F/pid; exec sleep 300' & while [ ! -e $F/pid ]; do sleep 0.01; done; echo up; sleep 300";
    let scenario = Scenario::shell(line).variable("CO_TEST_MARK", &value);
    let mut probe = scenario.start();
    let started = probe.line_with("pid");
    let identity: ProcessIdentity = started["started"].as_str().unwrap().parse().unwrap();
    probe.next("first_output");
    assert!(identity.is_alive());
    let leader = Watched::pid(identity.pid);
    let survivor = Watched::in_file(&scenario.path("pid"));
    let supervisor = leader.parent();
    let zygote = supervisor.parent();

    // Stopped first, so that nobody has the time to act on another's death.
    for process in [&zygote, &supervisor] {
        assert!(
            co_process::Tool::new("kill")
                .args(["-STOP", &process.pid.to_string()])
                .run()
                .unwrap()
                .is_success()
        );
    }
    zygote.kill();
    supervisor.kill();
    probe.kill();
    leader.wait_gone();
    assert!(!identity.is_alive());
    assert!(!survivor.is_gone());
    let killed = kill_all_marked("CO_TEST_MARK", &value, Duration::from_secs(30)).unwrap();
    assert!(killed >= 1);
    assert!(survivor.is_gone());
    assert_eq!(find_marked("CO_TEST_MARK", &value), []);
}
