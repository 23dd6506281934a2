//! What differs between the working tree and the last commit.
//!
//! Format: `git status --porcelain=v2 -z`, see git-status(1), "Porcelain Format Version 2".

use std::path::Path;

use crate::call::{Git, GitError};
use crate::path::TreePath;

/// A file that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The file.
    pub path: TreePath,
    /// What happened to it.
    pub kind: ChangeKind,
}

/// What happened to a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChangeKind {
    /// It is new, and git knows of it.
    Added,
    /// It is new, and git does not know of it.
    Untracked,
    /// Its content, its type or its mode is another.
    Updated,
    /// It is gone.
    Deleted,
    /// It had another name.
    Renamed {
        /// The name it had.
        from: TreePath,
    },
    /// A merge left it in conflict.
    Conflicted,
}

/// Whether a deleted and an added file of like content are told as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Renames {
    Found,
    Split,
}

/// The whole answer of `git status`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Status {
    /// The last commit; `None` before the first.
    pub(crate) commit: Option<String>,
    /// What differs, in the order of the paths, each path once.
    pub(crate) changes: Vec<Change>,
}

pub(crate) fn read(git: &Git, root: &Path, renames: Renames) -> Result<Status, GitError> {
    let output = git
        .read(root, "status")
        .args(["--porcelain=v2", "-z", "--branch", "--untracked-files=all"])
        .arg(match renames {
            Renames::Found => "--renames",
            Renames::Split => "--no-renames",
        })
        .output()?;
    parse(&output)
}

fn parse(output: &[u8]) -> Result<Status, GitError> {
    let mut commit = None;
    let mut changes = Vec::new();
    let mut records = output.split(|byte| *byte == 0).filter(|record| !record.is_empty());
    while let Some(record) = records.next() {
        let unexpected = || GitError::unexpected("status", record);
        match record {
            [b'#', b' ', header @ ..] => {
                if let Some(id) = header.strip_prefix(b"branch.oid ")
                    && id != b"(initial)"
                {
                    commit = Some(String::from_utf8_lossy(id).into_owned());
                }
            }
            [b'?', b' ', path @ ..] => changes.push(Change::new(path, ChangeKind::Untracked)),
            [b'1', b' ', rest @ ..] => {
                // XY sub mH mI mW hH hI path
                let [_, _, in_commit, _, in_tree, _, _, path] = fields(rest).ok_or_else(unexpected)?;
                let kind = match (is_absent(in_commit), is_absent(in_tree)) {
                    (_, true) => ChangeKind::Deleted,
                    (true, false) => ChangeKind::Added,
                    (false, false) => ChangeKind::Updated,
                };
                changes.push(Change::new(path, kind));
            }
            [b'2', b' ', rest @ ..] => {
                // XY sub mH mI mW hH hI X<score> path, then the former path as a record of its own
                let [_, _, _, _, in_tree, _, _, score, path] = fields(rest).ok_or_else(unexpected)?;
                let from = records.next().ok_or_else(unexpected)?;
                let is_copy = score.starts_with(b"C");
                match (is_absent(in_tree), is_copy) {
                    (false, false) => {
                        let from = TreePath::from_bytes(from);
                        changes.push(Change::new(path, ChangeKind::Renamed { from }));
                    }
                    (false, true) => changes.push(Change::new(path, ChangeKind::Added)),
                    // Renamed in the index and then deleted: only the old name is missed.
                    (true, false) => changes.push(Change::new(from, ChangeKind::Deleted)),
                    (true, true) => {}
                }
            }
            [b'u', b' ', rest @ ..] => {
                // XY sub m1 m2 m3 mW h1 h2 h3 path
                let [_, _, _, _, _, _, _, _, _, path] = fields(rest).ok_or_else(unexpected)?;
                changes.push(Change::new(path, ChangeKind::Conflicted));
            }
            _ => return Err(unexpected()),
        }
    }
    changes.sort_by(|left: &Change, right| left.path.cmp(&right.path));
    // Removed from the index but still there: git tells it as deleted and as untracked.
    changes.dedup_by(|second, first| {
        let is_same = second.path == first.path;
        if is_same {
            first.kind = ChangeKind::Updated;
        }
        is_same
    });
    Ok(Status { commit, changes })
}

impl Change {
    fn new(path: &[u8], kind: ChangeKind) -> Self {
        Self { path: TreePath::from_bytes(path), kind }
    }
}

/// Splits at spaces into exactly `N` fields; the last one keeps its spaces.
fn fields<const N: usize>(record: &[u8]) -> Option<[&[u8]; N]> {
    let parts: Vec<&[u8]> = record.splitn(N, |byte| *byte == b' ').collect();
    parts.try_into().ok()
}

/// A mode of zero: the file is not there.
fn is_absent(mode: &[u8]) -> bool {
    mode == b"000000"
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "1111111111111111111111111111111111111111";

    fn changes(records: &[String]) -> Vec<(String, ChangeKind)> {
        let status = parse(records.join("\0").as_bytes()).unwrap();
        status.changes.into_iter().map(|change| (change.path.to_string(), change.kind)).collect()
    }

    fn ordinary(codes: &str, in_commit: &str, in_tree: &str, path: &str) -> String {
        format!("1 {codes} N... {in_commit} 100644 {in_tree} {ID} {ID} {path}")
    }

    fn renamed(codes: &str, in_tree: &str, score: &str, path: &str) -> String {
        format!("2 {codes} N... 100644 100644 {in_tree} {ID} {ID} {score} {path}")
    }

    #[test]
    fn each_kind_of_record_is_understood() {
        let found = changes(&[
            ordinary("A.", "000000", "100644", "a new"),
            ordinary(".M", "100644", "100644", "b"),
            ordinary("D.", "100644", "000000", "c"),
            ordinary("AD", "000000", "000000", "d"),
            renamed("R.", "100644", "R100", "e now"),
            "e before".to_owned(),
            renamed("C.", "100644", "C75", "f"),
            "b".to_owned(),
            renamed("RD", "000000", "R100", "g now"),
            "g before".to_owned(),
            format!("u UU N... 100644 100644 100644 100644 {ID} {ID} {ID} h"),
            "? i\nj".to_owned(),
        ]);
        let from = TreePath::from_bytes(b"e before");
        let wanted = [
            ("a new", ChangeKind::Added),
            ("b", ChangeKind::Updated),
            ("c", ChangeKind::Deleted),
            ("d", ChangeKind::Deleted),
            ("e now", ChangeKind::Renamed { from }),
            ("f", ChangeKind::Added),
            ("g before", ChangeKind::Deleted),
            ("h", ChangeKind::Conflicted),
            ("i\nj", ChangeKind::Untracked),
        ];
        assert_eq!(found, wanted.map(|(path, kind)| (path.to_owned(), kind)));
    }

    #[test]
    fn a_file_taken_from_the_index_but_kept_is_told_once() {
        let found = changes(&[ordinary("D.", "100644", "000000", "kept"), "? kept".to_owned()]);
        assert_eq!(found, [("kept".to_owned(), ChangeKind::Updated)]);
    }

    #[test]
    fn the_commit_is_read_from_the_headers() {
        let status = parse(format!("# branch.oid {ID}\0# branch.head main\0").as_bytes()).unwrap();
        assert_eq!(status, Status { commit: Some(ID.to_owned()), changes: Vec::new() });
        assert_eq!(parse(b"# branch.oid (initial)\0").unwrap().commit, None);
    }

    #[test]
    fn an_unknown_or_torn_record_is_an_error() {
        for output in ["9 what", "1 .M N... 100644", "2 R. N... 100644 100644 100644 1 1 R100 new"] {
            let error = parse(output.as_bytes()).unwrap_err();
            assert!(matches!(error, GitError::Unexpected { .. }), "{output}: {error}");
        }
    }
}
