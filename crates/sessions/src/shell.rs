//! Runs a script inside the shell that a session is.
//!
//! ```text
//!  the shell's input:  command . run
//!                run:  echo s >report; { command . script; } </dev/null >output 2>&1; echo $? >report
//!             report ─► "s", later the code          output ─► exactly what the script wrote
//! ```
//!
//! Run and script are files, report and output FIFOs, in a private directory of one call. Output through a FIFO of
//! its own cannot be confused with prompts, echoes, earlier background processes or a missing line end; `command .`
//! keeps a syntax error from ending the shell. The directory is gone before the caller hears of the end, so a
//! shell that comes to the line late finds nothing to run.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use co_process::{Shutdown, Signal};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::event::{EventKind, Redactor};
use crate::output::{Unread, tokens, truncate};
use crate::session::{KILL_PATIENCE, Session};
use crate::{ScriptExit, ScriptReply, SessionError, SessionId};

/// How long a shell may take to begin with a script.
const START_PATIENCE: Duration = Duration::from_secs(10);
/// How long a shell may take to come back after an interrupt.
const INTERRUPT_PATIENCE: Duration = Duration::from_secs(2);
const READ_BYTES: usize = 64 << 10;
/// The code of a script that was interrupted, as shells give it.
const INTERRUPTED: i32 = 130;

pub(crate) fn run(
    session: &Arc<Session>,
    scratch: &Path,
    script: &[u8],
    timeout: Option<Duration>,
    max_output_tokens: usize,
) -> Result<ScriptReply, SessionError> {
    let began = Instant::now();
    let _turn = session.script.lock().unwrap_or_else(PoisonError::into_inner);
    let system = |source| SessionError::System { step: "prepare a script", source };
    let place = Place::make(scratch, script)?;
    let mut call = Call {
        session,
        report: place.open("report").map_err(system)?,
        output: place.open("output").map_err(system)?,
        heard: Vec::new(),
        started: false,
        collected: Unread::default(),
        redactor: session.journal.redactor(),
        buffer: vec![0; READ_BYTES],
    };
    // As long as we could write ourselves, neither end comes before the shell has even opened the other.
    let _held = place.hold("report").map_err(system)?;
    let held_output = place.hold("output").map_err(system)?;
    session.journal.note(EventKind::Script { text: session.journal.seen(script) });
    session.write(&place.line())?;

    let exit = call.follow(&place, timeout)?;
    call.read_output()?;
    drop(held_output);
    let Call { output, mut collected, mut redactor, .. } = call;
    drop(place);
    if let Some(rest) = hand_over(session, output, redactor.take())? {
        session.take_script_output(&rest, false);
        collected.push(&rest);
    }
    session.journal.note(EventKind::ScriptEnd { exit: exit.clone() });
    let taken = collected.take(false);
    let text = taken.text();
    Ok(ScriptReply {
        session: session.id.clone(),
        omitted_bytes: taken.omitted,
        original_token_count: tokens(text.len()),
        output: truncate(text, max_output_tokens),
        wall_time: began.elapsed(),
        exit,
    })
}

/// Leaves the output to a thread if background processes still hold it; else returns what was held back.
fn hand_over(
    session: &Arc<Session>,
    output: OwnedFd,
    redactor: Option<Box<dyn Redactor>>,
) -> Result<Option<Vec<u8>>, SessionError> {
    let mut first = [0];
    let rest = |redactor: Option<Box<dyn Redactor>>| redactor.map(|mut redactor| redactor.finish());
    let early = match rustix::io::read(&output, &mut first) {
        Ok(0) => return Ok(rest(redactor)),
        Ok(_) => first.to_vec(),
        Err(_) => Vec::new(),
    };
    let session = Arc::clone(session);
    let follow = move || follow_background(&session, &output, &early, redactor);
    match thread::Builder::new().name("background output".to_owned()).spawn(follow) {
        Ok(_detached) => Ok(None),
        Err(source) => Err(SessionError::System { step: "start a thread", source }),
    }
}

/// Passes on what background processes still write, until the last of them or the session has ended.
fn follow_background(
    session: &Session,
    output: &OwnedFd,
    early: &[u8],
    mut redactor: Option<Box<dyn Redactor>>,
) {
    let mut pass = |bytes: &[u8]| match &mut redactor {
        Some(redactor) => session.take_script_output(&redactor.redact(bytes), true),
        None => session.take_script_output(bytes, true),
    };
    pass(early);
    let mut buffer = vec![0; READ_BYTES];
    loop {
        let mut entries = [PollFd::new(output, PollFlags::IN), PollFd::new(&session.exited, PollFlags::IN)];
        match poll(&mut entries, None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(_) => break,
        }
        let exited = !entries[1].revents().is_empty();
        match rustix::io::read(output, &mut buffer) {
            Ok(0) => break,
            Ok(count) => pass(buffer.get(..count).unwrap_or_default()),
            Err(Errno::AGAIN) if exited => break,
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(_) => break,
        }
    }
    if let Some(mut redactor) = redactor {
        session.take_script_output(&redactor.finish(), true);
    }
}

struct Call<'session> {
    session: &'session Session,
    report: OwnedFd,
    output: OwnedFd,
    /// What the report said so far.
    heard: Vec<u8>,
    started: bool,
    collected: Unread,
    redactor: Option<Box<dyn Redactor>>,
    buffer: Vec<u8>,
}

impl Call<'_> {
    /// Waits for the end of the script, or of the shell, or of the patience with either.
    fn follow(&mut self, place: &Place, timeout: Option<Duration>) -> Result<ScriptExit, SessionError> {
        let began = Instant::now();
        let timeout_at = timeout.and_then(|timeout| began.checked_add(timeout));
        loop {
            let start_by = (!self.started).then(|| began + START_PATIENCE);
            let deadline = [start_by, timeout_at].into_iter().flatten().min();
            if let Some(exit) = self.wait_until(deadline)? {
                return Ok(exit);
            }
            let now = Instant::now();
            if timeout_at.is_some_and(|at| now >= at) && self.started {
                return self.interrupt(place);
            }
            if start_by.is_some_and(|at| now >= at) || timeout_at.is_some_and(|at| now >= at) {
                let patience = began.elapsed();
                return Err(SessionError::NotAShell { id: self.session.id.clone(), patience });
            }
        }
    }

    /// Takes output and reports until the script or the shell ends (`Some`), it has started, or the deadline.
    fn wait_until(&mut self, deadline: Option<Instant>) -> Result<Option<ScriptExit>, SessionError> {
        let had_started = self.started;
        loop {
            let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
            let timeout = left.and_then(|left| Timespec::try_from(left).ok());
            let mut entries = [
                PollFd::new(&self.report, PollFlags::IN),
                PollFd::new(&self.output, PollFlags::IN),
                PollFd::new(&self.session.exited, PollFlags::IN),
            ];
            match poll(&mut entries, timeout.as_ref()) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => {
                    return Err(SessionError::System { step: "wait for a script", source: error.into() });
                }
            }
            let [reported, wrote, exited] = entries.map(|entry| !entry.revents().is_empty());
            if wrote {
                self.read_some_output()?;
            }
            if reported && let Some(code) = self.read_report()? {
                return Ok(Some(ScriptExit::Code(code)));
            }
            if exited && !wrote {
                let exit = self.session.exit().unwrap_or(crate::SessionExit::Lost);
                return Ok(Some(ScriptExit::Shell(exit)));
            }
            let late = deadline.is_some_and(|at| Instant::now() >= at);
            if late || self.started != had_started {
                return Ok(None);
            }
        }
    }

    /// The script's time is over: asks the shell to come back, and ends it if it does not.
    fn interrupt(&mut self, place: &Place) -> Result<ScriptExit, SessionError> {
        // A shell that has ended by itself in this moment is found so below.
        drop(self.session.signal(Signal::Interrupt));
        drop(self.session.write(&place.answer_line()));
        match self.wait_until(Some(Instant::now() + INTERRUPT_PATIENCE))? {
            Some(ScriptExit::Code(_)) => Ok(ScriptExit::TimedOut { shell_lives: true }),
            Some(_) => Ok(ScriptExit::TimedOut { shell_lives: false }),
            None => {
                self.session.stop(Shutdown::Immediate);
                self.session.wait_until_over(KILL_PATIENCE);
                Ok(ScriptExit::TimedOut { shell_lives: false })
            }
        }
    }

    /// Reads the report; a whole line with a number is the code.
    fn read_report(&mut self) -> Result<Option<i32>, SessionError> {
        let count = self.read(Source::Report)?;
        self.heard.extend_from_slice(self.buffer.get(..count).unwrap_or_default());
        while let Some(end) = self.heard.iter().position(|&byte| byte == b'\n') {
            let line: Vec<u8> = self.heard.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line);
            match line.trim() {
                "s" => self.started = true,
                code => {
                    if let Ok(code) = code.parse() {
                        return Ok(Some(code));
                    }
                }
            }
        }
        Ok(None)
    }

    /// Reads all the output that is there.
    fn read_output(&mut self) -> Result<(), SessionError> {
        while self.read_some_output()? > 0 {}
        Ok(())
    }

    fn read_some_output(&mut self) -> Result<usize, SessionError> {
        let count = self.read(Source::Output)?;
        let bytes = self.buffer.get(..count).unwrap_or_default();
        let seen = match &mut self.redactor {
            Some(redactor) => &redactor.redact(bytes),
            None => bytes,
        };
        self.session.take_script_output(seen, false);
        self.collected.push(seen);
        Ok(count)
    }

    fn read(&mut self, source: Source) -> Result<usize, SessionError> {
        let descriptor = match source {
            Source::Report => &self.report,
            Source::Output => &self.output,
        };
        match rustix::io::read(descriptor, &mut self.buffer) {
            Ok(count) => Ok(count),
            Err(Errno::AGAIN | Errno::INTR) => Ok(0),
            Err(error) => Err(SessionError::System { step: "read from a script", source: error.into() }),
        }
    }
}

#[derive(Clone, Copy)]
enum Source {
    Report,
    Output,
}

/// The private directory of one call; removed when dropped.
struct Place {
    directory: PathBuf,
}

impl Place {
    fn make(scratch: &Path, script: &[u8]) -> Result<Self, SessionError> {
        let directory = scratch.join(format!("script-{}", SessionId::random()?));
        let system = |source| SessionError::System { step: "prepare a script", source };
        let directory = std::path::absolute(directory).map_err(system)?;
        fs::DirBuilder::new().mode(0o700).recursive(true).create(&directory).map_err(system)?;
        let place = Self { directory };
        let mut lines = script.to_vec();
        lines.push(b'\n');
        fs::write(place.path("script"), lines).map_err(system)?;
        fs::write(place.path("run"), place.run()).map_err(system)?;
        make_fifo(&place.path("report")).map_err(system)?;
        make_fifo(&place.path("output")).map_err(system)?;
        Ok(place)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    fn open(&self, name: &str) -> io::Result<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        Ok(rustix::fs::open(self.path(name), flags, Mode::empty())?)
    }

    fn hold(&self, name: &str) -> io::Result<OwnedFd> {
        let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        Ok(rustix::fs::open(self.path(name), flags, Mode::empty())?)
    }

    /// What the shell is told: short, because a terminal cuts long lines. The blank keeps it out of the history of a
    /// shell that ignores such lines.
    fn line(&self) -> Vec<u8> {
        let run = quoted(&self.path("run"));
        [b" [ -f ", &run[..], b" ] && ", &sourcing(&run), b"\n"].concat()
    }

    /// What the shell then reads.
    fn run(&self) -> Vec<u8> {
        let [script, report, output] = ["script", "report", "output"].map(|name| quoted(&self.path(name)));
        let lines: [&[u8]; 9] = [
            b"command echo s >",
            &report,
            b"\n{ ",
            &sourcing(&script),
            b"; } </dev/null >",
            &output,
            b" 2>&1\ncommand echo $? >",
            &report,
            b"\n",
        ];
        lines.concat()
    }

    /// What a shell is told that was interrupted in the middle of the other line.
    fn answer_line(&self) -> Vec<u8> {
        let report = quoted(&self.path("report"));
        let code = INTERRUPTED.to_string();
        [b" [ -p ", &report[..], b" ] && command echo ", code.as_bytes(), b" >", &report, b"\n"].concat()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // What is left behind is one small directory in a private place.
        drop(fs::remove_dir_all(&self.directory));
    }
}

/// Has a shell read a file. With `command`, a mistake in the file does not end a POSIX shell; it does not end zsh
/// either way, where `command` knows no builtins.
fn sourcing(file: &[u8]) -> Vec<u8> {
    [b"case ${ZSH_VERSION-} in '') command . ", file, b" ;; *) . ", file, b" ;; esac"].concat()
}

/// Quotes a path for a POSIX shell.
fn quoted(path: &Path) -> Vec<u8> {
    let mut quoted = vec![b'\''];
    for &byte in path.as_os_str().as_bytes() {
        match byte {
            b'\'' => quoted.extend_from_slice(b"'\\''"),
            byte => quoted.push(byte),
        }
    }
    quoted.push(b'\'');
    quoted
}

#[cfg(not(target_vendor = "apple"))]
fn make_fifo(path: &Path) -> io::Result<()> {
    let mode = Mode::RUSR | Mode::WUSR;
    Ok(rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, mode, 0)?)
}

#[cfg(target_vendor = "apple")]
fn make_fifo(path: &Path) -> io::Result<()> {
    let made =
        co_process::Tool::new("mkfifo").args(["-m", "600"]).arg(path).run().map_err(io::Error::other)?;
    if made.is_success() { Ok(()) } else { Err(io::Error::other(made.stderr_text())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_one_word_whatever_it_holds() {
        assert_eq!(quoted(Path::new("/a b/$x'y\\\n")), b"'/a b/$x'\\''y\\\n'");
    }
}
