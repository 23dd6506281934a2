//! Who is measured: the product, the peers, and how they are got.

use std::path::{Path, PathBuf};

use serde_json::Value;
use xtask::packages::ensure_npm_packages;
use xtask::program::Program;
use xtask::workspace_root;

use crate::Outcome;
use crate::place::Place;

/// The version of `just` that is installed beside us.
const JUST_VERSION: &str = "1.59.0";

/// The product, built for release.
pub(crate) struct Product {
    pub(crate) program: PathBuf,
}

impl Product {
    pub(crate) fn build(root: &Path) -> Outcome<Self> {
        Program::cargo()
            .args(["build", "--release", "--package", "codex-orchestrator"])
            .directory(root)
            .run()?;
        // This program was built into the same folder.
        let folder = std::env::current_exe()?.canonicalize()?;
        let program = folder.with_file_name("codex-orchestrator");
        if program.is_file() {
            Ok(Self { program })
        } else {
            Err(format!("{} is missing", program.display()).into())
        }
    }

    /// The arguments that run a pipeline.
    pub(crate) fn start<'a>(pipeline: &'a str, task: &'a str) -> [&'a str; 6] {
        ["start", pipeline, "--task", task, "--format", "json"]
    }

    /// Runs a pipeline and returns the id of the run.
    pub(crate) fn run_id(&self, place: &Place, pipeline: &str, task: &str) -> Outcome<String> {
        let printed = place.json(&self.program, &Self::start(pipeline, task))?;
        let id = printed.get("run_id").and_then(Value::as_str);
        Ok(id.ok_or("the product printed no `run_id`")?.to_owned())
    }
}

/// The implementation on npm that the product succeeds; installs it if it is not there.
pub(crate) fn npm_peer() -> Outcome<PathBuf> {
    let root = workspace_root();
    ensure_npm_packages(&root)?;
    let program = root.join("node_modules/.bin/codex-orchestrator");
    if program.exists() { Ok(program) } else { Err("the npm peer is not in package.json".into()) }
}

/// The command runner `just`; installs it below `target` if it is not there.
pub(crate) fn just() -> Outcome<PathBuf> {
    let folder = workspace_root().join("target/bench-tools");
    let program = folder.join("bin/just");
    if !program.exists() {
        Program::cargo()
            .args(["install", "just", "--locked", "--version", JUST_VERSION, "--root"])
            .arg(&folder)
            .run()?;
    }
    Ok(program)
}
