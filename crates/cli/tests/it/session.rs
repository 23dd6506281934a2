//! Live sessions, driven as a person does: every command is a process of its own.

mod confined;
mod keeping;
mod stages;
mod terminal;

use std::ops::Deref;

use serde_json::Value;

use crate::support::{Ended, Project};

/// A repository whose sessions end with the test.
struct Desk {
    project: Project,
}

impl Desk {
    fn new() -> Self {
        Self { project: Project::empty() }
    }

    fn with_pipelines(pipelines: &str) -> Self {
        Self { project: Project::with_pipelines(pipelines) }
    }

    /// A person's own Codex settings, and rules.
    fn with_settings(settings: &str, rules: &str) -> Self {
        Self::new().settled(settings, rules)
    }

    fn settled(mut self, settings: &str, rules: &str) -> Self {
        let home = self.path("../codex-home");
        std::fs::create_dir_all(home.join("rules")).unwrap();
        std::fs::write(home.join("config.toml"), settings).unwrap();
        std::fs::write(home.join("rules/default.rules"), rules).unwrap();
        self.project.set("CODEX_HOME", home);
        self
    }

    /// Starts a shell.
    #[track_caller]
    fn shell(&self, name: &str) -> Ended {
        self.run(&["session", "start", "--name", name, "--", "/bin/sh"]).expect(0)
    }

    /// Runs a script and returns its exit code and standard output.
    #[track_caller]
    fn script(&self, name: &str, script: &str) -> (i32, String) {
        let ended = self.run(&["session", "run", name, script]);
        (ended.code(), ended.stdout)
    }

    /// The session of this name in the list.
    #[track_caller]
    fn listed(&self, name: &str) -> Value {
        let list = self.run(&["session", "list", "--json"]).expect(0).json();
        let found =
            list["sessions"].as_array().unwrap().iter().find(|entry| entry["session"] == name).cloned();
        found.unwrap_or(Value::Null)
    }
}

impl Deref for Desk {
    type Target = Project;

    fn deref(&self) -> &Project {
        &self.project
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        self.run(&["session", "kill", "--all"]);
    }
}
