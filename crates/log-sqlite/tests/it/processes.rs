//! Several processes on one database, some of which are killed.
//!
//! A child is this test binary itself, asked to run one ignored test; what it is to do reaches it
//! on standard input, and what it has done is told on standard output.

#![expect(clippy::unwrap_used, reason = "a child that cannot go on ends its test here")]

use std::collections::BTreeSet;
use std::hash::{BuildHasher, RandomState};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use co_log::{Durability, EventLog, LogError, RunFilter};
use co_log_sqlite::{OpenMode, SqliteLog};
use co_model::{EventSeq, RunId};

use crate::support::{append, create, fact, new_path, open, owner, run};

/// Separates what a child says from what the test harness prints.
const MARK: &str = "child: ";

struct Peer {
    child: Child,
    output: BufReader<ChildStdout>,
}

impl Peer {
    fn start(role: &str) -> Self {
        #[expect(clippy::disallowed_methods, reason = "the room that starts programs is above this one")]
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", &format!("processes::{role}"), "--ignored", "--nocapture"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        Self { child, output }
    }

    fn tell(&mut self, line: &str) {
        writeln!(self.child.stdin.as_mut().unwrap(), "{line}").unwrap();
    }

    /// The next thing the child says; `None` when it has ended.
    fn hear(&mut self) -> Option<String> {
        let mut line = String::new();
        while self.output.read_line(&mut line).unwrap() > 0 {
            // The harness leaves its own line open when a test begins.
            if let Some((_, said)) = line.trim_end().split_once(MARK) {
                return Some(said.to_owned());
            }
            line.clear();
        }
        None
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // Already gone is as good.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// The line a child is told, split at the blank; `None` when nobody started it as a child.
fn told() -> Option<(PathBuf, u32)> {
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).unwrap();
    let (number, path) = line.trim_end().split_once(' ')?;
    Some((PathBuf::from(path), number.parse().unwrap()))
}

fn say(what: &str) {
    let mut output = std::io::stdout().lock();
    writeln!(output, "{MARK}{what}").unwrap();
    output.flush().unwrap();
}

#[test]
#[ignore = "a child of `fifty_processes_create_one_database`"]
fn creator() {
    say("ready");
    let Some((path, number)) = told() else { return };
    let log = SqliteLog::open(&path, OpenMode::Create).unwrap();
    let lease = create(&log, &run(number), "child");
    append(&log, &lease, 1, &[fact(2)], Durability::Synced).unwrap();
    say("done");
}

#[test]
fn fifty_processes_create_one_database() {
    let path = new_path();
    let mut peers: Vec<Peer> = (0..50).map(|_| Peer::start("creator")).collect();
    for peer in &mut peers {
        assert_eq!(peer.hear().as_deref(), Some("ready"));
    }
    for (number, peer) in peers.iter_mut().enumerate() {
        peer.tell(&format!("{number} {}", path.display()));
    }
    for peer in &mut peers {
        assert_eq!(peer.hear().as_deref(), Some("done"));
    }
    let log = open(&path);
    assert_eq!(log.note(), None, "the database has its write-ahead log");
    log.verify().unwrap();
    let heads = log.heads(&RunFilter::default()).unwrap();
    assert_eq!(heads.iter().map(|head| &head.run).collect::<BTreeSet<_>>().len(), 50);
    assert!(heads.iter().all(|head| head.last_seq == EventSeq(2)));
}

/// Appends for ever, and tells each event that is in the log.
#[test]
#[ignore = "a child of `kill_loses_no_acknowledged_event`"]
fn writer() {
    let Some((path, round)) = told() else { return };
    let log = SqliteLog::open(&path, OpenMode::Create).unwrap();
    let lease = match log.head(&run(1)).unwrap() {
        None => create(&log, &run(1), "first"),
        Some(_) => log.acquire(&run(1), &owner("next"), crate::support::at(), &|_| true).unwrap(),
    };
    let mut last = log.head(&run(1)).unwrap().unwrap().last_seq.0;
    say(&last.to_string());
    loop {
        let durability = if last.is_multiple_of(3) { Durability::Synced } else { Durability::Buffered };
        let events: Vec<_> = (0..=last % 4).map(|_| fact(round)).collect();
        last = append(&log, &lease, last, &events, durability).unwrap().last().unwrap().seq.0;
        say(&last.to_string());
    }
}

#[test]
fn kill_loses_no_acknowledged_event() {
    let path = new_path();
    let chance = RandomState::new();
    let mut acknowledged = 0;
    for round in 0..25_u32 {
        let mut peer = Peer::start("writer");
        peer.tell(&format!("{round} {}", path.display()));
        // The child goes on while we read, so the kill meets it anywhere in its work.
        for _ in 0..chance.hash_one(round) % 60 {
            acknowledged = peer.hear().unwrap().parse().unwrap();
        }
        peer.child.kill().unwrap();
        while let Some(said) = peer.hear() {
            // The last line may be cut off in the middle.
            acknowledged = acknowledged.max(said.parse().unwrap_or(0));
        }
        drop(peer);
        if path.exists() && acknowledged > 0 {
            check(&path, &run(1), acknowledged);
        }
    }
    assert!(acknowledged > 25, "the children have written: {acknowledged}");
}

fn check(path: &Path, run: &RunId, acknowledged: u64) {
    let log = SqliteLog::open(path, OpenMode::Existing).unwrap();
    log.verify().unwrap();
    let events = log.events(run, EventSeq(0), usize::MAX).unwrap();
    let numbers: Vec<u64> = events.iter().map(|recorded| recorded.seq.0).collect();
    assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>());
    assert!(numbers.len() as u64 >= acknowledged, "{} of {acknowledged} are there", numbers.len());
    assert_eq!(log.head(run).unwrap().unwrap().last_seq.0, numbers.len() as u64);
}

/// Fills a small file system, then says what it was told about that.
#[test]
#[ignore = "a child of `a_full_disk_is_named_and_loses_nothing`"]
fn filler() {
    let Some((path, _)) = told() else { return };
    let log = match SqliteLog::open(&path, OpenMode::Create) {
        Ok(log) => log,
        Err(error) => return say(&format!("open: {error:?}")),
    };
    let lease = create(&log, &run(1), "child");
    let text = "x".repeat(20_000);
    let event = co_model::Event::RunInterrupted { detail: text };
    let mut last = 1;
    let error = loop {
        match append(&log, &lease, last, std::slice::from_ref(&event), Durability::Synced) {
            Ok(recorded) => last = recorded[0].seq.0,
            Err(error) => break error,
        }
    };
    let readable = log.events(&run(1), EventSeq(0), usize::MAX).unwrap().len() as u64;
    let head = log.head(&run(1)).unwrap().unwrap().last_seq.0;
    assert_eq!((readable, head), (last, last), "what was acknowledged is there");
    log.verify().unwrap();
    say(if matches!(error, LogError::Full { .. }) { "full" } else { "another error" });
}

#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_is_named_and_loses_nothing() {
    let folder = new_path();
    std::fs::create_dir_all(&folder).unwrap();
    // The mount is seen by the child alone and goes away with it.
    let mount = r#"mount -t tmpfs -o size=600k none "$1" && exec "$2" --exact processes::filler --ignored --nocapture"#;
    #[expect(clippy::disallowed_methods, reason = "the room that starts programs is above this one")]
    let mut command = Command::new("unshare");
    command.args(["--map-root-user", "--mount", "/bin/sh", "-c", mount, "sh"]);
    command.arg(&folder).arg(std::env::current_exe().unwrap());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let line = format!("0 {}\n", folder.join("orchestrator.db").display());
    // A child that could not mount does not read it.
    child.stdin.take().unwrap().write_all(line.as_bytes()).ok();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains(&format!("{MARK}full")), "{said}{}", String::from_utf8_lossy(&output.stderr));
}
