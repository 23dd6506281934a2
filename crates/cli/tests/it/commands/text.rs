//! The text that people read, as a whole: one picture per command, and what colours it has.

use std::os::fd::OwnedFd;
use std::process::Stdio;

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use crate::commands::Workshop;
use crate::support::Ended;

/// What differs from run to run, replaced by words.
const FILTERS: [(&str, &str); 7] = [
    (r"\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d-\d{3}Z-[0-9a-f]{8}", "<RUN>"),
    (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", "<TIME>"),
    (r" *\b\d+(\.\d)?m?s\b", " <TOOK>"),
    (r"(/private)?/\S*/tree\b", "<ROOT>"),
    (r"git version \S+", "git version <VERSION>"),
    (r"(?m)^. containment .*$", "<CONTAINMENT>"),
    (r"looked in .*", "looked in <PATH>"),
];

macro_rules! picture {
    ($name:expr, $text:expr) => {
        insta::with_settings!({ filters => FILTERS, prepend_module_to_snapshot => false, omit_expression => true }, {
            insta::assert_snapshot!($name, $text);
        });
    };
}

/// Both streams and the exit code in one picture.
fn whole(arguments: &[&str], ended: &Ended) -> String {
    let section = |name: &str, text: &str| {
        if text.is_empty() { String::new() } else { format!("-- {name}\n{}\n", text.trim_end_matches('\n')) }
    };
    format!(
        "$ codex-orchestrator {}\n{}{}-- exit code {}",
        arguments.join(" "),
        section("stderr", &ended.stderr),
        section("stdout", &ended.stdout),
        ended.code()
    )
}

const PIPELINES: &str = r#"[
    { "id": "checks", "title": "Checks", "stages": [
        { "id": "build", "title": "Build everything", "command": "echo built" },
        { "id": "lint", "command": "echo 3 warnings; exit 1", "allowFailure": true },
        { "id": "integration-tests", "command": ["sh", "-c", "echo 12 passed"], "role": "tester" }
    ] },
    { "id": "broken", "stages": [
        { "id": "build", "command": "echo built" },
        { "id": "test", "command": "echo one; echo assertion failed: 1 + 1 >&2; exit 101" },
        { "id": "publish", "command": "true" }
    ] }
]"#;

#[test]
fn a_run_from_its_plan_to_its_end() {
    let project = Workshop::new(PIPELINES);
    let mut text = Vec::new();
    for arguments in [
        vec!["plan", "checks"],
        vec!["plan", "checks", "--target", "lint"],
        vec!["start", "checks"],
        vec!["status"],
        vec!["start", "broken"],
        vec!["status"],
        vec!["logs"],
        vec!["runs"],
        vec!["logs", "--events"],
    ] {
        text.push(whole(&arguments, &project.run(&arguments)));
    }
    picture!("run", text.join("\n\n"));
}

#[test]
fn the_doctor() {
    let project = Workshop::new(PIPELINES);
    let output = project.command(&["doctor"]).env("PATH", "/nowhere").output().unwrap();
    picture!("doctor", String::from_utf8(output.stdout).unwrap());
}

#[test]
fn errors() {
    let project = Workshop::new(PIPELINES);
    let mut text = Vec::new();
    let mut take = |arguments: &[&str]| {
        let ended = project.run(arguments);
        assert_ne!(ended.code(), 0, "{arguments:?}");
        assert_eq!(ended.stdout, "", "{arguments:?}");
        text.push(whole(arguments, &ended));
    };
    take(&["status"]);
    take(&["start", "chekcs"]);
    take(&["start", "checks", "--target", "tests"]);
    take(&["start", "--task", "../x"]);
    take(&["start"]);
    take(&["start", "checks", "--runs-dir", "codex.orchestrator.json"]);
    take(&["start", "--root", "nowhere"]);
    let run = { project.run(&["start", "checks", "--json"]).expect(0).run_id() };
    take(&["status", "--run", "2026-01-01"]);
    take(&["resume", "--run", &run]);
    take(&["cancel", "--run", &run]);
    take(&["resume", "--run", &run, "--token", "wrong"]);
    take(&["logs", "--stage", "tests"]);
    take(&["status", "--watch", "--interval", "soon"]);
    take(&["schema", "manifests"]);
    project.write_pipelines("[{ \"id\": \"m\", \"stages\": [\n  { \"id\": \"a\", \"comand\": \"x\" }\n] }]");
    take(&["start"]);
    project.repository().write("codex.orchestrator.json", "{ \"pipelines\": [\n");
    take(&["start"]);
    picture!("errors", text.join("\n\n"));
}

/// Runs the program with its standard streams on a terminal and gives what came out of it.
fn on_a_terminal(project: &Workshop, arguments: &[&str], variables: &[(&str, &str)]) -> String {
    let controller = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
    grantpt(&controller).unwrap();
    unlockpt(&controller).unwrap();
    let path = ptsname(&controller, Vec::new()).unwrap();
    let path = std::path::Path::new(std::ffi::OsStr::new(path.to_str().unwrap()));
    let terminal = || {
        let file = std::fs::File::options().read(true).write(true).open(path).unwrap();
        Stdio::from(OwnedFd::from(file))
    };
    let mut command = project.command(arguments);
    command.stdout(terminal()).stderr(terminal()).env("TERM", "xterm-256color");
    command.envs(variables.iter().copied());
    let mut child = command.spawn().unwrap();
    // Our copies of the terminal's end would keep it open.
    drop(command);
    let mut text = Vec::new();
    let mut buffer = [0; 4096];
    // The last one to close a terminal makes its controller fail instead of end.
    while let Ok(count @ 1..) = rustix::io::read(&controller, &mut buffer) {
        text.extend_from_slice(&buffer[..count]);
    }
    child.wait().unwrap();
    String::from_utf8(text).unwrap()
}

#[test]
fn colours_are_for_terminals_that_want_them() {
    let project = Workshop::new(PIPELINES);
    let commands: [&[&str]; 5] =
        [&["start", "checks"], &["status"], &["start", "chekcs"], &["doctor"], &["doctor", "sandbox"]];
    for arguments in commands {
        let coloured = on_a_terminal(&project, arguments, &[]);
        assert!(coloured.contains('\u{1b}'), "{arguments:?}: {coloured:?}");
        for variables in [[("NO_COLOR", "1")], [("TERM", "dumb")]] {
            let plain = on_a_terminal(&project, arguments, &variables);
            assert!(!plain.contains('\u{1b}') && !plain.is_empty(), "{arguments:?} {variables:?}: {plain:?}");
        }
        let piped = project.run(arguments);
        assert!(!format!("{}{}", piped.stdout, piped.stderr).contains('\u{1b}'), "{piped:?}");
    }
    let json = on_a_terminal(&project, &["status", "--json"], &[]);
    assert!(!json.contains('\u{1b}'), "{json:?}");
}
