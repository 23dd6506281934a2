//! `plan`: what a run would do.

use co_engine::plan as make_plan;
use co_model::{Needs, Pipeline, PipelineSource, RunPlan, Stage, StageWork};
use co_runtime::without_secrets;
use serde_json::{Value, json};

use crate::args::{Format, PlanArguments};
use crate::commands::start::{select, show_notes};
use crate::context::Context;
use crate::error::{CliError, Exit};
use crate::output::{BOLD, DIM, Data, harmless, paint};
use crate::privacy::guard;
use crate::progress::skip_sentence;

pub(crate) fn plan(context: &Context, arguments: &PlanArguments) -> Result<Exit, CliError> {
    let loaded = context.pipelines()?;
    let pipeline = select(&loaded, arguments.pipeline.as_deref())?;
    let pipeline = without_secrets(&guard(context)?, &pipeline);
    show_notes(context, &loaded, &pipeline);
    let planned = make_plan(
        &pipeline,
        &co_engine::PlanRequest {
            target: context.settings.target.value.as_deref(),
            mode: arguments.options.execution_mode,
            parallel: arguments.options.parallel,
        },
    )?;
    match context.format {
        Format::Json | Format::Jsonl => {
            let mut data = Data::exact();
            let document = document(&pipeline, &planned);
            data.line(&if context.format == Format::Json {
                format!("{document:#}")
            } else {
                document.to_string()
            });
            data.flush();
        }
        Format::Text => text(&pipeline, &planned),
    }
    Ok(Exit::Done)
}

pub(crate) fn document(pipeline: &Pipeline, plan: &RunPlan) -> Value {
    let stages: Vec<Value> = pipeline
        .stages
        .iter()
        .map(|stage| {
            json!({
                "id": stage.id.as_str(),
                "title": stage.title,
                "kind": kind(stage),
                "role": stage.role.as_str(),
                "command": what(stage),
                "needs": match &stage.needs {
                    Needs::PreviousStage => Value::Null,
                    Needs::Declared(needs) => needs.iter().map(|need| Value::from(need.as_str())).collect(),
                },
                "allow_failure": stage.allow_failure,
                "guardrail": stage.guardrail,
            })
        })
        .collect();
    let items: Vec<Value> = plan
        .stages
        .iter()
        .map(|item| {
            let stage = pipeline.stage(&item.stage);
            json!({
                "id": format!("{}:{}", pipeline.id, item.stage),
                "stage": item.stage.as_str(),
                "description": stage.map(|stage| stage.title.as_str()),
                "role": item.role.as_str(),
                "execution_mode": item.mode.as_str(),
                "requires_cloud": item.mode == co_model::ExecutionMode::Cloud,
            })
        })
        .collect();
    let skipped: Vec<Value> = plan
        .skipped
        .iter()
        .map(|skipped| json!({ "stage": skipped.stage.as_str(), "reason": skip_sentence(&skipped.reason) }))
        .collect();
    json!({
        "pipeline": {
            "id": pipeline.id.as_str(),
            "title": pipeline.title,
            "description": pipeline.description,
            "tags": pipeline.tags,
            "source": source(pipeline),
            "max_parallel": pipeline.max_parallel,
            "guardrails_required": pipeline.guardrails_required,
        },
        "stages": stages,
        "plan": { "items": items, "skipped": skipped, "mode": plan.mode.as_str(), "targetId": plan.target },
        "targetId": plan.target,
    })
}

fn source(pipeline: &Pipeline) -> &'static str {
    match pipeline.source {
        PipelineSource::Repository => "repository",
        PipelineSource::BuiltIn => "built-in",
    }
}

pub(crate) fn kind(stage: &Stage) -> &'static str {
    match stage.work {
        StageWork::Command(_) => "command",
        StageWork::Agent(_) => "agent",
        StageWork::Gate(_) => "gate",
        StageWork::Pipeline(_) => "pipeline",
        StageWork::Mcp(_) => "mcp",
    }
}

/// What a stage does, in one line.
fn what(stage: &Stage) -> String {
    match &stage.work {
        StageWork::Command(line) => co_views::command_text(line),
        StageWork::Agent(agent) => format!("agent {}", agent.agent),
        StageWork::Gate(gate) => gate.message.clone(),
        StageWork::Pipeline(nested) => format!("pipeline {}", nested.pipeline),
        StageWork::Mcp(work) => co_views::tool_text(work),
    }
}

fn text(pipeline: &Pipeline, plan: &RunPlan) {
    let mut data = Data::styled();
    let origin = match pipeline.source {
        PipelineSource::Repository => co_config::PIPELINE_FILE,
        PipelineSource::BuiltIn => "built in",
    };
    data.line(&format!(
        "{}  {}  {}",
        paint(BOLD, pipeline.id.as_str()),
        harmless(&pipeline.title),
        paint(DIM, origin)
    ));
    let named = plan.stages.iter().map(|item| &item.stage);
    let named = named.chain(plan.skipped.iter().map(|skipped| &skipped.stage));
    let width = named.map(|stage| stage.as_str().chars().count()).max().unwrap_or(0);
    for (number, item) in plan.stages.iter().enumerate() {
        let Some(stage) = pipeline.stage(&item.stage) else { continue };
        let role = if item.role == co_model::Role::Builder { "" } else { item.role.as_str() };
        let line = format!(
            "{:>3}. {:<width$}  {:<8}  {}  {}",
            number + 1,
            item.stage.as_str(),
            kind(stage),
            harmless(&what(stage)),
            if role.is_empty() { String::new() } else { paint(DIM, role) }
        );
        data.line(line.trim_end());
    }
    for skipped in &plan.skipped {
        data.line(&paint(
            DIM,
            &format!("  -  {:<width$}  skipped: {}", skipped.stage.as_str(), skip_sentence(&skipped.reason)),
        ));
    }
    data.flush();
}
