//! Prompts of agent stages: templates filled with the task, the run and earlier stages.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;

use co_engine::RunState;
use co_model::{AgentStage, Prompt};
use co_process::{OutputLog, Stream, plain_text};
use co_views::Layout;
use minijinja::value::Serde;
use minijinja::{Environment, UndefinedBehavior};
use serde_json::{Value, json};

/// Longest prompt file in bytes.
const LONGEST_PROMPT: u64 = 1 << 20;
/// How much of a stage's output a template sees, from its end.
const OUTPUT_TAIL: usize = 16 << 10;

/// What an interrupted agent is told when its conversation goes on.
const CONTINUATION: &str = "Your previous turn was interrupted before it was complete. \
Look at the present state of the working tree, then continue the task from where you left off.";

/// Composes the prompt of a turn.
///
/// # Errors
/// A sentence that says what is wrong: the file, or the template with its line.
pub(crate) fn compose(
    state: &RunState,
    layout: &Layout,
    stage: &AgentStage,
    continues: bool,
    steer: &[String],
) -> Result<String, String> {
    if !steer.is_empty() {
        return Ok(steer.join("\n\n"));
    }
    if continues {
        return Ok(CONTINUATION.to_owned());
    }
    let (name, template) = match &stage.prompt {
        Prompt::Text(text) => ("prompt".to_owned(), text.clone()),
        Prompt::File(path) => (path.clone(), read(Path::new(&state.created.settings.workspace), path)?),
    };
    render(&name, &template, &values(state, layout))
}

fn read(workspace: &Path, path: &str) -> Result<String, String> {
    let full = workspace.join(path);
    let failed = |error: std::io::Error| format!("prompt file `{}` cannot be read: {error}", full.display());
    let file = std::fs::File::open(&full).map_err(failed)?;
    let mut text = String::new();
    file.take(LONGEST_PROMPT + 1).read_to_string(&mut text).map_err(failed)?;
    if text.len() as u64 > LONGEST_PROMPT {
        return Err(format!("prompt file `{}` is larger than 1 MiB", full.display()));
    }
    Ok(text)
}

fn render(name: &str, template: &str, values: &Value) -> Result<String, String> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_fuel(Some(1_000_000));
    let failed = |error: minijinja::Error| {
        let line = error.line().map(|line| format!(" at line {line}")).unwrap_or_default();
        let detail = error.detail().map(|detail| format!(": {detail}")).unwrap_or_default();
        format!("template `{name}`{line}: {}{detail}", error.kind())
    };
    environment.template_from_named_str(name, template).map_err(failed)?.render(Serde(values)).map_err(failed)
}

fn values(state: &RunState, layout: &Layout) -> Value {
    let created = &state.created;
    let stages: BTreeMap<&str, Value> = state
        .stages
        .iter()
        .filter_map(|record| {
            let report = record.last_report()?;
            let attempt = record.attempts.last()?.number;
            let agent = report.agent.as_ref();
            let outputs: BTreeMap<&str, &str> =
                report.produced.iter().map(|(name, file)| (name.as_str(), file.path.as_str())).collect();
            let value = json!({
                "status": record.status().as_str(),
                "summary": report.summary,
                "exit_code": report.exit.code(),
                "output": output(layout, state, record.id(), attempt),
                "outputs": outputs,
                "last_message": agent.and_then(|agent| agent.last_message.clone()),
            });
            Some((record.id().as_str(), value))
        })
        .collect();
    json!({
        "task": { "id": created.task.as_str(), "description": created.settings.description },
        "run": {
            "id": created.run.as_str(),
            "pipeline": created.pipeline.id.as_str(),
            "target": created.settings.target,
            "workspace": created.settings.workspace,
        },
        "stages": stages,
    })
}

/// The end of a stage's standard output as text.
fn output(layout: &Layout, state: &RunState, stage: &co_model::StageId, attempt: u32) -> String {
    let created = &state.created;
    let log = layout.attempt_log(&created.task, &created.run, stage, attempt);
    let index = layout.attempt_index(&created.task, &created.run, stage, attempt);
    let chunks = OutputLog::new(log, index).tail(OUTPUT_TAIL as u64).unwrap_or_default();
    let bytes: Vec<u8> =
        chunks.into_iter().filter(|chunk| chunk.stream != Stream::Stderr).flat_map(|chunk| chunk.bytes).collect();
    plain_text(&bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_name_is_an_error_with_its_line() {
        let values = json!({ "task": { "id": "t1" } });
        assert_eq!(render("p", "Do {{ task.id }}.", &values), Ok("Do t1.".to_owned()));
        let error = render("p", "one\n{{ tsak.id }}", &values).unwrap_err();
        assert!(error.contains("`p`") && error.contains("line 2"), "{error}");
        let endless = "{% for a in range(100000) %}{% for b in range(100000) %}x{% endfor %}{% endfor %}";
        assert!(render("p", endless, &values).is_err());
    }
}
