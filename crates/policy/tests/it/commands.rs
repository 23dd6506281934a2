//! The canonical form: what is split, what is one unit, what is the same.

use co_policy::canonical;

use crate::{script, words};

#[track_caller]
fn splits(text: &str, parts: &[&[&str]]) {
    let parts: Vec<Vec<String>> = parts.iter().map(|part| words(part)).collect();
    for argv in [
        script(text),
        words(&["sh", "-c", text]),
        words(&["zsh", "-lc", text]),
        words(&["/bin/bash", "-c", text]),
        words(&["/usr/bin/zsh", "-c", text]),
    ] {
        let canonical = canonical(&argv);
        assert_eq!(canonical.parts(), parts, "{text:?}");
        assert!(canonical.is_certain(), "{text:?}");
    }
}

#[track_caller]
fn is_one_unit(text: &str) {
    let argv = script(text);
    assert_eq!(canonical(&argv).parts(), [argv], "{text:?}");
}

#[test]
fn plain_words_and_joints_are_split() {
    splits("ls", &[&["ls"]]);
    splits("  ls   -1 ", &[&["ls", "-1"]]);
    splits("\n\tls -1\n", &[&["ls", "-1"]]);
    splits("ls;", &[&["ls"]]);
    splits("ls && pwd; echo 'hi there' | wc -l", &[&["ls"], &["pwd"], &["echo", "hi there"], &["wc", "-l"]]);
    splits("a || b", &[&["a"], &["b"]]);
    splits("a\nb", &[&["a"], &["b"]]);
    splits("a &&\n  b", &[&["a"], &["b"]]);
    splits("a |\nb | c", &[&["a"], &["b"], &["c"]]);
    splits("a;b;c", &[&["a"], &["b"], &["c"]]);
    splits("a&&b||c|d", &[&["a"], &["b"], &["c"], &["d"]]);
    splits("echo 1 2 3.5 -4", &[&["echo", "1", "2", "3.5", "-4"]]);
    splits("git log --format=%H -n1 HEAD~1", &[&["git", "log", "--format=%H", "-n1", "HEAD~1"]]);
    splits("echo a=b c=d", &[&["echo", "a=b", "c=d"]]);
    splits("./x/y.sh a@b:c,d+e%f", &[&["./x/y.sh", "a@b:c,d+e%f"]]);
    splits("echo ünï→", &[&["echo", "ünï→"]]);
}

#[test]
fn quotes_and_escapes_are_taken_off() {
    splits("echo \"hello world\"", &[&["echo", "hello world"]]);
    splits("echo 'a\"b' \"c'd\"", &[&["echo", "a\"b", "c'd"]]);
    splits("git commit -m \"line1\nline2\"", &[&["git", "commit", "-m", "line1\nline2"]]);
    splits(r#"echo "/usr"'/'"local"/bin"#, &[&["echo", "/usr/local/bin"]]);
    splits("echo '' x \"\"", &[&["echo", "", "x", ""]]);
    splits("rg -n \"foo\" -g\"*.py\"", &[&["rg", "-n", "foo", "-g*.py"]]);
    splits(r"\rm x", &[&["rm", "x"]]);
    splits(r#"echo "a\$b" a\$b 'a\$b'"#, &[&["echo", "a$b", "a$b", r"a\$b"]]);
    splits(r#"echo "\n\\ \"""#, &[&["echo", "\\n\\ \""]]);
    splits("\"rm\" x", &[&["rm", "x"]]);
    splits("'r'm x", &[&["rm", "x"]]);
}

#[test]
fn words_that_the_shell_expands_stay_words() {
    splits("ls *.txt ~/x a?b", &[&["ls", "*.txt", "~/x", "a?b"]]);
    splits("git show HEAD^", &[&["git", "show", "HEAD^"]]);
}

#[test]
fn anything_else_is_one_unit() {
    for text in [
        "",
        " ",
        "# nothing",
        "ls # all",
        "(ls)",
        "ls || (pwd && echo hi)",
        "{ ls; }",
        "ls > out.txt",
        "ls 2>&1",
        "ls < in.txt",
        "echo hi & echo bye",
        "sleep 9 &",
        "a |& b",
        "! ls",
        "echo $(pwd)",
        "echo `pwd`",
        "echo $HOME",
        "echo ${HOME}",
        "echo \"hi $USER\"",
        "echo \"$(pwd)\"",
        "echo a$b",
        "echo $((1+2))",
        "diff <(a) <(b)",
        "FOO=bar ls",
        "FOO=bar",
        "export FOO=bar",
        "if a; then b; fi",
        "for x in a b; do c; done",
        "while a; do b; done",
        "case a in b) c;; esac",
        "f() { a; }",
        "[ -f x ]",
        "[[ -f x ]]",
        "ls &&",
        "&& ls",
        "ls ;; pwd",
        "ls | | wc",
        "echo 'open",
        "echo \"open",
        "cat <<A <<B\nx\nA\ny\nB\n$(ls)",
        "cat <<EOF > x\nb\nEOF",
        "cat <<EOF | sh\nb\nEOF",
        "cat <<EOF\n$(ls)\nEOF",
        "echo $'a\\nb'",
        "ls \0",
    ] {
        is_one_unit(text);
    }
}

#[test]
fn a_here_document_counts_by_its_command() {
    let argv = script("python3 -u x <<'EOF'\nprint(1)\nEOF");
    assert_eq!(canonical(&argv).parts(), [words(&["python3", "-u", "x"])]);
    let argv = script("cat <<EOF\nhello $USER\nEOF\n");
    assert_eq!(canonical(&argv).parts(), [words(&["cat"])]);
}

#[test]
fn only_the_known_wrappers_are_opened() {
    for argv in [
        &["ls", "-l"][..],
        &["env", "bash", "-lc", "ls"],
        &["bash", "-x", "-c", "ls"],
        &["bash", "-lc", "ls", "name"],
        &["bash", "-lc"],
        &["bash", "-i", "ls"],
        &["fish", "-c", "ls"],
        &["sudo", "sh", "-c", "ls"],
        &["bash"],
        &[],
    ] {
        let argv = words(argv);
        assert_eq!(canonical(&argv).parts(), [argv]);
    }
}

#[test]
fn a_shell_of_unknown_origin_is_never_certain() {
    for shell in ["./bash", "/tmp/bash", "/work/bin/sh", "../zsh"] {
        let canonical = canonical(&words(&[shell, "-c", "git status"]));
        assert_eq!(canonical.parts(), [words(&["git", "status"])], "{shell}");
        assert!(!canonical.is_certain(), "{shell}");
    }
}

/// A line that goes on, a carriage return or a strange blank may be read otherwise than it looks.
#[test]
fn strange_bytes_between_words_are_never_certain() {
    for text in ["git \\\nstatus", "gi\\\nt status", "git status\r\n", "git\u{a0}status", "git\u{b}status"] {
        let canonical = canonical(&script(text));
        let is_safe = !canonical.is_certain() || canonical.parts() == [script(text)];
        let is_a_word = canonical.parts().concat().iter().any(|word| word.contains(['\u{a0}', '\u{b}']));
        assert!(is_safe || is_a_word, "{text:?} became {:?}", canonical.parts());
    }
}

#[test]
fn it_shows_itself_as_it_would_be_typed() {
    for (argv, shown) in [
        (words(&["git", "commit", "-m", "a b"]), "git commit -m 'a b'"),
        (script("ls  &&  echo 'x y' |wc"), "ls && echo 'x y' | wc"),
        (script("a\nb"), "a; b"),
        (script("ls $HOME"), "bash -lc 'ls $HOME'"),
        (words(&["echo", "\u{1b}[31m\r"]), "echo '\\u{1b}[31m\\r'"),
    ] {
        assert_eq!(canonical(&argv).to_string(), shown);
    }
}

/// Deep nesting, length and ambiguity cost time in proportion, or are given up.
#[test]
fn hostile_scripts_are_read_quickly() {
    for text in [
        "(".repeat(60_000),
        "$(".repeat(60_000),
        "`".repeat(120_000),
        "{ ".repeat(60_000),
        "\"$(".repeat(40_000),
        "<<A ".repeat(30_000),
        "if ".repeat(40_000),
        "a=(".repeat(40_000),
        "[[ ( ".repeat(25_000),
        "case x in ".repeat(12_000),
        "a | ".repeat(32_000),
        "a | ".repeat(999),
        "a && ".repeat(25_000),
        "a\n".repeat(60_000),
        "a&".repeat(60_000),
        "! ".repeat(60_000),
        "x=y ".repeat(30_000),
        "a=b;a=(c);".repeat(12_000),
        "${a:-".repeat(25_000),
        "\"${a:-".repeat(20_000),
        "a[".repeat(60_000),
        "a{".repeat(60_000),
        "'\"".repeat(60_000),
        ">a ".repeat(40_000),
        "$((1+".repeat(99),
        "a=(".repeat(99),
        "[[ a && ".repeat(15_000),
        "function f {".repeat(10_000),
        "while a; do ".repeat(10_000),
        "a () { ".repeat(15_000),
        "<<-A <<B\n".repeat(10_000),
        "-".repeat(120_000),
        "\\".repeat(120_000),
        "a;".repeat(65_000),
        "x".repeat(10_000_000),
        format!("{}rm{}", "bash -c '".repeat(9_000), "'".repeat(9_000)),
    ] {
        let started = std::time::Instant::now();
        assert!(!canonical(&script(&text)).parts().is_empty());
        let policy = crate::policy(&[("rm", co_model::RuleDecision::Forbidden)]);
        let verdict = co_policy::weigh(&policy, &canonical(&script(&text)));
        assert!(verdict.decision() != Some(co_model::RuleDecision::Allow));
        assert!(started.elapsed().as_secs() < 30, "{}…", &text[..20]);
    }
}
