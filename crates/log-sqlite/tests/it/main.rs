//! What the SQLite store promises, checked from outside.

mod damage;
mod model;
mod processes;
mod several;
mod suite;
mod support;
