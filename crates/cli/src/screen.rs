//! The HUD of a run that this process follows.

use co_runtime::{Orchestrator, RunHandle};

use crate::args::HudOptions;
use crate::context::Context;
use crate::error::CliError;

pub(crate) fn gate(_context: &Context, _hud: &HudOptions) -> Result<(), &'static str> {
    Err("not built in yet")
}

pub(crate) fn follow(
    _context: &Context,
    _orchestrator: &Orchestrator,
    _handle: &RunHandle,
) -> Result<(), CliError> {
    Ok(())
}
