//! A scripted world around the engine: pipelines written in a line, a run driven step by step.

use std::num::{NonZeroU16, NonZeroU32};
use std::time::Duration;

use co_engine::{Effect, Input, Phase, PlanError, Refusal, RunState, StageState, decide, start};
use co_model::{
    Actor, AgentFailure, AgentOutcome, AgentStage, AttemptExit, AttemptReport, Command, CommandKey,
    CommandLine, Confinement, Envelope, Event, EventSeq, ExecutionMode, FailureReason, GateStage, Grant,
    GrantScope, Needs, NestedStage, OutputReference, Pipeline, PipelineId, PipelineSource, Prompt, Recorded,
    RetryOn, Role, RunCreated, RunId, RunOutcome, RunSettings, SandboxMode, SkipReason, Stage, StageId,
    StageOutcome, StageStatus, StageWork, TaskId, ThreadId, Timestamp, Verdict, When,
};
use indexmap::IndexMap;

pub(crate) fn id(text: &str) -> StageId {
    StageId::new(text).unwrap()
}

fn ids(list: &str) -> Vec<StageId> {
    list.split(',').filter(|item| !item.is_empty()).map(id).collect()
}

/// Reads a pipeline such as `par=2: a | b needs=a when=always | gate gate=1000`.
pub(crate) fn pipeline(text: &str) -> Pipeline {
    let (head, body) = text.split_once(": ").unwrap_or(("", text));
    let mut made = Pipeline {
        id: PipelineId::new("p").unwrap(),
        title: "P".into(),
        description: None,
        tags: Vec::new(),
        guardrails_required: false,
        max_parallel: NonZeroU16::MIN,
        mcp_servers: Vec::new(),
        stages: body.split('|').map(|line| stage(line.trim())).collect(),
        source: PipelineSource::Repository,
    };
    for word in head.split_whitespace() {
        match word.split_once('=').unwrap_or((word, "")) {
            ("par", n) => made.max_parallel = n.parse().unwrap(),
            ("guards", _) => made.guardrails_required = true,
            ("id", other) => made.id = PipelineId::new(other).unwrap(),
            other => panic!("unknown word {other:?}"),
        }
    }
    made
}

pub(crate) fn stage(line: &str) -> Stage {
    let mut words = line.split_whitespace();
    let name = words.next().expect("a stage has an id");
    let mut made = Stage {
        title: name.into(),
        ..Stage::new(id(name), StageWork::Command(CommandLine::Shell("true".into())))
    };
    for word in words {
        let (key, value) = word.split_once('=').unwrap_or((word, ""));
        match (key, value) {
            ("needs", list) => made.needs = Needs::Declared(ids(list)),
            ("in", from) => {
                let from = OutputReference { stage: id(from), output: "o".into() };
                made.inputs.insert("i".into(), from);
            }
            ("when", "failure") => made.when = When::Failure,
            ("when", "always") => made.when = When::Always,
            ("role", "planner") => made.role = Role::Planner,
            ("role", "tester") => made.role = Role::Tester,
            ("role", "reviewer") => made.role = Role::Reviewer,
            ("allow", "") => made.allow_failure = true,
            ("agent", "") => {
                made.work = StageWork::Agent(AgentStage {
                    agent: "codex".into(),
                    prompt: Prompt::Text("do it".into()),
                    model: None,
                    sandbox: None,
                    profile: None,
                    arguments: Vec::new(),
                    thread: None,
                });
            }
            ("gate", ms) => {
                let expires_after = Duration::from_millis(ms.parse().unwrap());
                made.work = StageWork::Gate(GateStage { message: "go on?".into(), expires_after });
            }
            ("child", other) => {
                let pipeline = PipelineId::new(other).unwrap();
                made.work = StageWork::Pipeline(NestedStage { pipeline });
            }
            ("try", n) => made.retry.max_attempts = n.parse::<NonZeroU32>().unwrap(),
            ("wait", ms) => made.retry.backoff = Duration::from_millis(ms.parse().unwrap()),
            ("codes", list) => {
                let codes = list.split(',').filter_map(|code| code.parse().ok()).collect();
                made.retry.on = RetryOn { exit_codes: Some(codes), timed_out: false };
            }
            ("asks", "") => made.approval_required = true,
            ("sandbox", mode) => {
                let mode = match mode {
                    "ro" => SandboxMode::ReadOnly,
                    "ww" => SandboxMode::WorkspaceWrite,
                    _ => SandboxMode::DangerFullAccess,
                };
                made.confinement = Some(Confinement { mode, network: None, writable_roots: Vec::new() });
            }
            ("guard", "") => made.guardrail = true,
            ("alias", alias) => made.aliases.push(alias.into()),
            ("default", "") => made.default_target = true,
            ("off", "") => made.runnable = false,
            ("cloud", "") => made.execution = ExecutionMode::Cloud,
            ("mcp", "") => made.execution = ExecutionMode::Mcp,
            ("v", version) => {
                made.env.insert("V".into(), version.into());
            }
            ("title", title) => made.title = title.into(),
            other => panic!("unknown word {other:?}"),
        }
    }
    made
}

pub(crate) fn created(pipeline: Pipeline, settings: RunSettings) -> RunCreated {
    let (task, run) = (TaskId::new("0101").unwrap(), RunId::new("r").unwrap());
    RunCreated { task, run, pipeline, nested: IndexMap::new(), settings }
}

pub(crate) fn report(exit: AttemptExit) -> Box<AttemptReport> {
    Box::new(AttemptReport::new(exit))
}

/// Reads how an attempt ended: `0`, `7`, `sig9`, `timeout`, `agent:rate-limited`, `pick:a,b` …
fn observed(how: &str) -> Box<AttemptReport> {
    let (kind, rest) = how.split_once(':').unwrap_or((how, ""));
    let mut made = report(AttemptExit::Code(0));
    match kind {
        "timeout" => made.exit = AttemptExit::TimedOut { after_ms: 1 },
        "lost" => made.exit = AttemptExit::Lost,
        "stopped" => made.exit = AttemptExit::Cancelled,
        "unstarted" => made.exit = AttemptExit::NotStarted { reason: "no such program".into() },
        "unrecorded" => made.exit = AttemptExit::NotRecorded { reason: "disk full".into() },
        "missing" => made.missing_outputs.push("o".into()),
        "confined" => {
            made.exit = AttemptExit::Code(rest.parse().unwrap());
            made.sandbox_denied = true;
        }
        "passing" => {
            made.exit = AttemptExit::NotStarted { reason: "text file busy".into() };
            made.transient = Some("text-file-busy".into());
        }
        "pick" => made.selection = Some(rest.split(',').map(str::to_owned).collect()),
        "object" => made.objection = Some("not good".into()),
        "agent" => {
            let failure = AgentFailure { class: rest.into(), message: String::new(), hint: None };
            made.agent = Some(AgentOutcome { failure: Some(failure), ..AgentOutcome::default() });
        }
        "claims" => {
            made.exit = AttemptExit::Code(rest.parse().unwrap());
            let last_message = Some("all tests pass".into());
            made.agent = Some(AgentOutcome { last_message, ..AgentOutcome::default() });
        }
        _ => match kind.strip_prefix("sig") {
            Some(signal) => made.exit = AttemptExit::Signal(signal.parse().unwrap()),
            None => made.exit = AttemptExit::Code(kind.parse().unwrap()),
        },
    }
    made
}

/// A run and the clock, with everything that was recorded and asked for.
#[derive(Debug, Clone)]
pub(crate) struct World {
    pub(crate) now: Timestamp,
    pub(crate) log: Vec<Recorded>,
    pub(crate) state: RunState,
    /// Every consent ever given, as a store would keep them.
    pub(crate) grants: Vec<Grant>,
}

/// An answer for a stage, or for the only open question.
pub(crate) fn answer(stage: Option<StageId>, verdict: Verdict) -> Command {
    Command::Answer { stage, call: None, scope: GrantScope::Once, verdict, reason: None }
}

pub(crate) fn started(stage: &str, attempt: u32, process: &str) -> Input {
    let process = process.to_owned();
    Input::AttemptStarted { stage: id(stage), attempt, process, layers: Vec::new(), weaker: None }
}

impl World {
    pub(crate) fn start(pipeline: Pipeline, settings: RunSettings) -> Result<(Self, String), PlanError> {
        let now = Timestamp::from_millis(0);
        let decision = start(now, created(pipeline, settings))?;
        let mut events = decision.events.into_iter();
        let first = Recorded { seq: EventSeq(1), at: now, event: events.next().expect("a creation") };
        let state = RunState::create(&first).expect("a first event");
        let mut world = Self { now, log: vec![first], state, grants: Vec::new() };
        world.append(events.collect());
        let effects = world.consult(decision.effects).expect("an observation is never refused");
        let shown = world.shown(&effects, 0);
        Ok((world, shown))
    }

    fn append(&mut self, events: Vec<Event>) {
        for event in events {
            let recorded = Recorded {
                seq: EventSeq(self.state.last_seq.0 + 1),
                at: self.now.max(self.state.updated_at),
                event,
            };
            self.state.evolve(&recorded).expect("what the engine decides fits its state");
            self.log.push(recorded);
        }
    }

    pub(crate) fn feed(&mut self, input: Input) -> Result<Vec<Effect>, Refusal> {
        let decision = decide(&self.state, self.now, input)?;
        self.append(decision.events);
        self.grants.extend(decision.grants);
        for used in decision.used {
            let grant = self.grants.iter_mut().find(|grant| grant.id == used).expect("a known consent");
            grant.uses_left = Some(grant.uses_left.and_then(|left| left.checked_sub(1)).expect("a use"));
        }
        self.consult(decision.effects)
    }

    /// Looks consents up, as an owner does at once.
    fn consult(&mut self, effects: Vec<Effect>) -> Result<Vec<Effect>, Refusal> {
        let mut others = Vec::new();
        for effect in effects {
            let Effect::Consult { stage, call, keys } = effect else {
                others.push(effect);
                continue;
            };
            let grants = self.grants.iter().filter(|grant| keys.contains(&grant.key)).cloned().collect();
            others.extend(self.feed(Input::Consulted { stage, call, grants })?);
        }
        Ok(others)
    }

    pub(crate) fn wait(&mut self, ms: u64) -> Result<Vec<Effect>, Refusal> {
        self.now = self.now.plus(Duration::from_millis(ms));
        self.feed(Input::Tick)
    }

    pub(crate) fn command(&mut self, command: Command) -> Result<Vec<Effect>, Refusal> {
        let (key, actor) = (CommandKey("k".into()), Actor::new("ann"));
        self.feed(Input::Command(Envelope { key, actor, sent_at: self.now, command }))
    }

    pub(crate) fn resume(&mut self, pipeline: Pipeline) -> Result<Vec<Effect>, Refusal> {
        let (actor, reason) = (Actor::new("ann"), "fixed".into());
        let (pipeline, nested) = (Box::new(pipeline), IndexMap::new());
        self.feed(Input::Resume {
            actor,
            reason,
            pipeline,
            nested,
            policy: Box::new(self.state.policy().clone()),
        })
    }

    pub(crate) fn attempt(&self, stage: &str) -> u32 {
        self.state.stage(&id(stage)).and_then(|record| record.attempts.last()).map_or(1, |last| last.number)
    }

    /// Does one step and says what followed from it.
    pub(crate) fn step(&mut self, step: &str) -> String {
        let before = self.log.len();
        match self.act(step) {
            Ok(effects) => self.shown(&effects, before),
            Err(refusal) => format!("refused: {refusal}"),
        }
    }

    fn act(&mut self, step: &str) -> Result<Vec<Effect>, Refusal> {
        if let Some(ms) = step.strip_prefix('+') {
            return self.wait(ms.parse().unwrap());
        }
        if let Some((stage, thread)) = step.split_once('~') {
            let (attempt, thread) = (self.attempt(stage), ThreadId(thread.into()));
            return self.feed(Input::AgentThreadKnown { stage: id(stage), attempt, thread });
        }
        if let Some((stage, how)) = step.split_once('=') {
            if let Some(how) = how.strip_prefix("child:") {
                let (run, _) = self.state.stage(&id(stage)).unwrap().child.clone().expect("a child");
                let detail = "why".to_owned();
                let outcome = match how {
                    "succeeded" => RunOutcome::Succeeded,
                    "failed" => RunOutcome::Failed { detail },
                    _ => RunOutcome::Cancelled { detail },
                };
                return self.feed(Input::ChildRunFinished { stage: id(stage), run, outcome });
            }
            let (attempt, report) = (self.attempt(stage), observed(how));
            return self.feed(Input::AttemptFinished { stage: id(stage), attempt, report });
        }
        let mut words = step.split(' ');
        let (word, stage) = (words.next().unwrap_or_default(), words.next().map(id));
        match word {
            "approve" => self.command(answer(stage, Verdict::Approve)),
            "deny" => self.command(answer(stage, Verdict::Deny)),
            "steer" => {
                let message = words.next().unwrap_or("hey").to_owned();
                self.command(Command::Steer { stage, message })
            }
            "taken" => {
                let stage = stage.expect("a stage");
                let attempt = self.attempt(stage.as_str());
                self.feed(Input::SteerTaken { stage, attempt, count: 1 })
            }
            "always" | "run" | "task" => {
                let scope = match word {
                    "always" => GrantScope::Always,
                    "run" => GrantScope::Run,
                    _ => GrantScope::Task,
                };
                let (call, verdict, reason) = (None, Verdict::Approve, None);
                self.command(Command::Answer { stage, call, scope, verdict, reason })
            }
            "cancel" => self.command(Command::Cancel { reason: None }),
            "crash" => self.feed(Input::OwnerGone { detail: "gone".into() }),
            "resume" => self.resume(self.state.pipeline().clone()),
            _ => panic!("unknown step {step:?}"),
        }
    }

    fn shown(&self, effects: &[Effect], before: usize) -> String {
        let mut parts: Vec<String> = effects.iter().map(show_effect).collect();
        for recorded in &self.log[before..] {
            if let Event::RunFinished { outcome } = &recorded.event {
                let detail = outcome.detail().map(|detail| format!(" {detail}")).unwrap_or_default();
                parts.push(format!("=> {}{detail}", outcome.status().as_str()));
            }
        }
        parts.join(" ")
    }

    /// Every stage with where it stands.
    pub(crate) fn stages(&self) -> String {
        let shown = self.state.stages.iter().map(|record| {
            let word = match &record.state {
                StageState::Pending => "pending".to_owned(),
                StageState::Attempting { attempt } => format!("#{attempt}"),
                StageState::Backoff { .. } => "backoff".to_owned(),
                StageState::Asking { .. } => "asking".to_owned(),
                StageState::Consenting { .. } if record.status() == StageStatus::Waiting => {
                    "consent?".to_owned()
                }
                StageState::Consenting { .. } => "consent".to_owned(),
                StageState::Nested { .. } => "nested".to_owned(),
                StageState::Interrupted => "interrupted".to_owned(),
                StageState::Finished { outcome } => show_outcome(outcome),
            };
            format!("{}:{word}{}", record.id(), if record.removed { "!" } else { "" })
        });
        shown.collect::<Vec<_>>().join(" ")
    }

    pub(crate) fn is_over(&self) -> bool {
        matches!(self.state.phase, Phase::Finished { .. })
    }
}

fn show_outcome(outcome: &StageOutcome) -> String {
    match outcome {
        StageOutcome::Succeeded => "ok".into(),
        StageOutcome::Failed { reason, allowed } => {
            let code = match reason {
                FailureReason::ExitCode(code) => format!("{code}"),
                other => other.word().to_owned(),
            };
            format!("{code}{}", if *allowed { "(allowed)" } else { "" })
        }
        StageOutcome::Cancelled => "cancelled".into(),
        StageOutcome::Skipped { reason } => match reason {
            SkipReason::StageFailed(stage) => format!("skip({stage})"),
            other => format!("skip({other:?})"),
        },
    }
}

fn show_effect(effect: &Effect) -> String {
    match effect {
        Effect::Launch { stage, attempt, thread, steer, sandbox } => {
            let thread = thread.as_ref().map(|thread| format!("@{thread}")).unwrap_or_default();
            let steer = if steer.is_empty() { String::new() } else { format!("[{}]", steer.join(",")) };
            let confined = match sandbox.mode {
                SandboxMode::ReadOnly => "(ro)",
                SandboxMode::WorkspaceWrite => "(ww)",
                SandboxMode::DangerFullAccess => "",
            };
            format!("{stage}#{attempt}{thread}{steer}{confined}")
        }
        Effect::Steer { stage, attempt, message } => format!("tell:{stage}#{attempt}:{message}"),
        Effect::Stop { stage, attempt } => format!("stop:{stage}#{attempt}"),
        Effect::RunChild { stage, run, pipeline } => format!("{stage}:{run}:{pipeline}"),
        Effect::CancelChild { run, .. } => format!("cancel:{run}"),
        Effect::Consult { call, .. } => format!("consult:{call}"),
        Effect::Reply { item, decision, .. } => {
            format!("reply:{item}:{}:{}", decision.approved, decision.source.as_str())
        }
        Effect::WakeAt(at) => format!("wake@{}", at.as_millis()),
    }
}

/// Drives a run through `steps` and compares what followed from each, then where the stages stand.
#[track_caller]
pub(crate) fn check(text: &str, steps: &[(&str, &str)], stages: &str) -> World {
    check_with(text, RunSettings::default(), steps, stages)
}

/// As [`check`]; a step `edit <pipeline>` resumes with another pipeline.
#[track_caller]
pub(crate) fn check_with(text: &str, settings: RunSettings, steps: &[(&str, &str)], stages: &str) -> World {
    let (mut world, mut shown) = World::start(pipeline(text), settings).expect("a plan");
    for (index, (step, expected)) in steps.iter().enumerate() {
        let before = world.log.len();
        if let Some(edited) = step.strip_prefix("edit ") {
            shown = match world.resume(pipeline(edited)) {
                Ok(effects) => world.shown(&effects, before),
                Err(refusal) => format!("refused: {refusal}"),
            };
        } else if *step != "start" {
            shown = world.step(step);
        }
        assert_eq!(shown, *expected, "after step {index} (`{step}`) of `{text}`: {}", world.stages());
        assert_eq!(RunState::replay(&world.log).as_ref(), Ok(&world.state), "a replay tells the same");
    }
    assert_eq!(world.stages(), stages, "at the end of `{text}`");
    world
}
