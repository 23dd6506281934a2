//! Everything the program writes, held against the schemas it ships.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use jsonschema::Validator;
use serde_json::Value;

use crate::support::Project;

/// The shipped schemas, read when they are needed.
#[derive(Default)]
struct Schemas {
    validators: HashMap<&'static str, Validator>,
}

impl Schemas {
    #[track_caller]
    fn hold(&mut self, schema: &'static str, document: &Value, origin: &str) {
        let validator = self.validators.entry(schema).or_insert_with(|| {
            let path =
                Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../../schemas/{schema}.schema.json"));
            let text =
                fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            jsonschema::validator_for(&serde_json::from_str(&text).expect("JSON")).expect("a schema")
        });
        let problems: Vec<String> = validator
            .iter_errors(document)
            .map(|error| format!("{}: {error}", error.instance_path()))
            .collect();
        assert!(problems.is_empty(), "{origin} is no {schema}: {problems:#?}\n{document:#}");
    }
}

/// Checks one document that was printed.
#[track_caller]
pub(super) fn hold(schema: &'static str, document: &Value) {
    Schemas::default().hold(schema, document, "what was printed");
}

/// Checks everything that the project's runs have left in the usual folders: files, event streams
/// and statuses fit their schemas, the files equal what the log says, no run is left under way,
/// and the repository knows nothing of it all.
pub(super) fn check(project: &Project) {
    if project.path(".runs/orchestrator.db").is_file() {
        check_below(project, &project.path(".runs"), &project.path("out"));
        let status = project.repository().git(&["status", "--porcelain", "--ignored=no"]);
        assert!(!status.contains(".runs") && !status.contains("out/"), "{status}");
        assert_eq!(project.repository().git(&["tag"]), "");
    }
}

/// The same for runs that are recorded elsewhere.
pub(super) fn check_below(project: &Project, runs_dir: &Path, out_dir: &Path) {
    let ours = |arguments: &[&str]| -> Output {
        let mut command = project.command(arguments);
        command.args(["--root".as_ref(), project.root().as_os_str()]);
        command.args(["--runs-dir".as_ref(), runs_dir.as_os_str()]);
        command.args(["--out-dir".as_ref(), out_dir.as_os_str()]);
        for (name, _) in project.variables() {
            command.env_remove(name);
        }
        let output = command.output().expect("the program starts");
        assert!(output.status.success(), "{arguments:?}: {output:#?}");
        output
    };
    let mut schemas = Schemas::default();
    let mut files = Vec::new();
    collect(runs_dir, &mut files);
    collect(out_dir, &mut files);
    for file in &files {
        check_file(&mut schemas, file);
    }
    let listed = ours(&["runs", "--all", "--limit", "10000", "--format", "jsonl"]);
    for line in lines(&listed.stdout) {
        let run = line["run_id"].as_str().expect("a run id").to_owned();
        let over = ["succeeded", "failed", "cancelled", "interrupted"];
        assert!(over.contains(&line["status"].as_str().expect("a status")), "left behind: {line:#}");
        schemas.hold(
            "status",
            &lines(&ours(&["status", "--run", &run, "--format", "jsonl"]).stdout)[0],
            "status",
        );
        for event in lines(&ours(&["logs", "--run", &run, "--events", "--format", "jsonl"]).stdout) {
            schemas.hold("event", &event, "an event");
        }
    }
    ours(&["rebuild", "--check"]);
}

fn lines(bytes: &[u8]) -> Vec<Value> {
    let text = std::str::from_utf8(bytes).expect("UTF-8");
    text.lines().map(|line| serde_json::from_str(line).expect("a JSON line")).collect()
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.map(|entry| entry.expect("an entry")) {
        // The content of a run's worktree is the user's.
        if entry.file_type().expect("a type").is_dir() && entry.file_name() != "worktrees" {
            collect(&entry.path(), files);
        } else {
            files.push(entry.path());
        }
    }
}

fn check_file(schemas: &mut Schemas, file: &Path) {
    let name = file.file_name().expect("a name").to_string_lossy().into_owned();
    let folder = file.parent().and_then(Path::file_name).expect("a folder").to_string_lossy().into_owned();
    let above = file.ancestors().nth(2).and_then(Path::file_name).unwrap_or_default();
    let schema = match name.as_str() {
        "manifest.json" if above == "cli" => "manifest",
        "manifest.json" | "run-summary.json" => "run-summary",
        "events.jsonl" => {
            let bytes = fs::read(file).expect("it is readable");
            for event in &lines(&bytes) {
                schemas.hold("event", event, &file.display().to_string());
            }
            return;
        }
        "metrics.json" => "metrics",
        "state.json" => "task-state",
        _ if folder == "errors" => "error",
        _ => return,
    };
    let text = fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let document = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    schemas.hold(schema, &document, &file.display().to_string());
}
