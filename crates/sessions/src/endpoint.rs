//! Where a host and its clients meet: a private directory with a socket, a lock and the ledger.
//!
//! The directory belongs to one user alone and the socket lies in it, so nobody else can reach or replace either.
//! Both ends still ask the system who the other is.

use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, Mode, OFlags};

use crate::{HostError, SessionInfo, ledger};

const SOCKET: &str = "host.sock";
const NEW_SOCKET: &str = "host.sock.new";
const LOCK: &str = "host.lock";
/// The longest path that every system takes for a socket, with its end; Linux takes four bytes more.
const MAX_SOCKET_PATH: usize = 103;

/// The place of one host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    directory: PathBuf,
}

impl Endpoint {
    /// Names the directory; it is made when a host or a client first needs it.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self { directory: directory.into() }
    }

    /// The directory.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Lists the sessions of a host that is gone: those it left running were ended with it.
    ///
    /// # Errors
    /// [`HostError::NotPrivate`] and [`HostError::File`].
    pub fn list_past(&self) -> Result<Vec<SessionInfo>, HostError> {
        self.open()?;
        ledger::read(&self.ledger())
    }

    /// Where the ledger is.
    pub(crate) fn ledger(&self) -> PathBuf {
        self.directory.join("ledger")
    }

    /// Where scripts wait for their shells.
    pub(crate) fn scratch(&self) -> PathBuf {
        self.directory.join("scripts")
    }

    /// Opens the directory, made if it is missing, and makes sure that it is ours alone.
    pub(crate) fn open(&self) -> Result<OwnedFd, HostError> {
        let failed = |step| failed(step, &self.directory);
        fs::DirBuilder::new().mode(0o700).recursive(true).create(&self.directory).map_err(failed("make"))?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened = rustix::fs::open(&self.directory, flags, Mode::empty())
            .map_err(|error| failed("open")(error.into()))?;
        let facts = rustix::fs::fstat(&opened).map_err(|error| failed("look at")(error.into()))?;
        let ours = facts.st_uid == rustix::process::geteuid().as_raw();
        let for_others = Mode::RWXG | Mode::RWXO;
        if ours && !Mode::from_raw_mode(facts.st_mode).intersects(for_others) {
            Ok(opened)
        } else {
            Err(HostError::NotPrivate { directory: self.directory.clone() })
        }
    }

    /// Takes the lock that one host at a time holds.
    pub(crate) fn lock(&self) -> Result<OwnedFd, HostError> {
        let path = self.directory.join(LOCK);
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::open(&path, flags, Mode::RUSR | Mode::WUSR)
            .map_err(|error| failed("open", &path)(error.into()))?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(file),
            Err(rustix::io::Errno::WOULDBLOCK) => {
                Err(HostError::AlreadyRunning { directory: self.directory.clone() })
            }
            Err(error) => Err(failed("lock", &path)(error.into())),
        }
    }

    /// Binds the socket; whoever sees it can connect. The lock must be held.
    pub(crate) fn bind(&self, opened: &OwnedFd) -> Result<UnixListener, HostError> {
        let (new, path) = (self.directory.join(NEW_SOCKET), self.directory.join(SOCKET));
        // What an earlier host left: nobody answers there, because nobody holds its lock.
        Self::remove(&new)?;
        let listener = UnixListener::bind(self.address(opened, NEW_SOCKET)).map_err(failed("bind", &new))?;
        rustix::fs::chmodat(opened, NEW_SOCKET, Mode::RUSR | Mode::WUSR, rustix::fs::AtFlags::empty())
            .map_err(|error| failed("protect", &new)(error.into()))?;
        fs::rename(&new, &path).map_err(failed("publish", &path))?;
        Ok(listener)
    }

    /// Takes the socket away, so that clients look for another host.
    pub(crate) fn unbind(&self) -> Result<(), HostError> {
        Self::remove(&self.directory.join(SOCKET))
    }

    fn remove(path: &Path) -> Result<(), HostError> {
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("remove", path)(error)),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Connects to the host; `None` when none serves.
    pub(crate) fn connect(&self, opened: &OwnedFd) -> Result<Option<UnixStream>, HostError> {
        let path = self.directory.join(SOCKET);
        match UnixStream::connect(self.address(opened, SOCKET)) {
            Ok(stream) if is_ours(&stream) => Ok(Some(stream)),
            Ok(_) => Err(HostError::NotPrivate { directory: self.directory.clone() }),
            Err(error)
                if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) =>
            {
                Ok(None)
            }
            Err(error) => Err(failed("connect to", &path)(error)),
        }
    }

    /// The path by which a socket is reached: through the open directory where its own would be too long.
    fn address(&self, opened: &OwnedFd, name: &str) -> PathBuf {
        let direct = self.directory.join(name);
        if cfg!(target_os = "linux") && direct.as_os_str().as_bytes().len() > MAX_SOCKET_PATH {
            PathBuf::from(format!("/proc/self/fd/{}/{name}", opened.as_raw_fd()))
        } else {
            direct
        }
    }
}

fn failed(step: &'static str, path: &Path) -> impl FnOnce(io::Error) -> HostError + use<> {
    let path = path.to_owned();
    move |source| HostError::File { step, path, source }
}

/// Whether the process at the other end runs as our user.
#[cfg(target_os = "linux")]
pub(crate) fn is_ours(stream: impl AsFd) -> bool {
    rustix::net::sockopt::socket_peercred(stream).is_ok_and(|peer| peer.uid == rustix::process::geteuid())
}

/// Whether the process at the other end runs as our user: it came through a directory that is ours alone.
#[cfg(not(target_os = "linux"))]
pub(crate) fn is_ours(_stream: impl AsFd) -> bool {
    true
}
