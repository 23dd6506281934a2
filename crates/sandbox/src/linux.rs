//! Linux: which layers are used, what is refused, what is stated.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use co_model::SandboxMode;

use crate::bubblewrap;
use crate::inner::BRIDGE_PORT;
use crate::layers::{Layer, Layers};
use crate::placeholder::Placeholders;
use crate::plan::{Plan, Reach, View};
use crate::request::{Request, SandboxError, Wrapped};

/// Variables that name a proxy. Programs disagree about their case.
const PROXY_VARIABLES: [&str; 6] =
    ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];

/// The version of Landlock's interface from which emptying a file counts as writing it.
const TRUNCATING: u32 = 3;

/// The version of Landlock's interface from which signals and abstract sockets are held.
const SCOPED: u32 = 6;

/// Confines with namespaces, or with less where less is accepted.
pub(crate) fn confine(
    layers: &Layers,
    mut plan: Plan,
    request: &Request<'_>,
) -> Result<Wrapped, SandboxError> {
    if !layers.seccomp {
        return Err(SandboxError::Unavailable {
            missing: "seccomp, the kernel's filter of system calls".into(),
        });
    }
    let bubblewrap = match &layers.bubblewrap {
        Ok(path) => path,
        Err(why) => return confine_weaker(layers, &plan, request, why),
    };
    // Whoever may replace it decides what holds the next program.
    if plan.of_view(&[View::Writable]).any(|root| bubblewrap.starts_with(root)) {
        let missing =
            format!("a bubblewrap that the program cannot replace, as it can `{}`", bubblewrap.display());
        return Err(SandboxError::Unavailable { missing });
    }
    let egress = match plan.reach {
        Reach::AllowedHosts => Some(request.egress.ok_or(SandboxError::NoEgress)?),
        Reach::Nothing | Reach::Everything => None,
    };
    let mut gaps: Vec<String> = plan.links.iter().map(|link| unprotected_link(link)).collect();
    refuse_gaps(&gaps, request)?;
    // Landlock only adds to what namespaces and mounts hold, so its absence is stated, not refused.
    if layers.landlock.is_none() {
        gaps.push("landlock is missing: named pipes outside the workspace can be written".into());
    }
    if plan.reach == Reach::Everything && layers.landlock.is_none_or(|version| version < SCOPED) {
        gaps.push("sockets of this machine that have no path can be reached".into());
    }
    let placeholders = hold_places(&mut plan)?;
    let has_landlock = layers.landlock.is_some();
    Ok(Wrapped {
        argv: bubblewrap::command_line(bubblewrap, &plan, request, egress, has_landlock),
        env: if egress.is_some() { proxy_variables() } else { Vec::new() },
        layers: layers.available(),
        weaker: state(&gaps),
        placeholders,
    })
}

/// Landlock and seccomp alone: no namespaces, so less can be held.
fn confine_weaker(
    layers: &Layers,
    plan: &Plan,
    request: &Request<'_>,
    why: &str,
) -> Result<Wrapped, SandboxError> {
    let missing = format!("bubblewrap with user namespaces ({why})");
    let Some(landlock) = layers.landlock.filter(|_| request.accept_weaker) else {
        return Err(SandboxError::Unavailable { missing });
    };
    if plan.reach == Reach::AllowedHosts {
        let missing = format!("{missing}, without which an allow-listed network cannot be held");
        return Err(SandboxError::Unavailable { missing });
    }
    let mut gaps = vec![format!("{missing} is missing: other processes stay visible")];
    if request.policy.mode == SandboxMode::WorkspaceWrite {
        gaps.push(".git, .codex and .agents in writable folders can be written".into());
    }
    let secrets: Vec<String> = plan
        .of_view(&[View::HiddenFile, View::HiddenFolder])
        .map(|path| format!("`{}`", path.display()))
        .collect();
    if !secrets.is_empty() {
        let is_open = request.policy.mode == SandboxMode::WorkspaceWrite;
        let written = if is_open { ", and written where what is around can be" } else { "" };
        gaps.push(format!("{} can be read{written}", secrets.join(", ")));
    }
    if landlock < TRUNCATING {
        gaps.push(format!("landlock-{landlock} lets files outside the workspace be emptied"));
    }
    if landlock < SCOPED {
        gaps.push(format!("landlock-{landlock} does not keep signals inside the sandbox"));
    }
    Ok(Wrapped {
        argv: bubblewrap::weaker_command_line(plan, request),
        env: Vec::new(),
        layers: vec![Layer::Seccomp, Layer::Landlock(landlock)],
        weaker: state(&gaps),
        placeholders: Placeholders::default(),
    })
}

fn hold_places(plan: &mut Plan) -> Result<Placeholders, SandboxError> {
    let mut placeholders = Placeholders::default();
    let mut covered: Vec<PathBuf> = Vec::new();
    for path in std::mem::take(&mut plan.missing) {
        match placeholders.hold(&path) {
            Ok(true) => covered.push(path),
            Ok(false) => {}
            Err(source) => return Err(SandboxError::Placeholder { path, source }),
        }
    }
    plan.add_read_only(covered);
    Ok(placeholders)
}

fn unprotected_link(link: &Path) -> String {
    format!("`{}` is a symbolic link and can be replaced", link.display())
}

fn refuse_gaps(gaps: &[String], request: &Request<'_>) -> Result<(), SandboxError> {
    match state(gaps) {
        Some(missing) if !request.accept_weaker => Err(SandboxError::Unavailable { missing }),
        _ => Ok(()),
    }
}

fn state(gaps: &[String]) -> Option<String> {
    (!gaps.is_empty()).then(|| gaps.join("; "))
}

fn proxy_variables() -> Vec<(OsString, OsString)> {
    let bridge = format!("http://127.0.0.1:{BRIDGE_PORT}");
    let mut variables: Vec<(OsString, OsString)> =
        PROXY_VARIABLES.iter().map(|name| (OsString::from(name), OsString::from(&bridge))).collect();
    // What the program itself serves inside its own network is reached directly.
    for name in ["NO_PROXY", "no_proxy"] {
        variables.push((name.into(), "localhost,127.0.0.1,::1".into()));
    }
    variables
}
