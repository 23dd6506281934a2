//! Codex's settings: layers, trust, types, and what is refused.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use co_config::{
    CodexError, CodexPlaces, CodexSettings, Environment, McpTransport, OtelExporter, load_codex,
};
use co_model::{ApprovalPolicy, InheritedEnvironment, McpApproval, NetworkAccess, SandboxMode};
use tempfile::TempDir;

use crate::write;

/// A machine with a system folder, a user's home, and a repository at `work`.
pub(crate) struct Machine {
    root: TempDir,
    pub(crate) profile: Option<String>,
    pub(crate) cwd: PathBuf,
}

impl Machine {
    /// Files below `etc`, `home` or `work`; the repository is trusted unless the user's file says otherwise.
    pub(crate) fn new(files: &[(&str, &str)]) -> Self {
        let root = TempDir::new().expect("a temporary folder");
        for folder in ["etc", "home/.codex", "work/.git", "work/a/b"] {
            fs::create_dir_all(root.path().join(folder)).expect("a folder");
        }
        for (name, text) in files {
            write(root.path(), name, text);
        }
        let cwd = root.path().join("work/a/b");
        Self { root, profile: None, cwd }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// Trusts a folder in the user's own file.
    pub(crate) fn trust(self, folder: &str) -> Self {
        let path = self.path("home/.codex/config.toml");
        let before = fs::read_to_string(&path).unwrap_or_default();
        let trusted = self.path(folder);
        let text = format!("{before}\n[projects.\"{}\"]\ntrust_level = \"trusted\"\n", trusted.display());
        fs::write(path, text).expect("the file is written");
        self
    }

    pub(crate) fn load(&self) -> Result<CodexSettings, CodexError> {
        self.load_with(&[])
    }

    pub(crate) fn load_with(&self, variables: &[(&str, &Path)]) -> Result<CodexSettings, CodexError> {
        let home = self.path("home");
        let variables = [("HOME", home.as_path())].into_iter().chain(variables.iter().copied());
        let environment = Environment::new(&self.cwd, variables);
        let places = CodexPlaces {
            profile: self.profile.as_deref(),
            system: self.path("etc"),
            ..CodexPlaces::new(&environment, &self.cwd)
        };
        load_codex(&places)
    }

    /// What is wrong with a user's file: line, column, message and hint.
    #[track_caller]
    fn problem(config: &str) -> String {
        match Self::new(&[("home/.codex/config.toml", config)]).load() {
            Err(CodexError::Invalid { problems, .. }) => {
                let first = &problems[0];
                let hint = first.suggestion.as_ref().map(|hint| format!(" ({hint})")).unwrap_or_default();
                format!("{}:{}: {}{hint}", first.line, first.column, first.message)
            }
            other => panic!("{config} gave {other:?}"),
        }
    }
}

#[test]
fn without_files_nothing_is_said() {
    let machine = Machine::new(&[]);
    let settings = machine.load().expect("no file is no problem");
    assert_eq!(settings.approval, None);
    assert_eq!(settings.sandbox, None);
    assert!(!settings.is_trusted);
    assert!(settings.files.is_empty() && settings.notes.is_empty() && settings.explained.is_empty());
    assert_eq!(settings.instructions.max_bytes, 32_768);
    assert_eq!(settings.project_root, fs::canonicalize(machine.path("work")).expect("the root"));
}

#[test]
fn stronger_layers_win_key_by_key() {
    let mut machine = Machine::new(&[
        ("etc/config.toml", "model = 'system'\napproval_policy = 'never'\n[sandbox_workspace_write]\nnetwork_access = true\nexclude_slash_tmp = true"),
        ("home/.codex/config.toml", "model = 'user'\nsandbox_mode = 'workspace-write'\n[sandbox_workspace_write]\nnetwork_access = false\nwritable_roots = ['/u', '~/x', 'beside']"),
        ("home/.codex/fast.config.toml", "model = 'profile'"),
        ("work/.codex/config.toml", "project_doc_max_bytes = 7\nmodel = 'root'"),
        ("work/a/.codex/config.toml", "project_doc_max_bytes = 8"),
    ])
    .trust("work");
    let settings = machine.load().expect("valid");
    assert_eq!(settings.model.as_deref(), Some("root"));
    assert_eq!(settings.approval, Some(ApprovalPolicy::Never));
    assert_eq!(settings.instructions.max_bytes, 8);
    let sandbox = settings.sandbox.clone().expect("a sandbox");
    assert_eq!(sandbox.mode, SandboxMode::WorkspaceWrite);
    assert_eq!(sandbox.network, NetworkAccess::Off);
    assert!(sandbox.exclude_slash_tmp && !sandbox.exclude_tmpdir);
    let (home, codex) = (machine.path("home"), machine.path("home/.codex"));
    let text = |path: PathBuf| path.to_str().expect("UTF-8").to_owned();
    assert_eq!(sandbox.writable_roots, ["/u".to_owned(), text(home.join("x")), text(codex.join("beside"))]);
    assert!(settings.is_trusted);
    assert_eq!(settings.files.len(), 4);
    let place = |key: &str| {
        let row = settings.explained.iter().find(|row| row.key == key).expect("the key is explained");
        (row.value.clone(), row.source.to_string())
    };
    assert_eq!(place("sandbox_workspace_write.network_access").0, "false");
    assert!(place("sandbox_workspace_write.network_access").1.ends_with("home/.codex/config.toml:4"));
    assert!(place("sandbox_workspace_write.exclude_slash_tmp").1.ends_with("etc/config.toml:5"));
    assert!(place("project_doc_max_bytes").1.ends_with("work/a/.codex/config.toml:1"));

    machine.profile = Some("fast".to_owned());
    fs::remove_file(machine.path("work/.codex/config.toml")).expect("removed");
    assert_eq!(machine.load().expect("valid").model.as_deref(), Some("profile"));
}

#[test]
fn a_project_counts_only_when_it_is_trusted() {
    let files = [("work/.codex/config.toml", "approval_policy = 'never'\n")];
    let settings = Machine::new(&files).load().expect("valid");
    assert_eq!((settings.approval, settings.is_trusted), (None, false));
    assert!(settings.notes[0].contains("not trusted"), "{:?}", settings.notes);
    for (folder, is_trusted) in [("work", true), ("work/a/b", true), ("work/a", false), ("home", false)] {
        let settings = Machine::new(&files).trust(folder).load().expect("valid");
        // The folder of the settings is the root; only trust in it, or in what it belongs to, counts.
        let counts = settings.approval == Some(ApprovalPolicy::Never);
        assert_eq!(counts, folder == "work", "{folder}");
        assert_eq!(settings.is_trusted, is_trusted && counts, "{folder}");
    }
    let user = ("home/.codex/config.toml", "[projects.'/else']\ntrust_level = 'trusted'");
    assert_eq!(Machine::new(&[files[0], user]).load().expect("valid").approval, None);
}

#[test]
fn an_invalid_file_of_an_untrusted_project_is_not_even_read() {
    let machine =
        Machine::new(&[("work/.codex/config.toml", "= broken"), ("work/.codex/rules/x.rules", "(")]);
    assert!(machine.load().is_ok());
    assert!(matches!(machine.trust("work").load(), Err(CodexError::Invalid { .. })));
}

#[test]
fn a_trusted_project_still_cannot_speak_for_the_user() {
    let project = "notify = ['evil']\nmodel_provider = 'x'\nprofile = 'y'\nmodel = 'm'\nproject_root_markers = []\n\
                   openai_base_url = 'u'\n[otel]\nexporter = 'none'\n[projects.'/']\ntrust_level = 'trusted'\n";
    let settings = Machine::new(&[("work/.codex/config.toml", project)]).trust("work").load().expect("valid");
    assert_eq!((settings.notify, settings.otel), (None, None));
    assert_eq!(settings.model.as_deref(), Some("m"));
    assert_eq!(settings.instructions.root_markers, [".git"]);
    assert_eq!(settings.notes.len(), 7, "{:?}", settings.notes);
}

#[test]
fn markers_say_where_the_project_starts() {
    let root_of = |config: &str, make: &[&str]| {
        let machine = Machine::new(&[("home/.codex/config.toml", config)]);
        for folder in make {
            fs::create_dir_all(machine.path(folder)).expect("a folder");
        }
        let root = machine.load().expect("valid").project_root;
        let base = fs::canonicalize(machine.path("")).expect("the base");
        root.strip_prefix(base).expect("below the base").to_owned()
    };
    assert_eq!(root_of("", &[]), Path::new("work"));
    assert_eq!(root_of("project_root_markers = ['mark']", &["work/a/mark"]), Path::new("work/a"));
    assert_eq!(root_of("project_root_markers = ['nothing-has-this']", &[]), Path::new("work/a/b"));
    assert_eq!(root_of("project_root_markers = []", &[]), Path::new("work/a/b"));
}

/// A worktree belongs to its repository only if the repository says so too.
#[test]
fn trust_in_a_repository_covers_its_own_worktrees_only() {
    let build = |back: &str| {
        let mut machine =
            Machine::new(&[("tree/.codex/config.toml", "model = 'tree'"), ("work/.git/HEAD", "ref")])
                .trust("work");
        let data = machine.path("work/.git/worktrees/tree");
        fs::create_dir_all(&data).expect("a folder");
        fs::write(data.join("gitdir"), machine.path(back).to_str().expect("UTF-8")).expect("written");
        let mark = format!("gitdir: {}\n", data.display());
        fs::write(machine.path("tree/.git"), mark).expect("written");
        machine.cwd = machine.path("tree");
        machine.load().expect("valid").model
    };
    assert_eq!(build("tree/.git").as_deref(), Some("tree"));
    assert_eq!(build("other/.git"), None);
}

#[test]
fn the_home_can_be_elsewhere() {
    let machine =
        Machine::new(&[("elsewhere/config.toml", "model = 'x'"), ("home/.codex/config.toml", "= bad")]);
    let elsewhere = machine.path("elsewhere");
    let settings = machine.load_with(&[("CODEX_HOME", &elsewhere)]).expect("valid");
    assert_eq!(settings.model.as_deref(), Some("x"));
    assert_eq!(settings.home, Some(elsewhere));
    let missing = machine.path("missing");
    let error = machine.load_with(&[("CODEX_HOME", &missing)]).expect_err("no folder");
    assert!(matches!(error, CodexError::HomeNotADirectory { .. }));
    // The home's own settings folder is not a project's.
    let mut machine = Machine::new(&[("home/.codex/config.toml", "notify = ['me']")]);
    machine.cwd = machine.path("home");
    assert_eq!(machine.load().expect("valid").notify, Some(vec!["me".to_owned()]));
}

#[test]
fn profiles_are_files_with_plain_names() {
    let mut machine = Machine::new(&[("home/.codex/config.toml", "[profiles.old]\nmodel = 'x'")]);
    assert!(machine.load().is_ok());
    for (name, expected) in [
        ("old", "the table `profiles.old` is no longer read"),
        ("missing", "there is no profile `missing`"),
        ("../x", "a profile cannot be named `../x`"),
        ("", "a profile cannot be named ``"),
    ] {
        machine.profile = Some(name.to_owned());
        let error = machine.load().expect_err("no such profile").to_string();
        assert!(error.contains(expected), "{error}");
    }
    assert!(Machine::problem("profile = 'x'").starts_with("1:11: `profile` is no longer read"));
}

#[test]
fn everything_typed_is_read() {
    let config = r#"
        model = "gpt"
        approval_policy = { granular = { sandbox_approval = true, rules = false, mcp_elicitations = true } }
        sandbox_mode = "danger-full-access"
        notify = ["notify-send", "Codex"]
        background_terminal_max_timeout = 60000
        project_doc_fallback_filenames = ["NOTES.md"]
        unknown_key = { a = [1, 2.5, 1979-05-27] }
        [shell_environment_policy]
        inherit = "core"
        ignore_default_excludes = false
        exclude = ["AWS_*"]
        set = { TOKEN = "very-secret" }
        include_only = ["PATH"]
        experimental_use_profile = true
        [otel]
        environment = "dev"
        log_user_prompt = true
        exporter = { otlp-http = { endpoint = "http://h/v1/logs", protocol = "json", headers = { k = "very-secret" } } }
        trace_exporter = { otlp-grpc = { endpoint = "http://h", tls = { ca-certificate = "/ca" } } }
        metrics_exporter = "statsig"
        [mcp_servers.local]
        command = "server"
        args = ["--x"]
        env = { K = "very-secret" }
        env_vars = ["HOME"]
        startup_timeout_sec = 1.5
        tool_timeout_sec = 60
        enabled_tools = ["a"]
        disabled_tools = ["b"]
        default_tools_approval_mode = "writes"
        [mcp_servers.remote]
        url = "https://example/mcp"
        bearer_token_env_var = "T"
        http_headers = { h = "very-secret" }
        enabled = false
        required = true
        [mcp_servers.half]
        enabled = false
    "#;
    let settings = Machine::new(&[("home/.codex/config.toml", config)]).load().expect("valid");
    let Some(ApprovalPolicy::Granular(flags)) = settings.approval else { panic!("{:?}", settings.approval) };
    assert!(flags.sandbox_approval && !flags.rules && flags.mcp_elicitations && !flags.skill_approval);
    assert_eq!(settings.sandbox.as_ref().map(|sandbox| sandbox.mode), Some(SandboxMode::DangerFullAccess));
    assert_eq!(settings.background_terminal_max_timeout, Some(Duration::from_mins(1)));
    assert_eq!(settings.environment.inherit, InheritedEnvironment::Core);
    assert_eq!(settings.environment.set["TOKEN"], "very-secret");
    let otel = settings.otel.clone().expect("otel");
    assert!(
        matches!(&otel.logs, OtelExporter::Http { is_json: true, headers, .. } if headers["k"].reveal() == "very-secret")
    );
    assert!(
        matches!(&otel.traces, OtelExporter::Grpc { tls, .. } if tls.ca_certificate.as_deref() == Some("/ca"))
    );
    assert_eq!(otel.metrics, OtelExporter::Statsig);
    assert_eq!(settings.mcp_servers.keys().collect::<Vec<_>>(), ["local", "remote"]);
    let local = &settings.mcp_servers["local"];
    assert!(matches!(&local.transport, McpTransport::Stdio { command, .. } if command == "server"));
    assert_eq!(local.startup_timeout, Some(Duration::from_millis(1500)));
    assert_eq!((local.enabled, local.required, local.approval), (true, false, McpApproval::Writes));
    let remote = &settings.mcp_servers["remote"];
    assert_eq!((remote.enabled, remote.required), (false, true));
    assert!(settings.notes.iter().any(|note| note.contains("mcp_servers.half")));
    // Only what is set for workers is kept as text, because it is recorded with the run's policy.
    let shown = format!("{:?} {:?} {:?}", settings.explained, settings.otel, settings.mcp_servers);
    assert!(!shown.contains("very-secret"), "{shown}");
}

#[test]
fn what_cannot_be_is_refused_with_its_place() {
    for (config, expected) in [
        ("x = ", "1:5: not valid TOML: "),
        (
            "\n\n  approval_policy = 'alwys'",
            "3:21: `approval_policy` cannot be `alwys` (known are `never`, `on-request`, `on-failure`, `granular`)",
        ),
        (
            "approval_policy = 'nevr'",
            "1:19: `approval_policy` cannot be `nevr` (did you mean `never`? known are",
        ),
        ("approval_policy = 'untrusted'", "1:19: `approval_policy` cannot be `untrusted` (Codex no longer"),
        ("approval_policy = 1", "1:19: `approval_policy` must be a string or a table, not of type integer"),
        (
            "approval_policy = { granular = { rules = true } }",
            "1:32: `approval_policy.granular` needs `sandbox_approval`",
        ),
        ("approval_policy = { other = {} }", "1:19: `approval_policy` as a table must"),
        (
            "sandbox_mode = 'workspace_write'",
            "1:16: `sandbox_mode` cannot be `workspace_write` (did you mean `workspace-write`?",
        ),
        (
            "sandbox_workspace_write = 3",
            "1:27: `sandbox_workspace_write` must be a table, not of type integer",
        ),
        (
            "[sandbox_workspace_write]\nnetwork_access = 'yes'",
            "2:18: `sandbox_workspace_write.network_access` must be true or false, not of type string",
        ),
        (
            "[sandbox_workspace_write]\nwritable_roots = ['/a', 1]",
            "2:25: `sandbox_workspace_write.writable_roots` must be a list of strings, not of type integer",
        ),
        (
            "[shell_environment_policy]\ninherit = 'some'",
            "2:11: `shell_environment_policy.inherit` cannot be `some` (known are `all`, `core`, `none`)",
        ),
        ("notify = 'x'", "1:10: `notify` must be a list of strings, not of type string"),
        (
            "project_doc_max_bytes = -1",
            "1:25: `project_doc_max_bytes` must be a whole number that is not negative",
        ),
        ("project_doc_max_bytes = 99999999999999999999", "1:25: "),
        ("[otel]\nexporter = 'otlp'", "2:12: `otel.exporter` cannot be `otlp`"),
        ("[otel]\nexporter = { otlp-http = {} }", "2:12: `otel.exporter.otlp-http` needs `endpoint`"),
        ("[mcp_servers.x]\ncommand = 'a'\nurl = 'b'", "1:1: `mcp_servers.x` has both"),
        (
            "[mcp_servers.x]\ncommand = 'a'\nstartup_timeout_sec = 'x'",
            "3:23: `mcp_servers.x.startup_timeout_sec` must be seconds",
        ),
        (
            "[projects.'/x']\ntrust_level = 'full'",
            "2:15: `projects./x.trust_level` cannot be `full` (known are `trusted`, `untrusted`)",
        ),
    ] {
        let got = Machine::problem(config);
        assert!(got.starts_with(expected), "{config}\n gave {got}\n want {expected}");
    }
}

#[test]
fn values_codex_reads_otherwise_are_noted() {
    let load = |config: &str| Machine::new(&[("home/.codex/config.toml", config)]).load().expect("valid");
    let settings = load("approval_policy = 'on-failure'");
    assert_eq!(settings.approval, Some(ApprovalPolicy::OnRequest));
    assert_eq!(settings.notes.len(), 1);
    for (config, mode) in [
        ("default_permissions = ':workspace'", SandboxMode::WorkspaceWrite),
        ("default_permissions = 'mine'", SandboxMode::ReadOnly),
        ("default_permissions = ':danger-full-access'\nsandbox_mode = 'read-only'", SandboxMode::ReadOnly),
        ("default_permissions = 'mine'\nsandbox_mode = 'danger-full-access'", SandboxMode::ReadOnly),
    ] {
        assert_eq!(load(config).sandbox.map(|sandbox| sandbox.mode), Some(mode), "{config}");
    }
}

#[test]
fn requirements_leave_less_to_choose_from() {
    let load = |requirements: &str, config: &str| {
        Machine::new(&[("etc/requirements.toml", requirements), ("home/.codex/config.toml", config)]).load()
    };
    let settings = load(
        "allowed_approval_policies = ['on-request']\nallowed_sandbox_modes = ['workspace-write', 'read-only']\nfuture = 1",
        "approval_policy = 'never'\nsandbox_mode = 'danger-full-access'",
    )
    .expect("valid");
    assert_eq!(settings.approval, Some(ApprovalPolicy::OnRequest));
    assert_eq!(settings.sandbox.map(|sandbox| sandbox.mode), Some(SandboxMode::ReadOnly));
    assert_eq!(settings.notes.len(), 3, "{:?}", settings.notes);

    let rules = "[rules]\nprefix_rules = [{ pattern = [{ token = 'git' }, { any_of = ['push', 'pull'] }], decision = 'forbidden', justification = 'j' }]";
    let settings = load(rules, "").expect("valid");
    assert_eq!(
        settings.rules[0].pattern,
        [vec!["git".to_owned()], vec!["push".to_owned(), "pull".to_owned()]]
    );

    for bad in [
        "allowed_sandbox_modes = ['none']",
        "allowed_sandbox_modes = []",
        "allowed_approval_policies = 'never'",
        "rules = 1",
        "[rules]\nprefix_rules = [{ pattern = [], decision = 'forbidden' }]",
        "[rules]\nprefix_rules = [{ pattern = [{ token = 'a' }], decision = 'allow' }]",
        "= x",
    ] {
        assert!(matches!(load(bad, ""), Err(CodexError::Invalid { .. })), "{bad}");
    }
}

#[test]
fn files_are_bounded_and_regular() {
    let long = format!("# {}\n", "x".repeat(300_000));
    let error = Machine::new(&[("home/.codex/config.toml", &long)]).load().expect_err("too long");
    assert!(matches!(error, CodexError::TooLarge { .. }));
    let machine = Machine::new(&[]);
    fs::create_dir(machine.path("home/.codex/config.toml")).expect("a folder");
    assert!(matches!(machine.load(), Err(CodexError::Read { .. })));
    let deep = format!("a = {}{}", "[".repeat(50_000), "]".repeat(50_000));
    assert!(Machine::new(&[("home/.codex/config.toml", &deep)]).load().is_err());
    let error = Machine::problem("a = 1\n\u{0}");
    assert!(error.starts_with("2:"), "{error}");
}
