//! `start`, and what it shares with `resume` and `retry`: following a run to its end.

use std::time::Duration;

use co_config::Loaded;
use co_engine::{RunState, plan};
use co_model::{EventSeq, Pipeline, PipelineId, PipelineSource, RunSettings};
use co_process::Spawner;
use co_runtime::{Orchestrator, RunHandle, StartRequest};
use co_views::to_json;
use indexmap::IndexMap;

use crate::args::{Format, HudOptions, RunOptions, StartArguments};
use crate::context::Context;
use crate::error::{CliError, Exit};
use crate::output::{Data, YELLOW, harmless, paint, warn};
use crate::progress::Progress;
use crate::prompt::Prompt;
use crate::screen;
use crate::signals::{StopRequests, listen_for_signals};

/// How many events are read at a time.
const PAGE: usize = 500;

pub(crate) fn start(
    context: &Context,
    spawner: Option<Spawner>,
    arguments: &StartArguments,
) -> Result<Exit, CliError> {
    let loaded = context.pipelines()?;
    let pipeline = select(&loaded, arguments.pipeline.as_deref())?;
    show_notes(context, &loaded, &pipeline);
    let nested = loaded.set.nested_of(&pipeline);
    let request = request(context, pipeline, nested, arguments)?;
    let orchestrator = context.running_told(spawner, &arguments.telemetry)?;
    mend_others(context, &orchestrator);
    let handle = orchestrator.start(request)?;
    follow(context, &orchestrator, handle, &arguments.hud)
}

/// Asks for a run of a pipeline. One that cannot be planned is refused before anything is written.
pub(crate) fn request(
    context: &Context,
    pipeline: Pipeline,
    nested: IndexMap<PipelineId, Pipeline>,
    arguments: &StartArguments,
) -> Result<StartRequest, CliError> {
    let settings = settings(context, &pipeline, &nested, arguments)?;
    plan(&pipeline, &plan_request(&settings))?;
    let task = context.settings.task.value.clone();
    Ok(StartRequest { task, pipeline, nested, settings, worktree: arguments.worktree })
}

pub(crate) fn select(loaded: &Loaded, id: Option<&str>) -> Result<Pipeline, CliError> {
    let id = id.map(PipelineId::new).transpose().map_err(|error| CliError::of(Exit::Usage, &error))?;
    let pipeline = loaded.select(id.as_ref()).map_err(|error| {
        let hint = match &error {
            co_config::SelectError::Unknown { .. } => {
                "codex-orchestrator plan <PIPELINE> shows what one would do"
            }
            co_config::SelectError::NoDefault { .. } => {
                "name one, as in `start <PIPELINE>`, or set `defaultPipeline` in the file"
            }
            co_config::SelectError::NothingDetected(_) => "codex-orchestrator init",
        };
        CliError::from(error).hint(hint)
    })?;
    Ok(pipeline.clone())
}

/// Says what was noticed while the built-in pipeline was made: a missing program, and how to get it.
pub(crate) fn show_notes(context: &Context, loaded: &Loaded, pipeline: &Pipeline) {
    if pipeline.source == PipelineSource::BuiltIn {
        for note in &loaded.detection.notes {
            context.notes.progress(&paint(YELLOW, &format!("note: {}", harmless(note))));
        }
    }
}

fn settings(
    context: &Context,
    pipeline: &Pipeline,
    nested: &IndexMap<PipelineId, Pipeline>,
    arguments: &StartArguments,
) -> Result<RunSettings, CliError> {
    let policy = context.policy_for(&arguments.policy, std::iter::once(pipeline).chain(nested.values()))?;
    let RunOptions { execution_mode, parallel, .. } = &arguments.options;
    Ok(RunSettings {
        actor: Some(context.settings.actor.value.clone()),
        parent: arguments.parent_run.clone(),
        target: context.settings.target.value.clone(),
        approval_policy: Some(policy.approval.as_str().to_owned()),
        policy,
        description: arguments.description.clone(),
        parallel: *parallel,
        mode: *execution_mode,
        session: context.session(),
        ..RunSettings::default()
    })
}

pub(crate) fn plan_request(settings: &RunSettings) -> co_engine::PlanRequest<'_> {
    co_engine::PlanRequest {
        target: settings.target.as_deref(),
        mode: settings.mode,
        parallel: settings.parallel,
    }
}

/// Runs that others left behind are mended in passing; that it fails stops nobody.
pub(crate) fn mend_others(context: &Context, orchestrator: &Orchestrator) {
    match orchestrator.abandoned() {
        Ok(reports) => {
            for report in reports {
                context.notes.progress(&format!(
                    "run {} was left behind by its owner and is marked as interrupted; resume it with: codex-orchestrator resume --run {}",
                    report.run, report.run
                ));
            }
        }
        Err(error) => warn(&CliError::from(error).to_string()),
    }
}

/// Shows a run until it is over and prints what came of it.
pub(crate) fn follow(
    context: &Context,
    orchestrator: &Orchestrator,
    handle: RunHandle,
    hud: &HudOptions,
) -> Result<Exit, CliError> {
    let stop = listen_for_signals()?;
    let interactive = match screen::gate(context, hud) {
        Ok(()) => true,
        Err(reason) => {
            if hud.interactive {
                context.notes.progress(&format!("[HUD disabled] {reason}"));
            }
            false
        }
    };
    let run = handle.run().clone();
    let shown = if interactive { screen::follow(context, orchestrator, &handle, &stop) } else { EventSeq(0) };
    let watched = watch(context, orchestrator, &handle, &stop, shown);
    let outcome = handle.join();
    for warning in orchestrator.take_warnings() {
        warn(&warning);
    }
    watched?;
    let snapshot = orchestrator.snapshot(&run)?;
    finish(context, &snapshot.state, shown);
    let outcome = outcome?;
    Ok(stop.exit().unwrap_or_else(|| Exit::of_outcome(&outcome)))
}

/// Reads the run's events as they come and shows those after `shown` in the chosen form.
fn watch(
    context: &Context,
    orchestrator: &Orchestrator,
    handle: &RunHandle,
    stop: &StopRequests,
    shown: EventSeq,
) -> Result<(), CliError> {
    let mut progress = Progress::default();
    let mut prompt = Prompt::new(context, orchestrator, handle.run());
    let mut data = Data::exact();
    let mut seen = EventSeq(0);
    loop {
        let progressed = handle.wait(seen, Duration::from_millis(50));
        stop.heed(handle);
        while seen.0 < progressed.seq {
            let events = orchestrator.events(handle.run(), seen, PAGE)?;
            let Some(last) = events.last() else { break };
            seen = last.seq;
            for recorded in &events {
                match context.format {
                    Format::Jsonl => {
                        let task = &context.settings.task.value;
                        data.line(&co_views::event_line(recorded, task, handle.run()));
                    }
                    Format::Text | Format::Json => {
                        let lines = progress.lines(recorded);
                        if recorded.seq > shown {
                            for line in lines {
                                context.notes.progress(&line);
                            }
                        }
                        prompt.notice(recorded);
                    }
                }
            }
            data.flush();
        }
        if progressed.done {
            return Ok(());
        }
        prompt.attend();
    }
}

/// Prints what came of the run; `shown` is the last event of what the HUD left on the terminal.
fn finish(context: &Context, state: &RunState, shown: EventSeq) {
    let result = co_views::start_result(state, &context.layout);
    match context.format {
        Format::Json => {
            let mut data = Data::exact();
            data.bytes(to_json(&result).as_bytes());
            data.flush();
        }
        Format::Jsonl => {}
        Format::Text => {
            let mut data = Data::styled();
            data.line(&result.summary);
            let hud_told = shown == state.last_seq && !context.notes.quiet;
            if !hud_told {
                data.line(&format!("manifest: {}", result.manifest));
            }
            if state.status() != co_model::RunStatus::Succeeded {
                data.line(&format!("logs:     codex-orchestrator logs --run {}", result.run_id));
                data.line(&format!("resume:   codex-orchestrator resume --run {}", result.run_id));
            }
            data.flush();
        }
    }
}
