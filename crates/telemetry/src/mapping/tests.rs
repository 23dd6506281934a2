use std::collections::BTreeMap;
use std::fmt::Write;

use co_model::{CallStatus, RunId, TaskId};
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value as Any};
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use serde_json::{Value, json};

use super::*;

#[path = "../../tests/it/samples.rs"]
mod samples;

use samples::{BEGAN_AT, attempt_finished, attempt_starting, created, recorded, stage_finished, whole_run};

const RUN: &str = "2026-11-18T11-06-40-000Z-00000001";

fn facts(run: &str) -> RunFacts {
    RunFacts {
        run: RunId::new(run).unwrap(),
        task: TaskId::new("task-1").unwrap(),
        parent: None,
        workspace: "/home/person/work".to_owned(),
    }
}

fn map_all(mapper: &mut Mapper, facts: &RunFacts, events: &[Recorded]) -> Mapped {
    let mut all = Mapped::default();
    for event in events {
        let mapped = mapper.map(facts, event);
        all.spans.extend(mapped.spans);
        all.logs.extend(mapped.logs);
        all.measurements.extend(mapped.measurements);
    }
    all
}

fn mapped(events: Vec<Value>) -> Mapped {
    map_all(&mut Mapper::new(false), &facts(RUN), &recorded(events))
}

fn text_of(attributes: &[KeyValue]) -> BTreeMap<String, String> {
    let text = |value: &KeyValue| match value.value.clone().unwrap().value.unwrap() {
        Any::StringValue(text) => text,
        Any::IntValue(number) => number.to_string(),
        Any::BoolValue(flag) => flag.to_string(),
        other => format!("{other:?}"),
    };
    attributes.iter().map(|attribute| (attribute.key.clone(), text(attribute))).collect()
}

fn named<'a>(mapped: &'a Mapped, name: &str) -> &'a Span {
    let all: Vec<_> = mapped.spans.iter().filter(|span| span.name == name).collect();
    assert_eq!(all.len(), 1, "{name} among {:?}", mapped.spans.iter().map(|s| &s.name).collect::<Vec<_>>());
    all[0]
}

fn event_names(span: &Span) -> Vec<&str> {
    span.events.iter().map(|event| event.name.as_str()).collect()
}

#[test]
fn a_run_is_a_tree_of_spans_in_one_trace() {
    let all = map_all(&mut Mapper::new(false), &facts(RUN), &whole_run(RUN));
    let names: Vec<_> = all.spans.iter().map(|span| span.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "attempt test",
            "attempt test",
            "stage test",
            "stage ask",
            "attempt write",
            "invoke_agent codex",
            "stage write",
            "run ship"
        ]
    );
    let root = named(&all, "run ship");
    assert_eq!(root.parent_span_id, Vec::<u8>::new());
    assert!(all.spans.iter().all(|span| span.trace_id == root.trace_id));
    assert_eq!(named(&all, "stage test").parent_span_id, root.span_id);
    assert_eq!(all.spans[0].parent_span_id, named(&all, "stage test").span_id);
    assert_eq!(named(&all, "invoke_agent codex").parent_span_id, named(&all, "attempt write").span_id);
    assert_eq!(root.start_time_unix_nano, nanos(Timestamp::from_millis(BEGAN_AT)));
    assert_eq!(root.end_time_unix_nano, nanos(Timestamp::from_millis(BEGAN_AT + 1_700)));
    assert_eq!(root.status, None);
    assert_eq!(text_of(&root.attributes)["codex_orchestrator.run.status"], "succeeded");
}

#[test]
fn a_command_says_its_program_and_exit_code_and_nothing_more() {
    let all = map_all(&mut Mapper::new(false), &facts(RUN), &whole_run(RUN));
    let failed = text_of(&all.spans[0].attributes);
    assert_eq!(
        failed,
        BTreeMap::from(
            [
                ("codex_orchestrator.run.id", RUN),
                ("codex_orchestrator.task.id", "task-1"),
                ("codex_orchestrator.stage.id", "test"),
                ("codex_orchestrator.attempt", "1"),
                ("process.executable.name", "make"),
                ("process.exit.code", "2"),
                ("error.type", "exit_code"),
            ]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
        )
    );
    assert_eq!(event_names(named(&all, "stage test")), ["retry_scheduled"]);
    assert_eq!(event_names(named(&all, "stage ask")), ["question_asked", "question_answered"]);
}

#[test]
fn an_agents_turn_follows_the_genai_conventions() {
    let all = map_all(&mut Mapper::new(false), &facts(RUN), &whole_run(RUN));
    let turn = named(&all, "invoke_agent codex");
    let said = text_of(&turn.attributes);
    assert_eq!(turn.kind, SpanKind::Client as i32);
    for (key, value) in [
        ("gen_ai.operation.name", "invoke_agent"),
        ("gen_ai.provider.name", "openai"),
        ("gen_ai.agent.name", "codex"),
        ("gen_ai.request.model", "gpt-9"),
        ("gen_ai.conversation.id", "thread-1"),
        ("gen_ai.usage.input_tokens", "1000"),
        ("gen_ai.usage.output_tokens", "50"),
        ("gen_ai.usage.cache_read.input_tokens", "500"),
        ("gen_ai.usage.reasoning.output_tokens", "3"),
    ] {
        assert_eq!(said.get(key).map(String::as_str), Some(value), "{key}");
    }
    assert_eq!(event_names(named(&all, "attempt write")), ["steer_delivered"]);
    let turns: Vec<_> =
        all.measurements.iter().filter(|m| m.instrument == Instrument::AgentTurns).map(|m| m.value).collect();
    assert_eq!(turns, [2.0], "the steered turn counts");
}

#[test]
fn tokens_are_counted_once_per_turn_though_agents_report_sums() {
    let all = mapped(vec![
        created(RUN, &json!({})),
        attempt_starting("write", 1),
        attempt_finished("write", 1, &json!({"code": 0}), &samples::turn(1_000, 50)),
        attempt_starting("write", 2),
        attempt_finished("write", 2, &json!({"code": 0}), &samples::turn(1_500, 60)),
    ]);
    let tokens: Vec<_> =
        all.measurements.iter().filter(|m| m.instrument == Instrument::TokenUsage).map(|m| m.value).collect();
    assert_eq!(tokens, [1_000.0, 50.0, 500.0, 10.0]);
}

#[test]
fn every_event_has_a_record_tied_to_its_span() {
    let events = whole_run(RUN);
    let all = map_all(&mut Mapper::new(false), &facts(RUN), &events);
    assert_eq!(all.logs.len(), events.len());
    for (record, event) in all.logs.iter().zip(&events) {
        assert_eq!(record.event_name, format!("codex_orchestrator.{}", event.event.name()));
        assert_eq!(record.time_unix_nano, nanos(event.at));
        assert_eq!(text_of(&record.attributes)["event.name"], record.event_name);
        assert_eq!(record.trace_id, all.spans[0].trace_id);
        assert!(all.spans.iter().any(|span| span.span_id == record.span_id), "{}", record.event_name);
    }
    let failed = all.logs.iter().find(|record| record.event_name.ends_with("attempt_finished")).unwrap();
    assert_eq!(failed.severity_text, "WARN");
}

#[test]
fn no_text_argument_path_or_secret_leaves_unless_prompts_are_exported() {
    let shown = |with_texts| {
        let mut mapper = Mapper::new(with_texts);
        let facts = facts(RUN);
        let mut all = format!("{:?}", map_all(&mut mapper, &facts, &whole_run(RUN)));
        write!(all, "{:?}", map_all(&mut mapper, &facts, &call_events("declined"))).unwrap();
        all
    };
    let (quiet, open) = (shown(false), shown(true));
    for text in samples::TEXTS {
        assert!(!quiet.contains(text), "{text}");
    }
    for text in ["description-text", "question-text", "message-text", "reason-text"] {
        assert!(open.contains(text), "{text}");
    }
    for never in ["secret-argument", "secret-value", "/home/person"] {
        assert!(!open.contains(never), "{never}");
    }
}

#[test]
fn the_same_events_always_give_the_same_spans() {
    let once = map_all(&mut Mapper::new(false), &facts(RUN), &whole_run(RUN));
    let again = map_all(&mut Mapper::new(false), &facts(RUN), &whole_run(RUN));
    assert_eq!(once.spans, again.spans);
    assert_eq!(once.logs, again.logs);
}

#[test]
fn a_resumed_run_continues_its_trace() {
    let before = recorded(vec![created(RUN, &json!({})), attempt_starting("test", 1)]);
    let after = recorded(vec![
        attempt_finished("test", 1, &json!("lost"), &Value::Null),
        stage_finished("test", &json!({"failed": {"reason": "lost", "allowed": false}})),
        json!({"type": "run_finished", "data": {"outcome": {"failed": {"detail": "stage:test:lost"}}}}),
    ]);
    let mut mapper = Mapper::new(false);
    map_all(&mut mapper, &facts(RUN), &before);
    let all = map_all(&mut mapper, &facts(RUN), &after);
    let root = named(&all, "run ship");
    assert_eq!(root.start_time_unix_nano, nanos(Timestamp::from_millis(BEGAN_AT)));
    assert_eq!(root.status.as_ref().unwrap().message, "failed");
    let whole = map_all(&mut Mapper::new(false), &facts(RUN), &whole_run(RUN));
    assert_eq!((&root.trace_id, &root.span_id), {
        let root = named(&whole, "run ship");
        (&root.trace_id, &root.span_id)
    });
}

#[test]
fn an_attempt_that_was_never_heard_to_begin_still_has_its_length() {
    let all = mapped(vec![attempt_finished("test", 1, &json!({"signal": 9}), &Value::Null)]);
    let span = named(&all, "attempt test");
    assert_eq!(span.end_time_unix_nano - span.start_time_unix_nano, 50_000_000);
    assert_eq!(text_of(&span.attributes)["error.type"], "signal");
}

#[test]
fn a_skipped_stage_is_a_record_without_a_span() {
    let all = mapped(vec![
        created(RUN, &json!({})),
        stage_finished("test", &json!({"skipped": {"reason": "not_targeted"}})),
    ]);
    assert_eq!(all.spans, []);
    assert_eq!(text_of(&all.logs[1].attributes)["codex_orchestrator.stage.status"], "skipped");
}

#[test]
fn a_nested_run_hangs_below_its_stage_and_a_related_one_is_linked() {
    let finish = |facts: &RunFacts, settings: Value| {
        let events = recorded(vec![
            created(facts.run.as_str(), &settings),
            json!({"type": "run_finished", "data": {"outcome": "succeeded"}}),
        ]);
        map_all(&mut Mapper::new(false), facts, &events).spans.pop().unwrap()
    };
    let parent = facts(RUN);
    let nested = RunFacts { parent: Some(parent.run.clone()), ..facts(&format!("{RUN}.build")) };
    let span = finish(&nested, json!({}));
    let stage = StageId::new("build").unwrap();
    assert_eq!(span.parent_span_id, ids::span_id(&parent.run, Subject::Stage(&stage)));
    assert_eq!(span.trace_id, ids::trace_id(&parent.run, None));

    let related = RunFacts { parent: Some(parent.run.clone()), ..facts("other-run") };
    let span = finish(&related, json!({"retry_of": "first-run"}));
    assert_eq!(span.parent_span_id, Vec::<u8>::new());
    let linked: Vec<_> = span.links.iter().map(|link| link.trace_id.clone()).collect();
    let first = RunId::new("first-run").unwrap();
    assert_eq!(linked, [ids::trace_id(&parent.run, None), ids::trace_id(&first, None)]);
}

#[test]
fn events_of_one_span_are_bounded_and_the_rest_is_counted() {
    let mut events = vec![created(RUN, &json!({}))];
    let cancel = json!({"type": "cancel_requested", "data": {"actor": "person"}});
    events.extend(std::iter::repeat_n(cancel, 200));
    events.push(json!({"type": "run_finished", "data": {"outcome": "succeeded"}}));
    let all = mapped(events);
    let root = named(&all, "run ship");
    assert_eq!((root.events.len(), root.dropped_events_count), (128, 72));
}

fn call_events(status: &str) -> Vec<Recorded> {
    let call = "write/1/item-7";
    let of_call = |kind: &str, more: Value| {
        let mut data = json!({"stage": "write", "call": call});
        data.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({"type": kind, "data": data})
    };
    let approved = status != "declined";
    recorded(vec![
        json!({"type": "call_requested", "data": {
            "call": call, "stage": "write", "attempt": 1, "origin": {"agent": "item-7"},
            "tool": {"tool": "command", "argv": ["/bin/bash", "-lc", "secret-argument"]},
            "cwd": "/home/person/work", "sandbox": {"mode": "workspace-write"}, "escalated": true,
            "reason": "reason-text",
        }}),
        of_call(
            "call_decided",
            json!({
            "decision": {"approved": approved, "source": "prompt", "reason": "reason-text"}}),
        ),
        of_call("call_started", json!({"layers": ["bubblewrap", "seccomp"]})),
        of_call(
            "call_finished",
            json!({
            "outcome": {"status": status, "exit_code": 3, "detail": "message-text"}}),
        ),
    ])
}

#[test]
fn a_tool_call_is_a_span_of_the_agents_turn() {
    let (mut mapper, facts) = (Mapper::new(false), facts(RUN));
    let all = map_all(&mut mapper, &facts, &call_events("failed"));
    let span = named(&all, "execute_tool command");
    let said = text_of(&span.attributes);
    for (key, value) in [
        ("gen_ai.operation.name", "execute_tool"),
        ("gen_ai.tool.name", "command"),
        ("gen_ai.tool.call.id", "write/1/item-7"),
        ("codex_orchestrator.tool.decision.source", "prompt"),
        ("codex_orchestrator.tool.decision.approved", "true"),
        ("codex_orchestrator.tool.origin", "agent"),
        ("codex_orchestrator.sandbox.mode", "workspace-write"),
        ("process.executable.name", "bash"),
        ("process.exit.code", "3"),
        ("error.type", "failed"),
    ] {
        assert_eq!(said.get(key).map(String::as_str), Some(value), "{key}");
    }
    let stage = StageId::new("write").unwrap();
    assert_eq!(span.parent_span_id, ids::span_id(&facts.run, Subject::Agent(&stage, 1)));
    assert_eq!(event_names(span), ["decided", "started"]);
    assert_eq!(
        text_of(&span.events[1].attributes)["codex_orchestrator.sandbox.layers"],
        "bubblewrap,seccomp"
    );
    let names: Vec<_> = all.logs.iter().map(|record| record.event_name.as_str()).collect();
    assert_eq!(names.len(), 4);
    assert!(all.logs.iter().all(|record| record.span_id == span.span_id));
    let counted: Vec<_> = all.measurements.iter().map(|m| m.instrument).collect();
    assert_eq!(counted, [Instrument::ToolDecisions, Instrument::ToolCalls]);
}

#[test]
fn a_call_whose_end_nobody_saw_ends_with_the_run() {
    let (mut mapper, facts) = (Mapper::new(false), facts(RUN));
    mapper.map(&facts, &call_events("failed")[0]);
    let finished = recorded(vec![json!({"type": "run_finished", "data": {"outcome": "succeeded"}})]);
    let all = map_all(&mut mapper, &facts, &finished);
    let span = named(&all, "execute_tool command");
    assert_eq!(text_of(&span.attributes)["error.type"], calls::status_word(CallStatus::Lost));
}
