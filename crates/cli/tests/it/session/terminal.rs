//! A person at a terminal: attaching, and agreeing.

use std::io::{Read as _, Write as _};
use std::process::Child;
use std::time::Instant;

use pty_process::blocking::{Command, Pty};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::Desk;
use crate::support::PATIENCE;

/// The program on a terminal of its own.
struct Console {
    pty: Pty,
    child: Child,
    seen: String,
}

impl Console {
    fn start(desk: &Desk, arguments: &[&str]) -> Self {
        let (pty, pts) = pty_process::blocking::open().unwrap();
        pty.resize(pty_process::Size::new(30, 100)).unwrap();
        let command = desk.command(arguments);
        let variables = command.get_envs().filter_map(|(name, value)| Some((name, value?)));
        let child = Command::new(command.get_program())
            .args(command.get_args())
            .current_dir(desk.root())
            .env_clear()
            .envs(variables)
            .spawn(pts)
            .unwrap();
        Self { pty, child, seen: String::new() }
    }

    fn types(&mut self, text: &str) {
        self.pty.write_all(text.as_bytes()).unwrap();
    }

    /// Waits until the terminal shows this after what was waited for before.
    #[track_caller]
    fn shows(&mut self, text: &str) {
        let until = Instant::now() + PATIENCE;
        let moment = Timespec { tv_sec: 1, tv_nsec: 0 };
        loop {
            if let Some(at) = self.seen.find(text) {
                self.seen.drain(..at + text.len());
                return;
            }
            assert!(Instant::now() < until, "no {text:?} in {:?}", self.seen);
            if poll(&mut [PollFd::new(&self.pty, PollFlags::IN)], Some(&moment)).unwrap() == 0 {
                continue;
            }
            let mut buffer = [0; 4096];
            let count = self.pty.read(&mut buffer).unwrap_or_else(|error| panic!("{error}: {:?}", self.seen));
            self.seen.push_str(&String::from_utf8_lossy(&buffer[..count]));
        }
    }

    fn code(mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }
}

#[test]
fn a_terminal_is_attached_resized_and_detached_and_the_session_goes_on() {
    let desk = Desk::new();
    desk.run(&["session", "start", "--name", "t", "--tty", "--", "/bin/sh"]).expect(0);
    let mut console = Console::start(&desk, &["session", "attach", "t"]);
    console.shows("Ctrl-] detaches");
    console.types("stty size; export WORD=ty''ped; echo ready\n");
    console.shows("30 100");
    console.pty.resize(pty_process::Size::new(33, 111)).unwrap();
    console.types("\x1d");
    console.shows("detached from `t`");
    assert_eq!(console.code(), Some(0));
    assert_eq!(desk.script("t", "echo $WORD"), (0, "typed\n".to_owned()));
    // What was shown before is shown again, and the end of the session is the end of it.
    let mut console = Console::start(&desk, &["session", "attach", "t"]);
    console.shows("ready");
    console.types("exit\n");
    console.shows("session `t` has ended");
    assert_eq!(console.code(), Some(0));
}

#[test]
fn only_a_person_attaches() {
    let desk = Desk::new();
    desk.shell("dev");
    let mut console = Console::start(&desk, &["session", "attach", "dev"]);
    console.shows("Ctrl-D detaches");
    console.types("echo $((6 * 7))\n");
    console.shows("42");
    console.types("\x04");
    console.shows("detached");
    assert_eq!(console.code(), Some(0));
    let piped = desk.run(&["session", "attach", "dev"]).expect(2);
    assert!(piped.stderr.contains("here is none"), "{piped:?}");
}

#[test]
fn nobody_types_into_more_than_the_settings_allow() {
    let desk = Desk::with_settings("sandbox_mode = \"read-only\"", "");
    let free =
        ["session", "start", "--name", "free", "--sandbox", "danger-full-access", "--widen", "--", "/bin/sh"];
    desk.run(&free).expect(0);
    let mut console = Console::start(&desk, &["session", "attach", "free"]);
    console.shows("your settings confine this to `read-only`");
    assert_eq!(console.code(), Some(11));
}

#[test]
fn a_person_at_the_terminal_is_asked() {
    let desk = Desk::with_settings("", "prefix_rule(pattern=[\"touch\"], decision=\"prompt\")");
    desk.shell("dev");
    for (answer, code, name) in
        [("y", 0, "agreed"), ("n", 11, "refused"), ("", 11, "silent"), ("yes!", 11, "odd")]
    {
        let mut console = Console::start(&desk, &["session", "run", "dev", &format!("touch {name}")]);
        console.shows("requires approval by policy [y/N] ");
        console.types(&format!("{answer}\n"));
        assert_eq!(console.code(), Some(code), "{answer}");
        assert_eq!(desk.path(name).exists(), code == 0, "{answer}");
    }
    // What is asked about cannot paint over the question.
    let mut console = Console::start(&desk, &["session", "run", "dev", "touch \u{1b}[2Kx"]);
    console.shows("[y/N] ");
    assert!(!console.seen.contains("\u{1b}[2K"));
    console.types("n\n");
    assert_eq!(console.code(), Some(11));
}
