//! The HUD of a run that this process follows.
//!
//! The main thread draws what is on the [`Board`]; a [`Watcher`] on a thread of its own reads the
//! run's events and output and keeps the board. The run's owner knows of neither and waits for
//! neither.

mod agent;
mod board;
mod frame;
mod output;
mod watcher;

use std::error::Error;
use std::ffi::OsStr;
use std::io;
use std::sync::Mutex;
use std::thread;

use co_hud::{GateRequest, Settings, final_text};
use co_model::EventSeq;
use co_runtime::{Orchestrator, RunHandle};

use crate::args::{Format, HudOptions};
use crate::context::Context;
use crate::error::{CliError, Exit};
use crate::output::warn;
use crate::signals::StopRequests;
use board::{Board, BoardSource};
use watcher::Watcher;

/// Allows the HUD, or says why not.
pub(crate) fn gate(context: &Context, hud: &HudOptions) -> Result<(), &'static str> {
    let variable = |name| context.environment.get(name).map(OsStr::to_string_lossy);
    co_hud::gate(&GateRequest {
        requested: hud.interactive,
        disabled: hud.no_interactive,
        machine_format: context.format != Format::Text,
        stdout_tty: rustix::termios::isatty(io::stdout()),
        stderr_tty: rustix::termios::isatty(io::stderr()),
        term: variable("TERM").as_deref(),
        ci: variable("CI").as_deref(),
    })
}

/// Shows the run until it is over or the person leaves, and returns the last event that the state
/// left in the scrollback contains. What fails here stops the HUD, never the run: whoever follows
/// the run next shows it all.
pub(crate) fn follow(
    context: &Context,
    orchestrator: &Orchestrator,
    handle: &RunHandle,
    stop: &StopRequests,
) -> EventSeq {
    show(context, orchestrator, handle, stop).unwrap_or_else(|error| {
        warn(&error.to_string());
        EventSeq(0)
    })
}

fn show(
    context: &Context,
    orchestrator: &Orchestrator,
    handle: &RunHandle,
    stop: &StopRequests,
) -> Result<EventSeq, CliError> {
    let failed = |error: &dyn Error| CliError::of(Exit::Setup, error);
    let board = Mutex::new(Board::new(handle.run()));
    let mut watcher = Watcher::new(context, orchestrator, handle, &board);
    // The first frame has a state to show.
    watcher.look()?;
    let colour = anstream::AutoStream::choice(&io::stdout()) != anstream::ColorChoice::Never;
    thread::scope(|scope| {
        // Dropping the source, however the HUD ends, lets the watcher go.
        let mut source = BoardSource::new(&board, orchestrator);
        thread::Builder::new()
            .name("screen".to_owned())
            .spawn_scoped(scope, move || watcher.watch(stop))
            .map_err(|error| failed(&error))?;
        let frame = co_hud::run(&mut source, Settings { colour }).map_err(|error| failed(&error))?;
        context.notes.progress(final_text(&frame).trim_end());
        Ok(source.shown())
    })
}
