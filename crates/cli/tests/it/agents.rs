//! Agent stages: the real Codex CLI against a scripted model, and a fake agent where Codex itself
//! cannot be made to misbehave.

mod failures;
mod servers;
mod spoken;
mod told;
mod ugly;
mod work;

use std::ffi::OsString;
use std::path::Path;
use std::process::Child;

use co_testkit::{
    CLAUDE_INSTALL_HINT, ClaudeHome, CodexHome, INSTALL_HINT, ModelServer, RecordedRequest, Script, Step,
    claude_program, codex_program,
};
use serde_json::Value;

use crate::support::{PATIENCE, Project, wait_for};

/// A pipeline with one agent stage.
const ONE_AGENT: &str = r#"[{"id": "main", "stages": [
    {"kind": "agent", "id": "edit", "prompt": "Change the greeting."}
]}]"#;

/// The same, tried twice when it is worth it.
const RETRIED_AGENT: &str = r#"[{"id": "main", "stages": [
    {"kind": "agent", "id": "edit", "prompt": "Change the greeting.",
     "retry": {"max_attempts": 2, "backoff": "0s"}}
]}]"#;

/// A project whose agents are the real Codex CLI, with a home of its own and a scripted model.
pub(crate) struct Bench {
    server: ModelServer,
    home: CodexHome,
    pub(crate) project: Project,
}

impl Bench {
    pub(crate) fn new(pipelines: &str, steps: impl IntoIterator<Item = Step>) -> Self {
        Self::with_project(Project::empty(), pipelines, steps)
    }

    fn with_project(mut project: Project, pipelines: &str, steps: impl IntoIterator<Item = Step>) -> Self {
        let server = ModelServer::start(Script::new(steps));
        let home = CodexHome::new(&server.base_url());
        for (name, value) in home.environment(path()) {
            project.set(&name.to_string_lossy(), value);
        }
        project.set("CODEX_ORCHESTRATOR_CODEX", codex_program().expect(INSTALL_HINT));
        project.write_pipelines(pipelines);
        project.repository().write("greeting.txt", "hello\n");
        project.repository().commit("a greeting");
        Self { server, home, project }
    }

    /// The only run there is, once it is recorded.
    fn the_run(&self) -> String {
        the_run(&self.project)
    }

    /// The model's requests, in order of arrival.
    pub(crate) fn requests(&self) -> Vec<RecordedRequest> {
        let model = |request: &RecordedRequest| request.path.ends_with("/responses");
        self.server.requests().into_iter().filter(model).collect()
    }

    /// Starts a run in the background and waits until the model was asked `count` times.
    fn start_until_asked(&self, count: usize) -> (Child, String) {
        let child = self.project.spawn(&["start", "main"]);
        self.server.wait_for_requests(count, PATIENCE);
        (child, self.the_run())
    }
}

fn the_run(project: &Project) -> String {
    // The folder is there a little earlier than the run.
    wait_for("the run", || {
        let runs = project.run(&["runs", "--json"]).json();
        Some(runs.as_array()?.first()?["run_id"].as_str()?.to_owned())
    })
}

#[expect(clippy::disallowed_methods, reason = "the agent's commands need the PATH of this machine")]
fn path() -> OsString {
    std::env::var_os("PATH").expect("PATH is set")
}

/// A project in which `claude` is the real Claude Code in front of this model.
fn with_claude(server: &ModelServer) -> (Project, ClaudeHome) {
    let home = ClaudeHome::new(&server.root_url());
    let claude = claude_program().expect(CLAUDE_INSTALL_HINT);
    let mut project = Project::empty();
    let mut search = claude.parent().unwrap().as_os_str().to_owned();
    search.push(":");
    search.push(path());
    for (name, value) in home.environment(search) {
        project.set(&name.to_string_lossy(), value);
    }
    (project, home)
}

/// The most memory that a process has held, in KiB.
fn peak_memory(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak").trim();
    peak.trim_end_matches(" kB").parse().unwrap()
}

fn update(patch: &str) -> Step {
    Step::apply_patch(format!("*** Begin Patch\n{patch}*** End Patch\n"))
}

/// The stage of a manifest or a status.
#[track_caller]
fn stage<'v>(manifest: &'v Value, id: &str) -> &'v Value {
    let commands = manifest["commands"].as_array().expect("commands");
    commands.iter().find(|command| command["id"] == id).unwrap_or_else(|| panic!("no {id}: {manifest:#}"))
}

/// Waits until no process of a run is left.
pub(crate) fn wait_until_gone(run: &str) {
    wait_for("the end of the run's processes", || {
        co_process::find_marked(co_runtime::RUN_MARK, run).is_empty().then_some(())
    });
}

fn touch(path: &Path) {
    std::fs::write(path, []).unwrap();
}

/// What the user said in a request's input, oldest first.
fn user_messages(request: &RecordedRequest) -> Vec<String> {
    let items = request.body["input"].as_array().expect("an input");
    let said = items.iter().filter(|item| item["role"] == "user");
    let texts = said.map(|item| item["content"].as_array().expect("content"));
    texts
        .map(|parts| parts.iter().filter_map(|part| part["text"].as_str()).collect::<Vec<_>>().join("\n"))
        .collect()
}
