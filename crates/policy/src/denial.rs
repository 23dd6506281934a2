//! Whether a failure was the sandbox's doing.

/// What programs and kernels print when a sandbox stops them.
const SIGNS: [&str; 7] = [
    "operation not permitted",
    "permission denied",
    "read-only file system",
    "seccomp",
    "sandbox",
    "landlock",
    "failed to write file",
];

/// Exit codes that shells use for mistakes of their own: wrong use, not executable, not found.
const SHELLS_OWN: [i32; 3] = [2, 126, 127];

/// The signal of a forbidden system call.
#[cfg(target_os = "linux")]
const SIGSYS: i32 = 31;

/// Guesses, as Codex does, whether a failed command was stopped by its sandbox.
///
/// `output` is what the command printed, or the part of it that was kept; `exit` and `signal` are how
/// it ended. Without a sandbox, or without a failure, the answer is no. The words come first, so that
/// a shell's own exit code with such words counts as a denial.
pub fn is_likely_sandbox_denied(
    is_sandboxed: bool,
    exit: Option<i32>,
    signal: Option<i32>,
    output: &[u8],
) -> bool {
    if !is_sandboxed || (exit == Some(0) && signal.is_none()) {
        return false;
    }
    if SIGNS.iter().any(|sign| contains(output, sign.as_bytes())) {
        return true;
    }
    if exit.is_some_and(|exit| SHELLS_OWN.contains(&exit)) {
        return false;
    }
    #[cfg(target_os = "linux")]
    let is_forbidden_call = exit == Some(128 + SIGSYS) || signal == Some(SIGSYS);
    #[cfg(not(target_os = "linux"))]
    let is_forbidden_call = false;
    is_forbidden_call
}

fn contains(text: &[u8], lower: &[u8]) -> bool {
    text.windows(lower.len()).any(|window| window.eq_ignore_ascii_case(lower))
}
