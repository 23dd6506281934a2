//! Writing events: the rules of an append inside the transaction that holds the write lock.

use co_log::{Append, Lease, LeaseHolder, LogError, Owner, encode};
use co_model::{EventSeq, Recorded, RunId, Timestamp};
use rusqlite::{OptionalExtension, Transaction, params};

use crate::error::Failure;
use crate::rows::{settled, signed, unsigned};
use crate::statements;

/// Where a run stands, as far as an append must know.
#[derive(Debug)]
pub(crate) struct Position {
    /// Its row, for updates without another search.
    pub(crate) row: i64,
    /// The generation of its last lease.
    pub(crate) generation: u64,
    last_seq: u64,
    updated_at: Timestamp,
    owner: Option<String>,
    views_seq: u64,
    views_stale: bool,
    /// Whether the indexed columns of the progress are already as the append will leave them.
    same_keys: bool,
}

impl Position {
    /// Reads the position of the append's run; `None` when there is no such run.
    pub(crate) fn read(transaction: &Transaction<'_>, append: &Append<'_>) -> rusqlite::Result<Option<Self>> {
        let progress = append.progress;
        let mut statement = transaction.prepare_cached(statements::POSITION)?;
        let values = params![
            append.run.as_str(),
            progress.task.as_str(),
            progress.pipeline.as_str(),
            progress.parent.as_ref().map(RunId::as_str),
            progress.status.as_str(),
        ];
        let position = statement.query_row(values, |row| {
            Ok(Self {
                row: row.get(0)?,
                last_seq: unsigned(row, 1)?,
                updated_at: Timestamp::from_millis(row.get(2)?),
                generation: unsigned(row, 3)?,
                owner: row.get(4)?,
                views_seq: unsigned(row, 5)?,
                views_stale: row.get(6)?,
                same_keys: row.get(7)?,
            })
        });
        position.optional()
    }

    /// Whether `lease` is the one in force, and for the append's run.
    pub(crate) fn is_owned(&self, lease: &Lease, append: &Append<'_>) -> bool {
        lease.run == *append.run
            && lease.generation == self.generation
            && self.owner.as_deref() == Some(lease.owner.as_str())
    }

    /// Whether the lease is still of the generation an outsider saw, or free if it saw none.
    pub(crate) fn is_held_as(&self, holder: Option<&LeaseHolder>) -> bool {
        match holder {
            Some(holder) => holder.generation == self.generation,
            None => self.owner.is_none(),
        }
    }

    /// Refuses a writer that has not seen the last event.
    pub(crate) fn expect(&self, append: &Append<'_>) -> Result<(), LogError> {
        if append.after.0 == self.last_seq {
            return Ok(());
        }
        Err(LogError::Conflict { run: append.run.clone(), last: self.last_seq, seen: append.after.0 })
    }
}

/// Inserts the row of a new run, without events, owned by `owner`.
pub(crate) fn insert_run(
    transaction: &Transaction<'_>,
    owner: &Owner,
    append: &Append<'_>,
) -> Result<(), Failure> {
    let progress = append.progress;
    let inserted = transaction.prepare_cached(statements::INSERT_RUN)?.execute(params![
        append.run.as_str(),
        progress.task.as_str(),
        progress.pipeline.as_str(),
        progress.parent.as_ref().map(RunId::as_str),
        progress.status.as_str(),
        progress.status_detail,
        progress.created_at.as_millis(),
        progress.completed_at.map(Timestamp::as_millis),
        progress.stages_passed,
        progress.stages_failed,
        progress.stages_planned,
        progress.summary,
        progress.metrics,
        append.at.as_millis(),
        owner.id,
        owner.host,
        owner.process,
    ])?;
    if inserted == 0 { Err(LogError::RunExists(append.run.clone()).into()) } else { Ok(()) }
}

/// Writes the events, the progress and the settlements of an append.
pub(crate) fn record(
    transaction: &Transaction<'_>,
    position: &Position,
    append: &Append<'_>,
) -> Result<Vec<Recorded>, Failure> {
    // The clock may have jumped back since the last event.
    let at = append.at.max(position.updated_at);
    let mut recorded = Vec::with_capacity(append.events.len());
    let mut last_seq = position.last_seq;
    let mut insert = transaction.prepare_cached(statements::INSERT_EVENT)?;
    for event in append.events {
        last_seq += 1;
        let stored = encode(event).map_err(|source| LogError::Decode { run: append.run.clone(), source })?;
        insert.execute(params![
            append.run.as_str(),
            signed(last_seq),
            at.as_millis(),
            stored.kind,
            stored.version,
            stored.body,
        ])?;
        recorded.push(Recorded { seq: EventSeq(last_seq), at, event: event.clone() });
    }
    let updated_at = if append.events.is_empty() { position.updated_at } else { at };
    update_run(transaction, position, append, last_seq, updated_at)?;
    for (seq, settlement) in append.settled {
        let (word, detail) = settled(settlement);
        let values = params![append.run.as_str(), signed(seq.0), word, detail];
        transaction.prepare_cached(statements::SETTLE)?.execute(values)?;
    }
    crate::grants::record(transaction, append.consents)?;
    Ok(recorded)
}

fn update_run(
    transaction: &Transaction<'_>,
    position: &Position,
    append: &Append<'_>,
    last_seq: u64,
    updated_at: Timestamp,
) -> rusqlite::Result<()> {
    let progress = append.progress;
    transaction.prepare_cached(statements::UPDATE_RUN)?.execute(params![
        position.row,
        signed(last_seq),
        updated_at.as_millis(),
        progress.status_detail,
        progress.created_at.as_millis(),
        progress.completed_at.map(Timestamp::as_millis),
        progress.stages_passed,
        progress.stages_failed,
        progress.stages_planned,
        progress.summary,
        progress.metrics,
    ])?;
    let views_stale = position.views_seq < last_seq;
    if position.same_keys && position.views_stale == views_stale {
        return Ok(());
    }
    transaction.prepare_cached(statements::UPDATE_INDEXED)?.execute(params![
        position.row,
        views_stale,
        progress.task.as_str(),
        progress.pipeline.as_str(),
        progress.parent.as_ref().map(RunId::as_str),
        progress.status.as_str(),
    ])?;
    Ok(())
}
