//! The frames of an attached client: a kind, a little-endian `u32` length and a body.
//!
//! Raw bytes need no escaping here, and a resize cannot get lost between them.

use std::io::{self, Read, Write};

use crate::SessionExit;

/// The longest body either side takes.
const MAX_BODY_BYTES: usize = 2 << 20;

/// What a client sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Upstream {
    Input(Vec<u8>),
    Resize { rows: u16, columns: u16 },
    Signal(i32),
    CloseInput,
}

/// What an attached client receives.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Attached {
    /// The program wrote.
    Output(Vec<u8>),
    /// So many bytes were left out here, because the client was too slow; the log has them.
    Lagged(u64),
    /// What was sent could not be passed on, for this reason.
    Refused(String),
    /// The session has ended; nothing follows.
    End(SessionExit),
}

impl Upstream {
    pub(crate) fn write_to(&self, to: &mut impl Write) -> io::Result<()> {
        match self {
            Self::Input(bytes) => write_frame(to, 0, bytes),
            Self::Resize { rows, columns } => {
                write_frame(to, 1, &[rows.to_le_bytes(), columns.to_le_bytes()].concat())
            }
            Self::Signal(signal) => write_frame(to, 2, &signal.to_le_bytes()),
            Self::CloseInput => write_frame(to, 3, &[]),
        }
    }

    /// Reads the next frame; `None` once the client is gone.
    pub(crate) fn read_from(from: &mut impl Read) -> io::Result<Option<Self>> {
        let Some((kind, body)) = read_frame(from)? else { return Ok(None) };
        match (kind, body.as_slice()) {
            (0, _) => Ok(Some(Self::Input(body))),
            (1, &[a, b, c, d]) => Ok(Some(Self::Resize {
                rows: u16::from_le_bytes([a, b]),
                columns: u16::from_le_bytes([c, d]),
            })),
            (2, &[a, b, c, d]) => Ok(Some(Self::Signal(i32::from_le_bytes([a, b, c, d])))),
            (3, []) => Ok(Some(Self::CloseInput)),
            _ => Err(malformed()),
        }
    }
}

impl Attached {
    pub(crate) fn write_to(&self, to: &mut impl Write) -> io::Result<()> {
        match self {
            Self::Output(bytes) => write_frame(to, 0, bytes),
            Self::Lagged(bytes) => write_frame(to, 1, &bytes.to_le_bytes()),
            Self::Refused(reason) => write_frame(to, 2, reason.as_bytes()),
            Self::End(exit) => write_frame(to, 3, &serde_json::to_vec(exit)?),
        }
    }

    /// Reads the next frame; `None` once the host is gone.
    pub(crate) fn read_from(from: &mut impl Read) -> io::Result<Option<Self>> {
        let Some((kind, body)) = read_frame(from)? else { return Ok(None) };
        match kind {
            0 => Ok(Some(Self::Output(body))),
            1 => Ok(Some(Self::Lagged(u64::from_le_bytes(body.try_into().map_err(|_| malformed())?)))),
            2 => Ok(Some(Self::Refused(String::from_utf8_lossy(&body).into_owned()))),
            3 => Ok(Some(Self::End(serde_json::from_slice(&body)?))),
            _ => Err(malformed()),
        }
    }
}

fn malformed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the frame is malformed")
}

fn write_frame(to: &mut impl Write, kind: u8, body: &[u8]) -> io::Result<()> {
    let length = u32::try_from(body.len()).ok().filter(|_| body.len() <= MAX_BODY_BYTES);
    let length =
        length.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the frame is too long"))?;
    let mut frame = Vec::with_capacity(body.len() + 5);
    frame.push(kind);
    frame.extend_from_slice(&length.to_le_bytes());
    frame.extend_from_slice(body);
    to.write_all(&frame)
}

fn read_frame(from: &mut impl Read) -> io::Result<Option<(u8, Vec<u8>)>> {
    let mut head = [0; 5];
    match from.read_exact(&mut head) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        other => other?,
    }
    let [kind, length @ ..] = head;
    let length = usize::try_from(u32::from_le_bytes(length)).map_err(|_| malformed())?;
    if length > MAX_BODY_BYTES {
        return Err(malformed());
    }
    let mut body = vec![0; length];
    from.read_exact(&mut body)?;
    Ok(Some((kind, body)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_back_and_others_are_refused() {
        let sent = [
            Upstream::Input(b"\xffraw".to_vec()),
            Upstream::Resize { rows: 50, columns: 300 },
            Upstream::Signal(2),
            Upstream::CloseInput,
        ];
        let mut wire = Vec::new();
        for frame in &sent {
            frame.write_to(&mut wire).unwrap();
        }
        let mut from = wire.as_slice();
        for frame in sent {
            assert_eq!(Upstream::read_from(&mut from).unwrap(), Some(frame));
        }
        assert_eq!(Upstream::read_from(&mut from).unwrap(), None);
        assert!(Upstream::read_from(&mut &[0, 255, 255, 255, 255][..]).is_err());
        assert!(Upstream::read_from(&mut &[9, 0, 0, 0, 0][..]).is_err());
        assert!(Attached::read_from(&mut &[1, 1, 0, 0, 0, 7][..]).is_err());
    }
}
