//! What every command needs: settings, the event log, the runtime.

use std::ffi::OsString;
use std::path::Path;
use std::sync::Arc;

use co_config::{Environment, Flags, Loaded, Settings};
use co_log::RunFilter;
use co_log_sqlite::{OpenMode, SqliteLog};
use co_model::RunId;
use co_process::{Epilogue, Spawner, session_leader};
use co_runtime::{Orchestrator, RuntimeOptions, SystemClock};
use co_views::Layout;

use crate::args::{Format, Global};
use crate::error::{CliError, Exit};
use crate::output::{Notes, warn};
use crate::privacy;
use crate::telemetry::{self, TelemetryOptions};

#[derive(Clone)]
pub(crate) struct Context {
    pub(crate) settings: Settings,
    pub(crate) environment: Environment,
    pub(crate) layout: Layout,
    pub(crate) format: Format,
    pub(crate) notes: Notes,
    /// Whether a task was named, by flag or environment.
    pub(crate) task_is_named: bool,
}

impl Context {
    pub(crate) fn resolve(global: &Global, target: Option<OsString>, notes: Notes) -> Result<Self, CliError> {
        Self::resolve_in(Environment::capture(), global, target, notes)
    }

    /// The same in an environment that is not quite the process's own.
    pub(crate) fn resolve_in(
        environment: Environment,
        global: &Global,
        target: Option<OsString>,
        notes: Notes,
    ) -> Result<Self, CliError> {
        let flags = Flags {
            root: global.root.clone(),
            runs_dir: global.runs_dir.clone(),
            out_dir: global.out_dir.clone(),
            task: global.task.clone(),
            target,
            actor: global.actor.clone(),
        };
        let settings = Settings::resolve(&flags, &environment)?;
        let layout = Layout {
            root: settings.root.value.clone(),
            runs_dir: settings.runs_dir.value.clone(),
            out_dir: settings.out_dir.value.clone(),
        };
        let task_is_named = settings.task.source != co_config::Source::Default;
        Ok(Self { settings, environment, layout, format: global.format(), notes, task_is_named })
    }

    /// Loads the repository's pipelines; notes on them go to standard error.
    pub(crate) fn pipelines(&self) -> Result<Loaded, CliError> {
        let loaded = self.load_pipelines()?;
        for warning in &loaded.warnings {
            warn(&warning.to_string());
        }
        Ok(loaded)
    }

    /// Loads the repository's pipelines.
    pub(crate) fn load_pipelines(&self) -> Result<Loaded, CliError> {
        let root = &self.layout.root;
        if !root.is_dir() {
            return Err(CliError::new(
                Exit::Setup,
                format!("the repository `{}` is no folder", root.display()),
            ));
        }
        Ok(co_config::load(root, &self.environment)?)
    }

    /// Opens the runtime to look, command and mend. There must be an event log.
    pub(crate) fn existing(&self) -> Result<Orchestrator, CliError> {
        self.existing_log()?;
        self.orchestrator(OpenMode::Existing, None)
    }

    /// Makes sure that there is an event log.
    pub(crate) fn existing_log(&self) -> Result<(), CliError> {
        let path = self.layout.database();
        if path.exists() {
            return Ok(());
        }
        let nothing = format!("nothing has been run here: there is no event log `{}`", path.display());
        Err(CliError::new(Exit::NotFound, nothing).hint("codex-orchestrator start"))
    }

    /// Opens the runtime to run; the event log is made when there is none.
    pub(crate) fn running(&self, spawner: Option<Spawner>) -> Result<Orchestrator, CliError> {
        let root = &self.layout.root;
        if root.to_str().is_none() {
            let message = format!("the repository `{}` is no UTF-8 and cannot be recorded", root.display());
            return Err(CliError::new(Exit::Usage, message));
        }
        self.orchestrator(OpenMode::Create, spawner)
    }

    /// The same, with whoever is told of the runs.
    pub(crate) fn running_told(
        &self,
        spawner: Option<Spawner>,
        told: &TelemetryOptions,
    ) -> Result<Orchestrator, CliError> {
        self.told(self.running(spawner)?, told)
    }

    /// Adds whoever is told of the runs. What is wrong with their settings is a warning, so whoever reads the policy in
    /// the same files, and stops there, does that first.
    pub(crate) fn told(
        &self,
        orchestrator: Orchestrator,
        told: &TelemetryOptions,
    ) -> Result<Orchestrator, CliError> {
        Ok(orchestrator.told_to(telemetry::resolve(self, told)?.observers))
    }

    fn orchestrator(&self, mode: OpenMode, spawner: Option<Spawner>) -> Result<Orchestrator, CliError> {
        if let Some(spawner) = &spawner {
            self.register_epilogue(spawner);
        }
        let log = SqliteLog::open(&self.layout.database(), mode)?;
        if let Some(note) = log.note() {
            warn(&note);
        }
        let settings = &self.settings;
        let options = RuntimeOptions {
            layout: self.layout.clone(),
            environment: self
                .environment
                .variables()
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
            host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
            heartbeat_interval: settings.heartbeat_interval.value,
            stale_after: settings.stale_after.value,
            require_resume_token: settings.require_resume_token.value,
            agent_program: settings.codex.value.clone(),
            helper: std::env::current_exe().ok(),
            guard: privacy::guard(self)?,
            session_host: crate::commands::session::host_of(self).ok(),
        };
        Ok(Orchestrator::new(options, Arc::new(log), Arc::new(SystemClock), spawner)?)
    }

    /// When we are killed, the helper that outlives us records it: nobody finds a run that claims
    /// to be under way.
    fn register_epilogue(&self, spawner: &Spawner) {
        let Ok(program) = std::env::current_exe() else { return };
        let flag = |name: &str, path: &Path| [OsString::from(name), path.into()];
        let mut argv = vec![program.into(), OsString::from("recover"), OsString::from("--quiet")];
        argv.extend(flag("--root", &self.layout.root));
        argv.extend(flag("--runs-dir", &self.layout.runs_dir));
        argv.extend(flag("--out-dir", &self.layout.out_dir));
        let env =
            self.environment.variables().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        // Without it, the next command that looks at the run mends it.
        drop(spawner.set_epilogue(&Epilogue { argv, env, cwd: self.layout.root.clone() }));
    }

    /// The run that was named, or the newest one of the task.
    pub(crate) fn run_or_newest(
        &self,
        orchestrator: &Orchestrator,
        named: Option<&RunId>,
    ) -> Result<RunId, CliError> {
        if let Some(run) = named {
            return Ok(run.clone());
        }
        let filter = RunFilter { task: self.named_task(), limit: 1, ..RunFilter::default() };
        let newest = orchestrator.runs(&filter)?;
        newest.first().map(|head| head.run.clone()).ok_or_else(|| {
            let of = self.named_task().map(|task| format!(" of task `{task}`")).unwrap_or_default();
            CliError::new(Exit::NotFound, format!("there is no run{of}")).hint("codex-orchestrator start")
        })
    }

    /// The session one works in: as it was named, else that of the terminal.
    pub(crate) fn session(&self) -> Option<String> {
        let named = self.settings.session.value.clone();
        named.or_else(|| session_leader().map(|leader| leader.to_string()))
    }

    /// The task, when one was named.
    pub(crate) fn named_task(&self) -> Option<co_model::TaskId> {
        self.task_is_named.then(|| self.settings.task.value.clone())
    }
}
