//! Questions to and changes of real repositories, with the installed git.
#![expect(clippy::unwrap_used, reason = "a fixture that cannot be made must fail the test at once")]

mod changes;
mod discovery;
mod snapshots;
mod worktrees;

use co_git::{Change, ChangeKind, Git};
use co_testkit::Repository as Fixture;

/// The installed git, without anything of the machine's or the person's configuration.
fn git(fixture: &Fixture) -> Git {
    fixture.environment().into_iter().fold(Git::default(), |git, (name, value)| git.env(name, value))
}

fn open(fixture: &Fixture) -> co_git::Repository {
    git(fixture).discover(fixture.root()).unwrap().unwrap()
}

/// `A path`, `M path` and so on: easy to write and to compare.
fn told(changes: &[Change]) -> Vec<String> {
    changes
        .iter()
        .map(|change| match &change.kind {
            ChangeKind::Added => format!("A {}", change.path),
            ChangeKind::Untracked => format!("? {}", change.path),
            ChangeKind::Updated => format!("M {}", change.path),
            ChangeKind::Deleted => format!("D {}", change.path),
            ChangeKind::Renamed { from } => format!("R {from} -> {}", change.path),
            ChangeKind::Conflicted => format!("U {}", change.path),
        })
        .collect()
}
