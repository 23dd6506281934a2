use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use co_telemetry::{DEFAULT_PATIENCE, ExportReport, Exporter, TelemetrySettings};
use serde_json::json;

use crate::grpc_collector::GrpcCollector;
use crate::receiver::{HttpReceiver, Reply, nobody};
use crate::samples::recorded;
use crate::support::{Clock, LONG, RUN, facts, observed};

/// Far below the time-out of a request, so that a wait for one would show.
const SOON: Duration = Duration::from_secs(4);

fn to(url: &str) -> TelemetrySettings {
    TelemetrySettings {
        request_timeout: Duration::from_secs(20),
        ..TelemetrySettings::from_endpoint(url).unwrap()
    }
}

fn to_grpc(url: &str) -> TelemetrySettings {
    TelemetrySettings::from_variables(|name| match name {
        "OTEL_EXPORTER_OTLP_ENDPOINT" => Some(url.to_owned()),
        "OTEL_EXPORTER_OTLP_PROTOCOL" => Some("grpc".to_owned()),
        _ => None,
    })
    .unwrap()
}

/// Finishes with the usual patience and checks that it did not take longer than that by much.
fn finish(exporter: Exporter) -> ExportReport {
    let began = Instant::now();
    let report = exporter.finish(DEFAULT_PATIENCE);
    assert!(began.elapsed() < SOON, "took {:?}", began.elapsed());
    report
}

/// Finishes once the collector has answered or refused, which a busy machine may need its time for.
fn settled(exporter: Exporter) -> ExportReport {
    exporter.finish(LONG)
}

fn check_nothing_sent(report: &ExportReport, attempts: u64, reason: &str) {
    assert_eq!((report.sent, report.attempts), (0, attempts), "{report:?}");
    assert!(report.dropped > 0, "{report:?}");
    assert!(report.failures.iter().any(|failure| failure.contains(reason)), "{report:?}");
}

#[test]
fn a_collector_that_is_down_costs_one_attempt() {
    check_nothing_sent(&settled(observed(to(&nobody()), &Clock::new())), 1, "connection refused");
    check_nothing_sent(&settled(observed(to_grpc(&nobody()), &Clock::new())), 1, "Unavailable");
}

#[test]
fn a_collector_that_never_answers_is_left_behind() {
    let collector = HttpReceiver::start(|_| Reply::Silence);
    let exporter = Exporter::start(at_once(to(&collector.url())), Clock::new().surroundings());
    tell_many(&exporter, 1);
    collector.next();
    check_nothing_sent(&finish(exporter), 1, "before the end of the run");

    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let exporter = Exporter::start(at_once(to_grpc(&url)), Clock::new().surroundings());
    tell_many(&exporter, 1);
    let _connection = silent.accept().unwrap();
    check_nothing_sent(&finish(exporter), 1, "before the end of the run");
}

#[test]
fn a_collector_that_answers_nonsense_or_hangs_up_costs_one_attempt() {
    for reply in [Reply::Garbage, Reply::Close] {
        let collector = HttpReceiver::start(move |_| reply.clone());
        let report = settled(observed(to(&collector.url()), &Clock::new()));
        assert_eq!((report.sent, report.attempts, report.failures.is_empty()), (0, 1, false), "{report:?}");
        assert_eq!(collector.rest().len(), 1);
    }
    let not_grpc = HttpReceiver::start(|_| Reply::Garbage);
    let report = settled(observed(to_grpc(&not_grpc.url()), &Clock::new()));
    assert_eq!((report.sent, report.attempts), (0, 1), "{report:?}");
}

#[test]
fn an_error_over_grpc_costs_one_attempt() {
    let collector = GrpcCollector::start("14");
    check_nothing_sent(&settled(observed(to_grpc(&collector.url), &Clock::new())), 1, "Unavailable");
    assert_eq!(collector.calls.try_iter().count(), 1);
}

/// Sends every event on its own.
fn at_once(settings: TelemetrySettings) -> TelemetrySettings {
    TelemetrySettings { linger: Duration::ZERO, first_linger: Duration::ZERO, ..settings }
}

fn tell_many(exporter: &Exporter, count: usize) {
    let events = recorded(vec![json!({"type": "run_started"}); count]);
    for event in &events {
        exporter.observe(&facts(RUN), event);
    }
}

#[test]
fn a_failing_collector_sees_two_attempts_in_a_minute_however_much_there_is_to_send() {
    let collector = HttpReceiver::start(|_| Reply::status(503));
    let clock = Clock::new();
    let exporter = Exporter::start(at_once(to(&collector.url())), clock.surroundings());
    tell_many(&exporter, 1);
    clock.wait_for_failures(1);
    // Past the wait after the first failure, within the minute.
    clock.advance(20);
    tell_many(&exporter, 1_000);
    clock.wait_for_failures(2);
    clock.advance(39);
    tell_many(&exporter, 1_000);
    let report = exporter.finish(LONG);
    assert_eq!((report.attempts, report.sent), (2, 0), "{report:?}");
    assert_eq!(collector.rest().len(), 2);
}

#[test]
fn what_waited_arrives_when_the_collector_is_back() {
    let is_up = Arc::new(AtomicBool::new(false));
    let up = Arc::clone(&is_up);
    let collector =
        HttpReceiver::start(move |_| Reply::status(if up.load(Ordering::SeqCst) { 200 } else { 503 }));
    let clock = Clock::new();
    let exporter = Exporter::start(at_once(to(&collector.url())), clock.surroundings());
    tell_many(&exporter, 50);
    clock.wait_for_failures(1);
    is_up.store(true, Ordering::SeqCst);
    clock.advance(60);
    let report = exporter.finish(LONG);
    assert_eq!((report.sent, report.dropped), (50, 0), "{report:?}");
}

#[test]
fn a_collector_that_asks_for_peace_is_left_alone_by_the_next_run_too() {
    let wait = vec![("retry-after", "900".to_owned())];
    let collector = HttpReceiver::start(move |_| Reply::Answer(503, wait.clone(), Vec::new()));
    let folder = tempfile::tempdir().unwrap();
    let clock = Clock::new();
    let run = || {
        let settings =
            TelemetrySettings { state_dir: Some(folder.path().to_owned()), ..to(&collector.url()) };
        observed(settings, &clock).finish(LONG).attempts
    };
    assert_eq!(run(), 1);
    clock.advance(899);
    assert_eq!(run(), 0);
    clock.advance(1);
    assert_eq!(run(), 1);
}

#[test]
fn fifty_runs_of_a_project_do_not_hammer_a_collector_that_is_down_or_silent() {
    for reply in [Reply::Close, Reply::Silence] {
        let collector = HttpReceiver::start(move |_| reply.clone());
        let folder = tempfile::tempdir().unwrap();
        let clock = Clock::new();
        let mut attempts = 0;
        for _ in 0..50 {
            let settings =
                TelemetrySettings { state_dir: Some(folder.path().to_owned()), ..to(&collector.url()) };
            attempts += finish(observed(settings, &clock)).attempts;
            clock.advance(1);
        }
        assert!((1..=2).contains(&attempts), "{attempts}");
        assert!(collector.rest().len() <= 2);
    }
}

#[test]
fn runs_that_begin_together_all_arrive_at_a_collector_that_lives() {
    let collector = HttpReceiver::start(|_| Reply::status(200));
    let folder = tempfile::tempdir().unwrap();
    let clock = Clock::new();
    let exporters: Vec<_> = (0..12)
        .map(|_| {
            let settings =
                TelemetrySettings { state_dir: Some(folder.path().to_owned()), ..to(&collector.url()) };
            observed(settings, &clock)
        })
        .collect();
    let waiting: Vec<_> =
        exporters.into_iter().map(|exporter| std::thread::spawn(|| exporter.finish(LONG))).collect();
    for report in waiting.into_iter().map(|thread| thread.join().unwrap()) {
        assert_eq!((report.dropped, report.attempts), (0, 3), "{report:?}");
    }
}

#[test]
fn a_kind_the_collector_does_not_know_is_not_offered_again() {
    let collector =
        HttpReceiver::start(|request| Reply::status(if request.path == "/v1/metrics" { 404 } else { 200 }));
    let folder = tempfile::tempdir().unwrap();
    let clock = Clock::new();
    let run = || {
        let settings =
            TelemetrySettings { state_dir: Some(folder.path().to_owned()), ..to(&collector.url()) };
        let report = observed(settings, &clock).finish(LONG);
        assert!(report.sent > 20 && report.dropped > 0, "{report:?}");
        collector.rest().into_iter().map(|request| request.path).collect::<Vec<_>>()
    };
    assert_eq!(run(), ["/v1/traces", "/v1/logs", "/v1/metrics"]);
    assert_eq!(run(), ["/v1/traces", "/v1/logs"]);
}

#[test]
fn events_without_room_are_counted_and_never_waited_for() {
    let collector = HttpReceiver::start(|_| Reply::Silence);
    let exporter = Exporter::start(at_once(to(&collector.url())), Clock::new().surroundings());
    tell_many(&exporter, 1);
    collector.next();
    // The thread waits for an answer now: the queue fills up.
    tell_many(&exporter, 10_000);
    let report = finish(exporter);
    assert_eq!((report.sent, report.dropped), (0, 10_001));
}

#[test]
fn a_certificate_that_is_missing_is_named_and_costs_nothing() {
    let mut settings = to("https://127.0.0.1:1");
    for destination in [&mut settings.traces, &mut settings.logs, &mut settings.metrics] {
        destination.as_mut().unwrap().tls.ca_certificate = Some("/no/such/authority.pem".into());
    }
    let report = settled(observed(settings, &Clock::new()));
    assert_eq!((report.attempts, report.sent), (0, 0));
    assert!(report.failures[0].contains("/no/such/authority.pem"), "{:?}", report.failures);
}
