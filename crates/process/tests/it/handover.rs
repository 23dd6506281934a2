//! Handing over to a program that outlives us.

use std::fs;
use std::time::{Duration, Instant};

use co_process::{Handover, HandoverError};

fn shell(script: &str, patience: Duration) -> Handover {
    Handover {
        program: "/bin/sh".into(),
        arguments: vec!["-c".into(), script.into()],
        cwd: "/".into(),
        without: vec!["PATH".into()],
        with: vec![("GIVEN".into(), "with it".into())],
        message: b"the message\n".to_vec(),
        patience,
    }
}

const LONG: Duration = Duration::from_mins(1);

#[test]
fn the_message_arrives_and_the_first_line_comes_back() {
    let answer = shell("read -r line; echo \"$PWD $line\"; echo more", LONG).perform().unwrap();
    assert_eq!(answer, b"/ the message");
    let environment = shell("/usr/bin/env | /bin/grep -c ^PATH= || :", LONG).perform().unwrap();
    assert_eq!(environment, b"0", "a shell sets a PATH of its own, but exports none");
    assert_eq!(shell("echo \"$GIVEN\"", LONG).perform().unwrap(), b"with it");
}

#[test]
fn the_program_goes_on_after_its_answer() {
    let folder = tempfile::tempdir().unwrap();
    let (gate, proof) = (folder.path().join("gate"), folder.path().join("proof"));
    rustix::fs::mknodat(rustix::fs::CWD, &gate, rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU, 0)
        .unwrap();
    let script = format!("echo begun; read -r word < {}; echo $word > {}", gate.display(), proof.display());
    assert_eq!(shell(&script, LONG).perform().unwrap(), b"begun");
    fs::write(&gate, "done\n").unwrap();
    let deadline = Instant::now() + LONG;
    while !fs::read(&proof).is_ok_and(|word| word == b"done\n") {
        assert!(Instant::now() < deadline, "the program did not go on");
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

#[test]
fn silence_is_told_from_lateness() {
    assert!(matches!(shell("exit 3", LONG).perform(), Err(HandoverError::NoAnswer { .. })));
    assert!(matches!(shell("printf half", LONG).perform(), Err(HandoverError::NoAnswer { .. })));
    let late = shell("read -r _; exec /bin/sleep 5", Duration::from_millis(20)).perform();
    assert!(matches!(late, Err(HandoverError::Late { .. })));
    let mut missing = shell("", LONG);
    missing.program = "/nowhere/at/all".into();
    assert!(matches!(missing.perform(), Err(HandoverError::Start { .. })));
}
