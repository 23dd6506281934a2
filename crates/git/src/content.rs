//! What a file holds, in a form that can be kept and compared.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::SystemTime;

use crate::call::{Git, GitError};
use crate::path::TreePath;

/// Below every system's limit for the arguments of one program.
const BATCH_BYTES: usize = 64 << 10;
const BATCH_FILES: usize = 1_000;

/// What a path holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Content {
    Absent,
    /// A file, by git's own id of its content: the one that a commit would give it.
    File {
        id: String,
        executable: bool,
    },
    /// A file that is too large or unreadable; equal when size and time are.
    Opaque {
        bytes: u64,
        modified_at: Option<SystemTime>,
        executable: bool,
    },
    Link {
        target: OsString,
    },
    /// A repository inside ours, or a submodule.
    Folder,
    /// A socket, a pipe, a device.
    Special,
}

/// Reads what the paths hold on disk; `is_hashed` says for which files, given their size, the content counts.
pub(crate) fn on_disk<'a>(
    git: &Git,
    root: &Path,
    paths: impl IntoIterator<Item = &'a TreePath>,
    mut is_hashed: impl FnMut(&TreePath, u64) -> bool,
) -> Result<BTreeMap<TreePath, Content>, GitError> {
    let mut contents = BTreeMap::new();
    let mut to_hash = Vec::new();
    for path in paths {
        let (content, bytes) = look(root, path);
        if matches!(content, Content::Opaque { .. }) && is_hashed(path, bytes) {
            to_hash.push(path.clone());
        }
        contents.insert(path.clone(), content);
    }
    for batch in batches(&to_hash) {
        for (path, id) in hash(git, root, batch)? {
            if let Some(content) = contents.get_mut(&path)
                && let Content::Opaque { executable, .. } = *content
            {
                *content = Content::File { id, executable };
            }
        }
    }
    Ok(contents)
}

/// Reads what the paths hold in a commit.
pub(crate) fn in_commit(
    git: &Git,
    root: &Path,
    commit: &str,
    paths: &[TreePath],
) -> Result<BTreeMap<TreePath, Content>, GitError> {
    let mut contents: BTreeMap<TreePath, Content> =
        paths.iter().map(|path| (path.clone(), Content::Absent)).collect();
    for batch in batches(paths) {
        let names = batch.iter().map(TreePath::as_os_str);
        let output =
            git.read(root, "ls-tree").args(["-z", "--full-tree", commit, "--"]).args(names).output()?;
        for entry in output.split(|byte| *byte == 0).filter(|entry| !entry.is_empty()) {
            // <mode> SP <type> SP <id> TAB <path>
            let unexpected = || GitError::unexpected("ls-tree", entry);
            let tab = entry.iter().position(|byte| *byte == b'\t').ok_or_else(unexpected)?;
            let (facts, path) = (&entry[..tab], TreePath::from_bytes(&entry[tab + 1..]));
            let facts = std::str::from_utf8(facts).map_err(|_| unexpected())?;
            let (mode, id) = match facts.split(' ').collect::<Vec<_>>()[..] {
                [mode, _, id] => (mode, id.to_owned()),
                _ => return Err(unexpected()),
            };
            let content = match mode {
                "120000" => {
                    let target = git.read(root, "cat-file").args(["blob", &id]).output()?;
                    Content::Link { target: OsString::from_vec(target) }
                }
                "160000" | "040000" => Content::Folder,
                _ => Content::File { id, executable: mode == "100755" },
            };
            contents.insert(path, content);
        }
    }
    Ok(contents)
}

fn look(root: &Path, path: &TreePath) -> (Content, u64) {
    let full = root.join(path.as_path());
    let metadata = match fs::symlink_metadata(&full) {
        Ok(metadata) => metadata,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return (Content::Absent, 0);
        }
        Err(_) => return (Content::Opaque { bytes: 0, modified_at: None, executable: false }, u64::MAX),
    };
    let kind = metadata.file_type();
    let content = if kind.is_symlink() {
        match fs::read_link(&full) {
            Ok(target) => Content::Link { target: target.into_os_string() },
            Err(_) => Content::Absent,
        }
    } else if kind.is_dir() {
        Content::Folder
    } else if kind.is_file() {
        Content::Opaque {
            bytes: metadata.len(),
            modified_at: metadata.modified().ok(),
            executable: metadata.permissions().mode() & 0o100 != 0,
        }
    } else {
        Content::Special
    };
    (content, metadata.len())
}

/// Hashes files as a commit would, filters included. Files that cannot be read are left out.
fn hash(git: &Git, root: &Path, batch: &[TreePath]) -> Result<Vec<(TreePath, String)>, GitError> {
    let names = batch.iter().map(TreePath::as_os_str);
    let output = git.read(root, "hash-object").arg("--").args(names).answer()?;
    if !output.is_success() {
        // One of them has vanished or is unreadable, and git then stops: find the others one by one.
        return match batch {
            [] | [_] => Ok(Vec::new()),
            _ => {
                let (left, right) = batch.split_at(batch.len() / 2);
                let mut hashed = hash(git, root, left)?;
                hashed.extend(hash(git, root, right)?);
                Ok(hashed)
            }
        };
    }
    let ids = String::from_utf8_lossy(&output.stdout);
    Ok(batch.iter().cloned().zip(ids.lines().map(str::to_owned)).collect())
}

/// Cuts a list so that each part fits into the arguments of one program.
fn batches(paths: &[TreePath]) -> impl Iterator<Item = &[TreePath]> {
    let mut rest = paths;
    std::iter::from_fn(move || {
        let mut bytes = 0;
        let fitting = rest
            .iter()
            .take(BATCH_FILES)
            .take_while(|path| {
                bytes += path.as_bytes().len() + 1;
                bytes <= BATCH_BYTES
            })
            .count();
        // A name longer than a batch goes alone: the system decides about it.
        let (batch, after) = rest.split_at(fitting.max(1).min(rest.len()));
        rest = after;
        (!batch.is_empty()).then_some(batch)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_hold_every_path_once_and_in_order() {
        let paths: Vec<TreePath> =
            (0..2_500).map(|index| TreePath::from_bytes(format!("{index:0100}").as_bytes())).collect();
        let parts: Vec<&[TreePath]> = batches(&paths).collect();
        assert!(parts.iter().all(|part| part.len() * 101 <= BATCH_BYTES && !part.is_empty()));
        assert_eq!(parts.concat(), paths);
        assert_eq!(batches(&[]).count(), 0);
        let long = [TreePath::from_bytes(&vec![b'x'; BATCH_BYTES * 2])];
        assert_eq!(batches(&long).count(), 1);
    }
}
