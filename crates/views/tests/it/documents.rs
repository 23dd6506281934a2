//! All views of a run, as text.

use co_engine::{RunState, StageRecord};
use co_model::{Actor, Grant, GrantId, GrantScope, Recorded, Revocation, Timestamp};
use co_views::{
    GrantView, MetricsRecord, OwnerSeen, Told, Totals, error_artifact, event_line, exec_result, manifest,
    metrics, metrics_record, run_summary, start_result, status, task_state, to_json,
};

use crate::script::{heartbeat, layout};

/// One document and the schema it must fit.
pub(crate) struct Document {
    pub(crate) schema: &'static str,
    pub(crate) text: String,
}

/// A consent that could have been given in the run.
fn grant(state: &RunState, now: Timestamp) -> Grant {
    Grant {
        id: GrantId("run/build#1/1".to_owned()),
        key: "9f86d081884c7d65".to_owned(),
        shown: "cargo test".to_owned(),
        scope: GrantScope::Task,
        task: state.created.task.clone(),
        run: state.run().clone(),
        session: None,
        actor: Actor::new("ada"),
        starter: None,
        given_at: now,
        expires_at: Some(now),
        uses_left: Some(1),
        revoked: Some(Revocation { actor: Actor::new("bob"), at: now }),
    }
}

/// Everything that is shown of a run at `now`, with the owner last seen then.
pub(crate) fn documents(state: &RunState, now: Timestamp) -> Vec<Document> {
    let layout = layout();
    let record = metrics_record(state, &layout);
    let (task, totals) = (&state.created.task, totals(std::slice::from_ref(&record)));
    let document = |schema, text| Document { schema, text };
    let mut all = vec![
        document("manifest", to_json(&manifest(state, &layout, heartbeat(now)))),
        document("run-summary", to_json(&run_summary(state, &layout))),
        document("start", to_json(&start_result(state, &layout))),
        document("status", to_json(&status(state, &layout, heartbeat(now), OwnerSeen::Unknown, now))),
        document("metrics", to_json(&metrics(task, totals, std::slice::from_ref(&record)))),
        document("task-state", to_json(&task_state(task, totals, std::slice::from_ref(&record)))),
    ];
    all.push(document("grant", to_json(&GrantView::from(&grant(state, now)))));
    if let Some(first) = state.stages.first() {
        let result = exec_result(state, &layout, first.id(), 3, Told::default());
        all.push(document("exec", to_json(&result)));
    }
    let error = |record: &std::sync::Arc<StageRecord>| error_artifact(state, &layout, record.id());
    all.extend(state.stages.iter().filter_map(error).map(|error| document("error", to_json(&error))));
    all
}

/// The event stream of a run.
pub(crate) fn lines(events: &[Recorded], state: &RunState) -> Vec<Document> {
    let line = |recorded| event_line(recorded, &state.created.task, state.run());
    events.iter().map(line).map(|text| Document { schema: "event", text }).collect()
}

/// The sums a store would give for these runs.
pub(crate) fn totals(records: &[MetricsRecord]) -> Totals {
    let mut totals = Totals::default();
    for record in records {
        totals.runs += 1;
        let status = record.status;
        *match status {
            co_views::RunStatusWord::Succeeded => &mut totals.succeeded,
            co_views::RunStatusWord::Failed => &mut totals.failed,
            co_views::RunStatusWord::Cancelled => &mut totals.cancelled,
            _ => {
                totals.unfinished += 1;
                continue;
            }
        } += 1;
        totals.stages_passed += u64::from(record.commands_passed);
        totals.stages_failed += u64::from(record.commands_failed);
        totals.duration += std::time::Duration::from_secs_f64(record.duration_seconds.unwrap_or_default());
    }
    totals
}
