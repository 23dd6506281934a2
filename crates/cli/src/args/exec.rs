//! The command line of `exec`, with the options of `codex exec` that its SDK passes.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};

use super::interval;
use crate::policy::PolicyOptions;
use crate::telemetry::TelemetryOptions;

const AFTER_HELP: &str = "\
Examples:
  codex-orchestrator exec -- npm test                     run a command, recorded, with its exit code
  codex-orchestrator exec --json -- make | jq .exit_code
  codex-orchestrator exec --agent codex \"Fix the typo in README.md\"
  git diff | codex-orchestrator exec --agent claude -     read the prompt from standard input
  codex-orchestrator exec --agent codex --output-schema answer.json \"List the endpoints\"
  codex-orchestrator exec resume <RUN> \"Now write a test for it\"

The exit code is the command's own: 127 when it was not found, 128 + n after signal n. An agent that
failed, or an output that does not satisfy its schema, gives 10; a time-out 12; a refusal 11.";

/// What is executed, how, and what is shown of it.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct ExecArguments {
    #[command(subcommand)]
    pub(crate) verb: Option<ExecVerb>,
    /// The command and its arguments; with --agent the prompt, `-` or nothing reads it from
    /// standard input
    #[arg(trailing_var_arg = true, value_name = "COMMAND")]
    pub(crate) words: Vec<OsString>,
    /// Give this agent a prompt instead of running a command
    #[arg(long, value_name = "AGENT")]
    pub(crate) agent: Option<String>,
    /// The model of the agent
    #[arg(long, short, value_name = "MODEL")]
    pub(crate) model: Option<String>,
    /// Events and output as JSON lines, the result as the last one; with `=codex` the lines that
    /// Codex itself prints
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "events", value_enum,
          value_name = "DIALECT")]
    pub(crate) jsonl: Option<Dialect>,
    /// The same as --jsonl=codex
    #[arg(long, hide = true, conflicts_with = "jsonl")]
    pub(crate) experimental_json: bool,
    /// A JSON Schema (2020-12) for the agent's last message, or the command's output, as JSON
    #[arg(long, value_name = "FILE")]
    pub(crate) output_schema: Option<PathBuf>,
    /// Write the agent's last message, or the command's output, to this file; empty after a failure
    #[arg(long, short, value_name = "FILE")]
    pub(crate) output_last_message: Option<PathBuf>,
    /// Write in the workspace and ask when more is wanted, without --widen too; a policy of `never`
    /// stays
    #[arg(long, conflicts_with = "sandbox")]
    pub(crate) full_auto: bool,
    #[command(flatten)]
    pub(crate) policy: PolicyOptions,
    /// The directory to work in
    #[arg(long, short = 'C', visible_alias = "cd", value_name = "DIR")]
    pub(crate) cwd: Option<PathBuf>,
    /// The longest time it may take: seconds, or a duration such as `10m`
    #[arg(long, value_name = "TIME", value_parser = interval)]
    pub(crate) timeout: Option<Duration>,
    #[command(flatten)]
    pub(crate) telemetry: TelemetryOptions,
    #[command(flatten)]
    pub(crate) codex: CodexOptions,
}

impl ExecArguments {
    /// What is written to standard output as JSON lines.
    pub(crate) fn dialect(&self) -> Option<Dialect> {
        if self.experimental_json { Some(Dialect::Codex) } else { self.jsonl }
    }
}

/// Whose JSON lines are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Dialect {
    /// Ours: the run's events.
    Events,
    /// Codex's own, as its agent prints them.
    Codex,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ExecVerb {
    /// Go on with the conversation of an earlier run, or of an agent's thread
    Resume(ExecResumeArguments),
}

#[derive(Debug, Args)]
pub(crate) struct ExecResumeArguments {
    /// The run, or the thread in the agent's own words
    #[arg(value_name = "RUN|THREAD")]
    pub(crate) id: String,
    /// What to say next; `-` or nothing reads it from standard input
    pub(crate) prompt: Option<String>,
    /// An image for the prompt; may be repeated
    #[arg(long = "image", short = 'i', hide = true, value_name = "FILE")]
    pub(crate) images: Vec<String>,
}

/// Options of `codex exec` that are passed on as they are.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Passed on to Codex")]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own on the command line")]
pub(crate) struct CodexOptions {
    /// A setting of Codex; may be repeated
    #[arg(long, short = 'c', value_name = "KEY=VALUE")]
    pub(crate) config: Vec<String>,
    /// A further folder that the agent may write
    #[arg(long, value_name = "DIR")]
    pub(crate) add_dir: Vec<String>,
    /// An image for the prompt
    #[arg(long = "image", short = 'i', value_name = "FILE")]
    pub(crate) images: Vec<String>,
    /// Work outside of a git repository too
    #[arg(long)]
    pub(crate) skip_git_repo_check: bool,
    /// Leave no session behind
    #[arg(long)]
    pub(crate) ephemeral: bool,
    /// Turn a feature on
    #[arg(long, value_name = "FEATURE", hide = true)]
    pub(crate) enable: Vec<String>,
    /// Turn a feature off
    #[arg(long, value_name = "FEATURE", hide = true)]
    pub(crate) disable: Vec<String>,
    #[arg(long, hide = true)]
    pub(crate) ignore_user_config: bool,
    #[arg(long, hide = true)]
    pub(crate) ignore_rules: bool,
    #[arg(long, hide = true)]
    pub(crate) strict_config: bool,
    #[arg(long, value_name = "SOURCE", hide = true)]
    pub(crate) thread_source: Option<String>,
    #[arg(long, value_name = "PROGRAM", hide = true)]
    pub(crate) cyber_access_program: Option<String>,
}

impl CodexOptions {
    /// The options as Codex takes them; each value is attached, so that none swallows what follows.
    pub(crate) fn words(&self) -> Vec<String> {
        let many = [
            ("config", &self.config),
            ("add-dir", &self.add_dir),
            ("enable", &self.enable),
            ("disable", &self.disable),
            ("image", &self.images),
        ];
        let one =
            [("thread-source", &self.thread_source), ("cyber-access-program", &self.cyber_access_program)];
        let flags = [
            ("skip-git-repo-check", self.skip_git_repo_check),
            ("ephemeral", self.ephemeral),
            ("ignore-user-config", self.ignore_user_config),
            ("ignore-rules", self.ignore_rules),
            ("strict-config", self.strict_config),
        ];
        let many = many.into_iter().flat_map(|(name, values)| values.iter().map(move |value| (name, value)));
        let one = one.into_iter().filter_map(|(name, value)| Some((name, value.as_ref()?)));
        let valued = many.chain(one).map(|(name, value)| format!("--{name}={value}"));
        let set = flags.into_iter().filter(|(_, set)| *set).map(|(name, _)| format!("--{name}"));
        valued.chain(set).collect()
    }
}
