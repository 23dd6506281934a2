//! What the views of each story say, word for word.

use std::time::Duration;

use co_engine::RunState;
use co_model::TaskId;
use co_views::{
    MetricsRecord, OwnerSeen, Totals, error_artifact, event_line, manifest, metrics, metrics_record,
    run_summary, start_result, status, task_state, to_json,
};

use crate::documents::{documents, totals};
use crate::script::{SECRET, Script, TOKEN_SHA256, heartbeat, layout};
use crate::stories;

#[test]
fn manifests() {
    for (name, script) in stories::all() {
        let view = manifest(&script.state, &layout(), heartbeat(script.now));
        insta::assert_snapshot!(format!("manifest-{name}"), to_json(&view));
    }
}

#[test]
fn event_streams() {
    for (name, script) in stories::all() {
        let lines = script
            .events
            .iter()
            .map(|recorded| event_line(recorded, &script.state.created.task, script.state.run()) + "\n");
        insta::assert_snapshot!(format!("events-{name}"), lines.collect::<String>());
    }
}

#[test]
fn summaries_and_results() {
    for (name, script) in stories::all() {
        let summary = to_json(&run_summary(&script.state, &layout()));
        let result = to_json(&start_result(&script.state, &layout()));
        insta::assert_snapshot!(format!("summary-{name}"), format!("{summary}{result}"));
    }
}

#[test]
fn errors_of_failed_stages() {
    let mut text = String::new();
    for (name, Script { state, .. }) in stories::all() {
        for record in &state.stages {
            if let Some(error) = error_artifact(&state, &layout(), record.id()) {
                text.push_str(&to_json(&(name, error)));
            }
        }
    }
    insta::assert_snapshot!("errors", text);
}

/// The records of the stories that are over, as if each were a run of its own.
fn records() -> Vec<MetricsRecord> {
    let over = stories::all().into_iter().filter(|(_, script)| script.state.status().is_over());
    over.map(|(name, script)| {
        let record = metrics_record(&script.state, &layout());
        MetricsRecord { run_id: name.to_owned(), ..record }
    })
    .collect()
}

#[test]
fn figures_and_history_of_a_task() {
    let task = TaskId::new("0101").expect("a valid id");
    let records = records();
    insta::assert_snapshot!("metrics", to_json(&metrics(&task, totals(&records), &records)));
    insta::assert_snapshot!("task-state", to_json(&task_state(&task, totals(&records), &records)));
}

#[test]
fn a_task_without_runs_has_no_rates() {
    let task = TaskId::new("0101").expect("a valid id");
    insta::assert_snapshot!("metrics-empty", to_json(&metrics(&task, Totals::default(), &[])));
    insta::assert_snapshot!("task-state-empty", to_json(&task_state(&task, Totals::default(), &[])));
}

#[test]
fn the_order_in_which_records_come_plays_no_part() {
    let task = TaskId::new("0101").expect("a valid id");
    let (forth, mut back) = (records(), records());
    back.reverse();
    let sums = totals(&forth);
    assert_eq!(metrics(&task, sums, &forth), metrics(&task, sums, &back));
    assert_eq!(task_state(&task, sums, &forth), task_state(&task, sums, &back));
}

#[test]
fn a_record_survives_its_store() {
    for record in records() {
        let stored = to_json(&record);
        assert_eq!(serde_json::from_str::<MetricsRecord>(&stored).expect("it parses"), record);
    }
}

/// `(stale, age)` of the waiting story after `silence` without a sign of life.
fn activity(owner: OwnerSeen, silence: u64) -> (bool, Option<f64>) {
    let script = stories::all().into_iter().find(|(name, _)| *name == "waiting").expect("the story exists").1;
    let now = script.now.plus(Duration::from_secs(silence));
    let view = status(&script.state, &layout(), heartbeat(script.now), owner, now);
    (view.activity.stale, view.activity.age_seconds)
}

#[test]
fn a_run_is_stale_when_its_owner_is_gone_or_silent() {
    assert_eq!(activity(OwnerSeen::Unknown, 30), (false, Some(30.0)));
    assert_eq!(activity(OwnerSeen::Unknown, 31), (true, Some(31.0)));
    assert_eq!(activity(OwnerSeen::Alive, 300), (false, Some(300.0)));
    assert_eq!(activity(OwnerSeen::Gone, 1), (true, Some(1.0)));
}

#[test]
fn statuses() {
    for name in ["waiting", "interrupted"] {
        let (_, script) = stories::all().into_iter().find(|(n, _)| *n == name).expect("the story exists");
        let now = script.now.plus(Duration::from_millis(31_500));
        let view = status(&script.state, &layout(), heartbeat(script.now), OwnerSeen::Unknown, now);
        insta::assert_snapshot!(format!("status-{name}"), to_json(&view));
    }
}

#[test]
fn a_rebuilt_manifest_equals_the_written_one() {
    for (name, script) in stories::all() {
        let rebuilt = RunState::replay(&script.events).expect("the events are a run's");
        let later = script.now.plus(Duration::from_hours(1));
        let view = |state, beat| to_json(&manifest(state, &layout(), heartbeat(beat)));
        assert_eq!(view(&script.state, script.now), view(&rebuilt, script.now), "{name}");
        if script.state.status().is_over() {
            assert_eq!(view(&script.state, script.now), view(&rebuilt, later), "{name}");
        }
    }
}

#[test]
fn no_view_shows_the_environment_and_no_event_the_token() {
    for (name, script) in stories::all() {
        for document in documents(&script.state, script.now) {
            assert!(!document.text.contains(SECRET), "{name}: {}", document.schema);
        }
        for recorded in &script.events {
            let line = event_line(recorded, &script.state.created.task, script.state.run());
            assert!(!line.contains(SECRET) && !line.contains(TOKEN_SHA256), "{name}: {line}");
            assert!(!line.contains('\n'), "{name}: {line}");
        }
    }
}
