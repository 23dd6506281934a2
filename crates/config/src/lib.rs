//! Pipeline files, repository detection, settings and where each value came from.
//!
//! Owns the reading of everything a person configures: `codex.orchestrator.json`, the user's
//! `config.toml`, environment variables. What comes out is valid; what does not come out is a
//! list of problems with their places. Starts no program and writes no file.

mod canonical;
mod codex;
mod detect;
mod document;
mod environment;
mod fields;
mod files;
mod keys;
mod load;
mod problem;
mod resolve;
mod schema;
mod settings;
mod starter;
mod user_file;

pub use canonical::canonical_json;
pub use codex::{
    CodexError, CodexPlaces, CodexSettings, Direction, ExplainedKey, InstructionSettings, McpServer,
    McpServerError, McpTransport, OtelExporter, OtelSettings, OtelTls, Override, OverrideError, Overrides,
    SecretText, WorkspaceWrite, load_codex, mcp_policy, tool_policy,
};
pub use detect::{Detected, DetectedStage, Detection, NothingDetected, Purpose, Toolchain, builtin, detect};
pub use environment::Environment;
pub use load::{LoadError, Loaded, SelectError, load};
pub use problem::Problem;
pub use schema::{SCHEMA_FILE, pipeline_schema};
pub use settings::{ExplainedSetting, Flags, Setting, Settings, SettingsError, Source};
pub use starter::starter_file;
pub use user_file::TaskWord;

/// Name of a repository's pipeline file.
pub const PIPELINE_FILE: &str = "codex.orchestrator.json";

/// Id of the pipeline that is built from what the repository contains.
pub const BUILT_IN: &str = "diagnostics";
