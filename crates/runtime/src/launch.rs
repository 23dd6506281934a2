//! How runs come into being and come back: new ones, resumed ones, children of others.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::thread;
use std::time::{Duration, Instant};

use co_engine::{Decision, Effect, Input, Phase, RunState, decide, start};
use co_log::{Append, Consents, Durability, Lease, LeaseHolder, LogError, RunHead};
use co_model::{
    Actor, Event, EventSeq, PipelineId, Recorded, RunCreated, RunId, RunOutcome, RunSettings, SandboxMode,
    StageId, StageWork,
};
use co_views::Layout;

use crate::environment::RUN_MARK;
use crate::error::{ResumeError, RuntimeError, StartError};
use crate::notice::Notice;
use crate::orchestrator::Shared;
use crate::owner::{self, Address, RunOwner, Wake};
use crate::request::ResumeRequest;
use crate::{sealed, token, unowned, views};

/// How long killed processes may take to go away.
pub(crate) const KILL_PATIENCE: Duration = Duration::from_secs(10);

/// How long a resume waits for one who only passes by, who may have to end survivors first.
const PASSING_PATIENCE: Duration = Duration::from_secs(15);

/// How often it looks.
const PASSING_LOOK: Duration = Duration::from_millis(10);

/// A run with its lease, ready to be followed.
pub(crate) struct Begun {
    pub(crate) state: RunState,
    pub(crate) lease: Lease,
    pub(crate) effects: Vec<Effect>,
}

/// Records a new run. Its folders are made first, so that a run that cannot be shown is not begun.
pub(crate) fn begin(
    shared: &Shared,
    created: &RunCreated,
    resume_token: Option<&str>,
) -> Result<Begun, StartError> {
    let now = shared.clock.now();
    let decision = start(now, created.clone())?;
    if will_confine(created) {
        shared.walls.measure_ahead();
    }
    let layout = &shared.options.layout;
    let run_dir = layout.run_dir(&created.task, &created.run);
    make_folder(&layout.logs_dir(&created.task, &created.run))?;
    if let Some(secret) = resume_token {
        let path = layout.resume_token_path(&created.task, &created.run);
        token::store(&path, secret).map_err(|source| RuntimeError::Files { path, source })?;
    }
    let recorded = create(shared, created, &decision.events, now);
    let (lease, recorded) = match recorded {
        Ok(created) => created,
        Err(error) => {
            // A run that was not recorded leaves no folder behind.
            drop(std::fs::remove_dir_all(&run_dir));
            return Err(error.into());
        }
    };
    let state = replay(&created.run, &recorded)?;
    Ok(Begun { state, lease, effects: decision.effects })
}

/// Whether a command of this run itself is to be put into a sandbox.
fn will_confine(created: &RunCreated) -> bool {
    let standing = created.settings.policy.sandbox.as_ref().map(|sandbox| sandbox.mode);
    let commands = created.pipeline.stages.iter().filter(|stage| matches!(stage.work, StageWork::Command(_)));
    let mut modes = commands.map(|stage| stage.confinement.as_ref().map(|own| own.mode).or(standing));
    modes.any(|mode| mode.is_some_and(|mode| mode != SandboxMode::DangerFullAccess))
}

fn create(
    shared: &Shared,
    created: &RunCreated,
    events: &[Event],
    now: co_model::Timestamp,
) -> Result<(Lease, Vec<Recorded>), LogError> {
    let first = Recorded { seq: EventSeq(1), at: now, event: Event::RunCreated(Box::new(created.clone())) };
    let progress = match RunState::create(&first) {
        Ok(state) => {
            let ahead = owner::foresee(&state, now, events.get(1..).unwrap_or_default());
            views::progress(&ahead, &shared.options.layout)
        }
        Err(_) => return Err(LogError::UnknownRun(created.run.clone())),
    };
    shared.log.create(
        &shared.owner,
        &Append {
            run: &created.run,
            after: EventSeq(0),
            at: now,
            events,
            progress: &progress,
            settled: &[],
            consents: Consents::default(),
            durability: Durability::Synced,
        },
    )
}

/// Makes `.runs` and `out`, which keep themselves out of git. Comes before everything else: also a
/// start that is refused leaves the repository clean.
pub(crate) fn make_roots(shared: &Shared) -> Result<(), RuntimeError> {
    make_root_folders(&shared.options.layout)
}

/// As [`make_roots`].
pub(crate) fn make_root_folders(layout: &Layout) -> Result<(), RuntimeError> {
    for folder in [&layout.runs_dir, &layout.out_dir] {
        make_folder(folder)?;
        let ignore = folder.join(".gitignore");
        if !ignore.exists() {
            views::write_atomically(&ignore, b"*\n")?;
        }
    }
    Ok(())
}

fn make_folder(path: &Path) -> Result<(), RuntimeError> {
    std::fs::create_dir_all(path).map_err(|source| RuntimeError::Files { path: path.to_owned(), source })
}

/// Reads a whole run.
pub(crate) fn load(shared: &Shared, run: &RunId) -> Result<RunState, RuntimeError> {
    replay(run, &shared.log.events(run, EventSeq(0), usize::MAX)?)
}

fn replay(run: &RunId, events: &[Recorded]) -> Result<RunState, RuntimeError> {
    RunState::replay(events).map_err(|source| RuntimeError::Replay { run: run.clone(), source })
}

/// Takes a run over from an owner that is gone, or from nobody, and lets it go on.
pub(crate) fn resume(shared: &Shared, request: &ResumeRequest, as_child: bool) -> Result<Begun, ResumeError> {
    let run = &request.run;
    let head = shared.log.head(run)?.ok_or_else(|| RuntimeError::UnknownRun(run.clone()))?;
    if let (Some(parent), false) = (&head.progress.parent, as_child)
        && run.is_child_of(parent)
    {
        return Err(ResumeError::IsChild { run: run.clone(), parent: parent.clone() });
    }
    let gone = |holder: &LeaseHolder| shared.is_gone(holder, true);
    let until = Instant::now() + PASSING_PATIENCE;
    let lease = loop {
        match shared.log.acquire(run, &shared.owner, shared.clock.now(), &gone) {
            Ok(lease) => break lease,
            // Somebody answers a question of the run, say: that is no reason to refuse.
            Err(LogError::Held { holder, .. }) if unowned::is_passing(&holder) && Instant::now() < until => {
                thread::park_timeout(PASSING_LOOK);
            }
            Err(LogError::Held { holder, .. }) => {
                let (process, host) = (holder.owner.process.clone(), holder.owner.host.clone());
                block(shared, &head, request, "the run is alive");
                return Err(ResumeError::Live { run: run.clone(), process, host });
            }
            Err(error) => return Err(error.into()),
        }
    };
    let resumed = loop {
        match resume_owned(shared, request, &lease) {
            // A rival's refused resume was recorded in between: read the run again.
            Err(ResumeError::Runtime(RuntimeError::Log(LogError::Conflict { .. }))) => {}
            resumed => break resumed,
        }
    };
    if resumed.is_err() {
        drop(shared.log.release(&lease));
        views::refresh(shared, run);
    }
    let (state, effects) = resumed?;
    Ok(Begun { state, lease, effects })
}

/// Records a refused resume from outside the run.
pub(crate) fn block(shared: &Shared, head: &RunHead, request: &ResumeRequest, detail: &str) {
    let event = Event::ResumeBlocked {
        actor: request.actor.clone(),
        reason: request.reason.clone(),
        detail: detail.to_owned(),
    };
    let events = [event];
    let events = sealed::events(&shared.options.guard, &events);
    // The owner may append at the same time; whoever comes second tries again with what it has missed.
    for _ in 0..50 {
        let Ok(Some(head)) = shared.log.head(&head.run) else { return };
        let appended = shared.log.append_unowned(
            head.holder.as_ref(),
            false,
            &Append {
                run: &head.run,
                after: head.last_seq,
                at: shared.clock.now(),
                events: &events,
                progress: &head.progress,
                settled: &[],
                consents: Consents::default(),
                durability: Durability::Synced,
            },
        );
        match appended {
            Ok(None) | Err(LogError::Conflict { .. }) => {}
            Ok(Some(_)) | Err(_) => break,
        }
    }
    if head.holder.is_none() {
        views::refresh(shared, &head.run);
    }
}

fn resume_owned(
    shared: &Shared,
    request: &ResumeRequest,
    lease: &Lease,
) -> Result<(RunState, Vec<Effect>), ResumeError> {
    let run = &request.run;
    let mut state = unowned::take_over(shared, run, lease)?;
    unowned::settle_cancels(shared, &mut state, lease)?;
    let (pipeline, nested) = match &request.pipeline {
        Some((pipeline, nested)) => (pipeline.clone(), nested.clone()),
        None => (state.created.pipeline.clone(), state.created.nested.clone()),
    };
    let input = Input::Resume {
        actor: request.actor.clone(),
        reason: request.reason.clone(),
        pipeline: Box::new(pipeline),
        nested,
        policy: request.policy.clone().unwrap_or_else(|| Box::new(state.policy().clone())),
    };
    let now = shared.clock.now();
    match decide(&state, now, input) {
        Ok(decision) => {
            let recorded = owner::append(shared, &state, lease, now, &decision, &[])?;
            evolve(&mut state, &recorded)?;
            Ok((state, decision.effects))
        }
        Err(source) => {
            let blocked = Event::ResumeBlocked {
                actor: request.actor.clone(),
                reason: request.reason.clone(),
                detail: source.to_string(),
            };
            let decision = Decision { events: vec![blocked], ..Decision::default() };
            owner::append(shared, &state, lease, now, &decision, &[])?;
            Err(ResumeError::Refused { run: run.clone(), source })
        }
    }
}

pub(crate) fn evolve(state: &mut RunState, recorded: &[Recorded]) -> Result<(), RuntimeError> {
    for event in recorded {
        state.evolve(event).map_err(|source| RuntimeError::Replay { run: state.run().clone(), source })?;
    }
    Ok(())
}

/// Ends what a former owner of the run left running, and waits until it is gone.
pub(crate) fn end_survivors(run: &RunId) -> Result<u32, RuntimeError> {
    co_process::kill_all_marked(RUN_MARK, run.as_str(), KILL_PATIENCE).map_err(|error| {
        RuntimeError::Survivors {
            run: run.clone(),
            processes: error.survivors.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
        }
    })
}

/// The child run of a nested-pipeline stage.
pub(crate) struct Child {
    pub(crate) parent: Arc<RunCreated>,
    pub(crate) stage: StageId,
    pub(crate) run: RunId,
    pub(crate) pipeline: PipelineId,
    pub(crate) owner: Address,
}

impl Child {
    /// Starts the child, or goes on with it, follows it to its end and reports to the parent.
    pub(crate) fn follow(self, shared: &Arc<Shared>, addresses: (Address, Receiver<Wake>)) {
        let outcome = self.outcome(shared, addresses).unwrap_or_else(|detail| RunOutcome::Failed { detail });
        let finished = Input::ChildRunFinished { stage: self.stage, run: self.run, outcome };
        drop(self.owner.0.send(Wake::Input(Box::new(finished))));
    }

    fn outcome(
        &self,
        shared: &Arc<Shared>,
        addresses: (Address, Receiver<Wake>),
    ) -> Result<RunOutcome, String> {
        let failed = |error: &dyn std::error::Error| crate::attempt::chain(error);
        let exists = shared.log.head(&self.run).map_err(|error| failed(&error))?.is_some();
        let begun = if exists {
            if let Phase::Finished { outcome: RunOutcome::Succeeded } =
                load(shared, &self.run).map_err(|error| failed(&error))?.phase
            {
                return Ok(RunOutcome::Succeeded);
            }
            resume(shared, &self.resume_request(), true).map_err(|error| failed(&error))?
        } else {
            begin(shared, &self.created()?, None).map_err(|error| failed(&error))?
        };
        let Begun { state, lease, effects } = begun;
        let owner = RunOwner::new(Arc::clone(shared), state, lease, Arc::new(Notice::default()), addresses);
        owner.and_then(|owner| owner.follow(effects)).map_err(|error| failed(&error))
    }

    fn created(&self) -> Result<RunCreated, String> {
        let pipeline = self.parent.nested.get(&self.pipeline);
        let pipeline =
            pipeline.ok_or_else(|| format!("pipeline `{}` is not part of the run", self.pipeline))?;
        let settings = RunSettings {
            parent: Some(self.parent.run.clone()),
            retry_of: None,
            target: None,
            resume_token_sha256: None,
            ..self.parent.settings.clone()
        };
        Ok(RunCreated {
            task: self.parent.task.clone(),
            run: self.run.clone(),
            pipeline: pipeline.clone(),
            nested: self.parent.nested.clone(),
            settings,
        })
    }

    fn resume_request(&self) -> ResumeRequest {
        let pipeline = self.parent.nested.get(&self.pipeline).cloned();
        ResumeRequest {
            run: self.run.clone(),
            actor: Actor::new(self.parent.run.as_str()),
            reason: "the parent run goes on".to_owned(),
            token: crate::request::TokenOffer::Nothing,
            pipeline: pipeline.map(|pipeline| (pipeline, self.parent.nested.clone())),
            policy: Some(Box::new(self.parent.settings.policy.clone())),
        }
    }
}
