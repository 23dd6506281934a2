//! `schema`, `completions` and `man`: what describes the program itself.

use std::fmt::Write as _;

use clap::CommandFactory as _;

use crate::args::{Arguments, CompletionsArguments, ManArguments, SchemaArguments};
use crate::error::{CliError, Exit};
use crate::output::Data;

pub(crate) fn schema(arguments: &SchemaArguments) -> Result<Exit, CliError> {
    let mut data = Data::exact();
    let mut names: Vec<&str> = co_views::SCHEMA_NAMES.to_vec();
    names.push("pipeline");
    names.sort_unstable();
    match arguments.name.as_deref() {
        None => names.iter().for_each(|name| data.line(name)),
        Some(name) => {
            let schema =
                if name == "pipeline" { Some(co_config::pipeline_schema()) } else { co_views::schema(name) };
            let schema = schema.ok_or_else(|| {
                CliError::new(Exit::Usage, format!("there is no schema `{name}`"))
                    .hint(format!("known: {}", names.join(", ")))
            })?;
            data.line(&format!("{schema:#}"));
        }
    }
    data.flush();
    Ok(Exit::Done)
}

pub(crate) fn completions(arguments: &CompletionsArguments) -> Exit {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut Arguments::command(), "codex-orchestrator", &mut script);
    let mut data = Data::exact();
    data.bytes(&script);
    data.flush();
    Exit::Done
}

pub(crate) fn man(arguments: &ManArguments) -> Result<Exit, CliError> {
    let failed =
        |error: std::io::Error| CliError::new(Exit::Setup, format!("failed to write the manual: {error}"));
    let mut data = Data::exact();
    match &arguments.directory {
        Some(directory) => {
            std::fs::create_dir_all(directory).map_err(failed)?;
            clap_mangen::generate_to(Arguments::command(), directory).map_err(failed)?;
        }
        None if arguments.markdown => data.bytes(markdown().as_bytes()),
        None => {
            let mut page = Vec::new();
            clap_mangen::Man::new(Arguments::command()).render(&mut page).map_err(failed)?;
            data.bytes(&page);
        }
    }
    data.flush();
    Ok(Exit::Done)
}

/// The whole command line as one Markdown document.
fn markdown() -> String {
    let mut text = String::from(
        "# Command line\n\nGenerated from the program's own help by `cargo xtask codegen`; do not edit.\n",
    );
    let mut command = Arguments::command().term_width(100);
    command.build();
    section(&mut text, &mut command);
    sections(&mut text, &command);
    text
}

fn sections(text: &mut String, command: &clap::Command) {
    for sub in command.get_subcommands().filter(|sub| sub.get_name() != "help") {
        section(text, &mut sub.clone());
        sections(text, sub);
    }
}

fn section(text: &mut String, command: &mut clap::Command) {
    let name = command.get_bin_name().unwrap_or(command.get_name()).to_owned();
    let help = command.render_long_help().to_string();
    let help: Vec<&str> = help.lines().map(str::trim_end).collect();
    // Writing into a string cannot fail.
    let _ = write!(text, "\n## `{name}`\n\n```text\n{}\n```\n", help.join("\n").trim_end());
}
