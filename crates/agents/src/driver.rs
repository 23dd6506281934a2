//! What every agent's driver does, and the agents that are known by name.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::codex::CodexExec;
use crate::observation::AgentObservation;
use crate::report::AgentReport;
use crate::thread::ThreadId;

/// Names the agents that [`driver_for`] knows.
pub const KNOWN_AGENTS: &[&str] = &["codex"];

/// Starts one kind of agent and understands what it prints.
///
/// A driver starts nothing itself: it says what to start, and how to read it. One process is one turn; a later turn of
/// the same conversation is another request with its [`thread`](AgentRequest::thread).
pub trait Driver: fmt::Debug + Send + Sync {
    /// Returns the name by which pipelines ask for this agent.
    fn name(&self) -> &'static str;

    /// Finds the agent's program and composes its command line.
    ///
    /// # Errors
    /// Every way in which the request cannot be started as it stands; nothing is left out silently.
    fn prepare(&self, request: &AgentRequest<'_>) -> Result<Launch, PrepareError>;

    /// Begins a transcript of an agent that works in `cwd`.
    ///
    /// Looks `cwd` up once: agents print real paths, and the request may have named a symbolic link.
    fn transcript(&self, cwd: &Path) -> Box<dyn Transcript + Send>;
}

/// Reads what an agent prints on stdout, piece by piece, in bounded memory.
pub trait Transcript: fmt::Debug {
    /// Adds bytes, cut anywhere, and reports what they complete.
    fn push(&mut self, bytes: &[u8], observe: &mut dyn FnMut(AgentObservation));

    /// Ends the transcript and sums it up. Stdout has ended, or nothing of it is read any more.
    fn finish(self: Box<Self>, observe: &mut dyn FnMut(AgentObservation)) -> AgentReport;
}

/// Asks for one turn of an agent.
#[derive(Clone)]
pub struct AgentRequest<'a> {
    /// The agent's name; see [`KNOWN_AGENTS`].
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
    /// A named profile of the agent's own configuration.
    pub profile: Option<&'a str>,
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
            profile: None,
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
            .field("profile", &self.profile)
            .field("program", &self.program)
            .finish_non_exhaustive()
    }
}

/// Says what the commands of an agent may touch, enforced by the agent's own sandbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SandboxMode {
    /// Nothing; they may read everything.
    ReadOnly,
    /// The working directory and temporary directories; no network unless configured.
    WorkspaceWrite,
    /// Everything.
    DangerFullAccess,
}

impl SandboxMode {
    /// Returns the name that Codex and pipelines use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ReadOnly => "read-only",
            Self::WorkspaceWrite => "workspace-write",
            Self::DangerFullAccess => "danger-full-access",
        }
    }
}

impl fmt::Display for SandboxMode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// Says exactly what to start.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct Launch {
    /// The program, absolute, and its arguments.
    pub argv: Vec<OsString>,
    /// What to write to stdin, which is then closed.
    pub stdin: Vec<u8>,
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
    /// The prompt holds nothing but white space; the agent would refuse it.
    #[error("the prompt is empty")]
    EmptyPrompt,
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
            Self::UnknownAgent { .. } | Self::RelativeDirectory { .. } => None,
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

/// Returns the driver of the agent that is called `name`.
///
/// # Errors
/// [`PrepareError::UnknownAgent`], with the names that exist.
pub fn driver_for(name: &str) -> Result<Box<dyn Driver>, PrepareError> {
    match name {
        "codex" => Ok(Box::new(CodexExec)),
        _ => Err(PrepareError::UnknownAgent { name: name.to_owned(), known: KNOWN_AGENTS.to_vec() }),
    }
}
