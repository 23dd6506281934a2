//! What holds in one run: the settings, and what the person says besides.

use std::time::Duration;

use co_model::{
    ApprovalPolicy, NetworkAccess, PolicySource, SandboxMode, SandboxPolicy, ToolPolicy, narrowest_approval,
    narrowest_network, narrowest_sandbox,
};

use super::{CodexSettings, read};

/// Keys whose files are named as sources of a policy.
const DECIDING: [&str; 7] = [
    "approval_policy",
    "sandbox_mode",
    "sandbox_workspace_write",
    "default_permissions",
    "shell_environment_policy",
    "allowed_",
    "rules",
];

/// A value for one run, and which way it may change the settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Override<T> {
    /// The value.
    pub value: T,
    /// Which way.
    pub direction: Direction,
    /// Who says so, as sources name it: `flag --sandbox`, `task web`.
    pub source: String,
}

/// Which way a value may change the settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Only less can be done than before.
    Narrow,
    /// The person says, for this run, that more can be done.
    Widen,
}

/// What a person says for one run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Overrides {
    /// When consent is asked for.
    pub approval: Option<Override<ApprovalPolicy>>,
    /// The sandbox's mode.
    pub sandbox: Option<Override<SandboxMode>>,
    /// The network, applied after the mode.
    pub network: Option<Override<NetworkAccess>>,
    /// Further folders to write, absolute; they always widen, and count in `workspace-write` only.
    pub writable_roots: Vec<Override<String>>,
    /// Whether a weaker sandbox is accepted when this machine cannot give the one that is asked for.
    pub accept_weaker_sandbox: Option<Override<bool>>,
    /// How long a question stays open.
    pub question_expires_after: Option<Duration>,
}

/// Says why what a person says for a run cannot be followed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OverrideError {
    /// A value of which more could be done, without the word that it may.
    #[error("{origin} would let more happen than the settings: `{wanted}` instead of `{set}`")]
    Widens {
        /// Who said it.
        origin: String,
        /// What they said.
        wanted: String,
        /// What holds.
        set: String,
    },
    /// Two approval policies of which neither is narrower.
    #[error(
        "{origin} is `{wanted}`, which neither narrows nor widens `{set}`; it has to be said as a change"
    )]
    NeitherNarrower {
        /// Who said it.
        origin: String,
        /// What they said.
        wanted: &'static str,
        /// What holds.
        set: &'static str,
    },
    /// An administrator does not allow it.
    #[error("{origin} is `{wanted}`, which the requirements of this machine do not allow")]
    NotAllowed {
        /// Who said it.
        origin: String,
        /// What they said.
        wanted: &'static str,
    },
    /// A folder that is not absolute.
    #[error("{origin} names `{}`, which is not an absolute path", .path.escape_debug())]
    RelativeRoot {
        /// Who said it.
        origin: String,
        /// The path.
        path: String,
    },
}

/// Makes the policy of a run: the settings, and what is said on top of them, weakest first.
///
/// What narrows is joined with what is set, so that the result allows what both allow, and is refused where
/// that is less than what was said; the mode that nobody set is narrowed by any. What widens replaces what is
/// set, never past what managed requirements allow, and its source says so.
///
/// # Errors
/// [`OverrideError`] when a value would widen without the word that it may, or is not allowed at all.
pub fn tool_policy(settings: &CodexSettings, layers: &[Overrides]) -> Result<ToolPolicy, OverrideError> {
    let mut policy = ToolPolicy {
        approval: settings.approval.unwrap_or_default(),
        sandbox: settings.sandbox.clone(),
        rules: settings.rules.clone(),
        host_executables: settings.host_executables.clone(),
        hosts: settings.hosts.clone(),
        environment: settings.environment.clone(),
        sources: settings.files.iter().filter_map(deciding).collect(),
        ..ToolPolicy::default()
    };
    for overrides in layers {
        apply(settings, &mut policy, overrides)?;
    }
    Ok(policy)
}

fn apply(
    settings: &CodexSettings,
    policy: &mut ToolPolicy,
    overrides: &Overrides,
) -> Result<(), OverrideError> {
    let ToolPolicy { approval, sandbox, accept_weaker_sandbox, question_expires_after, sources, .. } = policy;
    let mut add = |source: &str, key: &str, direction: Direction| {
        let word = match direction {
            Direction::Narrow => "narrows",
            Direction::Widen => "widens",
        };
        sources.push(PolicySource {
            name: source.to_owned(),
            sha256: None,
            keys: vec![format!("{key} ({word})")],
        });
    };
    let confined = || SandboxPolicy::of(SandboxMode::WorkspaceWrite);
    // Without a sandbox everything is reached, and any word narrows that.
    let reached = sandbox.as_ref().map_or(NetworkAccess::On, |sandbox| sandbox.network.clone());
    if let Some(said) = &overrides.approval {
        *approval = join_approval(settings, *approval, said)?;
        add(&said.source, "approval_policy", said.direction);
    }
    if let Some(said) = &overrides.sandbox {
        *sandbox = Some(join_mode(settings, sandbox.as_ref(), said)?);
        add(&said.source, "sandbox_mode", said.direction);
    }
    if let Some(said) = &overrides.network {
        if said.direction == Direction::Narrow && narrowest_network(&reached, &said.value) != said.value {
            return Err(widens(said, network_word(&said.value), network_word(&reached)));
        }
        sandbox.get_or_insert_with(confined).network = said.value.clone();
        add(&said.source, "network_access", said.direction);
    }
    for said in &overrides.writable_roots {
        let origin = said.source.clone();
        if !std::path::Path::new(&said.value).is_absolute() {
            return Err(OverrideError::RelativeRoot { origin, path: said.value.clone() });
        }
        let sandbox = sandbox.get_or_insert_with(confined);
        let is_known = sandbox.writable_roots.contains(&said.value);
        if !is_known && said.direction == Direction::Narrow {
            let set = sandbox.writable_roots.join(", ");
            return Err(OverrideError::Widens { origin, wanted: said.value.clone(), set });
        }
        if !is_known && sandbox.mode == SandboxMode::WorkspaceWrite {
            sandbox.writable_roots.push(said.value.clone());
        }
        add(&said.source, "writable_roots", said.direction);
    }
    if let Some(said) = &overrides.accept_weaker_sandbox {
        if said.value && said.direction == Direction::Narrow {
            return Err(widens(said, "a weaker sandbox", "the one asked for"));
        }
        *accept_weaker_sandbox = said.value;
        add(&said.source, "accept_weaker_sandbox", said.direction);
    }
    if let Some(time) = overrides.question_expires_after {
        *question_expires_after = time;
    }
    Ok(())
}

/// What would let more happen, and was not said as that. Quietly doing less would surprise whoever said it.
fn widens<T>(said: &Override<T>, wanted: &str, set: &str) -> OverrideError {
    OverrideError::Widens { origin: said.source.clone(), wanted: wanted.to_owned(), set: set.to_owned() }
}

fn network_word(network: &NetworkAccess) -> &'static str {
    match network {
        NetworkAccess::Off => "off",
        NetworkAccess::On => "on",
        NetworkAccess::Allowed(_) => "allowed",
    }
}

/// A file as a source, with the keys that decide about tools; `None` when it has none.
fn deciding(file: &PolicySource) -> Option<PolicySource> {
    let is_deciding = |key: &&String| DECIDING.iter().any(|deciding| key.starts_with(deciding));
    let keys: Vec<String> = file.keys.iter().filter(is_deciding).cloned().collect();
    (!keys.is_empty()).then(|| PolicySource { keys, ..file.clone() })
}

fn join_approval(
    settings: &CodexSettings,
    set: ApprovalPolicy,
    said: &Override<ApprovalPolicy>,
) -> Result<ApprovalPolicy, OverrideError> {
    let joined = match said.direction {
        Direction::Widen => said.value,
        Direction::Narrow => {
            let narrowest =
                narrowest_approval(set, said.value).ok_or_else(|| OverrideError::NeitherNarrower {
                    origin: said.source.clone(),
                    wanted: said.value.as_str(),
                    set: set.as_str(),
                })?;
            if narrowest != said.value {
                return Err(widens(said, said.value.as_str(), set.as_str()));
            }
            narrowest
        }
    };
    let is_allowed = settings
        .allowed_approvals
        .as_ref()
        .is_none_or(|allowed| allowed.iter().any(|name| name == joined.as_str()));
    if is_allowed {
        Ok(joined)
    } else {
        Err(OverrideError::NotAllowed { origin: said.source.clone(), wanted: joined.as_str() })
    }
}

fn join_mode(
    settings: &CodexSettings,
    set: Option<&SandboxPolicy>,
    said: &Override<SandboxMode>,
) -> Result<SandboxPolicy, OverrideError> {
    let wanted = read::sandbox(said.value, &settings.workspace_write);
    let joined = match (said.direction, set) {
        (Direction::Narrow, Some(set)) => {
            let narrowest = narrowest_sandbox(set, &wanted);
            if narrowest.mode != wanted.mode {
                return Err(widens(said, wanted.mode.as_str(), set.mode.as_str()));
            }
            narrowest
        }
        (Direction::Narrow, None) | (Direction::Widen, _) => wanted,
    };
    if settings.allowed_modes.as_ref().is_none_or(|allowed| allowed.contains(&joined.mode)) {
        Ok(joined)
    } else {
        Err(OverrideError::NotAllowed { origin: said.source.clone(), wanted: joined.mode.as_str() })
    }
}
