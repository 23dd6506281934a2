//! Makes settings of the merged tree.

use std::path::Path;
use std::time::Duration;

use co_model::{
    ApprovalPolicy, EnvironmentPolicy, GranularApproval, InheritedEnvironment, McpApproval, NetworkAccess,
    SandboxMode, SandboxPolicy,
};
use indexmap::IndexMap;

use super::reader::{Scope, resolve_path};
use super::tree::{Node, Value};
use super::{
    CodexSettings, InstructionSettings, McpServer, McpTransport, OtelExporter, OtelSettings, OtelTls,
    WorkspaceWrite,
};

const APPROVALS: [&str; 4] = ["never", "on-request", "on-failure", "granular"];

pub(super) const MODES: [(&str, SandboxMode); 3] = [
    ("read-only", SandboxMode::ReadOnly),
    ("workspace-write", SandboxMode::WorkspaceWrite),
    ("danger-full-access", SandboxMode::DangerFullAccess),
];

/// The permission profiles that are built in, under the names of the modes they are.
const PROFILES: [(&str, SandboxMode); 3] = [
    (":read-only", SandboxMode::ReadOnly),
    (":workspace", SandboxMode::WorkspaceWrite),
    (":danger-full-access", SandboxMode::DangerFullAccess),
];

pub(super) fn settings(top: Scope<'_, '_>, home: Option<&Path>, notes: &mut Vec<String>) -> CodexSettings {
    if let Some(profile) = top.get("profile") {
        let hint = "profiles are files beside `config.toml`, chosen for each run".to_owned();
        top.reader.problem(&profile.place, "`profile` is no longer read", Some(hint));
    }
    let workspace_write = workspace_write(top, home);
    let mode = mode(top, notes);
    let defaults = InstructionSettings::default();
    projects(top);
    CodexSettings {
        model: top.text("model"),
        approval: approval(top, notes),
        sandbox: mode.map(|mode| sandbox(mode, &workspace_write)),
        workspace_write,
        environment: environment(top),
        notify: notify(top),
        otel: otel(top),
        mcp_servers: mcp_servers(top, notes),
        instructions: InstructionSettings {
            max_bytes: top.count("project_doc_max_bytes").unwrap_or(defaults.max_bytes),
            fallback_names: top.texts("project_doc_fallback_filenames").unwrap_or_default(),
            root_markers: top.texts("project_root_markers").unwrap_or(defaults.root_markers),
        },
        background_terminal_max_timeout: top
            .count("background_terminal_max_timeout")
            .map(Duration::from_millis),
        ..CodexSettings::default()
    }
}

fn approval(top: Scope<'_, '_>, notes: &mut Vec<String>) -> Option<ApprovalPolicy> {
    const KEY: &str = "approval_policy";
    let value = top.get(KEY)?;
    match &value.node {
        Node::Text(text) => {
            let policy = match text.as_str() {
                "never" => ApprovalPolicy::Never,
                "on-request" => ApprovalPolicy::OnRequest,
                "on-failure" => {
                    notes.push(
                        "`approval_policy = \"on-failure\"` is read as `on-request`, as Codex does"
                            .to_owned(),
                    );
                    ApprovalPolicy::OnRequest
                }
                "untrusted" => {
                    let hint =
                        "Codex no longer takes it from a file; use `on-request`, or ask for it with a flag";
                    let message = "`approval_policy` cannot be `untrusted`";
                    top.reader.problem(&value.place, message, Some(hint.to_owned()));
                    return None;
                }
                _ => {
                    top.unknown(KEY, value, text, APPROVALS);
                    return None;
                }
            };
            top.decided(KEY, policy.as_str(), &value.place);
            Some(policy)
        }
        Node::Table(table) => match table.get("granular") {
            Some(Value { node: Node::Table(flags), place }) if table.len() == 1 => {
                let scope = top.within(flags, "approval_policy.granular");
                let needed = |key| {
                    if scope.get(key).is_none() {
                        top.reader.problem(place, format!("`approval_policy.granular` needs `{key}`"), None);
                    }
                    scope.truth(key)
                };
                Some(ApprovalPolicy::Granular(GranularApproval {
                    sandbox_approval: needed("sandbox_approval")?,
                    rules: needed("rules")?,
                    mcp_elicitations: needed("mcp_elicitations")?,
                    request_permissions: scope.truth("request_permissions").unwrap_or(false),
                    skill_approval: scope.truth("skill_approval").unwrap_or(false),
                }))
            }
            _ => {
                let message = "`approval_policy` as a table must have the one key `granular`, a table";
                top.reader.problem(&value.place, message, None);
                None
            }
        },
        _ => {
            top.wrong(KEY, value, "a string or a table");
            None
        }
    }
}

/// A permission profile that is not built in cannot be followed, so the tightest mode stands for it.
fn mode(top: Scope<'_, '_>, notes: &mut Vec<String>) -> Option<SandboxMode> {
    let said = top.one_of("sandbox_mode", &MODES);
    let profile = top.text("default_permissions").map(|name| {
        PROFILES.iter().find(|(known, _)| *known == name).map_or_else(
            || {
                notes.push(format!(
                    "the permission profile `{}` is taken as `read-only`",
                    name.escape_debug()
                ));
                SandboxMode::ReadOnly
            },
            |(_, mode)| *mode,
        )
    });
    match (said, profile) {
        (Some(said), Some(profile)) => Some(said.min(profile)),
        (said, profile) => said.or(profile),
    }
}

fn workspace_write(top: Scope<'_, '_>, home: Option<&Path>) -> WorkspaceWrite {
    let Some((table, prefix)) = top.table("sandbox_workspace_write") else {
        return WorkspaceWrite::default();
    };
    let scope = top.within(table, &prefix);
    let mut writable_roots = Vec::new();
    if let Some(value) = scope.get("writable_roots") {
        let beside = scope.reader.layer(&value.place).path.parent().unwrap_or(Path::new("/"));
        for root in scope.texts("writable_roots").unwrap_or_default() {
            if let Some(path) = resolve_path(&root, home, beside) {
                writable_roots.push(path);
            } else {
                let message = format!("`{}` is not a folder that can be found", root.escape_debug());
                scope.reader.problem(&value.place, message, Some("write an absolute path".to_owned()));
            }
        }
    }
    WorkspaceWrite {
        writable_roots,
        has_network: scope.truth("network_access").unwrap_or(false),
        exclude_tmpdir: scope.truth("exclude_tmpdir_env_var").unwrap_or(false),
        exclude_slash_tmp: scope.truth("exclude_slash_tmp").unwrap_or(false),
    }
}

/// The sandbox of a mode; `[sandbox_workspace_write]` speaks of its own mode only.
pub(super) fn sandbox(mode: SandboxMode, workspace: &WorkspaceWrite) -> SandboxPolicy {
    match mode {
        SandboxMode::ReadOnly | SandboxMode::DangerFullAccess => SandboxPolicy::of(mode),
        SandboxMode::WorkspaceWrite => SandboxPolicy {
            mode,
            writable_roots: workspace.writable_roots.clone(),
            network: if workspace.has_network { NetworkAccess::On } else { NetworkAccess::Off },
            exclude_tmpdir: workspace.exclude_tmpdir,
            exclude_slash_tmp: workspace.exclude_slash_tmp,
        },
    }
}

fn environment(top: Scope<'_, '_>) -> EnvironmentPolicy {
    let mut policy = EnvironmentPolicy::default();
    let Some((table, prefix)) = top.table("shell_environment_policy") else { return policy };
    let scope = top.within(table, &prefix);
    let inherit = [
        ("all", InheritedEnvironment::All),
        ("core", InheritedEnvironment::Core),
        ("none", InheritedEnvironment::None),
    ];
    policy.inherit = scope.one_of("inherit", &inherit).unwrap_or_default();
    policy.ignore_default_excludes = scope.truth("ignore_default_excludes").unwrap_or(true);
    policy.exclude = scope.texts("exclude").unwrap_or_default();
    policy.set =
        scope.secrets("set").into_iter().map(|(name, value)| (name, value.reveal().to_owned())).collect();
    policy.include_only = scope.texts("include_only").unwrap_or_default();
    policy
}

fn notify(top: Scope<'_, '_>) -> Option<Vec<String>> {
    let argv = top.texts("notify")?;
    // An empty list switches off what a weaker layer set.
    (!argv.is_empty()).then_some(argv)
}

fn otel(top: Scope<'_, '_>) -> Option<OtelSettings> {
    let (table, prefix) = top.table("otel")?;
    let scope = top.within(table, &prefix);
    Some(OtelSettings {
        environment: scope.text("environment"),
        log_user_prompt: scope.truth("log_user_prompt").unwrap_or(false),
        logs: exporter(scope, "exporter"),
        traces: exporter(scope, "trace_exporter"),
        metrics: exporter(scope, "metrics_exporter"),
    })
}

fn exporter(scope: Scope<'_, '_>, key: &str) -> OtelExporter {
    const KINDS: [&str; 4] = ["none", "statsig", "otlp-http", "otlp-grpc"];
    let Some(value) = scope.get(key) else { return OtelExporter::None };
    match &value.node {
        Node::Text(_) => {
            let known = [("none", false), ("statsig", true)];
            match scope.one_of(key, &known) {
                Some(true) => OtelExporter::Statsig,
                Some(false) | None => OtelExporter::None,
            }
        }
        Node::Table(table) => {
            let name = scope.name(key);
            let inner = scope.within(table, &name);
            let only = table.keys().next().filter(|_| table.len() == 1);
            let Some((kind, (table, prefix))) =
                only.and_then(|kind| Some((kind.as_str(), inner.table(kind)?)))
            else {
                let message = format!("`{name}` must name one exporter: `{}`", KINDS.join("`, `"));
                scope.reader.problem(&value.place, message, None);
                return OtelExporter::None;
            };
            let inner = inner.within(table, &prefix);
            if !matches!(kind, "otlp-http" | "otlp-grpc") {
                scope.unknown(key, value, kind, KINDS);
                return OtelExporter::None;
            }
            let Some(endpoint) = inner.text("endpoint") else {
                scope.reader.problem(&value.place, format!("`{prefix}` needs `endpoint`"), None);
                return OtelExporter::None;
            };
            let headers = inner.secrets("headers");
            let tls = tls(inner);
            if kind == "otlp-grpc" {
                return OtelExporter::Grpc { endpoint, headers, tls };
            }
            let is_json = inner.one_of("protocol", &[("binary", false), ("json", true)]).unwrap_or(false);
            OtelExporter::Http { endpoint, is_json, headers, tls }
        }
        _ => {
            scope.wrong(key, value, "a string or a table");
            OtelExporter::None
        }
    }
}

fn tls(scope: Scope<'_, '_>) -> OtelTls {
    let Some((table, prefix)) = scope.table("tls") else { return OtelTls::default() };
    let scope = scope.within(table, &prefix);
    OtelTls {
        ca_certificate: scope.text("ca-certificate"),
        client_certificate: scope.text("client-certificate"),
        client_private_key: scope.text("client-private-key"),
    }
}

fn mcp_servers(top: Scope<'_, '_>, notes: &mut Vec<String>) -> IndexMap<String, McpServer> {
    let Some((servers, prefix)) = top.table("mcp_servers") else { return IndexMap::new() };
    let scope = top.within(servers, &prefix);
    let mut read = IndexMap::new();
    for name in servers.keys() {
        let Some((table, prefix)) = scope.table(name) else { continue };
        let server = mcp_server(scope.within(table, &prefix), name, scope, notes);
        read.extend(server.map(|server| (name.clone(), server)));
    }
    read
}

fn mcp_server(
    scope: Scope<'_, '_>,
    name: &str,
    servers: Scope<'_, '_>,
    notes: &mut Vec<String>,
) -> Option<McpServer> {
    let place = &servers.get(name)?.place;
    let transport = match (scope.text("command"), scope.text("url")) {
        (Some(command), None) => McpTransport::Stdio {
            command,
            args: scope.texts("args").unwrap_or_default(),
            env: scope.secrets("env"),
            env_vars: env_vars(scope),
            cwd: scope.text("cwd"),
        },
        (None, Some(url)) => McpTransport::Http {
            url,
            bearer_token_env_var: scope.text("bearer_token_env_var"),
            http_headers: scope.secrets("http_headers"),
            env_http_headers: scope.secrets("env_http_headers"),
            scopes: scope.texts("scopes").unwrap_or_default(),
        },
        (Some(_), Some(_)) => {
            scope.reader.problem(
                place,
                format!("`{}` has both a `command` and a `url`", servers.name(name)),
                None,
            );
            return None;
        }
        (None, None) => {
            // A stronger layer may switch off, or tune, a server that only other tools know.
            notes.push(format!("`{}` is ignored: it has neither `command` nor `url`", servers.name(name)));
            return None;
        }
    };
    Some(McpServer {
        transport,
        enabled: scope.truth("enabled").unwrap_or(true),
        required: scope.truth("required").unwrap_or(false),
        startup_timeout: scope
            .seconds("startup_timeout_sec")
            .or_else(|| scope.count("startup_timeout_ms").map(Duration::from_millis)),
        tool_timeout: scope.seconds("tool_timeout_sec"),
        enabled_tools: scope.texts("enabled_tools"),
        disabled_tools: scope.texts("disabled_tools").unwrap_or_default(),
        approval: scope.one_of("default_tools_approval_mode", &MCP_APPROVALS).unwrap_or_default(),
        tools: mcp_tools(scope),
    })
}

const MCP_APPROVALS: [(&str, McpApproval); 4] = [
    ("auto", McpApproval::Auto),
    ("prompt", McpApproval::Prompt),
    ("writes", McpApproval::Writes),
    ("approve", McpApproval::Approve),
];

/// What `[mcp_servers.NAME.tools.TOOL]` says of single tools.
fn mcp_tools(scope: Scope<'_, '_>) -> IndexMap<String, McpApproval> {
    let Some((tools, prefix)) = scope.table("tools") else { return IndexMap::new() };
    let scope = scope.within(tools, &prefix);
    let mut modes = IndexMap::new();
    for name in tools.keys() {
        let Some((table, prefix)) = scope.table(name) else { continue };
        let mode = scope.within(table, &prefix).one_of("approval_mode", &MCP_APPROVALS);
        modes.extend(mode.map(|mode| (name.clone(), mode)));
    }
    modes
}

/// Names of variables: texts, or tables with a `name` as newer settings have them.
fn env_vars(scope: Scope<'_, '_>) -> Vec<String> {
    let Some(Value { node: Node::List(list), .. }) = scope.get("env_vars") else {
        return scope.texts("env_vars").unwrap_or_default();
    };
    if !list.iter().any(|item| matches!(item.node, Node::Table(_))) {
        return scope.texts("env_vars").unwrap_or_default();
    }
    let mut names = Vec::with_capacity(list.len());
    for item in list {
        match &item.node {
            Node::Text(name) => names.push(name.clone()),
            Node::Table(table) => names.extend(scope.within(table, "env_vars").text("name")),
            _ => scope.wrong("env_vars", item, "a list of names"),
        }
    }
    names
}

/// Trust was looked up before; here its words are checked.
fn projects(top: Scope<'_, '_>) {
    let Some((projects, prefix)) = top.table("projects") else { return };
    let scope = top.within(projects, &prefix);
    for path in projects.keys() {
        if let Some((table, prefix)) = scope.table(path) {
            scope.within(table, &prefix).one_of("trust_level", &[("trusted", ()), ("untrusted", ())]);
        }
    }
}
