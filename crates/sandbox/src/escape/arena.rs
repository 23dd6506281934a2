//! Everything that the attempts aim at: made on the host, watched from there, gone afterwards.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, Ipv6Addr, TcpListener, UdpSocket};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::fs::{OpenOptionsExt as _, chown, symlink};
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::fs::{CWD, FileType, Mode, mknodat};
use serde::{Deserialize, Serialize};

use super::{Course, EscapeError};
use crate::inner::{ENTRY, VICTIM};
use crate::placeholder::is_placeholder;

const UNTOUCHED: &str = "untouched\n";
/// The variable that only the victim has.
pub(super) const MARKER: &str = "CO_SANDBOX_VICTIM";

static COUNTER: AtomicU32 = AtomicU32::new(0);

/// What an attempt is told of its aims.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Aims {
    pub(super) root: PathBuf,
    pub(super) tcp_v4: u16,
    pub(super) tcp_v6: u16,
    pub(super) udp: u16,
    pub(super) abstract_name: String,
    pub(super) victim: i32,
}

impl Aims {
    pub(super) fn workspace(&self) -> PathBuf {
        self.root.join("workspace")
    }

    pub(super) fn outside(&self) -> PathBuf {
        self.root.join("outside")
    }

    pub(super) fn secret_file(&self) -> PathBuf {
        self.root.join("token")
    }

    pub(super) fn secret_folder(&self) -> PathBuf {
        self.root.join("log")
    }

    /// What is hidden inside of what may be written.
    pub(super) fn records(&self) -> PathBuf {
        self.workspace().join("deep/records")
    }

    pub(super) fn bus(&self) -> PathBuf {
        self.root.join("bus")
    }

    pub(super) fn mailbox(&self) -> PathBuf {
        self.root.join("mail")
    }
}

/// The aims, alive.
#[derive(Debug)]
pub(super) struct Arena {
    pub(super) aims: Aims,
    /// Dropped last: the folder with everything in it.
    victim: Child,
    tcp: Vec<TcpListener>,
    udp: UdpSocket,
    bus: Vec<UnixListener>,
    mailbox: UnixDatagram,
    /// Without a reader, nobody could open the pipe for writing.
    _pipe: File,
    folder: Folder,
}

/// A folder that goes with its owner.
#[derive(Debug)]
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        // Another user's leftovers may resist; they are in a temporary place.
        drop(fs::remove_dir_all(&self.0));
    }
}

impl Arena {
    pub(super) fn build(course: &Course<'_>) -> Result<Self, EscapeError> {
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let root = course.scratch.join(format!("escape-{}-{number}", std::process::id()));
        Self::fill(course, &root).map_err(|source| EscapeError::Prepare { path: root, source })
    }

    fn fill(course: &Course<'_>, root: &Path) -> io::Result<Self> {
        fs::create_dir(root)?;
        let folder = Folder(root.canonicalize()?);
        let root = folder.0.clone();
        for name in ["workspace/.git", "workspace/.agents", "workspace/deep/records", "outside", "log"] {
            fs::create_dir_all(root.join(name))?;
        }
        for name in
            ["workspace/.git/config", "workspace/deep/records/events", "outside/file", "token", "log/events"]
        {
            fs::write(root.join(name), UNTOUCHED)?;
        }
        symlink("../outside/file", root.join("workspace/link"))?;
        let pipe = root.join("outside/pipe");
        mknodat(CWD, &pipe, FileType::Fifo, Mode::from_raw_mode(0o600), 0)?;
        let reader = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(&pipe)?;

        let tcp_v4 = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        // A machine without IPv6 has nothing to reach there either.
        let tcp_v6 = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).ok();
        let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        let bus = UnixListener::bind(root.join("bus"))?;
        let mailbox = UnixDatagram::bind(root.join("mail"))?;
        let abstract_name = format!("co-sandbox{}", root.display());
        let hidden_bus = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&abstract_name)?)?;
        give_to(course, &root)?;
        let victim = start_victim(course)?;

        let aims = Aims {
            root,
            tcp_v4: tcp_v4.local_addr()?.port(),
            tcp_v6: tcp_v6
                .as_ref()
                .map_or(Ok(9), |server| server.local_addr().map(|address| address.port()))?,
            udp: udp.local_addr()?.port(),
            abstract_name,
            victim: i32::try_from(victim.id()).map_err(io::Error::other)?,
        };
        let tcp: Vec<TcpListener> = [Some(tcp_v4), tcp_v6].into_iter().flatten().collect();
        for server in &tcp {
            server.set_nonblocking(true)?;
        }
        let bus = vec![bus, hidden_bus];
        for server in &bus {
            server.set_nonblocking(true)?;
        }
        udp.set_nonblocking(true)?;
        mailbox.set_nonblocking(true)?;
        Ok(Self { aims, victim, tcp, udp, bus, mailbox, _pipe: reader, folder })
    }

    /// What the host sees of an attempt that claims to have failed; `None` if nothing happened.
    pub(super) fn evidence(&mut self, name: &str) -> Option<String> {
        let (workspace, outside) = (self.aims.workspace(), self.aims.outside());
        let touched = |path: PathBuf| {
            (fs::read_to_string(path).ok().as_deref() != Some(UNTOUCHED)).then_some("it was changed")
        };
        let there = |path: PathBuf| fs::symlink_metadata(path).is_ok().then_some("it is there");
        let seen = match name {
            "write-outside" => there(outside.join("new")),
            "write-workspace" => there(workspace.join("new")),
            "write-through-link" | "write-hard-link" => touched(outside.join("file")),
            "write-repository" => there(workspace.join(".git/hook")),
            "replace-repository" => touched(workspace.join(".git/config")),
            "create-settings" => {
                let settings = workspace.join(".codex");
                if is_placeholder(&settings) { None } else { there(settings) }
            }
            "write-skills" => there(workspace.join(".agents/skill")),
            "write-records" => there(self.aims.records().join("journal")),
            "replace-records" => touched(self.aims.records().join("events")),
            "make-device" => there(workspace.join("device")),
            "signal-process" => {
                (!matches!(self.victim.try_wait(), Ok(None))).then_some("the process is gone")
            }
            "tcp-v4-loopback" => self.tcp.first().and_then(|server| heard(server.accept().map(drop))),
            "tcp-v6-loopback" => self.tcp.get(1).and_then(|server| heard(server.accept().map(drop))),
            "udp-loopback" => heard(self.udp.recv_from(&mut [0; 16]).map(drop)),
            "bus-socket" => self.bus.first().and_then(|server| heard(server.accept().map(drop))),
            "abstract-socket" => self.bus.get(1).and_then(|server| heard(server.accept().map(drop))),
            "bus-datagram" | "bus-datagram-pair" => heard(self.mailbox.recv(&mut [0; 16]).map(drop)),
            _ => None,
        };
        seen.map(|seen| format!("the host saw it: {seen}"))
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        drop(self.victim.kill());
        drop(self.victim.wait());
        let _ = &self.folder;
    }
}

fn heard(received: io::Result<()>) -> Option<&'static str> {
    match received {
        Err(error) if error.kind() == ErrorKind::WouldBlock => None,
        Ok(()) | Err(_) => Some("somebody came"),
    }
}

/// The folder belongs to the user that the attempts are made as: nothing is to be held by ownership alone.
fn give_to(course: &Course<'_>, path: &Path) -> io::Result<()> {
    let Some((user, group)) = course.user else { return Ok(()) };
    if !path.is_symlink() {
        chown(path, Some(user), Some(group))?;
        if path.is_dir() {
            for entry in fs::read_dir(path)? {
                give_to(course, &entry?.path())?;
            }
        }
    }
    Ok(())
}

fn start_victim(course: &Course<'_>) -> io::Result<Child> {
    let mut command = command(course, course.helper.as_os_str());
    command.args([ENTRY, VICTIM]).env(MARKER, "secret").stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut victim = command.spawn()?;
    // It says a byte once it is what it should be: before that its variables could not be read.
    if let Some(stdout) = &mut victim.stdout {
        io::Read::read_exact(stdout, &mut [0])?;
    }
    Ok(victim)
}

/// A program as the user of the course, with an environment of its own.
#[expect(clippy::disallowed_methods, reason = "our own stages, made to be confined; no program of the user")]
pub(super) fn command(course: &Course<'_>, program: &std::ffi::OsStr) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin").current_dir("/");
    if let Some((user, group)) = course.user {
        command.uid(user).gid(group);
    }
    command
}
