//! The event log beside raw SQLite with the same durability, and the replay of 100,000 events.

use std::num::NonZeroU16;
use std::path::Path;
use std::time::{Duration, Instant};

use co_engine::RunState;
use co_log::{Append, Consents, Durability, EventLog, Lease, Owner, Progress, encode};
use co_log_sqlite::{OpenMode, SqliteLog};
use co_model::{
    AttemptExit, AttemptReport, CommandLine, Event, EventSeq, ExecutionMode, Grant, OutputStats, Pipeline,
    PipelineId, PipelineSource, Recorded, RunCreated, RunId, RunSettings, RunStatus, Stage, StageId,
    StageWork, StreamStats, TaskId, Timestamp,
};
use indexmap::IndexMap;
use rusqlite::{Connection, params};

use crate::Outcome;
use crate::place::Place;
use crate::report::{Row, Verdict};
use crate::sample::{millis, ratio, take_turns};

/// At least this part of what raw SQLite does.
const APPEND_BAR: f64 = 0.8;
const REPLAY_BAR: Duration = Duration::from_millis(500);
const APPENDS: u32 = 200;
const STAGES: u32 = 250;
const ATTEMPTS: u32 = 100;
const EVENTS_PER_ATTEMPT: u32 = 4;
/// As many as are read at once when a run is loaded.
const PAGE: usize = 1_000;

pub(crate) fn measure(rounds: usize) -> Outcome<Vec<Row>> {
    Ok(vec![
        appends("append of one event, synced", Durability::Synced, rounds)?,
        appends("append of one event, unsynced", Durability::Buffered, rounds)?,
        replay(rounds.div_ceil(3))?,
    ])
}

fn appends(what: &str, durability: Durability, rounds: usize) -> Outcome<Row> {
    let place = Place::new(&[])?;
    let raw = RawLog::create(&place.path().join("raw.db"), durability == Durability::Synced)?;
    let mut log = Writer::create(&place.path().join("log.db"), 1)?;
    let event = finished(&StageId::new("s1")?, 1);
    let [ours, floor] = take_turns(
        rounds,
        [
            &mut || {
                let begun = Instant::now();
                for _ in 0..APPENDS {
                    log.append(std::slice::from_ref(&event), durability)?;
                }
                Ok(begun.elapsed())
            },
            &mut || (0..APPENDS).map(|_| raw.append()).sum(),
        ],
    )?;
    let part = ratio(floor, ours);
    Ok(Row {
        what: what.to_owned(),
        bar: "≥ 80 % of raw SQLite".into(),
        ours: per_second(ours),
        reference: format!("one `INSERT` per transaction, same durability: {}", per_second(floor)),
        ratio: format!("{:.0} %", part * 100.0),
        verdict: Verdict::of(part >= APPEND_BAR),
    })
}

fn per_second(time: Duration) -> String {
    format!("{:.0}/s", f64::from(APPENDS) / time.as_secs_f64())
}

fn replay(rounds: usize) -> Outcome<Row> {
    let place = Place::new(&[])?;
    let mut log = Writer::create(&place.path().join("log.db"), STAGES)?;
    for stage in 1..=STAGES {
        let stage = StageId::new(format!("s{stage}"))?;
        let events: Vec<Event> = (1..=ATTEMPTS).flat_map(|attempt| attempt_events(&stage, attempt)).collect();
        log.append(&events, Durability::Buffered)?;
    }
    let mut decoded = 0;
    let mut replay_once = || {
        let begun = Instant::now();
        decoded = log.replay()?;
        Ok(begun.elapsed())
    };
    let [ours] = take_turns(rounds, [&mut replay_once])?;
    Ok(Row {
        what: format!("replay of {decoded} events of one run"),
        bar: "< 500 ms".into(),
        ours: millis(ours),
        reference: "read, decoded and taken into the state".into(),
        ratio: String::new(),
        verdict: Verdict::of(
            ours < REPLAY_BAR && decoded > u64::from(STAGES * ATTEMPTS * EVENTS_PER_ATTEMPT),
        ),
    })
}

/// What anybody would write who stored the same row with the same durability.
pub(crate) struct RawLog {
    connection: Connection,
    body: String,
}

impl RawLog {
    pub(crate) fn create(path: &Path, synced: bool) -> Outcome<Self> {
        let connection = Connection::open(path)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", if synced { "FULL" } else { "NORMAL" })?;
        connection.execute_batch(
            "CREATE TABLE events (run TEXT NOT NULL, seq INTEGER NOT NULL, at INTEGER NOT NULL, kind TEXT NOT NULL,
             version INTEGER NOT NULL, body TEXT NOT NULL, PRIMARY KEY (run, seq)) STRICT, WITHOUT ROWID",
        )?;
        let body = encode(&finished(&StageId::new("s1")?, 1))?.body;
        Ok(Self { connection, body })
    }

    /// Appends one row in a transaction of its own and says how long that took.
    pub(crate) fn append(&self) -> Outcome<Duration> {
        let begun = Instant::now();
        self.connection
            .prepare_cached(
                "INSERT INTO events SELECT ?1, coalesce(max(seq), 0) + 1, ?2, ?3, 1, ?4 FROM events WHERE run = ?1",
            )?
            .execute(params!["2026-01-01T00-00-00-000Z-00000001", 0, "attempt_finished", self.body])?;
        Ok(begun.elapsed())
    }
}

/// Makes a run in which these consents were given.
pub(crate) fn with_grants(log: &SqliteLog, run: &RunId, grants: &[Grant]) -> Outcome<Lease> {
    let created = run_created(run, 1)?;
    let at = Timestamp::from_millis(1_800_000_000_000);
    let progress = progress_of(&created, at, 1);
    let owner = Owner { id: "bench".into(), host: "bench".into(), process: "bench".into() };
    let (lease, _) = log.create(
        &owner,
        &Append {
            run,
            after: EventSeq(0),
            at,
            events: &[Event::RunCreated(Box::new(created)), Event::RunStarted],
            progress: &progress,
            settled: &[],
            consents: Consents { given: grants, used: &[] },
            durability: Durability::Buffered,
        },
    )?;
    Ok(lease)
}

fn progress_of(created: &RunCreated, at: Timestamp, stages: u32) -> Progress {
    Progress {
        task: created.task.clone(),
        pipeline: created.pipeline.id.clone(),
        parent: None,
        status: RunStatus::InProgress,
        status_detail: None,
        created_at: at,
        completed_at: None,
        stages_passed: 0,
        stages_failed: 0,
        stages_planned: stages,
        summary: None,
        metrics: None,
    }
}

/// A run that is written to as its owner would.
struct Writer {
    log: SqliteLog,
    lease: Lease,
    run: RunId,
    progress: Progress,
    last: EventSeq,
}

impl Writer {
    fn create(path: &Path, stages: u32) -> Outcome<Self> {
        let log = SqliteLog::open(path, OpenMode::Create)?;
        let at = Timestamp::from_millis(1_800_000_000_000);
        let run = RunId::generate(at, 1);
        let created = run_created(&run, stages)?;
        let progress = progress_of(&created, at, stages);
        let owner = Owner { id: "bench".into(), host: "bench".into(), process: "bench".into() };
        let events = [Event::RunCreated(Box::new(created)), Event::RunStarted];
        let append = Append {
            run: &run,
            after: EventSeq(0),
            at,
            events: &events,
            progress: &progress,
            settled: &[],
            consents: Consents::default(),
            durability: Durability::Synced,
        };
        let (lease, recorded) = log.create(&owner, &append)?;
        let last = recorded.last().map_or(EventSeq(0), |last| last.seq);
        Ok(Self { log, lease, run, progress, last })
    }

    fn append(&mut self, events: &[Event], durability: Durability) -> Outcome<()> {
        let recorded = self.log.append(
            &self.lease,
            &Append {
                run: &self.run,
                after: self.last,
                at: self.progress.created_at,
                events,
                progress: &self.progress,
                settled: &[],
                consents: Consents::default(),
                durability,
            },
        )?;
        self.last = recorded.last().map_or(self.last, |last| last.seq);
        Ok(())
    }

    /// Reads the whole run into a state and returns how many events that took.
    fn replay(&self) -> Outcome<u64> {
        let mut state: Option<RunState> = None;
        let mut seen = EventSeq(0);
        loop {
            let page: Vec<Recorded> = self.log.events(&self.run, seen, PAGE)?;
            let Some(last) = page.last() else { return Ok(seen.0) };
            seen = last.seq;
            for recorded in &page {
                match &mut state {
                    Some(state) => state.evolve(recorded)?,
                    None => state = Some(RunState::create(recorded)?),
                }
            }
        }
    }
}

fn attempt_events(stage: &StageId, attempt: u32) -> [Event; EVENTS_PER_ATTEMPT as usize] {
    [
        Event::AttemptStarting { stage: stage.clone(), attempt },
        Event::AttemptStarted { stage: stage.clone(), attempt, process: "4242@123456789".into() },
        finished(stage, attempt),
        Event::RetryScheduled {
            stage: stage.clone(),
            attempt: attempt + 1,
            due_at: Timestamp::from_millis(1_800_000_000_000),
        },
    ]
}

fn finished(stage: &StageId, attempt: u32) -> Event {
    let report = AttemptReport {
        duration: Duration::from_millis(1_234),
        summary: "error: could not compile `engine` (lib) due to 1 previous error; 3 warnings emitted".into(),
        output: OutputStats { stdout: StreamStats { bytes: 12_345 }, stderr: StreamStats { bytes: 678 } },
        ..AttemptReport::new(AttemptExit::Code(1))
    };
    Event::AttemptFinished { stage: stage.clone(), attempt, report: Box::new(report) }
}

fn run_created(run: &RunId, stages: u32) -> Outcome<RunCreated> {
    let stages = (1..=stages).map(|index| stage(&format!("s{index}"))).collect::<Outcome<Vec<Stage>>>()?;
    let pipeline = Pipeline {
        id: PipelineId::new("bench")?,
        title: "Bench".into(),
        description: None,
        tags: Vec::new(),
        guardrails_required: false,
        max_parallel: NonZeroU16::MIN,
        mcp_servers: Vec::new(),
        stages,
        source: PipelineSource::BuiltIn,
    };
    Ok(RunCreated {
        task: TaskId::new("bench")?,
        run: run.clone(),
        pipeline,
        nested: IndexMap::new(),
        settings: RunSettings::default(),
    })
}

fn stage(id: &str) -> Outcome<Stage> {
    Ok(Stage {
        title: id.to_owned(),
        execution: ExecutionMode::Mcp,
        ..Stage::new(StageId::new(id)?, StageWork::Command(CommandLine::Shell("true".into())))
    })
}
