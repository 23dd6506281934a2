//! Random pipelines under random schedules, held against rules that know nothing of the engine.

use std::collections::{HashMap, HashSet};
use std::num::{NonZeroU16, NonZeroU32};
use std::time::Duration;

use co_engine::{Effect, Input, Phase, RunState, StageState};
use co_model::{
    AttemptExit, Command, Event, Needs, Pipeline, Role, RunOutcome, RunSettings, SkipReason, Stage,
    StageDrift, StageId, StageOutcome, Timestamp, Verdict, When,
};
use proptest::prelude::*;

use crate::world::{World, pipeline, report, stage};

/// What may happen; numbers choose among what is possible at that moment.
#[derive(Debug, Clone)]
enum Happening {
    End { which: usize, how: u8 },
    Again { which: usize },
    Pass { ms: u64 },
    Answer { yes: bool },
    Steer,
    Cancel,
    Crash,
    Resume(Edit),
}

#[derive(Debug, Clone)]
enum Edit {
    Nothing,
    Change(usize),
    Remove(usize),
    Insert(usize),
    Swap(usize, usize),
    Limit(u16),
}

fn happening() -> impl Strategy<Value = Happening> {
    let edit = prop_oneof![
        3 => Just(Edit::Nothing),
        1 => any::<usize>().prop_map(Edit::Change),
        2 => any::<usize>().prop_map(Edit::Remove),
        2 => any::<usize>().prop_map(Edit::Insert),
        1 => any::<(usize, usize)>().prop_map(|(a, b)| Edit::Swap(a, b)),
        1 => (1..4u16).prop_map(Edit::Limit),
    ];
    prop_oneof![
        12 => (any::<usize>(), 0..8u8).prop_map(|(which, how)| Happening::End { which, how }),
        2 => any::<usize>().prop_map(|which| Happening::Again { which }),
        3 => (0..60u64).prop_map(|ms| Happening::Pass { ms }),
        2 => any::<bool>().prop_map(|yes| Happening::Answer { yes }),
        1 => Just(Happening::Steer),
        1 => Just(Happening::Cancel),
        2 => Just(Happening::Crash),
        4 => edit.prop_map(Happening::Resume),
    ]
}

fn a_stage(index: usize) -> impl Strategy<Value = Stage> {
    let role = prop_oneof![Just(""), Just(""), Just(""), Just(" role=planner"), Just(" role=tester")];
    let work = prop_oneof![Just(""), Just(""), Just(" agent"), Just(" gate=50"), Just(" child=q")];
    let when = prop_oneof![Just(""), Just(""), Just(" when=always"), Just(" when=failure")];
    let needs = prop::option::of(prop::collection::vec(0..index.max(1), 0..3));
    (role, work, when, needs, any::<bool>(), 1..4u32, 0..30u64).prop_map(
        move |(role, work, when, needs, allow, tries, wait)| {
            let allow = if allow && index.is_multiple_of(3) { " allow" } else { "" };
            let mut made = stage(&format!("s{index}{role}{work}{when}{allow}"));
            made.retry.max_attempts = NonZeroU32::new(tries).unwrap();
            made.retry.backoff = Duration::from_millis(wait);
            if let Some(needs) = needs {
                let earlier = needs.into_iter().filter(|&need| need < index);
                made.needs = Needs::Declared(earlier.map(name).collect());
            }
            made
        },
    )
}

fn name(index: usize) -> StageId {
    crate::world::id(&format!("s{index}"))
}

fn a_pipeline() -> impl Strategy<Value = Pipeline> {
    (1..7usize, 1..4u16).prop_flat_map(|(stages, limit)| {
        let stages: Vec<_> = (0..stages).map(a_stage).collect();
        (stages, Just(limit)).prop_map(|(stages, limit)| {
            let mut made = pipeline("x");
            made.stages = stages;
            made.max_parallel = NonZeroU16::new(limit).unwrap();
            made
        })
    })
}

fn edited(pipeline: &Pipeline, edit: &Edit, serial: usize) -> Pipeline {
    let mut made = pipeline.clone();
    let count = made.stages.len();
    match edit {
        Edit::Nothing => {}
        Edit::Change(which) => {
            made.stages[which % count].env.insert("V".into(), serial.to_string());
        }
        Edit::Remove(which) => {
            made.stages.remove(which % count);
        }
        // Sometimes the id of a stage that was removed before.
        Edit::Insert(at) => {
            let free = (0..=count).map(name).find(|id| made.stage(id).is_none()).unwrap();
            made.stages.insert(at % (count + 1), stage(free.as_str()));
        }
        Edit::Swap(a, b) => made.stages.swap(a % count, b % count),
        Edit::Limit(limit) => made.max_parallel = NonZeroU16::new(*limit).unwrap(),
    }
    made
}

/// Holds what is recorded against the rules, event by event.
struct Witness {
    state: RunState,
    seen: usize,
    /// Stages with a success that no edit has touched since.
    proven: HashSet<StageId>,
    /// What was observed of each stage since it last began under its present definition.
    evidence: HashMap<StageId, bool>,
    /// When each stage began last and when it succeeded last, as positions in the log.
    begun: HashMap<StageId, u64>,
    succeeded: HashMap<StageId, u64>,
    /// When somebody will come back, as far as was asked for since the last resume.
    wakes: HashSet<Timestamp>,
}

impl Witness {
    fn new(world: &World) -> Self {
        Self {
            state: RunState::create(&world.log[0]).unwrap(),
            seen: 1,
            proven: HashSet::new(),
            evidence: HashMap::new(),
            begun: HashMap::new(),
            succeeded: HashMap::new(),
            wakes: HashSet::new(),
        }
    }

    fn look(&mut self, world: &World, effects: &[Effect]) {
        let fresh = &world.log[self.seen..];
        if fresh.iter().any(|recorded| matches!(recorded.event, Event::ResumeAccepted { .. })) {
            self.wakes.clear();
        }
        self.wakes.extend(effects.iter().filter_map(|effect| match effect {
            Effect::WakeAt(at) => Some(*at),
            _ => None,
        }));
        let starting: Vec<_> = fresh
            .iter()
            .filter_map(|recorded| match &recorded.event {
                Event::AttemptStarting { stage, attempt } => Some((stage.clone(), *attempt)),
                _ => None,
            })
            .collect();
        let launched: Vec<_> = effects
            .iter()
            .filter_map(|effect| match effect {
                Effect::Launch { stage, attempt, .. } => Some((stage.clone(), *attempt)),
                _ => None,
            })
            .collect();
        assert_eq!(starting, launched, "every launch is recorded first, and every record is acted on");
        for recorded in fresh {
            self.judge(&recorded.event);
            self.state.evolve(recorded).unwrap();
            self.rules();
        }
        self.seen = world.log.len();
        assert_eq!(self.state, world.state);
        if world.state.phase == Phase::Running {
            self.somebody_comes_back(world.now);
        }
    }

    fn judge(&mut self, event: &Event) {
        if matches!(self.state.phase, Phase::Finished { .. }) {
            assert!(matches!(event, Event::ResumeAccepted { .. }), "{event:?} after the end");
        }
        match event {
            Event::AttemptStarting { stage, .. }
            | Event::ChildRunStarting { stage, .. }
            | Event::QuestionAsked { stage, .. } => {
                assert!(!self.proven.contains(stage), "`{stage}` had succeeded already");
                self.begun.insert(stage.clone(), self.state.last_seq.0 + 1);
                self.evidence.insert(stage.clone(), false);
                let open = before(&self.state, stage);
                assert!(open.is_empty(), "`{stage}` overtakes {open:?}");
            }
            Event::AttemptFinished { stage, report, .. } => {
                let good = report.exit == AttemptExit::Code(0) && report.missing_outputs.is_empty();
                self.evidence.insert(stage.clone(), good);
            }
            Event::QuestionAnswered { stage, verdict, .. } => {
                self.evidence.insert(stage.clone(), *verdict == Verdict::Approve);
            }
            Event::ChildRunFinished { stage, outcome, .. } => {
                self.evidence.insert(stage.clone(), *outcome == RunOutcome::Succeeded);
            }
            Event::StageFinished { stage, outcome: StageOutcome::Succeeded } => {
                self.proven.insert(stage.clone());
                self.succeeded.insert(stage.clone(), self.state.last_seq.0 + 1);
            }
            Event::ResumeAccepted { drift, pipeline, .. } => {
                for drift in &drift.stages {
                    let (StageDrift::Added { stage }
                    | StageDrift::Changed { stage }
                    | StageDrift::Removed { stage }) = drift;
                    self.proven.remove(stage);
                    if !matches!(drift, StageDrift::Removed { .. }) {
                        self.evidence.remove(stage);
                    }
                }
                // Where work may be done again, the verdicts on it may be given again.
                let stages = pipeline.as_deref().unwrap_or(self.state.pipeline()).stages.clone();
                let open: Vec<Role> = stages
                    .iter()
                    .filter(|stage| stage.role >= Role::Builder && !self.proven.contains(&stage.id))
                    .map(|stage| stage.role)
                    .collect();
                for stage in &stages {
                    if open.iter().any(|role| *role < stage.role) {
                        self.proven.remove(&stage.id);
                    }
                }
            }
            Event::RunFinished { outcome: RunOutcome::Succeeded } => {
                for stage in &self.state.pipeline().stages {
                    let outcome = self.state.stage(&stage.id).and_then(|record| record.outcome());
                    let fine = match outcome {
                        Some(StageOutcome::Failed { allowed, .. }) => *allowed && stage.allow_failure,
                        Some(StageOutcome::Succeeded) => true,
                        Some(StageOutcome::Skipped { reason }) => {
                            stage.when == When::Failure || *reason == SkipReason::NotPlanned
                        }
                        Some(StageOutcome::Cancelled) | None => false,
                    };
                    let outdated = outcome == Some(&StageOutcome::Succeeded) && self.is_outdated(&stage.id);
                    assert!(!outdated, "`{}` judged another tree than the last", stage.id);
                    assert!(fine, "the run succeeded although `{}` is {outcome:?}", stage.id);
                }
            }
            _ => {}
        }
    }

    /// Whether a builder, or a tester before a reviewer, has begun since the verdict of this stage.
    fn is_outdated(&self, stage: &StageId) -> bool {
        let role = |id: &StageId| self.state.stage(id).map(|record| record.definition.role);
        let (Some(own), Some(succeeded)) = (role(stage), self.succeeded.get(stage)) else { return false };
        self.begun
            .iter()
            .filter(|(id, _)| role(id).is_some_and(|role| role >= Role::Builder && role < own))
            .any(|(_, begun)| begun > succeeded)
    }

    fn rules(&self) {
        let busy = self
            .state
            .stages
            .iter()
            .filter(|record| {
                matches!(record.state, StageState::Attempting { .. } | StageState::Nested { .. })
            })
            .count();
        assert!(busy <= usize::from(self.state.pipeline().max_parallel.get()), "{busy} at once");
        for record in self.state.stages.iter().filter(|record| !record.removed) {
            if record.outcome() == Some(&StageOutcome::Succeeded) {
                assert_eq!(self.evidence.get(record.id()), Some(&true), "`{}` is proven", record.id());
            }
        }
    }

    /// What waits for time to pass has asked for it.
    fn somebody_comes_back(&self, now: Timestamp) {
        for record in &self.state.stages {
            match record.state {
                StageState::Asking { expires_at, .. } => {
                    assert!(now < expires_at && self.wakes.contains(&expires_at));
                }
                StageState::Backoff { due_at, .. } => assert!(due_at <= now || self.wakes.contains(&due_at)),
                _ => {}
            }
        }
    }
}

/// The stages that must be over before `stage` begins, by the words of the file, and are not.
fn before(state: &RunState, stage: &StageId) -> Vec<StageId> {
    let stages = &state.pipeline().stages;
    let mut wanted = vec![stage.clone()];
    let mut open = Vec::new();
    let mut looked_at = HashSet::new();
    while let Some(next) = wanted.pop() {
        let Some(at) = stages.iter().position(|other| other.id == next) else { continue };
        if !looked_at.insert(next.clone()) {
            continue;
        }
        if next != *stage && state.stage(&next).is_some_and(|record| record.outcome().is_none()) {
            open.push(next);
        }
        match &stages[at].needs {
            Needs::Declared(needs) => wanted.extend(needs.iter().cloned()),
            Needs::PreviousStage => {
                let same_role = stages[..at].iter().rev().find(|other| other.role == stages[at].role);
                wanted.extend(same_role.map(|other| other.id.clone()));
            }
        }
        let earlier = stages.iter().filter(|other| other.role < stages[at].role);
        wanted.extend(earlier.map(|other| other.id.clone()));
    }
    open
}

fn end_of(state: &RunState, which: usize, how: u8) -> Option<Input> {
    let busy: Vec<_> = state
        .stages
        .iter()
        .filter(|record| matches!(record.state, StageState::Attempting { .. } | StageState::Nested { .. }))
        .collect();
    let record = busy.get(which.checked_rem(busy.len())?)?;
    let stage = record.id().clone();
    if let StageState::Nested { run } = &record.state {
        let detail = "why".to_owned();
        let outcome = match how {
            0 => RunOutcome::Failed { detail },
            1 => RunOutcome::Cancelled { detail },
            _ => RunOutcome::Succeeded,
        };
        return Some(Input::ChildRunFinished { stage, run: run.clone(), outcome });
    }
    let mut made = report(match how {
        0 => AttemptExit::Code(1),
        1 => AttemptExit::Signal(9),
        2 => AttemptExit::TimedOut { after_ms: 5 },
        3 => AttemptExit::Lost,
        _ if matches!(state.phase, Phase::Cancelling { .. }) => AttemptExit::Cancelled,
        _ => AttemptExit::Code(0),
    });
    if how == 4 {
        made.missing_outputs.push("o".into());
    }
    if how == 5 && record.definition.role == Role::Planner {
        let builders = state.pipeline().stages.iter().filter(|stage| stage.role == Role::Builder);
        let chosen = builders.enumerate().filter(|(index, _)| which >> index & 1 == 0);
        made.selection = Some(chosen.map(|(_, stage)| stage.id.to_string()).collect());
    }
    Some(Input::AttemptFinished { stage, attempt: record.attempts.last()?.number, report: made })
}

fn drive(pipeline: Pipeline, happenings: &[Happening]) {
    let Ok((mut world, _)) = World::start(pipeline, RunSettings::default()) else { return };
    let mut witness = Witness::new(&world);
    // The first decision's effects are all there is to act on.
    let first: Vec<Effect> = effects_of_start(&world);
    witness.look(&world, &first);
    for (serial, happening) in happenings.iter().enumerate() {
        // Most edits come after a crash: a living run refuses them.
        if matches!(happening, Happening::Resume(edit) if !matches!(edit, Edit::Nothing)) {
            let effects = world.feed(Input::OwnerGone { detail: "gone".into() }).unwrap();
            witness.look(&world, &effects);
        }
        let state = world.state.clone();
        let (log, stages) = (world.log.len(), state.pipeline().stages.len());
        let done = match happening {
            Happening::End { which, how } => match end_of(&state, *which, *how) {
                Some(input) => world.feed(input),
                None => continue,
            },
            Happening::Again { which } => {
                let input = stale(&state, *which);
                let decided = input.map(|input| world.feed(input).unwrap());
                assert!(decided.is_none_or(|effects| effects.is_empty()) && world.log.len() == log);
                continue;
            }
            Happening::Pass { ms } => world.wait(*ms),
            Happening::Answer { yes } => {
                let verdict = if *yes { Verdict::Approve } else { Verdict::Deny };
                world.command(crate::world::answer(None, verdict))
            }
            Happening::Steer => world.command(Command::Steer { stage: None, message: "hey".into() }),
            Happening::Cancel => world.command(Command::Cancel { reason: None }),
            Happening::Crash => world.feed(Input::OwnerGone { detail: "gone".into() }),
            Happening::Resume(edit) if !matches!((edit, stages), (Edit::Remove(_), 1)) => {
                world.resume(edited(state.pipeline(), edit, serial))
            }
            Happening::Resume(_) => world.resume(state.pipeline().clone()),
        };
        match done {
            Ok(effects) => witness.look(&world, &effects),
            Err(_) => assert!(world.state == state && world.log.len() == log),
        }
        // What follows from the facts has followed: looking again finds nothing.
        let more = world.feed(Input::Tick).unwrap();
        assert!(more.is_empty() && world.log.len() == witness.seen, "{happening:?}: {more:?}");
    }
    finish(&mut world, &mut witness);
    assert_eq!(RunState::replay(&world.log), Ok(world.state));
}

/// Lets everything end; the run must end with it.
fn finish(world: &mut World, witness: &mut Witness) {
    for _ in 0..500 {
        if world.is_over() {
            return;
        }
        let effects = match (&world.state.phase, end_of(&world.state, 0, 7)) {
            (Phase::Interrupted { .. }, _) => world.resume(world.state.pipeline().clone()),
            (_, Some(input)) => world.feed(input),
            _ => world.wait(10),
        };
        let effects = effects.unwrap();
        witness.look(world, &effects);
    }
    panic!("the run never ends: {}", world.stages());
}

/// A report of an attempt, or of a child, that was taken in before.
fn stale(state: &RunState, which: usize) -> Option<Input> {
    let record = state.stages.get(which % state.stages.len())?;
    let stage = record.id().clone();
    match (&record.state, record.attempts.last(), &record.child) {
        (StageState::Attempting { attempt }, _, _) => {
            let (attempt, report) = (attempt.checked_sub(1)?, report(AttemptExit::Code(0)));
            Some(Input::AttemptFinished { stage, attempt, report })
        }
        (StageState::Nested { .. }, _, _) => None,
        (_, Some(last), _) => {
            let report = report(AttemptExit::Code(0));
            Some(Input::AttemptFinished { stage, attempt: last.number, report })
        }
        (_, None, Some((run, _))) => {
            let (run, outcome) = (run.clone(), RunOutcome::Succeeded);
            Some(Input::ChildRunFinished { stage, run, outcome })
        }
        _ => None,
    }
}

/// The start's effects, told from what it recorded.
fn effects_of_start(world: &World) -> Vec<Effect> {
    let made = co_engine::start(Timestamp::from_millis(0), (*world.state.created).clone());
    made.unwrap().effects
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(1500) })]

    #[test]
    fn every_run_keeps_the_rules_and_ends(
        pipeline in a_pipeline(),
        happenings in prop::collection::vec(happening(), 0..40),
    ) {
        drive(pipeline, &happenings);
    }
}
