//! The SDKs for Node.js and Python: their own tests, driving this very program.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the workspace")
}

/// A program of this machine in an environment where only the SDK's tests are at home.
#[expect(clippy::disallowed_methods, reason = "the SDKs run in the interpreters of this machine")]
fn program(name: impl AsRef<std::ffi::OsStr>, home: &TempDir) -> Command {
    let mut command = Command::new(name);
    command
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", home.path())
        .env("CODEX_ORCHESTRATOR_PROGRAM", env!("CARGO_BIN_EXE_codex-orchestrator"));
    // Python may be one of several that a manager chooses from, by what is in the real home.
    if let Some(root) = std::env::var_os("PYENV_ROOT") {
        command.env("PYENV_ROOT", root);
    }
    command
}

#[track_caller]
fn succeed(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{command:?}\n{}\n{}", text(&output.stdout), text(&output.stderr));
}

#[test]
fn the_node_sdk_passes_its_tests() {
    let home = TempDir::with_prefix("sdk-node-").expect("a folder");
    let root = workspace();
    let built = home.path().join("built");
    // Strict types hold for the tests too, so the generated events are used as their users use them.
    succeed(
        program(root.join("node_modules/.bin/tsc"), &home)
            .arg("-p")
            .arg(root.join("sdk/node/tsconfig.test.json"))
            .arg("--outDir")
            .arg(&built),
    );
    std::fs::write(built.join("package.json"), r#"{"type": "module"}"#).expect("written");
    succeed(program("node", &home).arg("--test").arg(built.join("test/orchestrator.test.js")));
}

#[test]
fn the_python_sdk_passes_its_tests() {
    let home = TempDir::with_prefix("sdk-python-").expect("a folder");
    let sdk = workspace().join("sdk/python");
    succeed(
        program("python3", &home)
            .env("PYTHONPATH", sdk.join("src"))
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .args(["-W", "error", "-m", "unittest", "discover", "--start-directory"])
            .arg(sdk.join("tests")),
    );
}
