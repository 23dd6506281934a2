//! What views say in words: details, reasons and summaries of runs and stages.

use co_engine::{CallState, GuardrailStatus, Phase, RunState, StageRecord, StageState};
use co_model::{
    CommandLine, DurationText, FailureReason, McpStage, RunOutcome, RunStatus, SkipReason, StageOutcome,
    StageStatus, StageWork,
};

/// The machine-readable detail of a run's status: `stage:<id>:failed`, who cancelled it, what was
/// found of a lost owner; `None` when the status says everything.
pub fn status_detail(state: &RunState) -> Option<String> {
    match &state.phase {
        Phase::Created => None,
        Phase::Running => {
            let asking = |record: &&StageRecord| matches!(record.state, StageState::Asking { .. });
            let gate = state.stages.iter().map(AsRef::as_ref).find(asking)?;
            Some(format!("stage:{}:waiting", gate.id()))
        }
        Phase::Cancelling { actor, reason: None } => Some(format!("cancelling: asked by {actor}")),
        Phase::Cancelling { actor, reason: Some(reason) } => {
            Some(format!("cancelling: asked by {actor}: {reason}"))
        }
        Phase::Interrupted { detail } => Some(detail.clone()),
        Phase::Finished { outcome } => outcome.detail().map(str::to_owned),
    }
}

/// Longest line for people in characters, the ellipsis included.
const LONGEST_LINE: usize = 240;

/// Says whether a character shows itself and nothing more: it neither moves a terminal's cursor
/// nor turns the direction of the text around it (Unicode's bidirectional controls, UAX #9).
pub fn is_plain(c: char) -> bool {
    let turns =
        matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let breaks = matches!(c, '\u{2028}' | '\u{2029}');
    !(c.is_control() || turns || breaks)
}

/// Makes one line of any text: what is not plain becomes a blank, what is too long is cut.
pub(crate) fn one_line(text: &str) -> String {
    let plain = |c: char| if is_plain(c) { c } else { ' ' };
    if text.chars().count() <= LONGEST_LINE {
        return text.chars().map(plain).collect();
    }
    text.chars().map(plain).take(LONGEST_LINE - 1).chain(['…']).collect()
}

/// Joins sentences, ending those that have no end.
pub(crate) fn joined(sentences: &[String]) -> String {
    let ended = |text: &String| {
        let end = if text.ends_with(['.', '!', '?', '…']) { "" } else { "." };
        format!("{text}{end}")
    };
    sentences.iter().map(ended).collect::<Vec<_>>().join(" ")
}

/// One line about a run for people, at most 240 characters.
pub fn summary(state: &RunState) -> String {
    one_line(&run_sentences(state))
}

fn run_sentences(state: &RunState) -> String {
    let tally = Tally::of(state);
    let stages = tally.sentence();
    let first = match (&state.phase, state.status()) {
        (Phase::Finished { outcome: RunOutcome::Failed { detail } }, _) => match blocking(state) {
            Some((stage, why)) => format!("Failed at stage `{}`: {why}.", stage.id()),
            None => rejection(state).unwrap_or_else(|| format!("Failed: {detail}.")),
        },
        (Phase::Finished { outcome: RunOutcome::Cancelled { detail } }, _) => {
            format!("{}.", capitalized(detail))
        }
        (Phase::Interrupted { detail }, _) => format!("Interrupted: {detail}."),
        (Phase::Cancelling { .. }, _) => "Being cancelled.".to_owned(),
        (_, RunStatus::Queued) => return "Queued.".to_owned(),
        (_, RunStatus::Succeeded) => "Succeeded.".to_owned(),
        _ => "In progress.".to_owned(),
    };
    let guardrails = GuardrailStatus::of(state);
    if state.status().is_over() && (guardrails.required || guardrails.counts.total > 0) {
        format!("{first} {stages} {}", guardrails.sentence())
    } else {
        format!("{first} {stages}")
    }
}

/// The stage that the run's failure goes back to.
fn blocking(state: &RunState) -> Option<(&StageRecord, String)> {
    state.stages.iter().filter(|record| !record.removed).find_map(|record| match record.outcome() {
        Some(StageOutcome::Failed { reason, allowed: false }) => Some((record.as_ref(), reason.to_string())),
        _ => None,
    })
}

/// Why a run failed in which no stage did.
fn rejection(state: &RunState) -> Option<String> {
    let present = || state.stages.iter().filter(|record| !record.removed);
    if let Some(stage) = present().find(|record| record.outcome() == Some(&StageOutcome::Cancelled)) {
        return Some(format!("Failed: stage `{}` was cancelled.", stage.id()));
    }
    let objection = |record: &StageRecord| match record.outcome() {
        Some(StageOutcome::Succeeded) => record.last_report()?.objection.clone(),
        _ => None,
    };
    if let Some((stage, why)) = present().find_map(|record| Some((record.id(), objection(record)?))) {
        return Some(joined(&[format!("Rejected by stage `{stage}`: {why}")]));
    }
    (!GuardrailStatus::of(state).satisfied()).then(|| "Failed: the guardrails are not satisfied.".to_owned())
}

/// How many stages of a run stand where; stages that an edit removed do not count.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Tally {
    pub(crate) succeeded: u32,
    pub(crate) failed: u32,
    pub(crate) skipped: u32,
    pub(crate) cancelled: u32,
    pub(crate) open: u32,
}

impl Tally {
    pub(crate) fn of(state: &RunState) -> Self {
        let mut tally = Self::default();
        for record in state.stages.iter().filter(|record| !record.removed) {
            let counter = match record.status() {
                StageStatus::Succeeded => &mut tally.succeeded,
                StageStatus::Failed => &mut tally.failed,
                StageStatus::Skipped => &mut tally.skipped,
                StageStatus::Cancelled => &mut tally.cancelled,
                StageStatus::Pending | StageStatus::Running | StageStatus::Waiting => &mut tally.open,
            };
            *counter += 1;
        }
        tally
    }

    fn sentence(self) -> String {
        let Self { succeeded, failed, skipped, cancelled, open } = self;
        let total = succeeded + failed + skipped + cancelled + open;
        let rest =
            listed(&[(failed, "failed"), (skipped, "skipped"), (cancelled, "cancelled"), (open, "not over")]);
        let separator = if rest.is_empty() { "" } else { ", " };
        format!("{succeeded} of {} succeeded{separator}{rest}.", counted(total, "stage"))
    }
}

/// A number with its noun.
pub(crate) fn counted<N: Copy + PartialEq + From<u32> + std::fmt::Display>(number: N, noun: &str) -> String {
    let plural = if number == N::from(1) { "" } else { "s" };
    format!("{number} {noun}{plural}")
}

/// The numbers that are not zero, each with its word.
pub(crate) fn listed<N: PartialEq + From<u32> + std::fmt::Display>(parts: &[(N, &str)]) -> String {
    let zero = N::from(0);
    let parts = parts.iter().filter(|(number, _)| *number != zero);
    parts.map(|(number, word)| format!("{number} {word}")).collect::<Vec<_>>().join(", ")
}

/// One line about a stage for people, at most 240 characters; `None` while there is nothing to say.
pub fn stage_summary(state: &RunState, record: &StageRecord) -> Option<String> {
    let text = match &record.state {
        StageState::Pending | StageState::Attempting { .. } => None,
        StageState::Backoff { attempt, due_at } => Some(format!("Attempt {attempt} is due at {due_at}.")),
        StageState::Asking { message, .. } => Some(message.clone()),
        StageState::Consenting { call } => match record.call(call).map(|open| &open.state) {
            Some(CallState::Asking { message, .. }) => Some(message.clone()),
            _ => None,
        },
        StageState::Nested { run } => Some(format!("Child run {run} is under way.")),
        StageState::Interrupted => Some("Interrupted: nobody saw how the attempt ended.".to_owned()),
        StageState::Finished { outcome } => Some(outcome_summary(state, record, outcome)),
    };
    text.map(|text| one_line(&text))
}

fn outcome_summary(state: &RunState, record: &StageRecord, outcome: &StageOutcome) -> String {
    let reported =
        || record.last_report().map(|report| report.summary.clone()).filter(|text| !text.is_empty());
    match outcome {
        StageOutcome::Skipped { reason } => skip(reason),
        StageOutcome::Cancelled => "Cancelled.".to_owned(),
        StageOutcome::Succeeded => match (&record.definition.work, &record.child) {
            (StageWork::Gate(_), _) => answer(state, record).unwrap_or_else(|| "Approved.".to_owned()),
            (StageWork::Pipeline(_), Some((run, _))) => format!("Child run {run} succeeded."),
            _ => reported().unwrap_or_else(|| "Succeeded.".to_owned()),
        },
        StageOutcome::Failed { reason, .. } => {
            let plain = || format!("{}.", capitalized(&reason.to_string()));
            match reason {
                // These are told best by the output itself.
                FailureReason::ExitCode(_) | FailureReason::Signal(_) | FailureReason::TimedOut => {
                    reported().unwrap_or_else(plain)
                }
                FailureReason::Agent(class) => {
                    let failure =
                        record.last_report().and_then(|report| report.agent.as_ref()?.failure.as_ref());
                    match failure {
                        Some(failure) => format!("The agent's turn failed ({class}): {}", failure.message),
                        None => plain(),
                    }
                }
                FailureReason::Denied => answer(state, record).unwrap_or_else(plain),
                _ => plain(),
            }
        }
    }
}

/// What the person said at a gate.
fn answer(state: &RunState, record: &StageRecord) -> Option<String> {
    let answered = state.answers.iter().rev().find(|answer| answer.stage == *record.id())?;
    let word = match answered.verdict? {
        co_model::Verdict::Approve => "Approved",
        co_model::Verdict::Deny => "Denied",
    };
    Some(match &answered.reason {
        Some(reason) => format!("{word} by {}: {reason}", answered.actor),
        None => format!("{word} by {}.", answered.actor),
    })
}

/// Why a stage was not run, as a sentence.
pub(crate) fn skip(reason: &SkipReason) -> String {
    match reason {
        SkipReason::NotTargeted => "Not part of the target.".to_owned(),
        SkipReason::NotPlanned => "Left out by the planner.".to_owned(),
        SkipReason::StageFailed(stage) => format!("Stage `{stage}` did not succeed."),
        SkipReason::NothingFailed => "Runs only after a failure, and there was none.".to_owned(),
        SkipReason::RunCancelled => "The run was cancelled before it began.".to_owned(),
        SkipReason::Removed => "The edited pipeline no longer has it.".to_owned(),
    }
}

/// Why a stage was not run, as one word in kebab case.
pub(crate) const fn skip_word(reason: &SkipReason) -> &'static str {
    match reason {
        SkipReason::NotTargeted => "not-targeted",
        SkipReason::NotPlanned => "not-planned",
        SkipReason::StageFailed(_) => "stage-failed",
        SkipReason::NothingFailed => "nothing-failed",
        SkipReason::RunCancelled => "run-cancelled",
        SkipReason::Removed => "removed",
    }
}

/// A time-out's limit in words.
pub(crate) fn limit(after_ms: u64) -> String {
    format!("ended after {}", DurationText(std::time::Duration::from_millis(after_ms)))
}

/// Gives a command as a person would type it.
pub fn command_text(line: &CommandLine) -> String {
    match line {
        CommandLine::Shell(line) => line.clone(),
        CommandLine::Argv(words) => {
            words.iter().map(|word| co_model::quoted(word)).collect::<Vec<_>>().join(" ")
        }
    }
}

/// The tool of a stage and what it is given, in one line.
pub fn tool_text(work: &McpStage) -> String {
    format!("{}/{} {}", work.server, work.tool, work.arguments)
}

fn capitalized(text: &str) -> String {
    let mut chars = text.chars();
    match chars.next() {
        Some(first) => first.to_uppercase().chain(chars).collect(),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_for_people_is_one_line_and_not_too_long() {
        assert_eq!(one_line("a\nb\tc\u{1b}[1m"), "a b c [1m");
        assert_eq!(one_line(&"é".repeat(240)), "é".repeat(240));
        assert_eq!(one_line(&"é".repeat(241)), "é".repeat(239) + "…");
    }

    #[test]
    fn an_argv_reads_as_it_would_be_typed() {
        let argv = |words: &[&str]| {
            command_text(&CommandLine::Argv(words.iter().map(|word| (*word).to_owned()).collect()))
        };
        assert_eq!(argv(&["cargo", "test", "--all"]), "cargo test --all");
        assert_eq!(argv(&["echo", "it's", "", "a b", "$HOME"]), r"echo 'it'\''s' '' 'a b' '$HOME'");
    }
}
