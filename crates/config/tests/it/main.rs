//! What the room promises, checked from outside.
#![expect(clippy::expect_used, clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod codex_layers;
mod codex_mcp;
mod codex_overrides;
mod codex_real;
mod codex_rules;
mod corpus;
mod detection;
mod messages;
mod pipelines;
mod robustness;
mod schema;
mod settings;
mod starter;

use std::fs;
use std::path::Path;

use co_config::Environment;
use tempfile::TempDir;

/// A repository with these files.
pub(crate) fn repository(files: &[(&str, &str)]) -> TempDir {
    let root = TempDir::new().expect("a temporary folder");
    for (name, text) in files {
        write(root.path(), name, text);
    }
    root
}

pub(crate) fn write(root: &Path, name: &str, text: &str) {
    let path = root.join(name);
    fs::create_dir_all(path.parent().expect("a folder")).expect("the folder is created");
    fs::write(path, text).expect("the file is written");
}

/// An environment that has nothing.
pub(crate) fn bare(root: &Path) -> Environment {
    Environment::new(root, [] as [(&str, &str); 0])
}
