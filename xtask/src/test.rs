//! `cargo xtask test`: installs what tests need, then runs every test of the workspace.

use crate::packages::{
    InstallError, NEXTEST, ensure_cargo_tool, ensure_npm_packages, ensure_python_packages,
    ensure_system_programs,
};
use crate::product::build_programs;
use crate::program::{Program, ProgramError};
use crate::workspace_root;

/// Why the tests did not pass.
#[derive(Debug, thiserror::Error)]
pub enum TestError {
    /// Something the tests need is missing.
    #[error("the machine is not ready for the tests")]
    Install(#[from] InstallError),
    /// A build or a test failed.
    #[error("the tests did not pass")]
    Program(#[from] ProgramError),
}

/// Runs every test; `arguments` go to nextest.
///
/// # Errors
/// [`TestError`] when the machine lacks something or a test fails.
pub fn run(arguments: &[String]) -> Result<(), TestError> {
    let root = workspace_root();
    ensure_system_programs()?;
    ensure_npm_packages(&root)?;
    ensure_python_packages(&root)?;
    ensure_cargo_tool(&NEXTEST)?;
    // Tests of one room start the programs of another: the orchestrator itself, the fake agent.
    build_programs(&root)?;
    Program::cargo()
        .args(["nextest", "run", "--workspace"])
        .args(arguments)
        .env("CODEX_ORCHESTRATOR_TEST_PROGRAMS_BUILT", "1")
        .directory(&root)
        .run()?;
    Program::cargo().args(["test", "--doc", "--workspace", "--quiet"]).directory(&root).run()?;
    Ok(())
}
