//! Pipelines after loading: every reference resolved, every value valid.
//!
//! `co-config` builds these from files; nothing else does. A run stores the pipeline it was
//! created with, so the serde derives are part of the stored format.

use std::num::{NonZeroU16, NonZeroU32};
use std::time::Duration;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use crate::attempt::is_false;
use crate::time::{millis, optional_millis};
use crate::{NetworkAccess, PipelineId, SandboxMode, StageId};

/// All pipelines a repository declares, in file order, built-in ones last.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PipelineSet {
    /// The pipelines by id. Nested references resolve within this set and form no cycle.
    pub pipelines: IndexMap<PipelineId, Pipeline>,
    /// The pipeline `start` takes when none is named.
    pub default: Option<PipelineId>,
}

impl PipelineSet {
    /// The pipelines that a pipeline's nested stages lead to, all the way down.
    pub fn nested_of(&self, pipeline: &Pipeline) -> IndexMap<PipelineId, Pipeline> {
        let mut found = IndexMap::new();
        let mut open = vec![pipeline];
        while let Some(pipeline) = open.pop() {
            for stage in &pipeline.stages {
                if let StageWork::Pipeline(nested) = &stage.work
                    && !found.contains_key(&nested.pipeline)
                    && let Some(child) = self.pipelines.get(&nested.pipeline)
                {
                    found.insert(nested.pipeline.clone(), child.clone());
                    open.push(child);
                }
            }
        }
        found
    }
}

/// A named, ordered set of stages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pipeline {
    /// Unique within its set.
    pub id: PipelineId,
    /// Shown to people.
    pub title: String,
    /// What the pipeline is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Free labels.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// Whether a run without a succeeding guardrail stage is judged failed.
    pub guardrails_required: bool,
    /// How many stages may run at the same time.
    pub max_parallel: NonZeroU16,
    /// The MCP servers, of those the person has defined, that a run may use.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mcp_servers: Vec<String>,
    /// At least one; ids are unique.
    pub stages: Vec<Stage>,
    /// Where the pipeline came from.
    pub source: PipelineSource,
}

impl Pipeline {
    /// Finds a stage by id.
    pub fn stage(&self, id: &StageId) -> Option<&Stage> {
        self.stages.iter().find(|stage| stage.id == *id)
    }
}

/// Says where a pipeline was defined.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PipelineSource {
    /// In the repository's own file.
    Repository,
    /// Built from what the repository contains.
    BuiltIn,
}

/// One step of a pipeline.
#[expect(
    clippy::struct_excessive_bools,
    reason = "four independent yes-or-no answers of the file, each its own key"
)]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stage {
    /// Unique within its pipeline; the identity a resume goes by.
    pub id: StageId,
    /// Shown to people.
    pub title: String,
    /// What is done.
    pub work: StageWork,
    /// Working directory, absolute or relative to the repository root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cwd: Option<String>,
    /// Variables added to the environment.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub env: IndexMap<String, String>,
    /// Longest time one attempt may take.
    #[serde(default, with = "optional_millis", skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
    /// When and how often a failed attempt is tried again.
    pub retry: RetryPolicy,
    /// Whether the run goes on, and may succeed, when the stage fails.
    pub allow_failure: bool,
    /// What must be over before the stage may begin.
    pub needs: Needs,
    /// On which outcome of the stages before it the stage runs.
    pub when: When,
    /// Files of earlier stages, by local name; their paths reach the stage as
    /// `CODEX_ORCHESTRATOR_INPUT_<NAME>`.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub inputs: IndexMap<String, OutputReference>,
    /// Files the stage promises, by name: paths relative to its working directory.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub outputs: IndexMap<String, String>,
    /// Summary shown instead of the one taken from the output.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary_hint: Option<String>,
    /// The part the stage plays in the run.
    pub role: Role,
    /// Where the stage is to be executed.
    pub execution: ExecutionMode,
    /// Free labels of what the stage needs from its executor.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub capabilities: Vec<String>,
    /// Whether the stage's result is counted as guardrail evidence.
    pub guardrail: bool,
    /// Other names that `--target` accepts for the stage.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<String>,
    /// Whether the stage is the target when none is named (the seeds' `plan.defaultTarget`).
    #[serde(default)]
    pub default_target: bool,
    /// Whether a target may select the stage.
    pub runnable: bool,
    /// Whether a person must agree before the stage's command runs.
    #[serde(default, skip_serializing_if = "is_false")]
    pub approval_required: bool,
    /// The sandbox of the stage's command; `None` follows the run's policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confinement: Option<Confinement>,
    /// Whether the stage's command runs on a terminal.
    #[serde(default, skip_serializing_if = "is_false")]
    pub tty: bool,
    /// The live session the stage's command runs in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<StageSession>,
    /// Whether secrets were taken out of the command or the variables: as recorded, they cannot be run.
    #[serde(default, skip_serializing_if = "is_false")]
    pub sealed: bool,
}

impl Stage {
    /// A builder stage after the one before it, titled by its id, with nothing else asked for.
    pub fn new(id: StageId, work: StageWork) -> Self {
        Self {
            title: id.to_string(),
            id,
            work,
            cwd: None,
            env: IndexMap::new(),
            timeout: None,
            retry: RetryPolicy::NEVER,
            allow_failure: false,
            needs: Needs::PreviousStage,
            when: When::Success,
            inputs: IndexMap::new(),
            outputs: IndexMap::new(),
            summary_hint: None,
            role: Role::Builder,
            execution: ExecutionMode::Unset,
            capabilities: Vec::new(),
            guardrail: false,
            aliases: Vec::new(),
            default_target: false,
            runnable: true,
            approval_required: false,
            confinement: None,
            tty: false,
            session: None,
            sealed: false,
        }
    }
}

/// The sandbox that a stage names for its command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confinement {
    /// The mode.
    pub mode: SandboxMode,
    /// The network; `None` follows the mode: off in a sandbox.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<NetworkAccess>,
    /// Folders that may be written besides, absolute or relative to the workspace.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub writable_roots: Vec<String>,
}

/// A live session that a stage's command runs in: the same shell for every stage that names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StageSession {
    /// Its name within the run, or on this machine when it persists.
    pub id: String,
    /// Whether a session of that name that is there already is used, or refused.
    pub reuse: bool,
    /// Whether it outlives the run.
    pub persist: bool,
}

/// What a stage does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StageWork {
    /// Runs a program.
    Command(CommandLine),
    /// Gives a coding agent a task.
    Agent(AgentStage),
    /// Waits for a person's yes or no.
    Gate(GateStage),
    /// Runs another pipeline as a child run.
    Pipeline(NestedStage),
    /// Calls a tool of an MCP server.
    Mcp(McpStage),
}

/// What to execute.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CommandLine {
    /// A line for `/bin/sh -c`.
    Shell(String),
    /// A program and its arguments, passed as they are. Never empty.
    Argv(Vec<String>),
}

/// A tool of an MCP server, and what it is given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct McpStage {
    /// The server, by the name it has in the person's settings.
    pub server: String,
    /// The tool, as the server calls it.
    pub tool: String,
    /// The arguments: a JSON object in canonical form, its keys sorted and without blanks.
    pub arguments: String,
}

/// An agent and what it is asked to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentStage {
    /// Which agent: `codex`.
    pub agent: String,
    /// What the agent is asked, a template.
    pub prompt: Prompt,
    /// Model name passed to the agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Sandbox mode passed to the agent (`read-only`, `workspace-write`, `danger-full-access`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sandbox: Option<String>,
    /// Configuration profile passed to the agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// Further arguments for the agent, passed as they are.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub arguments: Vec<String>,
    /// The conversation that the first attempt continues; none begins a new one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thread: Option<String>,
}

/// A prompt template, rendered with `task`, `run` and `stages`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Prompt {
    /// The template itself.
    Text(String),
    /// A file that holds the template, relative to the repository root.
    File(String),
}

/// A question to a person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GateStage {
    /// The question as it is shown.
    pub message: String,
    /// How long the question stays open; unanswered means no.
    #[serde(with = "millis")]
    pub expires_after: Duration,
}

/// A reference to another pipeline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NestedStage {
    /// The pipeline to run; exists in the same set.
    pub pipeline: PipelineId,
}

/// What must be over before a stage may begin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Needs {
    /// The stage before it in the file: plain order of appearance.
    PreviousStage,
    /// Exactly these stages; none means it may begin at once.
    Declared(Vec<StageId>),
}

/// On which outcome of the stages before it a stage runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum When {
    /// When none of them failed.
    Success,
    /// When one of them failed.
    Failure,
    /// In any case, unless the run is cancelled.
    Always,
}

/// Which attempts are tried again, and how.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetryPolicy {
    /// Attempts in all; 1 means no retry.
    pub max_attempts: NonZeroU32,
    /// Wait before the second attempt; doubled for each further one, at most 5 minutes.
    #[serde(with = "millis")]
    pub backoff: Duration,
    /// Which failures are worth another attempt.
    pub on: RetryOn,
}

impl RetryPolicy {
    /// One attempt, no retry.
    pub const NEVER: Self = Self {
        max_attempts: NonZeroU32::MIN,
        backoff: Duration::ZERO,
        on: RetryOn { exit_codes: None, timed_out: true },
    };
}

/// Which failures are worth another attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetryOn {
    /// Only these exit codes; `None` means every failing one.
    pub exit_codes: Option<Vec<i32>>,
    /// Whether a time-out is tried again.
    pub timed_out: bool,
}

/// An output of another stage: `stage.output` in files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputReference {
    /// The stage that produces it.
    pub stage: StageId,
    /// Its name there.
    pub output: String,
}

/// The part a stage plays; parts run in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Decides what is to be run.
    Planner,
    /// Does the work.
    Builder,
    /// Judges the work.
    Tester,
    /// Takes the final decision.
    Reviewer,
}

impl Role {
    /// The role as files and manifests spell it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Planner => "planner",
            Self::Builder => "builder",
            Self::Tester => "tester",
            Self::Reviewer => "reviewer",
        }
    }
}

/// Where a stage, or a whole run, is to be executed.
///
/// A stage left `Unset` follows the task; a stage that says no to the cloud stays local even
/// when the task asks for parallel execution (the seeds' mode policy).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExecutionMode {
    /// Nothing was said.
    Unset,
    /// On this machine.
    Mcp,
    /// On a cloud executor.
    Cloud,
}

impl ExecutionMode {
    /// The mode as files and manifests spell it; unset reads as `mcp`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unset | Self::Mcp => "mcp",
            Self::Cloud => "cloud",
        }
    }
}
