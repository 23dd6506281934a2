//! Whether one sandbox holds everything that another one holds.

use co_model::{NetworkAccess, SandboxMode, SandboxPolicy};

/// Whether nothing can be done in `inner` that could not be done in `outer`.
///
/// Allow-listed networks are compared as they are written: of two different lists, neither is within the other.
pub fn is_within(inner: &SandboxPolicy, outer: &SandboxPolicy) -> bool {
    if outer.mode == SandboxMode::DangerFullAccess {
        return true;
    }
    let network = inner.network == NetworkAccess::Off
        || outer.network == NetworkAccess::On
        || inner.network == outer.network;
    let writes = match (inner.mode, outer.mode) {
        (SandboxMode::ReadOnly, _) => true,
        (SandboxMode::WorkspaceWrite, SandboxMode::WorkspaceWrite) => {
            inner.writable_roots.iter().all(|root| outer.writable_roots.contains(root))
                && (inner.exclude_tmpdir || !outer.exclude_tmpdir)
                && (inner.exclude_slash_tmp || !outer.exclude_slash_tmp)
        }
        _ => false,
    };
    network && writes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_opens_more_is_not_within() {
        let of = SandboxPolicy::of;
        let (read, write) = (of(SandboxMode::ReadOnly), of(SandboxMode::WorkspaceWrite));
        let online = SandboxPolicy { network: NetworkAccess::On, ..write.clone() };
        let rooted = SandboxPolicy { writable_roots: vec!["/srv".to_owned()], ..write.clone() };
        let no_tmp = SandboxPolicy { exclude_slash_tmp: true, ..write.clone() };
        let listed = SandboxPolicy { network: NetworkAccess::Allowed(Vec::new()), ..write.clone() };
        // From the narrowest to the widest; equals are within each other.
        let full = SandboxPolicy::FULL_ACCESS;
        for (inner, outer) in [
            (&read, &write),
            (&write, &online),
            (&write, &rooted),
            (&no_tmp, &write),
            (&write, &listed),
            (&listed, &online),
            (&online, &full),
        ] {
            assert!(is_within(inner, outer) && is_within(inner, inner), "{inner:?} {outer:?}");
            assert!(!is_within(outer, inner), "{outer:?} {inner:?}");
        }
        assert!(!is_within(&online, &rooted) && !is_within(&rooted, &online));
        let read_online = SandboxPolicy { network: NetworkAccess::On, ..read };
        assert!(!is_within(&read_online, &write));
    }
}
