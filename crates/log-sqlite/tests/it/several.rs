//! The suite once more, every call on the next of several connections, as if by other processes.

use std::sync::atomic::{AtomicUsize, Ordering};

use co_log::{
    Append, EventLog, GrantFilter, InboxEntry, Lease, LeaseHolder, LogError, Owner, RunFilter, RunHead,
    Submitted, TaskTotals,
};
use co_log_sqlite::SqliteLog;
use co_model::{
    CommandKey, Envelope, EventSeq, Grant, GrantId, Recorded, Revocation, RunId, TaskId, Timestamp,
};

use crate::support::{new_path, open};

struct Several {
    logs: Vec<SqliteLog>,
    calls: AtomicUsize,
}

impl Several {
    fn next(&self) -> &SqliteLog {
        &self.logs[self.calls.fetch_add(1, Ordering::Relaxed) % self.logs.len()]
    }
}

fn several() -> Box<dyn EventLog> {
    let path = new_path();
    Box::new(Several { logs: (0..3).map(|_| open(&path)).collect(), calls: AtomicUsize::new(0) })
}

co_log::event_log_suite!(several);

impl EventLog for Several {
    fn create(&self, owner: &Owner, append: &Append<'_>) -> Result<(Lease, Vec<Recorded>), LogError> {
        self.next().create(owner, append)
    }

    fn append(&self, lease: &Lease, append: &Append<'_>) -> Result<Vec<Recorded>, LogError> {
        self.next().append(lease, append)
    }

    fn append_unowned(
        &self,
        holder: Option<&LeaseHolder>,
        fence: bool,
        append: &Append<'_>,
    ) -> Result<Option<Vec<Recorded>>, LogError> {
        self.next().append_unowned(holder, fence, append)
    }

    fn events(&self, run: &RunId, after: EventSeq, limit: usize) -> Result<Vec<Recorded>, LogError> {
        self.next().events(run, after, limit)
    }

    fn acquire(
        &self,
        run: &RunId,
        owner: &Owner,
        now: Timestamp,
        gone: &dyn Fn(&LeaseHolder) -> bool,
    ) -> Result<Lease, LogError> {
        self.next().acquire(run, owner, now, gone)
    }

    fn renew(&self, lease: &Lease, now: Timestamp) -> Result<(), LogError> {
        self.next().renew(lease, now)
    }

    fn release(&self, lease: &Lease) -> Result<(), LogError> {
        self.next().release(lease)
    }

    fn submit(&self, run: &RunId, envelope: &Envelope) -> Result<Submitted, LogError> {
        self.next().submit(run, envelope)
    }

    fn settlement(&self, run: &RunId, key: &CommandKey) -> Result<Option<Submitted>, LogError> {
        self.next().settlement(run, key)
    }

    fn inbox(&self, run: &RunId) -> Result<Vec<InboxEntry>, LogError> {
        self.next().inbox(run)
    }

    fn head(&self, run: &RunId) -> Result<Option<RunHead>, LogError> {
        self.next().head(run)
    }

    fn heads(&self, filter: &RunFilter) -> Result<Vec<RunHead>, LogError> {
        self.next().heads(filter)
    }

    fn totals(&self, task: &TaskId) -> Result<TaskTotals, LogError> {
        self.next().totals(task)
    }

    fn views_written(&self, run: &RunId, seq: EventSeq) -> Result<(), LogError> {
        self.next().views_written(run, seq)
    }

    fn grants_of(&self, keys: &[String]) -> Result<Vec<Grant>, LogError> {
        self.next().grants_of(keys)
    }

    fn grants(&self, filter: &GrantFilter) -> Result<Vec<Grant>, LogError> {
        self.next().grants(filter)
    }

    fn revoke(&self, grant: &GrantId, revocation: &Revocation) -> Result<Option<Grant>, LogError> {
        self.next().revoke(grant, revocation)
    }
}
