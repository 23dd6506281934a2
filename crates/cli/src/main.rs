//! The command line of Codex Orchestrator: parse, submit a command, show a view.
//!
//! Standard output carries data only; progress, warnings and errors go to standard error. This
//! room never touches the store or a process: it asks `co-runtime`.

mod args;
mod bound;
mod commands;
mod context;
mod error;
mod output;
mod policy;
mod privacy;
mod progress;
mod prompt;
mod screen;
mod signals;
mod telemetry;

use std::process::ExitCode;

use clap::Parser as _;
use clap::error::ErrorKind;
use co_process::{Entry, Spawner};

use args::{
    AgentsCommand, ApprovalsCommand, Arguments, Command, ConfigCommand, DoctorArguments, DoctorCheck,
    InstructionsCommand, McpCommand,
};
use commands::session::SessionCommand;
use context::Context;
use error::{CliError, Exit};
use output::Notes;

fn main() -> ExitCode {
    // The stages of a sandbox are this program again; nothing of ours may have begun there.
    if let Some(code) = co_sandbox::inner::enter(std::env::args_os()) {
        return code;
    }
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return usage(&error),
    };
    let spawner = match &arguments.command {
        Command::Start(_) | Command::Resume(_) | Command::Retry(_) | Command::Exec(_) => {
            match fork_spawner() {
                Ok(spawner) => Some(spawner),
                Err(error) => return failed(&error),
            }
        }
        Command::Mcp(McpCommand::Own) | Command::Session(SessionCommand::Host) => {
            match commands::mcp::on_our_own() {
                Ok(spawner) => Some(spawner),
                Err(error) => return failed(&error),
            }
        }
        _ => None,
    };
    let notes = Notes { quiet: arguments.global.quiet };
    // The exit code of these two may be that of a program.
    let arguments = match arguments {
        Arguments { global, command: Command::Exec(exec) } => {
            return by_itself(commands::exec::exec(&global, spawner, notes, &exec));
        }
        Arguments { global, command: Command::Session(command) } => {
            return by_itself(commands::session::session(&global, command, spawner, notes));
        }
        arguments => arguments,
    };
    match run(arguments, spawner, notes) {
        Ok(exit) => code(exit),
        Err(error) => failed(&error),
    }
}

/// Forks what starts every program, before any thread exists: what it starts is contained even when we are killed.
fn fork_spawner() -> Result<Spawner, CliError> {
    // The first stage of a sandbox is this program again: forked already, it need not be executed.
    let sandbox = Entry { word: co_sandbox::inner::ENTRY, run: co_sandbox::inner::enter_forked };
    Spawner::fork_with(sandbox).map_err(|error| CliError::of(Exit::Setup, &error))
}

fn run(arguments: Arguments, spawner: Option<Spawner>, notes: Notes) -> Result<Exit, CliError> {
    let Arguments { global, command } = arguments;
    let format = global.format();
    match command {
        Command::Schema(arguments) => return commands::reference::schema(&arguments),
        Command::Completions(arguments) => return Ok(commands::reference::completions(&arguments)),
        Command::Man(arguments) => return commands::reference::man(&arguments),
        Command::Mcp(McpCommand::Own) => return commands::mcp::own(&global, spawner, notes),
        _ => {}
    }
    let target = match &command {
        Command::Start(start) => start.options.target.clone(),
        Command::Plan(plan) => plan.options.target.clone(),
        _ => None,
    };
    let context = Context::resolve(&global, target, notes)?;
    match command {
        Command::Start(arguments) => commands::start::start(&context, spawner, &arguments),
        Command::Resume(arguments) => commands::resume::resume(&context, spawner, arguments),
        Command::Retry(arguments) => commands::resume::retry(&context, spawner, &arguments),
        Command::Plan(arguments) => commands::plan::plan(&context, &arguments),
        Command::Status(arguments) => commands::status::status(&context, &arguments),
        Command::Runs(arguments) => commands::runs::runs(&context, arguments),
        Command::Logs(arguments) => commands::logs::logs(&context, &arguments),
        Command::Cancel(arguments) => commands::ask::cancel(&context, &arguments),
        Command::Answer(arguments) => commands::ask::answer(&context, arguments),
        Command::Steer(arguments) => commands::ask::steer(&context, arguments),
        Command::Recover(arguments) => commands::mend::recover(&context, &arguments),
        Command::Rebuild(arguments) => commands::mend::rebuild(&context, &arguments),
        Command::Init(arguments) => commands::init::init(&context, &arguments),
        Command::Doctor(DoctorArguments { check: None }) => Ok(commands::doctor::doctor(&context)),
        Command::Doctor(DoctorArguments { check: Some(DoctorCheck::Sandbox { accept_weaker }) }) => {
            commands::doctor::sandbox::doctor_sandbox(&context, accept_weaker)
        }
        Command::Approvals(command) => match command {
            ApprovalsCommand::Questions { run } => commands::approvals::questions(&context, run.as_ref()),
            ApprovalsCommand::Answer(arguments) => commands::ask::answer(&context, arguments),
            ApprovalsCommand::List(arguments) => commands::approvals::list(&context, &arguments),
            ApprovalsCommand::Show { grant } => commands::approvals::show(&context, &grant),
            ApprovalsCommand::Revoke { grant } => commands::approvals::revoke(&context, &grant),
            ApprovalsCommand::Export => commands::approvals::export(&context),
        },
        Command::Agents(AgentsCommand::List) => Ok(commands::agents::list(&context)),
        Command::Agents(AgentsCommand::Check(arguments)) => commands::agents::check(&context, &arguments),
        Command::Instructions(InstructionsCommand::Show(arguments)) => {
            commands::instructions::show(&context, &arguments)
        }
        Command::Config(ConfigCommand::Explain) => commands::init::explain(&context),
        Command::Mcp(McpCommand::Serve(arguments)) => commands::mcp::serve(context, &arguments),
        Command::Mcp(McpCommand::Start(arguments)) => commands::mcp::start(&context, arguments),
        Command::Mcp(McpCommand::Poll(arguments)) => commands::mcp::poll(&context, &arguments),
        Command::Mcp(McpCommand::Tools(arguments)) => commands::mcp::tools(&context, &arguments),
        Command::Mcp(McpCommand::Call(arguments)) => commands::mcp::call(&context, arguments),
        Command::Mcp(McpCommand::Bridge(arguments)) => commands::mcp::bridge(&context, &arguments),
        Command::Exec(_)
        | Command::Session(_)
        | Command::Schema(_)
        | Command::Completions(_)
        | Command::Man(_)
        | Command::Mcp(McpCommand::Own) => {
            Err(CliError::new(Exit::Bug, format!("the command was taken before (format {format:?})")))
        }
    }
}

fn by_itself(outcome: Result<u8, CliError>) -> ExitCode {
    match outcome {
        Ok(code) => ended(code),
        Err(error) => failed(&error),
    }
}

fn usage(error: &clap::Error) -> ExitCode {
    let printed = error.print();
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            output::is_delivered(printed);
            code(Exit::Done)
        }
        _ => code(Exit::Usage),
    }
}

fn failed(error: &CliError) -> ExitCode {
    output::complain(&error.to_string(), error.hints());
    code(error.exit)
}

fn code(exit: Exit) -> ExitCode {
    ended(exit as u8)
}

/// The last word: nothing that succeeded otherwise is a success when its output is lost.
fn ended(code: u8) -> ExitCode {
    let Some(error) = output::undelivered() else { return ExitCode::from(code) };
    output::complain(&format!("standard output cannot be written: {error}"), &[]);
    ExitCode::from(if code == Exit::Done as u8 { Exit::Setup as u8 } else { code })
}
