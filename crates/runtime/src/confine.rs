//! The sandboxes of attempts and of live sessions: which layers this machine gives, and the command line that is really
//! executed.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::thread;

use co_model::{NetworkAccess, RunId, SandboxMode, SandboxPolicy, TaskId};
use co_sandbox::{EgressProxy, Layers, Request, Sandbox, Wrapped};
use co_sessions::{Confinement, Confiner, StartSession};
use co_views::Layout;

use crate::attempt::{Attempt, chain};
use crate::launch::make_root_folders;
use crate::orchestrator::RuntimeOptions;

/// What sandboxes of this process are built from.
pub(crate) struct Walls {
    helper: Option<PathBuf>,
    search_path: Option<OsString>,
    layout: Layout,
    /// What this machine gives, once somebody has asked.
    sandbox: OnceLock<Sandbox>,
}

/// A command line in its sandbox. Kept until the program's group has ended.
pub(crate) struct Confined {
    pub(crate) argv: Vec<OsString>,
    pub(crate) additions: Vec<(OsString, OsString)>,
    pub(crate) layers: Vec<String>,
    pub(crate) weaker: Option<String>,
    /// Hold what the sandbox needs while it lasts.
    held: (Option<Wrapped>, Option<EgressProxy>),
}

/// A command line that is to be confined.
struct Wanted<'w> {
    argv: &'w [OsString],
    cwd: &'w Path,
    env: &'w [(OsString, OsString)],
    workspace: &'w Path,
    policy: &'w SandboxPolicy,
    accept_weaker: bool,
    /// What of ours it may read, though it is hidden from all others.
    readable: &'w [PathBuf],
    /// What in there it must not.
    secrets: &'w [PathBuf],
    scratch: Option<&'w Path>,
}

/// Confines a command line as its call says.
///
/// # Errors
/// A sentence that says what is missing; the command must not run then.
pub(crate) fn confine(
    attempt: &Attempt,
    argv: Vec<OsString>,
    env: &[(OsString, OsString)],
) -> Result<Confined, String> {
    let policy = &attempt.sandbox;
    if policy.mode == SandboxMode::DangerFullAccess {
        let (layers, additions, weaker) = (Vec::new(), Vec::new(), None);
        return Ok(Confined { argv, additions, layers, weaker, held: (None, None) });
    }
    let created = &attempt.state.created;
    let own = OwnFolder::of(&attempt.shared.options.layout, &created.task, &created.run);
    attempt.shared.walls.confine(&Wanted {
        argv: &argv,
        cwd: &attempt.cwd(),
        env,
        workspace: Path::new(&created.settings.workspace),
        policy,
        accept_weaker: attempt.state.policy().accept_weaker_sandbox,
        readable: &own.readable,
        secrets: &own.secrets,
        scratch: None,
    })
}

/// What a confined command of a run sees of our folder: the run's own, but for the token.
pub(crate) struct OwnFolder {
    pub(crate) readable: Vec<PathBuf>,
    pub(crate) secrets: Vec<PathBuf>,
}

impl OwnFolder {
    pub(crate) fn of(layout: &Layout, task: &TaskId, run: &RunId) -> Self {
        Self { readable: vec![layout.run_dir(task, run)], secrets: vec![layout.resume_token_path(task, run)] }
    }
}

impl Walls {
    pub(crate) fn new(options: &RuntimeOptions) -> Self {
        let search_path = options.environment.iter().find(|(name, _)| name == "PATH");
        Self::of(options.helper.clone(), search_path.map(|(_, path)| path.clone()), options.layout.clone())
    }

    /// Names our own executable, where bubblewrap is looked for, and what of ours is to be hidden.
    pub(crate) fn of(helper: Option<PathBuf>, search_path: Option<OsString>, layout: Layout) -> Self {
        Self { helper, search_path, layout, sandbox: OnceLock::new() }
    }

    /// Has what this machine gives measured while other things are done; whoever needs it first waits for the rest.
    pub(crate) fn measure_ahead(self: &Arc<Self>) {
        if let Some(helper) = self.helper.clone().filter(|_| self.sandbox.get().is_none()) {
            let walls = Arc::clone(self);
            // Without a thread it is measured when it is needed.
            drop(thread::Builder::new().name("sandbox probe".to_owned()).spawn(move || {
                walls.sandbox(&helper);
            }));
        }
    }

    fn confine(&self, wanted: &Wanted<'_>) -> Result<Confined, String> {
        let Some(helper) = &self.helper else {
            return Err("this process cannot build sandboxes".to_owned());
        };
        let egress = match &wanted.policy.network {
            NetworkAccess::Allowed(rules) => {
                let folder = std::env::temp_dir();
                Some(EgressProxy::start(rules, &folder).map_err(|error| chain(&error))?)
            }
            NetworkAccess::Off | NetworkAccess::On => None,
        };
        // Made before they are needed: what does not exist when the program starts is neither hidden from it nor
        // held in its place.
        make_root_folders(&self.layout).map_err(|error| chain(&error))?;
        // Whoever could read all of it had the tokens of other runs; whoever could write there, or speak with the
        // keeper of sessions, could make up records and have anything started.
        let mut secrets = vec![self.layout.runs_dir.clone()];
        secrets.extend(wanted.secrets.iter().filter(|path| path.exists()).cloned());
        let held = [self.layout.out_dir.clone()];
        let wrapped = self.sandbox(helper).wrap(&Request {
            argv: wanted.argv,
            cwd: wanted.cwd,
            env: wanted.env,
            workspace: wanted.workspace,
            policy: wanted.policy,
            helper,
            secrets: &secrets,
            readable: wanted.readable,
            held: &held,
            scratch: wanted.scratch,
            egress: egress.as_ref().map(EgressProxy::socket),
            accept_weaker: wanted.accept_weaker,
        });
        let mut wrapped = wrapped.map_err(|error| chain(&error))?;
        Ok(Confined {
            argv: std::mem::take(&mut wrapped.argv),
            additions: std::mem::take(&mut wrapped.env),
            layers: wrapped.layers.iter().map(ToString::to_string).collect(),
            weaker: wrapped.weaker.take(),
            held: (Some(wrapped), egress),
        })
    }

    /// What this machine gives; measured once per process, when it is first needed.
    fn sandbox(&self, helper: &Path) -> &Sandbox {
        self.sandbox.get_or_init(|| {
            match self.search_path.as_deref().filter(|path| *path != OsStr::new("")) {
                Some(path) => Sandbox::probe(path, helper),
                None => Sandbox::new(Layers::none("`PATH` is not set")),
            }
        })
    }
}

/// The folder of everything that belongs to live sessions.
pub(crate) fn sessions_folder(layout: &Layout) -> PathBuf {
    layout.runs_dir.join(".sessions")
}

impl Confiner for Walls {
    fn confine(
        &self,
        start: &StartSession,
        how: &Confinement,
        scratch: &Path,
    ) -> Result<co_sessions::Confined, String> {
        let confined = self.confine(&Wanted {
            argv: &start.argv,
            cwd: &start.cwd,
            env: &start.env,
            workspace: &how.workspace,
            policy: &how.policy,
            accept_weaker: how.accept_weaker,
            readable: &how.readable,
            secrets: &how.secrets,
            scratch: Some(scratch),
        })?;
        Ok(co_sessions::Confined {
            argv: confined.argv,
            env: confined.additions,
            layers: confined.layers,
            weaker: confined.weaker,
            held: Box::new(confined.held),
        })
    }
}
