//! Starts the probe with a scenario and reads what it says.

use std::collections::VecDeque;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};

use co_process::{OutputLog, Stream};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A scenario in a folder of its own.
pub(crate) struct Scenario {
    pub(crate) folder: TempDir,
    fields: Value,
}

impl Scenario {
    /// A shell line; `$F` in it is the scenario's folder.
    pub(crate) fn shell(line: &str) -> Self {
        Self::program(&["/bin/sh", "-c", line])
    }

    pub(crate) fn program(argv: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let fields = json!({
            "argv": argv,
            "cwd": folder.path(),
            "log": folder.path().join("log"),
            "index": folder.path().join("index"),
            "env": [["PATH", "/usr/local/bin:/usr/bin:/bin"], ["F", folder.path()]],
        });
        Self { folder, fields }
    }

    pub(crate) fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.fields[name] = value.into();
        self
    }

    pub(crate) fn variable(mut self, name: &str, value: &str) -> Self {
        self.fields["env"].as_array_mut().unwrap().push(json!([name, value]));
        self
    }

    pub(crate) fn stdin(self, bytes: &[u8]) -> Self {
        let path = self.path("stdin");
        fs::write(&path, bytes).unwrap();
        self.with("stdin", path.to_str().unwrap())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn output(&self) -> OutputLog {
        OutputLog::new(self.path("log"), self.path("index"))
    }

    pub(crate) fn stream(&self, stream: Stream) -> Vec<u8> {
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut self.output().read(stream).unwrap(), &mut bytes).unwrap();
        bytes
    }

    pub(crate) fn start(&self) -> Probe {
        let file = self.path("scenario");
        fs::write(&file, self.fields.to_string()).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_co-process-probe"))
            .arg(file)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdin = child.stdin.take().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        Probe { child, stdin, lines, unread: VecDeque::new() }
    }

    /// Runs to the end; returns the report.
    pub(crate) fn report(&self) -> Value {
        let mut probe = self.start();
        let report = probe.next("report");
        probe.finish();
        report
    }

    /// Runs to the end; returns the error's debug and display forms.
    pub(crate) fn error(&self) -> (String, String) {
        let mut probe = self.start();
        let line = probe.line_with("error");
        probe.finish();
        (line["error"].as_str().unwrap().to_owned(), line["text"].as_str().unwrap().to_owned())
    }
}

/// A running probe.
pub(crate) struct Probe {
    child: Child,
    stdin: ChildStdin,
    lines: BufReader<ChildStdout>,
    /// What was said while something else was waited for: the probe's threads speak in no fixed order.
    unread: VecDeque<Value>,
}

impl Probe {
    /// Waits for the next line that has the key; returns its value.
    #[track_caller]
    pub(crate) fn next(&mut self, key: &str) -> Value {
        self.line_with(key)[key].take()
    }

    /// Waits for the next line that has the key. Those before it stay unread.
    #[track_caller]
    pub(crate) fn line_with(&mut self, key: &str) -> Value {
        if let Some(index) = self.unread.iter().position(|line| line.get(key).is_some()) {
            return self.unread.remove(index).unwrap();
        }
        loop {
            let mut text = String::new();
            self.lines.read_line(&mut text).unwrap();
            assert!(!text.is_empty(), "the probe ended without {key:?}; unread of it:\n{:#?}", self.unread);
            let line: Value = serde_json::from_str(&text).unwrap();
            if line.get(key).is_some() {
                return line;
            }
            self.unread.push_back(line);
        }
    }

    /// Gives an order and waits for what came of it.
    #[track_caller]
    pub(crate) fn ask(&mut self, order: &str) -> String {
        self.tell(order);
        self.next("told").as_str().unwrap().to_owned()
    }

    /// Reads output until it holds the text; returns all of it that was unread.
    #[track_caller]
    pub(crate) fn output_with(&mut self, text: &str) -> String {
        let mut output = String::new();
        while !output.contains(text) {
            output.push_str(self.next("output").as_str().unwrap());
        }
        output
    }

    pub(crate) fn tell(&mut self, order: &str) {
        writeln!(self.stdin, "{order}").unwrap();
    }

    pub(crate) fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).unwrap()
    }

    #[track_caller]
    pub(crate) fn finish(mut self) {
        assert!(self.child.wait().unwrap().success());
    }

    /// Ends the probe as an out-of-memory killer would.
    pub(crate) fn kill(mut self) -> ExitStatus {
        self.child.kill().unwrap();
        self.child.wait().unwrap()
    }
}

/// A process that is watched through a handle that no other process can take over.
pub(crate) struct Watched {
    pub(crate) pid: i32,
    handle: OwnedFd,
}

impl Watched {
    pub(crate) fn pid(pid: i32) -> Self {
        let handle = rustix::process::pidfd_open(Pid::from_raw(pid).unwrap(), PidfdFlags::empty()).unwrap();
        Self { pid, handle }
    }

    /// The process that wrote its pid to a file.
    pub(crate) fn in_file(path: &Path) -> Self {
        Self::pid(fs::read_to_string(path).unwrap().trim().parse().unwrap())
    }

    pub(crate) fn is_gone(&self) -> bool {
        self.wait(Timespec { tv_sec: 0, tv_nsec: 0 })
    }

    #[track_caller]
    pub(crate) fn wait_gone(&self) {
        assert!(self.wait(Timespec { tv_sec: 30, tv_nsec: 0 }), "process {} is still there", self.pid);
    }

    pub(crate) fn kill(&self) {
        rustix::process::pidfd_send_signal(&self.handle, Signal::KILL).unwrap();
    }

    pub(crate) fn parent(&self) -> Self {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid)).unwrap();
        let after_name = &stat[stat.rfind(')').unwrap() + 2..];
        Self::pid(after_name.split(' ').nth(1).unwrap().parse().unwrap())
    }

    fn wait(&self, timeout: Timespec) -> bool {
        let mut entries = [PollFd::new(&self.handle, PollFlags::IN)];
        poll(&mut entries, Some(&timeout)).unwrap() == 1
    }
}
