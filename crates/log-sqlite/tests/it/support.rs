//! Databases that vanish with the thread of their test.

#![expect(clippy::unwrap_used, reason = "a test that cannot make its database ends here")]

use std::cell::Cell;
use std::path::PathBuf;

use co_log::EventLog;
use co_log_sqlite::{OpenMode, SqliteLog};
use tempfile::TempDir;

thread_local! {
    static FOLDER: (TempDir, Cell<u32>) = (tempfile::tempdir().unwrap(), Cell::new(0));
}

/// A path of its own in a folder that does not exist yet.
pub(crate) fn new_path() -> PathBuf {
    FOLDER.with(|(folder, made)| {
        made.set(made.get() + 1);
        folder.path().join(made.get().to_string()).join("orchestrator.db")
    })
}

/// A new, empty database.
pub(crate) fn new_log() -> Box<dyn EventLog> {
    Box::new(SqliteLog::open(&new_path(), OpenMode::Create).unwrap())
}
