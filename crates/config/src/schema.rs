//! The JSON Schema of the pipeline file, generated from the reader's own table of keys.
//!
//! The schema is never stricter than the reader; what only the reader can see (references,
//! cycles, a key in both spellings) it leaves to the reader.

use serde_json::{Map, Value, json};

use crate::keys::{FILE_KEYS, Key, Kind, PIPELINE_KEYS, SESSION_KEYS, Shape, spellings};

/// Where a starting file tells editors to find the schema: below the repository, so that
/// completion works without a network. Whoever writes [`crate::starter_file`] writes
/// [`pipeline_schema`] there.
pub const SCHEMA_FILE: &str = ".codex-orchestrator/pipeline.schema.json";

/// Builds the JSON Schema (draft 2020-12) of `codex.orchestrator.json`.
pub fn pipeline_schema() -> Value {
    let mut schema = object(&[FILE_KEYS], &["pipelines"]);
    set(&mut schema, "$schema", json!("https://json-schema.org/draft/2020-12/schema"));
    set(&mut schema, "$id", json!("codex-orchestrator:pipeline:1"));
    set(&mut schema, "title", json!("Pipelines of a repository (codex.orchestrator.json)"));
    let mut definitions = Map::new();
    definitions.insert("pipeline".to_owned(), object(&[PIPELINE_KEYS], &["id", "stages"]));
    definitions.insert("stage".to_owned(), stage());
    for kind in Kind::ALL {
        definitions.insert(definition(kind), stage_of(kind));
    }
    set(&mut schema, "$defs", Value::Object(definitions));
    schema
}

fn set(object: &mut Value, key: &str, value: Value) {
    if let Some(map) = object.as_object_mut() {
        map.insert(key.to_owned(), value);
    }
}

fn definition(kind: Kind) -> String {
    format!("{}_stage", kind.name())
}

/// Chooses by `kind`, so that an editor shows the keys and mistakes of that kind alone.
fn stage() -> Value {
    let reference = |kind| json!({ "$ref": format!("#/$defs/{}", definition(kind)) });
    let others = [Kind::Agent, Kind::Gate, Kind::Nested, Kind::Mcp];
    others.into_iter().rev().fold(reference(Kind::Command), |otherwise, kind| {
        json!({
            "if": { "type": "object", "properties": { "kind": { "enum": kind.spellings() } }, "required": ["kind"] },
            "then": reference(kind),
            "else": otherwise,
        })
    })
}

fn stage_of(kind: Kind) -> Value {
    let required: &[&str] = match kind {
        Kind::Command => &["id", "command"],
        Kind::Agent => &["id", "kind"],
        Kind::Gate => &["id", "kind", "message"],
        Kind::Nested => &["id", "kind", "pipeline"],
        Kind::Mcp => &["id", "kind", "server", "tool"],
    };
    let mut schema = object(kind.keys(), required);
    schema["properties"]["kind"]["enum"] = json!(kind.spellings());
    if kind == Kind::Agent {
        let one_of = ["prompt", "prompt_file", "promptFile"].map(|key| json!({ "required": [key] }));
        set(&mut schema, "oneOf", json!(one_of));
    }
    schema
}

fn object(groups: &[&'static [Key]], required: &[&str]) -> Value {
    let mut properties = Map::new();
    for key in groups.iter().copied().flatten() {
        for spelling in spellings(key) {
            let mut value = values(&key.shape);
            let doc = if spelling == key.name {
                key.doc.to_owned()
            } else {
                format!("{} (the same as `{}`)", key.doc, key.name)
            };
            set(&mut value, "description", json!(doc));
            properties.insert(spelling, value);
        }
    }
    json!({
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    })
}

fn values(shape: &'static Shape) -> Value {
    let text = || json!({ "type": "string", "minLength": 1 });
    let id = || {
        json!({
            "type": "string", "minLength": 1, "maxLength": 120,
            "pattern": r#"^[^.\-\s<>:"/\\|?*][^<>:"/\\|?*]*$"#,
        })
    };
    let session_id = || json!({ "type": "string", "pattern": r"^(?!\.{1,2}$)[A-Za-z0-9._-]{1,64}$" });
    let by_name = |value: Value| {
        json!({
            "type": "object",
            "propertyNames": { "pattern": "^[A-Za-z0-9_-]{1,64}$" },
            "additionalProperties": value,
        })
    };
    match *shape {
        Shape::FreeText => json!({ "type": "string" }),
        Shape::Text | Shape::InnerPath => text(),
        Shape::Boolean => json!({ "type": "boolean" }),
        Shape::Count { least, most } => json!({ "type": "integer", "minimum": least, "maximum": most }),
        Shape::Duration { .. } => json!({
            "type": "string",
            "pattern": r"^\s*([0-9]+\.?[0-9]*|\.[0-9]+)\s*(ms|s|m|min|h)\s*$",
        }),
        Shape::Choice(words) => json!({ "enum": words }),
        Shape::Agent => json!({
            "anyOf": [
                { "enum": crate::keys::AGENTS },
                { "type": "string", "pattern": format!(r"^{}\s*\S", crate::keys::ACP) },
            ],
        }),
        Shape::Texts => json!({ "type": "array", "items": text() }),
        Shape::PipelineId | Shape::StageId => id(),
        Shape::StageIds => json!({ "type": "array", "items": id(), "uniqueItems": true }),
        Shape::Command => json!({
            "oneOf": [text(), { "type": "array", "items": { "type": "string" }, "minItems": 1 }],
        }),
        Shape::Environment => json!({
            "type": "object",
            "propertyNames": { "pattern": "^[^=]+$" },
            "additionalProperties": { "type": "string" },
        }),
        Shape::Outputs => by_name(text()),
        Shape::Inputs => by_name(json!({ "type": "string", "pattern": r"^.+\.[A-Za-z0-9_-]+$" })),
        Shape::ExitCodes => json!({
            "type": "array", "items": { "type": "integer", "minimum": 1, "maximum": 255 }, "minItems": 1,
        }),
        Shape::Arguments => json!({ "type": "object" }),
        Shape::SessionId => session_id(),
        Shape::Session => json!({ "oneOf": [session_id(), object(&[SESSION_KEYS], &[])] }),
        Shape::Object(keys) => object(&[keys], &[]),
        Shape::Stages => json!({ "type": "array", "items": { "$ref": "#/$defs/stage" }, "minItems": 1 }),
        Shape::Pipelines => json!({ "type": "array", "items": { "$ref": "#/$defs/pipeline" } }),
    }
}
