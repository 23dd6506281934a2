//! A server that is ready: its protocol, its tools, and what keeps it alive.

use std::sync::{Arc, Mutex, PoisonError};

use co_config::McpTransport;
use rmcp::model::{ClientCapabilities, ClientConfig, Implementation, Tool};
use rmcp::service::{ClientInitializeError, RunningService, ServiceError};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::async_rw::AsyncRwTransport;
use rmcp::{RoleClient, ServiceExt as _};
use tokio::time::timeout;

use super::stdio::{ServerProcess, Strangers};
use super::{Caller, ClientError, STARTUP, http};
use crate::lines::LONGEST;

/// A server that is ready.
pub(super) struct Connection {
    server: String,
    pub(super) service: RunningService<RoleClient, ClientConfig>,
    /// The tools that its definition leaves in use.
    pub(super) tools: Vec<Tool>,
    /// The program, for one that speaks over its standard streams.
    process: Option<ServerProcess>,
}

impl Connection {
    /// Starts the server and learns its tools, both within its start-up time.
    pub(super) async fn open(caller: &Caller<'_>) -> Result<Self, ClientError> {
        let server = caller.name.to_owned();
        let after = caller.server.startup_timeout.unwrap_or(STARTUP);
        let strangers: Strangers = Arc::new(Mutex::new(None));
        let mut process = None;
        let opened = timeout(after, begin(caller, &mut process, &strangers)).await;
        let printed = strangers.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let failure = match opened {
            Ok(Ok((service, tools))) => return Ok(Self { server, service, tools, process }),
            Ok(Err(Failure::Known(error))) => error,
            Ok(Err(Failure::Handshake(detail))) => match how_it_ended(process.as_mut()).await {
                Some(how) if printed.is_none() => ClientError::Died { server, how },
                _ => ClientError::Handshake { server, detail, printed },
            },
            Err(_) => ClientError::StartTimeout { server, after, printed },
        };
        if let Some(process) = process {
            process.end().await;
        }
        Err(failure)
    }

    /// What a failed request means.
    pub(super) async fn failed(&mut self, tool: &str, error: &ServiceError) -> ClientError {
        let server = self.server.clone();
        match error {
            ServiceError::McpError(error) => ClientError::Refused {
                server,
                tool: tool.to_owned(),
                detail: format!("{} ({})", error.message, error.code.0),
            },
            ServiceError::TransportClosed | ServiceError::TransportSend(_) => {
                let how = how_it_ended(self.process.as_mut()).await;
                ClientError::Died { server, how: how.unwrap_or_else(|| "it hung up".to_owned()) }
            }
            other => ClientError::Refused { server, tool: tool.to_owned(), detail: other.to_string() },
        }
    }

    /// Hangs up, and ends the server with everything it has started.
    pub(super) async fn close(self) {
        let Self { service, process, .. } = self;
        // It may have gone by itself.
        drop(timeout(STARTUP, service.cancel()).await);
        if let Some(process) = process {
            process.end().await;
        }
    }
}

enum Failure {
    Known(ClientError),
    Handshake(String),
}

async fn begin(
    caller: &Caller<'_>,
    process: &mut Option<ServerProcess>,
    strangers: &Strangers,
) -> Result<(RunningService<RoleClient, ClientConfig>, Vec<Tool>), Failure> {
    let me = Implementation::new("codex-orchestrator", env!("CARGO_PKG_VERSION"));
    let client = ClientConfig::new(ClientCapabilities::default(), me);
    let service = match &caller.server.transport {
        McpTransport::Stdio { .. } => {
            let (started, output, input) = ServerProcess::start(caller, strangers).map_err(Failure::Known)?;
            *process = Some(started);
            let transport = AsyncRwTransport::new_client(output, input).with_max_line_length(LONGEST);
            client.serve(transport).await
        }
        McpTransport::Http { .. } => {
            let (http, config) = http::transport(caller).map_err(Failure::Known)?;
            client.serve(StreamableHttpClientTransport::with_client(http, config)).await
        }
    };
    let service = service.map_err(|error| Failure::Handshake(handshake(&error)))?;
    let mut tools = match service.list_all_tools().await {
        Ok(tools) => tools,
        // A server may have no tools at all, and say so by not knowing the question.
        Err(ServiceError::McpError(error)) if error.code == rmcp::model::ErrorCode::METHOD_NOT_FOUND => {
            Vec::new()
        }
        Err(error) => return Err(Failure::Handshake(format!("its tools could not be listed: {error}"))),
    };
    tools.retain(|tool| caller.server.offers(&tool.name));
    Ok((service, tools))
}

fn handshake(error: &ClientInitializeError) -> String {
    match error {
        ClientInitializeError::ConnectionClosed(_) => "it hung up".to_owned(),
        // The transport's own words; the whole error would show the request with them.
        ClientInitializeError::TransportError { error, .. } => error.to_string(),
        error => error.to_string(),
    }
}

async fn how_it_ended(process: Option<&mut ServerProcess>) -> Option<String> {
    process?.how_it_ended().await
}
