//! The signal that stops a running program from another thread.
//!
//! One pipe carries both levels without anybody reading it: a byte in it means *graceful*, its closed end means
//! *immediate*. Both states last, so any number of runs and clones see them, early or late.

use std::io::{self, PipeReader, PipeWriter, Write as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, Mutex, PoisonError};

/// How to stop a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Shutdown {
    /// SIGTERM to every process, the grace of [`crate::Limits`], then SIGKILL.
    Graceful,
    /// SIGKILL at once.
    Immediate,
}

/// Stops the runs that were given it; clones are the same signal.
#[derive(Debug, Clone)]
pub struct StopSignal {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    reader: PipeReader,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    requested: Option<Shutdown>,
    writer: Option<PipeWriter>,
}

impl StopSignal {
    /// Makes a signal that nobody has given yet.
    ///
    /// # Errors
    /// When no pipe can be made.
    pub fn new() -> io::Result<Self> {
        let (reader, writer) = io::pipe()?;
        let state = Mutex::new(State { requested: None, writer: Some(writer) });
        Ok(Self { shared: Arc::new(Shared { reader, state }) })
    }

    /// Asks for the end; asking again changes nothing, unless it asks for more haste.
    pub fn request(&self, how: Shutdown) {
        let mut state = self.shared.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.requested >= Some(how) {
            return;
        }
        state.requested = Some(how);
        match how {
            // The pipe is empty and open, so the byte fits and the write cannot fail.
            Shutdown::Graceful => drop(state.writer.as_mut().map(|writer| writer.write_all(&[0]))),
            Shutdown::Immediate => drop(state.writer.take()),
        }
    }

    /// What has been asked for so far.
    pub fn requested(&self) -> Option<Shutdown> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner).requested
    }
}

impl AsFd for StopSignal {
    /// Readable once a graceful stop was asked for, hung up once an immediate one was; never to be read.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.shared.reader.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    use super::*;

    fn seen(signal: &StopSignal, events: PollFlags) -> PollFlags {
        let mut entries = [PollFd::new(signal, events)];
        poll(&mut entries, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).unwrap();
        entries[0].revents()
    }

    #[test]
    fn both_levels_last_and_are_told_apart() {
        let signal = StopSignal::new().unwrap();
        let clone = signal.clone();
        assert_eq!(seen(&signal, PollFlags::IN), PollFlags::empty());

        clone.request(Shutdown::Graceful);
        clone.request(Shutdown::Graceful);
        assert_eq!(signal.requested(), Some(Shutdown::Graceful));
        assert_eq!(seen(&signal, PollFlags::IN), PollFlags::IN);
        assert_eq!(seen(&signal, PollFlags::empty()), PollFlags::empty());

        signal.request(Shutdown::Immediate);
        signal.request(Shutdown::Graceful);
        assert_eq!(clone.requested(), Some(Shutdown::Immediate));
        assert_eq!(seen(&clone, PollFlags::empty()), PollFlags::HUP);
    }
}
