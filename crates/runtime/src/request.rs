//! What surfaces ask of the runtime.

use co_model::{Actor, Pipeline, PipelineId, RunId, RunSettings, TaskId, ToolPolicy};
use indexmap::IndexMap;

/// Asks for a new run.
#[derive(Debug, Clone)]
pub struct StartRequest {
    /// The task.
    pub task: TaskId,
    /// The pipeline.
    pub pipeline: Pipeline,
    /// The pipelines its nested stages lead to, all the way down.
    pub nested: IndexMap<PipelineId, Pipeline>,
    /// The options. Workspace, worktree, instructions and token are filled in by the runtime.
    pub settings: RunSettings,
    /// Whether the run gets a worktree of its own.
    pub worktree: bool,
}

/// Asks for a run to go on.
#[derive(Debug, Clone)]
pub struct ResumeRequest {
    /// The run.
    pub run: RunId,
    /// Who asks.
    pub actor: Actor,
    /// Why.
    pub reason: String,
    /// The proof that the asker may.
    pub token: TokenOffer,
    /// The pipeline as it is now; `None` goes on with the recorded one.
    pub pipeline: Option<(Pipeline, IndexMap<PipelineId, Pipeline>)>,
    /// The policy as it is now; `None` goes on with the recorded one.
    pub policy: Option<Box<ToolPolicy>>,
}

/// The proof that comes with a resume.
#[derive(Clone)]
pub enum TokenOffer {
    /// None was given.
    Nothing,
    /// This one.
    Token(String),
}

impl std::fmt::Debug for TokenOffer {
    /// Never shows the token.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Nothing => "Nothing",
            Self::Token(_) => "Token(****)",
        })
    }
}
