//! Opening a database: how SQLite is set up, and what is refused.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use co_log::LogError;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use crate::error::{damaged, explain, folder_of, location, no_folder, unusable};
use crate::schema::{self, Identity};

/// How long a writer waits for the others.
const BUSY_TIMEOUT: Duration = Duration::from_secs(30);

/// Set on every connection.
///
/// Half a MiB of page cache keeps two hundred processes small; the operating system caches the
/// file for all of them. The write-ahead log is copied back every 4 MiB and cut after a burst.
const SETTINGS: &str = "
    PRAGMA temp_store = MEMORY;
    PRAGMA cache_size = -512;
    PRAGMA wal_autocheckpoint = 1000;
    PRAGMA journal_size_limit = 16777216;
";

/// What opening may do to the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenMode {
    /// Makes the database, and its folder, when there is none.
    Create,
    /// Reads and writes a database that must be there.
    Existing,
    /// Only reads a database that must be there.
    ReadOnly,
}

/// How a database keeps a half-written transaction from being seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Journal {
    /// Readers and one writer at the same time, one sync per commit.
    WriteAhead,
    /// Works without shared memory; slower, and readers wait for the writer.
    Rollback,
}

/// Opens a database that is then known to be an event log of our version.
///
/// `network` names the network file system it lies on, if it does. One that is there, in a folder that cannot be
/// written, is opened to look at.
pub(crate) fn open(
    path: &Path,
    mode: OpenMode,
    network: Option<&'static str>,
) -> Result<(Connection, Journal), LogError> {
    // SQLite opens a folder to read, and calls it a failure of the disk.
    if path.is_dir() {
        return Err(unusable(path, "it is not a file"));
    }
    let sqlite = |error: rusqlite::Error| explain(path, &error);
    let opened = connect(path, mode).map_err(sqlite).and_then(|found| prepare(found, path, mode, network));
    match opened {
        Err(LogError::Unusable { .. }) if mode == OpenMode::Existing && !is_writable(folder_of(path)) => {
            open_to_look(path)
        }
        opened => opened,
    }
}

/// Opens a database that nothing can be written beside: not even what readers of a write-ahead log share.
fn open_to_look(path: &Path) -> Result<(Connection, Journal), LogError> {
    let beside = |end: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(end);
        PathBuf::from(name)
    };
    let has_log = beside("-wal").metadata().is_ok_and(|file| file.len() > 0);
    if has_log || beside("-shm").exists() {
        // Somebody may be writing, or has left what is not in the database yet.
        let sqlite = |error: rusqlite::Error| explain(path, &error);
        let opened = connect(path, OpenMode::ReadOnly).map_err(sqlite);
        let opened = opened.and_then(|found| prepare(found, path, OpenMode::ReadOnly, None));
        return opened.map_err(|error| match error {
            LogError::Unusable { .. } => unusable(
                path,
                "it may only be read, and its `-wal` file holds what is not in it yet; look at a copy of it and of \
                 its `-wal` file, in a folder that can be written",
            ),
            error => error,
        });
    }
    let sqlite = |error: rusqlite::Error| explain(path, &error);
    let access = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
    let connection = Connection::open_with_flags(unchanging(path), access | OpenFlags::SQLITE_OPEN_NO_MUTEX);
    let connection = connection.and_then(set_up).map_err(sqlite)?;
    let (connection, _) = prepare(connection, path, OpenMode::ReadOnly, None)?;
    Ok((connection, Journal::WriteAhead))
}

/// The name under which SQLite takes a file for one that nobody changes.
fn unchanging(path: &Path) -> PathBuf {
    use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
    let mut name = b"file:".to_vec();
    for byte in path.as_os_str().as_bytes() {
        match byte {
            b'%' => name.extend(b"%25"),
            b'?' => name.extend(b"%3f"),
            b'#' => name.extend(b"%23"),
            byte => name.push(*byte),
        }
    }
    name.extend(b"?immutable=1");
    OsString::from_vec(name).into()
}

fn is_writable(folder: &Path) -> bool {
    rustix::fs::access(folder, rustix::fs::Access::WRITE_OK).is_ok()
}

/// Checks what was opened, and brings it to our version and its journal where it may be written.
fn prepare(
    mut connection: Connection,
    path: &Path,
    mode: OpenMode,
    network: Option<&'static str>,
) -> Result<(Connection, Journal), LogError> {
    let sqlite = |error: rusqlite::Error| explain(path, &error);
    let identity = schema::identify(&mut connection).map_err(sqlite)?;
    match identity {
        Identity::EventLog(found) if found > schema::VERSION => {
            return Err(LogError::TooNew { location: location(path), found, supported: schema::VERSION });
        }
        Identity::EventLog(0) => return Err(damaged(path, "its version is missing")),
        Identity::Foreign => return Err(unusable(path, "it is a database of another program")),
        Identity::Empty | Identity::EventLog(_) if mode == OpenMode::ReadOnly => {
            if identity != Identity::EventLog(schema::VERSION) {
                return Err(unusable(path, "it is empty or older, and may only be read"));
            }
            let journal = journal(&connection).map_err(sqlite)?;
            return Ok((connection, journal));
        }
        Identity::Empty | Identity::EventLog(_) => {}
    }
    let wanted = if network.is_some() { Journal::Rollback } else { Journal::WriteAhead };
    let journal = switch(&connection, wanted).map_err(sqlite)?;
    if let (Journal::WriteAhead, Some(name)) = (journal, network) {
        let detail = format!("it lies on {name} and other processes still use it with a write-ahead log");
        return Err(unusable(path, &detail));
    }
    if identity != Identity::EventLog(schema::VERSION) {
        schema::migrate(&mut connection).map_err(sqlite)?;
    }
    Ok((connection, journal))
}

/// Makes the folder of a database that is to be created.
pub(crate) fn make_folder(path: &Path) -> Result<(), LogError> {
    std::fs::create_dir_all(folder_of(path)).map_err(|error| no_folder(path, &error))
}

fn connect(path: &Path, mode: OpenMode) -> rusqlite::Result<Connection> {
    // One connection is never used by two threads at once: a mutex of ours is around it.
    let access = match mode {
        OpenMode::Create => OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE,
        OpenMode::Existing => OpenFlags::SQLITE_OPEN_READ_WRITE,
        OpenMode::ReadOnly => OpenFlags::SQLITE_OPEN_READ_ONLY,
    };
    set_up(Connection::open_with_flags(path, access | OpenFlags::SQLITE_OPEN_NO_MUTEX)?)
}

fn set_up(connection: Connection) -> rusqlite::Result<Connection> {
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.execute_batch(SETTINGS)?;
    // Plans must not follow the values bound: a statement with a bound LIMIT would be prepared anew for every use.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    connection.set_prepared_statement_cache_capacity(48);
    Ok(connection)
}

fn journal(connection: &Connection) -> rusqlite::Result<Journal> {
    let name: String = connection.pragma_query_value(None, "journal_mode", |row| row.get(0))?;
    Ok(if name == "wal" { Journal::WriteAhead } else { Journal::Rollback })
}

/// Brings the database to the wanted journal, which then stays with the file.
///
/// The change needs the file for itself. SQLite does not wait for that, so we do: an empty
/// exclusive transaction returns when the others are done.
fn switch(connection: &Connection, wanted: Journal) -> rusqlite::Result<Journal> {
    let give_up_at = Instant::now() + BUSY_TIMEOUT;
    let name = match wanted {
        Journal::WriteAhead => "WAL",
        Journal::Rollback => "DELETE",
    };
    loop {
        let found = journal(connection)?;
        if found == wanted || Instant::now() >= give_up_at {
            return Ok(found);
        }
        match connection.pragma_update_and_check(None, "journal_mode", name, |_| Ok(())) {
            // A file system without shared memory answers with the journal it stays with.
            Ok(()) => return journal(connection),
            Err(error) if error.sqlite_error_code() == Some(rusqlite::ErrorCode::DatabaseBusy) => {
                connection.execute_batch("BEGIN EXCLUSIVE; ROLLBACK")?;
            }
            Err(error) => return Err(error),
        }
    }
}
