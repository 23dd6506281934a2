//! The command line of `session`.

use std::time::Duration;

use clap::{Args, Subcommand};

use crate::args::interval;
use crate::policy::PolicyOptions;

const START_HELP: &str = "\
Examples:
  codex-orchestrator session start --name dev -- bash
  codex-orchestrator session start --name repl --tty -- python3 -q
  codex-orchestrator session run dev 'export STAGE=test; cd crates'
  codex-orchestrator session run dev 'pwd; echo $STAGE'";

const RUN_HELP: &str = "\
Examples:
  codex-orchestrator session run dev 'cd crates && cargo test' --timeout 10m
  codex-orchestrator session run dev - < setup.sh

The exit code is the script's; 12 when it ran past its time-out, 4 when there is no such session.";

/// What is done with sessions.
#[derive(Debug, Subcommand)]
pub(crate) enum SessionCommand {
    /// Start a shell or another program that stays
    #[command(after_help = START_HELP)]
    Start(StartArguments),
    /// Give a program something to read, and show what it writes
    Write(WriteArguments),
    /// Wait for what a program writes
    Poll(PollArguments),
    /// Run a script inside a session's shell; what it sets stays set
    #[command(after_help = RUN_HELP)]
    Run(RunArguments),
    /// Connect this terminal with a session; Ctrl-] detaches (Ctrl-D from one without a terminal)
    Attach(AttachArguments),
    /// Give a session's terminal another size
    Resize(ResizeArguments),
    /// Send a signal to what runs in a session
    Signal(SignalArguments),
    /// End a program's input
    Close(NameArguments),
    /// End a session and everything it started
    Kill(KillArguments),
    /// List sessions, also those that have ended
    List,
    /// Print what happened in a session, one JSON event a line
    Events(NameArguments),
    /// Forget sessions that have ended, with their logs
    Prune,
    /// Keep the sessions of this repository and user
    #[command(hide = true)]
    Host,
}

#[derive(Debug, Args)]
pub(crate) struct StartArguments {
    /// Its name: letters, digits, `.`, `_` and `-`; one is drawn and printed when none is given
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// Give it a terminal
    #[arg(long)]
    pub(crate) tty: bool,
    /// Height of the terminal in characters
    #[arg(long, value_name = "N", requires = "tty", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) rows: Option<u16>,
    /// Width of the terminal in characters
    #[arg(long, value_name = "N", requires = "tty", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) columns: Option<u16>,
    /// Where it runs; the current directory by default
    #[arg(long, value_name = "DIR")]
    pub(crate) cwd: Option<String>,
    #[command(flatten)]
    pub(crate) listen: ListenArguments,
    #[command(flatten)]
    pub(crate) policy: PolicyOptions,
    /// The program and its arguments
    #[arg(last = true, required = true, value_name = "CMD")]
    pub(crate) command: Vec<String>,
}

/// How to wait for output, and how much of it to show.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct ListenArguments {
    /// Wait this long for output, in milliseconds; by default until there is some, but not for long
    #[arg(long = "yield", value_name = "MS")]
    pub(crate) yield_ms: Option<u64>,
    /// Show at most so many tokens of output, at four bytes each; 10000 by default
    #[arg(long, value_name = "N")]
    pub(crate) max_output_tokens: Option<usize>,
}

#[derive(Debug, Args)]
pub(crate) struct WriteArguments {
    /// The session
    pub(crate) name: String,
    /// What it is given; standard input when left out
    #[arg(long, value_name = "TEXT")]
    pub(crate) text: Option<String>,
    /// End it with a line end
    #[arg(long)]
    pub(crate) enter: bool,
    #[command(flatten)]
    pub(crate) listen: ListenArguments,
    #[command(flatten)]
    pub(crate) policy: PolicyOptions,
}

#[derive(Debug, Args)]
pub(crate) struct PollArguments {
    /// The session
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) listen: ListenArguments,
}

#[derive(Debug, Args)]
pub(crate) struct RunArguments {
    /// The session
    pub(crate) name: String,
    /// The script; `-` reads it from standard input
    pub(crate) script: String,
    /// The longest it may run: seconds, or a duration such as `10m`
    #[arg(long, value_name = "TIME", value_parser = interval)]
    pub(crate) timeout: Option<Duration>,
    /// Show at most so many tokens of output, at four bytes each; 10000 by default
    #[arg(long, value_name = "N")]
    pub(crate) max_output_tokens: Option<usize>,
    #[command(flatten)]
    pub(crate) policy: PolicyOptions,
}

#[derive(Debug, Args)]
pub(crate) struct AttachArguments {
    /// The session
    pub(crate) name: String,
    /// How many bytes of its latest output to show first
    #[arg(long, value_name = "BYTES", default_value_t = 4096)]
    pub(crate) replay: u64,
    #[command(flatten)]
    pub(crate) policy: PolicyOptions,
}

#[derive(Debug, Args)]
pub(crate) struct ResizeArguments {
    /// The session
    pub(crate) name: String,
    /// Height in characters
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) rows: u16,
    /// Width in characters
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) columns: u16,
}

#[derive(Debug, Args)]
pub(crate) struct SignalArguments {
    /// The session
    pub(crate) name: String,
    /// INT, QUIT, TERM, KILL, HUP, USR1, USR2, TSTP, CONT or WINCH
    pub(crate) signal: String,
}

#[derive(Debug, Args)]
pub(crate) struct NameArguments {
    /// The session
    pub(crate) name: String,
}

#[derive(Debug, Args)]
pub(crate) struct KillArguments {
    /// The session
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    pub(crate) name: Option<String>,
    /// End every session of this repository and user
    #[arg(long)]
    pub(crate) all: bool,
}
