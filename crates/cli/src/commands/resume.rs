//! `resume` and `retry`: a run goes on, or is made again.

use std::io::Read as _;

use co_model::{Pipeline, PipelineId, PipelineSource, RunId, RunSettings};
use co_process::Spawner;
use co_runtime::{Orchestrator, ResumeRequest, StartRequest, TokenOffer};
use indexmap::IndexMap;

use crate::args::{ResumeArguments, RetryArguments};
use crate::commands::{exec, mcp, start};
use crate::context::Context;
use crate::error::{CliError, Exit};

/// A token has 64 characters; nothing much longer is read.
const LONGEST_TOKEN: u64 = 4096;

pub(crate) fn resume(
    context: &Context,
    spawner: Option<Spawner>,
    arguments: ResumeArguments,
) -> Result<Exit, CliError> {
    let token = token(context, arguments.token)?;
    context.existing_log()?;
    let orchestrator = context.running(spawner)?;
    let recorded = orchestrator.snapshot(&arguments.run)?.state;
    let mut request = ResumeRequest {
        run: arguments.run,
        actor: context.settings.actor.value.clone(),
        reason: arguments.reason,
        token,
        pipeline: None,
        policy: None,
    };
    orchestrator.check_token(&request)?;
    if !arguments.recorded_pipeline {
        request.pipeline = pipeline_now(context, &recorded.created.pipeline).map_err(|error| {
            error.hint("--recorded-pipeline goes on with it as it was when the run began")
        })?;
    }
    let pipelines = match &request.pipeline {
        Some((pipeline, nested)) => (pipeline, nested),
        None => (&recorded.created.pipeline, &recorded.created.nested),
    };
    let pipelines = std::iter::once(pipelines.0).chain(pipelines.1.values());
    request.policy = context.policy_again(&arguments.policy, recorded.policy(), pipelines)?;
    let orchestrator = context.told(orchestrator, &arguments.telemetry)?;
    let handle = orchestrator.resume(&request)?;
    start::follow(context, &orchestrator, handle, &arguments.hud)
}

/// The pipeline of that id as the repository has it now, with those it leads to; `None` when it was in no file.
pub(crate) fn pipeline_now(context: &Context, recorded: &Pipeline) -> Result<Option<WithNested>, CliError> {
    if is_in_no_file(recorded) {
        return Ok(None);
    }
    let loaded = context.pipelines()?;
    match loaded.set.pipelines.get(&recorded.id) {
        Some(pipeline) => Ok(Some((pipeline.clone(), loaded.set.nested_of(pipeline)))),
        None => Err(CliError::new(
            Exit::Setup,
            format!("`{}` no longer has the pipeline `{}`", context.layout.root.display(), recorded.id),
        )),
    }
}

/// A pipeline and those it leads to.
type WithNested = (Pipeline, IndexMap<PipelineId, Pipeline>);

/// Whether a pipeline came from a command line. The record is the only place that has it.
fn is_in_no_file(pipeline: &Pipeline) -> bool {
    pipeline.source == PipelineSource::BuiltIn && [exec::EXEC, mcp::SESSION].contains(&pipeline.id.as_str())
}

fn token(context: &Context, flag: Option<String>) -> Result<TokenOffer, CliError> {
    let from_environment = || {
        let value = context.environment.get("CODEX_ORCHESTRATOR_RESUME_TOKEN")?;
        Some(value.to_string_lossy().into_owned())
    };
    match flag {
        Some(dash) if dash == "-" => {
            let mut text = String::new();
            std::io::stdin().take(LONGEST_TOKEN).read_to_string(&mut text).map_err(|error| {
                CliError::new(Exit::Usage, format!("no token could be read from standard input: {error}"))
            })?;
            Ok(TokenOffer::Token(text.trim().to_owned()))
        }
        Some(token) => Ok(TokenOffer::Token(token)),
        None => Ok(from_environment().map_or(TokenOffer::Nothing, TokenOffer::Token)),
    }
}

pub(crate) fn retry(
    context: &Context,
    spawner: Option<Spawner>,
    arguments: &RetryArguments,
) -> Result<Exit, CliError> {
    context.existing_log()?;
    let orchestrator = context.running_told(spawner, &arguments.telemetry)?;
    let request = like_earlier(context, &orchestrator, &arguments.run)?;
    let handle = orchestrator.start(request)?;
    start::follow(context, &orchestrator, handle, &arguments.hud)
}

/// Asks for a fresh run like an earlier one, of the pipeline as the repository has it now, or as it was recorded when
/// the repository never had it.
pub(crate) fn like_earlier(
    context: &Context,
    orchestrator: &Orchestrator,
    run: &RunId,
) -> Result<StartRequest, CliError> {
    let earlier = orchestrator.snapshot(run)?.state;
    let created = &earlier.created;
    let (pipeline, nested) = match pipeline_now(context, &created.pipeline)? {
        Some(now) => now,
        None => (created.pipeline.clone(), created.nested.clone()),
    };
    let mut policy = created.settings.policy.clone();
    // A fresh run: the same servers, as they are defined now.
    let servers: Vec<String> = policy.mcp.servers.keys().cloned().collect();
    let profile = policy.mcp.profile.clone();
    let pipelines = std::iter::once(&pipeline).chain(nested.values());
    mcp::switch_on(context, &mut policy, profile.as_deref(), &servers, pipelines)?;
    Ok(StartRequest {
        task: created.task.clone(),
        pipeline,
        nested,
        settings: RunSettings {
            actor: Some(context.settings.actor.value.clone()),
            retry_of: Some(run.clone()),
            worktree_branch: None,
            policy,
            ..created.settings.clone()
        },
        worktree: created.settings.worktree_branch.is_some(),
    })
}
