//! Keys: equal for the same thing, different for anything else.

use std::collections::HashMap;

use co_model::{
    CallId, CallOrigin, CallRequest, ChangeKind, FileChange, HostRule, NetworkAccess, PatchedFile,
    RuleDecision, SandboxMode, ToolUse,
};
use co_policy::key;
use proptest::prelude::*;

use crate::{call, command, script, words};

fn keys(call: &CallRequest) -> Vec<String> {
    key(call).as_slice().to_vec()
}

fn key_of(argv: Vec<String>) -> Vec<String> {
    keys(&command(argv))
}

#[test]
fn the_declared_equivalences_hold() {
    let plain = key_of(words(&["git", "commit", "-m", "a b"]));
    for same in ["git commit -m 'a b'", "git   commit\t-m \"a b\" ", "'git' commit -m a' 'b;"] {
        assert_eq!(key_of(words(&["/bin/sh", "-c", same])), plain, "{same:?}");
        assert_eq!(key_of(script(same)), key_of(script("git commit -m a\\ b")), "{same:?}");
    }
    assert_eq!(key_of(script("a && b")), key_of(script("a  &&\n b")));
    assert_eq!(key_of(script("a; b")), key_of(script("a\nb")));
    assert_eq!(key_of(script("ls *.txt")), key_of(script("ls *.txt")));
}

#[test]
fn what_looks_alike_but_is_not_has_its_own_key() {
    let argvs = [
        words(&["a"]),
        words(&["a", ""]),
        words(&["a", "b"]),
        words(&["a b"]),
        words(&["ab"]),
        words(&["a", "b", "c"]),
        words(&["a", "b c"]),
        words(&["a b", "c"]),
        script("a && b"),
        script("a || b"),
        script("a; b"),
        script("a | b"),
        script("a && b; c"),
        script("a; b && c"),
        script("b && a"),
        script("rm *"),
        script("rm '*'"),
        script("rm \\*"),
        words(&["bash", "-c", "rm *"]),
        words(&["zsh", "-lc", "rm *"]),
        script("echo \"a\\$b\""),
        script("echo 'a\\$b'"),
        script("echo $HOME"),
        script("echo '$HOME'"),
        script("echo ~"),
        script("echo '~'"),
        words(&["/tmp/bash", "-c", "a; b"]),
        words(&["bash", "-lc", "a", "b"]),
        words(&["env", "bash", "-lc", "a"]),
        script("gi\\\nt status"),
        script("git status"),
        script("git # status"),
        script("cat <<E\na\nE"),
        script("cat <<E\nb\nE"),
        words(&["cat"]),
        words(&["command"]),
        words(&["script"]),
        words(&["&&"]),
        words(&["a", "&&", "b"]),
    ];
    let mut seen: HashMap<Vec<String>, &Vec<String>> = HashMap::new();
    for argv in &argvs {
        // `rm '*'` and `rm \*` are the same command.
        if argv == &script("rm \\*") {
            continue;
        }
        if let Some(other) = seen.insert(key_of(argv.clone()), argv) {
            panic!("{argv:?} and {other:?} share a key");
        }
    }
}

#[test]
fn another_shell_or_a_login_shell_is_another_call() {
    let mut seen = HashMap::new();
    for shell in ["/bin/sh", "sh", "bash", "/bin/bash", "zsh"] {
        for flag in ["-c", "-lc"] {
            let argv = words(&[shell, flag, "echo hi"]);
            if let Some(other) = seen.insert(key_of(argv.clone()), argv.clone()) {
                panic!("{argv:?} and {other:?} share a key");
            }
        }
    }
}

#[test]
fn consents_given_before_still_hold() {
    let known = [
        (words(&["echo", "hi"]), "d3d71f57d8ca1b3dc07eae21a821a329975a331bdb7dd072d7e07c94db2c0ba0"),
        (
            words(&["/bin/sh", "-c", "echo hi && ls"]),
            "fe97f27c857d32daa92eca086607a059e79eb5f1df9f5e5ec9fa576a2a2a72eb",
        ),
        (
            words(&["bash", "-lc", "echo $HOME"]),
            "9f8febe51a0c0852b8a28767df35b89a0793c3ebbca8562faf725447706f7528",
        ),
    ];
    for (argv, expected) in known {
        assert_eq!(key_of(argv.clone()), [expected], "{argv:?}");
    }
}

fn patch(files: &[(&str, ChangeKind, &str)]) -> CallRequest {
    call(ToolUse::Patch {
        files: files
            .iter()
            .map(|(path, kind, sha256)| PatchedFile {
                change: FileChange { path: (*path).to_owned(), kind: *kind },
                sha256: (*sha256).to_owned(),
            })
            .collect(),
    })
}

#[test]
fn a_patch_has_a_key_for_each_file() {
    let both = keys(&patch(&[("a", ChangeKind::Add, "1"), ("b", ChangeKind::Update, "2")]));
    assert_eq!(both.len(), 2);
    assert_eq!(both[0], keys(&patch(&[("a", ChangeKind::Add, "1")]))[0]);
    assert_eq!(both[1], keys(&patch(&[("b", ChangeKind::Update, "2")]))[0]);
    let others = [
        patch(&[("a", ChangeKind::Update, "1")]),
        patch(&[("a", ChangeKind::Delete, "1")]),
        patch(&[("a", ChangeKind::Add, "2")]),
        patch(&[("a1", ChangeKind::Add, "")]),
        patch(&[]),
    ];
    for other in &others {
        assert_ne!(keys(other), both[..1]);
        assert_eq!(keys(other).len(), 1);
    }
    let twice = patch(&[("a", ChangeKind::Add, "1"), ("a", ChangeKind::Add, "1")]);
    assert_eq!(keys(&twice), both[..1]);
}

/// Every way to change one thing that was shown.
fn changed(call: &CallRequest) -> Vec<(&'static str, CallRequest)> {
    let mut all = Vec::new();
    let mut change = |what, edit: &dyn Fn(&mut CallRequest)| {
        let mut other = call.clone();
        edit(&mut other);
        all.push((what, other));
    };
    change("cwd", &|call| call.cwd.push('x'));
    change("tty", &|call| call.tty = !call.tty);
    change("escalated", &|call| call.escalated = !call.escalated);
    change("mode", &|call| call.sandbox.mode = SandboxMode::DangerFullAccess);
    change("no mode", &|call| call.sandbox.mode = SandboxMode::ReadOnly);
    change("root", &|call| call.sandbox.writable_roots.push("/x".to_owned()));
    change("roots", &|call| call.sandbox.writable_roots = words(&["/x", "/y"]));
    change("joined roots", &|call| call.sandbox.writable_roots = words(&["/x/y"]));
    change("network", &|call| call.sandbox.network = NetworkAccess::On);
    change("no host", &|call| call.sandbox.network = NetworkAccess::Allowed(Vec::new()));
    for (what, host, port, decision) in [
        ("host", "a.example", None, RuleDecision::Allow),
        ("host name", "b.example", None, RuleDecision::Allow),
        ("host port", "a.example", Some(443), RuleDecision::Allow),
        ("host port 0", "a.example", Some(0), RuleDecision::Allow),
        ("host decision", "a.example", None, RuleDecision::Prompt),
    ] {
        change(what, &|call| {
            let rule = HostRule { host: host.to_owned(), port, decision };
            call.sandbox.network = NetworkAccess::Allowed(vec![rule]);
        });
    }
    for (what, variables) in [
        ("variable", &[("PATH", "good")][..]),
        ("its value", &[("PATH", "evil")]),
        ("its name", &[("PATHgood", "")]),
        ("another", &[("A", "b"), ("PATH", "good")]),
    ] {
        change(what, &|call| {
            call.env = variables.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        });
    }
    change("TMPDIR", &|call| call.sandbox.exclude_tmpdir = true);
    change("/tmp", &|call| call.sandbox.exclude_slash_tmp = true);
    all
}

#[test]
fn every_permission_is_part_of_the_key() {
    for original in [
        command(words(&["ls"])),
        command(script("ls *")),
        patch(&[("a", ChangeKind::Add, "1")]),
        call(ToolUse::Mcp { server: "s".into(), name: "n".into(), arguments: "{}".into(), definition: None }),
        call(ToolUse::Other { name: "n".into(), input: "{}".into() }),
    ] {
        let mut seen = HashMap::from([(keys(&original), "nothing")]);
        for (what, other) in changed(&original) {
            if let Some(same) = seen.insert(keys(&other), what) {
                panic!("{what} and {same} share a key");
            }
        }
    }
}

#[test]
fn who_asks_and_when_is_not() {
    let original = command(words(&["ls"]));
    let other = CallRequest {
        call: CallId("call-2".to_owned()),
        attempt: 7,
        origin: CallOrigin::Agent("x".to_owned()),
        reason: Some("because".to_owned()),
        ..original.clone()
    };
    assert_eq!(keys(&original), keys(&other));
}

#[test]
fn kinds_do_not_meet() {
    let mcp = |server: &str, name: &str, arguments: &str| ToolUse::Mcp {
        server: server.into(),
        name: name.into(),
        arguments: arguments.into(),
        definition: None,
    };
    let other = |name: &str, input: &str| ToolUse::Other { name: name.into(), input: input.into() };
    let tools = [
        mcp("a", "b", "c"),
        mcp("ab", "", "c"),
        mcp("a", "bc", ""),
        mcp("", "ab", "c"),
        mcp("a", "b", "c "),
        other("a", "b"),
        other("ab", ""),
        other("", "ab"),
        other("mcp", "a"),
        ToolUse::Command { argv: words(&["a", "b"]) },
        ToolUse::Command { argv: words(&["mcp", "a", "b", "c"]) },
        ToolUse::Command { argv: Vec::new() },
    ];
    let mut seen = HashMap::new();
    for tool in tools {
        if let Some(same) = seen.insert(keys(&call(tool.clone())), tool.clone()) {
            panic!("{tool:?} and {same:?} share a key");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    /// Programs that are no shell are taken literally, so each changed byte counts.
    #[test]
    fn a_changed_byte_of_an_argument_changes_the_key(
        mut argv in proptest::collection::vec("[ -~]{0,8}", 1..5),
        which in any::<prop::sample::Index>(),
        at in any::<prop::sample::Index>(),
        byte in b' '..=b'~',
    ) {
        argv.insert(0, "program".to_owned());
        let before = key_of(argv.clone());
        let word = which.index(argv.len());
        let mut bytes = argv[word].clone().into_bytes();
        let at = at.index(bytes.len() + 1);
        if at == bytes.len() { bytes.push(byte) } else { bytes[at] = byte }
        let changed = String::from_utf8(bytes).expect("ASCII");
        prop_assume!(changed != argv[word] && !changed.ends_with("sh"));
        argv[word] = changed;
        prop_assert_ne!(key_of(argv), before);
    }

    /// Scripts share a key only when their words and joints are the same.
    #[test]
    fn scripts_of_one_key_are_the_same_commands(
        a in "(a|b|\\*|'|\"|\\\\|\\$| |&&|;|\\||\n|#|x=1){1,7}",
        b in "(a|b|\\*|'|\"|\\\\|\\$| |&&|;|\\||\n|#|x=1){1,7}",
    ) {
        if key_of(script(&a)) == key_of(script(&b)) {
            let (a, b) = (co_policy::canonical(&script(&a)), co_policy::canonical(&script(&b)));
            prop_assert_eq!(a.parts(), b.parts());
            prop_assert_eq!(a.to_string(), b.to_string());
        }
    }
}
