//! The process environment as a value, so that nothing else asks the process for it.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

/// Environment variables and the working directory at one moment.
///
/// Tests build one with [`Environment::new`]; the program captures one at its start. A variable
/// that is set to nothing counts as unset.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Environment {
    variables: BTreeMap<OsString, OsString>,
    current_directory: Option<PathBuf>,
}

impl Environment {
    /// Makes an environment from a working directory and variables.
    pub fn new<K: Into<OsString>, V: Into<OsString>>(
        current_directory: impl Into<PathBuf>,
        variables: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        Self {
            variables: variables.into_iter().map(|(name, value)| (name.into(), value.into())).collect(),
            current_directory: Some(current_directory.into()),
        }
    }

    /// Captures the process's own; the only place that reads it.
    pub fn capture() -> Self {
        Self { variables: std::env::vars_os().collect(), current_directory: std::env::current_dir().ok() }
    }

    /// The same with another working directory.
    #[must_use]
    pub fn in_directory(self, directory: impl Into<PathBuf>) -> Self {
        Self { current_directory: Some(directory.into()), ..self }
    }

    /// The value of a variable, unless it is unset or empty.
    pub fn get(&self, name: &str) -> Option<&OsStr> {
        self.variables.get(OsStr::new(name)).map(OsString::as_os_str).filter(|value| !value.is_empty())
    }

    /// The working directory; `None` when it was deleted.
    pub fn current_directory(&self) -> Option<&Path> {
        self.current_directory.as_deref()
    }

    /// Every variable, as a child process would get them.
    pub fn variables(&self) -> impl Iterator<Item = (&OsStr, &OsStr)> {
        self.variables.iter().map(|(name, value)| (name.as_os_str(), value.as_os_str()))
    }

    /// Finds an executable file by name on `PATH`, as a shell would.
    ///
    /// Relative entries of `PATH` are taken from the working directory.
    pub fn find_program(&self, name: &str) -> Option<PathBuf> {
        let base = self.current_directory.as_deref().unwrap_or(Path::new(""));
        std::env::split_paths(self.get("PATH")?)
            .map(|folder| base.join(folder).join(name))
            .find(|candidate| is_executable(candidate))
    }
}

/// Whether a path leads to a file that may be executed.
pub(crate) fn is_executable(path: &Path) -> bool {
    let Ok(metadata) = path.metadata() else { return false };
    #[cfg(unix)]
    let permitted = std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o111 != 0;
    #[cfg(not(unix))]
    let permitted = true;
    metadata.is_file() && permitted
}
