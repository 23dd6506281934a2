//! One try at a stage, as manifests show it.

use std::collections::BTreeMap;

use co_engine::{AttemptEnd, AttemptRecord};
use co_model::{AttemptExit, AttemptReport, OutputStats};
use schemars::JsonSchema;
use serde::Serialize;

use crate::call::{SandboxUseView, sandbox_use};
use crate::json::{Time, millis};
use crate::layout::Layout;
use crate::sentence;
use crate::words::ExitWord;

/// One try at a stage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct AttemptView {
    /// From 1, counted over the whole life of the run.
    pub number: u32,
    /// When it was about to begin.
    pub started_at: Time,
    /// When its end was recorded; null while it is under way.
    pub completed_at: Option<Time>,
    /// Its process, once it existed.
    pub process: Option<String>,
    /// How it ended; null while it is under way.
    pub exit: Option<Exit>,
    /// Wall time from spawn to the last byte of output, in milliseconds.
    pub duration_ms: Option<u64>,
    /// One line about it for people.
    pub summary: Option<String>,
    /// Its output; null when it never began.
    pub log_path: Option<String>,
    /// The stream, time and offset index of its output; null when it never began.
    pub index_path: Option<String>,
    /// How many bytes it wrote.
    pub output_bytes: Option<OutputBytes>,
    /// Processes that were still there at its end and had to be killed.
    pub survivors_killed: u32,
    /// How often the privacy guard has taken something out of its output, by rule.
    pub redactions: BTreeMap<String, u64>,
    /// The sandbox its command ran in; null without one.
    pub sandbox: Option<SandboxUseView>,
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Exit {
    /// In which way.
    pub kind: ExitWord,
    /// The exit code a shell would report: 128 + n for a signal, 124 for a time-out; null when
    /// there was no program or nobody saw its end.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// What else there is to say.
    pub detail: Option<String>,
}

/// How many bytes were recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct OutputBytes {
    /// Standard output, or the terminal's single stream.
    pub stdout: u64,
    /// Standard error.
    pub stderr: u64,
}

/// A declared output that was there when the attempt ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct OutputFile {
    /// The name it is declared under.
    pub name: String,
    /// Where it is.
    pub path: String,
    /// Its size.
    pub bytes: u64,
    /// SHA-256 in lower-case hexadecimal.
    pub sha256: String,
}

impl From<&AttemptExit> for Exit {
    fn from(exit: &AttemptExit) -> Self {
        let (kind, signal, detail) = match exit {
            AttemptExit::Code(_) => (ExitWord::Code, None, None),
            AttemptExit::Signal(signal) => (ExitWord::Signal, Some(*signal), None),
            AttemptExit::TimedOut { after_ms } => {
                (ExitWord::TimedOut, None, Some(sentence::limit(*after_ms)))
            }
            AttemptExit::Cancelled => (ExitWord::Cancelled, None, None),
            AttemptExit::Lost => (ExitWord::Lost, None, None),
            AttemptExit::NotStarted { reason } => (ExitWord::NotStarted, None, Some(reason.clone())),
            AttemptExit::NotRecorded { reason } => (ExitWord::NotRecorded, None, Some(reason.clone())),
        };
        Self { kind, code: exit.code(), signal, detail }
    }
}

impl From<OutputStats> for OutputBytes {
    fn from(stats: OutputStats) -> Self {
        Self { stdout: stats.stdout.bytes, stderr: stats.stderr.bytes }
    }
}

/// The report of an attempt, when somebody saw its end.
pub(crate) fn report(attempt: &AttemptRecord) -> Option<&AttemptReport> {
    match &attempt.end {
        AttemptEnd::Reported(report) => Some(report),
        AttemptEnd::Open | AttemptEnd::Lost => None,
    }
}

/// Shows an attempt; `paths` are its log and index.
pub(crate) fn attempt_view(attempt: &AttemptRecord, paths: (String, String)) -> AttemptView {
    let report = report(attempt);
    let exit = match &attempt.end {
        AttemptEnd::Open => None,
        AttemptEnd::Lost => Some(Exit::from(&AttemptExit::Lost)),
        AttemptEnd::Reported(report) => Some(Exit::from(&report.exit)),
    };
    let begun = exit.as_ref().is_none_or(|exit| exit.kind != ExitWord::NotStarted);
    let (log_path, index_path) = begun.then_some(paths).unzip();
    AttemptView {
        number: attempt.number,
        started_at: attempt.started_at.into(),
        completed_at: attempt.finished_at.map(Time::from),
        process: attempt.process.clone(),
        exit,
        duration_ms: report.map(|report| millis(report.duration)),
        summary: report.map(|report| report.summary.clone()),
        log_path,
        index_path,
        output_bytes: report.map(|report| report.output.clone().into()),
        survivors_killed: report.map_or(0, |report| report.survivors_killed),
        redactions: report.map(|report| report.redactions.clone()).unwrap_or_default(),
        sandbox: sandbox_use(&attempt.sandbox),
    }
}

/// The declared outputs an attempt produced, with paths as `layout` shows them.
pub(crate) fn output_files(report: &AttemptReport, layout: Option<&Layout>) -> Vec<OutputFile> {
    let show = |path: &str| layout.map_or_else(|| path.to_owned(), |layout| layout.show(path.as_ref()));
    let file = |(name, file): (&String, &co_model::ProducedFile)| OutputFile {
        name: name.clone(),
        path: show(&file.path),
        bytes: file.bytes,
        sha256: file.sha256.clone(),
    };
    report.produced.iter().map(file).collect()
}
