//! What the product's processes hold in memory, read from `/proc` while they run.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use crate::Outcome;

/// The kernel keeps the peak, so that looking now and then is enough.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// How a watched program did.
pub(crate) struct Watched {
    pub(crate) time: Duration,
    /// The peaks of all processes of the program's own executable, added up: at most what they had at one time.
    pub(crate) peak_bytes: u64,
}

/// Runs a program and watches the memory of every process that executes `executable`.
pub(crate) fn watch(mut command: Command, executable: &Path) -> Outcome<Watched> {
    let begun = Instant::now();
    let (done, is_done) = channel();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let output = command.output();
            // The other side is waiting for exactly this.
            drop(done.send((begun.elapsed(), output)));
        });
        let mut peaks = BTreeMap::new();
        loop {
            for process in of(executable) {
                if let Some(peak) = status_kib(&process, "VmHWM:") {
                    peaks.insert(process, peak * 1024);
                }
            }
            match is_done.recv_timeout(LOOK_EVERY) {
                Ok((time, output)) => {
                    let output = output?;
                    if !output.status.success() {
                        let stderr = String::from_utf8_lossy(&output.stderr);
                        return Err(format!("ended with {}: {}", output.status, stderr.trim()).into());
                    }
                    return Ok(Watched { time, peak_bytes: peaks.values().sum() });
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Err("the watched program was lost".into()),
            }
        }
    })
}

/// The `/proc` folders of all processes that execute a file.
pub(crate) fn of(executable: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|process| fs::read_link(process.join("exe")).is_ok_and(|found| found == executable))
        .collect()
}

/// What the processes hold, shared memory shared out fairly among its users.
pub(crate) fn proportional_bytes(processes: &[PathBuf]) -> u64 {
    let of = |process: &PathBuf| {
        let text = fs::read_to_string(process.join("smaps_rollup")).ok()?;
        field_kib(&text, "Pss:")
    };
    processes.iter().filter_map(of).sum::<u64>() * 1024
}

fn status_kib(process: &Path, field: &str) -> Option<u64> {
    field_kib(&fs::read_to_string(process.join("status")).ok()?, field)
}

fn field_kib(text: &str, field: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(field))?.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_very_process_is_found_and_weighed() {
        let processes = of(&std::env::current_exe().unwrap());
        assert!(!processes.is_empty());
        assert!(proportional_bytes(&processes) > 0);
        assert!(status_kib(&processes[0], "VmHWM:").unwrap() > 0);
    }

    #[test]
    fn fields_are_read_by_their_whole_name() {
        assert_eq!(field_kib("Pss_Anon: 1 kB\nPss:   42 kB\n", "Pss:"), Some(42));
        assert_eq!(field_kib("", "Pss:"), None);
    }
}
