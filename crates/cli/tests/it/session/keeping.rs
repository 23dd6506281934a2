//! Sessions that stay between commands.

use std::io::Write as _;
use std::process::Stdio;

use serde_json::json;

use super::Desk;
use crate::support::{Project, wait_for};

#[test]
fn what_one_script_sets_is_there_for_the_next() {
    let desk = Desk::new();
    desk.shell("dev");
    assert_eq!(desk.script("dev", "export WORD=kept; cd /"), (0, String::new()));
    assert_eq!(desk.script("dev", "echo $WORD; pwd"), (0, "kept\n/\n".to_owned()));
    assert_eq!(desk.script("dev", "(exit 7)").0, 7);
    // A script that ends its shell ends the session.
    assert_eq!(desk.script("dev", "exit 3").0, 3);
    assert_eq!(desk.script("dev", "true").0, 11);
}

#[test]
fn a_script_past_its_time_is_interrupted_and_the_shell_goes_on() {
    let desk = Desk::new();
    desk.shell("dev");
    let late =
        desk.run(&["session", "run", "dev", "sleep 600", "--timeout", "200ms", "--json"]).expect(12).json();
    assert_eq!((&late["ended"], &late["shell_lives"]), (&json!("timed_out"), &json!(true)), "{late}");
    assert_eq!(desk.script("dev", "echo back"), (0, "back\n".to_owned()));
}

#[test]
fn a_program_reads_what_is_written_until_its_input_is_closed() {
    let desk = Desk::new();
    desk.run(&["session", "start", "--name", "cat", "--", "cat"]).expect(0);
    let reply =
        desk.run(&["session", "write", "cat", "--text", "hello", "--enter", "--yield", "10000", "--json"]);
    assert_eq!(reply.expect(0).json()["output"], "hello\n");
    let mut writing = desk
        .command(&["session", "write", "cat"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    writing.stdin.take().unwrap().write_all(b"piped\n").unwrap();
    assert_eq!(writing.wait_with_output().unwrap().stdout, b"piped\n");
    desk.run(&["session", "close", "cat"]).expect(0);
    let ended = wait_for("the program ends with its input", || {
        Some(desk.listed("cat")).filter(|entry| entry["running"] == false)
    });
    assert_eq!((&ended["ended"], &ended["exit_code"]), (&json!("exited"), &json!(0)));
    desk.run(&["session", "write", "cat", "--text", "late"]).expect(11);
}

#[test]
fn sessions_are_listed_killed_and_pruned() {
    let desk = Desk::new();
    assert_eq!(desk.run(&["session", "list", "--json"]).expect(0).json(), json!({ "sessions": [] }));
    assert!(!desk.path(".runs").exists(), "looking makes nothing");
    desk.shell("a");
    desk.shell("b");
    desk.run(&["session", "start", "--name", "a", "--", "/bin/sh"]).expect(11);
    assert_eq!(desk.listed("a")["running"], true);
    let killed = desk.run(&["session", "kill", "a", "--json"]).expect(0).json();
    assert_eq!(killed["running"], false, "{killed}");
    assert_eq!(desk.run(&["session", "prune", "--json"]).expect(0).json(), json!({ "pruned": ["a"] }));
    assert!(desk.listed("a").is_null() && desk.listed("b")["running"] == true);
    let unknown = desk.run(&["session", "poll", "a"]).expect(4);
    assert!(unknown.stderr.contains("unknown session `a`"), "{unknown:?}");
    desk.run(&["session", "start", "--name", "a b", "--", "/bin/sh"]).expect(2);
    desk.run(&["session", "signal", "b", "NOPE"]).expect(2);
}

#[test]
fn sessions_end_with_a_killed_host_and_the_list_says_so() {
    let desk = Desk::new();
    desk.shell("dev");
    let (code, pid) = desk.script("dev", "echo $PPID $$");
    assert_eq!(code, 0);
    let shell: i32 = pid.split_whitespace().last().unwrap().parse().unwrap();
    let host = desk.host_pid();
    rustix::process::kill_process(host, rustix::process::Signal::KILL).unwrap();
    wait_for("the shell is gone", || {
        rustix::process::test_kill_process(rustix::process::Pid::from_raw(shell).unwrap())
            .is_err()
            .then_some(())
    });
    assert_eq!(desk.listed("dev")["ended"], "lost");
    let gone = desk.run(&["session", "run", "dev", "true"]).expect(4);
    assert!(gone.stderr.contains("has ended"), "{gone:?}");
    // The name is free for another.
    desk.shell("dev");
    assert_eq!(desk.script("dev", "echo new"), (0, "new\n".to_owned()));
}

#[test]
fn two_starts_at_once_meet_one_host() {
    let desk = Desk::new();
    let starts: Vec<_> =
        ["a", "b"].map(|name| desk.spawn(&["session", "start", "--name", name, "--", "/bin/sh"])).into();
    for mut start in starts {
        assert!(start.wait().unwrap().success());
    }
    assert_eq!(desk.script("a", "echo a"), (0, "a\n".to_owned()));
    assert_eq!(desk.script("b", "echo b"), (0, "b\n".to_owned()));
}

#[test]
fn a_secret_is_taken_out_of_reply_and_log() {
    const SECRET: &str = "ghp_0123456789abcdefghijABCDEFGHIJ012345";
    let desk = Desk::new();
    desk.shell("dev");
    let (code, output) = desk.script("dev", &format!("printf 'ghp_%s\\n' {}", &SECRET[4..]));
    assert!(code == 0 && output.contains("[redacted:") && !output.contains(SECRET), "{output}");
    desk.run(&["session", "write", "dev", "--text", &format!("echo {SECRET}"), "--enter", "--yield", "1000"]);
    let log = desk.listed("dev")["log"].as_str().unwrap().to_owned();
    let log = std::fs::read_to_string(log).unwrap();
    assert!(log.contains("[redacted:") && !log.contains(SECRET), "{log}");
}

#[test]
fn a_rule_holds_in_a_session() {
    let mut desk = Desk { project: Project::empty() };
    let home = desk.path("../codex-home");
    std::fs::create_dir_all(home.join("rules")).unwrap();
    let rules = "prefix_rule(pattern=[\"curl\"], decision=\"forbidden\")\nprefix_rule(pattern=[\"git\", \"push\"], decision=\"prompt\")\n";
    std::fs::write(home.join("rules/default.rules"), rules).unwrap();
    desk.project.set("CODEX_HOME", &home);
    desk.shell("dev");
    let forbidden = desk.run(&["session", "run", "dev", "true && curl example.invalid"]).expect(11);
    assert!(forbidden.stderr.contains("rejected"), "{forbidden:?}");
    let asked = desk.run(&["session", "run", "dev", "git push"]).expect(11);
    assert!(asked.stderr.contains("nobody to ask"), "{asked:?}");
    desk.run(&["session", "start", "--", "curl", "example.invalid"]).expect(11);
}

#[test]
fn a_terminal_session_has_a_terminal_of_the_size_it_was_given() {
    let desk = Desk::new();
    let start =
        ["session", "start", "--name", "t", "--tty", "--rows", "33", "--columns", "99", "--", "/bin/sh"];
    desk.run(&start).expect(0);
    assert_eq!(desk.listed("t")["tty"], true);
    desk.run(&["session", "resize", "t", "--rows", "40", "--columns", "100"]).expect(0);
    let seen =
        desk.run(&["session", "write", "t", "--text", "stty size", "--enter", "--yield", "1000"]).expect(0);
    assert!(seen.stdout.contains("40 100"), "{seen:?}");
}

impl Desk {
    /// The process that keeps the sessions: whoever holds its lock.
    fn host_pid(&self) -> rustix::process::Pid {
        let root = self.root().to_string_lossy().into_owned();
        let mut hosts = std::fs::read_dir("/proc").unwrap().filter_map(|entry| {
            let entry = entry.ok()?;
            let pid = entry.file_name().to_str()?.parse::<i32>().ok()?;
            let line = std::fs::read(entry.path().join("cmdline")).ok()?;
            let line = String::from_utf8_lossy(&line).replace('\0', " ");
            (line.contains(" session host ") && line.contains(&root)).then_some(pid)
        });
        // Its helper, forked from it, has the same command line and a larger number.
        let pid = hosts.by_ref().min().expect("a host");
        rustix::process::Pid::from_raw(pid).expect("a pid")
    }
}
