//! What a store of events must do. Blocking: callers choose their own thread.

use co_model::{
    CommandKey, Envelope, Event, EventSeq, Grant, GrantId, PipelineId, Recorded, Revocation, RunId,
    RunStatus, TaskId, Timestamp,
};

use crate::DecodeError;

/// Stores runs as append-only sequences of events, with one owner per run.
///
/// Every method is atomic. Implementations are safe to use from several processes at once.
/// Time is always an argument: a store never reads a clock.
pub trait EventLog: Send + Sync {
    /// Creates a run with its first events and makes `owner` its owner.
    ///
    /// # Errors
    /// [`LogError::RunExists`] when the id is taken; nothing is written then.
    fn create(&self, owner: &Owner, append: &Append<'_>) -> Result<(Lease, Vec<Recorded>), LogError>;

    /// Appends events as the owner that `lease` names.
    ///
    /// Settles the inbox entries and the run's [`Progress`] in the same transaction. The time of
    /// an event is never earlier than that of the event before it, whatever `append.at` says.
    /// An entry that was settled before keeps its first answer.
    ///
    /// # Errors
    /// [`LogError::LeaseLost`] when another owner has taken over, or the lease was given back;
    /// [`LogError::Conflict`] when `append.after` is not the last event;
    /// [`LogError::GrantSpent`] when a consent of `append.consents` has no use left or was revoked;
    /// [`LogError::UnknownRun`]. Nothing is written then.
    fn append(&self, lease: &Lease, append: &Append<'_>) -> Result<Vec<Recorded>, LogError>;

    /// Appends events to a run that nobody owns, if its lease is still of `holder`'s generation.
    ///
    /// For facts that outsiders find: an owner that is gone, a refused resume of a live run.
    /// `None` as the holder means that the lease is expected to be free. When `fence` is true, the
    /// generation is raised and the lease freed, so that a returning owner is shut out.
    /// Returns `None`, writing nothing, when the run has moved on: another generation, a later
    /// last event than `append.after`, or no such run.
    ///
    /// # Errors
    /// Only those of the store itself.
    fn append_unowned(
        &self,
        holder: Option<&LeaseHolder>,
        fence: bool,
        append: &Append<'_>,
    ) -> Result<Option<Vec<Recorded>>, LogError>;

    /// Reads the events of a run after `after`, at most `limit` of them; none for an unknown run.
    ///
    /// # Errors
    /// [`LogError::Decode`] when one was written by a newer format or is damaged.
    fn events(&self, run: &RunId, after: EventSeq, limit: usize) -> Result<Vec<Recorded>, LogError>;

    /// Takes the lease of a run if it is free, if its holder released it, or if `gone` says that
    /// the holder is no more.
    ///
    /// `gone` is called without a lock and may use the store. Its answer counts for the sign of
    /// life it was given: when the holder renews meanwhile, `gone` is asked again.
    ///
    /// # Errors
    /// [`LogError::Held`] with the living holder; [`LogError::UnknownRun`].
    fn acquire(
        &self,
        run: &RunId,
        owner: &Owner,
        now: Timestamp,
        gone: &dyn Fn(&LeaseHolder) -> bool,
    ) -> Result<Lease, LogError>;

    /// Renews a lease.
    ///
    /// # Errors
    /// [`LogError::LeaseLost`] when another owner has taken over, or the lease was given back;
    /// [`LogError::UnknownRun`].
    fn renew(&self, lease: &Lease, now: Timestamp) -> Result<(), LogError>;

    /// Gives a lease back. A lease already lost is no error.
    ///
    /// # Errors
    /// Only those of the store itself.
    fn release(&self, lease: &Lease) -> Result<(), LogError>;

    /// Puts a command into a run's inbox, or says what became of an earlier one of the same key.
    ///
    /// # Errors
    /// [`LogError::UnknownRun`]; [`LogError::InboxFull`] beyond 1,000 open commands.
    fn submit(&self, run: &RunId, envelope: &Envelope) -> Result<Submitted, LogError>;

    /// What became of a submitted command; `None` when the key is unknown.
    ///
    /// # Errors
    /// Only those of the store itself.
    fn settlement(&self, run: &RunId, key: &CommandKey) -> Result<Option<Submitted>, LogError>;

    /// Reads the open commands of a run in order of arrival, at most 100.
    ///
    /// # Errors
    /// Only those of the store itself.
    fn inbox(&self, run: &RunId) -> Result<Vec<InboxEntry>, LogError>;

    /// Reads the head of one run.
    ///
    /// # Errors
    /// Only those of the store itself.
    fn head(&self, run: &RunId) -> Result<Option<RunHead>, LogError>;

    /// Lists heads, newest first.
    ///
    /// # Errors
    /// Only those of the store itself.
    fn heads(&self, filter: &RunFilter) -> Result<Vec<RunHead>, LogError>;

    /// Adds up the finished and unfinished runs of a task.
    ///
    /// # Errors
    /// Only those of the store itself.
    fn totals(&self, task: &TaskId) -> Result<TaskTotals, LogError>;

    /// Notes that the views on disk show the run up to `seq`. Never goes back; an unknown run is
    /// no error.
    ///
    /// # Errors
    /// Only those of the store itself.
    fn views_written(&self, run: &RunId, seq: EventSeq) -> Result<(), LogError>;

    /// Reads every consent that is bound to one of these keys, in the order in which they were given.
    /// What is revoked, expired or used up is among them: whoever asks weighs it.
    ///
    /// # Errors
    /// Only those of the store itself.
    fn grants_of(&self, keys: &[String]) -> Result<Vec<Grant>, LogError>;

    /// Lists consents, newest first.
    ///
    /// # Errors
    /// Only those of the store itself.
    fn grants(&self, filter: &GrantFilter) -> Result<Vec<Grant>, LogError>;

    /// Takes a consent back; the first revocation stands. `None` when there is no such consent.
    ///
    /// # Errors
    /// Only those of the store itself.
    fn revoke(&self, grant: &GrantId, revocation: &Revocation) -> Result<Option<Grant>, LogError>;
}

/// Which consents to list. Everything set must match.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GrantFilter {
    /// This one.
    pub grant: Option<GrantId>,
    /// Given in a run of this task.
    pub task: Option<TaskId>,
    /// Given in this run.
    pub run: Option<RunId>,
    /// At most so many; 0 means 100.
    pub limit: usize,
}

/// What an append does to consents, in the same transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Consents<'a> {
    /// Consents that were given. One that is there already stays as it is.
    pub given: &'a [Grant],
    /// Consents of a limited number of uses, each used up by one. A grant listed twice is used twice.
    pub used: &'a [GrantId],
}

/// What is written in one transaction.
#[derive(Debug, Clone)]
pub struct Append<'a> {
    /// The run.
    pub run: &'a RunId,
    /// The event the writer has seen last; `EventSeq(0)` for a new run.
    pub after: EventSeq,
    /// Now.
    pub at: Timestamp,
    /// The facts.
    pub events: &'a [Event],
    /// How the run stands after them.
    pub progress: &'a Progress,
    /// Inbox entries that these events answer.
    pub settled: &'a [(InboxSeq, Settlement)],
    /// What happens to consents.
    pub consents: Consents<'a>,
    /// Whether the append must survive a power cut before it returns.
    pub durability: Durability,
}

/// How safe an append must be before it returns. Both survive the death of every process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// Survives a power cut.
    Synced,
    /// May be lost in a power cut, together with later unsynced appends; never torn.
    Buffered,
}

/// The searchable part of a run's state, kept beside the events by the same transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// The task.
    pub task: TaskId,
    /// The pipeline.
    pub pipeline: PipelineId,
    /// The parent run.
    pub parent: Option<RunId>,
    /// Where the run stands.
    pub status: RunStatus,
    /// The detail of the status.
    pub status_detail: Option<String>,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it ended last.
    pub completed_at: Option<Timestamp>,
    /// Stages that succeeded.
    pub stages_passed: u32,
    /// Stages that failed.
    pub stages_failed: u32,
    /// All stages of the plan.
    pub stages_planned: u32,
    /// One line for people.
    pub summary: Option<String>,
    /// The run's line in the task's metrics, JSON; present once the run has ended.
    pub metrics: Option<String>,
}

/// A process that wants to own runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// Random, new for every process.
    pub id: String,
    /// The machine.
    pub host: String,
    /// The process, with what tells it from a later one of the same number.
    pub process: String,
}

/// Proof of ownership. Dropping it does not give the run back.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "a lease that is not kept leaves the run owned until it goes stale"]
pub struct Lease {
    /// The run.
    pub run: RunId,
    /// The owner's id.
    pub owner: String,
    /// Raised at each change of owner; a write with an older one is refused.
    pub generation: u64,
}

/// Who holds a run's lease, as the store knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseHolder {
    /// The owner.
    pub owner: Owner,
    /// The generation it got.
    pub generation: u64,
    /// Its last sign of life.
    pub renewed_at: Timestamp,
}

/// The position of a command in the store's inbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InboxSeq(pub u64);

/// An open command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InboxEntry {
    /// Its position.
    pub seq: InboxSeq,
    /// The command.
    pub envelope: Envelope,
}

/// What became of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settlement {
    /// It took effect.
    Accepted,
    /// It was refused.
    Refused {
        /// Why.
        detail: String,
    },
}

/// The answer to a submission.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Submitted {
    /// It waits for the owner.
    Open,
    /// A command of the same key was settled before.
    Settled(Settlement),
}

/// Everything about a run that is known without reading its events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunHead {
    /// The run.
    pub run: RunId,
    /// How it stands.
    pub progress: Progress,
    /// Its last event.
    pub last_seq: EventSeq,
    /// When the last event was recorded.
    pub updated_at: Timestamp,
    /// The last event the views on disk show.
    pub views_seq: EventSeq,
    /// Who owns it; `None` when the lease was released.
    pub holder: Option<LeaseHolder>,
    /// The generation of the last lease.
    pub generation: u64,
}

/// Which runs to list. Everything set must match.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RunFilter {
    /// Of this task.
    pub task: Option<TaskId>,
    /// Of this pipeline.
    pub pipeline: Option<PipelineId>,
    /// Children of this run.
    pub parent: Option<RunId>,
    /// In one of these states; empty means any.
    pub statuses: Vec<RunStatus>,
    /// Only runs whose views on disk lag behind their events.
    pub stale_views: bool,
    /// Only runs whose id is smaller, for paging: ids sort by time.
    pub before: Option<RunId>,
    /// At most so many; 0 means 100.
    pub limit: usize,
}

/// Sums over the runs of one task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TaskTotals {
    /// All runs.
    pub runs: u64,
    /// Runs that succeeded.
    pub succeeded: u64,
    /// Runs that failed.
    pub failed: u64,
    /// Runs that were cancelled.
    pub cancelled: u64,
    /// Runs that are not over.
    pub unfinished: u64,
    /// Milliseconds from creation to end, over the runs that are over.
    pub duration_ms: u64,
    /// Stages that succeeded, over the runs that are over.
    pub stages_passed: u64,
    /// Stages that failed, over the runs that are over.
    pub stages_failed: u64,
}

/// Why the store could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The run id is taken.
    #[error("run `{0}` exists already")]
    RunExists(RunId),
    /// There is no such run.
    #[error("there is no run `{0}`")]
    UnknownRun(RunId),
    /// Somebody else owns the run now.
    #[error("run `{run}` was taken over by another owner (generation {current}, ours was {ours})")]
    LeaseLost {
        /// The run.
        run: RunId,
        /// The generation we held.
        ours: u64,
        /// The generation in force.
        current: u64,
    },
    /// The run is owned by a living process.
    #[error("run `{run}` is owned by {} on {}", .holder.owner.process, .holder.owner.host)]
    Held {
        /// The run.
        run: RunId,
        /// Its owner.
        holder: Box<LeaseHolder>,
    },
    /// The writer has not seen the last event.
    #[error("run `{run}` has moved on: its last event is {last}, the writer had seen {seen}")]
    Conflict {
        /// The run.
        run: RunId,
        /// The last event.
        last: u64,
        /// What the writer had seen.
        seen: u64,
    },
    /// A consent cannot be used: revoked, used up, or unknown.
    #[error("consent `{0}` cannot be used any more")]
    GrantSpent(GrantId),
    /// Too many open commands.
    #[error("the inbox of run `{0}` is full")]
    InboxFull(RunId),
    /// An event cannot be read.
    #[error("an event of run `{run}` cannot be read")]
    Decode {
        /// The run.
        run: RunId,
        /// Why.
        #[source]
        source: DecodeError,
    },
    /// The store was written by a newer program.
    #[error("the event log `{location}` has format {found}; this program reads up to {supported}")]
    TooNew {
        /// The store.
        location: String,
        /// Its format.
        found: u32,
        /// Ours.
        supported: u32,
    },
    /// The store is damaged.
    #[error("the event log `{location}` is damaged: {detail}")]
    Damaged {
        /// The store.
        location: String,
        /// What was found.
        detail: String,
    },
    /// The disk is full or a quota is used up.
    #[error("no space is left for the event log `{location}`")]
    Full {
        /// The store.
        location: String,
    },
    /// The store cannot be opened or written: missing folder, no permission, read-only.
    #[error("the event log `{location}` cannot be used: {detail}")]
    Unusable {
        /// The store.
        location: String,
        /// What the system said.
        detail: String,
    },
}
