//! The event log on an embedded SQLite database: one file, no server, any number of processes.
//!
//! Owns the database file and its `-wal` and `-shm` companions; nothing else may write them. Every
//! write is one `BEGIN IMMEDIATE` transaction; every read is one statement, so no lock outlives a call.

mod append;
mod error;
mod file_system;
mod grants;
mod log;
mod open;
mod rows;
mod schema;
mod statements;

pub use log::SqliteLog;
pub use open::OpenMode;
