//! `session attach`: this terminal and a session, raw, both ways.

use std::io::{self, IsTerminal as _, Read as _, Write as _};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use co_sessions::client::{Attached, AttachedInput};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use signal_hook::consts::SIGWINCH;
use signal_hook::iterator::Signals;

use super::arguments::AttachArguments;
use super::desk::{reach_to_type, refused};
use crate::context::Context;
use crate::error::{CliError, Exit};
use crate::output::warn;

/// Ctrl-], which detaches.
const DETACH: u8 = 0x1d;

/// Attaches until the session ends or the person detaches.
pub(crate) fn attach(context: &Context, arguments: &AttachArguments) -> Result<(), CliError> {
    // What is typed is not weighed, because a person types it. Whoever pipes is no person.
    if !(io::stdin().is_terminal() && io::stdout().is_terminal()) {
        return Err(CliError::new(Exit::Usage, "a session is attached to a terminal, and here is none")
            .hint("codex-orchestrator session write"));
    }
    let session = &arguments.name;
    let (connection, info) = reach_to_type(context, session, &arguments.policy)?;
    let attachment = connection.attach(&info.session, arguments.replay).map_err(|error| refused(&error))?;
    let setup = |error: &dyn std::error::Error| CliError::of(Exit::Setup, error);
    let key = if info.tty { "Ctrl-]" } else { "Ctrl-D" };
    context.notes.progress(&format!("attached to `{session}`; {key} detaches"));
    let input = Arc::new(Mutex::new(Some(attachment.input)));
    // A program that reads from a pipe wants whole lines with line ends, as this terminal makes them.
    let raw = info.tty.then(Raw::enter).transpose().map_err(|error| setup(&error))?;
    if raw.is_some() {
        resize(&input);
        let mut changes = Signals::new([SIGWINCH]).map_err(|error| setup(&error))?;
        let resized = Arc::clone(&input);
        spawn("window", move || changes.forever().for_each(|_| resize(&resized)))?;
    }
    let typed = Arc::clone(&input);
    spawn("keyboard", move || type_in(&typed))?;
    let mut output = attachment.output;
    let mut stdout = io::stdout();
    let ended = loop {
        match output.receive() {
            Ok(Some(Attached::Output(bytes))) => {
                // Who cannot be shown anything has detached.
                if stdout.write_all(&bytes).and_then(|()| stdout.flush()).is_err() {
                    break None;
                }
            }
            Ok(Some(Attached::Lagged(bytes))) => {
                warn(&format!("{bytes} bytes were left out; the log has them"));
            }
            Ok(Some(Attached::Refused(reason))) => warn(&reason),
            Ok(Some(Attached::End(exit))) => break Some(exit),
            Ok(Some(_)) => {}
            Ok(None) | Err(_) => break None,
        }
    };
    drop(raw);
    context.notes.progress(&match ended {
        Some(_) => format!("\nsession `{session}` has ended"),
        None => format!("\ndetached from `{session}`"),
    });
    Ok(())
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<(), CliError> {
    let started = thread::Builder::new().name(name.to_owned()).spawn(work);
    started.map(drop).map_err(|error| CliError::of(Exit::Setup, &error))
}

/// Passes on what is typed; lets go of the session at the detach key and at the end of input.
fn type_in(input: &Mutex<Option<AttachedInput>>) {
    let mut buffer = [0; 4096];
    loop {
        let count = match io::stdin().read(&mut buffer) {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(_) => 0,
        };
        let bytes = buffer.get(..count).unwrap_or_default();
        let detach = bytes.iter().position(|&byte| byte == DETACH);
        let mut held = input.lock().unwrap_or_else(PoisonError::into_inner);
        let wrote = held.as_mut().is_some_and(|input| {
            input.write(bytes.get(..detach.unwrap_or(count)).unwrap_or_default()).is_ok()
        });
        if count == 0 || detach.is_some() || !wrote {
            drop(held.take());
            return;
        }
    }
}

/// Tells the session the size of this terminal.
fn resize(input: &Mutex<Option<AttachedInput>>) {
    let Ok(size) = tcgetwinsize(io::stdout()) else { return };
    if let Some(input) = input.lock().unwrap_or_else(PoisonError::into_inner).as_mut()
        && size.ws_row > 0
        && size.ws_col > 0
    {
        // A session without a terminal has no size; a host that is gone is seen elsewhere.
        drop(input.resize(size.ws_row, size.ws_col));
    }
}

/// The terminal in raw mode, and as it was before when dropped.
struct Raw {
    before: Termios,
}

impl Raw {
    fn enter() -> io::Result<Self> {
        let stdin = io::stdin();
        let before = tcgetattr(&stdin)?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(&stdin, OptionalActions::Drain, &raw)?;
        Ok(Self { before })
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // There is nobody left to tell.
        let _ = tcsetattr(io::stdin(), OptionalActions::Drain, &self.before);
    }
}
