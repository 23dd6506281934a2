//! `cargo xtask codegen`: committed files that the program itself prints.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::console::say;
use crate::product::build_orchestrator;
use crate::program::{Program, ProgramError};
use crate::types::{self, Language, Unknown};

/// Every generated file, relative to the workspace root, and the arguments that print its text.
const GENERATED: &[(&str, &[&str])] = &[
    ("schemas/error.schema.json", &["schema", "error"]),
    ("schemas/event.schema.json", &["schema", "event"]),
    ("schemas/exec.schema.json", &["schema", "exec"]),
    ("schemas/grant.schema.json", &["schema", "grant"]),
    ("schemas/manifest.schema.json", &["schema", "manifest"]),
    ("schemas/metrics.schema.json", &["schema", "metrics"]),
    ("schemas/pipeline.schema.json", &["schema", "pipeline"]),
    ("schemas/run-summary.schema.json", &["schema", "run-summary"]),
    ("schemas/start.schema.json", &["schema", "start"]),
    ("schemas/status.schema.json", &["schema", "status"]),
    ("schemas/task-state.schema.json", &["schema", "task-state"]),
    ("docs/cli.md", &["man", "--markdown"]),
];

/// Every file of types that follow from the schemas.
const TYPES: &[(&str, Language)] = &[
    ("sdk/node/src/events.ts", Language::TypeScript),
    ("sdk/python/src/codex_orchestrator/events.py", Language::Python),
];

/// Whether to change files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Say which files are out of date.
    Check,
    /// Write the files that are out of date.
    Write,
}

/// Why generated files are not as they should be.
#[derive(Debug, thiserror::Error)]
pub enum CodegenError {
    /// The program does not build or does not print what it should.
    #[error("failed to ask the program for `{file}`")]
    Program {
        /// The file that was asked for.
        file: &'static str,
        /// How it failed.
        #[source]
        source: ProgramError,
    },
    /// A schema has no types in another language.
    #[error("failed to make `{file}` from the schemas")]
    Types {
        /// The file.
        file: &'static str,
        /// What is not understood.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The program does not build.
    #[error("failed to build the program")]
    Build(#[source] ProgramError),
    /// The file cannot be written.
    #[error("failed to write `{}`", .path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Files differ from what the program prints.
    #[error("out of date: {}; run `cargo xtask codegen`", .files.join(", "))]
    Stale {
        /// The files.
        files: Vec<&'static str>,
    },
}

/// Builds the program and compares or writes everything it generates.
///
/// # Errors
/// [`CodegenError`]; in [`Mode::Check`] also when a file is out of date.
pub fn run(root: &Path, mode: Mode) -> Result<(), CodegenError> {
    let program = build_orchestrator(root).map_err(CodegenError::Build)?;
    let mut files = printed(GENERATED, &program)?;
    files.extend(typed(&program)?);
    settle(files, root, mode)
}

/// What the program prints.
fn printed(table: &[(&'static str, &[&str])], program: &Path) -> Result<Vec<Generated>, CodegenError> {
    let print = |(file, arguments): &(&'static str, &[&str])| {
        let text = ask(program, arguments).map_err(|source| CodegenError::Program { file, source })?;
        Ok((*file, text))
    };
    table.iter().map(print).collect()
}

/// What follows from the schemas that the program prints.
fn typed(program: &Path) -> Result<Vec<Generated>, CodegenError> {
    let (file, _) = TYPES[0];
    let schema = |(name, _): &(&str, &str)| {
        let text =
            ask(program, &["schema", name]).map_err(|source| CodegenError::Program { file, source })?;
        serde_json::from_str(&text).map_err(|source| CodegenError::Types { file, source: source.into() })
    };
    let schemas: Vec<serde_json::Value> = types::ROOTS.iter().map(schema).collect::<Result<_, _>>()?;
    let write = |(file, language): &(&'static str, Language)| {
        let failed = |source: Unknown| CodegenError::Types { file, source: source.into() };
        Ok((*file, types::write(&schemas, *language).map_err(failed)?))
    };
    TYPES.iter().map(write).collect()
}

/// A file and its text.
type Generated = (&'static str, String);

fn settle(generated: Vec<Generated>, root: &Path, mode: Mode) -> Result<(), CodegenError> {
    let mut files = Vec::new();
    for (file, text) in generated {
        let path = root.join(file);
        if fs::read_to_string(&path).is_ok_and(|present| present == text) {
            continue;
        }
        files.push(file);
        if mode == Mode::Write {
            write(&path, &text).map_err(|source| CodegenError::Write { path, source })?;
            say(&format!("wrote {file}"));
        }
    }
    if mode == Mode::Check && !files.is_empty() { Err(CodegenError::Stale { files }) } else { Ok(()) }
}

fn write(path: &Path, text: &str) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(path, text)
}

/// Runs the program and returns its output, ending in exactly one newline.
fn ask(program: &Path, arguments: &[&str]) -> Result<String, ProgramError> {
    let output = Program::new(program).args(arguments).bare_environment().output()?;
    let mut text = String::from_utf8_lossy(&output).trim_end().to_owned();
    text.push('\n');
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    const TABLE: &[(&str, &[&str])] = &[("schemas/a.json", &["schema", "a"]), ("docs/cli.md", &["man"])];

    fn generate(program: &Path, root: &Path, mode: Mode) -> Result<(), CodegenError> {
        settle(printed(TABLE, program)?, root, mode)
    }

    /// A program that answers as clap would.
    fn program(folder: &Path) -> PathBuf {
        let path = folder.join("program");
        let script = r#"#!/bin/sh
case "$*" in
  "schema a") printf '{"type":"object"}' ;;
  "man") printf '# Command line\n' ;;
  *) echo "no such thing: $*" >&2; exit 2 ;;
esac
"#;
        fs::write(&path, script).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    #[test]
    fn written_files_pass_the_check_until_they_are_changed() {
        let root = tempfile::tempdir().unwrap();
        let program = program(root.path());
        let stale = generate(&program, root.path(), Mode::Check).unwrap_err();
        assert_eq!(stale.to_string(), "out of date: schemas/a.json, docs/cli.md; run `cargo xtask codegen`");
        assert!(!root.path().join("schemas").exists());

        generate(&program, root.path(), Mode::Write).unwrap();
        generate(&program, root.path(), Mode::Check).unwrap();
        let schema = root.path().join("schemas/a.json");
        assert_eq!(fs::read_to_string(&schema).unwrap(), "{\"type\":\"object\"}\n");

        fs::write(&schema, "{}\n").unwrap();
        let stale = generate(&program, root.path(), Mode::Check).unwrap_err();
        assert!(matches!(stale, CodegenError::Stale { files } if files == ["schemas/a.json"]));
    }

    #[test]
    fn a_refusal_of_the_program_names_the_file() {
        let root = tempfile::tempdir().unwrap();
        let table: &[(&str, &[&str])] = &[("schemas/b.json", &["schema", "b"])];
        let error = printed(table, &program(root.path())).unwrap_err();
        assert_eq!(error.to_string(), "failed to ask the program for `schemas/b.json`");
        let source = std::error::Error::source(&error).unwrap().to_string();
        assert!(source.ends_with("no such thing: schema b"), "{source}");
    }
}
