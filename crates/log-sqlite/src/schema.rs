//! The database's identity and its versions, each a plain SQL step from the one before.

use rusqlite::{Connection, TransactionBehavior};

/// Marks the file as ours for `file(1)` and for ourselves: "COEL", codex orchestrator event log.
const APPLICATION_ID: i32 = 0x434F_454C;

/// The steps; the database's version is the number of those it has seen. Only ever appended to.
const STEPS: [&str; 2] = [include_str!("schema/1.sql"), include_str!("schema/2.sql")];

/// The newest version this program knows.
#[expect(clippy::cast_possible_truncation, reason = "there are never four billion steps")]
pub(crate) const VERSION: u32 = STEPS.len() as u32;

/// What kind of database a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Identity {
    /// Nothing yet.
    Empty,
    /// An event log of this version.
    EventLog(u32),
    /// A database of some other program.
    Foreign,
}

/// Finds out what the file holds without writing.
///
/// In one transaction: another process may be creating the database, and half of it read before
/// and half of it after would look like a stranger's.
pub(crate) fn identify(connection: &mut Connection) -> rusqlite::Result<Identity> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Deferred)?;
    let identity = read_identity(&transaction)?;
    transaction.commit()?;
    Ok(identity)
}

fn read_identity(connection: &Connection) -> rusqlite::Result<Identity> {
    let application: i32 = connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
    let version: i32 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    match (application, u32::try_from(version)) {
        (APPLICATION_ID, Ok(version)) => Ok(Identity::EventLog(version)),
        (0, Ok(0)) => {
            let tables: i64 =
                connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
            Ok(if tables == 0 { Identity::Empty } else { Identity::Foreign })
        }
        _ => Ok(Identity::Foreign),
    }
}

/// Brings an empty or older database to [`VERSION`]; leaves every other as it is.
///
/// Looks again under the write lock: of many processes that come at once, one does the work.
pub(crate) fn migrate(connection: &mut Connection) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let seen = match read_identity(&transaction)? {
        Identity::Empty => 0,
        Identity::EventLog(version) if version < VERSION => version,
        Identity::EventLog(_) | Identity::Foreign => return Ok(()),
    };
    for step in STEPS.iter().skip(seen as usize) {
        transaction.execute_batch(step)?;
    }
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", VERSION)?;
    transaction.commit()
}
