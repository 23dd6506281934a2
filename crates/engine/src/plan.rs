//! The planner: which stages a run consists of, in which order, and where.

use std::collections::{BTreeSet, HashMap, HashSet};

use co_model::{
    ExecutionMode, Needs, Pipeline, PlannedStage, RunPlan, SkipReason, SkippedStage, Stage, StageId,
};

/// What the planner is asked for.
#[derive(Debug, Clone, Copy, Default)]
pub struct PlanRequest<'a> {
    /// A stage id, an alias, or `<pipeline>:<stage>`; letter case is ignored.
    pub target: Option<&'a str>,
    /// Mode asked for by the task.
    pub mode: Option<ExecutionMode>,
    /// Whether the task asks for parallel execution.
    pub parallel: bool,
}

/// Says why there is no plan.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// The target names no stage.
    #[error("pipeline `{pipeline}` has no stage `{target}`; it has {}", list(.known))]
    UnknownTarget {
        /// The pipeline.
        pipeline: String,
        /// What was asked for.
        target: String,
        /// What there is.
        known: Vec<String>,
    },
    /// The target fits several stages.
    #[error("target `{target}` fits several stages of pipeline `{pipeline}`: {}", list(.matches))]
    AmbiguousTarget {
        /// The pipeline.
        pipeline: String,
        /// What was asked for.
        target: String,
        /// The stages it fits.
        matches: Vec<String>,
    },
    /// The target says of itself that it cannot be run.
    #[error("stage `{stage}` is marked as not runnable")]
    NotRunnable {
        /// The stage.
        stage: StageId,
    },
    /// Stages wait for each other, or for a later role.
    #[error("these stages wait for each other, or for a later role: {}", list(.stages))]
    Deadlock {
        /// The stages that could never begin.
        stages: Vec<String>,
    },
    /// Nothing is left to run.
    #[error("pipeline `{pipeline}` has no stage that can be run")]
    Nothing {
        /// The pipeline.
        pipeline: String,
    },
}

fn list(items: &[String]) -> String {
    items.iter().map(|item| format!("`{item}`")).collect::<Vec<_>>().join(", ")
}

/// Plans a run of `pipeline`.
///
/// With a target, only that stage and the stages it *declares* to need are selected; plain order of
/// appearance is no dependency then. Without one, every runnable stage is selected. Stages are
/// ordered by role, then by need, then by appearance.
///
/// # Errors
/// [`PlanError`] when the target is unknown or ambiguous, or when no order exists.
pub fn plan(pipeline: &Pipeline, request: &PlanRequest<'_>) -> Result<RunPlan, PlanError> {
    let target = match request.target {
        Some(text) => Some(find_target(pipeline, text)?),
        None => None,
    };
    let default_target = pipeline.stages.iter().find(|stage| stage.default_target && stage.runnable);
    let selected: HashSet<&StageId> = match target {
        Some(stage) => declared_closure(pipeline, stage),
        None => pipeline.stages.iter().filter(|stage| stage.runnable).map(|stage| &stage.id).collect(),
    };
    let stages: Vec<&Stage> = pipeline.stages.iter().filter(|stage| selected.contains(&stage.id)).collect();
    if stages.is_empty() {
        return Err(PlanError::Nothing { pipeline: pipeline.id.to_string() });
    }
    let ordered = order(&stages)?;
    let planned: Vec<PlannedStage> = ordered
        .iter()
        .map(|stage| PlannedStage {
            stage: stage.id.clone(),
            role: stage.role,
            mode: stage_mode(stage.execution, request),
        })
        .collect();
    let skipped = pipeline
        .stages
        .iter()
        .filter(|stage| !selected.contains(&stage.id))
        .map(|stage| SkippedStage { stage: stage.id.clone(), reason: SkipReason::NotTargeted })
        .collect();
    let cloud = planned.iter().any(|stage| stage.mode == ExecutionMode::Cloud);
    Ok(RunPlan {
        target: target.or(default_target).map(|stage| format!("{}:{}", pipeline.id, stage.id)),
        mode: if cloud { ExecutionMode::Cloud } else { ExecutionMode::Mcp },
        stages: planned,
        skipped,
    })
}

/// The seeds' mode policy: what the stage says wins, then what the task says, then local.
fn stage_mode(stage: ExecutionMode, request: &PlanRequest<'_>) -> ExecutionMode {
    match (stage, request.mode) {
        (ExecutionMode::Unset, Some(mode)) if mode != ExecutionMode::Unset => mode,
        (ExecutionMode::Unset, _) if request.parallel => ExecutionMode::Cloud,
        (ExecutionMode::Unset, _) => ExecutionMode::Mcp,
        (said, _) => said,
    }
}

fn find_target<'a>(pipeline: &'a Pipeline, text: &str) -> Result<&'a Stage, PlanError> {
    let wanted = text.trim();
    let prefix = format!("{}:", pipeline.id);
    let local = match wanted.get(..prefix.len()) {
        Some(head) if head.eq_ignore_ascii_case(&prefix) => &wanted[prefix.len()..],
        _ => wanted,
    };
    let same = |name: &str, text: &str| name.to_lowercase() == text.to_lowercase();
    // An alias may itself be written with the pipeline before it.
    let fits = |name: &str| same(name, local) || same(name, wanted);
    let by_id: Vec<&Stage> = pipeline.stages.iter().filter(|stage| fits(stage.id.as_str())).collect();
    let matches = if by_id.is_empty() {
        pipeline.stages.iter().filter(|stage| stage.aliases.iter().any(|alias| fits(alias))).collect()
    } else if let Some(exact) = by_id.iter().find(|stage| stage.id.as_str() == local) {
        vec![*exact]
    } else {
        by_id
    };
    let names = |stages: &[&Stage]| stages.iter().map(|stage| stage.id.to_string()).collect();
    match matches.as_slice() {
        [stage] if stage.runnable => Ok(stage),
        [stage] => Err(PlanError::NotRunnable { stage: stage.id.clone() }),
        [] => Err(PlanError::UnknownTarget {
            pipeline: pipeline.id.to_string(),
            target: text.to_owned(),
            known: names(&pipeline.stages.iter().collect::<Vec<_>>()),
        }),
        several => Err(PlanError::AmbiguousTarget {
            pipeline: pipeline.id.to_string(),
            target: text.to_owned(),
            matches: names(several),
        }),
    }
}

fn declared_closure<'a>(pipeline: &'a Pipeline, target: &'a Stage) -> HashSet<&'a StageId> {
    let mut selected = HashSet::from([&target.id]);
    let mut open = vec![target];
    while let Some(stage) = open.pop() {
        let declared = match &stage.needs {
            Needs::Declared(needs) => needs.as_slice(),
            Needs::PreviousStage => &[],
        };
        let by_input = stage.inputs.values().map(|input| &input.stage);
        for need in declared.iter().chain(by_input) {
            if let Some(found) = pipeline.stage(need)
                && found.runnable
                && selected.insert(&found.id)
            {
                open.push(found);
            }
        }
    }
    selected
}

/// The indices of the stages each stage waits for, among `stages`, which are in file order.
/// A need that is not among them does not count. A stage also waits for every stage of an
/// earlier role.
pub(crate) fn needs_of(stages: &[&Stage]) -> Vec<BTreeSet<usize>> {
    let index: HashMap<&StageId, usize> = stages.iter().enumerate().map(|(i, s)| (&s.id, i)).collect();
    let mut last_of_role: HashMap<co_model::Role, usize> = HashMap::new();
    let mut needs = Vec::with_capacity(stages.len());
    for (i, stage) in stages.iter().enumerate() {
        let mut own: BTreeSet<usize> = match &stage.needs {
            // Within a role, order of appearance; other roles are ordered by the barrier below.
            Needs::PreviousStage => last_of_role.get(&stage.role).copied().into_iter().collect(),
            Needs::Declared(ids) => ids.iter().filter_map(|id| index.get(id).copied()).collect(),
        };
        own.extend(stage.inputs.values().filter_map(|input| index.get(&input.stage).copied()));
        needs.push(own);
        last_of_role.insert(stage.role, i);
    }
    needs
}

/// Orders stages so that each comes after what it needs; stable by role and appearance.
fn order<'a>(stages: &[&'a Stage]) -> Result<Vec<&'a Stage>, PlanError> {
    let needs = needs_of(stages);
    let mut placed = vec![false; stages.len()];
    let mut ordered = Vec::with_capacity(stages.len());
    let mut by_role: Vec<usize> = (0..stages.len()).collect();
    by_role.sort_by_key(|&i| stages[i].role);
    while ordered.len() < stages.len() {
        let role = by_role.iter().find(|&&i| !placed[i]).map(|&i| stages[i].role);
        let before = ordered.len();
        for &i in &by_role {
            let open = !placed[i] && Some(stages[i].role) == role;
            if open && needs[i].iter().all(|&need| placed[need]) {
                placed[i] = true;
                ordered.push(stages[i]);
            }
        }
        if ordered.len() == before {
            let stuck = by_role.iter().filter(|&&i| !placed[i]).map(|&i| stages[i].id.to_string()).collect();
            return Err(PlanError::Deadlock { stages: stuck });
        }
    }
    Ok(ordered)
}
