//! Between rows and values. What does not fit is an error of SQLite's kind, read as damage.

use std::error::Error as StdError;

use co_log::{LeaseHolder, Owner, Progress, RunHead, Settlement, Submitted};
use co_model::{EventSeq, RunStatus, Timestamp};
use rusqlite::types::{FromSqlError, Type};
use rusqlite::{Error, Result, Row};

const STATUSES: [RunStatus; 6] = [
    RunStatus::Queued,
    RunStatus::InProgress,
    RunStatus::Interrupted,
    RunStatus::Succeeded,
    RunStatus::Failed,
    RunStatus::Cancelled,
];

/// Reads a text column into a type that checks it.
pub(crate) fn parsed<T>(row: &Row<'_>, index: usize) -> Result<T>
where
    T: TryFrom<String, Error: StdError + Send + Sync + 'static>,
{
    T::try_from(row.get(index)?)
        .map_err(|error| Error::FromSqlConversionFailure(index, Type::Text, Box::new(error)))
}

/// Reads a whole number that is never negative.
pub(crate) fn unsigned<T: TryFrom<i64>>(row: &Row<'_>, index: usize) -> Result<T> {
    let value: i64 = row.get(index)?;
    T::try_from(value).map_err(|_| Error::IntegralValueOutOfRange(index, value))
}

/// Reads an instant.
pub(crate) fn instant(row: &Row<'_>, index: usize) -> Result<Timestamp> {
    row.get(index).map(Timestamp::from_millis)
}

/// Numbers beyond what SQLite holds stand for its largest.
pub(crate) fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// Reads a run from the columns `statements::HEAD` names.
pub(crate) fn head(row: &Row<'_>) -> Result<RunHead> {
    let parent: Option<String> = row.get(3)?;
    let progress = Progress {
        task: parsed(row, 1)?,
        pipeline: parsed(row, 2)?,
        parent: if parent.is_some() { Some(parsed(row, 3)?) } else { None },
        status: status(row, 4)?,
        status_detail: row.get(5)?,
        created_at: instant(row, 6)?,
        completed_at: row.get::<_, Option<i64>>(7)?.map(Timestamp::from_millis),
        stages_passed: unsigned(row, 8)?,
        stages_failed: unsigned(row, 9)?,
        stages_planned: unsigned(row, 10)?,
        summary: row.get(11)?,
        metrics: row.get(12)?,
    };
    let generation = unsigned(row, 16)?;
    Ok(RunHead {
        run: parsed(row, 0)?,
        progress,
        last_seq: EventSeq(unsigned(row, 13)?),
        updated_at: instant(row, 14)?,
        views_seq: EventSeq(unsigned(row, 15)?),
        holder: holder(row, 17, generation)?,
        generation,
    })
}

/// Reads the owner from four columns that are all null when there is none.
pub(crate) fn holder(row: &Row<'_>, first: usize, generation: u64) -> Result<Option<LeaseHolder>> {
    let Some(id) = row.get(first)? else { return Ok(None) };
    let owner = Owner { id, host: row.get(first + 1)?, process: row.get(first + 2)? };
    Ok(Some(LeaseHolder { owner, generation, renewed_at: instant(row, first + 3)? }))
}

/// Reads what became of a command from the columns `settlement` and `detail`.
pub(crate) fn submitted(row: &Row<'_>) -> Result<Submitted> {
    let settlement: Option<String> = row.get(0)?;
    match settlement.as_deref() {
        None => Ok(Submitted::Open),
        Some("accepted") => Ok(Submitted::Settled(Settlement::Accepted)),
        Some("refused") => Ok(Submitted::Settled(Settlement::Refused { detail: row.get(1)? })),
        Some(other) => Err(unknown_word(0, other)),
    }
}

/// The columns `settlement` and `detail` of an answer.
pub(crate) fn settled(settlement: &Settlement) -> (&'static str, Option<&str>) {
    match settlement {
        Settlement::Accepted => ("accepted", None),
        Settlement::Refused { detail } => ("refused", Some(detail)),
    }
}

fn status(row: &Row<'_>, index: usize) -> Result<RunStatus> {
    let word = row.get_ref(index)?.as_str()?;
    STATUSES.into_iter().find(|status| status.as_str() == word).ok_or_else(|| unknown_word(index, word))
}

fn unknown_word(index: usize, word: &str) -> Error {
    let source = FromSqlError::Other(format!("`{word}` is no known word here").into());
    Error::FromSqlConversionFailure(index, Type::Text, Box::new(source))
}
