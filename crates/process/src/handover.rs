//! Programs that outlive us: given one message, asked for one line, then left alone.
//!
//! Not for stages and agents, which [`crate::run`] contains, nor for helpers, which [`crate::Tool`] ends. The
//! program is one of ours: it leads a session of its own as soon as it runs, and owns what it starts.

use std::ffi::OsString;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// The longest answer, in bytes.
const LONGEST_ANSWER: u64 = 64 << 10;

/// A program to hand something over to.
#[derive(Debug, Clone)]
pub struct Handover {
    /// The program.
    pub program: PathBuf,
    /// Its arguments. Secrets belong into the message: arguments are seen by everybody.
    pub arguments: Vec<OsString>,
    /// Where it runs.
    pub cwd: PathBuf,
    /// Variables of ours that it does not get.
    pub without: Vec<OsString>,
    /// Variables that it gets besides ours.
    pub with: Vec<(OsString, OsString)>,
    /// What is written to its standard input, which ends then.
    pub message: Vec<u8>,
    /// How long it may take to answer.
    pub patience: Duration,
}

/// Why nothing was handed over, or nobody knows whether it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HandoverError {
    /// The program or the thread that waits for it could not be started.
    #[error("failed to start `{}`", program.display())]
    Start {
        /// The program.
        program: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// It ended, or closed its standard output, without a line.
    #[error("`{}` ended without an answer", program.display())]
    NoAnswer {
        /// The program.
        program: PathBuf,
    },
    /// It has not answered in time. It goes on: what it was given may be done yet.
    #[error("`{}` has not answered within {patience:?}", program.display())]
    Late {
        /// The program.
        program: PathBuf,
        /// How long it had.
        patience: Duration,
    },
}

impl Handover {
    /// Starts the program and returns the first line it prints, without the line end.
    ///
    /// A thread waits for its end, so that no dead process is left while we live; when we end first, the
    /// system takes over. Its standard error is thrown away, and its standard output after that line.
    ///
    /// # Errors
    /// [`HandoverError`].
    #[expect(
        clippy::disallowed_methods,
        reason = "the program is to outlive us, which contained ones never do"
    )]
    pub fn perform(self) -> Result<Vec<u8>, HandoverError> {
        let Self { program, arguments, cwd, without, with, message, patience } = self;
        let mut command = Command::new(&program);
        command
            .args(arguments)
            .current_dir(cwd)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        for name in without {
            command.env_remove(name);
        }
        command.envs(with);
        let failed = |source| HandoverError::Start { program: program.clone(), source };
        let mut child = command.spawn().map_err(failed)?;
        let (say, hear) = mpsc::sync_channel(1);
        let wait = move || {
            if let Some(mut stdin) = child.stdin.take() {
                // Who does not listen will not answer either.
                drop(stdin.write_all(&message));
            }
            let mut line = Vec::new();
            if let Some(stdout) = child.stdout.take() {
                // What cannot be read is no answer.
                drop(BufReader::new(stdout.take(LONGEST_ANSWER)).read_until(b'\n', &mut line));
            }
            drop(say.send(line));
            drop(child.wait());
        };
        thread::Builder::new().name("handover".to_owned()).spawn(wait).map_err(failed)?;
        match hear.recv_timeout(patience) {
            Ok(line) => match line.strip_suffix(b"\n") {
                Some(answer) => Ok(answer.to_vec()),
                None => Err(HandoverError::NoAnswer { program }),
            },
            Err(mpsc::RecvTimeoutError::Timeout) => Err(HandoverError::Late { program, patience }),
            Err(mpsc::RecvTimeoutError::Disconnected) => Err(HandoverError::NoAnswer { program }),
        }
    }
}
