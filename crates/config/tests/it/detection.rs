//! What repositories are recognised as.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use co_config::{Detection, Environment, builtin, detect};
use co_model::{CommandLine, StageWork};

use crate::{bare, repository, write};

/// The stages of the built-in pipeline, as `id: command`.
fn stages(detection: &Detection) -> Vec<String> {
    let Ok(pipeline) = builtin(detection) else { return Vec::new() };
    let line = |work: &StageWork| match work {
        StageWork::Command(CommandLine::Argv(argv)) => argv.join(" "),
        other => panic!("{other:?}"),
    };
    pipeline.stages.iter().map(|stage| format!("{}: {}", stage.id, line(&stage.work))).collect()
}

#[track_caller]
fn check(files: &[(&str, &str)], wanted: &[&str]) {
    let root = repository(files);
    assert_eq!(stages(&detect(root.path(), &bare(root.path()))), wanted);
}

#[test]
fn cargo_builds_and_tests_and_lints_where_configured() {
    let package = "[package]\nname = \"x\"\nversion = \"0.1.0\"\n";
    check(&[("Cargo.toml", package)], &["build: cargo build", "test: cargo test"]);
    check(
        &[
            ("Cargo.toml", "[workspace]\nmembers = [\"a\"]\n[workspace.lints.clippy]\npedantic = \"warn\"\n"),
            ("rustfmt.toml", ""),
        ],
        &[
            "build: cargo build --workspace",
            "lint: cargo clippy --all-targets --workspace",
            "format: cargo fmt --all --check",
            "test: cargo test --workspace",
        ],
    );
    check(
        &[("Cargo.toml", package), ("clippy.toml", "")],
        &["build: cargo build", "lint: cargo clippy --all-targets", "test: cargo test"],
    );
}

#[test]
fn node_runs_the_scripts_that_exist() {
    let scripts = r#"{ "scripts": { "test": "vitest", "build": "tsc", "start": "x" } }"#;
    check(&[("package.json", scripts)], &["build: npm run build", "test: npm run test"]);
    let placeholder =
        r#"{ "scripts": { "test": "echo \"Error: no test specified\" && exit 1", "lint": "eslint ." } }"#;
    check(&[("package.json", placeholder)], &["lint: npm run lint"]);
    check(&[("package.json", r#"{ "name": "x" }"#)], &[]);
    check(&[("package.json", "{ broken")], &[]);
    check(&[("package.json", r#"{ "scripts": { "build": 7 } }"#)], &[]);
}

#[test]
fn node_installs_what_is_missing_without_touching_the_lock_file() {
    let package = r#"{ "scripts": { "test": "vitest" }, "devDependencies": { "vitest": "1" } }"#;
    let install = |files: &[(&str, &str)]| {
        let root = repository(files);
        let stages = stages(&detect(root.path(), &bare(root.path())));
        assert_eq!(stages.len(), 2, "{stages:?}");
        stages[0].clone()
    };
    let with = |lock| install(&[("package.json", package), (lock, "")]);
    assert_eq!(
        install(&[("package.json", package)]),
        "install: npm install --no-audit --no-fund --no-package-lock"
    );
    assert_eq!(with("package-lock.json"), "install: npm ci --no-audit --no-fund");
    assert_eq!(with("npm-shrinkwrap.json"), "install: npm ci --no-audit --no-fund");
    assert_eq!(with("pnpm-lock.yaml"), "install: pnpm install --frozen-lockfile");
    assert_eq!(with("yarn.lock"), "install: yarn install --frozen-lockfile");
    assert_eq!(
        install(&[("package.json", package), ("yarn.lock", ""), (".yarnrc.yml", "")]),
        "install: yarn install --immutable"
    );
    check(&[("package.json", package), ("node_modules/vitest/index.js", "")], &["test: npm run test"]);
    check(&[("package.json", package), (".pnp.cjs", ""), ("yarn.lock", "")], &["test: yarn run test"]);
}

#[test]
fn the_declared_package_manager_wins_over_lock_files() {
    let package = r#"{ "packageManager": "pnpm@9.1.0+sha512.ab", "scripts": { "test": "vitest" } }"#;
    check(&[("package.json", package), ("package-lock.json", "")], &["test: pnpm run test"]);
    let root = repository(&[
        ("package.json", r#"{ "scripts": { "test": "x" } }"#),
        ("yarn.lock", ""),
        ("package-lock.json", ""),
    ]);
    let detection = detect(root.path(), &bare(root.path()));
    assert_eq!(stages(&detection), ["test: yarn run test"]);
    assert_eq!(detection.notes[0], "`yarn.lock` and `package-lock.json` are both there; yarn is used");
}

#[test]
fn python_tests_with_what_its_tests_are_written_for() {
    let unittest = "import unittest\nclass T(unittest.TestCase): pass\n";
    check(
        &[("pyproject.toml", "[tool.pytest.ini_options]\n[tool.ruff]\n"), ("tests/test_a.py", "")],
        &["lint: ruff check", "test: python3 -m pytest"],
    );
    check(&[("setup.py", ""), ("tests/test_a.py", "def test_a(): pass\n")], &["test: python3 -m pytest"]);
    check(
        &[("setup.py", ""), ("tests/test_a.py", unittest)],
        &["test: python3 -m unittest discover -s tests"],
    );
    check(
        &[("setup.py", ""), ("tests/__init__.py", ""), ("tests/test_a.py", unittest)],
        &["test: python3 -m unittest discover"],
    );
    check(&[("setup.cfg", "[tool:pytest]\n"), ("test_a.py", unittest)], &["test: python3 -m pytest"]);
    let root = repository(&[("pytest.ini", ""), ("setup.py", "")]);
    let detection = detect(root.path(), &bare(root.path()));
    assert_eq!(stages(&detection), ["test: python3 -m pytest"]);
    assert_eq!(detection.notes[0], "pytest is configured, but no test file was found");
    check(&[("requirements.txt", "x\n"), ("node_modules/x/test_a.py", "")], &[]);
    check(
        &[("pyproject.toml", "[project]\nname = \"x\"\n"), ("uv.lock", ""), ("tests/test_a.py", "")],
        &["test: uv run python -m pytest"],
    );
}

#[test]
fn python_uses_the_repositorys_environment_and_source_folder() {
    let root = repository(&[
        ("setup.py", ""),
        ("src/x/__init__.py", ""),
        ("tests/test_a.py", ""),
        (".venv/bin/python", ""),
        ("ruff.toml", ""),
    ]);
    let detection = detect(root.path(), &bare(root.path()));
    assert_eq!(stages(&detection), ["lint: ruff check", "test: .venv/bin/python -m pytest"]);
    assert_eq!(builtin(&detection).unwrap().stages[1].env["PYTHONPATH"], "src");
    let own = Environment::new(root.path(), [("PYTHONPATH", "/lib")]);
    assert!(builtin(&detect(root.path(), &own)).unwrap().stages[1].env.is_empty());
}

#[test]
fn go_make_and_just_are_recognised() {
    check(
        &[("go.mod", "module x\n")],
        &["build: go build ./...", "lint: go vet ./...", "test: go test ./..."],
    );
    check(
        &[("Makefile", ".PHONY: lint\nall: x\n\tcc x.c\ncheck:\n\t./x\n")],
        &["build: make all", "test: make check"],
    );
    check(&[("justfile", "lint path:\n  x\ntest *args:\n  x\n")], &["test: just test"]);
    check(&[("Makefile", "install:\n\tx\n")], &[]);
}

#[test]
fn several_toolchains_are_prefixed_and_runners_only_fill_gaps() {
    check(
        &[
            ("Cargo.toml", "[package]\nname = \"x\"\n"),
            ("package.json", r#"{ "scripts": { "test": "vitest" } }"#),
            ("Makefile", "build:\n\tx\nlint:\n\tx\ntest:\n\tx\n"),
            ("justfile", "lint:\n  x\n"),
        ],
        &[
            "cargo-build: cargo build",
            "cargo-test: cargo test",
            "npm-test: npm run test",
            "make-lint: make lint",
        ],
    );
    // A runner that adds nothing does not make the ids longer.
    check(
        &[("go.mod", "module x\n"), ("Makefile", "build:\n\tx\n")],
        &["build: go build ./...", "lint: go vet ./...", "test: go test ./..."],
    );
}

#[test]
fn a_missing_program_is_a_note_and_not_a_missing_stage() {
    let root = repository(&[("go.mod", "module x\n"), ("bin/go", "#!/bin/sh\n")]);
    let with_path = |path: &Path| Environment::new(root.path(), [("PATH", path)]);
    let detection = detect(root.path(), &with_path(&root.path().join("bin")));
    assert_eq!(detection.notes, ["`go` was not found on PATH"], "it may not be executed yet");
    assert_eq!(stages(&detection).len(), 3);

    let program = root.path().join("bin/go");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    assert!(detect(root.path(), &with_path(&root.path().join("bin"))).notes.is_empty());
    assert!(detect(root.path(), &with_path(Path::new("bin"))).notes.is_empty(), "from the working directory");
}

#[test]
fn files_that_cannot_be_read_are_noted() {
    let root = repository(&[("Cargo.toml", "[package\n"), ("Makefile/x", "")]);
    write(root.path(), "package.json", &format!("{{\"a\":\"{}\"}}", "x".repeat(2 * 1024 * 1024)));
    let detection = detect(root.path(), &bare(root.path()));
    assert_eq!(stages(&detection), ["build: cargo build", "test: cargo test"]);
    assert!(
        detection.notes.iter().any(|note| note.starts_with("`Cargo.toml` was not read: ")),
        "{:?}",
        detection.notes
    );
    assert!(detection.notes.contains(&"`package.json` was not read: it is too large".to_owned()));
}
