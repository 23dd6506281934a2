//! Finding runs and adding them up.

use co_model::{EventSeq, PipelineId, RunId, RunStatus};

use super::Make;
use super::support::{Draft, at, created, head, listed, progress, recorded, run, task};
use crate::{Progress, RunFilter, TaskTotals};

/// Heads come newest first, a hundred when no number is given.
pub fn heads_are_listed_newest_first(make: Make<'_>) {
    let log = make();
    assert_eq!(log.heads(&RunFilter::default()).unwrap(), []);
    // Created out of order: the id says which is newer.
    for number in (1..=120).map(|n| n * 50 % 121) {
        recorded(&*log, &run(number), &progress());
    }
    let newest: Vec<RunId> = (1..=120).rev().map(run).collect();
    assert_eq!(listed(&*log, &RunFilter::default()), newest[..100]);
    assert_eq!(listed(&*log, &RunFilter { limit: 3, ..RunFilter::default() }), newest[..3]);
    assert_eq!(listed(&*log, &RunFilter { limit: usize::MAX, ..RunFilter::default() }), newest);
    let heads = log.heads(&RunFilter { limit: 5, ..RunFilter::default() }).unwrap();
    for listed in heads {
        assert_eq!(listed, head(&*log, &listed.run), "a listed head is the whole head");
    }
}

/// Going on before the last id of each page visits every run once.
pub fn heads_are_paged_without_gaps(make: Make<'_>) {
    let log = make();
    for number in 1..=25 {
        let status = if number % 2 == 0 { RunStatus::Succeeded } else { RunStatus::Failed };
        recorded(&*log, &run(number), &Progress { status, ..progress() });
    }
    for statuses in [vec![], vec![RunStatus::Failed, RunStatus::Succeeded, RunStatus::Failed]] {
        let mut seen: Vec<RunId> = Vec::new();
        loop {
            let before = seen.last().cloned();
            let filter = RunFilter { statuses: statuses.clone(), before, limit: 7, ..RunFilter::default() };
            let page = listed(&*log, &filter);
            assert!(page.len() <= 7);
            if page.is_empty() {
                break;
            }
            seen.extend(page);
        }
        assert_eq!(seen, (1..=25).rev().map(run).collect::<Vec<_>>());
    }
}

/// Everything set in a filter must match; nothing else is left out.
pub fn heads_match_every_filter(make: Make<'_>) {
    use RunStatus::{Failed, InProgress, Queued, Succeeded};
    let log = make();
    let pipeline = |name: &str| PipelineId::new(name).unwrap();
    let parents = [None, Some(run(900)), Some(run(901))];
    let mut all = Vec::new();
    let mut number = 0;
    for task_name in ["a", "b"] {
        for pipeline_name in ["x", "y"] {
            for parent in &parents {
                for status in [InProgress, Succeeded, Failed] {
                    number += 1;
                    let progress = Progress {
                        task: task(task_name),
                        pipeline: pipeline(pipeline_name),
                        parent: parent.clone(),
                        status,
                        ..progress()
                    };
                    recorded(&*log, &run(number), &progress);
                    all.push((run(number), progress));
                }
            }
        }
    }
    all.reverse();
    let choices = |names: [&'static str; 3]| names.map(|name| (name != "any").then_some(name));
    for wanted_task in choices(["any", "a", "none"]) {
        for wanted_pipeline in choices(["any", "y", "none"]) {
            for wanted_parent in [None, Some(run(900)), Some(run(902))] {
                for statuses in [vec![], vec![Succeeded], vec![Succeeded, InProgress], vec![Queued]] {
                    let filter = RunFilter {
                        task: wanted_task.map(task),
                        pipeline: wanted_pipeline.map(pipeline),
                        parent: wanted_parent.clone(),
                        statuses,
                        ..RunFilter::default()
                    };
                    let matches = |run: &Progress| {
                        filter.task.as_ref().is_none_or(|task| *task == run.task)
                            && filter.pipeline.as_ref().is_none_or(|pipeline| *pipeline == run.pipeline)
                            && (filter.parent.is_none() || filter.parent == run.parent)
                            && (filter.statuses.is_empty() || filter.statuses.contains(&run.status))
                    };
                    let expected: Vec<RunId> =
                        all.iter().filter(|(_, run)| matches(run)).map(|(id, _)| id.clone()).collect();
                    assert_eq!(listed(&*log, &filter), expected, "{filter:?}");
                }
            }
        }
    }
}

/// Runs whose views lag are found until the views have caught up.
pub fn heads_show_lagging_views(make: Make<'_>) {
    let log = make();
    let leases = [created(&*log, &run(1), "me"), created(&*log, &run(2), "me")];
    let stale = RunFilter { stale_views: true, ..RunFilter::default() };
    assert_eq!(listed(&*log, &stale), [run(2), run(1)]);
    log.views_written(&run(1), EventSeq(1)).unwrap();
    assert_eq!(listed(&*log, &stale), [run(2)]);
    log.append(&leases[0], &Draft::after(&run(1), 1).append()).unwrap();
    assert_eq!(listed(&*log, &stale), [run(2), run(1)]);
    log.views_written(&run(1), EventSeq(1)).unwrap();
    assert_eq!(listed(&*log, &stale), [run(2), run(1)]);
    log.views_written(&run(1), EventSeq(2)).unwrap();
    log.views_written(&run(2), EventSeq(1)).unwrap();
    assert_eq!(listed(&*log, &stale), []);
    let none = RunFilter { statuses: vec![RunStatus::Failed], ..stale };
    assert_eq!(listed(&*log, &none), []);
}

/// The totals count every run of the task, and add up those that are over.
pub fn totals_add_up_a_task(make: Make<'_>) {
    let log = make();
    let ended = |status, created: i64, completed: Option<i64>| Progress {
        status,
        created_at: at(created),
        completed_at: completed.map(at),
        stages_passed: 3,
        stages_failed: 1,
        ..progress()
    };
    let runs = [
        ended(RunStatus::Succeeded, 0, Some(1_500)),
        ended(RunStatus::Succeeded, 100, Some(200)),
        ended(RunStatus::Failed, 0, Some(30)),
        // Clocks jump: neither a negative nor an unknown duration counts.
        ended(RunStatus::Failed, 500, Some(10)),
        ended(RunStatus::Cancelled, 0, None),
        ended(RunStatus::Queued, 0, None),
        // Resumed after it had ended.
        ended(RunStatus::InProgress, 0, Some(9_000)),
        ended(RunStatus::Interrupted, 0, None),
        Progress { task: task("other"), ..ended(RunStatus::Succeeded, 0, Some(70)) },
    ];
    for (number, progress) in (1..).zip(&runs) {
        recorded(&*log, &run(number), progress);
    }
    let expected = TaskTotals {
        runs: 8,
        succeeded: 2,
        failed: 2,
        cancelled: 1,
        unfinished: 3,
        duration_ms: 1_630,
        stages_passed: 15,
        stages_failed: 5,
    };
    assert_eq!(log.totals(&task("task")).unwrap(), expected);
    assert_eq!(log.totals(&task("unknown")).unwrap(), TaskTotals::default());
}

/// The views on disk are never said to be older than they were.
pub fn views_written_never_goes_back(make: Make<'_>) {
    let log = make();
    let lease = created(&*log, &run(1), "me");
    for after in 1..5 {
        log.append(&lease, &Draft::after(&run(1), after).append()).unwrap();
    }
    let before = head(&*log, &run(1));
    for (written, expected) in [(3, 3), (1, 3), (3, 3), (0, 3), (5, 5), (4, 5)] {
        log.views_written(&run(1), EventSeq(written)).unwrap();
        let expected = crate::RunHead { views_seq: EventSeq(expected), ..before.clone() };
        assert_eq!(head(&*log, &run(1)), expected, "after {written}");
    }
    log.views_written(&run(2), EventSeq(1)).unwrap();
    assert_eq!(log.head(&run(2)).unwrap(), None);
}
