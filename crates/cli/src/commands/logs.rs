//! `logs`: what the stages of a run printed, or the run's events.

use std::io::Read as _;
use std::time::Duration;

use co_model::{EventSeq, RunId, RunStatus, StageId};
use co_process::{Chunk, Follower, OutputLog, Stream};
use co_runtime::{Orchestrator, RunSnapshot};
use serde_json::json;

use crate::args::{Format, LogsArguments};
use crate::context::Context;
use crate::error::{CliError, Exit};
use crate::output::{BOLD, DIM, Data, RED, harmless_output, paint};

/// How often a followed log is looked at.
const LOOK: Duration = Duration::from_millis(100);
/// How much is read at a time.
const PIECE: usize = 256 << 10;

pub(crate) fn logs(context: &Context, arguments: &LogsArguments) -> Result<Exit, CliError> {
    let orchestrator = context.existing()?;
    let run = context.run_or_newest(&orchestrator, arguments.run.as_ref())?;
    if arguments.events {
        return events(context, &orchestrator, &run, arguments.follow);
    }
    let snapshot = orchestrator.snapshot(&run)?;
    if let Some(stage) = &arguments.stage {
        check_stage(&snapshot, stage, arguments.attempt)?;
    }
    if arguments.raw {
        raw(context, &orchestrator, &run, arguments)
    } else {
        shown(context, &orchestrator, &run, arguments)
    }
}

fn check_stage(snapshot: &RunSnapshot, stage: &StageId, attempt: Option<u32>) -> Result<(), CliError> {
    let known =
        || snapshot.state.stages.iter().map(|record| record.id().as_str()).collect::<Vec<_>>().join(", ");
    let Some(record) = snapshot.state.stage(stage) else {
        return Err(CliError::new(
            Exit::NotFound,
            format!("run `{}` has no stage `{stage}`", snapshot.head.run),
        )
        .hint(format!("its stages: {}", known())));
    };
    match attempt {
        Some(number) if !record.attempts.iter().any(|attempt| attempt.number == number) => {
            Err(CliError::new(
                Exit::NotFound,
                match record.attempts.len() {
                    1 => format!("stage `{stage}` has 1 attempt; there is no attempt {number}"),
                    count => format!("stage `{stage}` has {count} attempts; there is no attempt {number}"),
                },
            ))
        }
        _ => Ok(()),
    }
}

/// One attempt whose output is wanted.
struct Source {
    stage: StageId,
    attempt: u32,
    output: OutputLog,
}

/// The attempts whose output is wanted, in the order they began.
fn sources(context: &Context, snapshot: &RunSnapshot, arguments: &LogsArguments) -> Vec<Source> {
    let created = &snapshot.state.created;
    let layout = &context.layout;
    let mut found: Vec<_> = snapshot
        .state
        .stages
        .iter()
        .filter(|record| arguments.stage.as_ref().is_none_or(|wanted| wanted == record.id()))
        .flat_map(|record| {
            let last = record.attempts.last().map(|attempt| attempt.number);
            let wanted = arguments.attempt.or(last).filter(|_| arguments.stage.is_some());
            let attempts =
                record.attempts.iter().filter(move |a| wanted.is_none_or(|number| a.number == number));
            attempts.map(|attempt| (attempt.started_at, record.id().clone(), attempt.number))
        })
        .collect();
    found.sort_by_key(|(started_at, _, _)| *started_at);
    found
        .into_iter()
        .map(|(_, stage, attempt)| {
            let log = layout.attempt_log(&created.task, &created.run, &stage, attempt);
            let index = layout.attempt_index(&created.task, &created.run, &stage, attempt);
            Source { stage, attempt, output: OutputLog::new(log, index) }
        })
        .collect()
}

/// Whether nothing will be added to the outputs any more.
fn is_settled(snapshot: &RunSnapshot) -> bool {
    let status = snapshot.state.status();
    status.is_over() || status == RunStatus::Interrupted
}

fn unreadable(source: &Source, error: &std::io::Error) -> CliError {
    CliError::new(Exit::Log, format!("the output of stage `{}` cannot be read: {error}", source.stage))
}

/// The exact bytes of one stream, of one attempt after the other.
fn raw(
    context: &Context,
    orchestrator: &Orchestrator,
    run: &RunId,
    arguments: &LogsArguments,
) -> Result<Exit, CliError> {
    let mut data = Data::exact();
    let wanted = |stream| (stream == Stream::Stderr) == arguments.stderr;
    if arguments.follow {
        follow(context, orchestrator, run, arguments, &mut data, |data, _, chunk| {
            if wanted(chunk.stream) {
                data.bytes(&chunk.bytes);
            }
        })?;
        return Ok(Exit::Done);
    }
    let snapshot = orchestrator.snapshot(run)?;
    let streams: &[Stream] =
        if arguments.stderr { &[Stream::Stderr] } else { &[Stream::Stdout, Stream::Terminal] };
    let mut buffer = vec![0; PIECE];
    for source in sources(context, &snapshot, arguments) {
        for stream in streams {
            let mut reader = match source.output.read(*stream) {
                Ok(reader) => reader,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                Err(error) => return Err(unreadable(&source, &error)),
            };
            loop {
                let count = reader.read(&mut buffer).map_err(|error| unreadable(&source, &error))?;
                if count == 0 || data.is_closed() {
                    break;
                }
                data.bytes(&buffer[..count]);
            }
        }
    }
    data.flush();
    Ok(Exit::Done)
}

/// Output for people, or as JSON lines with place and time.
fn shown(
    context: &Context,
    orchestrator: &Orchestrator,
    run: &RunId,
    arguments: &LogsArguments,
) -> Result<Exit, CliError> {
    let mut data = if context.format == Format::Text { Data::styled() } else { Data::exact() };
    let mut heading: Option<(StageId, u32)> = None;
    let format = context.format;
    let several = arguments.stage.is_none();
    let mut show = |data: &mut Data, source: &Source, chunk: &Chunk| {
        if arguments.stderr && chunk.stream != Stream::Stderr {
            return;
        }
        let text = harmless_output(&chunk.bytes);
        if format != Format::Text {
            let line = json!({
                "at": co_model::Timestamp::from_millis(i64::try_from(chunk.at).unwrap_or(i64::MAX)).to_string(),
                "stage": source.stage.as_str(),
                "attempt": source.attempt,
                "stream": chunk.stream.to_string(),
                "offset": chunk.offset,
                "length": chunk.bytes.len(),
                "text": text,
            });
            return data.line(&line.to_string());
        }
        let here = (source.stage.clone(), source.attempt);
        if several && heading.as_ref() != Some(&here) {
            let number =
                if source.attempt > 1 { format!(" (attempt {})", source.attempt) } else { String::new() };
            data.line(&format!("{}{number}", paint(BOLD, &format!("── {}", source.stage))));
            heading = Some(here);
        }
        let style = if chunk.stream == Stream::Stderr && !arguments.stderr { RED.dimmed() } else { DIM };
        if chunk.stream == Stream::Stderr {
            data.bytes(paint(style, &text).as_bytes());
        } else {
            data.bytes(text.as_bytes());
        }
    };
    let mut printed = false;
    follow(context, orchestrator, run, arguments, &mut data, |data, source, chunk| {
        printed = true;
        show(data, source, chunk);
    })?;
    if !printed {
        context.notes.progress("no output");
    }
    Ok(Exit::Done)
}

/// Goes through the outputs in order of their beginning; with `-f`, until the run is over.
fn follow(
    context: &Context,
    orchestrator: &Orchestrator,
    run: &RunId,
    arguments: &LogsArguments,
    data: &mut Data,
    mut show: impl FnMut(&mut Data, &Source, &Chunk),
) -> Result<(), CliError> {
    let mut open: Vec<(Source, Follower)> = Vec::new();
    loop {
        let snapshot = orchestrator.snapshot(run)?;
        let settled = is_settled(&snapshot) || !arguments.follow;
        for source in sources(context, &snapshot, arguments) {
            if open.iter().any(|(known, _)| known.stage == source.stage && known.attempt == source.attempt) {
                continue;
            }
            match source.output.follow(0) {
                Ok(follower) => open.push((source, follower)),
                // The attempt has not begun to write.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(unreadable(&source, &error)),
            }
        }
        for (source, follower) in &mut open {
            let running = snapshot.state.stage(&source.stage).is_some_and(|record| {
                record.state == co_engine::StageState::Attempting { attempt: source.attempt }
            });
            if settled || !running {
                follower.finish();
            }
            while let Some(chunk) = follower.next(PIECE).map_err(|error| unreadable(source, &error))? {
                show(data, source, &chunk);
                if data.is_closed() {
                    return Ok(());
                }
            }
        }
        data.flush();
        if settled {
            return Ok(());
        }
        std::thread::park_timeout(LOOK);
    }
}

/// The run's events in the documented envelope, one a line.
fn events(
    context: &Context,
    orchestrator: &Orchestrator,
    run: &RunId,
    follow: bool,
) -> Result<Exit, CliError> {
    let mut data = Data::exact();
    let mut seen = EventSeq(0);
    let mut progress = crate::progress::Progress::default();
    loop {
        let snapshot = orchestrator.snapshot(run)?;
        let events = orchestrator.events(run, seen, usize::MAX)?;
        for recorded in &events {
            seen = recorded.seq;
            if context.format == Format::Text {
                for line in progress.lines(recorded) {
                    data.line(&anstream::adapter::strip_str(&line).to_string());
                }
            } else {
                data.line(&co_views::event_line(recorded, &snapshot.state.created.task, run));
            }
        }
        data.flush();
        if !follow || is_settled(&snapshot) || data.is_closed() {
            return Ok(Exit::Done);
        }
        std::thread::park_timeout(LOOK);
    }
}
