//! Databases that vanish with the thread of their test, and small values.

#![expect(clippy::unwrap_used, reason = "a test that cannot make its database ends here")]

use std::cell::Cell;
use std::path::{Path, PathBuf};

use co_log::{Append, Consents, Durability, EventLog, Lease, Owner, Progress};
use co_log_sqlite::{OpenMode, SqliteLog};
use co_model::{Event, EventSeq, PipelineId, Recorded, RunId, RunStatus, StageId, TaskId, Timestamp};
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
    Box::new(open(&new_path()))
}

pub(crate) fn open(path: &Path) -> SqliteLog {
    SqliteLog::open(path, OpenMode::Create).unwrap()
}

pub(crate) fn at() -> Timestamp {
    Timestamp::from_millis(1_763_712_000_000)
}

pub(crate) fn run(number: u32) -> RunId {
    RunId::generate(at(), number)
}

pub(crate) fn owner(name: &str) -> Owner {
    Owner { id: name.to_owned(), host: "host".to_owned(), process: format!("process of {name}") }
}

pub(crate) fn fact(number: u32) -> Event {
    Event::AttemptStarting { stage: StageId::new("build").unwrap(), attempt: number }
}

pub(crate) fn progress() -> Progress {
    Progress {
        task: TaskId::new("task").unwrap(),
        pipeline: PipelineId::new("pipeline").unwrap(),
        parent: None,
        status: RunStatus::InProgress,
        status_detail: None,
        created_at: at(),
        completed_at: None,
        stages_passed: 0,
        stages_failed: 0,
        stages_planned: 1,
        summary: None,
        metrics: None,
    }
}

/// Creates a run with one fact.
pub(crate) fn create(log: &dyn EventLog, run: &RunId, name: &str) -> Lease {
    with_append(run, 0, &[fact(1)], Durability::Synced, |append| log.create(&owner(name), append).unwrap().0)
}

/// Appends facts after the event `after`.
pub(crate) fn append(
    log: &dyn EventLog,
    lease: &Lease,
    after: u64,
    events: &[Event],
    durability: Durability,
) -> Result<Vec<Recorded>, co_log::LogError> {
    with_append(&lease.run, after, events, durability, |append| log.append(lease, append))
}

fn with_append<T>(
    run: &RunId,
    after: u64,
    events: &[Event],
    durability: Durability,
    work: impl FnOnce(&Append<'_>) -> T,
) -> T {
    let progress = progress();
    let after = EventSeq(after);
    work(&Append {
        run,
        after,
        at: at(),
        events,
        progress: &progress,
        settled: &[],
        consents: Consents::default(),
        durability,
    })
}
