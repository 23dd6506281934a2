//! Names of files as git reports them: any bytes but NUL.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

/// Names a file relative to the root of its repository, exactly, whatever bytes the name holds.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TreePath(OsString);

impl TreePath {
    pub(crate) fn from_bytes(bytes: &[u8]) -> Self {
        // Git marks a directory (an untracked repository inside ours) by a slash at the end.
        let bytes = bytes.strip_suffix(b"/").unwrap_or(bytes);
        Self(OsString::from_vec(bytes.to_vec()))
    }

    /// The exact name, to open the file with.
    pub fn as_path(&self) -> &Path {
        Path::new(&self.0)
    }

    pub(crate) fn as_os_str(&self) -> &OsStr {
        &self.0
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// Whether the text of this name differs from the name, because the name is not UTF-8.
    pub fn is_lossy(&self) -> bool {
        self.0.to_str().is_none()
    }
}

/// The name as text; what is not UTF-8 becomes U+FFFD. Line breaks and quotes stay as they are.
impl fmt::Display for TreePath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0.to_string_lossy())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_not_text_is_kept_and_flagged() {
        let path = TreePath::from_bytes(b"caf\xe9 \"quoted\"\nline");
        assert!(path.is_lossy());
        assert_eq!(path.as_bytes(), b"caf\xe9 \"quoted\"\nline");
        assert_eq!(path.to_string(), "caf\u{fffd} \"quoted\"\nline");
    }

    #[test]
    fn the_mark_of_a_directory_is_dropped() {
        let path = TreePath::from_bytes(b"inner/");
        assert_eq!(path.as_path(), Path::new("inner"));
        assert!(!path.is_lossy());
    }
}
