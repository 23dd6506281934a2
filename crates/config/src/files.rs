//! Reading files that others wrote: regular ones only, never more than a bound.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

/// What came of reading a file.
pub(crate) enum Content {
    /// Its bytes.
    Bytes(Vec<u8>),
    /// There is no such file.
    Missing,
    /// It is longer than the bound.
    TooLarge,
}

/// Reads a regular file of at most `bound` bytes.
///
/// The type is checked before opening: opening a named pipe would wait for a writer.
pub(crate) fn read_bounded(path: &Path, bound: u64) -> io::Result<Content> {
    let metadata = match path.metadata() {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound && path.symlink_metadata().is_err() => {
            return Ok(Content::Missing);
        }
        // A file stands where a folder would be, so there is nothing in it.
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => return Ok(Content::Missing),
        Err(error) => return Err(error),
    };
    if !metadata.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(bound + 1).read_to_end(&mut bytes)?;
    let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    Ok(if length > bound { Content::TooLarge } else { Content::Bytes(bytes) })
}
