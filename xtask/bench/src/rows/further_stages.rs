//! What each further stage costs over its process and the commits that durability needs.

use std::collections::BTreeSet;
use std::time::Duration;

use co_log::EventLog;
use co_log_sqlite::{OpenMode, SqliteLog};
use co_model::{EventSeq, RunId};

use crate::Outcome;
use crate::contestant::Product;
use crate::place::Place;
use crate::report::{Row, Verdict};
use crate::rows::event_log::RawLog;
use crate::sample::{median, millis, ratio, take_turns};

const BAR: Duration = Duration::from_millis(2);
const FURTHER: u32 = 200;
/// Of each floor; they are short.
const FLOOR_SAMPLES: usize = 200;

pub(crate) fn measure(product: &Product, rounds: usize) -> Outcome<Vec<Row>> {
    let stages = |count: u32| vec!["true".to_owned(); count as usize];
    let place = Place::new(&[("one", stages(1)), ("many", stages(1 + FURTHER))])?;
    let few = commits(&place, &product.run_id(&place, "one", "bench")?)?;
    let many = commits(&place, &product.run_id(&place, "many", "bench")?)?;
    let [one, many_stages] = take_turns(
        rounds.div_ceil(2),
        [&mut || place.time(&product.program, &Product::start("one", "bench")), &mut || {
            place.time(&product.program, &Product::start("many", "bench"))
        }],
    )?;

    let raw_place = Place::new(&[])?;
    let raw = RawLog::create(&raw_place.path().join("raw.db"), true)?;
    let mut processes = Vec::new();
    let mut raw_commits = Vec::new();
    for _ in 0..FLOOR_SAMPLES {
        processes.push(place.time("/bin/sh", &["-c", "true"])?);
        raw_commits.push(raw.append()?);
    }
    let (process, commit) = (median(processes), median(raw_commits));

    let marginal = many_stages.saturating_sub(one) / FURTHER;
    let commits_per_stage = f64::from(many.saturating_sub(few)) / f64::from(FURTHER);
    let floor = process + commit.mul_f64(commits_per_stage);
    let over = marginal.saturating_sub(floor);
    Ok(vec![Row {
        what: "each further stage".into(),
        bar: "≤ 2 ms over fork + exec + commits".into(),
        ours: format!("{} ({} over)", millis(marginal), millis(over)),
        reference: format!(
            "floor {}: `sh -c true` {} + {commits_per_stage:.1} commits of {}",
            millis(floor),
            millis(process),
            millis(commit)
        ),
        ratio: format!("{:.1}×", ratio(marginal, floor)),
        verdict: Verdict::of(over <= BAR),
    }])
}

/// How many commits of a run had to reach the disk. Two in one millisecond count as one, to our disadvantage.
fn commits(place: &Place, run: &str) -> Outcome<u32> {
    let log = SqliteLog::open(&place.event_log(), OpenMode::ReadOnly)?;
    let events = log.events(&RunId::new(run)?, EventSeq(0), usize::MAX)?;
    let instants: BTreeSet<_> =
        events.iter().filter(|recorded| recorded.event.is_transition()).map(|recorded| recorded.at).collect();
    Ok(u32::try_from(instants.len())?)
}
