//! The two ends of a program's streams: pipes or a terminal.
//!
//! Makes both ends, keeps ours non-blocking, and knows how each kind reports its end. Who reads when, and what
//! becomes of the bytes, is for [`crate::run`] to decide.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Instant;

use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::pty::OpenptFlags;
use rustix::termios::Winsize;

use crate::excerpt::Excerpt;
use crate::live::{Connection, END_OF_TRANSMISSION, Written};
use crate::output_log::Stream;
use crate::platform;
use crate::program::{Stdin, StreamStats, Terminal};

/// Our ends of the program's streams, and the program's.
pub(crate) struct Channels {
    pub(crate) outputs: Vec<Output>,
    pub(crate) feed: Option<Feed>,
    pub(crate) theirs: [OwnedFd; 3],
}

impl Channels {
    /// Makes the streams that a program asks for.
    pub(crate) fn open(stdin: &Stdin, terminal: Terminal) -> io::Result<Self> {
        match terminal {
            Terminal::Pipes => Self::pipes(stdin),
            Terminal::Pty { rows, columns } => Self::terminal(stdin, rows, columns),
        }
    }

    fn pipes(stdin: &Stdin) -> io::Result<Self> {
        let (stdin, feed) = match stdin {
            Stdin::Null => (OwnedFd::from(File::open("/dev/null")?), None),
            Stdin::Bytes(bytes) => {
                let (reader, writer) = io::pipe()?;
                (reader.into(), Some(Feed::bytes(writer.into(), bytes.clone())?))
            }
            Stdin::Live(_) => {
                let (reader, writer) = io::pipe()?;
                (reader.into(), Some(Feed::live(writer.into(), false)?))
            }
        };
        let (stdout, stdout_writer) = Output::pipe(Stream::Stdout)?;
        let (stderr, stderr_writer) = Output::pipe(Stream::Stderr)?;
        Ok(Self { outputs: vec![stdout, stderr], feed, theirs: [stdin, stdout_writer, stderr_writer] })
    }

    fn terminal(stdin: &Stdin, rows: u16, columns: u16) -> io::Result<Self> {
        let controller = rustix::pty::openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | platform::PTY_FLAGS)?;
        rustix::io::fcntl_setfd(&controller, rustix::io::FdFlags::CLOEXEC)?;
        rustix::pty::grantpt(&controller)?;
        rustix::pty::unlockpt(&controller)?;
        let peer = platform::terminal_peer(controller.as_fd())?;
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        rustix::termios::tcsetwinsize(&peer, size)?;
        let (stdin, feed) = match stdin {
            Stdin::Null => (OwnedFd::from(File::open("/dev/null")?), None),
            Stdin::Bytes(bytes) => {
                let mut typed = bytes.clone();
                // Ctrl-D ends the input at the start of a line; within one it first hands over the line.
                let in_line = bytes.last().is_some_and(|&last| last != b'\n');
                typed.extend(std::iter::repeat_n(END_OF_TRANSMISSION, if in_line { 2 } else { 1 }));
                (peer.try_clone()?, Some(Feed::bytes(controller.try_clone()?, typed)?))
            }
            Stdin::Live(_) => (peer.try_clone()?, Some(Feed::live(controller.try_clone()?, true)?)),
        };
        let theirs = [stdin, peer.try_clone()?, peer];
        Ok(Self { outputs: vec![Output::new(Stream::Terminal, controller)?], feed, theirs })
    }
}

/// One stream that we read.
pub(crate) struct Output {
    pub(crate) stream: Stream,
    /// `None` after its end.
    pub(crate) source: Option<OwnedFd>,
    /// A terminal that all have left. Closing it would hang up on a leader that has only closed its streams.
    left: Option<OwnedFd>,
    pub(crate) bytes: u64,
    pub(crate) excerpt: Excerpt,
    pub(crate) last_read: Instant,
    /// Whether the observer was asked for what it had held back.
    pub(crate) finished: bool,
}

impl Output {
    fn new(stream: Stream, source: OwnedFd) -> io::Result<Self> {
        set_nonblocking(&source)?;
        let (bytes, excerpt) = (0, Excerpt::default());
        Ok(Self {
            stream,
            source: Some(source),
            left: None,
            bytes,
            excerpt,
            last_read: Instant::now(),
            finished: false,
        })
    }

    fn pipe(stream: Stream) -> io::Result<(Self, OwnedFd)> {
        let (reader, writer) = io::pipe()?;
        platform::enlarge_pipe(reader.as_fd());
        Ok((Self::new(stream, reader.into())?, writer.into()))
    }

    /// Fills the buffer as far as bytes are there; a terminal gives them in small pieces.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        while let (Some(source), Some(room)) = (&self.source, buffer.get_mut(filled..)) {
            if room.is_empty() {
                break;
            }
            match rustix::io::read(source, room) {
                // A terminal reports its end, all peers closed, as an input error.
                Ok(0) | Err(Errno::IO) => {
                    self.left = self.source.take().filter(|_| self.stream == Stream::Terminal);
                }
                Ok(count) => {
                    filled += count;
                    if self.stream != Stream::Terminal {
                        break;
                    }
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(filled)
    }

    /// Takes up a terminal again that all had left: one of them may have opened it once more and written.
    pub(crate) fn look_again(&mut self) {
        if let Some(left) = self.left.take() {
            self.source = Some(left);
            self.finished = false;
        }
    }

    pub(crate) fn stats(&mut self) -> StreamStats {
        StreamStats { bytes: self.bytes, excerpt: std::mem::take(&mut self.excerpt) }
    }
}

/// The way to the program's standard input.
pub(crate) struct Feed {
    pub(crate) sink: OwnedFd,
    supply: Supply,
}

/// Where the input comes from.
enum Supply {
    /// These bytes, from `written` on, and then the end.
    Bytes { bytes: Vec<u8>, written: usize },
    /// Whoever holds the run's live input.
    Live { terminal: bool },
}

impl Feed {
    fn bytes(sink: OwnedFd, bytes: Vec<u8>) -> io::Result<Self> {
        set_nonblocking(&sink)?;
        Ok(Self { sink, supply: Supply::Bytes { bytes, written: 0 } })
    }

    fn live(sink: OwnedFd, terminal: bool) -> io::Result<Self> {
        set_nonblocking(&sink)?;
        Ok(Self { sink, supply: Supply::Live { terminal } })
    }

    /// What to wait for; `None` while there is nothing to write and the sink cannot tell that its reader is gone.
    pub(crate) fn interest(&self, live: Option<&Connection>) -> Option<PollFlags> {
        match self.supply {
            Supply::Bytes { .. } => Some(PollFlags::OUT),
            Supply::Live { .. } if live.is_some_and(Connection::has_work) => Some(PollFlags::OUT),
            // The hang-up of a terminal is seen where its output is read.
            Supply::Live { terminal } => (!terminal).then_some(PollFlags::empty()),
        }
    }

    /// Writes what fits now; says whether there is, or may be, more to write.
    pub(crate) fn write(&mut self, live: Option<&Connection>, seen: PollFlags) -> bool {
        match &mut self.supply {
            Supply::Bytes { bytes, written } => write_bytes(&self.sink, bytes, written),
            Supply::Live { terminal } => {
                let abandoned = !*terminal && seen.intersects(PollFlags::ERR | PollFlags::HUP);
                let Some(live) = live.filter(|_| !abandoned) else { return false };
                live.write_to(self.sink.as_fd(), *terminal) != Written::Ended
            }
        }
    }
}

fn write_bytes(sink: &OwnedFd, bytes: &[u8], written: &mut usize) -> bool {
    while let Some(left) = bytes.get(*written..).filter(|left| !left.is_empty()) {
        match rustix::io::write(sink, left) {
            Ok(count) => *written += count,
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => return true,
            // The program has closed its input: it wants no more, and that is its right.
            Err(_) => return false,
        }
    }
    false
}

fn set_nonblocking(fd: impl AsFd) -> io::Result<()> {
    let flags = rustix::fs::fcntl_getfl(&fd)?;
    Ok(rustix::fs::fcntl_setfl(&fd, flags | rustix::fs::OFlags::NONBLOCK)?)
}
