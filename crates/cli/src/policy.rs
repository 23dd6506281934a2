//! What is asked, allowed and confined: the person's Codex settings, and what the flags say besides.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use co_config::{
    CodexPlaces, CodexSettings, Direction, Override, Overrides, TaskWord, load_codex, tool_policy,
};
use co_model::{ApprovalPolicy, DurationText, NetworkAccess, Pipeline, SandboxMode, ToolPolicy};

use crate::commands::mcp;
use crate::context::Context;
use crate::error::{CliError, Exit};
use crate::output::{YELLOW, harmless, paint};

/// Flags that change the policy for one run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
#[command(next_help_heading = "Policy")]
pub(crate) struct PolicyOptions {
    /// When consent is asked for: `never`, `on-request` or `untrusted`
    #[arg(long, value_parser = approval, value_name = "POLICY")]
    pub(crate) approval_policy: Option<ApprovalPolicy>,
    /// The sandbox of commands that name none
    #[arg(long, value_enum, value_name = "MODE")]
    pub(crate) sandbox: Option<Sandbox>,
    /// The network of sandboxed commands
    #[arg(long, value_enum, value_name = "ACCESS")]
    pub(crate) network: Option<Network>,
    /// A further folder that sandboxed commands may write; needs --widen
    #[arg(long, value_name = "DIR", requires = "widen")]
    pub(crate) writable_root: Vec<PathBuf>,
    /// Let these flags allow more than the settings do; recorded with the run
    #[arg(long)]
    pub(crate) widen: bool,
    /// Run in a weaker sandbox when this machine cannot give the whole one; what is missing is recorded
    #[arg(long)]
    pub(crate) accept_weaker_sandbox: bool,
    /// An MCP server of the Codex settings that stages and agents may use; may be repeated
    #[arg(long, value_name = "NAME")]
    pub(crate) mcp_server: Vec<String>,
    /// How long a question stays open; unanswered means no. One hour by default
    #[arg(long, value_name = "TIME")]
    pub(crate) question_expires: Option<DurationText>,
    /// A profile of the Codex settings
    #[arg(long, value_name = "NAME")]
    pub(crate) profile: Option<String>,
    /// Which of these `exec --full-auto` stands for.
    #[arg(skip)]
    pub(crate) full_auto: FullAuto,
}

/// What is recorded as the word of `--full-auto`, not of the option itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct FullAuto {
    pub(crate) approval_policy: bool,
    pub(crate) sandbox: bool,
}

/// What sandboxed commands may touch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Sandbox {
    /// Reads everything, writes nothing.
    ReadOnly,
    /// Writes in the workspace and the temporary folders.
    WorkspaceWrite,
    /// No sandbox.
    DangerFullAccess,
}

impl From<Sandbox> for SandboxMode {
    fn from(sandbox: Sandbox) -> Self {
        match sandbox {
            Sandbox::ReadOnly => Self::ReadOnly,
            Sandbox::WorkspaceWrite => Self::WorkspaceWrite,
            Sandbox::DangerFullAccess => Self::DangerFullAccess,
        }
    }
}

/// What sandboxed commands may reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Network {
    /// Nothing.
    Off,
    /// Everything.
    On,
    /// The hosts that the rules allow.
    Allowed,
}

impl Network {
    fn access(self, settings: &CodexSettings) -> NetworkAccess {
        match self {
            Self::Off => NetworkAccess::Off,
            Self::On => NetworkAccess::On,
            Self::Allowed => NetworkAccess::Allowed(settings.hosts.clone()),
        }
    }
}

impl PolicyOptions {
    /// Whether any of them was given.
    pub(crate) fn is_given(&self) -> bool {
        *self != Self::default()
    }
}

/// The settings and the policy that follows from them.
pub(crate) struct Policy {
    /// The person's Codex settings.
    pub(crate) settings: CodexSettings,
    /// What holds for the run.
    pub(crate) policy: ToolPolicy,
}

impl Context {
    /// Reads the person's Codex settings for work in the repository, and applies the flags.
    pub(crate) fn policy(&self, options: &PolicyOptions) -> Result<Policy, CliError> {
        let settings = self.codex_settings(options.profile.as_deref())?;
        let layers = [of_task(self, &settings)?, overrides(self, options, &settings)];
        let policy = tool_policy(&settings, &layers)
            .map_err(|error| CliError::of(Exit::Refused, &error).hint("--widen lets a flag allow more"))?;
        Ok(Policy { settings, policy })
    }

    /// The policy alone; what a person should know about the settings is told.
    pub(crate) fn tool_policy(&self, options: &PolicyOptions) -> Result<ToolPolicy, CliError> {
        let Policy { settings, policy } = self.policy(options)?;
        for note in &settings.notes {
            self.notes.progress(&paint(YELLOW, &format!("note: {}", harmless(note))));
        }
        Ok(policy)
    }

    /// The policy of a new run of these pipelines: the alone one, with the MCP servers that the flags or the
    /// settings, and the pipelines themselves, switch on.
    pub(crate) fn policy_for<'p>(
        &self,
        options: &PolicyOptions,
        pipelines: impl IntoIterator<Item = &'p Pipeline> + Clone,
    ) -> Result<ToolPolicy, CliError> {
        let mut policy = self.tool_policy(options)?;
        let said = if options.mcp_server.is_empty() {
            &self.settings.mcp_servers.value
        } else {
            &options.mcp_server
        };
        mcp::switch_on(self, &mut policy, options.profile.as_deref(), said, pipelines)?;
        Ok(policy)
    }

    /// The policy of a run that goes on: what it was started under stays, unless the person says otherwise now. The
    /// MCP servers stay too, as they are defined now if they are named again, and those come to them that are named.
    pub(crate) fn policy_again<'p>(
        &self,
        options: &PolicyOptions,
        recorded: &ToolPolicy,
        pipelines: impl IntoIterator<Item = &'p Pipeline> + Clone,
    ) -> Result<Option<Box<ToolPolicy>>, CliError> {
        let wanted = |pipeline: &&'p Pipeline| {
            pipeline.mcp_servers.iter().any(|name| !recorded.mcp.servers.contains_key(name))
        };
        let others = PolicyOptions { mcp_server: Vec::new(), ..options.clone() };
        if !options.is_given() && !pipelines.clone().into_iter().any(|pipeline| wanted(&pipeline)) {
            return Ok(None);
        }
        let mut policy = if others.is_given() { self.tool_policy(&others)? } else { recorded.clone() };
        let before = recorded.mcp.servers.keys().cloned();
        let said: Vec<String> = before.chain(options.mcp_server.iter().cloned()).collect();
        let profile = options.profile.as_deref().or(recorded.mcp.profile.as_deref());
        mcp::switch_on(self, &mut policy, profile, &said, pipelines)?;
        Ok(Some(Box::new(policy)))
    }

    /// Reads the person's Codex settings for work in the repository.
    pub(crate) fn codex_settings(&self, profile: Option<&str>) -> Result<CodexSettings, CliError> {
        let places = CodexPlaces { profile, ..CodexPlaces::new(&self.environment, &self.layout.root) };
        load_codex(&places).map_err(|error| CliError::of(Exit::Setup, &error))
    }
}

fn overrides(context: &Context, options: &PolicyOptions, settings: &CodexSettings) -> Overrides {
    let direction = if options.widen { Direction::Widen } else { Direction::Narrow };
    let network = options.network.map(|network| network.access(settings));
    let absolute = |path: &PathBuf| -> String {
        let base = std::env::current_dir().unwrap_or_else(|_| context.layout.root.clone());
        Path::new(&base).join(path).to_string_lossy().into_owned()
    };
    let flag = |implied: bool, own| if implied { "--full-auto" } else { own };
    let approval_flag = flag(options.full_auto.approval_policy, "--approval-policy");
    let sandbox_flag = flag(options.full_auto.sandbox, "--sandbox");
    Overrides {
        approval: options.approval_policy.map(|value| said(value, direction, approval_flag)),
        sandbox: options.sandbox.map(|mode| said(mode.into(), direction, sandbox_flag)),
        network: network.map(|value| said(value, direction, "--network")),
        writable_roots: options
            .writable_root
            .iter()
            .map(|path| said(absolute(path), direction, "--writable-root"))
            .collect(),
        accept_weaker_sandbox: options
            .accept_weaker_sandbox
            .then(|| said(true, Direction::Widen, "--accept-weaker-sandbox")),
        question_expires_after: options.question_expires.map(|DurationText(duration)| duration),
    }
}

/// What the person's own file says for the task. It is theirs, outside of every repository: it may allow more.
fn of_task(context: &Context, settings: &CodexSettings) -> Result<Overrides, CliError> {
    let task = &context.settings.task.value;
    let mut overrides = Overrides::default();
    for TaskWord { key, values, line } in &context.settings.task_policy {
        let source = format!("task {task} ({}:{line})", context.settings.file.display());
        let wrong = |known: &str| {
            let text = values.concat();
            let message = format!("`{key}` of {source} is `{}`; known: {known}", text.escape_debug());
            CliError::new(Exit::Setup, message)
        };
        let word = values.concat();
        match *key {
            "approval_policy" => {
                let value = approval(&word).map_err(|_| wrong("never, on-request, untrusted"))?;
                overrides.approval = Some(widening(value, &source));
            }
            "sandbox" => {
                let mode = Sandbox::from_str(&word, false)
                    .map_err(|_| wrong("read-only, workspace-write, danger-full-access"))?;
                overrides.sandbox = Some(widening(mode.into(), &source));
            }
            "network" => {
                let network = Network::from_str(&word, false).map_err(|_| wrong("off, on, allowed"))?;
                overrides.network = Some(widening(network.access(settings), &source));
            }
            _ => {
                let roots = values.iter().map(|root| widening(root.clone(), &source));
                overrides.writable_roots.extend(roots);
            }
        }
    }
    Ok(overrides)
}

fn widening<T>(value: T, source: &str) -> Override<T> {
    Override { value, direction: Direction::Widen, source: source.to_owned() }
}

fn said<T>(value: T, direction: Direction, flag: &str) -> Override<T> {
    Override { value, direction, source: format!("flag {flag}") }
}

pub(crate) fn approval(text: &str) -> Result<ApprovalPolicy, String> {
    match text {
        "never" => Ok(ApprovalPolicy::Never),
        // Codex reads its former word the same way.
        "on-request" | "on-failure" => Ok(ApprovalPolicy::OnRequest),
        "untrusted" => Ok(ApprovalPolicy::Untrusted),
        _ => Err("known policies: never, on-request, untrusted".to_owned()),
    }
}
