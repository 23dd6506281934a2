//! The loop: newest frame, draw, wait, keys. There is one way out, and it draws the newest frame.

use std::error::Error;
use std::io;
use std::time::{Duration, Instant};

use crossterm::event::Event;
use ratatui::Terminal;
use ratatui::backend::Backend;

use crate::screen::{Input, Keyboard, Screen, WaitFor, canvas};
use crate::{Frame, Source, View, draw, key};

/// The shortest time between two drawings that no key asked for; 25 a second look continuous.
const PACE: Duration = Duration::from_millis(40);

/// How the HUD looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Whether colours and other styles are used; `NO_COLOR` says no.
    pub colour: bool,
}

/// Why the HUD could not go on; the run does not depend on it.
#[derive(Debug, thiserror::Error)]
pub enum HudError {
    /// The alternate screen could not be entered.
    #[error("cannot enter the terminal's alternate screen")]
    Enter(#[source] io::Error),
    /// The terminal did not take a frame.
    #[error("cannot draw on the terminal")]
    Draw(#[source] io::Error),
    /// The terminal did not give its keys.
    #[error("cannot read the terminal's keys")]
    Read(#[source] io::Error),
}

/// Shows a run until it is over or the person leaves, and returns the last frame that was drawn,
/// which is the newest.
///
/// Takes the terminal's alternate screen and its keys meanwhile and restores the terminal in every
/// case, also when a thread panics. When the run is over the HUD leaves at once, unless the person
/// holds the log, reads the help or asked to stay. Leaving earlier leaves the run alone.
///
/// # Errors
/// [`HudError`] when the terminal fails; the run can be watched without the HUD then.
pub fn run(source: &mut dyn Source, settings: Settings) -> Result<Frame, HudError> {
    let _screen = Screen::enter().map_err(HudError::Enter)?;
    let mut canvas = canvas().map_err(HudError::Enter)?;
    let mut input = Keyboard::new();
    watch(source, settings, &mut canvas, &mut input)
}

fn watch<B>(
    source: &mut dyn Source,
    settings: Settings,
    canvas: &mut Terminal<B>,
    input: &mut dyn Input,
) -> Result<Frame, HudError>
where
    B: Backend,
    B::Error: Error + Send + Sync + 'static,
{
    source.subscribe(input.waker());
    let mut view = View::new(source.frame(), canvas.size().map_err(draw_error)?, settings.colour);
    loop {
        show(source, &mut view, canvas, input)?;
        if view.quit || view.may_leave() {
            // A run that is over may still have got its last words while it was drawn.
            if input.take_rings() {
                show(source, &mut view, canvas, input)?;
            }
            return Ok(view.frame);
        }
        wait(source, &mut view, input)?;
    }
}

/// Takes the newest state and draws it.
fn show<B>(
    source: &mut dyn Source,
    view: &mut View,
    canvas: &mut Terminal<B>,
    input: &mut dyn Input,
) -> Result<(), HudError>
where
    B: Backend,
    B::Error: Error + Send + Sync + 'static,
{
    input.take_rings();
    view.size = canvas.size().map_err(draw_error)?;
    view.refresh(source);
    if std::mem::take(&mut view.repaint) {
        canvas.resize(view.size.into()).map_err(draw_error)?;
    }
    canvas.draw(|frame| draw(frame, view)).map_err(draw_error)?;
    Ok(())
}

fn draw_error(error: impl Error + Send + Sync + 'static) -> HudError {
    HudError::Draw(io::Error::other(error))
}

/// Waits until there is something to draw: keys at once, changes of the source at [`PACE`], and the
/// clock when neither comes.
fn wait(source: &mut dyn Source, view: &mut View, input: &mut dyn Input) -> Result<(), HudError> {
    let drawn = Instant::now();
    let mut until = WaitFor::Anything;
    let mut at_most = source.refresh_interval().max(PACE);
    loop {
        if take_keys(source, view, input)? {
            return Ok(());
        }
        let left = at_most.saturating_sub(drawn.elapsed());
        if left.is_zero() {
            return Ok(());
        }
        input.wait(left, until);
        if until == WaitFor::Anything && drawn.elapsed() < at_most {
            until = WaitFor::Keys;
            at_most = PACE;
        }
    }
}

/// Applies everything that was typed since the last drawing; says whether there was anything.
fn take_keys(source: &mut dyn Source, view: &mut View, input: &mut dyn Input) -> Result<bool, HudError> {
    let mut any = false;
    while let Some(event) = input.next_event().map_err(HudError::Read)? {
        any = true;
        if let Event::Key(event) = event
            && let Some(action) = key(view, event)
        {
            source.act(action);
        }
        if view.quit {
            break;
        }
    }
    Ok(any)
}
