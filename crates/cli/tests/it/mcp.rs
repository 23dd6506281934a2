//! The program as a Model Context Protocol server, driven by the official SDK's client, the
//! official inspector and the official conformance suite; and the long sessions beside it.

mod bad_input;
mod http;
mod live;
mod peers;
mod questions;
mod runs;
mod sessions;
mod tools;
mod watching;

use std::collections::VecDeque;
use std::ops::Deref;
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rmcp::model::{
    CallToolRequestParams, CallToolResult, ClientCapabilities, ClientConfig, ElicitRequestParams,
    ElicitResult, ElicitationAction, Implementation, ProgressNotificationParam, ProtocolVersion,
    ResourceUpdatedNotificationParam,
};
use rmcp::service::{
    ClientLifecycleMode, ClientServiceExt as _, NotificationContext, RequestContext, RunningService,
};
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use rmcp::transport::{StreamableHttpClientTransport, TokioChildProcess};
use rmcp::{ClientHandler, ErrorData, RoleClient};
use serde_json::{Value, json};

use crate::support::{PATIENCE, Project, wait_for};

/// A repository whose runs may outlive whoever started them: what is left at the end is cancelled.
struct Station {
    project: Project,
}

impl Station {
    /// A repository with one pipeline `main` of these stages (a JSON array), committed.
    fn with_stages(stages: &str) -> Self {
        Self { project: Project::with_pipelines(&format!(r#"[{{ "id": "main", "stages": {stages} }}]"#)) }
    }

    /// The manifest of a run of the task `local` that is over: its owner writes it last.
    fn last_manifest(&self, run: &str) -> Value {
        let over = ["succeeded", "failed", "cancelled"];
        wait_for("the manifest says that the run is over", || {
            Some(self.manifest(run))
                .filter(|manifest| over.iter().any(|status| manifest["status"] == *status))
        })
    }
}

impl Deref for Station {
    type Target = Project;

    fn deref(&self) -> &Project {
        &self.project
    }
}

impl Drop for Station {
    fn drop(&mut self) {
        let listed = self.run(&["runs", "--all", "--status", "in_progress", "--status", "queued", "--json"]);
        let runs: Value = serde_json::from_str(&listed.stdout).unwrap_or_default();
        for run in runs.as_array().into_iter().flatten().filter_map(|run| run["run_id"].as_str()) {
            self.run(&["cancel", "--run", run]);
        }
    }
}

/// The person at a client, and what the client was told.
#[derive(Default)]
struct Person {
    /// Whether the client can show forms.
    answers_forms: bool,
    /// What is answered, form by form; later forms stay open.
    answers: Mutex<VecDeque<ElicitResult>>,
    asked: Mutex<Vec<String>>,
    updated: Mutex<Vec<String>>,
    progress: Mutex<Vec<String>>,
}

impl Person {
    fn who_says(answers: impl IntoIterator<Item = (ElicitationAction, Value)>) -> Arc<Self> {
        let answers = answers.into_iter().map(|(action, content)| {
            let mut result = ElicitResult::new(action);
            result.content = Some(content).filter(|content| !content.is_null());
            result
        });
        Arc::new(Self { answers_forms: true, answers: Mutex::new(answers.collect()), ..Self::default() })
    }
}

impl ClientHandler for Person {
    fn get_info(&self) -> ClientConfig {
        let capabilities = if self.answers_forms {
            ClientCapabilities::builder().enable_elicitation().build()
        } else {
            ClientCapabilities::default()
        };
        ClientConfig::new(capabilities, Implementation::new("test-client", "1"))
    }

    async fn create_elicitation(
        &self,
        request: ElicitRequestParams,
        context: RequestContext<RoleClient>,
    ) -> Result<ElicitResult, ErrorData> {
        if let ElicitRequestParams::FormElicitationParams { message, .. } = request {
            self.asked.lock().unwrap().push(message);
        }
        let answer = self.answers.lock().unwrap().pop_front();
        if let Some(answer) = answer {
            return Ok(answer);
        }
        context.ct.cancelled().await;
        Ok(ElicitResult::new(ElicitationAction::Cancel))
    }

    async fn on_resource_updated(
        &self,
        params: ResourceUpdatedNotificationParam,
        _context: NotificationContext<RoleClient>,
    ) {
        self.updated.lock().unwrap().push(params.uri);
    }

    async fn on_progress(
        &self,
        params: ProgressNotificationParam,
        _context: NotificationContext<RoleClient>,
    ) {
        self.progress.lock().unwrap().push(params.message.unwrap_or_default());
    }
}

/// A connected client.
struct Client {
    runtime: tokio::runtime::Runtime,
    service: Option<RunningService<RoleClient, Arc<Person>>>,
    person: Arc<Person>,
}

/// Speaks the revision before sessions were removed.
fn with_sessions() -> ClientLifecycleMode {
    ClientLifecycleMode::Initialize
}

/// Speaks the revision without sessions.
fn without_sessions() -> ClientLifecycleMode {
    ClientLifecycleMode::Discover { preferred_versions: vec![ProtocolVersion::V_2026_07_28] }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

impl Client {
    /// Starts the server over standard input and output and connects to it.
    fn stdio(project: &Project, lifecycle: ClientLifecycleMode, person: Arc<Person>) -> Self {
        let runtime = runtime();
        let service = runtime.block_on(async {
            let command = tokio::process::Command::from(project.command(&["mcp", "serve"]));
            let (transport, _) = TokioChildProcess::builder(command).stderr(Stdio::null()).spawn().unwrap();
            Arc::clone(&person).serve_with_lifecycle(transport, lifecycle).await.unwrap()
        });
        Self { runtime, service: Some(service), person }
    }

    /// Connects to a server over HTTP.
    fn http(server: &Served, lifecycle: ClientLifecycleMode, person: Arc<Person>) -> Self {
        let runtime = runtime();
        // The SDK's HTTP client comes without one; another test of this process may have been quicker.
        drop(rustls::crypto::ring::default_provider().install_default());
        let service = runtime.block_on(async {
            let config =
                StreamableHttpClientTransportConfig::with_uri(server.url.as_str()).auth_header(TOKEN);
            let transport = StreamableHttpClientTransport::from_config(config);
            Arc::clone(&person).serve_with_lifecycle(transport, lifecycle).await.unwrap()
        });
        Self { runtime, service: Some(service), person }
    }

    fn service(&self) -> &RunningService<RoleClient, Arc<Person>> {
        self.service.as_ref().expect("a connection")
    }

    /// Waits for something of the client's own interface.
    fn wait<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime
            .block_on(async { tokio::time::timeout(PATIENCE, future).await.expect("an answer in time") })
    }

    fn call(&self, name: &'static str, arguments: Value) -> Result<CallToolResult, rmcp::ServiceError> {
        let Value::Object(arguments) = arguments else { panic!("no object: {arguments}") };
        self.wait(self.service().call_tool(CallToolRequestParams::new(name).with_arguments(arguments)))
    }

    /// Calls a tool that does what it was asked.
    #[track_caller]
    fn tool(&self, name: &'static str, arguments: Value) -> Value {
        let result = self.call(name, arguments).unwrap();
        assert_ne!(result.is_error, Some(true), "{result:#?}");
        result.structured_content.expect("a structured answer")
    }

    /// Calls a tool that refuses, and returns what it says.
    #[track_caller]
    fn refused(&self, name: &'static str, arguments: Value) -> String {
        let result = self.call(name, arguments).unwrap();
        assert_eq!(result.is_error, Some(true), "{result:#?}");
        result.content[0].as_text().expect("a text").text.clone()
    }

    /// Starts a run of the default pipeline.
    #[track_caller]
    fn start(&self) -> String {
        self.tool("start_run", json!({}))["run_id"].as_str().expect("an id").to_owned()
    }

    /// Waits until a run has come to rest and returns its status.
    #[track_caller]
    fn status_at_rest(&self, run: &str) -> Value {
        self.tool("run_status", json!({ "run_id": run, "wait_seconds": 50 }))
    }

    /// Hangs up.
    fn hang_up(mut self) {
        let service = self.service.take().expect("a connection");
        self.wait(service.cancel()).unwrap();
    }
}

/// The token of HTTP servers in these tests.
const TOKEN: &str = "a-token-nobody-could-guess";

/// A server over HTTP.
struct Served {
    url: String,
    child: Child,
}

impl Served {
    fn start(project: &Project, arguments: &[&str]) -> Self {
        use std::io::{BufRead as _, BufReader};
        let mut command = project.command(&["mcp", "serve", "--http", "127.0.0.1:0"]);
        command.args(arguments).env("CODEX_ORCHESTRATOR_MCP_TOKEN", TOKEN);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let line: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(line["type"], "listening");
        Self { url: line["url"].as_str().unwrap().to_owned(), child }
    }

    /// Asks the server to end and waits until it has.
    fn terminate(mut self) -> Option<i32> {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        self.child.wait().unwrap().code()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // A server that has ended already is no failure.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A pause between two looks of a test that counts what does not happen.
const MOMENT: Duration = Duration::from_millis(20);
