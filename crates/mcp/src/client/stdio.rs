//! A server that is a program: started with what its definition gives it, ended with its whole group.

use std::io;
use std::pin::Pin;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use co_config::McpTransport;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::{Instant, sleep, timeout};

use super::{Caller, ClientError};

/// What a server gets of our environment besides what its definition names; Codex's list, and the mark by which
/// what a lost run left behind is found.
const PASSED_ON: [&str; 15] = [
    "HOME",
    "LOGNAME",
    "PATH",
    "SHELL",
    "USER",
    "__CF_USER_TEXT_ENCODING",
    "LANG",
    "LC_ALL",
    "TERM",
    "TMPDIR",
    "TEMP",
    "TMP",
    "TZ",
    "CODEX_ORCHESTRATOR_RUN_ID",
    "CODEX_SANDBOX_NETWORK_DISABLED",
];
/// How long a server has to end after its input has.
const GRACE: Duration = Duration::from_secs(1);
/// How often its end is looked for.
const LOOK: Duration = Duration::from_millis(5);
/// How much is kept of a line that is no message, in bytes.
const STRANGER: usize = 200;

/// The first line a server printed that is no message.
pub(super) type Strangers = Arc<Mutex<Option<String>>>;

/// A server's program, leader of its own group. Dropped, the group is killed.
pub(super) struct ServerProcess {
    child: Child,
    group: Option<Pid>,
}

impl ServerProcess {
    pub(super) fn start(
        caller: &Caller<'_>,
        strangers: &Strangers,
    ) -> Result<(Self, Output, ChildStdin), ClientError> {
        let server = caller.name.to_owned();
        let McpTransport::Stdio { command, args, env, env_vars, cwd } = &caller.server.transport else {
            return Err(ClientError::Handshake {
                server,
                detail: "it is no program".to_owned(),
                printed: None,
            });
        };
        let cwd = cwd.as_ref().map_or_else(|| caller.cwd.to_owned(), |cwd| caller.cwd.join(cwd));
        let mut program = Command::new(command);
        program.args(args).env_clear().current_dir(cwd).process_group(0).kill_on_drop(true);
        program.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        for name in PASSED_ON {
            program.envs(caller.environment.get(name).map(|value| (name, value)));
        }
        for name in env_vars {
            match caller.environment.get(name) {
                Some(value) => drop(program.env(name, value)),
                None => (caller.note)(&format!(
                    "the MCP server `{server}` is to get the variable `{name}`, which is not set"
                )),
            }
        }
        program.envs(env.iter().map(|(name, value)| (name, value.reveal())));
        let start = |source| ClientError::Start { server: server.clone(), command: command.clone(), source };
        let mut child = program.spawn().map_err(start)?;
        let group = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        let pipes = child.stdout.take().zip(child.stdin.take());
        let (output, input) = pipes.ok_or_else(|| start(io::ErrorKind::BrokenPipe.into()))?;
        let output = Output { inner: output, strangers: Arc::clone(strangers), line: Vec::new() };
        Ok((Self { child, group }, output, input))
    }

    /// How it ended, if it does so in the next moment.
    pub(super) async fn how_it_ended(&mut self) -> Option<String> {
        self.leader_gone(GRACE / 4).await.then_some(())?;
        self.kill_group();
        timeout(GRACE, self.child.wait()).await.ok()?.ok().map(said)
    }

    /// Waits for it to end by itself now that its input has ended, and ends what is left of its group.
    pub(super) async fn end(mut self) {
        if !self.leader_gone(GRACE).await {
            self.signal(Signal::TERM);
            self.leader_gone(GRACE).await;
        }
        self.kill_group();
        // Killed, it is gone in a moment; who it was is of no interest.
        drop(timeout(GRACE, self.child.wait()).await);
    }

    /// Whether the leader ends within a while. It is left to be waited for, so that its group's id stays its own.
    async fn leader_gone(&self, patience: Duration) -> bool {
        let Some(pid) = self.group else { return true };
        let until = Instant::now() + patience;
        loop {
            let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
            match waitid(WaitId::Pid(pid), options) {
                Ok(Some(_)) | Err(_) => return true,
                Ok(None) if Instant::now() >= until => return false,
                Ok(None) => sleep(LOOK).await,
            }
        }
    }

    fn signal(&self, signal: Signal) {
        if let Some(group) = self.group {
            // Nobody may be left to hear it.
            kill_process_group(group, signal).ok();
        }
    }

    fn kill_group(&mut self) {
        self.signal(Signal::KILL);
        self.group = None;
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        self.kill_group();
    }
}

fn said(status: ExitStatus) -> String {
    status.to_string()
}

/// A server's output, of which the first line that is no message is remembered: the SDK passes over such lines
/// without a word.
pub(super) struct Output {
    inner: ChildStdout,
    strangers: Strangers,
    /// The beginning of the line that is being read.
    line: Vec<u8>,
}

impl Output {
    fn look(&mut self, bytes: &[u8]) {
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            let room = STRANGER.saturating_sub(self.line.len());
            self.line.extend(part.iter().take(room));
            if part.ends_with(b"\n") || room <= part.len() {
                let begins = self.line.iter().find(|byte| !byte.is_ascii_whitespace());
                if begins.is_some_and(|byte| !matches!(byte, b'{' | b'[')) {
                    let mut strangers = self.strangers.lock().unwrap_or_else(PoisonError::into_inner);
                    strangers.get_or_insert_with(|| String::from_utf8_lossy(&self.line).trim().to_owned());
                }
            }
            if part.ends_with(b"\n") {
                self.line.clear();
            }
        }
    }
}

impl AsyncRead for Output {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buffer.filled().len();
        ready!(Pin::new(&mut this.inner).poll_read(context, buffer))?;
        let read = buffer.filled().get(before..).unwrap_or_default().to_vec();
        this.look(&read);
        Poll::Ready(Ok(()))
    }
}
