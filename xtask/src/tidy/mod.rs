//! Rules of the house that no compiler knows. Each is a pure function from text to findings.

mod arrows;
mod documents;
mod manifests;
mod sources;

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::console::say;

/// One breach of a rule.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// The file, relative to the workspace root, with a line number where there is one.
    pub place: String,
    /// What is wrong and what is wanted instead.
    pub message: String,
}

impl Finding {
    fn new(place: impl Into<String>, message: impl Into<String>) -> Self {
        Self { place: place.into(), message: message.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.place, self.message)
    }
}

/// Why the tree is not tidy.
#[derive(Debug, thiserror::Error)]
pub enum TidyError {
    /// A file of the workspace cannot be read.
    #[error("failed to read `{}`", .path.display())]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The workspace cannot be described.
    #[error("failed to read the workspace's metadata")]
    Metadata(#[source] cargo_metadata::Error),
    /// Rules are broken; each finding has already been said.
    #[error("{0} breaches of the tidy rules")]
    Breached(usize),
}

/// A text file of the workspace.
#[derive(Debug)]
pub(crate) struct TextFile {
    /// Relative to the workspace root, with `/`.
    pub(crate) path: String,
    /// All of it.
    pub(crate) text: String,
}

/// Judges the workspace and says each finding.
///
/// # Errors
/// [`TidyError::Breached`] when there is any finding; others when the tree cannot be read.
pub fn check(root: &Path) -> Result<(), TidyError> {
    let findings = findings(root)?;
    for finding in &findings {
        say(&format!("tidy: {finding}"));
    }
    if findings.iter().any(|finding| finding.place == arrows::PLACE) {
        say(&arrows::table());
    }
    if findings.is_empty() { Ok(()) } else { Err(TidyError::Breached(findings.len())) }
}

/// Judges the workspace at `root`.
///
/// # Errors
/// [`TidyError`] when the tree cannot be read.
pub fn findings(root: &Path) -> Result<Vec<Finding>, TidyError> {
    let code = read_all(root, &["crates", "xtask"], "rs")?;
    let manifests = read_all(root, &["crates", "xtask"], "toml")?;
    let mut documents = read_all(root, &["docs"], "md")?;
    documents.extend(read_optional(root, "README.md")?);
    let architecture = read_optional(root, "ARCHITECTURE.md")?;

    let metadata = cargo_metadata::MetadataCommand::new()
        .current_dir(root)
        .no_deps()
        .exec()
        .map_err(TidyError::Metadata)?;

    let mut findings = arrows::check(&arrows::arrows_of(&metadata));
    findings
        .extend(manifests.iter().filter(|file| file.path.ends_with("Cargo.toml")).flat_map(manifests::check));
    findings.extend(code.iter().flat_map(sources::check));
    findings.extend(documents::check_guarantees(architecture.as_ref(), &code));
    findings.extend(documents::check_variables(&code, &documents));
    findings.sort();
    Ok(findings)
}

/// Reads every file of an extension below some folders, in the order of their paths.
fn read_all(root: &Path, folders: &[&str], extension: &str) -> Result<Vec<TextFile>, TidyError> {
    let mut files = Vec::new();
    let mut pending: Vec<PathBuf> =
        folders.iter().map(|folder| root.join(folder)).filter(|folder| folder.exists()).collect();
    while let Some(folder) = pending.pop() {
        let unreadable = |source| TidyError::Read { path: folder.clone(), source };
        for entry in fs::read_dir(&folder).map_err(unreadable)? {
            let entry = entry.map_err(unreadable)?;
            let path = entry.path();
            if entry.file_type().map_err(unreadable)?.is_dir() {
                pending.push(path);
            } else if path.extension().is_some_and(|found| found == extension) {
                files.push(read(root, &path)?);
            }
        }
    }
    files.sort_by(|left, right| left.path.cmp(&right.path));
    Ok(files)
}

fn read_optional(root: &Path, name: &str) -> Result<Option<TextFile>, TidyError> {
    let path = root.join(name);
    if path.exists() { read(root, &path).map(Some) } else { Ok(None) }
}

fn read(root: &Path, path: &Path) -> Result<TextFile, TidyError> {
    let text =
        fs::read_to_string(path).map_err(|source| TidyError::Read { path: path.to_path_buf(), source })?;
    let relative = path.strip_prefix(root).unwrap_or(path).to_string_lossy().replace('\\', "/");
    Ok(TextFile { path: relative, text })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_workspace_is_tidy() {
        let findings = findings(&crate::workspace_root()).unwrap();
        let list: Vec<String> = findings.iter().map(Finding::to_string).collect();
        assert!(list.is_empty(), "{} (`cargo xtask check` says more)\n{}", list.len(), list.join("\n"));
    }
}
