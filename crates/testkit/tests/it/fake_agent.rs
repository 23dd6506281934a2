//! The fake agent does what its script says.

use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use co_testkit::fake_agent::{Action, FakeAgentRecord, FakeAgentScript, SCRIPT_VARIABLE};
use co_testkit::program;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;

struct Agent {
    directory: TempDir,
    child: Child,
}

impl Agent {
    fn start(script: impl FnOnce(&dyn Fn(&str) -> PathBuf) -> FakeAgentScript, arguments: &[&str]) -> Self {
        let directory = TempDir::new().unwrap();
        let script = script(&|name| directory.path().join(name));
        let path = directory.path().join("script.json");
        std::fs::write(&path, serde_json::to_vec(&script).unwrap()).unwrap();
        #[expect(clippy::disallowed_methods, reason = "the program under test is started")]
        let mut child = Command::new(program("co-fake-agent"))
            .args(arguments)
            .env(SCRIPT_VARIABLE, path)
            .current_dir(directory.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all("prompt ä".as_bytes()).unwrap();
        Self { directory, child }
    }

    fn acting(actions: Vec<Action>) -> Self {
        Self::start(|_| FakeAgentScript { actions, ..FakeAgentScript::default() }, &[])
    }

    fn stdout(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.child.stdout.take().unwrap().read_to_end(&mut bytes).unwrap();
        bytes
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    #[track_caller]
    fn wait_for(&self, name: &str) {
        let deadline = Instant::now() + Duration::from_mins(1);
        while !self.directory.path().join(name).exists() {
            assert!(Instant::now() < deadline, "`{name}` never came");
            std::thread::park_timeout(Duration::from_millis(2));
        }
    }
}

fn events(stdout: &[u8]) -> Vec<Value> {
    std::str::from_utf8(stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_turn_and_what_it_was_started_with() {
    let script = |path: &dyn Fn(&str) -> PathBuf| FakeAgentScript {
        record: Some(path("record.json")),
        actions: vec![
            Action::Thread { id: "fresh".into(), obey: true },
            Action::Turn { message: "done".into() },
            Action::Stderr { text: "careful".into() },
        ],
        ..FakeAgentScript::default()
    };
    let mut agent = Agent::start(script, &["exec", "resume", "asked", "-"]);
    let events = events(&agent.stdout());
    assert_eq!(events[0], json!({"type": "thread.started", "thread_id": "asked"}));
    assert_eq!(events.last().unwrap()["type"], "turn.completed");
    let output = agent.child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stderr), (Some(0), b"careful".to_vec()));
    let record = std::fs::read(agent.directory.path().join("record.json")).unwrap();
    let record: FakeAgentRecord = serde_json::from_slice(&record).unwrap();
    assert_eq!((record.stdin.as_str(), record.arguments.len()), ("prompt ä", 4));
    assert!(record.environment_names.iter().any(|name| name == SCRIPT_VARIABLE));
}

#[test]
fn amounts_are_exact_where_it_matters() {
    let mut agent = Agent::acting(vec![Action::Garbage { bytes: 100_001 }]);
    assert_eq!(agent.stdout().len(), 100_001);
    let mut agent =
        Agent::acting(vec![Action::LongLine { bytes: 1_000_000 }, Action::Flood { bytes: 1_000_000 }]);
    let stdout = agent.stdout();
    let events = events(&stdout);
    assert_eq!(events[0]["item"]["text"].as_str().unwrap().len(), 1_000_000);
    assert!(stdout.len() > 2_000_000 && events.len() > 1000);
}

#[test]
fn a_thread_may_ignore_the_resume() {
    let script = |_: &dyn Fn(&str) -> PathBuf| FakeAgentScript {
        actions: vec![Action::Thread { id: "fresh".into(), obey: false }, Action::Exit { code: 7 }],
        ..FakeAgentScript::default()
    };
    let mut agent = Agent::start(script, &["resume", "asked", "-"]);
    assert_eq!(events(&agent.stdout())[0]["thread_id"], "fresh");
    assert_eq!(agent.child.wait().unwrap().code(), Some(7));
}

#[test]
fn termination_can_be_ignored_but_not_the_kill() {
    let script = |path: &dyn Fn(&str) -> PathBuf| FakeAgentScript {
        ignores_termination: true,
        actions: vec![
            Action::Touch { path: path("ready") },
            Action::WaitFor { path: path("go") },
            Action::Touch { path: path("went") },
            Action::WaitFor { path: path("never") },
        ],
        ..FakeAgentScript::default()
    };
    let mut agent = Agent::start(script, &[]);
    agent.wait_for("ready");
    kill_process(agent.pid(), Signal::TERM).unwrap();
    kill_process(agent.pid(), Signal::INT).unwrap();
    std::fs::write(agent.directory.path().join("go"), []).unwrap();
    agent.wait_for("went");
    assert!(agent.child.try_wait().unwrap().is_none());
    agent.child.kill().unwrap();
    assert_eq!(agent.child.wait().unwrap().signal(), Some(9));
}

#[test]
fn a_child_holds_the_pipe_after_the_agents_death_in_mid_line() {
    for new_session in [false, true] {
        let script = |path: &dyn Fn(&str) -> PathBuf| FakeAgentScript {
            actions: vec![
                Action::Child { until: path("let-go"), new_session },
                Action::Text { text: "{\"type\":".into() },
                Action::Kill { signal: 9 },
            ],
            ..FakeAgentScript::default()
        };
        let mut agent = Agent::start(script, &[]);
        assert_eq!(agent.child.wait().unwrap().signal(), Some(9));
        // The agent is dead and its pipe is not: it is silent and has not ended.
        let mut stdout = agent.child.stdout.take().unwrap();
        let mut bytes = [0; 8];
        stdout.read_exact(&mut bytes).unwrap();
        rustix::io::ioctl_fionbio(&stdout, true).unwrap();
        assert_eq!(stdout.read(&mut [0]).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
        rustix::io::ioctl_fionbio(&stdout, false).unwrap();
        std::fs::write(agent.directory.path().join("let-go"), []).unwrap();
        let mut rest = Vec::new();
        stdout.read_to_end(&mut rest).unwrap();
        assert_eq!((&bytes, rest.as_slice()), (b"{\"type\":", &[][..]));
    }
}
