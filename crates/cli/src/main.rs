//! Runs coding agents and commands through declared pipelines, and proves afterwards what happened.
fn main() {}
