//! The helper that the process tests and measurements drive.
//!
//! The spawner must be forked before any thread exists, which a test harness cannot promise; so each test starts
//! this program, tells it what to run, and watches from outside. What happens is printed as lines of JSON.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::ffi::OsString;
use std::io::{BufRead as _, Write as _};
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use co_process::{
    Capture, Entry, Epilogue, InputError, LeaderExit, Limits, LiveInput, Observer, ProcessIdentity, Program,
    Report, RunError, Shutdown, Signal, Spawner, Stdin, StopSignal, Stream, StreamStats, Terminal, run,
};
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Scenario {
    argv: Vec<String>,
    #[serde(default)]
    env: Vec<(String, String)>,
    cwd: PathBuf,
    stdin: Option<PathBuf>,
    pty: Option<(u16, u16)>,
    /// Whether the program reads what the orders `write`, `pattern` and `close` say.
    #[serde(default)]
    live: bool,
    /// What to write, from within the observer, whenever this text arrives.
    answer: Option<(String, String)>,
    /// A text to take out of the output.
    redact: Option<String>,
    /// How long to be busy with each piece of output, as a slow disk would have us.
    #[serde(default)]
    slow_ms: u64,
    log: PathBuf,
    index: PathBuf,
    timeout_ms: Option<u64>,
    grace_ms: Option<u64>,
    linger_ms: Option<u64>,
    epilogue: Option<Vec<String>>,
    /// How many to run at once; each writes to its own files.
    #[serde(default = "one")]
    copies: usize,
    /// How many to run one after the other.
    #[serde(default = "one")]
    repeat: usize,
    /// Whether to say nothing but how long each took.
    #[serde(default)]
    measure: bool,
    /// Whether to leave without saying goodbye to the spawner.
    #[serde(default)]
    leave_abruptly: bool,
}

fn one() -> usize {
    1
}

/// The part of this program that is entered without executing it.
const LOOK: Entry = Entry { word: "look", run: look };

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args_os().skip(1);
    let path = arguments.next().ok_or("the file of a scenario is wanted")?;
    if path == LOOK.word {
        std::process::exit((LOOK.run)(&arguments.collect::<Vec<_>>()).into());
    }
    let spawner = Spawner::fork_with(LOOK)?;
    let scenario: Scenario = serde_json::from_slice(&std::fs::read(path)?)?;
    if let Some(argv) = &scenario.epilogue {
        let env = scenario.env.iter().map(|(name, value)| (name.into(), value.into())).collect();
        let argv = argv.iter().map(OsString::from).collect();
        spawner.set_epilogue(&Epilogue { argv, env, cwd: scenario.cwd.clone() })?;
    }
    let stop = StopSignal::new()?;
    let input = LiveInput::new()?;
    let (orders, told) = (stop.clone(), input.clone());
    let obeying = thread::spawn(move || obey(&orders, &told));
    say(&json!({"ready": std::process::id()}));

    thread::scope(|scope| {
        for copy in 0..scenario.copies {
            let (scenario, spawner, stop, input) = (&scenario, &spawner, &stop, &input);
            scope.spawn(move || perform(copy, scenario, spawner, stop, input));
        }
    });
    if scenario.live {
        // Orders are answered as long as somebody gives them, after the end of the program too.
        drop(obeying.join());
    }
    if scenario.leave_abruptly {
        std::mem::forget(spawner);
    } else {
        spawner.shutdown()?;
    }
    Ok(())
}

/// Says all that a program can see of how it was started, then ends with the code or the signal that its first
/// argument names.
fn look(arguments: &[OsString]) -> u8 {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let status = read("/proc/self/status");
    let field = |name: &str| status.lines().find(|line| line.starts_with(name)).map(str::to_owned);
    let text = |text: &OsString| text.to_string_lossy().into_owned();
    let environment: BTreeMap<String, String> =
        std::env::vars_os().map(|(name, value)| (text(&name), text(&value))).collect();
    let descriptors = std::fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
    // The one that lists them is among them.
    let descriptors: BTreeSet<String> = descriptors.map(|entry| text(&entry.file_name())).collect();
    let pid = rustix::process::getpid();
    say(&json!({
        "name": read("/proc/self/comm").trim(),
        "arguments": arguments.iter().map(text).collect::<Vec<_>>(),
        "environment": environment,
        "directory": std::env::current_dir().ok(),
        "descriptors": descriptors,
        "leads": rustix::process::getsid(None) == Ok(pid) && rustix::process::getpgrp() == pid,
        "signals": [field("SigBlk"), field("SigIgn")],
        "threads": field("Threads"),
        "dies_with_parent": format!("{:?}", rustix::process::parent_process_death_signal()),
    }));
    match arguments.first().and_then(|first| first.to_str()) {
        Some("kill") => drop(rustix::process::kill_process(pid, rustix::process::Signal::TERM)),
        code => return code.and_then(|code| code.parse().ok()).unwrap_or_default(),
    }
    0
}

/// Takes orders from standard input.
fn obey(stop: &StopSignal, input: &LiveInput) {
    for line in std::io::stdin().lock().lines().map_while(Result::ok) {
        let (order, text) = line.split_once(' ').unwrap_or((&line, ""));
        match order {
            "graceful" => stop.request(Shutdown::Graceful),
            "immediate" => stop.request(Shutdown::Immediate),
            "close" => input.close(),
            _ => {}
        }
        let outcome = match order {
            "write" => input.write(serde_json::from_str::<String>(text).unwrap_or_default().as_bytes()),
            "offer" => input.offer(&vec![b'o'; text.parse().unwrap_or_default()]),
            "pattern" => write_pattern(input, text.parse().unwrap_or_default()),
            "close" => Ok(()),
            "resize" => input.resize(text.parse().unwrap_or_default(), 77),
            "interrupt" => input.signal(Signal::Interrupt),
            "hangup" => input.signal(Signal::Hangup),
            _ => continue,
        };
        say(&json!({"told": format!("{outcome:?}"), "order": order, "undelivered": input.undelivered()}));
    }
}

/// Writes lines of a hundred bytes.
fn write_pattern(input: &LiveInput, bytes: usize) -> Result<(), InputError> {
    let lines = [&[b'p'; 99][..], b"\n"].concat().repeat(1000);
    let mut left = bytes;
    while left > 0 {
        let piece = lines.get(..left.min(lines.len())).unwrap_or_default();
        input.write(piece)?;
        left -= piece.len();
    }
    Ok(())
}

fn perform(copy: usize, scenario: &Scenario, spawner: &Spawner, stop: &StopSignal, input: &LiveInput) {
    let began = Instant::now();
    for _ in 0..scenario.repeat {
        let line = match perform_once(copy, scenario, spawner, stop, input) {
            Ok(report) => report_line(copy, &report),
            Err(error) => json!({"error": format!("{error:?}"), "text": chain(&error), "copy": copy}),
        };
        if !scenario.measure {
            say(&line);
        }
    }
    if scenario.measure {
        say(&json!({"microseconds_each": began.elapsed().as_micros() / scenario.repeat as u128}));
    }
}

fn perform_once(
    copy: usize,
    scenario: &Scenario,
    spawner: &Spawner,
    stop: &StopSignal,
    input: &LiveInput,
) -> Result<Report, RunError> {
    let milliseconds = |value: Option<u64>, or: Duration| value.map_or(or, Duration::from_millis);
    let defaults = Limits::default();
    let program = Program {
        argv: scenario.argv.iter().map(OsString::from).collect(),
        cwd: scenario.cwd.clone(),
        env: scenario.env.iter().map(|(name, value)| (name.into(), value.into())).collect(),
        stdin: match &scenario.stdin {
            _ if scenario.live => Stdin::Live(input.clone()),
            Some(path) => Stdin::Bytes(std::fs::read(path).unwrap_or_default()),
            None => Stdin::Null,
        },
        terminal: scenario.pty.map_or(Terminal::Pipes, |(rows, columns)| Terminal::Pty { rows, columns }),
    };
    let mut capture = Capture { log: scenario.log.clone(), index: scenario.index.clone() };
    if scenario.copies > 1 {
        capture.log.set_extension(copy.to_string());
        capture.index.set_extension(copy.to_string());
    }
    let limits = Limits {
        timeout: scenario.timeout_ms.map(Duration::from_millis),
        grace: milliseconds(scenario.grace_ms, defaults.grace),
        linger: milliseconds(scenario.linger_ms, defaults.linger),
    };
    let mut lines = Lines { copy, quiet: scenario.measure, heard: 0, scenario, input };
    run(spawner, &program, &capture, &limits, stop, &mut lines)
}

struct Lines<'probe> {
    copy: usize,
    quiet: bool,
    heard: u64,
    scenario: &'probe Scenario,
    input: &'probe LiveInput,
}

impl Observer for Lines<'_> {
    fn redact(&mut self, _stream: Stream, bytes: &[u8]) -> Option<Vec<u8>> {
        let secret = self.scenario.redact.as_ref()?;
        Some(String::from_utf8_lossy(bytes).replace(secret, "").into_bytes())
    }

    fn redact_rest(&mut self, _stream: Stream) -> Vec<u8> {
        if self.scenario.redact.is_some() { b"(rest)".to_vec() } else { Vec::new() }
    }

    fn started(&mut self, identity: &ProcessIdentity) {
        if !self.quiet {
            say(&json!({"started": identity.to_string(), "pid": identity.pid, "copy": self.copy}));
        }
    }

    fn output(&mut self, stream: Stream, bytes: &[u8]) {
        if self.heard == 0 && !self.quiet {
            say(&json!({"first_output": stream, "copy": self.copy}));
        }
        self.heard += bytes.len() as u64;
        let until = Instant::now() + Duration::from_millis(self.scenario.slow_ms);
        while Instant::now() < until {
            std::hint::spin_loop();
        }
        if self.scenario.live && bytes.len() < 1000 {
            say(&json!({"output": String::from_utf8_lossy(bytes)}));
        }
        if let Some((question, answer)) = &self.scenario.answer
            && bytes.windows(question.len()).any(|window| window == question.as_bytes())
        {
            let outcome = self.input.write(answer.as_bytes());
            say(&json!({"answered": format!("{outcome:?}")}));
        }
    }

    fn leader_exited(&mut self, exit: LeaderExit) {
        if !self.quiet {
            say(&json!({"leader": format!("{exit:?}"), "heard": self.heard, "copy": self.copy}));
        }
    }
}

fn report_line(copy: usize, report: &Report) -> Value {
    json!({"report": {
        "exit": format!("{:?}", report.exit),
        "leader": report.leader.map(|leader| format!("{leader:?}")),
        "pid": report.identity.as_ref().map(|identity| identity.pid),
        "started_after_us": report.started_after.map(|after| u64::try_from(after.as_micros()).unwrap_or(u64::MAX)),
        "elapsed_ms": u64::try_from(report.elapsed.as_millis()).unwrap_or(u64::MAX),
        "survivors_killed": report.survivors_killed,
        "stdout": stats(&report.stdout),
        "stderr": stats(&report.stderr),
        "drained": report.drained,
        "peak_rss_kib": peak_rss_kib(),
    }, "copy": copy})
}

fn stats(stats: &StreamStats) -> Value {
    json!({"bytes": stats.bytes, "text": stats.excerpt.text()})
}

fn peak_rss_kib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().trim_end_matches(" kB").parse().ok()
}

fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

fn say(line: &Value) {
    let mut stdout = std::io::stdout().lock();
    // Whoever reads may have gone; the scenario goes on all the same.
    drop(writeln!(stdout, "{line}").and_then(|()| stdout.flush()));
}
