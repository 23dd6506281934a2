//! The terminal HUD: a read-only view of a run in progress.
