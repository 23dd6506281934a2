//! How an edited pipeline differs from the one that ran before.

use co_model::{Drift, Pipeline, Stage, StageDrift};

/// Compares two versions of a pipeline stage by stage, by id; position plays no part.
///
/// A stage counts as changed when what it *does* differs: its work, directory, environment,
/// limits, needs, conditions or files. Titles, hints and labels do not count.
pub fn compare(before: &Pipeline, after: &Pipeline) -> Drift {
    let mut stages = Vec::new();
    for new in &after.stages {
        match before.stage(&new.id) {
            None => stages.push(StageDrift::Added { stage: new.id.clone() }),
            Some(old) if behaviour(old) != behaviour(new) => {
                stages.push(StageDrift::Changed { stage: new.id.clone() });
            }
            Some(_) => {}
        }
    }
    let removed = before.stages.iter().filter(|old| after.stage(&old.id).is_none());
    stages.extend(removed.map(|old| StageDrift::Removed { stage: old.id.clone() }));
    Drift { stages }
}

/// The stage without what is only shown or only used for choosing.
fn behaviour(stage: &Stage) -> Stage {
    Stage {
        title: String::new(),
        summary_hint: None,
        capabilities: Vec::new(),
        aliases: Vec::new(),
        default_target: false,
        runnable: true,
        ..stage.clone()
    }
}
