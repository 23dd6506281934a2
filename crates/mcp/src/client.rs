//! The client side: one of the person's own servers, asked for its tools or for one call.

mod bridge;
mod connection;
mod error;
mod http;
mod stdio;

use std::path::Path;
use std::time::Duration;

use co_config::{Environment, McpServer};
use rmcp::model::{CallToolRequestParams, CallToolResult, ContentBlock, JsonObject, Tool};
use serde_json::{Value, json};
use tokio::time::timeout;

use connection::Connection;

pub use bridge::bridge;
pub use error::ClientError;

/// How long a server may take to start and to say what it has, unless its definition says otherwise; Codex's.
const STARTUP: Duration = Duration::from_secs(10);
/// How long a tool may take unless the definition of its server says otherwise; Codex's.
const TOOL: Duration = Duration::from_mins(1);

/// Who calls a server, and from where.
#[derive(Clone, Copy)]
pub struct Caller<'c> {
    /// The server's name in the person's settings.
    pub name: &'c str,
    /// Its definition there.
    pub server: &'c McpServer,
    /// The variables that the definition may pass on.
    pub environment: &'c Environment,
    /// Where a server runs whose definition does not say so.
    pub cwd: &'c Path,
    /// Hears what a person should know of a server that works nevertheless.
    pub note: &'c dyn Fn(&str),
}

/// A tool, as its server describes it. Untrusted text.
#[derive(Debug, Clone, PartialEq)]
pub struct ToolInfo {
    /// Its name.
    pub name: String,
    /// What it is for.
    pub description: Option<String>,
    /// Whether the server says that it only reads.
    pub read_only: bool,
    /// The JSON Schema of its arguments.
    pub input_schema: Value,
}

impl ToolInfo {
    fn of(tool: &Tool) -> Self {
        Self {
            name: tool.name.to_string(),
            description: tool.description.as_ref().map(ToString::to_string),
            read_only: tool.annotations.as_ref().and_then(|hints| hints.read_only_hint).unwrap_or(false),
            input_schema: Value::Object(tool.input_schema.as_ref().clone()),
        }
    }
}

/// What a tool answered. Untrusted text.
#[derive(Debug, Clone, PartialEq)]
pub struct ToolResult {
    /// Whether the tool says of itself that it failed.
    pub is_error: bool,
    /// What it said, for people: its texts, one after the other; other things by their kind and size.
    pub text: String,
    /// The whole answer as the protocol has it.
    pub document: Value,
}

impl ToolResult {
    fn of(result: &CallToolResult) -> Self {
        let mut text = result.content.iter().map(shown).collect::<Vec<_>>().join("\n");
        if let (true, Some(structured)) = (text.is_empty(), &result.structured_content) {
            text = structured.to_string();
        }
        Self { is_error: result.is_error == Some(true), text, document: json!(result) }
    }
}

fn shown(block: &ContentBlock) -> String {
    let sized = |kind: &str, mime: &str, data: &str| format!("[{kind} {mime}, {} bytes]", data.len() / 4 * 3);
    match block {
        ContentBlock::Text(text) => text.text.clone(),
        ContentBlock::Image(image) => sized("image", &image.mime_type, &image.data),
        ContentBlock::Audio(audio) => sized("audio", &audio.mime_type, &audio.data),
        ContentBlock::ResourceLink(link) => format!("[resource {}]", link.uri),
        other => {
            let resource = json!(other)["resource"].clone();
            match resource["text"].as_str() {
                Some(text) => text.to_owned(),
                None => format!("[resource {}]", resource["uri"].as_str().unwrap_or_default()),
            }
        }
    }
}

/// Starts a server, asks for the tools that its definition leaves in use, and ends it.
///
/// Blocks for at most the start-up time of the definition and a moment for its end.
///
/// # Errors
/// [`ClientError`] names the server and what it did instead.
pub fn list_tools(caller: &Caller<'_>) -> Result<Vec<ToolInfo>, ClientError> {
    runtime()?.block_on(async {
        let connection = Connection::open(caller).await?;
        let tools = connection.tools.iter().map(ToolInfo::of).collect();
        connection.close().await;
        Ok(tools)
    })
}

/// Starts a server, calls one tool, and ends the server.
///
/// The tool must be there and in use, and the arguments must satisfy the schema that the server gives for
/// them: otherwise nothing is called.
///
/// # Errors
/// [`ClientError`] when there is no answer of the tool. A tool that says that it failed is an answer.
pub fn call_tool(caller: &Caller<'_>, tool: &str, arguments: JsonObject) -> Result<ToolResult, ClientError> {
    runtime()?.block_on(async {
        let mut connection = Connection::open(caller).await?;
        let answered = call(&mut connection, caller, tool, arguments).await;
        connection.close().await;
        answered
    })
}

async fn call(
    connection: &mut Connection,
    caller: &Caller<'_>,
    tool: &str,
    arguments: JsonObject,
) -> Result<ToolResult, ClientError> {
    let server = caller.name.to_owned();
    if !caller.server.offers(tool) {
        return Err(ClientError::NotInUse { server, tool: tool.to_owned() });
    }
    let Some(found) = connection.tools.iter().find(|known| known.name == tool) else {
        let known = connection.tools.iter().map(|tool| tool.name.to_string()).collect();
        return Err(ClientError::UnknownTool { server, tool: tool.to_owned(), known });
    };
    check(&ToolInfo::of(found), &arguments, caller.note)?;
    let after = caller.server.tool_timeout.unwrap_or(TOOL);
    let request = CallToolRequestParams::new(tool.to_owned()).with_arguments(arguments);
    match timeout(after, connection.service.call_tool(request)).await {
        Ok(Ok(result)) => Ok(ToolResult::of(&result)),
        Ok(Err(error)) => Err(connection.failed(tool, &error).await),
        Err(_) => Err(ClientError::ToolTimeout { server, tool: tool.to_owned(), after }),
    }
}

/// Checks arguments against a tool's own schema. A schema that is none itself holds nothing up: the server
/// checks what it is given as well.
fn check(tool: &ToolInfo, arguments: &JsonObject, note: &dyn Fn(&str)) -> Result<(), ClientError> {
    let validator = match jsonschema::validator_for(&tool.input_schema) {
        Ok(validator) => validator,
        Err(error) => {
            note(&format!("the schema of the tool `{}` cannot be used: {error}", tool.name));
            return Ok(());
        }
    };
    let given = Value::Object(arguments.clone());
    let problems: Vec<String> = validator
        .iter_errors(&given)
        .take(5)
        .map(|problem| {
            let at = problem.instance_path().to_string();
            if at.is_empty() { problem.to_string() } else { format!("{at}: {problem}") }
        })
        .collect();
    if problems.is_empty() {
        Ok(())
    } else {
        Err(ClientError::Arguments { tool: tool.name.clone(), problems })
    }
}

fn runtime() -> Result<tokio::runtime::Runtime, ClientError> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|source| ClientError::Runtime { source })
}
