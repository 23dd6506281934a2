//! One connection: judged, connected, and carried until both ends are silent.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use co_model::RuleDecision;

use super::http::{self, Target};
use super::rules::Host;
use super::{Admitted, EgressVerdict, Shared};

/// How long the head of a request may take.
const HEAD_TIMEOUT: Duration = Duration::from_secs(15);
/// How long each address may take to answer.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How many addresses of a host are tried.
const MAX_ADDRESSES: usize = 4;
/// How long a connection may be silent in both directions.
const IDLE_TIMEOUT: Duration = Duration::from_mins(10);
/// One read.
const READ_BYTES: usize = 16 << 10;

pub(crate) fn serve(stream: &UnixStream, admitted: &Admitted) {
    // A connection that breaks is closed, and there is nobody to tell.
    drop(answer(stream, admitted));
    drop(stream.shutdown(Shutdown::Both));
}

fn answer(mut stream: &UnixStream, admitted: &Admitted) -> io::Result<()> {
    stream.set_write_timeout(Some(IDLE_TIMEOUT))?;
    let target = match http::read_target(&mut Patient::new(stream, HEAD_TIMEOUT)) {
        Ok(target) => target,
        Err(refusal) => {
            if let Some(refusal) = refusal {
                http::refuse(stream, refusal);
            }
            return Ok(());
        }
    };
    let (verdict, upstream) = judge(&target, &admitted.shared);
    let refusal = refusal(&verdict);
    admitted.shared.record(&target.host.text(), target.port, verdict);
    let Some(mut upstream) = upstream else {
        http::refuse(stream, refusal);
        return Ok(());
    };
    admitted.reaches(&upstream)?;
    upstream.set_write_timeout(Some(IDLE_TIMEOUT))?;
    if target.is_tunnel {
        stream.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")?;
    }
    upstream.write_all(&target.opening)?;
    carry(stream, &upstream)
}

/// Reads a stream until a deadline, however slowly the bytes come.
struct Patient<'a> {
    stream: &'a UnixStream,
    deadline: Instant,
}

impl<'a> Patient<'a> {
    fn new(stream: &'a UnixStream, patience: Duration) -> Self {
        Self { stream, deadline: Instant::now() + patience }
    }
}

impl Read for Patient<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        self.stream.set_read_timeout(Some(left))?;
        self.stream.read(buffer)
    }
}

fn judge(target: &Target, shared: &Shared) -> (EgressVerdict, Option<TcpStream>) {
    match shared.rules.of_host(&target.host, target.port) {
        None => return (EgressVerdict::Unnamed, None),
        Some(RuleDecision::Prompt | RuleDecision::Forbidden) => return (EgressVerdict::Forbidden, None),
        Some(RuleDecision::Allow) => {}
    }
    let addresses = match &target.host {
        Host::Address(address) => vec![SocketAddr::new(*address, target.port)],
        Host::Name(name) => shared.resolver.resolve(name, target.port).unwrap_or_default(),
    };
    // All of them are judged before one is tried: a name that leads astray once is not trusted at all.
    if let Some(astray) = addresses.iter().find(|address| !shared.rules.admits(address.ip(), target.port)) {
        return (EgressVerdict::PrivateAddress(astray.ip()), None);
    }
    let connected = addresses
        .iter()
        .take(MAX_ADDRESSES)
        .find_map(|address| TcpStream::connect_timeout(address, CONNECT_TIMEOUT).ok());
    let verdict = if connected.is_some() { EgressVerdict::Allowed } else { EgressVerdict::Unreachable };
    (verdict, connected)
}

fn refusal(verdict: &EgressVerdict) -> (u16, &'static str) {
    match verdict {
        EgressVerdict::Forbidden => (403, "the sandbox forbids this host"),
        EgressVerdict::Unnamed => {
            (403, "the sandbox allows only hosts that a rule names, and none names this one")
        }
        EgressVerdict::PrivateAddress(_) => {
            (403, "this host leads to an address that the sandbox keeps closed")
        }
        EgressVerdict::Allowed | EgressVerdict::Unreachable => (502, "the host could not be reached"),
    }
}

/// Carries both directions until both have ended, or until neither has carried anything for too long.
fn carry(inside: &UnixStream, outside: &TcpStream) -> io::Result<()> {
    inside.set_read_timeout(Some(IDLE_TIMEOUT))?;
    outside.set_read_timeout(Some(IDLE_TIMEOUT))?;
    let activity = Activity { began: Instant::now(), last: Arc::default() };
    thread::scope(|scope| {
        scope.spawn(|| {
            let ended = copy(inside, outside, &activity);
            finish(&ended, || outside.shutdown(Shutdown::Write), || inside.shutdown(Shutdown::Both));
        });
        let ended = copy(outside, inside, &activity);
        finish(&ended, || inside.shutdown(Shutdown::Write), || outside.shutdown(Shutdown::Both));
    });
    Ok(())
}

/// An end is passed on; a failure ends the other direction too.
fn finish(
    ended: &io::Result<()>,
    pass_on: impl FnOnce() -> io::Result<()>,
    break_off: impl FnOnce() -> io::Result<()>,
) {
    // Passing on fails when that end is gone already, which is what was wanted.
    drop(pass_on());
    if ended.is_err() {
        drop(break_off());
    }
}

struct Activity {
    began: Instant,
    /// Milliseconds after the beginning.
    last: Arc<AtomicU64>,
}

impl Activity {
    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn note(&self) {
        self.last.store(self.now(), Ordering::Relaxed);
    }

    fn is_recent(&self) -> bool {
        u128::from(self.now().saturating_sub(self.last.load(Ordering::Relaxed))) < IDLE_TIMEOUT.as_millis()
    }
}

fn copy(mut from: impl Read, mut to: impl Write, activity: &Activity) -> io::Result<()> {
    let mut buffer = [0; READ_BYTES];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => {
                activity.note();
                to.write_all(buffer.get(..count).unwrap_or_default())?;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // Silence in one direction is fine while the other one speaks.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && activity.is_recent() => {}
            Err(error) => return Err(error),
        }
    }
}
