//! What a person says for one run, on top of the settings.

use co_config::{CodexSettings, Direction, Override, OverrideError, Overrides, tool_policy};
use co_model::{ApprovalPolicy, NetworkAccess, SandboxMode, SandboxPolicy, ToolPolicy};

use crate::codex_layers::Machine;

fn said<T>(value: T, direction: Direction) -> Override<T> {
    Override { value, direction, source: "flag --x".to_owned() }
}

fn settings(config: &str) -> CodexSettings {
    Machine::new(&[("home/.codex/config.toml", config)]).load().expect("valid")
}

#[test]
fn without_a_word_the_settings_hold() {
    assert_eq!(tool_policy(&CodexSettings::default(), &[]), Ok(ToolPolicy::default()));
    let settings = settings(
        "model = 'x'\napproval_policy = 'never'\nsandbox_mode = 'workspace-write'\n[sandbox_workspace_write]\nwritable_roots = ['/r']\nnetwork_access = true",
    );
    let policy = tool_policy(&settings, &[]).expect("a policy");
    assert_eq!(policy.approval, ApprovalPolicy::Never);
    let sandbox = policy.sandbox.expect("a sandbox");
    assert_eq!((sandbox.writable_roots, sandbox.network), (vec!["/r".to_owned()], NetworkAccess::On));
    assert_eq!(policy.sources.len(), 1);
    let expected = [
        "approval_policy",
        "sandbox_mode",
        "sandbox_workspace_write.network_access",
        "sandbox_workspace_write.writable_roots",
    ];
    let mut keys = policy.sources[0].keys.clone();
    keys.sort();
    assert_eq!(keys, expected);
    assert_eq!(policy.sources[0].sha256.as_ref().map(String::len), Some(64));
}

#[test]
fn approval_is_narrowed_or_widened_as_said() {
    use ApprovalPolicy::{Never, OnRequest, Untrusted};
    for (set, value, direction, expected) in [
        ("never", OnRequest, Direction::Narrow, Err(())),
        ("never", OnRequest, Direction::Widen, Ok(OnRequest)),
        ("on-request", Never, Direction::Narrow, Ok(Never)),
        ("on-request", Untrusted, Direction::Narrow, Ok(Untrusted)),
        ("never", Untrusted, Direction::Narrow, Err(())),
        ("never", Untrusted, Direction::Widen, Ok(Untrusted)),
    ] {
        let settings = settings(&format!("approval_policy = '{set}'"));
        let overrides = Overrides { approval: Some(said(value, direction)), ..Overrides::default() };
        let policy = tool_policy(&settings, &[overrides]);
        assert_eq!(
            policy.as_ref().map(|policy| policy.approval).map_err(|_| ()),
            expected,
            "{set} {value:?}"
        );
        if let Ok(policy) = policy {
            let word = if direction == Direction::Widen { "widens" } else { "narrows" };
            let source = policy.sources.last().expect("a source");
            assert_eq!(
                (source.name.as_str(), &*source.keys),
                ("flag --x", &[format!("approval_policy ({word})")][..])
            );
        }
    }
}

#[test]
fn the_sandbox_is_narrowed_or_widened_as_said() {
    use SandboxMode::{DangerFullAccess, ReadOnly, WorkspaceWrite};
    for (set, value, direction, expected) in [
        (Some("read-only"), WorkspaceWrite, Direction::Narrow, None),
        (Some("read-only"), WorkspaceWrite, Direction::Widen, Some(WorkspaceWrite)),
        (Some("read-only"), DangerFullAccess, Direction::Narrow, None),
        (Some("workspace-write"), ReadOnly, Direction::Narrow, Some(ReadOnly)),
        (Some("danger-full-access"), WorkspaceWrite, Direction::Narrow, Some(WorkspaceWrite)),
        (Some("workspace-write"), DangerFullAccess, Direction::Widen, Some(DangerFullAccess)),
        (None, WorkspaceWrite, Direction::Narrow, Some(WorkspaceWrite)),
    ] {
        let settings = settings(&set.map(|mode| format!("sandbox_mode = '{mode}'")).unwrap_or_default());
        let overrides = Overrides { sandbox: Some(said(value, direction)), ..Overrides::default() };
        let sandbox = match tool_policy(&settings, &[overrides]) {
            Ok(policy) => policy.sandbox,
            Err(OverrideError::Widens { .. }) => None,
            Err(error) => panic!("{error}"),
        };
        assert_eq!(sandbox, expected.map(SandboxPolicy::of), "{set:?} {value:?} {direction:?}");
    }
}

#[test]
fn network_and_roots_widen_only_with_the_word() {
    let settings =
        settings("sandbox_mode = 'workspace-write'\n[sandbox_workspace_write]\nwritable_roots = ['/r']");
    let network = |direction| {
        let overrides =
            Overrides { network: Some(said(NetworkAccess::On, direction)), ..Overrides::default() };
        tool_policy(&settings, &[overrides]).map(|policy| policy.sandbox.expect("a sandbox").network)
    };
    assert!(matches!(network(Direction::Narrow), Err(OverrideError::Widens { .. })));
    assert_eq!(network(Direction::Widen), Ok(NetworkAccess::On));
    let unset = CodexSettings::default();
    let overrides =
        Overrides { network: Some(said(NetworkAccess::On, Direction::Narrow)), ..Overrides::default() };
    let policy = tool_policy(&unset, &[overrides]).expect("less than everything");
    assert_eq!(policy.sandbox.expect("a sandbox").network, NetworkAccess::On);
    let root = |path: &str, direction| {
        let overrides =
            Overrides { writable_roots: vec![said(path.to_owned(), direction)], ..Overrides::default() };
        tool_policy(&settings, &[overrides]).map(|policy| policy.sandbox.expect("a sandbox").writable_roots)
    };
    assert_eq!(root("/x", Direction::Widen), Ok(vec!["/r".to_owned(), "/x".to_owned()]));
    assert_eq!(root("/r", Direction::Narrow), Ok(vec!["/r".to_owned()]));
    assert!(matches!(root("/x", Direction::Narrow), Err(OverrideError::Widens { .. })));
    assert!(matches!(root("x", Direction::Widen), Err(OverrideError::RelativeRoot { .. })));
    let weaker = |value, direction| {
        let overrides =
            Overrides { accept_weaker_sandbox: Some(said(value, direction)), ..Overrides::default() };
        tool_policy(&settings, &[overrides]).map(|policy| policy.accept_weaker_sandbox).map_err(|_| ())
    };
    assert_eq!(weaker(true, Direction::Widen), Ok(true));
    assert_eq!(weaker(true, Direction::Narrow), Err(()));
    assert_eq!(weaker(false, Direction::Narrow), Ok(false));
}

/// Not even the person's word goes past what an administrator requires.
#[test]
fn requirements_hold_against_flags() {
    let requirements = "allowed_approval_policies = ['on-request']\nallowed_sandbox_modes = ['read-only']";
    let settings = Machine::new(&[("etc/requirements.toml", requirements)]).load().expect("valid");
    let approval =
        Overrides { approval: Some(said(ApprovalPolicy::Never, Direction::Widen)), ..Overrides::default() };
    assert!(matches!(
        tool_policy(&settings, &[approval]),
        Err(OverrideError::NotAllowed { wanted: "never", .. })
    ));
    let sandbox = Overrides {
        sandbox: Some(said(SandboxMode::DangerFullAccess, Direction::Widen)),
        ..Overrides::default()
    };
    assert!(matches!(tool_policy(&settings, &[sandbox]), Err(OverrideError::NotAllowed { .. })));
}
