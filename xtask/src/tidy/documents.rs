//! What documents promise must be true of the code, and the other way round.

use std::collections::{BTreeMap, BTreeSet};

use super::{Finding, TextFile};

const ARCHITECTURE: &str = "ARCHITECTURE.md";
const VARIABLE_PREFIX: &str = "CODEX_ORCHESTRATOR_";

/// Each numbered guarantee names the tests that prove it, and these tests exist.
///
/// An item of the list under the heading `Guarantees` ends in ``test: `name` `` or
/// ``tests: `name`, `other` ``.
pub(super) fn check_guarantees(architecture: Option<&TextFile>, code: &[TextFile]) -> Vec<Finding> {
    let Some(architecture) = architecture else {
        return vec![Finding::new(ARCHITECTURE, "is missing")];
    };
    let guarantees = guarantees(&architecture.text);
    if guarantees.is_empty() {
        return vec![Finding::new(ARCHITECTURE, "has no numbered list under a heading `Guarantees`")];
    }
    let mut findings = Vec::new();
    for guarantee in guarantees {
        let place = format!("{ARCHITECTURE}:{}", guarantee.line);
        let tests = tests_named(&guarantee.text);
        if tests.is_empty() {
            findings.push(Finding::new(&place, "the guarantee names no test; end it with test: `name`"));
        }
        for test in tests {
            let declaration = format!("fn {test}(");
            if !code.iter().any(|file| file.text.contains(&declaration)) {
                findings.push(Finding::new(&place, format!("there is no test `{test}`")));
            }
        }
    }
    findings
}

/// Each environment variable in the product's code is explained to users.
pub(super) fn check_variables(code: &[TextFile], documents: &[TextFile]) -> Vec<Finding> {
    let explained: BTreeSet<&str> = documents.iter().flat_map(|file| variables(&file.text)).collect();
    let mut unexplained: BTreeMap<&str, &str> = BTreeMap::new();
    for file in code.iter().filter(|file| is_shipped(&file.path)) {
        for name in variables(&file.text).filter(|name| !explained.contains(name)) {
            unexplained.entry(name).or_insert(&file.path);
        }
    }
    let findings = unexplained.into_iter();
    findings
        .map(|(name, path)| Finding::new(path, format!("`{name}` is in neither README.md nor docs/")))
        .collect()
}

/// Whether users run it: not the test kit, not tests.
fn is_shipped(path: &str) -> bool {
    path.starts_with("crates/") && !path.starts_with("crates/testkit/") && !path.contains("/tests/")
}

struct Guarantee {
    line: usize,
    text: String,
}

/// The items of the numbered list under the first heading that speaks of guarantees.
fn guarantees(text: &str) -> Vec<Guarantee> {
    let mut items: Vec<Guarantee> = Vec::new();
    let mut inside = false;
    for (index, line) in text.lines().enumerate() {
        if line.starts_with('#') {
            if inside {
                break;
            }
            inside = line.to_lowercase().contains("guarantee");
        } else if inside && is_numbered(line) {
            items.push(Guarantee { line: index + 1, text: line.to_owned() });
        } else if let (true, Some(item)) = (inside, items.last_mut()) {
            item.text.push(' ');
            item.text.push_str(line.trim());
        }
    }
    items
}

fn is_numbered(line: &str) -> bool {
    line.split_once(". ")
        .is_some_and(|(number, _)| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()))
}

/// The names in backticks after `test:` or `tests:`, without the modules before them.
fn tests_named(item: &str) -> Vec<&str> {
    let Some((_, list)) = item.split_once("test: ").or_else(|| item.split_once("tests: ")) else {
        return Vec::new();
    };
    // Every second piece is inside backticks.
    let names = list.split('`').skip(1).step_by(2);
    names.map(|name| name.rsplit("::").next().unwrap_or(name)).filter(|name| !name.is_empty()).collect()
}

fn variables(text: &str) -> impl Iterator<Item = &str> {
    text.match_indices(VARIABLE_PREFIX).filter_map(|(start, _)| {
        let rest = &text[start..];
        let end = rest.find(|c: char| !(c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_'));
        let name = &rest[..end.unwrap_or(rest.len())];
        // The bare prefix is no variable: it stands in loops and in prose.
        (name.len() > VARIABLE_PREFIX.len()).then_some(name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str) -> TextFile {
        TextFile { path: path.into(), text: text.into() }
    }

    fn guarantees_found(architecture: &str) -> Vec<String> {
        let code = [file("crates/x/src/lib.rs", "#[test]\nfn it_holds() {}\n")];
        let architecture = file(ARCHITECTURE, architecture);
        check_guarantees(Some(&architecture), &code).iter().map(Finding::to_string).collect()
    }

    #[test]
    fn a_guarantee_with_an_existing_test_is_fine() {
        let text = "# House\n1. not one\n## Guarantees\nIntro.\n1. It holds,\n   always.\n   test: `faults::it_holds`\n## Next\n2. neither\n";
        assert_eq!(guarantees_found(text), [""; 0]);
    }

    #[test]
    fn a_guarantee_without_a_test_is_found() {
        let text = "## Guarantees\n1. It holds. test: `it_holds`\n2. So does this.\n";
        assert_eq!(
            guarantees_found(text),
            ["ARCHITECTURE.md:3: the guarantee names no test; end it with test: `name`"]
        );
    }

    #[test]
    fn a_test_that_does_not_exist_is_found() {
        let text = "## Guarantees\n1. It holds. tests: `it_holds`, `it_is_gone`\n";
        assert_eq!(guarantees_found(text), ["ARCHITECTURE.md:2: there is no test `it_is_gone`"]);
    }

    #[test]
    fn a_missing_document_or_list_is_found() {
        assert_eq!(check_guarantees(None, &[]).len(), 1);
        assert_eq!(guarantees_found("# House\n1. one\n").len(), 1);
    }

    #[test]
    fn a_variable_must_be_explained_by_its_whole_name() {
        let runs = format!("{VARIABLE_PREFIX}RUNS");
        let code = [
            file("crates/x/src/lib.rs", &format!("const A: &str = \"{runs}_DIR\"; // {VARIABLE_PREFIX}*")),
            file("crates/x/src/b.rs", &format!("\"{runs}\"")),
            file("crates/x/src/c.rs", &format!("\"{runs}\" again")),
            file("crates/x/tests/it/main.rs", &format!("\"{VARIABLE_PREFIX}IN_TESTS\"")),
            file("xtask/src/lib.rs", &format!("\"{VARIABLE_PREFIX}ELSEWHERE\"")),
        ];
        let documents = [file("docs/settings.md", &format!("Set `{runs}_DIR`."))];
        let found = check_variables(&code, &documents);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].place, "crates/x/src/b.rs");
    }
}
