//! The sandbox of an attempt: which layers this machine gives, and the command line that is really executed.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use co_model::{NetworkAccess, SandboxMode};
use co_sandbox::{EgressProxy, Layers, Request, Sandbox, Wrapped};

use crate::attempt::{Attempt, chain};
use crate::orchestrator::{RuntimeOptions, Shared};

/// A command line in its sandbox. Kept until the program's group has ended.
pub(crate) struct Confined {
    pub(crate) argv: Vec<OsString>,
    pub(crate) additions: Vec<(OsString, OsString)>,
    pub(crate) layers: Vec<String>,
    pub(crate) weaker: Option<String>,
    /// Hold what the sandbox needs while it lasts.
    _held: (Option<Wrapped>, Option<EgressProxy>),
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
        return Ok(Confined { argv, additions, layers, weaker, _held: (None, None) });
    }
    let shared = &attempt.shared;
    let Some(helper) = &shared.options.helper else {
        return Err("this process cannot build sandboxes".to_owned());
    };
    let egress = match &policy.network {
        NetworkAccess::Allowed(rules) => {
            let folder = std::env::temp_dir();
            Some(EgressProxy::start(rules, &folder).map_err(|error| chain(&error))?)
        }
        NetworkAccess::Off | NetworkAccess::On => None,
    };
    let cwd = attempt.cwd();
    let wrapped = sandbox(shared, helper).wrap(&Request {
        argv: &argv,
        cwd: &cwd,
        env,
        workspace: Path::new(&attempt.state.created.settings.workspace),
        policy,
        helper,
        secrets: &secrets(attempt),
        egress: egress.as_ref().map(EgressProxy::socket),
        accept_weaker: attempt.state.policy().accept_weaker_sandbox,
    });
    let mut wrapped = wrapped.map_err(|error| chain(&error))?;
    Ok(Confined {
        argv: std::mem::take(&mut wrapped.argv),
        additions: std::mem::take(&mut wrapped.env),
        layers: wrapped.layers.iter().map(ToString::to_string).collect(),
        weaker: wrapped.weaker.take(),
        _held: (Some(wrapped), egress),
    })
}

/// What this machine gives; measured once per process, when it is first needed.
fn sandbox<'s>(shared: &'s Shared, helper: &Path) -> &'s Sandbox {
    shared.sandbox.get_or_init(|| match search_path(&shared.options) {
        Some(path) => Sandbox::probe(path, helper),
        None => Sandbox::new(Layers::none("`PATH` is not set")),
    })
}

fn search_path(options: &RuntimeOptions) -> Option<&OsStr> {
    options.environment.iter().find(|(name, _)| name == "PATH").map(|(_, value)| value.as_os_str())
}

/// What of ours no confined command may read.
fn secrets(attempt: &Attempt) -> Vec<PathBuf> {
    let (layout, created) = (&attempt.shared.options.layout, &attempt.state.created);
    let database = layout.database();
    let beside = |suffix: &str| {
        let mut name = database.clone().into_os_string();
        name.push(suffix);
        PathBuf::from(name)
    };
    let token = layout.resume_token_path(&created.task, &created.run);
    let found = [beside("-wal"), beside("-shm"), database.clone(), token];
    found.into_iter().filter(|path| path.exists()).collect()
}
