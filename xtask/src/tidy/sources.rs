//! What source files must not hold, and how long they may grow.

use super::{Finding, TextFile};

/// A file longer than this probably holds two subjects.
const MAX_LINES: usize = 800;

/// Files that may be longer: one flat table or one deep algorithm. Never add to it lightly.
const LONG_FILES: &[&str] = &[];

/// Files that may sleep, because what they wait for cannot be waited on.
const SLEEPERS: &[&str] = &[];

struct Forbidden {
    text: &'static str,
    instead: &'static str,
    allowed_in: &'static [&'static str],
}

// Written in two halves, so that this file does not break its own rules.
const FORBIDDEN: &[Forbidden] = &[
    Forbidden {
        text: concat!("#[", "allow("),
        instead: "write `#[expect(lint, reason = \"…\")]`",
        allowed_in: &[],
    },
    Forbidden {
        text: concat!("#![", "allow("),
        instead: "write `#![expect(lint, reason = \"…\")]`",
        allowed_in: &[],
    },
    Forbidden { text: concat!("to", "do!("), instead: "finish it, or leave it out", allowed_in: &[] },
    Forbidden {
        text: concat!("unimple", "mented!("),
        instead: "finish it, or leave it out",
        allowed_in: &[],
    },
    Forbidden { text: concat!("d", "bg!("), instead: "remove it", allowed_in: &[] },
    Forbidden { text: concat!("// TO", "DO"), instead: "do it, or write an issue", allowed_in: &[] },
    Forbidden { text: concat!("// FIX", "ME"), instead: "fix it, or write an issue", allowed_in: &[] },
    Forbidden { text: concat!("sleep(", "Duration"), instead: "wait on a condition", allowed_in: SLEEPERS },
];

pub(super) fn check(file: &TextFile) -> Vec<Finding> {
    let mut findings = Vec::new();
    let lines = file.text.lines().count();
    if lines > MAX_LINES && !LONG_FILES.contains(&file.path.as_str()) {
        let message = format!("{lines} lines; more than {MAX_LINES} are probably two subjects");
        findings.push(Finding::new(&file.path, message));
    }
    for (index, line) in file.text.lines().enumerate() {
        for rule in FORBIDDEN {
            if line.contains(rule.text) && !rule.allowed_in.contains(&file.path.as_str()) {
                let place = format!("{}:{}", file.path, index + 1);
                findings.push(Finding::new(place, format!("`{}`: {}", rule.text, rule.instead)));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<String> {
        let file = TextFile { path: "crates/x/src/lib.rs".into(), text: text.into() };
        check(&file).iter().map(Finding::to_string).collect()
    }

    #[test]
    fn each_forbidden_text_is_found_on_its_line() {
        for rule in FORBIDDEN {
            let found = found(&format!("fn x() {{\n    {}\n}}\n", rule.text));
            assert_eq!(found.len(), 1, "{}: {found:?}", rule.text);
            assert!(found[0].starts_with("crates/x/src/lib.rs:2: "), "{found:?}");
        }
    }

    #[test]
    fn only_files_beyond_the_limit_are_long() {
        assert_eq!(found(&"\n".repeat(MAX_LINES)), [""; 0]);
        let long = found(&"\n".repeat(MAX_LINES + 1));
        assert_eq!(long.len(), 1);
        assert!(long[0].contains("801 lines"), "{long:?}");
    }

    #[test]
    fn clean_code_has_no_findings() {
        assert_eq!(found("#[expect(clippy::exit, reason = \"the edge\")]\nfn x() {}\n"), [""; 0]);
    }
}
