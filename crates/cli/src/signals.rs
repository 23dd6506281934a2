//! Ctrl-C and its kin while a run is followed.

use std::sync::Arc;
use std::sync::atomic::{AtomicI32, AtomicU32, Ordering};

use co_model::Actor;
use co_runtime::RunHandle;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::error::{CliError, Exit};

/// How often, and by which signal first, we were asked to stop.
#[derive(Default)]
pub(crate) struct StopRequests {
    signal: AtomicI32,
    times: AtomicU32,
    /// How many of them the run was told of.
    heeded: AtomicU32,
}

impl StopRequests {
    /// The exit code of a program that was stopped by a signal.
    pub(crate) fn exit(&self) -> Option<Exit> {
        match self.signal.load(Ordering::Relaxed) {
            0 => None,
            SIGINT => Some(Exit::SignalInterrupt),
            _ => Some(Exit::SignalTerminate),
        }
    }

    /// Tells the run: the first request cancels it in order, the second ends it at once.
    pub(crate) fn heed(&self, handle: &RunHandle) {
        let times = self.times.load(Ordering::Acquire);
        let heeded = self.heeded.swap(times, Ordering::Relaxed);
        if times > 0 && heeded == 0 {
            let signal = self.signal.load(Ordering::Relaxed);
            handle.cancel(Actor::new("signal"), Some(format!("signal {signal}")));
        }
        if times > 1 && heeded <= 1 {
            handle.hurry();
        }
    }
}

/// From here on a first Ctrl-C stops the run in order, and a second one at once.
pub(crate) fn listen_for_signals() -> Result<Arc<StopRequests>, CliError> {
    let requests = Arc::new(StopRequests::default());
    let failed = |error: &dyn std::error::Error| CliError::of(Exit::Setup, error);
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP]).map_err(|error| failed(&error))?;
    let noted = Arc::clone(&requests);
    std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            for signal in signals.forever() {
                // The first one is kept: it decides the exit code.
                let _ = noted.signal.compare_exchange(0, signal, Ordering::Relaxed, Ordering::Relaxed);
                noted.times.fetch_add(1, Ordering::Release);
            }
        })
        .map_err(|error| failed(&error))?;
    Ok(requests)
}
