//! The filter of system calls. What is refused is refused with EPERM, so that programs can cope.
//!
//! The list is Codex's (no ptrace, no io_uring, sockets of this machine only), widened by what namespaces and
//! mounts make possible, and narrowed where refusing gained nothing: `shutdown`, `getsockopt` and the like, which
//! runtimes call on the socket pairs that they make for their children.

use std::collections::BTreeMap;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch, apply_filter, sock_filter,
};

use super::confine::ConfineError;
use crate::plan::Reach;

/// Never needed by a tool, and each a way out or a way in: other processes, mounts, namespaces, the kernel itself.
const REFUSED: &[i64] = &[
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_process_madvise,
    libc::SYS_pidfd_getfd,
    libc::SYS_kcmp,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    libc::SYS_setns,
    libc::SYS_unshare,
    libc::SYS_open_by_handle_at,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_kexec_file_load,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_acct,
    libc::SYS_quotactl,
    libc::SYS_syslog,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_adjtimex,
    libc::SYS_clock_adjtime,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_vhangup,
];

/// Without a network: a socket pair is all there is, and nothing is reached with it.
const REFUSED_OFFLINE: &[i64] = &[
    libc::SYS_connect,
    libc::SYS_bind,
    libc::SYS_listen,
    libc::SYS_accept,
    libc::SYS_accept4,
    libc::SYS_sendmmsg,
];

const NEW_NAMESPACES: u64 = (libc::CLONE_NEWUSER
    | libc::CLONE_NEWNS
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWCGROUP) as u64;

const SOCKET_TYPE: u64 = 0xf;

// Classic BPF, for what the compiler of filters cannot say.
const LOAD_WORD: u16 = 0x20;
const JUMP_IF_EQUAL: u16 = 0x15;
#[cfg(target_arch = "x86_64")]
const JUMP_IF_AT_LEAST: u16 = 0x35;
const RETURN: u16 = 0x06;

/// Restricts this thread and everything it starts from now on.
pub(super) fn restrict(reach: Reach) -> Result<(), ConfineError> {
    let program = program(reach).map_err(|error| ConfineError::Seccomp(error.to_string()))?;
    apply_filter(&program).map_err(|error| ConfineError::Seccomp(error.to_string()))
}

fn program(reach: Reach) -> Result<BpfProgram, seccompiler::BackendError> {
    let architecture = TargetArch::try_from(std::env::consts::ARCH)?;
    let refuse = SeccompAction::Errno(libc::EPERM.unsigned_abs());
    let filter = SeccompFilter::new(rules(reach)?, SeccompAction::Allow, refuse, architecture)?;
    let mut program = prologue();
    program.extend(BpfProgram::try_from(filter)?);
    Ok(program)
}

fn rules(reach: Reach) -> Result<BTreeMap<i64, Vec<SeccompRule>>, seccompiler::BackendError> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = REFUSED.iter().map(|&call| (call, Vec::new())).collect();
    // A new namespace would bring its maker every privilege inside it.
    for flag in (0..u64::BITS).map(|bit| 1 << bit).filter(|flag| NEW_NAMESPACES & flag != 0) {
        let has_flag = condition(0, SeccompCmpOp::MaskedEq(flag), flag)?;
        rules.entry(libc::SYS_clone).or_default().push(SeccompRule::new(vec![has_flag])?);
    }
    // Typing into the terminal of whoever started us. Only the lower half is compared: the kernel ignores the rest.
    for request in [libc::TIOCSTI, libc::TIOCLINUX] {
        let is_request = condition(1, SeccompCmpOp::Eq, request)?;
        rules.entry(libc::SYS_ioctl).or_default().push(SeccompRule::new(vec![is_request])?);
    }
    let families: &[i32] = match reach {
        Reach::Nothing => &[libc::AF_UNIX],
        // Sockets of the host with a path would still be reachable, so there are none of that family.
        Reach::AllowedHosts => &[libc::AF_INET, libc::AF_INET6],
        Reach::Everything => &[libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK],
    };
    let of_no_family = families
        .iter()
        .map(|&family| condition(0, SeccompCmpOp::Ne, u64::from(family.unsigned_abs())))
        .collect::<Result<_, _>>()?;
    rules.entry(libc::SYS_socket).or_default().push(SeccompRule::new(of_no_family)?);
    let not_local = condition(0, SeccompCmpOp::Ne, u64::from(libc::AF_UNIX.unsigned_abs()))?;
    rules.entry(libc::SYS_socketpair).or_default().push(SeccompRule::new(vec![not_local])?);
    if reach != Reach::Everything {
        // A datagram can be sent to any socket that has a path, without connecting first.
        for call in [libc::SYS_socket, libc::SYS_socketpair] {
            for kind in [libc::SOCK_DGRAM, libc::SOCK_RAW] {
                let local = condition(0, SeccompCmpOp::Eq, u64::from(libc::AF_UNIX.unsigned_abs()))?;
                let kind = condition(1, SeccompCmpOp::MaskedEq(SOCKET_TYPE), u64::from(kind.unsigned_abs()))?;
                rules.entry(call).or_default().push(SeccompRule::new(vec![local, kind])?);
            }
        }
    }
    if reach == Reach::Nothing {
        rules.extend(REFUSED_OFFLINE.iter().map(|&call| (call, Vec::new())));
        // `send` is `sendto` without an address, and fine.
        let address = SeccompCondition::new(4, SeccompCmpArgLen::Qword, SeccompCmpOp::Ne, 0)?;
        rules.insert(libc::SYS_sendto, vec![SeccompRule::new(vec![address])?]);
    }
    Ok(rules)
}

fn condition(
    argument: u8,
    operator: SeccompCmpOp,
    value: u64,
) -> Result<SeccompCondition, seccompiler::BackendError> {
    SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operator, value)
}

/// Runs before the compiled filter, which begins by loading what it needs anew.
fn prologue() -> BpfProgram {
    let refuse = |errno: i32| instruction(RETURN, 0, 0, libc::SECCOMP_RET_ERRNO | errno.unsigned_abs());
    let call = |number: i64| u32::try_from(number).unwrap_or(u32::MAX);
    let mut program = vec![
        instruction(LOAD_WORD, 0, 0, 0),
        // Its flags are behind a pointer, where no filter can look: programs fall back to `clone`.
        instruction(JUMP_IF_EQUAL, 0, 1, call(libc::SYS_clone3)),
        refuse(libc::ENOSYS),
    ];
    // The second set of numbers for the same calls on this architecture, which would pass every rule.
    #[cfg(target_arch = "x86_64")]
    program.extend([instruction(JUMP_IF_AT_LEAST, 0, 1, 0x4000_0000), refuse(libc::EPERM)]);
    program.shrink_to_fit();
    program
}

fn instruction(code: u16, jump_true: u8, jump_false: u8, value: u32) -> sock_filter {
    sock_filter { code, jt: jump_true, jf: jump_false, k: value }
}
