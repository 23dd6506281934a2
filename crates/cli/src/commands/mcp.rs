//! `mcp`: serving clients, the long sessions that began as runners for them, and the person's own servers.
//!
//! `mcp start` returns at once; the run belongs to a process of its own (`mcp own`), so that no
//! client's time-out and no closed terminal ends it. `mcp poll` shows where it stands.

mod client;
mod door;
mod own;
mod receipts;
mod responses;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use co_mcp::{Access, Errand, Host as _, HttpOptions, StartErrand, Token};
use co_model::RunId;
use co_runtime::Orchestrator;
use serde_json::{Value, json};

use crate::args::{Format, McpServeArguments, McpStartArguments, StatusArguments};
use crate::commands::status;
use crate::context::Context;
use crate::error::{CliError, Exit};
use crate::output::Data;

pub(crate) use client::{bridge, call, switch_on, tools};
use door::Door;
pub(crate) use own::{SESSION, on_our_own, own};

/// The variable that may hold the bearer token of HTTP clients.
pub(crate) const TOKEN_VARIABLE: &str = "CODEX_ORCHESTRATOR_MCP_TOKEN";
/// How often a watched run is looked at when nothing is shown meanwhile.
const LOOK: Duration = Duration::from_millis(200);
/// The largest file that is taken for a token, in bytes.
const LARGEST_TOKEN_FILE: u64 = 64 << 10;

pub(crate) fn serve(context: Context, arguments: &McpServeArguments) -> Result<Exit, CliError> {
    let setup = |error: &dyn std::error::Error| CliError::of(Exit::Setup, error);
    let Some(address) = arguments.http else {
        co_mcp::serve_stdio(Arc::new(Door::new(context)?)).map_err(|error| setup(&error))?;
        return Ok(Exit::Done);
    };
    let access = if arguments.no_token {
        Access::Everyone
    } else {
        Access::Token(token(&context, arguments.token_file.as_deref())?)
    };
    let options = HttpOptions {
        address,
        remote: arguments.allow_remote,
        access,
        hosts: arguments.allow_host.clone(),
        origins: arguments.allow_origin.clone(),
    };
    let listening = |address: std::net::SocketAddr| {
        let mut data = Data::exact();
        let url = format!("http://{address}/mcp");
        data.line(&json!({ "type": "listening", "url": url, "pid": std::process::id() }).to_string());
        data.flush();
    };
    let served = co_mcp::serve_http(Arc::new(Door::new(context)?), &options, listening);
    served.map_err(|error| match error {
        co_mcp::ServeError::NotLoopback { .. } => {
            CliError::of(Exit::Usage, &error).hint("--allow-remote, together with a token")
        }
        error => setup(&error),
    })?;
    Ok(Exit::Done)
}

fn token(context: &Context, file: Option<&Path>) -> Result<Token, CliError> {
    let text = match (file, context.environment.get(TOKEN_VARIABLE)) {
        (Some(path), _) => read_token(path).map_err(|error| {
            CliError::new(Exit::Setup, format!("failed to read the token from `{}`: {error}", path.display()))
        })?,
        (None, Some(value)) => value.to_string_lossy().into_owned(),
        (None, None) => {
            return Err(CliError::new(Exit::Usage, "HTTP clients need a bearer token, and none is set")
                .hint(format!("--token-file FILE, or the variable {TOKEN_VARIABLE}"))
                .hint("--no-token lets every program on this machine in"));
        }
    };
    Token::new(&text).map_err(|reason| CliError::new(Exit::Usage, reason))
}

fn read_token(path: &Path) -> std::io::Result<String> {
    use std::io::Read as _;
    let mut text = String::new();
    std::fs::File::open(path)?.take(LARGEST_TOKEN_FILE).read_to_string(&mut text)?;
    Ok(text)
}

pub(crate) fn start(context: &Context, arguments: McpStartArguments) -> Result<Exit, CliError> {
    let errand = Errand::Start(StartErrand {
        pipeline: arguments.pipeline,
        timeout_seconds: Some(arguments.timeout.as_secs().max(1)),
        commands: arguments.command,
        responses: true,
        task: context.task_is_named.then(|| context.settings.task.value.to_string()),
        approval_policy: Some(arguments.approval_policy),
        idempotency_key: arguments.idempotency_key,
        ..StartErrand::default()
    });
    let format = context.format;
    let door = Door::new(context.clone())?;
    let receipt = door.send(&errand, &door.actor()).map_err(|refusal| {
        let exit = Exit::of_code(refusal.exit_code);
        refusal
            .hints
            .iter()
            .fold(CliError::new(exit, refusal.message), |error, hint| error.hint(hint.clone()))
    })?;
    let mut data = Data::exact();
    if format == Format::Text {
        data.line(&receipt.run_id);
        data.line(&format!("manifest: {}", receipt.manifest));
        data.line(&format!("poll:     codex-orchestrator mcp poll --run {} --watch", receipt.run_id));
    } else {
        data.line(&json!(receipt).to_string());
    }
    data.flush();
    Ok(Exit::Done)
}

pub(crate) fn poll(context: &Context, arguments: &StatusArguments) -> Result<Exit, CliError> {
    let orchestrator = context.existing()?;
    let run = context.run_or_newest(&orchestrator, arguments.run.as_ref())?;
    let exit = if context.format == Format::Json {
        poll_document(context, &orchestrator, &run, arguments.watch)?
    } else {
        let shown =
            StatusArguments { run: Some(run.clone()), watch: arguments.watch, interval: arguments.interval };
        status::status(context, &shown)?
    };
    if context.format == Format::Text {
        let snapshot = orchestrator.snapshot(&run)?;
        let mut data = Data::exact();
        for path in responses::refresh(&context.layout, &snapshot)? {
            data.line(&format!("response: {path}"));
        }
        data.flush();
    }
    Ok(exit)
}

/// The status as one document, with the response files; when watched, once the run is over.
fn poll_document(
    context: &Context,
    orchestrator: &Orchestrator,
    run: &RunId,
    watch: bool,
) -> Result<Exit, CliError> {
    let mut snapshot = orchestrator.snapshot(run)?;
    let at_rest =
        |status: co_model::RunStatus| status.is_over() || status == co_model::RunStatus::Interrupted;
    while watch && !at_rest(snapshot.state.status()) {
        std::thread::park_timeout(LOOK);
        snapshot = orchestrator.snapshot(run)?;
    }
    let written = responses::refresh(&context.layout, &snapshot)?;
    let mut document = json!(status::view(context, orchestrator, &snapshot));
    if let Value::Object(fields) = &mut document {
        fields.insert("responses".to_owned(), json!(written));
    }
    let mut data = Data::exact();
    data.line(&format!("{document:#}"));
    data.flush();
    Ok(if watch { status::exit(&snapshot) } else { Exit::Done })
}
