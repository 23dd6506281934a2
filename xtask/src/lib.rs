//! The one door for developers, the same at home and in CI.
//!
//! `cargo xtask check` judges the tree, `cargo xtask test` proves it, `cargo xtask bench` measures
//! it, `cargo xtask codegen` writes the files that are generated from the program itself, and
//! `cargo xtask real-projects` tries it on projects that none of us wrote.

pub mod check;
pub mod codegen;
pub mod console;
pub mod packages;
mod product;
pub mod program;
pub mod real_projects;
pub mod test;
pub mod tidy;
mod types;

use std::path::{Path, PathBuf};

/// The root of the workspace.
#[must_use]
pub fn workspace_root() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().unwrap_or(package).to_path_buf()
}
