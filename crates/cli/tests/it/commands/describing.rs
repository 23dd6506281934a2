//! What describes the program and sets repositories up: `init`, `doctor`, `schema`, `completions`,
//! `man`, and instruction files.

use std::fmt::Write as _;
use std::path::Path;

use sha2::{Digest as _, Sha256};

use crate::commands::Workshop;

#[test]
fn init_writes_a_file_that_loads_and_runs() {
    let project = Workshop::bare();
    let printed = project.run(&["init", "--print"]).expect(0).stdout;
    assert!(!project.path("codex.orchestrator.json").exists());
    project.run(&["init"]).expect(0);
    assert_eq!(project.text("codex.orchestrator.json"), printed);
    assert!(project.path(".codex-orchestrator/pipeline.schema.json").is_file());
    project.run(&["plan"]).expect(0);
    project.run(&["start"]).expect(0);
    project.repository().write("codex.orchestrator.json", "mine");
    let refused = project.run(&["init"]).expect(3);
    assert!(
        refused.stderr.contains("exists already") && refused.stderr.contains("--force"),
        "{}",
        refused.stderr
    );
    assert_eq!(project.text("codex.orchestrator.json"), "mine");
    let forced = project.run(&["init", "--force", "--json"]).expect(0).json();
    assert!(forced["file"].as_str().unwrap().ends_with("codex.orchestrator.json"));
    assert_eq!(project.text("codex.orchestrator.json"), printed);
}

#[test]
fn diagnostics_are_recognised_and_run() {
    let project = Workshop::bare();
    project.repository().write("Makefile", "test:\n\t@echo tested > tested\n");
    let plan = project.run(&["plan", "--json"]).expect(0).json();
    assert_eq!(plan["pipeline"]["source"], "built-in");
    project.run(&["start"]).expect(0);
    assert_eq!(project.text("tested"), "tested\n");
}

#[test]
fn doctor_tells_what_is_there_and_what_is_missing() {
    let project = Workshop::with_stages(r#"[{ "id": "a", "command": "true" }]"#);
    let checks = project.run(&["doctor", "--json"]).expect(0).json();
    let checks = checks.as_array().unwrap();
    let named = |name: &str| checks.iter().find(|check| check["name"] == name).expect("a check");
    for name in ["containment", "git", "codex", "event log", "pipelines", "instructions"] {
        assert!(named(name)["health"].is_string());
    }
    assert_eq!(named("git")["health"], "ok");
    let bare = project.command(&["doctor"]).env("PATH", "/nowhere").output().unwrap();
    assert_eq!(bare.status.code(), Some(0), "{bare:?}");
    let text = String::from_utf8(bare.stdout).unwrap();
    assert!(text.contains("! git") && text.contains("! codex"), "{text}");
    project.repository().write("codex.orchestrator.json", "{");
    let broken = project.run(&["doctor"]).expect(3);
    assert!(broken.stdout.contains("✗ pipelines"), "{}", broken.stdout);
    assert!(!project.path(".runs").exists(), "a look writes nothing");
}

#[test]
fn every_schema_is_printed_and_is_the_shipped_one() {
    let project = Workshop::bare();
    let names = project.run(&["schema"]).expect(0).stdout;
    let names: Vec<&str> = names.lines().collect();
    assert!(names.contains(&"manifest") && names.contains(&"pipeline"), "{names:?}");
    for name in names {
        let printed = project.run(&["schema", name]).expect(0).json();
        assert!(jsonschema::meta::is_valid(&printed), "{name}");
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../../schemas/{name}.schema.json"));
        let shipped: serde_json::Value =
            serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        assert_eq!(printed, shipped, "{name}");
    }
    let unknown = project.run(&["schema", "manifset"]).expect(2);
    assert!(unknown.stderr.contains("known: "), "{}", unknown.stderr);
}

#[test]
fn completions_and_manual_are_made() {
    let project = Workshop::bare();
    for (shell, sign) in [
        ("bash", "complete -F"),
        ("zsh", "#compdef codex-orchestrator"),
        ("fish", "complete -c codex-orchestrator"),
    ] {
        let script = project.run(&["completions", shell]).expect(0).stdout;
        assert!(script.contains(sign) && script.contains("resume"), "{shell}");
    }
    let page = project.run(&["man"]).expect(0).stdout;
    assert!(page.contains(".TH codex-orchestrator 1"), "{page}");
    let markdown = project.run(&["man", "--markdown"]).expect(0).stdout;
    for command in ["start", "config explain", "recover"] {
        assert!(markdown.contains(&format!("## `codex-orchestrator {command}`")), "{command}: {markdown}");
    }
    project.run(&["man", "--directory", "man"]).expect(0);
    let pages = std::fs::read_dir(project.path("man")).unwrap().count();
    assert!(pages > 15, "{pages} pages");
    project.run(&["man", "--directory", "man/codex-orchestrator.1"]).expect(3);
    let help = project.run(&["--help"]).expect(0);
    assert!(help.stdout.contains("Exit codes:"), "{}", help.stdout);
    assert_eq!(
        project.run(&["--version"]).expect(0).stdout.trim(),
        format!("codex-orchestrator {}", env!("CARGO_PKG_VERSION"))
    );
}

#[test]
fn instruction_files_need_no_stamp_and_are_recorded_with_their_hashes() {
    let project = Workshop::with_stages(r#"[{ "id": "a", "command": "true" }]"#);
    let home = project.root().parent().unwrap().join("home/.codex");
    std::fs::create_dir_all(&home).unwrap();
    let files = [
        (home.join("AGENTS.md"), "global\n"),
        (project.path("AGENTS.md"), "root\n"),
        (project.path("docs/AGENTS.md"), "docs\n"),
    ];
    std::fs::create_dir(project.path("docs")).unwrap();
    for (path, text) in &files {
        std::fs::write(path, text).unwrap();
    }
    let run = project.run(&["start", "--json"]).expect(0).run_id();
    let manifest = project.manifest(&run);
    assert_eq!(manifest["instructions_hash"].as_str().unwrap().len(), 64);
    let sources = manifest["instructions_sources"].as_array().unwrap();
    assert_eq!(sources.len(), 3, "{sources:#?}");
    for (source, (path, text)) in sources.iter().zip(&files) {
        let shown = path.strip_prefix(project.root()).unwrap_or(path);
        assert_eq!(source["path"].as_str(), shown.to_str());
        let mut hash = String::new();
        for byte in Sha256::digest(text.as_bytes()) {
            write!(hash, "{byte:02x}").unwrap();
        }
        assert_eq!(source["sha256"], hash, "{shown:?}");
    }
}
