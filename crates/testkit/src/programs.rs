//! Where the programs of this package are, for the tests of other packages.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// Builds the programs of this package if they are stale and returns the path of one of them.
///
/// Cargo builds a package's programs for its own tests only; other packages' tests ask here. The first call of a
/// process asks cargo, which answers at once when nothing changed.
///
/// # Panics
/// If cargo fails, or if this package has no such program.
pub fn program(name: &str) -> PathBuf {
    static DIRECTORY: OnceLock<PathBuf> = OnceLock::new();
    let directory = DIRECTORY.get_or_init(|| build(&["--package", "co-testkit", "--bins"]));
    existing(directory, name)
}

/// Builds an example of a package if it is stale and returns its path; at most one per test program.
///
/// Examples may use what only tests use, so a test's own tools are examples of its package.
///
/// # Panics
/// If cargo fails.
pub fn example(package: &str, name: &str) -> PathBuf {
    static DIRECTORY: OnceLock<PathBuf> = OnceLock::new();
    let directory =
        DIRECTORY.get_or_init(|| build(&["--package", package, "--example", name]).join("examples"));
    existing(directory, name)
}

fn existing(directory: &Path, name: &str) -> PathBuf {
    let program = directory.join(name).with_extension(std::env::consts::EXE_EXTENSION);
    assert!(program.is_file(), "`{}` is no program", program.display());
    program
}

/// Asks cargo to build what `selection` names, and returns the directory of the profile.
#[expect(
    clippy::disallowed_methods,
    reason = "a test tool waits for one cargo command, and reads cargo's variable"
)]
fn build(selection: &[&str]) -> PathBuf {
    // A test runs from `<target>/<profile directory>/deps/<name>`.
    let test = std::env::current_exe().expect("a test knows its own path");
    let profile_directory = test.ancestors().nth(2).expect("a test lies below the target directory");
    let target = profile_directory.parent().expect("a profile directory has a parent");
    let profile = match profile_directory.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev",
        Some(profile) => profile,
    };
    let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["build", "--quiet", "--offline"])
        .args(selection)
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
