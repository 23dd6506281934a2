//! Measures the product beside its peers and the raw floor, in one run, and says by what factor.
//!
//! Machines are noisy, so contestants take turns and medians are compared. Everything happens in
//! temporary folders and without network, once the peers are installed.

mod contestant;
mod place;
mod processes;
mod report;
mod rows;
mod sample;

use std::error::Error;
use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use xtask::console::{say, say_error};
use xtask::workspace_root;

use crate::contestant::Product;
use crate::report::{Report, Row};

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Measures speed and memory against the bars and writes docs/benchmarks.md.
#[derive(Parser)]
#[command(bin_name = "cargo xtask bench")]
struct Arguments {
    /// Measure only these; the result is shown, and the document is left alone.
    #[arg(long, value_enum, value_name = "WHAT")]
    only: Vec<What>,
    /// How often contestants take turns; rows of gigabytes do a third of it.
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u16).range(3..))]
    rounds: u16,
}

/// What can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum What {
    /// `--version`, and `status` of one run among 10,000.
    StartUp,
    /// A whole command with one trivial stage, beside the npm peer and `just`.
    OneStage,
    /// What each further stage costs over its process and its commits.
    FurtherStages,
    /// A gigabyte of a stage's output: throughput and memory.
    Output,
    /// Appends beside raw SQLite, and the replay of 100,000 events.
    EventLog,
    /// What it costs that a command is weighed, looked up, confined and recorded; `exec` beside the npm peer.
    Calls,
    /// Memory of 200 runs at once.
    ManyRuns,
    /// A line through a live session and back.
    Session,
}

impl What {
    fn measure(self, product: &Product, rounds: usize) -> Outcome<Vec<Row>> {
        match self {
            Self::StartUp => rows::start_up::measure(product, rounds),
            Self::OneStage => rows::one_stage::measure(product, rounds),
            Self::FurtherStages => rows::further_stages::measure(product, rounds),
            Self::Output => rows::output::measure(product, rounds.div_ceil(3)),
            Self::EventLog => rows::event_log::measure(rounds),
            Self::Calls => rows::calls::measure(product, rounds),
            Self::ManyRuns => rows::many_runs::measure(product),
            Self::Session => rows::session::measure(product, rounds),
        }
    }
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => {
            say("error: not everything could be measured");
            ExitCode::FAILURE
        }
        Err(error) => {
            say_error(&*error);
            ExitCode::FAILURE
        }
    }
}

/// Measures, shows and writes; says whether everything could be measured.
fn run(arguments: &Arguments) -> Outcome<bool> {
    let root = workspace_root();
    let product = Product::build(&root)?;
    let all = What::value_variants();
    let wanted = if arguments.only.is_empty() { all } else { &arguments.only };
    let mut report = Report::default();
    for what in wanted {
        say(&format!("== {}", name(*what)));
        let rows = what.measure(&product, usize::from(arguments.rounds)).unwrap_or_else(|error| {
            say_error(&*error);
            vec![Row::not_measured(name(*what), &*error)]
        });
        for row in rows {
            say(&row.to_string());
            report.rows.push(row);
        }
    }
    if arguments.only.is_empty() {
        let path = root.join("docs/benchmarks.md");
        std::fs::create_dir_all(root.join("docs"))?;
        std::fs::write(&path, report.render()?)?;
        say(&format!("wrote {}", path.display()));
    }
    Ok(report.is_complete())
}

fn name(what: What) -> String {
    what.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
}
