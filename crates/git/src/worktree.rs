//! Linked worktrees: made for a run, removed only when nothing is lost with them.

use std::fmt;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use crate::call::{Git, GitError};
use crate::path::TreePath;
use crate::repository::Repository;
use crate::status::{self, Change, ChangeKind, Renames};

/// So many commits are named in a refusal.
const MAX_COMMITS_LISTED: usize = 50;

/// A worktree that was just made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Worktree {
    /// Its absolute path.
    pub path: PathBuf,
    /// Its branch, which is new.
    pub branch: String,
    /// The commit that the branch starts from.
    pub commit: String,
}

/// What becomes of the branch of a worktree that is removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BranchAfter {
    /// It stays and keeps its commits; they do not stand in the way of the removal.
    Keep,
    /// It goes too, unless another worktree uses it.
    Delete,
}

/// What would be lost with a worktree. Ignored files are not counted: to ignore them is to say so.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct WorktreeSafety {
    /// Tracked files that differ from the last commit.
    pub uncommitted: Vec<Change>,
    /// Files that git does not know.
    pub untracked: Vec<TreePath>,
    /// Commits that no other branch, no tag and no remote has; newest first, at most 50.
    pub unpushed_commits: Vec<LostCommit>,
    /// The branch that holds these commits; `None` when no branch does.
    pub branch: Option<String>,
}

impl WorktreeSafety {
    /// Whether nothing at all exists only here.
    pub fn is_clear(&self) -> bool {
        self.is_clear_if(BranchAfter::Delete)
    }

    fn is_clear_if(&self, branch_after: BranchAfter) -> bool {
        let commits_are_kept = branch_after == BranchAfter::Keep && self.branch.is_some();
        self.uncommitted.is_empty()
            && self.untracked.is_empty()
            && (commits_are_kept || self.unpushed_commits.is_empty())
    }
}

/// The counts, for a sentence; the lists are for a table.
impl fmt::Display for WorktreeSafety {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = [
            (self.uncommitted.len(), "uncommitted"),
            (self.untracked.len(), "untracked"),
            (self.unpushed_commits.len(), "unpushed"),
        ];
        let mut separator = "";
        for (count, word) in counts.into_iter().filter(|(count, _)| *count > 0) {
            write!(formatter, "{separator}{count} {word}")?;
            separator = ", ";
        }
        if separator.is_empty() { formatter.write_str("nothing") } else { Ok(()) }
    }
}

/// A commit that would be lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LostCommit {
    /// Its full id.
    pub id: String,
    /// The first line of its message.
    pub subject: String,
}

/// What was done when a worktree was removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemovedWorktree {
    /// The branch that went with it.
    pub deleted_branch: Option<String>,
}

/// Why a worktree was not made or not removed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WorktreeError {
    /// Git failed or refused.
    #[error(transparent)]
    Git(#[from] GitError),
    /// The name cannot be that of a branch.
    #[error("`{branch}` is not a valid name for a branch")]
    InvalidBranch {
        /// The name.
        branch: String,
    },
    /// The branch is there already.
    #[error("the branch `{branch}` exists already")]
    BranchExists {
        /// Its name.
        branch: String,
    },
    /// Something is there already.
    #[error("`{}` exists already", .path.display())]
    PathExists {
        /// The path.
        path: PathBuf,
    },
    /// There is nothing to check out.
    #[error("the repository `{}` has no commit yet", .repository.display())]
    NoCommit {
        /// Its root.
        repository: PathBuf,
    },
    /// It is no linked worktree of this repository, or it is the main one.
    #[error("`{}` is not a linked worktree of this repository", .path.display())]
    NotLinked {
        /// The path.
        path: PathBuf,
    },
    /// It holds what exists nowhere else; nothing was removed.
    #[error("`{}` holds what exists nowhere else: {safety}", .path.display())]
    WouldLose {
        /// The worktree.
        path: PathBuf,
        /// What it holds.
        safety: Box<WorktreeSafety>,
    },
}

impl Repository {
    /// Makes a worktree at `path` with a new branch that starts from the last commit.
    ///
    /// The user's checkout hooks run. When anything fails, what was made is taken back.
    ///
    /// # Errors
    /// [`WorktreeError`]: the path or the branch exists, the name is invalid, there is no commit.
    pub fn add_worktree(&self, path: &Path, branch: &str) -> Result<Worktree, WorktreeError> {
        let path = std::path::absolute(path)
            .map_err(|source| GitError::Resolve { path: path.to_path_buf(), source })?;
        if path.symlink_metadata().is_ok() {
            return Err(WorktreeError::PathExists { path });
        }
        let reference = format!("refs/heads/{branch}");
        let is_valid = self.git.read(self.root(), "check-ref-format").arg(&reference).answer()?.is_success();
        if !is_valid || branch.starts_with('-') || branch == "HEAD" {
            return Err(WorktreeError::InvalidBranch { branch: branch.to_owned() });
        }
        if self.resolve(&reference)?.is_some() {
            return Err(WorktreeError::BranchExists { branch: branch.to_owned() });
        }
        let Some(commit) = self.resolve("HEAD^{commit}")? else {
            return Err(WorktreeError::NoCommit { repository: self.root().to_path_buf() });
        };
        let added = self
            .git
            .write(self.root(), "worktree")
            .args(["add", "--quiet", "--no-track", "-b", branch])
            .arg(&path)
            .arg(&commit)
            .output();
        match added {
            Ok(_) => Ok(Worktree { path, branch: branch.to_owned(), commit }),
            Err(error) => {
                self.take_back(&path, &reference, &commit);
                Err(error.into())
            }
        }
    }

    /// Removes what a failed addition has left. The failure itself is what the caller hears of.
    fn take_back(&self, path: &Path, reference: &str, commit: &str) {
        if let Err(WorktreeError::NotLinked { .. }) = self.remove_worktree(path, BranchAfter::Delete) {
            self.delete_reference(self.root(), reference, commit);
        }
    }

    /// Finds out what would be lost with a linked worktree.
    ///
    /// # Errors
    /// [`WorktreeError::NotLinked`] when it is none.
    pub fn worktree_safety(&self, path: &Path) -> Result<WorktreeSafety, WorktreeError> {
        let entries = self.worktrees()?;
        let entry = find_linked(&entries, path)?;
        self.safety(entry)
    }

    /// Removes a linked worktree if nothing is lost with it; see [`BranchAfter`] for its branch.
    ///
    /// A worktree whose folder is already gone is forgotten.
    ///
    /// # Errors
    /// [`WorktreeError::WouldLose`] with what exists only there; nothing is removed then.
    pub fn remove_worktree(
        &self,
        path: &Path,
        branch_after: BranchAfter,
    ) -> Result<RemovedWorktree, WorktreeError> {
        let entries = self.worktrees()?;
        let entry = find_linked(&entries, path)?;
        let safety = self.safety(entry)?;
        if !safety.is_clear_if(branch_after) {
            return Err(WorktreeError::WouldLose { path: entry.path.clone(), safety: Box::new(safety) });
        }
        // Not from inside the folder that goes. Without `--force`, git looks once more by itself.
        let main = entries.first().map_or(self.root(), |main| main.path.as_path());
        self.git.write(main, "worktree").arg("remove").arg(&entry.path).output()?;

        let is_shared = |branch: &&String| {
            entries.iter().filter(|other| other.branch.as_ref() == Some(*branch)).count() > 1
        };
        let deleted_branch = entry
            .branch
            .as_ref()
            .filter(|branch| branch_after == BranchAfter::Delete && !is_shared(branch))
            .filter(|branch| self.delete_reference(main, &format!("refs/heads/{branch}"), &entry.commit))
            .cloned();
        Ok(RemovedWorktree { deleted_branch })
    }

    fn safety(&self, entry: &Entry) -> Result<WorktreeSafety, WorktreeError> {
        let mut safety = WorktreeSafety { branch: entry.branch.clone(), ..WorktreeSafety::default() };
        if entry.path.is_dir() {
            for change in status::read(&self.git, &entry.path, Renames::Found)?.changes {
                match change.kind {
                    ChangeKind::Untracked => safety.untracked.push(change.path),
                    _ => safety.uncommitted.push(change),
                }
            }
        }
        safety.unpushed_commits = self.commits_only_in(&entry.commit, entry.branch.as_deref())?;
        Ok(safety)
    }

    /// Lists the commits below `commit` that no branch but `branch`, no tag and no remote has.
    fn commits_only_in(&self, commit: &str, branch: Option<&str>) -> Result<Vec<LostCommit>, GitError> {
        let excluded = branch.map(|branch| format!("--exclude={branch}"));
        let output = self
            .git
            .read(self.root(), "log")
            .args(["-z", "--no-show-signature", "--no-color", "--encoding=UTF-8", "--format=%H %s"])
            .arg(format!("--max-count={MAX_COMMITS_LISTED}"))
            .args([commit, "--not"])
            .args(excluded)
            .args(["--branches", "--tags", "--remotes", "--"])
            .output()?;
        let records = output.split(|byte| *byte == 0).filter(|record| !record.is_empty());
        let commits = records.map(|record| {
            let text = String::from_utf8_lossy(record);
            let (id, subject) = text.split_once(' ').unwrap_or((&text, ""));
            LostCommit { id: id.to_owned(), subject: subject.to_owned() }
        });
        Ok(commits.collect())
    }

    /// Deletes a reference if it still names `commit`; says whether it did.
    fn delete_reference(&self, directory: &Path, reference: &str, commit: &str) -> bool {
        let call = self.git.write(directory, "update-ref").args(["-d", reference, commit]);
        call.answer().is_ok_and(|output| output.is_success())
    }

    fn worktrees(&self) -> Result<Vec<Entry>, GitError> {
        list(&self.git, self.root())
    }
}

/// A line of `git worktree list`; the first is the main one.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    path: PathBuf,
    commit: String,
    branch: Option<String>,
}

fn find_linked<'a>(entries: &'a [Entry], path: &Path) -> Result<&'a Entry, WorktreeError> {
    // Git lists real paths; of a folder that is gone, only its parent still has one.
    let real = path.canonicalize().ok().or_else(|| {
        let parent = path.parent()?.canonicalize().ok()?;
        Some(parent.join(path.file_name()?))
    });
    entries
        .iter()
        .skip(1)
        .find(|entry| entry.path == path || Some(&entry.path) == real.as_ref())
        .ok_or_else(|| WorktreeError::NotLinked { path: path.to_path_buf() })
}

fn list(git: &Git, directory: &Path) -> Result<Vec<Entry>, GitError> {
    let output = git.read(directory, "worktree").args(["list", "--porcelain", "-z"]).output()?;
    let mut entries: Vec<Entry> = Vec::new();
    for attribute in output.split(|byte| *byte == 0).filter(|attribute| !attribute.is_empty()) {
        if let Some(path) = attribute.strip_prefix(b"worktree ") {
            let path = PathBuf::from(std::ffi::OsString::from_vec(path.to_vec()));
            entries.push(Entry { path, commit: String::new(), branch: None });
        } else if let Some(entry) = entries.last_mut() {
            let text = String::from_utf8_lossy(attribute);
            if let Some(commit) = text.strip_prefix("HEAD ") {
                commit.clone_into(&mut entry.commit);
            } else if let Some(branch) = text.strip_prefix("branch refs/heads/") {
                entry.branch = Some(branch.to_owned());
            }
        }
    }
    Ok(entries)
}
