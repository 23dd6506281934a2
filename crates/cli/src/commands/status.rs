//! `status`: where a run stands, once or until it is over.

use std::time::{Duration, Instant};

use co_model::{DurationText, EventSeq, RunId, RunStatus};
use co_runtime::{AgentActivity, Liveness, Orchestrator, RunSnapshot};
use co_views::{AgentAtWork, OwnerSeen, StatusView, to_json};

use crate::args::{Format, StatusArguments};
use crate::context::Context;
use crate::error::{CliError, Exit};
use crate::output::{BOLD, CYAN, DIM, Data, GREEN, RED, YELLOW, harmless, paint};
use crate::progress::Progress;

/// How often a watched run is looked at for new events; `--interval` bounds the silence in between.
const LOOK: Duration = Duration::from_millis(200);

pub(crate) fn status(context: &Context, arguments: &StatusArguments) -> Result<Exit, CliError> {
    let orchestrator = context.existing()?;
    let run = context.run_or_newest(&orchestrator, arguments.run.as_ref())?;
    if arguments.watch {
        return watch(context, &orchestrator, &run, arguments.interval);
    }
    let snapshot = orchestrator.snapshot(&run)?;
    show(context, &orchestrator, &snapshot);
    Ok(Exit::Done)
}

pub(crate) fn view(context: &Context, orchestrator: &Orchestrator, snapshot: &RunSnapshot) -> StatusView {
    let owner = match snapshot.liveness {
        Liveness::Alive => OwnerSeen::Alive,
        Liveness::Silent => OwnerSeen::Unknown,
        Liveness::Idle => OwnerSeen::Gone,
    };
    let now = orchestrator.now();
    let mut view = co_views::status(&snapshot.state, &context.layout, snapshot.heartbeat, owner, now);
    if snapshot.liveness != Liveness::Idle {
        view.agents_at_work = orchestrator.agent_activity(&snapshot.state).into_iter().map(at_work).collect();
    }
    view
}

fn at_work(activity: AgentActivity) -> AgentAtWork {
    AgentAtWork {
        stage_id: activity.stage.to_string(),
        thread_id: activity.thread.map(|thread| thread.to_string()),
        last: activity.last,
        commands_run: activity.commands,
        files_changed: activity.changed_files,
        whole_turn: activity.whole,
        usage: activity.usage.map(Into::into),
    }
}

fn show(context: &Context, orchestrator: &Orchestrator, snapshot: &RunSnapshot) {
    let view = view(context, orchestrator, snapshot);
    match context.format {
        Format::Json => {
            let mut data = Data::exact();
            data.bytes(to_json(&view).as_bytes());
            data.flush();
        }
        Format::Jsonl => {
            let mut data = Data::exact();
            data.line(&serde_json::to_string(&view).unwrap_or_default());
            data.flush();
        }
        Format::Text => text(&view, snapshot),
    }
}

fn text(view: &StatusView, snapshot: &RunSnapshot) {
    let mut data = Data::styled();
    let status = snapshot.state.status();
    let detail =
        view.status_detail.as_deref().map(|detail| format!("  {}", harmless(detail))).unwrap_or_default();
    data.line(&format!("{}  {}{detail}", paint(BOLD, &view.run_id), painted(status)));
    let elapsed = DurationText(Duration::try_from_secs_f64(view.elapsed_seconds).unwrap_or_default());
    data.line(&paint(
        DIM,
        &format!("task {}  pipeline {}  elapsed {elapsed}", view.task_id, view.pipeline_id),
    ));
    if snapshot.liveness == Liveness::Silent {
        data.line(&paint(YELLOW, "its owner has been silent for too long; `recover` or `resume` takes over"));
    }
    stages(&mut data, view, snapshot);
    data.line(&paint(DIM, &format!("manifest: {}", view.manifest)));
    next_steps(&mut data, view, snapshot);
    data.flush();
}

fn stages(data: &mut Data, view: &StatusView, snapshot: &RunSnapshot) {
    let records = &snapshot.state.stages;
    let width = records.iter().map(|stage| stage.id().as_str().chars().count()).max().unwrap_or(0);
    for (record, shown) in records.iter().zip(&view.commands) {
        let (symbol, style) = match record.status() {
            co_model::StageStatus::Succeeded => ("✓", GREEN),
            co_model::StageStatus::Failed => ("✗", RED),
            co_model::StageStatus::Running => ("▸", CYAN),
            co_model::StageStatus::Waiting => ("?", YELLOW),
            co_model::StageStatus::Cancelled => ("■", YELLOW),
            co_model::StageStatus::Skipped | co_model::StageStatus::Pending => ("-", DIM),
        };
        let at_work = view.agents_at_work.iter().find(|agent| agent.stage_id == record.id().as_str());
        let summary = match at_work {
            Some(agent) => harmless(&agent.last),
            None => shown.summary.as_deref().map(harmless).unwrap_or_default(),
        };
        let took = shown.duration_ms.map(|millis| DurationText(Duration::from_millis(millis)).to_string());
        let allowed = match record.outcome() {
            Some(co_model::StageOutcome::Failed { allowed: true, .. }) => " (allowed)",
            _ => "",
        };
        let line = format!(
            "{} {:<width$}  {:<9}  {:>6}  {}{allowed}",
            paint(style, symbol),
            record.id().as_str(),
            record.status().as_str(),
            took.unwrap_or_default(),
            paint(DIM, &summary)
        );
        data.line(line.trim_end());
    }
}

/// What a person would want to do now.
fn next_steps(data: &mut Data, view: &StatusView, snapshot: &RunSnapshot) {
    let run = &view.run_id;
    let asking =
        snapshot.state.stages.iter().filter(|stage| stage.status() == co_model::StageStatus::Waiting);
    for stage in asking {
        data.line(&format!("answer:   codex-orchestrator answer --run {run} --stage {} yes|no", stage.id()));
    }
    match snapshot.state.status() {
        RunStatus::Failed | RunStatus::Cancelled | RunStatus::Interrupted => {
            data.line(&format!("logs:     codex-orchestrator logs --run {run}"));
            data.line(&format!("resume:   codex-orchestrator resume --run {run}"));
        }
        RunStatus::Queued | RunStatus::InProgress | RunStatus::Succeeded => {}
    }
}

pub(crate) fn painted(status: RunStatus) -> String {
    let style = match status {
        RunStatus::Succeeded => GREEN,
        RunStatus::Failed => RED,
        RunStatus::Cancelled | RunStatus::Interrupted => YELLOW,
        RunStatus::Queued | RunStatus::InProgress => CYAN,
    };
    paint(style, status.as_str())
}

fn watch(
    context: &Context,
    orchestrator: &Orchestrator,
    run: &RunId,
    interval: Duration,
) -> Result<Exit, CliError> {
    let mut progress = Progress::default();
    let mut data = Data::styled();
    let mut seen = EventSeq(0);
    let mut spoken = Instant::now();
    let mut snapshot = orchestrator.snapshot(run)?;
    loop {
        let mut news = false;
        loop {
            let events = orchestrator.events(run, seen, 500)?;
            let Some(last) = events.last() else { break };
            seen = last.seq;
            news = true;
            for recorded in &events {
                match context.format {
                    Format::Text => progress.lines(recorded).iter().for_each(|line| data.line(line)),
                    Format::Jsonl => {
                        data.line(&co_views::event_line(recorded, &snapshot.state.created.task, run));
                    }
                    Format::Json => {}
                }
            }
        }
        data.flush();
        let quiet_for_too_long = spoken.elapsed() >= interval;
        if news || quiet_for_too_long {
            snapshot = orchestrator.snapshot(run)?;
            spoken = Instant::now();
        }
        if quiet_for_too_long && !news && context.format == Format::Text {
            let detail = snapshot.heartbeat.at.map(|at| format!("  heartbeat {at}")).unwrap_or_default();
            data.line(&paint(DIM, &format!("  {}{detail}", snapshot.state.status().as_str())));
            data.flush();
        }
        let status = snapshot.state.status();
        if status.is_over() || status == RunStatus::Interrupted {
            if context.format == Format::Json {
                show(context, orchestrator, &snapshot);
            }
            return Ok(exit(&snapshot));
        }
        if data.is_closed() {
            return Ok(Exit::Done);
        }
        std::thread::park_timeout(LOOK.min(interval));
    }
}

/// A watched run ends the watcher with its own exit code.
pub(crate) fn exit(snapshot: &RunSnapshot) -> Exit {
    match &snapshot.state.phase {
        co_engine::Phase::Finished { outcome } => Exit::of_outcome(outcome),
        _ => Exit::Interrupted,
    }
}
