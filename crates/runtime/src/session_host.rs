//! The process that keeps live sessions of a repository and user, for surfaces and for runs whose sessions outlive
//! them; and what every keeper gives its sessions: sandboxes, the privacy guard, files of events.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use co_privacy::{Guard, Kind, Redactor};
use co_process::Handover;
use co_sessions::client::{ConnectError, Connection};
use co_sessions::{Endpoint, EventKind, Listener, MakeRedactor, SessionEvent, SessionId};
use co_views::Layout;

use crate::clock::Clock;
use crate::confine::{Walls, sessions_folder};
use crate::error::RuntimeError;
use crate::launch;

/// How long a host may take to serve.
const PATIENCE: Duration = Duration::from_secs(30);
/// What a host answers before it serves.
pub const HOST_BEGINS: &[u8] = b"begins";

/// Where the sessions of a repository and user are kept, and how their keeper is started.
#[derive(Debug, Clone)]
pub struct SessionHost {
    layout: Layout,
    program: PathBuf,
    arguments: Vec<OsString>,
}

impl SessionHost {
    /// Names the program that serves when none does: it reads nothing, leads a session of its own, answers with
    /// [`HOST_BEGINS`] and a line end, and calls [`co_sessions::host::serve`]. It does not see what is
    /// ours alone: it needs none of it, and outlives whoever was trusted with it.
    pub fn new(layout: Layout, program: PathBuf, arguments: Vec<OsString>) -> Self {
        Self { layout, program, arguments }
    }

    /// Its private directory: `.runs/.sessions/<user id>`.
    pub fn endpoint(&self) -> Endpoint {
        Endpoint::new(private_folder(&self.layout))
    }

    /// Where the exact output of a session goes: a log and its index.
    pub fn capture(&self, session: &SessionId) -> co_process::Capture {
        let directory = self.logs();
        co_process::Capture {
            log: directory.join(format!("{session}.log")),
            index: directory.join(format!("{session}.index.jsonl")),
        }
    }

    /// Where the events of a session go, one a line.
    pub fn events(&self, session: &SessionId) -> PathBuf {
        self.logs().join(format!("{session}{EVENTS}"))
    }

    /// The folder of what is kept of sessions.
    pub fn logs(&self) -> PathBuf {
        self.endpoint().directory().join("logs")
    }

    /// Connects to the host that serves.
    ///
    /// # Errors
    /// [`ConnectError::NotRunning`] when none does; nothing is made then.
    pub fn connect(&self) -> Result<Connection, ConnectError> {
        let endpoint = self.endpoint();
        if !endpoint.directory().exists() {
            return Err(ConnectError::NotRunning { directory: endpoint.directory().to_owned() });
        }
        Connection::connect(&endpoint)
    }

    /// Connects to the host, and starts one when none serves.
    ///
    /// # Errors
    /// [`SessionHostError`].
    pub fn connect_or_start(&self) -> Result<Connection, SessionHostError> {
        launch::make_root_folders(&self.layout).map_err(Box::new)?;
        let endpoint = self.endpoint();
        // The folders above the private one are as open as their neighbours.
        if let Some(parent) = endpoint.directory().parent() {
            make(parent)?;
        }
        let connection = Connection::connect_or_start(&endpoint, PATIENCE, || self.start())?;
        make(&self.logs())?;
        Ok(connection)
    }

    fn start(&self) -> io::Result<()> {
        let handover = Handover {
            program: self.program.clone(),
            arguments: self.arguments.clone(),
            cwd: self.layout.root.clone(),
            without: co_policy::environment::ours().map(OsString::from).collect(),
            with: Vec::new(),
            message: Vec::new(),
            patience: PATIENCE,
        };
        let answer = handover.perform().map_err(io::Error::other)?;
        if answer == HOST_BEGINS {
            Ok(())
        } else {
            Err(io::Error::other(String::from_utf8_lossy(&answer).into_owned()))
        }
    }
}

/// What belongs to the live sessions of this user: `.runs/.sessions/<user id>`.
pub(crate) fn private_folder(layout: &Layout) -> PathBuf {
    sessions_folder(layout).join(rustix::process::geteuid().as_raw().to_string())
}

fn make(directory: &Path) -> Result<(), SessionHostError> {
    std::fs::create_dir_all(directory)
        .map_err(|source| SessionHostError::Folder { path: directory.to_owned(), source })
}

/// Why there is no host to speak with.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SessionHostError {
    /// The folders that everything is kept in could not be made.
    #[error("the folders of runs cannot be made")]
    Roots(#[from] Box<RuntimeError>),
    /// A folder of the sessions could not be made.
    #[error("failed to make `{}`", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The host could not be reached or started.
    #[error("no host for sessions")]
    Connect(#[from] ConnectError),
}

/// Makes what builds the sandboxes of sessions.
///
/// `helper` is our own executable, `search_path` where bubblewrap is looked for.
pub fn session_confiner(
    layout: Layout,
    helper: PathBuf,
    search_path: Option<OsString>,
) -> Arc<dyn co_sessions::Confiner> {
    Arc::new(Walls::of(Some(helper), search_path, layout))
}

/// Makes what writes the events of each session to a file of its own, one a line with the time it was told.
///
/// The files are `<prefix><session>.events.jsonl` below `directory`. What cannot be written is not: a full disk stops
/// no session, and the exact output has a log of its own.
pub fn session_journal(clock: Arc<dyn Clock>, directory: PathBuf, prefix: &'static str) -> Arc<dyn Listener> {
    Arc::new(EventFiles { clock, directory, prefix, open: Mutex::default() })
}

/// What the name of a file of events ends in.
const EVENTS: &str = ".events.jsonl";

struct EventFiles {
    clock: Arc<dyn Clock>,
    directory: PathBuf,
    prefix: &'static str,
    open: Mutex<HashMap<SessionId, File>>,
}

#[derive(serde::Serialize)]
struct EventLine<'e> {
    at_ms: i64,
    #[serde(flatten)]
    event: &'e SessionEvent,
}

impl Listener for EventFiles {
    fn heard(&self, event: SessionEvent) {
        let mut line = serde_json::to_vec(&EventLine { at_ms: self.clock.now().as_millis(), event: &event })
            .unwrap_or_default();
        line.push(b'\n');
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(event.kind, EventKind::Begin { .. }) {
            let path = self.directory.join(format!("{}{}{EVENTS}", self.prefix, event.session));
            // Without a file there is nothing to write to, and nobody to tell.
            if let Ok(file) = File::options().create(true).append(true).open(path) {
                open.insert(event.session.clone(), file);
            }
        }
        if let Some(file) = open.get_mut(&event.session) {
            drop(file.write_all(&line));
        }
        if matches!(event.kind, EventKind::End { .. }) {
            open.remove(&event.session);
        }
    }
}

/// Makes redactors of a guard for the streams of sessions.
///
/// What may be seen is let go at once: a person waits for the prompt that a program has printed.
pub fn session_redactor(guard: &Guard) -> MakeRedactor {
    let guard = guard.clone();
    Arc::new(move |_: &SessionId| {
        Box::new(Stream(guard.stream(Kind::Output))) as Box<dyn co_sessions::Redactor>
    })
}

struct Stream(Redactor);

impl co_sessions::Redactor for Stream {
    fn redact(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut seen = Vec::with_capacity(bytes.len());
        self.0.push(bytes, &mut seen);
        self.0.flush_ready(&mut seen);
        seen
    }

    fn finish(&mut self) -> Vec<u8> {
        let mut seen = Vec::new();
        self.0.finish(&mut seen);
        seen
    }
}
