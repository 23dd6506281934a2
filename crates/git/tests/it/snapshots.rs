use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use co_testkit::Repository as Fixture;

use crate::{open, told};

/// Takes a snapshot, lets `work` happen and tells what changed.
fn changed(fixture: &Fixture, work: impl FnOnce()) -> Vec<String> {
    let repository = open(fixture);
    let before = repository.snapshot().unwrap();
    assert_eq!(told(&repository.changes_since(&before).unwrap()), [""; 0], "nothing has happened yet");
    work();
    told(&repository.changes_since(&before).unwrap())
}

fn fixture() -> Fixture {
    Fixture::with_files(&[("a", "a\n"), ("b", "b\n"), ("c", "c\n")])
}

#[test]
fn a_clean_tree_shows_exactly_what_was_done() {
    let fixture = fixture();
    let told = changed(&fixture, || {
        fixture.write("a", "changed\n");
        fs::remove_file(fixture.root().join("b")).unwrap();
        fixture.write("new/file", "new\n");
    });
    assert_eq!(told, ["M a", "D b", "A new/file"]);
}

#[test]
fn what_was_dirty_before_counts_only_when_it_changes_again() {
    let fixture = fixture();
    fixture.write("a", "dirty\n");
    fixture.write("b", "dirty\n");
    fixture.write("mine", "untracked\n");
    fixture.write("also mine", "untracked\n");
    fs::remove_file(fixture.root().join("c")).unwrap();
    let told = changed(&fixture, || {
        fixture.write("b", "dirtier\n");
        fs::remove_file(fixture.root().join("also mine")).unwrap();
        fixture.write("c", "c\n");
    });
    assert_eq!(told, ["D also mine", "M b", "A c"]);
}

#[test]
fn a_dirty_file_that_is_put_back_has_changed() {
    let fixture = fixture();
    fixture.write("a", "dirty\n");
    let told = changed(&fixture, || fixture.write("a", "a\n"));
    assert_eq!(told, ["M a"]);
}

#[test]
fn commits_do_not_hide_changes_and_do_not_make_them() {
    let fixture = fixture();
    fixture.write("a", "dirty before\n");
    fixture.write("mine", "untracked before\n");
    let told = changed(&fixture, || {
        fixture.write("b", "changed\n");
        fixture.write("new", "new\n");
        fixture.commit("everything, also what was dirty before");
        fixture.write("c", "changed after the commit\n");
    });
    assert_eq!(told, ["M b", "M c", "A new"]);
}

#[test]
fn resets_and_staging_change_nothing_on_disk() {
    let fixture = fixture();
    fixture.write("d", "second\n");
    fixture.write("a", "second\n");
    fixture.commit("second");
    let told = changed(&fixture, || {
        // Now `d` is untracked, and `a` differs from the commit: on disk both are as they were.
        fixture.git(&["reset", "--quiet", "HEAD~1"]);
        fixture.git(&["rm", "--quiet", "--cached", "b"]);
    });
    assert_eq!(told, [""; 0]);
}

#[test]
fn before_the_first_commit_everything_is_new() {
    let fixture = Fixture::init();
    fixture.write("before", "x\n");
    let told = changed(&fixture, || {
        fixture.write("after", "y\n");
        fixture.commit("first");
        fixture.write("last", "z\n");
    });
    assert_eq!(told, ["A after", "A last"]);
}

#[test]
fn links_modes_and_kinds_count() {
    let fixture = fixture();
    symlink("a", fixture.root().join("link")).unwrap();
    symlink("a", fixture.root().join("dirty link")).unwrap();
    fixture.git(&["add", "link", "b"]);
    fixture.git(&["commit", "--quiet", "--message", "a link"]);
    let told = changed(&fixture, || {
        for name in ["link", "dirty link"] {
            fs::remove_file(fixture.root().join(name)).unwrap();
            symlink("b", fixture.root().join(name)).unwrap();
        }
        fs::set_permissions(fixture.root().join("a"), fs::Permissions::from_mode(0o755)).unwrap();
        fs::remove_file(fixture.root().join("b")).unwrap();
        fixture.write("b/inner", "a file of that name was here\n");
    });
    assert_eq!(told, ["M a", "D b", "A b/inner", "M dirty link", "M link"]);
}

#[test]
fn a_touched_file_has_not_changed() {
    let fixture = fixture();
    let told = changed(&fixture, || fixture.write("a", "a\n"));
    assert_eq!(told, [""; 0]);
}

#[test]
fn a_large_dirty_file_is_compared_by_size_and_time() {
    let fixture = fixture();
    let large = fixture.root().join("large");
    fs::File::create(&large).unwrap().set_len(co_git::SNAPSHOT_MAX_FILE_BYTES + 1).unwrap();
    let told = changed(&fixture, || {
        fs::File::options()
            .write(true)
            .open(&large)
            .unwrap()
            .set_len(co_git::SNAPSHOT_MAX_FILE_BYTES + 2)
            .unwrap();
    });
    assert_eq!(told, ["M large"]);
}

#[test]
fn a_snapshot_remembers_its_commit() {
    let fixture = fixture();
    let snapshot = open(&fixture).snapshot().unwrap();
    assert_eq!(snapshot.commit(), Some(fixture.git(&["rev-parse", "HEAD"]).as_str()));
    assert_eq!(snapshot.dirty_files(), 0);
}
