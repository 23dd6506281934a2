//! Rule files: what they say, what is wrong with them, and that none can do harm.

use std::fmt::Write as _;

use co_config::{CodexError, CodexSettings};
use co_model::RuleDecision::{Allow, Forbidden, Prompt};
use proptest::prelude::*;

use crate::codex_layers::Machine;

fn load(rules: &str) -> Result<CodexSettings, CodexError> {
    Machine::new(&[("home/.codex/rules/default.rules", rules)]).load()
}

/// What is wrong: line, column and message.
#[track_caller]
fn problem(rules: &str) -> String {
    match load(rules) {
        Err(CodexError::Invalid { problems, .. }) => {
            format!("{}:{}: {}", problems[0].line, problems[0].column, problems[0].message)
        }
        other => panic!("{rules} gave {other:?}"),
    }
}

/// Holds what is said of a file against how it must begin.
#[track_caller]
fn assert_refused(rules: &str, expected: &str) {
    let got = problem(rules);
    assert!(got.starts_with(expected), "{rules:?}\n gave {got}\n want {expected}");
}

#[test]
fn rules_of_all_trusted_layers_are_read_in_order() {
    let rule = |word: &str| format!("prefix_rule(pattern = [\"{word}\"])\n");
    let files = [
        ("etc/rules/z.rules", rule("system")),
        ("home/.codex/rules/b.rules", rule("user-b")),
        ("home/.codex/rules/a.rules", rule("user-a")),
        ("home/.codex/rules/a.txt", "not a rule (".to_owned()),
        ("work/.codex/rules/x.rules", rule("root")),
        ("work/a/.codex/rules/x.rules", rule("inner")),
    ];
    let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (*name, text.as_str())).collect();
    let words = |settings: CodexSettings| -> Vec<String> {
        settings.rules.iter().map(|rule| rule.pattern[0][0].clone()).collect()
    };
    let untrusted = Machine::new(&files).load().expect("valid");
    assert_eq!(untrusted.files.len(), 3);
    assert_eq!(words(untrusted), ["system", "user-a", "user-b"]);
    let trusted = Machine::new(&files).trust("work").load().expect("valid");
    assert_eq!(words(trusted), ["system", "user-a", "user-b", "root", "inner"]);
}

#[test]
fn all_three_functions_are_understood() {
    let settings = load(
        r#"
# A comment.
shells = ["bash", "sh"]
prefix_rule(
    pattern = ["git", ["push", "pull"]],
    decision = "prompt",
    justification = "others " + "see it",
    match = ["git push origin", ["git", "pull"], "/usr/bin/git push"],
    not_match = ["git status", "/tmp/git push"],
)
prefix_rule(["ls"])
for shell in shells + ["zsh"]:
    prefix_rule(pattern = [shell], decision = "forbidden")
prefix_rule(pattern = [[word + "x" for word in ["a", "b"]]], decision = "allow")
host_executable(name = "git", paths = ["/usr/bin/git", "/usr/bin/git"])
network_rule(host = "API.Example.com:443", protocol = "https", decision = "allow")
network_rule(host = "[::1]:80", protocol = "http", decision = "deny", justification = "local")
more = []
more += ["x"]
pass
"#,
    )
    .expect("valid");
    let rules: Vec<_> =
        settings.rules.iter().map(|rule| (rule.pattern[0].join("|"), rule.decision)).collect();
    let expected = [
        ("git", Prompt),
        ("ls", Allow),
        ("bash", Forbidden),
        ("sh", Forbidden),
        ("zsh", Forbidden),
        ("ax|bx", Allow),
    ];
    assert_eq!(rules, expected.map(|(words, decision)| (words.to_owned(), decision)));
    assert_eq!(settings.rules[0].justification.as_deref(), Some("others see it"));
    assert_eq!(settings.host_executables["git"], ["/usr/bin/git"]);
    let hosts: Vec<_> = settings.hosts.iter().map(|rule| (rule.host.as_str(), rule.decision)).collect();
    assert_eq!(hosts, [("api.example.com", Allow), ("::1", Forbidden)]);
}

#[test]
fn mistakes_are_named_with_their_place() {
    for (rules, expected) in [
        ("prefix_rule(pattern=[\"git\"]", "1:"),
        ("\n\nprefix_rule(pattern=[], decision=\"allow\")", "3:21: `pattern` is empty"),
        ("prefix_rule(pattern=[[]])", "1:21: `pattern` has an empty list of alternatives"),
        ("prefix_rule(pattern=\"git\")", "1:21: `pattern` must be a list, not of type string"),
        ("prefix_rule(pattern=[1])", "1:21: `pattern` must be a list of strings, not of type int"),
        ("prefix_rule()", "1:1: `prefix_rule` needs `pattern`"),
        (
            "prefix_rule(pattern=[\"a\"], decision=\"Allow\")",
            "1:37: there is no decision `Allow`; known are `allow`, `prompt`, `forbidden`",
        ),
        ("prefix_rule(pattern=[\"a\"], decision=None)", "1:37: `decision` must be a string"),
        ("prefix_rule(pattern=[\"a\"], reason=\"x\")", "1:28: `prefix_rule` has no parameter `reason`"),
        ("prefix_rule(pattern=[\"a\"], justification=\" \")", "1:42: `justification` is empty"),
        ("prefix_rule([\"a\"], pattern=[\"b\"])", "1:20: `pattern` is given twice"),
        (
            "prefix_rule(pattern=[\"git\"], match=[\"rm x\"])",
            "1:1: the rule does not match `rm x`, which `match` says it does",
        ),
        (
            "prefix_rule(pattern=[\"git\"], not_match=[\"git x\"])",
            "1:1: the rule matches `git x`, which `not_match`",
        ),
        (
            "prefix_rule(pattern=[\"git\"], match=[\"git \\\"x\"])",
            "1:36: `git \"x` is not what a shell could read",
        ),
        ("prefix_rule(pattern=[\"git\"], match=[\"\"])", "1:36: `match` has an empty example"),
        (
            "prefix_rul(pattern=[\"git\"])",
            "1:1: there is no function `prefix_rul`; did you mean `prefix_rule`?",
        ),
        ("print(\"x\")", "1:1: there is no function `print`"),
        (
            "network_rule(host=\"*.x.com\", protocol=\"https\", decision=\"deny\")",
            "1:19: `*.x.com` is not a host: wildcards",
        ),
        (
            "network_rule(host=\"http://x\", protocol=\"https\", decision=\"deny\")",
            "1:19: `http://x` is not a host",
        ),
        ("network_rule(host=\"x\", protocol=\"ftp\", decision=\"deny\")", "1:33: there is no protocol `ftp`"),
        (
            "host_executable(name=\"git\", paths=[\"git\"])",
            "1:35: `git` is not an absolute path that ends in `git`",
        ),
        ("host_executable(name=\"git\", paths=[\"/bin/rm\"])", "1:35: `/bin/rm` is not an absolute path"),
        ("host_executable(name=\"a/b\", paths=[])", "1:22: `a/b` is not the bare name"),
        ("load(\"x.rules\", \"y\")", "1:1: `load` is not supported"),
        ("def f():\n  pass", "1:1: `def` is not supported"),
        ("x = \"a\" * 9", "1:9: `*` is not supported"),
        ("x = [1][0]", "1:8: `[` is not supported"),
        ("x = \"a\".upper()", "1:8: `.` is not supported"),
        ("x = y", "1:5: the name `y` stands for nothing"),
        ("x = \"a\" + [\"b\"]", "1:5: a string and a list cannot be added"),
        ("for x in \"abc\":\n  pass", "1:10: a string cannot be gone through"),
        ("x = \"open", "1:"),
        ("\u{0}", "1:"),
    ] {
        assert_refused(rules, expected);
    }
    let mut bytes = b"prefix_rule(pattern=[\"a\"])\n".to_vec();
    bytes.push(0xff);
    let machine = Machine::new(&[("home/.codex/rules/x.rules", "")]);
    std::fs::write(machine.path("home/.codex/rules/x.rules"), bytes).expect("written");
    assert!(machine.load().is_err());
}

/// Starlark reads these, though some look odd; each has `prefix_rule(["a"])` once.
#[test]
fn what_starlark_reads_is_read() {
    for rules in [
        "prefix_rule([\"a\"])\r\n",
        "\u{feff}prefix_rule([\"a\"])",
        "\t# c\n\t\n   # \r \u{0} é\nprefix_rule([\"a\"]) # c\n\t",
        "prefix_rule(\n# c\n[\n\"a\",\r\n]\n,)",
        "prefix_rule \\\n ( \\\r\n[\"a\"])",
        "for x in []:\n      pass\n # c\nfor x in [\"a\"]:\n  for y in [[], 2]: pass\n # c\n\n  prefix_rule([x])\n   ",
        "for x in [\"a\"]: \\\n  prefix_rule([x])",
        "(x) = \"a\"\n[y] = [x]\n(z,) = [y]\nprefix_rule([z])",
        "a, (b, [c]) = [\"\", [\"\", [\"a\"]]]\nc += \"\"\nprefix_rule([c])",
        "prefix_rule([(x) for x, y in [[\"a\", 0x1F]] for z in [None]])",
        "x: str = \"a\"\nprefix_rule(pattern = [x], match = [\"a\"])",
        "match = \"a\"\nprint = match\ntype = print\nprefix_rule([type])",
        "x=\"\"+\"a\"\nprefix_rule([y for y in[x]])",
    ] {
        let settings = load(rules).unwrap_or_else(|error| panic!("{rules:?}: {error}"));
        assert_eq!(settings.rules[0].pattern, [["a"]], "{rules:?}");
        assert_eq!(settings.rules.len(), 1, "{rules:?}");
    }
}

#[test]
fn what_starlark_refuses_is_refused() {
    for (rules, expected) in [
        ("x =\n\"a\"", "1:4: something is missing here"),
        ("x = \"a\"\n + \"b\"", "2:2: "),
        ("  x = 1", "1:3: this is not indented as its block is"),
        ("for x in []:\npass", "1:"),
        ("for x in []:\n   pass\n  pass", "3:3: "),
        ("for x in []:\n  pass\n   pass", "3:4: "),
        ("for x in []:\n", "1:"),
        ("for x in []: for y in []: pass", "1:"),
        ("for x in []:\n\tpass", "2:1: tabs are not allowed"),
        ("x\t= 1", "1:2: tabs are not allowed"),
        ("x = [\n\t1]", "2:1: tabs are not allowed"),
        ("x = 1\t# c", "1:6: tabs are not allowed"),
        ("x = 1\ry = 2", "1:6: `\\r` does not belong here"),
        ("\\\nx = 1", "1:1: `\\\\` does not belong here"),
        ("x = 1 # a\rb\n", "1:7: this comment has a carriage return"),
        ("x = \u{a0}1", "1:5: "),
        ("x\u{c} = 1", "1:2: "),
        ("x = 1;", "1:6: `;` is not supported"),
        ("x = 1; y = 2", "1:6: `;` is not supported"),
        ("é = 1", "1:1: `é` is not supported"),
        ("x = \"a\" \"b\"", "1:"),
        ("x = \"a\", \"b\"", "1:"),
        ("x = (\"a\",)", "1:5: this is not supported"),
        ("x, = [1]", "1:2: there is a comma too many here"),
        ("x = [1,,]", "1:8: there is a comma too many here"),
        ("prefix_rule(,)", "1:13: there is a comma too many here"),
        ("x = [y for y in [],]", "1:"),
        ("x = [y for y in [] if y]", "1:20: `if` is not supported"),
        ("x = y = 1", "1:"),
        ("x, y += 1", "1:"),
        ("x -= 1", "1:3: `-=` is not supported"),
        ("x = +\"a\"", "1:"),
        ("x: list[str] = []", "1:"),
        ("x: str", "1:"),
        ("x = 1.5", "1:5: `1.5` is not supported"),
        ("x = 1_0", "1:5: `1_0` is not supported"),
        ("x = 01", "1:5: `01` is not supported"),
        ("x = 1L", "1:5: `1L` is not supported"),
        ("class = 1", "1:1: `class` is not supported"),
        ("x = yield", "1:"),
        ("x = f\"a\"", "1:5: `f\"a\"` is not supported"),
        ("x = b\"a\"", "1:5: `b\"a\"` is not supported"),
        ("x = u\"a\"", "1:5: `u\"a\"` is not supported"),
        ("x = R\"a\"", "1:5: `R\"a\"` is not supported"),
        ("x = `a`", "1:5: "),
        ("x = \"a\nb\"", "1:"),
        ("x = \"\n\"", "1:"),
        ("x = '''a", "1:5: this string does not end"),
        ("x = r'\\'", "1:5: this string does not end"),
        ("x = \"é\\x4\"", "1:7: `\\\\x4` is not an escape"),
        ("x = \"\\ud800\"", "1:6: `\\\\ud800` is not an escape"),
        ("x = [1", "1:5: this bracket is not closed"),
        ("x = 1)", "1:6: this bracket is not opened"),
        ("x = [1)", "1:"),
        ("prefix_rule(pattern=[\"a\"], \"allow\")", "1:28: an argument without a name"),
        ("for x in []:\n  prefix_rule(a=1, a=2)", "2:20: `a` is given twice"),
        ("prefix_rule([\"a\"])(1)", "1:"),
        ("prefix_rule(*[\"a\"])", "1:13: `*` is not supported"),
        ("prefix_rule(**x)", "1:13: `**` is not supported"),
    ] {
        assert_refused(rules, expected);
    }
}

/// The first word of the only rule.
fn word(literal: &str) -> String {
    let settings = load(&format!("prefix_rule([{literal}])")).unwrap_or_else(|e| panic!("{literal:?}: {e}"));
    settings.rules[0].pattern[0][0].clone()
}

#[test]
fn strings_say_what_they_say_in_starlark() {
    for (literal, expected) in [
        ("'a\"b'", "a\"b"),
        ("''", ""),
        ("\"\"\"a\n\"b\"\" c\"\"\"", "a\n\"b\"\" c"),
        ("'''\\''''", "'"),
        ("\"\\n\\r\\t\\a\\b\\f\\v\\\\\\'\\\"\"", "\n\r\t\x07\x08\x0c\x0b\\'\""),
        ("'\\x41\\xe9\\u00e9\\U0001F600'", "Aéé😀"),
        ("'\\0\\101\\1018\\777'", "\0AA8\u{1ff}"),
        ("'\\q\\8\\N{x}'", "\\q\\8\\N{x}"),
        ("'a\\\nb\\\r\nc'", "abc"),
        ("'a\rb'", "ab"),
        ("'''a\r\nb'''", "a\nb"),
        ("r'\\n\\\\\\''", "\\n\\\\'"),
        ("r'a\\\nb'", "a\\\nb"),
        ("'\u{0}é\u{feff}\t#'", "\u{0}é\u{feff}\t#"),
        ("'{a} {{'", "{a} {{"),
    ] {
        assert_eq!(word(literal), expected, "{literal:?}");
    }
    let long = "aé😀".repeat(5_000);
    assert_eq!(word(&format!("'{long}'")), long);
}

#[test]
fn long_files_of_short_words_are_read() {
    for (line, count) in [
        ("x=1\n", 65_000),
        ("[x]=[1]\n", 32_000),
        ("prefix_rule([\"a\"])\n", 9_999),
        ("# a comment of some length, as people write them\n", 5_000),
    ] {
        assert!(load(&line.repeat(count)).is_ok(), "{line}");
    }
    for item in ["1,", "[],", "\"a\",", "(1),", "\n#\n1,"] {
        assert!(load(&format!("x=[{}]", item.repeat(250_000 / item.len()))).is_ok(), "{item}");
    }
    let comments = "  # a comment of some length, as people write them\n".repeat(1_000);
    assert!(load(&format!("for x in []:\n  pass\n{comments}  pass\n")).is_ok());
}

proptest! {
    #[test]
    fn any_string_can_be_written(text in any::<String>(), is_long in any::<bool>()) {
        let quote = if is_long { "'''" } else { "\"" };
        let escape = |c: char| match c {
            '\\' | '"' | '\'' | '\r' | '\n' => format!("\\U{:08x}", u32::from(c)),
            _ => c.to_string(),
        };
        let literal: String = text.chars().map(escape).collect();
        prop_assert_eq!(word(&format!("{quote}{literal}{quote}")), text);
    }

    /// What comes of a damaged file is an error, or rules that a file can hold.
    #[test]
    fn damage_makes_up_no_rules(
        cut in 0..170_usize,
        length in 0..9_usize,
        put in "[\\n \"'\\\\\\[\\](),=+#ra]{0,3}",
    ) {
        let rules = concat!(
            "for x in [\"a\", \"b\"]:\n    prefix_rule(\n        pattern = [x, [\"c\", 'd']],  # why\n",
            "        decision = \"forbidden\",\n    )\nprefix_rule([r\"e\"] + [\"f\"])\n",
        );
        let cut = cut.min(rules.len());
        let damaged = format!("{}{put}{}", &rules[..cut], &rules[rules.len().min(cut + length)..]);
        if let Ok(settings) = load(&damaged) {
            prop_assert!(settings.rules.len() <= 4, "{damaged}");
            for rule in &settings.rules {
                prop_assert!(!rule.pattern.is_empty() && rule.pattern.iter().all(|words| !words.is_empty()));
            }
        }
    }
}

/// One bad file is enough to refuse: its rules could forbid what the others allow.
#[test]
fn a_broken_file_is_never_left_out() {
    let machine = Machine::new(&[
        ("home/.codex/rules/a.rules", "prefix_rule(pattern=[\"a\"])"),
        ("home/.codex/rules/b.rules", "prefix_rule(pattern=[\"b\"], decision=\"forbiden\")"),
    ]);
    let error = machine.load().expect_err("broken").to_string();
    assert!(error.contains("b.rules:1:37: there is no decision `forbiden`"), "{error}");
}

#[cfg(unix)]
#[test]
fn links_count_and_strange_files_are_refused() {
    let machine = Machine::new(&[("else/x", "prefix_rule(pattern=[\"a\"])"), ("home/.codex/rules/keep", "")]);
    let folder = machine.path("home/.codex/rules");
    std::os::unix::fs::symlink(machine.path("else/x"), folder.join("x.rules")).expect("a link");
    assert_eq!(machine.load().expect("valid").rules.len(), 1);
    std::os::unix::fs::symlink(machine.path("nowhere"), folder.join("y.rules")).expect("a link");
    assert!(matches!(machine.load(), Err(CodexError::Read { .. })));
}

#[test]
fn too_many_files_are_refused() {
    let machine = Machine::new(&[("home/.codex/rules/keep", "")]);
    for n in 0..300 {
        std::fs::write(machine.path(&format!("home/.codex/rules/{n}.rules")), "").expect("written");
    }
    assert!(matches!(machine.load(), Err(CodexError::TooManyRules { .. })));
}

/// Were one of them read in a time that grows with the square of its length, this would never end.
#[test]
fn hostile_files_end_soon_and_are_refused() {
    let list = |n: usize| format!("[{}]", "\"a\",".repeat(n));
    let mut doubling = "x = [\"aaaaaaaaaaaaaaaa\"]\n".to_owned();
    let mut growing = "x = \"aaaaaaaaaaaaaaaa\"\n".to_owned();
    for _ in 0..80 {
        doubling.push_str("x = x + x\n");
        growing.push_str("x = x + x\n");
    }
    let mut nested = format!("l = {}\n", list(1_000));
    for depth in 0..8 {
        let _ = writeln!(nested, "{}for v{depth} in l:", " ".repeat(depth));
    }
    let _ = writeln!(nested, "{}pass", " ".repeat(8));
    for rules in [
        doubling,
        growing,
        nested,
        format!("l = {}\nx = [a for a in l for b in l for c in l for d in l]", list(1_000)),
        format!("l = {}\nfor a in l:\n  for b in l:\n    prefix_rule(pattern=[a])", list(1_000)),
        "def f():\n  f()\nf()".to_owned(),
        "while True:\n  pass".to_owned(),
        "x = [0] * 1000000000000".to_owned(),
        "x = range(1000000000000)".to_owned(),
        "x = 1 << 1000000000".to_owned(),
        format!("x = {}{}", "[".repeat(60_000), "]".repeat(60_000)),
        format!("x = {}1{}", "(".repeat(60_000), ")".repeat(60_000)),
        format!("x = {}1", "not ".repeat(60_000)),
        format!("x = {}1", "- ".repeat(100_000)),
        format!("x = \"a\"{}", "+\"a\"".repeat(60_000)),
        format!("x = f{}", "()".repeat(60_000)),
        format!("x = f{}", "[0]".repeat(60_000)),
        format!("x = {}1", "lambda: ".repeat(30_000)),
        format!("x = {}1", "1 if 1 else ".repeat(20_000)),
        format!("x = 1{}", " in 1".repeat(50_000)),
        format!("x = a{}", ".a".repeat(100_000)),
        format!("x = [a {}]", "for a in b ".repeat(20_000)),
        (0..400).fold(String::new(), |mut text, depth| {
            let _ = writeln!(text, "{}for a in b:", " ".repeat(depth));
            text
        }),
        format!("x = {}", "{".repeat(60_000)),
        format!("x = {}y", "\\\n".repeat(100_000)),
        format!("x = a{}", "+".repeat(250_000)),
        format!("x = a{}", "=".repeat(250_000)),
        "x:".repeat(125_000),
        "(x".repeat(125_000),
        format!("for a in []:\n  pass\n{}y", "  #\n".repeat(60_000)),
        "\"'".repeat(130_000),
        (0..20_000).fold("f(".to_owned(), |mut text, n| {
            let _ = write!(text, "a{n}=1,");
            text
        }) + ")",
        format!("x = \"{}", "\\".repeat(100_000)),
        "prefix_rule(pattern=[\"a\"])\n".repeat(10_000),
        format!("prefix_rule(pattern=[\"a\"])\n{}", "#".repeat(300_000)),
    ] {
        assert!(load(&rules).is_err(), "{}…", rules.chars().take(80).collect::<String>());
    }
}
