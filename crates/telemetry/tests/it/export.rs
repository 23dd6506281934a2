use std::collections::BTreeMap;
use std::io::Read;

use co_telemetry::{Destination, Encoding, Exporter, Protocol, Secret, TelemetrySettings, TlsFiles};
use serde_json::Value;

use crate::decoder::{attribute, decode};
use crate::grpc_collector::GrpcCollector;
use crate::receiver::{HttpReceiver, Reply, Request};
use crate::samples::{TEXTS, whole_run};
use crate::support::{Clock, LONG, RUN, facts, in_one_go, observed};

/// Records of the sample run: 18 events, 8 spans, and one point per series.
const LOGS: usize = 18;
const SPANS: usize = 8;

fn destination(endpoint: String, protocol: Protocol) -> Destination {
    let headers = vec![("authorization".to_owned(), Secret::new("Bearer hunter2"))];
    Destination { endpoint, protocol, headers, tls: TlsFiles::default(), gzip: false }
}

fn everywhere(base: &str, protocol: Protocol) -> TelemetrySettings {
    let to = |signal: &str| match protocol {
        Protocol::Http(_) => Some(destination(format!("{base}/v1/{signal}"), protocol)),
        Protocol::Grpc => Some(destination(base.to_owned(), protocol)),
    };
    TelemetrySettings {
        traces: to("traces"),
        logs: to("logs"),
        metrics: to("metrics"),
        environment: Some("staging".to_owned()),
        service_version: "1.2.3".to_owned(),
        ..TelemetrySettings::default()
    }
}

fn by_path(requests: Vec<Request>) -> BTreeMap<String, Request> {
    requests.into_iter().map(|request| (request.path.clone(), request)).collect()
}

/// What an independent decoder must find in the three requests of the sample run.
fn check_decoded(decoded: &Value) {
    let resource = &decoded["traces"]["resourceSpans"][0]["resource"];
    for (key, value) in [
        ("service.name", "codex-orchestrator"),
        ("service.version", "1.2.3"),
        ("deployment.environment.name", "staging"),
    ] {
        assert_eq!(attribute(resource, key), Some(value));
    }
    assert_eq!(&decoded["logs"]["resourceLogs"][0]["resource"], resource);
    assert_eq!(&decoded["metrics"]["resourceMetrics"][0]["resource"], resource);

    let spans = decoded["traces"]["resourceSpans"][0]["scopeSpans"][0]["spans"].as_array().unwrap();
    assert_eq!(spans.len(), SPANS);
    let root = spans.iter().find(|span| span["name"] == "run ship").unwrap();
    assert_eq!(root.get("parentSpanId"), None);
    assert!(spans.iter().all(|span| span["traceId"] == root["traceId"]));
    let turn = spans.iter().find(|span| span["name"] == "invoke_agent codex").unwrap();
    assert_eq!(turn["kind"], "SPAN_KIND_CLIENT");
    assert_eq!(attribute(turn, "gen_ai.request.model"), Some("gpt-9"));
    assert_eq!(attribute(turn, "gen_ai.usage.input_tokens"), Some("1000"));
    let failed = spans.iter().find(|span| span["status"]["code"] == "STATUS_CODE_ERROR").unwrap();
    assert_eq!(attribute(failed, "error.type"), Some("exit_code"));

    let records = decoded["logs"]["resourceLogs"][0]["scopeLogs"][0]["logRecords"].as_array().unwrap();
    assert_eq!(records.len(), LOGS);
    assert_eq!(attribute(&records[0], "event.name"), Some("codex_orchestrator.run_created"));
    assert_eq!(records[0]["eventName"], "codex_orchestrator.run_created");
    assert!(records.iter().all(|record| record["traceId"] == root["traceId"]));

    let metrics = decoded["metrics"]["resourceMetrics"][0]["scopeMetrics"][0]["metrics"].as_array().unwrap();
    let metric = |name: &str| metrics.iter().find(|metric| metric["name"] == name).unwrap();
    let runs = &metric("codex_orchestrator.runs")["sum"];
    assert_eq!(runs["aggregationTemporality"], "AGGREGATION_TEMPORALITY_DELTA");
    assert_eq!(runs["dataPoints"][0]["asInt"], "1");
    assert_eq!(attribute(&runs["dataPoints"][0], "codex_orchestrator.run.status"), Some("succeeded"));
    let tokens = metric("gen_ai.client.token.usage")["histogram"]["dataPoints"].as_array().unwrap();
    let sums: BTreeMap<_, _> = tokens
        .iter()
        .map(|point| (attribute(point, "gen_ai.token.type").unwrap(), point["sum"].as_f64().unwrap()))
        .collect();
    assert_eq!(sums, BTreeMap::from([("input", 1_000.0), ("output", 50.0)]));
}

#[test]
fn a_run_arrives_over_http_and_an_independent_decoder_reads_it() {
    let collector = HttpReceiver::start(|_| Reply::status(200));
    let settings = everywhere(&collector.url(), Protocol::Http(Encoding::Binary));
    let report = observed(settings, &Clock::new()).finish(LONG);
    assert_eq!((report.dropped, report.attempts, &report.failures[..]), (0, 3, &[][..]));
    assert!(report.sent > (LOGS + SPANS) as u64);
    assert_eq!(collector.connections(), 1, "all signals share one");

    let requests = by_path(collector.rest());
    for request in requests.values() {
        assert_eq!(request.header("content-type"), Some("application/x-protobuf"));
        assert_eq!(request.header("authorization"), Some("Bearer hunter2"));
    }
    check_decoded(&decode(
        "binary",
        &[
            ("traces", &requests["/v1/traces"].body),
            ("logs", &requests["/v1/logs"].body),
            ("metrics", &requests["/v1/metrics"].body),
        ],
    ));
}

#[test]
fn a_run_arrives_over_grpc_and_an_independent_decoder_reads_it() {
    let collector = GrpcCollector::start("0");
    let report = observed(everywhere(&collector.url, Protocol::Grpc), &Clock::new()).finish(LONG);
    assert_eq!((report.dropped, report.attempts, &report.failures[..]), (0, 3, &[][..]));

    let calls: Vec<_> = collector.calls.try_iter().collect();
    let paths: Vec<_> = calls.iter().map(|call| call.path.as_str()).collect();
    assert_eq!(
        paths,
        [
            "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
            "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
            "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export"
        ]
    );
    assert!(calls.iter().all(|call| call.authorization.as_deref() == Some("Bearer hunter2")));
    let [traces, logs, metrics] = &calls[..] else { panic!("three calls") };
    check_decoded(&decode(
        "binary",
        &[("traces", &traces.message), ("logs", &logs.message), ("metrics", &metrics.message)],
    ));
}

#[test]
fn the_json_form_has_hexadecimal_ids_and_the_names_of_the_definition() {
    let collector = HttpReceiver::start(|_| Reply::status(200));
    let settings = everywhere(&collector.url(), Protocol::Http(Encoding::Json));
    let report = observed(settings, &Clock::new()).finish(LONG);
    assert_eq!((report.dropped, report.attempts), (0, 3));

    let requests = by_path(collector.rest());
    let traces = &requests["/v1/traces"];
    assert_eq!(traces.header("content-type"), Some("application/json"));
    let body: Value = serde_json::from_slice(&traces.body).unwrap();
    let span = &body["resourceSpans"][0]["scopeSpans"][0]["spans"][0];
    let trace_id = span["traceId"].as_str().unwrap();
    assert!(trace_id.len() == 32 && trace_id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{trace_id}");
    assert!(span["startTimeUnixNano"].is_string());
    let decoded = decode(
        "json",
        &[
            ("traces", &traces.body),
            ("logs", &requests["/v1/logs"].body),
            ("metrics", &requests["/v1/metrics"].body),
        ],
    );
    assert_eq!(
        decoded["logs"]["resourceLogs"][0]["scopeLogs"][0]["logRecords"].as_array().unwrap().len(),
        LOGS
    );
}

#[test]
fn bodies_are_compressed_when_that_was_asked_for() {
    let collector = HttpReceiver::start(|_| Reply::status(200));
    let mut settings = everywhere(&collector.url(), Protocol::Http(Encoding::Binary));
    (settings.logs, settings.metrics) = (None, None);
    settings.traces.as_mut().unwrap().gzip = true;
    assert_eq!(observed(settings, &Clock::new()).finish(LONG).sent, SPANS as u64);

    let request = collector.next();
    assert_eq!(request.header("content-encoding"), Some("gzip"));
    let mut plain = Vec::new();
    flate2::read::GzDecoder::new(&request.body[..]).read_to_end(&mut plain).unwrap();
    let decoded = decode("binary", &[("traces", &plain)]);
    assert_eq!(
        decoded["traces"]["resourceSpans"][0]["scopeSpans"][0]["spans"].as_array().unwrap().len(),
        SPANS
    );
}

#[test]
fn no_text_or_secret_is_in_what_leaves() {
    let sent = |log_user_prompt| {
        let collector = HttpReceiver::start(|_| Reply::status(200));
        let settings = TelemetrySettings {
            log_user_prompt,
            ..everywhere(&collector.url(), Protocol::Http(Encoding::Binary))
        };
        observed(settings, &Clock::new()).finish(LONG);
        let bodies: Vec<u8> = collector.rest().into_iter().flat_map(|request| request.body).collect();
        String::from_utf8_lossy(&bodies).into_owned()
    };
    let (quiet, open) = (sent(false), sent(true));
    for text in TEXTS {
        assert!(!quiet.contains(text), "{text}");
    }
    assert!(open.contains("message-text") && open.contains("question-text"));
    for never in ["secret-argument", "secret-value", "hunter2", "/home/person"] {
        assert!(!open.contains(never), "{never}");
    }
}

#[test]
fn a_resumed_run_sends_only_what_is_new() {
    let collector = HttpReceiver::start(|_| Reply::status(200));
    let exporter = Exporter::start(
        in_one_go(everywhere(&collector.url(), Protocol::Http(Encoding::Binary))),
        Clock::new().surroundings(),
    );
    let events = whole_run(RUN);
    let (earlier, new) = events.split_at(12);
    for event in earlier {
        exporter.recall(&facts(RUN), event);
    }
    for event in new {
        exporter.observe(&facts(RUN), event);
    }
    assert_eq!(exporter.finish(LONG).dropped, 0);

    let requests = by_path(collector.rest());
    let decoded =
        decode("binary", &[("traces", &requests["/v1/traces"].body), ("logs", &requests["/v1/logs"].body)]);
    let records = &decoded["logs"]["resourceLogs"][0]["scopeLogs"][0]["logRecords"];
    assert_eq!(records.as_array().unwrap().len(), new.len());
    let spans = decoded["traces"]["resourceSpans"][0]["scopeSpans"][0]["spans"].as_array().unwrap();
    let root = spans.iter().find(|span| span["name"] == "run ship").unwrap();
    assert_eq!(root["startTimeUnixNano"], "1795000000000000000", "it began with the first process");
}

#[test]
fn a_collector_that_takes_only_a_part_is_not_taken_at_its_status() {
    // Field 1 holds { 1: 3 rejected, 2: "too old" }.
    let partial = b"\x0a\x0b\x08\x03\x12\x07too old".to_vec();
    let collector = HttpReceiver::start(move |_| Reply::Answer(200, Vec::new(), partial.clone()));
    let mut settings = everywhere(&collector.url(), Protocol::Http(Encoding::Binary));
    (settings.logs, settings.metrics) = (None, None);
    let report = observed(settings, &Clock::new()).finish(LONG);
    assert_eq!((report.sent, report.dropped), (SPANS as u64 - 3, 3));
    assert!(report.failures[0].ends_with("3 refused: too old"), "{:?}", report.failures);
}

#[test]
fn a_redirect_is_not_followed() {
    let elsewhere = HttpReceiver::start(|_| Reply::status(200));
    let location = format!("{}/v1/traces", elsewhere.url());
    let collector =
        HttpReceiver::start(move |_| Reply::Answer(307, vec![("location", location.clone())], Vec::new()));
    let mut settings = everywhere(&collector.url(), Protocol::Http(Encoding::Binary));
    (settings.logs, settings.metrics) = (None, None);
    let report = observed(settings, &Clock::new()).finish(LONG);
    assert_eq!((report.sent, report.attempts), (0, 1));
    assert!(elsewhere.rest().is_empty());
}

#[test]
fn without_a_destination_nothing_is_started() {
    let exporter = observed(TelemetrySettings::default(), &Clock::new());
    assert!(!exporter.is_on());
    assert_eq!(exporter.finish(LONG), co_telemetry::ExportReport::default());
}
