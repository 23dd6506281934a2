//! Secrets in what people want done: they are needed to do it, and must not be recorded. And the one door that the
//! words of events pass before they are appended.
//!
//! Before a run is recorded its commands, variables and prompts are **sealed**: the privacy guard takes the secrets
//! out. What stood there is kept in this process's memory alone, and put back when an attempt begins. Whoever
//! goes on with the run after us reads the pipeline's file again and seals it anew; what came from no file
//! cannot be run again.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use co_engine::RunState;
use co_model::{
    Actor, AgentStage, AttemptExit, AttemptReport, Command, CommandLine, Envelope, Event, FailureReason,
    McpStage, Pipeline, PipelineId, Prompt, RunOutcome, RunSettings, Stage, StageId, StageOutcome, StageWork,
};
use co_privacy::Guard;

/// What was taken out, by where it stood.
#[derive(Default)]
pub(crate) struct Sealed {
    stages: Mutex<HashMap<(PipelineId, StageId), Kept>>,
    /// Descriptions of tasks, by what was recorded of them.
    descriptions: Mutex<HashMap<String, String>>,
}

/// One stage, as it was recorded and as it is to be run.
struct Kept {
    recorded: Stage,
    original: Stage,
}

/// A stage whose secrets are gone with the process that knew them.
#[derive(Debug, thiserror::Error)]
#[error("what it runs held a secret, which was not recorded; start it anew")]
pub(crate) struct SecretsGone;

impl Sealed {
    /// Takes the secrets out of a pipeline and keeps them.
    pub(crate) fn seal_pipeline(&self, guard: &Guard, pipeline: &mut Pipeline) {
        clean(guard, &mut pipeline.title);
        pipeline.description.iter_mut().for_each(|text| clean(guard, text));
        for stage in &mut pipeline.stages {
            let mut recorded = stage.clone();
            seal_work(guard, &mut recorded.work);
            for (name, value) in &mut recorded.env {
                *value = guard.redact_variable(name, value).into_owned();
            }
            clean(guard, &mut recorded.title);
            recorded.summary_hint.iter_mut().for_each(|text| clean(guard, text));
            if recorded == *stage {
                continue;
            }
            // What a gate asks is only shown: nothing of it has to be put back.
            let is_run = !matches!(stage.work, StageWork::Gate(_));
            recorded.sealed = (is_run && recorded.work != stage.work) || recorded.env != stage.env;
            let original = std::mem::replace(stage, recorded);
            if stage.sealed {
                let kept = Kept { recorded: stage.clone(), original };
                let place = (pipeline.id.clone(), stage.id.clone());
                self.stages.lock().unwrap_or_else(PoisonError::into_inner).insert(place, kept);
            }
        }
    }

    /// Takes the secrets out of what a task is.
    pub(crate) fn seal_settings(&self, guard: &Guard, settings: &mut RunSettings) {
        settings.actor.iter_mut().for_each(|actor| clean_actor(guard, actor));
        let Some(description) = &mut settings.description else { return };
        let original = description.clone();
        clean(guard, description);
        if *description != original {
            let mut descriptions = self.descriptions.lock().unwrap_or_else(PoisonError::into_inner);
            descriptions.insert(description.clone(), original);
        }
    }

    /// A stage as it is to be run.
    pub(crate) fn open(&self, pipeline: &PipelineId, stage: &Stage) -> Result<Stage, SecretsGone> {
        if !stage.sealed {
            return Ok(stage.clone());
        }
        let stages = self.stages.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = stages.get(&(pipeline.clone(), stage.id.clone()));
        // What is recorded now may be of another file than what we read.
        let kept = kept.filter(|kept| kept.recorded.work == stage.work && kept.recorded.env == stage.env);
        let kept = kept.ok_or(SecretsGone)?;
        Ok(Stage { work: kept.original.work.clone(), env: kept.original.env.clone(), ..stage.clone() })
    }

    /// Puts back what the task's description said, as far as it is known.
    pub(crate) fn open_description(&self, state: &mut RunState) {
        let Some(recorded) = &state.created.settings.description else { return };
        let descriptions = self.descriptions.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(original) = descriptions.get(recorded) {
            Arc::make_mut(&mut state.created).settings.description = Some(original.clone());
        }
    }
}

/// Takes the secrets out of what a person tells a run. It is stored for whoever owns the run, so they are gone.
pub(crate) fn envelope(guard: &Guard, envelope: &Envelope) -> Envelope {
    let mut envelope = envelope.clone();
    clean_actor(guard, &mut envelope.actor);
    match &mut envelope.command {
        Command::Cancel { reason: Some(text) } | Command::Answer { reason: Some(text), .. } => {
            clean(guard, text);
        }
        Command::Cancel { reason: None } | Command::Answer { reason: None, .. } => {}
        Command::Steer { message, .. } => clean(guard, message),
    }
    envelope
}

/// Takes the secrets out of the words in events: reasons, errors, what people and agents say. Nothing is appended
/// that has not passed here, whoever wrote those words. What is to be done was sealed before.
pub(crate) fn events<'e>(guard: &Guard, events: &'e [Event]) -> Cow<'e, [Event]> {
    let mut clean = Cow::Borrowed(events);
    for (index, event) in events.iter().enumerate() {
        let mut seen = event.clone();
        clean_event(guard, &mut seen);
        if seen != *event {
            clean.to_mut()[index] = seen;
        }
    }
    clean
}

fn clean_event(guard: &Guard, event: &mut Event) {
    let text = |text: &mut String| clean(guard, text);
    let some = |text: &mut Option<String>| text.iter_mut().for_each(|text| clean(guard, text));
    let actor = |actor: &mut Actor| clean_actor(guard, actor);
    match event {
        Event::CallRequested(request) => some(&mut request.reason),
        Event::CallDecided { decision, .. } => {
            some(&mut decision.reason);
            decision.actor.iter_mut().for_each(actor);
        }
        Event::CallStarted { weaker, .. } => some(weaker),
        Event::CallFinished { outcome, .. } => some(&mut outcome.detail),
        Event::AttemptFinished { report, .. } => clean_report(guard, report),
        Event::QuestionAsked { message, .. } => text(message),
        Event::QuestionAnswered { actor: by, reason, .. } | Event::CancelRequested { actor: by, reason } => {
            actor(by);
            some(reason);
        }
        Event::SteerAccepted { message, actor: by, .. } => {
            text(message);
            actor(by);
        }
        Event::ChildRunFinished { outcome, .. } | Event::RunFinished { outcome } => match outcome {
            RunOutcome::Cancelled { detail } => text(detail),
            // What programs read of a failure is made of ids and fixed words.
            RunOutcome::Failed { .. } | RunOutcome::Succeeded => {}
        },
        Event::RunInterrupted { detail }
        | Event::StageFinished {
            outcome:
                StageOutcome::Failed {
                    reason:
                        FailureReason::NotStarted(detail)
                        | FailureReason::NotRecorded(detail)
                        | FailureReason::Refused(detail)
                        | FailureReason::InvalidSelection(detail),
                    ..
                },
            ..
        } => text(detail),
        Event::Judged(judgement) => judgement.reasons.iter_mut().for_each(text),
        Event::ResumeAccepted { actor: by, reason, .. } => {
            actor(by);
            text(reason);
        }
        Event::ResumeBlocked { actor: by, reason, detail } => {
            actor(by);
            text(reason);
            text(detail);
        }
        Event::CommandRefused { actor: by, detail, .. } => {
            actor(by);
            text(detail);
        }
        // Ids, numbers, times, and what was sealed when it was asked for.
        _ => {}
    }
}

fn clean_report(guard: &Guard, report: &mut AttemptReport) {
    if let AttemptExit::NotStarted { reason } | AttemptExit::NotRecorded { reason } = &mut report.exit {
        clean(guard, reason);
    }
    clean(guard, &mut report.summary);
    report.objection.iter_mut().for_each(|text| clean(guard, text));
    if let Some(agent) = &mut report.agent {
        agent.last_message.iter_mut().for_each(|text| clean(guard, text));
        agent.warnings.iter_mut().for_each(|text| clean(guard, text));
        if let Some(failure) = &mut agent.failure {
            clean(guard, &mut failure.message);
            failure.hint.iter_mut().for_each(|text| clean(guard, text));
        }
    }
}

/// A pipeline as it may be shown.
pub fn without_secrets(guard: &Guard, pipeline: &Pipeline) -> Pipeline {
    let mut pipeline = pipeline.clone();
    Sealed::default().seal_pipeline(guard, &mut pipeline);
    pipeline
}

fn seal_work(guard: &Guard, work: &mut StageWork) {
    match work {
        StageWork::Command(CommandLine::Shell(text)) => clean(guard, text),
        StageWork::Command(CommandLine::Argv(argv)) => *argv = guard.redact_argv(argv),
        StageWork::Agent(AgentStage { agent, prompt, arguments, .. }) => {
            // After `acp:` stands a whole command line.
            clean(guard, agent);
            if let Prompt::Text(text) = prompt {
                clean(guard, text);
            }
            *arguments = guard.redact_argv(arguments);
        }
        StageWork::Mcp(McpStage { arguments, .. }) => clean(guard, arguments),
        StageWork::Gate(gate) => clean(guard, &mut gate.message),
        StageWork::Pipeline(_) => {}
    }
}

/// Takes the secrets out of a name that somebody goes by.
pub(crate) fn clean_actor(guard: &Guard, actor: &mut Actor) {
    if let Cow::Owned(clean) = guard.redact_text(actor.as_str()) {
        *actor = Actor::new(&clean);
    }
}

fn clean(guard: &Guard, text: &mut String) {
    if let Cow::Owned(clean) = guard.redact_text(text) {
        *text = clean;
    }
}

#[cfg(test)]
mod tests {
    use co_model::PipelineSource;
    use co_privacy::{GuardSettings, Mode};

    use super::*;

    const KEY: &str = "ghp_0123456789abcdefghijABCDEFGHIJ012345";

    fn guard(mode: Mode) -> Guard {
        Guard::new(&GuardSettings { mode, ..GuardSettings::default() }).unwrap()
    }

    fn pipeline(stages: Vec<Stage>) -> Pipeline {
        Pipeline {
            id: PipelineId::new("p").unwrap(),
            title: "p".to_owned(),
            description: None,
            tags: Vec::new(),
            guardrails_required: false,
            max_parallel: std::num::NonZeroU16::MIN,
            mcp_servers: Vec::new(),
            stages,
            source: PipelineSource::BuiltIn,
        }
    }

    fn shell(text: &str) -> Stage {
        Stage::new(StageId::new("s").unwrap(), StageWork::Command(CommandLine::Shell(text.to_owned())))
    }

    #[test]
    fn what_is_recorded_holds_no_secret_and_what_is_run_does() {
        let (sealed, guard) = (Sealed::default(), guard(Mode::Enforce));
        let mut original = shell(&format!("push --with {KEY}"));
        original.env.insert("DEPLOY_PASSWORD".to_owned(), "correct-horse-battery".to_owned());
        let mut pipeline = pipeline(vec![original.clone()]);
        sealed.seal_pipeline(&guard, &mut pipeline);
        let recorded = &pipeline.stages[0];
        let text = serde_json::to_string(&pipeline).unwrap();
        assert!(recorded.sealed && !text.contains(KEY) && !text.contains("correct-horse"), "{text}");
        let opened = sealed.open(&pipeline.id, recorded).unwrap();
        assert_eq!((&opened.work, &opened.env), (&original.work, &original.env));
    }

    #[test]
    fn another_process_or_another_file_knows_no_secrets() {
        let (sealed, guard) = (Sealed::default(), guard(Mode::Enforce));
        let mut pipeline = pipeline(vec![shell(&format!("push --with {KEY}"))]);
        sealed.seal_pipeline(&guard, &mut pipeline);
        assert!(Sealed::default().open(&pipeline.id, &pipeline.stages[0]).is_err());
        let other = Stage { sealed: true, ..shell("push --without") };
        assert!(sealed.open(&pipeline.id, &other).is_err());
    }

    #[test]
    fn without_secrets_or_with_a_guard_that_only_counts_nothing_changes() {
        for (mode, text) in [(Mode::Enforce, "cargo test"), (Mode::Shadow, KEY), (Mode::Off, KEY)] {
            let sealed = Sealed::default();
            let mut pipeline = pipeline(vec![shell(text)]);
            let before = pipeline.clone();
            sealed.seal_pipeline(&guard(mode), &mut pipeline);
            assert_eq!(pipeline, before);
        }
    }
}
