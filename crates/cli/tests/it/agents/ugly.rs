//! Agents that do not behave, played by the fake agent in Codex's place.

use std::path::PathBuf;

use co_testkit::fake_agent::{Action, FakeAgentRecord, FakeAgentScript, SCRIPT_VARIABLE};
use serde_json::{Value, json};

use super::{ONE_AGENT, peak_memory, stage, the_run, touch, wait_until_gone};
use crate::support::{Project, wait_for};

/// A project whose agent is the fake one.
struct Stand {
    project: Project,
}

impl Stand {
    fn new(pipelines: &str, script: &FakeAgentScript) -> Self {
        let mut project = Project::empty();
        project.set("CODEX_ORCHESTRATOR_CODEX", co_testkit::program("co-fake-agent"));
        project.set(SCRIPT_VARIABLE, project.repository().outside().join("script.json"));
        project.write_pipelines(pipelines);
        project.repository().commit("pipelines");
        let stand = Self { project };
        stand.play(script);
        stand
    }

    fn acting(actions: impl IntoIterator<Item = Action>) -> Self {
        Self::new(ONE_AGENT, &acts(actions))
    }

    /// Replaces what the agent does from now on.
    fn play(&self, script: &FakeAgentScript) {
        let file = self.outside("script.json");
        std::fs::write(file, serde_json::to_vec(script).unwrap()).unwrap();
    }

    fn outside(&self, name: &str) -> PathBuf {
        self.project.repository().outside().join(name)
    }

    /// Runs to the end and returns the agent stage of the manifest.
    #[track_caller]
    fn run(&self, code: i32) -> Value {
        let ended = self.project.run(&["start", "main", "--format", "json"]).expect(code);
        stage(&self.project.manifest(&ended.run_id()), "edit").clone()
    }

    /// Runs to a failure and returns its class and message.
    #[track_caller]
    fn failure(&self) -> (String, String) {
        let edit = self.run(10);
        let failure = &edit["agent"]["failure"];
        let text = |name: &str| failure[name].as_str().unwrap_or_else(|| panic!("{edit:#}")).to_owned();
        (text("class"), text("message"))
    }
}

fn acts(actions: impl IntoIterator<Item = Action>) -> FakeAgentScript {
    FakeAgentScript { actions: actions.into_iter().collect(), ..FakeAgentScript::default() }
}

fn thread(id: &str) -> Action {
    Action::Thread { id: id.to_owned(), obey: true }
}

fn turn() -> Action {
    Action::Turn { message: "Done.".to_owned() }
}

fn begun() -> Action {
    Action::Event { event: json!({"type": "turn.started"}) }
}

#[test]
fn what_is_no_agent_is_told_as_such() {
    let stand = Stand::acting([Action::Garbage { bytes: 100_000 }]);
    let (class, message) = stand.failure();
    assert_eq!(class, "garbage");
    assert!(message.contains("not {json"), "{message}");
}

#[test]
fn an_output_that_ends_too_early_is_no_success() {
    let half = Action::Text { text: r#"{"type":"turn.compl"#.to_owned() };
    let stand = Stand::acting([thread("t-1"), begun(), half]);
    let (class, message) = stand.failure();
    assert_eq!(class, "truncated");
    assert!(message.contains("in the middle of a line"), "{message}");

    stand.play(&acts([thread("t-1"), begun()]));
    let (class, message) = stand.failure();
    assert_eq!(class, "truncated");
    assert!(message.contains("before the turn did"), "{message}");
}

#[test]
fn an_exit_code_outweighs_what_the_agent_says() {
    let stand = Stand::acting([thread("t-1"), turn(), Action::Exit { code: 1 }]);
    let (class, message) = stand.failure();
    assert_eq!(class, "turn-failed");
    assert!(message.contains("exited with code 1"), "{message}");
}

#[test]
fn one_line_of_ten_megabytes_is_cut_in_memory_and_whole_in_the_log() {
    let stand = Stand::acting([thread("t-1"), Action::LongLine { bytes: 10 << 20 }, turn()]);
    let edit = stand.run(0);
    assert_eq!(edit["agent"]["last_message"], "Done.");
    assert!(edit["output_bytes"]["stdout"].as_u64().unwrap() > 10 << 20, "{edit:#}");
}

#[test]
fn a_flood_is_recorded_in_bounded_memory() {
    const FLOOD: u64 = 200 << 20;
    // Each event is parsed, which takes its time in a debug build; of a long text only the beginning is.
    const EVENTS: u64 = 40 << 20;
    let mut stand = Stand::acting([]);
    let (done, go) = (stand.outside("done"), stand.outside("go"));
    stand.play(&acts([
        thread("t-1"),
        Action::Flood { bytes: EVENTS },
        Action::LongLine { bytes: FLOOD - EVENTS },
        turn(),
        Action::Touch { path: done.clone() },
        Action::WaitFor { path: go.clone() },
    ]));
    stand.project.set("CODEX_ORCHESTRATOR_HEARTBEAT_INTERVAL", "1s");
    let mut child = stand.project.spawn(&["start", "main"]);
    wait_for("the end of the flood", || done.exists().then_some(()));
    let kilobytes = peak_memory(child.id());
    touch(&go);
    assert!(child.wait().unwrap().success());
    assert!(kilobytes < 100 << 10, "{kilobytes} kB for a flood of {FLOOD} bytes");
    let manifest = stand.project.manifest(&the_run(&stand.project));
    assert!(stage(&manifest, "edit")["output_bytes"]["stdout"].as_u64().unwrap() > FLOOD);
}

#[test]
fn an_agent_that_ignores_signals_and_never_ends_is_ended() {
    let script = |never: PathBuf| FakeAgentScript {
        ignores_termination: true,
        ..acts([thread("t-1"), begun(), Action::WaitFor { path: never }])
    };
    let stand = Stand::acting([]);
    stand.play(&script(stand.outside("never")));
    let mut child = stand.project.spawn(&["start", "main"]);
    let run = the_run(&stand.project);
    wait_for("the thread", || {
        let status = stand.project.run(&["status", "--run", &run, "--format", "json"]).json();
        stage(&status, "edit")["agent"]["thread_id"].as_str().map(str::to_owned)
    });
    stand.project.run(&["cancel", "--run", &run]).expect(0);
    assert_eq!(child.wait().unwrap().code(), Some(14));
    wait_until_gone(&run);
}

#[test]
fn a_turn_that_waits_for_the_network_says_so_when_its_time_is_up() {
    let waiting = json!({"type": "error", "message": "Reconnecting... 3/100"});
    let stand = Stand::acting([]);
    stand
        .project
        .write_pipelines(&ONE_AGENT.replace("\"id\": \"edit\"", "\"id\": \"edit\", \"timeout\": \"5s\""));
    let never = stand.outside("never");
    stand.play(&acts([
        thread("t-1"),
        begun(),
        Action::Event { event: waiting },
        Action::WaitFor { path: never },
    ]));
    let edit = stand.run(12);
    assert_eq!(edit["agent"]["failure"]["class"], "timed-out");
    let message = edit["agent"]["failure"]["message"].as_str().unwrap();
    assert!(message.contains("Reconnecting... 3/100"), "{message}");
}

#[test]
fn what_an_agent_leaves_behind_is_ended_with_its_turn() {
    let stand = Stand::acting([]);
    let child = |new_session| Action::Child { until: stand.outside("never"), new_session };
    stand.play(&acts([thread("t-1"), turn(), child(false), child(true)]));
    let edit = stand.run(0);
    assert_eq!(edit["survivors_killed"], 2, "{edit:#}");
}

#[test]
fn another_thread_in_place_of_the_resumed_one_is_refused() {
    let stand = Stand::acting([thread("t-1"), begun(), Action::Exit { code: 1 }]);
    let run = stand.project.run(&["start", "main", "--format", "json"]).expect(10).run_id();
    stand.play(&acts([Action::Thread { id: "t-2".to_owned(), obey: false }, turn()]));
    stand.project.run(&["resume", "--run", &run]).expect(10);
    let manifest = stand.project.manifest(&run);
    let agent = &stage(&manifest, "edit")["agent"];
    assert_eq!(agent["failure"]["class"], "thread-mismatch", "{agent:#}");
    assert_eq!(agent["thread_id"], "t-1", "{agent:#}");

    // What was refused once is not what the next resume goes on with.
    let record = stand.outside("record.json");
    stand.play(&FakeAgentScript { record: Some(record.clone()), ..acts([thread("t-9"), turn()]) });
    stand.project.run(&["resume", "--run", &run]).expect(0);
    assert_eq!(read(&record).arguments[..].last_chunk(), Some(&["resume", "t-1", "-"].map(str::to_owned)));
}

#[test]
fn neither_the_prompt_nor_a_secret_of_ours_shows_in_the_agents_process() {
    let mut stand = Stand::acting([]);
    let record = stand.outside("record.json");
    stand.play(&FakeAgentScript { record: Some(record.clone()), ..acts([thread("t-1"), begun()]) });
    stand.project.set("CODEX_ORCHESTRATOR_RESUME_TOKEN", "a secret of ours");
    let run = stand.project.run(&["start", "main", "--format", "json"]).expect(10).run_id();
    let token =
        std::fs::read_to_string(stand.project.path(&format!(".runs/local/cli/{run}/.resume-token"))).unwrap();
    stand.project.run(&["resume", "--run", &run, "--token", "nonsense"]).expect(11);
    let check = |prompt: &str| {
        let started = read(&record);
        let names = &started.environment_names;
        assert!(!names.iter().any(|name| name.contains("RESUME_TOKEN")), "{names:?}");
        assert!(names.iter().any(|name| name == co_runtime::RUN_MARK), "{names:?}");
        assert!(started.stdin.contains(prompt), "{started:?}");
        let words = started.arguments.join(" ");
        assert!(!words.contains(prompt) && !words.contains(token.trim()), "{words}");
    };
    check("Change the greeting.");
    stand.project.run(&["resume", "--run", &run, "--token", token.trim()]).expect(10);
    check("Your previous turn was interrupted");
}

fn read(record: &std::path::Path) -> FakeAgentRecord {
    serde_json::from_slice(&std::fs::read(record).unwrap()).unwrap()
}
