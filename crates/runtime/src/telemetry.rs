//! Telling others about a run: one more view of the log, on threads of its own.
//!
//! A follower per run of a surface reads what was recorded, of the run and of the runs nested in it, and hands it to
//! `co-telemetry`. Owners know nothing of it: nothing here is waited for before the outcome is recorded, and nothing
//! that fails here changes it. Owns no state but how far it has read.

use std::collections::HashSet;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use co_log::LogError;
use co_model::{Event, EventSeq, Pipeline, Recorded, RunId, StageId, StageWork, Timestamp};
use co_process::{LeaderExit, Tool, ToolOutput};
use co_telemetry::{
    DEFAULT_PATIENCE, DeliveryReport, ExportReport, Exporter, Notifier, NotifySettings, ProgramHook,
    RunFacts, StartProgram, Surroundings, Target, TelemetrySettings,
};

use crate::attempt::chain;
use crate::error::RuntimeError;
use crate::launch;
use crate::notice::Notice;
use crate::orchestrator::Shared;

/// How many events are read at a time.
const PAGE: usize = 500;
/// How often the log is looked at for nested runs: the longest their news waits.
const NESTED_INTERVAL: Duration = Duration::from_millis(100);
/// How long to wait for news of a run that moves by itself.
const IDLE_INTERVAL: Duration = Duration::from_mins(1);
/// How long a notified program may run.
const PROGRAM_TIMEOUT: Duration = Duration::from_secs(30);
/// How much a notified program may write; nobody reads it.
const PROGRAM_OUTPUT: usize = 1 << 20;
/// The agent that tells the program of Codex's `notify` setting by itself.
const CODEX: &str = "codex";

/// Who is told about runs. The default tells nobody.
#[derive(Debug, Clone)]
pub struct Observers {
    /// Where traces, logs and metrics go.
    pub export: TelemetrySettings,
    /// Which addresses and programs are told, and how hard it is tried.
    pub notify: NotifySettings,
    /// Codex's `notify`: told about turns of agents that are not Codex, which tells it about its own.
    pub codex_notify: Option<Target>,
    /// How long the end of a run waits for the last traces, logs and metrics at most.
    pub export_patience: Duration,
    /// How long the end of a run waits for the last notifications at most.
    pub notify_patience: Duration,
}

impl Default for Observers {
    fn default() -> Self {
        Self {
            export: TelemetrySettings::default(),
            notify: NotifySettings::default(),
            codex_notify: None,
            export_patience: DEFAULT_PATIENCE,
            notify_patience: NotifySettings::DEFAULT_PATIENCE,
        }
    }
}

impl Observers {
    /// Whether anybody is told anything.
    pub fn is_on(&self) -> bool {
        self.export.is_on() || !self.notify.targets.is_empty() || self.codex_notify.is_some()
    }
}

/// What became of what was told about a run.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TelemetryReport {
    /// Of traces, logs and metrics.
    pub exported: ExportReport,
    /// Of notifications.
    pub delivered: DeliveryReport,
}

impl TelemetryReport {
    /// What went wrong, for people: at most one line for the collector and one per failed notification.
    pub fn warnings(&self) -> Vec<String> {
        let ExportReport { sent, dropped, failures, .. } = &self.exported;
        let mut lines = Vec::new();
        if *dropped > 0 || !failures.is_empty() {
            // The first failure is the cause of the others.
            let why = failures.first().map_or("too much at once", String::as_str);
            lines.push(format!("telemetry: {dropped} of {} items were not sent: {why}", dropped + sent));
        }
        lines.extend(self.delivered.failures.iter().map(|failure| {
            format!("notification: {} was not told `{}`: {}", failure.target, failure.kind, failure.reason)
        }));
        lines
    }
}

/// Follows a run until its owner has finished with it. Whatever was recorded before `began` was told by others.
pub(crate) fn follow(
    shared: &Arc<Shared>,
    observers: &Observers,
    run: &RunId,
    began: Timestamp,
    notice: Arc<Notice>,
) -> Result<JoinHandle<TelemetryReport>, RuntimeError> {
    let follower = Follower {
        told: Told::start(shared, observers),
        shared: Arc::clone(shared),
        began,
        runs: vec![Followed::new(run.clone())],
    };
    let patience = Patience { export: observers.export_patience, notify: observers.notify_patience };
    thread::Builder::new()
        .name("observers".to_owned())
        .spawn(move || follower.work(&notice, patience))
        .map_err(|source| RuntimeError::Thread { source })
}

/// How long the end of a run waits at most.
#[derive(Clone, Copy)]
struct Patience {
    export: Duration,
    notify: Duration,
}

struct Follower {
    shared: Arc<Shared>,
    told: Told,
    began: Timestamp,
    /// The run itself, then those nested in it as they are found.
    runs: Vec<Followed>,
}

/// How far a run was read, and what must be known of it.
struct Followed {
    run: RunId,
    seen: EventSeq,
    facts: Option<RunFacts>,
    /// Stages whose agent tells Codex's `notify` by itself.
    codex_stages: HashSet<StageId>,
    is_over: bool,
}

impl Followed {
    fn new(run: RunId) -> Self {
        Self { run, seen: EventSeq(0), facts: None, codex_stages: HashSet::new(), is_over: false }
    }

    fn learn_agents(&mut self, pipeline: &Pipeline) {
        let is_codex = |work: &StageWork| matches!(work, StageWork::Agent(agent) if agent.agent == CODEX);
        let stages = pipeline.stages.iter().filter(|stage| is_codex(&stage.work));
        self.codex_stages = stages.map(|stage| stage.id.clone()).collect();
    }
}

impl Follower {
    fn work(mut self, notice: &Notice, patience: Patience) -> TelemetryReport {
        loop {
            let has_nested = self.runs.iter().skip(1).any(|nested| !nested.is_over);
            let interval = if has_nested { NESTED_INTERVAL } else { IDLE_INTERVAL };
            let seen = self.runs.first().map_or(EventSeq(0), |run| run.seen);
            let progressed = notice.wait(seen, interval);
            if let Err(error) = self.read_all() {
                self.shared.warn(format!("telemetry: {}", chain(&error)));
                break;
            }
            if progressed.done {
                break;
            }
        }
        self.announce_summary();
        let report = self.told.finish(patience);
        report.warnings().into_iter().for_each(|warning| self.shared.warn(warning));
        report
    }

    fn read_all(&mut self) -> Result<(), RuntimeError> {
        let mut index = 0;
        while let Some(followed) = self.runs.get_mut(index) {
            let nested = read(&self.shared, &self.told, self.began, followed)?;
            for run in nested {
                if self.runs.iter().all(|followed| followed.run != run) {
                    self.runs.push(Followed::new(run));
                }
            }
            index += 1;
        }
        Ok(())
    }

    /// Tells how the run ended, unless it was taken over.
    fn announce_summary(&self) {
        let Some(Followed { run, facts: Some(facts), is_over: true, .. }) = self.runs.first() else { return };
        if !self.told.notifier.is_on() {
            return;
        }
        match launch::load(&self.shared, run) {
            Ok(state) => {
                let summary = co_views::run_summary(&state, &self.shared.options.layout);
                let summary = serde_json::to_value(summary).unwrap_or_default();
                self.told.notifier.announce_summary(facts, &summary);
            }
            Err(error) => self.shared.warn(format!("notification: {}", chain(&error))),
        }
    }
}

/// Reads what is new in a run and tells it; gives the runs nested in it.
fn read(
    shared: &Shared,
    told: &Told,
    began: Timestamp,
    followed: &mut Followed,
) -> Result<Vec<RunId>, RuntimeError> {
    let mut nested = Vec::new();
    loop {
        let events = match shared.log.events(&followed.run, followed.seen, PAGE) {
            // It will be in a moment.
            Err(LogError::UnknownRun(_)) => break,
            events => events?,
        };
        let Some(last) = events.last() else { break };
        followed.seen = last.seq;
        for recorded in &events {
            match &recorded.event {
                Event::RunCreated(created) => {
                    followed.facts = Some(RunFacts {
                        run: created.run.clone(),
                        task: created.task.clone(),
                        parent: created.settings.parent.clone(),
                        workspace: created.settings.workspace.clone(),
                    });
                    followed.learn_agents(&created.pipeline);
                }
                Event::ResumeAccepted { pipeline, .. } => {
                    followed.is_over = false;
                    if let Some(pipeline) = pipeline {
                        followed.learn_agents(pipeline);
                    }
                }
                Event::ChildRunStarting { run, .. } => nested.push(run.clone()),
                Event::RunFinished { .. } => followed.is_over = true,
                _ => {}
            }
            if let Some(facts) = &followed.facts {
                let tells_itself = matches!(&recorded.event,
                    Event::AttemptFinished { stage, .. } if followed.codex_stages.contains(stage));
                told.tell(facts, recorded, recorded.at < began, tells_itself);
            }
        }
    }
    Ok(nested)
}

/// Everybody who is told.
struct Told {
    exporter: Exporter,
    notifier: Notifier,
    codex_notify: Notifier,
}

impl Told {
    fn start(shared: &Arc<Shared>, observers: &Observers) -> Self {
        let clock = Arc::clone(shared);
        let surroundings =
            Surroundings { now: Arc::new(move || clock.clock.now()), random: Arc::new(random) };
        let starter = starter(shared);
        let codex_notify = NotifySettings {
            targets: observers.codex_notify.iter().cloned().collect(),
            ..observers.notify.clone()
        };
        Self {
            exporter: Exporter::start(observers.export.clone(), surroundings.clone()),
            notifier: Notifier::start(&observers.notify, &starter, &surroundings),
            codex_notify: Notifier::start(&codex_notify, &starter, &surroundings),
        }
    }

    fn tell(&self, facts: &RunFacts, recorded: &Recorded, is_earlier: bool, tells_itself: bool) {
        if is_earlier {
            self.exporter.recall(facts, recorded);
            return;
        }
        self.exporter.observe(facts, recorded);
        self.notifier.observe(facts, recorded);
        if !tells_itself {
            self.codex_notify.observe(facts, recorded);
        }
    }

    /// Sends what is left, side by side.
    fn finish(self, patience: Patience) -> TelemetryReport {
        let Self { exporter, notifier, codex_notify } = self;
        let export = thread::Builder::new()
            .name("telemetry end".to_owned())
            .spawn(move || exporter.finish(patience.export));
        let began = std::time::Instant::now();
        let mut delivered = notifier.finish(patience.notify);
        let of_codex = codex_notify.finish(patience.notify.saturating_sub(began.elapsed()));
        delivered.targets.extend(of_codex.targets);
        delivered.delivered.extend(of_codex.delivered);
        delivered.failures.extend(of_codex.failures);
        let exported = export.ok().and_then(|thread| thread.join().ok()).unwrap_or_default();
        TelemetryReport { exported, delivered }
    }
}

/// 64 bits for jitter; a system without randomness is told at the same time as its neighbours.
fn random() -> u64 {
    getrandom::u64().unwrap_or_default()
}

/// Starts notified programs: with our environment but for what is secret in it, and a limited time.
fn starter(shared: &Arc<Shared>) -> StartProgram {
    let shared = Arc::clone(shared);
    Arc::new(move |hook: &ProgramHook| {
        let (program, arguments) = hook.argv.split_first().ok_or("there is no program")?;
        let mut tool = Tool::new(program)
            .args(arguments)
            .cwd(&hook.cwd)
            .env_clear()
            .timeout(PROGRAM_TIMEOUT)
            .max_output(PROGRAM_OUTPUT);
        for (name, value) in co_policy::environment::without_ours(&shared.options.environment) {
            tool = tool.env(name, value);
        }
        match tool.run() {
            Ok(output) if output.is_success() => Ok(()),
            Ok(ToolOutput { exit: LeaderExit::Code(code), .. }) => Err(format!("exit code {code}")),
            Ok(ToolOutput { exit: LeaderExit::Signal(signal), .. }) => {
                Err(format!("ended by signal {signal}"))
            }
            Err(error) => Err(chain(&error)),
        }
    })
}
