//! A local proxy that lets confined programs reach the hosts that a rule allows, and no others.
//!
//! It listens on a socket with a path, outside; the stage inside the sandbox carries connections to it. It speaks
//! HTTP only: `CONNECT` for everything that is encrypted, and plain requests in absolute form. What goes through a
//! tunnel is not looked at.
//!
//! **Owner of state.** The listening thread owns the socket; [`EgressProxy`] owns the record of decisions, which is
//! bounded. Dropping it ends the listening and breaks every connection.

mod connection;
mod http;
mod rules;

use std::collections::VecDeque;
use std::fs;
use std::io;
use std::net::{Shutdown, SocketAddr, TcpStream, ToSocketAddrs as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use co_model::HostRule;
use serde::{Deserialize, Serialize};

use rules::Rules;

/// Connections at once; another one is told to come back.
const MAX_CONNECTIONS: usize = 128;
/// How many decisions are kept; later ones are counted only.
const MAX_DECISIONS: usize = 1024;

/// Something that a program wanted to reach, and what was decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Egress {
    /// The host as the program named it, in lower case. Untrusted text.
    pub host: String,
    /// The port.
    pub port: u16,
    /// What was decided.
    pub verdict: EgressVerdict,
}

/// What was decided about a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EgressVerdict {
    /// A rule allows it, and it was connected.
    Allowed,
    /// A rule forbids it, or wants a question that nobody can ask here.
    Forbidden,
    /// No rule names it.
    Unnamed,
    /// A rule allows the name, but it leads to an address of this machine or its neighbourhood that none names.
    PrivateAddress(std::net::IpAddr),
    /// A rule allows it, but it could not be reached.
    Unreachable,
}

impl EgressVerdict {
    /// Whether it was connected.
    pub fn is_allowed(&self) -> bool {
        *self == Self::Allowed
    }
}

/// Why the proxy could not be started.
#[derive(Debug, thiserror::Error)]
pub enum EgressError {
    /// A rule names a host in a way that can never match.
    #[error("`{host}` is no name of a host, no `*.name` and no IP address")]
    Rule {
        /// The host of the rule.
        host: String,
    },
    /// The socket could not be made.
    #[error("failed to listen at `{}`", path.display())]
    Listen {
        /// Where.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// Turns names into addresses.
pub trait Resolve: Send + Sync + 'static {
    /// The addresses of a host.
    ///
    /// # Errors
    /// What the system said; the program is told that the host cannot be reached.
    fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>>;
}

/// Asks the system.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemResolver;

impl Resolve for SystemResolver {
    fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        (host, port).to_socket_addrs().map(Iterator::collect)
    }
}

/// A running proxy. Dropping it ends it.
#[derive(Debug)]
pub struct EgressProxy {
    path: PathBuf,
    shared: Arc<Shared>,
    listening: Option<JoinHandle<()>>,
}

/// What the listening thread and the connections share.
pub(crate) struct Shared {
    rules: Rules,
    resolver: Box<dyn Resolve>,
    ended: AtomicBool,
    open: Mutex<Vec<Connection>>,
    next: AtomicU64,
    decisions: Mutex<Decisions>,
}

/// Handles on a connection, to break it from outside.
struct Connection {
    number: u64,
    inside: UnixStream,
    outside: Option<TcpStream>,
}

#[derive(Debug, Default)]
struct Decisions {
    kept: VecDeque<Egress>,
    dropped: u64,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Shared").field("rules", &self.rules).finish_non_exhaustive()
    }
}

impl EgressProxy {
    /// Starts a proxy that listens in `folder`, which must exist and should be ours alone.
    ///
    /// # Errors
    /// [`EgressError::Rule`] for a host that can never match, [`EgressError::Listen`] if there can be no socket,
    /// for example because the path of `folder` has more than about 90 bytes.
    pub fn start(rules: &[HostRule], folder: &Path) -> Result<Self, EgressError> {
        Self::start_with(rules, folder, SystemResolver)
    }

    /// Like [`EgressProxy::start`], with another way to resolve names.
    ///
    /// # Errors
    /// As [`EgressProxy::start`].
    pub fn start_with(
        rules: &[HostRule],
        folder: &Path,
        resolver: impl Resolve,
    ) -> Result<Self, EgressError> {
        let rules = Rules::new(rules)?;
        let path = folder.join("egress.sock");
        let failed = |source| EgressError::Listen { path: path.clone(), source };
        let listener = UnixListener::bind(&path).map_err(failed)?;
        // The folder keeps strangers away; the sandbox may run as another user.
        fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).map_err(failed)?;
        let shared = Arc::new(Shared {
            rules,
            resolver: Box::new(resolver),
            ended: AtomicBool::new(false),
            open: Mutex::default(),
            next: AtomicU64::new(0),
            decisions: Mutex::default(),
        });
        let accepting = Arc::clone(&shared);
        let listening = thread::Builder::new()
            .name("egress".into())
            .spawn(move || accept(&listener, &accepting))
            .map_err(failed)?;
        Ok(Self { path, shared, listening: Some(listening) })
    }

    /// Where it listens, for [`crate::Request::egress`].
    pub fn socket(&self) -> &Path {
        &self.path
    }

    /// What was decided so far, oldest first; at most a thousand or so, see [`EgressProxy::dropped_decisions`].
    pub fn decisions(&self) -> Vec<Egress> {
        lock(&self.shared.decisions).kept.iter().cloned().collect()
    }

    /// How many of the oldest decisions are not kept any more.
    pub fn dropped_decisions(&self) -> u64 {
        lock(&self.shared.decisions).dropped
    }
}

impl Drop for EgressProxy {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
        for connection in lock(&self.shared.open).drain(..) {
            // One that has ended by itself is gone already.
            drop(connection.inside.shutdown(Shutdown::Both));
            drop(connection.outside.map(|outside| outside.shutdown(Shutdown::Both)));
        }
        // A connection wakes the listener, which then sees that it is to end.
        if UnixStream::connect(&self.path).is_ok()
            && let Some(listening) = self.listening.take()
        {
            drop(listening.join());
        }
        drop(fs::remove_file(&self.path));
    }
}

fn accept(listener: &UnixListener, shared: &Arc<Shared>) {
    for stream in listener.incoming() {
        if shared.ended.load(Ordering::Relaxed) {
            return;
        }
        let Ok(stream) = stream else { continue };
        match shared.admit(&stream) {
            Some(admitted) => {
                let spawned = thread::Builder::new()
                    .name("egress-connection".into())
                    .spawn(move || connection::serve(&stream, &admitted));
                // Without a thread the connection is closed, which the program sees.
                drop(spawned);
            }
            None => http::refuse(&stream, http::BUSY),
        }
    }
}

/// A connection that counts, until it is dropped.
pub(crate) struct Admitted {
    number: u64,
    pub(crate) shared: Arc<Shared>,
}

impl Admitted {
    /// Lets the end of the proxy break the other half of this connection too.
    fn reaches(&self, upstream: &TcpStream) -> io::Result<()> {
        let mut open = lock(&self.shared.open);
        match open.iter_mut().find(|connection| connection.number == self.number) {
            Some(connection) => connection.outside = Some(upstream.try_clone()?),
            // The proxy has ended while we connected.
            None => upstream.shutdown(Shutdown::Both)?,
        }
        Ok(())
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        lock(&self.shared.open).retain(|connection| connection.number != self.number);
    }
}

impl Shared {
    fn admit(self: &Arc<Self>, stream: &UnixStream) -> Option<Admitted> {
        let mut open = lock(&self.open);
        // Asked under the lock under which the end breaks what is open: nothing comes in behind it.
        if self.ended.load(Ordering::Relaxed) || open.len() >= MAX_CONNECTIONS {
            return None;
        }
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        open.push(Connection { number, inside: stream.try_clone().ok()?, outside: None });
        Some(Admitted { number, shared: Arc::clone(self) })
    }

    fn record(&self, host: &str, port: u16, verdict: EgressVerdict) {
        let mut decisions = lock(&self.decisions);
        if decisions.kept.len() == MAX_DECISIONS {
            decisions.kept.pop_front();
            decisions.dropped += 1;
        }
        decisions.kept.push_back(Egress { host: host.to_owned(), port, verdict });
    }
}

/// What a panicking holder left is as good as before: every change is one step.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
