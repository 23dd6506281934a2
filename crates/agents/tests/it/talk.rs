//! Starts what a driver prepared and speaks with it in both directions, as the runtime does in the product.

use std::ffi::OsString;
use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ChildStdin};
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use co_agents::{
    AgentExit, AgentObservation, AgentReport, AgentRequest, AgentVerdict, ConsentDecision, ConsentRequest,
    Dialogue, FailureClass, ThreadId, driver_for, judge,
};

use crate::play::{launched, read_whole};

/// Generous: only a hang takes so long.
const PATIENCE: Duration = Duration::from_mins(2);

/// Is a running agent that is spoken with.
pub(crate) struct Talk {
    pub(crate) child: Child,
    pub(crate) dialogue: Box<dyn Dialogue + Send>,
    stdin: Option<ChildStdin>,
    output: Receiver<Vec<u8>>,
    stderr: JoinHandle<String>,
    pub(crate) seen: Vec<AgentObservation>,
    /// How many of the observations have been handled.
    handled: usize,
}

/// Holds what came of an agent.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) report: AgentReport,
    pub(crate) seen: Vec<AgentObservation>,
    pub(crate) exit: AgentExit,
    pub(crate) stderr: String,
}

impl Talk {
    /// Prepares and starts an agent in `environment`; the tests' own environment is not inherited.
    pub(crate) fn start(request: &AgentRequest<'_>, environment: &[(OsString, OsString)]) -> Self {
        let driver = driver_for(request.agent).unwrap();
        let mut child = launched(driver.as_ref(), request, environment);
        let (sender, output) = channel();
        let mut stdout = child.stdout.take().unwrap();
        std::thread::spawn(move || {
            let mut buffer = vec![0; 64 * 1024];
            while let Ok(read @ 1..) = stdout.read(&mut buffer) {
                if sender.send(buffer[..read].to_vec()).is_err() {
                    break;
                }
            }
        });
        let stderr = read_whole(child.stderr.take().unwrap());
        let stdin = child.stdin.take();
        let dialogue = driver.dialogue(request);
        let mut talk = Self { child, dialogue, stdin, output, stderr, seen: Vec::new(), handled: 0 };
        talk.write();
        talk
    }

    /// Writes what there is to say, and closes stdin when there will be no more.
    pub(crate) fn write(&mut self) {
        let bytes = self.dialogue.outgoing();
        if let Some(stdin) = &mut self.stdin {
            // An agent that ends early does not read to the end.
            stdin.write_all(&bytes).ok();
        }
        if !self.dialogue.input_open() {
            self.stdin = None;
        }
    }

    /// Reads a piece of output; false at its end.
    fn read(&mut self, deadline: Instant) -> bool {
        match self.output.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(bytes) => {
                let seen = &mut self.seen;
                self.dialogue.push(&bytes, &mut |observation| {
                    if seen.len() < 5000 {
                        seen.push(observation);
                    }
                });
                true
            }
            Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => false,
            Err(std::sync::mpsc::RecvTimeoutError::Timeout) => {
                self.child.kill().unwrap();
                panic!("the agent hangs; seen {:#?}", self.seen);
            }
        }
    }

    /// Reads until an observation is one that `wanted` takes, and returns what it made of it.
    pub(crate) fn until<T>(&mut self, wanted: impl Fn(&AgentObservation) -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        loop {
            while self.handled < self.seen.len() {
                self.handled += 1;
                if let Some(found) = wanted(&self.seen[self.handled - 1]) {
                    return found;
                }
            }
            assert!(self.read(deadline), "the agent ended without it; seen {:#?}", self.seen);
            self.write();
        }
    }

    /// Reads until a turn has ended and tells whether it is complete; stdin is left as it is, so that another may follow.
    pub(crate) fn next_turn_end(&mut self) -> bool {
        let deadline = Instant::now() + PATIENCE;
        loop {
            while self.handled < self.seen.len() {
                self.handled += 1;
                match &self.seen[self.handled - 1] {
                    AgentObservation::TurnCompleted => return true,
                    AgentObservation::TurnFailed { .. } => return false,
                    _ => {}
                }
            }
            if self.dialogue.input_open() {
                self.write();
            }
            assert!(self.read(deadline), "the agent ended in mid-turn; seen {:#?}", self.seen);
        }
    }

    /// Reads until consent is wanted.
    pub(crate) fn question(&mut self) -> ConsentRequest {
        self.until(|observation| match observation {
            AgentObservation::ConsentWanted(request) => Some((**request).clone()),
            _ => None,
        })
    }

    /// Answers a question.
    pub(crate) fn answer(&mut self, item: &str, decision: &ConsentDecision) {
        assert!(self.dialogue.answer(item, decision), "nobody asks for {item}");
        self.write();
    }

    /// Waits for the end of the process and of its output.
    pub(crate) fn wait(mut self) -> Told {
        let deadline = Instant::now() + PATIENCE;
        while self.read(deadline) {
            self.write();
        }
        let status = self.child.wait().unwrap();
        let exit = match (status.code(), status.signal()) {
            (Some(code), _) => AgentExit::Code { code },
            (None, Some(signal)) => AgentExit::Signal { signal },
            (None, None) => AgentExit::Lost,
        };
        let mut seen = self.seen;
        let report = self.dialogue.finish(&mut |observation| seen.push(observation));
        Told { report, seen, exit, stderr: self.stderr.join().unwrap() }
    }
}

impl Told {
    pub(crate) fn verdict(&self, thread: Option<&ThreadId>) -> AgentVerdict {
        judge(&self.report, self.exit, &self.stderr, thread)
    }

    #[track_caller]
    pub(crate) fn class(&self, thread: Option<&ThreadId>) -> FailureClass {
        match self.verdict(thread) {
            AgentVerdict::Failed { class, .. } => class,
            AgentVerdict::Succeeded => panic!("accepted {self:#?}"),
        }
    }

    /// Returns the calls that ended, as (item, status).
    pub(crate) fn ended(&self) -> Vec<(String, co_model::CallStatus)> {
        let ended = |observation: &AgentObservation| match observation {
            AgentObservation::CallFinished { item, outcome, .. } => Some((item.clone(), outcome.status)),
            _ => None,
        };
        self.seen.iter().filter_map(ended).collect()
    }
}
