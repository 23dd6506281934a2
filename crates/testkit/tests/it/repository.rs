//! Temporary repositories.

use co_testkit::Repository;

#[test]
fn the_same_files_give_the_same_commits_and_nothing_of_the_machine_is_seen() {
    let make = || Repository::with_files(&[("a.txt", "a\n"), ("deep/b.txt", "b\n")]);
    let (one, two) = (make(), make());
    assert_eq!(one.git(&["rev-parse", "HEAD"]), two.git(&["rev-parse", "HEAD"]));
    assert_ne!(one.root(), two.root());
    assert_eq!(one.git(&["ls-files"]), "a.txt\ndeep/b.txt");
    assert_eq!(one.git(&["rev-parse", "--abbrev-ref", "HEAD"]), "main");
    assert_eq!(one.git(&["log", "--format=%an <%ae>"]), "Test <test@example.invalid>");
    let origins = one.git(&["config", "--list", "--show-scope"]);
    assert!(origins.lines().all(|line| line.starts_with("local")), "{origins}");
    one.write("a.txt", "changed\n");
    assert_eq!(one.git(&["status", "--porcelain"]), " M a.txt");
    assert_eq!(one.commit("second"), one.git(&["rev-parse", "main"]));
    assert_eq!(one.read("a.txt"), "changed\n");
}

#[test]
fn a_repository_is_found_from_within_and_goes_away() {
    let repository = Repository::init();
    assert_eq!(repository.git(&["rev-parse", "--show-toplevel"]), repository.root().to_str().unwrap());
    let root = repository.root().to_owned();
    assert!(root.starts_with(repository.outside().canonicalize().unwrap()));
    drop(repository);
    assert!(!root.exists());
}
