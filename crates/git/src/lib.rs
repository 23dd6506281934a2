//! The few questions and changes we ask of git: where a repository is, what changed, worktrees.
//!
//! Everything goes through the user's own `git` program, so that their configuration, filters and
//! credentials mean the same here as at their prompt. This room owns no state; it never commits,
//! pushes, resets or stashes, and it never removes what it cannot prove to be kept elsewhere.
//!
//! ```text
//!  Git ── discover ──► Repository ── changes ────► Vec<Change>          (against the last commit)
//!                          ├─────── snapshot ───► Snapshot ─ changes_since ─► Vec<Change>
//!                          └─────── add_worktree / worktree_safety / remove_worktree
//! ```

mod call;
mod content;
mod path;
mod repository;
mod snapshot;
mod status;
mod worktree;

pub use call::{Git, GitError};
pub use path::TreePath;
pub use repository::{Head, Repository};
pub use snapshot::{SNAPSHOT_MAX_FILE_BYTES, Snapshot};
pub use status::{Change, ChangeKind};
pub use worktree::{BranchAfter, LostCommit, RemovedWorktree, Worktree, WorktreeError, WorktreeSafety};
