//! A whole command that runs one trivial stage, durably, beside the npm peer, `just` and a bare shell.

use std::fs;

use crate::Outcome;
use crate::contestant::{Product, just, npm_peer};
use crate::place::Place;
use crate::report::{Row, Verdict};
use crate::sample::{millis, ratio, take_turns};

const WHAT: &str = "one `true` stage, whole command, durable";
/// At most this part of the npm peer's time.
const PEER_BAR: f64 = 0.1;
/// At most this many times what `just` takes, which records nothing.
const JUST_BAR: f64 = 4.0;

pub(crate) fn measure(product: &Product, rounds: usize) -> Outcome<Vec<Row>> {
    let place = Place::new(&[("one", vec!["true".into()])])?;
    let start = Product::start("one", "bench");
    product.run_id(&place, "one", "bench")?;
    let against_just = just().and_then(|just| {
        fs::write(place.path().join("justfile"), "one:\n    @true\n")?;
        let [ours, just, shell] = take_turns(
            rounds,
            [&mut || place.time(&product.program, &start), &mut || place.time(&just, &["one"]), &mut || {
                place.time("/bin/sh", &["-c", "true"])
            }],
        )?;
        Ok(Row {
            what: WHAT.into(),
            bar: format!("≤ {JUST_BAR}× `just`"),
            ours: millis(ours),
            reference: format!("`just` {} (bare `sh -c true` {})", millis(just), millis(shell)),
            ratio: format!("{:.1}×", ratio(ours, just)),
            verdict: Verdict::of(ratio(ours, just) <= JUST_BAR),
        })
    });
    let against_peer = npm_peer().and_then(|peer| {
        let peer_place = Place::new(&[("one", vec!["true".into()])])?;
        let [ours, theirs] = take_turns(
            rounds,
            [&mut || place.time(&product.program, &start), &mut || peer_place.time(&peer, &start)],
        )?;
        Ok(Row {
            what: WHAT.into(),
            bar: "≤ 1/10 of the npm peer".into(),
            ours: millis(ours),
            reference: format!("npm `@kbediako/codex-orchestrator` {}", millis(theirs)),
            ratio: format!("1/{:.0}", ratio(theirs, ours)),
            verdict: Verdict::of(ratio(ours, theirs) <= PEER_BAR),
        })
    });
    Ok([against_peer, against_just]
        .into_iter()
        .map(|row| row.unwrap_or_else(|error| Row::not_measured(WHAT, &*error)))
        .collect())
}
