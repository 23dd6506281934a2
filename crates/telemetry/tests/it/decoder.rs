//! OpenTelemetry's own Python definitions as an independent decoder.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// Decodes one body per signal; panics when a body is not what it should be.
#[expect(clippy::disallowed_methods, reason = "a test waits for one short program")]
pub(crate) fn decode(encoding: &str, bodies: &[(&str, &[u8])]) -> Value {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let packages = root.join("target/python");
    assert!(packages.is_dir(), "run `cargo xtask test` once: it installs the Python packages of the tests");
    let folder = tempfile::tempdir().unwrap();
    let arguments = bodies.iter().map(|(signal, body)| {
        let path = folder.path().join(signal);
        fs::write(&path, body).unwrap();
        format!("{signal}={}", path.display())
    });
    let output = Command::new("python3")
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/decode.py"))
        .arg(encoding)
        .args(arguments)
        .env("PYTHONPATH", &packages)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The attributes of something decoded, as texts.
pub(crate) fn attribute<'a>(of: &'a Value, key: &str) -> Option<&'a str> {
    let all = of["attributes"].as_array()?;
    let value = &all.iter().find(|attribute| attribute["key"] == key)?["value"];
    value.as_object()?.values().next()?.as_str()
}
