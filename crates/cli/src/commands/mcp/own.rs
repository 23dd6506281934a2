//! `mcp own`: a process that owns one run, for somebody who does not wait for its end.
//!
//! It reads an errand from standard input and answers with one line on standard output. It leads a
//! session of its own, so that signals to whoever started it pass it by; its own end is handled as
//! that of `start` is: SIGTERM cancels the run, and after a kill the run is found as interrupted.

use std::io::Read as _;
use std::num::NonZeroU16;
use std::time::Duration;

use co_mcp::{Errand, Receipt, Refusal, StartErrand};
use co_model::{
    CommandLine, EventSeq, Pipeline, PipelineId, PipelineSource, RunId, Stage, StageId, StageWork,
};
use co_privacy::Guard;
use co_process::Spawner;
use co_runtime::{Orchestrator, ResumeRequest, RunHandle, StartRequest, TokenOffer};
use indexmap::{IndexMap, IndexSet};
use serde::{Deserialize, Serialize};

use super::receipts::Ledger;
use super::responses;
use crate::args::{Global, RunOptions, StartArguments, execution_mode};
use crate::commands::{resume, start};
use crate::context::Context;
use crate::error::{CliError, Exit};
use crate::fork_spawner;
use crate::output::{Data, Notes};
use crate::policy::{self, PolicyOptions};
use crate::privacy;
use crate::signals::listen_for_signals;
use crate::telemetry::TelemetryOptions;

/// The largest errand, in bytes.
const LARGEST_ERRAND: u64 = 4 << 20;
/// The pipeline of a session that was given commands.
pub(crate) const SESSION: &str = "mcp-session";
/// Longest part of a command that becomes a stage's id, in characters.
const LONGEST_STEM: usize = 40;
/// How often response files are brought up to date, and signals heeded.
const LOOK: Duration = Duration::from_millis(50);

/// The one line that is answered.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Answer {
    /// The run is under way.
    Begun(Receipt),
    /// It is not.
    Refused(Refusal),
}

/// Leaves the session of whoever started us, then forks the spawner: in this order, so that
/// everything we start is ours alone.
pub(crate) fn on_our_own() -> Result<Spawner, CliError> {
    // It fails only for who leads a group already, and is alone with that.
    let _ = rustix::process::setsid();
    fork_spawner()
}

/// Does one errand and follows its run to the end.
pub(crate) fn own(global: &Global, spawner: Option<Spawner>, notes: Notes) -> Result<Exit, CliError> {
    let mut spawner = spawner;
    let begun = read_errand().and_then(|errand| begin(global, &mut spawner, notes, &errand));
    match begun {
        Ok(Begun::Repeated(receipt)) => {
            say(&Answer::Begun(receipt));
            Ok(Exit::Done)
        }
        Ok(Begun::Under { context, orchestrator, handle, receipt }) => {
            say(&Answer::Begun(receipt));
            follow(&context, &orchestrator, handle)
        }
        Err(error) => {
            let exit = error.exit;
            say(&Answer::Refused(error.into()));
            Ok(exit)
        }
    }
}

fn say(answer: &Answer) {
    let mut data = Data::exact();
    data.line(&serde_json::to_string(answer).unwrap_or_default());
    data.flush();
}

fn read_errand() -> Result<Errand, CliError> {
    let mut text = Vec::new();
    let read = std::io::stdin().take(LARGEST_ERRAND).read_to_end(&mut text);
    read.map_err(|error| CliError::new(Exit::Usage, format!("no errand could be read: {error}")))?;
    serde_json::from_slice(&text)
        .map_err(|error| CliError::new(Exit::Usage, format!("the errand cannot be read: {error}")))
}

/// A run that was begun.
enum Begun {
    /// By an earlier errand of the same key.
    Repeated(Receipt),
    /// Just now.
    Under { context: Box<Context>, orchestrator: Orchestrator, handle: RunHandle, receipt: Receipt },
}

fn begin(
    global: &Global,
    spawner: &mut Option<Spawner>,
    notes: Notes,
    errand: &Errand,
) -> Result<Begun, CliError> {
    let mut global = global.clone();
    let mut target = None;
    if let Errand::Start(start) = errand {
        target = start.target.clone().map(Into::into);
        if let Some(task) = &start.task {
            global.task = Some(task.into());
        }
    }
    let context = Context::resolve(&global, target, notes)?;
    let mut ledger = match errand.idempotency_key() {
        Some(key) => Some(Ledger::open(&context.layout, key, errand)?),
        None => None,
    };
    if let Some(receipt) = ledger.as_ref().and_then(Ledger::earlier) {
        return Ok(Begun::Repeated(Receipt { repeated: true, ..receipt.clone() }));
    }
    let (orchestrator, handle) = match errand {
        Errand::Start(start) => {
            let request = start_request(&context, start)?;
            let orchestrator = context.running_told(spawner.take(), &TelemetryOptions::default())?;
            start::mend_others(&context, &orchestrator);
            let handle = orchestrator.start(request)?;
            (orchestrator, handle)
        }
        Errand::Retry { run, .. } => {
            context.existing_log()?;
            let orchestrator = context.running_told(spawner.take(), &TelemetryOptions::default())?;
            let request = resume::like_earlier(&context, &orchestrator, run)?;
            let handle = orchestrator.start(request)?;
            (orchestrator, handle)
        }
        Errand::Resume { run, reason, token, recorded_pipeline } => {
            context.existing_log()?;
            let orchestrator = context.running_told(spawner.take(), &TelemetryOptions::default())?;
            let request =
                resume_request(&context, &orchestrator, run, reason, token.as_ref(), *recorded_pipeline)?;
            let handle = orchestrator.resume(&request)?;
            (orchestrator, handle)
        }
    };
    let receipt = receipt(&context, &orchestrator, handle.run())?;
    if let Some(ledger) = &mut ledger {
        ledger.settle(&receipt)?;
    }
    if matches!(errand, Errand::Start(start) if start.responses) {
        responses::keep(&context.layout, &orchestrator.snapshot(handle.run())?)?;
    }
    Ok(Begun::Under { context: Box::new(context), orchestrator, handle, receipt })
}

fn receipt(context: &Context, orchestrator: &Orchestrator, run: &RunId) -> Result<Receipt, CliError> {
    let snapshot = orchestrator.snapshot(run)?;
    let task = &snapshot.state.created.task;
    Ok(Receipt {
        run_id: run.to_string(),
        task_id: task.to_string(),
        manifest: context.layout.show(&context.layout.manifest_path(task, run)),
        repeated: false,
    })
}

fn start_request(context: &Context, errand: &StartErrand) -> Result<StartRequest, CliError> {
    let usage = |error: &dyn std::error::Error| CliError::of(Exit::Usage, error);
    let mode = errand.execution_mode.as_deref().map(execution_mode).transpose();
    let arguments = StartArguments {
        pipeline: errand.pipeline.clone(),
        options: RunOptions {
            target: None,
            execution_mode: mode.map_err(|known| CliError::new(Exit::Usage, known))?,
            parallel: errand.parallel,
        },
        description: errand.description.clone(),
        parent_run: errand
            .parent_run
            .as_deref()
            .map(RunId::new)
            .transpose()
            .map_err(|error| usage(&error))?,
        policy: PolicyOptions {
            approval_policy: errand
                .approval_policy
                .as_deref()
                .map(policy::approval)
                .transpose()
                .map_err(|known| CliError::new(Exit::Usage, known))?,
            ..PolicyOptions::default()
        },
        worktree: errand.worktree,
        ..StartArguments::default()
    };
    if !errand.commands.is_empty() {
        let timeout = errand.timeout_seconds.map(Duration::from_secs);
        let pipeline =
            session(&privacy::guard(context)?, &errand.commands, timeout).map_err(|error| usage(&error))?;
        return start::request(context, pipeline, IndexMap::new(), &arguments);
    }
    let loaded = context.pipelines()?;
    let pipeline = start::select(&loaded, errand.pipeline.as_deref())?;
    let nested = loaded.set.nested_of(&pipeline);
    start::request(context, pipeline, nested, &arguments)
}

fn resume_request(
    context: &Context,
    orchestrator: &Orchestrator,
    run: &RunId,
    reason: &str,
    token: Option<&String>,
    recorded_pipeline: bool,
) -> Result<ResumeRequest, CliError> {
    let recorded = orchestrator.snapshot(run)?.state.created.pipeline.clone();
    let mut request = ResumeRequest {
        run: run.clone(),
        actor: context.settings.actor.value.clone(),
        reason: reason.to_owned(),
        token: token.map_or(TokenOffer::Nothing, |token| TokenOffer::Token(token.clone())),
        pipeline: None,
        policy: None,
    };
    orchestrator.check_token(&request)?;
    if !recorded_pipeline {
        request.pipeline = resume::pipeline_now(context, &recorded).map_err(|error| {
            error.hint("`recorded_pipeline` goes on with it as it was when the run began")
        })?;
    }
    Ok(request)
}

/// The commands of a session as a pipeline: one after the other, until one fails.
fn session(
    guard: &Guard,
    commands: &[String],
    timeout: Option<Duration>,
) -> Result<Pipeline, co_model::IdError> {
    let mut ids = IndexSet::new();
    for command in commands {
        // Ids are recorded as they are, and name files.
        let stem = stem(&guard.redact_text(command));
        let same = (2..).map(|number| format!("{stem}-{number}"));
        let id = std::iter::once(stem.clone()).chain(same).find(|id| !ids.contains(id));
        ids.extend(id);
    }
    let stages = commands.iter().zip(ids).map(|(command, id)| {
        let work = StageWork::Command(CommandLine::Shell(command.clone()));
        Ok(Stage { title: command.clone(), timeout, ..Stage::new(StageId::new(id)?, work) })
    });
    Ok(Pipeline {
        id: PipelineId::new(SESSION)?,
        title: "MCP session".to_owned(),
        description: None,
        tags: Vec::new(),
        guardrails_required: false,
        max_parallel: NonZeroU16::MIN,
        mcp_servers: Vec::new(),
        stages: stages.collect::<Result<_, _>>()?,
        source: PipelineSource::BuiltIn,
    })
}

/// A command in the letters of ids: `npm run build` becomes `npm-run-build`.
fn stem(command: &str) -> String {
    let letters =
        command.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { ' ' });
    let words: String = letters.collect();
    let stem = words.split_whitespace().collect::<Vec<_>>().join("-");
    let stem: String = stem.chars().take(LONGEST_STEM).collect();
    let stem = stem.trim_end_matches('-');
    if StageId::new(stem).is_ok() {
        stem.to_owned()
    } else {
        format!("command-{stem}").trim_end_matches('-').to_owned()
    }
}

/// Follows the run to its end. Nobody reads what would be shown: the record is what is left.
fn follow(context: &Context, orchestrator: &Orchestrator, handle: RunHandle) -> Result<Exit, CliError> {
    let stop = listen_for_signals()?;
    let run = handle.run().clone();
    let mut seen = EventSeq(0);
    loop {
        let progressed = handle.wait(seen, LOOK);
        stop.heed(&handle);
        if progressed.seq > seen.0 || progressed.done {
            // The next look, or `mcp poll`, writes what could not be written now.
            drop(responses::refresh(&context.layout, &orchestrator.snapshot(&run)?));
        }
        seen = EventSeq(progressed.seq);
        if progressed.done {
            break;
        }
    }
    let outcome = handle.join()?;
    Ok(stop.exit().unwrap_or_else(|| Exit::of_outcome(&outcome)))
}

#[cfg(test)]
mod tests {
    use co_privacy::GuardSettings;

    use super::*;

    fn guard() -> Guard {
        Guard::new(&GuardSettings::default()).unwrap()
    }

    #[test]
    fn no_secret_becomes_part_of_an_id() {
        let commands = ["curl --password=hunter22correct http://h".to_owned()];
        let pipeline = session(&guard(), &commands, None).unwrap();
        assert!(!pipeline.stages[0].id.as_str().contains("hunter22"), "{}", pipeline.stages[0].id);
    }

    #[test]
    fn commands_become_stages_with_ids_of_their_own() {
        let commands =
            ["npm run build", "npm run build", "!!!", "nul", "é", "npm  run-build 2"].map(str::to_owned);
        let pipeline = session(&guard(), &commands, None).unwrap();
        let ids: Vec<&str> = pipeline.stages.iter().map(|stage| stage.id.as_str()).collect();
        assert_eq!(
            ids,
            ["npm-run-build", "npm-run-build-2", "command", "command-nul", "command-2", "npm-run-build-2-2"]
        );
        let long = session(&guard(), &["x".repeat(5_000)], None).unwrap();
        assert_eq!(long.stages[0].id.as_str().len(), LONGEST_STEM);
    }
}
