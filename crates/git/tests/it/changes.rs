use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;

use co_testkit::Repository as Fixture;

use crate::{open, told};

#[test]
fn every_kind_of_change_is_listed_once() {
    let fixture = Fixture::with_files(&[
        (".gitignore", "ignored\n"),
        ("deleted", "a\n"),
        ("kept on disk", "b\n"),
        ("renamed", "some text that is long enough to be recognised\n"),
        ("updated", "c\n"),
    ]);
    let repository = open(&fixture);
    assert!(repository.is_clean().unwrap());

    fixture.write("added", "new\n");
    fixture.git(&["add", "added"]);
    fs::remove_file(fixture.root().join("deleted")).unwrap();
    fixture.git(&["rm", "--quiet", "--cached", "kept on disk"]);
    fixture.git(&["mv", "renamed", "now called so"]);
    fixture.write("updated", "changed\n");
    fixture.write("folder/untracked", "new\n");
    fixture.write("ignored", "not of interest\n");
    let told = told(&repository.changes().unwrap());
    assert_eq!(
        told,
        [
            "A added",
            "D deleted",
            "? folder/untracked",
            "M kept on disk",
            "R renamed -> now called so",
            "M updated"
        ]
    );
    assert!(!repository.is_clean().unwrap());
}

#[test]
fn a_merge_in_conflict_is_told() {
    let fixture = Fixture::with_files(&[("file", "base\n")]);
    fixture.git(&["switch", "--quiet", "--create", "other"]);
    fixture.write("file", "theirs\n");
    fixture.commit("theirs");
    fixture.git(&["switch", "--quiet", "main"]);
    fixture.write("file", "ours\n");
    fixture.commit("ours");
    let repository = open(&fixture);
    let before = repository.snapshot().unwrap();
    fixture.git(&["-c", "alias.try=!git merge --quiet other || true", "try"]);
    assert_eq!(told(&repository.changes().unwrap()), ["U file"]);
    assert_eq!(told(&repository.changes_since(&before).unwrap()), ["M file"]);
}

#[test]
fn hostile_names_arrive_unchanged() {
    let fixture = Fixture::init();
    let names: [&[u8]; 6] =
        [b" spaces ", b"-dash", b":(glob)*", b"new\nline", b"not utf-8 \xff\xfe", b"quote\"tab\t\\"];
    for name in names {
        fs::write(fixture.root().join(OsStr::from_bytes(name)), "x").unwrap();
    }
    let repository = open(&fixture);
    let changes = repository.changes().unwrap();
    let found: Vec<&[u8]> =
        changes.iter().map(|change| change.path.as_path().as_os_str().as_bytes()).collect();
    assert_eq!(found, names);
    let lossy: Vec<bool> = changes.iter().map(|change| change.path.is_lossy()).collect();
    assert_eq!(lossy, [false, false, false, false, true, false]);

    let snapshot = repository.snapshot().unwrap();
    assert_eq!(snapshot.dirty_files(), names.len());
    for name in names {
        fs::write(fixture.root().join(OsStr::from_bytes(name)), "y").unwrap();
    }
    let found: Vec<_> = repository.changes_since(&snapshot).unwrap();
    assert_eq!(found.len(), names.len());
    assert!(told(&found).iter().all(|line| line.starts_with("M ")), "{found:?}");
}

#[test]
fn the_persons_configuration_does_not_change_the_answer() {
    let fixture = Fixture::with_files(&[("a/file", "text that is long enough to be followed\n")]);
    for (name, value) in [
        ("status.showUntrackedFiles", "no"),
        ("status.relativePaths", "true"),
        ("status.short", "true"),
        ("status.renames", "false"),
        ("diff.noprefix", "true"),
        ("diff.external", "false"),
        ("diff.relative", "true"),
        ("color.ui", "always"),
        ("log.showSignature", "true"),
        ("core.fsmonitor", "false-monitor-that-does-not-exist"),
    ] {
        fixture.git(&["config", name, value]);
    }
    fixture.git(&["mv", "a/file", "a/name"]);
    fixture.write("b/new", "x\n");
    let repository = open(&fixture);
    assert_eq!(told(&repository.changes().unwrap()), ["R a/file -> a/name", "? b/new"]);
}
