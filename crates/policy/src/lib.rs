//! Weighs tool calls: canonical commands, rules, what needs consent, which grant covers it.
//!
//! Owns the decisions of the tool orchestrator. Pure: no files, no clock, no threads, no chance;
//! whatever comes from outside (an instant, jitter, output) is an argument. The meaning of the words
//! is Codex's. Where a reading is in doubt, the stricter one counts: doubt never allows anything.

pub mod command;
pub mod denial;
pub mod environment;
pub mod grant;
pub mod key;
pub mod requirement;
pub mod rules;
pub mod transient;

mod danger;
mod narrower;
mod shell;

pub use co_model::{narrowest_approval, narrowest_network, narrowest_sandbox};
pub use command::{Canonical, canonical};
pub use danger::Danger;
pub use grant::{Context, GrantIndex, covers};
pub use key::{CallKeys, key};
pub use narrower::is_within;
pub use requirement::{Declared, Requirement, SandboxChoice, requirement};
pub use rules::{RuleMatch, RuleVerdict, weigh};
