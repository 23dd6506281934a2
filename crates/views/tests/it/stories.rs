//! Runs that show everything a view can say, one subject each.

use std::time::Duration;

use co_engine::Input;
use co_model::{
    Actor, AgentFailure, AgentOutcome, AttemptExit, AttemptReport, ChangeKind, Command, CommandKey, Event,
    ExecutionMode, FileChange, Needs, Pipeline, ProducedFile, Role, RunOutcome, RunSettings, Stage, ThreadId,
    TokenUsage, Verdict, When,
};
use indexmap::IndexMap;

use crate::script::{
    Script, agent, argv, failed, gate, nested, passed, pipeline, report, retry, shell, stage_id,
};

/// All runs, each with the name of its snapshots.
pub(crate) fn all() -> Vec<(&'static str, Script)> {
    vec![
        ("success", success()),
        ("failure", failure()),
        ("retries", retries()),
        ("target", target()),
        ("nested", nested_run()),
        ("cancelled", cancelled()),
        ("interrupted", interrupted()),
        ("resumed", resumed()),
        ("healed", healed()),
        ("agent", agent_run()),
        ("gate", gates()),
        ("waiting", waiting()),
        ("narrowed", narrowed()),
        ("unguarded", unguarded()),
    ]
}

fn produced() -> AttemptReport {
    let file =
        ProducedFile { path: "/repo/dist/app".to_owned(), bytes: 42, sha256: "0123456789abcdef".to_owned() };
    AttemptReport { produced: IndexMap::from([("app".to_owned(), file)]), survivors_killed: 2, ..passed() }
}

/// Everything passes; a guardrail is required and succeeds.
fn success() -> Script {
    let mut definition = pipeline(vec![
        argv("build", &["cargo", "build", "--message-format", "it's short"]),
        Stage { guardrail: true, ..shell("spec-guard", "node scripts/spec-guard.mjs --dry-run") },
        Stage { role: Role::Tester, ..shell("test", "cargo test") },
    ]);
    definition.guardrails_required = true;
    let settings = RunSettings {
        approval_policy: Some("on-request".to_owned()),
        description: Some("make it work".to_owned()),
        worktree_branch: Some("co/0101".to_owned()),
        instructions: vec![("/repo/AGENTS.md".to_owned(), "aa11".to_owned())],
        instructions_sha256: Some("bb22".to_owned()),
        ..RunSettings::default()
    };
    let mut script = Script::start_with(definition, settings);
    script.process("build", "41@1001").finish("build", produced());
    script.process("spec-guard", "42@1002").finish("spec-guard", passed());
    script.process("test", "43@1003").finish("test", passed());
    script
}

/// A stage that may fail, one that must not, and what follows after each.
fn failure() -> Script {
    let mut script = Script::start(pipeline(vec![
        Stage { allow_failure: true, ..shell("lint", "npm run lint") },
        shell("build", "npm run build"),
        shell("publish", "npm publish"),
        Stage { when: When::Failure, ..shell("report", "./report-failure") },
        Stage { when: When::Always, ..shell("clean", "rm -rf tmp") },
    ]));
    script.process("lint", "41@1").finish("lint", failed(2));
    script.process("build", "42@2");
    script.finish("build", report(AttemptExit::Signal(9), "Ended by signal 9"));
    script.finish("report", AttemptReport { missing_outputs: vec!["report".to_owned()], ..passed() });
    script.finish(
        "clean",
        report(AttemptExit::NotStarted { reason: "`/repo/gone` is missing".to_owned() }, ""),
    );
    script
}

/// A time-out and an exit code are tried again; the third attempt passes.
fn retries() -> Script {
    let mut script =
        Script::start(pipeline(vec![retry(shell("flaky", "./flaky"), 3), shell("next", "true")]));
    script.finish("flaky", report(AttemptExit::TimedOut { after_ms: 1_500 }, "Ended after 1.5s"));
    script.later(Duration::from_secs(1)).input(Input::Tick);
    script.finish("flaky", failed(75));
    script.later(Duration::from_secs(2)).input(Input::Tick);
    script.finish("flaky", passed());
    script.finish("next", report(AttemptExit::NotRecorded { reason: "the disk is full".to_owned() }, ""));
    script
}

/// Only the target and what it declares to need is run, in the cloud.
fn target() -> Script {
    let mut script = Script::start_with(
        pipeline(vec![
            shell("build", "make"),
            shell("docs", "make docs"),
            Stage {
                role: Role::Tester,
                needs: Needs::Declared(vec![stage_id("build")]),
                aliases: vec!["t".to_owned()],
                execution: ExecutionMode::Cloud,
                ..shell("test", "make test")
            },
        ]),
        RunSettings { target: Some("T".to_owned()), ..RunSettings::default() },
    );
    script.finish("build", passed()).finish("test", passed());
    script
}

/// One nested pipeline succeeds, the next one fails.
fn nested_run() -> Script {
    let mut script = Script::start(pipeline(vec![
        nested("first", "inner"),
        nested("second", "outer"),
        shell("never", "true"),
    ]));
    let child = script.state.run().child(&stage_id("first")).expect("a valid id");
    script.later(Duration::from_secs(3)).input(Input::ChildRunFinished {
        stage: stage_id("first"),
        run: child,
        outcome: RunOutcome::Succeeded,
    });
    let child = script.state.run().child(&stage_id("second")).expect("a valid id");
    let outcome = RunOutcome::Failed { detail: "stage:test:failed".to_owned() };
    script.input(Input::ChildRunFinished { stage: stage_id("second"), run: child, outcome });
    script
}

/// Somebody stops the run in the middle; a command that came too late is refused.
fn cancelled() -> Script {
    let mut script = Script::start(pipeline(vec![
        shell("build", "make"),
        shell("slow", "sleep 60"),
        shell("last", "true"),
    ]));
    script.finish("build", passed()).process("slow", "44@4");
    script.command("grace", Command::Cancel { reason: Some("wrong branch".to_owned()) });
    script
        .finish("slow", AttemptReport { survivors_killed: 1, ..report(AttemptExit::Cancelled, "Cancelled") });
    script.record(Event::CommandRefused {
        key: CommandKey("late".to_owned()),
        actor: Actor::new("ada"),
        detail: "the run is over (cancelled)".to_owned(),
    });
    script
}

/// The owner is gone while a stage is at work.
fn interrupted() -> Script {
    let mut script = Script::start(pipeline(vec![
        shell("build", "make"),
        shell("test", "make test"),
        nested("deep", "inner"),
    ]));
    script.finish("build", passed()).process("test", "45@5");
    let detail = "the owner 4711 on host `anvil` is gone".to_owned();
    script.later(Duration::from_secs(31)).input(Input::OwnerGone { detail });
    script
}

/// The pipeline was edited between a failure and the resume: `x` is new, `b` differs, `d` is gone.
fn resumed() -> Script {
    let before = vec![shell("a", "one"), shell("b", "two"), shell("c", "three"), shell("d", "four")];
    let mut script = Script::start(pipeline(before));
    script.finish("a", passed()).finish("b", failed(1));
    script.later(Duration::from_secs(5)).record(Event::ResumeBlocked {
        actor: Actor::new("mallory"),
        reason: "let me".to_owned(),
        detail: "the resume token does not match".to_owned(),
    });
    script.resume(pipeline(vec![
        shell("a", "one"),
        shell("x", "new"),
        shell("b", "two --fixed"),
        shell("c", "three"),
    ]));
    script.finish("x", passed()).finish("b", passed());
    script
}

/// A failure, then a resume of the same pipeline that succeeds.
fn healed() -> Script {
    let stages = || vec![shell("a", "one"), shell("b", "two"), shell("c", "three")];
    let mut script = Script::start(pipeline(stages()));
    script.finish("a", passed()).finish("b", failed(1));
    script.resume(pipeline(stages())).finish("b", passed()).finish("c", passed());
    script
}

fn turn(tokens: u64, message: &str) -> AgentOutcome {
    let change = |path: &str, kind| FileChange { path: path.to_owned(), kind };
    AgentOutcome {
        thread: Some(ThreadId("thread-1".to_owned())),
        usage: Some(TokenUsage { input: tokens, cached_input: tokens / 2, output: 7, reasoning_output: 3 }),
        commands_run: 2,
        reported_changes: vec![change("src/lib.rs", ChangeKind::Add)],
        observed_changes: vec![change("src/lib.rs", ChangeKind::Add)],
        last_message: Some(message.to_owned()),
        warnings: vec!["the model is slow today".to_owned()],
        failure: None,
    }
}

/// An agent is rate-limited, tried again on the same conversation, and steered by a person; a
/// second agent is not logged in.
fn agent_run() -> Script {
    let mut script = Script::start(pipeline(vec![retry(agent("fix"), 2), agent("polish")]));
    script.process("fix", "50@1").thread("fix", "thread-1");
    let limited = AgentFailure {
        class: "rate-limited".to_owned(),
        message: "try again in 20 s".to_owned(),
        hint: Some("wait, or use another account".to_owned()),
    };
    let outcome = AgentOutcome { failure: Some(limited), ..turn(100, "I began.") };
    script.finish(
        "fix",
        AttemptReport { agent: Some(outcome), ..report(AttemptExit::Code(1), "rate-limited") },
    );
    script.later(Duration::from_secs(1)).input(Input::Tick).process("fix", "51@2");
    let message = "also update the changelog".to_owned();
    script.command("grace", Command::Steer { stage: None, message });
    script.finish("fix", AttemptReport { agent: Some(turn(200, "Fixed.")), ..passed() });
    script.process("fix", "52@3");
    let mut last = turn(350, "The changelog is updated.");
    last.reported_changes = vec![
        FileChange { path: "src/lib.rs".to_owned(), kind: ChangeKind::Update },
        FileChange { path: "CHANGELOG.md".to_owned(), kind: ChangeKind::Update },
    ];
    script.finish("fix", AttemptReport { agent: Some(last), ..passed() });
    let refused = AgentFailure {
        class: "not-authenticated".to_owned(),
        message: "401 Unauthorized".to_owned(),
        hint: Some("run `codex login`".to_owned()),
    };
    let outcome = AgentOutcome { failure: Some(refused), ..AgentOutcome::default() };
    script.finish("polish", AttemptReport { agent: Some(outcome), ..report(AttemptExit::Code(1), "401") });
    script
}

/// One question is approved, one is denied where that is allowed, one expires.
fn gates() -> Script {
    let mut script = Script::start(pipeline(vec![
        gate("approve", "Deploy to staging?"),
        Stage { allow_failure: true, ..gate("deny", "Send the newsletter?") },
        gate("expire", "Deploy to production?"),
    ]));
    script.answer("approve", Verdict::Approve, Some("looks good"));
    script.answer("deny", Verdict::Deny, None);
    script.later(Duration::from_secs(61)).input(Input::Tick);
    script
}

/// A question is open and the run waits.
fn waiting() -> Script {
    let mut script = Script::start(pipeline(vec![
        shell("build", "make"),
        gate("ship", "Ship it?"),
        shell("push", "true"),
    ]));
    script.finish("build", passed());
    script
}

/// A planner stage leaves a builder out; a reviewer's stage objects.
fn narrowed() -> Script {
    let mut script = Script::start(pipeline(vec![
        Stage { role: Role::Planner, ..shell("choose", "./choose") },
        shell("web", "make web"),
        shell("mobile", "make mobile"),
        Stage { role: Role::Reviewer, ..shell("review", "./review") },
    ]));
    script.finish("choose", AttemptReport { selection: Some(vec!["web".to_owned()]), ..passed() });
    script.finish("web", passed());
    let objection = Some("the diff touches generated files".to_owned());
    script.finish("review", AttemptReport { objection, ..passed() });
    script
}

/// A guardrail is required, but the pipeline has none.
fn unguarded() -> Script {
    let definition = Pipeline { guardrails_required: true, ..pipeline(vec![shell("build", "make")]) };
    let mut script = Script::start(definition);
    script.finish("build", passed());
    script
}
