//! Consents: rows of their own beside the events, written in the transaction of the facts they belong to.

use co_log::{Consents, DecodeError, GrantFilter, LogError};
use co_model::{Actor, Grant, GrantId, Revocation, Timestamp};
use rusqlite::{Connection, Row, Transaction, params};

use crate::error::Failure;
use crate::rows::{signed, unsigned};
use crate::statements;

/// How many consents a listing returns when nobody says.
const DEFAULT_LIMIT: usize = 100;

/// Gives and uses consents; one that cannot be used ends the transaction.
pub(crate) fn record(transaction: &Transaction<'_>, consents: Consents<'_>) -> Result<(), Failure> {
    for grant in consents.given {
        let body = serde_json::to_string(grant).map_err(|source| undecodable(grant, source))?;
        transaction.prepare_cached(statements::GIVE)?.execute(params![
            grant.id.0,
            grant.key,
            grant.task.as_str(),
            grant.run.as_str(),
            grant.given_at.as_millis(),
            grant.uses_left,
            body,
        ])?;
    }
    for grant in consents.used {
        if transaction.prepare_cached(statements::USE_GRANT)?.execute([&grant.0])? == 0 {
            return Err(LogError::GrantSpent(grant.clone()).into());
        }
    }
    Ok(())
}

/// Every consent bound to one of the keys, oldest first.
pub(crate) fn of_keys(connection: &Connection, keys: &[String]) -> Result<Vec<Grant>, Failure> {
    let mut found = Vec::new();
    let mut statement = connection.prepare_cached(statements::GRANTS_OF)?;
    for key in keys {
        let mut rows = statement.query([key])?;
        while let Some(row) = rows.next()? {
            found.push(read(row)?);
        }
    }
    Ok(found)
}

pub(crate) fn list(connection: &Connection, filter: &GrantFilter) -> Result<Vec<Grant>, Failure> {
    let limit = if filter.limit == 0 { DEFAULT_LIMIT } else { filter.limit };
    let mut statement = connection.prepare_cached(statements::GRANTS)?;
    let mut rows = statement.query(params![
        filter.grant.as_ref().map(|grant| grant.0.as_str()),
        filter.task.as_ref().map(co_model::TaskId::as_str),
        filter.run.as_ref().map(co_model::RunId::as_str),
        signed(u64::try_from(limit).unwrap_or(u64::MAX)),
    ])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(read(row)?);
    }
    Ok(found)
}

pub(crate) fn revoke(
    transaction: &Transaction<'_>,
    grant: &GrantId,
    revocation: &Revocation,
) -> Result<Option<Grant>, Failure> {
    let values = params![grant.0, revocation.actor.as_str(), revocation.at.as_millis()];
    transaction.prepare_cached(statements::REVOKE)?.execute(values)?;
    let filter = GrantFilter { grant: Some(grant.clone()), ..GrantFilter::default() };
    Ok(list(transaction, &filter)?.pop())
}

fn read(row: &Row<'_>) -> Result<Grant, Failure> {
    let body = row.get_ref(0)?.as_str().map_err(rusqlite::Error::from)?;
    let mut grant: Grant = serde_json::from_str(body).map_err(|source| {
        let source = Box::new(DecodeError::Body { kind: "grant".to_owned(), source });
        rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, source)
    })?;
    grant.uses_left = match row.get::<_, Option<i64>>(1)? {
        Some(_) => Some(unsigned(row, 1)?),
        None => None,
    };
    grant.revoked = match (row.get::<_, Option<String>>(2)?, row.get::<_, Option<i64>>(3)?) {
        (Some(actor), Some(at)) => {
            Some(Revocation { actor: Actor::new(&actor), at: Timestamp::from_millis(at) })
        }
        _ => None,
    };
    Ok(grant)
}

fn undecodable(grant: &Grant, source: serde_json::Error) -> LogError {
    LogError::Decode {
        run: grant.run.clone(),
        source: DecodeError::Body { kind: "grant".to_owned(), source },
    }
}
