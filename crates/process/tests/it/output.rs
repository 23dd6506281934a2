//! Every byte of output, in bounded memory.

use std::fs;
use std::io::{Read as _, Write as _};

use co_process::{OutputLog, Stream, Tool};

use crate::probe::{Scenario, Watched};

fn sha256(line: &str) -> String {
    let output = Tool::new("/bin/sh").args(["-c", line]).run().unwrap();
    output.stdout_text().split(' ').next().unwrap().to_owned()
}

#[test]
fn two_hundred_megabytes_arrive_whole_in_little_memory() {
    let scenario = Scenario::shell("yes '0123456789 and so on' | head -c 200000000");
    let report = scenario.report();
    assert_eq!(report["stdout"]["bytes"], 200_000_000);
    let kept = sha256(&format!("sha256sum {}", scenario.path("log").display()));
    assert_eq!(kept, sha256("yes '0123456789 and so on' | head -c 200000000 | sha256sum"));
    let peak = report["peak_rss_kib"].as_u64().unwrap();
    assert!(peak < 20 << 10, "peak RSS {peak} KiB");
    let index = fs::metadata(scenario.path("index")).unwrap().len();
    assert!(index < 100_000, "the index has {index} bytes");
    let text = report["stdout"]["text"].as_str().unwrap();
    assert!(
        text.starts_with("0123456789 and so on\n") && text.contains("… 199987712 bytes omitted …"),
        "{text}"
    );
}

#[test]
fn random_bytes_come_back_exactly() {
    let scenario = Scenario::shell("tee $F/copy < /dev/urandom | head -c 5000000");
    scenario.report();
    let found = scenario.stream(Stream::Stdout);
    let mut wanted = Vec::new();
    fs::File::open(scenario.path("copy")).unwrap().take(5_000_000).read_to_end(&mut wanted).unwrap();
    assert!(found.len() == 5_000_000 && found == wanted);
    assert!(scenario.stream(Stream::Stderr).is_empty());
}

#[test]
fn both_streams_are_kept_apart_exactly() {
    let scenario = Scenario::shell(
        "i=0; while [ $i -lt 2000 ]; do echo out $i; echo err $i >&2; i=$((i+1)); done; printf 'no end'",
    );
    let report = scenario.report();
    let lines =
        |word: &str| (0..2000).map(|i| [word, " ", &i.to_string(), "\n"].concat()).collect::<String>();
    assert_eq!(String::from_utf8(scenario.stream(Stream::Stdout)).unwrap(), lines("out") + "no end");
    assert_eq!(String::from_utf8(scenario.stream(Stream::Stderr)).unwrap(), lines("err"));
    assert_eq!(report["stderr"]["bytes"], lines("err").len());
    assert!(scenario.stream(Stream::Terminal).is_empty());
}

#[test]
fn code_points_split_between_reads_stay_whole() {
    // Each half is read on its own: the second is written only after the first is in the log.
    let scenario = Scenario::shell("printf '\\342\\202'; while [ ! -s $F/log ]; do :; done; printf '\\254'");
    let report = scenario.report();
    assert_eq!(report["stdout"]["text"], "€");
    assert_eq!(scenario.stream(Stream::Stdout), "€".as_bytes());
}

#[test]
fn input_reaches_a_program_that_reads() {
    let bytes: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 253) as u8).collect();
    let scenario = Scenario::program(&["cat"]).stdin(&bytes);
    assert_eq!(scenario.report()["exit"], "Code(0)");
    assert!(scenario.stream(Stream::Stdout) == bytes);
}

#[test]
fn input_does_not_hold_up_a_program_that_never_reads() {
    let bytes = vec![b'x'; 3_000_000];
    let report = Scenario::shell("head -c 500000 /dev/zero; exit 2").stdin(&bytes).report();
    assert_eq!(report["exit"], "Code(2)");
    assert_eq!(report["stdout"]["bytes"], 500_000);
    let report = Scenario::shell("exec 0<&-; echo closed").stdin(&bytes).report();
    assert_eq!(report["stdout"]["text"], "closed\n");
}

#[test]
fn a_second_attempt_appends() {
    let scenario = Scenario::shell("echo one; echo two >&2");
    scenario.report();
    scenario.report();
    assert_eq!(scenario.stream(Stream::Stdout), b"one\none\n");
    assert_eq!(scenario.stream(Stream::Stderr), b"two\ntwo\n");
}

#[test]
fn a_full_disk_stops_the_program() {
    let line = "trap '' TERM; until [ -e $F/go ]; do sleep 0.05; done; echo x; while :; do sleep 0.05; done";
    let scenario = Scenario::shell(line).with("log", "/dev/full");
    let mut probe = scenario.start();
    let leader = Watched::pid(i32::try_from(probe.next("pid").as_i64().unwrap()).unwrap());
    fs::write(scenario.path("go"), "").unwrap();
    let text = probe.next("text");
    assert_eq!(text, "failed to write output to `/dev/full`: No space left on device (os error 28)");
    assert!(leader.is_gone());
    probe.finish();

    let (debug, _) = Scenario::shell("echo x; sleep 300").with("index", "/dev/full").error();
    assert!(debug.contains("Capture"), "{debug}");
}

#[test]
fn files_that_cannot_be_opened_are_named() {
    let (_, text) = Scenario::shell("true").with("log", "/nowhere/log").error();
    assert_eq!(text, "failed to write output to `/nowhere/log`: No such file or directory (os error 2)");
}

/// A log and an index as a crash may have left them.
struct Left {
    folder: tempfile::TempDir,
    output: OutputLog,
}

impl Left {
    fn new(log: &str, index: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let output = OutputLog::new(folder.path().join("log"), folder.path().join("index"));
        fs::write(folder.path().join("log"), log).unwrap();
        fs::write(folder.path().join("index"), index).unwrap();
        Self { folder, output }
    }

    fn stream(&self, stream: Stream) -> String {
        let mut text = String::new();
        self.output.read(stream).unwrap().read_to_string(&mut text).unwrap();
        text
    }

    fn append(&self, name: &str, text: &str) {
        let mut file = fs::File::options().append(true).open(self.folder.path().join(name)).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }
}

fn entry(stream: &str, offset: u64, length: u64) -> String {
    format!("{{\"at\":1,\"stream\":\"{stream}\",\"offset\":{offset},\"length\":{length}}}\n")
}

#[test]
fn a_torn_index_loses_no_byte() {
    let torn = entry("stdout", 0, 3) + &entry("stderr", 3, 2) + "{\"at\":5,\"stre";
    let left = Left::new("outerrest", &torn);
    assert_eq!(left.stream(Stream::Stdout), "out");
    assert_eq!(left.stream(Stream::Stderr), "errest");

    // The next attempt ends the torn line and goes on behind the bytes that have no entry.
    left.append("index", &("\n".to_owned() + &entry("stdout", 9, 4)));
    left.append("log", "more");
    assert_eq!(left.stream(Stream::Stdout), "outmore");
    assert_eq!(left.stream(Stream::Stderr), "errest");
}

#[test]
fn a_real_attempt_after_a_torn_one_is_read_whole() {
    let scenario = Scenario::shell("echo again");
    fs::write(scenario.path("log"), "old and torn\n").unwrap();
    fs::write(scenario.path("index"), entry("stderr", 0, 4) + "{\"at\":1,").unwrap();
    scenario.report();
    assert_eq!(scenario.stream(Stream::Stderr), b"old and torn\n");
    assert_eq!(scenario.stream(Stream::Stdout), b"again\n");
}

#[test]
fn odd_indexes_never_fail_a_reader() {
    assert_eq!(Left::new("abc", "").stream(Stream::Stdout), "abc");
    assert_eq!(Left::new("abc", &entry("stderr", 1, 2)).stream(Stream::Stderr), "abc");
    assert_eq!(Left::new("abc", &entry("stdout", 0, 900)).stream(Stream::Stdout), "abc");
    assert_eq!(
        Left::new("abc", &(entry("stdout", 0, 3) + &entry("stderr", 70, 9))).stream(Stream::Stdout),
        "abc"
    );
    assert_eq!(Left::new("abc", "[]\n\n\u{FFFD}\n").stream(Stream::Stdout), "abc");
    let overlapping = entry("stdout", 0, 3) + &entry("stderr", 1, 4);
    assert_eq!(Left::new("abcde", &overlapping).stream(Stream::Stderr), "de");
    assert_eq!(
        Left::new("abc", &("x".repeat(300_000) + "\n" + &entry("stderr", 0, 3))).stream(Stream::Stderr),
        "abc"
    );
    let missing = Left::new("abc", "");
    fs::remove_file(missing.folder.path().join("index")).unwrap();
    assert_eq!(missing.stream(Stream::Stdout), "abc");
}

#[test]
fn a_follower_sees_the_log_grow_and_can_resume() {
    let left = Left::new("out", &entry("stdout", 0, 3));
    let mut follower = left.output.follow(1).unwrap();
    let first = follower.next(100).unwrap().unwrap();
    assert_eq!((first.stream, first.offset, first.bytes.as_slice()), (Stream::Stdout, 1, b"ut".as_slice()));
    assert_eq!(follower.next(100).unwrap(), None);

    // Bytes whose stream is not known yet are held back until the index or the end tells.
    left.append("log", "err+");
    assert_eq!(follower.next(100).unwrap(), None);
    left.append("index", entry("stderr", 3, 3).strip_suffix("}\n").unwrap());
    assert_eq!(follower.next(100).unwrap(), None);
    left.append("index", "}\n");
    let second = follower.next(2).unwrap().unwrap();
    assert_eq!(
        (second.stream, second.offset, second.bytes.as_slice()),
        (Stream::Stderr, 3, b"er".as_slice())
    );

    let mut resumed = left.output.follow(follower.position()).unwrap();
    assert_eq!(resumed.next(100).unwrap().unwrap().bytes, b"r");
    assert_eq!(resumed.next(100).unwrap(), None);
    resumed.finish();
    assert_eq!(resumed.next(100).unwrap().unwrap().bytes, b"+");
    assert_eq!(resumed.next(100).unwrap(), None);
}

#[test]
fn the_tail_is_the_end_of_all_streams() {
    let index = entry("stdout", 0, 4) + &entry("stderr", 4, 4) + &entry("stdout", 8, 2);
    let tail = Left::new("aaaabbbbcc", &index).output.tail(5).unwrap();
    let found: Vec<_> =
        tail.iter().map(|chunk| (chunk.stream, chunk.offset, chunk.bytes.as_slice())).collect();
    assert_eq!(found, [(Stream::Stderr, 5, b"bbb".as_slice()), (Stream::Stdout, 8, b"cc".as_slice())]);
}

/// What a program leaves in its pipe is read however long the reading takes: a pipe is not quiet while it is full.
#[test]
fn what_waits_in_the_pipe_at_the_end_is_kept_by_a_slow_reader_too() {
    for linger in [0, 10_000] {
        let scenario =
            Scenario::shell("head -c 250000 /dev/zero").with("slow_ms", 300).with("linger_ms", linger);
        let report = scenario.report();
        assert_eq!((report["exit"].as_str(), report["drained"].as_bool()), (Some("Code(0)"), Some(true)));
        assert_eq!(scenario.stream(Stream::Stdout).len(), 250_000, "linger {linger}");
    }
}
