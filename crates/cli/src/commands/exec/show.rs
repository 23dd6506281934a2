//! Shows the run of `exec` as it goes, and what was said in it.

#![expect(
    clippy::needless_for_each,
    clippy::match_same_arms,
    clippy::single_match_else,
    reason = "read as one sentence, these say more"
)]

use std::collections::HashMap;
use std::io::{Read as _, Write as _};
use std::time::Duration;

use co_agents::driver_for;
use co_engine::{RunState, StageRecord};
use co_model::{Event, EventSeq, Recorded, RunId, StageId, StageOutcome, StageWork, Timestamp};
use co_process::{Chunk, Follower, OutputLog, Stream, plain_text};
use co_runtime::{Orchestrator, RunHandle};
use co_views::{ExecResult, Told};
use serde_json::json;

use super::{EXEC, Manner};
use crate::args::Dialect;
use crate::context::Context;
use crate::error::{CliError, Exit};
use crate::output::Data;
use crate::progress::Progress;
use crate::prompt::Prompt;
use crate::signals::StopRequests;

/// How often events and output are looked at.
const LOOK: Duration = Duration::from_millis(20);
/// How many events are read at a time.
const PAGE: usize = 500;
/// How much output is read at a time.
const PIECE: usize = 64 << 10;
/// How much of an output a result repeats.
const TAIL: u64 = 64 << 10;
/// The largest output that is held against a schema, or written as the last message.
const LARGEST_OUTPUT: u64 = 16 << 20;

/// Follows one run.
pub(super) struct Show<'a> {
    context: &'a Context,
    manner: Manner,
    orchestrator: &'a Orchestrator,
    run: &'a RunId,
    data: Data,
    progress: Progress,
    is_agent: bool,
    attempt: Option<Attempt>,
}

/// The attempt under way.
struct Attempt {
    number: u32,
    output: OutputLog,
    follower: Option<Follower>,
    /// Of each stream, the beginning of a character whose end has not come.
    cut: HashMap<Stream, Vec<u8>>,
}

impl<'a> Show<'a> {
    pub(super) fn new(
        context: &'a Context,
        manner: Manner,
        orchestrator: &'a Orchestrator,
        run: &'a RunId,
    ) -> Self {
        Self {
            context,
            manner,
            orchestrator,
            run,
            data: Data::exact(),
            progress: Progress::default(),
            is_agent: false,
            attempt: None,
        }
    }

    /// Shows events and output in their order until the run is over.
    pub(super) fn follow(&mut self, handle: &RunHandle, stop: &StopRequests) -> Result<(), CliError> {
        let mut prompt =
            (self.manner == Manner::Plain).then(|| Prompt::new(self.context, self.orchestrator, self.run));
        let mut seen = EventSeq(0);
        loop {
            let progressed = handle.wait(seen, LOOK);
            stop.heed(handle);
            while seen.0 < progressed.seq {
                let events = self.orchestrator.events(self.run, seen, PAGE)?;
                let Some(last) = events.last() else { break };
                seen = last.seq;
                for recorded in &events {
                    self.event(recorded)?;
                    prompt.iter_mut().for_each(|prompt| prompt.notice(recorded));
                }
            }
            self.output(false)?;
            self.data.flush();
            if progressed.done {
                return Ok(());
            }
            prompt.iter_mut().for_each(Prompt::attend);
        }
    }

    fn event(&mut self, recorded: &Recorded) -> Result<(), CliError> {
        match &recorded.event {
            Event::RunCreated(created) => {
                let mut stages = created.pipeline.stages.iter();
                self.is_agent = stages.any(|stage| matches!(stage.work, StageWork::Agent(_)));
            }
            Event::AttemptStarting { stage, attempt } => {
                let output = output_of(self.context, self.run, stage, *attempt);
                self.attempt =
                    Some(Attempt { number: *attempt, output, follower: None, cut: HashMap::new() });
            }
            // What it printed comes before the word that it has ended.
            Event::AttemptFinished { .. } => self.output(true)?,
            _ => {}
        }
        match self.manner {
            Manner::Lines(Dialect::Events) => {
                let task = &self.context.settings.task.value;
                self.data.line(&co_views::event_line(recorded, task, self.run));
            }
            // The agent's output is its own protocol; people are shown what the run says of it. Of a
            // command they see the output itself, but a question must never wait unseen.
            _ => {
                let lines = self.progress.lines(recorded);
                let is_shown = self.is_agent && self.manner == Manner::Plain;
                if is_shown || is_question(&recorded.event) {
                    lines.iter().for_each(|line| self.context.notes.progress(line));
                }
            }
        }
        if matches!(recorded.event, Event::AttemptFinished { .. }) {
            self.attempt = None;
        }
        Ok(())
    }

    /// Shows what was printed since the last look; all of it when the attempt is over.
    fn output(&mut self, is_over: bool) -> Result<(), CliError> {
        let Some(attempt) = &mut self.attempt else { return Ok(()) };
        let unreadable =
            |error: std::io::Error| CliError::new(Exit::Log, format!("the output cannot be read: {error}"));
        if attempt.follower.is_none() {
            attempt.follower = match attempt.output.follow(0) {
                Ok(follower) => Some(follower),
                // It has not begun to write.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
                Err(error) => return Err(unreadable(error)),
            };
        }
        let Some(follower) = &mut attempt.follower else { return Ok(()) };
        if is_over {
            follower.finish();
        }
        while let Some(chunk) = follower.next(PIECE).map_err(unreadable)? {
            match self.manner {
                Manner::Json => {}
                Manner::Lines(Dialect::Events) => {
                    let cut = attempt.cut.entry(chunk.stream).or_default();
                    if let Some(line) = output_line(attempt.number, &chunk, cut) {
                        self.data.line(&line);
                    }
                }
                Manner::Lines(Dialect::Codex) => pass(&mut self.data, &chunk),
                Manner::Plain if self.is_agent => {}
                Manner::Plain => pass(&mut self.data, &chunk),
            }
        }
        if is_over && self.manner == Manner::Lines(Dialect::Events) {
            for (stream, rest) in attempt.cut.drain().filter(|(_, rest)| !rest.is_empty()) {
                self.data.line(&line_of(attempt.number, stream, None, &rest));
            }
        }
        Ok(())
    }

    /// What the command or the agent said, whole, once the run is over.
    pub(super) fn said(&self, state: &RunState, stage: &StageId) -> Result<Said, CliError> {
        let record = state.stage(stage);
        let number = record.and_then(|record| record.attempts.last()).map_or(1, |attempt| attempt.number);
        let output = output_of(self.context, self.run, stage, number);
        let stderr = tail(&output, Stream::Stderr);
        let Some(StageWork::Agent(work)) = record.map(|record| &record.definition.work) else {
            let whole = read(&output)?;
            return Ok(Said::Command { stdout: tail(&output, Stream::Stdout), whole, stderr });
        };
        let reported = record.and_then(StageRecord::last_report).and_then(|report| report.agent.clone());
        let recorded = reported.and_then(|turn| turn.last_message);
        let bytes = read(&output)?;
        // The record keeps the message bounded; the transcript has all of it.
        let message = driver_for(&work.agent).ok().zip(bytes).and_then(|(driver, bytes)| {
            let mut transcript = driver.transcript(&self.context.layout.root);
            transcript.push(&bytes, &mut |_| {});
            transcript.finish(&mut |_| {}).last_message
        });
        Ok(Said::Agent { message: message.or(recorded), stderr })
    }
}

/// What was said.
pub(super) enum Said {
    /// By a command.
    Command {
        /// All of its standard output; none when it is too much.
        whole: Option<Vec<u8>>,
        /// The end of it.
        stdout: String,
        /// The end of its standard error.
        stderr: String,
    },
    /// By an agent.
    Agent {
        /// Its last message.
        message: Option<String>,
        /// The end of its standard error.
        stderr: String,
    },
}

impl Said {
    /// What a schema is held against.
    pub(super) fn whole(&self) -> Option<&[u8]> {
        match self {
            Self::Command { whole, .. } => whole.as_deref(),
            Self::Agent { message, .. } => message.as_deref().map(str::as_bytes),
        }
    }

    pub(super) fn told(&self) -> Told {
        match self {
            Self::Command { stdout, stderr, .. } => {
                Told { stdout: Some(stdout.clone()), stderr: stderr.clone(), ..Told::default() }
            }
            Self::Agent { message, stderr } => {
                Told { last_message: message.clone(), stderr: stderr.clone(), ..Told::default() }
            }
        }
    }

    /// What nobody has said yet: a command that ran tells its own failure.
    pub(super) fn failure(&self, record: Option<&StageRecord>, exit: u8) -> Option<String> {
        let report = record.and_then(StageRecord::last_report);
        let ran = report.is_some_and(|report| report.output.stdout.bytes + report.output.stderr.bytes > 0);
        let told_itself = matches!(self, Self::Command { .. })
            && report
                .is_some_and(|report| ran || report.exit.code().is_some_and(|code| i32::from(exit) == code));
        if exit == 0 || told_itself {
            return None;
        }
        Some(match (report, record.and_then(StageRecord::outcome)) {
            (Some(report), _) => report.summary.clone(),
            (None, Some(StageOutcome::Failed { reason, .. })) => reason.to_string(),
            (None, _) => "it was not executed".to_owned(),
        })
    }
}

fn is_question(event: &Event) -> bool {
    matches!(
        event,
        Event::QuestionAsked { .. } | Event::QuestionAnswered { .. } | Event::QuestionExpired { .. }
    )
}

fn output_of(context: &Context, run: &RunId, stage: &StageId, attempt: u32) -> OutputLog {
    let task = &context.settings.task.value;
    let layout = &context.layout;
    OutputLog::new(
        layout.attempt_log(task, run, stage, attempt),
        layout.attempt_index(task, run, stage, attempt),
    )
}

/// Bytes as they came.
fn pass(data: &mut Data, chunk: &Chunk) {
    if chunk.stream == Stream::Stderr {
        // Nobody can be told that standard error is gone.
        drop(std::io::stderr().write_all(&chunk.bytes));
    } else {
        data.bytes(&chunk.bytes);
    }
}

/// All of standard output; none when there is more than can be held.
fn read(output: &OutputLog) -> Result<Option<Vec<u8>>, CliError> {
    let mut bytes = Vec::new();
    for stream in [Stream::Stdout, Stream::Terminal] {
        let reader = match output.read(stream) {
            Ok(reader) => reader,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => {
                return Err(CliError::new(Exit::Log, format!("the output cannot be read: {error}")));
            }
        };
        let mut reader = reader.take(LARGEST_OUTPUT + 1);
        reader
            .read_to_end(&mut bytes)
            .map_err(|error| CliError::new(Exit::Log, format!("the output cannot be read: {error}")))?;
    }
    Ok((bytes.len() as u64 <= LARGEST_OUTPUT).then_some(bytes))
}

/// The end of one stream, as text.
fn tail(output: &OutputLog, stream: Stream) -> String {
    let wanted = |chunk: &Chunk| (chunk.stream == Stream::Stderr) == (stream == Stream::Stderr);
    let chunks = output.tail(TAIL).unwrap_or_default();
    let bytes: Vec<u8> = chunks.into_iter().filter(wanted).flat_map(|chunk| chunk.bytes).collect();
    plain_text(&bytes)
}

/// A line for some output. What cannot be text yet waits in `cut` for the rest of its character.
fn output_line(attempt: u32, chunk: &Chunk, cut: &mut Vec<u8>) -> Option<String> {
    cut.extend_from_slice(&chunk.bytes);
    let ready = match std::str::from_utf8(cut) {
        // An end without an error is a character that goes on.
        Err(error) if error.error_len().is_none() => error.valid_up_to(),
        _ => cut.len(),
    };
    let bytes: Vec<u8> = cut.drain(..ready).collect();
    (!bytes.is_empty()).then(|| line_of(attempt, chunk.stream, Some(chunk.at), &bytes))
}

fn line_of(attempt: u32, stream: Stream, at: Option<u64>, bytes: &[u8]) -> String {
    let at = at.map(|at| Timestamp::from_millis(i64::try_from(at).unwrap_or(i64::MAX)).to_string());
    let mut line = json!({
        "v": co_views::ENVELOPE_VERSION,
        "at": at,
        "type": "output",
        "stage_id": EXEC,
        "attempt": attempt,
        "stream": stream.to_string(),
    });
    match std::str::from_utf8(bytes) {
        Ok(text) => line["text"] = text.into(),
        // What is no text is told byte for byte.
        Err(_) => line["bytes"] = bytes.into(),
    }
    line.to_string()
}

/// The last line: what came of the run.
pub(super) fn result_line(result: &ExecResult) -> String {
    json!({ "v": co_views::ENVELOPE_VERSION, "type": "result", "data": result }).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(line: Option<String>) -> Option<String> {
        let line: serde_json::Value = serde_json::from_str(&line?).unwrap();
        Some(line["text"].as_str().map_or_else(|| line["bytes"].to_string(), str::to_owned))
    }

    #[test]
    fn a_character_that_is_cut_waits_for_its_end_and_what_is_no_text_is_told_in_bytes() {
        let mut cut = Vec::new();
        let mut show = |bytes: &[u8]| {
            let chunk = Chunk { at: 0, stream: Stream::Stdout, offset: 0, bytes: bytes.to_vec() };
            text(output_line(1, &chunk, &mut cut))
        };
        assert_eq!(show(b"a\xe2\x82").as_deref(), Some("a"));
        assert_eq!(show(b""), None);
        assert_eq!(show(b"\xacb").as_deref(), Some("€b"));
        assert_eq!(show(b"\xff\x00").as_deref(), Some("[255,0]"));
    }
}
