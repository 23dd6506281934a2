//! From what SQLite says to what a caller can act on.

use std::path::Path;

use co_log::LogError;
use rusqlite::{Error, ErrorCode, ffi};

use crate::file_system;

/// What ended a transaction early: SQLite, or a rule of the event log.
#[derive(Debug)]
pub(crate) enum Failure {
    Sqlite(Error),
    Log(LogError),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Sqlite(error)
    }
}

impl From<LogError> for Failure {
    fn from(error: LogError) -> Self {
        Self::Log(error)
    }
}

impl Failure {
    /// Turns the failure into the error of the log at `path`.
    pub(crate) fn at(self, path: &Path) -> LogError {
        match self {
            Self::Log(error) => error,
            Self::Sqlite(error) => explain(path, &error),
        }
    }
}

/// Sorts an error of SQLite by what its reader can do about it.
pub(crate) fn explain(path: &Path, error: &Error) -> LogError {
    let Error::SqliteFailure(failure, message) = error else {
        // The query and the schema are ours, so a value that does not fit was damaged.
        return damaged(path, &error.to_string());
    };
    let said = message.clone().unwrap_or_else(|| failure.to_string());
    match failure.code {
        ErrorCode::DiskFull => full(path),
        ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt => damaged(path, &said),
        // A missing table or column in a file that carries our mark.
        ErrorCode::Unknown if failure.extended_code == ffi::SQLITE_ERROR => damaged(path, &said),
        ErrorCode::SystemIoFailure | ErrorCode::CannotOpen if file_system::is_full(folder_of(path)) => {
            full(path)
        }
        ErrorCode::SystemIoFailure if failure.extended_code == ffi::SQLITE_IOERR_SHORT_READ => {
            damaged(path, &said)
        }
        ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => {
            unusable(path, "another process has kept it locked for 30 s")
        }
        ErrorCode::CannotOpen => unusable(path, &why_not_opened(path)),
        ErrorCode::ReadOnly => unusable(path, &format!("{said}; it, or its folder, may only be read")),
        _ => unusable(path, &said),
    }
}

/// The error for a store that cannot be opened or written.
pub(crate) fn unusable(path: &Path, detail: &str) -> LogError {
    LogError::Unusable { location: location(path), detail: detail.to_owned() }
}

/// The error for a folder that could not be made.
pub(crate) fn no_folder(path: &Path, error: &std::io::Error) -> LogError {
    use std::io::ErrorKind::{QuotaExceeded, StorageFull};
    match error.kind() {
        StorageFull | QuotaExceeded => full(path),
        _ => unusable(path, &format!("its folder cannot be made: {error}")),
    }
}

/// The error for a damaged store, with the next step.
pub(crate) fn damaged(path: &Path, what: &str) -> LogError {
    let detail = format!(
        "{what}; put back a copy of it together with its `-wal` file, or move both away to begin a new log"
    );
    LogError::Damaged { location: location(path), detail }
}

fn full(path: &Path) -> LogError {
    LogError::Full { location: location(path) }
}

/// The path as people read it.
pub(crate) fn location(path: &Path) -> String {
    path.display().to_string()
}

/// The folder a database lies in.
pub(crate) fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// Asks the system why SQLite could not open a file.
///
/// Never opens it: closing a second handle would drop the locks of this process on it.
fn why_not_opened(path: &Path) -> String {
    match std::fs::metadata(path) {
        Err(error) => error.to_string(),
        Ok(meta) if !meta.is_file() => "it is not a file".to_owned(),
        Ok(_) => "no permission for it, or for its `-wal` and `-shm` files in the same folder".to_owned(),
    }
}
