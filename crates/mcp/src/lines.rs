//! Messages on standard input, each of bounded length.
//!
//! The SDK drops a line that is too long without a word, and its sender would wait for ever. Here
//! such a line is replaced by one that the SDK answers with an error.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, ReadBuf};

/// The longest message that is read, in bytes.
pub(crate) const LONGEST: usize = 10 << 20;
/// How much is read at a time.
const PIECE: usize = 64 << 10;
/// Well-formed JSON that is no message: answered with "invalid request".
const REFUSED: &[u8] = b"{\"jsonrpc\":\"2.0\",\"method\":null}\n";

/// Passes lines on while they are at most `longest` bytes.
pub(crate) struct BoundedLines<R> {
    inner: R,
    longest: usize,
    /// The line that is being read.
    line: Vec<u8>,
    /// Whether the rest of the line is thrown away.
    skipping: bool,
    /// Whole lines to be handed on, from `handed`.
    ready: Vec<u8>,
    handed: usize,
    buffer: Box<[u8]>,
}

impl<R> BoundedLines<R> {
    pub(crate) fn new(inner: R, longest: usize) -> Self {
        let buffer = vec![0; PIECE].into_boxed_slice();
        Self { inner, longest, line: Vec::new(), skipping: false, ready: Vec::new(), handed: 0, buffer }
    }

    fn take(&mut self, read: usize) {
        let Self { longest, line, skipping, ready, buffer, .. } = self;
        for part in buffer.get(..read).unwrap_or_default().split_inclusive(|byte| *byte == b'\n') {
            let ends = part.last() == Some(&b'\n');
            if !*skipping && line.len() + part.len() > *longest {
                *skipping = true;
                *line = Vec::new();
                ready.extend_from_slice(REFUSED);
            }
            if *skipping {
                *skipping = !ends;
            } else {
                line.extend_from_slice(part);
                if ends {
                    ready.append(line);
                }
            }
        }
    }
}

impl<R: AsyncRead + Unpin> AsyncRead for BoundedLines<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        while this.handed == this.ready.len() {
            this.ready.clear();
            this.handed = 0;
            let mut piece = ReadBuf::new(&mut this.buffer);
            ready!(Pin::new(&mut this.inner).poll_read(context, &mut piece))?;
            let read = piece.filled().len();
            if read == 0 {
                return Poll::Ready(Ok(()));
            }
            this.take(read);
        }
        let rest = this.ready.get(this.handed..).unwrap_or_default();
        let count = rest.len().min(buffer.remaining());
        buffer.put_slice(rest.get(..count).unwrap_or_default());
        this.handed += count;
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt as _;

    use super::*;

    fn read(input: &[u8], longest: usize) -> String {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let mut text = String::new();
            BoundedLines::new(input, longest).read_to_string(&mut text).await.unwrap();
            text
        })
    }

    #[test]
    fn a_line_that_is_too_long_becomes_one_that_is_refused() {
        let refused = std::str::from_utf8(REFUSED).unwrap();
        assert_eq!(read(b"one\ntwo\n", 10), "one\ntwo\n");
        assert_eq!(read(b"one\n0123456789abc\ntwo\n", 10), format!("one\n{refused}two\n"));
        let long = [&b"x".repeat(300_000)[..], b"\n", &b"y".repeat(200_000), b"\nend\n"].concat();
        assert_eq!(read(&long, 1_000), format!("{refused}{refused}end\n"));
        assert_eq!(read(b"no end", 10), "", "half a message is none");
    }
}
