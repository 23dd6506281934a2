//! Gigabytes: what takes the whole machine.

use co_process::Shutdown;
use co_sessions::{EventKind, SessionEvent, Wait};

use crate::host::{Host, LONG, id};

#[test]
fn a_gigabyte_stays_out_of_memory() {
    let host = Host::start();
    let mut connection = host.connect();
    let mut start = host.shell("flood", "head -c 1000000000 /dev/zero | tr '\\0' 'x'");
    start.capture.log = "/dev/null".into();
    start.wait = Wait::default();
    let mut reply = connection.start(&start).unwrap();
    let mut seen = reply.omitted_bytes;
    while reply.exit.is_none() {
        reply = connection.poll(&id("flood"), Wait::of(LONG), Some(10)).unwrap();
        seen += reply.omitted_bytes;
    }
    assert!(seen > 900_000_000);
    connection.kill(&id("flood"), Shutdown::Immediate, None).unwrap();
    // Ten thousand long lines: counted, not parsed.
    let text = std::fs::read_to_string(host.endpoint.directory().join("events.jsonl")).unwrap();
    let (deltas, others): (Vec<_>, Vec<_>) =
        text.lines().partition(|line| line.contains("\"event\":\"output\""));
    assert_eq!(deltas.len(), 10_000);
    let told: usize = deltas.iter().map(|line| line.rsplit(':').next().unwrap().matches('x').count()).sum();
    let end: SessionEvent = serde_json::from_str(others.last().unwrap()).unwrap();
    let EventKind::End { output_bytes, untold_bytes, .. } = end.kind else { panic!("no end") };
    assert_eq!((output_bytes, told as u64 + untold_bytes), (1_000_000_000, 1_000_000_000));
    let peak = host.peak_rss_kib();
    assert!(peak < 20 << 10, "peak RSS {peak} KiB");
}
