//! `recover` and `rebuild`: what is done after accidents.

use co_log::RunFilter;
use co_model::RunId;
use co_runtime::{Recovered, RecoveryReport, ViewDifference};
use serde_json::{Value, json};

use crate::args::{Format, RebuildArguments, RecoverArguments};
use crate::context::Context;
use crate::error::{CliError, Exit};
use crate::output::{Data, harmless};

pub(crate) fn recover(context: &Context, arguments: &RecoverArguments) -> Result<Exit, CliError> {
    let orchestrator = context.existing()?;
    let reports = orchestrator.recover(arguments.run.as_ref(), arguments.dry_run)?;
    let mut data = Data::exact();
    match context.format {
        Format::Json => {
            let list: Vec<Value> = reports.iter().map(document).collect();
            data.line(&format!("{:#}", Value::Array(list)));
        }
        Format::Jsonl => reports.iter().for_each(|report| data.line(&document(report).to_string())),
        Format::Text if reports.is_empty() => context.notes.progress("nothing to recover"),
        Format::Text => reports.iter().for_each(|report| text(&mut data, report)),
    }
    data.flush();
    let failed = reports.iter().any(|report| matches!(report.recovered, Recovered::Failed(_)));
    Ok(if failed { Exit::RunFailed } else { Exit::Done })
}

fn word(recovered: &Recovered) -> &'static str {
    match recovered {
        Recovered::Planned => "planned",
        Recovered::Done => "done",
        Recovered::Overtaken => "overtaken",
        Recovered::Failed(_) => "failed",
    }
}

fn document(report: &RecoveryReport) -> Value {
    json!({
        "run_id": report.run.as_str(),
        "task_id": report.task.as_str(),
        "status": report.status.as_str(),
        "steps": report.plan.steps.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "on_resume": report.plan.on_resume.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "result": word(&report.recovered),
        "error": match &report.recovered { Recovered::Failed(error) => Some(error), _ => None },
    })
}

fn text(data: &mut Data, report: &RecoveryReport) {
    data.line(&format!("{}  was {}  {}", report.run, report.status.as_str(), word(&report.recovered)));
    for step in &report.plan.steps {
        data.line(&format!("  {}", harmless(&step.to_string())));
    }
    for step in &report.plan.on_resume {
        data.line(&format!("  on resume: {}", harmless(&step.to_string())));
    }
    if let Recovered::Failed(error) = &report.recovered {
        data.line(&format!("  failed: {error}"));
    }
}

pub(crate) fn rebuild(context: &Context, arguments: &RebuildArguments) -> Result<Exit, CliError> {
    let orchestrator = context.existing()?;
    let runs: Vec<RunId> = if let Some(run) = &arguments.run {
        vec![run.clone()]
    } else {
        let filter = RunFilter { task: context.named_task(), limit: 1_000_000, ..RunFilter::default() };
        let heads = orchestrator.runs(&filter)?;
        // Live runs write their views themselves.
        let idle = heads.into_iter().filter(|head| {
            head.progress.status.is_over() || head.progress.status == co_model::RunStatus::Interrupted
        });
        idle.map(|head| head.run).collect()
    };
    let mut data = Data::exact();
    let mut different = 0;
    let mut list = Vec::new();
    for run in &runs {
        let report = orchestrator.rebuild(run, arguments.check)?;
        different += report.differences.len();
        let differences: Vec<(&str, String)> = report
            .differences
            .iter()
            .map(|difference| match difference {
                ViewDifference::Missing(path) => ("missing", context.layout.show(path)),
                ViewDifference::Differs(path) => ("differs", context.layout.show(path)),
            })
            .collect();
        match context.format {
            Format::Text => differences.iter().for_each(|(what, path)| data.line(&format!("{what}  {path}"))),
            Format::Json | Format::Jsonl => list.push(json!({
                "run_id": run.as_str(),
                "written": report.written,
                "differences": differences.iter().map(|(what, path)| json!({ "what": what, "path": path })).collect::<Vec<_>>(),
            })),
        }
    }
    match context.format {
        Format::Text => {
            let verb = if arguments.check { "differ" } else { "were written" };
            context.notes.progress(&format!("{} runs, {different} views {verb}", runs.len()));
        }
        Format::Json => data.line(&format!("{:#}", Value::Array(list))),
        Format::Jsonl => list.iter().for_each(|entry| data.line(&entry.to_string())),
    }
    data.flush();
    Ok(if arguments.check && different > 0 { Exit::RunFailed } else { Exit::Done })
}
