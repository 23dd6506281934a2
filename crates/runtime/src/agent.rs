//! One turn of a coding agent.
//!
//! An agent that can be spoken with asks for consent here, is answered by the run's owner through its
//! [`Voice`], and is told further messages; one that cannot gets its prompt and is listened to.

mod calls;
mod clean;
mod voice;

use std::ffi::{OsStr, OsString};

use co_agents::{
    AgentExit, AgentObservation, AgentReport, AgentRequest, AgentVerdict, PrepareError, driver_for, judge,
};
use co_engine::AttemptEnd;
use co_model::{
    AgentFailure, AgentOutcome, AgentStage, AttemptExit, AttemptReport, ChangeKind, FileChange, SandboxMode,
    SandboxPolicy, ThreadId, ToolPolicy,
};
use co_process::{Observer, ProcessIdentity, Stream};

use calls::Calls;
pub(crate) use voice::Voice;

use crate::attempt::{Attempt, Ran, chain};
use crate::{evidence, mcp, prompt};

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
    // The stage's own conversation is for the first turn; a later attempt goes on with what became of it.
    let known = attempt.thread.clone().or_else(|| work.thread.clone().map(ThreadId));
    let thread = match &known {
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
    let policy = attempt.state.policy();
    // A profile of the agent's own brings its own sandbox and approvals; only the stage's word is above it.
    let standing = policy.sandbox.as_ref().map(|sandbox| sandbox.mode).filter(|_| work.profile.is_none());
    let sandbox = sandbox.or(standing);
    let servers = mcp::for_agents(attempt).map_err(|message| refused("not-started", message, None))?;
    let request = AgentRequest {
        mcp: servers.as_ref(),
        thread: thread.as_ref(),
        model: work.model.as_deref(),
        sandbox,
        approval: Some(policy.approval).filter(|_| work.profile.is_none()),
        profile: work.profile.as_deref(),
        extra_arguments: &arguments,
        program: options.agent_program.as_deref().filter(|_| work.agent.starts_with("codex")),
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
    let stdin = attempt.voice.begin(driver.dialogue(&request)).map_err(|error| {
        refused("not-started", format!("no way to speak with the agent: {}", chain(&error)), None)
    })?;
    let program = attempt.program(launch.argv, stdin, launch.environment_additions);
    let calls = Calls::new(attempt, confinement(policy, sandbox));
    let mut listener = Listener { attempt, calls };
    let ran = attempt.run(&program, &mut listener);
    let (mut report, heard) = attempt.voice.finish();
    listener.tell(heard);
    clean::report(&options.guard, &mut report);
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

/// The sandbox that an agent's commands are judged by: the policy's when it was asked to keep to that.
fn confinement(policy: &ToolPolicy, asked: Option<SandboxMode>) -> SandboxPolicy {
    let standing = policy.sandbox.clone().filter(|sandbox| asked == Some(sandbox.mode));
    let own = || asked.map_or(SandboxPolicy::FULL_ACCESS, SandboxPolicy::of);
    standing.unwrap_or_else(own)
}

/// Hears the agent while it works, and tells the owner what cannot wait.
struct Listener<'a> {
    attempt: &'a Attempt,
    calls: Calls<'a>,
}

impl Listener<'_> {
    fn tell(&mut self, heard: Vec<AgentObservation>) {
        for observation in heard {
            let (observation, sealed) = clean::observation(&self.attempt.shared.options.guard, observation);
            self.calls.observe(&self.attempt.voice, observation, sealed);
        }
    }
}

impl Observer for Listener<'_> {
    fn started(&mut self, identity: &ProcessIdentity) {
        self.attempt.tell_started(identity, None);
    }

    fn raw(&mut self, stream: Stream, bytes: &[u8]) {
        if stream != Stream::Stdout {
            return;
        }
        let heard = self.attempt.voice.hear(bytes);
        self.tell(heard);
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
            AgentVerdict::Failed { class, mut message, hint } => {
                clean::text(&attempt.shared.options.guard, &mut message);
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
        usage: report.usage,
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
