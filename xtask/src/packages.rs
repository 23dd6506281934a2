//! What tests and checks need on the machine: Debian packages, npm and Python packages, cargo subcommands.
//!
//! Installs only what is missing, says so before it does, and never goes on without it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::console::say;
use crate::program::{Program, ProgramError, find};

/// A cargo subcommand, at the version this workspace is tested with.
pub struct CargoTool {
    /// The subcommand, as in `cargo <name>`.
    pub name: &'static str,
    /// The version that is installed when there is none.
    pub version: &'static str,
}

/// Runs the tests: one process per test, time-outs, no hidden retries.
pub const NEXTEST: CargoTool = CargoTool { name: "nextest", version: "0.9.143" };
/// Judges licences, sources and duplicates of dependencies.
pub const DENY: CargoTool = CargoTool { name: "deny", version: "0.20.2" };

/// Programs that tests start, and the Debian packages they are in.
const SYSTEM_PROGRAMS: &[(&str, &str)] = &[
    ("git", "git"),
    ("tmux", "tmux"),
    ("sqlite3", "sqlite3"),
    ("node", "nodejs"),
    ("npm", "npm"),
    ("pip3", "python3-pip"),
    ("python3", "python3"),
    ("ps", "procps"),
    ("bwrap", "bubblewrap"),
];

/// Copy of the lock file that `node_modules` was installed from.
const NPM_STAMP: &str = "node_modules/.installed-from.json";

/// The Python packages that tests use, relative to the root.
const PYTHON_REQUIREMENTS: &str = "requirements.txt";
/// Where they are installed; tests put it on `PYTHONPATH`. A plain folder instead of a virtual environment,
/// which Debian's Python cannot make without one more package.
const PYTHON_PACKAGES: &str = "target/python";
/// Copy of the requirements that the folder was installed from.
const PYTHON_STAMP: &str = "target/python/.installed-from.txt";

/// Why something could not be installed.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// No way to install Debian packages.
    #[error("missing programs: {programs}; install them by hand ({reason})")]
    NoPackageManager {
        /// What is missing.
        programs: String,
        /// Why it is not done automatically.
        reason: &'static str,
    },
    /// An installer failed.
    #[error("failed to install {what}")]
    Installer {
        /// What was being installed.
        what: String,
        /// How it failed.
        #[source]
        source: ProgramError,
    },
    /// The packages came, but not the programs.
    #[error("still missing after installation: {programs}")]
    StillMissing {
        /// What is missing.
        programs: String,
    },
    /// The lock file or its stamp cannot be used.
    #[error("failed to use `{}`", .path.display())]
    LockFile {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// Installs the Debian packages of programs that are not on `PATH`.
///
/// # Errors
/// [`InstallError`] when something is missing and cannot be installed.
pub fn ensure_system_programs() -> Result<(), InstallError> {
    let missing = missing_programs(|program| find(program).is_some());
    if missing.is_empty() {
        return Ok(());
    }
    let programs = names(&missing);
    if find("apt-get").is_none() {
        return Err(InstallError::NoPackageManager { programs, reason: "`apt-get` is not here" });
    }
    let Some(prefix) = administrator_prefix() else {
        let reason = "neither root nor `sudo` without a password";
        return Err(InstallError::NoPackageManager { programs, reason });
    };
    say(&format!("installing Debian packages for: {programs}"));
    let failed = |source| InstallError::Installer { what: programs.clone(), source };
    apt_get(prefix).args(["update", "--quiet"]).run().map_err(failed)?;
    apt_get(prefix)
        .args(["install", "--yes", "--quiet", "--no-install-recommends"])
        .args(missing.iter().map(|(_, package)| package))
        .run()
        .map_err(failed)?;
    let still = missing_programs(|program| find(program).is_some());
    if still.is_empty() { Ok(()) } else { Err(InstallError::StillMissing { programs: names(&still) }) }
}

fn missing_programs(is_here: impl Fn(&str) -> bool) -> Vec<(&'static str, &'static str)> {
    SYSTEM_PROGRAMS.iter().copied().filter(|(program, _)| !is_here(program)).collect()
}

fn names(programs: &[(&str, &str)]) -> String {
    programs.iter().map(|(program, _)| *program).collect::<Vec<_>>().join(", ")
}

/// What to put before a command that needs root; `None` when there is no way.
fn administrator_prefix() -> Option<&'static [&'static str]> {
    let is_root = Program::new("id").arg("-u").output().is_ok_and(|id| id.trim_ascii() == b"0");
    if is_root {
        Some(&["env"])
    } else if find("sudo").is_some() && Program::new("sudo").args(["-n", "true"]).succeeds() {
        Some(&["sudo", "-n", "env"])
    } else {
        None
    }
}

fn apt_get(prefix: &[&str]) -> Program {
    let (first, rest) = prefix.split_first().unwrap_or((&"env", &[]));
    Program::new(first).args(rest).args(["DEBIAN_FRONTEND=noninteractive", "apt-get"])
}

/// Installs the npm packages of the lock file at `root`, unless that was done already.
///
/// # Errors
/// [`InstallError`] when the lock file is missing or npm fails.
pub fn ensure_npm_packages(root: &Path) -> Result<(), InstallError> {
    let lock_path = root.join("package-lock.json");
    let lock =
        fs::read(&lock_path).map_err(|source| InstallError::LockFile { path: lock_path.clone(), source })?;
    let stamp = root.join(NPM_STAMP);
    if fs::read(&stamp).is_ok_and(|installed| installed == lock) {
        return Ok(());
    }
    say("installing npm packages for the tests");
    Program::new("npm")
        .args(["ci", "--no-fund", "--no-audit"])
        .directory(root)
        .run()
        .map_err(|source| InstallError::Installer { what: "npm packages".into(), source })?;
    // An empty package list leaves no folder behind.
    fs::create_dir_all(root.join("node_modules"))
        .and_then(|()| fs::write(&stamp, lock))
        .map_err(|source| InstallError::LockFile { path: stamp, source })
}

/// Installs the Python packages of the requirements at `root`, unless that was done already.
///
/// # Errors
/// [`InstallError`] when the requirements are missing or pip fails.
pub fn ensure_python_packages(root: &Path) -> Result<(), InstallError> {
    let requirements_path = root.join(PYTHON_REQUIREMENTS);
    let requirements = fs::read(&requirements_path)
        .map_err(|source| InstallError::LockFile { path: requirements_path.clone(), source })?;
    let stamp = root.join(PYTHON_STAMP);
    if fs::read(&stamp).is_ok_and(|installed| installed == requirements) {
        return Ok(());
    }
    say("installing Python packages for the tests");
    Program::new("python3")
        .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--upgrade"])
        .args(["--target", PYTHON_PACKAGES, "--requirement", PYTHON_REQUIREMENTS])
        .directory(root)
        .run()
        .map_err(|source| InstallError::Installer { what: "Python packages".into(), source })?;
    fs::write(&stamp, requirements).map_err(|source| InstallError::LockFile { path: stamp, source })
}

/// Installs a cargo subcommand if there is none of that name.
///
/// Not optimised: what such a tool then takes longer is seconds, what optimising it takes is minutes.
///
/// # Errors
/// [`InstallError::Installer`] when cargo fails to install it.
pub fn ensure_cargo_tool(tool: &CargoTool) -> Result<(), InstallError> {
    if Program::cargo().args([tool.name, "--version"]).succeeds() {
        return Ok(());
    }
    say(&format!("installing cargo-{} {}; this is done once", tool.name, tool.version));
    Program::cargo()
        .args(["install", &format!("cargo-{}", tool.name), "--locked", "--debug", "--version", tool.version])
        .run()
        .map_err(|source| InstallError::Installer { what: format!("cargo-{}", tool.name), source })
}

/// Adds a component of the Rust toolchain if it is missing and rustup is there to add it.
///
/// # Errors
/// [`InstallError`] when it is missing and cannot be added.
pub fn ensure_rust_component(subcommand: &str, component: &'static str) -> Result<(), InstallError> {
    if Program::cargo().args([subcommand, "--version"]).succeeds() {
        return Ok(());
    }
    if find("rustup").is_none() {
        let reason = "the Rust toolchain here is not managed by `rustup`";
        return Err(InstallError::NoPackageManager { programs: component.to_owned(), reason });
    }
    Program::new("rustup")
        .args(["component", "add", component])
        .run()
        .map_err(|source| InstallError::Installer { what: component.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_programs_are_named_with_their_packages() {
        let missing = missing_programs(|program| program != "node" && program != "ps");
        assert_eq!(missing, [("node", "nodejs"), ("ps", "procps")]);
        assert_eq!(names(&missing), "node, ps");
    }

    #[test]
    fn a_missing_lock_file_is_an_error() {
        let root = tempfile::tempdir().unwrap();
        let error = ensure_npm_packages(root.path()).unwrap_err();
        assert!(
            matches!(error, InstallError::LockFile { ref path, .. } if path.ends_with("package-lock.json"))
        );
    }

    #[test]
    fn python_packages_that_are_installed_are_left_alone() {
        let root = tempfile::tempdir().unwrap();
        assert!(matches!(ensure_python_packages(root.path()), Err(InstallError::LockFile { .. })));
        fs::write(root.path().join(PYTHON_REQUIREMENTS), "no such package").unwrap();
        fs::create_dir_all(root.path().join(PYTHON_PACKAGES)).unwrap();
        fs::write(root.path().join(PYTHON_STAMP), "no such package").unwrap();
        ensure_python_packages(root.path()).unwrap();
    }

    #[test]
    fn a_lock_file_that_is_installed_is_left_alone() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("package-lock.json"), "not even JSON").unwrap();
        fs::create_dir(root.path().join("node_modules")).unwrap();
        fs::write(root.path().join(NPM_STAMP), "not even JSON").unwrap();
        ensure_npm_packages(root.path()).unwrap();
    }
}
