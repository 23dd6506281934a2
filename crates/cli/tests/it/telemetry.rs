//! Who else is told of a run: a collector and notified targets on loopback.

mod outage;
mod sources;

use std::collections::BTreeSet;

use co_telemetry::{Secret, signature};
use co_testkit::{HttpReceiver, Reply, Request};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use serde_json::Value;

use crate::support::Project;

/// A command, and a pipeline nested in the run.
const NESTED: &str = r#"[
    {"id": "main", "stages": [
        {"id": "build", "command": "true"},
        {"kind": "pipeline", "id": "checks", "pipeline": "inner"}
    ]},
    {"id": "inner", "stages": [{"id": "lint", "command": "true"}]}
]"#;

/// One stage that fails until a file is there.
const MENDABLE: &str = r#"[{"id": "main", "stages": [{"id": "test", "command": "test -e mended"}]}]"#;

const QUIET: &str = r#"[{"id": "main", "stages": [{"id": "test", "command": "true"}]}]"#;

/// What a collector got, decoded.
#[derive(Default)]
struct Collected {
    spans: Vec<Span>,
    events: Vec<String>,
    metrics: BTreeSet<String>,
}

impl Collected {
    fn take(collector: &HttpReceiver) -> Self {
        let mut collected = Self::default();
        for request in collector.rest() {
            collected.add(&request);
        }
        collected
    }

    fn add(&mut self, request: &Request) {
        assert_eq!(request.header("content-type"), Some("application/x-protobuf"));
        let body = &request.body[..];
        match request.path.as_str() {
            "/v1/traces" => {
                let sent = ExportTraceServiceRequest::decode(body).unwrap();
                let scopes = sent.resource_spans.into_iter().flat_map(|spans| spans.scope_spans);
                self.spans.extend(scopes.flat_map(|scope| scope.spans));
            }
            "/v1/logs" => {
                let sent = ExportLogsServiceRequest::decode(body).unwrap();
                let scopes = sent.resource_logs.into_iter().flat_map(|logs| logs.scope_logs);
                let records = scopes.flat_map(|scope| scope.log_records);
                self.events.extend(records.map(|record| record.event_name));
            }
            "/v1/metrics" => {
                let sent = ExportMetricsServiceRequest::decode(body).unwrap();
                let scopes = sent.resource_metrics.into_iter().flat_map(|metrics| metrics.scope_metrics);
                self.metrics.extend(scopes.flat_map(|scope| scope.metrics).map(|metric| metric.name));
            }
            path => panic!("nothing is sent to {path}"),
        }
    }

    fn traces(&self) -> BTreeSet<&[u8]> {
        self.spans.iter().map(|span| &span.trace_id[..]).collect()
    }

    #[track_caller]
    fn span(&self, name: &str) -> &Span {
        let found: Vec<_> = self.spans.iter().filter(|span| span.name == name).collect();
        let [span] = found[..] else {
            let names: Vec<_> = self.spans.iter().map(|span| &span.name).collect();
            panic!("not one `{name}` among {names:?}");
        };
        span
    }

    fn count(&self, event: &str) -> usize {
        self.events.iter().filter(|name| *name == event).count()
    }
}

/// A repository whose runs wait for whoever is told of them, however slow the machine is.
fn patient(pipelines: &str) -> Project {
    let mut project = Project::with_pipelines(pipelines);
    project.set("CODEX_ORCHESTRATOR_OTEL_PATIENCE", "30s");
    project.set("CODEX_ORCHESTRATOR_NOTIFY_PATIENCE", "30s");
    project
}

fn collector() -> HttpReceiver {
    HttpReceiver::start(|_| Reply::status(200))
}

#[test]
fn a_run_with_a_nested_one_is_one_trace() {
    let collector = collector();
    let project = patient(NESTED);
    let ended = project.run(&["start", "main", "--json", "--otel-endpoint", &collector.url()]).expect(0);
    assert!(!ended.stderr.contains("telemetry"), "{}", ended.stderr);

    let collected = Collected::take(&collector);
    assert_eq!(collected.traces().len(), 1);
    let (run, build) = (collected.span("run main"), collected.span("stage build"));
    assert!(run.parent_span_id.is_empty());
    assert_eq!(build.parent_span_id, run.span_id);
    let attempts: Vec<_> =
        collected.spans.iter().filter(|span| span.parent_span_id == build.span_id).collect();
    assert!(attempts.iter().any(|span| span.name.starts_with("attempt")), "{attempts:#?}");
    let within: Vec<_> = attempts.iter().map(|span| &span.span_id).chain([&build.span_id]).collect();
    let tool = |span: &&Span| span.name.starts_with("execute_tool") && within.contains(&&span.parent_span_id);
    assert!(collected.spans.iter().any(|span| tool(&span)), "{:#?}", collected.spans);
    let (checks, inner) = (collected.span("stage checks"), collected.span("run inner"));
    assert_eq!(inner.parent_span_id, checks.span_id);
    assert_eq!(collected.span("stage lint").parent_span_id, inner.span_id);

    assert_eq!(collected.count("codex_orchestrator.run_finished"), 2);
    assert!(collected.metrics.contains("codex_orchestrator.runs"), "{:?}", collected.metrics);
}

#[test]
fn a_resumed_run_goes_on_in_its_trace_and_repeats_nothing() {
    let collector = collector();
    let endpoint = collector.url();
    let project = patient(MENDABLE);
    let run = project.run(&["start", "main", "--json", "--otel-endpoint", &endpoint]).expect(10).run_id();
    let first = Collected::take(&collector);
    std::fs::write(project.path("mended"), "").unwrap();
    project.run(&["resume", "--run", &run, "--otel-endpoint", &endpoint]).expect(0);
    let second = Collected::take(&collector);

    assert_eq!(first.traces(), second.traces());
    assert_eq!(
        (first.count("codex_orchestrator.run_created"), second.count("codex_orchestrator.run_created")),
        (1, 0)
    );
    assert_eq!(second.count("codex_orchestrator.resume_accepted"), 1);
    assert_eq!(
        first.span("run main").start_time_unix_nano,
        second.span("run main").start_time_unix_nano,
        "the span of the run begins where the run began"
    );
}

#[test]
fn a_target_gets_the_signed_summary_and_a_program_the_same_as_its_last_argument() {
    let receiver = HttpReceiver::start(|_| Reply::status(204));
    let mut project = patient(QUIET);
    project.set("CODEX_ORCHESTRATOR_NOTIFY_SECRET", "hunter2");
    let hook = program(&project, "hook", "printf '%s' \"$1\" > \"$(dirname \"$0\")/told\"");
    let address = format!("{}/hook?key=hunter3", receiver.url());
    let targets = format!("{address},{hook}");
    let ended =
        project.run(&["start", "main", "--json", "--notify", &targets, "--notify", &address]).expect(0);
    assert!(!ended.stderr.contains("notification"), "{}", ended.stderr);

    let request = receiver.next();
    let timestamp = request.header("x-codex-orchestrator-timestamp").unwrap();
    assert_eq!(
        request.header("x-codex-orchestrator-signature-256"),
        Some(signature(&Secret::new("hunter2"), timestamp, &request.body).as_str())
    );
    let summary: Value = serde_json::from_slice(&request.body).unwrap();
    let run = ended.run_id();
    assert_eq!((&summary["runId"], &summary["status"]), (&run.as_str().into(), &"succeeded".into()));
    assert_eq!(summary, project.json_file(format!(".runs/local/cli/{run}/run-summary.json")));
    assert_eq!(summary, project.json_file("../told"));
    assert!(receiver.rest().is_empty(), "a target that is named twice is told once");
}

#[test]
fn a_target_may_wait_for_other_news() {
    let receiver = HttpReceiver::start(|_| Reply::status(200));
    let project = patient(NESTED);
    let target = format!("stage-finished+run-started={}", receiver.url());
    project.run(&["start", "main", "--notify", &target]).expect(0);
    let kinds: Vec<_> = receiver
        .rest()
        .iter()
        .map(|request| request.header("x-codex-orchestrator-event").unwrap().to_owned())
        .collect();
    let count = |kind: &str| kinds.iter().filter(|told| *told == kind).count();
    assert_eq!((count("run-started"), count("stage-finished"), kinds.len()), (2, 3, 5), "{kinds:?}");
}

#[test]
fn no_secret_reaches_a_stage_a_notified_program_or_a_collector() {
    const SECRETS: [(&str, &str); 4] = [
        ("CODEX_ORCHESTRATOR_NOTIFY_SECRET", "secret-signature"),
        ("CODEX_ORCHESTRATOR_RESUME_TOKEN", "secret-resume"),
        ("CODEX_ORCHESTRATOR_MCP_TOKEN", "secret-mcp"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=secret-header"),
    ];
    let collector = collector();
    let mut project =
        patient(r#"[{"id": "main", "stages": [{"id": "env", "command": "env > environment.txt"}]}]"#);
    for (name, value) in SECRETS {
        project.set(name, value);
    }
    project.set("CODEX_ORCHESTRATOR_OTEL", "1");
    project.set("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url());
    project.set("VISIBLE", "and quite public");
    let hook = program(&project, "hook", "env > \"$(dirname \"$0\")/told\"");
    project.set("CODEX_ORCHESTRATOR_NOTIFY", format!("{hook},{}/hook?key=secret-key", collector.url()));
    let run = project.run(&["start", "main", "--json"]).expect(0).run_id();

    let stage = std::fs::read_to_string(project.path("environment.txt")).unwrap();
    let told = std::fs::read_to_string(project.path("../told")).unwrap();
    for environment in [stage, told] {
        assert!(environment.contains("and quite public"));
        assert!(!environment.contains("secret-"), "{environment}");
    }
    let token =
        std::fs::read_to_string(project.path(&format!(".runs/local/cli/{run}/.resume-token"))).unwrap();
    let requests = collector.rest();
    let exports: Vec<_> = requests.iter().filter(|request| request.path.starts_with("/v1/")).collect();
    assert!(exports.len() >= 3, "{exports:?}");
    for request in exports {
        assert_eq!(request.header("authorization"), Some("secret-header"));
        let body = String::from_utf8_lossy(&request.body);
        assert!(!body.contains("secret-") && !body.contains(token.trim()), "{body}");
    }
}

/// A program beside the repository, by its absolute path.
fn program(project: &Project, name: &str, script: &str) -> String {
    use std::os::unix::fs::PermissionsExt as _;
    let path = project.root().parent().unwrap().join(name);
    std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path.to_str().unwrap().to_owned()
}
