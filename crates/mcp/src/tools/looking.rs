//! The tools that look.

use std::time::Duration;

use co_log::{RunFilter, RunHead};
use co_model::{EventSeq, PipelineId, PipelineSource, RunStatus, TaskId};
use co_runtime::RunSnapshot;
use co_views::Layout;
use serde_json::{Map, Value};

use super::answers::{EventEntry, Events, OpenQuestion, PipelineEntry, Pipelines, Planned, RunEntry, Runs};
use super::{Outcome, answer, arguments, run_id};
use crate::caller::Caller;
use crate::desk::{Desk, is_at_rest, questions};
use crate::host::{Host, PlanRequest, Refusal};
use crate::waiting::{Until, Waited, wait};

pub(super) async fn list_pipelines(
    desk: &Desk,
    arguments: Result<arguments::ListPipelines, Refusal>,
) -> Result<Pipelines, Refusal> {
    let arguments::ListPipelines {} = arguments?;
    desk.ask(pipelines).await
}

/// Describes the pipelines as they are now.
pub(crate) fn pipelines(host: &dyn Host) -> Result<Pipelines, Refusal> {
    let loaded = host.pipelines()?;
    let pipelines = loaded.set.pipelines.values().map(|pipeline| PipelineEntry {
        id: pipeline.id.to_string(),
        title: pipeline.title.clone(),
        description: pipeline.description.clone(),
        tags: pipeline.tags.clone(),
        source: match pipeline.source {
            PipelineSource::Repository => "repository",
            PipelineSource::BuiltIn => "built-in",
        },
        stages: pipeline.stages.iter().map(|stage| stage.id.to_string()).collect(),
    });
    Ok(Pipelines {
        default: loaded.set.default.as_ref().map(ToString::to_string),
        pipelines: pipelines.collect(),
        notes: loaded
            .warnings
            .iter()
            .map(ToString::to_string)
            .chain(loaded.detection.notes.clone())
            .collect(),
    })
}

pub(super) async fn plan(
    desk: &Desk,
    arguments: Result<arguments::Plan, Refusal>,
) -> Result<Planned, Refusal> {
    let arguments::Plan { pipeline, target, execution_mode, parallel } = arguments?;
    let request = PlanRequest { pipeline, target, execution_mode, parallel };
    let mut planned = desk.ask(move |host| host.plan(&request)).await?;
    let mut take = |name: &str| planned.get_mut(name).map(Value::take).unwrap_or_default();
    let object = |value| match value {
        Value::Object(object) => object,
        _ => Map::new(),
    };
    let stages = match take("stages") {
        Value::Array(stages) => stages.into_iter().map(object).collect(),
        _ => Vec::new(),
    };
    Ok(Planned {
        pipeline: object(take("pipeline")),
        stages,
        plan: object(take("plan")),
        target_id: take("targetId").as_str().map(str::to_owned),
    })
}

pub(super) async fn run_status(
    desk: &Desk,
    caller: &Caller,
    arguments: Result<arguments::RunStatus, Refusal>,
) -> Result<Outcome, Refusal> {
    let arguments = arguments?;
    let run = run_id(&arguments.run_id)?;
    let patience = patience(arguments.wait_seconds)?;
    match wait(desk, caller, &run, Until::Rest, patience).await? {
        Waited::Asks(question) => Ok(Outcome::Asks(question)),
        Waited::Seen(snapshot) => {
            answer(desk.ask(move |host| Ok(host.status(&host.orchestrator()?, &snapshot))).await)
        }
    }
}

fn patience(seconds: u32) -> Result<Duration, Refusal> {
    if seconds > arguments::LONGEST_WAIT {
        let message = format!("`wait_seconds` is {seconds}; at most {} are allowed", arguments::LONGEST_WAIT);
        return Err(Refusal::usage(message));
    }
    Ok(Duration::from_secs(u64::from(seconds)))
}

fn within(name: &str, value: u32, from: u32, to: u32) -> Result<usize, Refusal> {
    if !(from..=to).contains(&value) {
        return Err(Refusal::usage(format!("`{name}` is {value}; {from} to {to} are allowed")));
    }
    usize::try_from(value).map_err(Refusal::usage)
}

pub(super) async fn list_runs(
    desk: &Desk,
    arguments: Result<arguments::ListRuns, Refusal>,
) -> Result<Runs, Refusal> {
    let arguments = arguments?;
    let limit = within("limit", arguments.limit, 1, 200)?;
    let filter = RunFilter {
        task: arguments.task.map(TaskId::new).transpose().map_err(Refusal::usage)?,
        pipeline: arguments.pipeline.map(PipelineId::new).transpose().map_err(Refusal::usage)?,
        parent: arguments.parent_run_id.as_deref().map(run_id).transpose()?,
        statuses: arguments.status.iter().map(|word| run_status_of(word)).collect::<Result<_, _>>()?,
        stale_views: false,
        before: arguments.before.as_deref().map(run_id).transpose()?,
        limit,
    };
    let runs: Vec<RunEntry> = desk
        .ask(move |host| {
            // Nothing was run yet: an empty list, not a failure.
            if !host.has_runs() {
                return Ok(Vec::new());
            }
            let orchestrator = host.orchestrator()?;
            let heads = orchestrator.runs(&filter).map_err(|error| host.explain(error))?;
            Ok(heads.into_iter().map(|head| entry(orchestrator.layout(), head)).collect())
        })
        .await?;
    let next_before = runs.last().filter(|_| runs.len() == limit).map(|run| run.run_id.clone());
    Ok(Runs { runs, next_before })
}

fn run_status_of(word: &str) -> Result<RunStatus, Refusal> {
    use RunStatus::{Cancelled, Failed, InProgress, Interrupted, Queued, Succeeded};
    let all = [Queued, InProgress, Interrupted, Succeeded, Failed, Cancelled];
    all.into_iter().find(|status| status.as_str() == word).ok_or_else(|| {
        let names: Vec<&str> = all.iter().map(|status| status.as_str()).collect();
        Refusal::usage(format!("`{word}` is no state of a run; known states: {}", names.join(", ")))
    })
}

fn entry(layout: &Layout, head: RunHead) -> RunEntry {
    let progress = head.progress;
    RunEntry {
        run_id: head.run.to_string(),
        task_id: progress.task.to_string(),
        pipeline_id: progress.pipeline.to_string(),
        parent_run_id: progress.parent.as_ref().map(ToString::to_string),
        status: progress.status.into(),
        status_detail: progress.status_detail,
        created_at: progress.created_at.into(),
        completed_at: progress.completed_at.map(Into::into),
        updated_at: head.updated_at.into(),
        stages_planned: progress.stages_planned,
        stages_passed: progress.stages_passed,
        stages_failed: progress.stages_failed,
        summary: progress.summary,
        manifest: layout.show(&layout.manifest_path(&progress.task, &head.run)),
    }
}

pub(super) async fn run_events(
    desk: &Desk,
    caller: &Caller,
    arguments: Result<arguments::RunEvents, Refusal>,
) -> Result<Outcome, Refusal> {
    let arguments = arguments?;
    let run = run_id(&arguments.run_id)?;
    let limit = within("limit", arguments.limit, 1, 1_000)?;
    let patience = patience(arguments.wait_seconds)?;
    let after = EventSeq(arguments.after);
    match wait(desk, caller, &run, Until::News(after), patience).await? {
        Waited::Asks(question) => Ok(Outcome::Asks(question)),
        Waited::Seen(snapshot) => {
            let page = desk.ask(move |host| page(host, &snapshot, after, limit)).await;
            answer(page)
        }
    }
}

fn page(host: &dyn Host, snapshot: &RunSnapshot, after: EventSeq, limit: usize) -> Result<Events, Refusal> {
    let run = &snapshot.head.run;
    let lines = snapshot_events(host, snapshot, after, limit)?;
    let events: Vec<EventEntry> =
        lines.iter().filter_map(|line| serde_json::from_str(line).ok().map(EventEntry)).collect();
    let read = u64::try_from(lines.len()).unwrap_or(u64::MAX);
    let open = questions(&snapshot.state).into_iter().map(|question| OpenQuestion {
        stage_id: question.stage.to_string(),
        message: question.message,
        expires_at: question.expires_at.into(),
    });
    // Positions have no gaps.
    let next_after = after.0.saturating_add(read);
    Ok(Events {
        run_id: run.to_string(),
        status: snapshot.state.status().into(),
        at_rest: is_at_rest(&snapshot.state),
        events,
        next_after,
        more: next_after < snapshot.state.last_seq.0,
        open_questions: open.collect(),
    })
}

/// The lines of the event stream after `after`, as `logs --events` prints them.
pub(crate) fn snapshot_events(
    host: &dyn Host,
    snapshot: &RunSnapshot,
    after: EventSeq,
    limit: usize,
) -> Result<Vec<String>, Refusal> {
    let run = &snapshot.head.run;
    let events = host.orchestrator()?.events(run, after, limit).map_err(|error| host.explain(error))?;
    let task = &snapshot.state.created.task;
    Ok(events.iter().map(|recorded| co_views::event_line(recorded, task, run)).collect())
}
