//! Ids of traces and spans, derived from what they stand for.
//!
//! Derived instead of drawn: a resumed run continues its trace, and what is exported twice is the same span twice.

use co_model::{CallId, RunId, StageId};
use sha2::{Digest, Sha256};

/// What a span stands for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Subject<'a> {
    Run,
    Stage(&'a StageId),
    Attempt(&'a StageId, u32),
    Agent(&'a StageId, u32),
    Call(&'a CallId),
}

/// The trace a run belongs to: its own, or that of the run whose nested stage it is.
pub(super) fn trace_id(run: &RunId, parent: Option<&RunId>) -> Vec<u8> {
    digest("trace", &[outermost(run, parent)])[..16].to_vec()
}

/// The span of something within a run.
pub(super) fn span_id(run: &RunId, subject: Subject<'_>) -> Vec<u8> {
    let run = run.as_str();
    let digest = match subject {
        Subject::Run => digest("run", &[run]),
        Subject::Stage(stage) => digest("stage", &[run, stage.as_str()]),
        Subject::Attempt(stage, attempt) => digest("attempt", &[run, stage.as_str(), &attempt.to_string()]),
        Subject::Agent(stage, attempt) => digest("agent", &[run, stage.as_str(), &attempt.to_string()]),
        Subject::Call(call) => digest("call", &[run, &call.0]),
    };
    digest[..8].to_vec()
}

/// The stage of the parent run that a nested run is the work of.
pub(super) fn nesting_stage(run: &RunId, parent: &RunId) -> Option<StageId> {
    if !run.is_child_of(parent) {
        return None;
    }
    let stage = run.as_str().strip_prefix(parent.as_str())?.strip_prefix('.')?;
    StageId::new(stage).ok()
}

/// A generated run id holds no dot; each nesting adds one and the stage's id.
fn outermost<'a>(run: &'a RunId, parent: Option<&RunId>) -> &'a str {
    match parent {
        Some(parent) if run.is_child_of(parent) => run.as_str().split('.').next().unwrap_or(run.as_str()),
        _ => run.as_str(),
    }
}

/// Each part ends with a zero byte, which no id contains, so that different parts never read the same.
fn digest(kind: &str, parts: &[&str]) -> [u8; 32] {
    let mut hash = Sha256::new_with_prefix("codex-orchestrator\0");
    hash.update(kind);
    for part in parts {
        hash.update("\0");
        hash.update(part);
    }
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(id: &str) -> RunId {
        RunId::new(id).unwrap()
    }

    fn stage(id: &str) -> StageId {
        StageId::new(id).unwrap()
    }

    #[test]
    fn the_same_run_always_has_the_same_trace() {
        let first = trace_id(&run("2026-01-01T00-00-00-000Z-00000001"), None);
        assert_eq!(first, trace_id(&run("2026-01-01T00-00-00-000Z-00000001"), None));
        assert_ne!(first, trace_id(&run("2026-01-01T00-00-00-000Z-00000002"), None));
        let hexadecimal = crate::hexadecimal(&first);
        assert_eq!(
            hexadecimal, "80f203242b4d2399ab62895d4c8a726d",
            "frozen: an upgrade must not tear traces apart"
        );
    }

    #[test]
    fn nested_runs_share_the_trace_of_the_outermost() {
        let (outer, child, grandchild) = (run("r-1"), run("r-1.build"), run("r-1.build.unit"));
        let trace = trace_id(&outer, None);
        assert_eq!(trace_id(&child, Some(&outer)), trace);
        assert_eq!(trace_id(&grandchild, Some(&child)), trace);
        assert_ne!(
            trace_id(&run("r-2"), Some(&outer)),
            trace,
            "belonging with a run is not being nested in it"
        );
        assert_eq!(nesting_stage(&grandchild, &child), Some(stage("unit")));
        assert_eq!(nesting_stage(&run("r-2"), &outer), None);
    }

    #[test]
    fn different_subjects_never_share_a_span() {
        let (run, stage, call) = (run("r"), stage("s"), CallId("s#1".to_owned()));
        let all = [
            span_id(&run, Subject::Run),
            span_id(&run, Subject::Stage(&stage)),
            span_id(&run, Subject::Attempt(&stage, 1)),
            span_id(&run, Subject::Attempt(&stage, 2)),
            span_id(&run, Subject::Agent(&stage, 1)),
            span_id(&run, Subject::Call(&call)),
        ];
        for (index, id) in all.iter().enumerate() {
            assert!(id.len() == 8 && id.iter().any(|byte| *byte != 0));
            assert!(!all[..index].contains(id));
        }
    }
}
