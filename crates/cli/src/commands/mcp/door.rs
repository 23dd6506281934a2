//! What the MCP surface is given of this program.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use co_config::Loaded;
use co_mcp::{Errand, Host, PlanRequest, Receipt, Refusal, SessionAnswer, SessionErrand};
use co_process::{Handover, HandoverError};
use co_runtime::{Orchestrator, RunSnapshot, RuntimeError};
use co_views::StatusView;
use serde_json::Value;

use super::TOKEN_VARIABLE;
use super::own::Answer;
use crate::args::execution_mode;
use crate::commands::{plan, session, start, status};
use crate::context::Context;
use crate::error::{CliError, Exit};
use crate::output::harmless_output;
use crate::policy::PolicyOptions;
use crate::privacy::guard;

/// How long a process of its own may take to begin a run.
const PATIENCE: Duration = Duration::from_mins(2);

/// This program, as the MCP surface sees it.
pub(super) struct Door {
    context: Context,
    program: PathBuf,
    /// Opened with the first request that needs it: there may be no event log before.
    orchestrator: Mutex<Option<Orchestrator>>,
}

impl Door {
    pub(super) fn new(context: Context) -> Result<Self, CliError> {
        let program = std::env::current_exe().map_err(|error| {
            CliError::new(Exit::Setup, format!("the path of this program cannot be found: {error}"))
        })?;
        Ok(Self { context, program, orchestrator: Mutex::new(None) })
    }
}

impl From<CliError> for Refusal {
    fn from(error: CliError) -> Self {
        Self { message: error.to_string(), hints: error.hints().to_vec(), exit_code: error.exit as u8 }
    }
}

impl Host for Door {
    fn orchestrator(&self) -> Result<Orchestrator, Refusal> {
        let mut opened = self.orchestrator.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(orchestrator) = &*opened {
            return Ok(orchestrator.clone());
        }
        let orchestrator = self.context.existing()?;
        *opened = Some(orchestrator.clone());
        Ok(orchestrator)
    }

    fn has_runs(&self) -> bool {
        self.context.layout.database().exists()
    }

    fn pipelines(&self) -> Result<Loaded, Refusal> {
        Ok(self.context.load_pipelines()?)
    }

    fn plan(&self, request: &PlanRequest) -> Result<Value, Refusal> {
        let loaded = self.pipelines()?;
        let pipeline = start::select(&loaded, request.pipeline.as_deref())?;
        let pipeline = co_runtime::without_secrets(&guard(&self.context)?, &pipeline);
        let mode = request.execution_mode.as_deref().map(execution_mode).transpose();
        let target = request.target.as_deref().or(self.context.settings.target.value.as_deref());
        let planned = co_engine::plan(
            &pipeline,
            &co_engine::PlanRequest {
                target,
                mode: mode.map_err(Refusal::usage)?,
                parallel: request.parallel,
            },
        )
        .map_err(CliError::from)?;
        Ok(plan::document(&pipeline, &planned))
    }

    fn status(&self, orchestrator: &Orchestrator, snapshot: &RunSnapshot) -> StatusView {
        status::view(&self.context, orchestrator, snapshot)
    }

    fn explain(&self, error: RuntimeError) -> Refusal {
        CliError::from(error).into()
    }

    fn harmless(&self, output: &[u8]) -> String {
        harmless_output(output)
    }

    fn actor(&self) -> String {
        self.context.settings.actor.value.to_string()
    }

    fn send(&self, errand: &Errand, actor: &str) -> Result<Receipt, Refusal> {
        let layout = &self.context.layout;
        let flag = |name: &str, path: &Path| [OsString::from(name), path.into()];
        let mut arguments: Vec<OsString> = vec!["mcp".into(), "own".into(), "--quiet".into()];
        arguments.extend(flag("--root", &layout.root));
        arguments.extend(flag("--runs-dir", &layout.runs_dir));
        arguments.extend(flag("--out-dir", &layout.out_dir));
        arguments.extend(["--actor".into(), actor.into()]);
        if self.context.task_is_named {
            arguments.extend(["--task".into(), self.context.settings.task.value.as_str().into()]);
        }
        let bug = |error: &dyn std::error::Error| Refusal::from(CliError::of(Exit::Bug, error));
        let handover = Handover {
            program: self.program.clone(),
            arguments,
            cwd: layout.root.clone(),
            // A secret of this server: no stage may see it.
            without: vec![TOKEN_VARIABLE.into()],
            // Its process leads a session of its own; the client's is the one that serves the run.
            with: self
                .context
                .session()
                .map(|session| (OsString::from("CODEX_ORCHESTRATOR_SESSION"), session.into()))
                .into_iter()
                .collect(),
            message: serde_json::to_vec(errand).map_err(|error| bug(&error))?,
            patience: PATIENCE,
        };
        let line = handover.perform().map_err(|error| match &error {
            HandoverError::Late { .. } => Refusal::from(
                CliError::of(Exit::Bug, &error)
                    .hint("`codex-orchestrator runs` shows whether the run has begun"),
            ),
            _ => bug(&error),
        })?;
        match serde_json::from_slice(&line).map_err(|error| bug(&error))? {
            Answer::Begun(receipt) => Ok(receipt),
            Answer::Refused(refusal) => Err(refusal),
        }
    }

    fn session(&self, errand: &SessionErrand, consented: bool) -> Result<SessionAnswer, Refusal> {
        let word = session::Word { policy: &PolicyOptions::default(), agent: true, consented };
        Ok(session::perform(&self.context, errand, word)?)
    }
}
