//! Composes the command line of `claude -p`.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use co_model::{ApprovalPolicy, SandboxMode};
use serde_json::{Map, Value, json};

use super::ClaudeDialogue;
use crate::dialogue::{Dialogue, Transcript};
use crate::driver::{AgentRequest, Driver, Launch, McpServer, McpServers, PrepareError, check};
use crate::program::{find, is_program};
use crate::recorder::Recorder;

const HINT: &str =
    "install it with `npm install -g @anthropic-ai/claude-code`, or name its program in the stage";

/// Bounds what can only be the placeholder that npm's package holds until its install script has run.
const PLACEHOLDER_LIMIT: u64 = 1024 * 1024;

/// The tools that change something or reach out, and that Claude Code would not always ask about.
const ASK_ALWAYS: &str =
    r#"{"permissions":{"ask":["Bash","Edit","Write","NotebookEdit","WebFetch","WebSearch"]}}"#;

/// Drives Claude Code, one process for one or more turns of a session.
///
/// The person's own log-in, settings and sessions are used. Whatever Claude Code asks consent for is asked of us, so no
/// permission mode is ever used that would not ask; a read-only sandbox and the policy `untrusted` make it ask even for
/// what its own settings allow. It has no sandbox that we could choose: see [`ClaudeDialogue`] for what that means for
/// a consent.
#[derive(Debug, Clone, Copy, Default)]
pub struct ClaudeCode;

impl Driver for ClaudeCode {
    fn name(&self) -> &'static str {
        "claude"
    }

    fn prepare(&self, request: &AgentRequest<'_>) -> Result<Launch, PrepareError> {
        check(self, request)?;
        refuse_what_it_does_not_know(request)?;
        let found =
            find(request.program.unwrap_or(Path::new("claude")), HINT, request.cwd, request.environment)?;
        let mut argv = vec![OsString::from(native(&found).unwrap_or(found))];
        argv.extend(arguments(request)?);
        Ok(Launch { argv, environment_additions: Vec::new() })
    }

    fn dialogue(&self, request: &AgentRequest<'_>) -> Box<dyn Dialogue + Send> {
        let unconfined = request.sandbox == Some(SandboxMode::DangerFullAccess);
        Box::new(
            ClaudeDialogue::new(Recorder::spellings(request.cwd))
                .with_prompt(request.prompt)
                .with_full_access(unconfined),
        )
    }

    fn transcript(&self, cwd: &Path) -> Box<dyn Transcript + Send> {
        Box::new(ClaudeDialogue::new(Recorder::spellings(cwd)))
    }
}

/// Names the options of a request that have no counterpart; leaving them out silently would be a lie.
fn refuse_what_it_does_not_know(request: &AgentRequest<'_>) -> Result<(), PrepareError> {
    let unknown = [
        (request.profile.is_some(), "a profile"),
        (!request.settings.is_empty(), "settings"),
        (request.last_message_file.is_some(), "a file for its last message"),
    ];
    match unknown.into_iter().find(|(given, _)| *given) {
        Some((_, what)) => Err(PrepareError::Unsupported { agent: "claude", what }),
        None => Ok(()),
    }
}

fn arguments(request: &AgentRequest<'_>) -> Result<Vec<OsString>, PrepareError> {
    let fixed = "-p --output-format stream-json --input-format stream-json --verbose --include-partial-messages \
                 --replay-user-messages --permission-prompt-tool stdio --disallowedTools=AskUserQuestion";
    let mut arguments: Vec<OsString> = fixed.split_whitespace().map(OsString::from).collect();
    let mut option = |name: &str, value: OsString| arguments.extend([OsString::from(name), value]);
    if request.approval.is_some() || request.sandbox.is_some() {
        option("--permission-mode", "default".into());
    }
    if request.approval == Some(ApprovalPolicy::Untrusted) || request.sandbox == Some(SandboxMode::ReadOnly) {
        option("--settings", ASK_ALWAYS.into());
    }
    if let Some(model) = request.model {
        option("--model", model.into());
    }
    if let Some(servers) = request.mcp {
        option("--mcp-config", mcp_config(servers).to_string().into());
    }
    if let Some(file) = request.output_schema_file {
        let schema = fs::read_to_string(file)
            .map_err(|source| PrepareError::Schema { path: file.to_owned(), source })?;
        option("--json-schema", schema.into());
    }
    if request.mcp.is_some() {
        arguments.push("--strict-mcp-config".into());
    }
    arguments.extend(request.extra_arguments.iter().cloned());
    if let Some(thread) = request.thread {
        arguments.extend(["--resume".into(), thread.as_str().into()]);
    }
    Ok(arguments)
}

/// The servers in Claude Code's own words. They are programs of ours, so that nothing of this is secret.
fn mcp_config(servers: &McpServers) -> Value {
    let of = |server: &McpServer| {
        let environment: Map<String, Value> =
            server.environment.iter().map(|(name, value)| (name.clone(), value.as_str().into())).collect();
        let command = server.command.to_string_lossy();
        (server.name.clone(), json!({"command": command, "args": server.arguments, "env": environment}))
    };
    json!({"mcpServers": servers.given.iter().map(of).collect::<Map<_, _>>()})
}

/// Returns the program of the platform's package if `found` is the placeholder in npm's package.
///
/// Its install script replaces the placeholder by the program, but npm may be told to run none.
fn native(found: &Path) -> Option<PathBuf> {
    let real = fs::canonicalize(found).ok()?;
    if !real.ends_with("bin/claude.exe") || fs::metadata(&real).ok()?.len() >= PLACEHOLDER_LIMIT {
        return None;
    }
    let package = real.parent()?.parent()?;
    let name = if cfg!(windows) { "claude.exe" } else { "claude" };
    let homes = package.ancestors().map(|directory| directory.join("node_modules/@anthropic-ai"));
    homes
        .flat_map(|home| platforms().map(|platform| home.join(platform).join(name)))
        .find(|path| is_program(path))
}

/// Returns the packages of this platform, as npm's package names them; only the one for its C library is installed.
fn platforms() -> [String; 2] {
    let system = match std::env::consts::OS {
        "macos" => "darwin",
        "windows" => "win32",
        other => other,
    };
    let machine = if cfg!(target_arch = "aarch64") { "arm64" } else { "x64" };
    let package = format!("claude-code-{system}-{machine}");
    [format!("{package}-musl"), package]
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn program(path: &Path, content: &str) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    #[test]
    fn the_placeholder_of_npm_leads_to_the_platforms_program_and_anything_else_is_left_as_it_is() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().canonicalize().unwrap();
        let placeholder = root.join("node_modules/@anthropic-ai/claude-code/bin/claude.exe");
        program(&placeholder, "echo not installed");
        assert_eq!(native(&placeholder), None, "the platform's package is not there");
        let expected = root.join("node_modules/@anthropic-ai").join(&platforms()[1]).join("claude");
        program(&expected, "\x7fELF");
        std::os::unix::fs::symlink(&placeholder, root.join("claude")).unwrap();
        assert_eq!(native(&root.join("claude")), Some(expected));
        program(&root.join("mine/claude"), "#!/bin/sh\n");
        assert_eq!(native(&root.join("mine/claude")), None);
        fs::File::options().write(true).open(&placeholder).unwrap().set_len(PLACEHOLDER_LIMIT).unwrap();
        assert_eq!(native(&placeholder), None, "that is the program itself");
    }
}
