//! The program on a real terminal: keys go in, and what a person would see is kept.

use std::io::{Read as _, Write as _};
use std::num::NonZeroU16;
use std::process::Child;
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use pty_process::blocking::Pty;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, kill_process};
use rustix::termios::{LocalModes, tcgetattr};

use crate::support::{PATIENCE, Project, wait_for};

/// What ends the alternate screen; its last letter comes next.
const LEAVES: &[u8] = b"\x1b[?1049";

/// What the terminal has taken in so far.
pub(crate) struct Display {
    pub(crate) parser: vt100::Parser,
    pub(crate) raw: Vec<u8>,
    /// What the alternate screen showed last.
    pub(crate) hud: Option<String>,
    /// What was shown after each piece of output.
    shown: Vec<String>,
}

impl Display {
    /// Everything that was written, escapes and all.
    pub(crate) fn raw_text(&self) -> String {
        String::from_utf8_lossy(&self.raw).into_owned()
    }

    fn take(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            if byte == b'l' && self.raw.ends_with(LEAVES) {
                self.hud = Some(self.parser.screen().contents());
            }
            self.parser.process(&[byte]);
            self.raw.push(byte);
        }
        self.shown.push(self.parser.screen().contents());
    }
}

/// The program on a terminal of its own.
pub(crate) struct Terminal {
    pub(crate) pty: Arc<Pty>,
    display: Arc<Mutex<Display>>,
    pub(crate) child: Child,
    pub(crate) reader: JoinHandle<()>,
}

/// What a program left on its terminal.
#[derive(Debug)]
pub(crate) struct Left {
    pub(crate) code: Option<i32>,
    /// The last screen of the HUD; `None` when there was none.
    pub(crate) hud: Option<String>,
    /// The normal screen.
    pub(crate) text: String,
    pub(crate) raw: String,
}

fn cells(number: u16) -> NonZeroU16 {
    NonZeroU16::new(number).unwrap()
}

impl Terminal {
    pub(crate) fn start(project: &Project, arguments: &[&str]) -> Self {
        Self::of(project, &project.command(arguments))
    }

    /// The program as the first process of a container has it: the leaders of its session and of its group are
    /// in another namespace, so both have the number 0.
    pub(crate) fn in_container(project: &Project, arguments: &[&str]) -> Self {
        Self::of(project, &project.contained(arguments))
    }

    fn of(project: &Project, command: &std::process::Command) -> Self {
        let (pty, pts) = pty_process::blocking::open().unwrap();
        pty.resize(pty_process::Size::new(30, 100)).unwrap();
        let variables = command.get_envs().filter_map(|(name, value)| Some((name, value?)));
        let child = pty_process::blocking::Command::new(command.get_program())
            .args(command.get_args())
            .current_dir(project.root())
            .env_clear()
            .envs(variables)
            .spawn(pts)
            .unwrap();
        let parser = vt100::Parser::new(cells(30), cells(100), 0);
        let display = Arc::new(Mutex::new(Display { parser, raw: Vec::new(), hud: None, shown: Vec::new() }));
        let pty = Arc::new(pty);
        let (source, target) = (Arc::clone(&pty), Arc::clone(&display));
        let reader = std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            let patience = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };
            // The terminal is closed when we are the last to hold it.
            while Arc::strong_count(&source) > 1 {
                if poll(&mut [PollFd::new(&*source, PollFlags::IN)], Some(&patience)).unwrap() == 0 {
                    continue;
                }
                // A terminal whose program is gone reports an error, not an end.
                let Ok(count @ 1..) = (&*source).read(&mut buffer) else { return };
                target.lock().unwrap().take(&buffer[..count]);
            }
        });
        Self { pty, display, child, reader }
    }

    pub(crate) fn display(&self) -> MutexGuard<'_, Display> {
        self.display.lock().unwrap()
    }

    /// Waits until the screen shows all of these texts.
    #[track_caller]
    pub(crate) fn shows(&self, texts: &[&str]) -> String {
        let until = Instant::now() + PATIENCE;
        loop {
            let screen = self.display().parser.screen().contents();
            if texts.iter().all(|text| screen.contains(text)) {
                return screen;
            }
            assert!(Instant::now() < until, "{texts:?} did not all appear:\n{screen}");
            std::thread::park_timeout(Duration::from_millis(10));
        }
    }

    /// Waits until the screen has shown all of these texts together, even if it does not any more: for what is
    /// there for a moment.
    #[track_caller]
    pub(crate) fn has_shown(&self, texts: &[&str]) {
        wait_for(&format!("{texts:?} on one screen"), || {
            let display = self.display();
            let has_all = |screen: &String| texts.iter().all(|text| screen.contains(text));
            display.shown.iter().any(has_all).then_some(())
        });
    }

    pub(crate) fn keys(&self, keys: &str) {
        (&*self.pty).write_all(keys.as_bytes()).unwrap();
    }

    pub(crate) fn resize(&self, rows: u16, columns: u16) {
        self.display().parser.screen_mut().set_size(cells(rows), cells(columns));
        self.pty.resize(pty_process::Size::new(rows, columns)).unwrap();
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits for the end of the program; the terminal must be as it was before.
    #[track_caller]
    pub(crate) fn end(mut self) -> Left {
        let status = wait_for("the end of the program", || self.child.try_wait().unwrap());
        self.reader.join().unwrap();
        let modes = tcgetattr(&*self.pty).unwrap().local_modes;
        assert!(modes.contains(LocalModes::ICANON | LocalModes::ECHO), "the terminal is still raw");
        let display = self.display.lock().unwrap();
        let screen = display.parser.screen();
        assert!(!screen.alternate_screen() && !screen.hide_cursor(), "the screen was not given back");
        Left {
            code: status.code(),
            hud: display.hud.clone(),
            text: screen.contents(),
            raw: display.raw_text(),
        }
    }
}
