//! One event of every kind with everything set, and one for every shape inside.

#![expect(clippy::unwrap_used, reason = "the ids are written right here")]

use std::collections::BTreeMap;
use std::num::{NonZeroU16, NonZeroU32};
use std::time::Duration;

use co_model::{
    Actor, AgentFailure, AgentOutcome, AgentStage, ApprovalPolicy, AttemptExit, AttemptReport, CallDecision,
    CallId, CallOrigin, CallOutcome, CallRequest, CallStatus, ChangeKind, Command, CommandKey, CommandLine,
    Confinement, DecisionSource, Drift, Envelope, EnvironmentPolicy, Event, ExecutionMode, FailureReason,
    FileChange, GateStage, GrantId, GrantScope, GranularApproval, HostRule, InheritedEnvironment, Judgement,
    McpPolicy, McpStage, Needs, NestedStage, NetworkAccess, OutputReference, OutputStats, PatchedFile,
    Pipeline, PipelineId, PipelineSource, PlannedStage, PolicySource, PrefixRule, ProducedFile, Prompt,
    RetryOn, RetryPolicy, Role, RuleDecision, RunCreated, RunId, RunOutcome, RunPlan, RunSettings,
    SandboxMode, SandboxPolicy, SkipReason, SkippedStage, Stage, StageDrift, StageId, StageOutcome,
    StageSession, StageWork, StreamStats, TaskId, ThreadId, Timestamp, TokenUsage, ToolPolicy, ToolUse,
    Verdict, When,
};
use indexmap::IndexMap;

const DIGEST: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

fn task() -> TaskId {
    TaskId::new("0101-tâche").unwrap()
}

fn run(number: u32) -> RunId {
    RunId::generate(at(0), number)
}

fn stage(id: &str) -> StageId {
    StageId::new(id).unwrap()
}

fn pipeline_id(id: &str) -> PipelineId {
    PipelineId::new(id).unwrap()
}

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(1_763_712_009_528 + millis)
}

fn actor() -> Actor {
    Actor::new("anna@terminal")
}

#[expect(clippy::unnecessary_wraps, reason = "the fields it fills are optional")]
fn text(text: &str) -> Option<String> {
    Some(text.to_owned())
}

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|&text| text.to_owned()).collect()
}

/// Names in an order that is not the alphabet's: the order of a file is kept.
fn named<T>(entries: [(&str, T); 2]) -> IndexMap<String, T> {
    entries.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn work(id: &str, work: StageWork) -> Stage {
    Stage {
        title: format!("The stage {id}"),
        cwd: text("packages/app"),
        env: named([("ZEBRA", "1".to_owned()), ("ALPHA", "two words".to_owned())]),
        timeout: Some(Duration::from_millis(90_500)),
        retry: RetryPolicy {
            max_attempts: NonZeroU32::new(3).unwrap(),
            backoff: Duration::from_millis(250),
            on: RetryOn { exit_codes: Some(vec![75, 1]), timed_out: true },
        },
        allow_failure: true,
        needs: Needs::Declared(vec![stage("plan"), stage("build")]),
        when: When::Always,
        inputs: named([
            ("report", OutputReference { stage: stage("build"), output: "report".to_owned() }),
            ("coverage", OutputReference { stage: stage("build"), output: "coverage".to_owned() }),
        ]),
        outputs: named([("report", "out/report.json".to_owned()), ("binary", "out/app".to_owned())]),
        summary_hint: text("Builds the application"),
        execution: ExecutionMode::Cloud,
        capabilities: texts(&["gpu", "docker"]),
        guardrail: true,
        aliases: texts(&["b", "make"]),
        default_target: true,
        ..Stage::new(stage(id), work)
    }
}

/// A stage with nothing set that may be left out.
fn bare(id: &str, work: StageWork) -> Stage {
    Stage { title: id.to_owned(), role: Role::Tester, runnable: false, ..Stage::new(stage(id), work) }
}

fn pipeline(id: &str) -> Pipeline {
    let agent = AgentStage {
        agent: "codex".to_owned(),
        prompt: Prompt::Text("Fix {{ task.id }}\nand \"test\" it".to_owned()),
        model: text("a-model"),
        sandbox: text("workspace-write"),
        profile: text("careful"),
        arguments: texts(&["--flag", "value"]),
        thread: None,
    };
    let bare_agent = AgentStage {
        agent: "codex".to_owned(),
        prompt: Prompt::File("prompts/review.md".to_owned()),
        model: None,
        sandbox: None,
        profile: None,
        arguments: Vec::new(),
        thread: None,
    };
    let gate = GateStage { message: "Ship it?".to_owned(), expires_after: Duration::from_hours(1) };
    let nested = NestedStage { pipeline: pipeline_id("checks") };
    let argv = CommandLine::Argv(texts(&["cargo", "build", "--locked"]));
    Pipeline {
        id: pipeline_id(id),
        title: "Build and review".to_owned(),
        description: text("Everything a change goes through"),
        tags: texts(&["ci", "agents"]),
        guardrails_required: true,
        max_parallel: NonZeroU16::new(4).unwrap(),
        mcp_servers: Vec::new(),
        stages: vec![
            work("build", StageWork::Command(argv)),
            bare("test", StageWork::Command(CommandLine::Shell("make test | tee log".to_owned()))),
            Stage {
                role: Role::Planner,
                execution: ExecutionMode::Mcp,
                when: When::Failure,
                ..work("repair", StageWork::Agent(agent))
            },
            Stage { role: Role::Reviewer, ..bare("review", StageWork::Agent(bare_agent)) },
            bare("ship", StageWork::Gate(gate)),
            bare("checks", StageWork::Pipeline(nested)),
        ],
        source: PipelineSource::Repository,
    }
}

fn bare_pipeline(id: &str) -> Pipeline {
    Pipeline {
        id: pipeline_id(id),
        title: id.to_owned(),
        description: None,
        tags: Vec::new(),
        guardrails_required: false,
        max_parallel: NonZeroU16::MIN,
        mcp_servers: Vec::new(),
        stages: vec![bare("true", StageWork::Command(CommandLine::Argv(texts(&["true"]))))],
        source: PipelineSource::BuiltIn,
    }
}

fn nested() -> IndexMap<PipelineId, Pipeline> {
    IndexMap::from([
        (pipeline_id("checks"), bare_pipeline("checks")),
        (pipeline_id("again"), bare_pipeline("again")),
    ])
}

fn created() -> RunCreated {
    let settings = RunSettings {
        actor: Some(actor()),
        parent: Some(run(1)),
        retry_of: Some(run(2)),
        target: text("default:build"),
        approval_policy: text("on-request"),
        policy: ToolPolicy::default(),
        session: None,
        description: text("Make it build again"),
        parallel: true,
        mode: Some(ExecutionMode::Cloud),
        workspace: "/home/anna/project".to_owned(),
        worktree_branch: text("codex-orchestrator/0101"),
        resume_token_sha256: text(DIGEST),
        instructions: vec![("AGENTS.md".to_owned(), DIGEST.to_owned())],
        instructions_sha256: text(DIGEST),
        heartbeat_interval_ms: 5_000,
        stale_after_ms: 30_000,
    };
    RunCreated { task: task(), run: run(3), pipeline: pipeline("default"), nested: nested(), settings }
}

fn report(exit: AttemptExit) -> Box<AttemptReport> {
    let file = |name: &str| ProducedFile {
        path: format!("/home/anna/project/out/{name}"),
        bytes: 5_000_000_000,
        sha256: DIGEST.to_owned(),
    };
    let change = |path: &str, kind| FileChange { path: path.to_owned(), kind };
    let agent = AgentOutcome {
        thread: Some(ThreadId("thread-1".to_owned())),
        usage: Some(TokenUsage {
            input: 9_007_199_254_740_993,
            cached_input: 2,
            output: 3,
            reasoning_output: 4,
        }),
        commands_run: 7,
        reported_changes: vec![change("src/lib.rs", ChangeKind::Update), change("a b", ChangeKind::Add)],
        observed_changes: vec![change("old.rs", ChangeKind::Delete)],
        last_message: text("Done."),
        warnings: texts(&["slow"]),
        failure: Some(AgentFailure {
            class: "rate-limited".to_owned(),
            message: "429".to_owned(),
            hint: text("wait a minute"),
        }),
    };
    Box::new(AttemptReport {
        duration: Duration::from_millis(12_345),
        summary: "built 3 of 4".to_owned(),
        output: OutputStats { stdout: StreamStats { bytes: 1_024 }, stderr: StreamStats { bytes: 17 } },
        survivors_killed: 2,
        produced: named([("report", file("report.json")), ("binary", file("app"))]),
        missing_outputs: texts(&["coverage"]),
        agent: Some(agent),
        selection: Some(texts(&["build", "test"])),
        objection: text("the tests do not cover it"),
        ..AttemptReport::new(exit)
    })
}

fn bare_report(exit: AttemptExit) -> Box<AttemptReport> {
    Box::new(AttemptReport::new(exit))
}

fn attempts() -> Vec<(String, Event)> {
    let exits = [
        ("code", AttemptExit::Code(3)),
        ("signal", AttemptExit::Signal(9)),
        ("timed_out", AttemptExit::TimedOut { after_ms: 90_500 }),
        ("cancelled", AttemptExit::Cancelled),
        ("lost", AttemptExit::Lost),
        ("not_started", AttemptExit::NotStarted { reason: "`mke` was not found".to_owned() }),
        ("not_recorded", AttemptExit::NotRecorded { reason: "no space is left".to_owned() }),
    ];
    let finished = |report| Event::AttemptFinished { stage: stage("build"), attempt: 2, report };
    let mut all = vec![("attempt_finished".to_owned(), finished(report(AttemptExit::Code(0))))];
    for (case, exit) in exits {
        all.push((format!("attempt_finished.{case}"), finished(bare_report(exit))));
    }
    let agent = AttemptReport { agent: Some(AgentOutcome::default()), ..*bare_report(AttemptExit::Code(0)) };
    all.push(("attempt_finished.bare_agent".to_owned(), finished(Box::new(agent))));
    all
}

fn stages() -> Vec<(String, Event)> {
    let reasons = [
        ("exit_code", FailureReason::ExitCode(2)),
        ("signal", FailureReason::Signal(15)),
        ("timed_out", FailureReason::TimedOut),
        ("lost", FailureReason::Lost),
        ("not_started", FailureReason::NotStarted("`mke` was not found".to_owned())),
        ("not_recorded", FailureReason::NotRecorded("no space is left".to_owned())),
        ("missing_outputs", FailureReason::MissingOutputs(texts(&["coverage"]))),
        ("agent", FailureReason::Agent("rate-limited".to_owned())),
        ("denied", FailureReason::Denied),
        ("unanswered", FailureReason::Unanswered),
        ("child_run", FailureReason::ChildRun(run(4))),
        ("invalid_selection", FailureReason::InvalidSelection("`x` is no stage".to_owned())),
    ];
    let skips = [
        ("not_targeted", SkipReason::NotTargeted),
        ("not_planned", SkipReason::NotPlanned),
        ("stage_failed", SkipReason::StageFailed(stage("build"))),
        ("nothing_failed", SkipReason::NothingFailed),
        ("run_cancelled", SkipReason::RunCancelled),
        ("removed", SkipReason::Removed),
    ];
    let finished = |outcome| Event::StageFinished { stage: stage("test"), outcome };
    let mut all = vec![
        ("stage_finished".to_owned(), finished(StageOutcome::Succeeded)),
        ("stage_finished.cancelled".to_owned(), finished(StageOutcome::Cancelled)),
    ];
    for (case, reason) in reasons {
        let outcome = StageOutcome::Failed { reason, allowed: case == "exit_code" };
        all.push((format!("stage_finished.failed_{case}"), finished(outcome)));
    }
    for (case, reason) in skips {
        all.push((format!("stage_finished.skipped_{case}"), finished(StageOutcome::Skipped { reason })));
    }
    all
}

fn resumes() -> Vec<(String, Event)> {
    let drift = Drift {
        stages: vec![
            StageDrift::Added { stage: stage("lint") },
            StageDrift::Removed { stage: stage("test") },
            StageDrift::Changed { stage: stage("build") },
        ],
    };
    let resumed = |drift, pipeline| Event::ResumeAccepted {
        actor: actor(),
        reason: "the disk has room again".to_owned(),
        drift,
        nested: Option::as_ref(&pipeline).map(|_| nested()),
        pipeline,
        policy: None,
    };
    vec![
        ("resume_accepted".to_owned(), resumed(drift, Some(Box::new(pipeline("default"))))),
        ("resume_accepted.bare".to_owned(), resumed(Drift::default(), None)),
    ]
}

fn policy() -> ToolPolicy {
    let kinds = GranularApproval {
        sandbox_approval: true,
        rules: true,
        mcp_elicitations: false,
        request_permissions: true,
        skill_approval: false,
    };
    ToolPolicy {
        approval: ApprovalPolicy::Granular(kinds),
        sandbox: Some(sandbox()),
        accept_weaker_sandbox: true,
        rules: vec![PrefixRule {
            pattern: vec![texts(&["git"]), texts(&["push", "fetch"])],
            decision: RuleDecision::Prompt,
            justification: text("it leaves this machine"),
        }],
        host_executables: IndexMap::from([("git".to_owned(), texts(&["/usr/bin/git"]))]),
        hosts: vec![HostRule {
            host: "registry.example.com".to_owned(),
            port: None,
            decision: RuleDecision::Forbidden,
        }],
        environment: EnvironmentPolicy {
            inherit: InheritedEnvironment::Core,
            ignore_default_excludes: false,
            exclude: texts(&["AWS_*"]),
            set: IndexMap::from([("CI".to_owned(), "1".to_owned())]),
            include_only: texts(&["PATH", "CI"]),
        },
        mcp: McpPolicy::default(),
        question_expires_after: Duration::from_secs(90),
        sources: vec![PolicySource {
            name: "/home/anna/.codex/config.toml".to_owned(),
            sha256: text(DIGEST),
            keys: texts(&["sandbox_mode"]),
        }],
    }
}

fn sandbox() -> SandboxPolicy {
    SandboxPolicy {
        mode: SandboxMode::WorkspaceWrite,
        writable_roots: texts(&["/var/cache"]),
        network: NetworkAccess::Allowed(vec![HostRule {
            host: "*.example.com".to_owned(),
            port: Some(443),
            decision: RuleDecision::Allow,
        }]),
        exclude_tmpdir: true,
        exclude_slash_tmp: true,
    }
}

#[expect(clippy::too_many_lines, reason = "one line for each event")]
fn calls() -> Vec<(String, Event)> {
    let call = |number: u32| CallId(format!("build#{number}"));
    let request = |tool, origin| {
        Event::CallRequested(Box::new(CallRequest {
            call: call(1),
            stage: stage("build"),
            attempt: 2,
            origin,
            tool,
            cwd: "/home/anna/project".to_owned(),
            tty: true,
            sandbox: sandbox(),
            escalated: true,
            reason: text("the sandbox stopped attempt 1"),
            env: BTreeMap::new(),
            sealed: false,
        }))
    };
    let with_variables = |event: Event| match event {
        Event::CallRequested(request) => {
            let env = BTreeMap::from([("PATH".to_owned(), "/opt/bin:/bin".to_owned())]);
            Event::CallRequested(Box::new(CallRequest { env, ..*request }))
        }
        other => other,
    };
    let change = FileChange { path: "src/lib.rs".to_owned(), kind: ChangeKind::Update };
    let agent = || CallOrigin::Agent("item_3".to_owned());
    let decided = |decision| Event::CallDecided { stage: stage("build"), call: call(1), decision };
    let decision = CallDecision {
        approved: true,
        source: DecisionSource::Prompt,
        grant: Some(GrantId("run/build#1/1".to_owned())),
        actor: Some(actor()),
        reason: text("it is needed"),
    };
    let plain = CallDecision {
        approved: false,
        source: DecisionSource::Policy,
        grant: None,
        actor: None,
        reason: None,
    };
    let outcome = CallOutcome {
        status: CallStatus::SandboxDenied,
        exit_code: Some(1),
        duration: Some(Duration::from_millis(1_250)),
        detail: text("Permission denied"),
    };
    let lost = CallOutcome { status: CallStatus::Lost, exit_code: None, duration: None, detail: None };
    let finished = |outcome| Event::CallFinished { stage: stage("build"), call: call(1), outcome };
    let started =
        |layers, weaker| Event::CallStarted { stage: stage("build"), call: call(1), layers, weaker };
    [
        ("call_requested", request(ToolUse::Command { argv: texts(&["cargo", "test"]) }, CallOrigin::Stage)),
        (
            "call_requested.variables",
            with_variables(request(ToolUse::Command { argv: texts(&["deploy"]) }, CallOrigin::Stage)),
        ),
        (
            "call_requested.patch",
            request(
                ToolUse::Patch { files: vec![PatchedFile { change, sha256: DIGEST.to_owned() }] },
                agent(),
            ),
        ),
        (
            "call_requested.mcp",
            request(
                ToolUse::Mcp {
                    server: "docs".to_owned(),
                    name: "search".to_owned(),
                    arguments: "{}".to_owned(),
                    definition: None,
                },
                CallOrigin::Session("dev".to_owned()),
            ),
        ),
        (
            "call_requested.other",
            request(ToolUse::Other { name: "network".to_owned(), input: "host".to_owned() }, agent()),
        ),
        ("call_decided", decided(decision)),
        ("call_decided.bare", decided(plain)),
        ("call_started", started(texts(&["bubblewrap", "seccomp"]), text("landlock"))),
        ("call_started.bare", started(Vec::new(), None)),
        ("call_finished", finished(outcome)),
        ("call_finished.bare", finished(lost)),
        (
            "question_asked.call",
            Event::QuestionAsked {
                stage: stage("build"),
                message: "Run: cargo test".to_owned(),
                expires_at: at(3_600_000),
                call: Some(call(1)),
            },
        ),
        (
            "question_answered.call",
            Event::QuestionAnswered {
                stage: stage("build"),
                verdict: Verdict::Approve,
                actor: actor(),
                reason: None,
                call: Some(call(1)),
                scope: Some(GrantScope::Session),
            },
        ),
        ("question_expired.call", Event::QuestionExpired { stage: stage("build"), call: Some(call(1)) }),
        ("run_created.policy", {
            let settings = RunSettings { policy: policy(), session: text("mcp-1"), ..RunSettings::default() };
            let mut confined = bare("build", StageWork::Command(CommandLine::Shell("true".to_owned())));
            confined.approval_required = true;
            confined.confinement = Some(Confinement {
                mode: SandboxMode::ReadOnly,
                network: Some(NetworkAccess::On),
                writable_roots: texts(&["target"]),
            });
            confined.tty = true;
            confined.session = Some(StageSession { id: "dev".to_owned(), reuse: true, persist: false });
            let pipeline = Pipeline { stages: vec![confined], ..bare_pipeline("default") };
            Event::RunCreated(Box::new(RunCreated {
                pipeline,
                nested: IndexMap::new(),
                settings,
                ..created()
            }))
        }),
        ("run_created.mcp", {
            let call = McpStage {
                server: "files".to_owned(),
                tool: "write".to_owned(),
                arguments: r#"{"path":"a b","text":"<sealed 1>"}"#.to_owned(),
            };
            let sealed = Stage { sealed: true, ..bare("write", StageWork::Mcp(call)) };
            let mcp_servers = texts(&["files", "search"]);
            let pipeline = Pipeline { stages: vec![sealed], mcp_servers, ..bare_pipeline("default") };
            Event::RunCreated(Box::new(RunCreated { pipeline, nested: IndexMap::new(), ..created() }))
        }),
        (
            "resume_accepted.policy",
            Event::ResumeAccepted {
                actor: actor(),
                reason: "stricter now".to_owned(),
                drift: Drift::default(),
                pipeline: None,
                nested: None,
                policy: Some(Box::new(policy())),
            },
        ),
        (
            "attempt_finished.sandbox_denied",
            Event::AttemptFinished {
                stage: stage("build"),
                attempt: 1,
                report: Box::new(AttemptReport {
                    sandbox_denied: true,
                    transient: text("ExecutableFileBusy"),
                    redactions: [("github-token".to_owned(), 2)].into(),
                    ..AttemptReport::new(AttemptExit::Code(1))
                }),
            },
        ),
        (
            "stage_finished.failed_refused",
            Event::StageFinished {
                stage: stage("build"),
                outcome: StageOutcome::Failed {
                    reason: FailureReason::Refused("policy".to_owned()),
                    allowed: false,
                },
            },
        ),
    ]
    .into_iter()
    .map(|(name, event)| (name.to_owned(), event))
    .collect()
}

/// Every event by the name of its fixture.
#[expect(clippy::too_many_lines, reason = "one line for each event")]
pub(crate) fn events() -> Vec<(String, Event)> {
    let failed = || RunOutcome::Failed { detail: "stage:test:failed".to_owned() };
    let plan = RunPlan {
        target: text("default:build"),
        mode: ExecutionMode::Mcp,
        stages: vec![PlannedStage { stage: stage("build"), role: Role::Builder, mode: ExecutionMode::Cloud }],
        skipped: vec![SkippedStage { stage: stage("test"), reason: SkipReason::NotTargeted }],
    };
    let bare_created = RunCreated {
        pipeline: bare_pipeline("default"),
        nested: IndexMap::new(),
        settings: RunSettings::default(),
        ..created()
    };
    let (build, attempt) = (|| stage("build"), 2);
    let answered = |verdict, reason| Event::QuestionAnswered {
        stage: stage("ship"),
        verdict,
        actor: actor(),
        reason,
        call: None,
        scope: None,
    };
    let mut all: Vec<(String, Event)> = [
        ("run_created", Event::RunCreated(Box::new(created()))),
        ("run_created.bare", Event::RunCreated(Box::new(bare_created))),
        ("run_planned", Event::RunPlanned(plan)),
        ("run_started", Event::RunStarted),
        ("attempt_starting", Event::AttemptStarting { stage: build(), attempt }),
        ("attempt_started", Event::AttemptStarted { stage: build(), attempt, process: "4711@99".to_owned() }),
        (
            "agent_thread_known",
            Event::AgentThreadKnown { stage: build(), attempt, thread: ThreadId("thread-1".to_owned()) },
        ),
        ("retry_scheduled", Event::RetryScheduled { stage: build(), attempt, due_at: at(250) }),
        (
            "question_asked",
            Event::QuestionAsked {
                stage: stage("ship"),
                message: "Ship it?".to_owned(),
                expires_at: at(3_600_000),
                call: None,
            },
        ),
        ("question_answered", answered(Verdict::Deny, text("not on a Friday"))),
        ("question_answered.bare", answered(Verdict::Approve, None)),
        ("question_expired", Event::QuestionExpired { stage: stage("ship"), call: None }),
        (
            "steer_accepted",
            Event::SteerAccepted { stage: build(), message: "Mind the tests".to_owned(), actor: actor() },
        ),
        ("steer_delivered", Event::SteerDelivered { stage: build(), count: 3, in_turn: false }),
        (
            "child_run_starting",
            Event::ChildRunStarting { stage: stage("checks"), run: run(4), pipeline: pipeline_id("checks") },
        ),
        (
            "child_run_finished",
            Event::ChildRunFinished { stage: stage("checks"), run: run(4), outcome: failed() },
        ),
        (
            "selection_narrowed",
            Event::SelectionNarrowed { by: stage("plan"), left_out: vec![stage("test"), stage("ship")] },
        ),
        (
            "judged",
            Event::Judged(Judgement {
                role: Role::Reviewer,
                success: false,
                reasons: texts(&["The stage `test` failed.", "No guardrail has succeeded."]),
            }),
        ),
        ("cancel_requested", Event::CancelRequested { actor: actor(), reason: text("wrong branch") }),
        ("cancel_requested.bare", Event::CancelRequested { actor: actor(), reason: None }),
        ("run_interrupted", Event::RunInterrupted { detail: "its process is gone".to_owned() }),
        (
            "resume_blocked",
            Event::ResumeBlocked {
                actor: actor(),
                reason: "try again".to_owned(),
                detail: "the run is still going".to_owned(),
            },
        ),
        (
            "command_refused",
            Event::CommandRefused {
                key: CommandKey("cancel:7".to_owned()),
                actor: actor(),
                detail: "the run is over".to_owned(),
            },
        ),
        ("run_finished", Event::RunFinished { outcome: failed() }),
        ("run_finished.succeeded", Event::RunFinished { outcome: RunOutcome::Succeeded }),
        (
            "run_finished.cancelled",
            Event::RunFinished { outcome: RunOutcome::Cancelled { detail: "by anna".to_owned() } },
        ),
    ]
    .into_iter()
    .map(|(name, event)| (name.to_owned(), event))
    .collect();
    all.extend(calls());
    all.extend(attempts());
    all.extend(stages());
    all.extend(resumes());
    all
}

/// Every command, as it waits in an inbox.
pub(crate) fn commands() -> Vec<(String, Envelope)> {
    [
        ("cancel", Command::Cancel { reason: text("wrong branch") }),
        (
            "answer",
            Command::Answer {
                stage: Some(stage("ship")),
                call: None,
                scope: GrantScope::Once,
                verdict: Verdict::Approve,
                reason: text("looks good"),
            },
        ),
        (
            "answer.call",
            Command::Answer {
                stage: None,
                call: Some(CallId("build#1".to_owned())),
                scope: GrantScope::Task,
                verdict: Verdict::Approve,
                reason: None,
            },
        ),
        ("steer", Command::Steer { stage: Some(stage("build")), message: "Mind the tests".to_owned() }),
    ]
    .into_iter()
    .map(|(name, command)| {
        let key = CommandKey(format!("{name}:7"));
        (name.to_owned(), Envelope { key, actor: actor(), sent_at: at(0), command })
    })
    .collect()
}
