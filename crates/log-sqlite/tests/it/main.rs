//! What the SQLite store promises, checked from outside.

mod suite;
mod support;
