//! What is asked, allowed and confined: the person's Codex settings, and what the flags say besides.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use co_config::{CodexPlaces, CodexSettings, Direction, Override, Overrides, load_codex, tool_policy};
use co_model::{ApprovalPolicy, DurationText, NetworkAccess, SandboxMode, ToolPolicy};

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
    /// How long a question stays open; unanswered means no. One hour by default
    #[arg(long, value_name = "TIME")]
    pub(crate) question_expires: Option<DurationText>,
    /// A profile of the Codex settings
    #[arg(long, value_name = "NAME")]
    pub(crate) profile: Option<String>,
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
        let policy = tool_policy(&settings, &overrides(self, options, &settings))
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

    /// Reads the person's Codex settings for work in the repository.
    pub(crate) fn codex_settings(&self, profile: Option<&str>) -> Result<CodexSettings, CliError> {
        let places = CodexPlaces { profile, ..CodexPlaces::new(&self.environment, &self.layout.root) };
        load_codex(&places).map_err(|error| CliError::of(Exit::Setup, &error))
    }
}

fn overrides(context: &Context, options: &PolicyOptions, settings: &CodexSettings) -> Overrides {
    let direction = if options.widen { Direction::Widen } else { Direction::Narrow };
    let network = options.network.map(|network| match network {
        Network::Off => NetworkAccess::Off,
        Network::On => NetworkAccess::On,
        Network::Allowed => NetworkAccess::Allowed(settings.hosts.clone()),
    });
    let absolute = |path: &PathBuf| -> String {
        let base = std::env::current_dir().unwrap_or_else(|_| context.layout.root.clone());
        Path::new(&base).join(path).to_string_lossy().into_owned()
    };
    Overrides {
        approval: options.approval_policy.map(|value| said(value, direction, "--approval-policy")),
        sandbox: options.sandbox.map(|mode| said(mode.into(), direction, "--sandbox")),
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
