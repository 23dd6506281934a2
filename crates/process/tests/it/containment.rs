//! Nothing survives: not a time-out, not a cancel, not the death of any of us.

use std::fs;

use co_process::{Containment, Tool, containment};

use crate::probe::{Probe, Scenario, Watched};

/// Starts a process that leaves its session, forks twice, clears its environment, ignores SIGTERM and keeps the
/// output pipe; then waits for its pid.
const ESCAPE: &str = r#"
    setsid sh -c 'trap "" TERM HUP INT; env -i F="$F" /bin/sh -c "echo \$\$ > $F/new; mv $F/new $F/escaped; exec /bin/sleep 300" &' &
    while [ ! -e $F/escaped ]; do /bin/sleep 0.01; done
    echo up
"#;

/// Waits until the test says so.
const WAIT_FOR_GO: &str = "while [ ! -e $F/go ]; do /bin/sleep 0.01; done";

/// A scenario in which the escape succeeded, with everybody in it watched.
struct Escaped {
    scenario: Scenario,
    probe: Probe,
    leader: Watched,
    fugitive: Watched,
    supervisor: Watched,
    zygote: Watched,
}

impl Escaped {
    fn start(scenario: Scenario) -> Self {
        let mut probe = scenario.start();
        let leader = Watched::pid(i32::try_from(probe.next("pid").as_i64().unwrap()).unwrap());
        probe.next("first_output");
        let fugitive = Watched::in_file(&scenario.path("escaped"));
        let supervisor = leader.parent();
        let zygote = supervisor.parent();
        assert_eq!(zygote.parent().pid, probe.pid());
        Self { scenario, probe, leader, fugitive, supervisor, zygote }
    }
}

fn escape_then(rest: &str) -> Scenario {
    Scenario::shell(&format!("{ESCAPE}\n{rest}"))
}

#[test]
fn this_platform_contains_descendants() {
    assert_eq!(containment(), Containment::Descendants);
}

#[test]
fn a_time_out_reaches_whoever_escaped() {
    let mut all = Escaped::start(escape_then("sleep 300").with("timeout_ms", 5000).with("grace_ms", 2000));
    let report = all.probe.next("report");
    assert_eq!(report["exit"], "TimedOut { after: 5s }");
    assert_eq!(report["survivors_killed"], 1);
    assert_eq!(report["drained"], true);
    assert!(all.fugitive.is_gone() && all.leader.is_gone());
    all.probe.finish();
}

#[test]
fn a_cancel_reaches_whoever_escaped() {
    let mut all = Escaped::start(escape_then("sleep 300"));
    all.probe.tell("immediate");
    assert_eq!(all.probe.next("report")["exit"], "Cancelled");
    assert!(all.fugitive.is_gone() && all.leader.is_gone());
    all.probe.finish();
}

#[test]
fn whoever_outlives_the_leader_is_killed_after_the_linger() {
    let mut all = Escaped::start(escape_then(&format!("{WAIT_FOR_GO}; exit 4")).with("linger_ms", 300));
    fs::write(all.scenario.path("go"), "").unwrap();
    let report = all.probe.next("report");
    assert_eq!(report["exit"], "Code(4)");
    assert_eq!(report["survivors_killed"], 1);
    assert!(all.fugitive.is_gone());
    all.probe.finish();
}

#[test]
fn a_background_process_that_ends_by_itself_is_waited_for() {
    let scenario = Scenario::shell(&format!("({WAIT_FOR_GO}; echo late) & echo early; exit 6"));
    let mut probe = scenario.start();
    assert_eq!(probe.next("leader"), "Code(6)");
    fs::write(scenario.path("go"), "").unwrap();
    let report = probe.next("report");
    assert_eq!(report["exit"], "Code(6)");
    assert_eq!(report["stdout"]["text"], "early\nlate\n");
    assert_eq!(report["survivors_killed"], 0);
    probe.finish();
}

#[test]
fn a_pipe_held_outside_the_group_does_not_hold_us() {
    let scenario = Scenario::shell(&format!("echo up; {WAIT_FOR_GO}; echo last"));
    let mut probe = scenario.start();
    let pid = probe.next("pid");
    probe.next("first_output");
    let held = fs::File::options().write(true).open(format!("/proc/{pid}/fd/1")).unwrap();
    fs::write(scenario.path("go"), "").unwrap();
    let report = probe.next("report");
    assert_eq!(report["exit"], "Code(0)");
    assert_eq!(report["stdout"]["text"], "up\nlast\n");
    assert_eq!(report["drained"], false);
    drop(held);
    probe.finish();
}

#[test]
fn nobody_outruns_the_killing() {
    let value = format!("forker-{}", co_process::current_process().unwrap());
    let line = "trap '' TERM; while :; do setsid sleep 300 & done";
    let report = Scenario::shell(line)
        .variable("CO_TEST_MARK", &value)
        .with("timeout_ms", 200)
        .with("grace_ms", 50)
        .report();
    assert_eq!(report["exit"], "TimedOut { after: 200ms }");
    assert_eq!(co_process::find_marked("CO_TEST_MARK", &value), []);
}

#[test]
fn only_the_group_holds_its_streams() {
    let all = Escaped::start(escape_then("sleep 300"));
    let pipes = || {
        let open = fs::read_dir(format!("/proc/{}/fd", all.supervisor.pid)).unwrap();
        let names = open.flatten().filter_map(|entry| fs::read_link(entry.path()).ok());
        names.filter(|name| name.to_string_lossy().starts_with("pipe:")).count()
    };
    // The pipe that told of the start may be closing just now.
    while pipes() > 0 {
        std::thread::yield_now();
    }
    all.probe.kill();
    all.supervisor.wait_gone();
}

#[test]
fn our_death_is_the_death_of_all() {
    let all = Escaped::start(escape_then("sleep 300"));
    all.probe.kill();
    for process in [&all.fugitive, &all.leader, &all.supervisor, &all.zygote] {
        process.wait_gone();
    }
}

#[test]
fn a_killed_supervisor_leaves_nobody() {
    let mut all = Escaped::start(escape_then("sleep 300").with("repeat", 2));
    all.supervisor.kill();
    let report = all.probe.next("report");
    assert_eq!(report["exit"], "Lost");
    assert_eq!(report["drained"], true);
    all.leader.wait_gone();
    all.fugitive.wait_gone();
    // The helper above it lives: it starts the next program.
    all.probe.next("pid");
    all.probe.kill();
}

#[test]
fn a_killed_zygote_ends_no_running_program_but_starts_no_other() {
    let scenario = escape_then(&format!("{WAIT_FOR_GO}; exit 8"));
    let mut all = Escaped::start(scenario.with("linger_ms", 100).with("repeat", 2));
    all.zygote.kill();
    all.zygote.wait_gone();
    fs::write(all.scenario.path("go"), "").unwrap();
    let report = all.probe.next("report");
    assert_eq!(report["exit"], "Code(8)");
    assert_eq!(report["survivors_killed"], 1);
    assert!(all.fugitive.is_gone());
    assert_eq!(all.probe.line_with("error")["text"], "the spawner is gone: Broken pipe (os error 32)");
}

#[test]
fn our_death_after_the_zygotes_is_the_death_of_all() {
    let all = Escaped::start(escape_then("sleep 300"));
    all.zygote.kill();
    all.zygote.wait_gone();
    all.probe.kill();
    for process in [&all.fugitive, &all.leader, &all.supervisor] {
        process.wait_gone();
    }
}

#[test]
fn the_epilogue_runs_after_an_unclean_end_when_all_is_gone() {
    let scenario = escape_then("sleep 300");
    let pipe = scenario.path("epilogue");
    assert!(Tool::new("mkfifo").arg(&pipe).run().unwrap().is_success());
    let line = "kill -0 $(cat $F/escaped) 2>/dev/null && s=alive || s=gone; echo $s in $(pwd) > $F/epilogue";
    let scenario = scenario.with("epilogue", vec!["sh", "-c", line]);
    let all = Escaped::start(scenario);
    all.probe.kill();
    // Opening the pipe waits for the epilogue, reading it for its end.
    let folder = all.scenario.folder.path().canonicalize().unwrap();
    assert_eq!(fs::read_to_string(pipe).unwrap(), format!("gone in {}\n", folder.display()));
    all.zygote.wait_gone();
}

#[test]
fn the_epilogue_runs_after_an_exit_without_goodbye_and_not_after_a_clean_one() {
    for (abruptly, runs) in [(true, true), (false, false)] {
        let scenario = Scenario::shell(&format!("echo up; {WAIT_FOR_GO}"))
            .with("epilogue", vec!["sh", "-c", "echo done > $F/epilogue"])
            .with("leave_abruptly", abruptly);
        let mut probe = scenario.start();
        let leader = Watched::pid(i32::try_from(probe.next("pid").as_i64().unwrap()).unwrap());
        let zygote = leader.parent().parent();
        fs::write(scenario.path("go"), "").unwrap();
        probe.next("report");
        probe.finish();
        zygote.wait_gone();
        assert_eq!(scenario.path("epilogue").exists(), runs);
    }
}
