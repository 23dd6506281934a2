//! Which of the person's MCP servers a run may use.

use co_model::{McpPolicy, McpServerPolicy};
use indexmap::IndexMap;
use serde_json::{Value, json};

use super::layers::sha256;
use super::{CodexSettings, McpServer, McpTransport};
use crate::canonical::canonical_json;
use crate::problem::did_you_mean;

/// Says why a server cannot be switched on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum McpServerError {
    /// Nobody has defined it.
    #[error("there is no MCP server `{}` in your Codex settings", .name.escape_debug())]
    Unknown {
        /// The name.
        name: String,
        /// The names that exist, or the one that is meant.
        hint: Option<String>,
    },
    /// The settings switch it off.
    #[error("the MCP server `{name}` is switched off in your Codex settings")]
    Disabled {
        /// The name.
        name: String,
    },
}

impl McpServerError {
    /// What a person can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Unknown { hint, .. } => hint.clone(),
            Self::Disabled { name } => {
                Some(format!("remove `enabled = false` from `[mcp_servers.{name}]` to use it"))
            }
        }
    }
}

/// Switches servers on, by name; a name given twice counts once.
///
/// Which of their tools only read is for whoever asks them.
///
/// # Errors
/// [`McpServerError`] for a name that is not defined, or whose definition says that it is off.
pub fn mcp_policy<'n>(
    settings: &CodexSettings,
    names: impl IntoIterator<Item = &'n str>,
    profile: Option<&str>,
) -> Result<McpPolicy, McpServerError> {
    let mut servers = IndexMap::new();
    for name in names {
        let server = settings.mcp_server(name)?;
        servers.insert(
            name.to_owned(),
            McpServerPolicy {
                definition: server.fingerprint(),
                approval: server.approval,
                tools: server.tools.clone(),
                read_only: Vec::new(),
            },
        );
    }
    if servers.is_empty() {
        return Ok(McpPolicy::default());
    }
    let others = settings.mcp_servers.keys().filter(|name| !servers.contains_key(*name)).cloned().collect();
    Ok(McpPolicy { servers, others, profile: profile.map(str::to_owned) })
}

impl CodexSettings {
    /// A server that may be switched on.
    ///
    /// # Errors
    /// [`McpServerError`]
    pub fn mcp_server(&self, name: &str) -> Result<&McpServer, McpServerError> {
        match self.mcp_servers.get(name) {
            Some(server) if server.enabled => Ok(server),
            Some(_) => Err(McpServerError::Disabled { name: name.to_owned() }),
            None => {
                let known = self.mcp_servers.keys().map(String::as_str);
                let hint = if self.mcp_servers.is_empty() {
                    Some("define it under `[mcp_servers.NAME]` in `config.toml`".to_owned())
                } else {
                    did_you_mean(name, known)
                };
                Err(McpServerError::Unknown { name: name.to_owned(), hint })
            }
        }
    }
}

impl McpServer {
    /// SHA-256 of what the server is, in lower-case hexadecimal.
    ///
    /// The names of variables and headers count, their values do not: they may be secrets, of which not even
    /// a hash is recorded, and a renewed one changes nothing that a person has agreed to.
    pub fn fingerprint(&self) -> String {
        let transport = match &self.transport {
            McpTransport::Stdio { command, args, env, env_vars, cwd } => json!({
                "command": command, "args": args, "cwd": cwd, "env": names(env), "env_vars": env_vars,
            }),
            McpTransport::Http { url, bearer_token_env_var, http_headers, env_http_headers, scopes } => {
                json!({
                    "url": url, "bearer_token_env_var": bearer_token_env_var, "http_headers": names(http_headers),
                    "env_http_headers": names(env_http_headers), "scopes": scopes,
                })
            }
        };
        let tools = json!([self.enabled_tools, self.disabled_tools]);
        sha256(canonical_json(&json!([transport, tools])).as_bytes())
    }

    /// Whether the definition leaves a tool of the server in use.
    pub fn offers(&self, tool: &str) -> bool {
        let is_listed = |list: &[String]| list.iter().any(|name| name == tool);
        self.enabled_tools.as_deref().is_none_or(is_listed) && !is_listed(&self.disabled_tools)
    }
}

fn names<V>(map: &IndexMap<String, V>) -> Value {
    let mut names: Vec<&String> = map.keys().collect();
    names.sort();
    json!(names)
}
