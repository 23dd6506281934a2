//! Make: the targets `build` (or `all`), `lint` and `test` (or `check`) that the file defines.
//!
//! Included files and computed names are not followed.

use std::collections::HashSet;

use super::{Detected, DetectedStage, Look, Purpose, Toolchain};

/// In the order in which GNU Make looks for them.
const NAMES: [&str; 3] = ["GNUmakefile", "makefile", "Makefile"];

pub(super) fn detect(look: &Look<'_>) -> Option<Detected> {
    let evidence = look.first_file(&NAMES)?;
    let text = look.read(evidence)?;
    let targets = targets(&text);
    let wanted = [
        (Purpose::Build, ["build", "all"]),
        (Purpose::Lint, ["lint", "lint"]),
        (Purpose::Test, ["test", "check"]),
    ];
    let stages: Vec<DetectedStage> = wanted
        .into_iter()
        .filter_map(|(purpose, names)| {
            let target = names.into_iter().find(|name| targets.contains(name))?;
            Some(DetectedStage::new(purpose, &["make", target]))
        })
        .collect();
    if stages.is_empty() {
        look.note(format!("`{evidence}` has none of the targets `build`, `all`, `lint`, `test` and `check`"));
        return None;
    }
    Some(Detected { toolchain: Toolchain::Make, evidence: evidence.into(), stages })
}

/// Names before the colon of each rule.
fn targets(text: &str) -> HashSet<&str> {
    let mut targets = HashSet::new();
    let mut continued = false;
    for line in text.lines() {
        let is_continuation = std::mem::replace(&mut continued, line.ends_with('\\'));
        if is_continuation || line.starts_with(['\t', '#', '.']) {
            continue;
        }
        let Some((names, rest)) = line.split_once(':') else { continue };
        // `:=`, `::=` and `:::=` assign, and so does an `=` before the colon.
        if names.contains('=') || rest.trim_start_matches(':').starts_with('=') {
            continue;
        }
        targets.extend(names.split_whitespace());
    }
    targets
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_told_from_assignments_and_recipes() {
        let text = "CC := gcc\nX ::= a:b\nURL = http://x\n.PHONY: build lint\nall check: deps\n\techo test: no\n\
                    obj = a \\\n  lint: b\ntest:: all\n# build: no\n%.o: %.c\n";
        let mut found: Vec<&str> = targets(text).into_iter().collect();
        found.sort_unstable();
        assert_eq!(found, ["%.o", "all", "check", "test"]);
    }
}
