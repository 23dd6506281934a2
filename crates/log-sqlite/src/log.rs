//! [`EventLog`] on one SQLite connection.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use co_log::{
    Append, DecodeError, Durability, EventLog, GrantFilter, InboxEntry, InboxSeq, Lease, LeaseHolder,
    LogError, Owner, RunFilter, RunHead, StoredEvent, Submitted, TaskTotals, decode,
};
use co_model::{
    CommandKey, Envelope, EventSeq, Grant, GrantId, Recorded, Revocation, RunId, TaskId, Timestamp,
};
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params, params_from_iter};

use crate::append::{self, Position};
use crate::error::{Failure, damaged, folder_of};
use crate::open::{self, Journal, OpenMode};
use crate::rows::{self, instant, signed, unsigned};
use crate::{file_system, grants, statements};

/// Open commands a run may have.
const INBOX_CAPACITY: i64 = 1_000;

/// Open commands one call of `inbox` returns.
const INBOX_PAGE: i64 = 100;

/// The event log in one database file.
///
/// Safe to share between threads and to open from any number of processes.
#[derive(Debug)]
pub struct SqliteLog {
    path: PathBuf,
    journal: Journal,
    network: Option<&'static str>,
    store: Mutex<Store>,
}

#[derive(Debug)]
struct Store {
    connection: Connection,
    /// What `PRAGMA synchronous` was set to last; `None` before the first write.
    durability: Option<Durability>,
}

impl SqliteLog {
    /// Opens the database at `path`.
    ///
    /// Safe when many processes create the same database at once. On a network file system the
    /// write-ahead log is not used, because its shared memory does not reach other machines.
    ///
    /// # Errors
    /// [`LogError::TooNew`], [`LogError::Damaged`] for what is no database or a broken one,
    /// [`LogError::Full`], and [`LogError::Unusable`] for everything the system refuses.
    pub fn open(path: &Path, mode: OpenMode) -> Result<Self, LogError> {
        if mode == OpenMode::Create {
            open::make_folder(path)?;
        }
        Self::open_on(path, mode, file_system::network(folder_of(path)))
    }

    fn open_on(path: &Path, mode: OpenMode, network: Option<&'static str>) -> Result<Self, LogError> {
        let (connection, journal) = open::open(path, mode, network)?;
        let store = Mutex::new(Store { connection, durability: None });
        Ok(Self { path: path.to_owned(), journal, network, store })
    }

    /// Says in one sentence what an operator should know about where the database lies.
    ///
    /// `None` when there is nothing to say.
    pub fn note(&self) -> Option<String> {
        match (self.journal, self.network) {
            (Journal::Rollback, Some(name)) => Some(format!(
                "the event log lies on {name}, so it is kept without a write-ahead log: safe but slower"
            )),
            (Journal::Rollback, None) => {
                Some("the event log is kept without a write-ahead log: safe but slower".to_owned())
            }
            (Journal::WriteAhead, Some(name)) => Some(format!(
                "the event log lies on {name} but has a write-ahead log: use it from one machine"
            )),
            (Journal::WriteAhead, None) => None,
        }
    }

    /// Reads the whole database and checks that it is sound. Takes time in proportion to its size.
    ///
    /// # Errors
    /// [`LogError::Damaged`] with the first fault that was found.
    pub fn verify(&self) -> Result<(), LogError> {
        let verdict: String =
            self.read(|connection| Ok(connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?))?;
        if verdict == "ok" { Ok(()) } else { Err(damaged(&self.path, &verdict)) }
    }

    fn store(&self) -> MutexGuard<'_, Store> {
        // A panic inside a transaction has rolled it back, so the connection is sound.
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read<T>(&self, work: impl FnOnce(&Connection) -> Result<T, Failure>) -> Result<T, LogError> {
        work(&self.store().connection).map_err(|failure| failure.at(&self.path))
    }

    /// Runs `work` in one transaction that has the write lock from its beginning, so that what it
    /// reads is still true when it writes. An error writes nothing.
    fn write<T>(
        &self,
        durability: Durability,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, Failure>,
    ) -> Result<T, LogError> {
        self.store().transact(self.journal, durability, work).map_err(|failure| failure.at(&self.path))
    }
}

impl Store {
    fn transact<T>(
        &mut self,
        journal: Journal,
        durability: Durability,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        self.set_durability(journal, durability)?;
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let answer = work(&transaction)?;
        transaction.commit()?;
        Ok(answer)
    }

    fn set_durability(&mut self, journal: Journal, asked: Durability) -> rusqlite::Result<()> {
        // Without a write-ahead log an unsynced commit could be torn by a power cut.
        let needed = if journal == Journal::Rollback { Durability::Synced } else { asked };
        if self.durability != Some(needed) {
            self.connection.execute_batch(match needed {
                Durability::Synced => statements::SYNCED,
                Durability::Buffered => statements::BUFFERED,
            })?;
            self.durability = Some(needed);
        }
        Ok(())
    }
}

impl EventLog for SqliteLog {
    fn create(&self, owner: &Owner, append: &Append<'_>) -> Result<(Lease, Vec<Recorded>), LogError> {
        let lease = Lease { run: append.run.clone(), owner: owner.id.clone(), generation: 1 };
        let recorded = self.write(append.durability, |transaction| {
            append::insert_run(transaction, owner, append)?;
            let position = Position::read(transaction, append)?
                .ok_or_else(|| LogError::UnknownRun(append.run.clone()))?;
            position.expect(append)?;
            append::record(transaction, &position, append)
        })?;
        Ok((lease, recorded))
    }

    fn append(&self, lease: &Lease, append: &Append<'_>) -> Result<Vec<Recorded>, LogError> {
        self.write(append.durability, |transaction| {
            let position = Position::read(transaction, append)?
                .ok_or_else(|| LogError::UnknownRun(append.run.clone()))?;
            if !position.is_owned(lease, append) {
                return Err(lost(lease, position.generation).into());
            }
            position.expect(append)?;
            append::record(transaction, &position, append)
        })
    }

    fn append_unowned(
        &self,
        holder: Option<&LeaseHolder>,
        fence: bool,
        append: &Append<'_>,
    ) -> Result<Option<Vec<Recorded>>, LogError> {
        self.write(append.durability, |transaction| {
            let Some(position) = Position::read(transaction, append)? else { return Ok(None) };
            if !position.is_held_as(holder) || position.expect(append).is_err() {
                return Ok(None);
            }
            let recorded = append::record(transaction, &position, append)?;
            if fence {
                transaction.prepare_cached(statements::FENCE)?.execute([position.row])?;
            }
            Ok(Some(recorded))
        })
    }

    fn events(&self, run: &RunId, after: EventSeq, limit: usize) -> Result<Vec<Recorded>, LogError> {
        let limit = signed(u64::try_from(limit).unwrap_or(u64::MAX));
        self.read(|connection| {
            let mut statement = connection.prepare_cached(statements::EVENTS)?;
            let mut found = statement.query(params![run.as_str(), signed(after.0), limit])?;
            let mut events = Vec::new();
            while let Some(row) = found.next()? {
                let stored = StoredEvent { kind: row.get(2)?, version: unsigned(row, 3)?, body: row.get(4)? };
                let event =
                    decode(&stored).map_err(|source| LogError::Decode { run: run.clone(), source })?;
                events.push(Recorded { seq: EventSeq(unsigned(row, 0)?), at: instant(row, 1)?, event });
            }
            Ok(events)
        })
    }

    fn acquire(
        &self,
        run: &RunId,
        owner: &Owner,
        now: Timestamp,
        gone: &dyn Fn(&LeaseHolder) -> bool,
    ) -> Result<Lease, LogError> {
        // `gone` is asked without a lock: it looks at processes, and may use this very log.
        // What it was asked about must still be so when the lease is taken, else it is asked again.
        loop {
            let (generation, holder) = self.lease(run)?.ok_or_else(|| LogError::UnknownRun(run.clone()))?;
            if let Some(holder) = &holder
                && !gone(holder)
            {
                return Err(LogError::Held { run: run.clone(), holder: Box::new(holder.clone()) });
            }
            let taken = self.write(Durability::Buffered, |transaction| {
                Ok(transaction.prepare_cached(statements::ACQUIRE)?.execute(params![
                    run.as_str(),
                    signed(generation),
                    holder.as_ref().map(|holder| &holder.owner.id),
                    holder.as_ref().map(|holder| holder.renewed_at.as_millis()),
                    owner.id,
                    owner.host,
                    owner.process,
                    now.as_millis(),
                ])?)
            })?;
            if taken == 1 {
                return Ok(Lease { run: run.clone(), owner: owner.id.clone(), generation: generation + 1 });
            }
        }
    }

    fn renew(&self, lease: &Lease, now: Timestamp) -> Result<(), LogError> {
        self.write(Durability::Buffered, |transaction| {
            let renewed = transaction.prepare_cached(statements::RENEW)?.execute(params![
                lease.run.as_str(),
                lease.owner,
                signed(lease.generation),
                now.as_millis(),
            ])?;
            if renewed == 1 {
                return Ok(());
            }
            let current = read_lease(transaction, &lease.run)?;
            Err(match current {
                Some((generation, _)) => lost(lease, generation),
                None => LogError::UnknownRun(lease.run.clone()),
            }
            .into())
        })
    }

    fn release(&self, lease: &Lease) -> Result<(), LogError> {
        self.write(Durability::Buffered, |transaction| {
            let values = params![lease.run.as_str(), lease.owner, signed(lease.generation)];
            transaction.prepare_cached(statements::RELEASE)?.execute(values)?;
            Ok(())
        })
    }

    fn submit(&self, run: &RunId, envelope: &Envelope) -> Result<Submitted, LogError> {
        let body = serde_json::to_string(envelope).map_err(|source| undecodable(run, source))?;
        self.write(Durability::Synced, |transaction| {
            let mut exists = transaction.prepare_cached(statements::RUN_EXISTS)?;
            if !exists.query_row([run.as_str()], |row| row.get::<_, bool>(0))? {
                return Err(LogError::UnknownRun(run.clone()).into());
            }
            if let Some(earlier) = settlement(transaction, run, &envelope.key)? {
                return Ok(earlier);
            }
            let values = params![run.as_str(), envelope.key.0, body, INBOX_CAPACITY];
            match transaction.prepare_cached(statements::SUBMIT)?.execute(values)? {
                0 => Err(LogError::InboxFull(run.clone()).into()),
                _ => Ok(Submitted::Open),
            }
        })
    }

    fn settlement(&self, run: &RunId, key: &CommandKey) -> Result<Option<Submitted>, LogError> {
        self.read(|connection| settlement(connection, run, key))
    }

    fn inbox(&self, run: &RunId) -> Result<Vec<InboxEntry>, LogError> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached(statements::INBOX)?;
            let mut found = statement.query(params![run.as_str(), INBOX_PAGE])?;
            let mut entries = Vec::new();
            while let Some(row) = found.next()? {
                let envelope = serde_json::from_str(row.get_ref(1)?.as_str().map_err(rusqlite::Error::from)?)
                    .map_err(|source| undecodable(run, source))?;
                entries.push(InboxEntry { seq: InboxSeq(unsigned(row, 0)?), envelope });
            }
            Ok(entries)
        })
    }

    fn head(&self, run: &RunId) -> Result<Option<RunHead>, LogError> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached(statements::HEAD)?;
            Ok(statement.query_row([run.as_str()], rows::head).optional()?)
        })
    }

    fn heads(&self, filter: &RunFilter) -> Result<Vec<RunHead>, LogError> {
        let (sql, values) = statements::heads(filter);
        self.read(|connection| {
            let mut statement = connection.prepare_cached(&sql)?;
            let found = statement.query_map(params_from_iter(values), rows::head)?;
            Ok(found.collect::<rusqlite::Result<Vec<_>>>()?)
        })
    }

    fn totals(&self, task: &TaskId) -> Result<TaskTotals, LogError> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached(statements::TOTALS)?;
            Ok(statement.query_row([task.as_str()], |row| {
                let (over, runs): (u64, u64) = (unsigned(row, 0)?, unsigned(row, 7)?);
                Ok(TaskTotals {
                    runs,
                    succeeded: unsigned(row, 1)?,
                    failed: unsigned(row, 2)?,
                    cancelled: unsigned(row, 3)?,
                    unfinished: runs.saturating_sub(over),
                    duration_ms: unsigned(row, 4)?,
                    stages_passed: unsigned(row, 5)?,
                    stages_failed: unsigned(row, 6)?,
                })
            })?)
        })
    }

    fn views_written(&self, run: &RunId, seq: EventSeq) -> Result<(), LogError> {
        self.write(Durability::Buffered, |transaction| {
            let values = params![run.as_str(), signed(seq.0)];
            transaction.prepare_cached(statements::VIEWS_WRITTEN)?.execute(values)?;
            Ok(())
        })
    }

    fn grants_of(&self, keys: &[String]) -> Result<Vec<Grant>, LogError> {
        self.read(|connection| grants::of_keys(connection, keys))
    }

    fn grants(&self, filter: &GrantFilter) -> Result<Vec<Grant>, LogError> {
        self.read(|connection| grants::list(connection, filter))
    }

    fn revoke(&self, grant: &GrantId, revocation: &Revocation) -> Result<Option<Grant>, LogError> {
        self.write(Durability::Synced, |transaction| grants::revoke(transaction, grant, revocation))
    }
}

impl SqliteLog {
    fn lease(&self, run: &RunId) -> Result<Option<(u64, Option<LeaseHolder>)>, LogError> {
        self.read(|connection| Ok(read_lease(connection, run)?))
    }
}

fn read_lease(connection: &Connection, run: &RunId) -> rusqlite::Result<Option<(u64, Option<LeaseHolder>)>> {
    let mut statement = connection.prepare_cached(statements::LEASE)?;
    let lease = statement.query_row([run.as_str()], |row| {
        let generation = unsigned(row, 0)?;
        Ok((generation, rows::holder(row, 1, generation)?))
    });
    lease.optional()
}

fn settlement(connection: &Connection, run: &RunId, key: &CommandKey) -> Result<Option<Submitted>, Failure> {
    let mut statement = connection.prepare_cached(statements::SETTLEMENT)?;
    Ok(statement.query_row(params![run.as_str(), key.0], rows::submitted).optional()?)
}

fn lost(lease: &Lease, current: u64) -> LogError {
    LogError::LeaseLost { run: lease.run.clone(), ours: lease.generation, current }
}

fn undecodable(run: &RunId, source: serde_json::Error) -> LogError {
    LogError::Decode { run: run.clone(), source: DecodeError::Body { kind: "command".to_owned(), source } }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    thread_local! {
        static FOLDER: (tempfile::TempDir, Cell<u32>) = (tempfile::tempdir().unwrap(), Cell::new(0));
    }

    /// A database as it would be made on a network file system.
    fn on_network() -> Box<dyn EventLog> {
        let path = FOLDER.with(|(folder, made)| {
            made.set(made.get() + 1);
            folder.path().join(format!("{}.db", made.get()))
        });
        let log = SqliteLog::open_on(&path, OpenMode::Create, Some("NFS")).unwrap();
        assert!(log.note().unwrap().contains("lies on NFS"));
        assert_eq!(log.journal, Journal::Rollback);
        Box::new(log)
    }

    mod without_write_ahead_log {
        co_log::event_log_suite!(super::on_network);
    }
}
