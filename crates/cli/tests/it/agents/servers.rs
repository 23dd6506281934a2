//! The MCP servers of a run, as its agents see them: the real Codex and the real Claude Code.

use std::path::Path;

use co_testkit::{ModelServer, Script, Step, example};
use serde_json::json;

use super::{Bench, stage, with_claude};
use crate::support::wait_for;

const SECRET: &str = "quite-a-secret-value-4711";

/// The definition of two servers that differ in their names.
fn definitions() -> String {
    let program = example("tool_server");
    let of = |name: &str| {
        format!(
            "\n[mcp_servers.{name}]\ncommand = '{}'\nenv = {{ TOKEN = \"{SECRET}\" }}\n",
            program.display()
        )
    };
    of("files") + &of("other")
}

fn one(agent: &str) -> String {
    let stage = json!({"kind": "agent", "id": "ask", "agent": agent, "prompt": "What does the note say?"});
    json!([{"id": "main", "stages": [stage]}]).to_string()
}

fn append(file: &Path, text: &str) {
    let mut content = std::fs::read_to_string(file).unwrap_or_default();
    content.push_str(text);
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(file, content).unwrap();
}

#[test]
fn codex_has_the_servers_that_are_switched_on_and_its_own_when_none_is() {
    for agent in ["codex", "codex-app-server"] {
        let bench = Bench::new(&one(agent), [Step::message("Done."), Step::message("Done.")]);
        append(&bench.home.codex_home().join("config.toml"), &definitions());
        bench.project.run(&["start", "main", "--mcp-server", "files"]).expect(0);
        bench.project.run(&["start", "main"]).expect(0);
        let requests = bench.requests();
        let offers = |number: usize, server: &str| {
            requests[number].body.to_string().contains(&format!("mcp__{server}"))
        };
        assert!(offers(0, "files") && !offers(0, "other"), "{agent}: {}", requests[0].body);
        assert!(
            offers(1, "files") && offers(1, "other"),
            "{agent}: without a word Codex has what it always has"
        );
    }
}

#[test]
fn claude_code_has_them_too_and_learns_no_secret() {
    let note = json!({"path": "note.txt"});
    let server =
        ModelServer::start(Script::new([Step::tool("mcp__files__read", &note), Step::message("Done.")]));
    let (project, home) = with_claude(&server);
    project.write_pipelines(&one("claude"));
    project.repository().write("note.txt", "forty-two apples\n");
    project.repository().commit("a note");
    append(&home.home().join(".codex/config.toml"), &definitions());

    let mut child = project.spawn(&["start", "main", "--mcp-server", "files"]);
    let asked = wait_for("a question", || {
        let asked = project.run(&["approvals", "questions", "--json"]);
        let asked: serde_json::Value = serde_json::from_str(&asked.stdout).ok()?;
        asked["questions"].as_array()?.first()?;
        Some(asked)
    });
    let question = &asked["questions"][0];
    let said = question["message"].as_str().unwrap();
    assert!(said.contains("files/read") && said.contains("note.txt"), "{question:#}");
    let run = asked["run_id"].as_str().unwrap().to_owned();
    // Its own command line, and that of the server's bridge, hold names only.
    let seen = processes_with("mcp-config", &run);
    assert!(seen.iter().any(|line| line.contains("files")), "{seen:?}");
    assert!(seen.iter().all(|line| !line.contains(SECRET) && !line.contains("other")), "{seen:?}");
    project.run(&["answer", "--run", &run, "yes"]).expect(0);
    assert!(child.wait().unwrap().success());
    let manifest = project.manifest(&run);
    assert_eq!(stage(&manifest, "ask")["status"], "succeeded");
    assert!(server.requests().iter().any(|request| request.body.to_string().contains("forty-two apples")));
}

/// The command lines of a run's processes that hold a word.
fn processes_with(word: &str, run: &str) -> Vec<String> {
    let marked = co_process::find_marked(co_runtime::RUN_MARK, run);
    let lines =
        marked.iter().filter_map(|process| std::fs::read(format!("/proc/{}/cmdline", process.pid)).ok());
    let lines = lines.map(|line| String::from_utf8_lossy(&line).replace('\0', " "));
    lines.filter(|line| line.contains(word)).collect()
}
