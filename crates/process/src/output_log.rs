//! Reads captured output back: one stream, all of it in order, the end of it, or as it grows.
//!
//! **Format.** The *log* is the exact bytes of all streams in order of arrival, and nothing else. The *index* is
//! JSON lines, one per run of bytes of one stream:
//!
//! ```json
//! {"at":1767225600000,"stream":"stdout","offset":0,"length":4096}
//! ```
//!
//! `at` is when the first of these bytes arrived, in milliseconds since the Unix epoch; `stream` is `stdout`,
//! `stderr` or `terminal`; `offset` and `length` say which bytes of the log. Entries are in order of `offset`.
//! Bytes that follow one another in one stream share an entry up to 1 MiB or 100 ms.
//!
//! **After a crash** the last line may be torn and the log may be longer than the index knows. Readers skip lines
//! that do not parse, and bytes without an entry belong to the stream of the entry before them (of the entry
//! after them at the very beginning, and to `stdout` without any entry). Entries beyond the end of the log are
//! ignored. A later attempt appends to both files.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// How much of the index is read at a time; a longer line is no line of ours.
const INDEX_PIECE: usize = 64 << 10;

/// Which stream of a program bytes came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stream {
    /// Standard output, through a pipe.
    Stdout,
    /// Standard error, through a pipe.
    Stderr,
    /// Both, through a pseudo-terminal.
    Terminal,
}

impl fmt::Display for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
            Self::Terminal => "terminal",
        })
    }
}

/// One line of the index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct IndexEntry {
    pub(crate) at: u64,
    pub(crate) stream: Stream,
    pub(crate) offset: u64,
    pub(crate) length: u64,
}

impl IndexEntry {
    pub(crate) fn write_line(&self, lines: &mut Vec<u8>) {
        // Numbers and a fixed word into memory: nothing here can fail.
        drop(serde_json::to_writer(&mut *lines, self));
        lines.push(b'\n');
    }
}

/// Some bytes of one stream, with their place in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// When they arrived, in milliseconds since the Unix epoch; for bytes without an entry, when the ones before
    /// them did.
    pub at: u64,
    /// Where they came from.
    pub stream: Stream,
    /// Where they begin in the log.
    pub offset: u64,
    /// The bytes.
    pub bytes: Vec<u8>,
}

/// The captured output of a program: a log and its index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputLog {
    log: PathBuf,
    index: PathBuf,
}

impl OutputLog {
    /// Names the two files; nothing is opened yet.
    pub fn new(log: impl Into<PathBuf>, index: impl Into<PathBuf>) -> Self {
        Self { log: log.into(), index: index.into() }
    }

    /// Reads exactly the bytes of one stream, up to where the log ends now.
    ///
    /// # Errors
    /// When the log cannot be opened. A missing index is an empty one.
    pub fn read(&self, stream: Stream) -> io::Result<StreamReader> {
        read_stream(&self.log, &self.index, stream)
    }

    /// Follows all streams from a place in the log, while a program may still be writing.
    ///
    /// # Errors
    /// When the log cannot be opened. A missing index is an empty one.
    pub fn follow(&self, from: u64) -> io::Result<Follower> {
        Follower::open(&self.log, &self.index, from)
    }

    /// Returns the last `limit` bytes of all streams, in order of arrival.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn tail(&self, limit: u64) -> io::Result<Vec<Chunk>> {
        let length = std::fs::metadata(&self.log)?.len();
        let mut follower = self.follow(length.saturating_sub(limit))?;
        follower.finish();
        let mut chunks = Vec::new();
        while let Some(chunk) = follower.next(INDEX_PIECE)? {
            chunks.push(chunk);
        }
        Ok(chunks)
    }
}

/// Reads exactly the bytes of one stream, up to where the log ends now.
///
/// # Errors
/// When the log cannot be opened. A missing index is an empty one.
pub fn read_stream(log: &Path, index: &Path, stream: Stream) -> io::Result<StreamReader> {
    let mut follower = Follower::open(log, index, 0)?;
    follower.finish();
    Ok(StreamReader { follower, stream })
}

/// The bytes of one stream. See [`read_stream`].
#[derive(Debug)]
pub struct StreamReader {
    follower: Follower,
    stream: Stream,
}

impl Read for StreamReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while let Some(segment) = self.follower.segment()? {
            if segment.stream == self.stream {
                return self.follower.read_segment(segment, buffer);
            }
            self.follower.position = segment.end;
        }
        Ok(0)
    }
}

#[derive(Debug, Clone, Copy)]
struct Segment {
    at: u64,
    stream: Stream,
    end: u64,
}

/// Follows a growing log without ever blocking on it.
///
/// While the program runs only indexed bytes are given, since the stream of the others is not known yet; the
/// index is at most 100 ms behind. [`Follower::finish`] releases the rest.
#[derive(Debug)]
pub struct Follower {
    log: File,
    index_path: PathBuf,
    /// Opened when it first exists.
    index: Option<File>,
    /// Read from the index and not parsed yet.
    lines: Vec<u8>,
    position: u64,
    current: Option<Segment>,
    /// Read ahead, while bytes without an entry before it are given.
    ahead: Option<IndexEntry>,
    finished: bool,
}

impl Follower {
    fn open(log: &Path, index: &Path, from: u64) -> io::Result<Self> {
        Ok(Self {
            log: File::open(log)?,
            index_path: index.to_owned(),
            index: None,
            lines: Vec::new(),
            position: from,
            current: None,
            ahead: None,
            finished: false,
        })
    }

    /// Says that the program is done: bytes beyond the index are now given too.
    pub fn finish(&mut self) {
        self.finished = true;
    }

    /// Where the next chunk will begin; a later follower can start here.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Takes the next bytes, at most `limit` of them; `None` while there are no more.
    ///
    /// # Errors
    /// When a file cannot be read; the position is unchanged then.
    pub fn next(&mut self, limit: usize) -> io::Result<Option<Chunk>> {
        let Some(segment) = self.segment()? else { return Ok(None) };
        let offset = self.position;
        let left = usize::try_from(segment.end - offset).unwrap_or(usize::MAX);
        let mut bytes = vec![0; left.min(limit)];
        let count = self.read_segment(segment, &mut bytes)?;
        bytes.truncate(count);
        Ok((count > 0).then_some(Chunk { at: segment.at, stream: segment.stream, offset, bytes }))
    }

    fn read_segment(&mut self, segment: Segment, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(segment.end - self.position).unwrap_or(usize::MAX);
        let length = buffer.len().min(left);
        let count = self.log.read_at(buffer.get_mut(..length).unwrap_or_default(), self.position)?;
        self.position += count as u64;
        Ok(count)
    }

    /// The segment that holds the current position, if its bytes may be given.
    fn segment(&mut self) -> io::Result<Option<Segment>> {
        loop {
            if let Some(segment) = self.current.filter(|segment| segment.end > self.position) {
                return Ok(Some(segment));
            }
            let Some(entry) = self.next_entry()? else {
                let length = self.log.metadata()?.len();
                if !self.finished || self.position >= length {
                    return Ok(None);
                }
                let (at, stream) = self.current.map_or((0, Stream::Stdout), |last| (last.at, last.stream));
                return Ok(Some(*self.current.insert(Segment { at, stream, end: length })));
            };
            let end = entry.offset.saturating_add(entry.length);
            if entry.offset > self.position {
                // Bytes without an entry: a crash came between the log and the index.
                let (at, stream) =
                    self.current.map_or((entry.at, entry.stream), |last| (last.at, last.stream));
                self.current = Some(Segment { at, stream, end: entry.offset });
                self.ahead = Some(entry);
            } else {
                self.current = Some(Segment { at: entry.at, stream: entry.stream, end });
            }
        }
    }

    fn next_entry(&mut self) -> io::Result<Option<IndexEntry>> {
        if let Some(entry) = self.ahead.take() {
            return Ok(Some(entry));
        }
        loop {
            if let Some(end) = self.lines.iter().position(|&byte| byte == b'\n') {
                let entry = serde_json::from_slice(self.lines.get(..end).unwrap_or_default());
                self.lines.drain(..=end);
                if let Ok(entry) = entry {
                    return Ok(Some(entry));
                }
                continue;
            }
            if self.lines.len() >= INDEX_PIECE {
                self.lines.clear();
            }
            if !self.read_index()? {
                return Ok(None);
            }
        }
    }

    fn read_index(&mut self) -> io::Result<bool> {
        let index = match &mut self.index {
            Some(index) => index,
            None => match File::open(&self.index_path) {
                Ok(index) => self.index.insert(index),
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
                Err(error) => return Err(error),
            },
        };
        let before = self.lines.len();
        let count = index.take(INDEX_PIECE as u64).read_to_end(&mut self.lines)?;
        self.lines.truncate(before + count);
        Ok(count > 0)
    }
}
