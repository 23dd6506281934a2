//! One turn of a coding agent.

use std::ffi::{OsStr, OsString};

use co_agents::{
    AgentExit, AgentObservation, AgentReport, AgentRequest, AgentVerdict, PrepareError, SandboxMode,
    Transcript, driver_for, judge,
};
use co_engine::{AttemptEnd, Input};
use co_model::{
    AgentFailure, AgentOutcome, AgentStage, AttemptExit, AttemptReport, ChangeKind, FileChange, ThreadId,
    TokenUsage,
};
use co_process::{Observer, ProcessIdentity, Stdin, Stream};

use crate::attempt::{Attempt, Ran, chain};
use crate::{evidence, prompt};

/// Longest last message that is kept in the log, in characters.
const LONGEST_MESSAGE: usize = 8_000;

/// Lets the agent work for one turn and judges it by what was observed.
pub(crate) fn turn(attempt: &Attempt, work: &AgentStage) -> AttemptReport {
    match prepared_turn(attempt, work) {
        Ok(report) => report,
        Err(refused) => {
            let mut report = attempt.not_started(refused.message.clone());
            report.summary = failure_summary(&refused);
            report.agent = Some(AgentOutcome {
                thread: attempt.thread.clone(),
                failure: Some(refused),
                ..AgentOutcome::default()
            });
            report
        }
    }
}

fn prepared_turn(attempt: &Attempt, work: &AgentStage) -> Result<AttemptReport, AgentFailure> {
    let options = &attempt.shared.options;
    let refused = |class: &str, message: String, hint: Option<&str>| AgentFailure {
        class: class.to_owned(),
        message,
        hint: hint.map(str::to_owned),
    };
    let driver =
        driver_for(&work.agent).map_err(|error| refused("unknown-agent", chain(&error), error.hint()))?;
    let continues = attempt.thread.is_some() && was_cut_short(attempt);
    let text = prompt::compose(&attempt.state, &options.layout, work, continues, &attempt.steer)
        .map_err(|message| refused("invalid-prompt", message, None))?;
    let sandbox = match work.sandbox.as_deref() {
        None => None,
        Some(name) => Some(parse_sandbox(name).ok_or_else(|| {
            let message =
                format!("`{name}` is no sandbox; known: read-only, workspace-write, danger-full-access");
            refused("invalid-configuration", message, None)
        })?),
    };
    let thread = match &attempt.thread {
        None => None,
        Some(ThreadId(id)) => Some(id.parse().map_err(|error: co_agents::InvalidThreadId| {
            refused("thread-not-found", error.to_string(), None)
        })?),
    };
    let environment = attempt.environment();
    let lookup = |name: &str| -> Option<OsString> {
        environment.iter().find(|(key, _)| key == OsStr::new(name)).map(|(_, value)| value.clone())
    };
    let arguments: Vec<OsString> = work.arguments.iter().map(OsString::from).collect();
    let cwd = attempt.cwd();
    let request = AgentRequest {
        thread: thread.as_ref(),
        model: work.model.as_deref(),
        sandbox,
        profile: work.profile.as_deref(),
        extra_arguments: &arguments,
        program: options.agent_program.as_deref(),
        ..AgentRequest::new(&work.agent, &text, &cwd, &lookup)
    };
    let launch = driver.prepare(&request).map_err(|error| {
        let class = match error {
            PrepareError::NotFound { .. } => "not-installed",
            _ => "invalid-configuration",
        };
        refused(class, chain(&error), error.hint())
    })?;
    // Without git, or outside a repository, only what the agent reports is known.
    let repository = co_git::Repository::discover(&cwd).ok().flatten();
    let before = repository.as_ref().and_then(|repository| repository.snapshot().ok());
    let program = attempt.program(launch.argv, Stdin::Bytes(launch.stdin), launch.environment_additions);
    let mut listener = Listener { attempt, transcript: driver.transcript(&cwd) };
    let ran = attempt.run(&program, &mut listener);
    let report = listener.transcript.finish(&mut |_| {});
    let observed = match (&repository, &before) {
        (Some(repository), Some(before)) => repository.changes_since(before).unwrap_or_default(),
        _ => Vec::new(),
    };
    let observed = observed.iter().map(observed_change).collect();
    Ok(conclude(attempt, ran, &report, thread.as_ref(), observed))
}

/// Whether the conversation's last turn ended before its work was done. A turn that was complete,
/// and whose stage runs again nevertheless, is asked again.
fn was_cut_short(attempt: &Attempt) -> bool {
    let record = attempt.state.stage(&attempt.stage.id);
    let earlier = record.into_iter().flat_map(|record| record.attempts.iter().rev());
    let last =
        earlier.filter(|earlier| earlier.number < attempt.number).find_map(|earlier| match &earlier.end {
            AttemptEnd::Reported(report) => match report.exit {
                AttemptExit::NotStarted { .. } => None,
                _ => Some(report.agent.as_ref().is_none_or(|turn| turn.failure.is_some())),
            },
            AttemptEnd::Lost | AttemptEnd::Open => Some(true),
        });
    last.unwrap_or(true)
}

fn parse_sandbox(name: &str) -> Option<SandboxMode> {
    [SandboxMode::ReadOnly, SandboxMode::WorkspaceWrite, SandboxMode::DangerFullAccess]
        .into_iter()
        .find(|mode| mode.as_str() == name)
}

/// Feeds the transcript while the agent works, and reports what cannot wait.
struct Listener<'a> {
    attempt: &'a Attempt,
    transcript: Box<dyn Transcript + Send>,
}

impl Observer for Listener<'_> {
    fn started(&mut self, identity: &ProcessIdentity) {
        self.attempt.tell_started(identity);
    }

    fn output(&mut self, stream: Stream, bytes: &[u8]) {
        if stream != Stream::Stdout {
            return;
        }
        let attempt = self.attempt;
        self.transcript.push(bytes, &mut |observation| {
            if let AgentObservation::ThreadKnown { thread_id } = observation {
                attempt.tell(Input::AgentThreadKnown {
                    stage: attempt.stage.id.clone(),
                    attempt: attempt.number,
                    thread: ThreadId(thread_id.as_str().to_owned()),
                });
            }
        });
    }
}

fn conclude(
    attempt: &Attempt,
    ran: Ran,
    report: &AgentReport,
    expected: Option<&co_agents::ThreadId>,
    observed: Vec<FileChange>,
) -> AttemptReport {
    let failure = match &ran.exit {
        AttemptExit::NotStarted { reason } => {
            Some(AgentFailure { class: "not-started".to_owned(), message: reason.clone(), hint: None })
        }
        AttemptExit::NotRecorded { reason } => {
            Some(AgentFailure { class: "not-recorded".to_owned(), message: reason.clone(), hint: None })
        }
        exit => match judge(report, agent_exit(exit), &ran.stderr, expected) {
            AgentVerdict::Succeeded => None,
            AgentVerdict::Failed { class, message, hint } => {
                Some(AgentFailure { class: class.as_str().to_owned(), message, hint })
            }
        },
    };
    let last_message = report.last_message.as_deref().map(bounded);
    let verdict = evidence::verdict(attempt.stage.role, last_message.as_deref().unwrap_or_default());
    let outcome = AgentOutcome {
        thread: report
            .thread_id
            .as_ref()
            .map(|id| ThreadId(id.as_str().to_owned()))
            .or_else(|| attempt.thread.clone()),
        usage: report.usage.map(token_usage),
        commands_run: u32::try_from(report.commands.len() as u64 + report.commands_omitted)
            .unwrap_or(u32::MAX),
        reported_changes: report.file_changes.clone(),
        observed_changes: observed,
        last_message: last_message.clone(),
        warnings: report.warnings.clone(),
        failure: failure.clone(),
    };
    let mut made = attempt.report(ran);
    made.summary = match (&failure, &last_message) {
        (Some(failure), _) => failure_summary(failure),
        (None, Some(message)) => {
            let first = message.lines().map(str::trim).find(|line| !line.is_empty());
            evidence::shortened(attempt.stage.summary_hint.as_deref().or(first).unwrap_or("Turn completed"))
        }
        (None, None) => "Turn completed".to_owned(),
    };
    made.selection = verdict.selection;
    made.objection = verdict.objection;
    made.agent = Some(outcome);
    made
}

/// The counts that are kept of an agent's.
pub(crate) fn token_usage(usage: co_agents::Usage) -> TokenUsage {
    TokenUsage {
        input: usage.input_tokens,
        cached_input: usage.cached_input_tokens,
        output: usage.output_tokens,
        reasoning_output: usage.reasoning_output_tokens,
    }
}

fn failure_summary(failure: &AgentFailure) -> String {
    evidence::shortened(&format!("Agent failed ({}): {}", failure.class, failure.message))
}

fn observed_change(change: &co_git::Change) -> FileChange {
    let kind = match change.kind {
        co_git::ChangeKind::Added | co_git::ChangeKind::Untracked => ChangeKind::Add,
        co_git::ChangeKind::Deleted => ChangeKind::Delete,
        _ => ChangeKind::Update,
    };
    FileChange { path: change.path.to_string(), kind }
}

fn agent_exit(exit: &AttemptExit) -> AgentExit {
    match exit {
        AttemptExit::Code(code) => AgentExit::Code { code: *code },
        AttemptExit::Signal(signal) => AgentExit::Signal { signal: *signal },
        AttemptExit::TimedOut { .. } => AgentExit::TimedOut,
        AttemptExit::Cancelled => AgentExit::Cancelled,
        AttemptExit::Lost | AttemptExit::NotStarted { .. } | AttemptExit::NotRecorded { .. } => {
            AgentExit::Lost
        }
    }
}

fn bounded(text: &str) -> String {
    let mut characters = text.chars();
    let kept: String = characters.by_ref().take(LONGEST_MESSAGE).collect();
    if characters.next().is_some() { format!("{kept}…") } else { kept }
}
