use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use co_telemetry::{
    DeliveryReport, NotificationKind, Notifier, NotifySettings, ProgramHook, Secret, StartProgram, Target,
    signature,
};
use serde_json::{Value, json};

use crate::receiver::{HttpReceiver, Reply, nobody};
use crate::samples::whole_run;
use crate::support::{Clock, LONG, RUN, facts};

fn no_programs() -> StartProgram {
    Arc::new(|hook: &ProgramHook| panic!("no program is to be started: {hook:?}"))
}

fn settings(targets: Vec<Target>) -> NotifySettings {
    NotifySettings { backoff: Duration::from_millis(1), ..NotifySettings::for_targets(targets) }
}

fn started(settings: &NotifySettings, start_program: &StartProgram) -> Notifier {
    let notifier = Notifier::start(settings, start_program, &Clock::new().surroundings());
    for event in whole_run(RUN) {
        notifier.observe(&facts(RUN), &event);
    }
    notifier
}

fn told(targets: Vec<Target>) -> DeliveryReport {
    started(&settings(targets), &no_programs()).finish(LONG)
}

fn finished(url: &str) -> Target {
    Target::post(url, None, vec![NotificationKind::RunFinished]).unwrap()
}

#[test]
fn a_post_is_signed_and_can_be_verified() {
    let receiver = HttpReceiver::start(|_| Reply::status(204));
    let secret = Secret::new("hunter2");
    let target =
        Target::post(&receiver.url(), Some(secret.clone()), vec![NotificationKind::RunFinished]).unwrap();
    let report = told(vec![target]);
    assert_eq!((&report.delivered, &report.failures[..]), (&report.targets, &[][..]));

    let request = receiver.next();
    let header = |name| request.header(name).unwrap();
    assert_eq!(header("idempotency-key"), format!("{RUN}/18"));
    assert_eq!(header("x-codex-orchestrator-event"), "run-finished");
    assert_eq!(header("content-type"), "application/json");
    let timestamp = header("x-codex-orchestrator-timestamp");
    assert_eq!(timestamp, "1795000000");
    assert_eq!(header("x-codex-orchestrator-signature-256"), signature(&secret, timestamp, &request.body));
    let body: Value = serde_json::from_slice(&request.body).unwrap();
    assert_eq!(
        (&body["type"], &body["run-id"], &body["status"]),
        (&json!("run-finished"), &json!(RUN), &json!("succeeded"))
    );
    assert!(!format!("{request:?}").contains("hunter2"));
}

#[test]
fn each_target_gets_the_kinds_it_waits_for_in_their_order() {
    let receiver = HttpReceiver::start(|_| Reply::status(200));
    told(vec![Target::post(&receiver.url(), None, NotificationKind::ALL.to_vec()).unwrap()]);
    let kinds: Vec<_> = receiver
        .rest()
        .iter()
        .map(|request| request.header("x-codex-orchestrator-event").unwrap().to_owned())
        .collect();
    assert_eq!(
        kinds,
        [
            "run-started",
            "stage-finished",
            "approval-requested",
            "approval-resolved",
            "stage-finished",
            "agent-turn-complete",
            "stage-finished",
            "run-finished"
        ]
    );
}

#[test]
fn a_target_that_stumbles_gets_the_same_message_again() {
    let mut answers = [503, 429].into_iter();
    let receiver = HttpReceiver::start(move |_| Reply::status(answers.next().unwrap_or(200)));
    let report = told(vec![finished(&receiver.url())]);
    assert_eq!((report.delivered.len(), report.failures.len()), (1, 0));
    let requests = receiver.rest();
    assert_eq!(requests.len(), 3);
    let keys: Vec<_> = requests.iter().map(|request| request.header("idempotency-key")).collect();
    assert!(keys.iter().all(|key| *key == keys[0]));
}

#[test]
fn a_target_that_never_takes_it_is_given_up_and_named() {
    let receiver = HttpReceiver::start(|_| Reply::status(500));
    let report = told(vec![finished(&format!("{}/hook?token=hunter2", receiver.url()))]);
    assert_eq!(receiver.rest().len(), 4, "three more tries after the first");
    assert!(report.delivered.is_empty());
    let [failure] = &report.failures[..] else { panic!("{report:?}") };
    assert_eq!(failure.target, format!("{}/hook", receiver.url()));
    assert_eq!((failure.kind.as_str(), failure.attempts), ("run-finished", 4));
    assert_eq!(failure.reason, "answered 500");
}

#[test]
fn a_refusal_is_final() {
    let receiver = HttpReceiver::start(|_| Reply::status(410));
    let report = told(vec![finished(&receiver.url())]);
    assert_eq!((receiver.rest().len(), report.failures[0].attempts), (1, 1));
}

#[test]
fn a_target_that_is_down_or_speaks_nonsense_fails_alone() {
    let receiver = HttpReceiver::start(|_| Reply::status(200));
    let nonsense = HttpReceiver::start(|_| Reply::Garbage);
    let report = told(vec![finished(&nobody()), finished(&nonsense.url()), finished(&receiver.url())]);
    assert_eq!(report.delivered, [receiver.url()]);
    assert_eq!(report.failures.len(), 2);
    assert_eq!(report.failures[0].reason, "connection refused");
}

#[test]
fn a_silent_target_is_left_behind_when_the_patience_is_over() {
    let silent = HttpReceiver::start(|_| Reply::Silence);
    let receiver = HttpReceiver::start(|_| Reply::status(200));
    let settings = NotifySettings {
        request_timeout: Duration::from_mins(1),
        ..settings(vec![finished(&silent.url()), finished(&receiver.url())])
    };
    let notifier = started(&settings, &no_programs());
    // Both have it: what follows is a wait for the silent one alone.
    silent.next();
    receiver.next();
    let began = Instant::now();
    let report = notifier.finish(Duration::from_millis(100));
    assert!(began.elapsed() < Duration::from_secs(20));
    assert!(report.failures.iter().any(|failure| failure.target == silent.url()
        && failure.reason == "1 not delivered before the end of the run"));
}

#[test]
fn a_program_gets_the_message_as_one_more_argument_as_with_codex() {
    let hooks = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&hooks);
    let start: StartProgram = Arc::new(move |hook: &ProgramHook| {
        seen.lock().unwrap().push(hook.clone());
        Ok(())
    });
    let target = Target::codex_notify(vec!["notify-send".into(), "--urgent".into()]).unwrap();
    let report = started(&settings(vec![target]), &start).finish(LONG);
    assert_eq!(report.delivered, ["notify-send"]);

    let hooks = hooks.lock().unwrap();
    let [hook] = &hooks[..] else { panic!("one completed turn: {hooks:?}") };
    assert_eq!(
        (&hook.argv[..2], hook.cwd.as_str()),
        (&["notify-send".to_owned(), "--urgent".to_owned()][..], "/home/person/work")
    );
    let message: Value = serde_json::from_str(&hook.argv[2]).unwrap();
    assert_eq!(message["type"], "agent-turn-complete");
    assert_eq!(message["thread-id"], "thread-1");
    assert_eq!(message["last-assistant-message"], "message-text");
}

#[test]
fn a_program_that_fails_is_not_run_again() {
    let starts = Arc::new(Mutex::new(0));
    let counted = Arc::clone(&starts);
    let start: StartProgram = Arc::new(move |_: &ProgramHook| {
        *counted.lock().unwrap() += 1;
        Err("exit code 1".to_owned())
    });
    let target = Target::program(vec!["beep".into()], vec![NotificationKind::RunFinished]).unwrap();
    let report = started(&settings(vec![target]), &start).finish(LONG);
    assert_eq!(*starts.lock().unwrap(), 1);
    assert_eq!(report.failures[0].reason, "exit code 1");
}

#[test]
fn a_summary_goes_as_it_is_to_each_address_once() {
    let receiver = HttpReceiver::start(|_| Reply::status(200));
    let address = format!("{}/summary", receiver.url());
    let targets = Target::read_list([format!("{address},{address}").as_str(), &address], None).unwrap();
    let notifier = started(&settings(targets), &no_programs());
    let summary = json!({"type": "run:summary", "payload": {"status": "succeeded"}});
    notifier.announce_summary(&facts(RUN), &summary);
    let report = notifier.finish(LONG);
    assert_eq!((&report.targets, &report.delivered), (&vec![address.clone()], &vec![address]));

    let request = receiver.next();
    assert_eq!(serde_json::from_slice::<Value>(&request.body).unwrap(), summary);
    assert_eq!(request.header("idempotency-key"), Some(format!("{RUN}/summary").as_str()));
    assert!(receiver.rest().is_empty(), "events are not for summary addresses");
}

#[test]
fn without_targets_nothing_is_started() {
    let notifier = started(&NotifySettings::default(), &no_programs());
    assert!(!notifier.is_on());
    assert_eq!(notifier.finish(LONG), DeliveryReport::default());
}
