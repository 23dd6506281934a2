//! Time-outs end the whole stage, on time.

use std::time::Instant;

use crate::commands::{Workshop, stage, stages};

#[test]
fn a_stage_that_takes_too_long_is_ended_with_all_it_started() {
    let project = Workshop::with_stages(
        r#"[
            { "id": "slow", "timeout": "1.5s", "command": "sleep 300 & echo $! > pid; (setsid sleep 301 & echo $! > escaped); wait" },
            { "id": "next", "command": "true" }
        ]"#,
    );
    let began = Instant::now();
    let ended = project.run(&["start", "--json"]).expect(12);
    // Three hundred seconds are what it would take otherwise; the manifest says how long it took.
    assert!(began.elapsed().as_secs() < 60, "{:?}", began.elapsed());
    let manifest = project.manifest(&ended.run_id());
    assert_eq!(stages(&manifest), [("slow", "failed"), ("next", "skipped")]);
    let slow = stage(&manifest, "slow");
    assert_eq!(slow["reason"], "timed-out");
    assert_eq!(slow["exit_code"], 124);
    assert!(slow["duration_ms"].as_u64().unwrap() >= 1_500, "{slow:#}");
    assert_eq!(manifest["status_detail"], "stage:slow:timed-out");
    for file in ["pid", "escaped"] {
        let pid = project.text(file).trim().to_owned();
        assert!(!pid.is_empty());
        assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists(), "{file} {pid} survived");
    }
}

#[test]
fn the_seeds_spelling_in_milliseconds_counts() {
    let project = Workshop::with_stages(r#"[{ "id": "slow", "timeoutMs": 100, "command": "sleep 300" }]"#);
    let ended = project.run(&["start", "--json"]).expect(12);
    assert_eq!(stage(&project.manifest(&ended.run_id()), "slow")["reason"], "timed-out");
    project.run(&["status", "--watch"]).expect(12);
}
