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
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use co_process::{InputError, Shutdown, Signal, StopSignal};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::event::{EventKind, Redactor};
use crate::limits::MAX_OUTPUT_TOKENS;
use crate::output::{Unread, tokens, truncate};
use crate::session::{KILL_PATIENCE, Session};
use crate::{ScriptExit, ScriptReply, SessionError, SessionId};

/// How long a shell may take to begin with a script.
const START_PATIENCE: Duration = Duration::from_secs(10);
/// How long a shell may take to come back after an interrupt.
const INTERRUPT_PATIENCE: Duration = Duration::from_secs(2);
const READ_BYTES: usize = 64 << 10;
/// The longest line that a report may be, in bytes.
const LONGEST_REPORT: usize = 64;
/// The code of a script that was interrupted, as shells give it.
const INTERRUPTED: i32 = 130;

/// A script for a session's shell, and how to follow it.
pub struct Script<'s> {
    /// The script.
    pub text: &'s [u8],
    /// After which time it is interrupted, counted from the moment in which the shell begins with it.
    pub timeout: Option<Duration>,
    /// How much of its output to return; [`MAX_OUTPUT_TOKENS`] unless told otherwise.
    pub max_output_tokens: Option<usize>,
    /// Stops it: interrupted when asked to end in order, with its shell when asked to end at once.
    pub stop: Option<&'s StopSignal>,
    /// Takes all that may be seen of its output, as it comes.
    pub output: Option<Sink<'s>>,
}

/// Takes output as it comes.
pub type Sink<'s> = &'s mut dyn FnMut(&[u8]);

impl<'s> Script<'s> {
    /// A script without a time-out that nobody stops.
    pub fn new(text: &'s [u8]) -> Self {
        Self { text, timeout: None, max_output_tokens: None, stop: None, output: None }
    }
}

pub(crate) fn run(
    session: &Arc<Session>,
    scratch: &Path,
    script: Script<'_>,
) -> Result<ScriptReply, SessionError> {
    let Script { text: script, timeout, max_output_tokens, stop, output: sink } = script;
    let max_output_tokens = max_output_tokens.unwrap_or(MAX_OUTPUT_TOKENS);
    let began = Instant::now();
    let _turn = session.script.lock().unwrap_or_else(PoisonError::into_inner);
    if session.exit().is_some() {
        // Its input is closed a moment after its exit is known; what is written till then nobody would read.
        return Err(session.refused(InputError::Ended));
    }
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
        stop,
        sink,
    };
    // As long as we could write ourselves, neither end comes before the shell has even opened the other.
    let _held = place.hold("report").map_err(system)?;
    let held_output = place.hold("output").map_err(system)?;
    session.journal.note(EventKind::Script { text: session.journal.seen(script) });
    session.write(&place.line())?;

    let exit = call.follow(&place, timeout)?;
    call.read_output()?;
    drop(held_output);
    let Call { output, mut collected, mut redactor, sink, .. } = call;
    drop(place);
    if let Some(rest) = hand_over(session, output, redactor.take())? {
        session.take_script_output(&rest, false);
        collected.push(&rest);
        if let Some(sink) = sink {
            sink(&rest);
        }
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

struct Call<'call, 's> {
    session: &'call Session,
    report: OwnedFd,
    output: OwnedFd,
    /// What the report said so far.
    heard: Vec<u8>,
    started: bool,
    collected: Unread,
    redactor: Option<Box<dyn Redactor>>,
    buffer: Vec<u8>,
    stop: Option<&'s StopSignal>,
    sink: Option<Sink<'s>>,
}

impl Call<'_, '_> {
    /// Waits for the end of the script, or of the shell, or of the patience with either.
    fn follow(&mut self, place: &Place, timeout: Option<Duration>) -> Result<ScriptExit, SessionError> {
        let begun = Instant::now();
        let mut deadline = Some(begun + START_PATIENCE);
        let mut runs = false;
        loop {
            if let Some(exit) = self.wait_until(deadline, self.stop)? {
                return Ok(exit);
            }
            if let Some(how) = self.stop.and_then(StopSignal::requested) {
                let shell_lives = self.interrupt(place, how)?;
                return Ok(ScriptExit::Stopped { shell_lives });
            }
            if self.started && !runs {
                runs = true;
                // The time-out is the script's: what its shell was busy with before is no part of it.
                deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
            } else if deadline.is_some_and(|at| Instant::now() >= at) {
                if runs {
                    let shell_lives = self.interrupt(place, Shutdown::Graceful)?;
                    return Ok(ScriptExit::TimedOut { shell_lives });
                }
                let patience = begun.elapsed();
                return Err(SessionError::NotAShell { id: self.session.id.clone(), patience });
            }
        }
    }

    /// Takes output and reports until the script or the shell ends (`Some`), it has started, the deadline, or a stop.
    fn wait_until(
        &mut self,
        deadline: Option<Instant>,
        stop: Option<&StopSignal>,
    ) -> Result<Option<ScriptExit>, SessionError> {
        let had_started = self.started;
        loop {
            let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
            let timeout = left.and_then(|left| Timespec::try_from(left).ok());
            let mut entries = vec![
                PollFd::new(&self.report, PollFlags::IN),
                PollFd::new(&self.output, PollFlags::IN),
                PollFd::new(&self.session.exited, PollFlags::IN),
            ];
            entries.extend(stop.map(|stop| PollFd::new(stop, PollFlags::IN)));
            match poll(&mut entries, timeout.as_ref()) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => {
                    return Err(SessionError::System { step: "wait for a script", source: error.into() });
                }
            }
            let ready = |index: usize| entries.get(index).is_some_and(|entry| !entry.revents().is_empty());
            let (reported, wrote, exited, stopped) = (ready(0), ready(1), ready(2), ready(3));
            drop(entries);
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
            if late || stopped || self.started != had_started {
                return Ok(None);
            }
        }
    }

    /// The script is to end: asks the shell to come back, and ends it if it does not; says whether it goes on.
    fn interrupt(&mut self, place: &Place, how: Shutdown) -> Result<bool, SessionError> {
        if how == Shutdown::Graceful {
            // A shell that has ended by itself in this moment is found so below.
            drop(self.session.signal(Signal::Interrupt));
            drop(self.session.write(&place.answer_line()));
            let answer_by = Instant::now() + INTERRUPT_PATIENCE;
            loop {
                match self.wait_until(Some(answer_by), None)? {
                    Some(ScriptExit::Code(_)) => return Ok(true),
                    Some(_) => return Ok(false),
                    None if Instant::now() < answer_by => {}
                    None => break,
                }
            }
        }
        self.session.stop(Shutdown::Immediate);
        self.session.wait_until_over(KILL_PATIENCE);
        Ok(false)
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
        // Our lines are short: whatever else is written there is nothing of ours.
        if self.heard.len() > LONGEST_REPORT {
            self.heard.clear();
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
        if let Some(sink) = &mut self.sink {
            sink(seen);
        }
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
///
/// A confined session can change whatever is in its own folder at any moment, so nothing is done by a path that it
/// could have put something else under: files are made new in a directory that is held open, and what is opened must
/// be the named pipe that was made.
struct Place {
    path: PathBuf,
    directory: OwnedFd,
}

impl Place {
    fn make(scratch: &Path, script: &[u8]) -> Result<Self, SessionError> {
        let name = format!("script-{}", SessionId::random()?);
        Self::make_as(scratch, &name, script)
            .map_err(|source| SessionError::System { step: "prepare a script", source })
    }

    fn make_as(scratch: &Path, name: &str, script: &[u8]) -> io::Result<Self> {
        fs::DirBuilder::new().mode(0o700).recursive(true).create(scratch)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let scratch_directory = rustix::fs::open(scratch, flags, Mode::empty())?;
        rustix::fs::mkdirat(&scratch_directory, name, Mode::RWXU)?;
        let path = scratch.join(name);
        let directory = rustix::fs::openat(&scratch_directory, name, flags, Mode::empty())?;
        let place = Self { path, directory };
        place.write("script", &[script, b"\n"].concat())?;
        place.write("run", &place.run())?;
        place.make_fifo("report")?;
        place.make_fifo("output")?;
        Ok(place)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    fn write(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.directory, name, flags, Mode::RUSR | Mode::WUSR)?;
        fs::File::from(file).write_all(bytes)
    }

    #[cfg(not(target_vendor = "apple"))]
    fn make_fifo(&self, name: &str) -> io::Result<()> {
        let mode = Mode::RUSR | Mode::WUSR;
        Ok(rustix::fs::mknodat(&self.directory, name, FileType::Fifo, mode, 0)?)
    }

    #[cfg(target_vendor = "apple")]
    fn make_fifo(&self, name: &str) -> io::Result<()> {
        let mkfifo = co_process::Tool::new("mkfifo").args(["-m", "600"]).arg(self.path(name));
        let made = mkfifo.run().map_err(io::Error::other)?;
        if made.is_success() { Ok(()) } else { Err(io::Error::other(made.stderr_text())) }
    }

    /// Opens a named pipe to read from it.
    fn open(&self, name: &str) -> io::Result<OwnedFd> {
        self.open_fifo(name, OFlags::RDONLY)
    }

    /// Opens a named pipe to keep it from ending.
    fn hold(&self, name: &str) -> io::Result<OwnedFd> {
        self.open_fifo(name, OFlags::WRONLY)
    }

    fn open_fifo(&self, name: &str, direction: OFlags) -> io::Result<OwnedFd> {
        let flags = direction | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened = rustix::fs::openat(&self.directory, name, flags, Mode::empty())?;
        if FileType::from_raw_mode(rustix::fs::fstat(&opened)?.st_mode) == FileType::Fifo {
            Ok(opened)
        } else {
            Err(io::Error::new(io::ErrorKind::InvalidData, format!("`{name}` is no named pipe any more")))
        }
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
        drop(fs::remove_dir_all(&self.path));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_one_word_whatever_it_holds() {
        assert_eq!(quoted(Path::new("/a b/$x'y\\\n")), b"'/a b/$x'\\''y\\\n'");
    }
}
