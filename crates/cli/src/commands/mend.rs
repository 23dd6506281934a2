//! `recover` and `rebuild`: what is done after accidents.

use std::collections::BTreeSet;

use co_log::RunFilter;
use co_model::{RunId, TaskId};
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
    let runs: Vec<(RunId, TaskId)> = if let Some(run) = &arguments.run {
        vec![(run.clone(), orchestrator.snapshot(run)?.state.created.task.clone())]
    } else {
        let filter = RunFilter { task: context.named_task(), limit: 1_000_000, ..RunFilter::default() };
        let heads = orchestrator.runs(&filter)?;
        // Live runs write their views themselves.
        let idle = heads.into_iter().filter(|head| {
            head.progress.status.is_over() || head.progress.status == co_model::RunStatus::Interrupted
        });
        idle.map(|head| (head.run, head.progress.task)).collect()
    };
    let mut shown = Rebuilt { context, data: Data::exact(), different: 0, list: Vec::new() };
    for (run, _) in &runs {
        let report = orchestrator.rebuild(run, arguments.check)?;
        shown.add("run_id", run.as_str(), &report.differences, report.written);
    }
    // After the runs, once each: they rest on all of them.
    let tasks: BTreeSet<&TaskId> = runs.iter().map(|(_, task)| task).collect();
    for task in tasks {
        let report = orchestrator.rebuild_task(task, arguments.check)?;
        shown.add("task_id", task.as_str(), &report.differences, report.written);
    }
    let Rebuilt { mut data, different, list, .. } = shown;
    match context.format {
        Format::Text => {
            let verb = if arguments.check { "differ" } else { "had to be written" };
            let plural =
                |count: usize, word: &str| format!("{count} {word}{}", if count == 1 { "" } else { "s" });
            context.notes.progress(&format!(
                "{} looked at: {} {verb}",
                plural(runs.len(), "run"),
                plural(different, "view")
            ));
        }
        Format::Json => data.line(&format!("{:#}", Value::Array(list))),
        Format::Jsonl => list.iter().for_each(|entry| data.line(&entry.to_string())),
    }
    data.flush();
    Ok(if arguments.check && different > 0 { Exit::RunFailed } else { Exit::Done })
}

/// What is told of the views that were compared.
struct Rebuilt<'c> {
    context: &'c Context,
    data: Data,
    different: usize,
    list: Vec<Value>,
}

impl Rebuilt<'_> {
    fn add(&mut self, kind: &str, id: &str, differences: &[ViewDifference], written: bool) {
        self.different += differences.len();
        let differences = differences.iter().map(|difference| match difference {
            ViewDifference::Missing(path) => ("missing", self.context.layout.show(path)),
            ViewDifference::Differs(path) => ("differs", self.context.layout.show(path)),
        });
        match self.context.format {
            Format::Text => {
                for (what, path) in differences {
                    self.data.line(&format!("{what}  {path}"));
                }
            }
            Format::Json | Format::Jsonl => self.list.push(json!({
                kind: id,
                "written": written,
                "differences": differences.map(|(what, path)| json!({ "what": what, "path": path })).collect::<Vec<_>>(),
            })),
        }
    }
}
