//! Small helper programs.

use std::time::Duration;

use co_process::{LeaderExit, Tool, ToolError};

fn shell(line: &str) -> Tool {
    Tool::new("/bin/sh").args(["-c", line])
}

#[test]
fn a_tool_answers_with_its_streams_and_its_exit() {
    let output = shell("cat; echo err >&2; exit 3").stdin("in\n").run().unwrap();
    assert_eq!(output.exit, LeaderExit::Code(3));
    assert!(!output.is_success());
    assert_eq!((output.stdout_text().as_str(), output.stderr_text().as_str()), ("in", "err"));
    assert_eq!(shell("kill -9 $$").run().unwrap().exit, LeaderExit::Signal(9));
}

#[test]
fn large_input_and_output_pass_through() {
    let bytes = vec![b'z'; 2_000_000];
    assert!(Tool::new("cat").stdin(bytes.clone()).run().unwrap().stdout == bytes);
    assert!(shell("exit 0").stdin(bytes).run().unwrap().is_success());
}

#[test]
fn the_environment_can_be_scrubbed() {
    let output =
        Tool::new("/usr/bin/env").env_clear().env("A", "1").env("B", "2").env_remove("B").run().unwrap();
    assert_eq!(output.stdout_text(), "A=1");
    let output = Tool::new("/usr/bin/env").env_remove_prefix("PATH").run().unwrap();
    assert!(!output.stdout_text().lines().any(|line| line.starts_with("PATH")));
    assert_eq!(Tool::new("pwd").cwd("/").run().unwrap().stdout_text(), "/");
}

#[test]
fn failures_are_told_apart() {
    assert!(matches!(Tool::new("no-such-tool").run(), Err(ToolError::NotFound { .. })));
    assert!(matches!(Tool::new("pwd").cwd("/nowhere").run(), Err(ToolError::Start { .. })));
    let late = shell("sleep 300 & sleep 300").timeout(Duration::from_millis(200)).run();
    assert!(matches!(late, Err(ToolError::TimedOut { .. })));
    let verbose = Tool::new("yes").max_output(100_000).run();
    assert!(matches!(verbose, Err(ToolError::TooMuchOutput { limit: 100_000, .. })));
}

#[test]
fn a_background_process_does_not_hold_the_answer() {
    let output = shell("sleep 300 & echo $!").run().unwrap();
    let background = crate::probe::Watched::pid(output.stdout_text().parse().unwrap());
    background.kill();
    background.wait_gone();
}
