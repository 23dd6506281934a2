//! `cancel`, `answer` and `steer`: commands to a run, through its inbox.

use std::time::{Duration, Instant};

use co_log::{Settlement, Submitted};
use co_model::{CallId, Command, CommandKey, Envelope, RunId, Verdict};
use co_runtime::{Liveness, Orchestrator};
use serde_json::json;

use crate::args::{AnswerArguments, CancelArguments, Format, SteerArguments, YesNo};
use crate::context::Context;
use crate::error::{CliError, Exit};
use crate::output::Data;

/// How long an owner may take to answer before we say that it has not.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a cancelled run may take to end.
const WINDING_DOWN: Duration = Duration::from_mins(1);
/// How often is looked.
const LOOK: Duration = Duration::from_millis(25);

pub(crate) fn cancel(context: &Context, arguments: &CancelArguments) -> Result<Exit, CliError> {
    let orchestrator = context.existing()?;
    let run = &arguments.run;
    submit(context, &orchestrator, run, Command::Cancel { reason: arguments.reason.clone() })?;
    let mut snapshot = orchestrator.snapshot(run)?;
    let until = Instant::now() + WINDING_DOWN;
    while !arguments.no_wait && !snapshot.state.status().is_over() && Instant::now() < until {
        std::thread::park_timeout(LOOK);
        snapshot = orchestrator.snapshot(run)?;
    }
    report(context, run, "cancel", snapshot.state.status().as_str());
    Ok(Exit::Done)
}

pub(crate) fn answer(context: &Context, arguments: AnswerArguments) -> Result<Exit, CliError> {
    let orchestrator = context.existing()?;
    let verdict = match arguments.answer {
        YesNo::Yes => Verdict::Approve,
        YesNo::No => Verdict::Deny,
    };
    let command = Command::Answer {
        stage: arguments.stage,
        call: arguments.call.map(CallId),
        scope: arguments.scope.unwrap_or_default().into(),
        verdict,
        reason: arguments.reason,
    };
    submit(context, &orchestrator, &arguments.run, command)?;
    report(context, &arguments.run, "answer", "accepted");
    Ok(Exit::Done)
}

pub(crate) fn steer(context: &Context, arguments: SteerArguments) -> Result<Exit, CliError> {
    let orchestrator = context.existing()?;
    if arguments.message.trim().is_empty() {
        return Err(CliError::new(Exit::Usage, "the message is empty"));
    }
    let command = Command::Steer { stage: arguments.stage, message: arguments.message };
    submit(context, &orchestrator, &arguments.run, command)?;
    report(context, &arguments.run, "steer", "accepted");
    Ok(Exit::Done)
}

/// Submits a command and waits until the run's owner has settled it.
fn submit(
    context: &Context,
    orchestrator: &Orchestrator,
    run: &RunId,
    command: Command,
) -> Result<(), CliError> {
    let now = orchestrator.now();
    let key = CommandKey(format!("cli:{}:{}", std::process::id(), now.as_millis()));
    let actor = context.settings.actor.value.clone();
    let name = match &command {
        Command::Cancel { .. } => "cancel",
        Command::Answer { .. } => "answer",
        Command::Steer { .. } => "steer",
    };
    let envelope = Envelope { key: key.clone(), actor, sent_at: now, command };
    let mut submitted = orchestrator.submit(run, &envelope)?;
    let until = Instant::now() + PATIENCE;
    loop {
        match submitted {
            Submitted::Settled(Settlement::Accepted) => return Ok(()),
            Submitted::Settled(Settlement::Refused { detail }) => {
                return Err(CliError::new(Exit::Refused, format!("run `{run}` refuses `{name}`: {detail}")));
            }
            Submitted::Open if Instant::now() >= until => {
                let silent = orchestrator.snapshot(run)?.liveness == Liveness::Silent;
                let error = CliError::new(
                    Exit::Refused,
                    format!("the owner of run `{run}` has not answered; the command stays in its inbox"),
                );
                return Err(if silent {
                    error.hint(format!("codex-orchestrator recover --run {run}"))
                } else {
                    error.hint(format!("codex-orchestrator status --run {run}"))
                });
            }
            Submitted::Open => {
                std::thread::park_timeout(LOOK);
                submitted = orchestrator.settlement(run, &key)?.unwrap_or(Submitted::Open);
            }
        }
    }
}

fn report(context: &Context, run: &RunId, command: &str, status: &str) {
    let mut data = Data::exact();
    match context.format {
        Format::Text => data.line(&format!("{run} {status}")),
        Format::Json | Format::Jsonl => {
            data.line(&json!({ "run_id": run.as_str(), "command": command, "status": status }).to_string());
        }
    }
    data.flush();
}
