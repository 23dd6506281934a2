//! Runs a confined command line under the supervisor of co-process, as the product does; for the tests.
//!
//! The spawner must be forked before any thread exists, which a test harness cannot promise.

use std::error::Error;
use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use co_process::{
    Capture, Limits, Observer, Program, Shutdown, Spawner, Stdin, StopSignal, Stream, Terminal, run,
};
use serde::Deserialize;
use serde_json::json;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Scenario {
    argv: Vec<String>,
    env: Vec<(String, String)>,
    cwd: PathBuf,
    folder: PathBuf,
    stdin: Option<String>,
    is_terminal: bool,
    timeout_ms: u64,
    linger_ms: u64,
    /// Asks it to end once this is in its output.
    stop_at: Option<String>,
}

/// Asks a program to end once it has written something.
struct Listener<'a> {
    awaited: Option<&'a str>,
    heard: Vec<u8>,
    stop: &'a StopSignal,
}

impl Observer for Listener<'_> {
    fn output(&mut self, _stream: Stream, bytes: &[u8]) {
        self.heard.extend_from_slice(bytes);
        if self.awaited.is_some_and(|awaited| String::from_utf8_lossy(&self.heard).contains(awaited)) {
            self.stop.request(Shutdown::Graceful);
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let spawner = Spawner::fork()?;
    let json = std::env::args().nth(1).ok_or("a scenario is wanted")?;
    let scenario: Scenario = serde_json::from_str(&json)?;
    let program = Program {
        argv: scenario.argv.iter().map(Into::into).collect(),
        cwd: scenario.cwd,
        env: scenario.env.iter().map(|(name, value)| (name.into(), value.into())).collect(),
        stdin: scenario.stdin.map_or(Stdin::Null, |text| Stdin::Bytes(text.into_bytes())),
        terminal: if scenario.is_terminal {
            Terminal::Pty { rows: 24, columns: 80 }
        } else {
            Terminal::Pipes
        },
    };
    let capture = Capture { log: scenario.folder.join("log"), index: scenario.folder.join("index") };
    let limits = Limits {
        timeout: Some(Duration::from_millis(scenario.timeout_ms)),
        linger: Duration::from_millis(scenario.linger_ms),
        ..Limits::default()
    };
    let stop = StopSignal::new()?;
    let mut listener = Listener { awaited: scenario.stop_at.as_deref(), heard: Vec::new(), stop: &stop };
    let report = run(&spawner, &program, &capture, &limits, &stop, &mut listener)?;
    let line = json!({
        "exit": format!("{:?}", report.exit),
        "leader": format!("{:?}", report.leader),
        "survivors_killed": report.survivors_killed,
        "drained": report.drained,
        "log": String::from_utf8_lossy(&std::fs::read(&capture.log)?),
    });
    writeln!(std::io::stdout(), "{line}")?;
    spawner.shutdown()?;
    Ok(())
}
