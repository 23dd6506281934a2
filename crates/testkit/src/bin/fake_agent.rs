//! `co-fake-agent`: speaks Codex's JSONL and misbehaves as `FAKE_AGENT_SCRIPT` says.
//!
//! The script's format is [`co_testkit::fake_agent`].

use std::error::Error;
use std::fs;
use std::io::{self, Read, Write};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use co_testkit::fake_agent::{Action, FakeAgentRecord, FakeAgentScript, SCRIPT_VARIABLE};
use serde_json::json;

/// Is the first argument of the children that this program starts: they only hold the pipe.
const HOLD: &str = "hold-the-pipe";

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let arguments: Vec<String> =
        std::env::args_os().skip(1).map(|argument| argument.to_string_lossy().into_owned()).collect();
    if let [first, until, session] = arguments.as_slice()
        && first == HOLD
    {
        if session == "new" {
            rustix::process::setsid()?;
        }
        wait_for(Path::new(until));
        return Ok(ExitCode::SUCCESS);
    }
    #[expect(clippy::disallowed_methods, reason = "the variable is this program's interface")]
    let path = std::env::var_os(SCRIPT_VARIABLE).ok_or("FAKE_AGENT_SCRIPT is not set")?;
    let script: FakeAgentScript = serde_json::from_slice(&fs::read(path)?)?;
    if script.ignores_termination {
        for signal in [signal_hook::consts::SIGTERM, signal_hook::consts::SIGINT] {
            signal_hook::flag::register(signal, Arc::new(AtomicBool::new(false)))?;
        }
    }
    let mut stdin = Vec::new();
    io::stdin().read_to_end(&mut stdin)?;
    if let Some(path) = &script.record {
        let mut environment_names: Vec<String> =
            std::env::vars_os().map(|(name, _)| name.to_string_lossy().into_owned()).collect();
        environment_names.sort();
        let record = FakeAgentRecord {
            arguments: arguments.clone(),
            stdin: String::from_utf8_lossy(&stdin).into_owned(),
            cwd: std::env::current_dir()?,
            environment_names,
            pid: std::process::id(),
        };
        fs::write(path, serde_json::to_vec(&record)?)?;
    }
    for action in &script.actions {
        if let Some(code) = act(action, &arguments)? {
            return Ok(ExitCode::from(u8::try_from(code)?));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Does one thing; returns the exit code if that was the last.
fn act(action: &Action, arguments: &[String]) -> Result<Option<i32>, Box<dyn Error>> {
    // Unbuffered, so that what the script says was written has left this process when it dies.
    let mut stdout = io::stdout();
    match action {
        Action::Thread { id, obey } => {
            let resumed = arguments.iter().skip_while(|argument| *argument != "resume").nth(1);
            let id = resumed.filter(|_| *obey).unwrap_or(id);
            writeln!(stdout, "{}", json!({"type": "thread.started", "thread_id": id}))?;
        }
        Action::Turn { message } => turn(&mut stdout, message)?,
        Action::Event { event } => writeln!(stdout, "{event}")?,
        Action::Text { text } => write!(stdout, "{text}")?,
        Action::LongLine { bytes } => {
            write!(
                stdout,
                r#"{{"type":"item.completed","item":{{"id":"item_0","type":"agent_message","text":""#
            )?;
            repeat(&mut stdout, b"long ", *bytes)?;
            writeln!(stdout, r#""}}}}"#)?;
        }
        Action::Flood { bytes } => {
            let text = "flood ".repeat(100);
            let item = json!({"id": "item_0", "type": "agent_message", "text": text});
            let line = format!("{}\n", json!({"type": "item.completed", "item": item}));
            let mut buffered = io::BufWriter::new(stdout.lock());
            for _ in 0..bytes.div_ceil(line.len() as u64) {
                buffered.write_all(line.as_bytes())?;
            }
            buffered.flush()?;
        }
        Action::Garbage { bytes } => repeat(&mut stdout, b"\xff\xfe\x00 not {json\n", *bytes)?,
        Action::Stderr { text } => write!(io::stderr(), "{text}")?,
        Action::Child { until, new_session } => {
            let session = if *new_session { "new" } else { "same" };
            #[expect(
                clippy::disallowed_methods,
                reason = "this program exists to leave such children behind"
            )]
            let child = Command::new(std::env::current_exe()?)
                .arg(HOLD)
                .arg(until)
                .arg(session)
                .stdin(Stdio::null())
                .spawn()?;
            drop(child);
        }
        Action::Touch { path } => fs::write(path, [])?,
        Action::WaitFor { path } => wait_for(path),
        Action::Exit { code } => {
            stdout.flush()?;
            return Ok(Some(*code));
        }
        Action::Kill { signal } => {
            stdout.flush()?;
            let signal = rustix::process::Signal::from_named_raw(*signal).ok_or("no such signal")?;
            rustix::process::kill_process(rustix::process::getpid(), signal)?;
            wait_for(Path::new("/nonexistent/after-the-kill"));
        }
    }
    stdout.flush()?;
    Ok(None)
}

fn turn(stdout: &mut impl Write, message: &str) -> io::Result<()> {
    let command = |status: &str, exit_code: Option<i32>| {
        json!({"id": "item_0", "type": "command_execution", "command": "/bin/sh -c true",
            "aggregated_output": "", "exit_code": exit_code, "status": status})
    };
    let path = std::env::current_dir()?.join("changed.txt");
    let change = |status: &str| {
        json!({"id": "item_1", "type": "file_change", "status": status,
            "changes": [{"path": path, "kind": "add"}]})
    };
    let usage = json!({"input_tokens": 100, "cached_input_tokens": 10, "cache_write_input_tokens": 0,
        "output_tokens": 20, "reasoning_output_tokens": 5});
    for event in [
        json!({"type": "turn.started"}),
        json!({"type": "item.started", "item": command("in_progress", None)}),
        json!({"type": "item.completed", "item": command("completed", Some(0))}),
        json!({"type": "item.started", "item": change("in_progress")}),
        json!({"type": "item.completed", "item": change("completed")}),
        json!({"type": "item.completed", "item": {"id": "item_2", "type": "agent_message", "text": message}}),
        json!({"type": "turn.completed", "usage": usage}),
    ] {
        writeln!(stdout, "{event}")?;
    }
    Ok(())
}

/// Writes `pattern` over and over until exactly `bytes` are written.
fn repeat(output: &mut impl Write, pattern: &[u8], bytes: u64) -> io::Result<()> {
    let block = pattern.repeat(64 * 1024 / pattern.len());
    let mut left = bytes;
    while left > 0 {
        let part = block.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        output.write_all(&block[..part])?;
        left -= part as u64;
    }
    Ok(())
}

fn wait_for(path: &Path) {
    while !path.exists() {
        std::thread::park_timeout(Duration::from_millis(5));
    }
}
