//! The projects and what is expected of them.
//!
//! Versions are pinned: what is published under a version never changes.

/// The client that a project is obtained with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Registry {
    /// Crates, by `cargo vendor`.
    Cargo,
    /// npm packages, by `npm pack`.
    Npm,
    /// Source distributions, by `pip download`.
    Pip,
}

/// How a stage ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ends {
    /// With success.
    Succeeded,
    /// With a failure that is the project's own.
    Failed,
}

/// One project.
#[derive(Debug)]
pub(super) struct Project {
    /// Where it comes from.
    pub registry: Registry,
    /// Its name there.
    pub name: &'static str,
    /// The version.
    pub version: &'static str,
    /// Packages that are put into a virtual environment first, as its developers would.
    pub environment: &'static [&'static str],
    /// The stages with their commands and ends, in order; none when it must be refused.
    pub stages: &'static [(&'static str, &'static str, Ends)],
    /// What the tools leave behind, as `git status` names it.
    pub leaves: &'static [&'static str],
    /// Words that must be in what a person reads at the end.
    pub says: &'static str,
}

const INSTALL: (&str, &str, Ends) =
    ("install", "npm install --no-audit --no-fund --no-package-lock", Ends::Succeeded);

/// Every project, each for another reason.
pub(super) const PROJECTS: &[Project] = &[
    // A crate with tests, examples in its documentation and no lock file.
    Project {
        registry: Registry::Cargo,
        name: "itoa",
        version: "1.0.11",
        environment: &[],
        stages: &[("build", "cargo build", Ends::Succeeded), ("test", "cargo test", Ends::Succeeded)],
        leaves: &["Cargo.lock", "target/"],
        says: "2 of 2 stages succeeded",
    },
    // A package that ships its tests; they need an installation first.
    Project {
        registry: Registry::Npm,
        name: "deep-is",
        version: "0.1.4",
        environment: &[],
        stages: &[INSTALL, ("test", "npm run test", Ends::Succeeded)],
        leaves: &["node_modules/"],
        says: "2 of 2 stages succeeded",
    },
    // A package whose test runner is not among its dependencies: a failure that must be told.
    Project {
        registry: Registry::Npm,
        name: "wordwrap",
        version: "1.0.0",
        environment: &[],
        stages: &[INSTALL, ("test", "npm run test", Ends::Failed)],
        leaves: &["node_modules/"],
        says: "Failed at stage `test`",
    },
    // Tests by unittest, beside a Makefile that wraps them.
    Project {
        registry: Registry::Pip,
        name: "more-itertools",
        version: "10.5.0",
        environment: &[],
        stages: &[("test", "python3 -m unittest discover", Ends::Succeeded)],
        leaves: &[],
        says: "1 of 1 stage succeeded",
    },
    // Tests inside the package, by pytest from the checkout's own environment.
    Project {
        registry: Registry::Pip,
        name: "toolz",
        version: "0.12.1",
        environment: &["pytest==8.3.3"],
        stages: &[("test", ".venv/bin/python -m pytest", Ends::Succeeded)],
        leaves: &[".venv/", ".pytest_cache/"],
        says: "1 of 1 stage succeeded",
    },
    // A source distribution without its tests: nothing to run, and the reason is said.
    Project {
        registry: Registry::Pip,
        name: "docopt",
        version: "0.6.2",
        environment: &[],
        stages: &[],
        leaves: &[],
        says: "`setup.py` is there, but neither tests nor a ruff configuration",
    },
];
