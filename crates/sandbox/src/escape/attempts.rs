//! The attempts themselves, made inside the sandbox by our own executable.
//!
//! An attempt that gets what it wants returns what that was; an error of the system is what it should be.

use std::ffi::{CString, OsString};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::net::{SocketAddr as UnixAddress, UnixDatagram, UnixStream};
use std::path::Path;
use std::time::Duration;

use rustix::fs::{CWD, FileType, Mode, OFlags, makedev, mknodat};
use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, socket, socket_with};
use rustix::process::{Pid, Signal, getppid, kill_process, setsid};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use serde::{Deserialize, Serialize};

use super::arena::{Aims, MARKER};
use super::table::{SURVIVOR, suite};
use crate::inner::{BRIDGE_PORT, FAILURE, SUCCESS};
use crate::sys::{Disposition, call, set_disposition};

/// How long a connection may take to be refused.
const PATIENCE: Duration = Duration::from_millis(300);

/// What one attempt came to, as a line of JSON on standard output.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Line {
    pub(super) name: String,
    pub(super) held: bool,
    pub(super) observed: String,
}

/// Makes every attempt whose name is in the arguments after the aims.
pub(crate) fn attempt_all(mut arguments: impl Iterator<Item = OsString>) -> u8 {
    let Some(aims) = arguments.next().and_then(|json| serde_json::from_slice::<Aims>(json.as_bytes()).ok())
    else {
        return FAILURE;
    };
    // A terminal that is closed again hangs up on whoever made it theirs.
    set_disposition(&[libc::SIGHUP], Disposition::Ignore);
    let wanted: Vec<OsString> = arguments.collect();
    for escape in suite().iter().filter(|escape| wanted.iter().any(|name| name == escape.name)) {
        let (held, observed) = match attempt(escape.name, &aims) {
            Ok(gained) => (false, gained),
            Err(error) => (true, error.to_string()),
        };
        let line = Line { name: escape.name.to_owned(), held, observed };
        let Ok(text) = serde_json::to_string(&line) else { return FAILURE };
        if writeln!(io::stdout(), "{text}").is_err() {
            return FAILURE;
        }
    }
    SUCCESS
}

fn attempt(name: &str, aims: &Aims) -> io::Result<String> {
    let (workspace, outside) = (aims.workspace(), aims.outside());
    match name {
        "write-outside" => create(&outside.join("new")),
        "write-workspace" => create(&workspace.join("new")),
        "write-through-link" => write(&workspace.join("link")),
        "write-hard-link" => {
            fs::hard_link(outside.join("file"), workspace.join("name"))?;
            write(&workspace.join("name"))
        }
        "write-repository" => create(&workspace.join(".git/hook")),
        "replace-repository" => {
            fs::rename(workspace.join(".git"), workspace.join("moved"))?;
            fs::create_dir(workspace.join(".git"))?;
            Ok("replaced".into())
        }
        "create-settings" => {
            fs::create_dir_all(workspace.join(".codex"))?;
            create(&workspace.join(".codex/config.toml"))
        }
        "write-skills" => create(&workspace.join(".agents/skill")),
        "write-records" => create(&aims.records().join("journal")),
        "replace-records" => {
            fs::rename(workspace.join("deep"), workspace.join("moved"))?;
            fs::create_dir_all(aims.records())?;
            Ok("replaced".into())
        }
        "write-kernel-settings" => open_for_writing(Path::new("/proc/sys/kernel/core_pattern")),
        "write-kernel-trigger" => open_for_writing(Path::new("/proc/sysrq-trigger")),
        "write-system-tree" => {
            let group = Path::new("/sys/fs/cgroup/co-sandbox-escape");
            fs::create_dir(group)?;
            fs::remove_dir(group)?;
            Ok("made a control group".into())
        }
        "write-named-pipe" => open_for_writing(&outside.join("pipe")),
        "write-device" => write_device(),
        "make-device" => {
            let path = workspace.join("device");
            mknodat(CWD, &path, FileType::CharacterDevice, Mode::from_raw_mode(0o600), makedev(1, 1))?;
            Ok("made a device".into())
        }
        "read-secret-file" => fs::read(aims.secret_file()).map(|_| "read it".into()),
        "read-secret-folder" => fs::read(aims.secret_folder().join("events")).map(|_| "read it".into()),
        "read-environment" => read_environment(),
        "read-memory" => File::open(format!("/proc/{}/mem", aims.victim)).map(|_| "opened it".into()),
        "open-init-memory" => File::open("/proc/1/mem").map(|_| "opened it".into()),
        "signal-process" => {
            let victim = Pid::from_raw(aims.victim).ok_or(io::ErrorKind::NotFound)?;
            kill_process(victim, Signal::TERM)?;
            Ok("sent it".into())
        }
        _ => attempt_kernel(name, aims).unwrap_or_else(|| attempt_network(name, aims)),
    }
}

/// Attempts that are system calls.
fn attempt_kernel(name: &str, aims: &Aims) -> Option<io::Result<String>> {
    const SEIZE: usize = 0x4206;
    let number = |value: i32| usize::try_from(value).unwrap_or_default();
    let flags = |value: u64| usize::try_from(value).unwrap_or_default();
    let gained = match name {
        "trace-parent" => {
            let parent = Pid::as_raw(getppid());
            refused(libc::SYS_ptrace, [SEIZE, number(parent), 0, 0, 0])
        }
        "trace-process" => refused(libc::SYS_ptrace, [SEIZE, number(aims.victim), 0, 0, 0]),
        "copy-memory" => refused(libc::SYS_process_vm_readv, [number(aims.victim), 0, 0, 0, 0]),
        "mount" => path(&aims.workspace()).and_then(|place| {
            refused(
                libc::SYS_mount,
                [place.as_ptr() as usize, place.as_ptr() as usize, c"tmpfs".as_ptr() as usize, 0, 0],
            )
        }),
        "remount" => {
            let again = flags(libc::MS_REMOUNT | libc::MS_BIND);
            refused(libc::SYS_mount, [0, c"/".as_ptr() as usize, 0, again, 0])
        }
        "enter-namespace" => File::open("/proc/self/ns/mnt")
            .and_then(|own| refused(libc::SYS_setns, [number(own.as_raw_fd()), 0, 0, 0, 0])),
        "change-root" => refused(libc::SYS_chroot, [c"/".as_ptr() as usize, 0, 0, 0, 0]),
        // Without a place for its answer, the call could only fail later than at the filter.
        "asynchronous-calls" => refused(libc::SYS_io_uring_setup, [1, 0, 0, 0, 0]),
        "kernel-program" => refused(libc::SYS_bpf, [0, 0, 0, 0, 0]),
        "keyring" => refused(libc::SYS_keyctl, [0, usize::MAX - 3, 0, 0, 0]),
        "privileges" => privileges(),
        "user-namespace" => {
            refused(libc::SYS_unshare, [number(libc::CLONE_NEWUSER | libc::CLONE_NEWNS), 0, 0, 0, 0])
        }
        "terminal-injection" => type_into_terminal(0),
        "terminal-injection-high" => type_into_terminal(1 << 32),
        _ => return None,
    };
    Some(gained)
}

/// Attempts that reach for somebody else.
fn attempt_network(name: &str, aims: &Aims) -> io::Result<String> {
    match name {
        "tcp-v4-loopback" => tcp((Ipv4Addr::LOCALHOST, aims.tcp_v4).into()),
        "tcp-v6-loopback" => tcp((Ipv6Addr::LOCALHOST, aims.tcp_v6).into()),
        "tcp-outside" => start_connecting((Ipv4Addr::new(192, 0, 2, 1), 9).into()),
        "udp-loopback" => {
            let own = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
            own.connect((Ipv4Addr::LOCALHOST, aims.udp))?;
            own.send(b"x")?;
            // Where nobody listens, the answer to the first comes back with the second.
            own.set_read_timeout(Some(PATIENCE))?;
            own.send(b"x").map(|_| "sent it".into())
        }
        "netlink" => open_socket(AddressFamily::NETLINK, SocketType::RAW),
        "vsock" => open_socket(
            AddressFamily::from_raw(u16::try_from(libc::AF_VSOCK).unwrap_or_default()),
            SocketType::STREAM,
        ),
        "packet" => open_socket(AddressFamily::PACKET, SocketType::RAW),
        "abstract-socket" => UnixStream::connect_addr(&UnixAddress::from_abstract_name(&aims.abstract_name)?)
            .map(|_| "connected".into()),
        "bus-socket" => UnixStream::connect(aims.bus()).map(|_| "connected".into()),
        "bus-datagram" => UnixDatagram::unbound()?.send_to(b"x", aims.mailbox()).map(|_| "sent it".into()),
        "bus-datagram-pair" => {
            UnixDatagram::pair()?.0.send_to(b"x", aims.mailbox()).map(|_| "sent it".into())
        }
        "proxy-unnamed-host" => ask_proxy(aims.tcp_v4),
        SURVIVOR => Err(io::Error::other("this is tried by itself")),
        _ => Ok("nobody knows how to try this".into()),
    }
}

fn create(path: &Path) -> io::Result<String> {
    fs::write(path, "escaped\n").map(|()| "wrote it".into())
}

fn write(path: &Path) -> io::Result<String> {
    OpenOptions::new().write(true).open(path)?.write_all(b"escaped\n").map(|()| "wrote it".into())
}

/// Opens and writes nothing: what the system's files do with a byte is not to be tried.
fn open_for_writing(path: &Path) -> io::Result<String> {
    OpenOptions::new()
        .write(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(path)
        .map(|_| "opened it for writing".into())
}

fn write_device() -> io::Result<String> {
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for device in ["mem", "port", "kmsg", "sda", "vda", "nvme0n1", "loop-control", "fuse", "kvm", "uinput"] {
        match open_for_writing(&Path::new("/dev").join(device)) {
            Ok(gained) => return Ok(format!("{gained}: {device}")),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn read_environment() -> io::Result<String> {
    for process in fs::read_dir("/proc")?.flatten() {
        let found = fs::read(process.path().join("environ")).is_ok_and(|bytes| {
            bytes.split(|&byte| byte == 0).any(|entry| entry.starts_with(MARKER.as_bytes()))
        });
        if found {
            return Ok("read it".into());
        }
    }
    Err(io::Error::other("no process shows it"))
}

/// A call that must not get past the filter: any answer but a refusal means that the kernel took it.
fn refused(number: i64, arguments: [usize; 5]) -> io::Result<String> {
    match call(number, arguments) {
        Err(error) if matches!(error.raw_os_error(), Some(libc::EPERM | libc::EACCES | libc::ENOSYS)) => {
            Err(error)
        }
        Err(error) => Ok(format!("the kernel took it: {error}")),
        Ok(answer) => Ok(format!("the kernel took it: {answer}")),
    }
}

fn path(path: &Path) -> io::Result<CString> {
    Ok(CString::new(path.as_os_str().as_bytes())?)
}

fn privileges() -> io::Result<String> {
    let status = fs::read_to_string("/proc/self/status")?;
    let field = |name: &str| {
        status
            .lines()
            .find_map(|line| line.strip_prefix(name))
            .map(|value| value.trim_start_matches(':').trim().to_owned())
    };
    for name in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
        if field(name).is_none_or(|set| set.bytes().any(|digit| digit != b'0')) {
            return Ok(format!("{name} is {}", field(name).unwrap_or_default()));
        }
    }
    if field("NoNewPrivs").as_deref() != Some("1") {
        return Ok("new privileges can be gained".into());
    }
    Err(io::Error::from_raw_os_error(libc::EPERM))
}

fn type_into_terminal(disguise: usize) -> io::Result<String> {
    // Only its own terminal takes keys from a process. Being the head of a session already is fine.
    let _ = setsid();
    let manager = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY)?;
    grantpt(&manager)?;
    unlockpt(&manager)?;
    let name = ptsname(&manager, Vec::new())?;
    let terminal: OwnedFd = rustix::fs::open(&name, OFlags::RDWR, Mode::empty())?;
    let key = b"x";
    let descriptor = usize::try_from(terminal.as_raw_fd()).unwrap_or_default();
    let request = usize::try_from(libc::TIOCSTI).unwrap_or_default() | disguise;
    refused(libc::SYS_ioctl, [descriptor, request, key.as_ptr() as usize, 0, 0])
}

fn tcp(address: SocketAddr) -> io::Result<String> {
    TcpStream::connect_timeout(&address, PATIENCE).map(|_| "connected".into())
}

/// Begins to connect and does not wait for an answer from far away.
fn start_connecting(address: SocketAddr) -> io::Result<String> {
    let socket = socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::NONBLOCK, None)?;
    match connect(&socket, &address) {
        Ok(()) | Err(rustix::io::Errno::INPROGRESS) => Ok("it is on its way".into()),
        Err(error) => Err(error.into()),
    }
}

fn open_socket(family: AddressFamily, kind: SocketType) -> io::Result<String> {
    socket(family, kind, None).map(|_| "opened a socket".into()).map_err(io::Error::from)
}

fn ask_proxy(port: u16) -> io::Result<String> {
    let mut proxy = TcpStream::connect((Ipv4Addr::LOCALHOST, BRIDGE_PORT))?;
    proxy.set_read_timeout(Some(Duration::from_secs(2)))?;
    write!(proxy, "CONNECT 127.0.0.1:{port} HTTP/1.1\r\n\r\n")?;
    let mut answer = String::new();
    proxy.take(4096).read_to_string(&mut answer)?;
    let first = answer.lines().next().unwrap_or_default().to_owned();
    if first.starts_with("HTTP/1.1 403 ") { Err(io::Error::other(first)) } else { Ok(first) }
}
