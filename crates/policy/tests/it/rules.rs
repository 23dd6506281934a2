//! Rules: what they say of parts, paths and things hidden inside.

use co_model::RuleDecision::{self, Allow, Forbidden, Prompt};
use co_model::ToolPolicy;
use co_policy::{Danger, canonical, weigh};

use crate::{policy, script, words};

fn rules() -> ToolPolicy {
    policy(&[
        ("git status|log|diff", Allow),
        ("ls", Allow),
        ("cat", Allow),
        ("git push", Prompt),
        ("git push --force", Forbidden),
        ("npm|pnpm install", Prompt),
        ("rm", Forbidden),
        ("curl", Forbidden),
    ])
}

#[track_caller]
fn check(argv: &[String], decision: Option<RuleDecision>, is_allowed: bool) {
    let verdict = weigh(&rules(), &canonical(argv));
    assert_eq!((verdict.decision(), verdict.is_allowed), (decision, is_allowed), "{argv:?}: {verdict:?}");
}

#[test]
fn the_strictest_match_of_all_parts_counts() {
    for (text, decision, is_allowed) in [
        ("git status", Some(Allow), true),
        ("git log -p", Some(Allow), true),
        ("git", None, false),
        ("git pull", None, false),
        ("gits status", None, false),
        ("git push", Some(Prompt), false),
        ("git push origin", Some(Prompt), false),
        ("git push --force", Some(Forbidden), false),
        ("git push origin --force", Some(Prompt), false),
        ("npm install x", Some(Prompt), false),
        ("pnpm install", Some(Prompt), false),
        ("yarn install", None, false),
        ("rm x", Some(Forbidden), false),
        ("git status && ls", Some(Allow), true),
        ("git status && make", Some(Allow), false),
        ("make && git status", Some(Allow), false),
        ("ls | rm x", Some(Forbidden), false),
        ("ls; git push", Some(Prompt), false),
        ("cat *.txt", Some(Allow), true),
        ("cat ~/x", Some(Allow), true),
        (r"\rm x", Some(Forbidden), false),
        ("'r'm x", Some(Forbidden), false),
        ("r\"m\" x", Some(Forbidden), false),
        ("cat <<EOF\nx\nEOF", Some(Allow), true),
        ("rm <<EOF\nx\nEOF", Some(Forbidden), false),
    ] {
        check(&script(text), decision, is_allowed);
    }
}

#[test]
fn what_is_seen_inside_makes_it_stricter_only() {
    for (text, decision) in [
        ("echo $(rm x)", Some(Forbidden)),
        ("echo `rm x`", Some(Forbidden)),
        ("for f in a; do rm $f; done", Some(Forbidden)),
        ("if true; then git push; fi", Some(Prompt)),
        ("FOO=1 rm x", Some(Forbidden)),
        ("rm x > /dev/null", Some(Forbidden)),
        ("rm \\\n x", Some(Forbidden)),
        ("sudo rm x", Some(Forbidden)),
        ("env A=b rm x", Some(Forbidden)),
        ("bash -c 'rm x'", Some(Forbidden)),
        ("bash -c \"bash -c 'curl x'\"", Some(Forbidden)),
        ("eval 'rm x'", Some(Forbidden)),
        ("trap 'rm x' EXIT", Some(Forbidden)),
        ("ls $HOME", None),
        ("echo $(ls)", None),
        ("FOO=1 ls", None),
        ("echo 'rm x'", None),
        ("echo rm x", None),
        ("$cmd rm", None),
    ] {
        check(&script(text), decision, false);
    }
    check(&words(&["bash", "-euo", "pipefail", "-c", "rm x"]), Some(Forbidden), false);
    check(&words(&["env", "bash", "-c", "ls"]), None, false);
}

#[test]
fn doubt_never_allows() {
    for argv in
        [script("git \\\n status"), words(&["/tmp/bash", "-c", "git status"]), words(&["./sh", "-c", "ls"])]
    {
        let verdict = weigh(&rules(), &canonical(&argv));
        assert!(!verdict.is_allowed, "{argv:?}");
    }
    check(&words(&["/tmp/bash", "-c", "rm x"]), Some(Forbidden), false);
}

#[test]
fn a_path_is_weighed_by_its_name() {
    for (program, decision, is_allowed) in [
        ("/usr/bin/ls", Some(Allow), true),
        ("/bin/ls", Some(Allow), true),
        ("/tmp/ls", None, false),
        ("./ls", None, false),
        ("/work/bin/ls", None, false),
        ("/usr/bin/../../tmp/ls", None, false),
        ("/usr/bin/rm", Some(Forbidden), false),
        ("/tmp/rm", Some(Forbidden), false),
        ("./rm", Some(Forbidden), false),
        ("rm/", None, false),
    ] {
        check(&words(&[program, "x"]), decision, is_allowed);
    }
    let mut listed = rules();
    listed.host_executables.insert("ls".to_owned(), words(&["/opt/ls"]));
    listed.host_executables.insert("rm".to_owned(), words(&["/usr/bin/rm"]));
    for (program, decision) in [
        ("/opt/ls", Some(Allow)),
        ("/usr/bin/ls", None),
        ("ls", Some(Allow)),
        ("/usr/bin/rm", Some(Forbidden)),
        ("/tmp/rm", None),
        ("rm", Some(Forbidden)),
    ] {
        assert_eq!(weigh(&listed, &canonical(&words(&[program]))).decision(), decision, "{program}");
    }
}

#[test]
fn a_match_says_what_matched_and_why() {
    let mut policy = rules();
    policy.rules[3].justification = Some("pushing is seen by others".to_owned());
    let verdict = weigh(&policy, &canonical(&script("make && git push origin && git push --force")));
    let matches: Vec<_> = verdict
        .matches
        .iter()
        .map(|found| (found.part, found.prefix.join(" "), found.decision, found.justification.as_deref()))
        .collect();
    let why = Some("pushing is seen by others");
    assert_eq!(
        matches,
        [
            (1, "git push".to_owned(), Prompt, why),
            (2, "git push".to_owned(), Prompt, why),
            (2, "git push --force".to_owned(), Forbidden, None),
        ]
    );
    assert_eq!(verdict.unmatched, [0]);
    assert_eq!(verdict.most_specific(Forbidden).map(|found| found.prefix.len()), Some(3));
    assert_eq!(verdict.most_specific(Allow), None);
}

#[test]
fn an_empty_command_or_pattern_matches_nothing() {
    let mut policy = rules();
    policy.rules[0].pattern.clear();
    assert_eq!(weigh(&policy, &canonical(&[])).decision(), None);
    assert!(!weigh(&policy, &canonical(&[])).is_allowed);
}

fn danger(argv: &[String]) -> Option<Danger> {
    weigh(&policy(&[]), &canonical(argv)).danger
}

#[test]
fn forced_removal_is_dangerous_wherever_it_stands() {
    for text in [
        "rm -rf /",
        "rm -f x",
        "rm -fr x",
        "rm -r -f x",
        "rm --force x",
        "rm x -f",
        "/bin/rm -Rf x",
        "sudo rm -rf x",
        "sudo -n -u root rm -rf x",
        "sudo A=b rm -rf x",
        "env rm -rf x",
        "env -i A=b C=d rm -rf x",
        "env -u A rm -rf x",
        "nohup rm -rf x",
        "command rm -rf x",
        "exec rm -rf x",
        "nice -n 5 rm -rf x",
        "ls && rm -rf x",
        "printf x | rm -rf /tmp/example",
        "printf x | xargs -n 1 rm -rf",
        "if test -d x; then rm --force x; fi",
        "rm -rf \"$TARGET\" >/dev/null",
        "for target in /tmp/a /tmp/b; do rm -r -f \"$target\"; done",
        "echo \"$(rm -rf x)\"",
        "echo `rm -rf x`",
        "(rm -rf x)",
        "{ rm -rf x; }",
        "rm -rf x &",
        "A=b rm -rf x",
        "f() { rm -rf x; }; f",
        "diff <(rm -rf x) y",
        "trap 'rm -rf x' EXIT",
        "trap -- 'rm -rf x' EXIT",
        "eval rm -rf x",
        "eval 'rm -rf x'",
        "bash -c 'rm -rf x'",
        "sh -ec 'rm -rf x'",
        "bash -c \"sh -c 'rm -rf x'\"",
        "sudo bash -c 'rm -rf x'",
        "rm -rf x\nif then",
        "cat <<EOF\n$(rm -rf x)\nEOF",
        r"\rm -rf x",
        "'rm' -rf x",
    ] {
        assert_eq!(danger(&script(text)), Some(Danger::ForcedRemoval), "{text}");
    }
    assert_eq!(danger(&words(&["rm", "-rf", "x"])), Some(Danger::ForcedRemoval));
    assert_eq!(danger(&words(&["bash", "-x", "-c", "rm -rf x"])), Some(Danger::ForcedRemoval));
}

#[test]
fn other_commands_are_not() {
    for text in [
        "rm x",
        "rm -r x",
        "rm -- -f",
        "rm -ri x",
        "rm --interactive x",
        "rmdir -f x",
        "echo rm -rf x",
        "echo 'rm -rf x'",
        "cmd=rm; $cmd -rf x",
        "git reset --hard",
        "grep -rf x",
        "sudo ls -f",
        "sudo",
        "env",
        "env A=b",
        "sudo -u",
        "trap - EXIT",
        "",
    ] {
        assert_eq!(danger(&script(text)), None, "{text}");
    }
    assert_eq!(danger(&[]), None);
}

#[test]
fn what_hides_too_deep_is_dangerous() {
    let deep = std::iter::repeat_n("sudo", 20).chain(["ls"]).collect::<Vec<_>>();
    assert_eq!(danger(&words(&deep)), Some(Danger::Unreadable));
    assert_eq!(danger(&script(&"x".repeat(200_000))), Some(Danger::Unreadable));
}

/// Only what no rule speaks of is judged by its looks.
#[test]
fn a_rule_stands_before_the_heuristic() {
    let policy = policy(&[("rm -rf dist", Allow)]);
    assert_eq!(weigh(&policy, &canonical(&script("rm -rf dist"))).danger, None);
    assert!(weigh(&policy, &canonical(&script("rm -rf dist"))).is_allowed);
    assert_eq!(
        weigh(&policy, &canonical(&script("rm -rf dist; rm -rf src"))).danger,
        Some(Danger::ForcedRemoval)
    );
}
