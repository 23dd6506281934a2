//! The HUD, on a real terminal: keys go in, and what a person would see is compared.

use co_testkit::fake_agent::{Action, FakeAgentScript, SCRIPT_VARIABLE};
use co_testkit::program;
use rustix::process::Signal;
use serde_json::Value;

use crate::support::{Project, wait_for};
use crate::terminal::{Left, Terminal};

fn project(pipelines: &str) -> Project {
    let mut project = Project::with_pipelines(pipelines);
    project.set("TERM", "xterm-256color");
    project
}

fn symbol(status: &str) -> &'static str {
    match status {
        "succeeded" => "✓",
        "failed" => "✗",
        "skipped" => "–",
        "cancelled" => "■",
        other => panic!("no status of a finished run: {other}"),
    }
}

impl Left {
    /// Checks that the HUD's last screen and the text it left say what the manifest says.
    #[track_caller]
    fn agrees_with_its_manifest(&self, project: &Project, code: i32) -> Value {
        assert_eq!(self.code, Some(code), "{self:#?}");
        let run = self.text.split("run       ").nth(1).and_then(|rest| rest.lines().next());
        let manifest = project.manifest(run.unwrap_or_else(|| panic!("{self:#?}")));
        let status = manifest["status"].as_str().unwrap();
        let hud = self.hud.as_ref().unwrap_or_else(|| panic!("{self:#?}"));
        let stages = manifest["commands"].as_array().unwrap().iter();
        let stages =
            stages.map(|stage| (stage["status"].as_str().unwrap(), stage["title"].as_str().unwrap()));
        let all = [(status, status)].into_iter().chain(stages);
        for (status, words) in all {
            let line = format!("{} {words}", symbol(status));
            assert!(hud.contains(&line), "{line}: {hud}");
            assert!(self.text.contains(&line), "{line}: {}", self.text);
        }
        for screen in [hud, &self.text] {
            let unfinished = ["▸ ", "in progress", "queued", "interrupted"];
            assert!(!unfinished.iter().any(|word| after_header(screen).contains(word)), "{screen}");
        }
        assert_eq!(self.text.matches("manifest.json").count(), 1, "told twice: {}", self.text);
        manifest
    }
}

/// The statuses of a screen, without the log below them, which tells how they came about.
fn after_header(screen: &str) -> &str {
    let statuses = screen.split("── ").next().unwrap();
    statuses.split("manifest").next().unwrap()
}

const TWO_STAGES: &str = r#"[{ "id": "two", "title": "Two stages", "stages": [
    { "id": "greet", "title": "Greet", "command": "echo hello from greet; echo and to you >&2" },
    { "id": "count", "title": "Count", "command": "seq 3" }
]}]"#;

#[test]
fn a_run_that_succeeds() {
    let project = project(TWO_STAGES);
    let left = Terminal::start(&project, &["start", "two", "--interactive"]).end();
    let manifest = left.agrees_with_its_manifest(&project, 0);
    assert_eq!(manifest["status"], "succeeded");
    let hud = left.hud.unwrap();
    assert!(hud.contains("greet │ hello from greet") && hud.contains("count │ 3"), "{hud}");
}

#[test]
fn a_run_that_fails_and_is_resumed() {
    let stages = r#"[{ "id": "f", "stages": [
        { "id": "first", "title": "First", "command": "true" },
        { "id": "check", "title": "Check", "command": "echo broken; test -e mended || exit 3" },
        { "id": "after", "title": "After", "command": "true" }
    ]}]"#;
    let project = project(stages);
    let left = Terminal::start(&project, &["start", "f", "--ui"]).end();
    let manifest = left.agrees_with_its_manifest(&project, 10);
    assert_eq!(manifest["status"], "failed");
    assert!(left.text.contains("stage:check:failed"), "{left:#?}");

    project.repository().write("mended", "");
    let run = manifest["run_id"].as_str().unwrap();
    let left = Terminal::start(&project, &["resume", "--run", run, "--ui"]).end();
    assert_eq!(left.agrees_with_its_manifest(&project, 0)["run_id"], run);
    let left = Terminal::start(&project, &["retry", "--run", run, "--ui"]).end();
    assert_eq!(left.agrees_with_its_manifest(&project, 0)["retry_of"], run);
}

#[test]
fn a_run_that_is_over_at_once() {
    for command in ["true", "sleep 0.1"] {
        let stage =
            format!(r#"[{{ "id": "p", "stages": [{{ "id": "s", "title": "S", "command": "{command}" }}]}}]"#);
        let project = project(&stage);
        let left = Terminal::start(&project, &["start", "p", "--ui"]).end();
        assert_eq!(left.agrees_with_its_manifest(&project, 0)["status"], "succeeded");
    }
}

const ENDLESS: &str = r#"[{ "id": "p", "stages": [
    { "id": "work", "title": "Work", "command": "echo at work; while ! test -e go; do sleep 0.02; done" },
    { "id": "next", "title": "Next", "command": "echo done" }
]}]"#;

#[test]
fn c_and_c_again_cancels() {
    let project = project(ENDLESS);
    let terminal = Terminal::start(&project, &["start", "p", "--ui"]);
    terminal.shows(&["▸ Work", "work │ at work"]);
    terminal.keys("c");
    terminal.shows(&["cancel the run? c confirms"]);
    terminal.keys("c");
    let left = terminal.end();
    assert_eq!(left.agrees_with_its_manifest(&project, 14)["status"], "cancelled");
}

const DEAF: &str = r#"[{ "id": "p", "stages": [{ "id": "s", "title": "S",
    "command": "trap '' TERM; echo deaf; while :; do sleep 0.02; done" }]}]"#;

#[test]
fn a_third_c_ends_what_does_not_heed() {
    let project = project(DEAF);
    let terminal = Terminal::start(&project, &["start", "p", "--ui"]);
    terminal.shows(&["s │ deaf"]);
    terminal.keys("cc");
    terminal.has_shown(&["c again ends it at once", "cancelling: asked by"]);
    terminal.keys("c");
    assert_eq!(terminal.end().agrees_with_its_manifest(&project, 14)["status"], "cancelled");
}

#[test]
fn signals_mean_what_they_mean_without_the_hud() {
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let project = project(ENDLESS);
        let terminal = Terminal::start(&project, &["start", "p", "--ui"]);
        terminal.shows(&["▸ Work"]);
        terminal.signal(signal);
        let manifest = terminal.end().agrees_with_its_manifest(&project, code);
        assert_eq!(manifest["status"], "cancelled");
    }
}

#[test]
fn a_second_signal_ends_what_does_not_heed_the_first() {
    let project = project(DEAF);
    let terminal = Terminal::start(&project, &["start", "p", "--ui"]);
    terminal.shows(&["s │ deaf"]);
    terminal.signal(Signal::INT);
    terminal.has_shown(&["cancelling: asked by signal"]);
    terminal.signal(Signal::INT);
    assert_eq!(terminal.end().agrees_with_its_manifest(&project, 130)["status"], "cancelled");
}

#[test]
fn a_terminal_that_goes_away_cancels_the_run() {
    let project = project(ENDLESS);
    let terminal = Terminal::start(&project, &["start", "p", "--ui"]);
    terminal.shows(&["▸ Work"]);
    let Terminal { pty, mut child, reader, .. } = terminal;
    drop(pty);
    reader.join().unwrap();
    let status = wait_for("the end of the program", || child.try_wait().unwrap());
    assert_eq!(status.code(), Some(143));
    let ended = project.run(&["status", "--format", "json"]);
    assert_eq!(ended.json()["status"], "cancelled", "{ended:#?}");
}

const TWO_GATES: &str = r#"[{ "id": "p", "stages": [
    { "kind": "gate", "id": "one", "title": "One", "message": "Ship it?", "expires": "10m" },
    { "kind": "gate", "id": "two", "title": "Two", "message": "Really?", "expires": "10m" }
]}]"#;

#[test]
fn gates_are_answered_one_by_one() {
    let project = project(TWO_GATES);
    let terminal = Terminal::start(&project, &["start", "p", "--ui"]);
    terminal.shows(&["? Ship it?", "one: no answer before", "y yes · n no"]);
    // The second key still means the question that was on the screen.
    terminal.keys("yy");
    terminal.shows(&["? Really?", "✓ One", "? Two"]);
    terminal.keys("y");
    let manifest = terminal.end().agrees_with_its_manifest(&project, 0);
    assert_eq!(manifest["approvals"].as_array().unwrap().len(), 2);
    assert_eq!(manifest["commands"][0]["status"], "succeeded");
}

#[test]
fn a_gate_answered_with_no_fails_the_run() {
    let project = project(TWO_GATES);
    let terminal = Terminal::start(&project, &["start", "p", "--ui"]);
    terminal.shows(&["? Ship it?"]);
    terminal.keys("n");
    let manifest = terminal.end().agrees_with_its_manifest(&project, 11);
    assert_eq!(manifest["status_detail"], "stage:one:denied");
}

#[test]
fn q_leaves_and_the_run_goes_on_with_plain_lines() {
    let project = project(ENDLESS);
    let terminal = Terminal::start(&project, &["start", "p", "--ui"]);
    terminal.shows(&["▸ Work"]);
    terminal.keys("q");
    wait_for("the normal screen", || (!terminal.display().parser.screen().alternate_screen()).then_some(()));
    terminal.shows(&["▸ in progress", "manifest  .runs/local/cli/"]);
    project.repository().write("go", "");
    let left = terminal.end();
    assert_eq!(left.code, Some(0), "{left:#?}");
    assert!(left.text.contains("✓ work") && left.text.contains("✓ succeeded"), "{left:#?}");
    assert!(left.text.contains("manifest: .runs/local/cli/"), "{left:#?}");
    // What happened before the person left is not told again.
    assert!(!left.text.contains("▸ work"), "{left:#?}");
}

#[test]
fn stages_of_child_runs_are_nested_and_have_logs() {
    let pipelines = r#"[
        { "id": "outer", "stages": [
            { "id": "before", "title": "Before", "command": "echo from before" },
            { "kind": "pipeline", "id": "sub", "title": "Sub", "pipeline": "inner" }
        ]},
        { "id": "inner", "stages": [
            { "id": "deep", "title": "Deep", "command": "echo from the deep; while ! test -e go; do sleep 0.02; done" }
        ]}
    ]"#;
    let project = project(pipelines);
    let terminal = Terminal::start(&project, &["start", "outer", "--ui"]);
    terminal.shows(&["\n ▸ Sub", "\n   ▸ Deep", "    deep │ from the deep"]);
    terminal.keys("j");
    terminal.shows(&["›  ▸ Deep", "log of Deep", "\nfrom the deep"]);
    wait_for("its log alone is shown", || {
        (!terminal.display().parser.screen().contents().contains("deep │")).then_some(())
    });
    terminal.keys("kk");
    terminal.shows(&["›✓ Before", "log of Before", "\nfrom before"]);
    terminal.keys("\x1b");
    terminal.shows(&["run log"]);
    project.repository().write("go", "");
    let left = terminal.end();
    left.agrees_with_its_manifest(&project, 0);
    assert!(left.text.contains("\n    ✓ Deep"), "{left:#?}");
}

#[test]
fn an_agent_is_shown_in_words() {
    let stage = r#"[{ "id": "p", "stages": [
        { "kind": "agent", "id": "fix", "title": "Fix", "agent": "codex", "prompt": "Fix it." }
    ]}]"#;
    let mut project = project(stage);
    let turn = Action::Turn { message: "I have fixed it.".to_owned() };
    let script = FakeAgentScript {
        actions: vec![
            Action::Thread { id: "0199a213-81c0-7800-8aa1-bbab2a035a53".to_owned(), obey: true },
            turn,
            Action::WaitFor { path: project.path("go") },
        ],
        ..FakeAgentScript::default()
    };
    project.repository().write("script.json", serde_json::to_string(&script).unwrap());
    project.set(SCRIPT_VARIABLE, project.path("script.json"));
    project.set("CODEX_ORCHESTRATOR_CODEX", program("co-fake-agent"));
    let terminal = Terminal::start(&project, &["start", "p", "--ui"]);
    terminal.shows(&["▸ Fix", "thread 0199a213", "fix │ $ true", "fix │ I have fixed it."]);
    terminal.keys("j");
    let screen = terminal.shows(&["log of Fix", "\nI have fixed it."]);
    assert!(!screen.contains('{'), "{screen}");
    project.repository().write("go", "");
    terminal.end().agrees_with_its_manifest(&project, 0);
}

#[test]
fn follows_the_size_of_the_terminal() {
    let project = project(ENDLESS);
    let terminal = Terminal::start(&project, &["start", "p", "--ui"]);
    terminal.shows(&["▸ Work"]);
    for (rows, columns) in [(12_u16, 60_u16), (40, 120)] {
        terminal.resize(rows, columns);
        wait_for("the keys on the last row", || {
            let display = terminal.display();
            let screen = display.parser.screen();
            let last = screen.rows(0, columns).nth(usize::from(rows) - 1)?;
            (last.contains("q quit") && screen.contents().contains("▸ Work")).then_some(())
        });
    }
    project.repository().write("go", "");
    terminal.end().agrees_with_its_manifest(&project, 0);
}

#[test]
fn the_hud_stays_away_and_says_why() {
    let on_terminal = |name: &str, value: &str, arguments: &[&str]| {
        let mut project = project(TWO_STAGES);
        project.set(name, value);
        let left = Terminal::start(&project, arguments).end();
        assert_eq!((left.code, &left.hud), (Some(0), &None), "{left:#?}");
        left.text
    };
    let asked = ["start", "two", "--interactive"];
    assert!(on_terminal("TERM", "dumb", &asked).contains("[HUD disabled] TERM is dumb"));
    assert!(on_terminal("CI", "1", &asked).contains("[HUD disabled] CI is set"));
    let not_asked = [&["start", "two"][..], &["start", "two", "--ui", "--no-interactive"][..]];
    for arguments in not_asked {
        let text = on_terminal("CI", "0", arguments);
        assert!(!text.contains("[HUD disabled]"), "{text}");
    }

    let project = project(TWO_STAGES);
    let ended = project.run(&["start", "two", "--ui"]).expect(0);
    assert!(ended.stderr.contains("[HUD disabled] stdout is not a terminal"), "{ended:#?}");
    assert!(!ended.stdout.contains("[HUD"), "{ended:#?}");
    let ended = project.run(&["start", "two", "--ui", "--format", "json"]).expect(0);
    assert!(ended.stderr.contains("[HUD disabled] the output format is for machines"), "{ended:#?}");
    assert_eq!(ended.json()["status"], "succeeded");
}

#[test]
fn no_color_means_no_colour() {
    let colours = |no_color: &str| {
        let mut project = project(TWO_STAGES);
        project.set("NO_COLOR", no_color);
        let left = Terminal::start(&project, &["start", "two", "--ui"]).end();
        left.agrees_with_its_manifest(&project, 0);
        let codes = left.raw.split("\x1b[").filter_map(|rest| rest.split_once('m')).map(|(code, _)| code);
        let is_style = |code: &&str| code.chars().all(|c| c.is_ascii_digit() || c == ';');
        codes.filter(is_style).filter(|code| !["", "0", "39", "49", "59", "39;49"].contains(code)).count()
    };
    assert_eq!(colours("1"), 0);
    assert_ne!(colours(""), 0);
}
