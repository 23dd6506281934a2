//! A server of the person's, handed on to an agent: over standard input and output, whatever it speaks itself.
//!
//! The agent is told our own command line, so that neither it nor anybody who looks at it learns the values of the
//! server's variables and headers; they are read from the person's settings here. Only tools are handed on, those
//! that the definition leaves in use.

use co_config::McpServer;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, ErrorData, Implementation, InitializeResult, ListToolsResult,
    PaginatedRequestParams, ServerCapabilities, Tool,
};
use rmcp::service::{Peer, RequestContext, ServerInitializeError, ServiceError};
use rmcp::transport::async_rw::AsyncRwTransport;
use rmcp::transport::io::stdio_pipes;
use rmcp::{RoleClient, RoleServer, ServerHandler, ServiceExt as _};
use tokio::time::timeout;

use super::connection::Connection;
use super::{Caller, ClientError, TOOL, runtime};
use crate::lines::{BoundedLines, LONGEST};

/// Starts a server and serves its tools to the client at standard input until that hangs up.
///
/// # Errors
/// [`ClientError`] when the server does not start, or the client does not begin as the protocol wants.
pub fn bridge(caller: &Caller<'_>) -> Result<(), ClientError> {
    let runtime = runtime()?;
    let served = runtime.block_on(async {
        let connection = Connection::open(caller).await?;
        let handed_on = Bridge {
            server: caller.server.clone(),
            tools: connection.tools.clone(),
            peer: connection.service.peer().clone(),
        };
        let (input, output) = stdio_pipes();
        let transport = AsyncRwTransport::new_server(BoundedLines::new(input, LONGEST), output)
            .with_max_line_length(LONGEST);
        let served = match handed_on.serve(transport).await {
            Ok(running) => {
                // A client that ended badly has nobody left to tell.
                drop(running.waiting().await);
                Ok(())
            }
            Err(ServerInitializeError::ConnectionClosed(_)) => Ok(()),
            Err(error) => Err(ClientError::Handshake {
                server: caller.name.to_owned(),
                detail: format!("the agent: {error}"),
                printed: None,
            }),
        };
        connection.close().await;
        served
    });
    // A thread that reads from a terminal cannot be woken.
    runtime.shutdown_background();
    served
}

struct Bridge {
    server: McpServer,
    tools: Vec<Tool>,
    peer: Peer<RoleClient>,
}

impl ServerHandler for Bridge {
    fn get_info(&self) -> InitializeResult {
        let capabilities = ServerCapabilities::builder().enable_tools().build();
        let told = self.peer.peer_info();
        let me = told
            .as_ref()
            .and_then(|told| told.server_info.clone())
            .unwrap_or_else(|| Implementation::new("codex-orchestrator", env!("CARGO_PKG_VERSION")));
        let info = InitializeResult::new(capabilities).with_server_info(me);
        match told.as_ref().and_then(|told| told.instructions.clone()) {
            Some(instructions) => info.with_instructions(instructions),
            None => info,
        }
    }

    async fn list_tools(
        &self,
        _request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        Ok(ListToolsResult::with_all_items(self.tools.clone()))
    }

    fn get_tool(&self, name: &str) -> Option<Tool> {
        self.tools.iter().find(|tool| tool.name == name).cloned()
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        if self.get_tool(&request.name).is_none() {
            let name: String = request.name.chars().take(100).collect();
            return Err(ErrorData::invalid_params(
                format!("there is no tool `{}`", name.escape_debug()),
                None,
            ));
        }
        let mut wanted = CallToolRequestParams::new(request.name.clone());
        wanted.arguments = request.arguments;
        let after = self.server.tool_timeout.unwrap_or(TOOL);
        match timeout(after, self.peer.call_tool(wanted)).await {
            Ok(Ok(result)) => Ok(result.into()),
            Ok(Err(ServiceError::McpError(error))) => Err(error),
            Ok(Err(error)) => Err(ErrorData::internal_error(error.to_string(), None)),
            Err(_) => {
                Err(ErrorData::internal_error(format!("no answer within {} s", after.as_secs_f64()), None))
            }
        }
    }
}
