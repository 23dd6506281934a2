//! Measures how long it takes until what was written to a session is seen, through the socket of a host.
//!
//! `cargo run --release -p co-sessions --example round_trip`
#![expect(clippy::print_stdout, reason = "the numbers are what this program is for")]

use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use co_process::{Capture, Limits, Spawner, Terminal};
use co_sessions::client::{Attached, Connection};
use co_sessions::host::{HostSettings, serve};
use co_sessions::{Endpoint, SessionEvent, SessionId, StartSession, Wait};

const ROUNDS: usize = 2000;
const PATIENCE: Duration = Duration::from_secs(10);

fn main() -> Result<(), Box<dyn Error>> {
    let spawner = Arc::new(Spawner::fork()?);
    let folder = tempfile::tempdir()?;
    let endpoint = Endpoint::new(folder.path().join("host"));
    let (spawned, serving) = (Arc::clone(&spawner), endpoint.clone());
    let host = thread::spawn(move || {
        let listener = Arc::new(|_: SessionEvent| {});
        serve(
            spawned,
            &serving,
            HostSettings { idle_timeout: PATIENCE, listener, redactor: None, confiner: None },
        )
    });
    let mut connection = Connection::connect_or_start(&endpoint, PATIENCE, || Ok(()))?;
    for (name, terminal) in [("pipes", Terminal::Pipes), ("terminal", StartSession::TERMINAL)] {
        let id: SessionId = name.parse()?;
        connection.start(&program(&id, terminal, folder.path()))?;
        let call = measure(|| {
            let reply = connection.write(&id, b"x\n", Wait::for_output(PATIENCE), None)?;
            Ok(!reply.output.is_empty())
        })?;
        println!("{name}: write and reply {call}");
        let mut attachment = Connection::connect(&endpoint)?.attach(&id, 0)?;
        let raw = measure(|| {
            attachment.input.write(b"x\n")?;
            Ok(matches!(attachment.output.receive()?, Some(Attached::Output(_))))
        })?;
        println!("{name}: attached {raw}");
    }
    let shell: SessionId = "shell".parse()?;
    let mut start = program(&shell, Terminal::Pipes, folder.path());
    start.argv = vec!["sh".into()];
    start.wait = Wait::for_output(Duration::ZERO);
    connection.start(&start)?;
    let script = measure(|| Ok(connection.run_in(&shell, b"echo x", Some(PATIENCE), None)?.output == "x\n"))?;
    println!("shell: script and reply {script}");
    connection.shutdown()?;
    host.join().map_err(|_| "the host has panicked")??;
    Ok(())
}

fn program(id: &SessionId, terminal: Terminal, folder: &Path) -> StartSession {
    StartSession {
        id: Some(id.clone()),
        argv: ["sh", "-c", "echo ready; exec cat"].map(Into::into).to_vec(),
        cwd: folder.to_owned(),
        env: vec![("PATH".into(), "/usr/local/bin:/usr/bin:/bin".into())],
        terminal,
        capture: Capture { log: folder.join(format!("{id}.log")), index: folder.join(format!("{id}.index")) },
        limits: Limits::default(),
        confinement: None,
        wait: Wait::for_output(PATIENCE),
        max_output_tokens: None,
    }
}

/// Median and 95th percentile of many rounds, in microseconds.
fn measure(mut round: impl FnMut() -> Result<bool, Box<dyn Error>>) -> Result<String, Box<dyn Error>> {
    let mut times = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        let began = Instant::now();
        if !round()? {
            return Err("nothing came back".into());
        }
        times.push(began.elapsed().as_micros());
    }
    times.sort_unstable();
    let at = |percent: usize| times.get(ROUNDS * percent / 100).copied().unwrap_or_default();
    Ok(format!("median {} µs, p95 {} µs", at(50), at(95)))
}
