//! Composes the command line of an agent that speaks the protocol.

use std::ffi::OsString;
use std::path::Path;

use co_model::SandboxMode;

use super::AcpDialogue;
use crate::dialogue::{Dialogue, Transcript};
use crate::driver::{AgentRequest, Driver, KNOWN_AGENTS, Launch, PrepareError, check_work};
use crate::program::find;
use crate::recorder::Recorder;

const HINT: &str = "install the agent, and name the command that makes it speak the Agent Client Protocol after \
                    `acp:`, for example `acp:gemini --experimental-acp`";

/// Drives an agent that speaks the Agent Client Protocol.
///
/// Pipelines ask for it by `acp:` and the agent's command line, or by `acp` and a `program`. The protocol chooses
/// neither a sandbox nor an approval policy: what the agent asks for is answered, and what it does not ask for only a
/// sandbox around its process can hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AcpAgent {
    command: Vec<String>,
}

impl AcpAgent {
    /// Returns the driver of the agent that a command line starts; quoted as for a shell, which is not used.
    ///
    /// # Errors
    /// [`PrepareError::Command`] if that is no command.
    pub fn new(command: &str) -> Result<Self, PrepareError> {
        match shlex::split(command) {
            Some(words) if !words.is_empty() => Ok(Self { command: words }),
            _ => Err(PrepareError::Command { command: command.to_owned() }),
        }
    }
}

impl Driver for AcpAgent {
    fn name(&self) -> &'static str {
        "acp"
    }

    fn prepare(&self, request: &AgentRequest<'_>) -> Result<Launch, PrepareError> {
        if request.agent != self.name() && !request.agent.starts_with("acp:") {
            let name = request.agent.to_owned();
            return Err(PrepareError::UnknownAgent { name, known: KNOWN_AGENTS.to_vec() });
        }
        check_work(request)?;
        let unknown = [
            (request.model.is_some(), "a model"),
            (request.profile.is_some(), "a profile"),
            (!request.settings.is_empty(), "settings"),
            (request.last_message_file.is_some(), "a file for its last message"),
            (request.output_schema_file.is_some(), "an output schema"),
        ];
        if let Some((_, what)) = unknown.into_iter().find(|(given, _)| *given) {
            return Err(PrepareError::Unsupported { agent: "acp", what });
        }
        let (program, arguments) = match (request.program, self.command.split_first()) {
            (Some(program), Some((_, arguments))) => (program, arguments),
            (Some(program), None) => (program, &[][..]),
            (None, Some((program, arguments))) => (Path::new(program), arguments),
            (None, None) => return Err(PrepareError::Command { command: String::new() }),
        };
        let mut argv = vec![OsString::from(find(program, HINT, request.cwd, request.environment)?)];
        argv.extend(arguments.iter().map(OsString::from));
        argv.extend(request.extra_arguments.iter().cloned());
        Ok(Launch { argv, environment_additions: Vec::new() })
    }

    fn dialogue(&self, request: &AgentRequest<'_>) -> Box<dyn Dialogue + Send> {
        let full_access = request.sandbox == Some(SandboxMode::DangerFullAccess);
        Box::new(
            AcpDialogue::new(Recorder::spellings(request.cwd))
                .with_full_access(full_access)
                .with_mcp_servers(request.mcp)
                .with_prompt(request.prompt, request.thread),
        )
    }

    fn transcript(&self, cwd: &Path) -> Box<dyn Transcript + Send> {
        Box::new(AcpDialogue::new(Recorder::spellings(cwd)))
    }
}
