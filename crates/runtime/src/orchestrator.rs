//! The door to the runtime: everything a surface can ask.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use co_engine::{RecoveryPlan, RunState};
use co_log::{EventLog, GrantFilter, LeaseHolder, Owner, RunFilter, RunHead, Submitted};
use co_model::{
    Actor, CallRequest, CommandKey, Envelope, Event, EventSeq, Grant, GrantId, Pipeline, PipelineId,
    Recorded, Revocation, RunCreated, RunId, RunOutcome, RunSettings, TaskId, Timestamp,
};
use co_privacy::Guard;
use co_process::{ProcessIdentity, Spawner, current_process};
use co_views::{Heartbeat, Layout};
use indexmap::IndexMap;

use crate::activity::{self, AgentActivity};
use crate::clock::{Clock, SteadyClock};
use crate::confine::Walls;
use crate::error::{RebuildError, ResumeError, RuntimeError, StartError};
use crate::launch::{self, Begun};
use crate::notice::{Notice, Progressed};
use crate::owner::{Address, RunOwner};
use crate::recovery::{self, Recovered, RecoveryReport};
use crate::request::{ResumeRequest, StartRequest, TokenOffer};
use crate::sealed::{self, Sealed};
use crate::session::RunSessions;
use crate::session_host::SessionHost;
use crate::task_views::{self, TaskRebuildReport};
use crate::telemetry::{self, Observers, TelemetryReport};
use crate::views::{self, RebuildReport};
use crate::{instructions, token, unowned, worktree};

/// How the runtime is set up.
#[derive(Debug, Clone)]
pub struct RuntimeOptions {
    /// Where everything is.
    pub layout: Layout,
    /// The environment stages inherit.
    pub environment: Vec<(OsString, OsString)>,
    /// This machine's name.
    pub host: String,
    /// How often an owner gives a sign of life.
    pub heartbeat_interval: Duration,
    /// After which silence an owner counts as gone.
    pub stale_after: Duration,
    /// Whether a resume must come with the token.
    pub require_resume_token: bool,
    /// The agent program, when it is not to be looked up.
    pub agent_program: Option<PathBuf>,
    /// Our own executable, which builds sandboxes when it is started again for it; without it,
    /// what asks for a sandbox is refused.
    pub helper: Option<PathBuf>,
    /// What takes secrets out of everything that programs print.
    pub guard: Guard,
    /// Where sessions are kept that outlive their run; without it, stages that want one are refused.
    pub session_host: Option<SessionHost>,
}

/// What owners, attempts and writers of one process share.
pub(crate) struct Shared {
    pub(crate) options: RuntimeOptions,
    pub(crate) log: Arc<dyn EventLog>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) spawner: Option<Arc<Spawner>>,
    pub(crate) owner: Owner,
    /// What sandboxes are built from.
    pub(crate) walls: Arc<Walls>,
    /// The live sessions of our runs.
    pub(crate) sessions: RunSessions,
    /// Failures that stopped nothing, for people.
    warnings: Mutex<Vec<String>>,
    /// The secrets of what is to be run here.
    pub(crate) sealed: Sealed,
}

impl Shared {
    /// Takes the secrets out of what is to be recorded.
    fn seal(&self, pipeline: &mut Pipeline, nested: &mut IndexMap<PipelineId, Pipeline>) {
        for pipeline in std::iter::once(pipeline).chain(nested.values_mut()) {
            self.sealed.seal_pipeline(&self.options.guard, pipeline);
        }
    }

    /// Keeps a failure that stops nothing, once.
    pub(crate) fn note(&self, result: Result<(), RuntimeError>) {
        if let Err(error) = result {
            self.warn(crate::attempt::chain(&error));
        }
    }

    pub(crate) fn warn(&self, text: String) {
        let mut warnings = self.warnings.lock().unwrap_or_else(PoisonError::into_inner);
        if warnings.len() < 100 && !warnings.contains(&text) {
            warnings.push(text);
        }
    }

    /// Whether an owner is no more. On this machine its process tells; silence counts when the
    /// process cannot be asked, and, for those who want to take over (`strict`), in any case: a
    /// stopped process is fenced out by its generation.
    pub(crate) fn is_gone(&self, holder: &LeaseHolder, strict: bool) -> bool {
        let silent = self.clock.now().since(holder.renewed_at) > self.options.stale_after;
        if holder.owner.host != self.options.host {
            return silent;
        }
        match holder.owner.process.parse::<ProcessIdentity>() {
            Ok(process) => !process.is_alive() || (strict && silent),
            Err(_) => silent,
        }
    }
}

/// Runs, watches and mends runs. Cheap to clone.
#[derive(Clone)]
pub struct Orchestrator {
    pub(crate) shared: Arc<Shared>,
    observers: Option<Arc<Observers>>,
}

/// Whether a run has an owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Liveness {
    /// Nobody owns it, and nobody needs to.
    Idle,
    /// Its owner is alive.
    Alive,
    /// Its owner exists but has been silent for too long.
    Silent,
}

/// A run as it stands.
#[derive(Debug, Clone)]
pub struct RunSnapshot {
    /// Its state.
    pub state: RunState,
    /// Its head in the log.
    pub head: RunHead,
    /// Whether it has an owner.
    pub liveness: Liveness,
    /// The owner's last sign of life, with the limits.
    pub heartbeat: Heartbeat,
}

/// A run that is being followed by this process.
pub struct RunHandle {
    run: RunId,
    shared: Arc<Shared>,
    notice: Arc<Notice>,
    address: Address,
    thread: JoinHandle<Result<RunOutcome, RuntimeError>>,
    observers: Option<JoinHandle<TelemetryReport>>,
}

impl RunHandle {
    /// The run.
    pub fn run(&self) -> &RunId {
        &self.run
    }

    /// Waits until the run has moved beyond `seen`, is done, or `patience` is over.
    pub fn wait(&self, seen: EventSeq, patience: Duration) -> Progressed {
        self.notice.wait(seen, patience)
    }

    /// Asks the run to stop; a second call ends everything at once.
    pub fn cancel(&self, actor: Actor, reason: Option<String>) {
        self.address.cancel(&self.shared, actor, reason);
    }

    /// Ends everything under way without waiting for it to end by itself.
    pub fn hurry(&self) {
        self.address.hurry();
    }

    /// Waits for the end of the run; its views are written then, and its observers told.
    ///
    /// # Errors
    /// When the log failed or the run was taken over.
    pub fn join(self) -> Result<RunOutcome, RuntimeError> {
        self.join_with_report().0
    }

    /// The same, with what became of what was told about the run, if anybody was. What went wrong
    /// there is among [`Orchestrator::take_warnings`] too, and nowhere in the outcome.
    pub fn join_with_report(self) -> (Result<RunOutcome, RuntimeError>, Option<TelemetryReport>) {
        let outcome = match self.thread.join() {
            Ok(outcome) => outcome,
            Err(panic) => std::panic::resume_unwind(panic),
        };
        // Telling others is never a reason to fail.
        let report = self.observers.and_then(|observers| observers.join().ok());
        (outcome, report)
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl Orchestrator {
    /// Sets the runtime up. Without a spawner it can look, command and mend, but not run.
    ///
    /// # Errors
    /// When the process cannot identify itself.
    pub fn new(
        options: RuntimeOptions,
        log: Arc<dyn EventLog>,
        clock: Arc<dyn Clock>,
        spawner: Option<Spawner>,
    ) -> Result<Self, RuntimeError> {
        let process = current_process()
            .map_err(|source| RuntimeError::Files { path: PathBuf::from("/proc/self/stat"), source })?;
        let owner =
            Owner { id: token::random_hex(16)?, host: options.host.clone(), process: process.to_string() };
        let clock: Arc<dyn Clock> = Arc::new(SteadyClock::new(clock));
        let warnings = Mutex::default();
        let walls = Arc::new(Walls::new(&options));
        let shared = Shared {
            options,
            log,
            clock,
            spawner: spawner.map(Arc::new),
            owner,
            walls,
            sessions: RunSessions::default(),
            warnings,
            sealed: Sealed::default(),
        };
        Ok(Self { shared: Arc::new(shared), observers: None })
    }

    /// Tells these about every run that is started or resumed through what is returned.
    #[must_use]
    pub fn told_to(self, observers: Observers) -> Self {
        Self { observers: observers.is_on().then(|| Arc::new(observers)), ..self }
    }

    /// Where everything is.
    pub fn layout(&self) -> &Layout {
        &self.shared.options.layout
    }

    /// The present instant, by the runtime's clock.
    pub fn now(&self) -> Timestamp {
        self.shared.clock.now()
    }

    /// Takes the failures that stopped nothing, for people.
    pub fn take_warnings(&self) -> Vec<String> {
        std::mem::take(&mut *self.shared.warnings.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Creates a run and follows it on threads of its own.
    ///
    /// # Errors
    /// [`StartError`]; no run exists then.
    pub fn start(&self, request: StartRequest) -> Result<RunHandle, StartError> {
        let shared = &self.shared;
        if shared.spawner.is_none() {
            return Err(RuntimeError::NoSpawner.into());
        }
        launch::make_roots(shared)?;
        if let Some(parent) = &request.settings.parent
            && shared.log.head(parent)?.is_none()
        {
            return Err(StartError::UnknownParent(parent.clone()));
        }
        let mut random = [0; 4];
        getrandom::fill(&mut random).map_err(|error| RuntimeError::Random(error.to_string()))?;
        let run = RunId::generate(shared.clock.now(), u32::from_le_bytes(random));
        let secret = token::random_hex(32)?;
        let layout = &shared.options.layout;
        let tree =
            if request.worktree { Some(worktree::add(&layout.root, &layout.runs_dir, &run)?) } else { None };
        let workspace = tree.as_ref().map_or(&layout.root, |tree| &tree.workspace);
        let pipelines = std::iter::once(&request.pipeline).chain(request.nested.values());
        let told = instructions::told(&shared.options, workspace, pipelines);
        told.warnings.into_iter().for_each(|warning| shared.warn(warning));
        let mut settings = RunSettings {
            instructions: told.files,
            instructions_sha256: told.combined_sha256,
            heartbeat_interval_ms: millis(shared.options.heartbeat_interval),
            stale_after_ms: millis(shared.options.stale_after),
            workspace: workspace.to_string_lossy().into_owned(),
            worktree_branch: tree.as_ref().map(|tree| tree.branch.clone()),
            resume_token_sha256: Some(token::sha256_hex(secret.as_bytes())),
            ..request.settings
        };
        shared.sealed.seal_settings(&shared.options.guard, &mut settings);
        let (mut pipeline, mut nested) = (request.pipeline, request.nested);
        shared.seal(&mut pipeline, &mut nested);
        let created = RunCreated { task: request.task, run: run.clone(), pipeline, nested, settings };
        let began = shared.clock.now();
        let begun = launch::begin(shared, &created, Some(&secret));
        if begun.is_err() && tree.is_some() {
            // A worktree for a run that never began holds nothing of anybody.
            drop(worktree::remove(&layout.root, &layout.runs_dir, &run));
        }
        Ok(self.follow(begun?, began)?)
    }

    /// Lets a run go on.
    ///
    /// # Errors
    /// [`ResumeError`]; every refusal is recorded in the run.
    pub fn resume(&self, request: &ResumeRequest) -> Result<RunHandle, ResumeError> {
        let shared = &self.shared;
        if shared.spawner.is_none() {
            return Err(RuntimeError::NoSpawner.into());
        }
        self.check_token(request)?;
        let mut request = request.clone();
        if let Some((pipeline, nested)) = &mut request.pipeline {
            shared.seal(pipeline, nested);
        }
        let began = shared.clock.now();
        Ok(self.follow(launch::resume(shared, &request, false)?, began)?)
    }

    /// Checks the proof that comes with a resume, before anything else about it is looked at; `resume` does so again.
    ///
    /// # Errors
    /// [`ResumeError`]; a refusal is recorded in the run.
    pub fn check_token(&self, request: &ResumeRequest) -> Result<(), ResumeError> {
        let shared = &self.shared;
        let run = &request.run;
        let head = shared.log.head(run)?.ok_or_else(|| RuntimeError::UnknownRun(run.clone()))?;
        let first = shared.log.events(run, EventSeq(0), 1)?;
        let known = first.first().and_then(|recorded| match &recorded.event {
            co_model::Event::RunCreated(created) => created.settings.resume_token_sha256.clone(),
            _ => None,
        });
        match (&request.token, known) {
            (TokenOffer::Token(offered), Some(known)) if !token::fits(offered, &known) => {
                launch::block(shared, &head, request, "the resume token does not fit");
                Err(ResumeError::TokenMismatch(run.clone()))
            }
            (TokenOffer::Nothing, Some(_)) if shared.options.require_resume_token => {
                launch::block(shared, &head, request, "no resume token was given");
                Err(ResumeError::TokenMissing(run.clone()))
            }
            _ => Ok(()),
        }
    }

    fn follow(&self, begun: Begun, began: Timestamp) -> Result<RunHandle, RuntimeError> {
        let shared = Arc::clone(&self.shared);
        let Begun { state, lease, effects } = begun;
        let run = state.run().clone();
        let notice = Arc::new(Notice::default());
        let (address, wakes) = Address::new();
        let worktree = state.created.settings.worktree_branch.is_some();
        let owner =
            RunOwner::new(Arc::clone(&shared), state, lease, Arc::clone(&notice), (address.clone(), wakes))?;
        let observers = self.observers.as_ref().and_then(|observers| {
            let followed = telemetry::follow(&shared, observers, &run, began, Arc::clone(&notice));
            followed.map_err(|error| shared.note(Err(error))).ok()
        });
        let (for_thread, id) = (Arc::clone(&shared), run.clone());
        let thread = thread::Builder::new()
            .name("run".to_owned())
            .spawn(move || {
                let outcome = owner.follow(effects);
                if worktree && matches!(outcome, Ok(RunOutcome::Succeeded)) {
                    let layout = &for_thread.options.layout;
                    if let Err(kept) = worktree::remove(&layout.root, &layout.runs_dir, &id) {
                        for_thread.warn(format!("the worktree was kept: {kept}"));
                    }
                }
                outcome
            })
            .map_err(|source| RuntimeError::Thread { source })?;
        Ok(RunHandle { run, shared, notice, address, thread, observers })
    }

    /// Puts a command into a run's inbox; its owner takes it within 0.1 s. A run that nobody owns
    /// is commanded directly.
    ///
    /// # Errors
    /// Those of the log.
    pub fn submit(&self, run: &RunId, envelope: &Envelope) -> Result<Submitted, RuntimeError> {
        let submitted =
            self.shared.log.submit(run, &sealed::envelope(&self.shared.options.guard, envelope))?;
        if submitted == Submitted::Open {
            unowned::take_commands(&self.shared, run)?;
        }
        Ok(self.shared.log.settlement(run, &envelope.key)?.unwrap_or(submitted))
    }

    /// What became of a command. One that its owner has left open is taken here.
    ///
    /// # Errors
    /// Those of the log.
    pub fn settlement(&self, run: &RunId, key: &CommandKey) -> Result<Option<Submitted>, RuntimeError> {
        let settlement = self.shared.log.settlement(run, key)?;
        if settlement != Some(Submitted::Open) {
            return Ok(settlement);
        }
        unowned::take_commands(&self.shared, run)?;
        Ok(self.shared.log.settlement(run, key)?)
    }

    /// Reads a run. One whose owner is gone is mended first, so that nobody is told it is under way.
    ///
    /// # Errors
    /// [`RuntimeError::UnknownRun`] and those of the log.
    pub fn snapshot(&self, run: &RunId) -> Result<RunSnapshot, RuntimeError> {
        let shared = &self.shared;
        let find = || shared.log.head(run)?.ok_or_else(|| RuntimeError::UnknownRun(run.clone()));
        let mut head = find()?;
        let mended = self.mend(&head)?;
        if mended {
            head = find()?;
        }
        let state = launch::load(shared, run)?;
        let liveness = match &head.holder {
            None => Liveness::Idle,
            Some(_) if state.status().is_over() => Liveness::Idle,
            Some(holder) if shared.is_gone(holder, true) => Liveness::Silent,
            Some(_) => Liveness::Alive,
        };
        let at = match &head.holder {
            Some(holder) if !state.status().is_over() => holder.renewed_at.max(state.updated_at),
            _ => state.completed_at.unwrap_or(state.updated_at),
        };
        Ok(RunSnapshot { heartbeat: views::heartbeat(&state, at), state, head, liveness })
    }

    /// Looks at what the agents of a run are doing, in the output they have left so far.
    ///
    /// Reads at most the last MiB of each; without agents at work it reads nothing.
    pub fn agent_activity(&self, state: &RunState) -> Vec<AgentActivity> {
        activity::at_work(state, &self.shared.options.layout)
    }

    fn mend(&self, head: &RunHead) -> Result<bool, RuntimeError> {
        match recovery::plan(&self.shared, head, false)? {
            None => Ok(false),
            Some(found) => {
                recovery::execute(&self.shared, &found)?;
                Ok(true)
            }
        }
    }

    /// Lists runs, newest first; those whose owner is gone are mended first.
    ///
    /// # Errors
    /// Those of the log.
    pub fn runs(&self, filter: &RunFilter) -> Result<Vec<RunHead>, RuntimeError> {
        let heads = self.shared.log.heads(filter)?;
        let mut mended = false;
        for head in &heads {
            if !head.progress.status.is_over() {
                mended |= self.mend(head)?;
            }
        }
        if mended { Ok(self.shared.log.heads(filter)?) } else { Ok(heads) }
    }

    /// Reads events of a run after `after`, at most `limit` of them.
    ///
    /// # Errors
    /// Those of the log.
    pub fn events(&self, run: &RunId, after: EventSeq, limit: usize) -> Result<Vec<Recorded>, RuntimeError> {
        Ok(self.shared.log.events(run, after, limit)?)
    }

    /// Plans, and unless `dry_run` carries out, the recovery of one run or of all that need it.
    ///
    /// # Errors
    /// Those of the log; a run that cannot be recovered is reported, not an error.
    pub fn recover(&self, run: Option<&RunId>, dry_run: bool) -> Result<Vec<RecoveryReport>, RuntimeError> {
        let mut reports = Vec::new();
        for head in recovery::candidates(&self.shared, run)? {
            let failed = |error: &RuntimeError| Recovered::Failed(crate::attempt::chain(error));
            let (head, plan, recovered) = match recovery::plan(&self.shared, &head, true) {
                Ok(None) => continue,
                Ok(Some(found)) if dry_run => (found.head, found.plan, Recovered::Planned),
                Ok(Some(found)) => {
                    let done = recovery::execute(&self.shared, &found);
                    (found.head, found.plan, done.unwrap_or_else(|error| failed(&error)))
                }
                Err(error) => (head, RecoveryPlan::default(), failed(&error)),
            };
            let status = head.progress.status;
            reports.push(RecoveryReport { run: head.run, task: head.progress.task, status, plan, recovered });
        }
        Ok(reports)
    }

    /// Mends every run whose owner is gone; for commands that pass by.
    ///
    /// # Errors
    /// Those of the log.
    pub fn abandoned(&self) -> Result<Vec<RecoveryReport>, RuntimeError> {
        let mut reports = Vec::new();
        for head in recovery::candidates(&self.shared, None)? {
            let Some(found) = recovery::plan(&self.shared, &head, false)? else { continue };
            if recovery::execute(&self.shared, &found)? == Recovered::Done {
                let recovery::Found { head, plan, .. } = found;
                let status = head.progress.status;
                let (run, task) = (head.run, head.progress.task);
                reports.push(RecoveryReport { run, task, status, plan, recovered: Recovered::Done });
            }
        }
        Ok(reports)
    }

    /// Lists the consents that people have given, newest first.
    ///
    /// # Errors
    /// Those of the log.
    pub fn grants(&self, filter: &GrantFilter) -> Result<Vec<Grant>, RuntimeError> {
        Ok(self.shared.log.grants(filter)?)
    }

    /// Finds the call that a consent was given to; `None` when its run does not tell.
    ///
    /// # Errors
    /// Those of the log.
    pub fn request_of(&self, grant: &Grant) -> Result<Option<CallRequest>, RuntimeError> {
        let mut after = EventSeq(0);
        loop {
            let events = self.shared.log.events(&grant.run, after, 1_000)?;
            let Some(last) = events.last() else { return Ok(None) };
            after = last.seq;
            let found = events.into_iter().find_map(|recorded| match recorded.event {
                Event::CallRequested(request) if grant.is_for(&request.call) => Some(*request),
                _ => None,
            });
            if found.is_some() {
                return Ok(found);
            }
        }
    }

    /// Takes a consent back; `None` when there is no such consent.
    ///
    /// # Errors
    /// Those of the log.
    pub fn revoke(&self, grant: &GrantId, actor: Actor) -> Result<Option<Grant>, RuntimeError> {
        let mut revocation = Revocation { actor, at: self.shared.clock.now() };
        sealed::clean_actor(&self.shared.options.guard, &mut revocation.actor);
        Ok(self.shared.log.revoke(grant, &revocation)?)
    }

    /// Compares the views of a run with the log and, unless `check` is set, writes them.
    ///
    /// # Errors
    /// [`RebuildError::Live`] while an owner writes them, and those of the log.
    pub fn rebuild(&self, run: &RunId, check: bool) -> Result<RebuildReport, RebuildError> {
        let head = self.shared.log.head(run)?.ok_or_else(|| RuntimeError::UnknownRun(run.clone()))?;
        if head.holder.is_some_and(|holder| !self.shared.is_gone(&holder, false)) {
            return Err(RebuildError::Live(run.clone()));
        }
        Ok(views::rebuild(&self.shared, run, check)?)
    }

    /// Compares the views over all runs of a task with the log and, unless `check` is set, writes
    /// them.
    ///
    /// # Errors
    /// Those of the log, and of files that cannot be written.
    pub fn rebuild_task(&self, task: &TaskId, check: bool) -> Result<TaskRebuildReport, RuntimeError> {
        task_views::rebuild(&self.shared, task, check)
    }
}
