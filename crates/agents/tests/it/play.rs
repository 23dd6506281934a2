//! Starts what a driver prepared and feeds its transcript, as the runtime does in the product.

use std::ffi::OsString;
use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::thread::JoinHandle;

use co_agents::{AgentExit, AgentObservation, AgentReport, AgentRequest, Dialogue, Driver, driver_for};

/// Is a running agent whose output is being read.
pub(crate) struct Play {
    pub(crate) child: Child,
    reader: JoinHandle<(AgentReport, Vec<AgentObservation>)>,
    stderr: JoinHandle<String>,
}

/// Holds what came of an agent.
#[derive(Debug)]
pub(crate) struct Played {
    pub(crate) report: AgentReport,
    pub(crate) observations: Vec<AgentObservation>,
    pub(crate) exit: AgentExit,
    pub(crate) stderr: String,
}

/// Looks at each observation as it is made, and may say something to the agent.
pub(crate) type Listener = Box<dyn FnMut(&AgentObservation, &mut dyn Dialogue) + Send>;

/// Prepares and starts an agent in `environment`; the tests' own environment is not inherited.
pub(crate) fn start(request: &AgentRequest<'_>, environment: &[(OsString, OsString)]) -> Play {
    converse(request, environment, Box::new(|_, _| {}))
}

/// Starts an agent like [`start`], with somebody who speaks with it.
pub(crate) fn converse(
    request: &AgentRequest<'_>,
    environment: &[(OsString, OsString)],
    mut listener: Listener,
) -> Play {
    let driver: Box<dyn Driver> = driver_for(request.agent).unwrap();
    let mut child = launched(driver.as_ref(), request, environment);
    let mut dialogue = driver.dialogue(request);
    let mut stdin = child.stdin.take();
    let mut stdout = child.stdout.take().unwrap();
    let reader = std::thread::spawn(move || {
        let mut observations = Vec::new();
        let mut buffer = vec![0; 64 * 1024];
        loop {
            if let Some(pipe) = &mut stdin {
                // An agent that refuses to start may close its stdin before it has read it.
                pipe.write_all(&dialogue.outgoing()).ok();
            }
            if !dialogue.input_open() {
                stdin = None;
            }
            let mut seen = Vec::new();
            match stdout.read(&mut buffer).unwrap() {
                0 => break,
                read => dialogue.push(&buffer[..read], &mut |observation| seen.push(observation)),
            }
            for observation in seen {
                listener(&observation, dialogue.as_mut());
                // Floods are tested too; a sample is enough to look at.
                if observations.len() < 1000 {
                    observations.push(observation);
                }
            }
        }
        let report = dialogue.finish(&mut |observation| observations.push(observation));
        (report, observations)
    });
    let stderr = read_whole(child.stderr.take().unwrap());
    Play { child, reader, stderr }
}

/// Starts what a driver prepares, with pipes to speak through.
pub(crate) fn launched(
    driver: &dyn Driver,
    request: &AgentRequest<'_>,
    environment: &[(OsString, OsString)],
) -> Child {
    let launch = driver.prepare(request).unwrap();
    #[expect(
        clippy::disallowed_methods,
        reason = "the product's spawner is another room; a test waits for one child"
    )]
    Command::new(&launch.argv[0])
        .args(&launch.argv[1..])
        .env_clear()
        .envs(environment.iter().cloned())
        .envs(launch.environment_additions)
        .current_dir(request.cwd)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Reads all of a pipe, on a thread of its own.
pub(crate) fn read_whole(mut pipe: ChildStderr) -> JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        pipe.read_to_end(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

impl Play {
    /// Waits for the end of the process and of its output.
    pub(crate) fn wait(mut self) -> Played {
        let exit = exit(self.child.wait().unwrap());
        let (report, observations) = self.reader.join().unwrap();
        Played { report, observations, exit, stderr: self.stderr.join().unwrap() }
    }
}

fn exit(status: ExitStatus) -> AgentExit {
    match (status.code(), status.signal()) {
        (Some(code), _) => AgentExit::Code { code },
        (None, Some(signal)) => AgentExit::Signal { signal },
        (None, None) => AgentExit::Lost,
    }
}

/// Starts an agent and waits for its end.
pub(crate) fn play(request: &AgentRequest<'_>, environment: &[(OsString, OsString)]) -> Played {
    start(request, environment).wait()
}
