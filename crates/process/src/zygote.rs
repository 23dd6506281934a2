//! The zygote: a small process, forked before any thread exists, that forks one supervisor per program.
//!
//! It owns no program state. It is deaf to terminal signals, adopts what a killed supervisor leaves behind and
//! kills it, and outlives the program just long enough to see every supervisor gone. After an unclean end it
//! becomes the epilogue, if one is registered.
//!
//! A request on the socket is one byte and descriptors; everything bulky travels over the passed descriptor, so
//! that a slow requester never holds up the next one.

use std::collections::HashSet;
use std::io::{self, IoSliceMut, Read as _, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use rustix::process::{Pid, Signal, WaitOptions, wait};

use crate::entry::OwnProgram;
use crate::platform::{self, Descendants};
use crate::supervisor::{self, Handover};
use crate::wire::{Launch, Notice, Step, send_frame};
use crate::{clock, leader, sys};

/// Asks for a supervisor; carries its control socket and the program's three standard descriptors.
pub(crate) const REQUEST_SPAWN: u8 = b's';
/// Registers an epilogue; carries a socket on which the launch is written and acknowledged.
pub(crate) const REQUEST_EPILOGUE: u8 = b'e';
/// Announces a clean end: forget the epilogue.
pub(crate) const REQUEST_END: u8 = b'q';

/// The most descriptors that one request carries.
const MAX_DESCRIPTORS: usize = 4;

/// Signals that reach a whole terminal or service and are for the program to answer, not for us.
pub(crate) const DEAF_TO: [i32; 8] = [
    libc::SIGINT,
    libc::SIGTERM,
    libc::SIGHUP,
    libc::SIGQUIT,
    libc::SIGTSTP,
    libc::SIGUSR1,
    libc::SIGUSR2,
    libc::SIGPIPE,
];

/// How long to wait before looking again for strays that were not yet ours at the last look.
const STRAY_LOOK: Duration = Duration::from_millis(10);

/// Serves until the program has ended and everything it started is gone.
pub(crate) fn main(socket: UnixStream, own: Option<OwnProgram>) -> ! {
    // The caller's frames are below us on the stack: a panic must not unwind into a second copy of the program.
    let code = match catch_unwind(AssertUnwindSafe(|| serve(socket, own))) {
        Ok(Ok(())) => 0,
        Ok(Err(_)) | Err(_) => 1,
    };
    sys::exit_now(code)
}

fn serve(socket: UnixStream, own: Option<OwnProgram>) -> io::Result<()> {
    // Fails only for a process that leads a group already, and then the group is its own.
    let _ = rustix::process::setsid();
    sys::default_signals();
    sys::ignore_signals(&DEAF_TO);
    platform::adopt_orphans();
    platform::set_process_name(c"co-zygote");
    detach_standard_streams()?;
    platform::close_descriptors(3, socket.as_raw_fd());
    rustix::process::chdir(c"/")?;
    let bell = ChildBell::hang()?;
    Zygote {
        socket: Some(socket),
        own,
        bell,
        supervisors: HashSet::new(),
        strays: Descendants::new(),
        look_again: false,
        epilogue: None,
    }
    .run()
}

/// Lets go of the program's terminal and pipes, whose readers wait for the last holder to close them.
fn detach_standard_streams() -> io::Result<()> {
    let null = std::fs::File::options().read(true).write(true).open("/dev/null")?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(&null)?;
    rustix::stdio::dup2_stderr(&null)?;
    Ok(())
}

/// A socket that becomes readable when a child has ended.
pub(crate) struct ChildBell {
    ear: UnixStream,
    id: signal_hook::SigId,
}

impl ChildBell {
    pub(crate) fn hang() -> io::Result<Self> {
        let (ear, striker) = UnixStream::pair()?;
        ear.set_nonblocking(true)?;
        let id = signal_hook::low_level::pipe::register(libc::SIGCHLD, striker)?;
        Ok(Self { ear, id })
    }

    /// Takes the bell down, so that a forked supervisor can hang its own.
    pub(crate) fn take_down(self) {
        signal_hook::low_level::unregister(self.id);
    }

    pub(crate) fn poll_entry(&self) -> PollFd<'_> {
        PollFd::new(&self.ear, PollFlags::IN)
    }

    /// Swallows the rings heard so far; done before children are reaped, so that none is missed.
    pub(crate) fn silence(&self) {
        let mut rings = [0; 64];
        while matches!((&self.ear).read(&mut rings), Ok(count) if count > 0) {}
    }
}

struct Zygote {
    /// `None` once the program is gone.
    socket: Option<UnixStream>,
    /// What need not be executed, because it is us.
    own: Option<OwnProgram>,
    bell: ChildBell,
    supervisors: HashSet<Pid>,
    strays: Descendants,
    look_again: bool,
    epilogue: Option<Launch>,
}

impl Zygote {
    fn run(mut self) -> io::Result<()> {
        loop {
            let (asked, rung) = self.wait_for_work()?;
            let ended = asked && self.answer()?;
            // Once the program is gone, nobody waits for a child that is not there.
            if rung || ended || self.look_again {
                self.bell.silence();
                let family = self.reap();
                if self.socket.is_none() && !family {
                    return self.become_epilogue();
                }
            }
        }
    }

    fn wait_for_work(&self) -> io::Result<(bool, bool)> {
        let mut entries = vec![self.bell.poll_entry()];
        entries.extend(self.socket.as_ref().map(|socket| PollFd::new(socket, PollFlags::IN)));
        let timeout = self.look_again.then(|| clock::timespec(STRAY_LOOK));
        match poll(&mut entries, timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let mut ready = entries.iter().map(|entry| !entry.revents().is_empty());
        let rung = ready.next().unwrap_or(false);
        Ok((ready.next().unwrap_or(false), rung))
    }

    /// Reaps what has ended, kills what a lost supervisor left to us; says whether any child remains.
    fn reap(&mut self) -> bool {
        loop {
            match wait(WaitOptions::NOHANG) {
                Ok(Some((pid, _))) => {
                    self.supervisors.remove(&pid);
                    self.strays.forget(pid);
                }
                Ok(None) => break,
                Err(_) => {
                    self.look_again = false;
                    return false;
                }
            }
        }
        // Children that are not supervisors were handed to us by the end of one.
        self.look_again = self.strays.signal(Signal::KILL, None) > 0;
        true
    }

    /// Takes one request; says whether it was the end of the program.
    fn answer(&mut self) -> io::Result<bool> {
        let Some(socket) = &self.socket else { return Ok(false) };
        match receive(socket)? {
            None => {
                self.socket = None;
                return Ok(true);
            }
            Some((REQUEST_SPAWN, descriptors)) => self.spawn(descriptors),
            Some((REQUEST_EPILOGUE, descriptors)) => self.register_epilogue(descriptors),
            Some((_, _)) => self.epilogue = None,
        }
        Ok(false)
    }

    fn spawn(&mut self, descriptors: Vec<OwnedFd>) {
        let Ok([control, stdin, stdout, stderr]) = <[OwnedFd; 4]>::try_from(descriptors) else { return };
        match sys::fork() {
            Ok(sys::Fork::Parent(pid)) => {
                self.supervisors.insert(pid);
                self.strays.spare(pid);
            }
            Ok(sys::Fork::Child) => {
                self.socket = None;
                // The bell's own end is inherited: the supervisor hangs another.
                let Ok(bell) = ChildBell::hang() else { sys::exit_now(1) };
                std::mem::replace(&mut self.bell, bell).take_down();
                let handover = Handover { control: control.into(), stdin, stdout, stderr };
                supervisor::main(handover, self.own.as_ref(), &self.bell)
            }
            Err(error) => {
                let errno = error.raw_os_error().unwrap_or_default();
                let notice = Notice::Failed { step: Step::Fork, errno, path: Vec::new() };
                // If the program is gone too, nobody waits for the answer.
                drop(send_frame(&control, &notice.encode()));
            }
        }
    }

    fn register_epilogue(&mut self, descriptors: Vec<OwnedFd>) {
        let Ok([connection]) = <[OwnedFd; 1]>::try_from(descriptors) else { return };
        let mut connection = UnixStream::from(connection);
        let mut body = Vec::new();
        // A torn message means that the program died while registering: the earlier epilogue stands.
        if connection.read_to_end(&mut body).is_ok()
            && let Ok(launch) = Launch::decode(&body)
        {
            self.epilogue = Some(launch);
            drop(connection.write_all(&[REQUEST_EPILOGUE]));
        }
    }

    fn become_epilogue(self) -> io::Result<()> {
        let Some(launch) = self.epilogue else { return Ok(()) };
        sys::restore_signals(&DEAF_TO);
        rustix::process::chdir(&launch.cwd)?;
        Err(leader::execute(&launch).source)
    }
}

/// Takes one request off the socket; `None` when the program has closed its end.
fn receive(socket: &UnixStream) -> io::Result<Option<(u8, Vec<OwnedFd>)>> {
    let mut byte = [0];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let received = loop {
        match recvmsg(socket, &mut [IoSliceMut::new(&mut byte)], &mut ancillary, RecvFlags::empty()) {
            Err(rustix::io::Errno::INTR) => {}
            Err(rustix::io::Errno::CONNRESET) => return Ok(None),
            other => break other?,
        }
    };
    let mut descriptors = Vec::new();
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(passed) = message {
            descriptors.extend(passed);
        }
    }
    for descriptor in &descriptors {
        rustix::io::fcntl_setfd(descriptor, rustix::io::FdFlags::CLOEXEC)?;
    }
    Ok((received.bytes > 0).then_some((byte[0], descriptors)))
}
