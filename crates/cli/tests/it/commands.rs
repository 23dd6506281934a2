//! The command line as its users meet it: what is printed where, with which exit code, and which
//! files are there afterwards.
//!
//! Every repository of these tests is a [`Workshop`], which holds all that was written in it
//! against the shipped schemas when it goes.

mod bad_input;
mod commanding;
mod describing;
mod documents;
mod engine;
mod environment;
mod nested;
mod output;
mod resume;
mod start;
mod text;
mod timeout;
mod watching;
mod worktree;

use std::ops::{Deref, DerefMut};

use crate::support::Project;

/// A project whose documents are checked when it goes: every test ends with that.
pub(crate) struct Workshop {
    project: Project,
}

impl Workshop {
    /// A repository with these pipelines (a JSON array), committed.
    pub(crate) fn new(pipelines: &str) -> Self {
        Self { project: Project::with_pipelines(pipelines) }
    }

    /// A repository with one pipeline `main` of these stages (a JSON array), committed.
    pub(crate) fn with_stages(stages: &str) -> Self {
        Self::new(&format!(r#"[{{ "id": "main", "stages": {stages} }}]"#))
    }

    /// Replaces the stages of `main`.
    pub(crate) fn write_stages(&self, stages: &str) {
        self.project.write_pipelines(&format!(r#"[{{ "id": "main", "stages": {stages} }}]"#));
    }

    /// A repository with nothing in it.
    pub(crate) fn bare() -> Self {
        Self { project: Project::empty() }
    }

    /// What a file of the repository holds; nothing when it is not there.
    pub(crate) fn text(&self, path: &str) -> String {
        std::fs::read_to_string(self.path(path)).unwrap_or_default()
    }

    /// The one run there is.
    #[track_caller]
    pub(crate) fn only_run(&self) -> String {
        let runs = self.run(&["runs", "--all", "--json"]).json();
        let runs = runs.as_array().expect("a list");
        assert_eq!(runs.len(), 1, "{runs:#?}");
        runs[0]["run_id"].as_str().expect("an id").to_owned()
    }
}

impl Deref for Workshop {
    type Target = Project;

    fn deref(&self) -> &Project {
        &self.project
    }
}

impl DerefMut for Workshop {
    fn deref_mut(&mut self) -> &mut Project {
        &mut self.project
    }
}

impl Drop for Workshop {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            documents::check(&self.project);
        }
    }
}

/// The statuses of a manifest's stages, by id, in order.
#[track_caller]
pub(crate) fn stages(manifest: &serde_json::Value) -> Vec<(&str, &str)> {
    let commands = manifest["commands"].as_array().expect("a list of commands");
    commands
        .iter()
        .map(|command| {
            (command["id"].as_str().expect("an id"), command["status"].as_str().expect("a status"))
        })
        .collect()
}

/// One stage of a manifest.
#[track_caller]
pub(crate) fn stage<'m>(manifest: &'m serde_json::Value, id: &str) -> &'m serde_json::Value {
    let commands = manifest["commands"].as_array().expect("a list of commands");
    commands
        .iter()
        .find(|command| command["id"] == id)
        .unwrap_or_else(|| panic!("no stage {id}: {manifest:#}"))
}
