//! The variables a worker gets, and those of ours that nothing we start may see.
//!
//! Whoever starts a program for somebody else takes its environment from [`compose`], or from [`without_ours`] when no
//! policy applies: there is no third way, so that none can forget what is ours alone.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};

use co_model::{EnvironmentPolicy, InheritedEnvironment};

/// What [`InheritedEnvironment::Core`] keeps.
const CORE: [&str; 9] = ["HOME", "LOGNAME", "PATH", "SHELL", "USER", "USERNAME", "TMPDIR", "TEMP", "TMP"];

/// Names that look like secrets.
const SECRETS: [&str; 3] = ["*KEY*", "*SECRET*", "*TOKEN*"];

/// Variables of ours that nobody else may see: tokens, keys, and addresses that may hold one.
const OURS: [&str; 5] = [
    "CODEX_ORCHESTRATOR_RESUME_TOKEN",
    "CODEX_ORCHESTRATOR_MCP_TOKEN",
    "CODEX_ORCHESTRATOR_NOTIFY",
    "CODEX_ORCHESTRATOR_NOTIFY_SECRET",
    "CODEX_ORCHESTRATOR_OTEL_ENDPOINT",
];

/// Makes the standard `OTEL_…` variables ours.
const OTEL: &str = "CODEX_ORCHESTRATOR_OTEL";

/// What authenticates us at a collector, once those variables are ours.
const OTEL_HEADERS: [&str; 4] = [
    "OTEL_EXPORTER_OTLP_HEADERS",
    "OTEL_EXPORTER_OTLP_TRACES_HEADERS",
    "OTEL_EXPORTER_OTLP_LOGS_HEADERS",
    "OTEL_EXPORTER_OTLP_METRICS_HEADERS",
];

/// The names of every variable that is or can be ours alone, for a process of ours that needs none of them.
pub fn ours() -> impl Iterator<Item = &'static str> {
    OURS.into_iter().chain(OTEL_HEADERS)
}

/// Our environment without what is ours alone. The headers of the standard `OTEL_…` variables are ours only where
/// `CODEX_ORCHESTRATOR_OTEL` makes them so; else they belong to the programs that we start.
pub fn without_ours(base: &[(OsString, OsString)]) -> impl Iterator<Item = &(OsString, OsString)> {
    let has_otel = base.iter().any(|(name, _)| name == OTEL);
    base.iter().filter(move |(name, _)| {
        let is = |known: &&str| name == OsStr::new(known);
        let is_ours = OURS.iter().any(&is) || (has_otel && OTEL_HEADERS.iter().any(&is));
        !is_ours
    })
}

/// Composes a worker's environment, in Codex's order: inherit, leave out what looks like a secret,
/// leave out what is excluded, set, keep only what is included. What is ours alone is never inherited.
///
/// Globs know `*` and `?` and ignore the case of ASCII letters. What is set is subject to
/// `include_only` too.
pub fn compose(policy: &EnvironmentPolicy, base: &[(OsString, OsString)]) -> BTreeMap<OsString, OsString> {
    let EnvironmentPolicy { inherit, ignore_default_excludes, exclude, set, include_only } = policy;
    let is_inherited = |name: &OsStr| match inherit {
        InheritedEnvironment::All => true,
        InheritedEnvironment::Core => CORE.iter().any(|core| name == *core),
        InheritedEnvironment::None => false,
    };
    let mut variables: BTreeMap<OsString, OsString> =
        without_ours(base).filter(|(name, _)| is_inherited(name)).cloned().collect();
    if !ignore_default_excludes {
        variables.retain(|name, _| !matches_any(&SECRETS, name));
    }
    variables.retain(|name, _| !matches_any(exclude, name));
    variables.extend(set.iter().map(|(name, value)| (name.into(), value.into())));
    if !include_only.is_empty() {
        variables.retain(|name, _| matches_any(include_only, name));
    }
    variables
}

fn matches_any<G: AsRef<str>>(globs: &[G], name: &OsStr) -> bool {
    let name = name.to_string_lossy();
    globs.iter().any(|glob| matches(glob.as_ref(), &name))
}

/// Matches a whole name; goes back only to the last `*`, so the work is at most the product of the
/// two lengths.
fn matches(glob: &str, name: &str) -> bool {
    let (glob, name): (Vec<char>, Vec<char>) = (glob.chars().collect(), name.chars().collect());
    let (mut at, mut here) = (0, 0);
    let mut star = None;
    while here < name.len() {
        match glob.get(at) {
            Some('*') => {
                star = Some((at, here));
                at += 1;
            }
            Some(c) if *c == '?' || c.eq_ignore_ascii_case(&name[here]) => {
                at += 1;
                here += 1;
            }
            _ => {
                let Some((star_at, taken)) = star else { return false };
                star = Some((star_at, taken + 1));
                at = star_at + 1;
                here = taken + 1;
            }
        }
    }
    glob[at..].iter().all(|c| *c == '*')
}
