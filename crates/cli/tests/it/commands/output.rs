//! What stages print: every byte is kept, and none of it can harm a terminal or our memory.

use std::fs::File;
use std::io::Read;
use std::process::Stdio;

use crate::commands::{Workshop, stage};

/// Asserts that two streams have the same bytes, without holding more than a piece of each.
#[track_caller]
fn assert_same(mut left: impl Read, mut right: impl Read) {
    let (mut one, mut other) = (vec![0; 1 << 18], vec![0; 1 << 18]);
    let mut total: u64 = 0;
    loop {
        let count = left.read(&mut one).unwrap();
        if count == 0 {
            assert_eq!(right.read(&mut other).unwrap(), 0, "more than {total} bytes");
            return;
        }
        right.read_exact(&mut other[..count]).unwrap_or_else(|error| panic!("after {total} bytes: {error}"));
        assert!(one[..count] == other[..count], "the bytes after {total} differ");
        total += count as u64;
    }
}

/// The exact bytes of `logs --raw` with these further arguments.
fn raw(project: &Workshop, arguments: &[&str]) -> Vec<u8> {
    let mut all = vec!["logs", "--raw"];
    all.extend(arguments);
    let output = project.command(&all).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    output.stdout
}

/// The most memory a process has held, in KiB, while it can still be asked.
fn high_water(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

#[test]
fn two_hundred_megabytes_pass_through_bounded_memory_without_loss() {
    let bytes = 200 << 20;
    let project = Workshop::with_stages(&format!(
        r#"[{{ "id": "big", "command": "yes 'line of text åäö' | head -c {bytes}; touch printed; while ! test -e go; do sleep 0.01; done" }}]"#
    ));
    let mut child = project.spawn(&["start"]);
    crate::support::wait_for("the output is printed", || project.path("printed").exists().then_some(()));
    let most = high_water(child.id()).expect("the owner lives");
    std::fs::write(project.path("go"), "").unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert!(most <= 75 << 10, "{most} KiB");

    #[expect(clippy::disallowed_methods, reason = "the same bytes from their source")]
    let mut source = std::process::Command::new("/bin/sh")
        .args(["-c", &format!("yes 'line of text åäö' | head -c {bytes}")])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut logs =
        project.command(&["logs", "--raw", "--stage", "big"]).stdout(Stdio::piped()).spawn().unwrap();
    assert_same(source.stdout.take().unwrap(), logs.stdout.take().unwrap());
    source.wait().unwrap();
    assert_eq!(logs.wait().unwrap().code(), Some(0));
    let manifest = project.manifest(&project.only_run());
    assert_eq!(stage(&manifest, "big")["output_bytes"]["stdout"], bytes);
    std::fs::remove_file(project.path(stage(&manifest, "big")["log_path"].as_str().unwrap())).unwrap();
}

#[test]
fn random_bytes_come_back_as_they_were() {
    let project = Workshop::with_stages(r#"[{ "id": "noise", "command": "cat noise; cat noise >&2" }]"#);
    let mut noise = vec![0; 5 << 20];
    File::open("/dev/urandom").unwrap().read_exact(&mut noise).unwrap();
    std::fs::write(project.path("noise"), &noise).unwrap();
    project.run(&["start"]).expect(0);
    assert!(raw(&project, &["--stage", "noise"]) == noise);
    assert!(raw(&project, &["--stage", "noise", "--stderr"]) == noise);
    assert!(raw(&project, &["-f"]) == noise, "following gives the same bytes");
}

#[test]
fn output_that_cannot_be_written_is_no_success() {
    let project = Workshop::with_stages(r#"[{ "id": "one", "command": "echo x; echo ran >> ran" }]"#);
    let into = |arguments: &[&str], path: &str| {
        let full = File::options().write(true).open(path).unwrap();
        let output = project.command(arguments).stdout(full).output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    for arguments in [
        &["start", "--json"] as &[_],
        &["start", "--format", "jsonl"],
        &["exec", "-q", "--", "echo", "x"],
        &["exec", "--json", "--", "true"],
        &["exec", "--jsonl", "--", "echo", "x"],
        &["runs", "--json"],
        &["status"],
        &["logs"],
        &["logs", "--raw"],
        &["approvals", "list", "--json"],
        &["schema", "manifest"],
        &["completions", "bash"],
        &["--help"],
    ] {
        let (code, told) = into(arguments, "/dev/full");
        assert_eq!(code, Some(3), "{arguments:?}: {told}");
        assert_eq!(told.matches("standard output cannot be written: No space left").count(), 1, "{told}");
        assert_eq!(into(arguments, "/dev/null").0, Some(0), "{arguments:?}");
    }
    // The work was done, and what has failed keeps its own code.
    assert_eq!(project.text("ran"), "ran\n".repeat(4));
    let (code, told) = into(&["exec", "--json", "--", "sh", "-c", "exit 7"], "/dev/full");
    assert!(code == Some(7) && told.contains("cannot be written"), "{code:?} {told}");
    let runs = project.run(&["runs", "--all", "--json"]).expect(0).json();
    assert!(!runs.to_string().contains("interrupted"), "{runs}");
}

#[test]
fn hostile_output_never_reaches_a_terminal_raw() {
    let project = Workshop::with_stages(
        r#"[{ "id": "evil", "title": "title", "command": "cat evil; cat evil >&2; exit 1" }]"#,
    );
    let evil = b"\x1b[2J\x1b]0;owned\x07\x1b]52;c;cm0=\x07red\x1b[31m \xff\xfe\xc3( \xe2\x80\xaeevil\xe2\x81\xa6 \xc2\x9b31m\r\x08 end\n";
    std::fs::write(project.path("evil"), evil).unwrap();
    let run = project.run(&["start", "--json"]).expect(10).run_id();
    assert_eq!(raw(&project, &["--stage", "evil"]), evil);
    for arguments in [
        vec!["status"],
        vec!["status", "--watch"],
        vec!["status", "--json"],
        vec!["logs"],
        vec!["logs", "--stage", "evil"],
        vec!["logs", "--stderr"],
        vec!["logs", "--events"],
        vec!["logs", "--format", "jsonl"],
        vec!["logs", "--events", "--format", "jsonl"],
        vec!["runs"],
        vec!["plan"],
        vec!["start"],
    ] {
        let ended = project.run(&arguments);
        for text in [&ended.stdout, &ended.stderr] {
            harmless(text, &format!("{arguments:?}"));
        }
    }
    for file in ["manifest.json", "run-summary.json", "errors/evil.json"] {
        harmless(&project.text(&format!(".runs/local/cli/{run}/{file}")), file);
    }
    harmless(&project.text("out/local/state.json"), "state.json");
}

/// No control character but those of text, nothing that changes the direction of writing.
#[track_caller]
fn harmless(text: &str, origin: &str) {
    assert!(!text.is_empty() || origin.starts_with('['), "{origin} is empty");
    let bad = |c: &char| {
        c.is_control() && !matches!(c, '\n' | '\t')
            || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}')
    };
    if let Some(found) = text.chars().find(bad) {
        panic!("{origin} shows {found:?}: {text:?}");
    }
}
