//! Writes a program's output to its log and index.
//!
//! Owns both files while a program runs. The log is written at once, so a crash of ours loses nothing that was
//! read; the index follows within [`COALESCE_FOR`]. Neither is synced: they survive the death of any process,
//! not the loss of power.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::clock;
use crate::output_log::{IndexEntry, Stream};
use crate::program::{Capture, RunError};

/// Pieces of one stream that arrive within this time share an index entry.
const COALESCE_FOR: Duration = Duration::from_millis(100);
/// An index entry covers at most about this much.
const COALESCE_BYTES: u64 = 1 << 20;
/// Index lines are written together once they are this long.
const LINES_BYTES: usize = 16 << 10;

/// The open log and index of one running program, or of something that runs inside of one.
pub struct LogWriter {
    log: File,
    log_path: PathBuf,
    index: File,
    index_path: PathBuf,
    offset: u64,
    /// The entry that the next piece may join.
    pending: Option<IndexEntry>,
    /// Finished lines that are not in the file yet.
    lines: Vec<u8>,
    /// When pending entry and lines must be in the file.
    flush_at: Option<Instant>,
    /// Whether anything was indexed; the first entry is written at once.
    indexed: bool,
}

impl LogWriter {
    /// Opens both files for appending; a last index line that a crash has torn is ended, so it stays alone.
    ///
    /// # Errors
    /// [`RunError::Capture`].
    pub fn open(capture: &Capture) -> Result<Self, RunError> {
        let (log, offset) = open(&capture.log).map_err(failure(&capture.log))?;
        let index = open(&capture.index)
            .and_then(|(mut index, length)| end_torn_line(&mut index, length).map(|()| index))
            .map_err(failure(&capture.index))?;
        Ok(Self {
            log,
            log_path: capture.log.clone(),
            index,
            index_path: capture.index.clone(),
            offset,
            pending: None,
            lines: Vec::new(),
            flush_at: None,
            indexed: false,
        })
    }

    /// Appends what one read brought.
    ///
    /// # Errors
    /// [`RunError::Capture`]; the output is incomplete then.
    pub fn append(&mut self, stream: Stream, bytes: &[u8]) -> Result<(), RunError> {
        self.log.write_all(bytes).map_err(failure(&self.log_path))?;
        let length = bytes.len() as u64;
        match &mut self.pending {
            Some(entry) if entry.stream == stream && entry.length < COALESCE_BYTES => entry.length += length,
            _ => {
                self.finish_entry();
                let at = clock::epoch_milliseconds();
                self.pending = Some(IndexEntry { at, stream, offset: self.offset, length });
                self.flush_at.get_or_insert_with(|| Instant::now() + COALESCE_FOR);
            }
        }
        self.offset += length;
        // The first entry names the stream of whatever a crash leaves without an entry.
        if !self.indexed || self.lines.len() >= LINES_BYTES {
            self.indexed = true;
            self.flush()?;
        }
        Ok(())
    }

    /// When [`LogWriter::flush`] is due.
    pub(crate) fn flush_at(&self) -> Option<Instant> {
        self.flush_at
    }

    /// Writes every entry so far to the index; to be called at the end.
    ///
    /// # Errors
    /// [`RunError::Capture`].
    pub fn flush(&mut self) -> Result<(), RunError> {
        self.finish_entry();
        self.flush_at = None;
        if self.lines.is_empty() {
            return Ok(());
        }
        self.index.write_all(&self.lines).map_err(failure(&self.index_path))?;
        self.lines.clear();
        Ok(())
    }

    fn finish_entry(&mut self) {
        if let Some(entry) = self.pending.take() {
            entry.write_line(&mut self.lines);
        }
    }
}

fn failure(path: &Path) -> impl FnOnce(io::Error) -> RunError + use<'_> {
    move |source| RunError::Capture { path: path.to_owned(), source }
}

fn open(path: &Path) -> io::Result<(File, u64)> {
    let file = OpenOptions::new().create(true).read(true).append(true).open(path)?;
    let length = file.metadata()?.len();
    Ok((file, length))
}

fn end_torn_line(index: &mut File, length: u64) -> io::Result<()> {
    if length == 0 {
        return Ok(());
    }
    let mut last = [0];
    index.seek(SeekFrom::Start(length - 1))?;
    index.read_exact(&mut last)?;
    if last == *b"\n" { Ok(()) } else { index.write_all(b"\n") }
}
