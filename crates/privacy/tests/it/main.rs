//! The guard as its users see it.

mod cases;
mod configured;
mod streams;
mod tables;
