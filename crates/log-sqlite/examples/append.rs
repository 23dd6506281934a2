//! Measures the event log beside plain SQLite, side by side in one run: `cargo run --release -p
//! co-log-sqlite --example append [folder]`. The folder should lie on the disk that matters.

#![expect(clippy::print_stdout, reason = "the numbers are what it is for")]
#![expect(clippy::unwrap_used, reason = "a measurement that fails has nothing else to say")]

use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use co_log::{Append, Consents, Durability, EventLog, Lease, Owner, Progress, RunFilter, encode};
use co_log_sqlite::{OpenMode, SqliteLog};
use co_model::{Actor, Event, EventSeq, PipelineId, RunId, RunStatus, StageId, TaskId, Timestamp};
use rusqlite::{Connection, params};

const ROUNDS: u32 = 8;
const COMMITS: u32 = 400;

fn main() {
    let folder = std::env::args().nth(1).map_or_else(std::env::temp_dir, PathBuf::from);
    let folder = tempfile::tempdir_in(folder).unwrap();
    for rows in [1, 10] {
        appends(folder.path(), rows);
    }
    replay(folder.path());
    heads(folder.path());
}

/// Rows per second, ours and raw, in alternating rounds on two databases of the same disk.
fn appends(folder: &Path, rows: u64) {
    let events: Vec<Event> = (0..rows).map(|_| event()).collect();
    let log = SqliteLog::open(&folder.join(format!("ours-{rows}.db")), OpenMode::Create).unwrap();
    let mut raw = raw(&folder.join(format!("raw-{rows}.db")));
    let (mut ours_took, mut raw_took) = (Duration::ZERO, Duration::ZERO);
    for round in 0..ROUNDS {
        let run = run(round);
        let progress = progress();
        let mut after = 0;
        let mut next = || {
            let append = append(&run, after, &events, &progress, Durability::Synced);
            after += rows;
            append
        };
        let (lease, _) = log.create(&owner(), &next()).unwrap();
        let begun = Instant::now();
        for _ in 0..COMMITS {
            log.append(&lease, &next()).unwrap();
        }
        ours_took += begun.elapsed();

        let stored = encode(&events[0]).unwrap();
        let begun = Instant::now();
        for commit in 0..u64::from(COMMITS) {
            let transaction = raw.transaction().unwrap();
            let mut insert =
                transaction.prepare_cached("INSERT INTO events VALUES (?1, ?2, ?3, ?4, ?5, ?6)").unwrap();
            for row in 0..rows {
                let seq = i64::try_from(commit * rows + row).unwrap();
                let values = params![
                    run.as_str(),
                    seq,
                    1_763_712_000_000_i64,
                    stored.kind,
                    stored.version,
                    stored.body
                ];
                insert.execute(values).unwrap();
            }
            drop(insert);
            transaction.commit().unwrap();
        }
        raw_took += begun.elapsed();
    }
    let per_second = |took: Duration| {
        f64::from(ROUNDS * COMMITS) * f64::from(u32::try_from(rows).unwrap()) / took.as_secs_f64()
    };
    let (ours, raw) = (per_second(ours_took), per_second(raw_took));
    println!(
        "{rows:>2} per commit, synced: ours {ours:>7.0}/s  raw {raw:>7.0}/s  {:.0} %",
        100.0 * ours / raw
    );
}

fn replay(folder: &Path) {
    const EVENTS: usize = 100_000;
    let path = folder.join("replay.db");
    let log = SqliteLog::open(&path, OpenMode::Create).unwrap();
    let events: Vec<Event> = (0..EVENTS).map(|_| event()).collect();
    let progress = progress();
    let lease =
        log.create(&owner(), &append(&run(1), 0, &events, &progress, Durability::Buffered)).unwrap().0;
    log.release(&lease).unwrap();
    drop(log);
    let begun = Instant::now();
    let log = SqliteLog::open(&path, OpenMode::ReadOnly).unwrap();
    let mut after = EventSeq(0);
    let mut read = 0;
    loop {
        let page = log.events(&run(1), after, 1_000).unwrap();
        let Some(last) = page.last() else { break };
        after = last.seq;
        read += page.len();
        black_box(&page);
    }
    println!("replay of {read} events: {:.3} s", begun.elapsed().as_secs_f64());
}

fn heads(folder: &Path) {
    const RUNS: u32 = 10_000;
    const REPEATS: u32 = 200;
    let path = folder.join("heads.db");
    let log = SqliteLog::open(&path, OpenMode::Create).unwrap();
    let progress = Progress { status: RunStatus::Succeeded, metrics: Some("m".repeat(1_200)), ..progress() };
    for number in 0..RUNS {
        let events = [event()];
        let lease: Lease = log
            .create(&owner(), &append(&run(number), 0, &events, &progress, Durability::Buffered))
            .unwrap()
            .0;
        log.release(&lease).unwrap();
    }
    let each = |what: &str, work: &dyn Fn()| {
        let mut took: Vec<Duration> = (0..REPEATS)
            .map(|_| {
                let begun = Instant::now();
                work();
                begun.elapsed()
            })
            .collect();
        took.sort_unstable();
        let micros = |at: u32| took[at as usize].as_secs_f64() * 1e6;
        println!(
            "{what:<38} p50 {:>6.0} us  p99 {:>6.0} us",
            micros(REPEATS / 2),
            micros(REPEATS * 99 / 100)
        );
    };
    let open = |mode| SqliteLog::open(&path, mode).unwrap();
    let one = |log: &SqliteLog| assert!(black_box(log.head(&run(RUNS / 2)).unwrap()).is_some());
    each("head of one run among 10,000", &|| one(&log));
    each("open + head, others have it open", &|| one(&open(OpenMode::Existing)));
    let newest = RunFilter { limit: 20, ..RunFilter::default() };
    each("newest 20 heads", &|| drop(black_box(log.heads(&newest).unwrap())));
    let over = RunFilter { statuses: vec![RunStatus::Succeeded, RunStatus::Failed], ..newest.clone() };
    each("newest 20 of two statuses", &|| drop(black_box(log.heads(&over).unwrap())));
    let open_runs = RunFilter { statuses: vec![RunStatus::InProgress, RunStatus::Queued], ..newest };
    each("unfinished among 10,000", &|| assert!(log.heads(&open_runs).unwrap().is_empty()));
    each("totals of a task of 10,000", &|| assert_eq!(log.totals(&progress.task).unwrap().runs, 10_000));
    drop(log);
    each("open + head + close, alone", &|| one(&open(OpenMode::Existing)));
    each("open + head + close, alone, read-only", &|| one(&open(OpenMode::ReadOnly)));
    let run = run(1);
    let events = [event()];
    let after = std::cell::Cell::new(1);
    each("open + acquire + append + close, alone", &|| {
        let log = open(OpenMode::Existing);
        let lease = log.acquire(&run, &owner(), at(), &|_| true).unwrap();
        let append = append(&run, after.get(), &events, &progress, Durability::Synced);
        after.set(after.get() + 1);
        log.append(&lease, &append).unwrap();
    });
}

fn raw(path: &Path) -> Connection {
    let connection = Connection::open(path).unwrap();
    connection
        .execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
             CREATE TABLE events (run TEXT NOT NULL, seq INTEGER NOT NULL, at INTEGER NOT NULL,
                 kind TEXT NOT NULL, version INTEGER NOT NULL, body TEXT NOT NULL,
                 PRIMARY KEY (run, seq)) STRICT, WITHOUT ROWID;",
        )
        .unwrap();
    connection
}

fn append<'a>(
    run: &'a RunId,
    after: u64,
    events: &'a [Event],
    progress: &'a Progress,
    durability: Durability,
) -> Append<'a> {
    Append {
        run,
        after: EventSeq(after),
        at: at(),
        events,
        progress,
        settled: &[],
        consents: Consents::default(),
        durability,
    }
}

/// About 400 bytes when stored.
fn event() -> Event {
    Event::SteerAccepted {
        stage: StageId::new("build").unwrap(),
        message: "What an agent is told is rarely short. ".repeat(8),
        actor: Actor::new("someone at a terminal"),
    }
}

fn at() -> Timestamp {
    Timestamp::from_millis(1_763_712_000_000)
}

fn run(number: u32) -> RunId {
    RunId::generate(Timestamp::from_millis(1_763_712_000_000 + i64::from(number)), number)
}

fn owner() -> Owner {
    Owner { id: "owner".to_owned(), host: "host".to_owned(), process: "1@1".to_owned() }
}

fn progress() -> Progress {
    Progress {
        task: TaskId::new("task").unwrap(),
        pipeline: PipelineId::new("pipeline").unwrap(),
        parent: None,
        status: RunStatus::InProgress,
        status_detail: None,
        created_at: at(),
        completed_at: None,
        stages_passed: 1,
        stages_failed: 0,
        stages_planned: 3,
        summary: Some("one line for people".to_owned()),
        metrics: None,
    }
}
