//! An isolated environment for the real Claude Code, pointed at a scripted model.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// Says how the real Claude Code gets onto the machine; tests that need it fail with this text.
pub const CLAUDE_INSTALL_HINT: &str = "the real Claude Code is not installed: run `npm ci` at the root of the \
     workspace (`cargo xtask test` does it), or set CODEX_ORCHESTRATOR_TEST_CLAUDE to a claude program";

/// Owns a temporary home and temporary directory for the real Claude Code; both are removed on drop.
#[derive(Debug)]
pub struct ClaudeHome {
    directory: TempDir,
    root_url: String,
    retries: u32,
}

impl ClaudeHome {
    /// Makes a home whose model is at `root_url`; failed requests are not retried.
    pub fn new(root_url: &str) -> Self {
        Self::with_retries(root_url, 0)
    }

    /// Makes a home in which failed requests are repeated up to `retries` times.
    pub fn with_retries(root_url: &str, retries: u32) -> Self {
        let directory = TempDir::with_prefix("claude-home-").expect("a temporary directory can be created");
        let home = Self { directory, root_url: root_url.to_owned(), retries };
        for path in [home.home(), home.temporary()] {
            fs::create_dir(path).expect("a fresh directory can be created");
        }
        home
    }

    /// Returns the directory that plays `HOME`.
    pub fn home(&self) -> PathBuf {
        self.directory.path().join("home")
    }

    fn temporary(&self) -> PathBuf {
        self.directory.path().join("tmp")
    }

    /// Returns the whole environment for Claude Code: start it with nothing else.
    ///
    /// `path` is the `PATH` under which the commands of the model run.
    pub fn environment(&self, path: impl Into<OsString>) -> Vec<(OsString, OsString)> {
        let pair = |name: &str, value: OsString| (OsString::from(name), value);
        vec![
            pair("HOME", self.home().into()),
            pair("TMPDIR", self.temporary().into()),
            pair("PATH", path.into()),
            pair("ANTHROPIC_BASE_URL", self.root_url.clone().into()),
            pair("ANTHROPIC_API_KEY", "scripted".into()),
            pair("CLAUDE_CODE_MAX_RETRIES", self.retries.to_string().into()),
            pair("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1".into()),
            pair("DISABLE_AUTOUPDATER", "1".into()),
            pair("NO_PROXY", "127.0.0.1".into()),
            pair("GIT_CONFIG_NOSYSTEM", "1".into()),
        ]
    }
}

/// Finds the real Claude Code that the tests drive.
///
/// That is `CODEX_ORCHESTRATOR_TEST_CLAUDE`, else the wrapper of the npm package in the nearest `node_modules` at or
/// above this crate. None means that [`CLAUDE_INSTALL_HINT`] applies.
#[expect(
    clippy::disallowed_methods,
    reason = "a test tool reads its own switch; no product setting is involved"
)]
pub fn claude_program() -> Option<PathBuf> {
    if let Some(program) = std::env::var_os("CODEX_ORCHESTRATOR_TEST_CLAUDE") {
        return Some(PathBuf::from(program));
    }
    let link = Path::new("node_modules/.bin/claude");
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .map(|directory| directory.join(link))
        .find(|candidate| candidate.is_file())
}
