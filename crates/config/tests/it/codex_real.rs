//! The same rule files and commands, given to the real Codex and to us.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use co_config::tool_policy;
use co_model::RuleDecision;
use co_policy::{canonical, weigh};
use co_testkit::{INSTALL_HINT, codex_program};

use crate::codex_layers::Machine;

const FILES: [&str; 4] = [
    r#"
prefix_rule(pattern = ["git", "status"], match = ["git status -s"], not_match = ["git push"])
prefix_rule(pattern = ["git", ["log", "diff"]], decision = "allow")
prefix_rule(pattern = ["git", "push"], decision = "prompt", justification = "others see it")
prefix_rule(pattern = ["git", "push", "--force"], decision = "forbidden")
prefix_rule(pattern = ["rm"], decision = "forbidden", justification = "use trash")
prefix_rule(pattern = ["ls"])
"#,
    r#"
for program in ["cargo", "npm", "make"]:
    prefix_rule(pattern = [program, ["test", "build"]])
prefix_rule(pattern = ["cargo", "publish"], decision = "forbidden")
prefix_rule(pattern = ["npm"], decision = "prompt")
prefix_rule(pattern = [["cat", "head", "tail"]], decision = "allow")
"#,
    r#"
host_executable(name = "git", paths = ["/usr/bin/git", "/opt/git/bin/git"])
host_executable(name = "rm", paths = ["/bin/rm"])
prefix_rule(pattern = ["git"], decision = "allow")
prefix_rule(pattern = ["rm"], decision = "prompt")
prefix_rule(pattern = ["/usr/bin/ls"], decision = "forbidden")
prefix_rule(pattern = ["ls"], decision = "prompt")
"#,
    "# nothing\nnetwork_rule(host = \"example.com\", protocol = \"https\", decision = \"deny\")\n",
];

const COMMANDS: [&str; 64] = [
    "git",
    "git status",
    "git status -s",
    "git log",
    "git diff --stat",
    "git push",
    "git push origin",
    "git push --force",
    "git push --force origin",
    "git push origin --force",
    "git -C x status",
    "git commit",
    "gits status",
    "GIT status",
    "rm",
    "rm x",
    "rm -rf x",
    "rmdir x",
    "ls",
    "ls -la",
    "ls rm",
    "lsof",
    "cargo test",
    "cargo build --release",
    "cargo publish",
    "cargo",
    "npm",
    "npm test",
    "npm install",
    "npm build x",
    "make test",
    "make",
    "cat x",
    "head -n1 x",
    "tail",
    "echo",
    "echo git status",
    "python3 -c x",
    "true",
    "/usr/bin/git status",
    "/usr/bin/git",
    "/opt/git/bin/git log",
    "/bin/rm x",
    "/usr/bin/rm x",
    "/tmp/rm x",
    "/usr/bin/ls",
    "/bin/ls -l",
    "/usr/bin/cargo test",
    "/usr/local/bin/npm install",
    "/usr/bin/cat x",
    "/nowhere/unknown",
    "git 'status'",
    "git 'push --force'",
    "'git status'",
    "ls ''",
    "git status ; x",
    "node x",
    "git log -p",
    "cargo publish --dry-run",
    "make build",
    "make build test",
    "head",
    "cat rm",
    "npm publish",
];

const SCRIPTS: [&str; 14] = [
    "git status && ls",
    "git status; rm x",
    "ls | cat",
    "git push || ls",
    "ls\ngit log",
    "cargo test && npm test",
    "cat x | head -n 1 | tail",
    "git status && git push --force",
    "make test; make",
    "echo a && echo b",
    "git diff 'a b' \"c\"",
    "ls *.txt",
    "git log --format=%H -n1",
    "rm 'x y' || ls -la",
];

/// The native program of the npm package, which starts ten times quicker than its launcher.
fn codex() -> PathBuf {
    let launcher = codex_program().expect(INSTALL_HINT);
    let packages = launcher.ancestors().nth(3).expect("the folder of the packages").to_owned();
    let below = |folder: PathBuf| {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).collect::<Vec<_>>()
    };
    let native = below(packages).into_iter().flat_map(|package| below(package.join("vendor")));
    native.map(|target| target.join("bin/codex")).find(|program| program.is_file()).unwrap_or(launcher)
}

/// What the real Codex decides of one plain command.
#[expect(clippy::disallowed_methods, reason = "a test starts the real program")]
fn real(machine: &Machine, rules: &str, words: &[String]) -> Option<RuleDecision> {
    let output = Command::new(codex())
        .env("CODEX_HOME", machine.path("home/.codex"))
        .args(["execpolicy", "check", "--resolve-host-executables", "--rules"])
        .arg(machine.path(rules))
        .arg("--")
        .args(words)
        .output()
        .expect("codex runs");
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    match answer["decision"].as_str() {
        None => None,
        Some("allow") => Some(RuleDecision::Allow),
        Some("prompt") => Some(RuleDecision::Prompt),
        Some("forbidden") => Some(RuleDecision::Forbidden),
        Some(other) => panic!("{other}"),
    }
}

#[track_caller]
fn compare(file: usize) {
    const NAME: &str = "home/.codex/rules/default.rules";
    let machine = Machine::new(&[(NAME, FILES[file])]);
    let settings = machine.load().expect("valid");
    let policy = tool_policy(&settings, &[]).expect("a policy");
    for command in COMMANDS {
        let words = shlex::split(command).expect("words");
        let ours = weigh(&policy, &canonical(&words)).decision();
        let theirs = real(&machine, NAME, &words);
        // On purpose: a file that only has the name of an allowed program is not allowed with it.
        let is_anybodys = ["/opt/", "/tmp/"].iter().any(|folder| command.starts_with(folder));
        let is_listed = policy.host_executables.contains_key("git");
        let expected = theirs.filter(|theirs| *theirs > RuleDecision::Allow || !is_anybodys || is_listed);
        assert_eq!(ours, expected, "{command}");
    }
    for script in SCRIPTS {
        let argv = ["bash", "-lc", script].map(str::to_owned);
        let canonical = canonical(&argv);
        let ours = weigh(&policy, &canonical).decision();
        // Its checker does not split scripts, so it is given the parts; the strictest counts.
        let theirs = canonical.parts().iter().filter_map(|words| real(&machine, NAME, words)).max();
        assert_ne!(canonical.parts(), [argv.to_vec()], "{script}");
        assert_eq!(ours, theirs, "{script}");
    }
}

#[test]
fn words_and_alternatives_are_weighed_alike() {
    compare(0);
}

#[test]
fn loops_and_overlaps_are_weighed_alike() {
    compare(1);
}

#[test]
fn paths_are_weighed_alike() {
    compare(2);
}

#[test]
fn nothing_is_weighed_alike() {
    compare(3);
}

/// What the real one refuses to read, we refuse too.
#[test]
fn the_same_files_are_refused() {
    for rules in [
        "prefix_rule(pattern=[])",
        "prefix_rule(pattern=\"git\")",
        "prefix_rule(pattern=[[]])",
        "prefix_rule(pattern=[1])",
        "prefix_rule(pattern=[\"git\"], decision=\"Allow\")",
        "prefix_rule(pattern=[\"git\"], decision=None)",
        "prefix_rule(pattern=[\"git\"], foo=1)",
        "prefix_rule(pattern=[\"git\"], match=[\"rm x\"])",
        "prefix_rule(pattern=[\"git\"], not_match=[\"git x\"])",
        "prefix_rule(pattern=[\"git\"], match=[\"git \\\"x\"])",
        "prefix_rule(pattern=[\"git\"], match=[\"\"])",
        "prefix_rule(pattern=[\"git\"], justification=\" \")",
        "network_rule(host=\"*.x.com\", protocol=\"https\", decision=\"deny\")",
        "network_rule(host=\"x.com\", protocol=\"ftp\", decision=\"deny\")",
        "network_rule(host=\"http://x.com\", protocol=\"http\", decision=\"allow\")",
        "host_executable(name=\"git\", paths=[\"git\"])",
        "host_executable(name=\"git\", paths=[\"/bin/rm\"])",
        "print(\"x\")",
        "x = y",
        "load(\"x\", \"y\")",
        "prefix_rule(",
        "prefix_rule([\"a\"], pattern=[\"b\"])",
    ] {
        refused(rules);
    }
}

#[expect(clippy::disallowed_methods, reason = "a test starts the real program")]
fn refused(rules: &str) {
    const NAME: &str = "home/.codex/rules/default.rules";
    let machine = Machine::new(&[(NAME, rules)]);
    assert!(machine.load().is_err(), "ours reads {rules}");
    let output = Command::new(codex())
        .env("CODEX_HOME", machine.path("home/.codex"))
        .args(["execpolicy", "check", "--rules"])
        .arg(machine.path(NAME))
        .args(["--", "git", "status"])
        .output()
        .expect("codex runs");
    assert!(!output.status.success(), "theirs reads {rules}");
}
