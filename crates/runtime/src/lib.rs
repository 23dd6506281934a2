//! The loop: one owner per run, effects, recovery, views to disk.
