//! Composes the command line of `codex exec`.

use std::ffi::OsString;
use std::path::Path;

use super::CodexTranscript;
use crate::dialogue::{Dialogue, Transcript};
use crate::driver::{AgentRequest, Driver, Launch, McpServers, PrepareError, check};
use crate::program::{Program, find_codex};
use crate::recorder::Recorder;

/// Drives Codex through `codex exec --json`, one process per turn.
///
/// The prompt goes to stdin. `CODEX_HOME` is inherited: the person's own log-in, configuration and sessions are used,
/// and a thread can only be resumed under the home that it was begun in. Codex asks for no approval in this mode.
#[derive(Debug, Clone, Copy, Default)]
pub struct CodexExec;

impl Driver for CodexExec {
    fn name(&self) -> &'static str {
        "codex"
    }

    fn prepare(&self, request: &AgentRequest<'_>) -> Result<Launch, PrepareError> {
        check(self, request)?;
        let Program { path, environment_additions } =
            find_codex(request.program, request.cwd, request.environment)?;
        let mut argv = vec![OsString::from(path)];
        argv.extend(arguments(request));
        Ok(Launch { argv, environment_additions })
    }

    fn dialogue(&self, request: &AgentRequest<'_>) -> Box<dyn Dialogue + Send> {
        Box::new(CodexTranscript::new(Recorder::spellings(request.cwd)).with_prompt(request.prompt))
    }

    fn transcript(&self, cwd: &Path) -> Box<dyn Transcript + Send> {
        Box::new(CodexTranscript::new(Recorder::spellings(cwd)))
    }
}

/// Returns the arguments after the program. `resume` knows few options of its own: all stand before the word, where
/// they apply to it as well.
fn arguments(request: &AgentRequest<'_>) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = vec!["exec".into(), "--json".into()];
    let mut option = |name: &str, value: OsString| arguments.extend([OsString::from(name), value]);
    option("-C", request.cwd.into());
    if let Some(sandbox) = request.sandbox {
        option("-s", sandbox.as_str().into());
    }
    if let Some(model) = request.model {
        option("-m", model.into());
    }
    if let Some(profile) = request.profile {
        option("-p", profile.into());
    }
    for (key, value) in request.settings {
        option("-c", format!("{key}={value}").into());
    }
    for setting in request.mcp.into_iter().flat_map(McpServers::codex_settings) {
        option("-c", setting.into());
    }
    if let Some(file) = request.last_message_file {
        option("-o", file.into());
    }
    if let Some(file) = request.output_schema_file {
        option("--output-schema", file.into());
    }
    if request.outside_repository {
        arguments.push("--skip-git-repo-check".into());
    }
    arguments.extend(request.extra_arguments.iter().cloned());
    if let Some(thread) = request.thread {
        arguments.extend(["resume".into(), thread.as_str().into()]);
    }
    arguments.push("-".into());
    arguments
}
