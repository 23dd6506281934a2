//! The command line of the developer tasks.

use std::error::Error;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use xtask::codegen::Mode;
use xtask::console::say_error;
use xtask::program::Program;
use xtask::{check, codegen, real_projects, test, workspace_root};

/// The one door for developers, the same at home and in CI.
#[derive(Parser)]
#[command(bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Judge the tree: tidy rules, formatting, licences, lints, documentation, generated files.
    Check,
    /// Install what the tests need, then run them all.
    Test {
        /// Passed on to `cargo nextest run`.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Write the generated files anew.
    Codegen {
        /// Only say whether they are up to date.
        #[arg(long)]
        check: bool,
    },
    /// Run the built-in pipeline in projects from the package registries and compare.
    RealProjects,
    /// Measure speed and memory against the bars and write docs/benchmarks.md.
    Bench {
        /// Passed on to the benchmark program; `--help` lists them.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
}

fn main() -> ExitCode {
    match run(Arguments::parse().task) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say_error(&*error);
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> Result<(), Box<dyn Error>> {
    match task {
        Task::Check => check::run()?,
        Task::Test { arguments } => test::run(&arguments)?,
        Task::Codegen { check } => {
            codegen::run(&workspace_root(), if check { Mode::Check } else { Mode::Write })?;
        }
        Task::RealProjects => real_projects::run()?,
        Task::Bench { arguments } => {
            // A package of its own, so that the other tasks do not wait for a database to compile.
            Program::cargo()
                .args(["run", "--release", "--package", "xtask-bench", "--"])
                .args(arguments)
                .directory(&workspace_root())
                .run()?;
        }
    }
    Ok(())
}
