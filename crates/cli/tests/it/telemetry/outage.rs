//! Collectors and targets that fail: the run is what it would be without them.

use std::time::{Duration, Instant};

use co_testkit::{HttpReceiver, Reply, nobody};

use super::{MENDABLE, QUIET, patient};
use crate::support::Project;

/// Far more than the fifth of a second that is waited; only what hangs takes longer.
const AT_ONCE: Duration = Duration::from_secs(20);

#[test]
fn a_collector_that_is_down_changes_nothing_but_a_warning() {
    let project = Project::with_pipelines(MENDABLE);
    let ended = project.run(&["start", "main", "--json", "--otel-endpoint", &nobody()]).expect(10);
    assert_eq!(ended.json()["status"], "failed");
    assert_eq!(ended.stderr.matches("telemetry: ").count(), 1, "{}", ended.stderr);
}

#[test]
fn nobody_waits_for_a_collector_or_a_target_that_is_silent() {
    let silent = HttpReceiver::start(|_| Reply::Silence);
    let mut project = Project::with_pipelines(QUIET);
    project.set("CODEX_ORCHESTRATOR_NOTIFY_PATIENCE", "200ms");
    let began = Instant::now();
    let ended = project
        .run(&["start", "main", "--otel-endpoint", &silent.url(), "--notify", &silent.url()])
        .expect(0);
    assert!(began.elapsed() < AT_ONCE, "{:?}", began.elapsed());
    assert_eq!(ended.stderr.matches("notification: ").count(), 1, "{}", ended.stderr);
}

#[test]
fn a_collector_that_refuses_is_left_alone_by_all_runs_of_the_project() {
    let refusing = HttpReceiver::start(|_| Reply::status(503));
    let project = patient(QUIET);
    let began = Instant::now();
    for _ in 0..4 {
        project.run(&["start", "main", "--otel-endpoint", &refusing.url()]).expect(0);
    }
    let minutes = usize::try_from(began.elapsed().as_secs() / 60 + 1).unwrap();
    let attempts = refusing.rest().len();
    assert!((1..=2 * minutes).contains(&attempts), "{attempts} attempts in {minutes} minutes");
}

#[test]
fn a_target_that_is_down_is_named_without_its_secrets() {
    let project = Project::with_pipelines(QUIET);
    let target = format!("{}/hook?key=hunter2", nobody());
    let mut project = project;
    project.set("CODEX_ORCHESTRATOR_NOTIFY_PATIENCE", "200ms");
    let ended = project.run(&["start", "main", "--notify", &target]).expect(0);
    assert!(ended.stderr.contains("notification: http://127.0.0.1"), "{}", ended.stderr);
    assert!(!ended.stderr.contains("hunter2"), "{}", ended.stderr);
}

#[test]
fn what_is_no_target_is_refused_before_anything_is_run() {
    let project = Project::with_pipelines(QUIET);
    for bad in [["--notify", "smoke"], ["--notify", "ftp://me:hunter2@x"], ["--otel-endpoint", "x"]] {
        let ended = project.run(&["start", "main", bad[0], bad[1]]).expect(2);
        assert!(!ended.stderr.contains("hunter2"), "{}", ended.stderr);
    }
    for name in ["CODEX_ORCHESTRATOR_OTEL_PATIENCE", "CODEX_ORCHESTRATOR_NOTIFY_PATIENCE"] {
        let mut project = Project::with_pipelines(QUIET);
        project.set(name, "61s");
        let ended = project.run(&["start", "main"]).expect(2);
        assert!(ended.stderr.contains(name) && ended.stderr.contains("at most 1m"), "{}", ended.stderr);
    }
    assert!(!project.path(".runs/local").exists());
}
