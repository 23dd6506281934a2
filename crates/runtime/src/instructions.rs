//! Which instruction files the agents of a run are told.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use co_agents::instructions::{InstructionRequest, discover};
use co_model::{Pipeline, Stage, StageWork};

use crate::orchestrator::RuntimeOptions;
use crate::token::sha256_hex;

/// The files, their hashes and a hash over these.
#[derive(Debug, Default)]
pub(crate) struct Told {
    /// Paths as views show them, with the SHA-256 of what is told, in the order they are told.
    pub(crate) files: Vec<(String, String)>,
    /// SHA-256 over the hashes, each followed by a newline; none without files.
    pub(crate) combined_sha256: Option<String>,
    /// What could not be read.
    pub(crate) warnings: Vec<String>,
}

/// Looks at every directory in which an agent of the run would work, and at the workspace in any
/// case, each under the home that the agent would have there.
pub(crate) fn told<'p>(
    options: &RuntimeOptions,
    workspace: &Path,
    pipelines: impl Iterator<Item = &'p Pipeline>,
) -> Told {
    let stages = pipelines.flat_map(|pipeline| &pipeline.stages);
    let agents = stages.filter(|stage| matches!(stage.work, StageWork::Agent(_)));
    let places = std::iter::once(None).chain(agents.map(Some));
    let mut seen = BTreeSet::new();
    let mut told = Told::default();
    for place in places {
        let cwd = place
            .and_then(|stage| stage.cwd.as_ref())
            .map_or(workspace.to_owned(), |cwd| workspace.join(cwd));
        let variable = |name: &str| variable(options, place, name).map(PathBuf::from);
        let request = InstructionRequest::new(cwd, variable("CODEX_HOME"), variable("HOME"));
        let found = discover(&request);
        for source in found.sources {
            let path = options.layout.show(&source.path);
            if seen.insert(path.clone()) {
                told.files.push((path, source.sha256));
            }
        }
        told.warnings.extend(found.warnings);
    }
    let hashes: String = told.files.iter().flat_map(|(_, sha256)| [sha256.as_str(), "\n"]).collect();
    told.combined_sha256 = (!hashes.is_empty()).then(|| sha256_hex(hashes.as_bytes()));
    told
}

fn variable<'o>(options: &'o RuntimeOptions, stage: Option<&'o Stage>, name: &str) -> Option<&'o OsStr> {
    let own = stage.and_then(|stage| stage.env.get(name)).map(OsStr::new);
    let inherited =
        || options.environment.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_os_str());
    own.or_else(inherited)
}
