//! The variables a worker gets.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};

use co_model::{EnvironmentPolicy, InheritedEnvironment};

/// What [`InheritedEnvironment::Core`] keeps.
const CORE: [&str; 9] = ["HOME", "LOGNAME", "PATH", "SHELL", "USER", "USERNAME", "TMPDIR", "TEMP", "TMP"];

/// Names that look like secrets.
const SECRETS: [&str; 3] = ["*KEY*", "*SECRET*", "*TOKEN*"];

/// Composes a worker's environment, in Codex's order: inherit, leave out what looks like a secret,
/// leave out what is excluded, set, keep only what is included.
///
/// Globs know `*` and `?` and ignore the case of ASCII letters. What is set is subject to
/// `include_only` too.
pub fn compose(
    policy: &EnvironmentPolicy,
    base: impl IntoIterator<Item = (OsString, OsString)>,
) -> BTreeMap<OsString, OsString> {
    let EnvironmentPolicy { inherit, ignore_default_excludes, exclude, set, include_only } = policy;
    let is_inherited = |name: &OsStr| match inherit {
        InheritedEnvironment::All => true,
        InheritedEnvironment::Core => CORE.iter().any(|core| name == *core),
        InheritedEnvironment::None => false,
    };
    let mut variables: BTreeMap<OsString, OsString> =
        base.into_iter().filter(|(name, _)| is_inherited(name)).collect();
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
