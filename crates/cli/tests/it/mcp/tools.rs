//! The client side: tools of the person's own servers, by hand and as stages of a run.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Child;

use co_testkit::example;
use serde_json::{Value, json};

use super::{Served, Station};
use crate::agents::wait_until_gone;
use crate::support::{Ended, Project, wait_for};

const SECRET: &str = "hunter2-hunter2-hunter2";

/// A repository, and settings that define servers.
struct Bench {
    project: Project,
    config: PathBuf,
}

impl Bench {
    /// The pipeline `main` of these stages; with the tool server as `files`, which is switched on.
    fn new(stages: &Value) -> Self {
        let pipelines = json!([{"id": "main", "mcp_servers": ["files"], "stages": stages}]);
        let project = Project::with_pipelines(&pipelines.to_string());
        let config = project.root().parent().unwrap().join("home/.codex/config.toml");
        fs::create_dir_all(config.parent().unwrap()).unwrap();
        let bench = Self { project, config };
        bench.define(&bench.files());
        bench
    }

    /// The definition of the tool server.
    fn files(&self) -> String {
        let program = example("tool_server");
        format!(
            "[mcp_servers.files]\ncommand = '{}'\nargs = ['{}']\nenv = {{ TOKEN = '{SECRET}' }}\n\
             env_vars = ['PASSED', 'NOT_THERE']\ntool_timeout_sec = 60\n",
            program.display(),
            self.server_id().display()
        )
    }

    /// Where the tool server writes its process's id.
    fn server_id(&self) -> PathBuf {
        self.config.with_file_name("server.pid")
    }

    fn define(&self, text: &str) {
        fs::write(&self.config, text).unwrap();
    }

    fn call(&self, words: &[&str]) -> Ended {
        self.project.run(&[&["mcp", "call"][..], words].concat())
    }

    /// Starts the pipeline and leaves it until it asks; the run.
    fn start_until_asked(&self, words: &[&str]) -> (Child, String) {
        let child = self.project.spawn(&[&["start", "main"][..], words].concat());
        let run = wait_for("a question", || {
            let asked = self.project.run(&["approvals", "questions", "--json"]);
            let asked: Value = serde_json::from_str(&asked.stdout).ok()?;
            asked["questions"].as_array()?.first()?;
            Some(asked["run_id"].as_str()?.to_owned())
        });
        (child, run)
    }
}

fn stage(tool: &str, arguments: &Value) -> Value {
    json!({"id": tool, "kind": "mcp", "server": "files", "tool": tool, "arguments": arguments})
}

/// Whether any file below a folder holds a text.
fn is_anywhere(folder: &Path, text: &str) -> bool {
    let entries = fs::read_dir(folder).unwrap().flatten();
    let found = |path: &Path| fs::read(path).unwrap().windows(text.len()).any(|part| part == text.as_bytes());
    entries.map(|entry| entry.path()).any(
        |path| {
            if path.is_dir() { is_anywhere(&path, text) } else { found(&path) }
        },
    )
}

#[test]
fn a_tool_that_only_reads_is_called_and_its_answer_is_the_stages_output() {
    let read = stage("read", &json!({"path": "note.txt"}));
    let bench = Bench::new(&json!([read, {"id": "after", "command": "echo done"}]));
    bench.project.repository().write("note.txt", "forty-two apples\n");
    // Not even `never` stands in the way of what nobody needs to be asked about.
    let words = ["start", "main", "--approval-policy", "never", "--json"];
    let run = bench.project.run(&words).expect(0).run_id();
    let output = bench.project.run(&["logs", "--run", &run, "--stage", "read", "--raw"]).expect(0);
    assert_eq!(output.stdout, "forty-two apples\n\n");
    let manifest = bench.project.manifest(&run);
    assert_eq!(manifest["commands"][0]["kind"], "mcp");
    assert_eq!(manifest["commands"][0]["command"], r#"files/read {"path":"note.txt"}"#);
    assert_eq!(manifest["policy"]["mcp_servers"][0]["name"], "files");
    assert!(!is_anywhere(&bench.project.path(".runs"), SECRET));
    wait_until_gone(&run);
}

#[test]
fn a_consent_is_asked_once_for_the_same_bytes() {
    let bench = Bench::new(&json!([stage("append", &json!({"text": "one", "path": "out.txt"}))]));
    let (mut child, run) = bench.start_until_asked(&[]);
    assert!(!bench.project.path("out.txt").exists(), "nothing is done before the answer");
    bench.project.run(&["answer", "--run", &run, "yes", "--scope", "always"]).expect(0);
    assert!(child.wait().unwrap().success());
    let quick = ["start", "main", "--question-expires", "200ms"];
    bench.project.run(&quick).expect(0);
    assert_eq!(fs::read_to_string(bench.project.path("out.txt")).unwrap(), "one\none\n");

    // The order of the keys and the blanks are no other bytes; another text is, and another definition.
    let pipelines = |arguments: &str| {
        bench.project.write_pipelines(&format!(
            r#"[{{"id": "main", "mcp_servers": ["files"], "stages": [{{"id": "append", "kind": "mcp",
               "server": "files", "tool": "append", "arguments": {arguments}}}]}}]"#
        ));
    };
    pipelines(r#"{ "path": "out.txt",   "text": "one" }"#);
    bench.project.run(&quick).expect(0);
    pipelines(r#"{"path": "out.txt", "text": "two"}"#);
    bench.project.run(&quick).expect(11);
    pipelines(r#"{"path": "out.txt", "text": "one"}"#);
    bench.define(&bench.files().replace(SECRET, "a-renewed-value"));
    bench.project.run(&quick).expect(0);
    bench.define(&bench.files().replace("tool_timeout_sec", "cwd = '/tmp'\ntool_timeout_sec"));
    bench.project.run(&quick).expect(11);
    assert_eq!(fs::read_to_string(bench.project.path("out.txt")).unwrap(), "one\n".repeat(4));
}

#[test]
fn what_would_be_asked_is_refused_under_never_and_needs_nothing_where_the_settings_allow_it() {
    let bench = Bench::new(&json!([stage("append", &json!({"text": "one", "path": "out.txt"}))]));
    let never = ["start", "main", "--approval-policy", "never"];
    bench.project.run(&never).expect(11);
    assert!(!bench.project.path("out.txt").exists());
    bench.define(&format!("{}[mcp_servers.files.tools.append]\napproval_mode = 'approve'\n", bench.files()));
    bench.project.run(&never).expect(0);
    assert!(bench.project.path("out.txt").exists());
    // A server that says of itself that it only reads is not believed where everything is asked.
    bench.define(&bench.files());
    bench.project.write_pipelines(
        &json!([{"id": "main", "mcp_servers": ["files"], "stages": [stage("read", &json!({"path": "out.txt"}))]}])
            .to_string(),
    );
    let untrusted = ["--approval-policy", "untrusted", "--widen", "--question-expires", "100ms"];
    bench.project.run(&[&["start", "main"][..], &untrusted].concat()).expect(11);
}

#[test]
fn only_what_is_defined_and_switched_on_is_used() {
    let bench = Bench::new(&json!([stage("read", &json!({"path": "x"}))]));
    let refused = |code: i32, words: &[&str], said: &str| {
        let ended = bench.project.run(&[&["start", "main"][..], words].concat()).expect(code);
        assert!(ended.stderr.contains(said), "{}", ended.stderr);
    };
    refused(4, &["--mcp-server", "fils"], "did you mean `files`?");
    bench.define(&format!("{}enabled = false\n", bench.files()));
    refused(11, &[], "switched off");
    bench.define(&format!("{}disabled_tools = ['read']\n", bench.files()));
    refused(11, &[], "out of use");
    bench.define(&bench.files());
    bench.project.write_pipelines(
        &json!([{"id": "main", "stages": [stage("read", &json!({"path": "x"}))]}]).to_string(),
    );
    refused(11, &[], "not switched on");
    bench.project.repository().write("x", "here\n");
    refused(0, &["--mcp-server", "files"], "read");
    // An untrusted project's settings define nothing.
    bench.define("");
    bench.project.repository().write(".codex/config.toml", bench.files());
    refused(4, &["--mcp-server", "files"], "there is no MCP server");
    assert!(
        !bench.project.path(".runs/local/cli").read_dir().unwrap().flatten().any(|run| {
            bench.project.manifest(run.file_name().to_str().unwrap())["status"] != "succeeded"
        })
    );
}

#[test]
fn a_definition_that_changes_under_a_run_is_not_used() {
    let later = stage("read", &json!({"path": "note.txt"}));
    let bench = Bench::new(&json!([{"id": "first", "kind": "gate", "message": "Go on?"}, later]));
    bench.project.repository().write("note.txt", "here\n");
    let (mut child, run) = bench.start_until_asked(&[]);
    bench.define(&bench.files().replace("tool_timeout_sec", "cwd = '/'\ntool_timeout_sec"));
    bench.project.run(&["answer", "--run", &run, "yes"]).expect(0);
    assert!(!child.wait().unwrap().success());
    let logs = bench.project.run(&["logs", "--run", &run, "--stage", "read"]).expect(0);
    assert!(logs.stdout.contains("defined differently"), "{}", logs.stdout);
    bench.define(&bench.files().replace("tool_timeout_sec", "startup_timeout_sec = 30\ntool_timeout_sec"));
    bench.project.run(&["resume", "--run", &run]).expect(0);
}

#[test]
fn a_tool_may_fail_in_every_way() {
    let bench = Bench::new(&json!([stage("fail", &json!({}))]));
    let refused = |code: i32, words: &[&str], said: &str| {
        let ended = bench.call(words).expect(code);
        assert!(ended.stderr.contains(said), "{}", ended.stderr);
        assert!(!ended.stderr.contains(SECRET), "{}", ended.stderr);
    };
    refused(10, &["files", "fail"], "it cannot be done");
    refused(10, &["files", "die"], "exit status: 7");
    refused(4, &["files", "raed"], "it has read, append");
    refused(2, &["files", "read"], "\"path\" is a required property");
    refused(2, &["files", "read", "--arguments", r#"{"path": 1}"#], "/path");
    refused(2, &["files", "read", "--arguments", "[]"], "must be a JSON object");
    refused(2, &["files", "read", "--arguments", "{"], "not JSON");
    bench.define(&bench.files().replace("tool_timeout_sec = 60", "tool_timeout_sec = 0.3"));
    refused(12, &["files", "hang"], "did not answer within 0.3 s");
    bench.define(&bench.files());
    let flood = bench.call(&["files", "flood"]).expect(0);
    assert_eq!(flood.stdout.len(), (4 << 20) + 1);
    let manifest = bench.project.run(&["start", "main", "--json"]).expect(10).run_id();
    let manifest = bench.project.manifest(&manifest);
    assert!(
        manifest["commands"][0]["summary"].as_str().unwrap().contains("it cannot be done"),
        "{manifest:#}"
    );
}

#[test]
fn a_server_may_fail_in_every_way() {
    let bench = Bench::new(&json!([stage("fail", &json!({}))]));
    let refused = |code: i32, definition: &str, said: &str| {
        bench.define(&format!("[mcp_servers.s]\n{definition}\n"));
        let ended = bench.call(&["s", "x"]).expect(code);
        assert!(ended.stderr.contains(said), "{}", ended.stderr);
    };
    refused(12, "command = 'sleep'\nargs = ['100']\nstartup_timeout_sec = 0.3", "was not ready after 0.3 s");
    let garbage =
        "command = 'sh'\nargs = ['-c', 'echo good morning; exec sleep 100']\nstartup_timeout_sec = 3";
    refused(12, garbage, "it printed `good morning`");
    let flood = "command = 'sh'\nargs = ['-c', 'exec yes { | tr -d \"\\n\"']\nstartup_timeout_sec = 0.5";
    refused(12, &flood.replace('\'', "'''"), "was not ready");
    refused(10, "command = 'sh'\nargs = ['-c', 'exit 9']", "exit status: 9");
    refused(3, "command = '/no/such/program'", "/no/such/program");
    refused(3, "url = 'http://127.0.0.1:1/mcp'\nbearer_token_env_var = 'NOT_THERE'", "variable `NOT_THERE`");
    refused(3, "url = 'http://127.0.0.1:1/mcp'", "did not begin as the protocol wants");
    refused(3, "url = 'http://127.0.0.1:1/mcp'\nhttp_headers = { \"a b\" = 'c' }", "header `a b`");
}

#[test]
fn a_server_gets_what_its_definition_names_and_nothing_else() {
    let mut bench = Bench::new(&json!([stage("fail", &json!({}))]));
    bench.project.set("PASSED", "12345");
    bench.project.set("NOT_NAMED", "12345");
    let length = |name: &str| {
        bench.call(&["files", "variable", "--arguments", &json!({"name": name}).to_string()]).expect(0).stdout
    };
    assert_eq!(length("TOKEN").trim(), SECRET.len().to_string());
    assert_eq!(length("PASSED").trim(), "5");
    assert_eq!(length("NOT_NAMED").trim(), "0");
    let noted = bench.call(&["files", "variable", "--arguments", r#"{"name": "HOME"}"#]).expect(0);
    assert!(noted.stderr.contains("`NOT_THERE`, which is not set"), "{}", noted.stderr);
    assert_ne!(noted.stdout.trim(), "0");
}

#[test]
fn a_server_ends_with_the_run_whose_owner_is_killed_and_with_its_time_out() {
    let bench = Bench::new(&json!([stage("hang", &json!({}))]));
    let mut child = bench.project.spawn(&["start", "main"]);
    let id = || fs::read_to_string(bench.server_id()).ok()?.parse::<u32>().ok();
    // The first server says what it has, the second is called.
    let command_lines = || {
        let ours = format!("/proc/{}/cmdline", id()?);
        Some(String::from_utf8_lossy(&fs::read(ours).ok()?).into_owned())
    };
    let run = wait_for("the call under way", || {
        let runs = bench.project.run(&["runs", "--json"]).json();
        let run = runs.as_array()?.first()?["run_id"].as_str()?.to_owned();
        let manifest =
            fs::read_to_string(bench.project.path(&format!(".runs/local/cli/{run}/manifest.json"))).ok()?;
        let manifest: Value = serde_json::from_str(&manifest).ok()?;
        let begun = manifest["commands"][0]["attempts"].as_array()?.first()?["started_at"].is_string();
        (begun && !command_lines()?.is_empty() && is_marked(&run, id()?)).then_some(run)
    });
    let server = id().unwrap();
    assert!(!command_lines().unwrap().contains(SECRET));
    child.kill().unwrap();
    child.wait().unwrap();
    wait_for("the end of the server", || (!Path::new(&format!("/proc/{server}")).exists()).then_some(()));
    wait_until_gone(&run);

    let brief = json!({
        "id": "hang", "kind": "mcp", "server": "files", "tool": "hang", "timeout": "700ms",
    });
    let bench = Bench::new(&json!([brief]));
    let run = bench.project.run(&["start", "main", "--json"]).expect(12).run_id();
    wait_until_gone(&run);
    let server = fs::read_to_string(bench.server_id()).unwrap();
    assert!(!Path::new(&format!("/proc/{server}")).exists());
}

/// Whether a process carries the mark of a run.
fn is_marked(run: &str, process: u32) -> bool {
    let mark = format!("CODEX_ORCHESTRATOR_RUN_ID={run}");
    let environment = fs::read(format!("/proc/{process}/environ")).unwrap_or_default();
    environment.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes())
}

#[test]
fn a_server_at_an_address_is_called_with_its_token() {
    let bench = Bench::new(&json!([{"id": "ask", "kind": "mcp", "server": "web", "tool": "list_pipelines"}]));
    let station = Station::with_stages(r#"[{ "id": "one", "command": "true" }]"#);
    station.repository().write("token", "a-token-in-a-file-of-its-own");
    let served = Served::start(&station, &["--token-file", station.path("token").to_str().unwrap()]);
    bench.define(&format!(
        "{}[mcp_servers.web]\nurl = '{}'\nbearer_token_env_var = 'WEB_TOKEN'\nhttp_headers = {{ X-Extra = 'yes' }}\n",
        bench.files(),
        served.url
    ));
    let with = |token: &str, words: &[&str]| {
        let output = bench.project.command(words).env("WEB_TOKEN", token).output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let (code, listed) = with("a-token-in-a-file-of-its-own", &["mcp", "call", "web", "list_pipelines"]);
    assert!(code == Some(0) && listed.contains("\"main\""), "{listed}");
    assert_eq!(with("another-token-than-the-one", &["mcp", "call", "web", "list_pipelines"]).0, Some(3));
    let start = ["start", "main", "--mcp-server", "web", "--json"];
    let (code, result) = with("a-token-in-a-file-of-its-own", &start);
    assert_eq!(code, Some(0), "{result}");
    assert!(!is_anywhere(&bench.project.path(".runs"), "a-token-in-a-file"));
}

#[test]
fn tools_are_listed_with_what_they_take() {
    let bench = Bench::new(&json!([stage("fail", &json!({}))]));
    let listed = bench.project.run(&["mcp", "tools", "--json"]).expect(0).json();
    let tools = listed["servers"][0]["tools"].as_array().unwrap();
    assert_eq!(tools[0]["name"], "read");
    assert_eq!(tools[0]["read_only"], true);
    assert_eq!(tools[0]["input_schema"]["required"][0], "path");
    assert_eq!(tools[1]["read_only"], false);
    bench.project.run(&["mcp", "tools", "--server", "nobody"]).expect(4);
    let text = bench.project.run(&["mcp", "tools"]).expect(0).stdout;
    assert!(text.contains("read (only reads)"), "{text}");
}
