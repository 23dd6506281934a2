//! What survives when something is killed, filled up, torn or set back. Real programs, real kills.

mod alone;
mod boundaries;
mod kills;
mod ownership;
mod views;
mod world;
