//! The JSON Schemas of all views, generated from their types.

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::Value;

use crate::call::GrantView;
use crate::error::ErrorArtifact;
use crate::event::EventLine;
use crate::exec::ExecResult;
use crate::manifest::Manifest;
use crate::metrics::Metrics;
use crate::run_summary::RunSummary;
use crate::start::StartResult;
use crate::status::StatusView;
use crate::task_state::TaskState;

/// The names [`schema`] knows; `schemas/<name>.schema.json` holds each.
pub const SCHEMA_NAMES: &[&str] = &[
    "manifest",
    "run-summary",
    "metrics",
    "task-state",
    "event",
    "status",
    "error",
    "start",
    "grant",
    "exec",
];

/// The JSON Schema (draft 2020-12) of a view; `None` for an unknown name.
pub fn schema(name: &str) -> Option<Value> {
    match name {
        "manifest" => Some(of::<Manifest>()),
        "run-summary" => Some(of::<RunSummary>()),
        "metrics" => Some(of::<Metrics>()),
        "task-state" => Some(of::<TaskState>()),
        "event" => Some(of::<EventLine>()),
        "status" => Some(of::<StatusView>()),
        "error" => Some(of::<ErrorArtifact>()),
        "start" => Some(of::<StartResult>()),
        "grant" => Some(of::<GrantView>()),
        "exec" => Some(of::<ExecResult>()),
        _ => None,
    }
}

/// Describes a type as it is written, not as it could be read: every field is always there.
///
/// Keys are sorted, so that the text does not depend on which map `serde_json` was built with.
fn of<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::draft2020_12().for_serialize();
    let mut schema = SchemaGenerator::new(settings).into_root_schema_for::<T>().to_value();
    schema.sort_all_objects();
    schema
}
