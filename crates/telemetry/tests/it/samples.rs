//! Recorded events of small runs, read from their stored form so that new fields with defaults change nothing.

use co_model::{Event, EventSeq, Recorded, Timestamp};
use serde_json::{Value, json};

/// When every sample begins.
pub(crate) const BEGAN_AT: i64 = 1_795_000_000_000;

/// Words that must never leave unless prompts are exported.
pub(crate) const TEXTS: [&str; 6] =
    ["description-text", "prompt-text", "question-text", "summary-text", "message-text", "reason-text"];

fn stage(id: &str, work: &Value) -> Value {
    json!({
        "id": id, "title": id, "work": work, "role": "builder", "execution": "unset",
        "env": {"TOKEN": "secret-value"},
        "retry": {"max_attempts": 2, "backoff": 0, "on": {"exit_codes": null, "timed_out": true}},
        "allow_failure": false, "needs": "previous_stage", "when": "success",
        "guardrail": false, "runnable": true,
    })
}

/// A run's events, a tenth of a second apart.
pub(crate) fn recorded(events: Vec<Value>) -> Vec<Recorded> {
    let at = |index: usize| Timestamp::from_millis(BEGAN_AT + 100 * i64::try_from(index).unwrap());
    (0..)
        .zip(events)
        .map(|(index, event)| {
            let event: Event = serde_json::from_value(event).unwrap();
            Recorded { seq: EventSeq(index as u64 + 1), at: at(index), event }
        })
        .collect()
}

pub(crate) fn created(run: &str, settings: &Value) -> Value {
    let mut all = json!({
        "actor": "person", "parent": null, "retry_of": null, "target": null, "approval_policy": null,
        "description": "description-text", "parallel": false, "mode": null, "workspace": "/home/person/work",
        "worktree_branch": null, "resume_token_sha256": null,
    });
    all.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
    json!({"type": "run_created", "data": {
        "task": "task-1", "run": run, "settings": all,
        "pipeline": {
            "id": "ship", "title": "Ship", "guardrails_required": false, "max_parallel": 1,
            "source": "repository",
            "stages": [
                stage("test", &json!({"command": {"argv": ["/usr/bin/make", "secret-argument"]}})),
                stage("ask", &json!({"gate": {"message": "question-text", "expires_after": 1000}})),
                stage("write", &json!({"agent": {
                    "agent": "codex", "prompt": {"text": "prompt-text"}, "model": "gpt-9"}})),
            ],
        },
    }})
}

pub(crate) fn attempt_starting(stage: &str, attempt: u32) -> Value {
    json!({"type": "attempt_starting", "data": {"stage": stage, "attempt": attempt}})
}

pub(crate) fn attempt_finished(stage: &str, attempt: u32, exit: &Value, agent: &Value) -> Value {
    json!({"type": "attempt_finished", "data": {"stage": stage, "attempt": attempt, "report": {
        "exit": exit, "duration": 50, "summary": "summary-text", "survivors_killed": 0,
        "output": {"stdout": {"bytes": 9}, "stderr": {"bytes": 0}}, "agent": agent,
    }}})
}

pub(crate) fn stage_finished(stage: &str, outcome: &Value) -> Value {
    json!({"type": "stage_finished", "data": {"stage": stage, "outcome": outcome}})
}

pub(crate) fn turn(input: u64, output: u64) -> Value {
    json!({
        "thread": "thread-1", "commands_run": 1, "last_message": "message-text",
        "usage": {"input": input, "cached_input": input / 2, "output": output, "reasoning_output": 3},
    })
}

/// A run with a retried command, an answered gate and an agent that was steered once; it succeeds.
pub(crate) fn whole_run(run: &str) -> Vec<Recorded> {
    recorded(vec![
        created(run, &json!({})),
        json!({"type": "run_planned", "data": {"target": null, "mode": "mcp", "stages": [], "skipped": []}}),
        json!({"type": "run_started"}),
        attempt_starting("test", 1),
        attempt_finished("test", 1, &json!({"code": 2}), &Value::Null),
        json!({"type": "retry_scheduled", "data": {"stage": "test", "attempt": 2, "due_at": BEGAN_AT + 600}}),
        attempt_starting("test", 2),
        attempt_finished("test", 2, &json!({"code": 0}), &Value::Null),
        stage_finished("test", &json!("succeeded")),
        json!({"type": "question_asked", "data": {
            "stage": "ask", "message": "question-text", "expires_at": BEGAN_AT + 5_000}}),
        json!({"type": "question_answered", "data": {
            "stage": "ask", "verdict": "approve", "actor": "person", "reason": "reason-text"}}),
        stage_finished("ask", &json!("succeeded")),
        attempt_starting("write", 1),
        json!({"type": "agent_thread_known", "data": {"stage": "write", "attempt": 1, "thread": "thread-1"}}),
        json!({"type": "steer_delivered", "data": {"stage": "write", "count": 2}}),
        attempt_finished("write", 1, &json!({"code": 0}), &turn(1_000, 50)),
        stage_finished("write", &json!("succeeded")),
        json!({"type": "run_finished", "data": {"outcome": "succeeded"}}),
    ])
}
