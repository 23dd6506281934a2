//! A supervisor: the parent of one leader, and of everything that the leader leaves behind.
//!
//! One process per program, forked by the zygote. It starts the leader, reports what happens over its control
//! socket and ends when no descendant is left. When the control socket closes, however the program ended, it
//! kills every descendant first.

use std::io::{self, Read as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, WaitOptions, getpid, wait};

use crate::entry::OwnProgram;
use crate::platform::{self, Descendants};
use crate::wire::{FrameBuffer, Launch, Notice, Order, Received, Step, send_frame};
use crate::zygote::ChildBell;
use crate::{clock, leader, sys};

/// The first pause between two killing rounds; it doubles up to [`LAST_ROUND_PAUSE`].
const FIRST_ROUND_PAUSE: Duration = Duration::from_millis(2);
const LAST_ROUND_PAUSE: Duration = Duration::from_millis(250);

/// The descriptors that a request hands over.
pub(crate) struct Handover {
    pub(crate) control: UnixStream,
    pub(crate) stdin: OwnedFd,
    pub(crate) stdout: OwnedFd,
    pub(crate) stderr: OwnedFd,
}

/// Runs one program to the end of its last descendant.
pub(crate) fn main(handover: Handover, own: Option<&OwnProgram>, bell: &ChildBell) -> ! {
    // The zygote catches panics for us: we are below its frames.
    sys::exit_now(i32::from(supervise(handover, own, bell).is_err()))
}

fn supervise(handover: Handover, own: Option<&OwnProgram>, bell: &ChildBell) -> io::Result<()> {
    // A session of our own: a signal to the zygote's group is not meant for us.
    rustix::process::setsid()?;
    platform::adopt_orphans();
    platform::set_process_name(c"co-supervisor");
    let mut inbox = FrameBuffer::default();
    let Some(launch) = receive_launch(&handover.control, &mut inbox)? else { return Ok(()) };
    if is_abandoned(&handover.control) {
        // The program died while the launch was on its way: a new owner may be about to start the same.
        return Ok(());
    }

    let (reader, writer) = io::pipe()?;
    let supervisor = getpid();
    match sys::fork() {
        Ok(sys::Fork::Child) => leader::main(&launch, own, &handover, supervisor, writer),
        Ok(sys::Fork::Parent(leader)) => {
            drop(writer);
            let Handover { control, stdin, stdout, stderr } = handover;
            // The streams belong to the group now: their other ends must see it close them.
            drop((stdin, stdout, stderr));
            Supervisor {
                control: Some(control),
                inbox,
                bell,
                leader,
                start: Some(reader),
                descendants: Descendants::new(),
                killing: None,
                childless: false,
            }
            .run()
        }
        Err(error) => {
            let errno = error.raw_os_error().unwrap_or_default();
            send_frame(
                &handover.control,
                &Notice::Failed { step: Step::Fork, errno, path: Vec::new() }.encode(),
            )
        }
    }
}

fn receive_launch(control: &UnixStream, inbox: &mut FrameBuffer) -> io::Result<Option<Launch>> {
    loop {
        if let Some(body) = inbox.next().map_err(io::Error::other)? {
            return Launch::decode(&body).map(Some).map_err(io::Error::other);
        }
        if inbox.fill(control)? == Received::End {
            return Ok(None);
        }
    }
}

/// Whether the program has closed its end already.
fn is_abandoned(control: &UnixStream) -> bool {
    let mut entries = [PollFd::new(control, PollFlags::empty())];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut entries, Some(&now)).is_ok() && !entries[0].revents().is_empty()
}

/// When the next killing round is due, and how long to pause after it.
struct Killing {
    round_at: Instant,
    pause: Duration,
}

struct Supervisor<'bell> {
    /// `None` once the program is gone.
    control: Option<UnixStream>,
    inbox: FrameBuffer,
    bell: &'bell ChildBell,
    leader: Pid,
    /// Open until the leader's `exec` has succeeded or failed.
    start: Option<io::PipeReader>,
    descendants: Descendants,
    killing: Option<Killing>,
    /// Set when every child is reaped, which ends the group only where orphans become our children.
    childless: bool,
}

impl Supervisor<'_> {
    fn run(mut self) -> io::Result<()> {
        // Orders that came together with the launch ring no bell of their own.
        self.obey();
        self.kill_when_due();
        loop {
            let ready = self.wait_for_work()?;
            if ready.start {
                self.learn_start();
            }
            if ready.bell || self.killing.is_some() || self.childless {
                self.bell.silence();
                if !self.reap()? {
                    self.report(&Notice::GroupEmpty { killed: self.descendants.killed() });
                    return Ok(());
                }
            }
            if ready.control {
                self.take_orders();
            }
            self.kill_when_due();
        }
    }

    fn wait_for_work(&self) -> io::Result<Ready> {
        let round_at = self.killing.as_ref().map(|killing| killing.round_at);
        let look_at = platform::GROUP_LOOK.filter(|_| self.childless).map(|pause| Instant::now() + pause);
        let timeout = clock::until([round_at, look_at]);
        let mut entries = vec![self.bell.poll_entry()];
        let control = self.control.as_ref().map(|control| {
            entries.push(PollFd::new(control, PollFlags::IN));
            entries.len() - 1
        });
        let start = self.start.as_ref().map(|start| {
            entries.push(PollFd::new(start, PollFlags::IN));
            entries.len() - 1
        });
        match poll(&mut entries, timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let is_ready = |index: Option<usize>| {
            index.and_then(|index| entries.get(index)).is_some_and(|entry| !entry.revents().is_empty())
        };
        Ok(Ready { bell: is_ready(Some(0)), control: is_ready(control), start: is_ready(start) })
    }

    /// Reads how the start went: the pipe closes empty when `exec` succeeded.
    fn learn_start(&mut self) {
        let Some(mut start) = self.start.take() else { return };
        let mut message = Vec::new();
        // Short of an end of file there is nothing to learn, and the leader's exit will tell the rest.
        drop(start.read_to_end(&mut message));
        let pid = self.leader.as_raw_pid();
        let notice = match message.split_first_chunk::<5>() {
            Some(([step, errno @ ..], path)) => Notice::Failed {
                step: Step::from_byte(*step).unwrap_or(Step::Exec),
                errno: i32::from_le_bytes(*errno),
                path: path.to_vec(),
            },
            None => Notice::Started { pid, start_time: platform::start_time(pid).unwrap_or_default() },
        };
        self.report(&notice);
    }

    /// Reaps every ended child; says whether any is left.
    fn reap(&mut self) -> io::Result<bool> {
        loop {
            match wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) if pid == self.leader => {
                    self.learn_start();
                    self.report(&Notice::LeaderExited { status: status.as_raw() });
                }
                Ok(Some(_)) | Err(rustix::io::Errno::INTR) => {}
                Ok(None) => return Ok(true),
                Err(rustix::io::Errno::CHILD) => {
                    self.childless = true;
                    return Ok(platform::group_outlives_children(self.leader));
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn take_orders(&mut self) {
        let Some(control) = &self.control else { return };
        let ended = !matches!(self.inbox.fill(control), Ok(Received::Bytes));
        self.obey();
        if ended {
            self.abandon();
        }
    }

    fn obey(&mut self) {
        loop {
            match self.inbox.next().map(|body| body.map(|body| Order::decode(&body))) {
                Ok(Some(Ok(Order::Signal(raw)))) => self.signal(raw),
                Ok(Some(Ok(Order::KillAll))) => self.start_killing(),
                Ok(None) => return,
                // A control connection that speaks nonsense is as good as none.
                Ok(Some(Err(_))) | Err(_) => return self.abandon(),
            }
        }
    }

    /// Nobody is listening any more: nothing may survive.
    fn abandon(&mut self) {
        self.control = None;
        self.start_killing();
    }

    fn signal(&mut self, raw: i32) {
        let Some(signal) = Signal::from_named_raw(raw) else { return };
        self.descendants.signal(signal, Some(self.leader));
        // A stopped process acts on a signal only once it is woken.
        if matches!(signal, Signal::TERM | Signal::INT | Signal::HUP) {
            self.descendants.signal(Signal::CONT, Some(self.leader));
        }
    }

    fn start_killing(&mut self) {
        self.killing.get_or_insert(Killing { round_at: Instant::now(), pause: FIRST_ROUND_PAUSE });
    }

    /// Kills in rounds: what was forked during a look is found by the next one.
    fn kill_when_due(&mut self) {
        let Some(killing) = &mut self.killing else { return };
        let now = Instant::now();
        if now < killing.round_at {
            return;
        }
        killing.round_at = now + killing.pause;
        killing.pause = (killing.pause * 2).min(LAST_ROUND_PAUSE);
        self.descendants.signal(Signal::KILL, Some(self.leader));
    }

    fn report(&self, notice: &Notice) {
        if let Some(control) = &self.control {
            // If the program has just died, the closed socket tells us next.
            drop(send_frame(control.as_fd(), &notice.encode()));
        }
    }
}

struct Ready {
    bell: bool,
    control: bool,
    start: bool,
}
