//! What a task tells the developer: progress on stderr, nothing else.

use std::error::Error;
use std::io::Write;

/// Writes a line to stderr. A closed terminal is no reason to fail.
pub fn say(line: &str) {
    writeln!(anstream::stderr().lock(), "{line}").ok();
}

/// Writes an error and what caused it.
pub fn say_error(error: &dyn Error) {
    say(&format!("error: {error}"));
    let mut cause = error.source();
    while let Some(inner) = cause {
        say(&format!("  caused by: {inner}"));
        cause = inner.source();
    }
}
