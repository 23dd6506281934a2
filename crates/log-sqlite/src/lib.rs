//! The event log on an embedded SQLite database.
