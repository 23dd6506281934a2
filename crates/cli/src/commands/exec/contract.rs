//! The schema that an output is to satisfy.

use std::path::Path;

use co_views::SchemaViolation;
use jsonschema::Validator;
use serde_json::Value;

use crate::error::{CliError, Exit};

/// A JSON Schema, ready to be held against an output.
pub(super) struct Contract {
    validator: Validator,
}

impl Contract {
    /// Reads a schema; nothing that it refers to elsewhere is fetched.
    ///
    /// # Errors
    /// When the file cannot be read, is no JSON, or is no schema.
    pub(super) fn read(path: &Path) -> Result<Self, CliError> {
        let failed =
            |why: String| CliError::new(Exit::Usage, format!("the output schema `{}` {why}", path.display()));
        let text = std::fs::read(path).map_err(|error| failed(format!("cannot be read: {error}")))?;
        let schema: Value =
            serde_json::from_slice(&text).map_err(|error| failed(format!("is no JSON: {error}")))?;
        let options = jsonschema::options().with_draft(jsonschema::Draft::Draft202012);
        let validator =
            options.build(&schema).map_err(|error| failed(format!("is no JSON Schema: {error}")))?;
        Ok(Self { validator })
    }

    /// Reads an output as JSON that satisfies the schema.
    ///
    /// # Errors
    /// The first thing that is wrong, and where.
    pub(super) fn check(&self, output: &[u8]) -> Result<Value, SchemaViolation> {
        let value: Value = serde_json::from_slice(output).map_err(|error| SchemaViolation {
            instance_path: String::new(),
            schema_path: None,
            message: format!("it is no JSON: {error}"),
        })?;
        match self.validator.validate(&value) {
            Ok(()) => Ok(value),
            Err(error) => Err(SchemaViolation {
                instance_path: error.instance_path().to_string(),
                schema_path: Some(error.schema_path().to_string()),
                message: error.to_string(),
            }),
        }
    }
}
