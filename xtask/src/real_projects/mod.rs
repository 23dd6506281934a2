//! `cargo xtask real-projects`: runs the built-in pipeline in projects that none of us wrote.
//!
//! Each is obtained from its registry and checked out afresh. What the program found and what it
//! says came of it are compared with the table, and each command is run once more without the
//! program: both must end alike.

mod obtain;
mod table;

use std::fs;
use std::path::Path;
use std::process::Output;
use std::time::Instant;

use serde_json::Value;

use self::obtain::ObtainError;
use self::table::{Ends, PROJECTS, Project};
use crate::console::{say, say_error};
use crate::product::build_orchestrator;
use crate::program::{Program, ProgramError};
use crate::workspace_root;

/// Why not every project was as expected.
#[derive(Debug, thiserror::Error)]
pub enum RealProjectsError {
    /// The program could not be built.
    #[error("failed to build the program")]
    Build(#[source] ProgramError),
    /// Some were not; each has been reported.
    #[error("{} of {} projects were not as expected: {}", .0.len(), PROJECTS.len(), .0.join(", "))]
    Unexpected(Vec<&'static str>),
}

/// Why a project could not be judged.
#[derive(Debug, thiserror::Error)]
enum JudgeError {
    #[error("no checkout")]
    Obtain(#[from] ObtainError),
    #[error("a program did not do its work")]
    Program(#[from] ProgramError),
    #[error("`{line}` did not start")]
    Start {
        line: String,
        #[source]
        source: std::io::Error,
    },
    #[error("`{what}` could not be read")]
    Read {
        what: String,
        #[source]
        source: std::io::Error,
    },
    #[error("`{what}` is not JSON")]
    Json {
        what: String,
        #[source]
        source: serde_json::Error,
    },
}

/// Runs every project of the table and reports.
///
/// # Errors
/// [`RealProjectsError`] when the program cannot be built or a project is not as expected.
pub fn run() -> Result<(), RealProjectsError> {
    let root = workspace_root();
    let program = build_orchestrator(&root).map_err(RealProjectsError::Build)?;
    let place = root.join("target/real-projects");
    let mut unexpected = Vec::new();
    for project in PROJECTS {
        say(&format!("== {} {}", project.name, project.version));
        let began = Instant::now();
        match judge(project, &program, &place) {
            Ok(objections) if objections.is_empty() => {
                say(&format!("   as expected, {:.1} s", began.elapsed().as_secs_f32()));
            }
            Ok(objections) => {
                for objection in &objections {
                    say(&format!("   NOT AS EXPECTED: {objection}"));
                }
                unexpected.push(project.name);
            }
            Err(error) => {
                say_error(&error);
                unexpected.push(project.name);
            }
        }
    }
    if unexpected.is_empty() { Ok(()) } else { Err(RealProjectsError::Unexpected(unexpected)) }
}

/// What is not as the table says.
fn judge(project: &Project, program: &Path, place: &Path) -> Result<Vec<String>, JudgeError> {
    let folder = obtain::checkout(project, place)?;
    let result = output(
        Program::new(program).args(["start", "diagnostics", "--format", "json", "--quiet"]),
        "codex-orchestrator start",
        &folder,
    )?;
    let mut objections = Vec::new();
    if project.stages.is_empty() {
        let said = String::from_utf8_lossy(&result.stderr);
        say(&format!("   {}", said.trim()));
        expect(&mut objections, "exit code", &result.status.code(), &Some(SETUP));
        expect(&mut objections, "words on stderr", &said.contains(project.says), &true);
    } else {
        judge_run(project, &folder, &result, &mut objections)?;
    }
    let left = Program::new("git").args(["status", "--porcelain"]).directory(&folder).output()?;
    for line in String::from_utf8_lossy(&left).lines() {
        if !project.leaves.iter().any(|name| line.strip_prefix("?? ") == Some(name)) {
            objections.push(format!("git status says `{line}`"));
        }
    }
    Ok(objections)
}

/// The program's exit codes that occur here.
const RUN_FAILED: i32 = 10;
const SETUP: i32 = 3;

fn judge_run(
    project: &Project,
    folder: &Path,
    result: &Output,
    objections: &mut Vec<String>,
) -> Result<(), JudgeError> {
    let started = json("the result of start", &result.stdout)?;
    let manifest_path = folder.join(text(&started, "manifest"));
    let what = manifest_path.display().to_string();
    let manifest =
        fs::read(&manifest_path).map_err(|source| JudgeError::Read { what: what.clone(), source })?;
    let manifest = json(&what, &manifest)?;
    let commands = manifest.get("commands").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    for command in commands {
        let parts = ["status", "id", "command", "summary"].map(|key| text(command, key));
        let [status, id, line, summary] = parts;
        say(&format!("   {status:<9} {id:<8} {line}  ({summary})"));
    }
    say(&format!("   {}", text(&started, "summary")));

    let found: Vec<_> =
        commands.iter().map(|command| (text(command, "id"), text(command, "command"))).collect();
    let wanted: Vec<_> = project.stages.iter().map(|(id, line, _)| (*id, *line)).collect();
    expect(objections, "stages", &found, &wanted);
    for (command, (id, line, ends)) in commands.iter().zip(project.stages) {
        expect(objections, &format!("end of {id}"), &text(command, "status"), &ends.word());
        let by_hand = output(Program::new("sh").args(["-c", line]), line, folder)?.status.success();
        expect(objections, &format!("success of `{line}` by hand"), &by_hand, &(*ends == Ends::Succeeded));
    }
    let fails = project.stages.iter().any(|(_, _, ends)| *ends == Ends::Failed);
    expect(objections, "exit code", &result.status.code(), &Some(if fails { RUN_FAILED } else { 0 }));
    expect(objections, "status", &text(&started, "status"), &fails_word(fails));
    let summary = text(&started, "summary");
    if !summary.contains(project.says) {
        objections.push(format!("the summary does not say `{}`: {summary}", project.says));
    }
    Ok(())
}

const fn fails_word(fails: bool) -> &'static str {
    if fails { Ends::Failed.word() } else { Ends::Succeeded.word() }
}

impl Ends {
    /// As the manifest says it.
    const fn word(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
        }
    }
}

fn expect<T: PartialEq + std::fmt::Debug>(objections: &mut Vec<String>, what: &str, found: &T, wanted: &T) {
    if found != wanted {
        objections.push(format!("{what}: {found:?} instead of {wanted:?}"));
    }
}

fn text<'v>(value: &'v Value, key: &str) -> &'v str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn json(what: &str, bytes: &[u8]) -> Result<Value, JudgeError> {
    serde_json::from_slice(bytes).map_err(|source| JudgeError::Json { what: what.to_owned(), source })
}

/// Runs a program to its end, whichever that is.
fn output(program: Program, line: &str, folder: &Path) -> Result<Output, JudgeError> {
    let mut command = program.directory(folder).into_command();
    command.stdin(std::process::Stdio::null());
    command.output().map_err(|source| JudgeError::Start { line: line.to_owned(), source })
}
