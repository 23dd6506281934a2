use std::fs;
use std::path::Path;

use co_git::{GitError, Head, Repository};
use co_process::Tool;
use co_testkit::Repository as Fixture;

use crate::{git, open};

#[test]
fn a_repository_is_found_from_anywhere_inside() {
    let fixture = Fixture::with_files(&[("deep/down/file.txt", "text\n")]);
    for inside in ["", "deep", "deep/down", "deep/down/file.txt"] {
        let found = git(&fixture).discover(&fixture.root().join(inside)).unwrap().unwrap();
        assert_eq!(found.root(), fixture.root(), "from `{inside}`");
    }
}

#[test]
fn outside_there_is_none() {
    let fixture = Fixture::init();
    assert!(git(&fixture).discover(fixture.outside()).unwrap().is_none());
    let missing = fixture.outside().join("missing");
    assert!(
        matches!(git(&fixture).discover(&missing), Err(GitError::Resolve { path, .. }) if path == missing)
    );
}

#[test]
fn the_name_of_the_root_may_hold_anything() {
    let fixture = Fixture::init();
    let root = fixture.outside().canonicalize().unwrap().join("new\nline \"quoted\" \u{e9}\n");
    fs::create_dir(&root).unwrap();
    fixture.git(&["init", "--quiet", root.to_str().unwrap()]);
    assert_eq!(git(&fixture).discover(&root).unwrap().unwrap().root(), root);
}

/// Set in the process that plays a program started by a hook.
const HOOKED: &str = "CO_GIT_TEST_HOOKED";

#[test]
fn variables_of_a_calling_git_lead_nobody_astray() {
    if std::env::vars_os().any(|(name, _)| name == HOOKED) {
        let found = Repository::discover(Path::new(".")).unwrap().unwrap();
        assert_eq!(found.head().unwrap().branch.as_deref(), Some("main"));
        assert_eq!(found.changes().unwrap(), []);
        return;
    }
    let fixture = Fixture::with_files(&[("file.txt", "text\n")]);
    let mut hooked = Tool::new(std::env::current_exe().unwrap())
        .args(["--exact", "discovery::variables_of_a_calling_git_lead_nobody_astray"])
        .cwd(fixture.root());
    for (name, value) in fixture.environment() {
        hooked = hooked.env(name, value);
    }
    for name in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_COMMON_DIR"] {
        hooked = hooked.env(name, "/nowhere");
    }
    let output = hooked.env("GIT_GLOB_PATHSPECS", "1").env(HOOKED, "1").run().unwrap();
    assert!(output.stdout_text().contains("1 passed"), "{}", output.stdout_text());
}

#[test]
fn the_head_tells_commit_and_branch() {
    let fixture = Fixture::init();
    let repository = open(&fixture);
    assert_eq!(repository.head().unwrap(), Head { commit: None, branch: Some("main".into()) });

    let first = fixture.commit("first");
    fixture.git(&["switch", "--quiet", "--create", "topic/one"]);
    let on_branch = Head { commit: Some(first.clone()), branch: Some("topic/one".into()) };
    assert_eq!(repository.head().unwrap(), on_branch);

    fixture.git(&["switch", "--quiet", "--detach"]);
    assert_eq!(repository.head().unwrap(), Head { commit: Some(first), branch: None });
}

#[test]
fn a_missing_git_and_a_broken_repository_are_told_apart() {
    let fixture = Fixture::init();
    let nowhere = git(&fixture).env("PATH", fixture.outside());
    let error = nowhere.discover(fixture.root()).unwrap_err();
    assert!(error.is_missing_program(), "{error:?}");

    fs::write(fixture.root().join(".git/HEAD"), "neither branch nor commit").unwrap();
    let error = git(&fixture).discover(fixture.root()).unwrap_err();
    assert!(!error.is_missing_program());
    assert!(matches!(error, GitError::Failed { .. }), "{error:?}");
}
