//! The SQL, one constant per statement, so that each is prepared once per connection.

use co_log::RunFilter;
use rusqlite::types::Value;

use crate::rows::signed;

pub(crate) const SYNCED: &str = "PRAGMA synchronous = FULL";
pub(crate) const BUFFERED: &str = "PRAGMA synchronous = NORMAL";

/// Columns in the order `rows::head` reads them.
macro_rules! head_columns {
    () => {
        "run, task, pipeline, parent, status, status_detail, created_at, completed_at, \
         stages_passed, stages_failed, stages_planned, summary, metrics, last_seq, updated_at, \
         views_seq, generation, owner, owner_host, owner_process, renewed_at"
    };
}

pub(crate) const HEAD: &str = concat!("SELECT ", head_columns!(), " FROM runs WHERE run = ?1");

pub(crate) const INSERT_RUN: &str = "
    INSERT INTO runs (run, task, pipeline, parent, status, status_detail, created_at, completed_at,
        stages_passed, stages_failed, stages_planned, summary, metrics, last_seq, updated_at,
        views_stale, generation, owner, owner_host, owner_process, renewed_at)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, 0, ?14, 0, 1, ?15, ?16, ?17, ?14)
    ON CONFLICT (run) DO NOTHING";

/// What an append must know of its run; `?2` to `?5` are the indexed columns as they will be.
pub(crate) const POSITION: &str = "
    SELECT rowid, last_seq, updated_at, generation, owner, views_seq, views_stale,
        task = ?2 AND pipeline = ?3 AND parent IS ?4 AND status = ?5
    FROM runs WHERE run = ?1";

pub(crate) const INSERT_EVENT: &str =
    "INSERT INTO events (run, seq, at, kind, version, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";

/// Touches no column of an index that holds running runs: two pages are written per append.
pub(crate) const UPDATE_RUN: &str = "
    UPDATE runs SET last_seq = ?2, updated_at = ?3, status_detail = ?4, created_at = ?5,
        completed_at = ?6, stages_passed = ?7, stages_failed = ?8, stages_planned = ?9,
        summary = ?10, metrics = ?11
    WHERE rowid = ?1";

pub(crate) const UPDATE_INDEXED: &str = "
    UPDATE runs SET views_stale = ?2, task = ?3, pipeline = ?4, parent = ?5, status = ?6
    WHERE rowid = ?1";

pub(crate) const FENCE: &str = "
    UPDATE runs SET generation = generation + 1, owner = NULL, owner_host = NULL,
        owner_process = NULL, renewed_at = NULL
    WHERE rowid = ?1";

pub(crate) const EVENTS: &str = "
    SELECT seq, at, kind, version, body FROM events WHERE run = ?1 AND seq > ?2 ORDER BY seq LIMIT ?3";

pub(crate) const LEASE: &str =
    "SELECT generation, owner, owner_host, owner_process, renewed_at FROM runs WHERE run = ?1";

/// Only while the lease is still as it was read.
pub(crate) const ACQUIRE: &str = "
    UPDATE runs SET generation = generation + 1, owner = ?5, owner_host = ?6, owner_process = ?7,
        renewed_at = ?8
    WHERE run = ?1 AND generation = ?2 AND owner IS ?3 AND renewed_at IS ?4";

pub(crate) const RENEW: &str =
    "UPDATE runs SET renewed_at = ?4 WHERE run = ?1 AND owner = ?2 AND generation = ?3";

pub(crate) const RELEASE: &str = "
    UPDATE runs SET owner = NULL, owner_host = NULL, owner_process = NULL, renewed_at = NULL
    WHERE run = ?1 AND owner = ?2 AND generation = ?3";

pub(crate) const RUN_EXISTS: &str = "SELECT EXISTS (SELECT 1 FROM runs WHERE run = ?1)";

pub(crate) const SETTLEMENT: &str = "SELECT settlement, detail FROM inbox WHERE run = ?1 AND key = ?2";

/// Inserts nothing when `?4` commands are open.
pub(crate) const SUBMIT: &str = "
    INSERT INTO inbox (run, key, envelope) SELECT ?1, ?2, ?3
    WHERE (SELECT count(*) FROM inbox WHERE run = ?1 AND settlement IS NULL) < ?4";

pub(crate) const INBOX: &str = "
    SELECT seq, envelope FROM inbox WHERE run = ?1 AND settlement IS NULL ORDER BY seq LIMIT ?2";

pub(crate) const SETTLE: &str = "
    UPDATE inbox SET settlement = ?3, detail = ?4
    WHERE seq = ?2 AND run = ?1 AND settlement IS NULL";

/// The literal list is that of the index `runs_over`, which this reads and nothing else.
pub(crate) const TOTALS: &str = "
    SELECT count(*), coalesce(sum(status = 'succeeded'), 0), coalesce(sum(status = 'failed'), 0),
        coalesce(sum(status = 'cancelled'), 0),
        coalesce(sum(max(coalesce(completed_at, created_at) - created_at, 0)), 0),
        coalesce(sum(stages_passed), 0), coalesce(sum(stages_failed), 0),
        (SELECT count(*) FROM runs WHERE task = ?1)
    FROM runs WHERE task = ?1 AND status IN ('succeeded', 'failed', 'cancelled')";

pub(crate) const VIEWS_WRITTEN: &str = "
    UPDATE runs SET views_seq = ?2, views_stale = ?2 < last_seq WHERE run = ?1 AND views_seq < ?2";

pub(crate) const GIVE: &str = "
    INSERT INTO grants (id, key, task, run, given_at, uses_left, revoked_by, revoked_at, body)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, NULL, NULL, ?7) ON CONFLICT (id) DO NOTHING";

pub(crate) const USE_GRANT: &str = "
    UPDATE grants SET uses_left = uses_left - 1
    WHERE id = ?1 AND revoked_at IS NULL AND (uses_left IS NULL OR uses_left > 0)";

pub(crate) const GRANTS_OF: &str =
    "SELECT body, uses_left, revoked_by, revoked_at FROM grants WHERE key = ?1 ORDER BY rowid";

pub(crate) const GRANTS: &str = "
    SELECT body, uses_left, revoked_by, revoked_at FROM grants
    WHERE (?1 IS NULL OR id = ?1) AND (?2 IS NULL OR task = ?2) AND (?3 IS NULL OR run = ?3)
    ORDER BY given_at DESC, rowid DESC LIMIT ?4";

pub(crate) const REVOKE: &str =
    "UPDATE grants SET revoked_by = ?2, revoked_at = ?3 WHERE id = ?1 AND revoked_at IS NULL";

/// Builds the listing that a filter asks for.
///
/// Every part is answered by one index in the order of the result; several statuses are merged,
/// so that no listing sorts more than it returns.
pub(crate) fn heads(filter: &RunFilter) -> (String, Vec<Value>) {
    let mut conditions = Vec::new();
    let mut values = Vec::new();
    let mut require = |condition: &str, value: &str| {
        values.push(Value::Text(value.to_owned()));
        conditions.push(format!("{condition} ?{}", values.len()));
    };
    if let Some(task) = &filter.task {
        require("task =", task.as_str());
    }
    if let Some(pipeline) = &filter.pipeline {
        require("pipeline =", pipeline.as_str());
    }
    if let Some(parent) = &filter.parent {
        require("parent =", parent.as_str());
    }
    if let Some(before) = &filter.before {
        require("run <", before.as_str());
    }
    if filter.stale_views {
        conditions.push("views_stale = 1".to_owned());
    }
    let mut statuses: Vec<&str> = filter.statuses.iter().map(|status| status.as_str()).collect();
    statuses.sort_unstable();
    statuses.dedup();
    let select = |status: Option<&str>| {
        let mut all = conditions.clone();
        all.extend(status.map(|status| format!("status = '{status}'")));
        let filtered = if all.is_empty() { String::new() } else { format!(" WHERE {}", all.join(" AND ")) };
        format!(concat!("SELECT ", head_columns!(), " FROM runs{}"), filtered)
    };
    let parts: Vec<String> = if statuses.is_empty() {
        vec![select(None)]
    } else {
        statuses.into_iter().map(|status| select(Some(status))).collect()
    };
    let limit = if filter.limit == 0 { 100 } else { filter.limit };
    values.push(Value::Integer(signed(u64::try_from(limit).unwrap_or(u64::MAX))));
    (format!("{} ORDER BY run DESC LIMIT ?{}", parts.join(" UNION ALL "), values.len()), values)
}

#[cfg(test)]
mod tests {
    use co_model::{PipelineId, RunId, RunStatus, TaskId, Timestamp};
    use rusqlite::{Connection, StatementStatus, params_from_iter};

    use super::*;

    fn plan(sql: &str, values: Vec<Value>) -> String {
        let mut connection = Connection::open_in_memory().unwrap();
        crate::schema::migrate(&mut connection).unwrap();
        let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let lines = statement.query_map(params_from_iter(values), |row| row.get::<_, String>(3)).unwrap();
        lines.map(Result::unwrap).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn no_listing_sorts_or_reads_runs_it_does_not_return() {
        let any = RunFilter::default;
        let run = RunId::generate(Timestamp::from_millis(0), 1);
        let cases = [
            (any(), "sqlite_autoindex_runs_1"),
            (RunFilter { before: Some(run.clone()), ..any() }, "sqlite_autoindex_runs_1 (run<?)"),
            (RunFilter { task: TaskId::new("a").ok(), ..any() }, "runs_by_task (task=?)"),
            (
                RunFilter { task: TaskId::new("a").ok(), before: Some(run.clone()), ..any() },
                "runs_by_task (task=? AND run<?)",
            ),
            (RunFilter { pipeline: PipelineId::new("a").ok(), ..any() }, "runs_by_pipeline (pipeline=?)"),
            (RunFilter { parent: Some(run), ..any() }, "runs_by_parent (parent=?)"),
            (RunFilter { statuses: vec![RunStatus::Failed], ..any() }, "runs_by_status (status=?)"),
            (
                RunFilter { statuses: vec![RunStatus::Failed, RunStatus::Queued], ..any() },
                "runs_by_status (status=?)",
            ),
            (RunFilter { stale_views: true, ..any() }, "runs_with_stale_views"),
        ];
        for (filter, index) in cases {
            let (sql, values) = heads(&filter);
            let plan = plan(&sql, values);
            assert!(plan.contains(index) && !plan.contains("TEMP B-TREE"), "{filter:?}:\n{plan}");
        }
    }

    #[test]
    fn what_is_asked_often_never_scans() {
        let text = |count| vec![Value::Text("a".to_owned()); count];
        let totals = plan(TOTALS, text(1));
        assert!(totals.contains("COVERING INDEX runs_over (task=?"), "{totals}");
        assert!(totals.contains("COVERING INDEX runs_by_task (task=?)"), "{totals}");
        for (sql, count) in [(HEAD, 1), (EVENTS, 3), (LEASE, 1), (INBOX, 2), (SETTLEMENT, 2), (POSITION, 5)] {
            let plan = plan(sql, text(count));
            assert!(!plan.contains("SCAN") && !plan.contains("TEMP B-TREE"), "{sql}:\n{plan}");
        }
        assert!(plan(INBOX, text(2)).contains("inbox_open (run=?)"));
    }

    #[test]
    fn no_statement_is_prepared_anew_for_other_values() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.db");
        let (connection, _) = crate::open::open(&path, crate::open::OpenMode::Create, None).unwrap();
        let (heads, _) = heads(&RunFilter { limit: 1, ..RunFilter::default() });
        for sql in [EVENTS, INBOX, GRANTS, &heads] {
            let mut statement = connection.prepare(sql).unwrap();
            for value in 1..4 {
                let values = vec![Value::Integer(value); statement.parameter_count()];
                assert!(statement.query(params_from_iter(values)).unwrap().next().unwrap().is_none());
            }
            assert_eq!(statement.get_status(StatementStatus::RePrepare), 0, "{sql}");
        }
    }
}
