//! `cargo xtask codegen`: committed files that the program itself prints.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::console::say;
use crate::program::{Program, ProgramError};

/// Every generated file, relative to the workspace root, and where its text comes from.
const GENERATED: &[(&str, Source)] = &[
    ("schemas/manifest.json", Source::Output(&["schema", "manifest"])),
    ("schemas/pipeline.json", Source::Output(&["schema", "pipeline"])),
    ("schemas/event.json", Source::Output(&["schema", "event"])),
    ("schemas/run-summary.json", Source::Output(&["schema", "run-summary"])),
    ("schemas/metrics.json", Source::Output(&["schema", "metrics"])),
    ("schemas/task-state.json", Source::Output(&["schema", "task-state"])),
    ("docs/cli.md", Source::Help),
];

/// Where the text of a generated file comes from.
#[derive(Clone, Copy)]
enum Source {
    /// What the program prints when it is given these arguments.
    Output(&'static [&'static str]),
    /// The help of the program and of each of its commands, as one page.
    Help,
}

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
    let program = build_program(root).map_err(CodegenError::Build)?;
    generate(GENERATED, &program, root, mode)
}

/// Builds the orchestrator and returns the path of the executable, wherever the target folder is.
pub(crate) fn build_program(root: &Path) -> Result<PathBuf, ProgramError> {
    let messages = Program::cargo()
        .args(["build", "--quiet", "--package", "codex-orchestrator", "--bin", "codex-orchestrator"])
        .arg("--message-format=json-render-diagnostics")
        .directory(root)
        .output()?;
    let built = cargo_metadata::Message::parse_stream(messages.as_slice())
        .filter_map(Result::ok)
        .filter_map(|message| match message {
            cargo_metadata::Message::CompilerArtifact(artifact) => artifact.executable,
            _ => None,
        })
        .last();
    Ok(built.map_or_else(|| root.join("target/debug/codex-orchestrator"), Into::into))
}

fn generate(
    table: &[(&'static str, Source)],
    program: &Path,
    root: &Path,
    mode: Mode,
) -> Result<(), CodegenError> {
    let mut files = Vec::new();
    for (file, source) in table {
        let text = match source {
            Source::Output(arguments) => ask(program, arguments),
            Source::Help => help_page(program),
        };
        let text = text.map_err(|source| CodegenError::Program { file, source })?;
        let path = root.join(file);
        if fs::read_to_string(&path).is_ok_and(|present| present == text) {
            continue;
        }
        files.push(*file);
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

/// Renders the help of the program and of each command below it, depth first.
fn help_page(program: &Path) -> Result<String, ProgramError> {
    let mut page = String::from(
        "# Command line\n\n<!-- Generated by `cargo xtask codegen` from the program's own help. -->\n",
    );
    let mut pending = vec![Vec::<String>::new()];
    while let Some(command) = pending.pop() {
        let mut arguments: Vec<&str> = command.iter().map(String::as_str).collect();
        arguments.push("--help");
        let help = ask(program, &arguments)?;
        let name = std::iter::once("codex-orchestrator").chain(command.iter().map(String::as_str));
        let name = name.collect::<Vec<_>>().join(" ");
        page.push_str("\n## `");
        page.push_str(&name);
        page.push_str("`\n\n```text\n");
        for line in help.lines() {
            page.push_str(line.trim_end());
            page.push('\n');
        }
        page.push_str("```\n");
        for inner in commands_in(&help).into_iter().rev() {
            pending.push(command.iter().cloned().chain([inner]).collect());
        }
    }
    Ok(page)
}

/// The names in the `Commands:` section of a help text, without `help` itself.
fn commands_in(help: &str) -> Vec<String> {
    help.lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| line.starts_with("  ") || line.is_empty())
        // Names are indented by two; the wrapped lines of a description by more.
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    const TABLE: &[(&str, Source)] =
        &[("schemas/a.json", Source::Output(&["schema", "a"])), ("docs/cli.md", Source::Help)];

    /// A program that answers as clap would.
    fn program(folder: &Path) -> PathBuf {
        let path = folder.join("program");
        let script = r#"#!/bin/sh
case "$*" in
  "schema a") printf '{"type":"object"}' ;;
  "--help") printf 'It runs.\n\nCommands:\n  start  Start\n         a run\n  config  Settings\n  help  Print\n\nOptions:\n  -h\n' ;;
  "start --help") printf 'Starts.   \n' ;;
  "config --help") printf 'Settings.\n\nCommands:\n  explain  Say why\n' ;;
  "config explain --help") printf 'Explains.\n' ;;
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
        let stale = generate(TABLE, &program, root.path(), Mode::Check).unwrap_err();
        assert_eq!(stale.to_string(), "out of date: schemas/a.json, docs/cli.md; run `cargo xtask codegen`");
        assert!(!root.path().join("schemas").exists());

        generate(TABLE, &program, root.path(), Mode::Write).unwrap();
        generate(TABLE, &program, root.path(), Mode::Check).unwrap();
        let schema = root.path().join("schemas/a.json");
        assert_eq!(fs::read_to_string(&schema).unwrap(), "{\"type\":\"object\"}\n");

        fs::write(&schema, "{}\n").unwrap();
        let stale = generate(TABLE, &program, root.path(), Mode::Check).unwrap_err();
        assert!(matches!(stale, CodegenError::Stale { files } if files == ["schemas/a.json"]));
    }

    #[test]
    fn the_help_page_lists_commands_depth_first() {
        let root = tempfile::tempdir().unwrap();
        let page = help_page(&program(root.path())).unwrap();
        let headings: Vec<_> = page.lines().filter(|line| line.starts_with("## ")).collect();
        assert_eq!(
            headings,
            [
                "## `codex-orchestrator`",
                "## `codex-orchestrator start`",
                "## `codex-orchestrator config`",
                "## `codex-orchestrator config explain`",
            ]
        );
        assert!(page.contains("```text\nStarts.\n```\n"), "{page}");
    }

    #[test]
    fn a_refusal_of_the_program_names_the_file() {
        let root = tempfile::tempdir().unwrap();
        let table: &[(&str, Source)] = &[("schemas/b.json", Source::Output(&["schema", "b"]))];
        let error = generate(table, &program(root.path()), root.path(), Mode::Write).unwrap_err();
        assert_eq!(error.to_string(), "failed to ask the program for `schemas/b.json`");
        let source = std::error::Error::source(&error).unwrap().to_string();
        assert!(source.ends_with("no such thing: schema b"), "{source}");
    }

    #[test]
    fn help_without_commands_has_none() {
        assert!(commands_in("It runs.\n\nOptions:\n  -h\n").is_empty());
    }
}
