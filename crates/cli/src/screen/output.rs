//! The output of one attempt, read as it grows. What cannot be kept up with is left out and said so.

use std::io;
use std::path::PathBuf;

use co_agents::Transcript;
use co_engine::RunState;
use co_hud::LogStream;
use co_model::Stage;
use co_process::{Follower, OutputLog, Stream};
use co_views::Layout;

use super::agent;

/// How much is read at a time.
const PIECE: usize = 64 << 10;

pub(super) struct Tail {
    path: PathBuf,
    output: OutputLog,
    /// How far back reading begins, and how far it may fall behind.
    reach: u64,
    follower: Option<Follower>,
    /// Reads what an agent prints.
    transcript: Option<Box<dyn Transcript + Send>>,
    ended: bool,
}

impl Tail {
    /// Names the output; it need not exist yet.
    pub(super) fn new(layout: &Layout, state: &RunState, stage: &Stage, attempt: u32, reach: u64) -> Self {
        let (task, run) = (&state.created.task, state.run());
        let path = layout.attempt_log(task, run, &stage.id, attempt);
        let output = OutputLog::new(path.clone(), layout.attempt_index(task, run, &stage.id, attempt));
        let transcript = agent::transcript(state, stage);
        Self { path, output, reach, follower: None, transcript, ended: false }
    }

    /// Takes what has been written since; says whether there was anything. `is_over` tells that
    /// nothing more will be written.
    pub(super) fn read(&mut self, is_over: bool, mut take: impl FnMut(LogStream, &[u8])) -> bool {
        if self.ended {
            return false;
        }
        match self.read_on(is_over, &mut take) {
            Ok(any) => {
                self.ended = is_over;
                any
            }
            // The attempt has not begun to write, or never did.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.ended = is_over;
                false
            }
            Err(error) => {
                self.ended = true;
                take(LogStream::Note, format!("the output cannot be read: {error}\n").as_bytes());
                true
            }
        }
    }

    fn read_on(&mut self, is_over: bool, take: &mut dyn FnMut(LogStream, &[u8])) -> io::Result<bool> {
        let length = std::fs::metadata(&self.path)?.len();
        let position = self.follower.as_ref().map_or(0, Follower::position);
        let behind = length.saturating_sub(position);
        let follower = match &mut self.follower {
            Some(follower) if behind <= self.reach => follower,
            stale => {
                let from = length.saturating_sub(self.reach).max(position);
                if from > position {
                    let left_out = from - position;
                    let note = format!("… {left_out} bytes are left out here; the log file has them\n");
                    take(LogStream::Note, note.as_bytes());
                }
                stale.insert(self.output.follow(from)?)
            }
        };
        if is_over {
            follower.finish();
        }
        let mut any = false;
        while follower.position() < length
            && let Some(chunk) = follower.next(PIECE)?
        {
            any = true;
            let stream = match chunk.stream {
                Stream::Stdout | Stream::Terminal => LogStream::Output,
                Stream::Stderr => LogStream::Error,
            };
            match &mut self.transcript {
                Some(transcript) if stream == LogStream::Output => {
                    transcript.push(&chunk.bytes, &mut |observed| {
                        if let Some(words) = agent::words(&observed) {
                            take(stream, format!("{words}\n").as_bytes());
                        }
                    });
                }
                _ => take(stream, &chunk.bytes),
            }
        }
        Ok(any)
    }
}
