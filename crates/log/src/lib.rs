//! The event log: its stored format, the store trait and the suite every store must pass.
//!
//! The log is the truth; everything a user sees is computed from it. This room knows no SQL and
//! no file: `co-log-sqlite` (and later a server) implement [`EventLog`].

mod format;
mod store;
pub mod suite;

pub use format::{DecodeError, FORMAT_VERSION, StoredEvent, decode, encode};
pub use store::{
    Append, Consents, Durability, EventLog, GrantFilter, InboxEntry, InboxSeq, Lease, LeaseHolder, LogError,
    Owner, Progress, RunFilter, RunHead, Settlement, Submitted, TaskTotals,
};
