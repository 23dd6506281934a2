//! Temporary folders with a pipeline file, and commands that run in them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;
use xtask::program::Program;

use crate::Outcome;

/// A repository without git, a home without configuration.
pub(crate) struct Place {
    folder: TempDir,
}

impl Place {
    /// Makes a folder with pipelines, given as (id, the shell lines of its stages).
    pub(crate) fn new(pipelines: &[(&str, Vec<String>)]) -> Outcome<Self> {
        let stages = |lines: &[String]| -> Vec<Value> {
            let stage = |(index, line): (usize, &String)| {
                let id = format!("s{}", index + 1);
                json!({ "kind": "command", "id": id, "title": id, "command": line })
            };
            lines.iter().enumerate().map(stage).collect()
        };
        let pipelines: Vec<_> = pipelines.iter().map(|(id, lines)| (*id, stages(lines))).collect();
        Self::of_stages(&pipelines)
    }

    /// Makes a folder with pipelines, given as (id, stages as in the file).
    pub(crate) fn of_stages(pipelines: &[(&str, Vec<Value>)]) -> Outcome<Self> {
        let folder = TempDir::with_prefix("co-bench-")?;
        let pipeline = |(id, stages): &(&str, Vec<Value>)| json!({ "id": id, "title": id, "stages": stages });
        let pipelines: Vec<Value> = pipelines.iter().map(pipeline).collect();
        let text = serde_json::to_string_pretty(&json!({ "pipelines": pipelines }))?;
        fs::write(folder.path().join("codex.orchestrator.json"), text)?;
        fs::create_dir(folder.path().join("home"))?;
        Ok(Self { folder })
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Where the product keeps its event log in this folder.
    pub(crate) fn event_log(&self) -> PathBuf {
        self.path().join(".runs/orchestrator.db")
    }

    /// Prepares a program in this folder; nothing of the person's environment reaches it.
    pub(crate) fn command(&self, program: impl AsRef<Path>, arguments: &[&str]) -> Command {
        Program::new(program.as_ref())
            .args(arguments)
            .directory(self.path())
            .bare_environment()
            .env("HOME", self.path().join("home"))
            .into_command()
    }

    /// Runs a program and measures it from spawn to end.
    pub(crate) fn time(&self, program: impl AsRef<Path>, arguments: &[&str]) -> Outcome<Duration> {
        let mut command = self.command(program, arguments);
        let begun = Instant::now();
        let output = command.output()?;
        let time = begun.elapsed();
        successful(&command, output)?;
        Ok(time)
    }

    /// Runs a program and reads the JSON it prints.
    pub(crate) fn json(&self, program: impl AsRef<Path>, arguments: &[&str]) -> Outcome<Value> {
        let mut command = self.command(program, arguments);
        let output = command.output()?;
        let stdout = successful(&command, output)?;
        serde_json::from_slice(&stdout)
            .map_err(|error| format!("`{}` printed no JSON: {error}", line(&command)).into())
    }
}

fn successful(command: &Command, output: Output) -> Outcome<Vec<u8>> {
    if output.status.success() {
        return Ok(output.stdout);
    }
    let stderr = String::from_utf8_lossy(&output.stderr);
    Err(format!("`{}` ended with {}: {}", line(command), output.status, stderr.trim()).into())
}

/// The command as one would type it, without the machine's paths: it may end up in the document.
fn line(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or_default();
    let words = std::iter::once(program).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}
