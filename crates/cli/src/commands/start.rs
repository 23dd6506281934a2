//! `start`, and what it shares with `resume` and `retry`: following a run to its end.

use std::sync::Arc;
use std::sync::atomic::{AtomicI32, AtomicU32, Ordering};
use std::time::Duration;

use co_config::Loaded;
use co_engine::{RunState, plan};
use co_model::{Actor, EventSeq, Pipeline, PipelineId, RunSettings};
use co_process::Spawner;
use co_runtime::{Orchestrator, RunHandle, StartRequest};
use co_views::to_json;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::args::{Format, HudOptions, RunOptions, StartArguments};
use crate::context::Context;
use crate::error::{CliError, Exit};
use crate::output::{Data, warn};
use crate::progress::Progress;
use crate::screen;

/// How many events are read at a time.
const PAGE: usize = 500;

pub(crate) fn start(
    context: &Context,
    spawner: Option<Spawner>,
    arguments: &StartArguments,
) -> Result<Exit, CliError> {
    let loaded = context.pipelines()?;
    let pipeline = select(&loaded, arguments.pipeline.as_deref())?;
    let settings = settings(context, arguments);
    // A pipeline that cannot be planned is refused before anything is written.
    plan(&pipeline, &plan_request(&settings))?;
    let request = StartRequest {
        task: context.settings.task.value.clone(),
        nested: loaded.set.nested_of(&pipeline),
        pipeline,
        settings,
        worktree: arguments.worktree,
    };
    let orchestrator = context.running(spawner)?;
    mend_others(context, &orchestrator);
    let handle = orchestrator.start(request)?;
    follow(context, &orchestrator, handle, &arguments.hud)
}

pub(crate) fn select(loaded: &Loaded, id: Option<&str>) -> Result<Pipeline, CliError> {
    let id = id.map(PipelineId::new).transpose().map_err(|error| CliError::of(Exit::Usage, &error))?;
    let pipeline = loaded.select(id.as_ref()).map_err(|error| {
        let hint = match &error {
            co_config::SelectError::Unknown { .. } => {
                "codex-orchestrator plan <PIPELINE> shows what one would do"
            }
            _ => "codex-orchestrator init writes a starting file",
        };
        CliError::from(error).hint(hint)
    })?;
    Ok(pipeline.clone())
}

fn settings(context: &Context, arguments: &StartArguments) -> RunSettings {
    let RunOptions { execution_mode, parallel, .. } = &arguments.options;
    RunSettings {
        actor: Some(context.settings.actor.value.clone()),
        parent: arguments.parent_run.clone(),
        target: context.settings.target.value.clone(),
        approval_policy: arguments.approval_policy.clone(),
        description: arguments.description.clone(),
        parallel: *parallel,
        mode: *execution_mode,
        ..RunSettings::default()
    }
}

pub(crate) fn plan_request(settings: &RunSettings) -> co_engine::PlanRequest<'_> {
    co_engine::PlanRequest {
        target: settings.target.as_deref(),
        mode: settings.mode,
        parallel: settings.parallel,
    }
}

/// Runs that others left behind are mended in passing; that it fails stops nobody.
fn mend_others(context: &Context, orchestrator: &Orchestrator) {
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
    if interactive {
        screen::follow(context, orchestrator, &handle)?;
    }
    let shown = watch(context, orchestrator, &handle, &stop, interactive);
    let outcome = handle.join();
    for warning in orchestrator.take_warnings() {
        warn(&warning);
    }
    shown?;
    let snapshot = orchestrator.snapshot(&run)?;
    finish(context, &snapshot.state);
    let outcome = outcome?;
    Ok(match stop.signal.load(Ordering::Relaxed) {
        SIGINT => Exit::SignalInterrupt,
        SIGTERM | SIGHUP => Exit::SignalTerminate,
        _ => Exit::of_outcome(&outcome),
    })
}

/// How often, and by which signal first, we were asked to stop.
#[derive(Default)]
pub(crate) struct StopRequests {
    signal: AtomicI32,
    times: AtomicU32,
}

/// From here on a first Ctrl-C stops the run in order, and a second one at once.
fn listen_for_signals() -> Result<Arc<StopRequests>, CliError> {
    let requests = Arc::new(StopRequests::default());
    let failed = |error: &dyn std::error::Error| CliError::of(Exit::Setup, error);
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP]).map_err(|error| failed(&error))?;
    let noted = Arc::clone(&requests);
    std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            for signal in signals.forever() {
                // The first one is kept: it decides the exit code.
                let _ = noted.signal.compare_exchange(0, signal, Ordering::Relaxed, Ordering::Relaxed);
                noted.times.fetch_add(1, Ordering::Release);
            }
        })
        .map_err(|error| failed(&error))?;
    Ok(requests)
}

/// Reads the run's events as they come and shows them in the chosen form.
fn watch(
    context: &Context,
    orchestrator: &Orchestrator,
    handle: &RunHandle,
    stop: &StopRequests,
    silent: bool,
) -> Result<(), CliError> {
    let mut progress = Progress::default();
    let mut data = Data::exact();
    let mut seen = EventSeq(0);
    let mut heard = 0;
    loop {
        let progressed = handle.wait(seen, Duration::from_millis(50));
        let times = stop.times.load(Ordering::Acquire);
        if times > 0 && heard == 0 {
            let signal = stop.signal.load(Ordering::Relaxed);
            handle.cancel(Actor::new("signal"), Some(format!("signal {signal}")));
        }
        if times > 1 && heard <= 1 {
            handle.hurry();
        }
        heard = times;
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
                    Format::Text | Format::Json if silent => {}
                    Format::Text | Format::Json => {
                        progress.lines(recorded).iter().for_each(|line| context.notes.progress(line));
                    }
                }
            }
            data.flush();
        }
        if progressed.done {
            return Ok(());
        }
    }
}

/// Prints what came of the run.
fn finish(context: &Context, state: &RunState) {
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
            data.line(&format!("manifest: {}", result.manifest));
            if !state.status().is_over() || state.status() == co_model::RunStatus::Failed {
                data.line(&format!("logs:     codex-orchestrator logs --run {}", result.run_id));
                data.line(&format!("resume:   codex-orchestrator resume --run {}", result.run_id));
            }
            data.flush();
        }
    }
}
