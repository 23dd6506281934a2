//! Go: build, vet and test of the module at the root.

use super::{Detected, DetectedStage, Look, Purpose, Toolchain};

pub(super) fn detect(look: &Look<'_>) -> Option<Detected> {
    let evidence = look.first_file(&["go.mod"])?;
    let go = |purpose, verb| DetectedStage::new(purpose, &["go", verb, "./..."]);
    let stages = vec![go(Purpose::Build, "build"), go(Purpose::Lint, "vet"), go(Purpose::Test, "test")];
    Some(Detected { toolchain: Toolchain::Go, evidence: evidence.into(), stages })
}
