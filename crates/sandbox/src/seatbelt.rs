//! The macOS command line: a profile for `sandbox-exec`, as text. Compiled everywhere, used there.
//!
//! Paths are parameters of the profile, never part of its text, so no path can change what it says. The profile
//! language is not documented by its vendor; the rules follow those that Codex ships.

use std::ffi::OsString;
use std::path::Path;

use crate::plan::{PROTECTED_NAMES, Plan, Reach, View};
use crate::request::Request;
#[cfg(not(target_os = "linux"))]
use crate::{
    layers::{Layer, Layers},
    placeholder::Placeholders,
    request::{SandboxError, Wrapped},
};

/// What every program needs: to run, to read, to have a terminal, to look itself up.
const BASE: &str = r#"(version 1)
(deny default)
(allow process-exec)
(allow process-fork)
(allow signal (target same-sandbox))
(allow process-info* (target same-sandbox))
(allow sysctl-read)
(allow ipc-posix-sem)
(allow pseudo-tty)
(allow user-preference-read)
(allow mach-lookup
  (global-name "com.apple.system.opendirectoryd.libinfo")
  (global-name "com.apple.PowerManagement.control"))
(allow file-read*)
(allow file-write-data (require-all (path "/dev/null") (vnode-type CHARACTER-DEVICE)))
(allow file-read* file-write* file-ioctl (literal "/dev/ptmx") (literal "/dev/tty"))
(allow file-read* file-write* (regex #"^/dev/ttys[0-9]+$"))
(allow file-ioctl (regex #"^/dev/ttys[0-9]+$"))
"#;

/// Reaching other machines: names and certificates need services of the system.
const NETWORK: &str = r#"(allow network*)
(allow system-socket)
(allow mach-lookup
  (global-name "com.apple.SecurityServer")
  (global-name "com.apple.networkd")
  (global-name "com.apple.ocspd")
  (global-name "com.apple.trustd.agent")
  (global-name "com.apple.SystemConfiguration.DNSConfiguration")
  (global-name "com.apple.SystemConfiguration.configd"))
"#;

/// Confines with the sandbox of macOS.
#[cfg(not(target_os = "linux"))]
#[expect(clippy::needless_pass_by_value, reason = "the same call on every system")]
pub(crate) fn confine(layers: &Layers, plan: Plan, request: &Request<'_>) -> Result<Wrapped, SandboxError> {
    let Some(sandbox_exec) = &layers.seatbelt else {
        return Err(SandboxError::Unavailable { missing: "`sandbox-exec`".into() });
    };
    if plan.reach == Reach::AllowedHosts {
        let missing = "a network namespace, without which an allow-listed network cannot be held";
        return Err(SandboxError::Unavailable { missing: missing.into() });
    }
    Ok(Wrapped {
        argv: command_line(sandbox_exec, &plan, request),
        env: Vec::new(),
        layers: vec![Layer::Seatbelt],
        weaker: None,
        placeholders: Placeholders::default(),
    })
}

/// Renders the command line.
pub(crate) fn command_line(sandbox_exec: &Path, plan: &Plan, request: &Request<'_>) -> Vec<OsString> {
    let (profile, parameters) = profile(plan);
    let mut line = vec![sandbox_exec.into(), "-p".into(), profile.into()];
    line.extend(parameters);
    line.push("--".into());
    line.extend(request.argv.iter().cloned());
    line
}

/// The profile, and its parameters as arguments.
fn profile(plan: &Plan) -> (String, Vec<OsString>) {
    let mut profile = Profile { text: BASE.to_owned(), parameters: Vec::new() };
    // The last rule that matches decides, and a deeper path comes later.
    for (path, view) in &plan.views {
        match view {
            View::Writable => {
                profile.rule("allow file-read* file-write*", path);
                for name in PROTECTED_NAMES {
                    profile.rule("deny file-write*", &path.join(name));
                }
            }
            View::Held => profile.rule_on("literal", "deny file-write-unlink", path),
            View::ReadOnly => {
                profile.rule("allow file-read*", path);
                profile.rule("deny file-write*", path);
            }
            View::HiddenFolder | View::HiddenFile => profile.rule("deny file-read* file-write*", path),
        }
    }
    if plan.reach == Reach::Everything {
        profile.text.push_str(NETWORK);
    }
    (profile.text, profile.parameters)
}

struct Profile {
    text: String,
    parameters: Vec<OsString>,
}

impl Profile {
    fn rule(&mut self, what: &str, path: &Path) {
        self.rule_on("subpath", what, path);
    }

    fn rule_on(&mut self, reach: &str, what: &str, path: &Path) {
        let name = format!("PATH_{}", self.parameters.len());
        self.text.push_str(&["(", what, " (", reach, " (param \"", &name, "\")))\n"].concat());
        let mut argument = OsString::from(["-D", &name, "="].concat());
        argument.push(path);
        self.parameters.push(argument);
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use co_model::{SandboxMode, SandboxPolicy};

    use super::*;

    fn plan(views: &[(&str, View)], reach: Reach) -> Plan {
        let views = views.iter().map(|&(path, view)| (PathBuf::from(path), view)).collect();
        Plan { views, missing: Vec::new(), links: Vec::new(), reach }
    }

    #[test]
    fn a_profile_says_what_the_policy_says() {
        let plan = plan(
            &[
                ("/state", View::HiddenFolder),
                ("/work \"space\")", View::Writable),
                ("/state/tree", View::ReadOnly),
                ("/work \"space\")/deep", View::Held),
            ],
            Reach::Everything,
        );
        let policy = SandboxPolicy::of(SandboxMode::WorkspaceWrite);
        let request = Request {
            argv: &["echo".into(), "(allow default)".into()],
            cwd: Path::new("/"),
            env: &[],
            workspace: Path::new("/"),
            policy: &policy,
            helper: Path::new("/"),
            secrets: &[],
            readable: &[],
            held: &[],
            scratch: None,
            egress: None,
            accept_weaker: false,
        };
        let line: Vec<String> = command_line(Path::new("/usr/bin/sandbox-exec"), &plan, &request)
            .iter()
            .map(|word| word.to_str().unwrap().to_owned())
            .collect();
        insta::assert_snapshot!(line.join("\n"));
    }

    #[test]
    fn a_read_only_profile_without_a_network_adds_nothing() {
        assert_eq!(profile(&plan(&[], Reach::Nothing)), (BASE.to_owned(), Vec::new()));
    }
}
