//! What repositories are recognised as.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use co_config::{Detection, Environment, builtin, detect};
use co_model::{CommandLine, Needs, StageWork};

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

/// The stages of the built-in pipeline with what each waits for.
fn needs(files: &[(&str, &str)]) -> Vec<String> {
    let root = repository(files);
    let pipeline = builtin(&detect(root.path(), &bare(root.path()))).unwrap();
    let line = |stage: &co_model::Stage| match &stage.needs {
        Needs::Declared(needs) => {
            let needs: Vec<&str> = needs.iter().map(co_model::StageId::as_str).collect();
            format!("{} < {}", stage.id, needs.join(" "))
        }
        Needs::PreviousStage => panic!("{} has no list", stage.id),
    };
    pipeline.stages.iter().map(line).collect()
}

#[test]
fn a_stage_waits_for_what_prepares_it_and_for_nothing_else() {
    let package = "[package]\nname = \"x\"\n[lints.clippy]\npedantic = \"warn\"\n";
    assert_eq!(
        needs(&[("Cargo.toml", package), ("rustfmt.toml", "")]),
        ["build < ", "lint < build", "format < ", "test < build"]
    );
    // The linter may be missing: the tests tell their own story.
    assert_eq!(
        needs(&[("pyproject.toml", "[tool.ruff]\n[tool.pytest.ini_options]\n"), ("tests/test_a.py", "")]),
        ["lint < ", "test < "]
    );
    let scripts = r#"{ "scripts": { "build": "tsc", "test": "x" }, "dependencies": { "a": "1" } }"#;
    assert_eq!(
        needs(&[
            ("package.json", scripts),
            ("setup.py", ""),
            ("tests/test_a.py", ""),
            ("Makefile", "lint:\n\tx\n")
        ]),
        [
            "npm-install < ",
            "npm-build < npm-install",
            "npm-test < npm-install npm-build",
            "python-test < ",
            "make-lint < npm-install npm-build",
        ]
    );
}

#[test]
fn scripts_of_the_packages_of_a_workspace_are_run_in_each() {
    let member = r#"{ "name": "a", "scripts": { "test": "node test.js", "build": "" } }"#;
    let install = "install: npm install --no-audit --no-fund --no-package-lock";
    let members =
        [("packages/a/package.json", member), ("packages/b/README.md", ""), ("tool/package.json", "{")];
    for workspaces in
        [r#"["packages/*", "tool"]"#, r#"{ "packages": ["./packages/*/"] }"#, r#"["packages/a"]"#]
    {
        let root = format!(r#"{{ "workspaces": {workspaces}, "scripts": {{ "lint": "eslint ." }} }}"#);
        check(
            &[&members[..], &[("package.json", &root)]].concat(),
            &[install, "lint: npm run lint", "test: npm run test --workspaces --if-present"],
        );
    }
    check(
        &[
            &members[..],
            &[
                ("package.json", r#"{ "name": "root" }"#),
                ("pnpm-lock.yaml", ""),
                ("pnpm-workspace.yaml", "# all\npackages:\n  - 'packages/*'\nother:\n  - \"tool\"\n"),
            ],
        ]
        .concat(),
        &["install: pnpm install --frozen-lockfile", "test: pnpm --recursive run test"],
    );
    let yarn = [&members[..], &[("package.json", r#"{ "workspaces": ["packages/*"] }"#), ("yarn.lock", "")]];
    let root = repository(&yarn.concat());
    let notes = detect(root.path(), &bare(root.path())).notes;
    assert_eq!(notes[0], "packages of the workspace have a script `test`, but the root has not");
}

#[test]
fn a_missing_pytest_is_noted_with_the_command_that_brings_it() {
    let note = |files: &[(&str, &str)]| {
        let root = repository(files);
        let mut notes = detect(root.path(), &bare(root.path())).notes;
        notes.retain(|note| note.contains("pytest"));
        notes
    };
    let test = ("tests/test_a.py", "import pytest\n");
    let plain = "`pytest` was not found on PATH; an environment that is used from then on: \
                 python3 -m venv .venv && .venv/bin/pip install pytest";
    assert_eq!(note(&[("setup.py", ""), test]), [format!("{plain} -e .")]);
    assert_eq!(note(&[("requirements.txt", ""), test]), [format!("{plain} -r requirements.txt")]);
    let extras = "[project]\nname = \"x\"\n[project.optional-dependencies]\ntests = [\"mock\"]\n";
    assert_eq!(note(&[("pyproject.toml", extras), test]), [format!("{plain} -e '.[tests]'")]);
    assert_eq!(
        note(&[("setup.py", ""), ("requirements-dev.txt", ""), (".venv/bin/python", ""), test]),
        ["`pytest` was not found in `.venv`; an environment that is used from then on: \
          .venv/bin/pip install pytest -e . -r requirements-dev.txt"]
    );
    // Where it is, where a lock file's manager brings it, and where it is not used, nothing is said.
    let none: [String; 0] = [];
    assert_eq!(note(&[("setup.py", ""), (".venv/bin/python", ""), (".venv/bin/pytest", ""), test]), none);
    assert_eq!(note(&[("setup.py", ""), ("uv.lock", ""), test]), none);
    assert_eq!(note(&[("setup.py", ""), ("tests/test_a.py", "import unittest\n")]), none);
}

#[test]
fn projects_in_folders_are_named_where_the_root_has_none() {
    let root = repository(&[
        ("server/Cargo.toml", ""),
        ("client/package.json", ""),
        ("node_modules/x/package.json", ""),
        ("docs/index.md", ""),
    ]);
    let detection = detect(root.path(), &bare(root.path()));
    assert_eq!(
        detection.notes,
        [
            "`client/package.json` is there: `--root client` checks that folder",
            "`server/Cargo.toml` is there: `--root server` checks that folder",
        ]
    );
    assert!(detection.toolchains.is_empty());
}

#[test]
fn a_missing_component_is_noted_with_the_command_that_brings_it() {
    let root = repository(&[("Cargo.toml", "[package]\nname = \"x\"\n"), ("clippy.toml", "")]);
    let notes = detect(root.path(), &bare(root.path())).notes;
    assert_eq!(notes[0], "`cargo-clippy` was not found on PATH; get it with: rustup component add clippy");
}
