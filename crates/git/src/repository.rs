//! A repository with a working tree: where it is, where it stands, what changed.

use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use crate::call::{Git, GitError};
use crate::status::{self, Change, Renames};

/// A repository that has a working tree.
#[derive(Debug, Clone)]
pub struct Repository {
    pub(crate) git: Git,
    root: PathBuf,
}

/// Where a repository stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The full id of the last commit; `None` before the first.
    pub commit: Option<String>,
    /// The branch, without `refs/heads/`; `None` when no branch is checked out.
    pub branch: Option<String>,
}

impl Git {
    /// Finds the repository that `path` lies in; `None` when it lies in none.
    ///
    /// # Errors
    /// [`GitError`] when the path does not exist, or when there is a repository that git refuses
    /// to use, for example because somebody else owns it.
    pub fn discover(&self, path: &Path) -> Result<Option<Repository>, GitError> {
        let start = fs::canonicalize(path)
            .map_err(|source| GitError::Resolve { path: path.to_path_buf(), source })?;
        // Git's own words for "no repository" are translated text; what it looks for is not.
        if !start.ancestors().any(|folder| folder.join(".git").exists()) {
            return Ok(None);
        }
        let directory = if start.is_dir() { start.as_path() } else { start.parent().unwrap_or(&start) };
        let mut root = self.read(directory, "rev-parse").arg("--show-toplevel").output()?;
        // Only the last line break is git's; the ones before belong to the name.
        root.pop_if(|last| *last == b'\n');
        let root = PathBuf::from(std::ffi::OsString::from_vec(root));
        Ok(Some(Repository { git: self.clone(), root }))
    }
}

impl Repository {
    /// Finds the repository that `path` lies in, with the inherited environment.
    ///
    /// # Errors
    /// As [`Git::discover`].
    pub fn discover(path: &Path) -> Result<Option<Self>, GitError> {
        Git::default().discover(path)
    }

    /// The absolute path of the working tree.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Reads where the repository stands.
    ///
    /// # Errors
    /// [`GitError`] when git fails.
    pub fn head(&self) -> Result<Head, GitError> {
        let commit = self.resolve("HEAD^{commit}")?;
        let branch =
            self.git.read(&self.root, "symbolic-ref").args(["--quiet", "HEAD"]).line()?.and_then(|name| {
                String::from_utf8_lossy(&name).strip_prefix("refs/heads/").map(str::to_owned)
            });
        Ok(Head { commit, branch })
    }

    /// Whether the working tree equals the last commit, with no untracked file.
    ///
    /// # Errors
    /// [`GitError`] when git fails.
    pub fn is_clean(&self) -> Result<bool, GitError> {
        Ok(self.changes()?.is_empty())
    }

    /// Lists what differs from the last commit, in the order of the paths.
    ///
    /// Untracked files are included one by one, ignored ones are not. Staged or not makes no difference.
    ///
    /// # Errors
    /// [`GitError`] when git fails.
    pub fn changes(&self) -> Result<Vec<Change>, GitError> {
        Ok(status::read(&self.git, &self.root, Renames::Found)?.changes)
    }

    /// The full id that `revision` means; `None` when it means nothing.
    pub(crate) fn resolve(&self, revision: &str) -> Result<Option<String>, GitError> {
        let id = self
            .git
            .read(&self.root, "rev-parse")
            .args(["--verify", "--quiet", "--end-of-options", revision])
            .line()?;
        Ok(id.map(|id| String::from_utf8_lossy(&id).into_owned()))
    }
}
