//! `exec`: one command, or one turn of an agent, as an ordinary recorded run.

mod ask;
mod contract;
mod show;

use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;

use co_config::Environment;
use co_engine::{RunState, StageRecord};
use co_model::{AttemptExit, RunOutcome, StageId, StageWork};
use co_process::Spawner;
use co_views::{Told, exec_result, to_json};

use crate::args::{Dialect, ExecArguments, Format, Global};
use crate::commands::start;
use crate::context::Context;
use crate::error::{CliError, Exit};
use crate::output::{DIM, Data, Notes, complain, paint, warn};
use crate::signals::listen_for_signals;
use contract::Contract;
use show::{Said, Show};

/// The pipeline, and its one stage.
pub(crate) const EXEC: &str = "exec";
/// The shell's word for a program that does not exist.
const NOT_FOUND: u8 = 127;
/// The shell's word for a program that cannot be executed.
const NOT_EXECUTABLE: u8 = 126;

/// How the run is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Manner {
    /// The output as it comes.
    Plain,
    /// One JSON object at the end.
    Json,
    /// JSON lines.
    Lines(Dialect),
}

/// Executes and gives the exit code: that of what was executed, as far as it has one.
pub(crate) fn exec(
    global: &Global,
    spawner: Option<Spawner>,
    notes: Notes,
    arguments: &ExecArguments,
) -> Result<u8, CliError> {
    let manner = manner(global, arguments)?;
    ask::check(arguments, manner)?;
    let contract = match (&arguments.output_schema, manner) {
        // Codex holds its own model to the schema, and has no exit code for what does not satisfy it.
        (None, _) | (Some(_), Manner::Lines(Dialect::Codex)) => None,
        (Some(path), _) => Some(Contract::read(path)?),
    };
    let context = Context::resolve_in(environment(arguments)?, global, None, notes)?;
    let policy = ask::policy(&context, arguments, manner)?;
    let orchestrator = context.running(spawner)?;
    let request = ask::request(&context, &orchestrator, arguments, manner, policy)?;
    let orchestrator = context.told(orchestrator, &arguments.telemetry)?;
    if let Some(path) = &arguments.output_last_message {
        can_be_written(path).map_err(|error| not_written(path, &error))?;
    }
    start::mend_others(&context, &orchestrator);
    let stage = StageId::new(EXEC).map_err(|error| CliError::of(Exit::Bug, &error))?;

    let handle = orchestrator.start(request)?;
    let stop = listen_for_signals()?;
    let run = handle.run().clone();
    let mut show = Show::new(&context, manner, &orchestrator, &run);
    let shown = show.follow(&handle, &stop);
    let outcome = handle.join();
    for warning in orchestrator.take_warnings() {
        warn(&warning);
    }
    shown?;
    let outcome = outcome?;
    let state = orchestrator.snapshot(&run)?.state;

    let said = show.said(&state, &stage)?;
    let mut exit =
        stop.exit().map_or_else(|| own_exit(&context, &state, &stage, &outcome, manner), |exit| exit as u8);
    let mut told = said.told();
    if let Some(contract) = &contract
        && exit == 0
    {
        match contract.check(said.whole().unwrap_or_default()) {
            Ok(value) => told.structured = Some(value),
            Err(violation) => {
                exit = Exit::RunFailed as u8;
                told.violation = Some(violation);
            }
        }
    }
    if let Some(path) = &arguments.output_last_message {
        let text = if exit == 0 { said.whole().unwrap_or_default() } else { &[] };
        if let Err(error) = std::fs::write(path, text) {
            complain(&not_written(path, &error).to_string(), &[]);
            // What was executed has the first word.
            exit = if exit == 0 { Exit::Setup as u8 } else { exit };
        }
    }
    finish(&context, manner, &state, &stage, exit, told, &said);
    Ok(exit)
}

/// Tries whether a file can be written; one that is there stays as it is.
fn can_be_written(path: &Path) -> io::Result<()> {
    match path.metadata() {
        // Opening a pipe or a device would already mean something to whoever reads it.
        Ok(metadata) if !metadata.is_file() && !metadata.is_dir() => Ok(()),
        _ => File::options().append(true).create(true).open(path).map(drop),
    }
}

fn not_written(path: &Path, error: &io::Error) -> CliError {
    CliError::new(Exit::Setup, format!("failed to write `{}`: {error}", path.display()))
}

fn manner(global: &Global, arguments: &ExecArguments) -> Result<Manner, CliError> {
    match (global.format(), arguments.dialect()) {
        (Format::Json, Some(_)) => Err(CliError::new(Exit::Usage, "--json and --jsonl exclude each other")),
        (_, Some(dialect)) => Ok(Manner::Lines(dialect)),
        (Format::Json, None) => Ok(Manner::Json),
        (Format::Jsonl, None) => Ok(Manner::Lines(Dialect::Events)),
        (Format::Text, None) => Ok(Manner::Plain),
    }
}

/// The process's environment with the directory that the flags say.
fn environment(arguments: &ExecArguments) -> Result<Environment, CliError> {
    let mut environment = Environment::capture();
    if let Some(cwd) = &arguments.cwd {
        let directory = std::fs::canonicalize(cwd).ok().filter(|directory| directory.is_dir());
        let directory = directory.ok_or_else(|| {
            CliError::new(Exit::Usage, format!("`{}` is no directory to work in", cwd.display()))
        })?;
        environment = environment.in_directory(directory);
    }
    Ok(environment)
}

/// The exit code that belongs to what was executed.
fn own_exit(
    context: &Context,
    state: &RunState,
    stage: &StageId,
    outcome: &RunOutcome,
    manner: Manner,
) -> u8 {
    let exit = Exit::of_outcome(outcome);
    let record = state.stage(stage);
    let is_agent = record.is_some_and(|record| matches!(record.definition.work, StageWork::Agent(_)));
    if !matches!(exit, Exit::Done | Exit::RunFailed) || (is_agent && manner != Manner::Lines(Dialect::Codex))
    {
        return exit as u8;
    }
    match record.and_then(StageRecord::last_report).map(|report| &report.exit) {
        // What ended well, and is a failure nevertheless, must not look like a success.
        Some(AttemptExit::Code(0)) | None => exit as u8,
        Some(AttemptExit::Code(code)) => u8::try_from(*code).unwrap_or(u8::MAX),
        Some(AttemptExit::Signal(signal)) => u8::try_from(128 + signal).unwrap_or(u8::MAX),
        Some(AttemptExit::NotStarted { .. }) if is_agent => Exit::Bug as u8,
        Some(AttemptExit::NotStarted { .. }) => {
            let program = record.and_then(|record| ask::program(&record.definition));
            let found = program.is_some_and(|program| ask::exists(context, program));
            if found { NOT_EXECUTABLE } else { NOT_FOUND }
        }
        Some(_) => exit as u8,
    }
}

/// Prints what came of it.
fn finish(
    context: &Context,
    manner: Manner,
    state: &RunState,
    stage: &StageId,
    exit: u8,
    told: Told,
    said: &Said,
) {
    let record = state.stage(stage);
    if let Some(violation) = &told.violation {
        let place = match violation.instance_path.as_str() {
            "" => "the output",
            path => &format!("the output at `{path}`"),
        };
        complain(&format!("{place} does not satisfy the schema: {}", violation.message), &[]);
    } else if let Some(reason) = said.failure(record, exit)
        && (manner != Manner::Plain || context.notes.quiet || matches!(said, Said::Command { .. }))
    {
        // Of an agent's run, people have seen the progress already, with its end.
        complain(&reason, &[]);
    }
    let result = || exec_result(state, &context.layout, stage, exit, told);
    let mut data = Data::exact();
    match manner {
        Manner::Lines(Dialect::Codex) => {}
        Manner::Lines(Dialect::Events) => data.line(&show::result_line(&result())),
        Manner::Json => data.bytes(to_json(&result()).as_bytes()),
        Manner::Plain => {
            if let (Said::Agent { message: Some(message), .. }, true) = (said, exit == 0) {
                data.line(message);
            }
            footer(context, &result());
        }
    }
    data.flush();
}

/// For people: a program that reads standard error gets the command's own and nothing else.
fn footer(context: &Context, result: &co_views::ExecResult) {
    if rustix::termios::isatty(std::io::stderr()) {
        drop(std::io::stdout().flush());
        let seconds = std::time::Duration::from_millis(result.duration_ms).as_secs_f64();
        context.notes.progress(&paint(
            DIM,
            &format!(
                "exit {} after {seconds:.1} s · run {} · {}",
                result.exit_code, result.run.run_id, result.run.manifest
            ),
        ));
    }
}
