//! Denials, transient failures, and the variables a worker gets.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io;
use std::time::Duration;

use co_model::{EnvironmentPolicy, InheritedEnvironment};
use co_policy::denial::is_likely_sandbox_denied;
use co_policy::environment::{compose, ours};
use co_policy::transient::{Class, MOST_ATTEMPTS, StartFailure, class, delay};

use crate::words;

#[test]
fn denials_are_told_by_words_and_codes() {
    for (output, exit, expected) in [
        ("touch: x: Operation not permitted", 1, true),
        ("Permission denied", 3, true),
        ("PERMISSION DENIED", 1, true),
        ("mkdir: Read-only file system", 1, true),
        ("seccomp", 1, true),
        ("blocked by the sandbox", 1, true),
        ("Landlock", 1, true),
        ("failed to write file x", 1, true),
        ("bash: ./x: Permission denied", 126, true),
        ("Permission denied", 0, false),
        ("cannot execute", 126, false),
        ("command not found", 127, false),
        ("wrong use", 2, false),
        ("", 1, false),
        ("curl: (7) Failed to connect to host: Couldn't connect to server", 7, false),
        ("", 137, false),
        ("", 159, cfg!(target_os = "linux")),
    ] {
        assert_eq!(
            is_likely_sandbox_denied(true, Some(exit), None, output.as_bytes()),
            expected,
            "{output} {exit}"
        );
        assert!(!is_likely_sandbox_denied(false, Some(exit), None, output.as_bytes()), "{output} {exit}");
    }
    assert_eq!(is_likely_sandbox_denied(true, None, Some(31), b""), cfg!(target_os = "linux"));
    assert!(!is_likely_sandbox_denied(true, None, Some(9), b""));
    assert!(is_likely_sandbox_denied(true, None, Some(9), b"\xff\xfepermission DENIED\xff"));
}

#[test]
fn what_is_used_up_or_busy_is_tried_again() {
    for kind in [
        io::ErrorKind::WouldBlock,
        io::ErrorKind::Interrupted,
        io::ErrorKind::OutOfMemory,
        io::ErrorKind::ExecutableFileBusy,
        io::ErrorKind::ResourceBusy,
        io::ErrorKind::StorageFull,
    ] {
        assert_eq!(class(StartFailure::System(&kind.into())), Class::Transient, "{kind:?}");
    }
    for kind in [
        io::ErrorKind::NotFound,
        io::ErrorKind::PermissionDenied,
        io::ErrorKind::InvalidInput,
        io::ErrorKind::ArgumentListTooLong,
        io::ErrorKind::Other,
    ] {
        assert_eq!(class(StartFailure::System(&kind.into())), Class::Hard, "{kind:?}");
    }
    for (number, expected) in [
        (11, Class::Transient),
        (12, Class::Transient),
        (23, Class::Transient),
        (24, Class::Transient),
        (26, Class::Transient),
        (28, Class::Transient),
        (1, Class::Hard),
        (2, Class::Hard),
        (8, Class::Hard),
        (13, Class::Hard),
    ] {
        if cfg!(target_os = "linux") {
            let error = io::Error::from_raw_os_error(number);
            assert_eq!(class(StartFailure::System(&error)), expected, "{error}");
        }
    }
    for (text, expected) in [
        (
            "bwrap: Creating new namespace failed: nesting depth or /proc/sys/user/max_*_namespaces exceeded (ENOSPC)",
            Class::Transient,
        ),
        ("bwrap: Can't fork unshared process: Resource temporarily unavailable", Class::Transient),
        ("bwrap: execvp x: Text file busy", Class::Transient),
        ("bwrap: Can't mount tmpfs: Cannot allocate memory", Class::Transient),
        ("bwrap: execvp nothing: No such file or directory", Class::Hard),
        ("bwrap: No permissions to create new namespace", Class::Hard),
        ("bwrap: setting up uid map: Permission denied", Class::Hard),
        ("", Class::Hard),
    ] {
        assert_eq!(class(StartFailure::Sandbox(text)), expected, "{text}");
    }
}

#[test]
fn delays_double_and_never_meet() {
    assert_eq!(delay(1, 0), Some(Duration::from_millis(250)));
    assert_eq!(delay(2, 0), Some(Duration::from_millis(500)));
    assert_eq!(delay(MOST_ATTEMPTS, 0), None);
    assert_eq!(delay(u32::MAX, 7), None);
    let delays: BTreeSet<Duration> = (0..1_000).filter_map(|jitter| delay(2, jitter)).collect();
    assert_eq!(delays.first(), Some(&Duration::from_millis(250)));
    assert_eq!(delays.last(), Some(&Duration::from_millis(500)));
    assert!(delays.len() > 200);
    assert!(delay(1, u64::MAX).is_some_and(|delay| delay >= Duration::from_millis(125)));
}

const BASE: [(&str, &str); 8] = [
    ("PATH", "/bin"),
    ("HOME", "/root"),
    ("LANG", "C"),
    ("OPENAI_API_KEY", "k"),
    ("my_token", "t"),
    ("ClientSecretId", "s"),
    ("AWS_REGION", "r"),
    ("path", "small"),
];

#[track_caller]
fn check(policy: &EnvironmentPolicy, names: &[&str]) {
    let base = BASE.map(|(name, value)| (OsString::from(name), OsString::from(value)));
    let got: Vec<OsString> = compose(policy, &base).into_keys().collect();
    let mut names: Vec<OsString> = names.iter().map(OsString::from).collect();
    names.sort();
    assert_eq!(got, names);
}

#[test]
fn what_is_ours_alone_is_in_no_environment() {
    let headers = "OTEL_EXPORTER_OTLP_HEADERS";
    let names: Vec<&str> =
        ours().filter(|name| !name.starts_with("OTEL_")).chain([headers, "PATH"]).collect();
    let mut base: Vec<(OsString, OsString)> = names.iter().map(|name| (name.into(), "x".into())).collect();
    let of =
        |base: &[_]| -> Vec<OsString> { compose(&EnvironmentPolicy::default(), base).into_keys().collect() };
    assert_eq!(
        of(&base),
        [headers, "PATH"],
        "the standard variables are everybody's until they are made ours"
    );
    base.push(("CODEX_ORCHESTRATOR_OTEL".into(), "1".into()));
    assert_eq!(of(&base), ["CODEX_ORCHESTRATOR_OTEL", "PATH"]);
}

#[test]
fn the_environment_is_composed_in_order() {
    let all: Vec<&str> = BASE.iter().map(|(name, _)| *name).collect();
    let default = EnvironmentPolicy::default;
    check(&default(), &all);
    check(&EnvironmentPolicy { inherit: InheritedEnvironment::Core, ..default() }, &["HOME", "PATH"]);
    check(&EnvironmentPolicy { inherit: InheritedEnvironment::None, ..default() }, &[]);
    check(
        &EnvironmentPolicy { ignore_default_excludes: false, ..default() },
        &["PATH", "HOME", "LANG", "AWS_REGION", "path"],
    );
    check(
        &EnvironmentPolicy { exclude: words(&["aws_*", "p?th", "*SECRET*", "*_*"]), ..default() },
        &["HOME", "LANG"],
    );
    let set = [("API_KEY".to_owned(), "x".to_owned()), ("LANG".to_owned(), "de".to_owned())];
    check(
        &EnvironmentPolicy {
            inherit: InheritedEnvironment::None,
            ignore_default_excludes: false,
            exclude: words(&["*"]),
            set: set.clone().into_iter().collect(),
            ..default()
        },
        &["API_KEY", "LANG"],
    );
    check(
        &EnvironmentPolicy {
            set: set.clone().into_iter().collect(),
            include_only: words(&["LANG", "h*e"]),
            ..default()
        },
        &["HOME", "LANG"],
    );
    let policy = EnvironmentPolicy { set: set.into_iter().collect(), ..default() };
    let composed = compose(&policy, &[("LANG".into(), "C".into())]);
    assert_eq!(composed.get(&OsString::from("LANG")), Some(&OsString::from("de")));
}

#[test]
fn globs_match_whole_names() {
    for (glob, name, expected) in [
        ("*", "", true),
        ("", "", true),
        ("", "a", false),
        ("a", "A", true),
        ("a*", "b", false),
        ("*a", "ba", true),
        ("*a*b*c", "xaxbxc", true),
        ("*a*b*c", "xaxbxcx", false),
        ("a?c", "abc", true),
        ("a?c", "ac", false),
        ("**", "x", true),
        ("a**b", "ab", true),
        ("[a]", "a", false),
        ("ä*", "ÄB", false),
        ("?", "ä", true),
    ] {
        let policy = EnvironmentPolicy { include_only: words(&[glob]), ..EnvironmentPolicy::default() };
        let is_kept = !compose(&policy, &[(OsString::from(name), OsString::new())]).is_empty();
        assert_eq!(is_kept, expected, "{glob} {name}");
    }
    // A name and a glob made to go back and forth.
    let policy = EnvironmentPolicy {
        include_only: vec![format!("{}b", "a*".repeat(2_000))],
        ..EnvironmentPolicy::default()
    };
    assert!(compose(&policy, &[(OsString::from("a".repeat(20_000)), OsString::new())]).is_empty());
}
