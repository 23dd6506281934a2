//! Codex through `codex app-server`: JSON-RPC in both directions, with consents, steering and several turns.
//!
//! Facts this module is built on, seen with Codex 0.169: one message per line; an item that waits for consent is
//! announced before the question, a command that needs none only once it runs (it then has a process id); an approved
//! command is repeated outside its sandbox without another question; `acceptForSession` is taken even where it is not
//! offered; closing stdin ends the server and its commands.

mod consent;
mod dialogue;
mod items;

use std::ffi::OsString;
use std::path::Path;

pub use dialogue::CodexServerDialogue;

use crate::dialogue::{Dialogue, Transcript};
use crate::driver::{AgentRequest, Driver, Launch, McpServers, PrepareError, check};
use crate::program::{Program, find_codex};
use crate::recorder::Recorder;

/// Drives Codex through `codex app-server`, one process per conversation.
///
/// The prompt, the thread, the model, the sandbox and the approval policy go through the protocol; `CODEX_HOME` is
/// inherited, as with [`CodexExec`](crate::CodexExec).
#[derive(Debug, Clone, Copy, Default)]
pub struct CodexAppServer;

impl Driver for CodexAppServer {
    fn name(&self) -> &'static str {
        "codex-app-server"
    }

    fn prepare(&self, request: &AgentRequest<'_>) -> Result<Launch, PrepareError> {
        check(self, request)?;
        let unsupported = [
            (request.profile.is_some(), "a profile"),
            (request.last_message_file.is_some(), "a file for its last message"),
            (request.output_schema_file.is_some(), "a schema of its last message"),
        ];
        if let Some((_, what)) = unsupported.into_iter().find(|(asked, _)| *asked) {
            return Err(PrepareError::Unsupported { agent: self.name(), what });
        }
        let Program { path, environment_additions } =
            find_codex(request.program, request.cwd, request.environment)?;
        let mut argv = vec![OsString::from(path), "app-server".into()];
        for (key, value) in request.settings {
            argv.extend(["-c".into(), format!("{key}={value}").into()]);
        }
        for setting in request.mcp.into_iter().flat_map(McpServers::codex_settings) {
            argv.extend(["-c".into(), setting.into()]);
        }
        argv.extend(request.extra_arguments.iter().cloned());
        Ok(Launch { argv, environment_additions })
    }

    fn dialogue(&self, request: &AgentRequest<'_>) -> Box<dyn Dialogue + Send> {
        Box::new(CodexServerDialogue::new(request))
    }

    fn transcript(&self, cwd: &Path) -> Box<dyn Transcript + Send> {
        Box::new(CodexServerDialogue::reading(Recorder::spellings(cwd)))
    }
}
