//! `runs`: the list.

use co_log::{RunFilter, RunHead};
use co_model::DurationText;
use serde_json::{Value, json};

use crate::args::{Format, RunsArguments};
use crate::commands::status::painted;
use crate::context::Context;
use crate::error::{CliError, Exit};
use crate::output::{BOLD, DIM, Data, harmless, paint};

pub(crate) fn runs(context: &Context, arguments: RunsArguments) -> Result<Exit, CliError> {
    let filter = RunFilter {
        task: if arguments.all { None } else { context.named_task() },
        pipeline: arguments.pipeline,
        parent: arguments.parent_run,
        statuses: arguments.status,
        stale_views: false,
        before: arguments.before,
        limit: usize::try_from(arguments.limit).unwrap_or(usize::MAX),
    };
    // Nothing was run yet: an empty list, not a failure.
    let heads =
        if context.layout.database().exists() { context.existing()?.runs(&filter)? } else { Vec::new() };
    match context.format {
        Format::Json => {
            let mut data = Data::exact();
            let list: Vec<Value> = heads.iter().map(|head| document(context, head)).collect();
            data.line(&format!("{:#}", Value::Array(list)));
            data.flush();
        }
        Format::Jsonl => {
            let mut data = Data::exact();
            for head in &heads {
                data.line(&document(context, head).to_string());
            }
            data.flush();
        }
        Format::Text => text(context, &heads),
    }
    Ok(Exit::Done)
}

fn document(context: &Context, head: &RunHead) -> Value {
    let progress = &head.progress;
    json!({
        "run_id": head.run.as_str(),
        "task_id": progress.task.as_str(),
        "pipeline_id": progress.pipeline.as_str(),
        "parent_run_id": progress.parent.as_ref().map(co_model::RunId::as_str),
        "status": progress.status.as_str(),
        "status_detail": progress.status_detail,
        "created_at": progress.created_at.to_string(),
        "completed_at": progress.completed_at.map(|at| at.to_string()),
        "updated_at": head.updated_at.to_string(),
        "stages_planned": progress.stages_planned,
        "stages_passed": progress.stages_passed,
        "stages_failed": progress.stages_failed,
        "summary": progress.summary,
        "manifest": context.layout.show(&context.layout.manifest_path(&progress.task, &head.run)),
    })
}

fn text(context: &Context, heads: &[RunHead]) {
    let mut data = Data::styled();
    if heads.is_empty() {
        context.notes.progress("no runs");
        return;
    }
    let width = |text: &dyn Fn(&RunHead) -> usize| heads.iter().map(text).max().unwrap_or(0);
    let tasks = width(&|head| head.progress.task.as_str().chars().count());
    let pipelines = width(&|head| head.progress.pipeline.as_str().chars().count());
    let counts = |head: &RunHead| format!("{}/{}", head.progress.stages_passed, head.progress.stages_planned);
    let counted = width(&|head| counts(head).len());
    for head in heads {
        let progress = &head.progress;
        let took = progress.completed_at.map(|end| DurationText(end.since(progress.created_at)).to_string());
        let detail = progress.status_detail.as_deref().map(harmless).unwrap_or_default();
        let padding = " ".repeat(11_usize.saturating_sub(progress.status.as_str().len()));
        let line = format!(
            "{}  {}{padding}  {:>counted$} stages  {:>7}  {:<tasks$}  {:<pipelines$}  {}",
            paint(BOLD, head.run.as_str()),
            painted(progress.status),
            counts(head),
            took.unwrap_or_default(),
            progress.task.as_str(),
            progress.pipeline.as_str(),
            if detail.is_empty() { detail } else { paint(DIM, &detail) }
        );
        data.line(line.trim_end());
    }
    data.flush();
}
