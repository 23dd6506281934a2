//! A process that owns sessions and serves them on a private socket, so that they outlive whoever started them.
//!
//! Owns the lock, the socket and the ledger of an [`Endpoint`]. One thread waits for clients, one more serves each
//! of them. The host ends when it is told to, or when nothing has run and nobody was connected for a while; a host
//! that is killed takes its sessions with it, and the ledger says so to the next.

use std::io::{self, BufReader, PipeReader, PipeWriter, Read as _, Write as _};
use std::net;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use co_process::{Shutdown, Signal, Spawner};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Resource, getrlimit, setrlimit};

use crate::endpoint::{self, Endpoint};
use crate::event::{Listener, MakeRedactor};
use crate::ledger::Ledger;
use crate::output::Taken;
use crate::protocol::{
    Line, Outcome, Refusal, Request, RequestLine, Response, ResponseLine, VERSION, read_line, write_line,
};
use crate::session::{Collected, Session, chain};
use crate::sessions::{Keeper, Sessions, Settings};
use crate::stream::{Attached, Upstream};
use crate::tap::{Tap, Tapped};
use crate::{Confiner, HostError, SessionError, SessionId, SessionInfo};

/// How many clients are served at once; more are turned away.
const MAX_CLIENTS: usize = 256;
/// How many descriptors a host may need: about a dozen for each session, one for each client.
const MAX_FILES: u64 = 4096;
/// How many bytes of the log an attaching client may ask for.
const MAX_REPLAY_BYTES: u64 = 1 << 20;

/// How a host behaves.
pub struct HostSettings {
    /// How long it stays without a running session and without a client.
    pub idle_timeout: Duration,
    /// Hears of every event of every session.
    pub listener: Arc<dyn Listener>,
    /// Makes a redactor for each stream; `None` lets everything through.
    pub redactor: Option<MakeRedactor>,
    /// Builds sandboxes; `None` refuses the sessions that want one.
    pub confiner: Option<Arc<dyn Confiner>>,
}

/// Serves sessions until there is nothing left to do; blocks.
///
/// The socket can be connected to from the moment it appears. A stale one, left by a host that was killed, is
/// replaced.
///
/// # Errors
/// [`HostError::AlreadyRunning`] if another host serves there, else whatever could not be set up.
pub fn serve(spawner: Arc<Spawner>, endpoint: &Endpoint, settings: HostSettings) -> Result<(), HostError> {
    raise_file_limit();
    let directory = endpoint.open()?;
    let _lock = endpoint.lock()?;
    let (ledger, past) = Ledger::take_over(endpoint.ledger())?;
    // Scripts of an earlier host wait for shells that are gone.
    drop(std::fs::remove_dir_all(endpoint.scratch()));
    let (bell, ringer) = io::pipe().map_err(|source| HostError::Wait { source })?;
    let rooms = Arc::new(Rooms { ledger, past: Mutex::new(past), ringer });
    let sessions = Sessions::kept_by(
        Arc::clone(&rooms) as Arc<dyn Keeper>,
        spawner,
        Settings {
            listener: settings.listener,
            redactor: settings.redactor,
            confiner: settings.confiner,
            scratch: endpoint.scratch(),
        },
    );
    let host =
        Arc::new(Host { sessions, rooms, clients: AtomicUsize::new(0), ending: AtomicBool::new(false) });
    let listener = endpoint.bind(&directory)?;
    let outcome = host.accept_clients(&listener, bell, settings.idle_timeout);
    endpoint.unbind()?;
    host.sessions.end_all();
    outcome
}

/// What sessions leave with the host: their lines in the ledger, and a ring when one is over.
struct Rooms {
    ledger: Ledger,
    /// Sessions of earlier hosts.
    past: Mutex<Vec<SessionInfo>>,
    ringer: PipeWriter,
}

impl Rooms {
    fn ring(&self) {
        drop((&self.ringer).write_all(&[0]));
    }
}

impl Keeper for Rooms {
    fn entered(&self, info: &SessionInfo) -> io::Result<()> {
        self.past.lock().unwrap_or_else(PoisonError::into_inner).retain(|past| past.session != info.session);
        self.ledger.write(info)
    }

    fn ended(&self, info: &SessionInfo) {
        // A ledger that cannot be written says "lost", which is what a reader of it must assume.
        drop(self.ledger.write(info));
    }

    fn over(&self) {
        self.ring();
    }

    fn forgot(&self, id: &SessionId) {
        self.ledger.forget(id);
    }
}

struct Host {
    sessions: Sessions,
    rooms: Arc<Rooms>,
    clients: AtomicUsize,
    ending: AtomicBool,
}

impl Host {
    fn accept_clients(
        self: &Arc<Self>,
        listener: &UnixListener,
        mut bell: PipeReader,
        idle_timeout: Duration,
    ) -> Result<(), HostError> {
        let failed = |source| HostError::Wait { source };
        listener.set_nonblocking(true).map_err(failed)?;
        let mut idle_since = Some(Instant::now());
        loop {
            let now = Instant::now();
            let idle = self.sessions.running() == 0 && self.clients.load(Ordering::SeqCst) == 0;
            idle_since = idle.then(|| idle_since.unwrap_or(now));
            let left = idle_since.map(|since| idle_timeout.saturating_sub(now.duration_since(since)));
            if self.ending.load(Ordering::SeqCst) || left == Some(Duration::ZERO) {
                return Ok(());
            }
            let timeout = left.and_then(|left| Timespec::try_from(left).ok());
            let mut entries = [PollFd::new(listener, PollFlags::IN), PollFd::new(&bell, PollFlags::IN)];
            match poll(&mut entries, timeout.as_ref()) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(failed(error.into())),
            }
            let [called, rung] = entries.map(|entry| !entry.revents().is_empty());
            if rung {
                // One read takes many rings: whatever they were for is looked at above.
                drop(bell.read(&mut [0; 64]));
            }
            if called {
                match listener.accept() {
                    Ok((stream, _)) => self.welcome(stream),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    // Most likely there are no descriptors left: the client waits until some are.
                    Err(_) => wait_for_room(&bell),
                }
            }
        }
    }

    fn welcome(self: &Arc<Self>, stream: UnixStream) {
        let turned_away = self.clients.load(Ordering::SeqCst) >= MAX_CLIENTS || !endpoint::is_ours(&stream);
        if turned_away || stream.set_nonblocking(false).is_err() {
            return;
        }
        self.clients.fetch_add(1, Ordering::SeqCst);
        let client = Client { host: Arc::clone(self) };
        // Without a thread the client is dropped, and sees it.
        drop(thread::Builder::new().name("client".to_owned()).spawn(move || client.serve(&stream)));
    }
}

/// Lets a moment pass, or less if a session or a client ends.
fn wait_for_room(bell: &PipeReader) {
    const MOMENT: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
    // However the wait ends, the listener is asked again.
    let _ = poll(&mut [PollFd::new(bell, PollFlags::IN)], Some(&MOMENT));
}

/// Makes room for the descriptors of many sessions. The spawner was forked before, so programs keep their own limit.
fn raise_file_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    let wanted = limit.maximum.map_or(MAX_FILES, |maximum| maximum.min(MAX_FILES));
    if limit.current.is_some_and(|current| current < wanted) {
        limit.current = Some(wanted);
        // Where it is refused, fewer sessions fit, and starting one more says so.
        let _ = setrlimit(Resource::Nofile, limit);
    }
}

/// One connection; counted while it lives.
struct Client {
    host: Arc<Host>,
}

impl Drop for Client {
    fn drop(&mut self) {
        self.host.clients.fetch_sub(1, Ordering::SeqCst);
        self.host.rooms.ring();
    }
}

/// What a request came to.
enum Answer {
    Plain(Response),
    /// What was said wants no answer.
    Silence,
    /// A reply whose output goes back to the session if the client does not live to read it.
    Collected(Arc<Session>, Collected),
    /// The connection carries frames from here on.
    Attach {
        session: Arc<Session>,
        tap: Arc<Tap>,
        replay: Vec<u8>,
    },
    /// The host ends after the answer.
    Farewell,
}

/// Why a request was refused.
struct Refused {
    kind: Refusal,
    message: String,
}

impl From<SessionError> for Refused {
    fn from(error: SessionError) -> Self {
        Self { kind: Refusal::from(&error), message: chain(&error) }
    }
}

impl Client {
    fn serve(&self, stream: &UnixStream) {
        let mut lines = BufReader::new(stream);
        // The last reply of which the client has not said that it has it.
        let mut unsure: Option<(Arc<Session>, Taken)> = None;
        loop {
            let line = read_line::<RequestLine>(&mut lines);
            // Whoever speaks again has read what it was told; who does not died before, or while it read.
            if let (Some((session, taken)), Ok(Line::End) | Err(_)) = (unsure.take(), &line) {
                session.put_back(taken);
            }
            let answer = match line {
                Ok(Line::Message(line)) if line.version == VERSION => self.answer(line.request),
                Ok(Line::Message(line)) => Err(malformed(format!(
                    "the client speaks version {} and the host version {VERSION}",
                    line.version
                ))),
                Ok(Line::Malformed(reason)) => Err(malformed(reason)),
                Ok(Line::End) | Err(_) => return,
            };
            let mut to = stream;
            let sent = match answer {
                Ok(Answer::Silence) => Ok(()),
                Ok(Answer::Plain(response)) => send(&mut to, Outcome::Done(response)),
                Ok(Answer::Collected(session, Collected { reply, taken })) => {
                    let sent = send(&mut to, Outcome::Done(Response::Reply(reply)));
                    match sent {
                        Ok(()) => unsure = Some((session, taken)),
                        Err(_) => session.put_back(taken),
                    }
                    sent
                }
                Ok(Answer::Attach { session, tap, replay }) => {
                    let attached = send(&mut to, Outcome::Done(Response::Attached));
                    return match attached {
                        Ok(()) => attend(&session, &tap, replay, stream, &mut lines),
                        Err(_) => tap.close(),
                    };
                }
                Ok(Answer::Farewell) => {
                    drop(send(&mut to, Outcome::Done(Response::Nothing)));
                    self.host.ending.store(true, Ordering::SeqCst);
                    return self.host.rooms.ring();
                }
                Err(Refused { kind, message }) => {
                    let sent = send(&mut to, Outcome::Refused { kind, message });
                    // What follows a line that cannot be read is not known to be a line.
                    if kind == Refusal::Malformed {
                        return;
                    }
                    sent
                }
            };
            if sent.is_err() {
                return;
            }
        }
    }

    fn answer(&self, request: Request) -> Result<Answer, Refused> {
        let sessions = &self.host.sessions;
        let bytes = |bytes: crate::protocol::Bytes| {
            bytes.into_vec().ok_or_else(|| malformed("the bytes are no hexadecimal".to_owned()))
        };
        let plain = |()| Answer::Plain(Response::Nothing);
        Ok(match request {
            Request::Hello => Answer::Plain(Response::Hello { pid: std::process::id() }),
            Request::Received => Answer::Silence,
            Request::Start(start) => {
                let start = start
                    .into_start()
                    .ok_or_else(|| malformed("the program is no hexadecimal".to_owned()))?;
                let (session, collected) = sessions.start_collecting(start)?;
                Answer::Collected(session, collected)
            }
            Request::Feed { session, bytes: given } => plain(sessions.feed(&session, &bytes(given)?)?),
            Request::Write { session, bytes: given, wait, max_output_tokens } => {
                let (session, collected) =
                    sessions.write_collecting(&session, &bytes(given)?, wait, max_output_tokens)?;
                Answer::Collected(session, collected)
            }
            Request::CloseInput { session } => plain(sessions.close_input(&session)?),
            Request::Resize { session, rows, columns } => plain(sessions.resize(&session, rows, columns)?),
            Request::Signal { session, signal } => plain(sessions.signal(&session, known_signal(signal)?)?),
            Request::Kill { session, graceful, max_output_tokens } => {
                let how = if graceful { Shutdown::Graceful } else { Shutdown::Immediate };
                let (session, collected) = sessions.kill_collecting(&session, how, max_output_tokens)?;
                Answer::Collected(session, collected)
            }
            Request::RunIn { session, script, timeout, max_output_tokens } => Answer::Plain(
                Response::Script(sessions.run_in(&session, &bytes(script)?, timeout, max_output_tokens)?),
            ),
            Request::List => Answer::Plain(Response::Sessions(self.list())),
            Request::Prune => Answer::Plain(Response::Pruned(self.prune())),
            Request::Attach { session, replay_bytes } => {
                let tap = Arc::new(Tap::default());
                let (session, before) = sessions.attach(&session, &tap)?;
                let replay = session.replay(before, replay_bytes.min(MAX_REPLAY_BYTES));
                Answer::Attach { session, tap, replay }
            }
            Request::Shutdown => {
                sessions.end_all();
                Answer::Farewell
            }
        })
    }

    fn list(&self) -> Vec<SessionInfo> {
        let mut list = self.host.rooms.past.lock().unwrap_or_else(PoisonError::into_inner).clone();
        list.extend(self.host.sessions.list());
        list
    }

    fn prune(&self) -> Vec<SessionId> {
        let past = std::mem::take(&mut *self.host.rooms.past.lock().unwrap_or_else(PoisonError::into_inner));
        let mut names: Vec<_> = past.into_iter().map(|info| info.session).collect();
        for id in &names {
            self.host.rooms.forgot(id);
        }
        names.extend(self.host.sessions.prune());
        names
    }
}

fn malformed(message: String) -> Refused {
    Refused { kind: Refusal::Malformed, message }
}

fn known_signal(number: i32) -> Result<Signal, Refused> {
    Signal::from_number(number).ok_or_else(|| Refused {
        kind: Refusal::System,
        message: format!("{number} is not a signal that can be sent"),
    })
}

fn send(to: &mut &UnixStream, outcome: Outcome) -> io::Result<()> {
    write_line(to, &ResponseLine { version: VERSION, outcome })
}

/// Passes raw bytes both ways until the client is gone.
fn attend(
    session: &Session,
    tap: &Tap,
    replay: Vec<u8>,
    stream: &UnixStream,
    frames: &mut BufReader<&UnixStream>,
) {
    let sink = Mutex::new(stream);
    let send = |frame: &Attached| {
        let mut sink = sink.lock().unwrap_or_else(PoisonError::into_inner);
        frame.write_to(&mut *sink)
    };
    thread::scope(|scope| {
        let output = thread::Builder::new().name("attached output".to_owned()).spawn_scoped(scope, || {
            let mut sent = if replay.is_empty() { Ok(()) } else { send(&Attached::Output(replay)) };
            while sent.is_ok() {
                sent = match tap.next() {
                    Tapped::Output(bytes) => send(&Attached::Output(bytes)),
                    Tapped::Lagged(bytes) => send(&Attached::Lagged(bytes)),
                    Tapped::End(exit) => {
                        drop(send(&Attached::End(exit)));
                        break;
                    }
                    Tapped::Closed => break,
                };
            }
            // The other half of the conversation ends with this one.
            drop(stream.shutdown(net::Shutdown::Both));
        });
        if output.is_ok() {
            while let Ok(Some(frame)) = Upstream::read_from(frames) {
                let passed = match frame {
                    Upstream::Input(bytes) => session.write(&bytes),
                    Upstream::Resize { rows, columns } => session.resize(rows, columns),
                    Upstream::CloseInput => session.close_input(),
                    Upstream::Signal(number) => match Signal::from_number(number) {
                        Some(signal) => session.signal(signal),
                        None => continue,
                    },
                };
                if let Err(error) = passed
                    && send(&Attached::Refused(chain(&error))).is_err()
                {
                    break;
                }
            }
        }
        tap.close();
    });
}
