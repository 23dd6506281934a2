//! The user's own Codex settings, as far as they matter to us.
//!
//! Owns the reading of `config.toml` in all its layers, of profiles, trust, managed requirements and
//! rule files, and what follows from them for a run. Reads nothing that is a credential, and writes
//! nothing. Precedence, names and meanings are Codex's; where Codex would go on with less protection
//! than its files say, we refuse instead.

mod layers;
mod managed;
mod mcp;
mod overrides;
mod read;
mod reader;
mod rules;
mod tree;

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use co_model::{
    ApprovalPolicy, EnvironmentPolicy, HostRule, McpApproval, PolicySource, PrefixRule, SandboxMode,
    SandboxPolicy,
};
use indexmap::IndexMap;

use crate::problem::Problem;
use crate::settings::Source;

pub use layers::{CodexPlaces, load_codex};
pub use mcp::{McpServerError, mcp_policy};
pub use overrides::{Direction, Override, OverrideError, Overrides, tool_policy};

/// The settings that concern us, from all layers.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CodexSettings {
    /// `$CODEX_HOME`, or `~/.codex`; `None` when there is no home folder either.
    pub home: Option<PathBuf>,
    /// The folder that holds a root marker, or the working directory.
    pub project_root: PathBuf,
    /// Whether the user trusts the project; only then its own settings and rules count.
    pub is_trusted: bool,
    /// `model`
    pub model: Option<String>,
    /// `approval_policy`
    pub approval: Option<ApprovalPolicy>,
    /// `sandbox_mode` with `[sandbox_workspace_write]`; `None` when no mode is said anywhere.
    pub sandbox: Option<SandboxPolicy>,
    /// What `workspace-write` means here, whichever mode is said.
    pub workspace_write: WorkspaceWrite,
    /// The modes that managed requirements leave; `None` leaves all.
    pub allowed_modes: Option<Vec<SandboxMode>>,
    /// The approval policies, by name, that managed requirements leave; `None` leaves all.
    pub allowed_approvals: Option<Vec<String>>,
    /// `[shell_environment_policy]`
    pub environment: EnvironmentPolicy,
    /// `notify`: a program with arguments, to which a JSON text is appended.
    pub notify: Option<Vec<String>>,
    /// `[otel]`
    pub otel: Option<OtelSettings>,
    /// `[mcp_servers.*]`
    pub mcp_servers: IndexMap<String, McpServer>,
    /// How AGENTS.md files are found.
    pub instructions: InstructionSettings,
    /// `background_terminal_max_timeout`
    pub background_terminal_max_timeout: Option<Duration>,
    /// The rules of all files, weakest layer first.
    pub rules: Vec<PrefixRule>,
    /// `host_executable` of all rule files.
    pub host_executables: IndexMap<String, Vec<String>>,
    /// `network_rule` of all rule files.
    pub hosts: Vec<HostRule>,
    /// Every file that was read, weakest first, with the keys it decided.
    pub files: Vec<PolicySource>,
    /// Every key that was set, with where.
    pub explained: Vec<ExplainedKey>,
    /// What a person should know: ignored files and keys, replaced values.
    pub notes: Vec<String>,
}

/// What `workspace-write` opens and closes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WorkspaceWrite {
    /// Absolute folders.
    pub writable_roots: Vec<String>,
    /// Whether the network is open.
    pub has_network: bool,
    /// Whether `$TMPDIR` stays closed.
    pub exclude_tmpdir: bool,
    /// Whether `/tmp` stays closed.
    pub exclude_slash_tmp: bool,
}

/// A key with where it was decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExplainedKey {
    /// The key with its tables, joined by dots.
    pub key: String,
    /// Its value, shortened; `****` for what may be secret.
    pub value: String,
    /// The file and the line.
    pub source: Source,
}

/// Finding of AGENTS.md files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstructionSettings {
    /// `project_doc_max_bytes`; 32768 by default.
    pub max_bytes: u64,
    /// `project_doc_fallback_filenames`
    pub fallback_names: Vec<String>,
    /// `project_root_markers`; `.git` by default, and none means never to look above.
    pub root_markers: Vec<String>,
}

impl Default for InstructionSettings {
    fn default() -> Self {
        Self { max_bytes: 32_768, fallback_names: Vec::new(), root_markers: vec![".git".to_owned()] }
    }
}

/// An MCP server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct McpServer {
    /// How it is reached.
    pub transport: McpTransport,
    /// Whether it is used; yes by default.
    pub enabled: bool,
    /// Whether a run without it is a failure.
    pub required: bool,
    /// How long it may take to start.
    pub startup_timeout: Option<Duration>,
    /// How long a tool may take.
    pub tool_timeout: Option<Duration>,
    /// The only tools used, if there are any.
    pub enabled_tools: Option<Vec<String>>,
    /// Tools that are not used.
    pub disabled_tools: Vec<String>,
    /// When its tools need consent.
    pub approval: McpApproval,
    /// The same for single tools.
    pub tools: IndexMap<String, McpApproval>,
}

/// How an MCP server is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum McpTransport {
    /// A program that speaks over its standard streams.
    Stdio {
        /// The program.
        command: String,
        /// Its arguments.
        args: Vec<String>,
        /// Variables set for it.
        env: IndexMap<String, SecretText>,
        /// Names of variables passed on to it.
        env_vars: Vec<String>,
        /// Where it runs.
        cwd: Option<String>,
    },
    /// Streamable HTTP.
    Http {
        /// The address.
        url: String,
        /// The variable that holds a bearer token.
        bearer_token_env_var: Option<String>,
        /// Headers.
        http_headers: IndexMap<String, SecretText>,
        /// Headers whose values are in variables.
        env_http_headers: IndexMap<String, SecretText>,
        /// OAuth scopes.
        scopes: Vec<String>,
    },
}

/// Where telemetry goes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OtelSettings {
    /// `environment`
    pub environment: Option<String>,
    /// `log_user_prompt`; no by default.
    pub log_user_prompt: bool,
    /// `exporter`, of log records.
    pub logs: OtelExporter,
    /// `trace_exporter`
    pub traces: OtelExporter,
    /// `metrics_exporter`
    pub metrics: OtelExporter,
}

/// An exporter of telemetry.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum OtelExporter {
    /// None.
    #[default]
    None,
    /// Codex's own service, which is not ours to use.
    Statsig,
    /// OTLP over HTTP.
    Http {
        /// The address, used verbatim.
        endpoint: String,
        /// Whether bodies are JSON; else protobuf.
        is_json: bool,
        /// Headers.
        headers: IndexMap<String, SecretText>,
        /// Certificates.
        tls: OtelTls,
    },
    /// OTLP over gRPC.
    Grpc {
        /// The address, used verbatim.
        endpoint: String,
        /// Headers.
        headers: IndexMap<String, SecretText>,
        /// Certificates.
        tls: OtelTls,
    },
}

/// Files of an exporter's certificates.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OtelTls {
    /// `ca-certificate`
    pub ca_certificate: Option<String>,
    /// `client-certificate`
    pub client_certificate: Option<String>,
    /// `client-private-key`
    pub client_private_key: Option<String>,
}

/// A text that may be secret: it never shows itself.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretText(String);

impl SecretText {
    pub(crate) const fn new(text: String) -> Self {
        Self(text)
    }

    /// The text itself.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("****")
    }
}

/// Says why the settings cannot be used. Nothing runs then: less than they say must not hold.
#[derive(Debug, thiserror::Error)]
pub enum CodexError {
    /// `$CODEX_HOME` is set to something that is no folder.
    #[error("`CODEX_HOME` is `{}`, which is not a directory", .path.display())]
    HomeNotADirectory {
        /// What it says.
        path: PathBuf,
    },
    /// A profile that is not there.
    #[error("there is no profile `{name}`: `{}` does not exist", .path.display())]
    NoProfile {
        /// Its name.
        name: String,
        /// Where it would be.
        path: PathBuf,
    },
    /// A profile's name that could leave the folder.
    #[error("a profile cannot be named `{}`", .name.escape_debug())]
    ProfileName {
        /// The name.
        name: String,
    },
    /// A file is there but could not be read.
    #[error("failed to read Codex's file `{}`", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file is larger than any real one.
    #[error("Codex's file `{}` is larger than {bytes} bytes", .path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The bound.
        bytes: u64,
    },
    /// A folder holds more rule files than anybody would write.
    #[error("the folder `{}` holds more than {count} rule files", .path.display())]
    TooManyRules {
        /// The folder.
        path: PathBuf,
        /// The bound.
        count: usize,
    },
    /// A file says something that cannot be.
    #[error("{}", crate::problem::describe("Codex's file", .problems, *.omitted))]
    Invalid {
        /// What is wrong; at most 20.
        problems: Vec<Problem>,
        /// How many more there were.
        omitted: usize,
    },
}
