//! The tools that start, continue, command and mend runs.

use co_model::{Actor, Command, StageId, Verdict};
use co_runtime::{Recovered, RecoveryReport};

use super::answers::{Begun, Commanded, RecoveredRun, Recovery};
use super::{arguments, run_id};
use crate::caller::{Caller, fresh_key};
use crate::desk::Desk;
use crate::host::{Errand, Refusal, StartErrand};

pub(super) async fn start_run(
    desk: &Desk,
    caller: &Caller,
    arguments: Result<arguments::StartRun, Refusal>,
) -> Result<Begun, Refusal> {
    let arguments = arguments?;
    let errand = Errand::Start(StartErrand {
        pipeline: arguments.pipeline,
        task: arguments.task,
        target: arguments.target,
        description: arguments.description,
        parent_run: arguments.parent_run_id,
        approval_policy: arguments.approval_policy,
        worktree: arguments.worktree,
        execution_mode: arguments.execution_mode,
        parallel: arguments.parallel,
        idempotency_key: arguments.idempotency_key,
        ..StartErrand::default()
    });
    send(desk, caller, errand).await
}

pub(super) async fn resume_run(
    desk: &Desk,
    caller: &Caller,
    arguments: Result<arguments::ResumeRun, Refusal>,
) -> Result<Begun, Refusal> {
    let arguments = arguments?;
    let errand = Errand::Resume {
        run: run_id(&arguments.run_id)?,
        reason: arguments.reason.unwrap_or_else(|| "manual-resume".to_owned()),
        token: arguments.token,
        recorded_pipeline: arguments.recorded_pipeline,
    };
    send(desk, caller, errand).await
}

pub(super) async fn retry_run(
    desk: &Desk,
    caller: &Caller,
    arguments: Result<arguments::RetryRun, Refusal>,
) -> Result<Begun, Refusal> {
    let arguments::RetryRun { run_id: run, idempotency_key } = arguments?;
    send(desk, caller, Errand::Retry { run: run_id(&run)?, idempotency_key }).await
}

async fn send(desk: &Desk, caller: &Caller, errand: Errand) -> Result<Begun, Refusal> {
    if errand.idempotency_key().is_some_and(str::is_empty) {
        return Err(Refusal::usage("the idempotency key is empty"));
    }
    let person = desk.ask(|host| Ok(host.actor())).await?;
    let actor = caller.actor(&person);
    let receipt = desk.ask(move |host| host.send(&errand, &actor)).await?;
    Ok(Begun {
        run_id: receipt.run_id,
        task_id: receipt.task_id,
        manifest: receipt.manifest,
        repeated: receipt.repeated,
    })
}

pub(super) async fn cancel_run(
    desk: &Desk,
    caller: &Caller,
    arguments: Result<arguments::CancelRun, Refusal>,
) -> Result<Commanded, Refusal> {
    let arguments::CancelRun { run_id, reason } = arguments?;
    command(desk, caller, &run_id, Command::Cancel { reason }).await
}

pub(super) async fn answer_question(
    desk: &Desk,
    caller: &Caller,
    arguments: Result<arguments::AnswerQuestion, Refusal>,
) -> Result<Commanded, Refusal> {
    let arguments::AnswerQuestion { run_id, stage, approve, reason } = arguments?;
    let verdict = if approve { Verdict::Approve } else { Verdict::Deny };
    command(
        desk,
        caller,
        &run_id,
        Command::Answer {
            stage: stage_id(stage)?,
            call: None,
            scope: co_model::GrantScope::Once,
            verdict,
            reason,
        },
    )
    .await
}

pub(super) async fn steer_agent(
    desk: &Desk,
    caller: &Caller,
    arguments: Result<arguments::SteerAgent, Refusal>,
) -> Result<Commanded, Refusal> {
    let arguments::SteerAgent { run_id, stage, message } = arguments?;
    if message.trim().is_empty() {
        return Err(Refusal::usage("the message is empty"));
    }
    command(desk, caller, &run_id, Command::Steer { stage: stage_id(stage)?, message }).await
}

fn stage_id(stage: Option<String>) -> Result<Option<StageId>, Refusal> {
    stage.map(StageId::new).transpose().map_err(Refusal::usage)
}

async fn command(desk: &Desk, caller: &Caller, run: &str, command: Command) -> Result<Commanded, Refusal> {
    let run = run_id(run)?;
    let (person, now) = desk.ask(|host| Ok((host.actor(), host.orchestrator()?.now()))).await?;
    desk.submit(&run, Actor::new(&caller.actor(&person)), fresh_key(now), command).await?;
    let status = desk.snapshot(&run).await?.state.status().into();
    Ok(Commanded { run_id: run.to_string(), status })
}

pub(super) async fn recover(
    desk: &Desk,
    arguments: Result<arguments::Recover, Refusal>,
) -> Result<Recovery, Refusal> {
    let arguments::Recover { run_id: run, dry_run } = arguments?;
    let run = run.as_deref().map(run_id).transpose()?;
    let reports = desk.runtime(move |runtime| runtime.recover(run.as_ref(), dry_run)).await?;
    Ok(Recovery { runs: reports.iter().map(recovered).collect() })
}

fn recovered(report: &RecoveryReport) -> RecoveredRun {
    let (result, error) = match &report.recovered {
        Recovered::Planned => ("planned", None),
        Recovered::Done => ("done", None),
        Recovered::Overtaken => ("overtaken", None),
        Recovered::Failed(error) => ("failed", Some(error.clone())),
    };
    RecoveredRun {
        run_id: report.run.to_string(),
        task_id: report.task.to_string(),
        status: report.status.into(),
        steps: report.plan.steps.iter().map(ToString::to_string).collect(),
        on_resume: report.plan.on_resume.iter().map(ToString::to_string).collect(),
        result,
        error,
    }
}
