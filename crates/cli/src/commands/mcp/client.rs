//! The person's own MCP servers: what they have, one call of a tool, and which of them a run may use.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use co_config::{McpServer, McpServerError, mcp_policy};
use co_mcp::{ClientError, McpCaller, ToolInfo};
use co_model::{ApprovalPolicy, McpApproval, McpStage, Pipeline, Stage, StageWork, ToolPolicy};
use serde_json::{Map, Value, json};

use crate::args::{Format, McpBridgeArguments, McpCallArguments, McpDefinitionOptions, McpToolsArguments};
use crate::context::Context;
use crate::error::{CliError, Exit};
use crate::output::{BOLD, DIM, Data, YELLOW, harmless, harmless_output, paint};

/// The longest arguments that are read, in bytes; what servers take as one message.
const LONGEST_ARGUMENTS: u64 = 8 << 20;

pub(crate) fn tools(context: &Context, arguments: &McpToolsArguments) -> Result<Exit, CliError> {
    let settings = context.codex_settings(arguments.definition.profile.as_deref())?;
    let names: Vec<&str> = if arguments.server.is_empty() {
        let enabled = settings.mcp_servers.iter().filter(|(_, server)| server.enabled);
        enabled.map(|(name, _)| name.as_str()).collect()
    } else {
        arguments.server.iter().map(String::as_str).collect()
    };
    let mut listed = Vec::new();
    let mut exit = Exit::Done;
    for name in names {
        let server = settings.mcp_server(name).map_err(|error| unusable(&error))?;
        let found = with_caller(context, name, server, co_mcp::list_tools);
        if let Err(error) = &found {
            exit = exit_of(error);
        }
        listed.push((name, found));
    }
    let mut data = Data::styled();
    if context.format == Format::Text {
        if listed.is_empty() {
            context.notes.progress("no MCP server is defined in your Codex settings");
        }
        for (name, found) in &listed {
            data.line(&paint(BOLD, &harmless(name)));
            match found {
                Ok(tools) => tools.iter().for_each(|tool| data.line(&line(tool))),
                Err(error) => data.line(&format!("  {}", harmless(&told(error)))),
            }
        }
    } else {
        let servers: Vec<Value> = listed.iter().map(|(name, found)| document(name, found)).collect();
        data.line(&format!("{:#}", json!({ "servers": servers })));
    }
    data.flush();
    Ok(exit)
}

fn line(tool: &ToolInfo) -> String {
    let mark = if tool.read_only { " (only reads)" } else { "" };
    let about =
        tool.description.as_deref().and_then(|text| text.lines().find(|line| !line.trim().is_empty()));
    let about = about.map(|text| paint(DIM, &format!("  {}", harmless(text.trim())))).unwrap_or_default();
    format!("  {}{mark}{about}", harmless(&tool.name))
}

fn document(name: &str, found: &Result<Vec<ToolInfo>, ClientError>) -> Value {
    let tool = |tool: &ToolInfo| {
        json!({
            "name": tool.name, "description": tool.description, "read_only": tool.read_only,
            "input_schema": tool.input_schema,
        })
    };
    match found {
        Ok(tools) => {
            json!({ "name": name, "tools": tools.iter().map(tool).collect::<Vec<_>>(), "error": null })
        }
        Err(error) => json!({ "name": name, "tools": [], "error": told(error) }),
    }
}

pub(crate) fn call(context: &Context, arguments: McpCallArguments) -> Result<Exit, CliError> {
    let McpCallArguments { server: name, tool, arguments, definition } = arguments;
    let given = object(&arguments)?;
    let server = defined(context, &name, &definition)?;
    let result = with_caller(context, &name, &server, |caller| co_mcp::call_tool(caller, &tool, given))
        .map_err(|error| failed(&error))?;
    let mut data = Data::exact();
    if context.format == Format::Text {
        data.line(&harmless_output(result.text.as_bytes()));
    } else {
        data.line(&result.document.to_string());
    }
    data.flush();
    if result.is_error {
        let said = harmless(result.text.lines().next().unwrap_or_default());
        let message = format!("the tool `{}` of the MCP server `{name}` failed: {said}", harmless(&tool));
        return Err(CliError::new(Exit::RunFailed, message));
    }
    Ok(Exit::Done)
}

fn object(text: &str) -> Result<Map<String, Value>, CliError> {
    let usage = |message: String| CliError::new(Exit::Usage, message);
    let mut read = String::new();
    let text = if text == "-" {
        let taken = std::io::stdin().take(LONGEST_ARGUMENTS).read_to_string(&mut read);
        taken.map_err(|error| usage(format!("the arguments could not be read: {error}")))?;
        read.as_str()
    } else {
        text
    };
    match serde_json::from_str(text) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err(usage("the arguments must be a JSON object".to_owned())),
        Err(error) => Err(usage(format!("the arguments are not JSON: {error}"))),
    }
}

pub(crate) fn bridge(context: &Context, arguments: &McpBridgeArguments) -> Result<Exit, CliError> {
    let server = defined(context, &arguments.server, &arguments.definition)?;
    with_caller(context, &arguments.server, &server, co_mcp::bridge).map_err(|error| failed(&error))?;
    Ok(Exit::Done)
}

/// A server as the person's settings define it now, which must be as it was.
fn defined(context: &Context, name: &str, options: &McpDefinitionOptions) -> Result<McpServer, CliError> {
    let settings = context.codex_settings(options.profile.as_deref())?;
    let server = settings.mcp_server(name).map_err(|error| unusable(&error))?;
    if options.definition.as_ref().is_some_and(|known| *known != server.fingerprint()) {
        let message = format!("the MCP server `{name}` is defined differently than when the run was begun");
        return Err(CliError::new(Exit::Refused, message)
            .hint(format!("resume the run with `--mcp-server {name}` to use it as it is now")));
    }
    Ok(server.clone())
}

fn with_caller<T>(
    context: &Context,
    name: &str,
    server: &McpServer,
    ask: impl FnOnce(&McpCaller<'_>) -> T,
) -> T {
    let cwd: PathBuf = context.environment.current_directory().unwrap_or(&context.layout.root).to_owned();
    let note = |text: &str| context.notes.progress(&paint(YELLOW, &format!("note: {}", harmless(text))));
    ask(&McpCaller { name, server, environment: &context.environment, cwd: Path::new(&cwd), note: &note })
}

fn unusable(error: &McpServerError) -> CliError {
    let exit = match error {
        McpServerError::Unknown { .. } => Exit::NotFound,
        McpServerError::Disabled { .. } => Exit::Refused,
    };
    let refused = CliError::of(exit, error);
    match error.hint() {
        Some(hint) => refused.hint(hint),
        None => refused,
    }
}

fn exit_of(error: &ClientError) -> Exit {
    match error {
        ClientError::UnknownTool { .. } => Exit::NotFound,
        ClientError::NotInUse { .. } => Exit::Refused,
        ClientError::Arguments { .. } => Exit::Usage,
        ClientError::StartTimeout { .. } | ClientError::ToolTimeout { .. } => Exit::TimedOut,
        ClientError::Died { .. } | ClientError::Refused { .. } => Exit::RunFailed,
        ClientError::Runtime { .. }
        | ClientError::Start { .. }
        | ClientError::MissingVariable { .. }
        | ClientError::Header { .. }
        | ClientError::Http { .. }
        | ClientError::Handshake { .. } => Exit::Setup,
    }
}

fn failed(error: &ClientError) -> CliError {
    let refused = CliError::new(exit_of(error), harmless(&told(error)));
    match error {
        ClientError::UnknownTool { known, .. } if !known.is_empty() => {
            refused.hint(format!("it has {}", harmless(&known.join(", "))))
        }
        _ => refused,
    }
}

/// The error with its cause.
fn told(error: &ClientError) -> String {
    match std::error::Error::source(error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

/// Switches servers on in a policy: those that the person names, and those that the pipelines of the run name.
///
/// A stage whose server is not among them, or whose tool the definition takes out of use, is refused here. What
/// only reads is asked of the servers once, where that decides whether a person is.
pub(crate) fn switch_on<'p>(
    context: &Context,
    policy: &mut ToolPolicy,
    profile: Option<&str>,
    said: &[String],
    pipelines: impl IntoIterator<Item = &'p Pipeline> + Clone,
) -> Result<(), CliError> {
    let named = pipelines.clone().into_iter().flat_map(|pipeline| &pipeline.mcp_servers);
    let names: Vec<&str> = said.iter().chain(named).map(String::as_str).collect();
    let calls: Vec<(&Stage, &McpStage)> = pipelines.into_iter().flat_map(calls).collect();
    if names.is_empty() && calls.is_empty() {
        return Ok(());
    }
    let settings = context.codex_settings(profile)?;
    policy.mcp = mcp_policy(&settings, names, profile).map_err(|error| unusable(&error))?;
    for (stage, call) in &calls {
        let server = settings.mcp_server(&call.server).map_err(|error| unusable(&error))?;
        if !policy.mcp.servers.contains_key(&call.server) {
            let message = format!(
                "stage `{}` calls the MCP server `{}`, which is not switched on",
                stage.id, call.server
            );
            return Err(CliError::new(Exit::Refused, message).hint(format!(
                "--mcp-server {}, or `\"mcp_servers\": [\"{}\"]` in the pipeline",
                call.server, call.server
            )));
        }
        if !server.offers(&call.tool) {
            let error = ClientError::NotInUse { server: call.server.clone(), tool: call.tool.clone() };
            return Err(failed(&error));
        }
    }
    for (name, known) in &mut policy.mcp.servers {
        let decides = |(stage, call): &&(&Stage, &McpStage)| {
            call.server == *name
                && !stage.approval_required
                && matches!(known.approval_of(&call.tool), McpApproval::Auto | McpApproval::Writes)
        };
        if policy.approval == ApprovalPolicy::Untrusted || !calls.iter().any(|call| decides(&call)) {
            continue;
        }
        let Ok(server) = settings.mcp_server(name) else { continue };
        match with_caller(context, name, server, co_mcp::list_tools) {
            Ok(tools) => {
                let reading = tools.into_iter().filter(|tool| tool.read_only);
                known.read_only = reading.map(|tool| tool.name).collect();
                known.read_only.sort();
            }
            Err(error) => {
                let text = format!("note: {}; its calls need consent", told(&error));
                context.notes.progress(&paint(YELLOW, &harmless(&text)));
            }
        }
    }
    Ok(())
}

fn calls(pipeline: &Pipeline) -> impl Iterator<Item = (&Stage, &McpStage)> {
    pipeline.stages.iter().filter_map(|stage| match &stage.work {
        StageWork::Mcp(call) => Some((stage, call)),
        _ => None,
    })
}
