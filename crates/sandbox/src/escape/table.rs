//! The attempts, by name: what each is, what should hold it, and where it counts.

use co_model::SandboxMode;

use super::{Course, CourseNetwork};

/// One way to break out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Escape {
    /// Its name; never changes.
    pub name: &'static str,
    /// What holds it: `bubblewrap`, `seccomp` or `landlock`.
    pub layer: &'static str,
    /// What is tried, for people.
    pub about: &'static str,
    modes: Modes,
    networks: Networks,
    /// What holds it without bubblewrap.
    alone: Alone,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Modes {
    Every,
    ReadOnly,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Networks {
    Every,
    /// Unless the network is open.
    Closed,
    Allowed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Alone {
    By(&'static str),
    /// Only where nothing may be written at all.
    ReadOnly(&'static str),
    Nothing,
}

impl Escape {
    /// What should hold this attempt under a course; `None` if it is not expected to be held.
    pub fn held_by(&self, course: &Course<'_>, has_namespaces: bool) -> Option<&'static str> {
        let is_read_only = course.mode == SandboxMode::ReadOnly;
        let counts = (self.modes == Modes::Every || is_read_only)
            && match self.networks {
                Networks::Every => true,
                Networks::Closed => course.network != CourseNetwork::On,
                Networks::Allowed => course.network == CourseNetwork::Allowed,
            };
        let layer = match self.alone {
            _ if has_namespaces => Some(self.layer),
            Alone::By(layer) => Some(layer),
            Alone::ReadOnly(layer) => is_read_only.then_some(layer),
            Alone::Nothing => None,
        };
        layer.filter(|_| counts)
    }
}

/// The program that outlives its group is tried by itself; all others are made in one run.
pub(super) const SURVIVOR: &str = "survivor-of-the-group";

const BWRAP: &str = "bubblewrap";
const SECCOMP: &str = "seccomp";
const LANDLOCK: &str = "landlock";

const fn escape(name: &'static str, layer: &'static str, alone: Alone, about: &'static str) -> Escape {
    Escape { name, layer, about, modes: Modes::Every, networks: Networks::Every, alone }
}

const fn closed(name: &'static str, layer: &'static str, alone: Alone, about: &'static str) -> Escape {
    Escape { networks: Networks::Closed, ..escape(name, layer, alone, about) }
}

static SUITE: &[Escape] = &[
    escape("write-outside", BWRAP, Alone::By(LANDLOCK), "a new file outside the workspace"),
    Escape {
        modes: Modes::ReadOnly,
        ..escape("write-workspace", BWRAP, Alone::By(LANDLOCK), "a new file in a read-only workspace")
    },
    escape(
        "write-through-link",
        BWRAP,
        Alone::By(LANDLOCK),
        "a file outside, through a link in the workspace",
    ),
    escape(
        "write-hard-link",
        BWRAP,
        Alone::By(LANDLOCK),
        "a file outside, by a second name in the workspace",
    ),
    escape("write-repository", BWRAP, Alone::ReadOnly(LANDLOCK), "a hook in `.git`"),
    escape("replace-repository", BWRAP, Alone::ReadOnly(LANDLOCK), "another folder in the place of `.git`"),
    escape("create-settings", BWRAP, Alone::ReadOnly(LANDLOCK), "a `.codex` where there is none"),
    escape("write-skills", BWRAP, Alone::ReadOnly(LANDLOCK), "a file in `.agents`"),
    escape(
        "write-records",
        BWRAP,
        Alone::ReadOnly(LANDLOCK),
        "a file in a protected folder of the workspace",
    ),
    escape(
        "replace-records",
        BWRAP,
        Alone::ReadOnly(LANDLOCK),
        "another folder in the place of one above a protected one",
    ),
    escape("write-kernel-settings", BWRAP, Alone::By(LANDLOCK), "a setting below `/proc/sys`"),
    escape("write-kernel-trigger", BWRAP, Alone::By(LANDLOCK), "`/proc/sysrq-trigger`"),
    escape("write-system-tree", BWRAP, Alone::By(LANDLOCK), "a control group below `/sys`"),
    escape(
        "write-named-pipe",
        LANDLOCK,
        Alone::By(LANDLOCK),
        "a pipe of the host, which a read-only mount leaves open",
    ),
    escape("write-device", BWRAP, Alone::By(LANDLOCK), "memory, the kernel's log, a disk"),
    escape("make-device", BWRAP, Alone::By(LANDLOCK), "a device of one's own"),
    escape("read-secret-file", BWRAP, Alone::Nothing, "a protected file"),
    escape("read-secret-folder", BWRAP, Alone::Nothing, "a file in a protected folder"),
    escape("read-environment", BWRAP, Alone::By(LANDLOCK), "the variables of a process of the host"),
    escape("read-memory", BWRAP, Alone::By(LANDLOCK), "the memory of a process of the host"),
    escape("open-init-memory", BWRAP, Alone::By(LANDLOCK), "the memory of process 1"),
    escape("trace-parent", SECCOMP, Alone::By(SECCOMP), "control over the parent"),
    escape("trace-process", SECCOMP, Alone::By(SECCOMP), "control over a process of the host"),
    escape("copy-memory", SECCOMP, Alone::By(SECCOMP), "memory of another process, by a call of its own"),
    escape("signal-process", BWRAP, Alone::By(LANDLOCK), "the end of a process of the host"),
    escape("mount", SECCOMP, Alone::By(SECCOMP), "an empty file system over the workspace"),
    escape("remount", SECCOMP, Alone::By(SECCOMP), "the whole tree, writable again"),
    escape("enter-namespace", SECCOMP, Alone::By(SECCOMP), "the namespace of another process"),
    escape("change-root", SECCOMP, Alone::By(SECCOMP), "another root folder"),
    escape(
        "asynchronous-calls",
        SECCOMP,
        Alone::By(SECCOMP),
        "system calls that no filter sees, through io_uring",
    ),
    escape("kernel-program", SECCOMP, Alone::By(SECCOMP), "a program in the kernel, through bpf"),
    escape("keyring", SECCOMP, Alone::By(SECCOMP), "the user's keys in the kernel"),
    escape(
        "privileges",
        BWRAP,
        Alone::By("no-new-privileges"),
        "any capability that is left or can come back",
    ),
    closed("tcp-v4-loopback", BWRAP, Alone::By(SECCOMP), "a server of this machine"),
    closed("tcp-v6-loopback", BWRAP, Alone::By(SECCOMP), "a server of this machine, over IPv6"),
    closed("udp-loopback", BWRAP, Alone::By(SECCOMP), "a server of this machine, without a connection"),
    closed("tcp-outside", BWRAP, Alone::By(SECCOMP), "another machine"),
    closed("netlink", SECCOMP, Alone::By(SECCOMP), "the kernel's tables of the network"),
    escape("vsock", SECCOMP, Alone::By(SECCOMP), "the machine that this one runs in"),
    escape("packet", SECCOMP, Alone::By(SECCOMP), "the network's own frames"),
    escape(
        "abstract-socket",
        LANDLOCK,
        Alone::By(LANDLOCK),
        "a server of this machine, by a name without a path",
    ),
    closed("bus-socket", SECCOMP, Alone::By(SECCOMP), "a bus or an agent of the user, by its path"),
    closed("bus-datagram", SECCOMP, Alone::By(SECCOMP), "a service of the user, with a datagram"),
    closed("bus-datagram-pair", SECCOMP, Alone::By(SECCOMP), "the same, from a pair of sockets"),
    Escape {
        networks: Networks::Allowed,
        ..escape(
            "proxy-unnamed-host",
            "egress-proxy",
            Alone::Nothing,
            "a host that no rule names, through the proxy",
        )
    },
    escape("terminal-injection", SECCOMP, Alone::By(SECCOMP), "keys typed into a terminal"),
    escape(
        "terminal-injection-high",
        SECCOMP,
        Alone::By(SECCOMP),
        "the same, by a number that only looks different",
    ),
    escape("user-namespace", SECCOMP, Alone::By(SECCOMP), "every privilege, in a namespace of one's own"),
    escape(SURVIVOR, BWRAP, Alone::Nothing, "a life after the group, in a session of one's own"),
];

/// Every attempt that is known, in the order in which they are made.
pub fn suite() -> &'static [Escape] {
    SUITE
}
