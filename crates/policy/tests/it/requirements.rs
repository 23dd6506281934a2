//! What a call needs: every policy, every kind of command, every mode, every origin.

use co_model::{
    ApprovalPolicy, CallRequest, ChangeKind, DecisionSource, FileChange, GranularApproval, McpApproval,
    McpServerPolicy, PatchedFile, RuleDecision, SandboxMode, SandboxPolicy, ToolPolicy, ToolUse,
};
use co_policy::{Declared, Requirement, SandboxChoice, requirement};

use crate::{call, command, policy, script, words};

pub(crate) const fn granular(on: bool) -> GranularApproval {
    GranularApproval {
        sandbox_approval: on,
        rules: on,
        mcp_elicitations: on,
        request_permissions: on,
        skill_approval: on,
    }
}

pub(crate) const POLICIES: [ApprovalPolicy; 5] = [
    ApprovalPolicy::Never,
    ApprovalPolicy::OnRequest,
    ApprovalPolicy::Untrusted,
    ApprovalPolicy::Granular(granular(true)),
    ApprovalPolicy::Granular(granular(false)),
];

pub(crate) const MODES: [SandboxMode; 3] =
    [SandboxMode::ReadOnly, SandboxMode::WorkspaceWrite, SandboxMode::DangerFullAccess];

/// A requirement in one word.
pub(crate) fn short(requirement: &Requirement) -> &'static str {
    match requirement {
        Requirement::Skip { source: DecisionSource::NotRequired, sandbox: SandboxChoice::AsNamed } => "runs",
        Requirement::Skip { source: DecisionSource::Policy, sandbox: SandboxChoice::AsNamed } => "allowed",
        Requirement::Skip { source: DecisionSource::Policy, sandbox: SandboxChoice::Outside } => "outside",
        Requirement::Skip { .. } => "impossible",
        Requirement::NeedsConsent { .. } => "asks",
        Requirement::Forbidden { .. } => "no",
    }
}

pub(crate) fn rules(approval: ApprovalPolicy, mode: SandboxMode) -> ToolPolicy {
    ToolPolicy {
        approval,
        sandbox: Some(SandboxPolicy::of(mode)),
        ..policy(&[
            ("git status", RuleDecision::Allow),
            ("git push", RuleDecision::Prompt),
            ("curl", RuleDecision::Forbidden),
        ])
    }
}

const KINDS: [(&str, &str); 6] = [
    ("unmatched", "make"),
    ("allowed", "git status"),
    ("mixed", "git status && make"),
    ("prompt", "git push"),
    ("forbidden", "curl x"),
    ("dangerous", "rm -rf x"),
];

fn outcome(
    approval: ApprovalPolicy,
    mode: SandboxMode,
    text: &str,
    escalated: bool,
    declared: Declared,
) -> &'static str {
    let call = CallRequest { sandbox: SandboxPolicy::of(mode), escalated, ..command(script(text)) };
    short(&requirement(&rules(approval, mode), &call, declared))
}

/// Rows are kinds; columns are never, on-request, untrusted, granular that asks, granular that refuses.
#[track_caller]
fn table(modes: &[SandboxMode], escalated: bool, declared: Declared, rows: &[[&str; 5]; 6]) {
    for mode in modes {
        for ((kind, text), row) in KINDS.iter().zip(rows) {
            let got = POLICIES.map(|approval| outcome(approval, *mode, text, escalated, declared));
            assert_eq!(&got, row, "{kind} under {mode:?}, escalated {escalated}, {declared:?}");
        }
    }
}

const CONFINED: [SandboxMode; 2] = [SandboxMode::ReadOnly, SandboxMode::WorkspaceWrite];
const OPEN: [SandboxMode; 1] = [SandboxMode::DangerFullAccess];

#[test]
fn commands_of_agents() {
    table(
        &CONFINED,
        false,
        Declared::Agent,
        &[
            ["runs", "runs", "asks", "runs", "runs"],
            ["outside"; 5],
            ["runs", "runs", "asks", "runs", "runs"],
            ["no", "asks", "asks", "asks", "no"],
            ["no"; 5],
            ["no", "asks", "asks", "asks", "no"],
        ],
    );
    table(
        &OPEN,
        false,
        Declared::Agent,
        &[
            ["runs", "runs", "asks", "runs", "runs"],
            ["allowed"; 5],
            ["runs", "runs", "asks", "runs", "runs"],
            ["no", "asks", "asks", "asks", "no"],
            ["no"; 5],
            ["no", "asks", "asks", "asks", "no"],
        ],
    );
}

#[test]
fn escalated_commands_of_agents() {
    let asks = ["no", "asks", "asks", "asks", "no"];
    table(&CONFINED, true, Declared::Agent, &[asks, ["outside"; 5], asks, asks, ["no"; 5], asks]);
    // Without a sandbox there is nothing to leave.
    let runs = ["runs", "runs", "asks", "runs", "runs"];
    table(&OPEN, true, Declared::Agent, &[runs, ["allowed"; 5], runs, asks, ["no"; 5], asks]);
}

#[test]
fn commands_an_agent_asks_for_itself() {
    let asks = ["no", "asks", "asks", "asks", "no"];
    for escalated in [false, true] {
        table(
            &CONFINED,
            escalated,
            Declared::AgentAsks,
            &[asks, ["outside"; 5], asks, asks, ["no"; 5], asks],
        );
        table(&OPEN, escalated, Declared::AgentAsks, &[asks, ["allowed"; 5], asks, asks, ["no"; 5], asks]);
    }
}

#[test]
fn commands_of_a_person() {
    let runs = ["runs"; 5];
    let asks = ["no", "asks", "asks", "asks", "no"];
    table(&CONFINED, false, Declared::Own, &[runs, ["outside"; 5], runs, asks, ["no"; 5], runs]);
    table(&OPEN, false, Declared::Own, &[runs, ["allowed"; 5], runs, asks, ["no"; 5], runs]);
    table(&CONFINED, true, Declared::Own, &[asks, ["outside"; 5], asks, asks, ["no"; 5], asks]);
    table(&OPEN, true, Declared::Own, &[runs, ["allowed"; 5], runs, asks, ["no"; 5], runs]);
}

#[test]
fn commands_that_are_declared_to_need_consent() {
    let asks = ["no", "asks", "asks", "asks", "no"];
    for escalated in [false, true] {
        table(&MODES, escalated, Declared::ConsentRequired, &[asks, asks, asks, asks, ["no"; 5], asks]);
    }
}

#[test]
fn granular_switches_are_looked_at_one_by_one() {
    for (text, escalated, flags) in [
        ("git push", false, GranularApproval { rules: true, ..granular(false) }),
        ("rm -rf x", false, GranularApproval { sandbox_approval: true, ..granular(false) }),
        ("make", true, GranularApproval { sandbox_approval: true, ..granular(false) }),
    ] {
        let approval = ApprovalPolicy::Granular(flags);
        let mode = SandboxMode::WorkspaceWrite;
        assert_eq!(outcome(approval, mode, text, escalated, Declared::Agent), "asks", "{text}");
        let others = GranularApproval {
            sandbox_approval: !flags.sandbox_approval,
            rules: !flags.rules,
            ..granular(true)
        };
        let approval = ApprovalPolicy::Granular(others);
        assert_eq!(outcome(approval, mode, text, escalated, Declared::Agent), "no", "{text}");
    }
}

/// A rule lifts the sandbox of the settings, not one that somebody chose for this call.
#[test]
fn a_call_with_its_own_sandbox_stays_in_it() {
    let rules = rules(ApprovalPolicy::OnRequest, SandboxMode::WorkspaceWrite);
    let narrowed =
        CallRequest { sandbox: SandboxPolicy::of(SandboxMode::ReadOnly), ..command(script("git status")) };
    assert_eq!(short(&requirement(&rules, &narrowed, Declared::Agent)), "allowed");
    let escalated = CallRequest { escalated: true, ..narrowed };
    assert_eq!(short(&requirement(&rules, &escalated, Declared::Agent)), "asks");
    let unsaid = ToolPolicy { sandbox: None, ..rules };
    assert_eq!(short(&requirement(&unsaid, &command(script("git status")), Declared::Own)), "allowed");
}

#[test]
fn the_reasons_are_those_people_know() {
    let reason = |approval, text: &str| {
        let mut rules = rules(approval, SandboxMode::WorkspaceWrite);
        rules.rules[2].justification = Some("use the mirror".to_owned());
        rules.rules.push(crate::rule("wget", RuleDecision::Forbidden));
        match requirement(&rules, &command(script(text)), Declared::Agent) {
            Requirement::Skip { .. } => String::new(),
            Requirement::NeedsConsent { reason } | Requirement::Forbidden { reason } => reason,
        }
    };
    let never = ApprovalPolicy::Never;
    for (approval, text, expected) in [
        (never, "curl x", "`curl x` rejected: use the mirror"),
        (never, "wget 'a b'", "`wget 'a b'` rejected: policy forbids commands starting with `wget`"),
        (never, "git push", "approval required by policy, but AskForApproval is set to Never"),
        (
            never,
            "rm -rf x",
            "`rm -rf x` rejected: rm -f style commands are not permitted. Use a safer approach",
        ),
        (ApprovalPolicy::OnRequest, "git push", "`git push` requires approval by policy"),
        (ApprovalPolicy::OnRequest, "rm -rf x", "`rm -rf x` requires approval: it removes files by force"),
        (ApprovalPolicy::Untrusted, "ls", "`ls` requires approval"),
        (
            ApprovalPolicy::Granular(granular(false)),
            "git push",
            "approval required by policy rule, but AskForApproval::Granular.rules is false",
        ),
        (
            ApprovalPolicy::Granular(granular(false)),
            "rm -f x",
            "approval required by policy, but AskForApproval::Granular.sandbox_approval is false",
        ),
    ] {
        assert_eq!(reason(approval, text), expected);
    }
}

pub(crate) fn patch(paths: &[&str]) -> ToolUse {
    let files = paths.iter().map(|path| PatchedFile {
        change: FileChange { path: (*path).to_owned(), kind: ChangeKind::Update },
        sha256: "0".repeat(64),
    });
    ToolUse::Patch { files: files.collect() }
}

#[test]
fn patches_are_judged_by_where_they_write() {
    let outcome = |mode, approval, path: &str| {
        let sandbox = SandboxPolicy { writable_roots: words(&["/data"]), ..SandboxPolicy::of(mode) };
        let call = CallRequest { sandbox, ..call(patch(&["ok.txt", path])) };
        short(&requirement(&rules(approval, mode), &call, Declared::Agent))
    };
    for (path, is_inside) in [
        ("src/main.rs", true),
        ("/work/src/main.rs", true),
        ("./a/../b", true),
        ("/data/x", true),
        (".gitignore", true),
        ("sub/.git/config", true),
        ("/etc/passwd", false),
        ("../x", false),
        ("a/../../x", false),
        ("/work", false),
        ("/workspace/x", false),
        (".git/config", false),
        (".codex/config.toml", false),
        ("./.agents/x", false),
        ("a/../.git/hooks/x", false),
        ("/data/.git/x", false),
        ("/../../x", false),
    ] {
        for (mode, approval, expected) in [
            (SandboxMode::WorkspaceWrite, ApprovalPolicy::Never, if is_inside { "runs" } else { "no" }),
            (SandboxMode::WorkspaceWrite, ApprovalPolicy::OnRequest, if is_inside { "runs" } else { "asks" }),
            (SandboxMode::WorkspaceWrite, ApprovalPolicy::Untrusted, "asks"),
            (SandboxMode::ReadOnly, ApprovalPolicy::OnRequest, "asks"),
            (SandboxMode::ReadOnly, ApprovalPolicy::Never, "no"),
            (SandboxMode::DangerFullAccess, ApprovalPolicy::Never, "runs"),
        ] {
            assert_eq!(outcome(mode, approval, path), expected, "{path} {mode:?} {approval:?}");
        }
    }
}

#[test]
fn other_tools_of_agents() {
    let mcp =
        || ToolUse::Mcp { server: "s".into(), name: "n".into(), arguments: "{}".into(), definition: None };
    let other = || ToolUse::Other { name: "n".into(), input: "{}".into() };
    let row = |tool: &dyn Fn() -> ToolUse, mode, declared| {
        POLICIES.map(|approval| {
            let call = CallRequest { sandbox: SandboxPolicy::of(mode), ..call(tool()) };
            short(&requirement(&rules(approval, mode), &call, declared))
        })
    };
    let asks = ["no", "asks", "asks", "asks", "no"];
    for declared in [Declared::Agent, Declared::AgentAsks, Declared::ConsentRequired] {
        assert_eq!(row(&mcp, SandboxMode::WorkspaceWrite, declared), asks);
        assert_eq!(row(&other, SandboxMode::WorkspaceWrite, declared), asks);
        assert_eq!(row(&other, SandboxMode::DangerFullAccess, declared), asks);
    }
    let full = SandboxMode::DangerFullAccess;
    assert_eq!(row(&mcp, full, Declared::Agent), ["runs", "asks", "asks", "asks", "no"]);
    assert_eq!(row(&mcp, full, Declared::AgentAsks), asks);
    assert_eq!(row(&mcp, SandboxMode::ReadOnly, Declared::Own), ["runs"; 5]);
}

#[test]
fn tools_that_we_call_ourselves() {
    let server = |approval| McpServerPolicy {
        definition: "d".to_owned(),
        approval,
        tools: [("free".to_owned(), McpApproval::Approve)].into_iter().collect(),
        read_only: vec!["look".to_owned()],
    };
    let row = |name: &str, approval, declared| {
        POLICIES.map(|policy| {
            let tool = ToolUse::Mcp {
                server: "s".into(),
                name: name.into(),
                arguments: "{}".into(),
                definition: Some("d".into()),
            };
            let mut policy = rules(policy, SandboxMode::WorkspaceWrite);
            policy.mcp.servers.insert("s".to_owned(), server(approval));
            short(&requirement(&policy, &call(tool), declared))
        })
    };
    let asks = ["no", "asks", "asks", "asks", "no"];
    for approval in [McpApproval::Auto, McpApproval::Writes] {
        assert_eq!(row("write", approval, Declared::Own), asks);
        assert_eq!(row("look", approval, Declared::Own), ["runs", "runs", "asks", "runs", "runs"]);
        assert_eq!(row("look", approval, Declared::ConsentRequired), asks);
    }
    assert_eq!(row("look", McpApproval::Prompt, Declared::Own), asks);
    assert_eq!(row("free", McpApproval::Prompt, Declared::Own), ["allowed"; 5]);
    let unknown = ToolUse::Mcp {
        server: "other".into(),
        name: "look".into(),
        arguments: "{}".into(),
        definition: Some(String::new()),
    };
    let unknown = requirement(&ToolPolicy::default(), &call(unknown), Declared::Own);
    assert!(matches!(unknown, Requirement::Forbidden { .. }));
}
