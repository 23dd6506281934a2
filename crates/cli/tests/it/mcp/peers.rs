//! The official tools of the protocol against our server.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};

use super::{Client, Person, Served, Station, with_sessions};

const ONE: &str = r#"[{ "id": "one", "command": "echo hello" }]"#;
const INSTALL_HINT: &str = "not installed: run `npm ci` in the root of this repository";

/// A file of an npm package of the tests.
fn package_file(path: &str) -> PathBuf {
    let beside = |directory: &Path| directory.join("node_modules").join(path);
    let found = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().map(beside).find(|file| file.is_file());
    found.unwrap_or_else(|| panic!("{path}: {INSTALL_HINT}"))
}

/// The Node that the peers need: the machine's own may be too old for them.
fn node() -> PathBuf {
    let system = if cfg!(target_os = "macos") { "darwin" } else { "linux" };
    let processor = if cfg!(target_arch = "aarch64") { "arm64" } else { "x64" };
    package_file(&format!("node-{system}-{processor}/bin/node"))
}

#[expect(clippy::disallowed_methods, reason = "tests drive the peers as a user's shell would")]
fn run(station: &Station, script: &str, arguments: &[&str]) -> Output {
    let node = node();
    let home = station.path("home");
    std::fs::create_dir_all(&home).unwrap();
    Command::new(&node)
        .arg(package_file(script))
        .args(arguments)
        .current_dir(station.root())
        .env_clear()
        .env("HOME", home)
        .env("PATH", format!("{}:/usr/bin:/bin", node.parent().unwrap().display()))
        .output()
        .unwrap()
}

#[test]
fn the_conformance_suite_finds_nothing_wrong() {
    let station = Station::with_stages(ONE);
    let server = Served::start(&station, &["--no-token"]);
    // The scenarios that call tools, prompts and resources of the suite's own example server.
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/mcp/fixture-scenarios.yml");
    let output = run(
        &station,
        "@modelcontextprotocol/conformance/dist/index.js",
        &["server", "--url", &server.url, "--expected-failures", fixtures.to_str().unwrap()],
    );
    let said =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("Total: 11 passed, 21 failed"), "the suite has changed: {said}");
}

fn inspect(station: &Station, arguments: &[&str]) -> Value {
    let script = "@modelcontextprotocol/inspector/clients/launcher/build/index.js";
    let program = env!("CARGO_BIN_EXE_codex-orchestrator");
    let output = run(station, script, &[&["--cli", program, "mcp", "serve"], arguments].concat());
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {stderr}");
    assert_eq!(stderr, "", "the inspector holds answers against their schemas");
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stdout)))
}

#[test]
fn the_inspector_lists_calls_and_reads() {
    let station = Station::with_stages(ONE);
    let run = Client::stdio(&station, with_sessions(), Person::default().into());
    let id = run.start();
    run.status_at_rest(&id);
    let tools = inspect(&station, &["--method", "tools/list"]);
    assert_eq!(tools["tools"].as_array().unwrap().len(), 21);
    let named =
        |name: &str| tools["tools"].as_array().unwrap().iter().find(|tool| tool["name"] == name).unwrap();
    assert_eq!(named("run_status")["annotations"]["readOnlyHint"], json!(true));
    assert_eq!(named("cancel_run")["annotations"]["destructiveHint"], json!(true));
    let call = |tool: &str, arguments: &[&str]| {
        let named = [&["--method", "tools/call", "--tool-name", tool][..], arguments].concat();
        inspect(&station, &named)["structuredContent"].clone()
    };
    let run_id = format!("run_id={id}");
    assert_eq!(call("list_pipelines", &[])["pipelines"][0]["id"], "main");
    assert_eq!(call("plan", &[])["stages"][0]["id"], "one");
    assert_eq!(call("list_runs", &["--tool-arg", "limit=5"])["runs"][0]["run_id"], id.as_str());
    assert_eq!(call("run_status", &["--tool-arg", &run_id])["status"], "succeeded");
    assert_eq!(call("run_events", &["--tool-arg", &run_id])["at_rest"], true);
    assert_eq!(call("run_logs", &["--tool-arg", &run_id, "stage=one"])["text"], "hello\n");
    assert_eq!(call("recover", &[])["runs"], json!([]));
    let uri = format!("codex-orchestrator://runs/{id}/manifest");
    let read = inspect(&station, &["--method", "resources/read", "--uri", &uri]);
    assert_eq!(read["contents"][0]["mimeType"], "application/json");
}
