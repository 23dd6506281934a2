//! What changed in a working tree between two moments, even if it was dirty at the first.

use std::collections::{BTreeMap, BTreeSet};

use crate::call::GitError;
use crate::content::{self, Content};
use crate::path::TreePath;
use crate::repository::Repository;
use crate::status::{self, Change, ChangeKind, Renames};

/// Dirty files up to this size are compared by content, larger ones by size and time.
pub const SNAPSHOT_MAX_FILE_BYTES: u64 = 32 << 20;
/// So much is read at most for one snapshot; the files after that are compared by size and time.
const MAX_TOTAL_BYTES: u64 = 512 << 20;
/// So many files are read at most for one snapshot.
const MAX_FILES: usize = 20_000;

/// Remembers the state of a working tree.
///
/// Holds the last commit and what the files hold that differ from it; the rest can be asked of git later.
/// Ignored files and the inside of submodules are not part of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    commit: Option<String>,
    dirty: BTreeMap<TreePath, Content>,
}

impl Snapshot {
    /// The last commit at that moment; `None` before the first.
    pub fn commit(&self) -> Option<&str> {
        self.commit.as_deref()
    }

    /// How many files differed from that commit.
    pub fn dirty_files(&self) -> usize {
        self.dirty.len()
    }
}

impl Repository {
    /// Remembers the state of the working tree.
    ///
    /// # Errors
    /// [`GitError`] when git fails.
    pub fn snapshot(&self) -> Result<Snapshot, GitError> {
        let status = status::read(&self.git, self.root(), Renames::Split)?;
        let mut files_left = MAX_FILES;
        let mut bytes_left = MAX_TOTAL_BYTES;
        let paths = status.changes.iter().map(|change| &change.path);
        let dirty = content::on_disk(&self.git, self.root(), paths, |_, bytes| {
            let fits = bytes <= SNAPSHOT_MAX_FILE_BYTES.min(bytes_left) && files_left > 0;
            if fits {
                files_left -= 1;
                bytes_left -= bytes;
            }
            fits
        })?;
        Ok(Snapshot { commit: status.commit, dirty })
    }

    /// Lists the files whose content on disk is not what it was, in the order of the paths.
    ///
    /// Kinds are [`ChangeKind::Added`], [`ChangeKind::Updated`] and [`ChangeKind::Deleted`]. Commits,
    /// resets and staging in between make no difference: what counts is what the files hold.
    ///
    /// # Errors
    /// [`GitError`] when git fails, or when the snapshot's commit no longer exists.
    pub fn changes_since(&self, snapshot: &Snapshot) -> Result<Vec<Change>, GitError> {
        let now = status::read(&self.git, self.root(), Renames::Split)?;
        let dirty_now = now.changes.into_iter();
        let present = dirty_now.filter(|change| change.kind != ChangeKind::Deleted).map(|change| change.path);
        let against_then = self.differences_from(snapshot.commit.as_deref())?;

        let mut changes = BTreeMap::new();
        let mut to_compare = BTreeSet::new();
        for (path, kind) in against_then {
            // Git compares through its index: what was taken from there counts as deleted, though it may be there.
            if kind == ChangeKind::Deleted && self.root().join(path.as_path()).symlink_metadata().is_ok() {
                to_compare.insert(path);
            } else {
                changes.insert(path, kind);
            }
        }
        to_compare.extend(present.filter(|path| !changes.contains_key(path)));
        // What was dirty is compared with what it held then, whatever git says about commits.
        changes.retain(|path, _| !snapshot.dirty.contains_key(path));
        to_compare.retain(|path| !snapshot.dirty.contains_key(path));

        let to_compare: Vec<TreePath> = to_compare.into_iter().collect();
        let mut then = match &snapshot.commit {
            Some(commit) => content::in_commit(&self.git, self.root(), commit, &to_compare)?,
            None => to_compare.into_iter().map(|path| (path, Content::Absent)).collect(),
        };
        then.extend(snapshot.dirty.iter().map(|(path, content)| (path.clone(), content.clone())));

        let today = content::on_disk(&self.git, self.root(), then.keys(), |path, bytes| {
            bytes <= SNAPSHOT_MAX_FILE_BYTES && matches!(then.get(path), Some(Content::File { .. }))
        })?;
        for (path, before) in &then {
            let after = today.get(path).unwrap_or(&Content::Absent);
            let kind = match (before, after) {
                _ if before == after => continue,
                (Content::Absent, _) => ChangeKind::Added,
                (_, Content::Absent) => ChangeKind::Deleted,
                // A folder has files of its own; the file that gave its name to it is gone.
                (Content::File { .. } | Content::Opaque { .. } | Content::Link { .. }, Content::Folder) => {
                    ChangeKind::Deleted
                }
                _ => ChangeKind::Updated,
            };
            changes.insert(path.clone(), kind);
        }
        Ok(changes.into_iter().map(|(path, kind)| Change { path, kind }).collect())
    }

    /// Lists the tracked files that differ on disk from a commit; from nothing if there was none.
    fn differences_from(&self, commit: Option<&str>) -> Result<Vec<(TreePath, ChangeKind)>, GitError> {
        let empty;
        let base = if let Some(commit) = commit {
            commit
        } else {
            let id = self.git.read(self.root(), "hash-object").args(["-t", "tree", "/dev/null"]).output()?;
            empty = String::from_utf8_lossy(id.trim_ascii_end()).into_owned();
            &empty
        };
        let output = self
            .git
            .read(self.root(), "diff")
            .args(["--name-status", "-z", "--no-renames", "--no-ext-diff", "--no-textconv", "--no-relative"])
            .args([base, "--"])
            .output()?;
        let mut differences = Vec::new();
        let mut fields = output.split(|byte| *byte == 0).filter(|field| !field.is_empty());
        while let Some(letter) = fields.next() {
            let unexpected = || GitError::unexpected("diff", letter);
            let kind = match letter {
                b"A" => ChangeKind::Added,
                b"D" => ChangeKind::Deleted,
                b"M" | b"T" | b"U" => ChangeKind::Updated,
                _ => return Err(unexpected()),
            };
            differences.push((TreePath::from_bytes(fields.next().ok_or_else(unexpected)?), kind));
        }
        Ok(differences)
    }
}
