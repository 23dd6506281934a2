//! Sessions that stay between commands.

use std::io::Write as _;
use std::process::Stdio;

use serde_json::{Value, json};

use super::Desk;
use crate::support::wait_for;

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
    desk.run(&["session", "start", "--name", "dev", "--tty", "--", "/bin/sh"]).expect(0);
    assert_eq!(desk.script("dev", "export KEPT=still").0, 0);
    let late =
        desk.run(&["session", "run", "dev", "sleep 600", "--timeout", "1s", "--json"]).expect(12).json();
    assert_eq!((&late["ended"], &late["shell_lives"]), (&json!("timed_out"), &json!(true)), "{late}");
    assert_eq!(desk.script("dev", "echo $KEPT"), (0, "still\n".to_owned()));
}

#[test]
fn a_program_reads_what_is_written_until_its_input_is_closed() {
    let desk = Desk::new();
    desk.run(&["session", "start", "--name", "cat", "--", "cat"]).expect(0);
    let reply = desk.run(&["session", "write", "cat", "--text", "hello", "--enter"]).expect(0);
    assert_eq!(desk.with_rest("cat", reply.stdout), "hello\n");
    let mut writing = desk
        .command(&["session", "write", "cat"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    writing.stdin.take().unwrap().write_all(b"piped\n").unwrap();
    let reply = String::from_utf8(writing.wait_with_output().unwrap().stdout).unwrap();
    assert_eq!(desk.with_rest("cat", reply), "piped\n");
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
    assert_eq!(desk.listed("a")["output_bytes"], 2);
}

#[test]
fn a_secret_is_taken_out_of_reply_and_log() {
    const SECRET: &str = "ghp_0123456789abcdefghijABCDEFGHIJ012345";
    let desk = Desk::new();
    desk.shell("dev");
    let (code, output) = desk.script("dev", &format!("printf 'ghp_%s\\n' {}", &SECRET[4..]));
    assert!(code == 0 && output.contains("[redacted:") && !output.contains(SECRET), "{output}");
    desk.run(&["session", "write", "dev", "--text", &format!("echo {SECRET}"), "--enter"]);
    let log = desk.listed("dev")["log"].as_str().unwrap().to_owned();
    let log = wait_for("the shell has answered", || {
        std::fs::read_to_string(&log).ok().filter(|log| log.ends_with('\n'))
    });
    assert!(log.contains("[redacted:") && !log.contains(SECRET), "{log}");
}

#[test]
fn a_rule_holds_in_a_session() {
    let rules = "prefix_rule(pattern=[\"curl\"], decision=\"forbidden\")\nprefix_rule(pattern=[\"git\", \"push\"], decision=\"prompt\")\n";
    let desk = Desk::with_settings("", rules);
    desk.shell("dev");
    let forbidden = desk.run(&["session", "run", "dev", "true && curl example.invalid"]).expect(11);
    assert!(forbidden.stderr.contains("rejected"), "{forbidden:?}");
    let asked = desk.run(&["session", "run", "dev", "git push"]).expect(11);
    assert!(asked.stderr.contains("nobody to ask"), "{asked:?}");
    // Whoever asks nobody refuses at once.
    let never = desk.run(&["session", "run", "dev", "git push", "--approval-policy", "never"]).expect(11);
    assert!(never.stderr.contains("AskForApproval is set to Never"), "{never:?}");
    let typed =
        desk.run(&["session", "write", "dev", "--text", "curl example.invalid", "--enter"]).expect(11);
    assert!(typed.stderr.contains("rejected"), "{typed:?}");
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
    let mut seen = desk.run(&["session", "write", "t", "--text", "stty size", "--enter"]).expect(0).stdout;
    wait_for("the size is shown", || {
        seen += &desk.run(&["session", "poll", "t", "--yield", "0"]).expect(0).stdout;
        seen.contains("40 100").then_some(())
    });
}

#[test]
fn a_client_that_is_killed_leaves_the_session_and_its_output() {
    let desk = Desk::new();
    desk.run(&["session", "start", "--name", "cat", "--", "/bin/sh", "-c", "echo up; exec cat"]).expect(0);
    let mut waiting = desk.spawn(&["session", "poll", "cat", "--yield", "300000"]);
    // It has a thread of the host once it waits.
    wait_for("the client waits", || (desk.clients_of_host() > 0).then_some(()));
    waiting.kill().unwrap();
    waiting.wait().unwrap();
    let reply = desk.run(&["session", "write", "cat", "--text", "still", "--enter"]).expect(0);
    assert_eq!(desk.with_rest("cat", reply.stdout), "still\n");
}

#[test]
fn two_clients_at_once_take_turns() {
    let desk = Desk::new();
    desk.shell("dev");
    let script = "before=$(cat count 2>/dev/null || echo 0); sleep 0.05; echo $((before + 1)) > count";
    let clients: Vec<_> = (0..4).map(|_| desk.spawn(&["session", "run", "dev", script])).collect();
    for mut client in clients {
        assert!(client.wait().unwrap().success());
    }
    assert_eq!(desk.script("dev", "cat count"), (0, "4\n".to_owned()));
}

#[test]
fn what_is_cut_is_counted_to_the_byte() {
    let desk = Desk::new();
    desk.shell("dev");
    let script = "head -c 1288895 /dev/zero | tr '\\0' x";
    let flood =
        desk.run(&["session", "run", "dev", script, "--max-output-tokens", "100", "--json"]).expect(0).json();
    assert_eq!(flood["omitted_bytes"], 240_319);
    let kept = (1_usize << 20) + "\n... 240319 bytes omitted ...\n".len();
    assert_eq!(flood["original_token_count"], json!(kept.div_ceil(4)));
    let output = flood["output"].as_str().unwrap();
    assert!(output.starts_with("Warning: truncated output") && output.len() < 600, "{output}");
    // Half a code point at either end of what is shown is left out too.
    let wide =
        desk.run(&["session", "run", "dev", "printf '€€€€€€€€€'", "--max-output-tokens", "2", "--json"]);
    let wide = wide.expect(0).json();
    assert!(wide["output"].as_str().unwrap().ends_with("\n\n€…5 tokens truncated…€"), "{wide}");
}

#[test]
fn what_makes_no_sense_is_refused_with_the_reason() {
    let desk = Desk::new();
    desk.shell("dev");
    for name in ["..", "a/b", "-", "é", &"x".repeat(65), "a\u{1b}[31m", ""] {
        let expected = if name == "-" { 4 } else { 2 };
        let refused = desk.run(&["session", "poll", "--", name]).expect(expected);
        assert!(!refused.stderr.contains('\u{1b}') || name.is_empty(), "{refused:?}");
    }
    let mut writing = desk
        .command(&["session", "write", "dev"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // It may hang up before it has read all of it.
    drop(writing.stdin.take().unwrap().write_all(&vec![b'x'; (16 << 20) + 1]));
    let ended = writing.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&ended.stderr).contains("more than 16777216 bytes"));
    desk.run(&["session", "write", "dev", "--text", ""]).expect(2);
    desk.run(&["session", "resize", "dev", "--rows", "0", "--columns", "1"]).expect(2);
    let flat = desk.run(&["session", "resize", "dev", "--rows", "1", "--columns", "1"]).expect(11);
    assert!(flat.stderr.contains("no terminal"), "{flat:?}");
    let missing = desk.run(&["session", "start", "--", "no-such-program"]).expect(3);
    assert!(missing.stderr.contains("`no-such-program` was not found"), "{missing:?}");
    desk.run(&["session", "start", "--cwd", "nowhere", "--", "true"]).expect(3);
    desk.run(&["session", "kill", "dev"]).expect(0);
    for command in [&["write", "dev", "--text", "x"][..], &["run", "dev", "true"], &["signal", "dev", "TERM"]]
    {
        let dead = desk.run(&[&["session"], command].concat()).expect(11);
        assert!(dead.stderr.contains("has ended"), "{dead:?}");
    }
}

#[test]
fn a_signal_reaches_the_program() {
    let desk = Desk::new();
    let line = "trap 'echo caught; exit 9' USR1; echo ready; while :; do sleep 0.05; done";
    let ready = desk.run(&[
        "session", "start", "--name", "s", "--yield", "30000", "--json", "--", "/bin/sh", "-c", "exit 4",
    ]);
    let ready = ready.expect(0).json();
    assert_eq!(
        (&ready["ended"], &ready["exit_code"]),
        (&json!("exited"), &json!(4)),
        "an exit ends the wait"
    );
    desk.run(&["session", "start", "--name", "s", "--", "/bin/sh", "-c", line]).expect(0);
    wait_for("the trap is set", || (desk.listed("s")["output_bytes"] == 6).then_some(()));
    desk.run(&["session", "signal", "s", "SIGUSR1"]).expect(0);
    let ended = wait_for("the program has ended", || {
        Some(desk.listed("s")).filter(|entry| entry["running"] == false)
    });
    assert_eq!(ended["exit_code"], 9);
}

#[test]
fn everything_that_happened_is_on_record() {
    let desk = Desk::new();
    desk.shell("dev");
    desk.script("dev", "echo seen");
    desk.run(&["session", "write", "dev", "--text", "echo typed", "--enter", "--yield", "1000"]).expect(0);
    desk.run(&["session", "kill", "dev"]).expect(0);
    let events = desk.run(&["session", "events", "dev"]).expect(0).stdout;
    let events: Vec<Value> = events.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let kinds: Vec<&str> = events.iter().map(|event| event["kind"]["event"].as_str().unwrap()).collect();
    assert_eq!((kinds[0], *kinds.last().unwrap()), ("begin", "end"), "{kinds:?}");
    let of = |kind: &str, text: &str| {
        events.iter().any(|event| event["kind"]["event"] == kind && event["kind"]["text"] == text)
    };
    assert!(of("script", "echo seen") && of("output", "seen\n") && of("input", "echo typed\n"), "{events:?}");
    assert!(events.iter().zip(1..).all(|(event, sequence)| event["sequence"] == sequence));
    assert!(
        events
            .windows(2)
            .all(|pair| pair[0]["at_ms"].as_u64().unwrap() <= pair[1]["at_ms"].as_u64().unwrap())
    );
    assert_eq!(events.last().unwrap()["kind"]["exit"], "killed");
    desk.run(&["session", "prune"]).expect(0);
    desk.run(&["session", "events", "dev"]).expect(4);
}

impl Desk {
    /// What a program wrote, as a whole line: the machine may have been too busy for it to come with the first reply.
    fn with_rest(&self, session: &str, mut output: String) -> String {
        wait_for("the line has come", || {
            if !output.ends_with('\n') {
                output += &self.run(&["session", "poll", session]).expect(0).stdout;
            }
            output.ends_with('\n').then(|| output.clone())
        })
    }

    /// How many threads of the host serve a client.
    fn clients_of_host(&self) -> usize {
        let threads = std::fs::read_dir(format!("/proc/{}/task", self.host_pid().as_raw_pid())).unwrap();
        let names =
            threads.flatten().filter_map(|thread| std::fs::read_to_string(thread.path().join("comm")).ok());
        names.filter(|name| name.trim() == "client").count()
    }

    /// The process that keeps the sessions: whoever holds its lock.
    fn host_pid(&self) -> rustix::process::Pid {
        let root = self.root().to_string_lossy().into_owned();
        let mut hosts = std::fs::read_dir("/proc").unwrap().filter_map(|entry| {
            let entry = entry.ok()?;
            let pid = entry.file_name().to_str()?.parse::<i32>().ok()?;
            let line = std::fs::read(entry.path().join("cmdline")).ok()?;
            let line = String::from_utf8_lossy(&line).replace('\0', " ");
            // Its helper, forked from it, has the same command line and a name of its own.
            let name = std::fs::read_to_string(entry.path().join("comm")).ok()?;
            let is_host = line.contains(" session host ") && line.contains(&root);
            (is_host && name.trim() != "co-zygote").then_some(pid)
        });
        let pid = hosts.next().expect("a host");
        rustix::process::Pid::from_raw(pid).expect("a pid")
    }
}

#[test]
fn a_shell_that_is_killed_ends_its_script_in_plain_words() {
    let desk = Desk::new();
    desk.shell("k");
    let ended = desk.run(&["session", "run", "k", "kill -KILL $$"]).expect(10);
    assert!(ended.stderr.contains("the shell of `k` has ended, and the script with it"), "{ended:?}");
}

#[test]
fn the_programs_own_secrets_reach_neither_a_session_nor_its_keeper() {
    const SECRETS: [&str; 6] = [
        "CODEX_ORCHESTRATOR_NOTIFY",
        "CODEX_ORCHESTRATOR_NOTIFY_SECRET",
        "CODEX_ORCHESTRATOR_RESUME_TOKEN",
        "CODEX_ORCHESTRATOR_MCP_TOKEN",
        "OTEL_EXPORTER_OTLP_HEADERS",
        "OTEL_EXPORTER_OTLP_TRACES_HEADERS",
    ];
    let mut desk = Desk::new();
    for name in SECRETS {
        desk.project.set(name, "only-ours=x");
    }
    desk.project.set("CODEX_ORCHESTRATOR_NOTIFY", "none");
    desk.project.set("CODEX_ORCHESTRATOR_OTEL", "1");
    desk.project.set("VISIBLE", "for everybody");
    desk.shell("dev");
    let (_, seen) = desk.script("dev", "env; echo keeper:; tr '\\0' '\\n' < /proc/$PPID/environ");
    assert_eq!(seen.matches("VISIBLE=for everybody").count(), 2, "the session's and its keeper's: {seen}");
    for name in SECRETS {
        assert!(!seen.contains(&format!("{name}=")), "{name}: {seen}");
    }
}
