//! Prints how long the engine takes: replays of long logs, and runs of many stages driven to the end.
//!
//! `cargo run --release -p co-engine --example replay`

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a measurement that prints its table")]

use std::num::{NonZeroU16, NonZeroU32};
use std::time::{Duration, Instant};

use co_engine::{Decision, Effect, Input, RunState, decide, start};
use co_model::{
    AttemptExit, AttemptReport, CommandLine, Event, EventSeq, Needs, Pipeline, PipelineId, PipelineSource,
    Recorded, RetryOn, RetryPolicy, RunCreated, RunId, RunSettings, Stage, StageId, StageWork, TaskId,
    Timestamp,
};
use indexmap::IndexMap;

fn main() {
    println!("{:<44} {:>10} {:>12} {:>14}", "what", "events", "total", "per event");
    for stages in [125, 250, 500, 1_000] {
        let (log, spent) = drive(pipeline(stages, false), 1);
        row(&format!("drive {stages} stages in a row"), log.len(), spent);
    }
    let (log, spent) = drive(pipeline(500, true), 1);
    row("drive 500 independent stages, 16 at once", log.len(), spent);
    for (stages, attempts) in [(500, 5), (500, 67), (50, 667)] {
        let (log, driven) = drive(pipeline(stages, false), attempts);
        row(&format!("drive {stages} stages, {attempts} attempts each"), log.len(), driven);
        let begun = Instant::now();
        let state = RunState::replay(&log).unwrap();
        row(&format!("replay {stages} stages, {attempts} attempts each"), log.len(), begun.elapsed());
        assert!(state.status().is_over());
    }
}

fn row(what: &str, events: usize, spent: Duration) {
    let each = spent / u32::try_from(events).unwrap();
    println!("{what:<44} {events:>10} {spent:>12.2?} {each:>14.2?}");
}

/// Runs a pipeline to its end; every stage succeeds at its last attempt.
fn drive(pipeline: Pipeline, attempts: u32) -> (Vec<Recorded>, Duration) {
    let now = Timestamp::from_millis(0);
    let created = RunCreated {
        task: TaskId::new("bench").unwrap(),
        run: RunId::new("bench").unwrap(),
        pipeline: retrying(pipeline, attempts),
        nested: IndexMap::new(),
        settings: RunSettings::default(),
    };
    let begun = Instant::now();
    let Decision { events, effects, .. } = start(now, created).unwrap();
    let mut log = Vec::new();
    let mut append = |events: Vec<Event>, state: &mut Option<RunState>| {
        for event in events {
            let recorded = Recorded { seq: EventSeq(log.len() as u64 + 1), at: now, event };
            match state {
                Some(state) => state.evolve(&recorded).unwrap(),
                None => *state = Some(RunState::create(&recorded).unwrap()),
            }
            log.push(recorded);
        }
    };
    let mut state = None;
    append(events, &mut state);
    let mut open = effects;
    while let Some(effect) = open.pop() {
        let Effect::Launch { stage, attempt, .. } = effect else { continue };
        let report = report(i32::from(attempt < attempts));
        let input = Input::AttemptFinished { stage, attempt, report };
        let Decision { events, effects, .. } = decide(state.as_ref().unwrap(), now, input).unwrap();
        append(events, &mut state);
        open.extend(effects);
    }
    (log, begun.elapsed())
}

fn report(code: i32) -> Box<AttemptReport> {
    Box::new(AttemptReport {
        duration: Duration::from_millis(5),
        summary: "done".into(),
        ..AttemptReport::new(AttemptExit::Code(code))
    })
}

fn retrying(mut pipeline: Pipeline, attempts: u32) -> Pipeline {
    for stage in &mut pipeline.stages {
        stage.retry = RetryPolicy {
            max_attempts: NonZeroU32::new(attempts).unwrap(),
            backoff: Duration::ZERO,
            on: RetryOn { exit_codes: None, timed_out: true },
        };
    }
    pipeline
}

fn pipeline(stages: usize, independent: bool) -> Pipeline {
    let needs = if independent { Needs::Declared(Vec::new()) } else { Needs::PreviousStage };
    let stage = |number: usize| Stage {
        title: format!("Stage {number}"),
        needs: needs.clone(),
        ..Stage::new(
            StageId::new(format!("stage-{number:04}")).unwrap(),
            StageWork::Command(CommandLine::Shell("true".into())),
        )
    };
    Pipeline {
        id: PipelineId::new("bench").unwrap(),
        title: "Bench".into(),
        description: None,
        tags: Vec::new(),
        guardrails_required: false,
        max_parallel: NonZeroU16::new(if independent { 16 } else { 1 }).unwrap(),
        mcp_servers: Vec::new(),
        stages: (0..stages).map(stage).collect(),
        source: PipelineSource::BuiltIn,
    }
}
