//! `tool_server`: an MCP server over standard input and output, on the official SDK, for the tests of the client.
//!
//! Its tools read and write files, and misbehave in every way a server can.

use std::borrow::Cow;
use std::io::Write as _;
use std::sync::Arc;
use std::{env, fs, future, process};

use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, ErrorData, Implementation,
    InitializeResult, JsonObject, ListToolsResult, PaginatedRequestParams, ServerCapabilities, Tool,
    ToolAnnotations,
};
use rmcp::service::RequestContext;
use rmcp::transport::stdio;
use rmcp::{RoleServer, ServerHandler, ServiceExt as _};
use serde_json::{Value, json};

/// How much the tool `flood` says, in bytes.
const FLOOD: usize = 4 << 20;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    if let Some(path) = env::args_os().nth(1) {
        fs::write(path, process::id().to_string())?;
    }
    Server.serve(stdio()).await?.waiting().await?;
    Ok(())
}

struct Server;

fn tool(name: &'static str, about: &'static str, reads: bool, arguments: &[&str]) -> Tool {
    let properties: JsonObject =
        arguments.iter().map(|name| ((*name).to_owned(), json!({"type": "string"}))).collect();
    let schema = json!({
        "type": "object", "properties": properties, "required": arguments, "additionalProperties": false,
    });
    let Value::Object(schema) = schema else { unreachable!("it is an object") };
    let mut tool = Tool::new(Cow::Borrowed(name), Cow::Borrowed(about), Arc::new(schema));
    tool.annotations = Some(ToolAnnotations::new().read_only(reads));
    tool
}

impl ServerHandler for Server {
    fn get_info(&self) -> InitializeResult {
        let capabilities = ServerCapabilities::builder().enable_tools().build();
        InitializeResult::new(capabilities).with_server_info(Implementation::new("tool-server", "1.0.0"))
    }

    async fn list_tools(
        &self,
        _request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        Ok(ListToolsResult::with_all_items(vec![
            tool("read", "Reads a file.", true, &["path"]),
            tool("append", "Appends to a file.", false, &["path", "text"]),
            tool("variable", "Says how long a variable is.", true, &["name"]),
            tool("fail", "Fails.", true, &[]),
            tool("die", "Ends the server.", true, &[]),
            tool("hang", "Never answers.", true, &[]),
            tool("flood", "Says too much.", true, &[]),
        ]))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let arguments = request.arguments.unwrap_or_default();
        let argument = |name: &str| arguments.get(name).and_then(Value::as_str).unwrap_or_default();
        let said = match &*request.name {
            "read" => fs::read_to_string(argument("path")).map_err(|error| error.to_string()),
            "append" => append(argument("path"), argument("text")).map_err(|error| error.to_string()),
            "variable" => Ok(length_of(argument("name")).to_string()),
            "fail" => Err("it cannot be done".to_owned()),
            "die" => process::exit(7),
            "hang" => future::pending().await,
            "flood" => {
                let line = "x".repeat(127);
                // Whoever reads it may have had enough.
                (0..FLOOD / 128).for_each(|_| writeln!(std::io::stderr(), "{line}").unwrap_or_default());
                Ok(format!("{line}\n").repeat(FLOOD / 128))
            }
            other => return Err(ErrorData::invalid_params(format!("no tool `{other}`"), None)),
        };
        Ok(match said {
            Ok(text) => CallToolResult::success(vec![ContentBlock::text(text)]).into(),
            Err(text) => CallToolResult::error(vec![ContentBlock::text(text)]).into(),
        })
    }
}

#[expect(clippy::disallowed_methods, reason = "a test's server tells what it was given")]
fn length_of(variable: &str) -> usize {
    env::var(variable).map_or(0, |value| value.len())
}

fn append(path: &str, text: &str) -> std::io::Result<String> {
    let mut file = fs::File::options().create(true).append(true).open(path)?;
    writeln!(file, "{text}")?;
    Ok(format!("{} bytes", text.len()))
}
