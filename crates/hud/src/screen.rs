//! The terminal: entering and always leaving the alternate screen, and waiting for keys and for the
//! source at the same time without polling either.

use std::io::{self, BufWriter, Stdout};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, Once, PoisonError};
use std::task::{Wake, Waker};
use std::thread;
use std::time::Duration;

use crossterm::cursor::{Hide, Show};
use crossterm::event::{self, Event};
use crossterm::execute;
use crossterm::terminal::{EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode};
use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;

/// Keys that may wait to be applied.
const KEYS_AHEAD: usize = 1024;
/// How soon the listening ends once the HUD is left.
const LISTEN: Duration = Duration::from_millis(50);

/// The terminal the HUD draws on; one write per frame.
pub(crate) type Canvas = Terminal<CrosstermBackend<BufWriter<Stdout>>>;

/// Makes the canvas; the screen must have been entered.
pub(crate) fn canvas() -> io::Result<Canvas> {
    Terminal::new(CrosstermBackend::new(BufWriter::with_capacity(64 * 1024, io::stdout())))
}

/// Whether the terminal is ours; the panic hook and the guard race for giving it back once.
static ENTERED: AtomicBool = AtomicBool::new(false);

/// Holds the alternate screen; dropping it restores the terminal.
#[derive(Debug)]
pub(crate) struct Screen(());

impl Screen {
    /// Switches to the alternate screen in raw mode.
    pub(crate) fn enter() -> io::Result<Self> {
        static HOOK: Once = Once::new();
        // Release builds abort on panic, and an abort runs no destructor.
        HOOK.call_once(|| {
            let previous = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |panic| {
                restore();
                previous(panic);
            }));
        });
        enable_raw_mode()?;
        ENTERED.store(true, Ordering::SeqCst);
        let screen = Self(());
        execute!(io::stdout(), EnterAlternateScreen, Hide)?;
        Ok(screen)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        restore();
    }
}

/// Gives the terminal back. A terminal that is gone cannot be restored, so errors mean nothing.
fn restore() {
    if ENTERED.swap(false, Ordering::SeqCst) {
        drop(execute!(io::stdout(), Show, LeaveAlternateScreen));
        drop(disable_raw_mode());
    }
}

/// Which of the two things the HUD waits for have happened since it last looked.
#[derive(Debug, Default, Clone, Copy)]
struct Rung {
    keys: bool,
    source: bool,
}

#[derive(Debug, Default)]
struct Bell {
    rung: Mutex<Rung>,
    changed: Condvar,
}

impl Bell {
    fn lock(&self) -> MutexGuard<'_, Rung> {
        // Two flags cannot be left half written.
        self.rung.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets a flag; only the first ring since the last look costs a wake-up.
    fn ring(&self, flag: fn(&mut Rung) -> &mut bool) {
        if !std::mem::replace(flag(&mut self.lock()), true) {
            self.changed.notify_one();
        }
    }

    fn wait(&self, at_most: Duration, until: WaitFor) {
        let is_quiet = |rung: &mut Rung| !(rung.keys || rung.source && until == WaitFor::Anything);
        let (mut rung, _) = self
            .changed
            .wait_timeout_while(self.lock(), at_most, is_quiet)
            .unwrap_or_else(PoisonError::into_inner);
        rung.keys = false;
    }
}

struct SourceRings(Arc<Bell>);

impl Wake for SourceRings {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.ring(|rung| &mut rung.source);
    }
}

/// What ends a wait early.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WaitFor {
    /// A key or a change of the source.
    Anything,
    /// A key; changes of the source are kept for later.
    Keys,
}

/// What the loop waits for; tests play both sides.
pub(crate) trait Input {
    /// Returns the waker a source rings.
    fn waker(&self) -> Waker;
    /// Returns the next key or resize that has already happened.
    fn next_event(&mut self) -> io::Result<Option<Event>>;
    /// Waits, at most so long.
    fn wait(&mut self, at_most: Duration, until: WaitFor);
    /// Forgets the source's rings so far and says whether there were any; called just before the
    /// newest frame is taken.
    fn take_rings(&mut self) -> bool;
}

/// The person's keyboard and the source's bell.
///
/// A thread of its own reads the keys: when the terminal goes away, crossterm's reader never
/// returns (it takes every failed read for an interrupted one), and whoever called it is lost.
pub(crate) struct Keyboard {
    events: Receiver<io::Result<Event>>,
    bell: Arc<Bell>,
    closed: Arc<AtomicBool>,
}

impl Keyboard {
    /// Begins to listen; dropping the value ends it.
    pub(crate) fn new() -> io::Result<Self> {
        let (sender, events) = sync_channel(KEYS_AHEAD);
        let (bell, closed) = (Arc::new(Bell::default()), Arc::new(AtomicBool::new(false)));
        let (theirs, is_closed) = (Arc::clone(&bell), Arc::clone(&closed));
        thread::Builder::new().name("keys".to_owned()).spawn(move || {
            while !is_closed.load(Ordering::SeqCst) {
                let event = match event::poll(LISTEN) {
                    Ok(false) => continue,
                    Ok(true) => event::read(),
                    Err(error) => Err(error),
                };
                let has_failed = event.is_err();
                let has_reader = sender.send(event).is_ok();
                theirs.ring(|rung| &mut rung.keys);
                if has_failed || !has_reader {
                    return;
                }
            }
        })?;
        Ok(Self { events, bell, closed })
    }
}

impl Drop for Keyboard {
    fn drop(&mut self) {
        self.closed.store(true, Ordering::SeqCst);
    }
}

impl Input for Keyboard {
    fn waker(&self) -> Waker {
        Waker::from(Arc::new(SourceRings(Arc::clone(&self.bell))))
    }

    fn next_event(&mut self) -> io::Result<Option<Event>> {
        // Where panics unwind, the HUD outlives the panic of another thread, but not its screen.
        if !ENTERED.load(Ordering::SeqCst) {
            return Err(io::Error::other("a thread panicked, and the screen was given back for its message"));
        }
        self.events.try_recv().ok().transpose()
    }

    fn wait(&mut self, at_most: Duration, until: WaitFor) {
        self.bell.wait(at_most, until);
    }

    fn take_rings(&mut self) -> bool {
        std::mem::take(&mut self.bell.lock().source)
    }
}
