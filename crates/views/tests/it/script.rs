//! Drives a run through the engine, event by event, without doing anything.

use std::num::{NonZeroU16, NonZeroU32};
use std::time::Duration;

use co_engine::{Input, Refusal, RunState, decide, start};
use co_model::{
    Actor, AgentStage, AttemptExit, AttemptReport, Command, CommandKey, CommandLine, Envelope, Event,
    EventSeq, GateStage, GrantScope, NestedStage, OutputStats, Pipeline, PipelineId, PipelineSource, Prompt,
    Recorded, RetryOn, RetryPolicy, RunCreated, RunId, RunSettings, Stage, StageId, StageWork, StreamStats,
    TaskId, ThreadId, Timestamp, Verdict,
};
use co_views::{Heartbeat, Layout};
use indexmap::IndexMap;

/// A value of the environment, which no view may show.
pub(crate) const SECRET: &str = "hunter2-in-the-environment";
/// The hash of the resume token, which no event line may show.
pub(crate) const TOKEN_SHA256: &str = "70cee1f5c0ffee00";

pub(crate) fn layout() -> Layout {
    Layout { root: "/repo".into(), runs_dir: "/repo/.runs".into(), out_dir: "/repo/out".into() }
}

pub(crate) fn heartbeat(at: Timestamp) -> Heartbeat {
    Heartbeat { at: Some(at), interval: Duration::from_secs(5), stale_after: Duration::from_secs(30) }
}

pub(crate) fn stage_id(id: &str) -> StageId {
    StageId::new(id).expect("a valid id")
}

pub(crate) fn pipeline_id(id: &str) -> PipelineId {
    PipelineId::new(id).expect("a valid id")
}

pub(crate) fn stage(id: &str, work: StageWork) -> Stage {
    Stage {
        title: format!("Stage {id}"),
        env: IndexMap::from([("API_KEY".to_owned(), SECRET.to_owned())]),
        ..Stage::new(stage_id(id), work)
    }
}

pub(crate) fn shell(id: &str, line: &str) -> Stage {
    stage(id, StageWork::Command(CommandLine::Shell(line.to_owned())))
}

pub(crate) fn argv(id: &str, words: &[&str]) -> Stage {
    let words = words.iter().map(|word| (*word).to_owned()).collect();
    stage(id, StageWork::Command(CommandLine::Argv(words)))
}

pub(crate) fn agent(id: &str) -> Stage {
    let agent = AgentStage {
        agent: "codex".to_owned(),
        prompt: Prompt::Text("Do {{ task.description }}.".to_owned()),
        model: None,
        sandbox: None,
        profile: None,
        arguments: Vec::new(),
        thread: None,
    };
    stage(id, StageWork::Agent(agent))
}

pub(crate) fn gate(id: &str, message: &str) -> Stage {
    let expires_after = Duration::from_mins(1);
    stage(id, StageWork::Gate(GateStage { message: message.to_owned(), expires_after }))
}

pub(crate) fn nested(id: &str, pipeline: &str) -> Stage {
    stage(id, StageWork::Pipeline(NestedStage { pipeline: pipeline_id(pipeline) }))
}

pub(crate) fn retry(stage: Stage, attempts: u32) -> Stage {
    let max_attempts = NonZeroU32::new(attempts).expect("at least one attempt");
    let on = RetryOn { exit_codes: None, timed_out: true };
    Stage { retry: RetryPolicy { max_attempts, backoff: Duration::from_secs(1), on }, ..stage }
}

pub(crate) fn pipeline(stages: Vec<Stage>) -> Pipeline {
    Pipeline {
        id: pipeline_id("main"),
        title: "The main pipeline".to_owned(),
        description: None,
        tags: Vec::new(),
        guardrails_required: false,
        max_parallel: NonZeroU16::MIN,
        mcp_servers: Vec::new(),
        stages,
        source: PipelineSource::Repository,
    }
}

pub(crate) fn report(exit: AttemptExit, summary: &str) -> AttemptReport {
    AttemptReport {
        duration: Duration::from_millis(1_250),
        summary: summary.to_owned(),
        output: OutputStats { stdout: StreamStats { bytes: 5 }, stderr: StreamStats { bytes: 3 } },
        ..AttemptReport::new(exit)
    }
}

pub(crate) fn passed() -> AttemptReport {
    report(AttemptExit::Code(0), "Command completed with code 0")
}

pub(crate) fn failed(code: i32) -> AttemptReport {
    report(AttemptExit::Code(code), &format!("Exited with code {code} — no such file"))
}

/// A run on its way: its events so far and the state they make.
pub(crate) struct Script {
    pub(crate) events: Vec<Recorded>,
    pub(crate) state: RunState,
    pub(crate) now: Timestamp,
}

impl Script {
    pub(crate) fn start(pipeline: Pipeline) -> Self {
        Self::start_with(pipeline, RunSettings::default())
    }

    pub(crate) fn start_with(pipeline: Pipeline, settings: RunSettings) -> Self {
        let now = Timestamp::from_millis(1_763_712_009_528);
        let created = RunCreated {
            task: TaskId::new("0101").expect("a valid id"),
            run: RunId::generate(now, 0x5f8b_6b44),
            pipeline,
            nested: IndexMap::new(),
            settings: RunSettings {
                actor: Some(Actor::new("ada")),
                workspace: "/repo".to_owned(),
                resume_token_sha256: Some(TOKEN_SHA256.to_owned()),
                ..settings
            },
        };
        let decision = start(now, created).expect("the pipeline plans");
        let mut events = decision.events.into_iter();
        let event = events.next().expect("a run begins with its creation");
        let first = Recorded { seq: EventSeq(1), at: now, event };
        let state = RunState::create(&first).expect("the first event creates");
        let mut script = Self { events: vec![first], state, now };
        events.for_each(|event| script.record(event));
        script
    }

    /// Lets time pass.
    pub(crate) fn later(&mut self, duration: Duration) -> &mut Self {
        self.now = self.now.plus(duration);
        self
    }

    /// Appends an event as it is.
    pub(crate) fn record(&mut self, event: Event) {
        let recorded = Recorded { seq: EventSeq(self.state.last_seq.0 + 1), at: self.now, event };
        self.state.evolve(&recorded).expect("the event follows");
        self.events.push(recorded);
    }

    /// Gives an input to the engine and appends what follows.
    pub(crate) fn try_input(&mut self, input: Input) -> Result<(), Refusal> {
        let decision = decide(&self.state, self.now, input)?;
        decision.events.into_iter().for_each(|event| self.record(event));
        Ok(())
    }

    pub(crate) fn input(&mut self, input: Input) -> &mut Self {
        self.try_input(input).expect("the input is accepted");
        self
    }

    pub(crate) fn command(&mut self, actor: &str, command: Command) -> &mut Self {
        let key = CommandKey(format!("key-{}", self.state.last_seq.0));
        let envelope = Envelope { key, actor: Actor::new(actor), sent_at: self.now, command };
        self.input(Input::Command(envelope))
    }

    /// The attempt of `id` under way gets a process.
    pub(crate) fn process(&mut self, id: &str, process: &str) -> &mut Self {
        let attempt = self.attempt(id);
        let input = Input::AttemptStarted {
            stage: stage_id(id),
            attempt,
            process: process.to_owned(),
            layers: Vec::new(),
            weaker: None,
        };
        self.later(Duration::from_millis(5)).input(input)
    }

    /// The agent of `id` names its conversation.
    pub(crate) fn thread(&mut self, id: &str, thread: &str) -> &mut Self {
        let attempt = self.attempt(id);
        let thread = ThreadId(thread.to_owned());
        self.later(Duration::from_millis(5)).input(Input::AgentThreadKnown {
            stage: stage_id(id),
            attempt,
            thread,
        })
    }

    /// The attempt of `id` under way ends.
    pub(crate) fn finish(&mut self, id: &str, report: AttemptReport) -> &mut Self {
        let attempt = self.attempt(id);
        let report = Box::new(report);
        self.later(Duration::from_secs(1)).input(Input::AttemptFinished {
            stage: stage_id(id),
            attempt,
            report,
        })
    }

    pub(crate) fn answer(&mut self, id: &str, verdict: Verdict, reason: Option<&str>) -> &mut Self {
        let reason = reason.map(str::to_owned);
        let command = Command::Answer {
            stage: Some(stage_id(id)),
            call: None,
            scope: GrantScope::Once,
            verdict,
            reason,
        };
        self.later(Duration::from_secs(2)).command("grace", command)
    }

    pub(crate) fn resume(&mut self, pipeline: Pipeline) -> &mut Self {
        self.later(Duration::from_secs(10)).input(Input::Resume {
            policy: Box::default(),
            actor: Actor::new("ada"),
            reason: "fixed it".to_owned(),
            pipeline: Box::new(pipeline),
            nested: IndexMap::new(),
        })
    }

    fn attempt(&self, id: &str) -> u32 {
        let record = self.state.stage(&stage_id(id)).expect("the stage exists");
        record.attempts.last().expect("an attempt is under way").number
    }
}
