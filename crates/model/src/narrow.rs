//! Joins two policies into one that allows only what both allow.

use std::path::Path;

use crate::{
    ApprovalPolicy, GranularApproval, HostRule, NetworkAccess, RuleDecision, SandboxMode, SandboxPolicy,
};

/// The policy under which nothing runs, and nothing is asked, that either of the two would not let.
///
/// `None` when no policy says that: `untrusted` asks about ordinary commands, which `never` and a
/// refusing `granular` cannot. Whoever wants one of those two has to say so as a change, not as a
/// narrowing.
pub fn narrowest_approval(a: ApprovalPolicy, b: ApprovalPolicy) -> Option<ApprovalPolicy> {
    use ApprovalPolicy::{Granular, Never, OnRequest, Untrusted};
    match (a, b) {
        (a, b) if a == b => Some(a),
        (Untrusted, OnRequest) | (OnRequest, Untrusted) => Some(Untrusted),
        (Untrusted, Granular(flags)) | (Granular(flags), Untrusted) => {
            (flags == ALL_QUESTIONS).then_some(Untrusted)
        }
        (Untrusted, Never) | (Never, Untrusted) => None,
        (Never, OnRequest | Granular(_)) | (OnRequest | Granular(_), Never) => Some(Never),
        (Granular(a), Granular(b)) => Some(Granular(GranularApproval {
            sandbox_approval: a.sandbox_approval && b.sandbox_approval,
            rules: a.rules && b.rules,
            mcp_elicitations: a.mcp_elicitations && b.mcp_elicitations,
            request_permissions: a.request_permissions && b.request_permissions,
            skill_approval: a.skill_approval && b.skill_approval,
        })),
        (Granular(flags), _) | (_, Granular(flags)) => Some(Granular(flags)),
        (Never, Never) | (OnRequest, OnRequest) | (Untrusted, Untrusted) => Some(a),
    }
}

const ALL_QUESTIONS: GranularApproval = GranularApproval {
    sandbox_approval: true,
    rules: true,
    mcp_elicitations: true,
    request_permissions: true,
    skill_approval: true,
};

/// The sandbox in which only what both allow can be done.
pub fn narrowest_sandbox(a: &SandboxPolicy, b: &SandboxPolicy) -> SandboxPolicy {
    let mode = a.mode.min(b.mode);
    let writable_roots = match (a.mode, b.mode) {
        _ if mode == SandboxMode::ReadOnly => Vec::new(),
        (SandboxMode::DangerFullAccess, _) => b.writable_roots.clone(),
        (_, SandboxMode::DangerFullAccess) => a.writable_roots.clone(),
        _ => common_roots(&a.writable_roots, &b.writable_roots),
    };
    SandboxPolicy {
        mode,
        writable_roots,
        network: narrowest_network(&a.network, &b.network),
        exclude_tmpdir: a.exclude_tmpdir || b.exclude_tmpdir,
        exclude_slash_tmp: a.exclude_slash_tmp || b.exclude_slash_tmp,
    }
}

/// The folders that lie below a root of either side.
fn common_roots(a: &[String], b: &[String]) -> Vec<String> {
    let is_below =
        |root: &String, roots: &[String]| roots.iter().any(|other| Path::new(root).starts_with(other));
    let mut common: Vec<String> = a.iter().filter(|root| is_below(root, b)).cloned().collect();
    for root in b.iter().filter(|root| is_below(root, a)) {
        if !common.contains(root) {
            common.push(root.clone());
        }
    }
    common
}

/// The hosts that both networks reach.
pub fn narrowest_network(a: &NetworkAccess, b: &NetworkAccess) -> NetworkAccess {
    match (a, b) {
        (NetworkAccess::Off, _) | (_, NetworkAccess::Off) => NetworkAccess::Off,
        (NetworkAccess::On, other) | (other, NetworkAccess::On) => other.clone(),
        (NetworkAccess::Allowed(a), NetworkAccess::Allowed(b)) => NetworkAccess::Allowed(common_hosts(a, b)),
    }
}

/// Hosts have to match a rule on either side; what one side forbids stays forbidden.
fn common_hosts(a: &[HostRule], b: &[HostRule]) -> Vec<HostRule> {
    let mut common: Vec<HostRule> = Vec::new();
    let mut add = |rule: HostRule| {
        if !common.contains(&rule) {
            common.push(rule);
        }
    };
    for left in a {
        for right in b {
            if let Some((host, port)) = overlap(left, right) {
                add(HostRule { host: host.to_owned(), port, decision: left.decision.max(right.decision) });
            }
        }
    }
    // Forbidding more than the other side even speaks of does no harm, and leaving it out could.
    for rule in a.iter().chain(b).filter(|rule| rule.decision == RuleDecision::Forbidden) {
        add(rule.clone());
    }
    common
}

/// The hosts and ports that two rules both speak of.
fn overlap<'r>(a: &'r HostRule, b: &'r HostRule) -> Option<(&'r str, Option<u16>)> {
    let port = match (a.port, b.port) {
        (Some(a), Some(b)) if a != b => return None,
        (a, b) => a.or(b),
    };
    let is_within = |inner: &str, outer: &str| {
        inner == outer
            || outer.strip_prefix('*').is_some_and(|suffix| inner.ends_with(suffix) && inner != suffix)
    };
    let host = if is_within(&a.host, &b.host) {
        &a.host
    } else if is_within(&b.host, &a.host) {
        &b.host
    } else {
        return None;
    };
    Some((host, port))
}
