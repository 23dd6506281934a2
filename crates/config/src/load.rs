//! Loads the pipelines of a repository: its own file first, the built-in ones under it.

use std::io;
use std::path::{Path, PathBuf};

use co_model::{Pipeline, PipelineId, PipelineSet};
use indexmap::IndexMap;

use crate::detect::{Detection, NothingDetected, detect};
use crate::document;
use crate::environment::Environment;
use crate::files::{Content, read_bounded};
use crate::problem::{Problem, Report, describe, did_you_mean};
use crate::{BUILT_IN, PIPELINE_FILE, builtin};

/// Largest pipeline file that is read.
const LONGEST_FILE: u64 = 1024 * 1024;

/// The pipelines of a repository and how they came about.
#[derive(Debug)]
pub struct Loaded {
    /// Every pipeline that can be started.
    pub set: PipelineSet,
    /// The repository's file, when it has one.
    pub file: Option<PathBuf>,
    /// What is accepted but has no effect yet.
    pub warnings: Vec<Problem>,
    /// What the repository was recognised as.
    pub detection: Detection,
}

impl Loaded {
    /// Picks the pipeline with this id, or the default when none is given.
    ///
    /// # Errors
    /// [`SelectError`] says which pipelines there are, or why there is no built-in one.
    pub fn select(&self, id: Option<&PipelineId>) -> Result<&Pipeline, SelectError> {
        let wanted = id.or(self.set.default.as_ref());
        if let Some(pipeline) = wanted.and_then(|id| self.set.pipelines.get(id)) {
            return Ok(pipeline);
        }
        let known = || self.set.pipelines.keys().map(PipelineId::as_str);
        match id {
            Some(id) if id.as_str() != BUILT_IN => {
                Err(SelectError::Unknown { id: id.clone(), suggestion: did_you_mean(id.as_str(), known()) })
            }
            None if known().next().is_some() => {
                Err(SelectError::NoDefault { known: known().take(24).collect::<Vec<_>>().join("`, `") })
            }
            _ => Err(SelectError::NothingDetected(self.detection.nothing())),
        }
    }
}

/// Says why no pipeline was picked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SelectError {
    /// There is no pipeline with this id.
    #[error("there is no pipeline `{id}`{}", .suggestion.as_ref().map(|text| format!("; {text}")).unwrap_or_default())]
    Unknown {
        /// The id that was asked for.
        id: PipelineId,
        /// The closest one, or all there are.
        suggestion: Option<String>,
    },
    /// None was named, and the file names no default.
    #[error("no pipeline is named and the file has no `defaultPipeline`; there are `{known}`")]
    NoDefault {
        /// The pipelines there are.
        known: String,
    },
    /// The built-in pipeline was asked for, and there is nothing to build it from.
    #[error(transparent)]
    NothingDetected(#[from] NothingDetected),
}

/// Says why a repository's pipelines could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file is there but could not be read.
    #[error("failed to read pipeline file `{}`", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file is larger than 1 MiB.
    #[error("pipeline file `{}` is larger than {} bytes", .path.display(), LONGEST_FILE)]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// The file says something that cannot be.
    #[error("{}", describe("pipeline file", .problems, *.omitted))]
    Invalid {
        /// What is wrong, in the order of the file; at most 20.
        problems: Vec<Problem>,
        /// How many more there were.
        omitted: usize,
    },
}

/// Loads the pipelines of the repository at `root`.
///
/// A pipeline of the repository's file wins over a built-in one with the same id. The default is
/// the file's, else `diagnostics`, else the only pipeline there is.
///
/// # Errors
/// [`LoadError`] when the file exists and cannot be read or is not valid; every problem in it is
/// listed. A repository without a file, or in which nothing was recognised, is no error here:
/// [`Loaded::select`] says so when a pipeline is wanted.
pub fn load(root: &Path, environment: &Environment) -> Result<Loaded, LoadError> {
    let detection = detect(root, environment);
    let builtin = builtin(&detection).ok();
    let path = root.join(PIPELINE_FILE);
    let content =
        read_bounded(&path, LONGEST_FILE).map_err(|source| LoadError::Read { path: path.clone(), source })?;
    let outside: Vec<PipelineId> = builtin.iter().map(|pipeline| pipeline.id.clone()).collect();
    let (file, document) = match content {
        Content::Missing => (None, Document::default()),
        Content::TooLarge => return Err(LoadError::TooLarge { path }),
        Content::Bytes(bytes) => {
            let document = read(&path, &bytes, &outside)
                .map_err(|(problems, omitted)| LoadError::Invalid { problems, omitted })?;
            (Some(path), document)
        }
    };
    let mut pipelines: IndexMap<PipelineId, Pipeline> =
        document.pipelines.into_iter().map(|pipeline| (pipeline.id.clone(), pipeline)).collect();
    if let Some(pipeline) = builtin {
        pipelines.entry(pipeline.id.clone()).or_insert(pipeline);
    }
    let usual = || pipelines.keys().find(|id| id.as_str() == BUILT_IN);
    let only = || pipelines.keys().next().filter(|_| pipelines.len() == 1);
    let default = document.default.or_else(|| usual().or_else(only).cloned());
    let set = PipelineSet { pipelines, default };
    Ok(Loaded { set, file, warnings: document.warnings, detection })
}

/// A file that was read without a problem.
#[derive(Debug, Default)]
pub(crate) struct Document {
    pub(crate) default: Option<PipelineId>,
    pub(crate) pipelines: Vec<Pipeline>,
    pub(crate) warnings: Vec<Problem>,
}

/// Reads a pipeline file's bytes; `outside` are the pipelines it may refer to beside its own.
pub(crate) fn read(
    path: &Path,
    bytes: &[u8],
    outside: &[PipelineId],
) -> Result<Document, (Vec<Problem>, usize)> {
    let report = Report::on_bytes(path, bytes);
    let (default, pipelines) =
        if report.is_clean() { document::read(&report, outside) } else { Default::default() };
    report.finish().map(|warnings| Document { default, pipelines, warnings })
}
