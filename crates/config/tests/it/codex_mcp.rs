//! Which MCP servers a run may use, and what of their definitions is recorded.

use co_config::{CodexSettings, McpServerError, McpTransport, mcp_policy};
use co_model::McpApproval;

use crate::codex_layers::Machine;

fn settings(text: &str) -> CodexSettings {
    Machine::new(&[("home/.codex/config.toml", text)]).load().unwrap_or_else(|error| panic!("{error}"))
}

const TWO: &str = r#"
    [mcp_servers.files]
    command = "files-server"
    args = ["--root", "."]
    env = { TOKEN = "secret-one" }
    default_tools_approval_mode = "prompt"
    disabled_tools = ["wipe"]
    [mcp_servers.files.tools.read]
    approval_mode = "approve"
    [mcp_servers.web]
    url = "https://example/mcp"
    env_vars = []
    [mcp_servers.off]
    command = "off"
    enabled = false
"#;

#[test]
fn what_is_chosen_is_recorded_and_the_rest_stays_off() {
    let settings = settings(TWO);
    let policy = mcp_policy(&settings, ["files", "files"], Some("work")).unwrap();
    assert_eq!(policy.servers.keys().collect::<Vec<_>>(), ["files"]);
    assert_eq!(policy.others, ["off", "web"]);
    assert_eq!(policy.profile.as_deref(), Some("work"));
    let files = &policy.servers["files"];
    assert_eq!(files.approval_of("read"), McpApproval::Approve);
    assert_eq!(files.approval_of("write"), McpApproval::Prompt);
    assert!(!settings.mcp_servers["files"].offers("wipe") && settings.mcp_servers["files"].offers("read"));
    assert!(mcp_policy(&settings, [], Some("work")).unwrap().is_unset());
    let error = mcp_policy(&settings, ["flies"], None).unwrap_err();
    assert_eq!(error.hint().as_deref(), Some("did you mean `files`?"));
    let error = mcp_policy(&settings, ["off"], None).unwrap_err();
    assert_eq!(error, McpServerError::Disabled { name: "off".to_owned() });
}

#[test]
fn a_fingerprint_is_of_everything_but_secrets() {
    let of = |text: &str| settings(text).mcp_servers["files"].fingerprint();
    let known = of(TWO);
    assert_eq!(of(&TWO.replace("secret-one", "secret-two")), known);
    for (from, to) in [
        ("files-server", "other-server"),
        ("--root", "--boot"),
        ("TOKEN =", "TOKENS ="),
        ("\"wipe\"", "\"wash\""),
        ("default_tools_approval_mode", "cwd = '/'\ndefault_tools_approval_mode"),
    ] {
        assert_ne!(of(&TWO.replace(from, to)), known, "{from}");
    }
}

#[test]
fn newer_and_older_spellings_are_read() {
    let settings = settings(
        r#"
        [mcp_servers.s]
        command = "s"
        startup_timeout_ms = 1500
        env_vars = ["ONE", { name = "TWO", source = "local" }]
        "#,
    );
    let server = &settings.mcp_servers["s"];
    assert_eq!(server.startup_timeout, Some(std::time::Duration::from_millis(1500)));
    let McpTransport::Stdio { env_vars, .. } = &server.transport else { panic!("{server:?}") };
    assert_eq!(env_vars, &["ONE", "TWO"]);
}

#[test]
fn a_projects_servers_count_only_where_it_is_trusted() {
    let files = [("work/.codex/config.toml", "[mcp_servers.files]\ncommand = 'x'")];
    let untrusted = Machine::new(&files).load().unwrap();
    assert!(untrusted.mcp_server("files").is_err());
    let trusted = Machine::new(&files).trust("work").load().unwrap();
    assert!(trusted.mcp_server("files").is_ok());
}
