//! `init` and `config explain`: how a repository is set up.

use std::io::Write as _;
use std::path::Path;

use co_config::{PIPELINE_FILE, SCHEMA_FILE, Source, detect, pipeline_schema, starter_file};
use serde_json::{Value, json};

use crate::args::{Format, InitArguments};
use crate::context::Context;
use crate::error::{CliError, Exit};
use crate::output::{DIM, Data, harmless, paint};
use crate::privacy;
use crate::telemetry::{self, TelemetryOptions};

pub(crate) fn init(context: &Context, arguments: &InitArguments) -> Result<Exit, CliError> {
    let root = &context.layout.root;
    let text = starter_file(&detect(root, &context.environment));
    let mut data = Data::exact();
    if arguments.print {
        data.bytes(text.as_bytes());
        data.flush();
        return Ok(Exit::Done);
    }
    let path = root.join(PIPELINE_FILE);
    let schema = root.join(SCHEMA_FILE);
    write(&path, text.as_bytes(), arguments.force)?;
    if let Some(folder) = schema.parent() {
        std::fs::create_dir_all(folder).map_err(|error| not_written(folder, &error))?;
    }
    // The schema is ours alone: a newer one replaces an older one.
    write(&schema, format!("{:#}\n", pipeline_schema()).as_bytes(), true)?;
    match context.format {
        Format::Text => {
            data.line(&path.display().to_string());
            context.notes.progress("next: codex-orchestrator plan");
        }
        Format::Json | Format::Jsonl => {
            data.line(
                &json!({ "file": path.to_string_lossy(), "schema": schema.to_string_lossy() }).to_string(),
            );
        }
    }
    data.flush();
    Ok(Exit::Done)
}

fn write(path: &Path, bytes: &[u8], replace: bool) -> Result<(), CliError> {
    let mut options = std::fs::File::options();
    options.write(true);
    if replace {
        options.create(true).truncate(true)
    } else {
        options.create_new(true)
    };
    match options.open(path).and_then(|mut file| file.write_all(bytes)) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            Err(CliError::new(Exit::Setup, format!("`{}` exists already", path.display()))
                .hint("--force replaces it; --print shows the starting file"))
        }
        Err(error) => Err(not_written(path, &error)),
    }
}

fn not_written(path: &Path, error: &std::io::Error) -> CliError {
    CliError::new(Exit::Setup, format!("failed to write `{}`: {error}", path.display()))
}

pub(crate) fn explain(context: &Context) -> Result<Exit, CliError> {
    let mut rows = context.settings.explain();
    let (mode, source) = privacy::mode(context)?;
    for row in rows.iter_mut().filter(|row| row.name == "privacy_guard") {
        (row.value, row.source) = (Some(mode.to_string()), source.clone());
    }
    rows.extend(telemetry::resolve(context, &TelemetryOptions::default())?.rows);
    let source = |source: &Source| harmless(&source.to_string());
    match context.format {
        Format::Text => {
            let mut data = Data::styled();
            let width = rows.iter().map(|row| row.name.len()).max().unwrap_or(0);
            for row in &rows {
                let value = row.value.as_deref().map_or_else(|| paint(DIM, "not set"), harmless);
                data.line(&format!("{:<width$}  {value}  {}", row.name, paint(DIM, &source(&row.source))));
            }
            data.flush();
        }
        Format::Json | Format::Jsonl => {
            let list: Vec<Value> = rows
                .iter()
                .map(|row| json!({ "name": row.name, "value": row.value, "source": source(&row.source) }))
                .collect();
            let mut data = Data::exact();
            if context.format == Format::Json {
                data.line(&format!("{:#}", Value::Array(list)));
            } else {
                for row in &list {
                    data.line(&row.to_string());
                }
            }
            data.flush();
        }
    }
    Ok(Exit::Done)
}
