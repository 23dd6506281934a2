//! `cargo xtask check`: everything that can be judged without running the product.

use std::error::Error;
use std::path::Path;

use crate::codegen::{self, Mode};
use crate::console::{say, say_error};
use crate::packages::{DENY, ensure_cargo_tool, ensure_rust_component};
use crate::program::{Program, ProgramError};
use crate::{tidy, workspace_root};

type Step = (&'static str, fn(&Path) -> Result<(), Box<dyn Error>>);

/// From the quickest to the slowest. All of them run, whatever the ones before said.
const STEPS: &[Step] = &[
    ("tidy", |root| Ok(tidy::check(root)?)),
    ("fmt", |root| {
        ensure_rust_component("fmt", "rustfmt")?;
        Ok(cargo(root, &["fmt", "--all", "--", "--check"]).run()?)
    }),
    ("deny", |root| {
        ensure_cargo_tool(&DENY)?;
        Ok(cargo(root, &["deny", "check", "--hide-inclusion-graph", "bans", "licenses", "sources"]).run()?)
    }),
    ("clippy", |root| {
        ensure_rust_component("clippy", "clippy")?;
        Ok(cargo(root, &["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]).run()?)
    }),
    ("doc", |root| Ok(doc(root)?)),
    ("codegen", |root| Ok(codegen::run(root, Mode::Check)?)),
];

/// Some steps failed; each has already said why.
#[derive(Debug, thiserror::Error)]
#[error("{} of {} checks failed: {}", .failed.len(), STEPS.len(), .failed.join(", "))]
pub struct CheckError {
    /// The names of the steps.
    pub failed: Vec<&'static str>,
}

/// Runs every check and says which failed.
///
/// # Errors
/// [`CheckError`] with the names of the steps that failed.
pub fn run() -> Result<(), CheckError> {
    let root = workspace_root();
    let mut failed = Vec::new();
    for (name, step) in STEPS {
        say(&format!("== {name}"));
        if let Err(error) = step(&root) {
            say_error(&*error);
            failed.push(*name);
        }
    }
    if failed.is_empty() {
        say("== all checks passed");
        Ok(())
    } else {
        Err(CheckError { failed })
    }
}

fn cargo(root: &Path, arguments: &[&str]) -> Program {
    Program::cargo().args(arguments).directory(root)
}

fn doc(root: &Path) -> Result<(), ProgramError> {
    cargo(root, &["doc", "--workspace", "--no-deps", "--quiet"]).env("RUSTDOCFLAGS", "-D warnings").run()
}
