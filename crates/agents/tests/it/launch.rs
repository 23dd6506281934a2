//! What a driver makes of a request.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use co_agents::{AgentRequest, ConsentDecision, Launch, PrepareError, Steered, ThreadId, driver_for};
use co_model::SandboxMode;
use tempfile::TempDir;

struct Machine {
    _directory: TempDir,
    codex: PathBuf,
}

impl Machine {
    fn new() -> Self {
        let directory = TempDir::new().unwrap();
        let codex = directory.path().join("codex");
        fs::write(&codex, "\x7fELF").unwrap();
        fs::set_permissions(&codex, fs::Permissions::from_mode(0o755)).unwrap();
        Self { _directory: directory, codex }
    }

    /// Prepares `request`, with this machine's `PATH`.
    fn prepare(&self, request: &AgentRequest<'_>) -> Result<Launch, PrepareError> {
        let path = OsString::from(self.codex.parent().unwrap());
        let environment = |name: &str| (name == "PATH").then(|| path.clone());
        driver_for("codex")?.prepare(&AgentRequest { environment: &environment, ..request.clone() })
    }

    fn arguments(&self, request: &AgentRequest<'_>) -> Vec<String> {
        let launch = self.prepare(request).unwrap();
        assert_eq!(launch.argv[0], self.codex);
        launch.argv[1..].iter().map(|argument| argument.to_str().unwrap().to_owned()).collect()
    }
}

fn plain() -> AgentRequest<'static> {
    AgentRequest::new("codex", "Do --it.\n", Path::new("/work"), &|_| None)
}

#[test]
fn a_plain_request_leaves_everything_to_the_configuration() {
    let machine = Machine::new();
    assert_eq!(machine.arguments(&plain()), ["exec", "--json", "-C", "/work", "-"]);
    assert_eq!(machine.prepare(&plain()).unwrap().environment_additions, []);
}

#[test]
fn an_agent_of_one_way_is_told_its_prompt_and_nothing_else() {
    let mut dialogue = driver_for("codex").unwrap().dialogue(&plain());
    assert!(!dialogue.input_open());
    assert_eq!(dialogue.outgoing(), b"Do --it.\n");
    assert_eq!(dialogue.steer("Faster."), Steered::NotSupported);
    assert!(!dialogue.answer("item_0", &ConsentDecision::once()));
    assert!(!dialogue.interrupt() && !dialogue.continue_with("And that."));
    assert_eq!(dialogue.outgoing(), b"");
}

#[test]
fn every_option_stands_before_the_resume() {
    let thread: ThreadId = "t-1".parse().unwrap();
    let settings = [("a.b".to_owned(), "[1]".to_owned())];
    let extra = [OsString::from("--ephemeral")];
    let arguments = Machine::new().arguments(&AgentRequest {
        thread: Some(&thread),
        model: Some("m"),
        sandbox: Some(SandboxMode::WorkspaceWrite),
        profile: Some("p"),
        settings: &settings,
        extra_arguments: &extra,
        outside_repository: true,
        last_message_file: Some(Path::new("/o/last")),
        output_schema_file: Some(Path::new("/o/schema")),
        ..plain()
    });
    let expected = "exec --json -C /work -s workspace-write -m m -p p -c a.b=[1] -o /o/last --output-schema /o/schema \
                    --skip-git-repo-check --ephemeral resume t-1 -";
    assert_eq!(arguments.join(" "), expected);
}

#[test]
fn what_cannot_be_started_is_refused_by_name() {
    let machine = Machine::new();
    for prompt in ["", " \n\t"] {
        let error = machine.prepare(&AgentRequest { prompt, ..plain() }).unwrap_err();
        assert!(matches!(error, PrepareError::EmptyPrompt) && error.hint().is_some());
    }
    let error = machine.prepare(&AgentRequest { cwd: Path::new("work"), ..plain() }).unwrap_err();
    assert_eq!(error.to_string(), "working directory `work` is not absolute");
    let error = machine.prepare(&AgentRequest { agent: "command", ..plain() }).unwrap_err();
    assert!(error.to_string().starts_with("no agent is called `command`; known: codex, "), "{error}");
    assert!(matches!(driver_for("Codex"), Err(PrepareError::UnknownAgent { .. })));
    let error =
        machine.prepare(&AgentRequest { program: Some(Path::new("no-such-codex")), ..plain() }).unwrap_err();
    assert!(
        error.to_string().starts_with("agent program `no-such-codex` was not found; looked in "),
        "{error}"
    );
    assert!(error.hint().unwrap().contains("npm install"));
}

#[test]
fn a_request_shows_no_prompt_when_it_is_printed() {
    let environment = |_: &str| None;
    let request = AgentRequest::new("codex", "secret", Path::new("/work"), &environment);
    let text = format!("{request:?}");
    assert!(!text.contains("secret") && text.contains("/work"), "{text}");
}
