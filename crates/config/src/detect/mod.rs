//! Recognises what a repository is, from the files at its root, and which commands check it.
//!
//! Only reads files, and only a bounded part of them; starts nothing. Whether a program is there
//! is a note and not a condition: a stage whose program is missing fails and says so, which is
//! truer than a check that silently did not happen.

mod cargo;
mod go;
mod just;
mod make;
mod node;
mod python;

use std::cell::RefCell;
use std::fs;
use std::num::NonZeroU16;
use std::path::{Path, PathBuf};

use co_model::{
    CommandLine, IdError, Needs, Pipeline, PipelineId, PipelineSource, Stage, StageId, StageWork,
};
use indexmap::IndexMap;

use crate::BUILT_IN;
use crate::environment::{Environment, is_executable};
use crate::files::{Content, read_bounded};

/// Largest project file that is looked into.
const LONGEST_PROJECT_FILE: u64 = 1024 * 1024;

/// What a repository was recognised as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Detection {
    /// The folder that was looked at.
    pub root: PathBuf,
    /// The toolchains, languages first, each with at least one stage.
    pub toolchains: Vec<Detected>,
    /// What a person should know: programs that are missing, files that could not be read.
    pub notes: Vec<String>,
}

/// One recognised toolchain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Detected {
    /// Which it is.
    pub toolchain: Toolchain,
    /// The file it was recognised by, relative to the root.
    pub evidence: PathBuf,
    /// What checks the repository, in order.
    pub stages: Vec<DetectedStage>,
}

/// One command that checks a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DetectedStage {
    /// What it is for; the stage's id, behind the toolchain's name when there are several.
    pub purpose: Purpose,
    /// The program and its arguments.
    pub argv: Vec<String>,
    /// Variables it needs.
    pub env: IndexMap<String, String>,
}

/// The toolchains that are recognised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Toolchain {
    /// Rust with Cargo.
    Cargo,
    /// JavaScript with npm.
    Npm,
    /// JavaScript with pnpm.
    Pnpm,
    /// JavaScript with Yarn.
    Yarn,
    /// Python.
    Python,
    /// Go.
    Go,
    /// Make.
    Make,
    /// just.
    Just,
}

impl Toolchain {
    /// The name in stage ids.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cargo => "cargo",
            Self::Npm => "npm",
            Self::Pnpm => "pnpm",
            Self::Yarn => "yarn",
            Self::Python => "python",
            Self::Go => "go",
            Self::Make => "make",
            Self::Just => "just",
        }
    }

    /// Whether it runs commands of any language.
    const fn is_runner(self) -> bool {
        matches!(self, Self::Make | Self::Just)
    }
}

/// What a detected stage is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// Fetches dependencies that are not there yet.
    Install,
    /// Builds.
    Build,
    /// Looks for mistakes without running the code.
    Lint,
    /// Checks the layout of the code.
    Format,
    /// Runs the tests.
    Test,
}

impl Purpose {
    /// The name in stage ids.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Install => "install",
            Self::Build => "build",
            Self::Lint => "lint",
            Self::Format => "format",
            Self::Test => "test",
        }
    }

    /// Whether a stage for this is pointless after one for `earlier` has failed.
    const fn waits_for(self, earlier: Self) -> bool {
        match earlier {
            Self::Install => true,
            Self::Build => matches!(self, Self::Lint | Self::Test),
            Self::Lint | Self::Format | Self::Test => false,
        }
    }
}

/// Nothing was found in a repository that could be built, linted or tested.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("nothing to build, lint or test was recognised in `{}`: {}", .root.display(), what_was_seen(.notes))]
pub struct NothingDetected {
    /// The folder that was looked at.
    pub root: PathBuf,
    /// What was seen all the same.
    pub notes: Vec<String>,
}

/// The whole list of names helps only where none of them is there.
fn what_was_seen(notes: &[String]) -> String {
    if notes.is_empty() {
        "there is no Cargo.toml, package.json, pyproject.toml, setup.py, setup.cfg, tox.ini, requirements.txt, \
         go.mod, Makefile or justfile"
            .to_owned()
    } else {
        notes.join("; ")
    }
}

/// A detected stage with its id and what it waits for.
pub(crate) struct PlannedStage<'d> {
    pub(crate) id: String,
    pub(crate) needs: Vec<String>,
    pub(crate) stage: &'d DetectedStage,
}

impl Detection {
    /// The stages of all toolchains with their ids.
    ///
    /// A stage waits for what prepares it and for nothing else, so that one run tells everything
    /// that is wrong: a finding of the linter, or a missing one, does not hide failing tests.
    pub(crate) fn planned(&self) -> Vec<PlannedStage<'_>> {
        let several = self.toolchains.len() > 1;
        let mut planned: Vec<PlannedStage<'_>> = Vec::new();
        for detected in &self.toolchains {
            let first_own = planned.len();
            for stage in &detected.stages {
                // A task runner wraps the languages: what prepares them prepares its stages.
                let first = if detected.toolchain.is_runner() { 0 } else { first_own };
                let before =
                    planned[first..].iter().filter(|other| stage.purpose.waits_for(other.stage.purpose));
                let needs = before.map(|other| other.id.clone()).collect();
                planned.push(PlannedStage { id: stage.id(detected.toolchain, several), needs, stage });
            }
        }
        planned
    }

    pub(crate) fn nothing(&self) -> NothingDetected {
        NothingDetected { root: self.root.clone(), notes: self.notes.clone() }
    }
}

/// Looks at the files in `root`; which programs are missing is told by `environment`.
pub fn detect(root: &Path, environment: &Environment) -> Detection {
    let look = Look { root, environment, notes: RefCell::default() };
    let languages = [cargo::detect, node::detect, python::detect, go::detect];
    let mut toolchains: Vec<Detected> = languages.iter().filter_map(|detect| detect(&look)).collect();
    // Beside a language, a task runner usually wraps the same commands: it only fills gaps.
    for runner in [make::detect, just::detect] {
        let Some(mut detected) = runner(&look) else { continue };
        let covered = |stage: &DetectedStage| {
            toolchains.iter().flat_map(|other| &other.stages).any(|other| other.purpose == stage.purpose)
        };
        detected.stages.retain(|stage| !covered(stage));
        if !detected.stages.is_empty() {
            toolchains.push(detected);
        }
    }
    look.note_missing_programs(&toolchains);
    if toolchains.is_empty() {
        look.note_projects_below();
    }
    Detection { root: root.to_owned(), toolchains, notes: look.notes.into_inner() }
}

/// Builds the pipeline `diagnostics` from what was recognised.
///
/// # Errors
/// [`NothingDetected`] when there is nothing to build it from.
pub fn builtin(detection: &Detection) -> Result<Pipeline, NothingDetected> {
    let stages = detection.planned().iter().map(PlannedStage::model).collect::<Result<Vec<Stage>, IdError>>();
    let (Ok(stages), Ok(id)) = (stages, PipelineId::new(BUILT_IN)) else { return Err(detection.nothing()) };
    if stages.is_empty() {
        return Err(detection.nothing());
    }
    let names: Vec<&str> = detection.toolchains.iter().map(|detected| detected.toolchain.as_str()).collect();
    Ok(Pipeline {
        id,
        title: "Diagnostics".to_owned(),
        description: Some(format!("Built in: checks this repository with {}.", names.join(", "))),
        tags: Vec::new(),
        guardrails_required: false,
        max_parallel: NonZeroU16::MIN,
        mcp_servers: Vec::new(),
        stages,
        source: PipelineSource::BuiltIn,
    })
}

impl DetectedStage {
    fn new(purpose: Purpose, argv: &[&str]) -> Self {
        Self { purpose, argv: argv.iter().map(|&word| word.to_owned()).collect(), env: IndexMap::new() }
    }

    /// The stage's id: the purpose, behind the toolchain's name when there are several.
    fn id(&self, toolchain: Toolchain, several: bool) -> String {
        let purpose = self.purpose.as_str();
        if several { format!("{}-{purpose}", toolchain.as_str()) } else { purpose.to_owned() }
    }
}

impl PlannedStage<'_> {
    fn model(&self) -> Result<Stage, IdError> {
        Ok(Stage {
            title: self.stage.argv.join(" "),
            env: self.stage.env.clone(),
            needs: Needs::Declared(self.needs.iter().map(StageId::new).collect::<Result<_, _>>()?),
            ..Stage::new(
                StageId::new(&self.id)?,
                StageWork::Command(CommandLine::Argv(self.stage.argv.clone())),
            )
        })
    }
}

/// A repository as the detectors see it.
struct Look<'r> {
    root: &'r Path,
    environment: &'r Environment,
    notes: RefCell<Vec<String>>,
}

impl Look<'_> {
    fn has_file(&self, name: &str) -> bool {
        self.root.join(name).is_file()
    }

    /// The first of these files that exists.
    fn first_file<'n>(&self, names: &[&'n str]) -> Option<&'n str> {
        names.iter().copied().find(|name| self.has_file(name))
    }

    fn note(&self, note: String) {
        self.notes.borrow_mut().push(note);
    }

    /// Reads a project file; one that is there and cannot be read is noted.
    fn read(&self, name: &str) -> Option<String> {
        let reason = match read_bounded(&self.root.join(name), LONGEST_PROJECT_FILE) {
            Ok(Content::Missing) => return None,
            Ok(Content::Bytes(bytes)) => match String::from_utf8(bytes) {
                Ok(text) => return Some(text),
                Err(_) => "it is not UTF-8".to_owned(),
            },
            Ok(Content::TooLarge) => "it is too large".to_owned(),
            Err(error) => error.to_string(),
        };
        self.note(format!("`{name}` was not read: {reason}"));
        None
    }

    /// Reads a TOML file; one that is not valid is noted.
    fn read_toml(&self, name: &str) -> Option<toml::Table> {
        let text = self.read(name)?;
        match text.parse::<toml::Table>() {
            Ok(table) => Some(table),
            Err(error) => {
                self.note(format!("`{name}` was not read: {}", error.message()));
                None
            }
        }
    }

    fn note_missing_programs(&self, toolchains: &[Detected]) {
        let stages = toolchains.iter().flat_map(|detected| &detected.stages);
        let mut programs: Vec<&str> =
            stages.filter_map(|stage| stage.argv.first()).map(String::as_str).collect();
        programs.dedup();
        for program in programs {
            let found = if program.contains('/') {
                is_executable(&self.root.join(program))
            } else {
                self.environment.find_program(program).is_some()
            };
            if !found {
                self.note_missing(program);
            }
        }
    }

    /// Notes once that a program is missing, and how to get it where that is one command.
    fn note_missing(&self, program: &str) {
        let remedy = match program {
            "cargo-clippy" => "; get it with: rustup component add clippy",
            "cargo-fmt" => "; get it with: rustup component add rustfmt",
            "ruff" => "; get it with: python3 -m venv .venv && .venv/bin/pip install ruff",
            "pnpm" | "yarn" => "; get it with: corepack enable",
            _ => "",
        };
        let note = format!("`{program}` was not found on PATH{remedy}");
        if !self.notes.borrow().contains(&note) {
            self.note(note);
        }
    }

    /// Names projects one folder below, where nothing was recognised at the root.
    fn note_projects_below(&self) {
        const EVIDENCE: [&str; 5] = ["Cargo.toml", "package.json", "pyproject.toml", "setup.py", "go.mod"];
        const MOST_FOLDERS: usize = 200;
        const MOST_NAMED: usize = 5;
        let Ok(entries) = fs::read_dir(self.root) else { return };
        let mut below: Vec<(String, &str)> = entries
            .flatten()
            .take(MOST_FOLDERS)
            .filter_map(|entry| {
                let name = entry.file_name().into_string().ok().filter(|name| !is_foreign(name))?;
                let evidence = EVIDENCE.into_iter().find(|file| entry.path().join(file).is_file())?;
                Some((name, evidence))
            })
            .collect();
        below.sort_unstable();
        for (folder, evidence) in below.into_iter().take(MOST_NAMED) {
            let folder = crate::problem::shown(&folder);
            self.note(format!("`{folder}/{evidence}` is there: `--root {folder}` checks that folder"));
        }
    }
}

/// Folders with code that is not the repository's own.
fn is_foreign(name: &str) -> bool {
    name.starts_with('.')
        || matches!(name, "node_modules" | "venv" | "env" | "build" | "dist" | "target" | "site-packages")
}
