//! What the engine decides, driven by scripts and by chance.

mod gates;
mod nested;
mod planning;
mod random;
mod recovery;
mod resume;
mod retry;
mod scheduling;
mod stopping;
mod verdicts;
mod world;
