//! The host that the tests and measurements drive.
//!
//! The spawner must be forked before any thread exists, which a test harness cannot promise. Events are written to
//! `events.jsonl` beside the socket.

use std::error::Error;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use co_process::Spawner;
use co_sessions::host::{HostSettings, serve};
use co_sessions::{Endpoint, HostError, Redactor, SessionEvent};

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let spawner = Arc::new(Spawner::fork()?);
    let mut arguments = std::env::args_os().skip(1);
    let directory = PathBuf::from(arguments.next().ok_or("the directory of a host is wanted")?);
    let idle =
        arguments.next().and_then(|text| text.to_str()?.parse().ok()).ok_or("an idle time is wanted")?;
    let secret = arguments.next().and_then(|text| text.into_string().ok());

    let endpoint = Endpoint::new(directory);
    std::fs::create_dir_all(endpoint.directory())?;
    let events =
        OpenOptions::new().create(true).append(true).open(endpoint.directory().join("events.jsonl"))?;
    let events = Mutex::new(events);
    let listener = move |event: SessionEvent| {
        let mut line = serde_json::to_vec(&event).unwrap_or_default();
        line.push(b'\n');
        drop(events.lock().unwrap_or_else(PoisonError::into_inner).write_all(&line));
    };
    let settings = HostSettings {
        idle_timeout: Duration::from_millis(idle),
        listener: Arc::new(listener),
        redactor: secret.map(|secret| {
            let make = move |_: &_| {
                let secret = secret.clone();
                let redact = move |bytes: &[u8]| {
                    String::from_utf8_lossy(bytes).replace(&secret, "[removed]").into_bytes()
                };
                Box::new(redact) as Box<dyn Redactor>
            };
            Arc::new(make) as _
        }),
        confiner: None,
    };
    match serve(spawner, &endpoint, settings) {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(HostError::AlreadyRunning { .. }) => Ok(ExitCode::from(3)),
        Err(error) => Err(error.into()),
    }
}
