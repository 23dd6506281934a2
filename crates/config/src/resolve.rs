//! Checks what the parts of a file say about each other: references, duplicates and cycles.

use std::collections::HashMap;

use co_model::{PipelineId, StageId};

use crate::BUILT_IN;
use crate::document::{Draft, PipelineDraft};
use crate::fields::Spanned;
use crate::problem::{MOST_PROBLEMS, Report, did_you_mean};

/// Bytes that stage ids may add to a run id: a run id has 33, and 120 are allowed in all.
const LONGEST_CHILD_SUFFIX: usize = 120 - 33;

/// Reports every reference that leads nowhere, twice or back to itself.
pub(crate) fn resolve(draft: &Draft, outside: &[PipelineId], report: &Report<'_>) {
    let mut index: HashMap<&PipelineId, usize> = HashMap::new();
    for (position, pipeline) in draft.pipelines.iter().enumerate() {
        if index.contains_key(&pipeline.id.value) {
            report.add(pipeline.id.range, format!("pipeline `{}` is declared twice", pipeline.id.value));
        } else {
            index.insert(&pipeline.id.value, position);
        }
        resolve_stages(pipeline, report);
    }
    let known = |id: &PipelineId| index.contains_key(id) || outside.contains(id);
    let suggest = |id: &PipelineId| {
        if id.as_str() == BUILT_IN {
            return Some(format!(
                "the built-in `{BUILT_IN}` exists only where something to build or test is found"
            ));
        }
        let declared = draft.pipelines.iter().map(|pipeline| pipeline.id.value.as_str());
        did_you_mean(id.as_str(), declared.chain(outside.iter().map(PipelineId::as_str)))
    };
    if let Some(Spanned { value, range }) = &draft.default
        && !known(value)
    {
        report.add_with(*range, format!("unknown default pipeline `{value}`"), || suggest(value));
    }
    for pipeline in &draft.pipelines {
        for stage in &pipeline.stages {
            if let Some(Spanned { value, range }) = &stage.nested
                && !known(value)
            {
                let message = format!("stage `{}` runs an unknown pipeline `{value}`", stage.id.value);
                report.add_with(*range, message, || suggest(value));
            }
        }
    }
    resolve_nesting(draft, &index, report);
}

/// Refuses pipelines that run themselves, directly or through others, and child runs whose ids
/// would be too long for a file name.
fn resolve_nesting(draft: &Draft, index: &HashMap<&PipelineId, usize>, report: &Report<'_>) {
    let children = |position: usize| {
        let stages = draft.pipelines[position].stages.iter();
        stages.filter_map(|stage| Some((stage, *index.get(&stage.nested.as_ref()?.value)?)))
    };
    let edges: Vec<Vec<usize>> = (0..draft.pipelines.len())
        .map(|position| children(position).map(|(_, child)| child).collect())
        .collect();
    let search = search(&edges);
    for cycle in &search.cycles {
        let names = cycle.iter().map(|&position| draft.pipelines[position].id.value.as_str());
        let closing = cycle.first().copied().unwrap_or_default();
        let last = cycle.last().copied().unwrap_or_default();
        let range = children(last)
            .find(|(_, child)| *child == closing)
            .and_then(|(stage, _)| Some(stage.nested.as_ref()?.range))
            .unwrap_or(draft.pipelines[last].id.range);
        report.add(range, format!("pipelines run each other without end: {}", chain(&names)));
    }
    if !search.cycles.is_empty() {
        return;
    }
    // Children come before their parents in the finishing order.
    let mut longest = vec![0_usize; draft.pipelines.len()];
    for &position in &search.finished {
        let suffix = |(stage, child): (&crate::document::StageDraft, usize)| {
            (1 + stage.id.value.as_str().len() + longest[child], stage.id.range)
        };
        if let Some((bytes, range)) = children(position).map(suffix).max_by_key(|(bytes, _)| *bytes) {
            if bytes > LONGEST_CHILD_SUFFIX {
                report.add_with(range, "the nested pipelines give child runs too long an id", || {
                    Some(format!(
                        "stage ids from here down may have {LONGEST_CHILD_SUFFIX} bytes in all; shorten them"
                    ))
                });
                return;
            }
            longest[position] = bytes;
        }
    }
}

fn resolve_stages(pipeline: &PipelineDraft, report: &Report<'_>) {
    let mut index: HashMap<&StageId, usize> = HashMap::new();
    for (position, stage) in pipeline.stages.iter().enumerate() {
        if index.contains_key(&stage.id.value) {
            let message =
                format!("stage `{}` is declared twice in pipeline `{}`", stage.id.value, pipeline.id.value);
            report.add(stage.id.range, message);
        } else {
            index.insert(&stage.id.value, position);
        }
    }
    resolve_targets(pipeline, report);
    if !pipeline.complete {
        return;
    }
    let edges = resolve_needs(pipeline, &index, report);
    let cycles = search(&edges).cycles;
    for cycle in &cycles {
        let first = cycle.first().copied().unwrap_or_default();
        let next = cycle.get(1).copied().unwrap_or(first);
        let stage = &pipeline.stages[first];
        let range = stage.needs.iter().flatten().find(|need| need.value == pipeline.stages[next].id.value);
        let by_order = cycle.iter().any(|&position| pipeline.stages[position].needs.is_none());
        let names = cycle.iter().map(|&position| pipeline.stages[position].id.value.as_str());
        report.add_with(
            range.map_or(stage.id.range, |need| need.range),
            format!("stages wait for each other: {}", chain(&names)),
            || by_order.then(|| "a stage without `needs` waits for the stage before it".to_owned()),
        );
    }
    if cycles.is_empty() {
        resolve_inputs(pipeline, &index, &edges, report);
    }
}

/// What each stage waits for, by position.
fn resolve_needs(
    pipeline: &PipelineDraft,
    index: &HashMap<&StageId, usize>,
    report: &Report<'_>,
) -> Vec<Vec<usize>> {
    let mut edges = Vec::with_capacity(pipeline.stages.len());
    for (position, stage) in pipeline.stages.iter().enumerate() {
        let Some(needs) = &stage.needs else {
            edges.push(position.checked_sub(1).into_iter().collect());
            continue;
        };
        let mut before = Vec::with_capacity(needs.len());
        for need in needs {
            match index.get(&need.value) {
                Some(&position) => before.push(position),
                None => report.add_with(
                    need.range,
                    format!("stage `{}` needs an unknown stage `{}`", stage.id.value, need.value),
                    || did_you_mean(need.value.as_str(), stage_names(pipeline)),
                ),
            }
        }
        edges.push(before);
    }
    edges
}

fn stage_names(pipeline: &PipelineDraft) -> impl Iterator<Item = &str> + Clone {
    pipeline.stages.iter().map(|stage| stage.id.value.as_str())
}

fn resolve_inputs(
    pipeline: &PipelineDraft,
    index: &HashMap<&StageId, usize>,
    edges: &[Vec<usize>],
    report: &Report<'_>,
) {
    for (position, stage) in pipeline.stages.iter().enumerate() {
        if stage.inputs.is_empty() {
            continue;
        }
        let before = reachable(position, edges);
        for Spanned { value: input, range } in &stage.inputs {
            let Some(&producer) = index.get(&input.stage) else {
                report.add_with(
                    *range,
                    format!(
                        "stage `{}` takes an input of an unknown stage `{}`",
                        stage.id.value, input.stage
                    ),
                    || did_you_mean(input.stage.as_str(), stage_names(pipeline)),
                );
                continue;
            };
            if !before[producer] {
                report.add_with(
                    *range,
                    format!(
                        "stage `{}` takes an input of `{}`, which need not be over before it",
                        stage.id.value, input.stage
                    ),
                    || Some(format!("declare it before, or name it in the `needs` of `{}`", stage.id.value)),
                );
            }
            let producer = &pipeline.stages[producer];
            if producer.is_read() && !producer.outputs.contains(&input.output) {
                report.add_with(
                    *range,
                    format!("stage `{}` has no output `{}`", input.stage, input.output),
                    || did_you_mean(&input.output, producer.outputs.iter().map(String::as_str)),
                );
            }
        }
    }
}

/// A target must mean one stage: names are compared without regard to case, as `--target` does.
fn resolve_targets(pipeline: &PipelineDraft, report: &Report<'_>) {
    let mut names: HashMap<String, &StageId> = HashMap::new();
    for stage in &pipeline.stages {
        let id = &stage.id.value;
        if let Some(other) = names.insert(id.as_str().to_lowercase(), id)
            && other != id
        {
            report.add(stage.id.range, format!("stages `{other}` and `{id}` differ only in case"));
        }
    }
    let mut default: Option<&StageId> = None;
    for stage in &pipeline.stages {
        let range = stage.plan.unwrap_or(stage.id.range);
        for alias in &stage.aliases {
            if let Some(other) = names.insert(alias.to_lowercase(), &stage.id.value)
                && *other != stage.id.value
            {
                report.add(
                    range,
                    format!("`{alias}` would mean both stage `{other}` and stage `{}`", stage.id.value),
                );
            }
        }
        if !stage.default_target {
            continue;
        }
        match default {
            None => default = Some(&stage.id.value),
            Some(first) => {
                report.add(range, format!("both `{first}` and `{}` are the default target", stage.id.value));
            }
        }
    }
}

/// `a → b → a`; the middle of a very long circle is left out.
fn chain<'n>(names: &(impl ExactSizeIterator<Item = &'n str> + Clone)) -> String {
    const SHOWN: usize = 12;
    let mut shown: Vec<String> = names.clone().take(SHOWN).map(|name| format!("`{name}`")).collect();
    if names.len() > SHOWN {
        shown.push("…".to_owned());
    }
    shown.extend(names.clone().next().map(|first| format!("`{first}`")));
    shown.join(" → ")
}

struct Search {
    /// Circles, each from the node where it closes.
    cycles: Vec<Vec<usize>>,
    /// Every node after all nodes it leads to.
    finished: Vec<usize>,
}

/// Walks a graph depth first. Iterative, since the depth is up to the writer of the file.
fn search(edges: &[Vec<usize>]) -> Search {
    #[derive(Clone, Copy, PartialEq)]
    enum Mark {
        New,
        OnPath,
        Done,
    }
    let mut marks = vec![Mark::New; edges.len()];
    let mut found = Search { cycles: Vec::new(), finished: Vec::with_capacity(edges.len()) };
    for start in 0..edges.len() {
        if marks[start] != Mark::New {
            continue;
        }
        marks[start] = Mark::OnPath;
        let mut path: Vec<(usize, usize)> = vec![(start, 0)];
        while let Some((node, next)) = path.last_mut() {
            let Some(&target) = edges[*node].get(*next) else {
                marks[*node] = Mark::Done;
                found.finished.push(*node);
                path.pop();
                continue;
            };
            *next += 1;
            match marks[target] {
                Mark::New => {
                    marks[target] = Mark::OnPath;
                    path.push((target, 0));
                }
                Mark::OnPath if found.cycles.len() < MOST_PROBLEMS => {
                    let nodes = path.iter().map(|(node, _)| *node);
                    found.cycles.push(nodes.skip_while(|node| *node != target).collect());
                }
                Mark::OnPath | Mark::Done => {}
            }
        }
    }
    found
}

/// Which nodes can be reached from `start`, itself not counted.
fn reachable(start: usize, edges: &[Vec<usize>]) -> Vec<bool> {
    let mut reached = vec![false; edges.len()];
    let mut open = edges[start].clone();
    while let Some(node) = open.pop() {
        if !std::mem::replace(&mut reached[node], true) {
            open.extend(&edges[node]);
        }
    }
    reached
}
