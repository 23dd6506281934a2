//! A bounded memory of a log's newest lines, for sources that have none of their own.

use std::collections::VecDeque;

use crate::{LogLine, LogStream, LogWindow};

/// Bytes of one line that are kept; the log file has all of them.
const LONGEST_LINE: usize = 8 * 1024;

/// Holds the newest lines of one log, fed with bytes as they come.
#[derive(Debug, Clone)]
pub struct LogBuffer {
    lines: VecDeque<LogLine>,
    capacity: usize,
    /// Lines ever finished; the number of the next one.
    total: u64,
    /// The unfinished line of each stream, in the order of [`stream_index`].
    open: [Vec<u8>; 3],
}

impl LogBuffer {
    /// Makes an empty buffer for `capacity` lines of at most 8 KiB each.
    pub fn new(capacity: usize) -> Self {
        Self { lines: VecDeque::new(), capacity: capacity.max(1), total: 0, open: Default::default() }
    }

    /// Takes bytes of one stream; a line shows up once its line feed has come.
    pub fn push(&mut self, stream: LogStream, bytes: &[u8]) {
        for part in bytes.split_inclusive(|&byte| byte == b'\n') {
            let ends = part.last() == Some(&b'\n');
            let part = part.strip_suffix(b"\n").unwrap_or(part);
            let open = &mut self.open[stream_index(stream)];
            let room = LONGEST_LINE - open.len();
            open.extend_from_slice(&part[..part.len().min(room)]);
            if ends {
                self.finish_line(stream);
            }
        }
    }

    /// Ends a line that has no line feed, when the stream itself has ended.
    pub fn finish(&mut self, stream: LogStream) {
        if !self.open[stream_index(stream)].is_empty() {
            self.finish_line(stream);
        }
    }

    fn finish_line(&mut self, stream: LogStream) {
        let open = &mut self.open[stream_index(stream)];
        let text = String::from_utf8_lossy(open).into_owned();
        open.clear();
        if self.lines.len() == self.capacity {
            self.lines.pop_front();
        }
        self.lines.push_back(LogLine { stream, text });
        self.total += 1;
    }

    /// Returns up to `limit` lines below number `end`, as [`Source::log`](crate::Source::log)
    /// promises.
    pub fn window(&self, end: Option<u64>, limit: usize) -> LogWindow {
        let kept = self.lines.len();
        let oldest = self.total - u64::try_from(kept).unwrap_or(u64::MAX);
        let end = end.map_or(kept, |end| usize::try_from(end.saturating_sub(oldest)).unwrap_or(kept));
        let end = end.max(limit).min(kept);
        let start = end.saturating_sub(limit);
        LogWindow {
            first: oldest + u64::try_from(start).unwrap_or(u64::MAX),
            lines: self.lines.range(start..end).cloned().collect(),
            total: self.total,
        }
    }
}

const fn stream_index(stream: LogStream) -> usize {
    match stream {
        LogStream::Output => 0,
        LogStream::Error => 1,
        LogStream::Note => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(window: &LogWindow) -> Vec<&str> {
        window.lines.iter().map(|line| line.text.as_str()).collect()
    }

    #[test]
    fn joins_the_parts_of_a_line_and_keeps_streams_apart() {
        let mut log = LogBuffer::new(10);
        log.push(LogStream::Output, b"one\ntw");
        log.push(LogStream::Error, b"oops\n");
        log.push(LogStream::Output, "o \u{2713}\nrest".as_bytes());
        assert_eq!(texts(&log.window(None, 10)), ["one", "oops", "two \u{2713}"]);
        log.finish(LogStream::Output);
        log.finish(LogStream::Error);
        assert_eq!(texts(&log.window(None, 2)), ["two \u{2713}", "rest"]);
    }

    #[test]
    fn a_window_moves_to_newer_lines_when_old_ones_are_gone() {
        let mut log = LogBuffer::new(4);
        for number in 0..10 {
            log.push(LogStream::Output, format!("{number}\n").as_bytes());
        }
        let window = log.window(Some(9), 2);
        assert_eq!((window.first, window.total, texts(&window)), (7, 10, vec!["7", "8"]));
        assert_eq!(texts(&log.window(Some(1), 2)), ["6", "7"]);
        assert_eq!(texts(&log.window(Some(99), 2)), ["8", "9"]);
        assert_eq!(texts(&log.window(None, 99)), ["6", "7", "8", "9"]);
        assert_eq!(texts(&log.window(None, 0)), [""; 0]);
    }

    #[test]
    fn memory_is_bounded() {
        let mut log = LogBuffer::new(2);
        for _ in 0..100 {
            log.push(LogStream::Output, &[b'x'; 1000]);
        }
        log.push(LogStream::Output, b"\nnext\n");
        let window = log.window(None, 9);
        assert_eq!(window.lines[0].text.len(), LONGEST_LINE);
        assert_eq!(window.lines[1].text, "next");
    }
}
