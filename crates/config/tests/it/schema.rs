//! The schema and the reader agree, and the copy in the repository is current.

use std::path::Path;

use co_config::{load, pipeline_schema};
use serde_json::Value;

use crate::corpus::{GOOD_FILE, bad_files};
use crate::pipelines::SEED;
use crate::{bare, repository};

const COPY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../schemas/pipeline.schema.json");

/// Comments and trailing commas are not JSON; a schema sees what is left without them.
pub(crate) fn without_comments(text: &str) -> Option<Value> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    jsonc_parser::parse_to_serde_value(text, &jsonc_parser::ParseOptions::default()).ok()
}

pub(crate) fn validator() -> jsonschema::Validator {
    jsonschema::draft202012::new(&pipeline_schema()).expect("the schema is a schema")
}

#[test]
fn the_copy_in_the_repository_is_current() {
    let text = std::fs::read_to_string(Path::new(COPY)).expect("schemas/pipeline.schema.json");
    let copy: Value = serde_json::from_str(&text).expect("the copy is JSON");
    assert_eq!(copy, pipeline_schema(), "run `cargo xtask codegen`");
}

#[test]
fn what_the_reader_takes_the_schema_takes() {
    let validator = validator();
    for text in [SEED, GOOD_FILE] {
        let value = without_comments(text).unwrap();
        let errors: Vec<String> = validator
            .iter_errors(&value)
            .map(|error| format!("{}: {error}", error.instance_path()))
            .collect();
        assert!(errors.is_empty(), "{errors:#?}");
    }
}

#[test]
fn what_the_schema_refuses_the_reader_refuses() {
    let validator = validator();
    let mut refused_by_schema = 0;
    for (name, text) in bad_files() {
        let Some(value) = without_comments(&text) else { continue };
        if !validator.is_valid(&value) {
            refused_by_schema += 1;
            let root = repository(&[("codex.orchestrator.json", &text)]);
            assert!(load(root.path(), &bare(root.path())).is_err(), "{name}");
        }
    }
    assert!(refused_by_schema > 25, "the schema sees most mistakes: {refused_by_schema}");
}

#[test]
fn unknown_keys_are_refused_at_every_level() {
    let validator = validator();
    let good = without_comments(GOOD_FILE).unwrap();
    assert!(validator.is_valid(&good));
    for place in [
        "",
        "/pipelines/0",
        "/pipelines/0/stages/0",
        "/pipelines/0/stages/0/plan",
        "/pipelines/0/stages/1/retry/on",
        "/pipelines/0/stages/2",
        "/pipelines/0/stages/4",
        "/pipelines/0/stages/5",
    ] {
        let mut bad = good.clone();
        bad.pointer_mut(place)
            .and_then(Value::as_object_mut)
            .expect(place)
            .insert("banana".to_owned(), Value::from(1));
        assert!(!validator.is_valid(&bad), "`{place}` must be closed");
    }
}
