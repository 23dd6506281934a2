//! The real Claude Code, offline, against a scripted model.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use co_agents::{
    AgentExit, AgentObservation, AgentRequest, AgentVerdict, ConsentDecision, FailureClass, Steered,
    Terminal, ThreadId,
};
use co_model::{ApprovalPolicy, CallStatus, ChangeKind, FileChange, SandboxMode, ToolUse};
use co_testkit::{
    CLAUDE_INSTALL_HINT, ClaudeHome, End, ModelServer, Output, Repository, Script, Step, claude_program,
};
use serde_json::json;

use crate::talk::{Talk, Told};

const PATIENCE: Duration = Duration::from_mins(1);

/// Holds everything that one session needs: a model, a home and a repository.
struct Stage {
    server: ModelServer,
    home: ClaudeHome,
    repository: Repository,
    claude: PathBuf,
}

impl Stage {
    fn new(steps: impl IntoIterator<Item = Step>) -> Self {
        let claude = claude_program().expect(CLAUDE_INSTALL_HINT);
        let server = ModelServer::start(Script::new(steps));
        let home = ClaudeHome::new(&server.root_url());
        let repository = Repository::with_files(&[("greeting.txt", "hello\n")]);
        Self { server, home, repository, claude }
    }

    fn with(&self, change: impl FnOnce(AgentRequest<'_>) -> Talk) -> Talk {
        let environment = |_: &str| Some(path());
        change(AgentRequest {
            program: Some(&self.claude),
            approval: Some(ApprovalPolicy::OnRequest),
            sandbox: Some(SandboxMode::WorkspaceWrite),
            ..AgentRequest::new("claude", "Change the greeting.", self.repository.root(), &environment)
        })
    }

    fn start(&self) -> Talk {
        self.with(|request| Talk::start(&request, &self.home.environment(path())))
    }

    fn resume(&self, thread: &ThreadId) -> Told {
        let environment = self.home.environment(path());
        self.with(|request| Talk::start(&AgentRequest { thread: Some(thread), ..request }, &environment))
            .wait()
    }
}

#[expect(clippy::disallowed_methods, reason = "the agent's commands need the PATH of this machine")]
fn path() -> OsString {
    std::env::var_os("PATH").expect("PATH is set")
}

fn bash(command: &str) -> ToolUse {
    ToolUse::Command { argv: vec!["bash".into(), "-c".into(), command.into()] }
}

#[test]
fn calls_are_asked_for_performed_once_they_may_and_told() {
    let stage = Stage::new([
        Step::reasoning("Looking").then(Output::Shell { command: "touch made; exit 3".into() }),
        Step::tool("Write", &json!({"file_path": "new.txt", "content": "new\n"})),
        Step::message("The greeting is changed."),
    ]);
    let mut talk = stage.start();
    let question = talk.question();
    assert_eq!((&question.tool, question.escalated), (&bash("touch made; exit 3"), true));
    assert!(question.cwd.is_some() && !question.offers_session);
    talk.answer(&question.item, &ConsentDecision::once());
    assert!(!talk.dialogue.answer(&question.item, &ConsentDecision::once()), "the first answer counts");
    let write = talk.question();
    let ToolUse::Patch { files } = &write.tool else { panic!("{write:?}") };
    assert_eq!((files[0].change.path.as_str(), write.escalated), ("new.txt", false));
    let of_new = "7aa7a5359173d05b63cfd682e3c38487f3cb4f7f1d60659fe59fab1505977d4c";
    assert_eq!(files[0].sha256, of_new, "the hash of what is written");
    assert!(!stage.repository.root().join("new.txt").exists(), "nothing happens before the answer");
    talk.answer(&write.item, &ConsentDecision::once());
    let told = talk.wait();

    assert_eq!(told.verdict(None), AgentVerdict::Succeeded, "{told:#?}");
    assert!(stage.repository.root().join("made").exists());
    assert_eq!(stage.repository.read("new.txt"), "new\n");
    let report = &told.report;
    assert_eq!(report.terminal, Terminal::Completed);
    assert_eq!(told.ended(), [(question.item, CallStatus::Failed), (write.item, CallStatus::Succeeded)]);
    assert_eq!(report.commands[0].outcome.as_ref().unwrap().exit_code, Some(3));
    assert_eq!(report.file_changes, [FileChange { path: "new.txt".into(), kind: ChangeKind::Add }]);
    assert_eq!(report.last_message.as_deref(), Some("The greeting is changed."));
    let usage = report.usage.unwrap();
    assert_eq!((usage.input, usage.cached_input, usage.output), (3 * 110, 30, 60));
    assert!(report.cost_microdollars.unwrap() > 0);
    assert_eq!((report.garbage_lines, report.unknown_types.len()), (0, 0), "{report:?}");
    let pieces: String = told.seen.iter().filter_map(piece).collect();
    assert_eq!(pieces, "The greeting is changed.");
}

fn piece(observation: &AgentObservation) -> Option<&str> {
    match observation {
        AgentObservation::MessageDelta { text } => Some(text),
        _ => None,
    }
}

#[test]
fn a_refusal_reaches_the_model_with_its_reason_and_nothing_is_done() {
    let stage =
        Stage::new([Step::shell("touch made"), Step::message("Then not.").when("because the test says so")]);
    let mut talk = stage.start();
    let question = talk.question();
    talk.answer(&question.item, &ConsentDecision::declined(Some("because the test says so".into())));
    let told = talk.wait();
    assert_eq!(told.verdict(None), AgentVerdict::Succeeded, "{told:#?}");
    assert_eq!(told.ended(), [(question.item, CallStatus::Declined)]);
    assert!(!stage.repository.root().join("made").exists());
}

#[test]
fn a_resume_continues_the_same_session_and_counts_it_on_and_an_unknown_one_is_refused() {
    let stage = Stage::new([Step::message("one"), Step::message("two")]);
    let first = stage.start().wait();
    assert_eq!(first.verdict(None), AgentVerdict::Succeeded, "{first:#?}");
    let thread = first.report.thread_id.clone().unwrap();
    let second = stage.resume(&thread);
    assert_eq!(second.verdict(Some(&thread)), AgentVerdict::Succeeded, "{second:#?}");
    let asked =
        stage.server.requests().into_iter().filter(|request| request.step.is_some()).collect::<Vec<_>>();
    assert!(asked[1].input_contains("one"), "the history is sent again");
    assert_eq!(second.report.usage.unwrap().input, 220);
    assert_eq!(second.report.cost_microdollars, first.report.cost_microdollars.map(|cost| 2 * cost));

    let gone: ThreadId = "01a1bbbb-0000-7000-8000-000000000000".parse().unwrap();
    let told = stage.resume(&gone);
    assert_eq!(told.class(Some(&gone)), FailureClass::ThreadNotFound, "{told:#?}");
}

#[test]
fn each_failure_of_the_model_is_recognised_on_the_real_thing() {
    let error = |kind: &str| json!({"type": "error", "error": {"type": kind, "message": "scripted"}});
    let table = [
        (Step::http(401, error("authentication_error")), FailureClass::NotAuthenticated),
        (Step::http(429, error("rate_limit_error")), FailureClass::RateLimited),
        (Step::http(500, error("api_error")), FailureClass::ModelOverloaded),
        (Step::message("half").end(End::Cut).repeated(), FailureClass::StreamDisconnected),
    ];
    for (step, class) in table {
        let stage = Stage::new([step.clone()]);
        let told = stage.start().wait();
        assert_eq!(told.class(None), class, "{step:?} {told:#?}");
        assert!(told.report.thread_id.is_some(), "the session is known, so that it can be resumed");
    }
}

#[test]
fn killed_while_a_question_is_open_it_is_told_as_such() {
    let stage = Stage::new([Step::shell("touch made")]);
    let mut talk = stage.start();
    let question = talk.question();
    talk.child.kill().unwrap();
    let told = talk.wait();
    assert_eq!(told.class(None), FailureClass::Killed { signal: 9 });
    assert_eq!(told.ended(), [(question.item, CallStatus::Lost)]);
    assert!(!stage.repository.root().join("made").exists());
}

#[test]
fn an_interrupt_refuses_what_is_asked_and_ends_the_turn_and_a_message_reaches_a_running_one() {
    let stage = Stage::new([Step::shell("touch made"), Step::shell("touch also"), Step::message("no")]);
    let mut talk = stage.start();
    let question = talk.question();
    assert_eq!(talk.dialogue.steer("Mind the gap."), Steered::Delivered);
    talk.answer(&question.item, &ConsentDecision::once());
    let second = talk.question();
    assert!(talk.dialogue.interrupt());
    assert!(!talk.dialogue.answer(&second.item, &ConsentDecision::once()), "that came too late");
    talk.write();
    let told = talk.wait();
    assert_eq!(told.report.terminal, Terminal::Interrupted, "{told:#?}");
    assert_eq!(told.class(None), FailureClass::Cancelled);
    assert_eq!(told.ended()[1], (second.item, CallStatus::Declined));
    assert!(stage.repository.root().join("made").exists() && !stage.repository.root().join("also").exists());
    let requests = stage.server.wait_for_requests(2, PATIENCE);
    assert!(requests.iter().any(|request| request.input_contains("Mind the gap.")));
    assert!(told.seen.contains(&AgentObservation::SteerTaken), "its echo tells that it was heard: {told:#?}");
}

#[test]
fn a_second_turn_runs_in_the_same_process_and_untrusted_asks_even_for_what_is_harmless() {
    let stage = Stage::new([Step::message("one"), Step::shell("ls"), Step::message("two")]);
    let environment = stage.home.environment(path());
    let untrusted = |request: AgentRequest<'_>| {
        Talk::start(&AgentRequest { approval: Some(ApprovalPolicy::Untrusted), ..request }, &environment)
    };
    let mut talk = stage.with(untrusted);
    let mut first_turn = true;
    // The runtime decides within the same observation, before it looks whether stdin is to be closed.
    loop {
        let completed = talk.next_turn_end();
        assert!(completed);
        if !std::mem::take(&mut first_turn) {
            break;
        }
        assert!(talk.dialogue.continue_with("And again."));
        talk.write();
        let question = talk.question();
        assert_eq!(question.tool, bash("ls"));
        talk.answer(&question.item, &ConsentDecision::once());
    }
    talk.write();
    let told = talk.wait();
    assert_eq!(told.verdict(None), AgentVerdict::Succeeded, "{told:#?}");
    assert_eq!(told.report.last_message.as_deref(), Some("two"));
}

#[test]
fn what_claude_refuses_to_start_with_is_told_in_its_own_words() {
    let stage = Stage::new([]);
    let environment = stage.home.environment(path());
    let extra = [OsString::from("--no-such-option")];
    let odd = |request: AgentRequest<'_>| {
        Talk::start(&AgentRequest { extra_arguments: &extra, ..request }, &environment)
    };
    let told = stage.with(odd).wait();
    assert_eq!(
        (told.class(None), told.exit),
        (FailureClass::InvalidConfiguration, AgentExit::Code { code: 1 })
    );
    let AgentVerdict::Failed { message, .. } = told.verdict(None) else { unreachable!() };
    assert!(message.contains("--no-such-option"), "{message}");
}
