use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use co_git::{BranchAfter, Repository, WorktreeError, WorktreeSafety};
use co_testkit::Repository as Fixture;

use crate::{git, open, told};

struct Linked {
    fixture: Fixture,
    repository: Repository,
    path: PathBuf,
}

/// A repository with one commit and a linked worktree on the branch `run/one`.
fn linked() -> Linked {
    let fixture = Fixture::with_files(&[("file", "text\n"), (".gitignore", "ignored\n")]);
    let repository = open(&fixture);
    let path = fixture.outside().canonicalize().unwrap().join("worktrees of runs/one");
    let made = repository.add_worktree(&path, "run/one").unwrap();
    assert_eq!(made.path, path);
    assert_eq!(made.branch, "run/one");
    assert_eq!(made.commit, fixture.git(&["rev-parse", "HEAD"]));
    Linked { fixture, repository, path }
}

impl Linked {
    fn write(&self, name: &str, text: &str) {
        fs::write(self.path.join(name), text).unwrap();
    }

    fn git(&self, arguments: &[&str]) -> String {
        let mut all = vec!["-C", self.path.to_str().unwrap()];
        all.extend(arguments);
        self.fixture.git(&all)
    }

    fn commit(&self, message: &str) -> String {
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--message", message]);
        self.git(&["rev-parse", "HEAD"])
    }

    /// Tries to remove the worktree and returns what stands in the way.
    fn refusal(&self, branch_after: BranchAfter) -> WorktreeSafety {
        let error = self.repository.remove_worktree(&self.path, branch_after).unwrap_err();
        assert!(self.path.join("file").exists(), "nothing may go after a refusal");
        match error {
            WorktreeError::WouldLose { path, safety } if path == self.path => *safety,
            other => panic!("{other:?}"),
        }
    }

    fn branches(&self) -> String {
        self.fixture.git(&["branch", "--format=%(refname:short)"])
    }
}

#[test]
fn an_untouched_worktree_goes_with_its_branch() {
    let linked = linked();
    assert_eq!(open(&linked.fixture).head().unwrap().branch.as_deref(), Some("main"));
    let inside = git(&linked.fixture).discover(&linked.path).unwrap().unwrap();
    assert_eq!(inside.root(), linked.path);
    assert_eq!(inside.head().unwrap().branch.as_deref(), Some("run/one"));

    assert!(linked.repository.worktree_safety(&linked.path).unwrap().is_clear());
    linked.write("ignored", "build output\n");
    let removed = linked.repository.remove_worktree(&linked.path, BranchAfter::Delete).unwrap();
    assert_eq!(removed.deleted_branch.as_deref(), Some("run/one"));
    assert!(!linked.path.exists());
    assert_eq!(linked.branches(), "main");
}

#[test]
fn a_worktree_can_be_removed_from_inside_itself() {
    let linked = linked();
    let inside = git(&linked.fixture).discover(&linked.path).unwrap().unwrap();
    inside.remove_worktree(&linked.path, BranchAfter::Keep).unwrap();
    assert!(!linked.path.exists());
    assert_eq!(linked.branches(), "main\nrun/one");
}

#[test]
fn uncommitted_and_untracked_work_is_not_lost() {
    let linked = linked();
    linked.write("file", "changed\n");
    linked.write("untracked", "new\n");
    for branch_after in [BranchAfter::Keep, BranchAfter::Delete] {
        let safety = linked.refusal(branch_after);
        assert_eq!(told(&safety.uncommitted), ["M file"]);
        assert_eq!(safety.untracked.iter().map(ToString::to_string).collect::<Vec<_>>(), ["untracked"]);
        assert_eq!(safety.unpushed_commits, []);
        assert_eq!(safety.to_string(), "1 uncommitted, 1 untracked");
    }
}

#[test]
fn a_commit_is_lost_only_with_its_last_branch() {
    let linked = linked();
    linked.write("file", "changed\n");
    let id = linked.commit("the work: done\n\nwith a body");
    // A branch of like name holds nothing of it.
    linked.fixture.git(&["branch", "run/on"]);

    let safety = linked.refusal(BranchAfter::Delete);
    assert_eq!(safety.unpushed_commits.len(), 1);
    assert_eq!(safety.unpushed_commits[0].id, id);
    assert_eq!(safety.unpushed_commits[0].subject, "the work: done");

    let removed = linked.repository.remove_worktree(&linked.path, BranchAfter::Keep).unwrap();
    assert_eq!(removed.deleted_branch, None);
    assert_eq!(linked.fixture.git(&["rev-parse", "run/one"]), id);
}

#[test]
fn a_commit_that_another_branch_a_tag_or_a_remote_has_is_kept() {
    for keeper in [
        &["branch", "keeper", "run/one"][..],
        &["tag", "v1", "run/one"],
        &["push", "--quiet", "origin", "run/one"],
    ] {
        let linked = linked();
        let remote = linked.fixture.outside().join("remote.git");
        linked.fixture.git(&["init", "--quiet", "--bare", remote.to_str().unwrap()]);
        linked.fixture.git(&["remote", "add", "origin", remote.to_str().unwrap()]);
        linked.write("file", "changed\n");
        linked.commit("work");
        linked.refusal(BranchAfter::Delete);
        linked.fixture.git(keeper);
        let removed = linked.repository.remove_worktree(&linked.path, BranchAfter::Delete).unwrap();
        assert_eq!(removed.deleted_branch.as_deref(), Some("run/one"), "{keeper:?}");
    }
}

#[test]
fn a_commit_on_no_branch_is_never_lost() {
    let linked = linked();
    linked.git(&["switch", "--quiet", "--detach"]);
    linked.write("file", "changed\n");
    linked.commit("on no branch");
    for branch_after in [BranchAfter::Keep, BranchAfter::Delete] {
        let safety = linked.refusal(branch_after);
        assert_eq!((safety.unpushed_commits.len(), safety.branch), (1, None));
    }
}

#[test]
fn a_worktree_whose_folder_is_gone_is_forgotten_but_its_commits_are_not() {
    let linked = linked();
    linked.write("file", "changed\n");
    linked.commit("work");
    fs::remove_dir_all(&linked.path).unwrap();
    let error = linked.repository.remove_worktree(&linked.path, BranchAfter::Delete).unwrap_err();
    assert!(matches!(error, WorktreeError::WouldLose { .. }), "{error:?}");
    linked.repository.remove_worktree(&linked.path, BranchAfter::Keep).unwrap();
    assert_eq!(linked.branches(), "main\nrun/one");
    assert!(matches!(linked.repository.worktree_safety(&linked.path), Err(WorktreeError::NotLinked { .. })));
}

#[test]
fn the_main_tree_and_strange_folders_are_never_removed() {
    let linked = linked();
    let strange = linked.fixture.outside().to_path_buf();
    for path in [linked.fixture.root(), &strange, &strange.join("missing")] {
        let error = linked.repository.remove_worktree(path, BranchAfter::Delete).unwrap_err();
        assert!(matches!(error, WorktreeError::NotLinked { .. }), "{error:?}");
    }
    assert!(linked.fixture.root().join("file").exists());
}

#[test]
fn what_is_in_the_way_of_a_new_worktree_is_named() {
    let linked = linked();
    let free = linked.path.with_file_name("two");
    let repository = &linked.repository;
    assert!(matches!(
        repository.add_worktree(&linked.path, "run/two"),
        Err(WorktreeError::PathExists { path }) if path == linked.path
    ));
    assert!(matches!(
        repository.add_worktree(&free, "run/one"),
        Err(WorktreeError::BranchExists { branch }) if branch == "run/one"
    ));
    for invalid in ["", "-b", "a..b", "a b", "HEAD", "@{-1}", "a\nb", "x.lock"] {
        let error = repository.add_worktree(&free, invalid).unwrap_err();
        assert!(matches!(error, WorktreeError::InvalidBranch { .. }), "`{invalid}`: {error:?}");
    }
    assert!(!free.exists());
    let empty = Fixture::init();
    assert!(matches!(open(&empty).add_worktree(&free, "x"), Err(WorktreeError::NoCommit { .. })));
}

#[test]
fn a_failed_addition_leaves_nothing_behind() {
    let linked = linked();
    let hook = linked.fixture.root().join(".git/hooks/post-checkout");
    fs::create_dir_all(hook.parent().unwrap()).unwrap();
    fs::write(&hook, "#!/bin/sh\necho 'the hook says no' >&2\nexit 1\n").unwrap();
    fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).unwrap();
    let free = linked.path.with_file_name("two");
    let error = linked.repository.add_worktree(&free, "run/two").unwrap_err();
    assert!(error.to_string().contains("the hook says no"), "{error}");
    assert!(!free.exists());
    assert_eq!(linked.branches(), "main\nrun/one");

    // Here git cannot even make the folder.
    let under_a_file = linked.fixture.root().join("file/two");
    linked.repository.add_worktree(&under_a_file, "run/two").unwrap_err();
    assert_eq!(linked.branches(), "main\nrun/one");
}
