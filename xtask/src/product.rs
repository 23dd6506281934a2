//! Building what this workspace makes.

use std::path::{Path, PathBuf};

use crate::program::{Program, ProgramError};

const PROGRAM: &str = "codex-orchestrator";

/// Builds the orchestrator and every program that tests start.
///
/// Always all of them: what tests are made of turns on more features of what we build on, so that the
/// orchestrator alone would be another build of half the dependencies.
fn build() -> Program {
    Program::cargo().args(["build", "--workspace", "--bins", "--examples"])
}

/// Builds every program of the workspace.
///
/// # Errors
/// [`ProgramError`] when one does not build.
pub(crate) fn build_programs(root: &Path) -> Result<(), ProgramError> {
    build().directory(root).run()
}

/// Builds the orchestrator and returns the path of the executable, wherever the target folder is.
///
/// # Errors
/// [`ProgramError`] when it does not build.
pub(crate) fn build_orchestrator(root: &Path) -> Result<PathBuf, ProgramError> {
    let messages =
        build().args(["--quiet", "--message-format=json-render-diagnostics"]).directory(root).output()?;
    let built = cargo_metadata::Message::parse_stream(messages.as_slice())
        .filter_map(Result::ok)
        .filter_map(|message| match message {
            cargo_metadata::Message::CompilerArtifact(artifact) if artifact.target.name == PROGRAM => {
                artifact.executable
            }
            _ => None,
        })
        .last();
    Ok(built.map_or_else(|| root.join("target/debug").join(PROGRAM), Into::into))
}
