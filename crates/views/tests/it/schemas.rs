//! The shipped schemas: up to date, true of every document, and strict.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::LazyLock;

use co_views::{SCHEMA_NAMES, schema};
use jsonschema::Validator;
use serde_json::{Value, json};

use crate::documents::{Document, documents, lines};
use crate::stories;

fn shipped(name: &str) -> Value {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("../../schemas/{name}.schema.json"));
    let text = std::fs::read_to_string(&path).expect("the schema is shipped");
    serde_json::from_str(&text).expect("the schema is JSON")
}

static VALIDATORS: LazyLock<HashMap<&'static str, Validator>> = LazyLock::new(|| {
    let compile = |name: &&'static str| (*name, jsonschema::validator_for(&shipped(name)).expect("a schema"));
    SCHEMA_NAMES.iter().map(compile).collect()
});

/// Checks a document against its shipped schema.
#[track_caller]
pub(crate) fn check(document: &Document) {
    let value: Value = serde_json::from_str(&document.text).expect("a document is JSON");
    let errors: Vec<String> = VALIDATORS[document.schema]
        .iter_errors(&value)
        .map(|error| format!("{} at {}", error, error.instance_path()))
        .collect();
    assert!(errors.is_empty(), "{} does not fit: {errors:#?}\n{}", document.schema, document.text);
}

#[test]
fn shipped_schemas_are_up_to_date() {
    for name in SCHEMA_NAMES {
        let current = schema(name).expect("every listed name has a schema");
        assert_eq!(shipped(name), current, "run `cargo xtask codegen` to renew {name}");
    }
    assert_eq!(schema("no-such-view"), None);
}

#[test]
fn every_document_of_every_story_fits_its_schema() {
    for (_, script) in stories::all() {
        for document in
            documents(&script.state, script.now).iter().chain(&lines(&script.events, &script.state))
        {
            check(document);
        }
    }
}

#[test]
fn every_schema_refuses_what_it_does_not_describe() {
    let (_, script) = stories::all().swap_remove(1);
    let mut all = documents(&script.state, script.now);
    all.extend(lines(&script.events, &script.state).into_iter().next());
    let mut seen = Vec::new();
    for document in all {
        let validator = &VALIDATORS[document.schema];
        let value: Value = serde_json::from_str(&document.text).expect("a document is JSON");
        assert!(validator.is_valid(&value));
        let mut extra = value.clone();
        extra["surprise"] = json!(true);
        assert!(!validator.is_valid(&extra), "{} takes an unknown field", document.schema);
        for key in value.as_object().expect("an object").keys() {
            let mut missing = value.clone();
            missing.as_object_mut().expect("an object").remove(key);
            assert!(!validator.is_valid(&missing), "{} does without `{key}`", document.schema);
        }
        seen.push(document.schema);
    }
    assert!(SCHEMA_NAMES.iter().all(|name| seen.contains(name)), "not all schemas were tried: {seen:?}");
}

/// The part of `docs/formats.md` between a heading and the next one of its kind.
fn documented(heading: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/formats.md");
    let text = std::fs::read_to_string(path).expect("the formats are documented");
    let (_, section) = text.split_once(&format!("## {heading}\n")).expect("the section exists");
    section.split("\n## ").next().unwrap_or_default().to_owned()
}

#[test]
fn every_event_and_every_field_of_it_is_documented() {
    let section = documented("The event stream");
    let events = shipped("event");
    for event in events["oneOf"].as_array().expect("one entry per type") {
        let properties = &event["properties"];
        let name = properties["type"]["const"].as_str().expect("a name");
        let row = section.lines().find(|line| line.starts_with(&format!("| `{name}` |")));
        let row = row.unwrap_or_else(|| panic!("`{name}` is not documented"));
        for field in properties["data"]["required"].as_array().into_iter().flatten() {
            let field = field.as_str().expect("a name");
            assert!(row.contains(&format!("`{field}`")), "`{name}` does not document `{field}`");
        }
    }
}

#[test]
fn every_field_of_the_manifest_is_documented() {
    let section = documented("The manifest");
    let schema = shipped("manifest");
    let parts = [&schema, &schema["$defs"]["CommandView"], &schema["$defs"]["AttemptView"]];
    for field in parts.iter().flat_map(|part| part["required"].as_array().expect("required fields")) {
        let field = field.as_str().expect("a name");
        assert!(section.contains(&format!("`{field}`")), "`{field}` is not documented");
    }
}
