//! Pure decisions about runs: planning, `decide` and `evolve`, verdicts and recovery plans.
//!
//! Nothing here sleeps, reads a clock, touches a file or draws a random number. What happens in
//! the world comes in as an [`Input`]; what is to be done goes out as events to append and
//! [`Effect`]s to perform afterwards.

mod advance;
mod call;
mod decide;
mod drift;
mod effect;
mod guardrail;
mod judge;
mod plan;
mod recovery;
mod retry;
mod stage;
mod state;

pub use call::{CallCounts, CallState, DecidedCall, OpenCall, OpenQuestion, argv_of, shown};
pub use decide::{Refusal, decide, start};
pub use drift::compare;
pub use effect::{Decision, Effect, Input};
pub use guardrail::{GuardrailCounts, GuardrailStatus};
pub use plan::{PlanError, PlanRequest, plan};
pub use recovery::{OnResume, RecoveryPlan, RecoveryStep, Seen, plan_recovery};
pub use stage::{AttemptEnd, AttemptRecord, SandboxUse, StageRecord, StageState};
pub use state::{Answered, Judged, MOST_DECISIONS, Phase, ReplayError, ResumeRecord, RunState, Slot};
