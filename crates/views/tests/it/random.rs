//! Runs nobody would think of: random pipelines, random observations, random people.

use std::time::Duration;

use co_engine::{Input, RunState, StageState};
use co_model::{
    Actor, AgentOutcome, AttemptExit, AttemptReport, Command, CommandKey, Envelope, Event, GrantScope,
    Pipeline, Role, RunOutcome, Stage, StageStatus, ThreadId, TokenUsage, Verdict, When,
};
use co_views::{manifest, stage_number, to_json};
use indexmap::IndexMap;
use proptest::prelude::*;

use crate::documents::{documents, lines};
use crate::schemas::check;
use crate::script::{Script, agent, argv, gate, heartbeat, layout, nested, pipeline, report, retry, shell};

/// What happens next to a run.
#[derive(Debug, Clone)]
enum Step {
    Wait(u64),
    Finish { pick: usize, exit: AttemptExit, missing: bool, agent: bool },
    Thread(usize),
    Child { pick: usize, outcome: RunOutcome },
    Answer { pick: usize, verdict: Verdict },
    Steer(String),
    Cancel(Option<String>),
    OwnerGone,
    Resume(Vec<Stage>),
    ResumeBlocked(String),
}

/// On the heap: a strategy holds each of its alternatives, and six of these would fill a test's stack.
fn a_stage(name: &'static str) -> BoxedStrategy<Stage> {
    let work = prop_oneof![
        4 => Just(shell(name, "run me")),
        1 => Just(argv(name, &["run", "me now"])),
        2 => Just(agent(name)),
        1 => Just(gate(name, "Go on?")),
        1 => Just(nested(name, "inner")),
    ];
    let role = prop_oneof![
        1 => Just(Role::Planner), 4 => Just(Role::Builder), 2 => Just(Role::Tester), 1 => Just(Role::Reviewer)
    ];
    let when = prop_oneof![4 => Just(When::Success), 1 => Just(When::Failure), 1 => Just(When::Always)];
    (work, role, when, any::<bool>(), any::<bool>(), 1..4_u32)
        .prop_map(|(stage, role, when, allow_failure, guardrail, attempts)| Stage {
            role,
            when,
            allow_failure,
            guardrail,
            ..retry(stage, attempts)
        })
        .boxed()
}

/// Some of six stages, in any order.
fn some_stages() -> impl Strategy<Value = Vec<Stage>> {
    (a_stage("a"), a_stage("b"), a_stage("Ünï code"), a_stage("d"), a_stage("e!"), a_stage("e-"))
        .prop_map(|(a, b, c, d, e, f)| vec![a, b, c, d, e, f])
        .prop_shuffle()
        .prop_flat_map(|stages| (Just(stages), 1..=6_usize))
        .prop_map(|(mut stages, count)| {
            stages.truncate(count);
            stages
        })
}

fn an_exit() -> impl Strategy<Value = AttemptExit> {
    prop_oneof![
        6 => Just(AttemptExit::Code(0)),
        3 => (1..256_i32).prop_map(AttemptExit::Code),
        1 => (1..32_i32).prop_map(AttemptExit::Signal),
        1 => any::<u64>().prop_map(|after_ms| AttemptExit::TimedOut { after_ms }),
        1 => Just(AttemptExit::Cancelled),
        1 => Just(AttemptExit::Lost),
        1 => ".{0,20}".prop_map(|reason| AttemptExit::NotStarted { reason }),
        1 => ".{0,20}".prop_map(|reason| AttemptExit::NotRecorded { reason }),
    ]
}

fn an_outcome() -> impl Strategy<Value = RunOutcome> {
    prop_oneof![
        Just(RunOutcome::Succeeded),
        ".{0,20}".prop_map(|detail| RunOutcome::Failed { detail }),
        ".{0,20}".prop_map(|detail| RunOutcome::Cancelled { detail }),
    ]
}

fn a_step() -> impl Strategy<Value = Step> {
    let verdict = prop_oneof![Just(Verdict::Approve), Just(Verdict::Deny)];
    prop_oneof![
        3 => (0..90_u64).prop_map(Step::Wait),
        12 => (any::<usize>(), an_exit(), any::<bool>(), any::<bool>())
            .prop_map(|(pick, exit, missing, agent)| Step::Finish { pick, exit, missing, agent }),
        2 => any::<usize>().prop_map(Step::Thread),
        3 => (any::<usize>(), an_outcome()).prop_map(|(pick, outcome)| Step::Child { pick, outcome }),
        3 => (any::<usize>(), verdict).prop_map(|(pick, verdict)| Step::Answer { pick, verdict }),
        2 => ".{0,20}".prop_map(Step::Steer),
        1 => proptest::option::of(".{0,20}").prop_map(Step::Cancel),
        1 => Just(Step::OwnerGone),
        3 => some_stages().prop_map(Step::Resume),
        1 => ".{0,20}".prop_map(Step::ResumeBlocked),
    ]
}

/// One of the stages that are in the state asked for.
fn pick(state: &RunState, pick: usize, fits: impl Fn(&StageState) -> bool) -> Option<usize> {
    let fitting: Vec<usize> = (0..state.stages.len()).filter(|&i| fits(&state.stages[i].state)).collect();
    (!fitting.is_empty()).then(|| fitting[pick % fitting.len()])
}

fn to_input(script: &Script, step: Step) -> Option<Input> {
    let state = &script.state;
    let command = |command| {
        let key = CommandKey("key".to_owned());
        Input::Command(Envelope { key, actor: Actor::new("ada"), sent_at: script.now, command })
    };
    let attempting = |state: &StageState| matches!(state, StageState::Attempting { .. });
    Some(match step {
        Step::Wait(_) => Input::Tick,
        Step::Finish { pick: number, exit, missing, agent } => {
            let record = &state.stages[pick(state, number, attempting)?];
            let mut observed = AttemptReport { ..report(exit, "done") };
            observed.missing_outputs.extend(missing.then(|| "app".to_owned()));
            observed.agent = agent.then(|| AgentOutcome {
                thread: record.thread.clone(),
                usage: Some(TokenUsage { input: u64::MAX, ..TokenUsage::default() }),
                commands_run: u32::MAX,
                ..AgentOutcome::default()
            });
            let attempt = record.attempts.last()?.number;
            Input::AttemptFinished { stage: record.id().clone(), attempt, report: Box::new(observed) }
        }
        Step::Thread(number) => {
            let record = &state.stages[pick(state, number, attempting)?];
            let thread = ThreadId(format!("thread-{number}"));
            let attempt = record.attempts.last()?.number;
            Input::AgentThreadKnown { stage: record.id().clone(), attempt, thread }
        }
        Step::Child { pick: number, outcome } => {
            let at = pick(state, number, |state| matches!(state, StageState::Nested { .. }))?;
            let (run, _) = state.stages[at].child.clone()?;
            Input::ChildRunFinished { stage: state.stages[at].id().clone(), run, outcome }
        }
        Step::Answer { pick: number, verdict } => {
            let at = pick(state, number, |state| matches!(state, StageState::Asking { .. }))?;
            let stage = Some(state.stages[at].id().clone());
            command(Command::Answer { stage, call: None, scope: GrantScope::Once, verdict, reason: None })
        }
        Step::Steer(message) => command(Command::Steer { stage: None, message }),
        Step::Cancel(reason) => command(Command::Cancel { reason }),
        Step::OwnerGone => Input::OwnerGone { detail: "gone".to_owned() },
        Step::Resume(stages) => Input::Resume {
            policy: Box::default(),
            actor: Actor::new("ada"),
            reason: "again".to_owned(),
            pipeline: Box::new(pipeline(stages)),
            nested: IndexMap::new(),
        },
        Step::ResumeBlocked(_) => return None,
    })
}

/// What holds of every run at every moment.
fn check_all(script: &Script) {
    let Script { state, now, .. } = script;
    for document in documents(state, *now) {
        check(&document);
    }
    let shown = manifest(state, &layout(), heartbeat(*now));
    let mut logs: Vec<&String> = shown
        .commands
        .iter()
        .flat_map(|command| &command.attempts)
        .filter_map(|a| a.log_path.as_ref())
        .collect();
    let all = logs.len();
    logs.sort();
    logs.dedup();
    assert_eq!(logs.len(), all, "two attempts share a log");
    for (record, command) in state.stages.iter().zip(&shown.commands) {
        assert_eq!(stage_number(state, record.id()), Some(command.index));
        let open =
            matches!(record.status(), StageStatus::Pending | StageStatus::Running | StageStatus::Waiting);
        assert!(!(open && state.status().is_over()), "the run is over, `{}` is not", command.id);
        if matches!(record.status(), StageStatus::Pending | StageStatus::Skipped) {
            let result = (command.exit_code, command.duration_ms, command.started_at.as_ref());
            assert_eq!(result, (None, None, None), "`{}` shows a result it does not have", command.id);
        }
        assert_eq!(command.error_file.is_some(), record.status() == StageStatus::Failed);
        assert_eq!(command.skip_reason.is_some(), record.status() == StageStatus::Skipped);
    }
}

fn play(definition: Pipeline, steps: Vec<Step>) {
    let mut script = Script::start(definition);
    check_all(&script);
    for step in steps {
        let pause = if let Step::Wait(seconds) = step { seconds } else { 1 };
        script.later(Duration::from_secs(pause));
        if let Step::ResumeBlocked(detail) = &step {
            let (actor, detail) = (Actor::new("mallory"), detail.clone());
            script.record(Event::ResumeBlocked { actor, reason: "why not".to_owned(), detail });
        } else if let Some(input) = to_input(&script, step) {
            // A refusal is an answer too; it changes nothing.
            drop(script.try_input(input));
        }
        check_all(&script);
    }
    lines(&script.events, &script.state).iter().for_each(check);
    let replayed = RunState::replay(&script.events).expect("the events are a run's");
    let view = |state: &RunState| to_json(&manifest(state, &layout(), heartbeat(script.now)));
    assert_eq!(view(&script.state), view(&replayed), "a rebuilt manifest differs");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn every_view_of_every_run_fits_its_schema(
        stages in some_stages(),
        steps in proptest::collection::vec(a_step(), 0..20),
    ) {
        play(pipeline(stages), steps);
    }
}
