//! The table: what was measured, against what, on which machine.

use std::error::Error;
use std::fmt::{self, Write};
use std::fs;

use xtask::program::Program;

use crate::Outcome;

/// Whether a bar was met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Met,
    Missed,
    NotMeasured,
}

impl Verdict {
    pub(crate) fn of(met: bool) -> Self {
        if met { Self::Met } else { Self::Missed }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Met => "met",
            Self::Missed => "**missed**",
            Self::NotMeasured => "not measured",
        }
    }
}

/// A line of the table.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) what: String,
    pub(crate) bar: String,
    pub(crate) ours: String,
    /// The peer or the floor it is compared with, by name.
    pub(crate) reference: String,
    pub(crate) ratio: String,
    pub(crate) verdict: Verdict,
}

impl Row {
    /// A line that says why there is no number.
    pub(crate) fn not_measured(what: impl Into<String>, error: &dyn Error) -> Self {
        let reason = error.to_string().replace('\n', " ");
        Self {
            what: what.into(),
            bar: String::new(),
            ours: reason.chars().take(200).collect(),
            reference: String::new(),
            ratio: String::new(),
            verdict: Verdict::NotMeasured,
        }
    }
}

impl fmt::Display for Row {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, bar, ours, reference, ratio, verdict } = self;
        let cells = [what.as_str(), bar, ours, reference, ratio, verdict.word()];
        write!(formatter, "| {} |", cells.map(|cell| cell.replace('|', "\\|")).join(" | "))
    }
}

/// Everything that was measured.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) rows: Vec<Row>,
}

impl Report {
    pub(crate) fn is_complete(&self) -> bool {
        self.rows.iter().all(|row| row.verdict != Verdict::NotMeasured)
    }

    /// Renders the document.
    pub(crate) fn render(&self) -> Outcome<String> {
        let mut text = String::from(
            "# Benchmarks\n\n\
             Written by `cargo xtask bench`. Contestants take turns in one run, each does one turn that does not count, \
             and medians are compared: on a noisy machine the ratio says more than the milliseconds. A *floor* is what \
             the system itself needs for the same work with the same durability.\n\n",
        );
        let date = jiff::Timestamp::now().strftime("%Y-%m-%d");
        writeln!(text, "Measured on {date}: {}\n", machine()?)?;
        writeln!(text, "| what | bar | ours | beside | ratio | verdict |")?;
        writeln!(text, "| --- | --- | --- | --- | --- | --- |")?;
        for row in &self.rows {
            writeln!(text, "{row}")?;
        }
        Ok(text)
    }
}

/// Cores, processor, kernel and the file system that temporary folders lie on.
fn machine() -> Outcome<String> {
    let cores = std::thread::available_parallelism()?;
    let processors = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let processor = processors
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map_or("unknown processor", |(_, name)| name);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let folder = std::env::temp_dir();
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let file_system = file_system_of(&mounts, &folder.to_string_lossy()).unwrap_or("unknown file system");
    let rust = String::from_utf8_lossy(&Program::new("rustc").arg("--version").output()?).trim().to_owned();
    Ok(format!(
        "{cores} cores of {processor}, Linux {}, {file_system}, {rust}, release profile.",
        kernel.trim()
    ))
}

/// The type of the mount that holds a folder: the longest mount point above it, the last of equals.
fn file_system_of<'a>(mounts: &'a str, folder: &str) -> Option<&'a str> {
    mounts
        .lines()
        .filter_map(|line| {
            let mut fields = line.split(' ').skip(1);
            Some((fields.next()?, fields.next()?))
        })
        .filter(|(point, _)| {
            *point == "/"
                || folder.strip_prefix(point).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })
        .max_by_key(|(point, _)| point.len())
        .map(|(_, kind)| kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_mount_is_found() {
        let mounts = "a / ext4 rw 0 0\nb /tm xfs rw 0 0\nc /tmp tmpfs rw 0 0\n";
        assert_eq!(file_system_of(mounts, "/tmp/x"), Some("tmpfs"));
        assert_eq!(file_system_of(mounts, "/home"), Some("ext4"));
        assert_eq!(file_system_of("", "/"), None);
    }

    #[test]
    fn a_row_without_a_number_makes_the_report_incomplete() {
        let error = std::io::Error::other("no | peer\nhere");
        let report = Report { rows: vec![Row::not_measured("x", &error)] };
        assert!(!report.is_complete());
        assert_eq!(report.rows[0].to_string(), "| x |  | no \\| peer here |  |  | not measured |");
    }
}
