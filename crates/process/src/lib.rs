//! Programs as whole groups: spawning, capture, time-outs, containment.
//!
//! ```text
//!  our program ──request──► zygote ──fork──► supervisor ──fork, exec──► leader ──► its descendants
//!        ▲  │                                     ▲ │                      │
//!        │  └──────────── control socket ─────────┘ │ adopts, reaps, kills │
//!        └────────────── output pipes or terminal ──┴──────────────────────┘
//! ```
//!
//! - [`Spawner`] forks a *zygote* before the program has threads. The zygote forks one *supervisor* per program.
//! - [`run`] starts a program and follows it until its group is empty and its output is drained.
//! - [`LiveInput`] tells a running program more: bytes to read, another terminal size, signals.
//! - [`OutputLog`] reads back what was captured, byte for byte.
//! - [`ProcessIdentity`] and [`kill_all_marked`] serve recovery after everything of ours was killed.
//! - [`Tool`] runs small trusted helpers such as `git`.
//! - [`Handover`] starts a program of ours that outlives us.
//!
//! **Who ends what.** A supervisor kills every descendant when it is told to, and when its control socket closes,
//! which the death of our program does. If a supervisor is killed, its leader dies with it, and the zygote
//! kills the orphans. If the zygote is killed, running programs go on under their supervisors, and no new ones
//! can start. If all of them are killed at once, leaders still die; what they had started is found by its
//! environment ([`kill_all_marked`]). [`containment`] says what the platform gives: all of this on Linux, the
//! leader's process group elsewhere.
//!
//! The room writes to pipes and relies on SIGPIPE being ignored, as Rust's runtime sets it up.

#[cfg(not(unix))]
compile_error!("co-process needs a Unix: process groups, sockets that pass descriptors, terminals");

mod capture;
mod channels;
mod clock;
mod entry;
mod excerpt;
mod handover;
mod identity;
mod leader;
mod live;
mod output_log;
mod platform;
mod program;
mod run;
mod spawner;
mod stop;
mod supervisor;
mod sys;
mod tool;
mod wire;
mod zygote;

pub use capture::LogWriter;
pub use entry::Entry;
pub use excerpt::{Excerpt, HEAD_BYTES, TAIL_BYTES, plain_text};
pub use handover::{Handover, HandoverError};
pub use identity::{
    ParseIdentityError, ProcessIdentity, SurvivorsError, current_process, find_marked, is_in_foreground,
    kill_all, kill_all_marked, session_leader,
};
pub use live::{InputError, LiveInput, OFFER_BYTES, QUEUE_BYTES, Signal};
pub use output_log::{Chunk, Follower, OutputLog, Stream, StreamReader, read_stream};
pub use platform::{Containment, containment};
pub use program::{
    Capture, Exit, LeaderExit, Limits, Observer, Program, Report, RunError, StartError, Stdin, StreamStats,
    Terminal,
};
pub use run::run;
pub use spawner::{Epilogue, EpilogueError, ForkError, ShutdownError, Spawner};
pub use stop::{Shutdown, StopSignal};
pub use tool::{Tool, ToolError, ToolOutput};
