//! A gigabyte of a stage's output, beside `cat` into a file through the same kind of pipe.

use std::time::Duration;

use crate::Outcome;
use crate::contestant::Product;
use crate::place::Place;
use crate::processes::watch;
use crate::report::{Row, Verdict};
use crate::sample::{millis, ratio, take_turns};

/// At least this part of the throughput of `cat`.
const THROUGHPUT_BAR: f64 = 0.6;
const MEMORY_BAR: u64 = 20 << 20;
/// Text in lines, as a build would write, faster than anybody can store it.
const PRODUCER: &str = "yes 'warning: unused variable: `attempt` in crates/engine/src/decide.rs at line 137' | head -c 1000000000";

pub(crate) fn measure(product: &Product, rounds: usize) -> Outcome<Vec<Row>> {
    let mut peak_bytes = 0;
    let mut ours_once = || -> Outcome<Duration> {
        // A new folder each time: what was written before goes with the old one.
        let place = Place::new(&[("loud", vec![PRODUCER.to_owned()])])?;
        settle(&place)?;
        let command = place.command(&product.program, &Product::start("loud", "bench"));
        let watched = watch(command, &product.program)?;
        peak_bytes = peak_bytes.max(watched.peak_bytes);
        Ok(watched.time)
    };
    let mut cat_once = || -> Outcome<Duration> {
        let place = Place::new(&[])?;
        settle(&place)?;
        place.time("/bin/sh", &["-c", &format!("{PRODUCER} | cat > file")])
    };
    let [ours, cat] = take_turns(rounds, [&mut ours_once, &mut cat_once])?;
    let part = ratio(cat, ours);
    Ok(vec![
        Row {
            what: "1 GB of stage output".into(),
            bar: "≥ 60 % of `cat > file`".into(),
            ours: throughput(ours),
            reference: format!("`cat > file` {}", throughput(cat)),
            ratio: format!("{:.0} %", part * 100.0),
            verdict: Verdict::of(part >= THROUGHPUT_BAR),
        },
        Row {
            what: "memory during 1 GB of stage output".into(),
            bar: "≤ 20 MB".into(),
            ours: format!("{:.1} MB", mebibytes(peak_bytes)),
            reference: "sum of the peak RSS of all our processes".into(),
            ratio: String::new(),
            verdict: Verdict::of(peak_bytes > 0 && peak_bytes <= MEMORY_BAR),
        },
    ])
}

/// Lets the disk finish what others wrote.
fn settle(place: &Place) -> Outcome<()> {
    place.time("sync", &[]).map(drop)
}

fn throughput(time: Duration) -> String {
    format!("{} ({:.0} MB/s)", millis(time), 1e3 / time.as_secs_f64())
}

#[expect(clippy::cast_precision_loss, reason = "a number for people")]
fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
