//! A repository with pipelines, and the program run in it with an environment of its own.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use co_testkit::Repository;
use serde_json::Value;

/// The longest a test waits for something that should happen at once.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// A repository to run pipelines in. Nothing of the machine's environment reaches the program
/// but `PATH`.
pub(crate) struct Project {
    repository: Repository,
    variables: Vec<(OsString, OsString)>,
}

/// What one invocation left behind.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ended {
    /// The exit code.
    #[track_caller]
    pub(crate) fn code(&self) -> i32 {
        self.status.code().unwrap_or_else(|| panic!("ended by a signal: {self:?}"))
    }

    /// Asserts the exit code.
    #[track_caller]
    pub(crate) fn expect(self, code: i32) -> Self {
        assert_eq!(self.status.code(), Some(code), "{self:#?}");
        self
    }

    /// Standard output as one JSON document.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:#?}"))
    }

    /// The `run_id` of a result printed as JSON.
    #[track_caller]
    pub(crate) fn run_id(&self) -> String {
        self.json()["run_id"].as_str().expect("a run_id").to_owned()
    }
}

impl Project {
    /// A repository whose `codex.orchestrator.json` holds these pipelines (a JSON array).
    pub(crate) fn with_pipelines(pipelines: &str) -> Self {
        let project = Self::empty();
        project.write_pipelines(pipelines);
        project.repository.commit("pipelines");
        project
    }

    /// A repository with nothing in it.
    pub(crate) fn empty() -> Self {
        Self { repository: Repository::init(), variables: Vec::new() }
    }

    /// Replaces the pipelines.
    pub(crate) fn write_pipelines(&self, pipelines: &str) {
        self.repository.write("codex.orchestrator.json", format!("{{ \"pipelines\": {pipelines} }}"));
    }

    pub(crate) fn repository(&self) -> &Repository {
        &self.repository
    }

    pub(crate) fn root(&self) -> &Path {
        self.repository.root()
    }

    /// Sets a variable for everything that is run from here on.
    pub(crate) fn set(&mut self, name: &str, value: impl Into<OsString>) {
        self.variables.push((name.into(), value.into()));
    }

    /// The variables that were set.
    pub(crate) fn variables(&self) -> &[(OsString, OsString)] {
        &self.variables
    }

    /// The program with these arguments, not started yet.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        self.program(env!("CARGO_BIN_EXE_codex-orchestrator"), arguments)
    }

    /// The command, in a pid namespace that it did not make.
    pub(crate) fn contained(&self, arguments: &[&str]) -> Command {
        let around = ["--map-root-user", "--pid", "--fork", "--mount-proc", "--kill-child"];
        let around = around.iter().copied().chain([env!("CARGO_BIN_EXE_codex-orchestrator")]);
        self.program("unshare", &around.chain(arguments.iter().copied()).collect::<Vec<_>>())
    }

    /// The command, where the repository lies on a file system that may only be read.
    pub(crate) fn read_only(&self, arguments: &[&str]) -> Command {
        let script =
            r#"mount --bind "$1" "$1" && mount -o remount,bind,ro "$1" && cd "$1" && shift && exec "$@""#;
        let root = self.root().to_str().expect("a path of ours is UTF-8");
        let around = ["--map-root-user", "--mount", "sh", "-c", script, "sh", root];
        let around = around.iter().copied().chain([env!("CARGO_BIN_EXE_codex-orchestrator")]);
        self.program("unshare", &around.chain(arguments.iter().copied()).collect::<Vec<_>>())
    }

    #[expect(clippy::disallowed_methods, reason = "tests drive the program as a user's shell would")]
    fn program(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command
            .args(arguments)
            .current_dir(self.root())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.root().parent().expect("a parent").join("home"))
            .envs(self.variables.iter().cloned())
            .stdin(Stdio::null());
        command
    }

    /// Runs the program to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Ended {
        let output = self.command(arguments).output().expect("the program starts");
        Ended {
            status: output.status,
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Starts the program and leaves it running, its output thrown away.
    pub(crate) fn spawn(&self, arguments: &[&str]) -> Child {
        self.command(arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the program starts")
    }

    /// A path below the repository.
    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.root().join(path)
    }

    /// A JSON file below the repository.
    #[track_caller]
    pub(crate) fn json_file(&self, path: impl AsRef<Path>) -> Value {
        let path = self.root().join(path);
        let text =
            std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}\n{text}", path.display()))
    }

    /// The manifest of a run of the task `local`.
    #[track_caller]
    pub(crate) fn manifest(&self, run: &str) -> Value {
        self.json_file(format!(".runs/local/cli/{run}/manifest.json"))
    }
}

/// Waits until `ready` gives something; panics with `what` when it never does.
#[track_caller]
pub(crate) fn wait_for<T>(what: &str, mut ready: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = ready() {
            return found;
        }
        assert!(Instant::now() < until, "never happened: {what}");
        std::thread::park_timeout(Duration::from_millis(10));
    }
}
