//! The messages between a host and its clients: one JSON object a line, each with the protocol's version.
//!
//! A connection carries one request at a time, answered in order. Output is given once, so a client says that it has
//! read a reply, which is the one message without an answer; if it dies before, the output goes back to the session.
//! After an `attach` the connection carries the frames of [`crate::stream`] instead.

use std::ffi::OsString;
use std::io::{self, BufRead, Read as _, Write};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::PathBuf;
use std::time::Duration;

use co_process::{Capture, InputError, Limits, Terminal};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::{Confinement, Reply, ScriptReply, SessionError, SessionId, SessionInfo, StartSession, Wait};

/// The version of the protocol; others are refused.
pub(crate) const VERSION: u32 = 1;
/// The longest line either side takes. A reply of [`crate::limits::BUFFER_BYTES`] fits however it is escaped.
pub(crate) const MAX_LINE_BYTES: usize = 8 << 20;

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct RequestLine {
    pub(crate) version: u32,
    pub(crate) request: Request,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ResponseLine {
    pub(crate) version: u32,
    pub(crate) outcome: Outcome,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Outcome {
    Done(Response),
    Refused { kind: Refusal, message: String },
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "method", content = "params", rename_all = "snake_case")]
pub(crate) enum Request {
    Hello,
    /// The last reply was read, and its output need not be kept.
    Received,
    Start(Box<StartParams>),
    /// Gives bytes without waiting for output; a long write is several of these.
    Feed {
        session: SessionId,
        bytes: Bytes,
    },
    Write {
        session: SessionId,
        bytes: Bytes,
        wait: Wait,
        max_output_tokens: Option<usize>,
    },
    CloseInput {
        session: SessionId,
    },
    Resize {
        session: SessionId,
        rows: u16,
        columns: u16,
    },
    Signal {
        session: SessionId,
        signal: i32,
    },
    Kill {
        session: SessionId,
        graceful: bool,
        max_output_tokens: Option<usize>,
    },
    RunIn {
        session: SessionId,
        script: Bytes,
        timeout: Option<Duration>,
        max_output_tokens: Option<usize>,
    },
    List,
    Prune,
    Attach {
        session: SessionId,
        replay_bytes: u64,
    },
    Shutdown,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "result", content = "value", rename_all = "snake_case")]
pub(crate) enum Response {
    Hello { pid: u32 },
    Reply(Reply),
    Script(ScriptReply),
    Sessions(Vec<SessionInfo>),
    Pruned(Vec<SessionId>),
    Attached,
    Nothing,
}

/// Why a host refused a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Refusal {
    /// The request is malformed, too long, or of another version.
    Malformed,
    /// The name is no name of a session.
    InvalidId,
    /// There is no such session.
    Unknown,
    /// The name is taken by a session that still runs.
    Taken,
    /// The program could not be put into its sandbox.
    Confine,
    /// The program could not be started.
    Start,
    /// The session's input is closed.
    InputClosed,
    /// The session's program has ended.
    Ended,
    /// The session has no terminal.
    NoTerminal,
    /// What runs in the session did not take a script.
    NotAShell,
    /// The host is ending.
    Ending,
    /// The system refused something.
    System,
}

impl From<&SessionError> for Refusal {
    fn from(error: &SessionError) -> Self {
        match error {
            SessionError::InvalidId { .. } => Self::InvalidId,
            SessionError::Unknown { .. } => Self::Unknown,
            SessionError::Taken { .. } => Self::Taken,
            SessionError::Confine { .. } => Self::Confine,
            SessionError::Start { .. } => Self::Start,
            SessionError::Input { source: InputError::Closed, .. } => Self::InputClosed,
            SessionError::Input { source: InputError::Ended, .. } => Self::Ended,
            SessionError::Input { source: InputError::NoTerminal, .. } => Self::NoTerminal,
            SessionError::NotAShell { .. } => Self::NotAShell,
            SessionError::Ending => Self::Ending,
            SessionError::Input { .. } | SessionError::Survivors { .. } | SessionError::System { .. } => {
                Self::System
            }
        }
    }
}

/// Bytes within JSON: as text where they are UTF-8, else in hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Bytes {
    Text(String),
    Hex(String),
}

impl From<&[u8]> for Bytes {
    fn from(bytes: &[u8]) -> Self {
        match std::str::from_utf8(bytes) {
            Ok(text) => Self::Text(text.to_owned()),
            Err(_) => Self::Hex(hexadecimal(bytes)),
        }
    }
}

impl Bytes {
    /// The bytes; `None` for what is no hexadecimal.
    pub(crate) fn into_vec(self) -> Option<Vec<u8>> {
        match self {
            Self::Text(text) => Some(text.into_bytes()),
            Self::Hex(hex) => {
                let nibble =
                    |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
                let (pairs, rest) = hex.as_bytes().as_chunks::<2>();
                let bytes = pairs.iter().map(|&[high, low]| Some(nibble(high)? << 4 | nibble(low)?));
                bytes.collect::<Option<_>>().filter(|_| rest.is_empty())
            }
        }
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    let digit = |nibble: u8| char::from_digit(u32::from(nibble), 16).unwrap_or_default();
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// [`StartSession`] as it is sent.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct StartParams {
    id: Option<SessionId>,
    argv: Vec<Bytes>,
    cwd: Bytes,
    env: Vec<(Bytes, Bytes)>,
    /// Rows and columns.
    terminal: Option<(u16, u16)>,
    log: Bytes,
    index: Bytes,
    timeout: Option<Duration>,
    grace: Duration,
    linger: Duration,
    confinement: Option<Confinement>,
    wait: Wait,
    max_output_tokens: Option<usize>,
}

impl From<&StartSession> for StartParams {
    fn from(start: &StartSession) -> Self {
        let bytes = |text: &std::ffi::OsStr| Bytes::from(text.as_bytes());
        Self {
            id: start.id.clone(),
            argv: start.argv.iter().map(|argument| bytes(argument)).collect(),
            cwd: bytes(start.cwd.as_os_str()),
            env: start.env.iter().map(|(name, value)| (bytes(name), bytes(value))).collect(),
            terminal: match start.terminal {
                Terminal::Pipes => None,
                Terminal::Pty { rows, columns } => Some((rows, columns)),
            },
            log: bytes(start.capture.log.as_os_str()),
            index: bytes(start.capture.index.as_os_str()),
            timeout: start.limits.timeout,
            grace: start.limits.grace,
            linger: start.limits.linger,
            confinement: start.confinement.clone(),
            wait: start.wait,
            max_output_tokens: start.max_output_tokens,
        }
    }
}

impl StartParams {
    /// What is to be started; `None` for what is no hexadecimal.
    pub(crate) fn into_start(self) -> Option<StartSession> {
        let text = |bytes: Bytes| bytes.into_vec().map(OsString::from_vec);
        let path = |bytes: Bytes| text(bytes).map(PathBuf::from);
        Some(StartSession {
            id: self.id,
            argv: self.argv.into_iter().map(text).collect::<Option<_>>()?,
            cwd: path(self.cwd)?,
            env: self
                .env
                .into_iter()
                .map(|(name, value)| Some((text(name)?, text(value)?)))
                .collect::<Option<_>>()?,
            terminal: self
                .terminal
                .map_or(Terminal::Pipes, |(rows, columns)| Terminal::Pty { rows, columns }),
            capture: Capture { log: path(self.log)?, index: path(self.index)? },
            limits: Limits { timeout: self.timeout, grace: self.grace, linger: self.linger },
            confinement: self.confinement,
            wait: self.wait,
            max_output_tokens: self.max_output_tokens,
        })
    }
}

/// What came of reading a line.
pub(crate) enum Line<T> {
    Message(T),
    /// The line is longer than allowed, or is no such message; the reason.
    Malformed(String),
    /// The other side is gone.
    End,
}

/// Reads one line.
pub(crate) fn read_line<T: DeserializeOwned>(from: &mut impl BufRead) -> io::Result<Line<T>> {
    let mut line = Vec::new();
    from.by_ref().take(MAX_LINE_BYTES as u64 + 1).read_until(b'\n', &mut line)?;
    if line.last() != Some(&b'\n') {
        // A torn line at the end is nobody's message.
        return Ok(if line.len() > MAX_LINE_BYTES {
            Line::Malformed(format!("the line is longer than {MAX_LINE_BYTES} bytes"))
        } else {
            Line::End
        });
    }
    Ok(serde_json::from_slice(&line).map_or_else(|error| Line::Malformed(error.to_string()), Line::Message))
}

/// Writes one line in one piece.
pub(crate) fn write_line(to: &mut impl Write, message: &impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    if line.len() > MAX_LINE_BYTES {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the message is too long"));
    }
    to.write_all(&line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_back_whatever_they_are() {
        for bytes in [&b"plain \xe2\x82\xac"[..], b"\xff\x00\x80", b""] {
            let json = serde_json::to_string(&Bytes::from(bytes)).unwrap();
            assert_eq!(serde_json::from_str::<Bytes>(&json).unwrap().into_vec().unwrap(), bytes);
        }
        for hex in ["f", "zz", "+1", "é"] {
            assert_eq!(Bytes::Hex(hex.to_owned()).into_vec(), None, "{hex}");
        }
    }

    #[test]
    fn lines_are_bounded_and_torn_ones_are_nobodys() {
        let long = vec![b'x'; MAX_LINE_BYTES + 2];
        assert!(matches!(read_line::<u8>(&mut &long[..]).unwrap(), Line::Malformed(_)));
        assert!(matches!(read_line::<u8>(&mut &b"12"[..]).unwrap(), Line::End));
        assert!(matches!(read_line::<u8>(&mut &b"x\n"[..]).unwrap(), Line::Malformed(_)));
        assert!(matches!(read_line::<u8>(&mut &b"12\n"[..]).unwrap(), Line::Message(12)));
    }
}
