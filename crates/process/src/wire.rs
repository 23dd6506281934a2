//! The messages between the program and a supervisor: length-prefixed frames over a stream socket.
//!
//! Both ends are the same build of the same program, so the encoding has no versions. A frame is a little-endian
//! `u32` length and a body; a string is a `u32` length and its bytes.

use std::ffi::CString;
use std::io;
use std::os::fd::AsFd;

use crate::platform;

/// More than any kernel accepts for arguments and environment together; a longer frame is a broken peer.
const MAX_FRAME_BYTES: usize = 64 << 20;

/// What to start, sent once at the beginning of a control connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Launch {
    pub(crate) argv: Vec<CString>,
    pub(crate) env: Vec<CString>,
    pub(crate) cwd: CString,
    /// Whether standard output is a terminal that becomes the controlling one.
    pub(crate) terminal: bool,
}

/// What the program asks of a supervisor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// Send this signal to the whole group.
    Signal(i32),
    /// Kill the whole group until nothing is left.
    KillAll,
}

/// Which step of a start failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Fork,
    Session,
    Cwd,
    Exec,
}

/// What a supervisor reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Notice {
    Started { pid: i32, start_time: u64 },
    Failed { step: Step, errno: i32, path: Vec<u8> },
    LeaderExited { status: i32 },
    GroupEmpty { killed: u32 },
}

/// A frame that does not decode: the peer is not one of ours.
#[derive(Debug, thiserror::Error)]
#[error("the message is malformed")]
pub(crate) struct Malformed;

impl Launch {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut body = vec![u8::from(self.terminal)];
        put_bytes(&mut body, self.cwd.to_bytes());
        for list in [&self.argv, &self.env] {
            put_length(&mut body, list.len());
            for item in list {
                put_bytes(&mut body, item.to_bytes());
            }
        }
        body
    }

    pub(crate) fn decode(body: &[u8]) -> Result<Self, Malformed> {
        let mut fields = Fields(body);
        let terminal = fields.byte()? != 0;
        let cwd = fields.string()?;
        let argv = fields.strings()?;
        let env = fields.strings()?;
        Ok(Self { argv, env, cwd, terminal })
    }
}

impl Order {
    pub(crate) fn encode(self) -> Vec<u8> {
        match self {
            Self::Signal(signal) => [&[0], &signal.to_le_bytes()[..]].concat(),
            Self::KillAll => vec![1],
        }
    }

    pub(crate) fn decode(body: &[u8]) -> Result<Self, Malformed> {
        let mut fields = Fields(body);
        match fields.byte()? {
            0 => Ok(Self::Signal(i32::from_le_bytes(fields.array()?))),
            1 => Ok(Self::KillAll),
            _ => Err(Malformed),
        }
    }
}

impl Step {
    pub(crate) fn to_byte(self) -> u8 {
        match self {
            Self::Fork => 0,
            Self::Session => 1,
            Self::Cwd => 2,
            Self::Exec => 3,
        }
    }

    pub(crate) fn from_byte(byte: u8) -> Result<Self, Malformed> {
        match byte {
            0 => Ok(Self::Fork),
            1 => Ok(Self::Session),
            2 => Ok(Self::Cwd),
            3 => Ok(Self::Exec),
            _ => Err(Malformed),
        }
    }
}

impl Notice {
    pub(crate) fn encode(&self) -> Vec<u8> {
        match self {
            Self::Started { pid, start_time } => {
                [&[0], &pid.to_le_bytes()[..], &start_time.to_le_bytes()].concat()
            }
            Self::Failed { step, errno, path } => {
                let mut body = vec![1, step.to_byte()];
                body.extend_from_slice(&errno.to_le_bytes());
                put_bytes(&mut body, path);
                body
            }
            Self::LeaderExited { status } => [&[2], &status.to_le_bytes()[..]].concat(),
            Self::GroupEmpty { killed } => [&[3], &killed.to_le_bytes()[..]].concat(),
        }
    }

    pub(crate) fn decode(body: &[u8]) -> Result<Self, Malformed> {
        let mut fields = Fields(body);
        match fields.byte()? {
            0 => Ok(Self::Started {
                pid: i32::from_le_bytes(fields.array()?),
                start_time: u64::from_le_bytes(fields.array()?),
            }),
            1 => Ok(Self::Failed {
                step: Step::from_byte(fields.byte()?)?,
                errno: i32::from_le_bytes(fields.array()?),
                path: fields.bytes()?.to_vec(),
            }),
            2 => Ok(Self::LeaderExited { status: i32::from_le_bytes(fields.array()?) }),
            3 => Ok(Self::GroupEmpty { killed: u32::from_le_bytes(fields.array()?) }),
            _ => Err(Malformed),
        }
    }
}

fn put_length(body: &mut Vec<u8>, length: usize) {
    // A length beyond 4 GiB cannot be built from arguments that fit in memory and in `MAX_FRAME_BYTES`.
    body.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes());
}

fn put_bytes(body: &mut Vec<u8>, bytes: &[u8]) {
    put_length(body, bytes.len());
    body.extend_from_slice(bytes);
}

/// What is left to read of a body.
struct Fields<'body>(&'body [u8]);

impl<'body> Fields<'body> {
    fn take(&mut self, length: usize) -> Result<&'body [u8], Malformed> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(Malformed)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        self.take(N)?.try_into().map_err(|_| Malformed)
    }

    fn byte(&mut self) -> Result<u8, Malformed> {
        Ok(self.array::<1>()?[0])
    }

    fn length(&mut self) -> Result<usize, Malformed> {
        usize::try_from(u32::from_le_bytes(self.array()?)).map_err(|_| Malformed)
    }

    fn bytes(&mut self) -> Result<&'body [u8], Malformed> {
        let length = self.length()?;
        self.take(length)
    }

    fn string(&mut self) -> Result<CString, Malformed> {
        CString::new(self.bytes()?).map_err(|_| Malformed)
    }

    fn strings(&mut self) -> Result<Vec<CString>, Malformed> {
        let count = self.length()?;
        (0..count).map(|_| self.string()).collect()
    }
}

/// Sends one frame whole; a peer that is gone is an error, never a signal.
pub(crate) fn send_frame(socket: impl AsFd, body: &[u8]) -> io::Result<()> {
    if body.len() > MAX_FRAME_BYTES {
        return Err(rustix::io::Errno::TOOBIG.into());
    }
    let mut frame = Vec::with_capacity(body.len() + 4);
    put_bytes(&mut frame, body);
    let mut left = frame.as_slice();
    while !left.is_empty() {
        match rustix::net::send(&socket, left, platform::SEND_FLAGS) {
            Ok(sent) => left = left.get(sent..).unwrap_or_default(),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// What one read from a socket brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Received {
    Bytes,
    End,
}

/// Collects frames out of the pieces in which they arrive.
#[derive(Debug, Default)]
pub(crate) struct FrameBuffer {
    bytes: Vec<u8>,
}

impl FrameBuffer {
    /// Reads once; a connection that was reset counts as ended.
    pub(crate) fn fill(&mut self, socket: impl AsFd) -> io::Result<Received> {
        let mut piece = [0_u8; 16 << 10];
        match rustix::io::read(&socket, &mut piece) {
            Ok(0) | Err(rustix::io::Errno::CONNRESET) => Ok(Received::End),
            Ok(count) => {
                self.bytes.extend_from_slice(piece.get(..count).unwrap_or_default());
                Ok(Received::Bytes)
            }
            Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => Ok(Received::Bytes),
            Err(error) => Err(error.into()),
        }
    }

    /// Takes the next whole frame, if there is one.
    pub(crate) fn next(&mut self) -> Result<Option<Vec<u8>>, Malformed> {
        let Some(prefix) = self.bytes.first_chunk::<4>() else { return Ok(None) };
        let length = usize::try_from(u32::from_le_bytes(*prefix)).map_err(|_| Malformed)?;
        if length > MAX_FRAME_BYTES {
            return Err(Malformed);
        }
        let Some(body) = self.bytes.get(4..4 + length) else { return Ok(None) };
        let body = body.to_vec();
        self.bytes.drain(..4 + length);
        Ok(Some(body))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_message_survives_the_wire() {
        let launch = Launch {
            argv: vec![c"sh".into(), c"-c".into(), c"".into()],
            env: vec![c"A=1".into()],
            cwd: c"/tmp".into(),
            terminal: true,
        };
        assert_eq!(Launch::decode(&launch.encode()).unwrap(), launch);
        for order in [Order::Signal(15), Order::KillAll] {
            assert_eq!(Order::decode(&order.encode()).unwrap(), order);
        }
        for notice in [
            Notice::Started { pid: 7, start_time: u64::MAX },
            Notice::Failed { step: Step::Cwd, errno: 2, path: b"/x".to_vec() },
            Notice::LeaderExited { status: 9 },
            Notice::GroupEmpty { killed: 3 },
        ] {
            assert_eq!(Notice::decode(&notice.encode()).unwrap(), notice);
        }
    }

    #[test]
    fn a_short_or_unknown_body_is_malformed() {
        assert!(Launch::decode(&[0, 9, 0, 0, 0]).is_err());
        assert!(Order::decode(&[7]).is_err());
        assert!(Notice::decode(&[0, 1]).is_err());
    }

    #[test]
    fn frames_are_found_however_they_are_cut() {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        let mut buffer = FrameBuffer::default();
        for byte in [2_u8, 0, 0, 0, b'h', b'i', 0, 0, 0, 0] {
            rustix::io::write(&ours, &[byte]).unwrap();
        }
        drop(ours);
        let mut frames = Vec::new();
        while buffer.fill(&theirs).unwrap() == Received::Bytes {
            while let Some(frame) = buffer.next().unwrap() {
                frames.push(frame);
            }
        }
        assert_eq!(frames, [b"hi".to_vec(), Vec::new()]);
    }
}
