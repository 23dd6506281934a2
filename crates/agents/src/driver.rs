//! What every agent's driver does, and the agents that are known by name.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

use co_model::{ApprovalPolicy, SandboxMode};

use crate::acp::AcpAgent;
use crate::claude::ClaudeCode;
use crate::codex::{CodexAppServer, CodexExec};
use crate::dialogue::{Dialogue, Transcript};
use crate::thread::ThreadId;

/// Names the agents that [`driver_for`] knows.
pub const KNOWN_AGENTS: &[&str] = &["codex", "codex-app-server", "claude", "acp"];

/// Starts one kind of agent and understands what it prints.
///
/// A driver starts nothing itself: it says what to start, and speaks with it. One process takes one turn, and more where
/// [`Dialogue::continue_with`] is taken; a later turn of the same conversation in another process is another request
/// with its [`thread`](AgentRequest::thread).
pub trait Driver: fmt::Debug + Send + Sync {
    /// Returns the name by which pipelines ask for this agent.
    fn name(&self) -> &'static str;

    /// Finds the agent's program and composes its command line.
    ///
    /// # Errors
    /// Every way in which the request cannot be started as it stands; nothing is left out silently.
    fn prepare(&self, request: &AgentRequest<'_>) -> Result<Launch, PrepareError>;

    /// Begins the dialogue with a process that is started as [`prepare`](Self::prepare) says for the same request.
    ///
    /// Looks the request's `cwd` up once: agents print real paths, and it may have been named through a link.
    fn dialogue(&self, request: &AgentRequest<'_>) -> Box<dyn Dialogue + Send>;

    /// Begins to read what such a process printed, in `cwd`, without speaking to it.
    ///
    /// That may be a part of its output: an event that refers to what was not read is taken as far as it goes.
    fn transcript(&self, cwd: &Path) -> Box<dyn Transcript + Send>;
}

/// Asks for one turn of an agent.
#[derive(Clone)]
pub struct AgentRequest<'a> {
    /// The agent's name; see [`KNOWN_AGENTS`]. After `acp:` stands the command of an agent that speaks that protocol.
    pub agent: &'a str,
    /// The prompt; it goes to stdin, never into the command line.
    pub prompt: &'a str,
    /// The directory in which the agent works, absolute.
    pub cwd: &'a Path,
    /// The conversation to continue; none begins a new one.
    pub thread: Option<&'a ThreadId>,
    /// The model; none leaves it to the agent's own configuration.
    pub model: Option<&'a str>,
    /// The sandbox; none leaves it to the agent's own configuration.
    pub sandbox: Option<SandboxMode>,
    /// When the agent asks for consent; none leaves it to the agent's own configuration.
    ///
    /// Agents that cannot ask ([`Dialogue::input_open`] is never true) leave it aside: they never ask.
    pub approval: Option<ApprovalPolicy>,
    /// A named profile of the agent's own configuration.
    pub profile: Option<&'a str>,
    /// The MCP servers that the agent has; none leaves that to the agent's own configuration.
    pub mcp: Option<&'a McpServers>,
    /// Settings that override the agent's own configuration, as (dotted key, TOML value).
    pub settings: &'a [(String, String)],
    /// Further options, added as they stand after all others and before a `resume`.
    pub extra_arguments: &'a [OsString],
    /// Whether the agent may work in a directory that is no git repository.
    pub outside_repository: bool,
    /// Where the agent is to write its last message, in full.
    pub last_message_file: Option<&'a Path>,
    /// A JSON Schema file that the last message is to satisfy.
    pub output_schema_file: Option<&'a Path>,
    /// The agent's program, instead of the usual name; a name without a slash is looked up on `PATH`.
    pub program: Option<&'a Path>,
    /// Answers for the environment that the agent will run in (`PATH`, …).
    pub environment: &'a dyn Fn(&str) -> Option<OsString>,
}

impl<'a> AgentRequest<'a> {
    /// Returns a request for a new conversation that leaves everything else to the agent's own configuration.
    pub fn new(
        agent: &'a str,
        prompt: &'a str,
        cwd: &'a Path,
        environment: &'a dyn Fn(&str) -> Option<OsString>,
    ) -> Self {
        Self {
            agent,
            prompt,
            cwd,
            thread: None,
            model: None,
            sandbox: None,
            approval: None,
            profile: None,
            mcp: None,
            settings: &[],
            extra_arguments: &[],
            outside_repository: false,
            last_message_file: None,
            output_schema_file: None,
            program: None,
            environment,
        }
    }
}

impl fmt::Debug for AgentRequest<'_> {
    /// Leaves out the prompt, the settings and the environment: they may hold secrets.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("AgentRequest")
            .field("agent", &self.agent)
            .field("prompt_bytes", &self.prompt.len())
            .field("cwd", &self.cwd)
            .field("thread", &self.thread)
            .field("model", &self.model)
            .field("sandbox", &self.sandbox)
            .field("approval", &self.approval)
            .field("profile", &self.profile)
            .field("program", &self.program)
            .finish_non_exhaustive()
    }
}

/// The MCP servers of a person that an agent has, and no others.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct McpServers {
    /// Those that are switched on.
    pub given: Vec<McpServer>,
    /// Those that the person's Codex settings define as well; Codex is told to leave them off.
    pub others: Vec<String>,
}

/// An MCP server that an agent is to have, for agents that do not know the person's Codex settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct McpServer {
    /// Its name in those settings.
    pub name: String,
    /// The program that speaks for it over its standard streams, absolute. Nothing of it is secret.
    pub command: PathBuf,
    /// The program's arguments.
    pub arguments: Vec<String>,
    /// Variables that the program needs. Nothing of them is secret.
    pub environment: Vec<(String, String)>,
}

impl McpServers {
    /// What Codex is told of them, as settings: it starts them itself, as its own settings define them.
    pub(crate) fn codex_settings(&self) -> impl Iterator<Item = String> {
        let setting = |name: &str, enabled: bool| {
            // Codex takes no other names, and its dotted keys no quotes.
            let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
            name.chars().all(is_plain).then(|| format!("mcp_servers.{name}.enabled={enabled}"))
        };
        let given = self.given.iter().filter_map(move |server| setting(&server.name, true));
        given.chain(self.others.iter().filter_map(move |name| setting(name, false)))
    }
}

/// Says exactly what to start.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct Launch {
    /// The program, absolute, and its arguments.
    pub argv: Vec<OsString>,
    /// Variables to set on top of the environment that the request answered for.
    pub environment_additions: Vec<(OsString, OsString)>,
}

/// Says why an agent cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    /// No driver has this name.
    #[error("no agent is called `{name}`; known: {}", known.join(", "))]
    UnknownAgent {
        /// The name.
        name: String,
        /// The names that exist.
        known: Vec<&'static str>,
    },
    /// The agent's program is not where it was looked for.
    #[error("agent program `{program}` was not found{}", places(searched))]
    NotFound {
        /// The program's name or path.
        program: String,
        /// The directories or files that were looked at, in order.
        searched: Vec<PathBuf>,
        /// How to get the program.
        hint: &'static str,
    },
    /// What is to start the agent is no command line.
    #[error("`{command}` is no command line that starts an agent")]
    Command {
        /// What was given.
        command: String,
    },
    /// The JSON Schema for the last message cannot be read.
    #[error("the output schema `{}` cannot be read", path.display())]
    Schema {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The prompt holds nothing but white space; the agent would refuse it.
    #[error("the prompt is empty")]
    EmptyPrompt,
    /// The agent cannot do something that the request asks for.
    #[error("agent `{agent}` does not take {what}")]
    Unsupported {
        /// The agent.
        agent: &'static str,
        /// What it does not take.
        what: &'static str,
    },
    /// The working directory is not absolute, so that the agent might understand it differently.
    #[error("working directory `{}` is not absolute", cwd.display())]
    RelativeDirectory {
        /// The directory.
        cwd: PathBuf,
    },
}

impl PrepareError {
    /// Returns what a person can do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NotFound { hint, .. } => Some(hint),
            Self::EmptyPrompt => {
                Some("give the agent stage a `prompt` that is not empty after its template is filled in")
            }
            Self::Command { .. } => Some("name the agent's command after `acp:`, quoted as for a shell"),
            Self::UnknownAgent { .. }
            | Self::Unsupported { .. }
            | Self::Schema { .. }
            | Self::RelativeDirectory { .. } => None,
        }
    }
}

fn places(searched: &[PathBuf]) -> String {
    /// Enough to see what is wrong with a `PATH`, not so many that they hide the message.
    const SHOWN: usize = 8;
    if searched.is_empty() {
        return "; PATH names no directory".to_owned();
    }
    let shown: Vec<String> = searched.iter().take(SHOWN).map(|place| place.display().to_string()).collect();
    let more = searched.len().saturating_sub(SHOWN);
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    format!("; looked in {}{more}", shown.join(", "))
}

/// Checks what every driver refuses before it looks for a program.
pub(crate) fn check(driver: &dyn Driver, request: &AgentRequest<'_>) -> Result<(), PrepareError> {
    if request.agent != driver.name() {
        let name = request.agent.to_owned();
        return Err(PrepareError::UnknownAgent { name, known: KNOWN_AGENTS.to_vec() });
    }
    check_work(request)
}

/// Checks the prompt and the working directory.
pub(crate) fn check_work(request: &AgentRequest<'_>) -> Result<(), PrepareError> {
    if request.prompt.trim().is_empty() {
        return Err(PrepareError::EmptyPrompt);
    }
    if !request.cwd.is_absolute() {
        return Err(PrepareError::RelativeDirectory { cwd: request.cwd.to_owned() });
    }
    Ok(())
}

/// Returns the driver of the agent that is called `name`.
///
/// # Errors
/// [`PrepareError::UnknownAgent`], with the names that exist.
pub fn driver_for(name: &str) -> Result<Box<dyn Driver>, PrepareError> {
    if let Some(command) = name.strip_prefix("acp:") {
        return Ok(Box::new(AcpAgent::new(command)?));
    }
    match name {
        "codex" => Ok(Box::new(CodexExec)),
        "codex-app-server" => Ok(Box::new(CodexAppServer)),
        "claude" => Ok(Box::new(ClaudeCode)),
        "acp" => Ok(Box::new(AcpAgent::default())),
        _ => Err(PrepareError::UnknownAgent { name: name.to_owned(), known: KNOWN_AGENTS.to_vec() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codex_is_told_of_servers_whose_names_it_takes() {
        let server = |name: &str| McpServer {
            name: name.to_owned(),
            command: PathBuf::from("/ours"),
            arguments: Vec::new(),
            environment: Vec::new(),
        };
        let others = ["web-2", "a.b", "a=\"b"].map(str::to_owned).to_vec();
        let servers = McpServers { given: vec![server("files")], others };
        let told: Vec<String> = servers.codex_settings().collect();
        assert_eq!(told, ["mcp_servers.files.enabled=true", "mcp_servers.web-2.enabled=false"]);
    }
}
