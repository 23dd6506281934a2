//! Starts a host in a folder of its own and asks it for sessions.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use co_process::{Capture, Limits, Shutdown, Terminal};
use co_sessions::client::Connection;
use co_sessions::{Endpoint, EventKind, Reply, SessionEvent, SessionId, StartSession, Wait};
use tempfile::TempDir;

/// Longer than anything here takes; a test that waits so long has failed.
pub(crate) const LONG: Duration = Duration::from_secs(30);

pub(crate) struct Host {
    pub(crate) folder: TempDir,
    pub(crate) endpoint: Endpoint,
    pub(crate) process: Child,
}

pub(crate) fn spawn(endpoint: &Endpoint, idle: Duration, secret: Option<&str>) -> Child {
    Command::new(env!("CARGO_BIN_EXE_co-sessions-probe"))
        .arg(endpoint.directory())
        .arg(idle.as_millis().to_string())
        .args(secret)
        .stdin(Stdio::null())
        .spawn()
        .unwrap()
}

impl Host {
    pub(crate) fn start() -> Self {
        Self::start_with(LONG, None)
    }

    pub(crate) fn start_with(idle: Duration, secret: Option<&str>) -> Self {
        Self::start_connected(idle, secret).0
    }

    /// With the connection by which it was found, which keeps an idle one.
    pub(crate) fn start_connected(idle: Duration, secret: Option<&str>) -> (Self, Connection) {
        let folder = tempfile::tempdir().unwrap();
        let endpoint = Endpoint::new(folder.path().join("host"));
        fs::create_dir(endpoint.directory()).unwrap();
        fs::set_permissions(endpoint.directory(), std::os::unix::fs::PermissionsExt::from_mode(0o700))
            .unwrap();
        let mut process = None;
        let connected = Connection::connect_or_start(&endpoint, LONG, || {
            process = Some(spawn(&endpoint, idle, secret));
            Ok(())
        });
        (Self { folder, endpoint, process: process.unwrap() }, connected.unwrap())
    }

    pub(crate) fn connect(&self) -> Connection {
        Connection::connect(&self.endpoint).unwrap()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn program(&self, id: &str, argv: &[&str]) -> StartSession {
        StartSession {
            id: Some(id.parse().unwrap()),
            argv: argv.iter().map(Into::into).collect(),
            cwd: self.folder.path().to_owned(),
            env: vec![
                ("PATH".into(), "/usr/local/bin:/usr/bin:/bin".into()),
                ("F".into(), self.folder.path().into()),
            ],
            terminal: Terminal::Pipes,
            capture: Capture {
                log: self.path(&format!("{id}.log")),
                index: self.path(&format!("{id}.index")),
            },
            limits: Limits::default(),
            confinement: None,
            wait: Wait::for_output(LONG),
            max_output_tokens: None,
        }
    }

    pub(crate) fn shell(&self, id: &str, line: &str) -> StartSession {
        self.program(id, &["/bin/sh", "-c", line])
    }

    pub(crate) fn on_terminal(&self, id: &str, line: &str) -> StartSession {
        StartSession { terminal: StartSession::TERMINAL, ..self.shell(id, line) }
    }

    /// The events of a session so far, in the order in which they were told.
    pub(crate) fn events(&self, id: &str) -> Vec<EventKind> {
        let text = fs::read_to_string(self.endpoint.directory().join("events.jsonl")).unwrap();
        let events = text.lines().map(|line| serde_json::from_str::<SessionEvent>(line).unwrap());
        let events: Vec<_> = events.filter(|event| event.session.as_str() == id).collect();
        for (event, sequence) in events.iter().zip(1..) {
            assert_eq!(event.sequence, sequence);
        }
        events.into_iter().map(|event| event.kind).collect()
    }

    pub(crate) fn peak_rss_kib(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

pub(crate) fn id(text: &str) -> SessionId {
    text.parse().unwrap()
}

/// Polls until the output holds the text; `first` is what came already.
#[track_caller]
pub(crate) fn output_with(connection: &mut Connection, session: &str, first: &str, text: &str) -> String {
    let mut output = first.to_owned();
    while !output.contains(text) {
        let reply = connection.poll(&id(session), Wait::for_output(LONG), None).unwrap();
        assert!(!reply.output.is_empty(), "no `{text}` in {output:?}, {:?}", reply.exit);
        output.push_str(&reply.output);
    }
    output
}

/// Polls until the program has ended; returns the rest of its output and the last reply.
pub(crate) fn to_the_end(connection: &mut Connection, session: &str) -> (String, Reply) {
    let mut output = String::new();
    loop {
        let reply = connection.poll(&id(session), Wait::of(LONG), None).unwrap();
        output.push_str(&reply.output);
        if reply.exit.is_some() {
            // What a busy machine had not read by then comes with the end.
            let rest = connection.kill(&id(session), Shutdown::Immediate, None).unwrap();
            output.push_str(&rest.output);
            return (output, rest);
        }
    }
}
