//! The server as the protocol sees it. One per connection, or per request where the protocol has
//! no sessions; it keeps nothing that a run depends on.
#![expect(deprecated, reason = "log messages and resources/subscribe are for clients before 2026-07-28")]

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use co_model::EventSeq;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, CompleteRequestParams, CompleteResult,
    CompletionInfo, ContentBlock, Implementation, InitializeResult, ListResourceTemplatesResult,
    ListResourcesResult, ListToolsResult, LoggingLevel, LoggingMessageNotificationParam,
    PaginatedRequestParams, ReadResourceRequestParams, ReadResourceResponse, ReadResourceResult, Reference,
    ResourceUpdatedNotification, ResourceUpdatedNotificationParam, ServerCapabilities, ServerConfig,
    ServerNotification, SetLevelRequestParams, SubscribeRequestParams, SubscriptionFilter, Tool,
    UnsubscribeRequestParams,
};
use rmcp::service::{Peer, RequestContext, SubscriptionContext};
use rmcp::{ErrorData, RoleServer, ServerHandler};
use serde_json::json;
use tokio::time::sleep;

use crate::caller::Caller;
use crate::desk::Desk;
use crate::host::Refusal;
use crate::resources::{self, Address};
use crate::subscriptions::{self, LOOK, Watched};
use crate::tools::{self, Outcome};

/// What a model is told about this server.
const INSTRUCTIONS: &str = "\
Runs pipelines of this repository (commands, coding agents, gates) durably and shows what happened. \
Begin with list_pipelines; start_run returns at once, and run_events or run_status with wait_seconds follow the run. \
Runs go on when this connection ends. Questions of a run are for people: do not answer them on your own.";

/// A server for one client.
#[derive(Clone)]
pub(crate) struct Server {
    desk: Desk,
    watched: Arc<Mutex<Watching>>,
    /// Whether the client wants to be told of warnings.
    warnings: Arc<AtomicBool>,
}

#[derive(Default)]
struct Watching {
    resources: Watched,
    /// Whether a task looks at them.
    under_way: bool,
}

impl Server {
    pub(crate) fn new(desk: Desk) -> Self {
        Self { desk, watched: Arc::default(), warnings: Arc::new(AtomicBool::new(true)) }
    }

    /// Looks at the watched runs until the client is gone.
    async fn watch(self, peer: Peer<RoleServer>) {
        while !peer.is_transport_closed() {
            sleep(LOOK).await;
            let runs = lock(&self.watched).resources.runs();
            if runs.is_empty() {
                continue;
            }
            let now = subscriptions::look(&self.desk, runs).await;
            let changed = lock(&self.watched).resources.moved(&now);
            for uri in changed {
                if peer.notify_resource_updated(ResourceUpdatedNotificationParam::new(uri)).await.is_err() {
                    return;
                }
            }
        }
    }

    /// Failures that stopped nothing, for the people at the client.
    async fn tell_warnings(&self, caller: &Caller) {
        if caller.asks_by_answer() || !self.warnings.load(Ordering::Relaxed) {
            return;
        }
        let warnings = self.desk.ask(|host| {
            if host.has_runs() { Ok(host.orchestrator()?.take_warnings()) } else { Ok(Vec::new()) }
        });
        for warning in warnings.await.unwrap_or_default() {
            let message = LoggingMessageNotificationParam::new(LoggingLevel::Warning, json!(warning));
            drop(caller.peer.notify_logging_message(message).await);
        }
    }
}

fn lock(watched: &Mutex<Watching>) -> std::sync::MutexGuard<'_, Watching> {
    watched.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A refusal as an error of the protocol.
fn error(refusal: &Refusal) -> ErrorData {
    let data = Some(json!({ "hints": refusal.hints, "exit_code": refusal.exit_code }));
    match refusal.exit_code {
        Refusal::NOT_FOUND => ErrorData::resource_not_found(refusal.message.clone(), data),
        Refusal::USAGE | Refusal::REFUSED => ErrorData::invalid_params(refusal.message.clone(), data),
        _ => ErrorData::internal_error(refusal.message.clone(), data),
    }
}

impl ServerHandler for Server {
    fn get_info(&self) -> ServerConfig {
        let capabilities = ServerCapabilities::builder()
            .enable_tools()
            .enable_resources()
            .enable_resources_subscribe()
            .enable_completions()
            .enable_logging()
            .build();
        let me = Implementation::new("codex-orchestrator", env!("CARGO_PKG_VERSION"))
            .with_title("Codex Orchestrator");
        InitializeResult::new(capabilities).with_server_info(me).with_instructions(INSTRUCTIONS)
    }

    async fn list_tools(
        &self,
        _request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        Ok(ListToolsResult::with_all_items(tools::all()))
    }

    fn get_tool(&self, name: &str) -> Option<Tool> {
        tools::all().into_iter().find(|tool| tool.name == name)
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let answers = request.input_responses.zip(request.request_state);
        let caller = Caller::new(&context, answers);
        let Some(outcome) = tools::call(&self.desk, &caller, &request.name, request.arguments).await else {
            let name: String = request.name.chars().take(100).collect();
            return Err(ErrorData::invalid_params(
                format!("there is no tool `{}`", name.escape_debug()),
                None,
            ));
        };
        self.tell_warnings(&caller).await;
        Ok(match outcome {
            Ok(Outcome::Answer(value)) => CallToolResult::structured(value).into(),
            Ok(Outcome::Asks(question)) => (*question).into(),
            Err(refusal) => CallToolResult::error(vec![ContentBlock::text(refusal.to_string())]).into(),
        })
    }

    async fn list_resources(
        &self,
        request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        let cursor = request.and_then(|request| request.cursor);
        let (page, next) = resources::list(&self.desk, cursor).await.map_err(|refusal| error(&refusal))?;
        let mut listed = ListResourcesResult::with_all_items(page);
        listed.next_cursor = next;
        Ok(listed)
    }

    async fn list_resource_templates(
        &self,
        _request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListResourceTemplatesResult, ErrorData> {
        Ok(ListResourceTemplatesResult::with_all_items(resources::templates()))
    }

    async fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        let address = Address::parse(&request.uri).map_err(|refusal| error(&refusal))?;
        let contents = resources::read(&self.desk, address).await.map_err(|refusal| error(&refusal))?;
        Ok(ReadResourceResult::new(vec![contents]).into())
    }

    async fn complete(
        &self,
        request: CompleteRequestParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<CompleteResult, ErrorData> {
        let (values, more) = match &request.r#ref {
            Reference::Resource(_) => {
                let (name, begun) = (&request.argument.name, request.argument.value);
                resources::complete(&self.desk, name, begun, CompletionInfo::MAX_VALUES)
                    .await
                    .map_err(|refusal| error(&refusal))?
            }
            _ => (Vec::new(), false),
        };
        let completion = CompletionInfo::with_pagination(values, None, more);
        Ok(CompleteResult::new(completion.map_err(|detail| ErrorData::internal_error(detail, None))?))
    }

    async fn set_level(
        &self,
        request: SetLevelRequestParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        use LoggingLevel::{Debug, Info, Notice, Warning};
        let wanted = matches!(request.level, Debug | Info | Notice | Warning);
        self.warnings.store(wanted, Ordering::Relaxed);
        Ok(())
    }

    async fn subscribe(
        &self,
        request: SubscribeRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        let run = subscriptions::run_of(&request.uri).map_err(|refusal| error(&refusal))?;
        let snapshot = self.desk.snapshot(&run).await.map_err(|refusal| error(&refusal))?;
        let mut watching = lock(&self.watched);
        let added = watching.resources.add(request.uri, run, snapshot.state.last_seq);
        added.map_err(|refusal| error(&refusal))?;
        if !std::mem::replace(&mut watching.under_way, true) {
            tokio::spawn(self.clone().watch(context.peer));
        }
        Ok(())
    }

    async fn unsubscribe(
        &self,
        request: UnsubscribeRequestParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        lock(&self.watched).resources.remove(&request.uri);
        Ok(())
    }

    fn accepted_subscription_filter(&self, requested: &SubscriptionFilter) -> Option<SubscriptionFilter> {
        let uris = requested.resource_subscriptions.iter().flatten();
        let fitting = uris.filter(|uri| subscriptions::run_of(uri).is_ok()).take(subscriptions::MOST);
        Some(SubscriptionFilter::builder().resource_subscriptions(fitting.cloned()).build())
    }

    async fn listen(&self, context: SubscriptionContext) -> Result<(), ErrorData> {
        let mut watched = Watched::default();
        for uri in context.accepted().resource_subscriptions.iter().flatten() {
            let Ok(run) = subscriptions::run_of(uri) else { continue };
            // A run that does not exist yet may come: all its events are news.
            let seen = self.desk.snapshot(&run).await.map_or(EventSeq(0), |snapshot| snapshot.state.last_seq);
            watched.add(uri.clone(), run, seen).map_err(|refusal| error(&refusal))?;
        }
        // The client was told that it listens before we knew how far the runs are: what happened in between is in
        // what it reads now.
        let mut news = watched.all();
        loop {
            for uri in news {
                let update = ResourceUpdatedNotification::new(ResourceUpdatedNotificationParam::new(uri));
                let update = ServerNotification::ResourceUpdatedNotification(update);
                if context.sink().send(update).await.is_err() {
                    return Ok(());
                }
            }
            tokio::select! {
                () = context.cancelled() => return Ok(()),
                () = sleep(LOOK) => {}
            }
            let now = subscriptions::look(&self.desk, watched.runs()).await;
            news = watched.moved(&now);
        }
    }
}
