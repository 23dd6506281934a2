//! The command line as it is typed. What it means is resolved elsewhere.

mod exec;

pub(crate) use exec::{Dialect, ExecArguments, ExecVerb};

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::commands::approvals::ListArguments;
use crate::policy::PolicyOptions;
use clap::{Args, Parser, Subcommand, ValueEnum};
use co_model::{DurationText, ExecutionMode, RunId, RunStatus, StageId};

use crate::commands::session::SessionCommand;
use crate::telemetry::TelemetryOptions;

const AFTER_HELP: &str = "\
Examples:
  codex-orchestrator start                         run the default pipeline of this repository
  codex-orchestrator start diagnostics --format json | jq -r .manifest
  codex-orchestrator start --target test           run one stage and what it declares to need
  codex-orchestrator status --watch                follow the newest run of the task
  codex-orchestrator logs --run <RUN> --stage test -f
  codex-orchestrator resume --run <RUN>            continue where it stopped
  codex-orchestrator start --notify https://example.org/hook --otel-endpoint http://localhost:4318

Exit codes: 0 done · 1 a bug of ours · 2 usage · 3 setup · 4 not found · 10 run failed ·
11 refused or denied · 12 timed out · 13 event log unusable · 14 cancelled · 15 interrupted ·
130 stopped by Ctrl-C · 143 stopped by SIGTERM or SIGHUP";

const MCP_CALL_HELP: &str = "\
Examples:
  codex-orchestrator mcp tools                     what the servers of your Codex settings have
  codex-orchestrator mcp call files read --arguments '{\"path\": \"README.md\"}'
  echo '{\"path\": \"README.md\"}' | codex-orchestrator mcp call files read --arguments - --json

The tool's texts go to standard output; with --json the whole answer. A tool that says that it failed gives
exit code 10, one that does not answer in time 12, arguments that do not fit its schema 2.";

/// Runs coding agents and commands through declared pipelines, and proves afterwards what happened.
#[derive(Debug, Parser)]
#[command(name = "codex-orchestrator", version, about, after_help = AFTER_HELP, propagate_version = true)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options that every command takes.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// The repository. By default the nearest folder with pipelines or recorded runs, from the
    /// current directory up to the top of its git repository; else the current directory
    /// [env: CODEX_ORCHESTRATOR_ROOT]
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) root: Option<OsString>,
    /// Where runs are recorded; `.runs` by default [env: CODEX_ORCHESTRATOR_RUNS_DIR]
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) runs_dir: Option<OsString>,
    /// Where summaries for people go; `out` by default [env: CODEX_ORCHESTRATOR_OUT_DIR]
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) out_dir: Option<OsString>,
    /// The task that runs are filed under; `local` by default [env: MCP_RUNNER_TASK_ID]
    #[arg(long, global = true, value_name = "ID")]
    pub(crate) task: Option<OsString>,
    /// Who is asking, for the record [env: CODEX_ORCHESTRATOR_ACTOR]
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) actor: Option<OsString>,
    /// What to write to standard output
    #[arg(long, global = true, value_enum, value_name = "FORMAT")]
    pub(crate) format: Option<Format>,
    /// The same as `--format json`
    #[arg(long, global = true, conflicts_with = "format")]
    pub(crate) json: bool,
    /// Write no progress to standard error
    #[arg(long, short, global = true)]
    pub(crate) quiet: bool,
}

impl Global {
    pub(crate) fn format(&self) -> Format {
        if self.json { Format::Json } else { self.format.unwrap_or(Format::Text) }
    }
}

/// What is written to standard output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Text,
    /// One JSON document.
    Json,
    /// One JSON object a line, as it happens.
    Jsonl,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Start a run of a pipeline
    Start(StartArguments),
    /// Run one command, or one turn of an agent, as a recorded run
    Exec(Box<ExecArguments>),
    /// Show what a run would do, without starting one
    Plan(PlanArguments),
    /// Show where a run stands
    Status(StatusArguments),
    /// List runs
    Runs(RunsArguments),
    /// Show the output of a run's stages, or its events
    Logs(LogsArguments),
    /// Let an interrupted, failed or cancelled run go on
    Resume(ResumeArguments),
    /// Start a fresh run like an earlier one
    Retry(RetryArguments),
    /// Stop a run and everything it started
    Cancel(CancelArguments),
    /// Answer the open question of a gate
    Answer(AnswerArguments),
    /// Give a working agent a further message
    Steer(SteerArguments),
    /// Mend runs whose owner is gone
    Recover(RecoverArguments),
    /// Write manifests, metrics and summaries anew from the event log
    Rebuild(RebuildArguments),
    /// Write a starting `codex.orchestrator.json`
    Init(InitArguments),
    /// See the questions that wait, and the consents people have given
    #[command(subcommand)]
    Approvals(ApprovalsCommand),
    /// Check this machine and this repository
    Doctor(DoctorArguments),
    /// Serve MCP clients, and long sessions that no client's time-out ends
    #[command(subcommand)]
    Mcp(McpCommand),
    /// Keep shells and programs alive between commands
    #[command(subcommand)]
    Session(SessionCommand),
    /// Show the coding agents that this machine has
    #[command(subcommand)]
    Agents(AgentsCommand),
    /// Show what an agent would be told before its prompt
    #[command(subcommand)]
    Instructions(InstructionsCommand),
    /// Show the settings and where each came from
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Print a JSON Schema
    Schema(SchemaArguments),
    /// Print a completion script for a shell
    Completions(CompletionsArguments),
    /// Print the manual page, or write all of them
    Man(ManArguments),
}

/// What a run is started with.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct RunOptions {
    /// Run only this stage and the stages it declares to need [env: CODEX_ORCHESTRATOR_TARGET_STAGE]
    #[arg(long, alias = "target-stage", value_name = "STAGE")]
    pub(crate) target: Option<OsString>,
    /// Where stages are to be executed that do not say so themselves
    #[arg(long, value_parser = execution_mode, value_name = "mcp|cloud")]
    pub(crate) execution_mode: Option<ExecutionMode>,
    /// The task asks for parallel execution
    #[arg(long)]
    pub(crate) parallel: bool,
}

/// Whether and how the run is shown while it is under way.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct HudOptions {
    /// Open the HUD
    #[arg(long, visible_alias = "ui", overrides_with = "no_interactive")]
    pub(crate) interactive: bool,
    /// Never open the HUD
    #[arg(long, overrides_with = "interactive")]
    pub(crate) no_interactive: bool,
}

#[derive(Debug, Default, Args)]
pub(crate) struct StartArguments {
    /// The pipeline; the default one when none is named
    pub(crate) pipeline: Option<String>,
    #[command(flatten)]
    pub(crate) options: RunOptions,
    #[command(flatten)]
    pub(crate) hud: HudOptions,
    #[command(flatten)]
    pub(crate) telemetry: TelemetryOptions,
    /// What the task is, for prompts
    #[arg(long, value_name = "TEXT")]
    pub(crate) description: Option<String>,
    /// The run this one belongs with; it must exist
    #[arg(long, value_name = "RUN")]
    pub(crate) parent_run: Option<RunId>,
    #[command(flatten)]
    pub(crate) policy: PolicyOptions,
    /// Run in a git worktree of its own; removed after success unless something would be lost
    #[arg(long)]
    pub(crate) worktree: bool,
}

#[derive(Debug, Args)]
pub(crate) struct PlanArguments {
    /// The pipeline; the default one when none is named
    pub(crate) pipeline: Option<String>,
    #[command(flatten)]
    pub(crate) options: RunOptions,
}

#[derive(Debug, Args)]
pub(crate) struct StatusArguments {
    /// The run; the newest of the task when none is named
    #[arg(long, value_name = "RUN")]
    pub(crate) run: Option<RunId>,
    /// Keep showing changes until the run is over; a run that failed gives a failing exit code
    #[arg(long, short)]
    pub(crate) watch: bool,
    /// Longest time between two looks: seconds, or a duration such as `500ms`
    #[arg(long, value_name = "TIME", default_value = "10", value_parser = interval)]
    pub(crate) interval: Duration,
}

#[derive(Debug, Args)]
pub(crate) struct RunsArguments {
    /// Only runs in this state; may be repeated
    #[arg(long, value_parser = run_status, value_name = "STATUS")]
    pub(crate) status: Vec<RunStatus>,
    /// Only runs of this pipeline
    #[arg(long, value_name = "PIPELINE")]
    pub(crate) pipeline: Option<co_model::PipelineId>,
    /// Only children of this run
    #[arg(long, value_name = "RUN")]
    pub(crate) parent_run: Option<RunId>,
    /// Runs of every task, not only of one
    #[arg(long, short)]
    pub(crate) all: bool,
    /// At most so many
    #[arg(long, short = 'n', default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) limit: u32,
    /// Only runs older than this one, for paging
    #[arg(long, value_name = "RUN")]
    pub(crate) before: Option<RunId>,
}

#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own on the command line")]
pub(crate) struct LogsArguments {
    /// The run; the newest of the task when none is named
    #[arg(long, value_name = "RUN")]
    pub(crate) run: Option<RunId>,
    /// Only this stage
    #[arg(long, value_name = "STAGE")]
    pub(crate) stage: Option<StageId>,
    /// Only this attempt of the stage; the last one by default
    #[arg(long, value_name = "N", requires = "stage")]
    pub(crate) attempt: Option<u32>,
    /// Keep showing output until the run is over
    #[arg(long, short)]
    pub(crate) follow: bool,
    /// The exact bytes of standard output, nothing else
    #[arg(long)]
    pub(crate) raw: bool,
    /// Standard error instead of standard output (with `--raw`), or only it
    #[arg(long)]
    pub(crate) stderr: bool,
    /// The run's events instead of its output
    #[arg(long, conflicts_with_all = ["raw", "stderr", "stage"])]
    pub(crate) events: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ResumeArguments {
    /// The run
    #[arg(long, value_name = "RUN")]
    pub(crate) run: RunId,
    /// The run's resume token; `-` reads it from standard input
    /// [env: CODEX_ORCHESTRATOR_RESUME_TOKEN]
    #[arg(long, value_name = "TOKEN")]
    pub(crate) token: Option<String>,
    /// Why, for the record
    #[arg(long, value_name = "TEXT", default_value = "manual-resume")]
    pub(crate) reason: String,
    /// Go on with the pipeline as it was recorded, not as it is now
    #[arg(long)]
    pub(crate) recorded_pipeline: bool,
    #[command(flatten)]
    pub(crate) policy: PolicyOptions,
    #[command(flatten)]
    pub(crate) hud: HudOptions,
    #[command(flatten)]
    pub(crate) telemetry: TelemetryOptions,
}

#[derive(Debug, Args)]
pub(crate) struct RetryArguments {
    /// The run to repeat
    #[arg(long, value_name = "RUN")]
    pub(crate) run: RunId,
    #[command(flatten)]
    pub(crate) hud: HudOptions,
    #[command(flatten)]
    pub(crate) telemetry: TelemetryOptions,
}

#[derive(Debug, Args)]
pub(crate) struct CancelArguments {
    /// The run
    #[arg(long, value_name = "RUN")]
    pub(crate) run: RunId,
    /// Why, for the record
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
    /// Return as soon as the request is recorded, not when the run has ended
    #[arg(long)]
    pub(crate) no_wait: bool,
}

#[derive(Debug, Args)]
pub(crate) struct AnswerArguments {
    /// The run
    #[arg(long, value_name = "RUN")]
    pub(crate) run: RunId,
    /// The stage that asks; not needed while only one question is open
    #[arg(long, value_name = "STAGE")]
    pub(crate) stage: Option<StageId>,
    /// The tool call that is asked about; not needed while only one question is open
    #[arg(long, value_name = "CALL")]
    pub(crate) call: Option<String>,
    /// How far a yes to a tool call reaches: the very same thing, once by default
    #[arg(long, value_enum, value_name = "SCOPE")]
    pub(crate) scope: Option<Scope>,
    /// Yes or no
    #[arg(value_enum)]
    pub(crate) answer: YesNo,
    /// Why, for the record
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
}

/// How far a consent reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum Scope {
    /// This one call.
    #[default]
    Once,
    /// The same thing in this run and its resumes.
    Run,
    /// The same thing in this terminal, or the session that `CODEX_ORCHESTRATOR_SESSION` names, for a day.
    Session,
    /// The same thing in every run of the task, for a day.
    Task,
    /// The same thing in this repository, until revoked.
    Always,
}

impl From<Scope> for co_model::GrantScope {
    fn from(scope: Scope) -> Self {
        match scope {
            Scope::Once => Self::Once,
            Scope::Run => Self::Run,
            Scope::Session => Self::Session,
            Scope::Task => Self::Task,
            Scope::Always => Self::Always,
        }
    }
}

/// An answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum YesNo {
    /// Go on.
    #[value(alias = "approve", alias = "y")]
    Yes,
    /// Do not.
    #[value(alias = "deny", alias = "n")]
    No,
}

#[derive(Debug, Args)]
pub(crate) struct SteerArguments {
    /// The run
    #[arg(long, value_name = "RUN")]
    pub(crate) run: RunId,
    /// The agent stage; not needed while only one agent is at work
    #[arg(long, value_name = "STAGE")]
    pub(crate) stage: Option<StageId>,
    /// What to tell the agent: at once where it takes that, else as the next turn of its conversation
    pub(crate) message: String,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AgentsCommand {
    /// List the agents that stages can name, and what works with each
    ///
    /// Example: codex-orchestrator agents list --json
    List,
    /// Check that an agent is there and of a tested version; every agent when none is named
    ///
    /// Example: codex-orchestrator agents check codex-app-server
    Check(AgentsCheckArguments),
}

#[derive(Debug, Args)]
pub(crate) struct AgentsCheckArguments {
    /// The agent, as stages name it
    #[arg(value_name = "NAME")]
    pub(crate) name: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum InstructionsCommand {
    /// Show which files are told and why, which are not and why, and the skills that are offered
    ///
    /// Example: codex-orchestrator instructions show --cwd crates/server
    Show(InstructionsShowArguments),
}

#[derive(Debug, Args)]
pub(crate) struct InstructionsShowArguments {
    /// The agent, as stages name it
    #[arg(long, value_name = "AGENT", default_value = "codex")]
    pub(crate) agent: String,
    /// The directory in which it would work; the repository by default
    #[arg(long, value_name = "DIR")]
    pub(crate) cwd: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct RecoverArguments {
    /// Only this run
    #[arg(long, value_name = "RUN")]
    pub(crate) run: Option<RunId>,
    /// Only show what would be done
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Debug, Args)]
pub(crate) struct RebuildArguments {
    /// Only this run; all runs of the task when none is named
    #[arg(long, value_name = "RUN")]
    pub(crate) run: Option<RunId>,
    /// Only compare; differences give exit code 10
    #[arg(long)]
    pub(crate) check: bool,
}

#[derive(Debug, Args)]
pub(crate) struct InitArguments {
    /// Replace a file that is there
    #[arg(long)]
    pub(crate) force: bool,
    /// Print the file instead of writing it
    #[arg(long)]
    pub(crate) print: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum McpCommand {
    /// Serve the Model Context Protocol over standard input and output, or over HTTP
    Serve(McpServeArguments),
    /// Start a run that goes on by itself, and return at once
    Start(McpStartArguments),
    /// Show where such a run stands, and the response file of each of its stages
    Poll(StatusArguments),
    /// Show the tools of the MCP servers that your Codex settings define
    Tools(McpToolsArguments),
    /// Call a tool of such a server
    Call(McpCallArguments),
    /// Hand the tools of such a server on to an agent
    #[command(hide = true)]
    Bridge(McpBridgeArguments),
    /// Own a run that another process hands over on standard input
    #[command(hide = true)]
    Own,
}

#[derive(Debug, Args)]
pub(crate) struct McpServeArguments {
    /// Serve over streamable HTTP at this address, port 0 for a free one, instead of standard
    /// input and output; the address is printed as a line of JSON
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) http: Option<SocketAddr>,
    /// The file that holds the bearer token of HTTP clients [env: CODEX_ORCHESTRATOR_MCP_TOKEN
    /// holds the token itself]
    #[arg(long, requires = "http", value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
    /// Let every program on this machine in, without a token
    #[arg(long, requires = "http", conflicts_with_all = ["token_file", "allow_remote"])]
    pub(crate) no_token: bool,
    /// Allow an address that other machines can reach. Nothing is encrypted: put a proxy with TLS
    /// before it
    #[arg(long, requires = "http")]
    pub(crate) allow_remote: bool,
    /// A further name that clients may reach the server by; may be repeated
    #[arg(long, requires = "http", value_name = "NAME")]
    pub(crate) allow_host: Vec<String>,
    /// A further origin whose pages may call the server, as `https://name:port`; may be repeated
    #[arg(long, requires = "http", value_name = "ORIGIN")]
    pub(crate) allow_origin: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct McpStartArguments {
    /// The pipeline; the default one when neither it nor a command is named
    #[arg(conflicts_with = "command")]
    pub(crate) pipeline: Option<String>,
    /// A shell command to run instead of a pipeline; may be repeated, and the first that fails is
    /// the last
    #[arg(long, value_name = "COMMAND")]
    pub(crate) command: Vec<String>,
    /// The longest time each command may take: seconds, or a duration such as `2h`
    #[arg(long, value_name = "TIME", default_value = "3600", value_parser = interval)]
    pub(crate) timeout: Duration,
    /// Recorded with the run (`never`, `on-request`, `auto` or your own word)
    #[arg(long, value_name = "POLICY", default_value = "never")]
    pub(crate) approval_policy: String,
    /// A second start with the same key starts nothing and shows the run of the first
    #[arg(long, value_name = "KEY")]
    pub(crate) idempotency_key: Option<String>,
}

/// Which definitions of MCP servers are meant.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct McpDefinitionOptions {
    /// A profile of the Codex settings
    #[arg(long, value_name = "NAME")]
    pub(crate) profile: Option<String>,
    /// Refuse a server whose definition has another SHA-256
    #[arg(long, value_name = "SHA256", hide = true)]
    pub(crate) definition: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct McpToolsArguments {
    /// Only this server; may be repeated. All that are not switched off by default
    #[arg(long, value_name = "NAME")]
    pub(crate) server: Vec<String>,
    #[command(flatten)]
    pub(crate) definition: McpDefinitionOptions,
}

#[derive(Debug, Args)]
#[command(after_help = MCP_CALL_HELP)]
pub(crate) struct McpCallArguments {
    /// The server, by its name in your Codex settings
    pub(crate) server: String,
    /// The tool
    pub(crate) tool: String,
    /// The arguments, a JSON object; `-` reads it from standard input
    #[arg(long, value_name = "JSON", default_value = "{}")]
    pub(crate) arguments: String,
    #[command(flatten)]
    pub(crate) definition: McpDefinitionOptions,
}

#[derive(Debug, Args)]
pub(crate) struct McpBridgeArguments {
    /// The server, by its name in your Codex settings
    pub(crate) server: String,
    #[command(flatten)]
    pub(crate) definition: McpDefinitionOptions,
}

#[derive(Debug, Args)]
pub(crate) struct DoctorArguments {
    #[command(subcommand)]
    pub(crate) check: Option<DoctorCheck>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum DoctorCheck {
    /// Try to break out of the sandbox, in every mode, and say what held
    Sandbox {
        /// Try the weaker sandbox when this machine cannot give the whole one
        #[arg(long)]
        accept_weaker: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum ApprovalsCommand {
    /// Show the questions of a run that wait for an answer
    Questions {
        /// The run; the newest of the task when none is named
        #[arg(long, value_name = "RUN")]
        run: Option<RunId>,
    },
    /// Answer an open question; the same as `answer`
    Answer(AnswerArguments),
    /// List consents, newest first
    List(ListArguments),
    /// Show one consent with everything it is bound to
    Show {
        /// The consent
        grant: String,
    },
    /// Take a consent back; the next call asks again
    Revoke {
        /// The consent
        grant: String,
    },
    /// Write every consent as one JSON object a line, oldest first
    Export,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Show every setting, its value and where it came from
    Explain,
}

#[derive(Debug, Args)]
pub(crate) struct SchemaArguments {
    /// Which schema; all names when none is given
    pub(crate) name: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct CompletionsArguments {
    /// The shell
    #[arg(value_enum)]
    pub(crate) shell: clap_complete::Shell,
}

#[derive(Debug, Args)]
pub(crate) struct ManArguments {
    /// Write a page for every command into this folder
    #[arg(long, value_name = "DIR")]
    pub(crate) directory: Option<std::path::PathBuf>,
    /// Print the whole reference as Markdown
    #[arg(long, conflicts_with = "directory")]
    pub(crate) markdown: bool,
}

pub(crate) fn interval(text: &str) -> Result<Duration, String> {
    let duration = match text.parse::<u32>() {
        Ok(seconds) => Duration::from_secs(u64::from(seconds)),
        Err(_) => text.parse::<DurationText>().map_err(|error| error.to_string())?.0,
    };
    let shortest = Duration::from_millis(50);
    if duration < shortest {
        return Err("the shortest interval is 50ms".to_owned());
    }
    Ok(duration)
}

pub(crate) fn execution_mode(text: &str) -> Result<ExecutionMode, String> {
    match text {
        "mcp" => Ok(ExecutionMode::Mcp),
        "cloud" => Ok(ExecutionMode::Cloud),
        _ => Err("known modes: mcp, cloud".to_owned()),
    }
}

fn run_status(text: &str) -> Result<RunStatus, String> {
    let all = [
        RunStatus::Queued,
        RunStatus::InProgress,
        RunStatus::Interrupted,
        RunStatus::Succeeded,
        RunStatus::Failed,
        RunStatus::Cancelled,
    ];
    all.into_iter().find(|status| status.as_str() == text).ok_or_else(|| {
        let names: Vec<&str> = all.iter().map(|status| status.as_str()).collect();
        format!("known states: {}", names.join(", "))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory as _;
        Arguments::command().debug_assert();
    }

    #[test]
    fn intervals_are_never_zero_or_nonsense() {
        assert_eq!(interval("10"), Ok(Duration::from_secs(10)));
        assert_eq!(interval("1.5s"), Ok(Duration::from_millis(1_500)));
        for bad in ["abc", "0", "-1", "1ms", ""] {
            assert!(interval(bad).is_err(), "{bad:?}");
        }
    }
}
