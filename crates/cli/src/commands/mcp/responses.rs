//! One response file per stage of a session: `responses/<NN>-<slug>.json` beside the manifest.
//!
//! They are written by the run's owner as stages end, and brought up to date by `mcp poll`; both
//! write the same. A stage that is run again loses its file until it has ended again.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use co_model::StageId;
use co_runtime::RunSnapshot;
use co_views::{CommandView, Layout, StageStatusWord, slug, to_json};
use serde_json::json;

use crate::error::{CliError, Exit};

fn directory(layout: &Layout, snapshot: &RunSnapshot) -> PathBuf {
    layout.run_dir(&snapshot.state.created.task, snapshot.state.run()).join("responses")
}

/// Makes the folder. A run that has it keeps response files.
pub(super) fn keep(layout: &Layout, snapshot: &RunSnapshot) -> Result<(), CliError> {
    let directory = directory(layout, snapshot);
    fs::create_dir_all(&directory).map_err(|error| failed(&directory, &error))
}

fn failed(path: &Path, error: &io::Error) -> CliError {
    CliError::new(Exit::Setup, format!("failed to write `{}`: {error}", path.display()))
}

/// Brings the files up to date and returns their paths as they are shown, in the order of the
/// stages; none for a run that keeps none.
pub(super) fn refresh(layout: &Layout, snapshot: &RunSnapshot) -> Result<Vec<String>, CliError> {
    let directory = directory(layout, snapshot);
    if !directory.is_dir() {
        return Ok(Vec::new());
    }
    let state = &snapshot.state;
    let manifest = co_views::manifest(state, layout, snapshot.heartbeat);
    let manifest_path = layout.show(&layout.manifest_path(&state.created.task, state.run()));
    let mut paths = Vec::new();
    let ids = state.stages.iter().map(|record| record.id());
    for (command, id) in manifest.commands.iter().zip(ids) {
        let path = directory.join(format!("{:02}-{}.json", command.index, stem(id)));
        let written = match response(state.run().as_str(), command, &manifest_path) {
            Some(text) => write(&path, &text).map(|()| paths.push(layout.show(&path))),
            None => forget(&path),
        };
        written.map_err(|error| failed(&path, &error))?;
    }
    Ok(paths)
}

fn stem(id: &StageId) -> String {
    let slug = slug(id);
    let stem = slug.trim_matches('-');
    if stem.is_empty() { "stage".to_owned() } else { stem.to_owned() }
}

/// What the file of a stage says; nothing while the stage has no result.
fn response(run: &str, command: &CommandView, manifest_path: &str) -> Option<String> {
    use StageStatusWord::{Cancelled, Failed, Pending, Running, Skipped, Succeeded, Waiting};
    match command.status {
        Succeeded | Failed | Skipped | Cancelled => {}
        Pending | Running | Waiting => return None,
    }
    Some(to_json(&json!({
        "version": 1,
        "run_id": run,
        "index": command.index,
        "id": command.id,
        "command": command.command,
        "status": command.status,
        "exit_code": command.exit_code,
        "summary": command.summary,
        "manifest_path": manifest_path,
        "log_path": command.log_path,
        "started_at": command.started_at,
        "completed_at": command.completed_at,
        "duration_ms": command.duration_ms,
    })))
}

/// Replaces a file whole, unless it says the same already.
fn write(path: &Path, text: &str) -> io::Result<()> {
    if fs::read(path).is_ok_and(|before| before == text.as_bytes()) {
        return Ok(());
    }
    let half = path.with_extension(format!("json.{}", std::process::id()));
    let mut file = fs::File::create(&half)?;
    file.write_all(text.as_bytes())?;
    fs::rename(&half, path)
}

fn forget(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
