//! A workspace with something around it, and programs confined to it.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::Write as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use co_model::{NetworkAccess, SandboxMode, SandboxPolicy};
use co_sandbox::{Layers, Request, Sandbox, SandboxError, Wrapped};
use tempfile::TempDir;

pub(crate) const PATH: &str = "/usr/local/bin:/usr/bin:/bin";

pub(crate) fn helper() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_co-sandbox-helper"))
}

/// This machine's sandbox. The tests need all of it: a machine without it fails them.
pub(crate) fn sandbox() -> Sandbox {
    Sandbox::probe(OsStr::new(PATH), helper())
}

/// The same machine without bubblewrap.
pub(crate) fn without_bubblewrap() -> Sandbox {
    Sandbox::probe(OsStr::new("/nowhere"), helper())
}

/// A workspace in a folder of its own; the folder around it is not writable from inside.
pub(crate) struct World {
    pub(crate) folder: TempDir,
    pub(crate) workspace: PathBuf,
    pub(crate) policy: SandboxPolicy,
    pub(crate) env: Vec<(OsString, OsString)>,
    pub(crate) secrets: Vec<PathBuf>,
    pub(crate) readable: Vec<PathBuf>,
    pub(crate) held: Vec<PathBuf>,
    pub(crate) scratch: Option<PathBuf>,
    pub(crate) egress: Option<PathBuf>,
    pub(crate) accept_weaker: bool,
    pub(crate) sandbox: Sandbox,
}

impl World {
    pub(crate) fn new(mode: SandboxMode) -> Self {
        Self::named(mode, OsStr::new("workspace"))
    }

    pub(crate) fn named(mode: SandboxMode, name: &OsStr) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let workspace = folder.path().canonicalize().unwrap().join(name);
        fs::create_dir(&workspace).unwrap();
        let policy =
            SandboxPolicy { exclude_slash_tmp: true, exclude_tmpdir: true, ..SandboxPolicy::of(mode) };
        Self {
            folder,
            workspace,
            policy,
            env: vec![("PATH".into(), PATH.into())],
            secrets: Vec::new(),
            readable: Vec::new(),
            held: Vec::new(),
            scratch: None,
            egress: None,
            accept_weaker: false,
            sandbox: sandbox(),
        }
    }

    pub(crate) fn writable() -> Self {
        Self::new(SandboxMode::WorkspaceWrite)
    }

    pub(crate) fn read_only() -> Self {
        Self::new(SandboxMode::ReadOnly)
    }

    pub(crate) fn network(mut self, network: NetworkAccess) -> Self {
        self.policy.network = network;
        self
    }

    pub(crate) fn weaker(mut self) -> Self {
        self.sandbox = without_bubblewrap();
        self.accept_weaker = true;
        self
    }

    pub(crate) fn layers(mut self, layers: Layers) -> Self {
        self.sandbox = Sandbox::new(layers);
        self
    }

    /// A path below the folder around the workspace.
    pub(crate) fn around(&self, name: &str) -> PathBuf {
        self.workspace.parent().unwrap().join(name)
    }

    pub(crate) fn try_wrap(&self, argv: &[OsString]) -> Result<Wrapped, SandboxError> {
        self.sandbox.wrap(&Request {
            argv,
            cwd: &self.workspace,
            env: &self.env,
            workspace: &self.workspace,
            policy: &self.policy,
            helper: helper(),
            secrets: &self.secrets,
            readable: &self.readable,
            held: &self.held,
            scratch: self.scratch.as_deref(),
            egress: self.egress.as_deref(),
            accept_weaker: self.accept_weaker,
        })
    }

    pub(crate) fn wrap(&self, argv: &[&str]) -> Wrapped {
        self.try_wrap(&words(argv)).unwrap()
    }

    pub(crate) fn command(&self, wrapped: &Wrapped) -> Command {
        let mut command = Command::new(&wrapped.argv[0]);
        command.args(&wrapped.argv[1..]).current_dir(&self.workspace).env_clear();
        command.envs(self.env.iter().cloned()).envs(wrapped.env.iter().cloned());
        command
    }

    pub(crate) fn run(&self, argv: &[&str]) -> Ran {
        self.run_words(&words(argv), b"")
    }

    pub(crate) fn shell(&self, line: &str) -> Ran {
        self.run(&["/bin/sh", "-c", line])
    }

    pub(crate) fn run_words(&self, argv: &[OsString], stdin: &[u8]) -> Ran {
        let wrapped = self.try_wrap(argv).unwrap();
        let mut command = self.command(&wrapped);
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(stdin).unwrap();
        let output = child.wait_with_output().unwrap();
        drop(wrapped);
        Ran::from(output)
    }
}

/// What came of a confined program.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) signal: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            signal: output.status.signal(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

impl Ran {
    #[track_caller]
    pub(crate) fn succeeded(&self) -> &str {
        assert_eq!(self.code, Some(0), "{self:?}");
        &self.stdout
    }

    #[track_caller]
    pub(crate) fn failed_with(&self, reason: &str) {
        assert!(self.code != Some(0) && self.stderr.contains(reason), "{self:?}");
    }
}

pub(crate) fn words(argv: &[&str]) -> Vec<OsString> {
    argv.iter().map(OsString::from).collect()
}

/// Every path below a folder, sorted.
pub(crate) fn tree(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() {
                open.push(entry.path());
            }
            found.push(entry.path());
        }
    }
    found.sort();
    found
}

pub(crate) fn is_root() -> bool {
    rustix::process::getuid().is_root()
}
