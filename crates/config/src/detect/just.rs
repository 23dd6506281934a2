//! just: the recipes `build`, `lint` and `test` that the file defines and that need no argument.

use super::{Detected, DetectedStage, Look, Purpose, Toolchain};

const NAMES: [&str; 4] = ["justfile", "Justfile", "JUSTFILE", ".justfile"];

pub(super) fn detect(look: &Look<'_>) -> Option<Detected> {
    let evidence = look.first_file(&NAMES)?;
    let text = look.read(evidence)?;
    let mut stages = Vec::new();
    for purpose in [Purpose::Build, Purpose::Lint, Purpose::Test] {
        let name = purpose.as_str();
        match text.lines().find_map(|line| recipe(line).filter(|recipe| recipe.name == name)) {
            Some(recipe) if recipe.needs_argument => {
                look.note(format!("recipe `{name}` of `{evidence}` needs an argument and is left out"));
            }
            Some(_) => stages.push(DetectedStage::new(purpose, &["just", name])),
            None => {}
        }
    }
    if stages.is_empty() {
        look.note(format!("`{evidence}` has none of the recipes `build`, `lint` and `test`"));
        return None;
    }
    Some(Detected { toolchain: Toolchain::Just, evidence: evidence.into(), stages })
}

struct Recipe<'t> {
    name: &'t str,
    needs_argument: bool,
}

/// Reads `name parameters… :` or `alias name := recipe` at the start of a line.
fn recipe(line: &str) -> Option<Recipe<'_>> {
    if line.starts_with([' ', '\t', '#', '[']) {
        return None;
    }
    let (head, rest) = split_head(line)?;
    if rest.starts_with('=') {
        let name = head.strip_prefix("alias ")?.trim();
        return Some(Recipe { name, needs_argument: false });
    }
    let mut words = words(head.strip_prefix('@').unwrap_or(head)).into_iter();
    let name = words.next()?;
    // A default or a `*` makes a parameter optional.
    let needs_argument = words.any(|parameter| !parameter.contains('=') && !parameter.starts_with('*'));
    Some(Recipe { name, needs_argument })
}

/// Splits at the first colon outside quotes.
fn split_head(line: &str) -> Option<(&str, &str)> {
    let mut quote = None;
    let at = line.find(|c: char| {
        in_quotes(&mut quote, c);
        quote.is_none() && c == ':'
    })?;
    Some((line[..at].trim_end(), &line[at + 1..]))
}

/// Follows which quote is open after `c`.
fn in_quotes(quote: &mut Option<char>, c: char) {
    match *quote {
        Some(open) if c == open => *quote = None,
        None if matches!(c, '"' | '\'' | '`') => *quote = Some(c),
        Some(_) | None => {}
    }
}

/// Words outside quotes; `a = "b c"` written without blanks is one word.
fn words(head: &str) -> Vec<&str> {
    let mut quote = None;
    let split = head.split(|c: char| {
        in_quotes(&mut quote, c);
        quote.is_none() && c.is_whitespace()
    });
    split.filter(|word| !word.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recipes_are_told_from_assignments_and_their_arguments_seen() {
        let read = |line| recipe(line).map(|recipe| (recipe.name, recipe.needs_argument));
        assert_eq!(read("build: deps"), Some(("build", false)));
        assert_eq!(read("@test filter='a:b c' *rest:"), Some(("test", false)));
        assert_eq!(read("lint path:"), Some(("lint", true)));
        assert_eq!(read("test +paths: build"), Some(("test", true)));
        assert_eq!(read("alias build := make"), Some(("build", false)));
        assert_eq!(read("version := 'x'"), None);
        assert_eq!(read("  echo a: b"), None);
        assert_eq!(read("[private]"), None);
        assert_eq!(read("set shell := ['bash']"), None);
    }
}
