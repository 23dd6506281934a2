//! What telemetry adds to a run: starting, observing 40 events and finishing, with a collector that is up, down or
//! silent. Prints the median of many runs; `cargo run --release --package co-telemetry --example cost`.
#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a measurement prints, or fails where it stands"
)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use co_model::{Event, EventSeq, Recorded, RunId, TaskId, Timestamp};
use co_telemetry::{DEFAULT_PATIENCE, Exporter, RunFacts, Surroundings, TelemetrySettings};

/// Runs per line.
const RUNS: usize = 51;
/// Events of a run of some ten stages.
const EVENTS: u64 = 40;

fn main() {
    let up = collector(true);
    let silent = collector(false);
    let down = {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        format!("http://{}", listener.local_addr().unwrap())
    };
    println!("{:<28} {:>12} {:>12} {:>12}", "median of a run", "start", "per event", "finish");
    measure("off", TelemetrySettings::default, RUNS);
    measure("collector up", || TelemetrySettings::from_endpoint(&up).unwrap(), RUNS);
    measure("collector down", || TelemetrySettings::from_endpoint(&down).unwrap(), RUNS);
    measure("collector silent", || TelemetrySettings::from_endpoint(&silent).unwrap(), 7);
    let folder = tempfile::tempdir().unwrap();
    let known = || TelemetrySettings {
        state_dir: Some(folder.path().to_owned()),
        ..TelemetrySettings::from_endpoint(&silent).unwrap()
    };
    measure("collector known to be silent", known, RUNS);
}

fn measure(name: &str, settings: impl Fn() -> TelemetrySettings, runs: usize) {
    let facts = RunFacts {
        run: RunId::generate(Timestamp::from_millis(0), 1),
        task: TaskId::new("task").unwrap(),
        parent: None,
        workspace: "/".to_owned(),
    };
    let surroundings =
        Surroundings { now: Arc::new(|| Timestamp::from_millis(1_795_000_000_000)), random: Arc::new(|| 0) };
    let mut times: Vec<_> = (0..runs)
        .map(|_| {
            let began = Instant::now();
            let exporter = Exporter::start(settings(), surroundings.clone());
            let started = Instant::now();
            for seq in 1..=EVENTS {
                let at = Timestamp::from_millis(1_795_000_000_000);
                exporter.observe(&facts, &Recorded { seq: EventSeq(seq), at, event: Event::RunStarted });
            }
            let observed = Instant::now();
            exporter.finish(DEFAULT_PATIENCE);
            [started - began, (observed - started) / u32::try_from(EVENTS).unwrap(), observed.elapsed()]
        })
        .collect();
    let median = |times: &mut Vec<[Duration; 3]>, part: usize| {
        times.sort_by_key(|time| time[part]);
        format!("{:.1?}", times[times.len() / 2][part])
    };
    let [start, event, finish] = [0, 1, 2].map(|part| median(&mut times, part));
    println!("{name:<28} {start:>12} {event:>12} {finish:>12}");
}

/// A collector that takes everything at once, or one that never answers.
fn collector(answers: bool) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming() {
            thread::spawn(move || serve(stream.unwrap(), answers));
        }
    });
    url
}

fn serve(stream: TcpStream, answers: bool) {
    let mut stream = BufReader::new(stream);
    loop {
        let (mut length, mut line) = (0, String::new());
        while line != "\r\n" {
            line.clear();
            if stream.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
        }
        stream.read_exact(&mut vec![0; length]).unwrap();
        if answers {
            stream.get_mut().write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").unwrap();
        }
    }
}
