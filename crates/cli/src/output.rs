//! Standard output carries data and nothing else; everything for people's eyes goes to standard error.

use std::io::{self, Write};
use std::sync::OnceLock;

use anstyle::{AnsiColor, Style};
use co_model::visible;
use co_process::plain_text;
use co_views::is_plain;

/// Why standard output could not be written; what came after it was dropped.
static FAILURE: OnceLock<io::Error> = OnceLock::new();

/// Writes data to standard output. A reader that has gone away (`| head -1`) is no failure, anything else is one that
/// [`undelivered`] tells at the end: work that is under way goes on. From then on everything is dropped.
pub(crate) struct Data {
    out: Box<dyn Write + Send>,
    closed: bool,
}

impl Data {
    /// Coloured when standard output is a terminal that wants it.
    pub(crate) fn styled() -> Self {
        Self { out: Box::new(anstream::AutoStream::auto(io::stdout())), closed: false }
    }

    /// Exactly the bytes given.
    pub(crate) fn exact() -> Self {
        Self { out: Box::new(io::stdout()), closed: false }
    }

    /// Writes a line.
    pub(crate) fn line(&mut self, text: &str) {
        self.bytes(text.as_bytes());
        self.bytes(b"\n");
    }

    /// Writes bytes.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        if !self.closed {
            let written = self.out.write_all(bytes);
            self.closed = !is_delivered(written);
        }
    }

    /// Hands over what is buffered.
    pub(crate) fn flush(&mut self) {
        if !self.closed {
            let flushed = self.out.flush();
            self.closed = !is_delivered(flushed);
        }
    }

    /// Whether nobody takes what is written any more.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed
    }
}

/// Whether it was written. Remembers why not, unless the reader has gone.
pub(crate) fn is_delivered(written: io::Result<()>) -> bool {
    match written {
        Ok(()) => true,
        Err(error) => {
            if error.kind() != io::ErrorKind::BrokenPipe {
                // The first one says it all.
                drop(FAILURE.set(error));
            }
            false
        }
    }
}

/// Hands over what is still buffered; says why not all of standard output was written, if that is so.
pub(crate) fn undelivered() -> Option<&'static io::Error> {
    is_delivered(io::stdout().flush());
    FAILURE.get()
}

/// Writes progress and notes to standard error, unless asked to be quiet.
#[derive(Clone, Copy)]
pub(crate) struct Notes {
    pub(crate) quiet: bool,
}

impl Notes {
    /// Writes a line of progress.
    pub(crate) fn progress(self, text: &str) {
        if !self.quiet {
            write_error_line(text);
        }
    }
}

/// Writes a warning to standard error, also when quiet.
pub(crate) fn warn(text: &str) {
    write_error_line(&format!("{} {text}", paint(YELLOW, "warning:")));
}

/// Writes an error with its advice to standard error.
pub(crate) fn complain(text: &str, hints: &[String]) {
    write_error_line(&format!("{} {text}", paint(RED, "error:")));
    for hint in hints {
        write_error_line(&format!("{} {hint}", paint(CYAN, " hint:")));
    }
}

fn write_error_line(text: &str) {
    // Nobody can be told that standard error is gone.
    drop(writeln!(anstream::stderr(), "{text}"));
}

pub(crate) const RED: Style = AnsiColor::Red.on_default().bold();
pub(crate) const GREEN: Style = AnsiColor::Green.on_default();
pub(crate) const YELLOW: Style = AnsiColor::Yellow.on_default();
pub(crate) const CYAN: Style = AnsiColor::Cyan.on_default();
pub(crate) const DIM: Style = Style::new().dimmed();
pub(crate) const BOLD: Style = Style::new().bold();

/// Wraps text in a style; the streams drop it where colours are not wanted.
pub(crate) fn paint(style: Style, text: &str) -> String {
    format!("{style}{text}{style:#}")
}

/// A line of strangers, made harmless for a terminal: what breaks the line, moves the cursor or turns the
/// direction of text is written out as in [`co_model::visible`], so that nothing is hidden by it.
pub(crate) fn harmless(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if is_plain(c) || c == '\t' {
            shown.push(c);
        } else {
            shown.push_str(&visible(c.encode_utf8(&mut [0; 4])));
        }
    }
    shown
}

/// A program's output, made harmless for a terminal. Lines stay lines; what a carriage return would
/// have overwritten is shown.
pub(crate) fn harmless_output(bytes: &[u8]) -> String {
    let text = plain_text(bytes).replace("\r\n", "\n");
    let text = text.trim_end_matches('\r').replace('\r', "\n");
    text.chars().filter(|c| is_plain(*c) || matches!(c, '\t' | '\n')).collect()
}
