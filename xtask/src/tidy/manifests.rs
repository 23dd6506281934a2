//! Every package takes its lints and its common fields from the workspace.

use super::{Finding, TextFile};

const INHERITED: &[&str] = &["version", "edition", "rust-version", "license", "publish"];

pub(super) fn check(file: &TextFile) -> Vec<Finding> {
    let manifest: toml::Table = match toml::from_str(&file.text) {
        Ok(manifest) => manifest,
        Err(error) => return vec![Finding::new(&file.path, error.to_string())],
    };
    let mut findings = Vec::new();
    if !inherits(manifest.get("lints")) {
        findings.push(Finding::new(&file.path, "`[lints] workspace = true` is missing"));
    }
    let package = manifest.get("package").and_then(toml::Value::as_table);
    for field in INHERITED {
        if !inherits(package.and_then(|package| package.get(*field))) {
            findings.push(Finding::new(&file.path, format!("`{field}.workspace = true` is missing")));
        }
    }
    if !package.is_some_and(|package| package.contains_key("description")) {
        findings.push(Finding::new(&file.path, "`description` is missing"));
    }
    findings
}

fn inherits(value: Option<&toml::Value>) -> bool {
    value.and_then(|value| value.get("workspace")).and_then(toml::Value::as_bool) == Some(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(text: &str) -> Vec<String> {
        let file = TextFile { path: "crates/x/Cargo.toml".into(), text: text.into() };
        check(&file).into_iter().map(|finding| finding.message).collect()
    }

    #[test]
    fn a_manifest_that_inherits_everything_is_fine() {
        let text = "[package]\nname = \"x\"\ndescription = \"X.\"\nversion.workspace = true\n\
                    edition.workspace = true\nrust-version.workspace = true\nlicense.workspace = true\n\
                    publish.workspace = true\n[lints]\nworkspace = true\n";
        assert_eq!(messages(text), [""; 0]);
        assert_eq!(
            messages(&text.replace("edition.workspace = true", "edition = \"2021\"")),
            ["`edition.workspace = true` is missing"]
        );
    }

    #[test]
    fn a_bare_manifest_lacks_everything() {
        assert_eq!(messages("[package]\nname = \"x\"\n").len(), INHERITED.len() + 2);
    }
}
