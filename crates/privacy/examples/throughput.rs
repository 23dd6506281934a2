//! Measures how fast streams pass a guard, in megabytes per second of processor time:
//! `cargo run --release -p co-privacy --example throughput [MiB] [file…]`.

use std::hint::black_box;
use std::io::{self, Write as _};
use std::time::{Duration, Instant};

use co_privacy::{Guard, GuardSettings, Kind, NamedPattern, SecretValue};

const CHUNK: usize = 64 * 1024;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let mebibytes: usize = arguments.next().map_or(Ok(256), |count| count.parse())?;
    let plain = Guard::new(&GuardSettings::default())?;
    let values =
        vec![SecretValue::new("DB", "hunter2!x"), SecretValue::new("KEY", "correct horse battery staple")];
    let named = Guard::new(&GuardSettings { values: values.clone(), ..GuardSettings::default() })?;
    let ticket = NamedPattern { name: "ticket".to_owned(), text: r"\bTICKET-[0-9]{4,6}\b".to_owned() };
    let host = NamedPattern { name: "host".to_owned(), text: r"[a-z0-9]+\.corp\.example".to_owned() };
    let all =
        Guard::new(&GuardSettings { patterns: vec![ticket, host], values, ..GuardSettings::default() })?;
    let mut blocks = vec![
        ("text".to_owned(), text()),
        ("base64".to_owned(), base64()),
        ("binary".to_owned(), noise().take(1 << 20).collect()),
    ];
    for file in arguments {
        let bytes = std::fs::read(&file)?;
        blocks.push((file, bytes));
    }
    let mut out = io::stdout().lock();
    writeln!(out, "{:>8} {:>12} {:>12}  MB/s", "known", "and values", "and patterns")?;
    for (name, block) in blocks {
        let [known, named, all] = [&plain, &named, &all].map(|guard| speed(guard, &block, mebibytes << 20));
        writeln!(out, "{known:>8.0} {named:>12.0} {all:>12.0}  {name}")?;
    }
    Ok(())
}

/// Megabytes per second of a stream that repeats `block` until it has at least `bytes`.
#[expect(clippy::cast_precision_loss, reason = "a measurement, printed without decimals")]
fn speed(guard: &Guard, block: &[u8], bytes: usize) -> f64 {
    let times = bytes.div_ceil(block.len().max(1));
    let mut stream = guard.stream(Kind::Output);
    let mut out = Vec::with_capacity(2 * CHUNK);
    let (started, started_on_cpu) = (Instant::now(), on_cpu());
    for _ in 0..times {
        for chunk in block.chunks(CHUNK) {
            out.clear();
            black_box(stream.pass(black_box(chunk), &mut out));
        }
    }
    stream.finish(&mut out);
    let spent = match (started_on_cpu, on_cpu()) {
        (Some(before), Some(after)) => after.saturating_sub(before),
        _ => started.elapsed(),
    };
    (times * block.len()) as f64 / 1e6 / spent.as_secs_f64()
}

/// The time this process had a processor, so that others on the machine do not count; known on Linux.
fn on_cpu() -> Option<Duration> {
    let statistics = std::fs::read_to_string("/proc/self/schedstat").ok()?;
    statistics.split(' ').next()?.parse().ok().map(Duration::from_nanos)
}

/// What a build and its tests print.
fn text() -> Vec<u8> {
    let lines = [
        "   Compiling serde_json v1.0.154 (/home/user/project/crates/model)\n",
        "test engine::decide::a_stage_that_fails_ends_its_run ... ok\n",
        "warning: unused variable: `task` at src/task.rs:120:9, help: prefix it with an underscore\n",
        "2026-11-21T12:53:35Z INFO request{method=GET path=/v1/runs/42} finished in 12 ms, 200, 1843 bytes\n",
        "{\"type\":\"item.completed\",\"item\":{\"id\":\"item_3\",\"text\":\"The parser reads one token at a time.\"}}\n",
    ];
    lines.concat().into_bytes().into_iter().cycle().take(1 << 20).collect()
}

fn base64() -> Vec<u8> {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let letters = noise().map(|byte| LETTERS[usize::from(byte & 63)]);
    letters
        .enumerate()
        .map(|(index, letter)| if index % 77 == 76 { b'\n' } else { letter })
        .take(1 << 20)
        .collect()
}

/// Bytes without any order (xorshift).
fn noise() -> impl Iterator<Item = u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    std::iter::repeat_with(move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    })
}
