//! How long the smallest answers take: `--version`, and `status` of one run among 10,000.

use std::time::Duration;

use co_log::{Append, Consents, Durability, EventLog, Owner};
use co_log_sqlite::{OpenMode, SqliteLog};
use co_model::{Event, EventSeq, RunId};

use crate::Outcome;
use crate::contestant::Product;
use crate::place::Place;
use crate::report::{Row, Verdict};
use crate::sample::{millis, ratio, take_turns};

const VERSION_BAR: Duration = Duration::from_millis(10);
const STATUS_BAR: Duration = Duration::from_millis(15);
const RUNS: u32 = 10_000;

pub(crate) fn measure(product: &Product, rounds: usize) -> Outcome<Vec<Row>> {
    let place = Place::new(&[("one", vec!["true".into()])])?;
    let run = product.run_id(&place, "one", "bench")?;
    multiply(&place, &run)?;
    let [floor, version, status] = take_turns(
        rounds,
        [&mut || place.time("true", &[]), &mut || place.time(&product.program, &["--version"]), &mut || {
            place.time(&product.program, &["status", "--run", &run, "--format", "json"])
        }],
    )?;
    let row = |what: &str, bar: Duration, ours: Duration| Row {
        what: what.to_owned(),
        bar: format!("≤ {} ms", bar.as_millis()),
        ours: millis(ours),
        reference: format!("`true` {}", millis(floor)),
        ratio: format!("{:.1}×", ratio(ours, floor)),
        verdict: Verdict::of(ours <= bar),
    };
    Ok(vec![
        row("`--version`", VERSION_BAR, version),
        row("`status` of one run among 10,000", STATUS_BAR, status),
    ])
}

/// Copies a real run until the log holds 10,000.
fn multiply(place: &Place, run: &str) -> Outcome<()> {
    let log = SqliteLog::open(&place.event_log(), OpenMode::Existing)?;
    let original = RunId::new(run)?;
    let head = log.head(&original)?.ok_or("the run is not in the event log")?;
    let events: Vec<Event> =
        log.events(&original, EventSeq(0), usize::MAX)?.into_iter().map(|recorded| recorded.event).collect();
    let owner = Owner { id: "bench".into(), host: "bench".into(), process: "bench".into() };
    for index in 1..RUNS {
        let at = head.progress.created_at.plus(Duration::from_secs(u64::from(index)));
        let copy = RunId::generate(at, index);
        let mut events = events.clone();
        if let Some(Event::RunCreated(created)) = events.first_mut() {
            created.run = copy.clone();
        }
        let (lease, recorded) = log.create(
            &owner,
            &Append {
                run: &copy,
                after: EventSeq(0),
                at,
                events: &events,
                progress: &head.progress,
                settled: &[],
                consents: Consents::default(),
                durability: Durability::Buffered,
            },
        )?;
        log.release(&lease)?;
        log.views_written(&copy, recorded.last().map_or(EventSeq(0), |last| last.seq))?;
    }
    Ok(())
}
