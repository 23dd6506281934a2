//! Memory of 200 runs at once, each with a stage that waits.

use std::fs;
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use crate::Outcome;
use crate::contestant::Product;
use crate::place::Place;
use crate::processes::{of, proportional_bytes};
use crate::report::{Row, Verdict};

const RUNS: usize = 200;
/// For each run, above its children.
const BAR: u64 = 4 << 20;
/// Two hundred starts on one core, with room to spare.
const GIVE_UP_AFTER: Duration = Duration::from_mins(3);
const LOOK_EVERY: Duration = Duration::from_millis(50);

pub(crate) fn measure(product: &Product) -> Outcome<Vec<Row>> {
    // The stage says that it is there, and waits until somebody opens the gate.
    let place = Place::new(&[("wait", vec!["touch \"here/$$\" && cat gate".to_owned()])])?;
    fs::create_dir(place.path().join("here"))?;
    place.time("mkfifo", &["gate"])?;
    let mut runs = Vec::new();
    let weighed = start_all(product, &place, &mut runs).and_then(|()| {
        wait_until(|| all_here(&place.path().join("here"), &mut runs))?;
        let processes = of(&product.program);
        Ok((processes.len(), proportional_bytes(&processes)))
    });
    let ended = end_all(&place, runs);
    let (processes, bytes) = weighed?;
    ended?;

    let each = bytes / RUNS as u64;
    Ok(vec![Row {
        what: format!("{RUNS} runs at once, memory of each above its children"),
        bar: "≤ 4 MB".into(),
        ours: format!("{:.2} MB", kibibytes(each) / 1024.0),
        reference: format!("proportional set size of {processes} processes of ours"),
        ratio: String::new(),
        verdict: Verdict::of(processes >= RUNS && each <= BAR),
    }])
}

fn start_all(product: &Product, place: &Place, runs: &mut Vec<Child>) -> Outcome<()> {
    for index in 0..RUNS {
        let task = format!("bench-{index}");
        let mut command = place.command(&product.program, &Product::start("wait", &task));
        runs.push(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?);
    }
    Ok(())
}

/// Whether every stage has begun; an error when a run is already over.
fn all_here(folder: &Path, runs: &mut [Child]) -> Outcome<bool> {
    for run in runs {
        if let Some(status) = run.try_wait()? {
            return Err(format!("a run ended with {status} before its stage was let go").into());
        }
    }
    Ok(fs::read_dir(folder)?.count() == RUNS)
}

/// Opens the gate for as long as anybody waits at it, and sees every run to its end.
fn end_all(place: &Place, mut runs: Vec<Child>) -> Outcome<()> {
    let begun = Instant::now();
    while runs.iter_mut().any(|run| matches!(run.try_wait(), Ok(None))) && begun.elapsed() < GIVE_UP_AFTER {
        // Open for reading and writing: that never blocks, and closing it is the end of the file.
        drop(fs::File::options().read(true).write(true).open(place.path().join("gate"))?);
        pause();
    }
    let mut failed = 0;
    for run in &mut runs {
        if run.try_wait()?.is_none() {
            run.kill()?;
        }
        failed += usize::from(!run.wait()?.success());
    }
    if failed == 0 { Ok(()) } else { Err(format!("{failed} of {RUNS} runs failed").into()) }
}

fn wait_until(mut is_so: impl FnMut() -> Outcome<bool>) -> Outcome<()> {
    let begun = Instant::now();
    while !is_so()? {
        if begun.elapsed() > GIVE_UP_AFTER {
            return Err("not all runs came to their stage in time".into());
        }
        pause();
    }
    Ok(())
}

/// Lets the runs have the processor between two looks.
fn pause() {
    let (_sender, receiver) = channel::<()>();
    // Nobody sends: the time-out is the purpose.
    receiver.recv_timeout(LOOK_EVERY).ok();
}

#[expect(clippy::cast_precision_loss, reason = "a number for people")]
fn kibibytes(bytes: u64) -> f64 {
    bytes as f64 / 1024.0
}
