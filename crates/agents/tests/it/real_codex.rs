//! The real Codex CLI, offline, against a scripted model.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use co_agents::{
    AgentExit, AgentObservation, AgentRequest, AgentVerdict, FailureClass, Terminal, ThreadId, judge,
};
use co_model::{CallStatus, ChangeKind, FileChange, TokenUsage};
use co_testkit::{
    CodexHome, End, INSTALL_HINT, ModelServer, Output, Repository, Script, Step, codex_program,
};

use crate::play::{Play, Played, play, start};

const PATIENCE: Duration = Duration::from_mins(1);

/// Holds everything that one conversation needs: a model, a home and a repository.
pub(crate) struct Stage {
    pub(crate) server: ModelServer,
    pub(crate) home: CodexHome,
    pub(crate) repository: Repository,
    codex: PathBuf,
    pub(crate) environment: Vec<(OsString, OsString)>,
}

impl Stage {
    pub(crate) fn new(steps: impl IntoIterator<Item = Step>) -> Self {
        Self::with_retries(steps, 0)
    }

    pub(crate) fn with_retries(steps: impl IntoIterator<Item = Step>, retries: u32) -> Self {
        let codex = codex_program().expect(INSTALL_HINT);
        let server = ModelServer::start(Script::new(steps));
        let home = CodexHome::with_retries(&server.base_url(), retries);
        let repository = Repository::with_files(&[("greeting.txt", "hello\n")]);
        let environment = home.environment(path());
        Self { server, home, repository, codex, environment }
    }

    pub(crate) fn request<'a>(
        &'a self,
        environment: &'a dyn Fn(&str) -> Option<OsString>,
    ) -> AgentRequest<'a> {
        AgentRequest {
            program: Some(&self.codex),
            ..AgentRequest::new("codex", "Change the greeting.", self.repository.root(), environment)
        }
    }

    fn start(&self) -> Play {
        let environment = |_: &str| Some(path());
        start(&self.request(&environment), &self.environment)
    }

    fn play(&self) -> Played {
        let environment = |_: &str| Some(path());
        play(&self.request(&environment), &self.environment)
    }

    fn resume(&self, thread: &ThreadId) -> Played {
        let environment = |_: &str| Some(path());
        play(&AgentRequest { thread: Some(thread), ..self.request(&environment) }, &self.environment)
    }
}

#[expect(clippy::disallowed_methods, reason = "the agent's commands need the PATH of this machine")]
pub(crate) fn path() -> OsString {
    std::env::var_os("PATH").expect("PATH is set")
}

#[track_caller]
fn verdict(played: &Played) -> (FailureClass, String) {
    match judge(&played.report, played.exit, &played.stderr, None) {
        AgentVerdict::Failed { class, message, .. } => (class, message),
        AgentVerdict::Succeeded => panic!("accepted {played:?}"),
    }
}

fn update(patch: &str) -> Step {
    Step::apply_patch(format!("*** Begin Patch\n{patch}*** End Patch\n"))
}

#[test]
fn a_turn_edits_files_runs_a_command_and_is_judged_a_success() {
    let stage = Stage::new([
        Step::reasoning("**Looking**").then(Output::Shell { command: "cat greeting.txt; exit 3".into() }),
        update("*** Update File: greeting.txt\n@@\n-hello\n+goodbye\n*** Add File: docs/new.txt\n+new\n"),
        Step::message("The greeting is changed."),
    ]);
    let played = stage.play();
    assert_eq!(
        judge(&played.report, played.exit, &played.stderr, None),
        AgentVerdict::Succeeded,
        "{played:#?}"
    );
    assert_eq!(stage.repository.read("greeting.txt"), "goodbye\n");
    assert_eq!(stage.repository.git(&["status", "--porcelain", "-uall"]), " M greeting.txt\n?? docs/new.txt");

    let report = &played.report;
    assert_eq!(report.terminal, Terminal::Completed);
    let [command] = report.commands.as_slice() else { panic!("{:?}", report.commands) };
    let outcome = command.outcome.as_ref().unwrap();
    assert_eq!((outcome.exit_code, outcome.status), (Some(3), CallStatus::Failed));
    assert_eq!(command.command, "cat greeting.txt; exit 3");
    let change = |path: &str, kind| FileChange { path: path.into(), kind };
    let expected = [change("docs/new.txt", ChangeKind::Add), change("greeting.txt", ChangeKind::Update)];
    assert_eq!(report.file_changes, expected);
    assert_eq!(report.last_message.as_deref(), Some("The greeting is changed."));
    let usage = TokenUsage { input: 300, cached_input: 30, output: 60, reasoning_output: 15 };
    assert_eq!(report.usage, Some(usage));
    assert_eq!((report.garbage_lines, report.truncated_last_line), (0, false), "{report:?}");
    assert!(report.unknown_types.is_empty() && report.warnings.is_empty(), "{report:?}");

    let thread_id = report.thread_id.clone().unwrap();
    assert_eq!(played.observations[0], AgentObservation::ThreadKnown { thread_id });
    let requests = stage.server.requests();
    assert_eq!(requests.iter().map(|request| request.step).collect::<Vec<_>>(), [Some(0), Some(1), Some(2)]);
    assert!(requests[0].input_contains("Change the greeting."));
    assert_eq!(requests[0].headers["authorization"], "Bearer scripted");
}

#[test]
fn a_resume_continues_the_same_thread_and_counts_its_usage_on() {
    let stage = Stage::new([Step::message("one"), Step::message("two")]);
    let first = stage.play();
    let thread = first.report.thread_id.clone().unwrap();
    let second = stage.resume(&thread);
    assert_eq!(judge(&second.report, second.exit, &second.stderr, Some(&thread)), AgentVerdict::Succeeded);
    assert!(stage.server.requests()[1].input_contains("one"), "the history is sent again");
    assert_eq!((first.report.usage.unwrap().input, second.report.usage.unwrap().input), (100, 200));
}

#[test]
fn options_reach_codex_also_when_a_thread_is_resumed() {
    let stage = Stage::new([Step::message("one"), Step::message(r#"{"answer":1}"#)]);
    let thread = stage.play().report.thread_id.unwrap();
    let last_message = stage.repository.outside().join("last.txt");
    let schema = stage.repository.outside().join("schema.json");
    std::fs::write(&schema, r#"{"type":"object","additionalProperties":false}"#).unwrap();
    let settings = [("model_reasoning_effort".to_owned(), "\"medium\"".to_owned())];
    let environment = |_: &str| Some(path());
    let request = AgentRequest {
        thread: Some(&thread),
        last_message_file: Some(&last_message),
        output_schema_file: Some(&schema),
        settings: &settings,
        outside_repository: true,
        ..stage.request(&environment)
    };
    let played = play(&request, &stage.environment);
    assert_eq!(judge(&played.report, played.exit, &played.stderr, Some(&thread)), AgentVerdict::Succeeded);
    assert_eq!(std::fs::read_to_string(&last_message).unwrap(), r#"{"answer":1}"#);
    let body = &stage.server.requests()[1].body;
    assert_eq!(body["text"]["format"]["schema"]["type"], "object");
    assert_eq!(body["reasoning"]["effort"], "medium");
}

#[test]
fn an_unknown_thread_is_never_replaced_by_a_fresh_one() {
    let stage = Stage::new([Step::message("fresh")]);
    let gone: ThreadId = "01a1bbbb-0000-7000-8000-000000000000".parse().unwrap();
    let played = stage.resume(&gone);
    assert_eq!(verdict(&played).0, FailureClass::ThreadNotFound, "{played:?}");
    // Codex takes what is no UUID for a thread's name, finds none, begins a fresh thread and reports success.
    let name: ThreadId = "no-such-name".parse().unwrap();
    let played = stage.resume(&name);
    assert_eq!((&played.report.terminal, played.exit), (&Terminal::Completed, AgentExit::Code { code: 0 }));
    let AgentVerdict::Failed { class, .. } = judge(&played.report, played.exit, &played.stderr, Some(&name))
    else {
        panic!("a fresh thread was accepted");
    };
    assert_eq!(class, FailureClass::ThreadMismatch);
}

#[test]
fn each_failure_of_the_model_is_recognised_on_the_real_thing() {
    let error = |text: &str| serde_json::json!({ "error": { "message": text } });
    let table = [
        (Step::unauthorized(), FailureClass::NotAuthenticated),
        (Step::usage_limit(), FailureClass::UsageLimit),
        (Step::http(429, error("slow down")), FailureClass::RateLimited),
        (Step::http(500, error("boom")), FailureClass::ModelOverloaded),
        (Step::http(400, error("bad")), FailureClass::InvalidRequest),
        (Step::failed("server_is_overloaded", "busy"), FailureClass::ModelOverloaded),
        (Step::failed("context_length_exceeded", "long"), FailureClass::ContextExceeded),
        (Step::failed("rate_limit_exceeded", "slow down"), FailureClass::RateLimited),
        (
            Step::default().end(End::Incomplete { reason: "max_output_tokens".into() }),
            FailureClass::StreamDisconnected,
        ),
        (Step::message("half").end(End::Cut), FailureClass::StreamDisconnected),
    ];
    for (step, class) in table {
        let stage = Stage::new([step.clone()]);
        let played = stage.play();
        assert_eq!(verdict(&played).0, class, "{step:?} {played:#?}");
        assert!(played.report.thread_id.is_some(), "the thread is known, so that it can be resumed");
    }
}

#[test]
fn a_retry_that_works_is_a_success_with_a_warning() {
    let stage = Stage::with_retries([Step::cut(), Step::message("at last")], 1);
    let played = stage.play();
    assert_eq!(judge(&played.report, played.exit, &played.stderr, None), AgentVerdict::Succeeded);
    let [warning] = played.report.warnings.as_slice() else { panic!("{:?}", played.report.warnings) };
    assert!(warning.starts_with("Reconnecting"), "{warning}");
}

#[test]
fn codex_killed_while_the_model_is_silent_is_told_as_such_and_its_thread_goes_on() {
    let stage = Stage::new([Step::hang(), Step::message("again")]);
    let mut playing = stage.start();
    stage.server.wait_for_requests(1, PATIENCE);
    playing.child.kill().unwrap();
    let played = playing.wait();
    assert_eq!(verdict(&played).0, FailureClass::Killed { signal: 9 });
    let thread = played.report.thread_id.expect("the thread was known before the kill");
    let resumed = stage.resume(&thread);
    assert_eq!(judge(&resumed.report, resumed.exit, &resumed.stderr, Some(&thread)), AgentVerdict::Succeeded);
}

#[test]
fn a_command_with_megabytes_of_output_keeps_its_exit_code() {
    let stage =
        Stage::new([Step::shell("sleep 1; head -c 3000000 /dev/zero; exit 9"), Step::message("done")]);
    let played = stage.play();
    let [command] = played.report.commands.as_slice() else { panic!("{:?}", played.report) };
    let outcome = command.outcome.as_ref().unwrap();
    assert_eq!((outcome.exit_code, outcome.status), (Some(9), CallStatus::Failed));
    assert_eq!(played.report.overlong_lines, 0);
}

#[test]
fn what_codex_refuses_to_start_with_is_told_in_its_own_words() {
    let stage = Stage::new([]);
    std::fs::write(stage.home.codex_home().join("config.toml"), "model = = 1\n").unwrap();
    let (class, message) = verdict(&stage.play());
    assert_eq!(class, FailureClass::InvalidConfiguration);
    assert!(message.contains("config.toml:1"), "{message}");

    let stage = Stage::new([]);
    let environment = |_: &str| Some(path());
    let request = AgentRequest { profile: Some("no/such"), ..stage.request(&environment) };
    let played = play(&request, &stage.environment);
    assert_eq!(verdict(&played).0, FailureClass::InvalidConfiguration, "{played:?}");
}

#[test]
fn a_missing_key_is_an_authentication_failure() {
    let mut stage = Stage::new([]);
    stage.environment.retain(|(name, _)| name != "SCRIPTED_API_KEY");
    assert_eq!(verdict(&stage.play()).0, FailureClass::NotAuthenticated);
}
