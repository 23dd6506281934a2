//! The states of a run and its children as the HUD draws them. Pure.

use std::time::Duration;

use co_engine::{AttemptEnd, RunState, StageRecord};
use co_hud::{AgentActivity, Frame, Question, StageKind, StageRow};
use co_model::{CallId, RunId, RunStatus, StageId, StageStatus, StageWork, Timestamp};
use co_views::Layout;

use super::board::Family;

/// A question that is open somewhere in the family.
pub(super) struct Asked {
    /// Names the stage and the asking: a later question of the same stage has another id.
    pub(super) id: String,
    pub(super) run: RunId,
    pub(super) stage: StageId,
    /// The tool call it is about; `None` for a gate.
    pub(super) call: Option<CallId>,
    message: String,
    expires_at: Timestamp,
}

/// The row of a stage; a run's id holds no slash.
pub(super) fn row_id(run: &RunId, stage: &StageId) -> String {
    format!("{run}/{stage}")
}

/// The stage that a row shows.
pub(super) fn of_row<'a>(family: &'a Family, row: &str) -> Option<(&'a RunState, &'a StageRecord)> {
    let (run, stage) = row.split_once('/')?;
    let state = family.states.get(&RunId::new(run).ok()?)?;
    Some((state, state.stage(&StageId::new(stage).ok()?)?))
}

/// Computes the frame of a family at an instant.
pub(super) fn frame(family: &Family, layout: &Layout, now: Timestamp) -> Frame {
    let mut frame = Frame {
        run: family.root.to_string(),
        task: String::new(),
        pipeline: String::new(),
        status: RunStatus::Queued,
        status_detail: None,
        elapsed: Duration::ZERO,
        stages: Vec::new(),
        question: question(family),
        manifest: String::new(),
        log: String::new(),
    };
    let Some(root) = family.states.get(&family.root) else { return frame };
    let task = &root.created.task;
    frame.task = task.to_string();
    frame.pipeline.clone_from(&root.pipeline().title);
    frame.status = root.status();
    frame.status_detail = co_views::status_detail(root);
    if let Some(lost) = family.lost.as_ref().filter(|_| !frame.status.is_over()) {
        frame.status = RunStatus::Interrupted;
        frame.status_detail = Some(lost.clone());
    }
    frame.elapsed = root.completed_at.unwrap_or(now).since(root.started_at.unwrap_or(root.created_at));
    frame.manifest = layout.show(&layout.manifest_path(task, root.run()));
    frame.log = layout.show(&layout.logs_dir(task, root.run()));
    walk(family, root, 0, &mut |state, record, depth| frame.stages.push(row(state, record, depth, now)));
    frame
}

/// Visits every stage in order, those of a child run below the stage that owns it.
fn walk<'a>(
    family: &'a Family,
    state: &'a RunState,
    depth: u16,
    visit: &mut dyn FnMut(&'a RunState, &'a StageRecord, u16),
) {
    for record in &state.stages {
        visit(state, record, depth);
        if let Some(child) = record.child.as_ref().and_then(|(run, _)| family.states.get(run)) {
            walk(family, child, depth + 1, visit);
        }
    }
}

fn row(state: &RunState, record: &StageRecord, depth: u16, now: Timestamp) -> StageRow {
    let status = record.status();
    let begun = !matches!(status, StageStatus::Pending | StageStatus::Skipped);
    StageRow {
        id: row_id(state.run(), record.id()),
        title: record.definition.title.clone(),
        kind: match &record.definition.work {
            StageWork::Command(_) => StageKind::Command,
            StageWork::Agent(_) => StageKind::Agent,
            StageWork::Gate(_) => StageKind::Gate,
            StageWork::Pipeline(_) => StageKind::Pipeline,
            StageWork::Mcp(_) => StageKind::Mcp,
        },
        status,
        elapsed: begun.then(|| began(record).map(|at| record.finished_at.unwrap_or(now).since(at))).flatten(),
        attempt: record.attempts.last().filter(|_| begun).map_or(0, |attempt| attempt.number),
        summary: co_views::stage_summary(state, record),
        agent: activity(record),
        depth,
    }
}

/// When the stage began, or began again: a resumed run does not count the time it lay still.
fn began(record: &StageRecord) -> Option<Timestamp> {
    let counted = usize::try_from(record.counted_attempts).unwrap_or(usize::MAX);
    let first = record.attempts.len().saturating_sub(counted.max(1));
    record.attempts.get(first).map(|attempt| attempt.started_at).or(record.started_at)
}

/// What the run knows of its agent: the conversation, and the turns that are over.
fn activity(record: &StageRecord) -> Option<AgentActivity> {
    let turn = record.attempts.iter().rev().find_map(|attempt| match &attempt.end {
        AttemptEnd::Reported(report) => report.agent.as_ref(),
        AttemptEnd::Open | AttemptEnd::Lost => None,
    });
    let thread = record.thread.as_ref().map(|thread| thread.0.clone());
    if turn.is_none() && thread.is_none() {
        return None;
    }
    let usage = turn.and_then(|turn| turn.usage).unwrap_or_default();
    Some(AgentActivity {
        thread,
        tokens: usage.input.saturating_add(usage.output),
        last: turn.and_then(|turn| turn.last_message.clone()).unwrap_or_default(),
    })
}

/// The questions that are open, in the order of the rows.
pub(super) fn questions(family: &Family) -> Vec<Asked> {
    let mut asked = Vec::new();
    let Some(root) = family.states.get(&family.root) else { return asked };
    walk(family, root, 0, &mut |state, record, _| {
        for open in state.open_questions().into_iter().filter(|open| open.stage == record.id()) {
            let call = open.call.map(|call| call.call.clone());
            let about = call.as_ref().map(|call| format!("/{call}")).unwrap_or_default();
            let row = row_id(state.run(), record.id());
            asked.push(Asked {
                id: format!("{row}{about}@{}", open.expires_at.as_millis()),
                run: state.run().clone(),
                stage: record.id().clone(),
                call,
                message: open.message.to_owned(),
                expires_at: open.expires_at,
            });
        }
    });
    asked
}

fn question(family: &Family) -> Option<Question> {
    let asked = questions(family);
    let first = asked.first()?;
    let more = match asked.len() {
        1 => String::new(),
        several => format!(" (1 of {several} questions)"),
    };
    let expires_at = Timestamp::from_millis(first.expires_at.as_millis() / 1_000 * 1_000);
    let expires_at = expires_at.to_string().replace(".000", "");
    let text = format!("{}\n{}: no answer before {expires_at} means no{more}", first.message, first.stage);
    Some(Question { id: first.id.clone(), text })
}

/// What to say where a stage has no output.
pub(super) fn words_without_output(record: &StageRecord) -> String {
    match (&record.definition.work, record.status()) {
        (_, StageStatus::Pending) => "the stage has not begun".to_owned(),
        (_, StageStatus::Skipped) => "the stage was not run".to_owned(),
        (StageWork::Gate(gate), _) => format!("asked: {}", gate.message),
        (StageWork::Pipeline(_), _) => match &record.child {
            Some((run, _)) => format!("child run {run}; its stages are listed below this one"),
            None => "the child run has not begun".to_owned(),
        },
        (StageWork::Command(_) | StageWork::Agent(_) | StageWork::Mcp(_), _) => {
            "nothing was printed".to_owned()
        }
    }
}
