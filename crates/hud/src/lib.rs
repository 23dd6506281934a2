//! The terminal HUD: a read-only view of a run in progress.
//!
//! A surface gives it a [`Source`] and calls [`run`]; the HUD asks for the newest [`Frame`], draws
//! it, and hands keys that mean something to the run back as [`Action`]s. It owns the screen and
//! what the person looks at (selection, scrolling), nothing else: it reads no file, no variable and
//! no event, and it decides nothing about the run.
//!
//! Whatever way the HUD ends, the last frame on the screen is the newest one the source has.

mod draw;
mod frame;
mod gate;
mod log;
mod screen;
mod text;
mod view;
mod watch;

pub use draw::draw;
pub use frame::{
    Action, AgentActivity, Frame, LogLine, LogStream, LogWindow, Question, Source, StageKind, StageRow,
    final_text,
};
pub use gate::{GateRequest, gate};
pub use log::LogBuffer;
pub use view::{View, key};
pub use watch::{HudError, Settings, run};
