//! Narrowing: the result never lets more happen than either side.

use co_model::{
    ApprovalPolicy, CallRequest, GranularApproval, HostRule, NetworkAccess, RuleDecision, SandboxMode,
    SandboxPolicy, ToolUse,
};
use co_policy::{
    Declared, Requirement, narrowest_approval, narrowest_network, narrowest_sandbox, requirement,
};
use proptest::prelude::*;

use crate::requirements::{MODES, granular, patch, rules};
use crate::{call, command, script, words};

/// Every policy there is.
fn approvals() -> Vec<ApprovalPolicy> {
    let granular = (0..32_u8).map(|bits| {
        ApprovalPolicy::Granular(GranularApproval {
            sandbox_approval: bits & 1 != 0,
            rules: bits & 2 != 0,
            mcp_elicitations: bits & 4 != 0,
            request_permissions: bits & 8 != 0,
            skill_approval: bits & 16 != 0,
        })
    });
    let plain = [ApprovalPolicy::Never, ApprovalPolicy::OnRequest, ApprovalPolicy::Untrusted];
    plain.into_iter().chain(granular).collect()
}

/// How much stands in the way of each kind of call.
fn strictness(approval: ApprovalPolicy) -> Vec<u8> {
    let mut calls: Vec<CallRequest> =
        ["make", "git status", "git push", "rm -rf x"].map(|text| command(script(text))).to_vec();
    calls.push(CallRequest { escalated: true, ..command(script("make")) });
    calls.push(call(ToolUse::Mcp {
        server: "s".into(),
        name: "n".into(),
        arguments: String::new(),
        definition: None,
    }));
    calls.push(call(ToolUse::Other { name: "n".into(), input: String::new() }));
    calls.push(call(patch(&["a"])));
    calls.push(call(patch(&["/etc/x"])));
    let policy = rules(approval, SandboxMode::WorkspaceWrite);
    calls
        .iter()
        .map(|call| match requirement(&policy, call, Declared::Agent) {
            Requirement::Skip { .. } => 0,
            Requirement::NeedsConsent { .. } => 1,
            Requirement::Forbidden { .. } => 2,
        })
        .collect()
}

#[test]
fn no_pair_of_policies_narrows_to_a_wider_one() {
    for a in approvals() {
        for b in approvals() {
            let narrow = narrowest_approval(a, b);
            assert_eq!(narrow, narrowest_approval(b, a), "{a:?} {b:?}");
            let Some(narrow) = narrow else { continue };
            let both = strictness(a).into_iter().zip(strictness(b)).map(|(a, b)| a.max(b));
            assert_eq!(strictness(narrow), both.collect::<Vec<_>>(), "{a:?} and {b:?} gave {narrow:?}");
            assert_eq!(narrowest_approval(narrow, a), Some(narrow), "{a:?} {b:?}");
        }
    }
}

#[test]
fn named_pairs() {
    use ApprovalPolicy::{Granular, Never, OnRequest, Untrusted};
    for (a, b, narrow) in [
        (Never, OnRequest, Some(Never)),
        (Never, Granular(granular(true)), Some(Never)),
        (OnRequest, Untrusted, Some(Untrusted)),
        (OnRequest, Granular(granular(false)), Some(Granular(granular(false)))),
        (Untrusted, Granular(granular(true)), Some(Untrusted)),
        (Untrusted, Granular(granular(false)), None),
        (Untrusted, Never, None),
    ] {
        assert_eq!(narrowest_approval(a, b), narrow);
    }
}

#[test]
fn the_narrower_mode_and_the_common_roots_remain() {
    let with =
        |mode, roots: &[&str]| SandboxPolicy { writable_roots: words(roots), ..SandboxPolicy::of(mode) };
    let write = SandboxMode::WorkspaceWrite;
    for (a, b, roots) in [
        (&["/a", "/b"][..], &["/b", "/c"][..], &["/b"][..]),
        (&["/a"], &["/a/b", "/ab"], &["/a/b"]),
        (&["/a/b"], &["/a"], &["/a/b"]),
        (&["/"], &["/a", "/b"], &["/a", "/b"]),
        (&["/a"], &[], &[]),
        (&["/a"], &["/a"], &["/a"]),
    ] {
        assert_eq!(narrowest_sandbox(&with(write, a), &with(write, b)).writable_roots, roots, "{a:?} {b:?}");
    }
    let full = &SandboxPolicy::FULL_ACCESS;
    let some = with(write, &["/a"]);
    assert_eq!(narrowest_sandbox(full, &some), some);
    assert_eq!(narrowest_sandbox(&some, full), some);
    assert_eq!(&narrowest_sandbox(full, full), full);
    let read = with(SandboxMode::ReadOnly, &[]);
    assert_eq!(narrowest_sandbox(&some, &read), read);
    for a in MODES {
        for b in MODES {
            let narrow = narrowest_sandbox(&SandboxPolicy::of(a), &SandboxPolicy::of(b));
            assert_eq!(narrow, SandboxPolicy::of(a.min(b)));
        }
    }
    let closed = SandboxPolicy { exclude_tmpdir: true, ..some.clone() };
    let other = SandboxPolicy { exclude_slash_tmp: true, ..some };
    let narrow = narrowest_sandbox(&closed, &other);
    assert!(narrow.exclude_tmpdir && narrow.exclude_slash_tmp);
}

/// What a network decides of a host, as the proxy does.
fn decides(network: &NetworkAccess, host: &str, port: u16) -> RuleDecision {
    match network {
        NetworkAccess::Off => RuleDecision::Forbidden,
        NetworkAccess::On => RuleDecision::Allow,
        NetworkAccess::Allowed(rules) => rules
            .iter()
            .filter(|rule| rule.port.is_none_or(|only| only == port))
            .filter(|rule| match rule.host.strip_prefix('*') {
                Some(suffix) => host.ends_with(suffix),
                None => rule.host == host,
            })
            .map(|rule| rule.decision)
            .max()
            .unwrap_or(RuleDecision::Forbidden),
    }
}

fn network() -> impl Strategy<Value = NetworkAccess> {
    let host =
        prop::sample::select(vec!["a.x.com", "b.a.x.com", "*.x.com", "*.a.x.com", "y.org", "10.0.0.1"]);
    let port = prop::sample::select(vec![None, Some(443), Some(80)]);
    let decision =
        prop::sample::select(vec![RuleDecision::Allow, RuleDecision::Prompt, RuleDecision::Forbidden]);
    let rule = (host, port, decision).prop_map(|(host, port, decision)| HostRule {
        host: host.to_owned(),
        port,
        decision,
    });
    prop_oneof![
        Just(NetworkAccess::Off),
        Just(NetworkAccess::On),
        prop::collection::vec(rule, 0..5).prop_map(NetworkAccess::Allowed),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_host_is_reached_only_if_both_reach_it(a in network(), b in network()) {
        let narrow = narrowest_network(&a, &b);
        for host in ["a.x.com", "b.a.x.com", "c.x.com", "x.com", "y.org", "10.0.0.1", "other"] {
            for port in [80, 443, 22] {
                let strictest = decides(&a, host, port).max(decides(&b, host, port));
                prop_assert_eq!(decides(&narrow, host, port), strictest, "{} {}", host, port);
            }
        }
    }
}
