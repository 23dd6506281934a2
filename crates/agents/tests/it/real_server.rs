//! The real `codex app-server`, offline, against a scripted model.

use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use co_agents::{
    AgentObservation as Seen, AgentRequest, AgentVerdict, ConsentDecision, ConsentRequest, Dialogue,
    FailureClass, Steered, Terminal, ThreadId, judge,
};
use co_model::{ApprovalPolicy, CallStatus, ChangeKind, GranularApproval, SandboxMode, TokenUsage, ToolUse};
use co_testkit::{Output, Step};
use serde_json::json;

use crate::play::{Listener, Play, Played, converse};
use crate::real_codex::{Stage, path};

const PATIENCE: Duration = Duration::from_mins(1);

/// Starts a turn under `untrusted`, where everything that the model does needs consent.
fn start(stage: &Stage, thread: Option<&ThreadId>, listener: Listener) -> Play {
    start_under(stage, ApprovalPolicy::Untrusted, SandboxMode::DangerFullAccess, thread, listener)
}

fn start_under(
    stage: &Stage,
    approval: ApprovalPolicy,
    sandbox: SandboxMode,
    thread: Option<&ThreadId>,
    listener: Listener,
) -> Play {
    let environment = |_: &str| Some(path());
    let request = AgentRequest {
        agent: "codex-app-server",
        approval: Some(approval),
        sandbox: Some(sandbox),
        thread,
        ..stage.request(&environment)
    };
    converse(&request, &stage.environment, listener)
}

fn play(stage: &Stage, listener: Listener) -> Played {
    start(stage, None, listener).wait()
}

/// Decides every consent in the same way.
fn deciding(decision: ConsentDecision) -> Listener {
    Box::new(move |seen, dialogue| {
        if let Seen::ConsentWanted(request) = seen {
            assert!(dialogue.answer(&request.item, &decision));
            assert!(!dialogue.answer(&request.item, &decision), "a consent is answered once");
        }
    })
}

fn silent() -> Listener {
    Box::new(|_, _| {})
}

#[track_caller]
fn succeeded(played: &Played, thread: Option<&ThreadId>) {
    let verdict = judge(&played.report, played.exit, &played.stderr, thread);
    assert_eq!(verdict, AgentVerdict::Succeeded, "{played:#?}");
    let report = &played.report;
    assert_eq!((report.garbage_lines, report.truncated_last_line), (0, false), "{report:?}");
    assert!(report.unknown_types.is_empty(), "{report:?}");
}

#[track_caller]
fn class(played: &Played) -> FailureClass {
    match judge(&played.report, played.exit, &played.stderr, None) {
        AgentVerdict::Failed { class, .. } => class,
        AgentVerdict::Succeeded => panic!("accepted {played:#?}"),
    }
}

fn consents(played: &Played) -> Vec<&ConsentRequest> {
    let wanted = played.observations.iter().filter_map(|seen| match seen {
        Seen::ConsentWanted(request) => Some(&**request),
        _ => None,
    });
    wanted.collect()
}

/// Names what was told of one call, in order.
fn story(played: &Played, of: &str) -> Vec<String> {
    let told = played.observations.iter().filter_map(|seen| match seen {
        Seen::ConsentWanted(request) if request.item == of => Some("wanted".to_owned()),
        Seen::ConsentClosed { item } if item == of => Some("closed".to_owned()),
        Seen::CallStarted { item, .. } if item == of => Some("started".to_owned()),
        Seen::CallFinished { item, outcome, .. } if item == of => Some(format!("{:?}", outcome.status)),
        _ => None,
    });
    told.collect()
}

fn bash(script: &str) -> ToolUse {
    ToolUse::Command { argv: vec!["/bin/bash".into(), "-lc".into(), script.into()] }
}

fn add(path: &str, content: &str) -> Step {
    Step::apply_patch(format!("*** Begin Patch\n*** Add File: {path}\n+{content}\n*** End Patch\n"))
}

#[test]
fn what_is_consented_to_is_done_and_told_in_order() {
    let stage = Stage::new([
        Step::reasoning("**Looking**").then(Output::Shell { command: "cat greeting.txt; exit 3".into() }),
        add("new.txt", "new"),
        Step::message("All done."),
    ]);
    let played = play(&stage, deciding(ConsentDecision::once()));
    succeeded(&played, None);
    assert_eq!(stage.repository.read("new.txt"), "new\n");
    let wanted = consents(&played);
    let [command, patch] = wanted.as_slice() else { panic!("{wanted:?}") };
    assert_eq!(command.tool, bash("cat greeting.txt; exit 3"));
    assert_eq!(command.cwd.as_deref(), stage.repository.root().to_str());
    assert_eq!((command.escalated, command.offers_session), (false, true), "there is no sandbox to leave");
    let ToolUse::Patch { files } = &patch.tool else { panic!("{patch:?}") };
    assert_eq!((files[0].change.path.as_str(), files[0].change.kind), ("new.txt", ChangeKind::Add));
    // The SHA-256 of what is added, with its newline.
    let hash = "7aa7a5359173d05b63cfd682e3c38487f3cb4f7f1d60659fe59fab1505977d4c";
    assert_eq!(files[0].sha256, hash);
    for (request, end) in [(command, "Failed"), (patch, "Succeeded")] {
        assert_eq!(story(&played, &request.item), ["wanted", "started", end]);
    }
    let report = &played.report;
    let outcome = report.commands[0].outcome.as_ref().unwrap();
    assert_eq!((outcome.exit_code, outcome.detail.as_deref()), (Some(3), Some("hello")));
    assert!(outcome.duration.is_some());
    assert_eq!(report.file_changes.len(), 1);
    assert_eq!(report.last_message.as_deref(), Some("All done."));
    let total = TokenUsage { input: 300, cached_input: 30, output: 60, reasoning_output: 15 };
    let last = TokenUsage { input: 100, cached_input: 10, output: 20, reasoning_output: 5 };
    assert_eq!(report.usage, Some(total));
    assert!(played.observations.contains(&Seen::Usage { usage: total, last: Some(last) }));
    assert!(played.observations.contains(&Seen::Reasoning { text: "**Looking**".into() }));
    assert!(report.warnings.is_empty(), "{:?}", report.warnings);
    assert!(stage.server.requests()[0].input_contains("Change the greeting."));
}

#[test]
fn what_is_declined_is_not_done_and_the_turn_goes_on() {
    let stage = Stage::new([Step::shell("touch never"), add("neither", "x"), Step::message("I see.")]);
    let played = play(&stage, deciding(ConsentDecision::declined(Some("not now".into()))));
    succeeded(&played, None);
    for request in consents(&played) {
        assert_eq!(story(&played, &request.item), ["wanted", "Declined"]);
    }
    assert_eq!(consents(&played).len(), 2);
    assert_eq!(stage.repository.git(&["status", "--porcelain", "-uall"]), "");
    assert!(played.report.file_changes.is_empty());
    assert_eq!(stage.server.requests().len(), 3);
}

#[test]
fn consent_for_the_session_is_not_asked_for_again() {
    let update = "*** Begin Patch\n*** Update File: greeting.txt\n@@\n-hello\n+goodbye\n*** End Patch\n";
    let again = "*** Begin Patch\n*** Update File: greeting.txt\n@@\n-goodbye\n+hello\n*** End Patch\n";
    let stage = Stage::new([
        Step::shell("echo one"),
        Step::shell("echo one"),
        Step::shell("echo two"),
        Step::apply_patch(update),
        Step::apply_patch(again),
        Step::message("Done."),
    ]);
    let played = play(&stage, deciding(ConsentDecision::for_session()));
    succeeded(&played, None);
    let tools: Vec<_> = consents(&played).iter().map(|request| request.tool.clone()).collect();
    assert_eq!(tools[..2], [bash("echo one"), bash("echo two")]);
    assert!(tools.len() == 3 && matches!(tools[2], ToolUse::Patch { .. }), "{tools:?}");
    assert_eq!(played.report.commands.len(), 3);
}

#[test]
fn an_interruption_cancels_what_waits_for_consent() {
    let stage = Stage::new([Step::shell("touch never"), Step::message("unreachable")]);
    let listener: Listener = Box::new(|seen, dialogue| {
        if matches!(seen, Seen::ConsentWanted(_)) {
            assert!(dialogue.interrupt());
        }
    });
    let played = play(&stage, listener);
    assert_eq!(class(&played), FailureClass::Cancelled, "{played:#?}");
    assert_eq!(played.report.terminal, Terminal::Interrupted);
    let item = &consents(&played)[0].item;
    assert_eq!(story(&played, item), ["wanted", "Declined"]);
    assert_eq!(stage.server.requests().len(), 1);
    assert_eq!(stage.repository.git(&["status", "--porcelain"]), "");
}

#[test]
fn a_silent_model_is_interrupted() {
    let stage = Stage::new([Step::hang()]);
    let listener: Listener = Box::new(|seen, dialogue| {
        if *seen == Seen::TurnStarted {
            assert!(dialogue.interrupt());
        }
    });
    let played = play(&stage, listener);
    assert_eq!((class(&played), &played.report.terminal), (FailureClass::Cancelled, &Terminal::Interrupted));
    assert!(played.report.thread_id.is_some());
}

#[test]
fn a_message_reaches_the_model_in_the_running_turn() {
    let stage = Stage::new([
        Step::shell("until [ -e go ]; do sleep 0.02; done"),
        Step::message("heard").when("Use the other file."),
        // However late the message comes, the turn goes on until it has come.
        Step::shell("true").repeated(),
    ]);
    let go = stage.repository.root().join("go");
    let listener: Listener = Box::new(move |seen, dialogue| {
        if let Seen::CallStarted { .. } = seen {
            if !go.exists() {
                assert_eq!(dialogue.steer("Use the other file."), Steered::Delivered);
            }
            fs::write(&go, "").unwrap();
        }
    });
    let played =
        start_under(&stage, ApprovalPolicy::Never, SandboxMode::DangerFullAccess, None, listener).wait();
    succeeded(&played, None);
    assert_eq!(played.report.last_message.as_deref(), Some("heard"));
    assert!(played.report.warnings.is_empty(), "{:?}", played.report.warnings);
}

#[test]
fn a_thread_is_resumed_in_a_new_process_and_goes_on_in_the_same_one() {
    let stage = Stage::new([Step::message("one"), Step::message("two"), Step::message("three")]);
    let first = play(&stage, silent());
    succeeded(&first, None);
    let thread = first.report.thread_id.clone().unwrap();
    let mut further = Some("And then?");
    let listener: Listener = Box::new(move |seen, dialogue| {
        if *seen == Seen::TurnCompleted
            && let Some(prompt) = further.take()
        {
            assert!(!dialogue.input_open());
            assert!(dialogue.continue_with(prompt) && dialogue.input_open());
        }
    });
    let second = start(&stage, Some(&thread), listener).wait();
    succeeded(&second, Some(&thread));
    assert_eq!(second.report.last_message.as_deref(), Some("three"));
    assert_eq!(second.report.usage.unwrap().input, 300, "usage counts the whole thread");
    let requests = stage.server.requests();
    assert!(requests[1].input_contains("one") && requests[2].input_contains("two"));
    assert!(requests[2].input_contains("And then?"));
}

#[test]
fn an_unknown_thread_is_refused_and_no_turn_is_begun() {
    let stage = Stage::new([Step::message("fresh")]);
    for gone in ["01a1bbbb-0000-7000-8000-000000000000", "no-such-name"] {
        let thread: ThreadId = gone.parse().unwrap();
        let played = start(&stage, Some(&thread), silent()).wait();
        assert_eq!(class(&played), FailureClass::ThreadNotFound, "{played:#?}");
    }
    assert!(stage.server.requests().is_empty());
}

#[test]
fn failures_of_the_model_are_told_by_the_servers_own_words() {
    let error = |text: &str| json!({ "error": { "message": text } });
    let table = [
        (Step::unauthorized(), FailureClass::NotAuthenticated),
        (Step::usage_limit(), FailureClass::UsageLimit),
        (Step::http(429, error("slow down")), FailureClass::RateLimited),
        (Step::http(500, error("boom")), FailureClass::ModelOverloaded),
        (Step::http(400, error("bad")), FailureClass::InvalidRequest),
        (Step::failed("server_is_overloaded", "busy"), FailureClass::ModelOverloaded),
        (Step::failed("context_length_exceeded", "long"), FailureClass::ContextExceeded),
        (Step::cut(), FailureClass::StreamDisconnected),
    ];
    for (step, expected) in table {
        let stage = Stage::new([step.clone()]);
        let played = play(&stage, silent());
        assert_eq!(class(&played), expected, "{step:?} {:#?}", played.report);
        assert!(played.report.thread_id.is_some());
    }
}

#[test]
fn a_retry_that_works_is_a_success_with_a_warning() {
    let stage = Stage::with_retries([Step::cut(), Step::message("at last")], 1);
    let played = play(&stage, silent());
    succeeded(&played, None);
    let [warning] = played.report.warnings.as_slice() else { panic!("{:?}", played.report.warnings) };
    assert!(warning.starts_with("Reconnecting"), "{warning}");
}

/// Answers for an MCP server with one tool; the ids of its requests are numbers.
const MCP_SERVER: &str = r#"while read -r line; do
  id=$(printf '%s' "$line" | sed -n 's/.*"id":\([0-9]*\).*/\1/p')
  case "$line" in
    *'"initialize"'*) result='{"protocolVersion":"2025-06-18","capabilities":{"tools":{}},"serverInfo":{"name":"files","version":"1"}}' ;;
    *'"tools/list"'*) result='{"tools":[{"name":"wipe","description":"Wipes.","inputSchema":{"type":"object","properties":{"path":{"type":"string"}}}}]}' ;;
    *'"tools/call"'*) result='{"content":[{"type":"text","text":"wiped"}]}' ;;
    *) result='{}' ;;
  esac
  if [ -n "$id" ]; then printf '{"jsonrpc":"2.0","id":%s,"result":%s}\n' "$id" "$result"; fi
done
"#;

#[test]
fn a_tool_of_an_mcp_server_is_consented_to_under_its_own_item() {
    let call = |id: &str| {
        let item = json!({
            "type": "function_call", "id": format!("fc_{id}"), "call_id": id,
            "namespace": "mcp__files", "name": "wipe", "arguments": r#"{"path":"/x"}"#,
        });
        Step::default().then(Output::Item { item })
    };
    let stage = Stage::new([call("mcp_1"), call("mcp_2"), Step::message("Done.")]);
    let script = stage.repository.outside().join("server.sh");
    fs::write(&script, MCP_SERVER).unwrap();
    let settings = [
        ("mcp_servers.files.command".to_owned(), json!("/bin/sh").to_string()),
        ("mcp_servers.files.args".to_owned(), json!([script]).to_string()),
    ];
    let environment = |_: &str| Some(path());
    let request = AgentRequest {
        agent: "codex-app-server",
        approval: Some(ApprovalPolicy::OnRequest),
        sandbox: Some(SandboxMode::WorkspaceWrite),
        settings: &settings,
        ..stage.request(&environment)
    };
    let listener = deciding(ConsentDecision::for_session());
    let played = converse(&request, &stage.environment, listener).wait();
    succeeded(&played, None);
    let wanted = consents(&played);
    let [request] = wanted.as_slice() else { panic!("{played:#?}") };
    assert_eq!(
        request.tool,
        ToolUse::Mcp {
            server: "files".into(),
            name: "wipe".into(),
            arguments: r#"{"path":"/x"}"#.into(),
            definition: None
        }
    );
    assert!(request.offers_session && !request.escalated);
    assert_eq!(story(&played, &request.item), ["wanted", "started", "Succeeded"]);
    assert_eq!(request.item, "mcp_1");
    assert_eq!(story(&played, "mcp_2"), ["started", "Succeeded"], "consent for the session was remembered");
}

#[test]
fn an_escalation_says_why_and_every_switch_of_granular_is_taken() {
    let arguments = json!({
        "cmd": "true", "sandbox_permissions": "require_escalated", "justification": "To see whether it is true.",
    });
    let item = json!({
        "type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "exec_command",
        "arguments": arguments.to_string(),
    });
    let stage = Stage::new([Step::default().then(Output::Item { item }), Step::message("It is.")]);
    let granular = ApprovalPolicy::Granular(GranularApproval {
        sandbox_approval: true,
        rules: true,
        mcp_elicitations: false,
        request_permissions: false,
        skill_approval: false,
    });
    let listener = deciding(ConsentDecision::once());
    let played = start_under(&stage, granular, SandboxMode::WorkspaceWrite, None, listener).wait();
    succeeded(&played, None);
    let wanted = consents(&played);
    let [request] = wanted.as_slice() else { panic!("{played:#?}") };
    assert_eq!(request.reason.as_deref(), Some("To see whether it is true."));
    assert!(request.escalated);
}

#[test]
fn a_server_that_dies_while_it_waits_leaves_nothing_open() {
    let stage = Stage::new([Step::shell("touch never")]);
    let (told, wanted) = std::sync::mpsc::channel();
    let listener: Listener = Box::new(move |seen, _: &mut dyn Dialogue| {
        if matches!(seen, Seen::ConsentWanted(_)) {
            told.send(()).unwrap();
        }
    });
    let mut playing = start(&stage, None, listener);
    wanted.recv_timeout(PATIENCE).unwrap();
    playing.child.kill().unwrap();
    let played = playing.wait();
    assert_eq!(class(&played), FailureClass::Killed { signal: 9 });
    let item = &consents(&played)[0].item;
    assert_eq!(story(&played, item), ["wanted", "closed", "Declined"]);
    assert_eq!(played.report.commands[0].outcome.as_ref().unwrap().status, CallStatus::Declined);
    assert!(played.report.thread_id.is_some());
}

#[test]
fn a_configuration_that_cannot_be_read_is_told_as_such() {
    let stage = Stage::new([]);
    fs::write(stage.home.codex_home().join("config.toml"), "model = = 1\n").unwrap();
    let played = play(&stage, silent());
    assert_eq!(class(&played), FailureClass::InvalidConfiguration, "{played:#?}");
}

#[test]
fn the_program_is_started_with_settings_and_nothing_else() {
    let stage = Stage::new([]);
    let environment = |_: &str| Some(path());
    let settings = [("a.b".to_owned(), "1".to_owned())];
    let extra = [OsString::from("--strict-config")];
    let request = AgentRequest {
        agent: "codex-app-server",
        settings: &settings,
        extra_arguments: &extra,
        ..stage.request(&environment)
    };
    let driver = co_agents::driver_for("codex-app-server").unwrap();
    let launch = driver.prepare(&request).unwrap();
    assert_eq!(launch.argv[1..], ["app-server", "-c", "a.b=1", "--strict-config"].map(OsString::from));
    let schema = PathBuf::from("/schema");
    let request = AgentRequest { output_schema_file: Some(&schema), ..request };
    let error = driver.prepare(&request).unwrap_err();
    assert_eq!(error.to_string(), "agent `codex-app-server` does not take a schema of its last message");
}
