//! What survives when something is killed, filled up, torn or set back. Real programs, real kills.

mod boundaries;
mod world;
