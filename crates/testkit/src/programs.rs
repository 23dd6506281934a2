//! Where the programs of this package are, for the tests of other packages.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// Set where everything has just been built: by `cargo xtask test`.
const BUILT: &str = "CODEX_ORCHESTRATOR_TEST_PROGRAMS_BUILT";

/// Builds the programs of this package if they are stale and returns the path of one of them.
///
/// Cargo builds a package's programs for its own tests only; other packages' tests ask here. The first call of a
/// process asks cargo, which answers at once when nothing changed.
///
/// # Panics
/// If cargo fails, or if this package has no such program.
pub fn program(name: &str) -> PathBuf {
    static DIRECTORY: OnceLock<PathBuf> = OnceLock::new();
    existing(DIRECTORY.get_or_init(build), name)
}

/// Builds an example of the workspace if it is stale and returns its path.
///
/// Examples may use what only tests use, so a test's own tools are examples of its package.
///
/// # Panics
/// If cargo fails.
pub fn example(name: &str) -> PathBuf {
    static DIRECTORY: OnceLock<PathBuf> = OnceLock::new();
    existing(DIRECTORY.get_or_init(|| build().join("examples")), name)
}

fn existing(directory: &Path, name: &str) -> PathBuf {
    let program = directory.join(name).with_extension(std::env::consts::EXE_EXTENSION);
    assert!(program.is_file(), "`{}` is no program", program.display());
    program
}

/// Asks cargo to build every program and example, and returns the directory of the profile.
///
/// All of the workspace at once: with the tests' own selection of features nothing is built twice. Whoever has just
/// built it says so with [`BUILT`], and a whole suite does not ask cargo in each of its processes.
#[expect(
    clippy::disallowed_methods,
    reason = "a test tool waits for one cargo command, and reads cargo's variable"
)]
fn build() -> PathBuf {
    // A test runs from `<target>/<profile directory>/deps/<name>`.
    let test = std::env::current_exe().expect("a test knows its own path");
    let profile_directory = test.ancestors().nth(2).expect("a test lies below the target directory");
    if std::env::var_os(BUILT).is_some() {
        return profile_directory.to_owned();
    }
    let target = profile_directory.parent().expect("a profile directory has a parent");
    let profile = match profile_directory.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev",
        Some(profile) => profile,
    };
    let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["build", "--quiet", "--offline", "--workspace", "--bins", "--examples"])
        .args(["--profile", profile])
        .arg("--target-dir")
        .arg(target)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo can be started");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "the test programs do not build: {stderr}");
    profile_directory.to_owned()
}
