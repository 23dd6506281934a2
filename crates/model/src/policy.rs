//! What a person's own settings allow: approvals, sandbox, rules. Values only; `co-policy` weighs them.

use std::time::Duration;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use crate::time::millis;

/// When consent is asked for. The words and their meaning are Codex's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ApprovalPolicy {
    /// Never asks and never waits: what would need consent is refused at once, everything else runs.
    Never,
    /// Asks when a rule says so, when a command is dangerous, or when more than the sandbox gives is wanted.
    #[default]
    OnRequest,
    /// Asks for everything that no rule allows.
    Untrusted,
    /// Like on-request, with each kind of question allowed or turned into a refusal.
    Granular(GranularApproval),
}

impl ApprovalPolicy {
    /// The policy as settings and manifests spell it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Never => "never",
            Self::OnRequest => "on-request",
            Self::Untrusted => "untrusted",
            Self::Granular(_) => "granular",
        }
    }
}

/// Which kinds of questions may be asked; the others are refusals.
#[expect(clippy::struct_excessive_bools, reason = "five independent switches of Codex's own settings")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct GranularApproval {
    /// To run outside the sandbox.
    pub sandbox_approval: bool,
    /// Because a rule says prompt.
    pub rules: bool,
    /// On behalf of an MCP server.
    pub mcp_elicitations: bool,
    /// For more permissions than the sandbox gives.
    #[serde(default)]
    pub request_permissions: bool,
    /// To use a skill.
    #[serde(default)]
    pub skill_approval: bool,
}

/// What commands may touch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SandboxMode {
    /// Reads everything, writes nothing.
    ReadOnly,
    /// Writes in the workspace, the temporary folders and declared roots.
    WorkspaceWrite,
    /// No sandbox at all.
    DangerFullAccess,
}

impl SandboxMode {
    /// The mode as settings, command lines and manifests spell it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ReadOnly => "read-only",
            Self::WorkspaceWrite => "workspace-write",
            Self::DangerFullAccess => "danger-full-access",
        }
    }
}

/// What a sandboxed command may reach over the network.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NetworkAccess {
    /// Nothing, not even this machine.
    #[default]
    Off,
    /// Everything.
    On,
    /// Only hosts that a rule allows, through the local proxy.
    Allowed(Vec<HostRule>),
}

/// A host that may, or may not, be reached through the proxy.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct HostRule {
    /// A name, `*.name` for its subdomains, or an IP address; lower case, without a port.
    pub host: String,
    /// Only this port; every port when there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// What is decided; the strictest matching rule counts, no match means forbidden.
    pub decision: RuleDecision,
}

/// A sandbox with everything that tells it from another one.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SandboxPolicy {
    /// The mode.
    pub mode: SandboxMode,
    /// Absolute folders that may be written besides the workspace.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub writable_roots: Vec<String>,
    /// The network.
    #[serde(default)]
    pub network: NetworkAccess,
    /// Whether `$TMPDIR` stays closed.
    #[serde(default)]
    pub exclude_tmpdir: bool,
    /// Whether `/tmp` stays closed.
    #[serde(default)]
    pub exclude_slash_tmp: bool,
}

impl SandboxPolicy {
    /// No sandbox.
    pub const FULL_ACCESS: Self = Self {
        mode: SandboxMode::DangerFullAccess,
        writable_roots: Vec::new(),
        network: NetworkAccess::On,
        exclude_tmpdir: false,
        exclude_slash_tmp: false,
    };

    /// The mode with nothing opened besides.
    pub const fn of(mode: SandboxMode) -> Self {
        let network = match mode {
            SandboxMode::DangerFullAccess => NetworkAccess::On,
            SandboxMode::ReadOnly | SandboxMode::WorkspaceWrite => NetworkAccess::Off,
        };
        Self { mode, writable_roots: Vec::new(), network, exclude_tmpdir: false, exclude_slash_tmp: false }
    }
}

/// What a rule says of a command. The order is the order of strictness.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RuleDecision {
    /// Runs, outside the sandbox.
    Allow,
    /// Runs after consent.
    Prompt,
    /// Does not run.
    Forbidden,
}

impl RuleDecision {
    /// The decision as rule files spell it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Prompt => "prompt",
            Self::Forbidden => "forbidden",
        }
    }
}

/// A rule over the first words of a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrefixRule {
    /// For each of the first words, the words that match there. Neither list is empty.
    pub pattern: Vec<Vec<String>>,
    /// What is decided.
    pub decision: RuleDecision,
    /// Why, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub justification: Option<String>,
}

impl PrefixRule {
    /// Whether the rule speaks of a command whose first word counts as `program`: a rule over a bare
    /// name can be asked about a path this way.
    pub fn matches(&self, words: &[String], program: &str) -> bool {
        let Some((first, rest)) = self.pattern.split_first() else { return false };
        first.iter().any(|word| word == program)
            && words.get(1..self.pattern.len()).is_some_and(|following| {
                rest.iter().zip(following).all(|(alternatives, word)| alternatives.contains(word))
            })
    }
}

/// The variables a worker gets. The order of application is the order of the fields.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnvironmentPolicy {
    /// What it starts with.
    pub inherit: InheritedEnvironment,
    /// Whether names that look like secrets (`*KEY*`, `*SECRET*`, `*TOKEN*`) pass.
    pub ignore_default_excludes: bool,
    /// Names taken away; globs, case-insensitive.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exclude: Vec<String>,
    /// Variables set.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub set: IndexMap<String, String>,
    /// If any: only names that match stay; globs, case-insensitive.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub include_only: Vec<String>,
}

impl Default for EnvironmentPolicy {
    /// Everything passes, as Codex has it.
    fn default() -> Self {
        Self {
            inherit: InheritedEnvironment::All,
            ignore_default_excludes: true,
            exclude: Vec::new(),
            set: IndexMap::new(),
            include_only: Vec::new(),
        }
    }
}

/// What a worker's environment starts with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum InheritedEnvironment {
    /// Everything of ours.
    #[default]
    All,
    /// HOME, LOGNAME, PATH, SHELL, USER, USERNAME, TMPDIR, TEMP and TMP.
    Core,
    /// Nothing.
    None,
}

/// When tools of an MCP server need consent. The words are Codex's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum McpApproval {
    /// As their annotations say.
    #[default]
    Auto,
    /// Always.
    Prompt,
    /// When they write.
    Writes,
    /// Never.
    Approve,
}

/// The MCP servers of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct McpPolicy {
    /// Those that are switched on, by the names of the person's settings.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub servers: IndexMap<String, McpServerPolicy>,
    /// Those that the person has defined as well, and that stay off.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub others: Vec<String>,
    /// The profile of the settings that defines them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
}

impl McpPolicy {
    /// Whether nobody switched anything on.
    pub fn is_unset(&self) -> bool {
        self.servers.is_empty()
    }
}

/// An MCP server that is switched on: what holds for its tools. Its definition stays in the settings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct McpServerPolicy {
    /// SHA-256 of the definition without the values of variables and headers, in lower-case hexadecimal.
    pub definition: String,
    /// When its tools need consent.
    #[serde(default)]
    pub approval: McpApproval,
    /// The same for single tools, which counts before it.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub tools: IndexMap<String, McpApproval>,
    /// The tools that only read, as the server itself said when the run was begun.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub read_only: Vec<String>,
}

impl McpServerPolicy {
    /// When a tool needs consent.
    pub fn approval_of(&self, tool: &str) -> McpApproval {
        self.tools.get(tool).copied().unwrap_or(self.approval)
    }
}

/// Everything that decides what is asked, allowed and confined in a run. Recorded with the run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolPolicy {
    /// When consent is asked for.
    pub approval: ApprovalPolicy,
    /// The sandbox of commands that do not name their own; `None` when nobody said anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sandbox: Option<SandboxPolicy>,
    /// Whether a weaker sandbox than asked for is accepted when this machine cannot give it.
    #[serde(default)]
    pub accept_weaker_sandbox: bool,
    /// The rules of all files, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<PrefixRule>,
    /// For the names of programs, the absolute paths that rules over the bare name speak of. A
    /// name without an entry is any program of that name, as far as it makes a rule stricter.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub host_executables: IndexMap<String, Vec<String>>,
    /// What the rules of all files say of hosts, for a network that is limited to allowed ones.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<HostRule>,
    /// The variables of workers.
    #[serde(default)]
    pub environment: EnvironmentPolicy,
    /// The MCP servers that are switched on.
    #[serde(default, skip_serializing_if = "McpPolicy::is_unset")]
    pub mcp: McpPolicy,
    /// How long a question stays open; unanswered means no.
    #[serde(with = "millis")]
    pub question_expires_after: Duration,
    /// Where it was read, strongest last: a path with its SHA-256, or `flag --name`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<PolicySource>,
}

impl ToolPolicy {
    /// Whether nobody said anything.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl Default for ToolPolicy {
    /// What holds when nobody said anything: on request, no sandbox for declared commands, no rules.
    fn default() -> Self {
        Self {
            approval: ApprovalPolicy::default(),
            sandbox: None,
            accept_weaker_sandbox: false,
            rules: Vec::new(),
            host_executables: IndexMap::new(),
            hosts: Vec::new(),
            environment: EnvironmentPolicy::default(),
            mcp: McpPolicy::default(),
            question_expires_after: Duration::from_hours(1),
            sources: Vec::new(),
        }
    }
}

/// Where a part of a policy was said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicySource {
    /// The file, or the flag.
    pub name: String,
    /// SHA-256 of the file in lower-case hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// Which keys it decided.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<String>,
}
