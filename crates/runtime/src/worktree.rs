//! A worktree of its own for a run, and its removal when nothing is lost by it.

use std::path::{Path, PathBuf};

use co_git::{BranchAfter, Repository};
use co_model::RunId;

use crate::attempt::chain;
use crate::error::StartError;

/// A worktree made for one run.
pub(crate) struct Worktree {
    /// Where the stages run: the same place below the worktree as the root has below its repository.
    pub(crate) workspace: PathBuf,
    /// The branch that was made for it.
    pub(crate) branch: String,
}

/// Makes a worktree of the repository's present commit below the runs folder.
pub(crate) fn add(root: &Path, runs_dir: &Path, run: &RunId) -> Result<Worktree, StartError> {
    let failed = |detail: String| StartError::Worktree { detail };
    let repository = Repository::discover(root)
        .map_err(|error| failed(chain(&error)))?
        .ok_or_else(|| failed(format!("`{}` is not in a git repository", root.display())))?;
    let path = runs_dir.join("worktrees").join(run.as_str());
    let branch = format!("codex-orchestrator/{run}");
    repository.add_worktree(&path, &branch).map_err(|error| failed(chain(&error)))?;
    let canonical = root.canonicalize().unwrap_or_else(|_| root.to_owned());
    let below = canonical.strip_prefix(repository.root()).unwrap_or(Path::new(""));
    Ok(Worktree { workspace: path.join(below), branch })
}

/// Removes a run's worktree and branch, unless something in it exists nowhere else.
///
/// Returns what kept it from being removed.
pub(crate) fn remove(root: &Path, runs_dir: &Path, run: &RunId) -> Result<(), String> {
    let repository = Repository::discover(root)
        .map_err(|error| chain(&error))?
        .ok_or_else(|| format!("`{}` is not in a git repository", root.display()))?;
    let path = runs_dir.join("worktrees").join(run.as_str());
    repository.remove_worktree(&path, BranchAfter::Delete).map(drop).map_err(|error| chain(&error))
}
