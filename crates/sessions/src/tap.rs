//! Raw output for one attached client: bounded, and never in the way of the session.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use crate::SessionExit;
use crate::limits::TAP_BYTES;

/// What a tap has next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Tapped {
    Output(Vec<u8>),
    /// So many bytes were left out here: the client was too slow.
    Lagged(u64),
    End(SessionExit),
    /// The client is gone.
    Closed,
}

#[derive(Default)]
pub(crate) struct Tap {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    queue: VecDeque<u8>,
    lagged: u64,
    exit: Option<SessionExit>,
    closed: bool,
}

impl Tap {
    pub(crate) fn push(&self, bytes: &[u8]) {
        let mut state = self.lock();
        // Once something is left out, what follows waits until the client was told.
        if state.lagged > 0 || state.queue.len() + bytes.len() > TAP_BYTES {
            state.lagged += bytes.len() as u64;
        } else {
            state.queue.extend(bytes);
        }
        self.changed.notify_all();
    }

    pub(crate) fn end(&self, exit: SessionExit) {
        self.lock().exit = Some(exit);
        self.changed.notify_all();
    }

    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.lock().closed
    }

    /// Waits for the next.
    pub(crate) fn next(&self) -> Tapped {
        let mut state = self.lock();
        loop {
            if state.closed {
                return Tapped::Closed;
            }
            if !state.queue.is_empty() {
                return Tapped::Output(std::mem::take(&mut state.queue).into());
            }
            if state.lagged > 0 {
                return Tapped::Lagged(std::mem::take(&mut state.lagged));
            }
            if let Some(exit) = &state.exit {
                return Tapped::End(exit.clone());
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_client_is_told_how_much_it_missed() {
        let tap = Tap::default();
        tap.push(&vec![b'a'; TAP_BYTES]);
        tap.push(b"missed");
        tap.end(SessionExit::Code(0));
        assert!(matches!(tap.next(), Tapped::Output(bytes) if bytes.len() == TAP_BYTES));
        assert_eq!(tap.next(), Tapped::Lagged(6));
        assert_eq!(tap.next(), Tapped::End(SessionExit::Code(0)));
        tap.close();
        assert_eq!(tap.next(), Tapped::Closed);
    }
}
