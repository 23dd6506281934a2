//! An isolated configuration for the real Codex CLI, pointed at a scripted model.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;
use tempfile::TempDir;

/// Says how the real Codex CLI gets onto the machine; tests that need it fail with this text.
pub const INSTALL_HINT: &str = "the real Codex CLI is not installed: run `npm ci` at the root of the workspace \
     (`cargo xtask test` does it), or set CODEX_ORCHESTRATOR_TEST_CODEX to a codex program";

/// Names the model of [`CodexHome`]'s own catalogue, so that a Codex release cannot take it away.
const MODEL: &str = "scripted";

/// Owns a temporary home, `CODEX_HOME` and temporary directory for the real Codex CLI.
///
/// All are removed on drop. `CODEX_HOME` lies beside, not under, the `TMPDIR` that Codex is given: under it Codex
/// refuses to create the aliases that its sandbox and `apply_patch` need.
#[derive(Debug)]
pub struct CodexHome {
    directory: TempDir,
}

impl CodexHome {
    /// Writes a configuration whose only model provider is at `base_url`; failed requests are not retried.
    pub fn new(base_url: &str) -> Self {
        Self::with_retries(base_url, 0)
    }

    /// Writes a configuration that repeats failed requests and broken streams up to `retries` times.
    pub fn with_retries(base_url: &str, retries: u32) -> Self {
        let directory = TempDir::with_prefix("codex-home-").expect("a temporary directory can be created");
        let home = Self { directory };
        for path in [home.home(), home.codex_home(), home.temporary()] {
            fs::create_dir(path).expect("a fresh directory can be created");
        }
        let catalogue = home.codex_home().join("models.json");
        fs::write(&catalogue, catalogue_of_one_model()).expect("the model catalogue can be written");
        // A JSON string is also a TOML string.
        let catalogue = json!(catalogue);
        let config = format!(
            r#"model = "{MODEL}"
model_provider = "scripted"
model_catalog_json = {catalogue}
approval_policy = "never"
sandbox_mode = "danger-full-access"

[model_providers.scripted]
name = "scripted"
base_url = "{base_url}"
wire_api = "responses"
env_key = "SCRIPTED_API_KEY"
request_max_retries = {retries}
stream_max_retries = {retries}

[features]
apps = false
plugins = false
"#
        );
        fs::write(home.codex_home().join("config.toml"), config).expect("the configuration can be written");
        home
    }

    /// Returns the directory that plays `HOME`.
    pub fn home(&self) -> PathBuf {
        self.directory.path().join("home")
    }

    /// Returns the directory that plays `CODEX_HOME`.
    pub fn codex_home(&self) -> PathBuf {
        self.directory.path().join("codex")
    }

    fn temporary(&self) -> PathBuf {
        self.directory.path().join("tmp")
    }

    /// Returns the whole environment for Codex: start it with nothing else.
    ///
    /// `path` is the `PATH` under which the commands of the model run.
    pub fn environment(&self, path: impl Into<OsString>) -> Vec<(OsString, OsString)> {
        let pair = |name: &str, value: OsString| (OsString::from(name), value);
        vec![
            pair("CODEX_HOME", self.codex_home().into()),
            pair("HOME", self.home().into()),
            pair("TMPDIR", self.temporary().into()),
            pair("PATH", path.into()),
            pair("SCRIPTED_API_KEY", "scripted".into()),
            pair("NO_PROXY", "127.0.0.1".into()),
            pair("GIT_CONFIG_NOSYSTEM", "1".into()),
        ]
    }
}

/// Describes one model with every tool that the tests use.
///
/// An unknown model would run with fallback metadata, which offers no `apply_patch`.
fn catalogue_of_one_model() -> String {
    let model = json!({
        "slug": MODEL, "display_name": "Scripted", "description": "Plays a script.",
        "default_reasoning_level": "medium",
        "supported_reasoning_levels": [{"effort": "medium", "description": "the only one"}],
        "shell_type": "unified_exec", "apply_patch_tool_type": "freeform",
        "visibility": "list", "supported_in_api": true, "priority": 1,
        "availability_nux": null, "upgrade": null,
        "base_instructions": "You play a script.",
        "supports_reasoning_summaries": true, "support_verbosity": false, "default_verbosity": null,
        "truncation_policy": {"mode": "tokens", "limit": 10000},
        "supports_parallel_tool_calls": true,
        "context_window": 272_000, "experimental_supported_tools": [],
    });
    json!({ "models": [model] }).to_string()
}

/// Finds the real Codex CLI that the tests drive.
///
/// That is `CODEX_ORCHESTRATOR_TEST_CODEX`, else the launcher of the npm package in the nearest `node_modules` at or
/// above this crate. None means that [`INSTALL_HINT`] applies.
#[expect(
    clippy::disallowed_methods,
    reason = "a test tool reads its own switch; no product setting is involved"
)]
pub fn codex_program() -> Option<PathBuf> {
    if let Some(program) = std::env::var_os("CODEX_ORCHESTRATOR_TEST_CODEX") {
        return Some(PathBuf::from(program));
    }
    let launcher = Path::new("node_modules/@openai/codex/bin/codex.js");
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .map(|directory| directory.join(launcher))
        .find(|candidate| candidate.is_file())
}
