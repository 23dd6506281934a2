//! The loop: one owner per run, effects, recovery, views to disk.
//!
//! This room performs what `co-engine` decides and reports what it observes; it decides nothing
//! itself. Surfaces use [`Orchestrator`]: they submit commands and read views, and never touch
//! the store or a process.

mod activity;
mod agent;
mod attempt;
mod clock;
mod confine;
mod environment;
mod error;
mod evidence;
mod instructions;
mod launch;
mod mcp;
mod notice;
mod orchestrator;
mod owner;
mod prompt;
mod recovery;
mod redaction;
mod request;
mod sealed;
mod session;
mod session_host;
mod task_views;
mod telemetry;
mod token;
mod unowned;
mod views;
mod worktree;

pub use activity::AgentActivity;
pub use clock::{Clock, SystemClock};
pub use environment::RUN_MARK;
pub use error::{RebuildError, ResumeError, RuntimeError, StartError};
pub use notice::Progressed;
pub use orchestrator::{Liveness, Orchestrator, RunHandle, RunSnapshot, RuntimeOptions};
pub use recovery::{Recovered, RecoveryReport};
pub use request::{ResumeRequest, StartRequest, TokenOffer};
pub use sealed::without_secrets;
pub use session_host::{
    HOST_BEGINS, SessionHost, SessionHostError, session_confiner, session_journal, session_redactor,
};
pub use task_views::TaskRebuildReport;
pub use telemetry::{Observers, TelemetryReport};
pub use views::{RebuildReport, ViewDifference};
