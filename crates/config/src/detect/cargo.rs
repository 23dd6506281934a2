//! Rust: `cargo build` and `cargo test`; clippy and rustfmt where the repository configures them.

use super::{Detected, DetectedStage, Look, Purpose, Toolchain};

pub(super) fn detect(look: &Look<'_>) -> Option<Detected> {
    let evidence = look.first_file(&["Cargo.toml"])?;
    let manifest = look.read_toml(evidence).unwrap_or_default();
    let workspace = manifest.get("workspace");
    // Without the flag, a workspace with a root package would only have that package checked.
    let scope: &[&str] = if workspace.is_some() { &["--workspace"] } else { &[] };
    let clippy_lints =
        |table: Option<&toml::Value>| table.and_then(|table| table.get("lints")?.get("clippy")).is_some();
    let clippy = look.first_file(&["clippy.toml", ".clippy.toml"]).is_some()
        || manifest.get("lints").and_then(|lints| lints.get("clippy")).is_some()
        || clippy_lints(workspace);
    let rustfmt = look.first_file(&["rustfmt.toml", ".rustfmt.toml"]).is_some();

    let cargo = |purpose, words: &[&str]| DetectedStage::new(purpose, &[&["cargo"], words, scope].concat());
    let mut stages = vec![cargo(Purpose::Build, &["build"])];
    if clippy {
        stages.push(cargo(Purpose::Lint, &["clippy", "--all-targets"]));
    }
    if rustfmt {
        stages.push(DetectedStage::new(Purpose::Format, &["cargo", "fmt", "--all", "--check"]));
    }
    stages.push(cargo(Purpose::Test, &["test"]));
    for (wanted, program) in [(clippy, "cargo-clippy"), (rustfmt, "cargo-fmt")] {
        if wanted && look.environment.find_program(program).is_none() {
            look.note_missing(program);
        }
    }
    Some(Detected { toolchain: Toolchain::Cargo, evidence: evidence.into(), stages })
}
