//! A run's events as lines for people.

use std::collections::HashMap;

use co_model::{
    AttemptExit, Drift, DurationText, Event, FailureReason, Recorded, RunOutcome, SkipReason, StageDrift,
    StageId, StageOutcome, StageWork, Timestamp, Verdict,
};

use crate::output::{BOLD, CYAN, DIM, GREEN, RED, YELLOW, harmless, paint};

/// Turns events into lines; remembers what it needs to name stages and measure them.
#[derive(Default)]
pub(crate) struct Progress {
    titles: HashMap<StageId, String>,
    began: HashMap<StageId, Timestamp>,
    created: Option<Timestamp>,
    run: String,
    summaries: HashMap<StageId, String>,
    hints: HashMap<StageId, String>,
}

impl Progress {
    /// The lines that an event is worth.
    pub(crate) fn lines(&mut self, recorded: &Recorded) -> Vec<String> {
        let at = recorded.at;
        match &recorded.event {
            Event::RunCreated(created) => {
                self.created = Some(at);
                self.run = created.run.to_string();
                self.learn(&created.pipeline.stages);
                vec![format!(
                    "{} {}  {} {}  {} {}",
                    paint(DIM, "run"),
                    paint(BOLD, created.run.as_str()),
                    paint(DIM, "task"),
                    created.task,
                    paint(DIM, "pipeline"),
                    created.pipeline.id
                )]
            }
            Event::RunPlanned(plan) if !plan.skipped.is_empty() => {
                let names: Vec<&str> = plan.skipped.iter().map(|skipped| skipped.stage.as_str()).collect();
                vec![paint(DIM, &format!("- not targeted: {}", names.join(", ")))]
            }
            Event::AttemptStarting { stage, attempt } => {
                self.began.insert(stage.clone(), at);
                let again = if *attempt > 1 { format!(" (attempt {attempt})") } else { String::new() };
                vec![format!("{} {}{again}  {}", paint(CYAN, "▸"), stage, paint(DIM, &self.title(stage)))]
            }
            Event::AttemptFinished { stage, report, .. } => {
                self.summaries.insert(stage.clone(), report.summary.clone());
                self.hints.remove(stage);
                let failure = report.agent.as_ref().and_then(|turn| turn.failure.as_ref());
                if let Some(hint) = failure.and_then(|failure| failure.hint.clone()) {
                    self.hints.insert(stage.clone(), hint);
                }
                let mut lines = Vec::new();
                if report.survivors_killed > 0 && !matches!(report.exit, AttemptExit::Cancelled) {
                    lines.push(format!("  {} left-over processes were ended", report.survivors_killed));
                }
                lines
            }
            Event::RetryScheduled { stage, due_at, .. } => {
                let wait = DurationText(due_at.since(at));
                let summary = self.summaries.get(stage).map(|text| harmless(text)).unwrap_or_default();
                vec![format!("{} {stage}  {summary}; trying again in {wait}", paint(YELLOW, "↻"))]
            }
            Event::AgentThreadKnown { thread, .. } => {
                vec![paint(DIM, &format!("  agent thread {}", harmless(&thread.0)))]
            }
            Event::QuestionAsked { stage, message, expires_at, call } => {
                self.began.insert(stage.clone(), at);
                self.asked(stage, message, *expires_at, call.is_some())
            }
            Event::QuestionAnswered { stage, verdict, actor, reason, .. } => {
                let verdict = match verdict {
                    Verdict::Approve => "approved",
                    Verdict::Deny => "denied",
                };
                let why = reason.as_ref().map(|why| format!(": {}", harmless(why))).unwrap_or_default();
                vec![paint(DIM, &format!("  {stage}: {verdict} by {}{why}", harmless(actor.as_str())))]
            }
            Event::ChildRunStarting { stage, run, .. } => {
                self.began.insert(stage.clone(), at);
                vec![format!("{} {stage}  {}", paint(CYAN, "▸"), paint(DIM, &format!("child run {run}")))]
            }
            Event::StageFinished { stage, outcome } => {
                let mut lines = vec![self.finished(stage, outcome, at)];
                if let (StageOutcome::Failed { .. }, Some(hint)) = (outcome, self.hints.get(stage)) {
                    lines.push(paint(DIM, &format!("  hint: {}", harmless(hint))));
                }
                lines
            }
            Event::CancelRequested { actor, reason } => {
                let why = reason.as_ref().map(|why| format!(": {}", harmless(why))).unwrap_or_default();
                vec![format!("{} stopping, asked by {}{why}", paint(YELLOW, "■"), harmless(actor.as_str()))]
            }
            Event::RunInterrupted { detail } => vec![format!("{} interrupted: {detail}", paint(YELLOW, "■"))],
            Event::ResumeAccepted { actor, drift, pipeline, .. } => {
                if let Some(pipeline) = pipeline {
                    self.learn(&pipeline.stages);
                }
                let mut lines = vec![format!("{} resumed by {}", paint(CYAN, "▸"), harmless(actor.as_str()))];
                lines.extend(drift_lines(drift));
                lines
            }
            Event::ResumeBlocked { actor, detail, .. } => {
                vec![format!(
                    "{} a resume by {} was refused: {detail}",
                    paint(YELLOW, "!"),
                    harmless(actor.as_str())
                )]
            }
            Event::SteerAccepted { stage, .. } => {
                vec![paint(DIM, &format!("  a message for {stage} was accepted"))]
            }
            Event::RunFinished { outcome } => vec![self.over(outcome, at)],
            _ => Vec::new(),
        }
    }

    fn asked(&self, stage: &StageId, message: &str, expires_at: Timestamp, is_call: bool) -> Vec<String> {
        let run = &self.run;
        let answer = format!(
            "  answer it before {expires_at}: codex-orchestrator answer --run {run} --stage {stage} yes|no"
        );
        let asked = format!("{} {stage}  {}", paint(YELLOW, "?"), harmless(message));
        let mut lines = vec![asked, paint(DIM, &answer)];
        if is_call {
            let all = format!("  all it is bound to: codex-orchestrator approvals questions --run {run}");
            lines.push(paint(DIM, &all));
        }
        lines
    }

    fn learn(&mut self, stages: &[co_model::Stage]) {
        for stage in stages {
            let title = match &stage.work {
                StageWork::Agent(work) => format!("{} ({})", stage.title, work.agent),
                _ => stage.title.clone(),
            };
            self.titles.insert(stage.id.clone(), harmless(&title));
        }
    }

    fn title(&self, stage: &StageId) -> String {
        self.titles.get(stage).filter(|title| *title != stage.as_str()).cloned().unwrap_or_default()
    }

    fn finished(&self, stage: &StageId, outcome: &StageOutcome, at: Timestamp) -> String {
        let took =
            self.began.get(stage).map(|began| DurationText(at.since(*began)).to_string()).unwrap_or_default();
        let summary = self.summaries.get(stage).map(|text| harmless(text)).unwrap_or_default();
        match outcome {
            StageOutcome::Succeeded => {
                format!("{} {stage}  {took}  {}", paint(GREEN, "✓"), paint(DIM, &summary))
            }
            StageOutcome::Failed { reason, allowed } => {
                let (style, note) = if *allowed { (YELLOW, " (allowed)") } else { (RED, "") };
                // The attempt's summary tells of its exit, which is not always why the stage failed.
                let what = match reason {
                    FailureReason::MissingOutputs(_) | FailureReason::InvalidSelection(_) => {
                        harmless(&reason.to_string())
                    }
                    _ if summary.is_empty() => harmless(&reason.to_string()),
                    _ => summary,
                };
                format!("{} {stage}  {took}  {what}{note}", paint(style, "✗"))
            }
            StageOutcome::Skipped { reason } => {
                paint(DIM, &format!("- {stage}  skipped: {}", skip_sentence(reason)))
            }
            StageOutcome::Cancelled => format!("{} {stage}  {took}  stopped", paint(YELLOW, "■")),
        }
    }

    fn over(&self, outcome: &RunOutcome, at: Timestamp) -> String {
        let took =
            self.created.map(|created| DurationText(at.since(created)).to_string()).unwrap_or_default();
        let (style, symbol) = match outcome {
            RunOutcome::Succeeded => (GREEN, "✓"),
            RunOutcome::Failed { .. } => (RED, "✗"),
            RunOutcome::Cancelled { .. } => (YELLOW, "■"),
        };
        let detail = outcome.detail().map(|detail| format!("  {}", harmless(detail))).unwrap_or_default();
        format!("{} {}{detail}  {took}", paint(style, symbol), paint(BOLD, outcome.status().as_str()))
    }
}

/// Lines that show how a pipeline has changed.
pub(crate) fn drift_lines(drift: &Drift) -> Vec<String> {
    let line = |drift: &StageDrift| match drift {
        StageDrift::Added { stage } => format!("  the pipeline has a new stage: {stage}"),
        StageDrift::Removed { stage } => {
            format!("  the pipeline no longer has stage {stage}; its record stays")
        }
        StageDrift::Changed { stage } => {
            format!("  stage {stage} has changed; an earlier success does not count")
        }
    };
    drift.stages.iter().map(|drift| paint(YELLOW, &line(drift))).collect()
}

/// Why a stage was not run.
pub(crate) fn skip_sentence(reason: &SkipReason) -> String {
    match reason {
        SkipReason::NotTargeted => "the target does not include it".to_owned(),
        SkipReason::NotPlanned => "the planner left it out".to_owned(),
        SkipReason::StageFailed(stage) => format!("stage {stage} failed"),
        SkipReason::NothingFailed => "nothing failed".to_owned(),
        SkipReason::RunCancelled => "the run was stopped".to_owned(),
        SkipReason::Removed => "the pipeline no longer has it".to_owned(),
    }
}
